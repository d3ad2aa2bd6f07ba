"""Ten billion trajectory-steps in one process: does memory grow, and do the last exits follow the law of the first?"""

import math
import resource
import sys
from typing import Any

from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan
from levyjax.escape.simulate import simulate_chunks
from levyjax.escape.summary import ExitSummary, summarize
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler

STEPS, QUICK_STEPS = 10**10, 10**9
POINTS = 10
CHUNK = 1 << 15


def run(quick: bool) -> dict[str, Any]:
    """A row at every tenth of the steps: exits so far, seconds, peak memory, the mean exit time of this tenth."""
    steps = QUICK_STEPS if quick else STEPS
    problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.1)
    plan = Plan(Euler(0.05), num_trajectories=steps, chunk_size=CHUNK)  # each takes a step at least: more than enough
    rows: list[dict[str, Any]] = []
    tenth: ExitSummary | None = None
    taken, exits, seconds = 0, 0, 0.0
    for samples in simulate_chunks(problem, plan, 0):
        summary = summarize(samples)
        tenth = summary if tenth is None else tenth + summary
        taken, exits = taken + summary.total_steps, exits + int(summary.counts.sum())
        seconds += summary.seconds
        if taken >= steps * (len(rows) + 1) / POINTS:
            rows.append({"steps": taken, "exits": exits, "seconds": seconds, "peak_rss_mib": peak(), **mean(tenth)})
            tenth = None
        if len(rows) == POINTS:
            break
    growth = rows[-1]["peak_rss_mib"] - rows[0]["peak_rss_mib"]
    deviation = (rows[-1]["mean_exit_time"] - rows[0]["mean_exit_time"]) / math.hypot(
        rows[0]["standard_error"], rows[-1]["standard_error"]
    )
    result = {"growth_mib_after_the_first_tenth": growth, "last_tenth_less_first_in_standard_errors": deviation}
    return {"rows": rows, **result, "chunk": CHUNK, "steps_per_second": taken / seconds, "quick": quick}


def mean(summary: ExitSummary) -> dict[str, float]:
    """The mean exit time with its standard error."""
    count = int(summary.counts.sum())
    average = summary.total_time / count
    return {
        "mean_exit_time": average,
        "standard_error": math.sqrt((summary.total_squared_time / count - average**2) / count),
    }


def peak() -> float:
    """MiB that the process has held at most."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
