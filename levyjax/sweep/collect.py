"""The results of a sweep: rows, samples, and files for xarray."""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from levyjax.config.build import build_plan, build_problem
from levyjax.escape import ExitSamples, QuasiStationaryRate, predict
from levyjax.escape.simulate import joined
from levyjax.records import read_record, write_record
from levyjax.sweep.rows import exits_row, rate_row, slopes
from levyjax.sweep.run import Build, from_arrays, nonfinite
from levyjax.sweep.store import ChunkStore, DamagedChunk

_IDS_SHOWN = 100


def status(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """How far a sweep is: chunks by state (every checksum is tried), seconds, and what the journal has to say."""
    store = ChunkStore.open(folder)
    states = [store.state(*place) for place in store.config.chunks()]
    entries = list(store.journal())
    done = states.count("done")
    seconds = [entry["wall_seconds"] for entry in entries if "wall_seconds" in entry]
    left = len(states) - done
    return {
        "cells": len(store.config.cells),
        "chunks": len(states),
        "done": done,
        "missing": states.count("missing"),
        "damaged": states.count("damaged"),
        "complete": left == 0,
        "seconds_per_chunk": float(np.mean(seconds)) if seconds else None,
        "worker_seconds_left": float(np.mean(seconds)) * left if seconds else None,
        "notes": [_note(entry) for entry in entries if "redone" in entry or "device_out_of_memory" in entry],
        "environments": _environments(entries),
    }


def _note(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("cell", "chunk", "redone", "device_out_of_memory")}


def _environments(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The different environments; more than one may mean different last bits."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if "environment" in entry:
            found.setdefault(repr(entry["environment"]), entry["environment"])
    return list(found.values())


def cell_arrays(store: ChunkStore, index: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The first trajectory and the arrays of every chunk of a cell.

    Raises:
        ValueError: a chunk is missing or damaged.
    """
    for chunk in range(store.config.num_chunks(index)):
        try:
            yield store.config.bounds(index, chunk)[0], store.read(index, chunk)
        except (FileNotFoundError, DamagedChunk):
            raise ValueError(f"Chunk {chunk} of cell {index} is not there. Run the sweep to its end first.") from None


def cell_samples(store: ChunkStore, index: int, seconds: float = 0.0) -> ExitSamples:
    """The exits of one cell, in the order of their ids."""
    parts = [from_arrays(arrays) for _, arrays in cell_arrays(store, index)]
    first, *rest = parts
    return joined([dataclasses.replace(first, seconds=seconds), *rest])


def collect(folder: str | os.PathLike[str], build: Build = build_problem) -> dict[str, Any]:
    """The rows of all cells, the slopes over the noise level, and the record; also written as `cells.json`.

    Args:
        folder: the sweep's folder.
        build: makes the problem of a cell, as for `run_sweep`.

    Returns:
        "cells" (the row of `levyjax escape` for each, with the sweep's axes and the ids of trajectories that left the
        finite numbers), "slopes", "notes", "environments".

    Raises:
        ValueError: a chunk is missing.
    """
    store = ChunkStore.open(folder)
    entries = list(store.journal())
    seconds: dict[int, float] = defaultdict(float)
    for entry in entries:
        seconds[entry.get("cell", -1)] += entry.get("seconds") or 0.0
    rows = [_row(store, index, seconds[index], build) for index in range(len(store.config.cells))]
    axes = dict.fromkeys(name for row in store.config.cells for name in row.coordinates if name != "noise_level")
    result = {
        "cells": rows,
        "slopes": slopes([{**dict.fromkeys(axes), **row} for row in rows], list(axes)),
        "notes": [_note(entry) for entry in entries if "redone" in entry or "device_out_of_memory" in entry],
        "environments": _environments(entries),
    }
    record = write_record(Path(folder) / "cells.json", result)
    store.tidy()
    return record


def rows_so_far(folder: str | os.PathLike[str], build: Build = build_problem) -> list[dict[str, Any]]:
    """The rows of all cells of a sweep, finished or not; a cell with a chunk missing has its axes alone."""
    store = ChunkStore.open(folder)
    finished = Path(folder) / "cells.json"
    if finished.is_file():
        return read_record(finished, ("cells",))["cells"]
    rows = []
    for index, place in enumerate(store.config.cells):
        try:
            rows.append(_row(store, index, 0.0, build))
        except ValueError:
            rows.append(dict(place.coordinates))
    return rows


def _row(store: ChunkStore, index: int, seconds: float, build: Build) -> dict[str, Any]:
    place = store.config.cells[index]
    prediction = predict(build(place.config, place.cell), build_plan(place.config).solver)
    if place.config.run.method == "quasi_stationary":
        return {**place.coordinates, **rate_row(_rate(store, index, seconds), prediction), "nonfinite_ids": []}
    lost = [number for first, arrays in cell_arrays(store, index) for number in nonfinite(arrays, first)]
    row = exits_row(cell_samples(store, index, seconds), prediction)
    return {**place.coordinates, **row, "nonfinite_ids": lost[:_IDS_SHOWN]}


def _rate(store: ChunkStore, index: int, seconds: float) -> QuasiStationaryRate:
    _, arrays = next(cell_arrays(store, index))
    numbers: dict[str, Any] = {name: value.item() for name, value in arrays.items()}
    numbers["seconds"] = seconds
    return QuasiStationaryRate(**numbers)
