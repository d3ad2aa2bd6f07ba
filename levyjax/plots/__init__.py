"""Figures by matplotlib: `plots.f(data, *, ax=None) -> Axes`. Nothing is shown, nothing is set globally."""

from levyjax.plots.animation import Well, animate_exits
from levyjax.plots.audit import (
    aggregation_plot,
    ccdf_with_laws,
    characteristic_plot,
    hill_plot,
    plotted_levels,
    quantile_plot,
)
from levyjax.plots.comparisons import exit_time_scaling, ratio_forest
from levyjax.plots.escape_sets import escape_sets
from levyjax.plots.exits import basin_with_paths, exponential_qq, survival
from levyjax.plots.landscapes import landscape
from levyjax.plots.learning import learning_curves
from levyjax.plots.phase import PhaseGrid, contest_grid, phase_diagram, phase_grid
from levyjax.plots.style import PALETTE, style
from levyjax.plots.tails import block_length_sweep, ccdf
from levyjax.plots.training import alpha_along_training, loss_along_path

__all__ = [
    "PALETTE",
    "PhaseGrid",
    "Well",
    "aggregation_plot",
    "alpha_along_training",
    "animate_exits",
    "basin_with_paths",
    "block_length_sweep",
    "ccdf",
    "ccdf_with_laws",
    "characteristic_plot",
    "contest_grid",
    "escape_sets",
    "exit_time_scaling",
    "exponential_qq",
    "hill_plot",
    "landscape",
    "learning_curves",
    "loss_along_path",
    "phase_diagram",
    "phase_grid",
    "plotted_levels",
    "quantile_plot",
    "ratio_forest",
    "style",
    "survival",
]
