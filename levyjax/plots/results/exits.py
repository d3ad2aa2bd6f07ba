"""Figures of what `levyjax escape --out` and `levyjax sweep` write."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from levyjax.config.build import build_plan, build_problem
from levyjax.dynamics import SGD, Adam
from levyjax.escape import EscapeProblem, ExitCode, ExitSamples, simulate_paths
from levyjax.landscapes.base import has_potential
from levyjax.plots.comparisons import Interval, exit_time_scaling, ratio_forest
from levyjax.plots.escape_sets import escape_sets
from levyjax.plots.exits import exponential_qq, survival
from levyjax.plots.landscapes import landscape, outline
from levyjax.plots.phase import contest_grid, phase_diagram, phase_grid
from levyjax.plots.results.base import Choice, Figures, offered
from levyjax.plots.results.exit_cells import (
    NAMES,
    SYMBOLS,
    ExitResult,
    Row,
    axis_name,
    cell_label,
    shown_value,
)
from levyjax.plots.style import legend_above, style
from levyjax.sweep import ChunkStore
from levyjax.sweep.collect import rows_so_far

KINDS = {
    "scaling": "mean exit times against the noise level, with theory, and censored cells as bounds",
    "survival": "survival curves of cells, in units of their mean exit times",
    "exponential-qq": "exit times against the quantiles of Exp(1)",
    "ratio": "simulated over predicted, a row for each cell",
    "phase": "simulated over predicted over two swept axes (--x, --y)",
    "phase-optimizers": "the exit time of one of two optimizers over the other's, over two swept axes",
    "paths": "a basin of the plane with trajectories, their jumps dashed",
    "escape-sets": "jumps that leave a basin of the plane under SGD and under Adam",
}
_MOST_CURVES, _MOST_PATHS, _MOST_STEPS, _MOST_ROWS = 6, 5, 4000, 30
_FEW_CURVES = 3  # that leave room for a legend among them
_MARGIN = 0.4  # of the basin's width, around it


def of_store(store: ChunkStore) -> Figures:
    """The figures of a run or a sweep, finished or not."""
    places = [(place.config, place.cell) for place in store.config.cells]
    axes = tuple(dict.fromkeys(name for place in store.config.cells for name in place.coordinates))
    rows = [{**dict.fromkeys(axes), **row} for row in rows_so_far(store)]
    sampled = (index for index, (config, _) in enumerate(places) if config.run.method != "quasi_stationary")
    timed = any(store.path(index, 0).is_file() for index in sampled)

    def exits(index: int) -> ExitSamples:
        samples = store.ends(index, partial=True)
        assert isinstance(samples, ExitSamples)
        return samples

    return Figures(
        f"levyjax {store.command}", KINDS, kinds_of(ExitResult(rows, axes, exits if timed else None, places))
    )


def kinds_of(result: ExitResult) -> dict[str, Any]:
    """What can be drawn of the cells."""
    rows, done = result.rows, result.done()
    exited = any(rows[index]["exited"] for index in result.timed())
    planar = bool(result.places) and result.places[0][0].dimension == 2
    others = [name for name in result.varying if name != "dynamics"]
    optimizers = len({repr(row.get("dynamics")) for row in rows}) == 2
    return offered(
        {
            "scaling": (any(True for _ in scaling_series(result)), lambda choice: scaling(result)),
            "survival": (exited, lambda choice: survivals(result, choice)),
            "exponential-qq": (bool(_uncensored(result)), lambda choice: _quantiles(result, choice)),
            "ratio": (any(rows[index].get("ratio") for index in done), lambda choice: _ratios(result, choice)),
            "phase": (len(result.varying) > 1, lambda choice: _phase(result, choice)),
            "phase-optimizers": (optimizers and len(others) > 1, lambda choice: _contest(result, choice)),
            "paths": (planar and bool(result.timed()), lambda choice: _paths(result, choice)),
            "escape-sets": (planar, lambda choice: _escape_sets(result, choice)),
        }
    )


class Series(NamedTuple):
    """The cells of one line of `exit_time_scaling`: its label, and what the function takes."""

    label: str
    noise_levels: list[float]
    means: list[float | None]
    intervals: list[Interval]
    predicted: list[float | None]


def scaling_series(result: ExitResult) -> Iterator[Series]:
    """A line for each combination of the other axes that has two noise levels or more.

    Means are 1/rate, so that rates without times count too; a cell without an exit has the bound of its rate.
    """
    names = [name for name in result.axes if name != "noise_level"]
    shown = [name for name in names if name in result.varying]
    groups: dict[str, list[Row]] = {}
    for index in result.done():
        row = result.rows[index]
        if row["rate"] or (row["rate_ci95"] and row["rate_ci95"][1]):
            groups.setdefault(repr([row[name] for name in names]), []).append(row)
    for members in groups.values():
        if len({row["noise_level"] for row in members}) > 1:
            yield Series(
                cell_label(members[0], shown or ["alpha"]),
                [row["noise_level"] for row in members],
                [1 / row["rate"] if row["rate"] else None for row in members],
                [_inverse(row["rate_ci95"]) for row in members],
                [1 / row["predicted_rate"] if row["predicted_rate"] else None for row in members],
            )


def scaling(result: ExitResult) -> Axes:
    """The figure of the exit times against the noise level."""
    axes = None
    with style():
        for line in itertools.islice(scaling_series(result), _MOST_CURVES):
            data = line.noise_levels, line.means, line.intervals, line.predicted
            axes = exit_time_scaling(*data, label=line.label, ax=axes)
        assert axes is not None
        if len(axes.containers) > _FEW_CURVES:
            legend_above(axes, columns=2)
    return axes


def survivals(result: ExitResult, choice: Choice) -> Axes:
    """Survival curves of some cells, each in units of its mean exit time where all have one."""
    assert result.exits is not None
    axes = None
    chosen = _chosen(result, choice, [i for i in result.timed() if result.rows[i]["exited"]], _MOST_CURVES)
    scales = [result.rows[index]["mean_exit_time"] for index in chosen]
    steady = None not in scales
    with style():
        for index, scale in zip(chosen, scales, strict=True):
            row, exits = result.rows[index], result.exits(index)
            finite = exits.exit_code != ExitCode.NONFINITE
            times = exits.exit_time[finite] / (scale if steady else 1.0)
            label, unit = cell_label(row, result.varying), "mean exit times" if steady else "SDE time"
            axes = survival(times, exits.exited[finite], label=label, unit=unit, ax=axes)
    assert axes is not None
    return axes


def _quantiles(result: ExitResult, choice: Choice) -> Axes:
    assert result.exits is not None
    axes = None
    with style():
        for index in _chosen(result, choice, _uncensored(result), 3):
            label = cell_label(result.rows[index], result.varying)
            axes = exponential_qq(result.exits(index).exit_time, label=label or None, ax=axes)
    assert axes is not None
    return axes


def ratio_rows(result: ExitResult, cells: Sequence[int]) -> tuple[list[str], list[float | None], list[Interval]]:
    """Labels, ratios of simulated and predicted, and their intervals, of the cells that have a prediction.

    The ratio is that of mean exit times; of rates where no cell has times.
    """
    labels, ratios, intervals = [], [], []
    times = any(map(_has_times, result.rows))
    for index in cells:
        row = result.rows[index]
        if row["predicted_rate"] and row["rate_ci95"]:
            low, high = row["rate_ci95"]
            ends = _inverse((low, high)) if times else (low, high)
            scale = row["predicted_rate"] if times else 1 / row["predicted_rate"]
            labels.append(cell_label(row, result.varying) or "the cell")
            ratios.append(_ratio(row, times))
            intervals.append(None if ends is None else tuple(None if end is None else end * scale for end in ends))
    return labels, ratios, intervals


def _has_times(row: Row) -> bool:
    """Whether a row is of exit times, or of none that left, and not of a rate without times."""
    return "rate" in row and (row["mean_exit_time"] is not None or row["rate"] is None)


def _ratio(row: Row, times: bool) -> float | None:
    """Simulated over predicted: of mean exit times, or as the row has it."""
    ratio = row.get("ratio")
    return 1 / ratio if ratio and times and not _has_times(row) else ratio


def _ratio_name(result: ExitResult) -> str:
    return ("mean exit time" if any(map(_has_times, result.rows)) else "rate") + " / predicted"


def _ratios(result: ExitResult, choice: Choice) -> Axes:
    able = [
        index for index in result.done() if result.rows[index]["predicted_rate"] and result.rows[index]["rate_ci95"]
    ]
    chosen = _chosen(result, choice, able, _MOST_ROWS)
    some = "" if len(chosen) == len(choice.cells or able) else f" ({len(chosen)} of {len(able)} cells)"
    with style():
        return ratio_forest(*ratio_rows(result, chosen), xlabel=_ratio_name(result) + some)


def _phase(result: ExitResult, choice: Choice) -> Axes:
    x, y = _two_axes(result.varying, choice)
    rows, held = _held(result, [x, y], choice)
    times = any(map(_has_times, result.rows))
    grid = phase_grid([{**row, "ratio": _ratio(row, times)} for row in rows], x, y)
    with style():
        axes = phase_diagram(grid, xlabel=axis_name(x), ylabel=axis_name(y), label=_ratio_name(result))
        axes.set_title(held, fontsize=7.5, loc="right")
    return axes


def _contest(result: ExitResult, choice: Choice) -> Axes:
    x, y = _two_axes([name for name in result.varying if name != "dynamics"], choice)
    rows, held = _held(result, [x, y, "dynamics"], choice)
    first, second = dict.fromkeys(row["dynamics"] for row in rows)
    label = f"exit time of {second} / of {first}"
    with style():
        axes = phase_diagram(contest_grid(rows, x, y), xlabel=axis_name(x), ylabel=axis_name(y), label=label)
        axes.set_title(held, fontsize=7.5, loc="right")
    return axes


def _two_axes(names: Sequence[str], choice: Choice) -> tuple[str, str]:
    for given in (choice.x, choice.y):
        if given is not None and given not in names:
            raise ValueError(f"axis {given[:40]!r} is not among those that vary: {', '.join(names)}.")
    free = [name for name in sorted(names, key=lambda name: name not in NAMES) if name not in (choice.x, choice.y)]
    x = choice.x or free.pop(0)
    y = choice.y or (free.pop(0) if free else x)
    if x == y:
        raise ValueError(f"A phase diagram is over two axes, and both are {x}. The axes are {', '.join(names)}.")
    return x, y


def _held(result: ExitResult, free: Sequence[str], choice: Choice) -> tuple[list[Row], str]:
    """The rows at one value of every axis that is not free, and what these values are.

    An axis that follows from those that are free, as an alpha that only one noise has, is not held.
    """
    others = [name for name in result.varying if name not in free]
    for name, text in choice.where.items():
        values = dict.fromkeys(shown_value(row[name]) for row in result.rows) if name in others else {}
        if text not in values:
            allowed = f"{name} = {', '.join(values)}" if values else f"the axes {', '.join(others) or '(none)'}"
            raise ValueError(f"--where {name[:40]}={text[:40]} does not fit: there are {allowed}.")
    rows, fixed = list(result.rows), dict[str, Any]()
    for name in sorted(others, key=lambda name: name not in choice.where):
        if name not in choice.where and _follows(rows, name, free):
            continue
        text = choice.where.get(name, shown_value(rows[0][name]))
        rows = [row for row in rows if shown_value(row[name]) == text]
        if not rows:
            raise ValueError("No cell has all of " + ", ".join(f"{k}={v}" for k, v in choice.where.items()) + ".")
        fixed[name] = rows[0][name]
    return rows, cell_label(fixed, others)


def _follows(rows: Sequence[Row], name: str, free: Sequence[str]) -> bool:
    """Whether the values of the free axes say that of another."""
    places = {tuple(shown_value(row[axis]) for axis in free) for row in rows}
    return len({(*(shown_value(row[axis]) for axis in free), shown_value(row[name])) for row in rows}) == len(places)


def _paths(result: ExitResult, choice: Choice) -> Axes:
    """Trajectories with the random numbers that they had, those that left within 4000 steps first."""
    (index,) = _chosen(result, choice, result.timed(), 1)
    config, cell = result.places[index]
    assert result.exits is not None
    problem, exits = build_problem(config, cell), result.exits(index)
    soon = np.flatnonzero(exits.exited & (exits.exit_step <= _MOST_STEPS))
    ids = (soon if soon.size else np.arange(exits.exit_step.size))[:_MOST_PATHS]
    steps = int(min(exits.exit_step[ids].max(), _MOST_STEPS))
    paths = simulate_paths(problem, build_plan(config), max(steps, 1), config.run.seed, trajectories=ids.tolist())
    low, high = basin_view(problem)
    with style(figure_figsize=(3.6, 3.4)):
        axes = landscape(problem.landscape, low, high, basin=problem.basin, paths=paths.tracks())
        axes.set_title(cell_label(result.rows[index], [*SYMBOLS]), fontsize=7.5)
    return axes


def _escape_sets(result: ExitResult, choice: Choice) -> Axes:
    (index,) = _chosen(result, choice, range(len(result.rows)), 1)
    problem = build_problem(*result.places[index])
    with style(figure_figsize=(3.6, 3.6)):
        return escape_sets(
            problem.basin, problem.landscape.minimum, optimizer_maps(problem), directions=_jumps(problem),
            landscape=problem.landscape if has_potential(problem.landscape) else None,
        )  # fmt: skip


def optimizer_maps(problem: EscapeProblem) -> dict[str, NDArray[np.float64]]:
    """What multiplies a jump of the noise under SGD and a preconditioner: the problem's own, or the paper's Adam's.

    Samples of a random preconditioner are brought to their median.
    """
    own = problem.dynamics
    if own.is_linear or own.why_no_sde() is not None:
        own = Adam()
    maps = {"SGD": SGD().jump_maps(problem.noise), type(own).__name__: own.jump_maps(problem.noise)}
    return {name: np.median(np.asarray(map, dtype=float), axis=0) for name, map in maps.items()}


def basin_view(problem: EscapeProblem) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of a view of a basin in the plane; where it is open, four times as far as its boundary is near."""
    minimum = np.asarray(problem.landscape.minimum, dtype=float)
    away = np.linalg.norm(outline(problem.basin, minimum, 1e9) - minimum[:, None], axis=0)
    far = away[away < 1e8].max() if (away < 1e8).all() else 4 * away.min()
    line = outline(problem.basin, minimum, far)
    low, high = line.min(axis=1), line.max(axis=1)
    half = (0.5 + _MARGIN) * np.maximum(high - low, 0.7 * (high - low).max())  # no narrow strip
    return (low + high) / 2 - half, (low + high) / 2 + half


