"""Exit rates of Brownian noise across saddles and walls: the Eyring-Kramers law in any number of dimensions."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Float

from levyjax.basins import Attraction, Box, HalfSpace
from levyjax.escape.anharmonic import anharmonicity, saddle_order, wall_order
from levyjax.escape.problem import EscapeProblem, face_of
from levyjax.escape.ways import NotKnown, Way, Ways
from levyjax.interpret import interpreted

MOST_DIMENSIONS = 10  # derivatives of the fourth order are d^4 numbers
_OUT, _FAR = 10.0, 1e200  # times the nearest boundary: where there is none; ways from which on they are endless
_RAYS, _STARTS = 256, 6  # to the boundary; of which the lowest of each face are where the descent along it begins
_SAME = 1e-4  # of the way from the minimum: points closer to each other are one
_FLAT = 1e-6  # of the largest curvature: below it a minimum on the boundary is not isolated
_AT_EDGE = 1e-4  # of the slope across the boundary: a slope along it beyond which its lowest point is on an edge
_KINK, _NEARBY = 1e-3, 1e-5  # a change of curvature within this part of the way out


def ways_out(problem: EscapeProblem) -> Ways:
    """What a Brownian exit is likely to do, for plain gradient descent under isotropic noise.

    Args:
        problem: with noise without jumps, at least one way out, and the start at the minimum.

    Returns:
        The ways, whose rates add up to 1/(mean exit time).

    Raises:
        NotKnown: noise of several strengths, minima on the boundary that are not isolated, a kink at the minimum,
            another well inside, no way out.

    Source:
        dX = -grad F dt + sqrt(2 D) dB. A well whose barrier is a saddle with the rate l of growth is left for the other
        side at the rate l/(2 pi) sqrt(det H/|det H_s|) exp(-(F_s - F_0)/D) (Eyring 1935, Kramers 1940, Langer 1969;
        proved by Bovier, Eckhoff, Gayrard and Klein 2004), twice that where the boundary passes through the saddle,
        and 2/(1 + erf(y sqrt(l/2D))) times that for a wall at a way of y beyond it. Through a wall on which F rises
        outwards with the slope g and has the Hessian H_w along the wall at its least point, at
        g sqrt(det H/(2 pi D det H_w)) exp(-(F_w - F_0)/D) (Matkowsky and Schuss 1977). Terms of the next order in D
        are those of the integral over the well, `anharmonicity`, of the flux across the saddle, `saddle_order`, and of
        that through a flat wall.
    """
    diffusion = _unit_diffusion(problem)
    landscape, minimum = problem.landscape, np.asarray(problem.landscape.minimum, float)
    if problem.start is not None:
        raise NotKnown("the start is not the minimum")
    if not getattr(problem.basin, "star_shaped", True):
        raise NotKnown("rays come back to this basin")
    if len(minimum) > MOST_DIMENSIONS:
        raise NotKnown(f"it takes derivatives of the fourth order, in up to {MOST_DIMENSIONS} dimensions")
    hessian = np.asarray(_hessian_at(landscape, minimum))
    if not np.linalg.eigvalsh(hessian).min() > 0:
        raise NotKnown("the Hessian at the minimum is not positive definite")
    try:
        attraction = Attraction(landscape)
    except ValueError as error:
        raise NotKnown(f"the minimum attracts no neighbourhood ({error})") from None
    rays = _directions(np.linalg.eigh(hessian)[1])
    gauge = np.zeros(rays.shape[1])
    if not _is_own(problem):
        gauge = np.asarray(problem.basin.gauge(jnp.asarray(minimum), jnp.asarray(rays)))
    reach = _to_the_edge(attraction, minimum, rays, gauge)
    size = _size(gauge, reach)
    if _has_kink(landscape, minimum, hessian, size):
        raise NotKnown("the curvature jumps at the minimum")
    height, log_det = float(landscape.value(jnp.asarray(minimum))), float(np.linalg.slogdet(hessian)[1])
    well = _Well(problem, attraction, minimum, height, log_det, size)
    across, inside = _across_saddles(well, minimum[:, None] + rays[:, reach < _FAR] * reach[reach < _FAR])
    seen = [way.point for way in across]
    through, edges = _through_walls(well, rays[:, gauge > 0] / gauge[gauge > 0])
    ways = across + [way for way in through if len(_distinct([*seen, way.point], size)) > len(seen)]
    if not ways:
        raise NotKnown("no saddle and no wall was found that leads out")
    own = anharmonicity(*_derivatives(landscape, minimum))
    return Ways(tuple(ways), tuple(inside), tuple(edges), sum(own), sum(map(abs, own)), diffusion)


class _Well(NamedTuple):
    """What is left: height is F at the minimum, log_det of its Hessian, size the least way to the boundary."""

    problem: EscapeProblem
    attraction: Attraction
    minimum: np.ndarray
    height: float
    log_det: float
    size: float


def _unit_diffusion(problem: EscapeProblem) -> float:
    covariance = np.asarray(problem.noise.covariance_rate(), float)
    variance = covariance[0, 0]
    if not np.allclose(covariance, variance * np.eye(len(covariance)), rtol=1e-9, atol=1e-9 * variance):
        raise NotKnown("the noise is not equally strong in all directions")
    return variance / 2


def _directions(axes: np.ndarray) -> np.ndarray:
    """The eigenvectors to both sides, and random rays."""
    d = len(axes)
    if d == 1:
        return np.array([[1.0, -1.0]])
    random = np.random.default_rng(0).normal(size=(d, _RAYS))
    return np.concatenate([axes, -axes, random / np.linalg.norm(random, axis=0)], axis=1)


def _to_the_edge(attraction: Attraction, minimum: np.ndarray, rays: np.ndarray, gauge: np.ndarray) -> np.ndarray:
    """The ways along rays to the edge of the basin of attraction; inf where descent from the boundary comes back.

    Descents begin 1% beyond it, so that saddles on the boundary are seen, and on a ray without a boundary ten times as
    far out as the nearest one.
    """
    reach = np.full(rays.shape[1], np.inf)
    if gauge.any():
        out = 1.01 / np.where(gauge > 0, gauge, gauge.max() / _OUT)
        back = np.asarray(attraction.contains(jnp.asarray(minimum[:, None] + out * rays)))
    else:
        back = np.zeros(rays.shape[1], bool)
    if not back.all():
        found = np.asarray(attraction.gauge(jnp.asarray(minimum), jnp.asarray(rays[:, ~back])))
        reach[~back] = np.where(found > 0, 1 / np.where(found > 0, found, 1), np.inf)
    return reach


def _size(gauge: np.ndarray, reach: np.ndarray) -> float:
    """How far the boundary is at least."""
    ways = np.concatenate([1 / gauge[gauge > 0], reach[reach < _FAR]])
    if not ways.size:
        raise NotKnown("no ray leaves the basin")
    return float(ways.min())


# Ways across saddles


def _across_saddles(well: _Well, edge: np.ndarray) -> tuple[list[Way], list[Way]]:
    """Ways out, and ways to other wells inside, from points (d, n) on the edge of the basin of attraction."""
    problem, landscape, size = well.problem, well.problem.landscape, well.size
    ways: list[Way] = []
    inside: list[Way] = []
    if not edge.size:
        return ways, inside
    near = np.asarray(well.attraction.saddle(jnp.asarray(edge)), float)
    for saddle in _distinct([_newton(landscape, point) for point in near.T], size):
        hessian = np.asarray(_hessian_at(landscape, saddle))
        values, vectors = np.linalg.eigh(hessian)
        if not (values[0] < 0 and (values[1:] > 0).all()):
            continue
        out = vectors[:, 0]
        towards = _descends_to(landscape, saddle, out, well.minimum, size)
        out = -out if towards > 0 else out
        room = _room(problem, saddle, out)
        if room is None:
            continue  # the boundary is on this side of it
        stays = math.isinf(room) or not _leaves(problem, saddle, out, size)
        scale = math.sqrt(-values[0] / 2)
        factor = -values[0] / (2 * math.pi) * math.exp((well.log_det - np.linalg.slogdet(hessian)[1]) / 2)
        height = float(landscape.value(jnp.asarray(saddle))) - well.height
        terms, half = saddle_order(*_derivatives(landscape, saddle))
        face = _face(problem, saddle + out * min(room, size))
        crossing = {"room": room * scale, "room_scale": scale, "half_order": half}
        (inside if stays else ways).append(
            Way(saddle, face, height, factor, sum(terms), sum(map(abs, terms)), **crossing)
        )
    return ways, inside


def _is_own(problem: EscapeProblem) -> bool:
    """Whether the basin is the minimum's basin of attraction, whose boundary passes through its saddles."""
    return isinstance(problem.basin, Attraction)


