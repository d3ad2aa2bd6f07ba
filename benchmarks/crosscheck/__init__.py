"""Random exit problems, looked at in ways that must agree: images under symmetries, several methods, a plain oracle.

A refusal is a right answer and is counted by its reason; what is looked for is a number that is silently wrong. Images
must have the same prediction to 1e-6 (or to its sampling error); simulations must agree within the errors that their
methods state and 5 combined standard errors, which goes wrong by chance in 1 of 1.7 million comparisons.

`python -m benchmarks.crosscheck --problems 100 --only predicted_images --dimension 2 --noise Rotational`
"""

import os
from typing import Any

PROBLEMS, QUICK = 2000, 100
OTHERS = ({"landscape": "steep"}, {"landscape": "drift"}, {"start": "wall"}, {"skewed": True}, {"scale": "rectangular"})
PER_STRUCTURE, SECONDS = 64, 180.0  # problems of one structure, and how long these may take


def run(quick: bool) -> dict[str, Any]:
    """The search of the stored result: counts, refusals, and what went wrong."""
    from .search import search

    count, each = (QUICK, 10) if quick else (PROBLEMS, PER_STRUCTURE)
    ways = {"per_structure": each, "processes": os.cpu_count() or 1, "each_seconds": SECONDS}
    found = search(count, **ways)
    for kinds in OTHERS:  # that a random structure does not have, so that a seed's problems stay the same
        found.join(search(count // 10, **ways, **kinds))
    return result_of(found, quick)


def result_of(tally: Any, quick: bool = False, tries: int = 30) -> dict[str, Any]:
    """What is written: a row for each pair and quantity, refusals by method and reason, exceptions by kind."""
    from .search import exceptions

    rows = [{"pair": pair, "quantity": quantity, **row} for (pair, quantity), row in sorted(tally.pairs.items())]
    refusals = [{"method": m, "reason": why, "problems": n} for (m, why), n in sorted(tally.refusals.items())]
    return {
        "problems": tally.problems,
        "structures": tally.structures,
        "comparisons": sum(row["compared"] for row in rows),
        "failed": len(tally.failures),
        "rows": rows,
        "refusals": refusals,
        "exceptions": exceptions(tally, tries),
        "quick": quick,
    }


def markdown(result: dict[str, Any]) -> str:
    """The stored result as the documentation shows it."""
    head = (
        f"{result['problems']:,} random problems, {result['comparisons']:,} comparisons, {result['failed']:,} failed."
    )
    parts = [
        head,
        _table(result["rows"], ("pair", "quantity", "compared", "failed", "worst_difference", "worst_sigmas")),
    ]
    parts += ["Refused, with the reason:", _table(result["refusals"], ("method", "reason", "problems"))]
    if result["exceptions"]:
        columns = ("pair", "quantity", "failures", "difference", "sigmas", "snippet")
        parts += ["What went wrong, the smallest problem of each kind:", _table(result["exceptions"], columns)]
    return "\n\n".join(parts)


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    lines = [[name.replace("_", " ") for name in columns], ["---"] * len(columns)]
    lines += [[_cell(row.get(name), name == "snippet") for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any, code: bool) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"`{value}`" if code else str(value).replace("|", "\\|").replace("~", " and ").replace("_", " ")
