"""What a solver's numbers allow: steps that do not diverge, and coordinates that a dtype can tell apart."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax.arrays import matrix_of
from levyjax.basins import Sublevel
from levyjax.landscapes.drift import is_symmetric
from levyjax.noise import LevyNoise, PointNoise
from levyjax.noise.base import has_jumps
from levyjax.schedules import Schedule
from levyjax.solvers.motion import at_rest, gauge_along, hessian_of, jump_maps, linearised
from levyjax.solvers.steps import Euler, ExitProblem, Iteration, Solver, Tamed
from levyjax.stable import tail_constant

# Rounding puts a mean off by 1% where it is a coarser part of the way to the boundary, or where it swallows the drift
# of a step closer to the minimum than this part, if the drift acts for so much of a mean exit time.
_FINEST, _DEAD, _FREE = 5e-3, 0.01, 0.01
LEAST_DEPTH = 1e-3  # of the way to the boundary: `JumpAdapted` follows the point no closer than this,
LEAST_ROOM, START_PART = 1e-5, 0.05  # but from a start beside it as close as this, or this part of the start's own way
_BESIDE, _SMALL_JUMPS, _LOST = 0.1, 0.4, 0.02  # see `lost_beside_wall`
_NO_DRIFT = 0.999  # the chance where nothing drives the point away from the boundary
_WAYS, _SCAN = (1e-9, 1e2), 256  # over the way from the minimum to a sublevel set's boundary


def _growth(problem: ExitProblem, dt: Any) -> float:
    """The largest factor by which a step multiplies what the flow itself does not let grow; 0 where it damps it."""
    with jax.enable_x64(True):
        values = np.linalg.eigvals(linearised(problem, Euler(dt), problem.landscape.minimum))
    grows = (np.abs(values) > 1 - 1e-9) & (np.real(values) < 1 - 1e-6)
    return float(np.abs(values[grows]).max(initial=0))


def require_solver(solver: Any) -> None:
    """Refuse what is no solver, such as its name or its class."""
    if isinstance(solver, type) or not isinstance(solver, Solver):
        given = f"the class {solver.__name__}" if isinstance(solver, type) else repr(solver)
        raise ValueError(f"solver is {given}: give an object, such as Euler(0.05), JumpAdapted() or Iteration().")


def require_stable(problem: ExitProblem, solver: Solver | None) -> None:
    """Refuse an SDE's steps that are too long for the curvature at the minimum; an optimizer's iteration is what it is.

    Raises:
        ValueError: descent by such steps does not end.
    """
    if not isinstance(solver, Euler | Tamed):
        return
    dt = float(solver.dt)
    growth = _growth(problem, dt)
    if growth == 0:
        return
    shorter = dt / 2
    while _growth(problem, shorter) > 0 and shorter > 1e-12 * dt:
        shorter /= 2
    raise ValueError(
        f"Steps of dt = {dt:g} are too long for the curvature at the minimum, where each multiplies a displacement by "
        f"{growth:.4g} in size and turns it round, so that descent itself does not end there; dt = {shorter:.3g} is "
        f"short enough."
    )


def _reaches(problem: ExitProblem) -> np.ndarray:
    """How far the basin reaches from the minimum down and up each axis, (2, d); inf where it has no end."""
    with jax.enable_x64(True):
        minimum = np.asarray(problem.landscape.minimum, np.float64)
        axes = np.eye(problem.dimension)
        gauges = gauge_along(problem.basin, minimum, np.concatenate([-axes, axes], axis=1)).reshape(2, -1)
    with np.errstate(divide="ignore"):
        return 1 / np.maximum(gauges, 0)


def _steps(problem: ExitProblem, dt: float, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a step does along each axis: the drift per distance, and the typical noise, which carries it over rounding.

    The drift is 0 where it hardly acts within a mean exit time.
    """
    dynamics, noise = problem.dynamics, problem.noise
    with jax.enable_x64(True):
        hessian = np.asarray(hessian_of(problem.landscape))
        # another coordinate may make the drift of one without a potential
        curvature = np.diag(hessian) if is_symmetric(problem.landscape) else np.linalg.norm(hessian, axis=1)
        slow = dynamics.why_no_sde() is not None or dynamics.gradient_noise != "frozen"
        factor = np.ones(1) if slow else np.median(np.asarray(jump_maps(problem)), axis=0)
    level: Any = problem.noise_level
    level = float(level(0)) if isinstance(level, Schedule) else float(level)
    amount = level * np.abs(matrix_of(noise.scale)) * factor[:, None]
    alpha = np.broadcast_to(np.asarray(getattr(noise, "alpha", 2.0), float), amount.shape[1:])
    typical = (amount * dt ** (1 / alpha)).max(axis=1)
    if dynamics.noise_in_momentum:
        typical = typical * np.minimum(dt * float(dynamics.momentum_rate()), 1) ** (1 - np.minimum(1 / alpha, 1)).min()
    drift = np.maximum(curvature * factor, 0)
    with np.errstate(divide="ignore", over="ignore"):
        exits = (amount**alpha).sum(axis=1) / width ** alpha.max()
    return np.where(drift > _FREE * exits, drift * dt, 0), typical


