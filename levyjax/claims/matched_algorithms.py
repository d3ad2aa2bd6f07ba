"""The same question (D14) for the algorithms themselves: SGD and Adam, tuned to equal progress under stable noise."""

import dataclasses
import math
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from levyjax.basins import Ball, Ellipsoid
from levyjax.claims.averaging import spike_cap
from levyjax.claims.base import Claim, Outcome, Settings, known, shown
from levyjax.claims.figures.maps import sooner_map
from levyjax.claims.matched_progress import (
    ALPHAS,
    LOSS_LEFT,
    Measured,
    Setting,
    closed_interval,
    count_cells,
    find_root,
    quotient,
    verdict_of,
)
from levyjax.dynamics import SGD, Adam, Dynamics
from levyjax.escape import EscapeProblem, Plan, exponential_fit, simulate, unit_rate
from levyjax.escape.statistics import ExponentialFit
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.plots import PALETTE, style
from levyjax.solvers import Iteration

_ITERATIONS = 100  # in which the loss falls to a tenth
_MEAN_EXIT = 5000  # iterations of SGD, by its law
_LONGEST = 100_000  # iterations, then a run of Adam is censored: 20 of SGD's mean exit times
_NO_WALL = 1e9
_SPIKE = round(spike_cap(0.9, 0.999), 2)  # learning rates: how far one spike moves Adam at most (D5)
_CANDIDATES = np.geomspace(1e-3, 1.0, 22)  # learning rates of Adam


def _sgd_learning_rate(curvatures: np.ndarray) -> float:
    """SGD's learning rate at which the loss falls to a tenth in the given iterations."""

    def left(rate: float) -> float:
        return float(0.5 * ((1 - rate * curvatures) ** (2 * _ITERATIONS)).sum()) - LOSS_LEFT

    return find_root(left, 1e-9, 1 / float(curvatures.max()))


class _Race(NamedTuple):
    """The two algorithms on one problem."""

    setting: Setting
    landscape: Quadratic
    noise: Independent
    level: float
    sgd: SGD

    @classmethod
    def at(cls, setting: Setting) -> "_Race":
        """SGD falls to a tenth in the given iterations, and leaves after the given mean number by its law."""
        landscape, noise = Quadratic(setting.curvatures()), Independent(setting.alpha, setting.scales())
        sgd = SGD(_sgd_learning_rate(setting.curvatures()))
        race = cls(setting, landscape, noise, 1.0, sgd)
        rate = float(unit_rate(race.problem(sgd)))
        return race._replace(level=(_MEAN_EXIT * rate) ** (-1 / setting.alpha) / float(sgd.learning_rate))

    def problem(self, dynamics: Dynamics) -> EscapeProblem:
        basin = Ellipsoid(self.setting.curvatures(), 1.0, np.zeros(2))
        return EscapeProblem(self.landscape, basin, self.noise, dynamics, self.level)

    def loss_left(self, dynamics: Dynamics, count: int, seed: int) -> float:
        """Median loss after the given iterations from the edge, as a part of that there."""
        start = (2 * self.setting.curvatures()) ** -0.5
        problem = dataclasses.replace(self.problem(dynamics), basin=Ball(_NO_WALL, np.zeros(2)), start=start)
        duration = float(dynamics.learning_rate) * (_ITERATIONS + 0.5)
        x = simulate(problem, Plan(Iteration(), count, max_time=duration), seed).exit_position.T.astype(np.float64)
        return float(np.median((self.setting.curvatures()[:, None] * x**2).sum(axis=0)))

    def matched_adam(self, count: int, seed: int) -> Adam | None:
        """Adam at the smallest learning rate that makes SGD's progress; None where none does."""
        target = self.loss_left(self.sgd, count, seed)

        def excess(rate: float) -> float:
            return math.log(self.loss_left(Adam(rate), count, seed) / target)

        above = None
        for rate in map(float, _CANDIDATES):
            if excess(rate) > 0:
                above = rate
            elif above is not None:
                return Adam(find_root(excess, above, rate, 0.003))
        return None

    def exits(self, dynamics: Dynamics, count: int, longest: int, seed: int) -> ExponentialFit:
        """The mean exit time in iterations, from the minimum."""
        duration = float(dynamics.learning_rate) * (longest + 0.5)
        samples = simulate(self.problem(dynamics), Plan(Iteration(), count, max_time=duration), seed)
        return exponential_fit(samples.exit_step, samples.exited)


def _race_cell(setting: Setting, settings: Settings, seed: int) -> Measured:
    race = _Race.at(setting)
    adam = race.matched_adam(settings.size(1000, 10_000), seed)
    if adam is None:
        return Measured(setting, math.nan, None, None, None, None)
    count, longest = settings.trials(128, 512), _LONGEST // (4 if settings.quick else 1)
    late, soon = race.exits(adam, count, longest, seed + 1), race.exits(race.sgd, 4 * count, _LONGEST, seed + 2)
    ratio = float(race.sgd.learning_rate) * race.level / float(adam.learning_rate)
    return Measured(setting, ratio, None, *quotient(late, soon, 1.0))


class _Faster(NamedTuple):
    """Adam at more than equal progress: the longest way of one spike in half-widths, and Adam's time over SGD's."""

    reach: float
    ratio: float | None
    low: float
    high: float | None


