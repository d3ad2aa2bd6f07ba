"""The region to leave: the interface of a basin, and the faces that an exit is booked under."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import column


@runtime_checkable
class Basin(Protocol):
    """An open set around the minimum, star-shaped as seen from it. Points are (d, *batch)."""

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        """Whether x is inside; False at NaN."""
        ...

    def gauge(self, origin: Float[Array, "d *start"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        """1/t at the boundary point origin + t direction of the ray; 0 for a ray that never leaves.

        One origin (d,) inside, or origins that broadcast against the directions (not in a sublevel set).
        """
        ...

    def face_names(self, dimension: int) -> tuple[str, ...]:
        """Names of the faces, in the order of `face`."""
        ...

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        """Index of the face through which the ray from `origin` to a point outside leaves."""
        ...


def located(origin: Float[Array, "d ..."], direction: Float[Array, "d *batch"]) -> Float[Array, "d ..."]:
    """One origin (d,) as a column; many as they are."""
    origin = jnp.asarray(origin)
    return column(origin, direction) if origin.ndim == 1 else origin


def axis_face_names(dimension: int) -> tuple[str, ...]:
    """Names for basins without flat faces: the coordinate that moved furthest, and to which side of the origin."""
    return tuple(name for j in range(dimension) for name in (f"x{j}<center", f"x{j}>center"))


def axis_face(origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
    """The face named by `axis_face_names`."""
    offset = x - column(origin, x)
    axis = jnp.argmax(jnp.abs(offset), axis=0)
    above = jnp.take_along_axis(offset, axis[None], axis=0)[0] > 0
    return 2 * axis + above.astype(axis.dtype)


def quadric_gauge(b: Array, a: Array, slack: Array) -> Array:
    """1/t for the positive root of a t^2 + 2 b t = slack (a >= 0, slack > 0), without dividing by a."""
    return (b + jnp.sqrt(b**2 + a * slack)) / slack