def _room(problem: EscapeProblem, saddle: np.ndarray, out: np.ndarray) -> float | None:
    """From a saddle to the boundary on the way on; 0 on it; None where the saddle is outside."""
    minimum = np.asarray(problem.landscape.minimum, float)
    if _is_own(problem):
        return 0.0
    way = float(problem.basin.gauge(jnp.asarray(minimum), jnp.asarray(saddle - minimum)[:, None])[0])
    if way > 1 + _SAME:
        return None
    if way > 1 - _SAME:
        return 0.0
    on = float(problem.basin.gauge(jnp.asarray(saddle), jnp.asarray(out)[:, None])[0])
    return 1 / on if on > 0 else math.inf


def _descends_to(landscape: Any, saddle: np.ndarray, out: np.ndarray, minimum: np.ndarray, size: float) -> int:
    """1 where the descent beside a saddle along `out` ends at the minimum, -1 on the other side.

    Raises:
        NotKnown: neither side.
    """
    for sign in (1, -1):
        end = _descent(landscape, saddle + sign * 1e-3 * size * out)
        if np.linalg.norm(end - minimum) < 1e-2 * size:
            return sign
    raise NotKnown("a saddle on the edge of the well is not its own")


def _leaves(problem: EscapeProblem, saddle: np.ndarray, out: np.ndarray, size: float) -> bool:
    """Whether the descent on the other side of a saddle leaves the basin."""
    path = _descent_path(problem.landscape, saddle + 1e-3 * size * out)
    return _is_own(problem) or not bool(np.asarray(problem.basin.contains(jnp.asarray(path))).all())


