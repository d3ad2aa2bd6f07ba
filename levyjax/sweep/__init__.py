"""Sweeps over grids of exit problems: chunks that are pure functions, stored once, by any number of workers."""

from levyjax.sweep.collect import cell_samples, collect, status
from levyjax.sweep.cost import check_hardest, cost
from levyjax.sweep.export import export, to_xarray
from levyjax.sweep.replay import Replay, replay
from levyjax.sweep.run import compute_chunk, pending, run_distributed, run_sweep, run_with_processes
from levyjax.sweep.store import ChunkStore, DamagedChunk

__all__ = [
    "ChunkStore",
    "DamagedChunk",
    "Replay",
    "cell_samples",
    "check_hardest",
    "collect",
    "compute_chunk",
    "cost",
    "export",
    "pending",
    "replay",
    "run_distributed",
    "run_sweep",
    "run_with_processes",
    "status",
    "to_xarray",
]