def lost_beside_wall(problem: ExitProblem) -> tuple[float, float]:
    """How near to the boundary a start is, and about the chance that noise takes it out before drift takes it away.

    Nearer than a layer of the noise's own, at alpha > 1, small jumps are quicker than the drift. With y the way to the
    boundary along an axis of noise of size s, and t the time in which the drift makes up for what is left, that chance
    is about (s/y)^alpha t max(0.4, w/(alpha - 1)), w the weight of the tail: 0.8 to 1.2 times that of the interval
    solver where it is below a half.

    Returns:
        What is left of the way from the minimum to the boundary, as a part of it, and the chance; 0 for a start that is
        not within a tenth of the boundary.
    """
    noise, dynamics = problem.noise, problem.dynamics
    process = isinstance(noise, LevyNoise) and not isinstance(noise, PointNoise)
    if problem.start is None or not process or not has_jumps(noise) or dynamics.why_no_sde() is not None:
        return 1.0, 0.0
    alpha = np.broadcast_to(np.asarray(noise.alpha, float), matrix_of(noise.scale).shape[1:])
    if dynamics.noise_in_momentum or alpha.max() <= 1 or dynamics.gradient_noise != "frozen":
        return 1.0, 0.0
    with jax.enable_x64(True):
        minimum, start = (np.asarray(one, np.float64) for one in (problem.landscape.minimum, problem.start))

        def reach(points: np.ndarray) -> np.ndarray:
            return gauge_along(problem.basin, minimum, points - minimum[:, None])

        here = float(reach(start[:, None])[0])
        room = 1 - here
        if not 0 < room < _BESIDE:
            return room, 0.0
        state = at_rest(problem, start[:, None])
        velocity = np.asarray(dynamics.drift(state, problem.landscape.gradient(state.x), noise).x)
        if not velocity.any():
            return room, _NO_DRIFT
        # a short way along the flow, by its reach to either side: it may lead away from the only wall
        back = 1e-4 * room / max(float(reach(minimum[:, None] + sign * velocity)[0]) for sign in (1, -1))
        gained = here - float(reach(start[:, None] + back * velocity)[0])
        if gained <= 0:
            return room, 0.0
        size = float(problem.noise_level) * np.asarray(jump_maps(problem))[0][:, None] * matrix_of(noise.scale)
        sides = _gauge_from(problem, start, np.concatenate([size, -size], axis=1)).reshape(2, -1).max(axis=0)
    weight = np.asarray(tail_constant(alpha)) / alpha
    factor = np.where(alpha > 1, np.maximum(_SMALL_JUMPS, weight / np.maximum(alpha - 1, 1e-3)), 0)
    return room, float(min((factor * np.maximum(sides, 0) ** alpha).sum() * room * back / gained, _NO_DRIFT))


def _gauge_from(problem: ExitProblem, start: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """The basin's gauge about any point, (rays); that of a sublevel set by a scan, to 5%."""
    basin = problem.basin
    if not isinstance(basin, Sublevel):
        return gauge_along(basin, start, rays)
    about = gauge_along(basin, np.asarray(problem.landscape.minimum, np.float64), rays)
    ways = np.geomspace(*_WAYS, _SCAN)
    points = start[:, None, None] + (rays / np.where(about > 0, about, 1))[:, :, None] * ways
    out = ~np.asarray(basin.contains(jnp.asarray(points.reshape(len(start), -1)))).reshape(rays.shape[1], -1)
    return np.where(out.any(axis=1), about / ways[np.argmax(out, axis=1)], 0)


def require_start(problem: ExitProblem) -> None:
    """Refuse a start so near to the boundary that jumps from large jump to large jump do not resolve what happens.

    Raises:
        ValueError: where that would put the mean exit time off by 2% or more.
    """
    room, part = lost_beside_wall(problem)
    if room < LEAST_ROOM / START_PART and part > _LOST:
        raise ValueError(
            f"The start is within {room:.2g} of the way to the boundary, where small jumps decide in about "
            f"{100 * part:.2g}% of the trajectories: JumpAdapted does not resolve them. Take Euler, with steps that "
            "are short for so small a way."
        )


def require_resolution(problem: ExitProblem, solver: Solver | None, dtype: str) -> None:
    """Refuse coordinates that a dtype cannot tell apart, beside the basin's width or a step's drift.

    Args:
        problem: what leaves what.
        solver: how it is stepped.
        dtype: "float32" or "float64".

    Raises:
        ValueError: rounding would put a mean exit time off by about 1% or more.
    """
    reaches, minimum = _reaches(problem), np.abs(np.asarray(problem.landscape.minimum, np.float64))
    width = reaches.min(axis=0)
    bounded = np.isfinite(width)
    size = minimum + np.where(bounded, width, 0)
    spacing = np.spacing(size.astype(dtype)).astype(np.float64)
    advice = "take dtype = 'float64'" if dtype == "float32" else "take other units"
    coarse = bounded & (spacing > _FINEST * width)
    if coarse.any():
        worst = int(np.argmax(np.where(coarse, spacing / np.where(bounded, width, 1), 0)))
        raise ValueError(
            f"The basin's coordinates are too large for {dtype}: at {size[worst]:.3g} it rounds to "
            f"{spacing[worst]:.2g}, and the boundary is {width[worst]:.3g} from the minimum; {advice} or put the "
            "minimum near 0."
        )
    if not isinstance(solver, Euler | Tamed | Iteration):
        return
    dt = float(problem.dynamics.learning_rate if isinstance(solver, Iteration) else solver.dt)
    drift, typical = _steps(problem, dt, width)
    # near a minimum at 0 floats are finer than at the boundary
    within = np.spacing((minimum + np.where(bounded, _DEAD * width, 0)).astype(dtype)).astype(np.float64)
    lost = bounded & (drift > 0) & (typical < within) & (within > 2 * drift * _DEAD * width)
    if lost.any():
        worst = int(np.flatnonzero(lost)[0])
        raise ValueError(
            f"A step of {dt:g} is too short for coordinates in {dtype}: at {size[worst]:.3g} it rounds to "
            f"{spacing[worst]:.2g}, while a step drifts by {drift[worst] * width[worst]:.2g} at most and its noise is "
            f"about {typical[worst]:.2g}; {advice}, put the minimum near 0, or take longer steps."
        )
