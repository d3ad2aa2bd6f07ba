"""The basin that has no formula: every point from which gradient descent's flow ends at the minimum."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import column, concrete, freeze, parameter, positive, pytree, static
from levyjax.basins.base import axis_face, axis_face_names, located
from levyjax.keys import key, piece
from levyjax.landscapes.base import first_crossing, require_potential

_REACH = (1e-5, 1e5)  # distances from the minimum at which the attracting ball is looked for
_SCAN_RATIO = 1.075  # of a distance to the one before, outside of the attracting ball
_FAR, _FAR_ON_THE_LINE = 1e3, 1e5  # times its radius: how far rays are followed, and how far where that is cheap
_STEEP = 1e-20  # of the largest number: with slopes above it products of slopes and steps overflow or underflow
_LANES = 512  # that descend side by side: up to 32 points of a ray, 4 or more where there are many rays
_FINE = 1e-3  # of the tolerance: how closely a boundary is found in more than one dimension
_SAMPLED_RAYS = 64
_AT_SADDLE = 0.01  # of the largest gradient on the way
_TRACE_STEPS, _TRACE_PART = 300, 0.15  # along the boundary to the saddle, each a part of the fastest time scale there

# Dormand and Prince 1980: stages, the fifth-order solution (the last stage) and its difference from the fourth order.
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@piece("basin", "attraction")
@pytree
class Attraction:
    """The basin of attraction of the landscape's minimum under x' = -grad F(x).

    A point is inside if its descent, by adaptive Runge-Kutta steps (Dormand and Prince 1980), comes within `near` of
    x*, where F rises along every ray; if F falls below `level` before, it is known to end elsewhere. A descent that
    takes max_steps, or starts where F is too steep for the floating type, counts as outside, but no ray is taken to
    leave there. The boundary's distance along a ray is found by a geometric scan, which takes two crossings closer than
    7.5% of their distance for none, and by section. Its error is that of the descent: in one dimension, where a descent
    cannot cross a saddle, that of rounding; in more, about `tolerance` times the way of the descent. Rays that do not
    leave within 1000 times `near` (on the line 1e5 times) are endless.

    Derivatives of the gauge are those of the boundary, the stable manifold of a saddle: a descent from the boundary is
    traced to where it comes closest to the saddle, and may not leave it in the direction that leads away.

    Each test of a point is a descent. Simulations in two and more dimensions cost that at every step of paths far from
    x*, and the jump-adapted solver a ray search; where the boundary is known take its formula.

    Args:
        landscape: F; its minimum must be isolated.
        near: radius of a ball around x* that is inside; default half the least distance at which F stops rising along
            the axes, the Hessian's eigenvectors and 64 random rays.
        tolerance: error of a Runge-Kutta step, as a part of its length.
        max_steps: of a descent.
        level: below F on the sphere of radius `near`; default half of the way up from F(x*) to its least value on the
            same rays.

    Raises:
        ValueError: a drift without a potential; F does not rise from the minimum along all rays; near or tolerance not
            positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from levyjax.landscapes import DoubleWell
        >>> basin = Attraction(DoubleWell(2.0, 1.0))
        >>> round(basin.gauge(jnp.array([2.0]), jnp.array([[-1.0]])).item(), 4)
        0.5
    """

    landscape: Any = key(given="landscape")
    near: Any = None
    tolerance: float = static(default=1e-6)
    max_steps: int = static(default=4000)
    level: Any = None

    contains_is_slow = True  # a run file's start is looked at when the problem is made

    def __post_init__(self) -> None:
        require_potential(self.landscape, "Attraction")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {self.tolerance}.")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps}.")
        near = self.near
        if near is None:
            near = _attracting_radius(self.landscape)
            if concrete(near) and not float(near) > _REACH[0]:
                raise ValueError(
                    "The landscape does not rise from its minimum along all rays, so the minimum attracts no "
                    "neighbourhood; give a landscape with an isolated minimum."
                )
        near = positive(parameter(near, "near", ndim=(0,)), "near")
        level = _level_around(self.landscape, near) if self.level is None else self.level
        freeze(self, near=near, level=parameter(level, "level", ndim=(0,)))

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        return _ends(self, x)[0]

    def gauge(self, origin: Float[Array, "d *start"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        start = jnp.broadcast_to(located(origin, direction), direction.shape)
        way = _way_out(self, start, direction)
        return jnp.where(way > 0, 1 / jnp.where(way > 0, way, 1), 0)

    def saddle(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """Where descents from points of the boundary come closest to the saddle whose stable manifold it is."""
        return _closest(self, x)

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return axis_face_names(dimension)

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return axis_face(origin, x)


class _Descent(NamedTuple):
    x: Array
    gradient: Array
    step: Array  # the next one's length
    runs: Array
    arrived: Array
    count: Array


def _norm(x: Array) -> Array:
    """Of vectors whose squares may overflow."""
    if x.shape[0] == 1:
        return jnp.abs(x[0])
    largest = jnp.abs(x).max(axis=0)
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return unit * jnp.sqrt(((x / unit) ** 2).sum(axis=0))


def _attracting_radius(landscape: Any) -> Any:
    """Half the least distance from x* at which F stops rising along sampled rays."""
    return _worked_out(_rising, landscape)


def _level_around(landscape: Any, near: Any) -> Any:
    """F halfway up from the minimum to the least value on sampled rays at this distance."""
    return _worked_out(_halfway_up, landscape, near)


def _worked_out(function: Any, *args: Any) -> Any:
    """In float64 where all arguments are numbers; without derivatives."""
    if all(concrete(leaf) for leaf in jax.tree.leaves(args)):
        with jax.enable_x64(True):
            return np.asarray(function(*args))
    return lax.stop_gradient(function(*args))


def _sampled_rays(landscape: Any) -> Array:
    """Unit vectors (d, rays): to both sides of the axes and of the softest directions, and random ones."""
    minimum = jnp.asarray(landscape.minimum)
    size = minimum.shape[0]
    if size == 1:
        return jnp.asarray([[1.0, -1.0]], minimum.dtype)
    rays = np.random.default_rng(0).normal(size=(size, _SAMPLED_RAYS))
    rays = np.concatenate([rays / np.linalg.norm(rays, axis=0), np.eye(size)[:, :_SAMPLED_RAYS]], axis=1)
    softest = jnp.linalg.eigh(landscape.hessian())[1][:, :_SAMPLED_RAYS].astype(minimum.dtype)
    rays = jnp.concatenate([jnp.asarray(rays, minimum.dtype), softest], axis=1)
    return jnp.concatenate([rays, -rays], axis=1)


@jax.jit
def _rising(landscape: Any) -> Array:
    minimum = jnp.asarray(landscape.minimum)

    def rises(x: Array) -> Array:
        """False where F or its slope is no number: nothing is known from there on."""
        slope = ((x - column(minimum, x)) * landscape.gradient(x)).sum(axis=0)
        return (slope > 0) & jnp.isfinite(slope) & jnp.isfinite(landscape.value(x))

    rays = _sampled_rays(landscape)
    steepest = first_crossing(lambda x: jnp.zeros_like(x[0]), minimum, rays, _REACH, rises).max()
    return jnp.where(steepest > 0, 0.5 / jnp.where(steepest > 0, steepest, 1), _REACH[1])


@jax.jit
def _halfway_up(landscape: Any, near: Any) -> Array:
    minimum = jnp.asarray(landscape.minimum)
    around = landscape.value(minimum[:, None] + near * _sampled_rays(landscape)).min()
    return (landscape.value(minimum) + around) / 2


def _time_scale(landscape: Any, x: Array, gradient: Array) -> Array:
    """|g|/|H g|: how long the flow keeps its velocity; |g| where that never changes."""
    norm = _norm(gradient)
    unit = gradient / jnp.where(norm > 0, norm, 1)
    change = _norm(jax.jvp(landscape.gradient, (x,), (unit,))[1])
    return jnp.where(change == 0, norm, 1 / jnp.where(change == 0, 1, change))


def _runge_kutta(landscape: Any, x: Array, gradient: Array, step: Array) -> tuple[Array, Array, Array]:
    """The point after a step of the descent, the gradient there, and the error's estimate."""
    slopes, moved = [gradient], x
    for weights in _STAGES:
        moved = x - step * sum(weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight)
        slopes.append(landscape.gradient(moved))
    return moved, slopes[-1], step * sum(weight * slope for weight, slope in zip(_ERROR, slopes, strict=True) if weight)


