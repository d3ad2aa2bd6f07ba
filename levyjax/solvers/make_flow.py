"""The flow of a problem, worked out once in NumPy: its modes, where it is linear, and how small jumps spread it."""

import functools
import math
from functools import partial
from typing import Any

import jax
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Float

from levyjax.arrays import matrix_of
from levyjax.basins import Attraction
from levyjax.interpret import interpreted
from levyjax.landscapes import Landscape
from levyjax.landscapes.base import has_potential
from levyjax.landscapes.drift import LINEAR, is_symmetric
from levyjax.noise.base import has_jumps
from levyjax.noise.skewness import skewness
from levyjax.solvers.flows import (
    SKIP_SPREAD,
    Alike,
    Apart,
    LinearFlow,
    LookAhead,
    SteppedFlow,
    Together,
    displacement_gauge,
)
from levyjax.solvers.motion import (
    Fate,
    at_rest,
    gauge_along,
    hessian_of,
    jump_maps,
    jump_slopes,
    kept_by_descent,
    linearised,
    velocity_about,
)
from levyjax.solvers.small_jumps import (
    axis_covariances,
    grouped,
    related,
    turning,
)
from levyjax.solvers.spread import exposed, farthest, squared_size, widest
from levyjax.solvers.steps import ExitProblem
from levyjax.solvers.traced_motion import TracedMotion

# Parts of the way to the boundary, with the error of the linearised gradient that is allowed so far out.
_LINEAR_ZONES = ((0.8, 0.02), (0.4, 0.02), (0.2, 0.02), (0.1, 0.02), (0.05, 0.1), (0.02, 0.1), (0.01, 0.1))
_NONLINEAR_ZONE, _SMOOTH = 0.005, (1e-5, 0.02)
# Where the gradient is not linear, a Gaussian law of the small jumps has the mean and the spread s that the gradient
# itself gives it; what it misses, the law's skewness, is about the gradient's departure at s times s^3.
_SKEWNESS, _SPREADS = 2.5e-4, (0.17, 0.14, 0.12, 0.1, 0.085, 0.07, 0.06, 0.05, 0.035, 0.025, 0.015, 0.01, 0.005)
_DRAWS, _TURNS = 2048, 6
_PARALLEL = 100.0  # the modes' condition number above which they are taken apart
_EQUAL = 1e-9  # relaxation rates that differ by less are one
_SECANTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # parts of the way out between which the gradient's slope is looked at
_STIFFER, _LOOK_AHEAD = 3.0, 4.0  # how much larger than at the minimum it may be; in spreads of a step's small jumps
_FEW_RAYS, _LOOKS = 16, 16  # where the flow is followed from points on a ray, up to half of the way out
_LINE_POINTS, _RAY_POINTS, _BEYOND = 1024, 64, 4.0  # looked at on a ray for saddles; how far where it has no end
_ROUNDING = 1e-6  # of the steepest slope so far: one that is no more is none
_FLAT = 1e-12  # over the steepest slope: a curvature at the minimum that is rounding

_displacement_gauge = partial(interpreted, calls=32)(displacement_gauge)


def _columns(problem: ExitProblem) -> np.ndarray:
    """What one unit of each coordinate of L does to a point at rest, (d, m)."""
    maps = np.asarray(jump_maps(problem))[0]
    return float(problem.noise_level) * maps[:, None] * matrix_of(problem.noise.scale)


def make_flow(
    problem: ExitProblem, variances: Float[np.ndarray, " m"], drift: Float[np.ndarray, " m"] | None = None
) -> LinearFlow | SteppedFlow:
    """The flow of a problem whose small jumps have these variances, and a drift of at most that, per unit of time."""
    columns, amounts = _columns(problem), np.asarray(variances)
    if (related(axis_covariances(columns, amounts, True)) & ~np.eye(len(columns), dtype=bool)).any():
        diffusion = widest(problem, columns * amounts @ columns.T)
    else:
        diffusion = squared_size(farthest(problem, columns) ** 2 * variances)
        diffusion = max(diffusion, exposed(problem, columns * amounts @ columns.T))
    carried = 0.0 if drift is None else float(farthest(problem, columns) @ drift)
    diffusion = max(diffusion, carried)
    linear = problem.dynamics.is_gradient_flow and isinstance(problem.landscape, LINEAR)
    if linear and is_symmetric(problem.landscape):
        made = _linear_flow(problem, np.asarray(variances), diffusion, carried)
        if _keeps_basin(problem, made):
            return made
    return _stepped_flow(problem, np.asarray(variances), diffusion, carried)


