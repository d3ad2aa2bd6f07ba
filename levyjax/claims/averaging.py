"""What Adam's averages do to stable noise (D6), and what its normalisation does to one spike (D5)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax import stable
from levyjax.arrays import cast
from levyjax.claims.base import Claim, Outcome, Settings, judge_above, judge_value, shown
from levyjax.dynamics import Adam, DrivingNoise
from levyjax.dynamics.adam import AdamState
from levyjax.noise import Independent
from levyjax.plots import ratio_forest
from levyjax.random import Counter
from levyjax.tails import block_log_moment

_ALPHA, _BETA = 1.5, 0.9
_LENGTH = 200  # 0.9^200 is 7e-10: the average has forgotten where it began


def averaged_scale(alpha: float, beta: float) -> float:
    """Scale of m = (1 - beta) sum_k beta^k X_k for independent SaS(1) X: (1 - beta)/(1 - beta^alpha)^(1/alpha).

    Example:
        >>> round(averaged_scale(2.0, 0.9), 4)
        0.2294
    """
    return (1 - beta) / (1 - beta**alpha) ** (1 / alpha)


def _average(draws: Any) -> Any:
    """The exponential average along the first axis."""
    return jax.lax.scan(lambda m, x: (_BETA * m + (1 - _BETA) * x, None), jnp.zeros(draws.shape[1:]), draws)[0]


def averaging(settings: Settings) -> Outcome:
    """Estimated tail index of independent exponential averages of stable noise, and of one average in time order."""
    count, seeds = settings.size(40_000, 400_000), settings.seeds("D6")
    draws = stable.sample(seeds[0], _ALPHA, (_LENGTH, count))
    averages = np.asarray(_average(draws), np.float64)
    estimate = block_log_moment(averages)
    scale_ratio = float(np.median(np.abs(averages)) / np.median(np.abs(np.asarray(draws[0], np.float64))))
    series = np.asarray(stable.sample(seeds[1], _ALPHA, (count,)), np.float64)
    in_order = np.empty_like(series)
    m = 0.0
    for place, value in enumerate(series):
        m = _BETA * m + (1 - _BETA) * value
        in_order[place] = m
    ordered = block_log_moment(in_order[_LENGTH:])
    law = averaged_scale(_ALPHA, _BETA)
    return Outcome(
        expected=_ALPHA,
        measured=estimate.alpha,
        ci95=estimate.interval,
        verdict=judge_above(estimate.interval, _ALPHA + 0.05),
        finding=f"The average of SaS({_ALPHA}) noise has tail index {shown(estimate.alpha)} and {shown(scale_ratio)} "
        f"times the scale (law: {shown(law)}). In time order it is {shown(ordered.alpha)}, by dependence.",
        draw=lambda: ratio_forest(
            ["independent averages", "in time order"],
            [estimate.alpha / _ALPHA, ordered.alpha / _ALPHA],
            [tuple(end / _ALPHA for end in one.interval) for one in (estimate, ordered)],
        ),
        alt="Estimated over true tail index of averaged noise: 1 for independent averages, below 1 in time order.",
    )


def spike_cap(beta1: float, beta2: float) -> float:
    """How far one huge gradient moves Adam in all, in learning rates: (1-b1)/[sqrt(1-b2) (1 - b1/sqrt(b2))].

    After the spike m = (1-b1) b1^k G and v = (1-b2) b2^k G^2; the steps m/sqrt(v) add up to a geometric series.

    Example:
        >>> round(spike_cap(0.9, 0.999), 2)
        31.77
    """
    return (1 - beta1) / (math.sqrt(1 - beta2) * (1 - beta1 / math.sqrt(beta2)))


def one_spike(settings: Settings) -> Outcome:
    """Displacement of Adam by single spikes of growing size at iteration 20,000."""
    learning_rate, at, after = 1e-3, 20_000, 400
    sizes = np.array([1e-2, 1.0, 1e2, 1e4, 1e6])
    with jax.enable_x64(True):
        adam = cast(Adam(learning_rate), jnp.float64)
        noise = cast(Independent(2.0, [1.0]), jnp.float64)  # silent: it is multiplied by a noise level of 0
        zero = jnp.zeros((1, sizes.size))

        def step(index: Any, state: AdamState) -> AdamState:
            low = (at + index).astype(jnp.uint32) * jnp.ones(1, jnp.uint32)
            gradient = jnp.where(index == 0, jnp.asarray(sizes)[None], 0.0)
            driving = DrivingNoise(noise, 0.0, Counter(low, low, low, low * 0), 1.0)
            return adam.iterate(state, gradient, driving)

        state = jax.lax.fori_loop(0, after, step, AdamState(zero, zero, zero + 1e-16))
        moved = np.abs(np.asarray(state.x)[0]) / learning_rate
    cap = spike_cap(0.9, 0.999)
    measured = float(moved[-1] / moved[-3])
    return Outcome(
        expected=1.0,
        measured=measured,
        ci95=(measured, measured),
        verdict=judge_value((measured, measured), float(sizes[-1] / sizes[-3]), 1.0),
        finding=f"A spike of {sizes[-1]:g} moves Adam by {shown(float(moved[-1]))} learning rates, one ten thousand "
        f"times smaller by {shown(float(moved[-3]))}: the cap is {shown(cap)}. Equation 5 would move it in proportion.",
        draw=lambda: ratio_forest(
            [f"spike {size:g}" for size in sizes], list(moved / cap), [(m, m) for m in moved / cap]
        ),
        alt="Displacement over the cap for spikes of five sizes: all at 1.",
    )


CLAIMS = (
    Claim(
        "D5",
        "Equation 5 models Adam under stable noise: a jump of the noise moves the point in proportion to its size.",
        "Zhou et al. 2020, equation 5",
        "The ratio of the displacements by spikes of 1e6 and 1e2 is compared with their ratio 1e4; deterministic.",
        one_spike,
    ),
    Claim(
        "D6",
        "Exponential averaging of the gradient lightens the tails of its noise (a larger alpha).",
        "Zhou et al. 2020, section 4.3",
        f"The tail index of averaged SaS({_ALPHA}) noise: confirmed if its interval is above {_ALPHA} + 0.05, refuted "
        "if below.",
        averaging,
    ),
)
