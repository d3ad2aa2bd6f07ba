"""Figures of what `levyjax bench` writes."""

from pathlib import Path
from typing import Any

from levyjax.plots.benchmarks import FIGURES
from levyjax.plots.results.base import Draw, Figures
from levyjax.records import read_record

KINDS = {
    "work-precision": "relative error against seconds, by method",
    "cost": "seconds and steps of a mean exit time to 1%, against the noise level",
    "exits": "exits a second, and the part of the work that moved a trajectory",
    "increments": "stable increments a second, beside the rivals",
    "scaling": "steps a second against the dimension and the number of trajectories",
}
_SOURCE = "levyjax bench"


def of_record(path: Path, record: dict[str, Any]) -> Figures:
    """The figure of one topic, if it has one."""
    return Figures(_SOURCE, KINDS, _kinds([record]))


def of_folder(folder: Path) -> Figures | None:
    """The figures of all topics in a folder; None where there is no topic."""
    records = [read_record(path) for path in sorted(folder.glob("*.json"))]
    topics = [record for record in records if "topic" in record]
    return Figures(_SOURCE, KINDS, _kinds(topics)) if topics else None


def _kinds(records: list[dict[str, Any]]) -> dict[str, Draw]:
    return {
        record["topic"].replace("_", "-"): lambda choice, record=record: FIGURES[record["topic"]](record)
        for record in records
        if record["topic"] in FIGURES and record.get("rows")
    }
