"""Figures of results on disk: what is in a folder or a file, and the kinds of figure that can be made of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from levyjax.plots.results import benchmarks, exits, tails, training
from levyjax.plots.results.base import Choice, Figures
from levyjax.records import read_record
from levyjax.sweep import ChunkStore

__all__ = ["KINDS", "Choice", "Figures", "open_result"]

KINDS = {
    "levyjax escape --out, levyjax sweep": exits.KINDS,
    "levyjax tails --out, or its JSON (estimates, block-length and aggregation alone)": tails.KINDS,
    "levyjax train --out": training.KINDS,
    "levyjax bench --out": benchmarks.KINDS,
}
"""The kinds of figure by the command whose results they are of: name -> what it shows."""

_FILES = (  # in a folder
    ("sweep.json", lambda folder: exits.of_store(ChunkStore.open(folder))),
    ("tails.json", tails.of_folder),
)
_RECORDS = (  # a key of a JSON file
    ("cells", lambda path, record: exits.of_store(ChunkStore.of_record(path, record))),
    ("metrics", training.of_record),
    ("verdict", tails.of_record),
    ("topic", benchmarks.of_record),
)


def open_result(path: str | os.PathLike[str]) -> Figures:
    """The figures that a result has.

    Args:
        path: the folder that `levyjax escape`, `sweep`, `tails`, `train` or `bench` wrote, or a JSON file of it.

    Returns:
        Where it is from, and a function of a `Choice` and of axes for each kind.

    Raises:
        ValueError: nothing is there, it is damaged, or it is no result.
    """
    target = Path(path).absolute()  # "." has no name
    if target.is_dir():
        for name, reader in _FILES:
            if (target / name).is_file():
                return _read(reader, target)
        for name in ("record.json", "results.json"):
            if (target / name).is_file():
                return _of_file(target / name)
        if found := benchmarks.of_folder(target):
            return found
        raise ValueError(f"{target.name[:60]} holds no result: no record.json, sweep.json, tails.json or benchmark.")
    if not target.is_file():
        raise ValueError(f"{str(path)[-60:]!r} is no file or folder. Give what a levyjax command wrote.")
    return _of_file(target)


def _of_file(path: Path) -> Figures:
    if path.name in ("cells.json", "sweep.json", "record.json") and (path.parent / "sweep.json").is_file():
        return _read(_FILES[0][1], path.parent)
    if path.suffix in (".nc", ".npz", ".npy"):
        raise ValueError(f"{path.name[-60:]} has the numbers alone. Give its folder, or the JSON file in it.")
    record = read_record(path)
    if "claims" in record:
        raise ValueError(
            f"{path.name[:60]} is of levyjax reproduce: its figures are there, in report.html and as CLAIM.png."
        )
    for key, reader in _RECORDS:
        if key in record:
            return _read(reader, path, record)
    raise ValueError(f"{path.name[:60]} is no result that has figures.")


def _read(reader: Callable[..., Figures], path: Path, *record: dict[str, Any]) -> Figures:
    """The figures; a record in which something is missing, or is something else, is refused in a sentence."""
    try:
        return reader(path, *record)
    except (KeyError, TypeError, IndexError, AttributeError, EOFError):
        raise ValueError(f"{path.name[:60]} is damaged: a part of the record is missing.") from None
