"""What decides a mean exit time: the width under jumps, height over noise without them."""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from levyjax.basins import Box
from levyjax.claims.base import (
    Claim,
    Interval,
    Outcome,
    Settings,
    Verdict,
    judge_above,
    judge_together,
    judge_value,
    known,
)
from levyjax.claims.figures.wells import factor_panel
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, exponential_fit, log_log_slope, predict, simulate
from levyjax.escape.statistics import ExponentialFit, SlopeFit
from levyjax.landscapes import MultiWell
from levyjax.noise import Independent
from levyjax.plots import style
from levyjax.solvers import Euler, JumpAdapted

_ALPHA, _TOLERANCE = 1.5, 0.05
_LEVELS = {"jumps": 0.005, "Brownian": 0.2**0.5}  # noise levels where they do not vary
_VALUES = {
    "height": np.array([0.4, 0.7, 1.0, 1.3, 1.6]),
    "width": np.array([0.5, 0.7, 1.0, 1.4, 2.0]),
    "curvature": np.array([2.0, 2.8, 4.0, 5.6, 8.0]),
    "inverse noise": np.array([2.0, 3.5, 5.0, 6.5, 8.0]),  # 1/epsilon^2; 8000 times that for jumps
}
_BASE = {"height": 1.0, "width": 1.0, "curvature": 4.0, "inverse noise": 5.0}


@dataclasses.dataclass(frozen=True)
class Series:
    """Mean exit times while one thing varies: measured, their 95% intervals, and the laws' values."""

    values: Float[np.ndarray, " n"]
    means: Float[np.ndarray, " n"]
    intervals: Float[np.ndarray, "n 2"]
    predicted: Float[np.ndarray, " n"]
    error: float

    def elasticity(self) -> SlopeFit:
        """d log mean/d log value."""
        return known(log_log_slope(self.values, self.means, self.error))

    def growth(self) -> SlopeFit:
        """d log mean/d value."""
        return known(log_log_slope(np.exp(self.values), self.means, self.error))


def problem(noise: str, **changes: float) -> EscapeProblem:
    """Exit from the middle one of three wells over its two saddles, at plus and minus the width."""
    sizes = _BASE | changes
    width, height, curvature = sizes["width"], sizes["height"], sizes["curvature"]
    landscape = MultiWell(
        [-2 * width, 0.0, 2 * width], [-width, width], [height] * 2, [curvature] * 3, [2.0, 2.0], well=1
    )
    level = _LEVELS[noise] * (_BASE["inverse noise"] / sizes["inverse noise"]) ** 0.5
    law = Independent(_ALPHA if noise == "jumps" else 2.0, [1.0])
    return EscapeProblem(landscape, Box([-width], [width]), law, SGD(), level)


def _cell(noise: str, changes: dict[str, float], settings: Settings, seed: int) -> tuple[ExponentialFit, float]:
    """A simulated mean exit time with its interval, and the law's."""
    one, jumps = problem(noise, **changes), noise == "jumps"
    law = known(predict(one).mean_exit_time)
    solver: Any = JumpAdapted() if jumps else Euler(settings.size(8, 1) * 0.001)
    count = settings.trials(16_000, 40_000) if jumps else settings.trials(400, 1000)
    horizon = law if settings.quick else math.inf  # an exponential law needs no more
    samples = simulate(one, Plan(solver, count, horizon), seed)
    return exponential_fit(samples.exit_time, samples.exited), law


def measure(noise: str, settings: Settings, seed: int) -> dict[str, Series]:
    """Exits at each value of each factor, all others at their base.

    Euler's steps see Brownian exits at their ends only, which makes the means 0.58 epsilon (2 dt)^0.5/width and more
    longer: about 10% in the quick size and 4% in the full one, at all heights alike.
    """
    base, table = _cell(noise, {}, settings, seed), {}
    for row, (factor, every) in enumerate(_VALUES.items()):
        values = every[:: settings.size(2, 1)]
        cells = [
            base
            if value == _BASE[factor]
            else _cell(noise, {factor: float(value)}, settings, seed + 5 * row + index + 1)
            for index, value in enumerate(values)
        ]
        means = np.array([known(fit.mean) for fit, _ in cells])
        intervals = np.array([fit.mean_interval for fit, _ in cells], float)
        error = min(fit.num_exited for fit, _ in cells) ** -0.5
        table[factor] = Series(values, means, intervals, np.array([law for _, law in cells]), error)
    return table


