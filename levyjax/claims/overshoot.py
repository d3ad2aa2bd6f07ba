"""Momentum carries a path out of a basin after its jump: the flow-out set against the set that jumps alone leave."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from levyjax.basins import HalfSpace
from levyjax.claims.base import Claim, Interval, Outcome, Settings, Verdict, judge_together, judge_value, known, shown
from levyjax.claims.figures.curves import points_on_curve
from levyjax.dynamics import Adam, Dynamics, Momentum
from levyjax.escape import EscapeProblem, Plan, exponential_fit, predict, simulate
from levyjax.escape.gauge import exit_rays
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import JumpAdapted
from levyjax.solvers.motion import jump_maps

_ALPHA, _BETA, _TOLERANCE = 1.5, 0.9, 0.02
_DAMPING = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.2)
_REACH = 1e-3  # of a jump of L, as a part of the way to the wall


def rebound(damping: float) -> float:
    """r, how far x'' + b1 x' + b1 k x = 0 from rest at 1 swings to the other side: exp(-pi z/sqrt(1-z^2)).

    Example:
        >>> round(rebound(0.2), 4), rebound(1.0)
        (0.5266, 0.0)
    """
    return math.exp(-math.pi * damping / math.sqrt(1 - damping**2)) if damping < 1 else 0.0


def peak(damping: float) -> float:
    """How far a push takes the heavy ball, as a part of what it would on a flat landscape.

    x'' + b1 x' + b1 k x = 0 from x = 0 with velocity b1, z = sqrt(b1/k)/2, stops first where tan(w t) = sqrt(1-z^2)/z:
    at 2 z exp(-z arccos(z)/sqrt(1-z^2)), and its continuation above z = 1.

    Example:
        >>> [round(peak(z), 4) for z in (0.2, 1.0, 30.0)]
        [0.3025, 0.7358, 0.998]
    """
    if damping == 1:
        return 2 / math.e
    root = math.sqrt(abs(1 - damping**2))
    turned = math.acos(damping) if damping < 1 else math.acosh(damping)
    return 2 * damping * math.exp(-damping * turned / root)


def adam(damping: float) -> EscapeProblem:
    """Frozen-Q Adam, whose noise moves x itself, on x > -1."""
    curvature = _BETA / (2 * damping) ** 2
    dynamics = Adam(variant="frozen", beta1=_BETA, preconditioner=[1.0])
    return _problem(curvature, dynamics, _REACH)


def heavy_ball(damping: float) -> EscapeProblem:
    """Momentum, whose noise pushes m, on x > -1; z = (1 - beta)/(2 sqrt(eta k))."""
    learning_rate = 0.01
    curvature = ((1 - _BETA) / (2 * damping)) ** 2 / learning_rate
    return _problem(curvature, Momentum(learning_rate, _BETA), _REACH * (1 - _BETA))


def _problem(curvature: float, dynamics: Dynamics, noise_level: float) -> EscapeProblem:
    return EscapeProblem(
        Quadratic([curvature]), HalfSpace([-1.0], 1.0), Independent(_ALPHA, [1.0]), dynamics, noise_level
    )


def naive_rate(problem: EscapeProblem) -> float:
    """The rate of the jumps that would leave a basin that the flow keeps: (C/alpha) (epsilon gauge)^alpha."""
    return float(exit_rays(problem, jump_maps(problem)).contributions(float(problem.noise_level)).sum())


def over_naive(damping: float, noise_in_momentum: bool) -> float:
    """Rate with the flow-out set over the naive rate, on the half-line, in closed form.

    A jump towards the wall leaves if it is long enough to get there, one away from it if its rebound is:
    1 + r^alpha, times peak^alpha where the noise pushes the momentum.
    """
    pushed = peak(damping) ** _ALPHA if noise_in_momentum else 1.0
    return pushed * (1 + rebound(damping) ** _ALPHA)


@dataclasses.dataclass(frozen=True)
class Series:
    """Measured rates over the two predictions, by damping ratio; 95% intervals of each."""

    over_naive: list[float]
    naive_intervals: list[Interval]
    over_flow_out: list[float]
    flow_out_intervals: list[Interval]


def measure(make: Callable[[float], EscapeProblem], settings: Settings, seed: int) -> Series:
    """First exits at every damping ratio, over the naive rate and over the flow-out rate."""
    rows = []
    for index, damping in enumerate(_DAMPING):
        problem = make(damping)
        plan = Plan(JumpAdapted(), settings.trials(16_000, 400_000))
        samples = simulate(problem, plan, seed + index)
        fit = exponential_fit(samples.exit_time, samples.exited)
        row = []
        for rate in (naive_rate(problem), known(predict(problem).rate)):
            row += [known(fit.rate) / rate, tuple(end / rate for end in fit.rate_interval)]
        rows.append(row)
    return Series(*(list(column) for column in zip(*rows, strict=True)))


def judge(series: Series) -> Verdict:
    """Whether the jumps that leave by themselves give the rate: everywhere, from critical damping on, or nowhere."""
    each: list[Verdict] = [judge_value(interval, 1.0, _TOLERANCE) for interval in series.naive_intervals]
    if "refuted" not in each:
        return judge_together(each)
    damped = [verdict for verdict, damping in zip(each, _DAMPING, strict=True) if damping >= 1]
    return "refuted" if "refuted" in damped else "holds_within_limits"


def overshoot(settings: Settings) -> Outcome:
    """Adam and the heavy ball on a half-line, for seven damping ratios."""
    seeds = settings.seeds("W-overshoot")
    by_adam, by_momentum = measure(adam, settings, seeds[0]), measure(heavy_ball, settings, seeds[10])
    every = [value for series in (by_adam, by_momentum) for value in series.over_flow_out]
    return Outcome(
        expected=over_naive(_DAMPING[0], False),
        measured=by_adam.over_naive[0],
        ci95=by_adam.naive_intervals[0],
        verdict=judge(by_adam),
        finding=f"At damping ratio {_DAMPING[0]} Adam with its preconditioner at rest leaves at "
        f"{shown(by_adam.over_naive[0])} times the rate of the jumps that leave by themselves (law 1 + r^alpha = "
        f"{shown(over_naive(_DAMPING[0], False))}), from critical damping on at that rate; momentum, whose jumps push "
        f"m, at {shown(by_momentum.over_naive[0])} times it. Over the rate of the jumps after which the noise-free "
        f"flow ever leaves, both are from {min(every):.4f} to {max(every):.4f} at all damping ratios.",
        draw=lambda: _figure(by_adam, by_momentum),
        alt="Exit rate over two predictions against the damping ratio: over the naive one the points follow the two "
        "curves of theory, over the flow-out one they are at 1.",
    )


def _figure(by_adam: Series, by_momentum: Series) -> Any:
    curve = np.linspace(_DAMPING[0], _DAMPING[-1], 200)
    axes = None
    for series, pushed, label in ((by_adam, False, "noise in x"), (by_momentum, True, "noise in m")):
        law = [over_naive(float(z), pushed) for z in curve]
        axes = points_on_curve(
            _DAMPING, series.over_naive, series.naive_intervals, (curve, law), label=f"{label}: over naive", ax=axes
        )
    for series, label in ((by_adam, "noise in x"), (by_momentum, "noise in m")):
        axes = points_on_curve(
            _DAMPING,
            series.over_flow_out,
            series.flow_out_intervals,
            label=f"{label}: over flow-out",
            hollow=True,
            ax=axes,
        )
    axes.set(xlabel="damping ratio $z$", ylabel="measured / predicted exit rate", ylim=(0, 1.75))
    return axes


CLAIMS = (
    Claim(
        "W-overshoot",
        "Adam leaves a basin at the rate of the jumps that leave it by themselves, W = {y : Q^-1 Sigma y outside}.",
        "Zhou et al. 2020, Theorem 1 (its escape set, for Adam)",
        "The measured rate over that rate on a half-line is compared with 1 at each damping ratio from 0.2 to 1.2, "
        f"tolerance {_TOLERANCE}: confirmed if equal at all, holds_within_limits if it differs only below 1, refuted "
        "if it differs from 1 on.",
        overshoot,
    ),
)
