"""Phase diagrams: a ratio over two swept axes, a coloured cell for each combination."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from levyjax.plots.style import GREY, INK, panel

_MAP = "PuOr"  # a diverging map that colour-blind readers tell apart
_LEAST_SPAN = np.log10(1.1)  # of the colours, so that noise about 1 stays pale
_MOST_NUMBERS = 90  # cells that have room for a number each
_NO_DATA = "no data"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class PhaseGrid:
    """A ratio over two axes; NaN where there is none.

    Attributes:
        x: the values of the horizontal axis, in order.
        y: the values of the vertical axis, in order.
        ratio: (len(y), len(x)).
    """

    x: tuple[Any, ...]
    y: tuple[Any, ...]
    ratio: NDArray[np.float64]


def phase_diagram(
    grid: PhaseGrid, *, xlabel: str, ylabel: str, label: str = "simulated / predicted", ax: Axes | None = None
) -> Axes:
    """A ratio as coloured cells, white at 1, on a logarithmic scale of colours; cells of no data are hatched.

    Args:
        grid: what `phase_grid` or `contest_grid` makes of rows.
        xlabel, ylabel: the names of the axes.
        label: what the ratio is.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes: a cell for each value, evenly spaced, with the numbers in the cells where there is room.

    Example:
        >>> grid = PhaseGrid((1.2, 1.8), (0.1,), np.array([[1.0, np.nan]]))
        >>> phase_diagram(grid, xlabel="α", ylabel="ε").get_xlabel()
        'α'
    """
    height, width = grid.ratio.shape
    log = np.log10(grid.ratio)
    span = max(float(np.nanmax(np.abs(log), initial=0.0)), _LEAST_SPAN)
    with panel(ax, height=1.1 + 0.32 * min(max(height, 3), 9)) as axes:
        drawn = axes.pcolormesh(
            np.arange(width + 1) - 0.5, np.arange(height + 1) - 0.5, log, cmap=_MAP, vmin=-span, vmax=span,
            edgecolors="white", linewidth=0.8,
        )  # fmt: skip
        _hatch(axes, np.isnan(log))
        if log.size <= _MOST_NUMBERS:
            _write_numbers(axes, grid.ratio, np.abs(log) > 0.6 * span)
        axes.set_xticks(range(width), [_short(value) for value in grid.x])
        axes.set_yticks(range(height), [_short(value) for value in grid.y])
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
        bar = axes.figure.colorbar(drawn, ax=axes, aspect=14, pad=0.03)
        bar.ax.yaxis.set_major_locator(FixedLocator(ticks := _ticks(span)))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.set_yticks(ticks, [f"{10**tick:.2g}" for tick in ticks])
        bar.set_label(label)
        bar.outline.set_visible(False)  # type: ignore[operator]
    axes.grid(False)
    axes.tick_params(which="both", length=0)
    return axes


def phase_grid(rows: Sequence[Row], x: str, y: str, value: str = "ratio") -> PhaseGrid:
    """A number of rows over two of their names; NaN where no row has it, or where it is None.

    Args:
        rows: one for each cell of a sweep, with the axes that it varies.
        x, y: names of axes.
        value: the name of the number.

    Raises:
        ValueError: two rows of one place: a further axis varies.

    Example:
        >>> rows = [{"alpha": 1.2, "dt": 0.1, "ratio": 1.0}, {"alpha": 1.8, "dt": 0.1, "ratio": None}]
        >>> phase_grid(rows, "alpha", "dt").ratio.tolist()
        [[1.0, nan]]
    """
    places = [_values(rows, name) for name in (x, y)]
    ratio = np.full((len(places[1]), len(places[0])), np.nan)
    seen = set()
    for row in rows:
        place = places[1].index(_plain(row[y])), places[0].index(_plain(row[x]))
        if place in seen:
            raise ValueError(f"Two cells have {x} = {row[x]} and {y} = {row[y]}: hold the other axes at one value.")
        seen.add(place)
        if row.get(value) is not None:
            ratio[place] = row[value]
    return PhaseGrid(tuple(places[0]), tuple(places[1]), ratio)


def contest_grid(rows: Sequence[Row], x: str, y: str, between: str = "dynamics") -> PhaseGrid:
    """The mean exit time of the second of two alternatives over that of the first, by their rates.

    Args:
        rows: one for each cell, with "rate".
        x, y: names of axes.
        between: the axis of the two alternatives.

    Raises:
        ValueError: not two alternatives, or a further axis that varies.

    Example:
        >>> first = {"dynamics": "sgd", "a": 1.2, "b": 0.1, "rate": 2.0}
        >>> rows = [first, {**first, "dynamics": "adam", "rate": 1.0}]
        >>> contest_grid(rows, "a", "b").ratio.item()
        2.0
    """
    names = list(dict.fromkeys(row[between] for row in rows))
    if len(names) != 2:
        raise ValueError(f"{between} has {len(names)} values here: a contest is between two.")
    first, second = (phase_grid([row for row in rows if row[between] == name], x, y, "rate") for name in names)
    if (first.x, first.y) != (second.x, second.y):
        raise ValueError(f"{names[0]} and {names[1]} were not run at the same values of {x} and {y}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = first.ratio / second.ratio
    return PhaseGrid(first.x, first.y, np.where(np.isfinite(ratio) & (ratio > 0), ratio, np.nan))


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    """The values of an axis: numbers rising, all others in the order in which they come."""
    found = list(dict.fromkeys(_plain(row[name]) for row in rows))
    return sorted(found) if all(isinstance(value, (int, float)) for value in found) else found


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _short(value: Any) -> str:
    if isinstance(value, (int, float)):
        return f"{value:.4g}"
    return f"({', '.join(map(_short, value))})" if isinstance(value, tuple) else str(value)


def _hatch(axes: Axes, missing: NDArray[np.bool_]) -> None:
    look: dict[str, Any] = {"facecolor": "#F4F4F4", "edgecolor": GREY, "hatch": "////", "linewidth": 0}
    for row, column in np.argwhere(missing):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **look))
    if missing.any():
        axes.legend(
            handles=[Patch(**look, label=_NO_DATA)], loc="lower left", bbox_to_anchor=(-0.02, 1.0), frameon=False,
            fontsize=7,
        )  # fmt: skip


def _write_numbers(axes: Axes, ratio: NDArray[np.float64], dark: NDArray[np.bool_]) -> None:
    for row, column in np.argwhere(np.isfinite(ratio)):
        color = "white" if dark[row, column] else INK
        axes.text(column, row, f"{ratio[row, column]:.3g}", ha="center", va="center", color=color, fontsize=6.5)


def _ticks(span: float) -> list[float]:
    """Places of a scale of log10: 1 and two numbers on either side."""
    return [-span, -span / 2, 0.0, span / 2, span]
