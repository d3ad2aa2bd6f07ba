"""Section 4.2: which of SGD and Adam leaves sooner (D1), and what volume has to do with it (D8)."""

from typing import Any

import numpy as np

from levyjax.basins import Box, Ellipsoid
from levyjax.claims.base import Claim, Interval, Outcome, Settings, judge_above, judge_below, known, mean_ratio, shown
from levyjax.dynamics import SGD, Adam
from levyjax.escape import EscapeProblem, ExitSamples, Plan, exponential_fit, predict, simulate
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.plots import ratio_forest
from levyjax.solvers import Euler

_ALPHA = 1.5


def _mean_ratio(first: ExitSamples, second: ExitSamples) -> tuple[float, Interval]:
    return mean_ratio(*(exponential_fit(one.exit_time, one.exited) for one in (first, second)))


def sgd_against_adam(settings: Settings) -> Outcome:
    """E Gamma of SGD over that of Adam with Q = Sigma, on the paper's own quadratic basin."""
    curvature, scale = [1.0, 0.1], [0.5, 0.05]
    landscape, noise = Quadratic(curvature), Independent(_ALPHA, scale)
    basin = Ellipsoid(curvature, 1.0, [0.0, 0.0])
    adam = Adam(variant="frozen", preconditioner=scale)
    rows = []
    for index, level in enumerate((0.01, 0.05)):
        # N = 10,000 for each; Adam leaves sooner, and its time scale is that of its faster coordinate.
        problems = [EscapeProblem(landscape, basin, noise, dynamics, level) for dynamics in (SGD(), adam)]
        count = settings.trials(4000, 10_000)
        samples = [
            simulate(problem, Plan(Euler(0.1), count), settings.seeds("D1")[2 * index + which])
            for which, problem in enumerate(problems)
        ]
        predicted = known(predict(problems[0]).mean_exit_time) / known(predict(problems[1]).mean_exit_time)
        rows.append((level, predicted, *_mean_ratio(*samples)))
    _, expected, measured, interval = rows[0]
    return Outcome(
        expected=expected,
        measured=measured,
        ci95=interval,
        verdict=judge_below(interval, 1.0),
        finding=f"SGD takes {shown(measured)} times as long as Adam at noise level 0.01 and {shown(rows[1][2])} times "
        f"at 0.05, where the law of the limit is {shown(expected)}: with scales below 1 at equal learning rate it is "
        "slower. The non-escape set's volume goes like det^(-1/2), not det; which is sooner is a matter of units.",
        draw=lambda: ratio_forest(
            [f"ε = {level}" for level, *_ in rows], [row[2] / row[1] for row in rows], [_over(row) for row in rows]
        ),
        alt="Measured over predicted ratio of exit times, SGD over Adam, at two noise levels.",
    )


def _over(row: tuple[float, float, float, Interval]) -> Interval:
    return row[3][0] / row[1], row[3][1] / row[1]


def volume(settings: Settings) -> Outcome:
    """E Gamma of a long thin box, nine times as large, over that of a square."""
    boxes = {"0.3 x 30": ([-0.3, -30.0], [0.3, 30.0]), "1 x 1": ([-1.0, -1.0], [1.0, 1.0])}
    count = settings.trials(4000, 20_000)
    problems = [
        EscapeProblem(Quadratic([1.0, 1.0]), Box(*bounds), Independent(_ALPHA, [1.0, 1.0]), SGD(), 0.005)
        for bounds in boxes.values()
    ]
    samples = [
        simulate(problem, Plan(Euler(0.1), count), settings.seeds("D8")[index])
        for index, problem in enumerate(problems)
    ]
    predicted = [known(predict(problem).mean_exit_time) for problem in problems]
    measured, interval = _mean_ratio(*samples)
    means = [float(one.exit_time.mean()) for one in samples]
    errors = [mean / np.sqrt(count) * 1.96 for mean in means]
    expected = predicted[0] / predicted[1]

    def draw() -> Any:
        return ratio_forest(
            list(boxes),
            [mean / value for mean, value in zip(means, predicted, strict=True)],
            [
                ((mean - error) / value, (mean + error) / value)
                for mean, error, value in zip(means, errors, predicted, strict=True)
            ],
        )

    return Outcome(
        expected=expected,
        measured=measured,
        ci95=interval,
        verdict=judge_above(interval, 1.0),
        finding=f"The box (±0.3) x (±30) has nine times the area of (±1) x (±1) and is left after "
        f"{shown(measured)} times its mean time (law: {shown(expected)}). Larger means later only under inclusion.",
        draw=draw,
        alt="Measured over predicted mean exit time for the thin box and for the square: both at 1.",
    )


CLAIMS = (
    Claim(
        "D1",
        "SGD escapes from the quadratic basin sooner than Adam, because its non-escape set is the smaller.",
        "Zhou et al. 2020, section 4.2",
        "The ratio of mean exit times, SGD over Adam with Q = Sigma, is compared with 1 at noise level 0.01: "
        "confirmed if its interval is below, refuted if above.",
        sgd_against_adam,
    ),
    Claim(
        "D8",
        "The larger the basin's volume (Radon measure of the non-escape set), the longer the escape.",
        "Zhou et al. 2020, section 4.1",
        "The ratio of mean exit times, larger over smaller, is compared with 1: confirmed if above, refuted if below.",
        volume,
    ),
)
