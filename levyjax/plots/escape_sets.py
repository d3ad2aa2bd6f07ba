"""Escape sets: which jumps of the noise carry an optimizer out of a basin of the plane."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from levyjax.basins import Basin
from levyjax.plots.landscapes import heights
from levyjax.plots.style import BLUE, GREEN, GREY, INK, ORANGE, legend_above, panel

_RAYS = 1440
_LOOKS = ((BLUE, "", "-"), (ORANGE, "////", "--"), (GREEN, "....", "-."))
_MARGIN = 1.3  # of the view beyond the outermost line


def escape_sets(
    basin: Basin,
    minimum: ArrayLike,
    maps: Mapping[str, ArrayLike],
    *,
    directions: ArrayLike | None = None,
    landscape: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """The jumps y that leave a basin, for each optimizer: those beyond its line, the set shaded, from the minimum.

    SGD moves by y itself, so that its line is the basin's boundary. Adam moves by Q^-1 y, so that its line is the
    boundary stretched by Q: a jump along a coordinate of a large Q has to be longer.

    Args:
        basin: with a gauge; of the plane.
        minimum: (2,), where jumps start.
        maps: optimizer -> (2,), what multiplies a jump on its way into x: 1 for SGD, 1/Q for Adam; the first one's set
            is shaded.
        directions: (2, m), along which the noise jumps, drawn as dashed chords to the first line; default not drawn.
        landscape: its contour lines are drawn.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes, with equal scales: the plane of jumps, put at the minimum.

    Raises:
        ValueError: not two coordinates, no map, or one that is not positive.

    Source:
        Zhou et al. 2020, theorem 1: the escaping set W of an optimizer, {y: Q^-1 Sigma y not in the basin}.

    Example:
        >>> from levyjax.basins import Box
        >>> axes = escape_sets(Box([-1, -1], [1, 1]), [0.0, 0.0], {"SGD": [1, 1], "Adam": [2.0, 0.5]})
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['SGD leaves beyond', 'Adam leaves beyond']
    """
    origin = np.asarray(minimum, dtype=float)
    if not maps:
        raise ValueError("there is no optimizer to draw: give one or more maps")
    lengths = {name: escape_lengths(basin, origin, one) for name, one in maps.items()}
    reach = _reach(lengths)
    with panel(ax, height=3.5) as axes:
        if landscape is not None:
            axes.contour(*heights(landscape, origin - reach, origin + reach), levels=12, colors=GREY, linewidths=0.4)
        for index, (name, length) in enumerate(lengths.items()):
            line = origin[:, None] + _rays() * np.minimum(length, 4 * reach)
            color, hatch, style = _LOOKS[index % len(_LOOKS)]
            outside = PathPatch(_outside(line, origin, 5 * reach), linewidth=0, **_shade(color, hatch))
            axes.add_patch(outside)
            axes.plot(*np.c_[line, line[:, :1]], color=color, linestyle=style, label=f"{name} leaves beyond")
        if directions is not None:
            _draw_jumps(axes, origin, np.asarray(directions, float), basin, next(iter(maps.values())))
        axes.plot(*origin, "+", color=INK, markersize=7)
        axes.set(xlabel="$x_1$ after a jump from the minimum", ylabel="$x_2$", aspect="equal")
        axes.set(xlim=(origin[0] - reach, origin[0] + reach), ylim=(origin[1] - reach, origin[1] + reach))
        legend_above(axes, columns=2)
    axes.grid(False)
    return axes


def escape_lengths(basin: Basin, minimum: ArrayLike, through: ArrayLike) -> Float[np.ndarray, " rays"]:
    """How long a jump has to be to leave, in each of the directions at even angles from 0 on; inf where none does.

    A jump t u moves by t M u, which reaches the boundary at t = 1/gauge(M u).

    Raises:
        ValueError: not two coordinates, or a map that is not positive.
    """
    origin, maps = np.asarray(minimum, dtype=float), np.asarray(through, dtype=float)
    if origin.shape != (2,) or maps.shape != (2,) or not (maps > 0).all():
        raise ValueError(f"escape sets are of the plane: give two positive numbers a map, not {maps.tolist()}")
    gauge = np.asarray(basin.gauge(jnp.asarray(origin), jnp.asarray(maps[:, None] * _rays())), dtype=float)
    return np.where(gauge > 0, 1 / np.where(gauge > 0, gauge, 1), np.inf)


def _rays() -> Float[np.ndarray, "2 rays"]:
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)])


def _reach(lengths: Mapping[str, np.ndarray]) -> float:
    """Half the side of the view: all lines are in it, as far as they are not endless."""
    sizes = [(np.abs(_rays()).max(axis=0) * length)[np.isfinite(length)] for length in lengths.values()]
    return _MARGIN * max(float(size.max(initial=0.0)) for size in sizes) or 1.0


def _outside(line: np.ndarray, origin: np.ndarray, far: float) -> Path:
    """What lies beyond a closed line: a large square with a hole."""
    square = origin[:, None] + far * np.array([[-1, -1, 1, 1, -1], [-1, 1, 1, -1, -1]])
    hole = np.c_[line, line[:, :1]]
    codes = [[Path.MOVETO] + [Path.LINETO] * (part.shape[1] - 1) for part in (square, hole)]
    return Path(np.c_[square, hole].T, np.concatenate(codes))


def _shade(color: str, hatch: str) -> dict[str, Any]:
    if not hatch:
        return {"facecolor": color, "alpha": 0.22}
    return {"facecolor": "none", "edgecolor": color, "hatch": hatch, "alpha": 0.4}


def _draw_jumps(axes: Axes, origin: np.ndarray, directions: np.ndarray, basin: Basin, through: ArrayLike) -> None:
    """Dashed chords from the minimum to the line, along which the noise jumps."""
    for along in np.c_[directions, -directions].T:
        moved = np.asarray(through, float) * along
        gauge = float(np.asarray(basin.gauge(jnp.asarray(origin), jnp.asarray(moved)[:, None]))[0])
        if gauge > 0:
            end = origin + along / gauge
            axes.plot(*np.c_[origin, end], linestyle=(0, (4, 2)), color=INK, linewidth=0.9)
            axes.plot(*end, "o", color=INK, markersize=3.5, markerfacecolor="white")
