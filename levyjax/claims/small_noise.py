"""What the small-noise picture rests on: paths between jumps (T2), the noise's scale (D2) and its size (D7)."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax import stable
from levyjax.basins import Box
from levyjax.claims.base import (
    Claim,
    Outcome,
    Settings,
    judge_above,
    judge_below,
    judge_together,
    judge_value,
    known,
    shown,
)
from levyjax.claims.figures.curves import points_on_curve
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, exponential_fit, log_log_slope, predict, simulate
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent, sde_noise_level
from levyjax.plots import ratio_forest
from levyjax.solvers import Iteration

_ALPHA, _RHO = 1.5, 0.5
_LEVELS = np.array([0.1, 0.03, 0.01, 0.003])
_DT, _START = 0.05, 1.0
_QUANTILE, _GROUPS = 0.99, 20  # groups of paths give the quantile's error


def deviations(level: float, count: int, seed: int) -> np.ndarray:
    """(count,) largest distance between dx = -(x + x^3) dt + level dL and its noise-free flow before a large jump.

    Both are stepped by Euler. A jump of L is large beyond level^-rho; the step with the first one, and all after it,
    do not count, nor does what comes later than three mean waiting times for it.
    """
    threshold = level**-_RHO
    waiting = threshold**_ALPHA * _ALPHA / (2 * float(stable.tail_constant(_ALPHA)))
    steps = math.ceil(3 * waiting / _DT)
    kicks = stable.sample(seed, _ALPHA, (steps, count)) * _DT ** (1 / _ALPHA)

    def step(carry: Any, kick: Any) -> tuple[Any, None]:
        x, flow, largest, calm = carry
        calm = calm & (jnp.abs(kick) <= threshold)
        x, flow = x - _DT * (x + x**3) + level * jnp.where(calm, kick, 0), flow - _DT * (flow + flow**3)
        return (x, flow, jnp.where(calm, jnp.maximum(largest, jnp.abs(x - flow)), largest), calm), None

    start = jnp.full(count, _START, kicks.dtype)
    first = (start, start, jnp.zeros_like(start), jnp.ones(count, bool))
    return np.asarray(jax.lax.scan(step, first, kicks)[0][2], np.float64)


def near_the_flow(settings: Settings) -> Outcome:
    """How the distance to the flow between large jumps shrinks with the noise level."""
    count = settings.size(2000, 20_000)
    groups = [
        deviations(float(level), count, settings.seeds("T2")[place]).reshape(_GROUPS, -1)
        for place, level in enumerate(_LEVELS)
    ]
    far = np.array([np.quantile(group, _QUANTILE, axis=1) for group in groups])  # (levels, groups)
    means, errors = far.mean(axis=1), far.std(axis=1, ddof=1) / math.sqrt(_GROUPS)
    line = known(log_log_slope(_LEVELS, list(means), float((errors / means).max())))
    intervals = [(mean - 2 * error, mean + 2 * error) for mean, error in zip(means, errors, strict=True)]
    return Outcome(
        expected=None,
        measured=line.slope,
        ci95=line.slope_interval,
        verdict=judge_above(line.slope_interval, 0.0),
        finding=f"On F = x^2/2 + x^4/4 from {_START:g}, 99% of the paths stay within {', '.join(map(shown, means))} "
        f"of the flow until the first jump above epsilon^-{_RHO:g}, or for three mean waiting times, at noise levels "
        f"{', '.join(map(shown, _LEVELS))}: a power {shown(line.slope)} of the noise level. The largest jump that does "
        f"not count moves a path by epsilon^{1 - _RHO:g}.",
        draw=lambda: points_on_curve(
            _LEVELS, list(means), intervals, (_LEVELS, means[-1] * (_LEVELS / _LEVELS[-1]) ** (1 - _RHO)),
            curve_label="slope 1 - ρ", xlabel="noise level ε", ylabel="largest distance, 99% of paths", log="xy",
        ),
        alt="The distance to the flow that 99% of paths keep against the noise level: it falls.",
    )  # fmt: skip


def _algorithm(alpha: float, scale: list[float], learning_rate: float, level: float) -> EscapeProblem:
    ones = [1.0] * len(scale)
    box = Box([-1.0] * len(scale), ones)
    return EscapeProblem(Quadratic(ones), box, Independent(alpha, scale), SGD(learning_rate), level)


def _sde_rate(problem: EscapeProblem, scale: np.ndarray, alpha: float) -> float:
    """Exit rate by the law of the limit, of the SDE whose noise is multiplied by `scale`."""
    level = float(problem.noise_level) * float(sde_noise_level(alpha, problem.dynamics.learning_rate))
    return known(predict(dataclasses.replace(problem, noise=Independent(alpha, scale), noise_level=level)).rate)


def covariance_or_root(settings: Settings) -> Outcome:
    """SGD's exit time over those of the SDEs with Sigma dL and with Sigma^(1/2) dL."""
    scale = [0.5, 0.2]  # of the gradient noise; Sigma is its square
    problem = _algorithm(_ALPHA, scale, 0.05, 0.03)
    samples = simulate(problem, Plan(Iteration(), settings.trials(1000, 20_000)), settings.seeds("D2")[0])
    fit = exponential_fit(samples.exit_time, samples.exited)
    rates = {
        "Σ dL": _sde_rate(problem, np.square(scale), _ALPHA),
        "Σ^(1/2) dL": _sde_rate(problem, np.array(scale), _ALPHA),
    }
    ratios = {name: known(fit.mean) * rate for name, rate in rates.items()}
    low, high = fit.mean_interval
    intervals = {name: (low * rate, known(high) * rate) for name, rate in rates.items()}
    literal, root = ratios.values()
    return Outcome(
        expected=rates["Σ dL"] / rates["Σ^(1/2) dL"],
        measured=literal,
        ci95=intervals["Σ dL"],
        verdict=judge_value(intervals["Σ dL"], 1.0, 0.05),
        finding=f"With gradient noise of scales {scale[0]:g} and {scale[1]:g} SGD's mean exit time is {shown(literal)} "
        f"times that of the equation with Sigma dL, and {shown(root)} times that with Sigma^(1/2) dL. Here Sigma is "
        "the square of the scales: under stable noise there is no covariance.",
        draw=lambda: ratio_forest(list(ratios), list(ratios.values()), list(intervals.values())),
        alt="SGD's mean exit time over that of two equations: 1 with the root of Sigma, below 1 with Sigma.",
    )


