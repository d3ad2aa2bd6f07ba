"""Running the claims and writing what came of them."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from levyjax.claims import (
    adam_exits,
    applied_noise,
    averaging,
    clipped,
    control,
    geometry,
    iterates,
    matched_algorithms,
    matched_progress,
    network,
    odds,
    overshoot,
    real_noise,
    theorem1,
    valley,
    weak_error,
)
from levyjax.claims.base import Claim, Settings
from levyjax.claims.report import render_report
from levyjax.environment import environment
from levyjax.output import write_bytes, write_json, write_text
from levyjax.plots import style

CLAIMS: tuple[Claim, ...] = (
    *theorem1.CLAIMS,
    *geometry.CLAIMS,
    *matched_progress.CLAIMS,
    *matched_algorithms.CLAIMS,
    *averaging.CLAIMS,
    *adam_exits.CLAIMS,
    *weak_error.CLAIMS,
    *overshoot.CLAIMS,
    *clipped.CLAIMS,
    *control.CLAIMS,
    *odds.CLAIMS,
    *valley.CLAIMS,
    *iterates.CLAIMS,
    *real_noise.CLAIMS,
    *applied_noise.CLAIMS,
    *network.CLAIMS,
)


def select(only: Sequence[str] | None = None) -> tuple[Claim, ...]:
    """The claims with these ids, in the order of the report; default all.

    Raises:
        ValueError: an id that no claim has.
    """
    ids = [claim.id for claim in CLAIMS]
    unknown = [name for name in only or () if name not in ids]
    if unknown:
        raise ValueError(f"There is no claim {unknown[0]!r}; there are {', '.join(ids)}.")
    return tuple(claim for claim in CLAIMS if not only or claim.id in only)


def reproduce(
    folder: Path,
    *,
    quick: bool = False,
    seed: int = 0,
    only: Sequence[str] | None = None,
    on_claim: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Put the claims to the test and write `report.html`, `results.json` and the figures.

    Args:
        folder: where to write; it exists.
        quick: small experiments.
        seed: of the whole report.
        only: ids of the claims to run; default all.
        on_claim: called with each claim's id when it is done.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: an id that no claim has.
    """
    settings = Settings(quick, seed)
    results: dict[str, Any] = {"claims": [], "environment": environment()}
    figures: dict[str, bytes] = {}
    for claim in select(only):
        began = time.perf_counter()
        outcome = claim.run(settings)
        with style():
            figures[claim.id] = _png(outcome.draw())
        name = f"{claim.id}.png"
        write_bytes(folder / name, figures[claim.id])
        results["claims"].append(
            {
                "id": claim.id,
                "statement": claim.statement,
                "source": claim.source,
                "expected": outcome.expected,
                "measured": outcome.measured,
                "ci95": outcome.ci95,
                "verdict": outcome.verdict,
                "figure": name,
                "seconds": time.perf_counter() - began,
                "seed": seed,
                "rule": claim.rule,
                "finding": outcome.finding,
                "figure_alt": outcome.alt,
                "command": f"levyjax reproduce --only {claim.id} --seed {seed}{' --quick' * quick} --out report",
            }
        )
        # After each claim, so that an interrupted report holds what is finished.
        write_json(folder / "results.json", results)
        write_text(folder / "report.html", render_report(results, figures))
        if on_claim is not None:
            on_claim(claim.id)
    return results


def _png(axes: Any) -> bytes:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=170)
    plt.close(axes.figure)
    return buffer.getvalue()
