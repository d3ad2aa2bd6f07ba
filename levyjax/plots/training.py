"""Figures of training: tail indices by layer, losses along paths, and what Assumption 2 speaks of."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from levyjax.plots.comparisons import numbers
from levyjax.plots.style import GREY, INK, MARKERS, PALETTE, legend_above, panel

_GAUSSIAN = "Gaussian twin"
_HIGHEST = 5.0  # of the estimates that are shown
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def alpha_along_training(
    iterations: ArrayLike,
    alpha: Mapping[str, Sequence[float]],
    gaussian: Mapping[str, Sequence[float]] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Estimated tail indices against the iterations, and those of Gaussian noise with the same scales, dashed.

    Args:
        iterations: (m,).
        alpha: legend entry, such as a layer -> m estimates.
        gaussian: the same names -> m estimates for Gaussian noise; default none.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes. Where a line lies on its dashed one the estimate says nothing about tails. Infinite estimates, and
        those above 5, lie beyond the upper edge.

    Raises:
        ValueError: lengths that differ, or a name without its line.

    Example:
        >>> axes = alpha_along_training([0, 100], {"layer 1": [1.1, 1.2]}, {"layer 1": [1.15, 1.2]})
        >>> axes.get_ylabel()
        'estimated tail index α'
    """
    at, lines = index_lines(iterations, alpha)
    twins = index_lines(iterations, gaussian)[1] if gaussian else {}
    if not twins.keys() <= lines.keys():
        raise ValueError(f"Gaussian noise is given for {', '.join(twins)}, and estimates for {', '.join(lines)}.")
    with panel(ax) as axes:
        axes.axhline(2, color=GREY, linewidth=0.8, linestyle=":")
        for place, (name, line) in enumerate(lines.items()):
            color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
            axes.plot(at, line, "-", marker=marker, color=color, markersize=3.4, label=name)
            if name in twins:
                axes.plot(at, twins[name], "--", color=color, linewidth=0.9)
        if twins:
            axes.plot([], [], "--", color=INK, linewidth=0.9, label=_GAUSSIAN)
        axes.set(xlabel="iteration", ylabel="estimated tail index α")
        values = np.concatenate([*lines.values(), *twins.values()])
        axes.set_ylim(0, max(2.2, 1.1 * float(values[values < _HIGHEST].max(initial=0.0))))
        axes.locator_params(axis="x", nbins=5)
        legend_above(axes, columns=2)
    return axes


def loss_along_path(paths: Mapping[str, tuple[ArrayLike, ArrayLike]], *, ax: Axes | None = None) -> Axes:
    """The loss on ways from one point to another: a barrier is a rise above both ends.

    Args:
        paths: legend entry -> (places from 0 to 1, losses).
        ax: axes to draw on; new ones by default.

    Returns:
        The axes; the highest point of a way that has a barrier is marked.

    Raises:
        ValueError: no path, or lengths that differ.

    Example:
        >>> loss_along_path({"line": ([0, 0.5, 1], [1.0, 2.0, 0.5])}).get_ylabel()
        'loss'
    """
    if not paths:
        raise ValueError("there is no path to draw: give one or more")
    with panel(ax) as axes:
        for place, (name, (places, losses)) in enumerate(paths.items()):
            at, height = _pair(places, losses, name)
            color = PALETTE[place % len(PALETTE)]
            axes.plot(at, height, linestyle=DASHES[place % 5], color=color, label=name)
            top = int(np.argmax(height))
            if 0 < top < len(height) - 1:
                axes.plot(at[top], height[top], "o", color=color, markersize=4.0)
        axes.set(xlabel="part of the way", ylabel="loss", xlim=(-0.02, 1.02))
        legend_above(axes, columns=2)
    return axes


def index_lines(iterations: ArrayLike, lines: Mapping[str, ArrayLike]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The numbers that are drawn: places (m,) and name -> (m,)."""
    at = numbers(iterations)
    if not lines:
        raise ValueError("there is no line to draw: give one or more")
    return at, {name: _pair(at, line, name)[1] for name, line in lines.items()}


def _pair(x: ArrayLike, y: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    at, height = numbers(x), numbers(y)
    if at.shape != height.shape or at.ndim != 1 or at.size < 2:
        raise ValueError(f"{name} has {height.size} values at {at.size} places: give one each, of two or more")
    return at, height
