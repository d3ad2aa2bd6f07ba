"""The results of a sweep: rows, samples, and how far it is."""

import contextlib
import os
from typing import Any

import numpy as np

from levyjax.config.build import build_problem
from levyjax.escape import ExitCode, ExitSamples
from levyjax.records import SCHEMA_VERSION
from levyjax.sweep.rows import Build, cell_problem, row, slopes
from levyjax.sweep.store import ChunkStore

_IDS_SHOWN = 100


def status(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """How far a sweep is: chunks by state (every checksum is tried), seconds, and what the journal has to say."""
    store = ChunkStore.open(folder)
    states = [store.state(*place) for place in store.config.chunks()]
    done = states.count("done")
    seconds = [entry["wall_seconds"] for entry in store.journal() if "wall_seconds" in entry]
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
        "notes": _notes(store),
        "environments": store.environments(),
    }


def _notes(store: ChunkStore) -> list[dict[str, Any]]:
    """What went wrong."""
    names = ("cell", "chunk", "redone", "device_out_of_memory")
    kept = (entry for entry in store.journal() if "redone" in entry or "device_out_of_memory" in entry)
    return [{name: entry.get(name) for name in names} for entry in kept]


def cell_samples(store: ChunkStore, index: int, seconds: float = 0.0) -> ExitSamples:
    """The exits of one cell, in the order of their ids.

    Raises:
        ValueError: a chunk is missing or damaged, or the cell is a rate without samples.
    """
    samples = store.ends(index, seconds)
    if not isinstance(samples, ExitSamples):
        raise ValueError(f"cell {index} is a quasi-stationary rate, which has no samples.")
    return samples


def collect(folder: str | os.PathLike[str], build: Build = build_problem) -> dict[str, Any]:
    """The rows of all cells, the slopes over the noise level, and the record; of a sweep also written as `cells.json`.

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
    seconds = store.seconds()
    rows = [_row(store, index, seconds[index], build) for index in range(len(store.config.cells))]
    axes = dict.fromkeys(name for row in store.config.cells for name in row.coordinates if name != "noise_level")
    found = slopes([{**dict.fromkeys(axes), **row} for row in rows], list(axes))
    result = {"cells": rows, "slopes": found, "notes": _notes(store), "environments": store.environments()}
    store.tidy()
    if store.command == "escape":  # its `record.json` stays
        return {"schema_version": SCHEMA_VERSION, **result}
    return store.finish(result)


def rows_so_far(store: ChunkStore, build: Build = build_problem) -> list[dict[str, Any]]:
    """The rows of all cells of a run or a sweep, finished or not; a cell that is not done has its axes alone."""
    rows = [dict(place.coordinates) for place in store.config.cells]
    if store.record is not None:
        for place, found in zip(rows, store.record["cells"], strict=False):
            place |= found
        return rows
    seconds = store.seconds()
    for index, place in enumerate(rows):
        with contextlib.suppress(ValueError):
            place |= _row(store, index, seconds[index], build)
    return rows


def _row(store: ChunkStore, index: int, seconds: float, build: Build) -> dict[str, Any]:
    """The row of a cell; of a run of an earlier version as its record has it."""
    if store.digest is None and store.record is not None and store.state(index, 0) == "done":
        return store.record["cells"][index]
    place, ends = store.config.cells[index], store.ends(index, seconds)
    lost = np.flatnonzero(ends.exit_code == ExitCode.NONFINITE).tolist() if isinstance(ends, ExitSamples) else []
    found = row(ends, cell_problem(place, build))
    return {**place.coordinates, **found, "nonfinite_ids": lost[:_IDS_SHOWN]}
