"""Figures by matplotlib: `plots.f(data, *, ax=None) -> Axes`. Nothing is shown, nothing is set globally."""

from levyjax.plots.comparisons import exit_time_scaling, ratio_forest
from levyjax.plots.exits import basin_with_paths, exponential_qq, survival
from levyjax.plots.style import PALETTE, style
from levyjax.plots.tails import block_length_sweep, ccdf

__all__ = [
    "PALETTE",
    "basin_with_paths",
    "block_length_sweep",
    "ccdf",
    "exit_time_scaling",
    "exponential_qq",
    "ratio_forest",
    "style",
    "survival",
]
