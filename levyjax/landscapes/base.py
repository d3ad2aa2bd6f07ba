"""The function F that an optimizer descends: the interface, and rays along which it crosses a level."""

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column, concrete


@runtime_checkable
class Landscape(Protocol):
    """F on R^d with a minimum x*; points are (d, *batch)."""

    @property
    def minimum(self) -> Float[Array, " d"]:
        """x*."""
        ...

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        """F(x)."""
        ...

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """grad F(x)."""
        ...

    def hessian(self) -> Float[Array, "d d"]:
        """The Hessian at x*."""
        ...

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        """Whether x is in the component of {F < F(x*) + height} around x*; False at NaN."""
        ...

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        """1/t at the first t > 0 where F(x* + t direction) = F(x*) + height; 0 where there is none."""
        ...


def has_potential(landscape: Any) -> bool:
    """Whether the drift is the gradient of a function F, with values; a drift's own class says that it is not."""
    return getattr(landscape, "has_potential", True)


def require_potential(landscape: Any, what: str) -> None:
    """Refuse what needs values of F from a drift that has none.

    Args:
        landscape: a landscape, or a drift.
        what: the beginning of the sentence, such as "A sublevel set".

    Raises:
        ValueError: it is a drift without a potential.
    """
    if not has_potential(landscape):
        raise ValueError(
            f"{what} needs a potential F, and a drift ({type(landscape).__name__}) has none: take a Box, Ball, "
            "Ellipsoid or HalfSpace for its basin, and jump_adapted, quasi_stationary or Euler's steps for numbers; "
            "where the drift is -grad F, give F itself by from_function."
        )


def checked_center(center: Any, operator: Any, name: str) -> Any:
    """A minimum (d,) that fits the operator of the same landscape; default 0."""
    if center is None:
        return np.zeros(operator.shape[0])
    if concrete(operator) and concrete(center) and center.shape[0] != operator.shape[0]:
        raise ValueError(f"center has {center.shape[0]} coordinates but {name} has {operator.shape[0]}.")
    return center


_ASIDE, _GOLDEN = 1e-12, 0.6180339887498949  # how far aside, at least; no two coordinates by the same part of it


def beside(point: Any) -> tuple[Any, Any]:
    """Two points (d,) just beside one, opposite to each other and in no special direction: the sides of a kink."""
    library = np if isinstance(point, np.ndarray) else jnp
    size = max(_ASIDE, 16 * float(jnp.finfo(point.dtype).eps))
    parts = np.modf(_GOLDEN * np.arange(1, point.shape[0] + 1))[0].astype(point.dtype)
    aside = size * (1 + library.abs(point).max()) * parts
    return point + aside, point - aside


_SCAN_RATIO = 1e10 ** (1 / 400)  # of a distance to the one before: 5.9% apart
_BISECTIONS = 60  # at most
_TOGETHER = 32  # Hessian-vector products at a time


def first_crossing(
    excess: Callable[[Array], Array],
    minimum: Any,
    direction: Float[Array, "d *batch"],
    reach: tuple[float, float],
    inside: Callable[[Array], Array] | None = None,
) -> Float[Array, "*batch"]:
    """1/t at the first sign change of `excess` along x* + t direction, as by `crossing_along`.

    Args:
        excess: F - F(x*) - height, negative inside, on points (d, *batch).
        minimum: x*, (d,).
        direction: rays (d, *batch).
        reach: shortest and longest distance looked at.
        inside: where the sign of `excess` is not the whole truth, whether points are inside.
    """
    centre = column(minimum, direction)
    length = jnp.sqrt((direction**2).sum(axis=0))

    def at(way: Array) -> Array:
        return centre + way * direction

    stays = None if inside is None else lambda way: inside(at(way))
    return crossing_along(lambda way: excess(at(way)), length, reach, stays)


def crossing_along(
    excess: Callable[[Array], Array],
    length: Float[Array, "*batch"],
    reach: tuple[float, float],
    inside: Callable[[Array], Array] | None = None,
) -> Float[Array, "*batch"]:
    """1/t at the first sign change of `excess(t)` for t > 0, by a geometric scan and bisection; 0 where there is none.

    Two crossings closer than 6% of t (the scan's step) may be taken for none. The derivative is that of the implicit
    function.

    Args:
        excess: negative inside, of t (*batch).
        length: of the rays: t is looked at from reach[0] / length to reach[1] / length.
        reach: shortest and longest distance looked at.
        inside: where the sign of `excess` is not the whole truth, whether t is inside.
    """
    inside = inside or (lambda way: excess(way) < 0)
    length = jnp.where(length > 0, length, 1)  # a ray that stays where it is never leaves
    last = math.ceil(math.log(reach[1] / reach[0]) / math.log(_SCAN_RATIO) - 1e-9)

    def scan(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        index, low, high, found = carry
        way = reach[0] * _SCAN_RATIO ** index.astype(length.dtype) / length
        outside = ~inside(way)
        high = jnp.where(outside & ~found, way, high)
        found = found | outside
        return index + 1, jnp.where(found, low, way), high, found

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        return (carry[0] <= last) & ~carry[3].all()

    zero = jnp.zeros_like(length)
    _, low, high, found = lax.while_loop(unfinished, scan, (jnp.int32(0), zero, zero, jnp.zeros(length.shape, bool)))

    def bisect(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        index, low, high = carry
        middle = (low + high) / 2
        stays = inside(middle)
        return index + 1, jnp.where(stays, middle, low), jnp.where(stays, high, middle)

    def wide(carry: tuple[Array, Array, Array]) -> Array:
        index, low, high = carry
        return (index < _BISECTIONS) & (high - low > jnp.finfo(high.dtype).eps * high).any()

    high = lax.while_loop(wide, bisect, (jnp.int32(0), low, high))[2]
    way = lax.stop_gradient(jnp.where(found, high, 1 / length))
    value, slope = jax.jvp(excess, (way,), (jnp.ones_like(way),))
    way = way - (value - lax.stop_gradient(value)) / lax.stop_gradient(jnp.where(found & (slope != 0), slope, 1))
    return jnp.where(found, 1 / way, 0)


def hessian_products(landscape: Landscape, vectors: Float[Array, "d n"]) -> Float[Array, "d n"]:
    """H v for each of the vectors, H the Hessian at the minimum, from the gradient's derivative along them.

    32 at a time, so that memory is that of 32 gradients beside the result.
    """
    count = vectors.shape[1]
    width = min(count, _TOGETHER)
    place = jnp.minimum(jnp.arange(-(-count // width) * width, dtype=jnp.int32), count - 1)
    minimum = jnp.asarray(landscape.minimum, vectors.dtype)

    def some(place: Array) -> Array:
        chosen = vectors[:, place]
        points = jnp.broadcast_to(minimum[:, None], chosen.shape)
        return jax.jvp(landscape.gradient, (points,), (chosen,))[1]

    products = lax.map(some, place.reshape(-1, width))
    return jnp.moveaxis(products, 1, 0).reshape(vectors.shape[0], -1)[:, :count]
