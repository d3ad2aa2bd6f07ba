"""Predicted exit rates: the gauge formula, its validity, and what it says about where the exit happens."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import as_matrix, column
from levyjax.basins import Ball, Box, HalfSpace
from levyjax.dynamics import SGD, Adam, IterationOnly, Momentum, RMSProp
from levyjax.escape.brownian import brownian_interval, driftless_ball
from levyjax.escape.flow import flow_out_gauge, relaxation_spectrum
from levyjax.escape.passage import Outside, passage, why_no_passage_rate
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.validity import adam_noise_level_limit, bias_constant, limit_reasons
from levyjax.landscapes import Flat
from levyjax.noise import (
    Independent,
    LevyNoise,
    Pareto,
    PerCoordinate,
    Rotational,
    StateDependent,
    StepNoise,
    StudentT,
    has_jumps,
    sde_noise_level,
)
from levyjax.solvers import Iteration, Solver
from levyjax.stable import radial_tail_constant, tail_constant

_FLOW_RAYS = 512
_DRAW_RAYS = 4096
_STATE_DEPENDENT = (
    "The dispersion depends on the point: away from the minimum it changes mean exit times by a further part of the "
    "order of 1/kappa, which is not in this measure of validity."
)
_CROSSED = "The noise-free flow crosses this basin's boundary from inside"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the small-noise theory says about an exit problem. A number that theory does not give is None.

    Attributes:
        rate: exits per unit of the SDE's time (learning_rate times iterations for an iteration).
        rate_error: standard error of the rate where it was integrated by sampling, else 0.
        mean_exit_time: 1/rate, or the exact mean where one is known.
        mean_exit_steps: mean_exit_time in steps of the solver.
        exit_probabilities: probability of leaving through each face.
        kappa: relaxation rate times the time scale of jumps as long as the basin is wide, the worst direction's.
        valid: whether the limit's bias is known to be below 2% here.
        reasons: why not, and what else a reader should know.
    """

    rate: float | None
    rate_error: float
    mean_exit_time: float | None
    mean_exit_steps: float | None
    exit_probabilities: dict[str, float]
    kappa: float | None
    valid: bool
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Rays:
    """Jump rays after the optimizer: directions (d, rays), weights, alpha and gauges (rays,)."""

    directions: Array
    weights: Array
    alpha: Any
    gauge: Array
    replicates: int

    def contributions(self, level: Any) -> Array:
        """The rate of exits along each ray, at a noise level (one for each ray where that depends on alpha)."""
        leads_out = self.gauge > 0
        reach = level * jnp.where(leads_out, self.gauge, 1)  # so that no derivative is taken of 0^alpha
        return self.weights * jnp.where(leads_out, reach**self.alpha, 0)


def unit_rate(problem: EscapeProblem) -> Float[Array, ""]:
    """The gauge formula at noise level 1: sum over jump rays of weight times gauge^alpha.

    Differentiable in every parameter of the landscape, basin and noise. The exit rate at a small noise level is
    noise_level^alpha times this, in a basin that the noise-free flow does not leave. Where each coordinate has its own
    alpha, that power goes into the sum.

    Source:
        A jump epsilon A y leaves a star-shaped basin from its centre iff it is longer than 1/gauge in its direction;
        integrate the Lévy measure over those. Independent coordinates: (C/alpha) sum_j [g(A_j)^alpha + g(-A_j)^alpha];
        rotation-invariant: K E[g(A U)^alpha]. Compare Imkeller and Pavlyukevich 2006, and Imkeller, Pavlyukevich and
        Wetzel 2009 in several dimensions.
    """
    maps = problem.dynamics.jump_maps(problem.noise)
    return exit_rays(problem, maps).contributions(1.0).sum()


def exit_rate(problem: EscapeProblem) -> Float[Array, ""]:
    """noise_level^alpha times `unit_rate`: the small-noise exit rate as a function that jax can differentiate.

    The noise level, alpha, the scales, the Hessian and the basin are its arguments; inside `jax.jit` and `jax.grad`,
    where `predict`, which also judges the limit, is not at home.

    Args:
        problem: of noise with jumps (alpha below 2), in a basin that the noise-free flow does not leave.

    Returns:
        Exits per unit of the SDE's time.

    Example:
        >>> import jax
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.1)
        >>> slopes = jax.grad(exit_rate)(problem)  # a problem of derivatives
        >>> round(float(slopes.noise_level * 0.1 / exit_rate(problem)), 3)
        1.5
    """
    maps = problem.dynamics.jump_maps(problem.noise)
    return exit_rays(problem, maps).contributions(jnp.asarray(problem.noise_level)).sum()