@jax.jit
def _ends(basin: Attraction, x: Array) -> tuple[Array, Array]:
    """Whether a descent from x arrives at the minimum, and whether it is known to end elsewhere."""
    landscape, eps = basin.landscape, float(jnp.finfo(x.dtype).eps)
    minimum = column(jnp.asarray(landscape.minimum, x.dtype), x)
    tolerance, rest = max(basin.tolerance, 100 * eps), eps**0.6

    def go_on(now: _Descent) -> Array:
        return now.runs.any() & (now.count < basin.max_steps)

    def step(now: _Descent) -> _Descent:
        moved, gradient, error = _runge_kutta(landscape, now.x, now.gradient, now.step)
        way = _norm(moved - now.x)
        ratio = _norm(error) / (tolerance * way)
        good = now.runs & (ratio <= 1)
        ahead = (way > rest * _norm(moved - minimum)) | (_norm(gradient) > _norm(now.gradient))
        arrived = good & (_norm(moved - minimum) < basin.near)
        growth = jnp.where(jnp.isfinite(ratio), jnp.clip(0.9 * jnp.maximum(ratio, 1e-10) ** -0.2, 0.2, 5), 0.2)
        step = now.step * growth
        lost = good & ((_norm(moved - minimum) > far) | (landscape.value(moved) < level)) & ~arrived
        runs = now.runs & ~arrived & ~lost & (ahead | ~good) & (step > 0)
        x, gradient = (jnp.where(good, after, before) for after, before in ((moved, now.x), (gradient, now.gradient)))
        return _Descent(x, gradient, step, runs, now.arrived | arrived, now.count + 1)

    gradient = landscape.gradient(x)
    arrived, level = _norm(x - minimum) < basin.near, jnp.asarray(basin.level, x.dtype)
    far = 10 * jnp.maximum(_norm(x - minimum), _FAR_ON_THE_LINE * basin.near)
    first = 0.1 * _time_scale(landscape, x, gradient)
    runs = ~arrived & (_norm(gradient) > 0) & (landscape.value(x) >= level)
    start = _Descent(x, gradient, first, runs, arrived, jnp.int32(0))
    end = lax.while_loop(go_on, step, start)
    tame = (_norm(gradient) < _STEEP * float(jnp.finfo(x.dtype).max)) & jnp.isfinite(first)
    return end.arrived, ~end.arrived & ~end.runs & tame


