"""Sweeps over grids of exit problems: chunks that are pure functions, stored once, by any number of workers."""

from levyjax.sweep.collect import collect, status
from levyjax.sweep.cost import cost
from levyjax.sweep.export import export, to_xarray
from levyjax.sweep.replay import replay
from levyjax.sweep.run import pending, run_sweep
from levyjax.sweep.store import ChunkStore

__all__ = [
    "ChunkStore",
    "collect",
    "cost",
    "export",
    "pending",
    "replay",
    "run_sweep",
    "status",
    "to_xarray",
]
