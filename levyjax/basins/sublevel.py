"""The basin that a landscape makes itself: everything below a level around the minimum."""

from typing import Any

from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import pytree
from levyjax.basins.base import axis_face, axis_face_names
from levyjax.checks import positive
from levyjax.keys import key, piece
from levyjax.landscapes.base import require_potential


@piece("basin", "sublevel")
@pytree
class Sublevel:
    """The component of {F < F(x*) + height} around the minimum x*; invariant under gradient descent's flow.

    Args:
        landscape: F.
        height: positive, in units of F.

    Raises:
        ValueError: a height that is not positive; a drift without a potential.

    Example:
        >>> import jax.numpy as jnp
        >>> from levyjax.landscapes import Quadratic
        >>> Sublevel(Quadratic([2.0]), 1.0).gauge(jnp.zeros(1), jnp.array([1.0])).item()
        1.0
    """

    landscape: Any = key(given="landscape")
    height: Any = key(positive)

    def __post_init__(self) -> None:
        require_potential(self.landscape, "A sublevel set")

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        return self.landscape.in_sublevel(x, self.height)

    def gauge(self, origin: Float[Array, "d *start"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        """As in `Basin`; rays start at the landscape's minimum, which `origin` must be."""
        return self.landscape.sublevel_gauge(direction, self.height)

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return axis_face_names(dimension)

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return axis_face(origin, x)