@jax.custom_jvp
@jax.jit
def _way_out(basin: Attraction, origin: Float[Array, "d *batch"], direction: Float[Array, "d *batch"]) -> Array:
    """t of the first point origin + t direction that is not in the basin; 0 where there is none."""
    together = min(max(_LANES // max(direction[0].size, 1), 4), 32)
    length = jnp.maximum(_norm(direction), jnp.finfo(direction.dtype).tiny)
    unit = direction / length

    def outside(distance: Array) -> Array:
        return _ends(basin, origin[..., None] + unit[..., None] * distance)[1]

    def first(outside: Array) -> tuple[Array, Array]:
        return outside.any(axis=-1), jnp.argmax(outside, axis=-1)

    last = math.ceil(math.log(_FAR_ON_THE_LINE if direction.shape[0] == 1 else _FAR) / math.log(_SCAN_RATIO))
    index = jnp.arange(together, dtype=direction.dtype)

    def scan(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        block, low, high, found = carry
        distance = basin.near * _SCAN_RATIO ** (block.astype(index.dtype) * together + index)
        now, place = first(outside(jnp.broadcast_to(distance, (*length.shape, together))))
        before = jnp.where(place > 0, distance[jnp.maximum(place - 1, 0)], low)
        low = jnp.where(found, low, jnp.where(now, before, distance[-1]))
        high = jnp.where(found | ~now, high, distance[place])
        return block + 1, low, high, found | now

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        return (carry[0] * together <= last) & ~carry[3].all()

    zero = jnp.zeros_like(length)
    start = (jnp.int32(0), zero, zero, _norm(direction) == 0)
    _, low, high, found = lax.while_loop(unfinished, scan, start)

    def section(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        parts = (index + 1) / (together + 1)
        distance = low[..., None] + (high - low)[..., None] * parts
        now, place = first(outside(distance))
        place = jnp.where(now, place, together)
        edges = jnp.concatenate([low[..., None], distance, high[..., None]], axis=-1)
        ends = jnp.take_along_axis(edges, jnp.stack([place, place + 1], axis=-1), axis=-1)
        return ends[..., 0], ends[..., 1]

    finest = float(jnp.finfo(length.dtype).eps)
    finest = finest if direction.shape[0] == 1 else max(finest, _FINE * basin.tolerance)
    rounds = math.ceil(math.log((_SCAN_RATIO - 1) / finest) / math.log(together + 1))
    high = lax.fori_loop(0, rounds, section, (low, high))[1]
    return jnp.where(found & (_norm(direction) > 0), high / length, 0)


@jax.jit
def _closest(basin: Attraction, x: Array) -> Array:
    landscape = basin.landscape

    def step(now: _Approach, _: Any) -> tuple[_Approach, None]:
        time = _TRACE_PART * _time_scale(landscape, now.x, now.gradient)
        x, gradient, _ = _runge_kutta(landscape, now.x, now.gradient, time)
        norm = _norm(gradient)
        largest = jnp.maximum(now.largest, norm)
        left = now.left | ((now.least < _AT_SADDLE * largest) & (norm > 4 * now.least))
        closer = ~left & (norm < now.least)
        least, best = jnp.where(closer, norm, now.least), jnp.where(closer, x, now.best)
        return _Approach(x, gradient, largest, least, best, left), None

    gradient = landscape.gradient(x)
    norm = _norm(gradient)
    start = _Approach(x, gradient, norm, norm, x, jnp.zeros(norm.shape, bool))
    return lax.scan(step, start, None, _TRACE_STEPS)[0].best


class _Approach(NamedTuple):
    x: Array
    gradient: Array
    largest: Array  # norm of the gradient on the way
    least: Array
    best: Array  # where that was
    left: Array  # whether the path has been at the saddle and goes on


def _trace(basin: Attraction, origin: Array, direction: Array, way: Array, last: Array) -> tuple[Array, Array]:
    """The gradient where a descent from origin + way direction comes to in `last` steps, and its norm on the way."""
    landscape = basin.landscape

    def step(carry: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], Array]:
        x, gradient = carry
        time = lax.stop_gradient(_TRACE_PART * _time_scale(landscape, x, gradient))
        moved, after, _ = _runge_kutta(landscape, x, gradient, jnp.where(index < last, time, 0))
        return (moved, after), lax.stop_gradient(_norm(after))

    x = origin + way * direction
    (_, gradient), norms = lax.scan(step, (x, landscape.gradient(x)), jnp.arange(_TRACE_STEPS))
    return gradient, norms


@_way_out.defjvp
def _way_out_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """On the boundary the descent ends at the saddle, so its gradient there, seen along the way out, stays 0."""
    basin, origin, direction = primals
    way = _way_out(basin, origin, direction)
    norms = _trace(basin, origin, direction, way, jnp.full(way.shape, _TRACE_STEPS))[1]
    first = _norm(basin.landscape.gradient(origin + way * direction))
    last = jnp.where(norms.min(axis=0) < first, norms.argmin(axis=0) + 1, 0)
    trace = partial(_trace, last=last)

    def by_way(way: Array) -> Array:
        return trace(basin, origin, direction, way)[0]

    _, push = jax.jvp(by_way, (way,), (jnp.ones_like(way),))
    _, shift = jax.jvp(lambda basin, origin, direction: trace(basin, origin, direction, way)[0], primals, tangents)
    push = lax.stop_gradient(push)
    scale = (push**2).sum(axis=0)
    moved = -(push * shift).sum(axis=0) / jnp.where(scale > 0, scale, 1)
    return way, jnp.where((way > 0) & (scale > 0), moved, 0)