def _faster(setting: Setting, settings: Settings, seed: int) -> list[_Faster]:
    race, rows = _Race.at(setting), []
    soon = race.exits(race.sgd, settings.trials(512, 4096), _LONGEST, seed)
    for index, reach in enumerate((0.5, 1.0, 2.0) if settings.quick else (0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 4.0, 8.0)):
        adam = Adam(reach / _SPIKE)
        late = race.exits(adam, settings.trials(128, 512), _LONGEST // (4 if settings.quick else 1), seed + 1 + index)
        value, low, high = quotient(late, soon, 1.0)
        rows.append(_Faster(reach, value, known(low), high))
    return rows


def algorithms(settings: Settings) -> Outcome:
    """Who leaves sooner at equal progress: SGD and Adam themselves, under stable gradient noise."""
    alphas = (1.5,) if settings.quick else ALPHAS
    conditions = (10.0, 100.0) if settings.quick else (3.0, 10.0, 30.0, 100.0)
    alignments = (-0.5, 0.5) if settings.quick else (-0.5, -0.25, 0.0, 0.25, 0.5)
    seeds = settings.seeds("D14-algorithms")
    grid = [Setting(a, c, q) for a in alphas for c in conditions for q in alignments]
    cells = [_race_cell(one, settings, seeds[3 * i]) for i, one in enumerate(grid)]
    raced = [cell for cell in cells if cell.low is not None]
    rows = {q: _faster(Setting(1.5, 10.0, q), settings, seeds[3000]) for q in (-0.5, 0.5)}
    sgd, adam, open_ = count_cells(raced)
    closest = min((cell for cell in raced if cell.measured is not None), key=lambda cell: known(cell.measured))
    bounds = [known(cell.low) for cell in raced if cell.measured is None]
    unmatched = len(cells) - len(raced)
    beyond = (
        f"; in {len(bounds)} of them no run of Adam left, and it stays more than {shown(min(bounds))} times as long"
    )
    return Outcome(
        expected=None,
        measured=known(closest.measured),
        ci95=closed_interval(closest),
        verdict=verdict_of(raced),
        finding=f"SGD leaves sooner in {sgd} of {len(raced)} cells, Adam in {adam}, {open_} cannot be told"
        f"{beyond if bounds else ''}. Measured is the ratio of mean exit iterations, Adam over SGD, where it is least: "
        f"α = {closest.setting.alpha}, condition number {closest.setting.condition:g}, alignment "
        f"{closest.setting.alignment:g}. Its SDE is no guide here: a spike of any size moves Adam by {_SPIKE} learning "
        "rates at most, which is less than the basin's half-width unless the learning rate is some times that of equal "
        "progress; only there does it begin to leave, and only beyond about three half-widths is it sooner than SGD."
        + (f" In {unmatched} cells no learning rate gives Adam SGD's progress." if unmatched else ""),
        draw=lambda: _draw(cells, rows),
        alt="Three maps over condition number and alignment in which SGD leaves sooner everywhere, and the ratio of "
        "mean exit times against the longest way of a spike of Adam: it falls from thousands at half a basin's width "
        "to 1 at about three.",
    )


def _draw(cells: list[Measured], rows: dict[float, list[_Faster]]) -> Any:
    alphas = sorted({cell.setting.alpha for cell in cells})
    rows_of_panels = (len(alphas) + 2) // 2
    with style(figure_figsize=(7.0, 2.7 * rows_of_panels)):
        _, panels = plt.subplots(rows_of_panels, 2, squeeze=False)
        for axes, alpha in zip(panels.ravel(), alphas, strict=False):
            mine = [cell.cell(cell.setting.alignment) for cell in cells if cell.setting.alpha == alpha]
            sooner_map(
                None, None, None, mine, xlabel="condition number", ylabel="alignment q", ax=axes,
                title=f"equal progress, α = {alpha}", colorbar="log₁₀ E K(Adam) / E K(SGD)",
            )  # fmt: skip
            axes.set(xlim=(2, 200), ylim=(-0.6, 0.6))
        _draw_faster(panels[-1, -1], rows)
    return panels[0, 0]


def _draw_faster(axes: Axes, rows: dict[float, list[_Faster]]) -> None:
    """Adam's mean exit time over SGD's against how far one spike can move it."""
    for colour, (alignment, row) in zip(PALETTE, rows.items(), strict=False):
        known_ = [one for one in row if one.ratio is not None]
        errors = [
            [known(one.ratio) - one.low for one in known_],
            [known(one.high) - known(one.ratio) for one in known_],
        ]
        axes.errorbar(
            [one.reach for one in known_], [known(one.ratio) for one in known_], errors, fmt="o-", color=colour,
            label=f"q = {alignment:g}",
        )  # fmt: skip
        bounds = [one for one in row if one.ratio is None]
        axes.plot([one.reach for one in bounds], [one.low for one in bounds], "^", color=colour, fillstyle="none")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.axvline(1, color="black", linestyle="--", linewidth=0.8)
    axes.set(
        xscale="log", yscale="log", xlabel=f"{_SPIKE} η(Adam) / half-width", ylabel="E K(Adam) / E K(SGD)",
        title="α = 1.5, condition number 10",
    )  # fmt: skip
    ticks = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.legend(title="triangles: at least")


CLAIMS = (
    Claim(
        "D14-algorithms",
        "SGD escapes sooner than Adam (the algorithms, at equal progress an iteration, in iterations).",
        "Zhou et al. 2020, abstract, under iid stable gradient noise",
        "As in D14; where no run of Adam left, the lower bound of its mean counts.",
        algorithms,
    ),
)