def _descent(landscape: Any, start: np.ndarray) -> np.ndarray:
    return _descent_path(landscape, start)[:, -1]


def _descent_path(landscape: Any, start: np.ndarray) -> np.ndarray:
    """The flow x' = -grad F, (d, times), until it rests or is far away."""

    def slope(_: float, x: np.ndarray) -> np.ndarray:
        return -np.asarray(_gradient_at(landscape, x))

    rate = np.abs(np.linalg.eigvalsh(np.asarray(_hessian_at(landscape, start)))).max()
    found = scipy.integrate.solve_ivp(slope, (0, 1e3 / rate), start, method="LSODA", rtol=1e-6, atol=1e-9)
    return found.y


def _face(problem: EscapeProblem, point: np.ndarray) -> int:
    """The face through which the way from the minimum to a point leads."""
    minimum = np.asarray(problem.landscape.minimum, float)
    return int(face_of(problem.basin, minimum, (minimum + 1.001 * (point - minimum))[:, None])[0])


def _newton(landscape: Any, point: np.ndarray) -> np.ndarray:
    """The critical point beside a point; nan where the iteration leads nowhere."""
    for _ in range(50):
        gradient, hessian = np.asarray(_gradient_at(landscape, point)), np.asarray(_hessian_at(landscape, point))
        if not (np.isfinite(hessian).all() and np.isfinite(gradient).all()):
            return np.full_like(point, np.nan)
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        point = point - step
        if np.linalg.norm(step) <= 1e-12 * (1 + np.linalg.norm(point)):
            return point
    return np.full_like(point, np.nan)


