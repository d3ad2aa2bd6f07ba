"""Predicted exit rates: the gauge formula, its validity, and what it says about where the exit happens."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import column
from levyjax.checks import require_kind
from levyjax.escape.bias import why_unknown_if_skewed
from levyjax.escape.brownian import brownian_interval, driftless_ball, noise_of_steps, of_steps
from levyjax.escape.draw_rates import one_draw
from levyjax.escape.ends import Ends
from levyjax.escape.fate import follow_jumps, slowest_at_rest
from levyjax.escape.gauge import ExitRays, closed_form, found_rays, why_no_noise_at_rest
from levyjax.escape.kramers import ways_out
from levyjax.escape.landscape_check import why_undefined
from levyjax.escape.prediction import Prediction, crossing_reason, face_shares, in_steps, refused, step_reasons
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.saddles import saddle_reasons
from levyjax.escape.validity import MAX_BIAS, MAX_ERROR, NO_DRIFT, adam_noise_level_limit, limit_reasons
from levyjax.escape.ways import NotKnown
from levyjax.interpret import interpreted
from levyjax.landscapes import Flat
from levyjax.landscapes.base import has_potential
from levyjax.noise import LevyNoise, StateDependent, StepNoise, sde_noise_level
from levyjax.noise.base import has_jumps
from levyjax.noise.skewness import mirrored, skewness
from levyjax.noise.spectral import sum_error
from levyjax.schedules import Schedule
from levyjax.schedules.base import FIXED
from levyjax.solvers import Iteration, Solver
from levyjax.solvers.limits import require_solver
from levyjax.solvers.linear_motion import linear_motion
from levyjax.solvers.motion import growth_at_rest, hessian_of, jump_maps

_RANGE = (1e-250, 1e250)  # of noise_level^alpha, with room for what multiplies it
_STATE_DEPENDENT = (
    "The dispersion depends on the point: away from the minimum it changes mean exit times by a further part of the "
    "order of 1/kappa, which is not in this measure of validity."
)


_SKEWED_AT_ONE = (
    "At alpha = 1 skewed draws have a drift that goes with the logarithm of the learning rate, for which no rate is "
    "worked out: simulate the iteration, or take the SDE."
)


def _noise_level(problem: EscapeProblem, solver: Solver | None, alpha: Any) -> np.ndarray:
    """The noise level of the SDE that the solver follows, along rays of this tail index."""
    level = np.full(np.shape(alpha), float(problem.noise_level))
    if isinstance(solver, Iteration):
        return level * sde_noise_level(np.asarray(alpha), float(problem.dynamics.learning_rate))
    return level


def _without_jumps(problem: EscapeProblem, solver: Solver | None) -> Prediction:
    """alpha = 2 and Gaussian noise: the exact Brownian law where it is known."""
    if not has_potential(problem.landscape):
        return refused("alpha = 2 has no jumps, and no Brownian law is known for a drift without a potential.")
    level = float(_noise_level(problem, solver, 2.0))
    names = problem.basin.face_names(problem.dimension)
    if not problem.dynamics.is_gradient_flow:
        name = type(problem.dynamics).__name__
        return refused(f"alpha = 2 has no jumps, and no formula is known for {name} under Gaussian noise.")
    if steps := step_reasons(problem, solver):
        return refused(steps[0])

    def law(level: float, beyond: float = 0.0) -> tuple[float, float] | None:
        """Mean exit time and, on the line, the probability of leaving above."""
        if problem.dimension == 1:
            return brownian_interval(problem, level, beyond)
        mean = driftless_ball(problem, level, beyond)
        return None if mean is None else (mean, math.nan)

    mean, above = law(level) or (math.inf, math.nan)
    if not math.isfinite(mean):
        return _eyring_kramers(problem, solver, level)
    probabilities, reasons = {}, []
    if len(names) == 2 and math.isfinite(above):
        probabilities = {names[0]: 1 - above, names[1]: above}
    step_time = None if solver is None else solver.step_time(problem)
    later = 0.0 if step_time is None else of_steps(mean, law, problem, level, float(step_time))
    if later > MAX_BIAS:
        reasons.append(_once_a_step(later))
    reasons.append(
        "alpha = 2 has no jumps: this is the exact mean exit time of the Brownian SDE, not the jump formula."
    )
    valid, steps = later <= MAX_BIAS, in_steps(mean, problem, solver)
    return Prediction(1 / mean, 0.0, mean, steps, probabilities, None, valid, tuple(reasons))


def _eyring_kramers(problem: EscapeProblem, solver: Solver | None, level: float) -> Prediction:
    """Brownian exits from a well, in the limit of small noise: across saddles and through walls."""
    try:
        ways = ways_out(problem)
    except NotKnown as error:
        return refused(f"alpha = 2 has no jumps, and no Brownian mean exit time is known here: {error}.")
    rates = ways.rates(level)
    rate, names = float(rates.sum()), problem.basin.face_names(problem.dimension)
    if rate < _RANGE[0]:
        return refused("The noise is so small that the mean exit time is beyond the numbers of double precision.")

    def law(level: float, beyond: float) -> tuple[float, float]:
        return 1 / float(ways.rates(level, beyond).sum()), math.nan

    shares = dict.fromkeys(names, 0.0)
    for way, part in zip(ways.ways, rates / rate, strict=True):
        shares[names[way.face]] += float(part)
    step_time = None if solver is None else solver.step_time(problem)
    bias = ways.bias(level)
    if not bias < 1:
        return refused(
            "alpha = 2 has no jumps, and the Eyring-Kramers law is not near here: the barrier is too low for this "
            "noise, or the boundary's lowest points are not isolated or lie on its edges."
        )
    later = 0.0 if step_time is None else of_steps(1 / rate, law, problem, level, float(step_time))
    reasons = [_once_a_step(later)] if later > MAX_BIAS else []
    if (part := ways.elsewhere(level)) > MAX_BIAS:
        reasons.append(
            f"Another well inside is reached {part:.2g} times as often as the outside, and how long paths stay there "
            "is not counted."
        )
    if bias > MAX_BIAS:
        reasons.insert(
            0, f"The barrier is low for this noise: the next term of the law is about {100 * bias:.2g}% of it."
        )
    valid = not reasons
    reasons.append("alpha = 2 has no jumps: this is the Eyring-Kramers law of Brownian noise, not the jump formula.")
    steps = in_steps(1 / rate, problem, solver)
    return Prediction(rate, 0.0, 1 / rate, steps, shares, None, valid, tuple(reasons), min(float(bias), 1.0))


def _once_a_step(part: float) -> str:
    return (
        f"Exits are looked for once a step: the mean exit time of the steps is about {100 * part:.2g}% off this one "
        "in continuous time."
    )


def _adam_reasons(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> list[str]:
    rates = problem.dynamics.paper_rates()
    if rates is None or not has_potential(problem.landscape):
        return []  # the condition is one on heights of F
    hessian_min = float(np.linalg.eigvalsh(hessian_of(problem.landscape)).min())
    v_max = float((1 / np.asarray(maps)).max())
    gap = float(_height(problem))
    limit = adam_noise_level_limit(hessian_min, v_max, float(rates[0]), float(rates[1]), gap)
    if float(problem.noise_level) <= limit:
        return []
    return [
        f"Theorem 1's own condition for Adam, from the edge of this basin, holds only below noise_level = {limit:.2g} "
        f"(D9); the formula here does not need it."
    ]


@interpreted
def _height(problem: EscapeProblem) -> Array:
    """How far F rises at most from the minimum to the boundary, along the axes."""
    origin = jnp.asarray(problem.landscape.minimum)
    axes = jnp.concatenate([jnp.eye(problem.dimension), -jnp.eye(problem.dimension)], axis=1)
    gauge = problem.basin.gauge(origin, axes)
    wall = column(origin, axes) + axes / jnp.where(gauge > 0, gauge, jnp.inf)
    return jnp.max(problem.landscape.value(wall)) - problem.landscape.value(origin)


def _out_of_range(problem: EscapeProblem, solver: Solver | None) -> str | None:
    """Why rates at this noise level are no numbers; None where they are."""
    alpha = np.asarray(problem.noise.alpha, float)
    with np.errstate(over="ignore", under="ignore"):
        sizes = _noise_level(problem, solver, alpha) ** alpha
    if ((sizes > _RANGE[0]) & (sizes < _RANGE[1])).all():
        return None
    return (
        f"noise_level = {float(problem.noise_level):.3g} to the power alpha is beyond the numbers of double precision: "
        "give the problem in other units."
    )


def _why_unstable(problem: EscapeProblem, solver: Solver | None) -> str | None:
    """Why an optimizer comes to rest nowhere where a drift that is no gradient does; None where it comes to rest."""
    growth = growth_at_rest(problem, solver)
    if growth == 0:
        return None
    return (
        f"{type(problem.dynamics).__name__} is unstable at this drift's attractor: without noise it grows away from it "
        f"at a rate of {growth:.3g}, so that no small-noise rate belongs to it; simulate it by Euler's steps."
    )


def _with_jumps(problem: EscapeProblem, solver: Solver | None) -> Prediction:
    """The rate of jumps whose fate is an exit, and through the wells that they lead to inside, if there are any."""
    if steps := step_reasons(problem, solver):
        return refused(steps[0])
    if (reason := _why_unstable(problem, solver)) is not None:
        return refused(reason)
    if linear_motion(problem, solver) is None and slowest_at_rest(problem, solver) == 0:
        return dataclasses.replace(refused(NO_DRIFT), kappa=0.0)  # nothing comes back, so there is nothing to follow
    if (reason := _out_of_range(problem, solver)) is not None:
        return refused(reason)
    jump_fates = follow_jumps(problem, solver)
    well, level = jump_fates.wells[0], _noise_level(problem, solver, jump_fates.rays.alpha)
    ends = Ends(jump_fates, level)
    if (reason := ends.why_no_mean()) is not None:
        return refused(reason)
    reasons: list[str] = []
    slowest = well.motion.modes.slowest()
    rate, error, shares, kappa = ends.rate(), ends.error(), (ends.shares(), ends.share_error()), ends.kappa()
    rays = found_rays(problem, jump_maps(problem)) if jump_fates.plain else None
    unknown = why_unknown_if_skewed(jump_fates, level)
    if rays is not None:
        rate, error, shares, kappa = _gauge_formula(problem, solver, rays, ends)
    elif not ends.chain:
        reasons.append(
            f"{crossing_reason(problem)}: the rate counts every jump after which the noise-free flow leaves."
        )
    if rate == 0:
        lost = 100 * ends.undecided()
        end = f"{lost:.3g}% of those that do not come back could not be followed to their end" if lost else ""
        return refused(f"No jump leaves this basin: {end or 'no ray along the noise reaches its boundary'}.")
    limits = [unknown] if unknown else _limits(problem, solver, ends, rays, kappa, rate)
    if error > MAX_ERROR * rate:
        limits.append(f"The rate is sampled, with a standard error of {100 * error / rate:.2g}%.")
    limits += ends.doubts()
    notes = _adam_reasons(problem, jump_maps(problem)) + ends.notes()
    if np.min(np.asarray(problem.noise.alpha)) < 1:
        notes.append(
            "alpha < 1: the paper's noise level learning_rate^((alpha-1)/alpha) is above 1 and grows as the learning "
            "rate falls, so its small-noise theory does not describe small learning rates (D7)."
        )
    symmetric = skewness(problem.noise) is None
    no_drift = symmetric and slowest == 0 and np.ptp(level) == 0 and problem.dynamics.is_gradient_flow
    mean = driftless_ball(problem, float(level[0])) if no_drift else None
    if mean is not None:
        limits = [
            "No drift: the exact mean exit time of the noise alone (Getoor 1961) is given, not a small-noise rate."
        ]
        step_time = None if solver is None else solver.step_time(problem)
        later = (
            0.0 if step_time is None else noise_of_steps(float(ends.jump_fates.rays.alpha[0]), mean, float(step_time))
        )
        limits += [_once_a_step(later)] if later > MAX_BIAS else []
        rate, valid = 1 / mean, later <= MAX_BIAS
    else:
        mean, valid = 1 / rate, not limits
    steps_of_mean = in_steps(mean, problem, solver)
    said = (*limits, *reasons, *notes)
    lost = ends.undecided()
    error = math.hypot(error, rate * lost / max(1 - lost, 1e-300)) if lost else error
    share_error = min(shares[1] + ends.shift() + lost, 1.0)
    return Prediction(rate, error, mean, steps_of_mean, shares[0], kappa, valid, said, share_error)


def _limits(
    problem: EscapeProblem, solver: Solver | None, ends: Ends, rays: ExitRays | None, kappa: float, rate: float
) -> list[str]:
    """Why the limit is not reached at this noise level; nothing where it is."""
    if kappa == 0:
        return [NO_DRIFT]
    if rays is not None and not isinstance(problem.noise, StateDependent):
        reasons = saddle_reasons(problem, rays, _noise_level(problem, solver, rays.alpha), rate)
        if reasons:
            return reasons
    return limit_reasons(kappa, ends.bias(), ends.chain)


def _gauge_formula(
    problem: EscapeProblem, solver: Solver | None, rays: ExitRays, ends: Ends
) -> tuple[float, float, tuple[dict[str, float], float], float]:
    """Rate, its error, the faces and theirs, and kappa where the jumps that leave are those that lie outside."""
    level = _noise_level(problem, solver, rays.alpha)
    parts = np.asarray(rays.contributions(level))
    rate, error = float(parts.sum()), 0.0
    closed = closed_form(problem, jump_maps(problem))
    if closed is not None:
        rate = float(level) ** float(problem.noise.alpha) * closed
    else:
        error = sum_error(parts, rays)
    if rate == 0:
        return 0.0, 0.0, ({}, 0.0), math.inf
    gauge, alpha = np.asarray(rays.gauge), np.broadcast_to(np.asarray(rays.alpha, float), parts.shape)
    reach = (np.broadcast_to(level, parts.shape) * gauge)[parts > 0]
    slowest = ends.jump_fates.wells[0].motion.modes.slowest()
    return rate, error, face_shares(problem, rays, parts), float(slowest * (reach ** -alpha[parts > 0]).min())


def predict(problem: EscapeProblem, solver: Solver | None = None) -> Prediction:
    """The exit rate at small noise, whether it may be believed here, and through which face the exit goes.

    Args:
        problem: what leaves what.
        solver: for which solver; `Iteration()` for the optimizer itself, whose rate is that of the SDE at
            noise_level * learning_rate^((alpha-1)/alpha). Default the SDE in continuous time.

    Returns:
        The prediction; 1/rate is the mean exit time and rate times exit time tends to Exp(1) as kappa grows.

    Example:
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [2.0]), Independent(1.5, [1.0]), SGD(), 0.01)
        >>> prediction = predict(problem)
        >>> prediction.valid, round(prediction.mean_exit_time, 1), round(prediction.exit_probabilities["x0<lower"], 4)
        (True, 3703.8, 0.7388)
    """
    require_kind(problem, EscapeProblem, "problem")
    if solver is not None:
        require_solver(solver)
    if isinstance(problem.noise_level, Schedule):
        return refused(f"{FIXED}.")
    with jax.enable_x64(True):
        minimum = np.asarray(problem.landscape.minimum)
        if (reason := problem.dynamics.why_no_rate(isinstance(solver, Iteration), minimum)) is not None:
            return refused(reason)
        if (reason := why_undefined(problem.landscape, problem.basin)) is not None:
            return refused(reason)
        if isinstance(solver, Iteration) and problem.dynamics.learning_rate is None:
            raise ValueError("The iteration needs a learning_rate.")
        if isinstance(solver, Iteration) and (beta := skewness(problem.noise)) is not None:
            if ((np.broadcast_to(problem.noise.alpha, np.shape(beta)) == 1) & (np.asarray(beta) != 0)).any():
                return refused(_SKEWED_AT_ONE)
            problem = dataclasses.replace(problem, noise=mirrored(problem.noise))  # the noise of a gradient
        if isinstance(problem.noise, StateDependent):
            if not has_jumps(problem.noise.driver) or isinstance(problem.landscape, Flat):
                return refused("With a dispersion A(x) a rate is known for jumps against a drift only.")
            if (reason := why_no_noise_at_rest(problem)) is not None:
                return refused(reason)
            if problem.noise.kind == "marcus" and not problem.dynamics.is_gradient_flow:
                return refused("Marcus noise is for SGD, where it moves the point itself.")
            if problem.noise.kind == "ito":
                frozen = problem.noise.frozen(jnp.asarray(minimum))
                problem = dataclasses.replace(problem, noise=frozen)
            prediction = _with_jumps(problem, solver)
            return dataclasses.replace(prediction, reasons=(*prediction.reasons, _STATE_DEPENDENT))
        if not isinstance(problem.noise, LevyNoise):
            if not isinstance(solver, Iteration):
                return refused("This noise is drawn once a step of the optimizer itself (method = 'iteration').")
            if isinstance(problem.noise, StepNoise):
                return one_draw(problem, solver)
            return refused(f"No exit rate is known for {type(problem.noise).__name__} noise.")
        if not has_jumps(problem.noise):
            return _without_jumps(problem, solver)
        return _with_jumps(problem, solver)