_NOISES = {"jumps": "Lévy noise, α = 1.5", "Brownian": "Brownian"}


def judge_control(width: Interval, nothing: list[Interval], growth: list[Interval]) -> Verdict:
    """The verdict on elasticities under jumps, in width and in what should not matter, and on Brownian growth."""
    return judge_together(
        [
            judge_value(width, _ALPHA, _TOLERANCE),
            *(judge_value(ends, 0.0, _TOLERANCE) for ends in nothing),
            *(judge_above(ends, 0.5) for ends in growth),
        ]
    )


def _draw(table: dict[str, dict[str, Series]]) -> Any:
    import matplotlib.pyplot as plt

    with style(figure_figsize=(6.6, 5.0)):
        panels = plt.figure().subplots(2, 2, sharey=True).ravel()
        for axes, factor in zip(panels, _VALUES, strict=True):
            series = {_NOISES[noise]: table[noise][factor] for noise in _NOISES}
            factor_panel(
                table["jumps"][factor].values / _BASE[factor],
                {label: one.means for label, one in series.items()},
                {label: one.intervals for label, one in series.items()},
                {label: one.predicted for label, one in series.items()},
                xlabel=f"{factor}, relative",
                log=factor in ("width", "curvature"),
                ax=axes,
            )
        for axes in panels[1:]:
            axes.get_legend().remove()
    return panels[0]


def control(settings: Settings) -> Outcome:
    """Mean exit times while height, width, curvature and noise vary each alone, with jumps and without."""
    table = {
        noise: measure(noise, settings, settings.seeds("wells-control")[30 * row]) for row, noise in enumerate(_NOISES)
    }
    jumps, brownian = table["jumps"], table["Brownian"]
    width = jumps["width"].elasticity()
    nothing = [jumps[factor].elasticity() for factor in ("height", "curvature")]
    # per unit of height over epsilon^2: the noise is at its base for the first, the height 1 for the second
    unit = _BASE["inverse noise"]
    by_height, by_noise = brownian["height"].growth(), brownian["inverse noise"].growth()
    around = brownian["width"].elasticity().slope
    growth = [tuple(end / unit for end in by_height.slope_interval), by_noise.slope_interval]
    return Outcome(
        expected=_ALPHA,
        measured=width.slope,
        ci95=width.slope_interval,
        verdict=judge_control(width.slope_interval, [line.slope_interval for line in nothing], growth),
        finding=f"Under jumps the mean grows like width^{width.slope:.3f}, height^{nothing[0].slope:.3f} and "
        f"curvature^{nothing[1].slope:.3f}. Without them its logarithm grows by {by_height.slope / unit:.2f} per unit "
        f"of height/ε² as the height varies and by {by_noise.slope:.2f} as the noise does (exact "
        f"{_exact_growth(brownian['height']) / unit:.2f} and {_exact_growth(brownian['inverse noise']):.2f}). But at "
        f"fixed height and curvature it grows with the width too, like its power {around:.2f}.",
        draw=lambda: _draw(table),
        alt="Mean exit times against height, width, curvature and inverse noise, each varied alone. Under jumps they "
        "are flat but for width and noise; Brownian ones rise exponentially with height and inverse noise.",
    )


def _exact_growth(series: Series) -> float:
    return known(log_log_slope(np.exp(series.values), series.predicted, series.error)).slope


CLAIMS = (
    Claim(
        "wells-control",
        "Driven by jumps, SGD leaves a well after a time that depends on its width only, not on its height or "
        "curvature; driven by Brownian motion, after one that grows exponentially with height and inverse noise.",
        "Imkeller and Pavlyukevich 2006 for the law; Simsekli, Sagun and Gürbüzbalaban 2019 bring it to SGD",
        "Under jumps the elasticities of the mean in height and curvature are compared with 0 and that in width with "
        f"alpha, tolerance {_TOLERANCE}; without them the growth of its logarithm per unit of height/epsilon^2, by "
        "height and by noise, with 0.5. Confirmed if all five are, refuted if one is.",
        control,
    ),
)