def _linear_flow(problem: ExitProblem, variances: np.ndarray, diffusion: Any, carried: float) -> LinearFlow:
    hessian = hessian_of(problem.landscape)
    on_axes = np.count_nonzero(hessian - np.diag(np.diag(hessian))) == 0
    decay, basis = np.linalg.eigh(hessian)
    if on_axes:
        decay, basis = np.diag(hessian), np.eye(len(hessian))
    columns = _columns(problem) if on_axes else basis.T @ _columns(problem)
    noise = _mode_noise(problem, columns, variances, decay)
    if isinstance(noise, Apart):
        spread = columns**2 @ variances / (2 * np.maximum(decay, 1e-300))
        spread = max(squared_size(farthest(problem, basis) ** 2 * spread), exposed(problem, basis * spread @ basis.T))
    else:
        stationary = columns * variances @ columns.T / np.maximum(decay[:, None] + decay, 1e-300)
        spread = widest(problem, basis @ stationary @ basis.T)
    return LinearFlow(
        None if on_axes else basis,
        decay,
        noise,
        diffusion,
        max(_least_power(problem, spread, decay.min(), SKIP_SPREAD), _settled(carried, decay.min(), SKIP_SPREAD)),
        decay.min(),
        columns if skewness(problem.noise) is not None else None,
    )


def _mode_noise(
    problem: ExitProblem, columns: np.ndarray, variances: np.ndarray, decay: np.ndarray
) -> Apart | Alike | Together:
    """How small jumps move modes, each axis by its column."""
    parts = axis_covariances(columns, variances, np.ndim(problem.noise.alpha) == 0)
    linked = related(parts)
    if not (linked & ~np.eye(len(decay), dtype=bool)).any():
        mixing = columns**2
        square = mixing.shape[0] == mixing.shape[1]
        diagonal = square and np.count_nonzero(mixing - np.diag(np.diag(mixing))) == 0
        return Apart(np.diag(mixing) if diagonal else mixing)
    moved = decay[np.diag(linked)]
    if np.ptp(moved) <= _EQUAL * np.abs(moved).max():
        return Alike(columns)
    groups = grouped(linked)
    return Together(groups, groups.blocks(parts))


def _least_power(problem: ExitProblem, spread: Any, slowest: float, most: float) -> float:
    """depth^alpha from which the stationary spread of the small jumps is a small part of the depth."""
    if slowest <= 0 or not has_jumps(problem.noise):
        return math.inf
    return float(spread) / most**2


def _settled(carried: float, slowest: float, most: float) -> float:
    """depth^alpha from which the small jumps' drift moves the point of rest by a small part of the depth."""
    return carried / (slowest * most) if carried and slowest > 0 else 0.0


def _keeps_basin(problem: ExitProblem, made: LinearFlow) -> bool:
    """Whether no noise-free path leaves the basin, on sampled paths that start at its boundary."""
    dimension = len(made.decay)
    normals = np.random.default_rng(0).normal(size=(dimension, 1024))
    basis = np.eye(dimension) if made.basis is None else np.asarray(made.basis)
    rays = np.concatenate([normals, np.eye(dimension), basis, -np.eye(dimension), -basis], axis=1)
    gauge = _displacement_gauge(problem, rays)
    fastest = max(float(made.decay.max()), 1e-300)
    for time in np.geomspace(1e-3, 1e3, 31) / fastest:
        moved = basis @ (np.exp(-np.asarray(made.decay) * time)[:, None] * (basis.T @ rays))
        if bool((_displacement_gauge(problem, moved) > gauge * (1 + 1e-9)).any()):
            return False
    return True