def _distinct(points: list[np.ndarray], size: float) -> list[np.ndarray]:
    kept: list[np.ndarray] = []
    for point in points:
        if np.isfinite(point).all() and all(np.linalg.norm(point - other) > _SAME * size for other in kept):
            kept.append(point)
    return kept


# Ways through walls


def _through_walls(well: _Well, walls: np.ndarray) -> tuple[list[Way], list[float]]:
    """Ways out where F is least on the boundary, from points (d, n) of it as seen from the minimum, and edges."""
    problem, landscape, minimum = well.problem, well.problem.landscape, well.minimum
    ways: list[Way] = []
    edges: list[float] = []
    if _is_own(problem) or not walls.size:
        return ways, edges
    heights = np.asarray(landscape.value(jnp.asarray(minimum[:, None] + walls)))
    faces = np.asarray(face_of(problem.basin, minimum, minimum[:, None] + 1.001 * walls))
    points: list[np.ndarray] = []
    for face in np.unique(faces):
        own = np.flatnonzero(faces == face)
        lowest = own[np.argsort(heights[own])[:_STARTS]]
        points += [minimum + _lowest(problem, walls[:, one]) for one in lowest]
    for point in _distinct(points, well.size):
        away = point - minimum
        normal, slope = _normal_slope(problem, point)
        if not bool(np.asarray(well.attraction.contains(jnp.asarray(minimum + 0.999 * away)))):
            continue  # the flow does not lead back from here: a saddle comes before it
        tangent = scipy.linalg.null_space(normal[None]) if len(minimum) > 1 else np.zeros((1, 0))
        curvature, third, fourth, slopes, across, steeper = _at_wall(problem, away, tangent, normal)
        values = np.linalg.eigvalsh(curvature) if tangent.shape[1] else np.ones(0)
        height = float(landscape.value(jnp.asarray(point))) - well.height
        push = np.linalg.norm(tangent.T @ np.asarray(_gradient_at(landscape, point)))
        if values.size and (values.min() < _FLAT * np.abs(across).max() or push > _AT_EDGE * abs(slope)):
            edges.append(height)
            continue
        if not slope > 0:
            continue
        factor = slope * math.exp((well.log_det - np.log(values).sum()) / 2) / math.sqrt(2 * math.pi)
        terms = wall_order(curvature, third, fourth, slope, slopes, float(normal @ across @ normal))
        flat = isinstance(problem.basin, (Box, HalfSpace)) or len(minimum) == 1
        bend = 0.0 if flat else float(np.trace(tangent.T @ across @ tangent - curvature))
        sizes = sum(map(abs, terms)), abs(bend) / slope**2 + (0.0 if flat else sum(map(abs, terms)))
        ways.append(
            Way(
                point,
                _face(problem, point),
                height,
                factor,
                sum(terms),
                sizes[0],
                slope=slope,
                second_order=abs(float(steeper)) / slope**3,
                curved=sizes[1],
            )
        )
    return ways, edges