def exit_rays(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> _Rays:
    """The rays along which jumps of A L leave, seen through each of the maps."""
    noise, origin = problem.noise, jnp.asarray(problem.landscape.minimum)
    if isinstance(noise, StateDependent):
        if noise.kind == "ito":
            return exit_rays(dataclasses.replace(problem, noise=noise.frozen(origin)), maps)
        measure: Any = noise.driver.spectral_measure()
        out, gauge = noise.way_out(problem.basin, origin, measure.directions)
        towards = (out - column(origin, out)) * jnp.where(gauge > 0, gauge, 1)  # straight to where the flow leaves
        return _Rays(towards, measure.weights, measure.alpha, gauge, measure.replicates)
    measure = noise.spectral_measure()
    directions = maps.T[:, :, None] * measure.directions[:, None, :]
    directions = directions.reshape(directions.shape[0], -1)
    gauge = problem.basin.gauge(origin, directions)
    # Samples of a random preconditioner are replicates of their own; a sphere's replicates within them then are not.
    replicates = maps.shape[0] if maps.shape[0] > 1 else measure.replicates
    weights, alpha = measure.weights / maps.shape[0], measure.alpha
    tiled = jnp.tile(alpha, maps.shape[0]) if jnp.ndim(alpha) else alpha
    return _Rays(directions, jnp.tile(weights, maps.shape[0]), tiled, gauge, replicates)


def _closed_form(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> float | None:
    """The rate at noise level 1 of rotation-invariant noise where no integral is needed."""
    if not isinstance(problem.noise, Rotational) or maps.shape[0] > 1:
        return None
    alpha = float(problem.noise.alpha)
    spread = np.diag(np.asarray(maps)[0]) @ np.asarray(as_matrix(problem.noise.scale))
    minimum = np.asarray(problem.landscape.minimum)
    if isinstance(problem.basin, HalfSpace):
        normal = np.asarray(problem.basin.normal)
        slack = float(problem.basin.offset) - normal @ minimum
        return float(tail_constant(alpha) / alpha * (np.linalg.norm(normal @ spread) / slack) ** alpha)
    covariance = spread @ spread.T
    round_noise = np.allclose(covariance, covariance[0, 0] * np.eye(len(minimum)), rtol=1e-12, atol=0)
    if isinstance(problem.basin, Ball) and round_noise and np.allclose(problem.basin.center, minimum, rtol=0, atol=0):
        reach = math.sqrt(covariance[0, 0]) / float(problem.basin.radius)
        return float(radial_tail_constant(alpha, len(minimum)) * reach**alpha)
    return None


def _noise_level(problem: EscapeProblem, solver: Solver | None, alpha: Any) -> Any:
    """The noise level of the SDE that the solver follows, along rays of this tail index."""
    level = float(problem.noise_level)
    if isinstance(solver, Iteration):
        return level * sde_noise_level(np.asarray(alpha), float(problem.dynamics.learning_rate))
    return level


def _steps(mean: float | None, problem: EscapeProblem, solver: Solver | None) -> float | None:
    step_time = None if solver is None else solver.step_time(problem)
    return None if mean is None or step_time is None else mean / float(step_time)


def _refused(reason: str) -> Prediction:
    return Prediction(None, 0.0, None, None, {}, None, False, (reason,))


def _without_jumps(problem: EscapeProblem, solver: Solver | None) -> Prediction:
    """alpha = 2 and Gaussian noise: the exact Brownian law where it is known."""
    level = float(_noise_level(problem, solver, 2.0))
    names = problem.basin.face_names(problem.dimension)
    mean = above = None
    if not isinstance(problem.dynamics, SGD):
        name = type(problem.dynamics).__name__
        return _refused(f"alpha = 2 has no jumps, and no formula is known for {name} under Gaussian noise.")
    if problem.dimension == 1 and (solution := brownian_interval(problem, level)) is not None:
        mean, above = solution
    elif problem.dimension > 1:
        mean = driftless_ball(problem, level)
    if mean is None or not math.isfinite(mean):
        return _refused("alpha = 2 has no jumps, and no exact Brownian mean exit time is known for this problem.")
    probabilities = {} if above is None or len(names) != 2 else {names[0]: 1 - above, names[1]: above}
    reason = "alpha = 2 has no jumps: this is the exact mean exit time of the Brownian SDE, not the jump formula."
    return Prediction(1 / mean, 0.0, mean, _steps(mean, problem, solver), probabilities, None, True, (reason,))


def _step_reasons(problem: EscapeProblem, solver: Solver | None) -> list[str]:
    """What the step length does to the prediction, which is for continuous time."""
    step_time = None if solver is None else solver.step_time(problem)
    if step_time is None or not isinstance(problem.dynamics, SGD):
        return []
    fastest = float(np.linalg.eigvalsh(np.asarray(problem.landscape.hessian())).max())
    product = fastest * float(step_time)
    if product >= 2:
        return [f"The step times the largest curvature is {product:.3g}: at 2 and above descent itself diverges."]
    return []


def _adam_reasons(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> list[str]:
    dynamics = problem.dynamics
    if not isinstance(dynamics, Adam) or dynamics.variant in ("corrected", "malladi"):
        return []
    hessian_min = float(np.linalg.eigvalsh(np.asarray(problem.landscape.hessian())).min())
    v_max = float((1 / np.asarray(maps)).max())
    origin = jnp.asarray(problem.landscape.minimum)
    axes = jnp.concatenate([jnp.eye(problem.dimension), -jnp.eye(problem.dimension)], axis=1)
    gauge = problem.basin.gauge(origin, axes)
    wall = column(origin, axes) + axes / jnp.where(gauge > 0, gauge, jnp.inf)
    gap = float(jnp.max(problem.landscape.value(wall)) - problem.landscape.value(origin))
    limit = adam_noise_level_limit(hessian_min, v_max, float(dynamics.beta1), float(dynamics.beta2), gap)
    if float(problem.noise_level) <= limit:
        return []
    return [
        f"Theorem 1's own condition for Adam, from the edge of this basin, holds only below noise_level = {limit:.2g} "
        f"(D9); the formula here does not need it."
    ]


def _crossing(problem: EscapeProblem) -> str:
    """Why the way out is not the gauge's: the beginning of a reason."""
    return "Noise enters the momentum" if problem.dynamics.noise_in_momentum else _CROSSED


def _with_jumps(problem: EscapeProblem, solver: Solver | None) -> Prediction:
    maps = problem.dynamics.jump_maps(problem.noise)
    rays = exit_rays(problem, maps)
    spectrum = relaxation_spectrum(problem, maps)
    slowest = max(float(np.real(spectrum).min()), 0.0)
    reasons, invariant = [], True
    step = max(1, rays.gauge.shape[0] // _FLOW_RAYS) if rays.gauge.shape[0] > _FLOW_RAYS else 1
    gauge = flow_out_gauge(
        problem, rays.directions[:, ::step], rays.gauge[::step], spectrum, isinstance(solver, Iteration)
    )
    if bool((jnp.abs(gauge - rays.gauge[::step]) > rays.gauge[::step] * 1e-5).any()):
        exact = step == 1
        weights = rays.weights if exact else rays.weights[::step] * step
        alpha = rays.alpha if exact or not np.ndim(rays.alpha) else rays.alpha[::step]
        rays = _Rays(rays.directions[:, ::step], weights, alpha, gauge, 0)
        invariant = exact
        cause = _crossing(problem)
        reasons.append(
            f"{cause}: the rate counts every jump after which the noise-free flow leaves"
            + ("." if exact else f", on {gauge.shape[0]} sampled rays, so it is approximate.")
        )
    level = _noise_level(problem, solver, rays.alpha)
    parts = np.asarray(rays.contributions(level))
    rate, error = float(parts.sum()), 0.0
    closed = _closed_form(problem, maps) if invariant and not reasons else None
    if closed is not None:
        rate = float(level) ** float(problem.noise.alpha) * closed
    elif rays.replicates:
        groups = parts.reshape(rays.replicates, -1).sum(axis=1) * rays.replicates
        error = float(groups.std(ddof=1) / math.sqrt(rays.replicates))
    if rate == 0:
        return _refused("No jump leaves this basin: no ray along the noise reaches its boundary.")
    kappa, limits = _limits(problem, rays, level, slowest, rate)
    steps = _step_reasons(problem, solver)
    notes = _adam_reasons(problem, maps)
    if np.min(np.asarray(problem.noise.alpha)) < 1:
        notes.append(
            "alpha < 1: the paper's noise level learning_rate^((alpha-1)/alpha) is above 1 and grows as the learning "
            "rate falls, so its small-noise theory does not describe small learning rates (D7)."
        )
    mean = driftless_ball(problem, float(level)) if kappa == 0 and np.ndim(level) == 0 else None
    if mean is not None:
        limits = [
            "No drift: the exact mean exit time of the noise alone (Getoor 1961) is given, not a small-noise rate."
        ]
        rate, valid = 1 / mean, True
    else:
        mean, valid = 1 / rate, not limits and not steps and invariant
    return Prediction(
        rate,
        error,
        mean,
        _steps(mean, problem, solver),
        _face_shares(problem, rays, parts),
        kappa,
        valid,
        (*limits, *steps, *reasons, *notes),
    )


def _first_passage(problem: EscapeProblem, solver: Solver | None) -> Prediction:
    """Jumps after which the noise-free flow enters the target."""
    if (reason := why_no_passage_rate(problem)) is not None:
        return _refused(reason)
    found = passage(problem, _noise_level(problem, solver, problem.noise.spectral_measure().alpha))
    if found is None or found.enters == 0:
        return _refused(
            "No jump along the noise's rays leads to the target: it takes several, and no formula is given."
        )
    reasons = _step_reasons(problem, solver) + limit_reasons(found.alpha, found.kappa, math.inf)
    astray = found.elsewhere > 1e-6 * found.enters
    if astray:
        part = found.elsewhere / (found.elsewhere + found.enters)
        reasons.append(
            f"{100 * part:.2g}% of the jumps that do not fall back lead elsewhere, to other wells: this is the rate of "
            f"direct passages, and the mean takes the chain of wells (mean_passage_times)."
        )
    mean = None if astray else 1 / found.enters
    note = "First passage: the rate counts every jump after which the noise-free flow enters the target."
    steps = _steps(mean, problem, solver)
    return Prediction(found.enters, 0.0, mean, steps, {}, found.kappa, not reasons, (*reasons, note))


def _one_draw(problem: EscapeProblem, solver: Iteration) -> Prediction:
    """Noise of the iteration alone: the probability of a draw that leaves by itself from the minimum."""
    if isinstance(problem.basin, Outside):
        return _refused("First passage to a set has no formula here for draws of the iteration; simulate it.")
    noise, dynamics = problem.noise, problem.dynamics
    if not isinstance(dynamics, SGD | Momentum):
        return _refused(
            f"No exit rate is known for the iteration of {type(dynamics).__name__} under draws of this law."
        )
    maps, step_time = dynamics.jump_maps(noise), float(dynamics.learning_rate)
    directions = column(maps[0], noise.rays()) * noise.rays()
    gauge = problem.basin.gauge(jnp.asarray(problem.landscape.minimum), directions)
    spectrum = relaxation_spectrum(problem, maps)
    step = -(-gauge.shape[0] // _DRAW_RAYS)
    flowing = flow_out_gauge(problem, directions[:, ::step], gauge[::step], spectrum, True)
    crossed = bool((jnp.abs(flowing - gauge[::step]) > gauge[::step] * 1e-5).any())
    reasons = [_crossing(problem)] if crossed else []
    if crossed and step > 1:
        return _refused(f"{reasons[0]}, and {gauge.shape[0]} rays are too many to follow through the flow.")
    gauge = flowing if crossed else gauge
    with np.errstate(divide="ignore"):
        chances = noise.chances(1 / (step_time * float(problem.noise_level) * np.asarray(gauge)))
    total = float(chances.sum())
    if total == 0:
        return _refused("No single draw leaves this basin: it takes several, and no formula is given for that.")
    slowest = max(float(np.real(spectrum).min()), 0.0)
    kappa, limits = _draw_limits(problem, chances, slowest * step_time)
    steps = _step_reasons(problem, solver)
    rays = _Rays(directions, chances, 0.0, gauge, 0)
    mean, shares = step_time / total, _face_shares(problem, rays, chances)
    crossing = [f"{reason}: the rate counts every draw after which the noise-free flow leaves." for reason in reasons]
    return Prediction(
        total / step_time, 0.0, mean, 1 / total, shares, kappa, not limits and not steps, (*limits, *steps, *crossing)
    )


def _draw_limits(problem: EscapeProblem, chances: np.ndarray, slowest: float) -> tuple[float | None, list[str]]:
    """kappa as that of the stable noise whose jumps leave as often, and why the one-draw law does not hold.

    `slowest` is the slowest relaxation an iteration.
    """
    index = problem.noise.tail_index
    if index is None or index >= 2:
        return None, [
            "The draws have a finite variance: that one of them leaves alone is the way out only as the noise level "
            "tends to 0, and it is not known here how small is small enough."
        ]
    constant = float(tail_constant(index)) / index
    kappa = constant * slowest / float(chances.max())
    apart = isinstance(problem.basin, Box) and isinstance(problem.noise, Pareto | StudentT)
    apart = apart and problem.noise.scale.ndim == 1
    return kappa, limit_reasons(index, kappa, math.inf if apart else 2 * constant * slowest / float(chances.sum()))


def _limits(problem: EscapeProblem, rays: _Rays, level: Any, slowest: float, rate: float) -> tuple[float, list[str]]:
    """kappa of the worst direction, and why the limit is not reached by the tail index that is furthest from it."""
    reach, alpha = np.broadcast_arrays(level * np.asarray(rays.gauge), np.asarray(rays.alpha, float))
    with np.errstate(divide="ignore"):
        kappas = slowest * reach**-alpha if slowest else np.zeros_like(reach)
    # In a box each independent coordinate has its own walls; elsewhere all directions share the distance to them.
    independent = isinstance(problem.noise, Independent | PerCoordinate) and problem.noise.scale.ndim == 1
    apart = isinstance(problem.basin, Box) and independent
    cases = []
    for index in map(float, np.unique(alpha[(alpha < 2) & (reach > 0)])):
        kappa = float(kappas[alpha == index].min())
        crowded = math.inf if apart else 2 * float(tail_constant(index)) / index * slowest / rate
        cases.append((min(kappa, crowded) / bias_constant(index), index, kappa, crowded))
    return float(kappas.min()), limit_reasons(*min(cases)[1:])


def _face_shares(problem: EscapeProblem, rays: _Rays, parts: np.ndarray) -> dict[str, float]:
    origin = jnp.asarray(problem.landscape.minimum)
    leaving = rays.gauge > 0
    beyond = column(origin, rays.directions) + rays.directions * jnp.where(leaving, 1.001 / rays.gauge, 0)
    names = problem.basin.face_names(problem.dimension)
    face = np.asarray(problem.basin.face(origin, beyond))
    shares = np.bincount(face, weights=np.where(leaving, parts, 0.0), minlength=len(names))
    return dict(zip(names, (shares / shares.sum()).tolist(), strict=True))


def _without_a_rate(problem: EscapeProblem, solver: Solver | None) -> str | None:
    """Why this optimizer has no rate of the gauge formula's form; None where it has."""
    dynamics = problem.dynamics
    if isinstance(dynamics, IterationOnly):
        return f"{dynamics.why_no_sde()}, so there is no rate to predict; simulate it."
    if isinstance(solver, Iteration) and isinstance(dynamics, Adam | RMSProp):
        name, averages = ("Adam", "m and v cap") if isinstance(dynamics, Adam) else ("RMSProp", "v caps")
        return (
            f"{name} itself has no exit rate of this form: {averages} what one noise spike can do (D5). "
            "The formula belongs to its SDE (method = 'euler')."
        )
    decays = isinstance(dynamics, Adam) and float(dynamics.weight_decay) > 0
    if decays and np.any(np.asarray(problem.landscape.minimum) != 0):
        return (
            "weight_decay pulls to the origin, so with this minimum the optimizer rests elsewhere, where no rate is "
            "worked out; put the minimum at 0 or take the decay out."
        )
    return None


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
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [2.0]), Independent(1.5, [1.0]), SGD(), 0.01)
        >>> prediction = predict(problem)
        >>> prediction.valid, round(prediction.mean_exit_time, 1), round(prediction.exit_probabilities["x0<lower"], 4)
        (True, 3703.8, 0.7388)
    """
    with jax.enable_x64(True):
        if (reason := _without_a_rate(problem, solver)) is not None:
            return _refused(reason)
        if isinstance(problem.noise, StateDependent):
            if not has_jumps(problem.noise.driver) or isinstance(problem.landscape, Flat):
                return _refused("With a dispersion A(x) a rate is known for jumps against a drift only.")
            if problem.noise.kind == "marcus" and not isinstance(problem.dynamics, SGD):
                return _refused("Marcus noise is for SGD, where it moves the point itself.")
            if problem.noise.kind == "ito":
                frozen = problem.noise.frozen(jnp.asarray(problem.landscape.minimum))
                problem = dataclasses.replace(problem, noise=frozen)
            prediction = _with_jumps(problem, solver)
            return dataclasses.replace(prediction, reasons=(*prediction.reasons, _STATE_DEPENDENT))
        if not isinstance(problem.noise, LevyNoise):
            if not isinstance(solver, Iteration):
                return _refused("This noise is drawn once a step of the optimizer itself (method = 'iteration').")
            if isinstance(problem.noise, StepNoise):
                return _one_draw(problem, solver)
            return _refused(f"No exit rate is known for {type(problem.noise).__name__} noise.")
        if not has_jumps(problem.noise):
            return _without_jumps(problem, solver)
        if isinstance(problem.basin, Outside):
            return _first_passage(problem, solver)
        return _with_jumps(problem, solver)
