"""Landscapes on the line and in the plane, with a basin and paths in them."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes

from levyjax.basins import Basin
from levyjax.landscapes.base import has_potential, require_potential
from levyjax.plots.exits import basin_with_paths
from levyjax.plots.style import BLUE, GREY, INK, panel

_POINTS, _RAYS = 401, 360


def landscape(
    function: Any,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    basin: Any = None,
    paths: Sequence[ArrayLike] = (),
    height: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A landscape of one or two dimensions: its graph, or its contour lines; the minimum, the basin and paths.

    Of a drift without a potential, in the plane, the stream lines.

    Args:
        function: the landscape.
        lower, upper: (d,) corners of what is shown, d = 1 or 2.
        basin: shaded, where rays from the minimum are inside.
        paths: (2, m) arrays, only in the plane and with a basin: see `basin_with_paths`.
        height: nothing higher above the minimum is shown; default all.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: more than two dimensions, corners that do not fit the landscape, or paths without a basin.

    Example:
        >>> from levyjax.landscapes import DoubleWell
        >>> landscape(DoubleWell(2.0, 1.0), [-2.0], [3.0]).get_xlabel()
        '$x$'
    """
    minimum = np.asarray(function.minimum, dtype=float)
    lower, upper = (np.asarray(corner, dtype=float) for corner in (lower, upper))
    if not lower.shape == upper.shape == minimum.shape or minimum.size > 2:
        raise ValueError(
            f"lower and upper must be the corners of a landscape of one or two dimensions, got shapes {lower.shape} "
            f"and {upper.shape} and a minimum of {minimum.size}."
        )
    if not (lower < upper).all():
        raise ValueError(f"lower must be below upper in each coordinate, got {lower.tolist()} and {upper.tolist()}.")
    if len(paths) and (basin is None or minimum.size == 1):
        raise ValueError("paths are drawn in a basin of the plane; give both, or none.")
    streams = minimum.size == 2 and not has_potential(function)
    grid, values = (_drift if streams else heights)(function, lower, upper)
    values = values if streams else np.where(values <= (np.inf if height is None else height), values, np.nan)
    if minimum.size == 1:
        return _graph(grid[0], values, minimum, basin, ax)
    with panel(ax) as axes:
        if streams:
            axes.streamplot(*grid, *values, color=GREY, linewidth=0.5, arrowsize=0.6, density=0.8)
        else:
            axes.contour(*grid, values, levels=12, colors=GREY, linewidths=0.5, alpha=0.8)
        if basin is not None:
            basin_with_paths(paths, outline(basin, minimum, 2 * float(np.abs(upper - lower).sum())), ax=axes)
        axes.plot(*minimum, "+", color=INK, markersize=7)
        axes.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]))
    return axes


def heights(
    function: Any, lower: Float[np.ndarray, " d"], upper: Float[np.ndarray, " d"]
) -> tuple[list[np.ndarray], np.ndarray]:
    """The axes of a grid, and F - F(x*) on it: (p,) on the line, (q, p) in the plane."""
    require_potential(function, "A picture of heights")
    grid = [np.linspace(low, high, _POINTS) for low, high in zip(lower, upper, strict=True)]
    points = np.stack(np.meshgrid(*grid))
    base = function.value(jnp.asarray(function.minimum)[:, None])[0]
    return grid, np.asarray(function.value(jnp.asarray(points)) - base, dtype=float)


def _drift(
    function: Any, lower: Float[np.ndarray, " d"], upper: Float[np.ndarray, " d"]
) -> tuple[list[np.ndarray], np.ndarray]:
    """The axes of a grid of the plane, and the drift on it, (2, q, p)."""
    grid = [np.linspace(low, high, _POINTS) for low, high in zip(lower, upper, strict=True)]
    return grid, -np.asarray(function.gradient(jnp.asarray(np.stack(np.meshgrid(*grid)))), dtype=float)


def outline(basin: Basin, minimum: Float[np.ndarray, " d"], far: float) -> Float[np.ndarray, "d rays"]:
    """Boundary points of a basin along rays around its minimum, `far` away at most."""
    angle = np.linspace(0, 2 * np.pi, _RAYS)
    rays = np.stack([np.cos(angle), np.sin(angle)]) if minimum.size == 2 else np.array([[-1.0, 1.0]])
    gauge = np.asarray(basin.gauge(jnp.asarray(minimum), jnp.asarray(rays)), dtype=float)
    return minimum[:, None] + rays / np.maximum(gauge, 1 / far)


def _graph(x: np.ndarray, values: np.ndarray, minimum: np.ndarray, basin: Basin, ax: Axes | None) -> Axes:
    with panel(ax) as axes:
        if basin is not None:
            axes.axvspan(*outline(basin, minimum, 2 * (x[-1] - x[0]))[0], color=BLUE, alpha=0.07)
        axes.plot(x, values, color=INK)
        axes.plot(minimum, 0, "+", color=INK, markersize=7)
        axes.set(xlabel="$x$", ylabel="$F(x) - F(x^*)$", xlim=(x[0], x[-1]))
    return axes