def small_steps(settings: Settings) -> Outcome:
    """SGD under stable noise of an index below 1, in the limit of small steps."""
    alpha, learning_rates = 0.7, np.array([1e-3, 1e-4, 1e-5, 1e-6])
    tail = 2 * float(stable.tail_constant(alpha)) / alpha
    limit = tail / math.gamma(1 + alpha)
    rows = []
    for place, eta in enumerate(map(float, learning_rates)):
        problem = _algorithm(alpha, [1.0], eta, 1.0)
        samples = simulate(problem, Plan(Iteration(), settings.trials(2000, 10_000)), settings.seeds("D7")[place])
        fit = exponential_fit(samples.exit_time, samples.exited)
        error = 1.96 * float(np.std(samples.exit_time)) / math.sqrt(samples.exit_time.size)  # not an exponential law
        rate = _sde_rate(problem, np.ones(1), alpha)
        rows.append((known(fit.mean) * rate, ((known(fit.mean) - error) * rate, (known(fit.mean) + error) * rate)))
    measured, interval = rows[-1]
    levels = [float(sde_noise_level(alpha, eta)) for eta in learning_rates]
    return Outcome(
        expected=limit,
        measured=measured,
        ci95=interval,
        verdict=judge_together([judge_below((levels[-1], levels[-1]), 1.0), judge_value(interval, 1.0, 0.05)]),
        finding=f"At an index of {alpha:g} the noise level is {', '.join(map(shown, levels))} at learning rates "
        f"{', '.join(f'{eta:g}' for eta in learning_rates)}: it grows as the steps shrink. SGD's mean exit time is "
        f"{', '.join(shown(row[0]) for row in rows)} times that of Theorem 1 (with D3's constant). The noise wins: "
        f"the limit is the exit of the noise alone, (eta sigma)^-alpha/Gamma(1 + alpha) steps, {shown(limit)} of it.",
        draw=lambda: points_on_curve(
            learning_rates, [row[0] for row in rows], [row[1] for row in rows],
            (learning_rates, np.full(learning_rates.size, limit)), curve_label="noise alone", xlabel="learning rate",
            ylabel="mean exit time × rate of Theorem 1", log="x",
        ),
        alt="SGD's mean exit time over Theorem 1's against the learning rate: it tends to that of the noise alone.",
    )  # fmt: skip


CLAIMS = (
    Claim(
        "T2",
        "Between large jumps the path stays near the noise-free flow.",
        "Zhou et al. 2020, Theorem 2",
        "The power of the noise level with which the distance kept by 99% of paths falls: confirmed if its interval is "
        "above 0.",
        near_the_flow,
    ),
    Claim(
        "D2",
        "The noise of SGD enters its equation as Sigma dL, with Sigma the covariance of the gradient noise.",
        "Zhou et al. 2020, equation 4",
        "E Γ of SGD times the equation's exit rate is compared with 1, tolerance 0.05.",
        covariance_or_root,
    ),
    Claim(
        "D7",
        "The noise level eta^((alpha-1)/alpha) is small, so that Theorem 1 describes SGD, at the indices measured.",
        "Zhou et al. 2020, Theorem 1 (epsilon in (0, 1)) and Figure 3, where the estimated index falls below 1",
        "At an index of 0.7 and a learning rate of 1e-6 the noise level has to be below 1, as the theorem has it, and "
        "E Γ of SGD times the theorem's rate has to be 1, tolerance 0.05.",
        small_steps,
    ),
)
