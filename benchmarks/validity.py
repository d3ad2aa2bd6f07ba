"""Whether `valid` keeps its promise: predictions of random problems beside exact means, and what is called valid."""

from collections import Counter
from typing import Any

import numpy as np

from .crosscheck import checks, draw
from .crosscheck.describe import Description

PROBLEMS, QUICK = 900, 30
PROMISED, CLOSE = 0.02, 0.01  # of the mean: what valid says, and what should be called valid
PER_STRUCTURE = 15


def run(quick: bool) -> dict[str, Any]:
    """Counts by dimension: one by `interval_reference`, more by `quasi_stationary_rate`."""
    total = QUICK if quick else PROBLEMS
    rows = [*look(2 * total // 3, 1, (1,)), *look(total // 3, 2, (2, 3, 5))]
    summary = [
        summed(name, [row for row in rows if row["truth"] == name]) for name in sorted({r["truth"] for r in rows})
    ]
    wrong = [row for row in rows if row["valid"] and not row["kept"]]
    missed = Counter(row["reason"] for row in rows if row["close"] and not row["valid"])
    return {"rows": summary, "broken": wrong, "close_and_not_valid": dict(missed.most_common(8)), "quick": quick}


def look(count: int, seed: int, dimensions: tuple[int, ...]) -> list[dict[str, Any]]:
    """A row for each problem that has a prediction and a truth."""
    rows: list[dict[str, Any]] = []
    for place in range(count // PER_STRUCTURE):
        rng = np.random.default_rng([seed, place])
        structure = draw.structure(rng, dimension=int(rng.choice(dimensions)), dynamics="SGD", view="sde")
        if structure.noise == "StateDependent":
            continue
        for _ in range(PER_STRUCTURE):
            row = compared(draw.problem(rng, structure).but(start=None), str(structure))
            rows += [] if row is None else [row]
    return rows


def compared(problem: Description, structure: str) -> dict[str, Any] | None:
    """A prediction beside the truth; None where one of them is refused."""
    found, _ = checks.outcome(lambda: checks.prediction(problem))
    if found is None:
        return None
    one = problem.dimension == 1
    truth, _ = checks.outcome(lambda: checks.reference(problem) if one else checks.quasi_stationary(problem, 0))
    if truth is None:
        return None
    ratio, error = found.mean_exit_time / truth.mean - 1, (truth.error + truth.bias) / truth.mean
    return {
        "structure": structure,
        "truth": "interval_reference" if one else "quasi_stationary_rate",
        "valid": bool(found.valid),
        "kept": bool(abs(ratio) <= PROMISED + 3 * error + found.rate_error / found.rate),
        "close": bool(abs(ratio) <= CLOSE),
        "ratio": float(ratio),
        "kappa": float(found.kappa or np.nan),
        "reason": checks.reason_of(found.reasons[0]) if found.reasons else "",
    }


def summed(truth: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many were valid and kept it, how many were close and called valid."""
    valid, close = [row for row in rows if row["valid"]], [row for row in rows if row["close"]]
    return {
        "truth": truth,
        "problems": len(rows),
        "valid": len(valid),
        "within_2_percent": sum(row["kept"] for row in valid),
        "worst": max((abs(row["ratio"]) for row in valid), default=0.0),
        "within_1_percent": len(close),
        "of_these_valid": sum(row["valid"] for row in close),
    }