def _modes(system: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors; near critical damping, of a system that differs by one part in a thousand.

    Modes that are almost parallel would cost the small numbers in float32 their digits.
    """
    scales = np.diag(scipy.linalg.matrix_balance(system, permute=False)[1])
    values, vectors = np.linalg.eig(system)
    if np.linalg.cond(vectors / scales[:, None] / np.linalg.norm(vectors / scales[:, None], axis=0)) > _PARALLEL:
        values, vectors = np.linalg.eig(system * (1 + 1e-3 * np.random.default_rng(0).normal(size=len(system))))
    return values, vectors


def _settled_laws(system: np.ndarray, rates: Float[np.ndarray, "n n axes"]) -> Float[np.ndarray, "n n axes"]:
    """The covariance in which each axis' small jumps settle."""
    laws = [scipy.linalg.solve_continuous_lyapunov(system, rate) for rate in np.moveaxis(rates, -1, 0)]
    return np.stack([(law + law.T) / 2 for law in laws], axis=-1)


def _kept_law(
    problem: ExitProblem, system: np.ndarray, rates: np.ndarray, laws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariances of the Gaussian law that keeps both under small jumps of these covariance rates.

    The velocity enters by its mean and its mean slope over that law; it starts from the linearised motion's.
    """
    half = np.random.default_rng(0).normal(size=(len(system), _DRAWS))
    half = np.linalg.solve(np.linalg.cholesky(half @ half.T / _DRAWS), half)
    draws = np.concatenate([half, -half], axis=1)
    shift = np.zeros(len(system))
    for _ in range(_TURNS):
        offsets = _root(laws.sum(axis=-1)) @ draws + shift[:, None]
        mean, slope = _averages(problem, offsets)
        shift, laws = shift - np.linalg.solve(slope, mean), _settled_laws(-slope, rates)
    return shift, laws


@partial(interpreted, calls=_TURNS)
def _averages(problem: ExitProblem, offsets: Array) -> tuple[Array, Array]:
    """The mean velocity and the mean slope over displacements of the state from rest."""
    moving = velocity_about(problem, problem.landscape.minimum)
    slopes = jax.vmap(jax.jacfwd(moving), 1, 2)(offsets)
    return jax.vmap(moving, 1, 1)(offsets).mean(axis=1), slopes.mean(axis=2)


def _root(covariance: np.ndarray) -> np.ndarray:
    sizes, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    return axes * np.sqrt(np.maximum(sizes, 0))


def _stepped_flow(problem: ExitProblem, variances: np.ndarray, diffusion: Any, carried: float) -> SteppedFlow:
    minimum = np.asarray(problem.landscape.minimum)
    system = linearised(problem, None, minimum)
    spreads = jump_slopes(problem, minimum) @ (float(problem.noise_level) * matrix_of(problem.noise.scale))
    values, vectors = _modes(system)
    inverse = np.linalg.inv(vectors)
    rays = _rays_out(problem)
    slowest, fastest = float(np.real(values).min()), float(np.abs(values).max())
    steepest, axes = _steepest(problem, rays)
    if math.isfinite(steepest) and slowest <= _FLAT * steepest:
        slowest = min(slowest, 0.0)
    dimension = problem.dimension
    parts = [farthest(problem, part[:dimension]) for part in (np.real(vectors), np.imag(vectors))]
    rates = axis_covariances(spreads, variances, np.ndim(problem.noise.alpha) == 0)
    rates = rates * (variances[:1] if rates.shape[-1] == 1 else variances)
    laws = _settled_laws(system, rates) if slowest > 0 else 0 * rates
    spread = widest(problem, laws.sum(axis=-1)[:dimension, :dimension])
    spread = _least_power(problem, spread, slowest, 1.0)
    zone, most = _linearity(problem, rays)
    shift = np.zeros(len(system))
    if spread <= most**2:
        shift, laws = _kept_law(problem, system, rates, laws)
    return SteppedFlow(
        np.stack([np.real(inverse), np.imag(inverse)]),
        np.stack([np.real(vectors), np.imag(vectors)]),
        np.real(values),
        np.imag(values),
        parts[0] + parts[1],
        turning(values, vectors, laws),
        shift,
        zone or _NONLINEAR_ZONE,
        diffusion,
        spread,
        max(spread / most**2, _settled(carried, slowest, most)),
        slowest,
        fastest,
        None
        if steepest <= _STIFFER * np.linalg.norm(hessian_of(problem.landscape), 2)
        else LookAhead(axes, _LOOK_AHEAD * np.sqrt((axes.T @ _columns(problem)) ** 2 @ variances)),
        *_driven(problem, inverse @ spreads, _settled(carried, slowest, SKIP_SPREAD)),
    )


def _driven(problem: ExitProblem, modes: np.ndarray, power: float) -> tuple[Any, Any]:
    """What the drift of skewed noise drives, and from which depth^alpha on it hardly does."""
    return (None, None) if skewness(problem.noise) is None else (np.stack([np.real(modes), np.imag(modes)]), power)


def _steepest(problem: ExitProblem, rays: Float[np.ndarray, "d rays"]) -> tuple[float, Float[np.ndarray, "d d"]]:
    """How fast the gradient changes at most on the way out, by secants along rays; inf where it is not finite.

    And the axes of the Hessian that fits these secants best, along which it is looked for: those of the coordinates
    where these are not known.
    """
    rays = np.concatenate([rays, -rays], axis=1)
    points = np.concatenate([part * rays for part in _SECANTS], axis=1)
    gradients = _gradient(problem.landscape, np.asarray(problem.landscape.minimum)[:, None] + points)
    with np.errstate(over="ignore", invalid="ignore"):
        changes = np.diff(np.reshape(gradients, (len(rays), len(_SECANTS), -1)), axis=1)
        slopes = np.linalg.norm(changes, axis=0) / np.diff(_SECANTS)[:, None] / np.linalg.norm(rays, axis=0)
    if not np.isfinite(slopes).all():
        return math.inf, np.eye(len(rays))
    units = rays / np.linalg.norm(rays, axis=0)
    fitted = np.linalg.lstsq(units.T, (changes.sum(axis=1) / np.maximum(np.linalg.norm(rays, axis=0), 1e-300)).T)[0]
    return float(slopes.max()), np.linalg.eigh((fitted + fitted.T) / 2)[1]


def _rays_out(problem: ExitProblem) -> Float[np.ndarray, "d rays"]:
    """From the minimum to the boundary, along the axes and random directions, as far as there is one."""
    axes, normals = np.eye(problem.dimension), np.random.default_rng(0).normal(size=(problem.dimension, 64))
    rays = np.concatenate([axes, -axes, normals], axis=1)
    reach = gauge_along(problem.basin, problem.landscape.minimum, rays)
    return rays[:, reach > 0] / reach[reach > 0]


def nearest_saddle(problem: ExitProblem) -> float | None:
    """Twice the least way from rest to where the slope along a ray turns over; None where that is 1 or more.

    As a part of the way to the boundary along the ray or to the other side, whichever is nearer: what the length of a
    jump is measured by. Rays without a boundary are looked at four times as far as it is on their other side. A drift
    that is no gradient may point anywhere along a ray: there the flow is followed, to where it no longer comes back.
    """
    if isinstance(problem.landscape, LINEAR):
        return None
    if isinstance(problem.basin, Attraction) and kept_by_descent(problem):
        return None  # it has one point of rest
    minimum, columns = np.asarray(problem.landscape.minimum, np.float64), _columns(problem)
    follows = problem.dimension > 1 and not has_potential(problem.landscape)
    axes, normals = np.eye(problem.dimension), np.random.default_rng(0).normal(size=(problem.dimension, 64))
    normals = normals[:, :_FEW_RAYS] if follows else normals
    rays = axes if problem.dimension == 1 else np.concatenate([axes, columns[:, columns.any(axis=0)], normals], axis=1)
    rays = np.concatenate([rays, -rays], axis=1)
    gauge = gauge_along(problem.basin, minimum, rays)
    nearer = np.maximum(gauge, np.roll(gauge, rays.shape[1] // 2))
    rays, gauge, nearer = rays[:, nearer > 0], gauge[nearer > 0], nearer[nearer > 0]
    if follows:
        return _nearest_departure(problem, rays / nearer)
    parts = np.linspace(0, 1, _LINE_POINTS if problem.dimension == 1 else _RAY_POINTS)[1:]
    ways = parts[:, None] / np.where(gauge > 0, gauge, nearer / _BEYOND)
    points = minimum[:, None, None] + ways * rays[:, None]
    gradients = _gradient(problem.landscape, points.reshape(len(minimum), -1)).reshape(points.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = np.nan_to_num((gradients * rays[:, None]).sum(axis=0), posinf=0.0, neginf=0.0)
    down = slopes < -_ROUNDING * np.maximum.accumulate(np.abs(slopes), axis=0)
    most = None if problem.dimension == 1 else 2  # aslant, a ray may rise again where there is no well
    least = 1.0
    for ray in np.flatnonzero(down.any(axis=0)):
        turns = np.flatnonzero(np.diff(down[:, ray], prepend=False))
        before = np.where(turns > 0, ways[turns - 1, ray], 0.0)
        turns = np.concatenate([[0.0], (before + ways[turns, ray]) / 2])
        least = min(least, 2 * float(np.diff(turns[:most]).min() * nearer[ray]))
    return least if least < 1 else None


def _nearest_departure(problem: ExitProblem, ways: Float[np.ndarray, "d rays"]) -> float | None:
    """Twice the least part of these ways from which the flow does not come back; None where that is 1 or more."""
    parts = np.linspace(0, 0.5, _LOOKS + 1)
    points = np.asarray(problem.landscape.minimum)[:, None, None] + parts[1:, None] * ways[:, None]
    size = float(np.linalg.norm(ways, axis=0).min(initial=1e300))
    motion = TracedMotion(problem, None, size)
    ends = motion.follow(at_rest(problem, points.reshape(len(points), -1)), rough=True)
    leaves = (ends.fate != Fate.RETURNS).reshape(_LOOKS, -1).any(axis=1)
    return float(parts[:-1][leaves][0] + parts[1:][leaves][0]) if leaves.any() else None


def _linearity(problem: ExitProblem, rays: Float[np.ndarray, "d rays"]) -> tuple[float | None, float]:
    """How far the flow is linear, as a part of the way to the boundary, None at a kink; and the widest spread to skip.

    The spread is that of the small jumps up to which a Gaussian law is close to theirs.
    """
    minimum = np.asarray(problem.landscape.minimum)
    hessian = hessian_of(problem.landscape)

    @functools.cache
    def departure(part: float) -> float:
        """The linearised gradient's largest relative error so far out."""
        expected = hessian @ (part * rays)
        error = _gradient(problem.landscape, minimum[:, None] + part * rays) - expected
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # no number is within any bound
            error, expected = (error**2).sum(axis=0), (expected**2).sum(axis=0)
            return float(np.sqrt((error / np.where(expected > 0, expected, np.where(error > 0, 0, 1))).max()))

    zones = [zone for zone, allowed in _LINEAR_ZONES if departure(zone) <= allowed]
    smooth = departure(_SMOOTH[0]) <= _SMOOTH[1]
    spreads = [spread for spread in (SKIP_SPREAD, *_SPREADS) if departure(spread) * spread**3 <= _SKEWNESS]
    return (*zones, _NONLINEAR_ZONE if smooth else None)[0], (*spreads, _SPREADS[-1])[0]


@partial(interpreted, calls=8)
def _gradient(landscape: Landscape, points: Array) -> Array:
    return landscape.gradient(points)
