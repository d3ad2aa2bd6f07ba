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
from levyjax.plots.bands import curve_bands
from levyjax.plots.comparisons import exit_time_scaling, ratio_forest
from levyjax.plots.curves import points_on_curve
from levyjax.plots.escape_sets import escape_lengths, escape_sets
from levyjax.plots.exits import basin_with_paths, exponential_qq, survival
from levyjax.plots.landscapes import landscape
from levyjax.plots.learning import learning_curves
from levyjax.plots.maps import MeasuredCell, sooner_map
from levyjax.plots.network import ray_reach
from levyjax.plots.noise import layer_moments, tail_indices
from levyjax.plots.phase import PhaseGrid, contest_grid, phase_diagram, phase_grid
from levyjax.plots.ratios import grouped_ratios
from levyjax.plots.style import PALETTE, style
from levyjax.plots.tails import block_length_sweep, ccdf
from levyjax.plots.training import alpha_along_training, assumption_quantities, loss_along_path
from levyjax.plots.wells import factor_panel, position_density

__all__ = [
    "PALETTE",
    "MeasuredCell",
    "PhaseGrid",
    "Well",
    "aggregation_plot",
    "alpha_along_training",
    "animate_exits",
    "assumption_quantities",
    "basin_with_paths",
    "block_length_sweep",
    "ccdf",
    "ccdf_with_laws",
    "characteristic_plot",
    "contest_grid",
    "curve_bands",
    "escape_lengths",
    "escape_sets",
    "exit_time_scaling",
    "exponential_qq",
    "factor_panel",
    "grouped_ratios",
    "hill_plot",
    "landscape",
    "layer_moments",
    "learning_curves",
    "loss_along_path",
    "phase_diagram",
    "phase_grid",
    "plotted_levels",
    "points_on_curve",
    "position_density",
    "quantile_plot",
    "ratio_forest",
    "ray_reach",
    "sooner_map",
    "style",
    "survival",
    "tail_indices",
]