def _jumps(problem: EscapeProblem) -> NDArray[np.float64] | None:
    """(2, m), the lines along which the noise jumps, if they are few."""
    measure: Any = problem.noise.spectral_measure() if hasattr(problem.noise, "spectral_measure") else None
    if measure is None or measure.directions.shape[1] > 8:
        return None
    return np.asarray(measure.directions, dtype=float)


def _uncensored(result: ExitResult) -> list[int]:
    """The cells in which all have left."""
    done = [(index, result.rows[index]) for index in result.timed()]
    return [i for i, row in done if row["exited"] and not row["censored"] and not row["nonfinite"]]


def _chosen(result: ExitResult, choice: Choice, able: Sequence[int], most: int) -> list[int]:
    """The cells to draw: those that were asked for, or the first that there is room for."""
    for index in choice.cells:
        if index not in able:
            raise ValueError(f"--cell {index} cannot be drawn so: the cells that can are {_some(able)}.")
    return list(choice.cells or able)[:most]


def _some(able: Sequence[int]) -> str:
    return ", ".join(map(str, list(able)[:8])) + (", ..." if len(able) > 8 else "") if len(able) else "none"


def _inverse(interval: Any) -> Interval:
    """The interval of a mean from that of its rate."""
    low, high = interval
    return (1 / high if high else None, 1 / low if low else None)