def _lowest(problem: EscapeProblem, away: np.ndarray) -> np.ndarray:
    """The way from the minimum to where F is least on the boundary, near that to a point of it."""
    if len(away) == 1:
        return away

    def height(away: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _on_boundary(problem, away)
        return float(value), np.asarray(slope, float)

    found = scipy.optimize.minimize(height, away, jac=True, method="BFGS", options={"gtol": 1e-10})
    gauge = float(problem.basin.gauge(jnp.asarray(problem.landscape.minimum), jnp.asarray(found.x)[:, None])[0])
    if not gauge > 0:
        raise NotKnown("F is least infinitely far along the boundary")
    return found.x / gauge


def _boundary_height(problem: EscapeProblem, away: Float[Array, " d"]) -> Array:
    """F where a ray from the minimum leaves."""
    minimum = jnp.asarray(problem.landscape.minimum)
    gauge = problem.basin.gauge(minimum, away[:, None])[0]
    return problem.landscape.value((minimum + away / gauge)[:, None])[0]


@partial(interpreted, calls=1000)
def _on_boundary(problem: EscapeProblem, away: Float[Array, " d"]) -> tuple[Array, Array]:
    return jax.value_and_grad(partial(_boundary_height, problem))(away)


@interpreted
def _wall(problem: EscapeProblem, point: Float[Array, " d"]) -> tuple[Array, Array]:
    minimum = jnp.asarray(problem.landscape.minimum)
    normal = jax.grad(lambda x: problem.basin.gauge(minimum, (x - minimum)[:, None])[0])(point)
    unit = normal / jnp.linalg.norm(normal)
    return unit, (problem.landscape.gradient(point[:, None])[:, 0] * unit).sum()


def _normal_slope(problem: EscapeProblem, point: np.ndarray) -> tuple[np.ndarray, float]:
    """The outward normal of the boundary at a point, and the slope of F along it."""
    normal, slope = _wall(problem, point)
    return np.asarray(normal), float(slope)


@interpreted
def _at_wall(
    problem: EscapeProblem, away: Float[Array, " d"], tangent: Float[Array, "d k"], normal: Float[Array, " d"]
) -> tuple[Any, ...]:
    """Derivatives of F along the boundary, those of its slope across, its Hessian, and its third across."""
    point = jnp.asarray(problem.landscape.minimum) + away

    def gradient(x: Float[Array, " d"]) -> Array:
        return problem.landscape.gradient(x[:, None])[:, 0]

    def height(v: Float[Array, " k"]) -> Array:
        return _boundary_height(problem, away + (tangent * v).sum(axis=1))

    def slope(v: Float[Array, " k"]) -> Array:
        return (gradient(point + (tangent * v).sum(axis=1)) * normal).sum()

    second, zero = jax.hessian(height), jnp.zeros(tangent.shape[1])
    third = jax.jacfwd(second)
    slopes = jax.grad(slope)(zero), jax.hessian(slope)(zero)
    steeper = jax.hessian(lambda t: (gradient(point + t * normal) * normal).sum())(jnp.zeros(()))
    return second(zero), third(zero), jax.jacfwd(third)(zero), slopes, jax.jacfwd(gradient)(point), steeper


# Derivatives of F


@partial(interpreted, calls=1000)
def _gradient_at(landscape: Any, x: Float[Array, " d"]) -> Array:
    return landscape.gradient(x[:, None])[:, 0]


@partial(interpreted, calls=100)
def _hessian_at(landscape: Any, x: Float[Array, " d"]) -> Array:
    return jax.jacfwd(lambda x: landscape.gradient(x[:, None])[:, 0])(x)


@interpreted
def _derivatives(landscape: Any, x: Float[Array, " d"]) -> tuple[Array, Array, Array]:
    """Of the second, third and fourth order."""
    second = jax.jacfwd(lambda x: landscape.gradient(x[:, None])[:, 0])
    third = jax.jacfwd(second)
    return second(x), third(x), jax.jacfwd(third)(x)


def _has_kink(landscape: Any, minimum: np.ndarray, hessian: np.ndarray, size: float) -> bool:
    """Whether the Hessian beside the minimum is another one to some side."""
    axes = np.linalg.eigh(hessian)[1]
    for way in (*axes.T, *-axes.T):
        beside = np.asarray(_hessian_at(landscape, minimum + _NEARBY * size * way))
        if np.abs(beside - hessian).max() > _KINK * np.abs(hessian).max():
            return True
    return False
