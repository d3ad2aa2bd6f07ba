"""The paper's question, fairly put (D14): at equal progress an iteration, who leaves sooner, in iterations?

Both methods run on F = x' H x/2 in the sublevel set whose half-width along the steeper axis is 1. H has condition
number c, the noise scales are s_j = lambda_j^q (up to a factor): q, the alignment, is positive where the noise is
stronger along the steeper axis, 1/2 where its covariance is like H. Progress is equal where the loss falls to a tenth
in the same number of iterations from the edge, half of it along each axis.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import root_scalar

from levyjax.basins import Ellipsoid
from levyjax.claims.base import Claim, Interval, Outcome, Settings, Verdict, known, mean_ratio, shown
from levyjax.claims.figures.maps import MeasuredCell, sooner_map
from levyjax.dynamics import SGD, Adam
from levyjax.escape import EscapeProblem, Plan, exponential_fit, predict, simulate
from levyjax.escape.statistics import ExponentialFit
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.plots import style
from levyjax.solvers import JumpAdapted

ALPHAS = (1.2, 1.5, 1.8)
LOSS_LEFT = 0.1
_KAPPA = 300.0  # the limit's bias is 1% at most
_STEEPEST = 0.2  # of the preconditioned flow, below a quarter of Eq. 5's rate 0.9 of m: no overshoot


class Setting(NamedTuple):
    """A problem of the map: tail index, condition number, alignment."""

    alpha: float
    condition: float
    alignment: float

    def curvatures(self) -> np.ndarray:
        return np.array([1.0, 1 / self.condition])

    def scales(self) -> np.ndarray:
        return self.curvatures() ** self.alignment


def find_root(function: Callable[[float], float], low: float, high: float, accuracy: float = 1e-12) -> float:
    """The root between two ends of different sign, to a part of its size."""
    return float(root_scalar(function, bracket=(low, high), method="brentq", rtol=accuracy).root)


def _time_to_a_tenth(rates: np.ndarray) -> float:
    """When the loss has fallen to a tenth, half of it lost at each of two rates."""
    return find_root(lambda t: 0.5 * np.exp(-2 * t * rates).sum() - LOSS_LEFT, 0, 100 / float(rates.min()))


def matched_ratio(setting: Setting) -> float:
    """eta_SGD sigma/eta_Adam at equal progress, for gradient flow and for Q^-1 times it, Q = diag(s)."""
    curvatures = setting.curvatures()
    return _time_to_a_tenth(curvatures) / _time_to_a_tenth(curvatures / setting.scales())


def boundary_ratio(setting: Setting) -> float:
    """eta_SGD sigma/eta_Adam at which both leave equally soon: (sum lambda^(a/2)/sum (lambda s^2)^(a/2))^(1/a)."""
    curvatures, scales, half = setting.curvatures(), setting.scales(), setting.alpha / 2
    return float((curvatures**half).sum() / ((curvatures * scales**2) ** half).sum()) ** (1 / setting.alpha)


def log_ratio(setting: Setting, ratio: float) -> float:
    """log10 of E K_Adam/E K_SGD, mean exit times in iterations, at eta_SGD sigma/eta_Adam = ratio."""
    return setting.alpha * math.log10(ratio / boundary_ratio(setting))


class Measured(NamedTuple):
    """A cell: who left how much later, Adam over SGD in iterations, with a 95% interval (None: open)."""

    setting: Setting
    ratio: float  # of the learning rates
    predicted: float | None
    measured: float | None
    low: float | None
    high: float | None

    def cell(self, y: float) -> MeasuredCell:
        value = self.measured if self.measured is not None else self.low
        log = None if value is None else math.log10(value)
        return MeasuredCell(self.setting.condition, y, log, self.measured is None)


def quotient(
    adam: ExponentialFit, sgd: ExponentialFit, factor: float
) -> tuple[float | None, float | None, float | None]:
    """A ratio of two mean exit times, and the ends of its 95% interval; a bound alone where no run of Adam left."""
    if adam.mean is None:
        return None, factor * adam.mean_interval[0] / known(sgd.mean), None
    value, (low, high) = mean_ratio(adam, sgd)
    return factor * value, factor * low, factor * high


def sde_pair(setting: Setting, ratio: float) -> tuple[EscapeProblem, EscapeProblem]:
    """Eq. 4, and Eq. 5 with Q = Sigma, at noise levels whose learning rates have this ratio and whose limit is near."""
    alpha, scales, curvatures = setting.alpha, setting.scales(), setting.curvatures()
    curvatures = curvatures * _STEEPEST / (curvatures / scales).max()
    landscape, basin = Quadratic(curvatures), Ellipsoid(curvatures, curvatures[0], np.zeros(2))
    width = np.sqrt(curvatures[0] / curvatures)
    # epsilon = eta^((alpha-1)/alpha) for both; the larger of the two that keeps kappa
    factor = ratio ** ((alpha - 1) / alpha)
    kappa = _KAPPA ** (1 / alpha)
    level_sgd = curvatures.min() ** (1 / alpha) / (kappa * (scales / width).max())
    level_adam = (curvatures / scales).min() ** (1 / alpha) / (kappa * (1 / width).max())
    level = min(level_adam, level_sgd / factor)
    noise = Independent(alpha, scales)
    adam = Adam(variant="frozen", preconditioner=scales)
    return (
        EscapeProblem(landscape, basin, noise, SGD(), level * factor),
        EscapeProblem(landscape, basin, noise, adam, level),
    )


def _sde_cell(setting: Setting, ratio: float, count: int, seed: int) -> Measured:
    problems = sde_pair(setting, ratio)
    predicted = [known(predict(problem).mean_exit_time) for problem in problems]
    samples = [simulate(problem, Plan(JumpAdapted(), count), seed + place) for place, problem in enumerate(problems)]
    sgd, adam = (exponential_fit(one.exit_time, one.exited) for one in samples)
    return Measured(setting, ratio, ratio * predicted[1] / predicted[0], *quotient(adam, sgd, ratio))


def _sde_cells(settings: Settings) -> tuple[list[Measured], list[Measured]]:
    """Cells at equal progress, and cells close to the boundary and farther off on either side of it."""
    alphas = (1.5,) if settings.quick else ALPHAS
    conditions = (10.0, 100.0) if settings.quick else (3.0, 10.0, 30.0, 100.0)
    alignments = (-0.5, 0.0, 0.5) if settings.quick else (-0.5, -0.25, 0.0, 0.25, 0.5)
    count, seeds = settings.size(2000, 10_000), settings.seeds("D14")
    grid = [Setting(a, c, q) for a in alphas for c in conditions for q in alignments]
    matched = [_sde_cell(one, matched_ratio(one), count, seeds[2 * i]) for i, one in enumerate(grid)]
    aside = [
        _sde_cell(one, boundary_ratio(one) * factor, count, seeds[2000 + 2 * i])
        for i, (one, factor) in enumerate(
            (Setting(1.5, c, 0.5), factor) for c in conditions for factor in (1 / 4, 1 / 1.25, 1.25, 4.0)
        )
    ]
    return matched, aside


def count_cells(cells: list[Measured]) -> tuple[int, int, int]:
    """In how many cells SGD leaves sooner, Adam does, and it cannot be told."""
    sgd = sum(cell.low is not None and cell.low > 1 for cell in cells)
    adam = sum(cell.high is not None and cell.high < 1 for cell in cells)
    return sgd, adam, len(cells) - sgd - adam


def verdict_of(cells: list[Measured]) -> Verdict:
    """By who leaves sooner in how many of the cells."""
    sgd, adam, _ = count_cells(cells)
    if sgd and adam:
        return "holds_within_limits"
    if 2 * max(sgd, adam) <= len(cells):
        return "undecided"
    return "confirmed" if sgd else "refuted"


def sde_map(settings: Settings) -> Outcome:
    """Who leaves sooner at equal progress, by the two SDEs with Q = Sigma."""
    matched, aside = _sde_cells(settings)
    sgd, adam, open_ = count_cells(matched)
    off = [abs(math.log(known(cell.measured) / known(cell.predicted))) for cell in (*matched, *aside)]
    shared = Setting(1.5, 100.0, 0.5)
    main = next(cell for cell in matched if cell.setting == shared)
    return Outcome(
        expected=10 ** log_ratio(shared, matched_ratio(shared)),
        measured=known(main.measured),
        ci95=closed_interval(main),
        verdict=verdict_of(matched),
        finding=f"SGD leaves sooner in {sgd} of {len(matched)} cells, Adam in {adam}, {open_} are too close to tell. "
        "The alignment decides: at equal progress SGD leaves sooner where the noise is stronger along the steeper "
        "axis (q > 0), Adam where it is stronger along the flatter one; at q = 0 the two are one process. Measured is "
        f"the ratio of mean exit iterations, Adam over SGD, at α = 1.5, condition number 100 and q = 1/2. All "
        f"{len(off)} measured ratios are within {shown(100 * math.expm1(max(off)))}% of the law's.",
        draw=lambda: _draw_sde(matched, aside),
        alt="Four maps of who leaves sooner: over condition number and learning-rate ratio at alignment 1/2, with the "
        "line of equal progress above the boundary; and over condition number and alignment at equal progress for the "
        "tail indices, where the sign of the alignment decides. Measured squares have the colours of the law behind.",
    )


def closed_interval(cell: Measured) -> Interval:
    return known(cell.low), known(cell.high)


def _draw_sde(matched: list[Measured], aside: list[Measured]) -> Any:
    conditions = np.geomspace(2, 200, 60)
    with style(figure_figsize=(7.0, 5.4)):
        _, panels = plt.subplots(2, 2)
        ratios = np.geomspace(0.2, 30, 60)
        background = np.array([[log_ratio(Setting(1.5, c, 0.5), r) for c in conditions] for r in ratios])
        texts = {"xlabel": "condition number", "colorbar": "log₁₀ E K(Adam) / E K(SGD)"}
        first = panels[0, 0]
        sooner_map(
            conditions, ratios, background, [cell.cell(cell.ratio) for cell in aside], ax=first,
            ylabel="η(SGD) σ / η(Adam)", title="α = 1.5, alignment 1/2", **texts,
        )  # fmt: skip
        first.set_yscale("log")
        line = [matched_ratio(Setting(1.5, c, 0.5)) for c in conditions]
        first.plot(conditions, line, "--", color="black", linewidth=1.2, label="equal progress")
        first.legend(loc="lower right")
        first.set_ylim(0.2, 30)
        alignments = np.linspace(-0.6, 0.6, 60)
        for axes, alpha in zip(panels.ravel()[1:], ALPHAS, strict=True):
            mine = [cell.cell(cell.setting.alignment) for cell in matched if cell.setting.alpha == alpha]
            grid = [[Setting(alpha, c, q) for c in conditions] for q in alignments]
            background = np.array([[log_ratio(one, matched_ratio(one)) for one in row] for row in grid])
            title = f"equal progress, α = {alpha}"
            sooner_map(conditions, alignments, background, mine, ylabel="alignment q", title=title, ax=axes, **texts)
    return panels[0, 0]


CLAIMS = (
    Claim(
        "D14",
        "SGD escapes sooner than Adam (by their SDEs, at equal progress an iteration, in iterations).",
        "Zhou et al. 2020, abstract and section 4.2, where neither learning rates nor progress are matched",
        "In each cell of condition number, alignment and α the ratio of mean exit iterations is compared with 1 by its "
        "95% interval: confirmed if SGD leaves sooner in more than half and Adam in none, refuted if the other way "
        "round, within limits if each does in some.",
        sde_map,
    ),
)
