"""Asymmetric valleys: on which side of the minimum the iterates are in the long run."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from levyjax.basins import HalfSpace
from levyjax.claims.base import Claim, Interval, Outcome, Settings, Verdict, judge_above, judge_together
from levyjax.claims.figures.wells import factor_panel
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, simulate
from levyjax.escape.line_chain import LineStep, kept_inside, stable_law, stationary_law
from levyjax.escape.statistics import binomial_interval
from levyjax.landscapes import AsymmetricValley
from levyjax.noise import Independent
from levyjax.plots import style
from levyjax.solvers import Euler

_ALPHAS = (1.2, 1.5, 1.8, 2.0)
_RATIOS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])  # of the steep side's curvature, 1, to the flat one's
_DT, _LEVEL, _RELAXED = 0.1, 0.1, 12.0
_FAR, _NODES, _BEND = 1e4, 1201, 11.0  # of the exact chain: in units of the noise level, sinh-spaced


@dataclasses.dataclass(frozen=True)
class Side:
    """How often iterates are on the flat side, and where their median is in units of the noise level."""

    share: float
    interval: Interval
    exact: float
    law: float
    median: float
    exact_median: float


def share_of_side(curvature: float, other: float) -> float:
    """P(X > 0) in the long run for dX = -c X dt + dL, c = curvature above 0 and other below, L symmetric stable.

    Source:
        sqrt(other)/(sqrt(curvature) + sqrt(other)), whatever alpha. With A(t) the integral of c(X), Y = X exp(A) is a
        stable process S run at the clock s, ds = exp(alpha A) dt, so exp(alpha A) = 1 + alpha D with D = c+ T+ + c- T-,
        T+ and T- the times that S has been above and below 0 until s. The parts of t on either side are then in the
        proportion of p+ and p-, p = E[1{side}/D] at s = 1, by self-similarity. Now c+ p+ + c- p- = 1, and p+ + p- =
        E[1/D] = 1/sqrt(c+ c-), as T+ has the arcsine law for every symmetric stable process (Sparre Andersen 1953).

    Example:
        >>> share_of_side(1.0, 16.0)
        0.8
    """
    return math.sqrt(other) / (math.sqrt(curvature) + math.sqrt(other))


def valley(ratio: float) -> AsymmetricValley:
    """Steep on the left, flat on the right, the minimum at 0."""
    return AsymmetricValley([1.0], [1.0 / ratio])


_law = functools.lru_cache(stable_law)


def exact_side(alpha: float, ratio: float) -> tuple[float, float]:
    """P(flat side) and the median of the long run's law of the iteration."""
    place = np.linspace(-1, 1, _NODES)
    nodes = _LEVEL * _FAR * np.sinh(_BEND * place) / np.sinh(_BEND)
    step = LineStep(valley(ratio), _law(alpha), _LEVEL * _DT ** (1 / alpha - 1), _DT)
    law = stationary_law(kept_inside(step, nodes))
    # mass at a node lies half to its left and half to its right
    below = np.cumsum(law) - law / 2
    return float(1 - np.interp(0.0, nodes, below)), float(np.interp(0.5, below, nodes) / _LEVEL)


def iterates(alpha: float, ratio: float, count: int, seed: int) -> Float[np.ndarray, " n"]:
    """Where paths from the minimum are after twelve relaxations of the flat side."""
    problem = EscapeProblem(valley(ratio), HalfSpace([1.0], 1e30), Independent(alpha, [1.0]), SGD(), _LEVEL)
    return simulate(problem, Plan(Euler(_DT), count, max_time=_RELAXED * ratio), seed).exit_position[:, 0]


def side(alpha: float, ratio: float, count: int, seed: int) -> Side:
    """The share of iterates on the flat side, simulated and exact."""
    x = iterates(alpha, ratio, count, seed)
    flat = int((x > 0).sum())
    share, median = exact_side(alpha, ratio)
    return Side(
        flat / count,
        binomial_interval(flat, count),
        share,
        share_of_side(1 / ratio, 1.0),
        float(np.median(x)) / _LEVEL,
        median,
    )


def judge_sides(intervals: list[Interval]) -> Verdict:
    """Confirmed if all shares are above 1/2, refuted if one is below."""
    return judge_together(judge_above(interval, 0.5) for interval in intervals)


def _draw(ratios: np.ndarray, table: dict[float, list[Side]]) -> Any:
    import matplotlib.pyplot as plt

    labels = {alpha: f"α = {alpha}" if alpha < 2 else "Gaussian" for alpha in table}

    def columns(name: str) -> dict[str, np.ndarray]:
        return {labels[alpha]: np.array([getattr(one, name) for one in sides]) for alpha, sides in table.items()}

    with style(figure_figsize=(6.6, 2.8)):
        left, right = plt.figure().subplots(1, 2)
        options: dict[str, Any] = {"xlabel": "curvature, steep over flat side", "log": True, "ylog": False}
        factor_panel(
            ratios, columns("share"), columns("interval"), columns("exact"), ylabel="P(flat side)", ax=left, **options
        )
        medians = columns("median")
        points = {label: np.stack([value, value], axis=1) for label, value in medians.items()}
        factor_panel(
            ratios, medians, points, columns("exact_median"), ylabel="median / noise level", ax=right, **options
        )
        right.get_legend().remove()
    return left


def flat_side(settings: Settings) -> Outcome:
    """P(flat side) against the ratio of curvatures, for jumps and Gaussian noise."""
    ratios, alphas = _RATIOS[:: settings.size(2, 1)], _ALPHAS[:: settings.size(3, 1)]
    count = settings.trials(20_000, 100_000)
    table = {
        alpha: [
            side(alpha, float(ratio), count, settings.seeds("valley-side")[10 * row + place])
            for place, ratio in enumerate(ratios)
        ]
        for row, alpha in enumerate(alphas)
    }
    last = {alpha: sides[-1] for alpha, sides in table.items()}
    least = min(last.values(), key=lambda one: one.share)
    off = max(abs(one.share - one.exact) for sides in table.values() for one in sides)
    shares = ", ".join(f"{one.share:.3f} at α = {alpha}" for alpha, one in last.items())
    return Outcome(
        expected=least.exact,
        measured=least.share,
        ci95=least.interval,
        verdict=judge_sides([one.interval for sides in table.values() for one in sides[1:]]),
        finding=f"With a side {ratios[-1]:g} times flatter the iterates are on it with probability {shares}. In "
        f"continuous time the law is {least.law:.3f} for every α: the times on the two sides are as "
        f"curvature^-1/2, however heavy the tails. For steps of {_DT:g} the exact chain gives {least.exact:.4f}, and "
        f"over all cases the simulated share is within {off:.4f} of it. Measured is the least of these.",
        draw=lambda: _draw(ratios, table),
        alt="Probability of the flat side and median of the iterates against the ratio of curvatures, for several tail "
        "indices: from 1/2 and 0 rising with the ratio, points on the dashed exact curves.",
    )


CLAIMS = (
    Claim(
        "valley-side",
        "In an asymmetric valley SGD under symmetric noise is on the flat side more often than not.",
        "He, Huang and Yuan 2019, who say it of the averaged iterates of SGD; here for the iterates themselves",
        "The probability of the flat side is compared with 1/2 for every tail index and every ratio of curvatures "
        "above 1: confirmed if all intervals lie above it, refuted if one lies below.",
        flat_side,
    ),
)
