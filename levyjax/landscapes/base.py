"""The function F that an optimizer descends: the interface, and rays along which it crosses a level."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column, concrete, parameter


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


def checked_center(center: Any, operator: Any, name: str) -> Any:
    """A minimum (d,) that fits the operator of the same landscape; default 0."""
    if center is None and hasattr(operator, "shape"):
        return np.zeros(operator.shape[0])
    if not concrete(operator):
        return center
    center = parameter(center, "center", ndim=(1,))
    if concrete(center) and center.shape[0] != operator.shape[0]:
        raise ValueError(f"center has {center.shape[0]} coordinates but {name} has {operator.shape[0]}.")
    return center


_SCAN_STEPS, _BISECTIONS = 400, 60


def first_crossing(
    excess: Callable[[Array], Array],
    minimum: Any,
    direction: Float[Array, "d *batch"],
    reach: tuple[float, float],
    inside: Callable[[Array], Array] | None = None,
) -> Float[Array, "*batch"]:
    """1/t at the first sign change of `excess` along x* + t direction, by a geometric scan and bisection.

    Two crossings closer than 7% of their distance from x* (the scan's step) may be taken for none. The derivative is
    that of the implicit function.

    Args:
        excess: F - F(x*) - height, negative inside, on points (d, *batch).
        minimum: x*, (d,).
        direction: rays (d, *batch).
        reach: shortest and longest distance looked at.
        inside: where the sign of `excess` is not the whole truth, whether points are inside.
    """
    inside = inside or (lambda x: excess(x) < 0)
    length = jnp.maximum(jnp.sqrt((direction**2).sum(axis=0)), jnp.finfo(direction.dtype).tiny)
    unit = direction / length
    centre = column(minimum, direction)
    ratio = (reach[1] / reach[0]) ** (1 / _SCAN_STEPS)

    def scan(index: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, found = carry
        distance = reach[0] * ratio ** jnp.asarray(index, direction.dtype)
        outside = ~inside(centre + distance * unit)
        high = jnp.where(outside & ~found, distance, high)
        found = found | outside
        return jnp.where(found, low, distance), high, found

    zero = jnp.zeros_like(length)
    low, high, found = lax.fori_loop(0, _SCAN_STEPS + 1, scan, (zero, zero, jnp.zeros(length.shape, bool)))

    def bisect(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        stays = inside(centre + middle * unit)
        return jnp.where(stays, middle, low), jnp.where(stays, high, middle)

    low, high = lax.fori_loop(0, _BISECTIONS, bisect, (low, high))
    way = lax.stop_gradient(jnp.where(found, high, 1) / length)

    def along(way: Array) -> Array:
        return excess(centre + way * direction)

    value, slope = jax.jvp(along, (way,), (jnp.ones_like(way),))
    way = way - (value - lax.stop_gradient(value)) / lax.stop_gradient(jnp.where(found & (slope != 0), slope, 1))
    return jnp.where(found, 1 / way, 0)
