"""Noise whose dispersion depends on the point, in the senses of Itô and of Marcus."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from levyjax.arrays import as_matrix, bisected, column, concrete, pytree, static, total
from levyjax.noise.base import LevyNoise, Noise
from levyjax.random import Counter, Stream

_KINDS = ("ito", "marcus")
_LEAST_STEPS, _MOST_STEPS = 16, 256  # Runge-Kutta steps of a jump's flow
_TURN = 0.25  # how much of itself the velocity may change in a step
_FAR = 1e15  # a flow that explodes is held here
_PART, _MAX_STEPS = 0.01, 20_000  # of the way to the boundary, of a search along a flow
_BLOCKS = (50, 20, 20)  # of those steps


@pytree
class StateDependent:
    """dX = ... + noise_level A(X) dL for a Lévy process L and a dispersion A from a function of the point.

    "ito": a jump z of noise_level L moves X by A(X) z, A taken before it; Euler takes A at the left end of its step.
    "marcus": it moves X to the end of y' = A(y) z from X over one unit of time, as if the jump were a quick smooth
    motion; the ordinary chain rule holds. Euler sends each increment through that flow, by 16 to 256 Runge-Kutta steps
    as fast as the velocity changes; a flow that explodes or is longer is held where it is then.
    Exits at small noise see A at the minimum alone (Itô) or along the flow (Marcus).

    Args:
        driver: L in R^d, such as `Independent(1.5, [1.0])`; of fewer or more coordinates by a scale (d, m) of its own.
        function: A(x) or A(x, parameters) for one point x (d,): the diagonal (d,) or the matrix (d, d).
        parameters: an optional pytree of arrays handed to the function, so that changing them does not recompile.
        kind: "ito" or "marcus".

    Raises:
        ValueError: a driver that is no Lévy process, or another kind.

    Source:
        Marcus 1978; Applebaum 2009, section 6.10.

    Example:
        >>> from levyjax.noise import Independent
        >>> noise = StateDependent(Independent(1.5, [1.0]), lambda x: 1 + x**2)
        >>> noise.frozen(jnp.asarray([2.0])).scale.tolist()
        [5.0]
    """

    driver: Any
    function: Callable[..., Array] = static()
    parameters: Any = None
    kind: str = static(default="ito")
    point: Any = None
    noise_level: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.driver, LevyNoise):
            raise ValueError(f"driver must be a Lévy process, got {type(self.driver).__name__}.")
        if self.kind not in _KINDS:
            raise ValueError(f"kind must be 'ito' or 'marcus', got {self.kind!r}.")

    @property
    def alpha(self) -> Any:
        """Of L."""
        return self.driver.alpha

    @property
    def scale(self) -> Any:
        """Of L, without A(x)."""
        return self.driver.scale

    def dispersion(self, x: Float[Array, " d"]) -> Array:
        """A(x), its diagonal (d,) or the matrix (d, d)."""
        return self.function(x) if self.parameters is None else self.function(x, self.parameters)

    def _act(self, x: Float[Array, "d *batch"], z: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """A(x) z."""

        def act(x: Array, z: Array) -> Array:
            matrix = self.dispersion(x)
            return matrix * z if matrix.ndim == 1 else total(matrix.T * z[:, None])

        flat = jax.vmap(act, -1, -1)(x.reshape(x.shape[0], -1), z.reshape(z.shape[0], -1))
        return flat.reshape(x.shape)

    def flow(self, x: Float[Array, "d *batch"], z: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """Where y' = A(y) z from x is after one unit of time."""

        def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            count, y, left = carry
            velocity, change = jax.jvp(lambda y: self._act(y, z), (y,), (self._act(y, z),))
            rate = jnp.abs(change).max(axis=0) / jnp.maximum(jnp.abs(velocity).max(axis=0), jnp.finfo(y.dtype).tiny)
            dt = jnp.minimum(jnp.minimum(left, 1 / _LEAST_STEPS), _TURN / jnp.maximum(rate, _TURN))
            ahead = _runge_kutta(self._act, y, z * dt)
            goes_on = (left > 0) & (jnp.abs(ahead) <= _FAR).all(axis=0)
            return count + 1, jnp.where(goes_on, ahead, y), jnp.where(goes_on, left - dt, 0)

        def running(carry: tuple[Array, Array, Array]) -> Array:
            return (carry[0] < _MOST_STEPS) & (carry[2] > 0).any()

        return lax.while_loop(running, step, (jnp.int32(0), x, jnp.ones_like(x[0])))[1]

    def at(self, x: Float[Array, "d *batch"], noise_level: Any) -> Noise:
        """The noise of a step that starts at these points."""
        return StateDependent(self.driver, self.function, self.parameters, self.kind, x, noise_level)

    def increment(self, counter: Counter, dt: Any, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        if self.point is None:
            raise ValueError("State-dependent noise depends on the point: take `at(x, noise_level)` first.")
        z = self.driver.increment(counter, dt, stream)
        if self.kind == "ito":
            return self._act(self.point, z)
        return (self.flow(self.point, self.noise_level * z) - self.point) / self.noise_level

    def frozen(self, x: Float[Array, " d"]) -> LevyNoise:
        """The Lévy noise A(x) L, the same everywhere."""
        matrix, scale = self.dispersion(x), jnp.asarray(self.driver.scale)
        if matrix.ndim == scale.ndim == 1:
            return dataclasses.replace(self.driver, scale=matrix * scale)
        return dataclasses.replace(self.driver, scale=as_matrix(matrix) @ as_matrix(scale))

    def way_out(
        self, basin: Any, origin: Float[Array, " d"], rays: Float[Array, "d rays"]
    ) -> tuple[Float[Array, "d rays"], Float[Array, " rays"]]:
        """Along the flow y' = A(y) v from the origin, for each ray v: the point of exit, and 1/time until then.

        0 where the flow has not left after 20,000 steps of a hundredth of the basin's width or less. Both have the
        derivatives of the flow and of the boundary, forward and in reverse, in all that is in `parameters`, the driver,
        the basin, the origin and the rays.

        Raises:
            ValueError: the dispersion is a function of a value that is being differentiated, outside `parameters`.
        """
        given = (origin,) if self.parameters is None else (origin, self.parameters)
        if not all(map(concrete, jax.make_jaxpr(self.function)(*given).consts)):
            raise ValueError(
                "The dispersion's function holds a value that is being traced: hand it over as one of its parameters."
            )
        return _way_out(self, basin, origin, rays)


class _Search(NamedTuple):
    count: Array
    y: Array
    time: Array
    taken: Array  # whole steps inside
    inside: Array


def _step(noise: StateDependent, basin: Any, origin: Array, rays: Array, y: Array) -> Array:
    """The time in which the flow covers a hundredth of the basin."""
    speed = basin.gauge(origin, noise._act(y, rays))
    return _PART / jnp.where(speed > 0, speed, jnp.inf)


def _searched(noise: StateDependent, basin: Any, origin: Array, rays: Array) -> tuple[_Search, Array]:
    """The last point inside that a whole step leads to, and what is left of the time from there to the boundary."""

    def step(now: _Search) -> _Search:
        dt = _step(noise, basin, origin, rays, now.y)
        ahead = _runge_kutta(noise._act, now.y, rays * dt)
        goes_on = now.inside & basin.contains(ahead)
        y, time = jnp.where(goes_on, ahead, now.y), jnp.where(goes_on, now.time + dt, now.time)
        return _Search(now.count + 1, y, time, now.taken + goes_on.astype(jnp.int32), goes_on)

    def running(now: _Search) -> Array:
        return now.inside.any() & (now.count < _MAX_STEPS)

    zero, start = jnp.zeros_like(rays[0]), column(origin, rays) + 0 * rays
    taken, inside = jnp.zeros(zero.shape, jnp.int32), jnp.ones(zero.shape, bool)
    last = lax.while_loop(running, step, _Search(jnp.int32(0), start, zero, taken, inside))

    def stays(time: Array) -> Array:
        return basin.contains(_runge_kutta(noise._act, last.y, rays * time))

    return last, bisected(stays, zero, _step(noise, basin, origin, rays, last.y), 50)[1]


def _followed(noise: StateDependent, basin: Any, origin: Array, rays: Array, taken: Array, rest: Array) -> Array:
    """The end of the search's own steps, each as long as it was there: a function with derivatives."""
    last = taken.max()

    def step(y: Array, index: Array) -> Array:
        dt = _step(*lax.stop_gradient((noise, basin, origin, rays, y)))
        return jnp.where(index < taken, _runge_kutta(noise._act, y, rays * dt), y)

    def steps(y: Array, first: Array, sizes: tuple[int, ...]) -> Array:
        """Steps in blocks of blocks: in reverse, memory is that of the points between them and of one step."""
        if not sizes:
            return step(y, first)

        @partial(jax.checkpoint, prevent_cse=False)
        def block(y: Array, place: Array) -> tuple[Array, None]:
            start = first + place * math.prod(sizes[1:])
            return lax.cond(start < last, lambda y: steps(y, start, sizes[1:]), lambda y: y, y), None

        return lax.scan(block, y, jnp.arange(sizes[0], dtype=jnp.int32))[0]

    y = steps(column(origin, rays) + 0 * rays, jnp.int32(0), _BLOCKS)
    return _runge_kutta(noise._act, y, rays * rest)


@jax.custom_jvp
@jax.jit
def _way_out(noise: StateDependent, basin: Any, origin: Array, rays: Array) -> tuple[Array, Array]:
    last, rest = _searched(noise, basin, origin, rays)
    out = _runge_kutta(noise._act, last.y, rays * rest)
    return out, jnp.where(last.inside, 0, 1 / (last.time + rest))


@_way_out.defjvp
@jax.jit
def _way_out_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The boundary is where the gauge is 1: the time until then is an implicit function, of the flow's speed there."""
    last, rest = _searched(*primals)
    rays = primals[3]

    def end(noise: StateDependent, basin: Any, origin: Array, rays: Array) -> tuple[Array, Array]:
        y = _followed(noise, basin, origin, rays, last.taken, rest)
        return y, basin.gauge(origin, y - column(origin, y))

    (out, _), (moved, raised) = jax.jvp(end, primals, tangents)
    noise, basin, origin = lax.stop_gradient(primals[:3])
    velocity = noise._act(out, rays)
    speed = jax.jvp(lambda y: basin.gauge(origin, y - column(origin, y)), (out,), (velocity,))[1]
    leaves = ~last.inside & (speed > 0)
    later = jnp.where(leaves, -raised / jnp.where(leaves, speed, 1), 0)
    gauge = jnp.where(last.inside, 0, 1 / (last.time + rest))
    return (out, gauge), (jnp.where(leaves, moved + velocity * later, 0), -(gauge**2) * later)


def _runge_kutta(act: Callable[[Array, Array], Array], y: Array, z: Array) -> Array:
    """One classical Runge-Kutta step of y' = act(y, z) over one unit of time."""
    first = act(y, z)
    second = act(y + first / 2, z)
    third = act(y + second / 2, z)
    fourth = act(y + third, z)
    return y + (first + 2 * second + 2 * third + fourth) / 6
