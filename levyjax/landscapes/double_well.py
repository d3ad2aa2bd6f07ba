"""The quartic double well."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column, pytree
from levyjax.checks import choice, positive, vector
from levyjax.keys import key, piece
from levyjax.landscapes.base import first_crossing


@piece("landscape", "double_well")
@pytree
class DoubleWell:
    """F(x) = barrier ((x_0/width)^2 - 1)^2 + sum_j curvature_j x_{j+1}^2/2: wells at x_0 = -width and width.

    Args:
        width: distance of each minimum from the saddle at 0.
        barrier: F at the saddle above the minima.
        curvature: (d - 1,) of the further coordinates; default none.
        well: "right" or "left": which minimum is x*.

    Raises:
        ValueError: width, barrier or a curvature that is not positive; another well.

    Example:
        >>> DoubleWell(1.0, 0.25).hessian().tolist()
        [[2.0]]
    """

    width: Any = key(positive)
    barrier: Any = key(positive, name="height")
    curvature: Any = key(vector(positive, may_be_empty=True), default=(), coordinates=1)
    well: str = key(choice(("right", "left")), default="right", static=True)

    @property
    def _sign(self) -> int:
        return 1 if self.well == "right" else -1

    @property
    def minimum(self) -> Any:
        library = jnp if isinstance(self.width, jax.Array) else np
        first = library.reshape(self.width, (1,)) * self._sign
        return library.concatenate([first, library.zeros(self.curvature.shape[0], first.dtype)])

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        well = self.barrier * ((x[0] / self.width) ** 2 - 1) ** 2
        return well + (column(self.curvature, x) * x[1:] ** 2).sum(axis=0) / 2

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        scaled = x[0] / self.width
        first = 4 * self.barrier / self.width * scaled * (scaled**2 - 1)
        return jnp.concatenate([first[None], column(self.curvature, x) * x[1:]])

    def hessian(self) -> Float[Array, "d d"]:
        first = 8 * jnp.asarray(self.barrier)[None] / jnp.asarray(self.width) ** 2
        return jnp.diag(jnp.concatenate([first, jnp.asarray(self.curvature, first.dtype)]))

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        same_side = (x[0] * self._sign > 0) | (height > self.barrier)
        return (self.value(x) < height) & same_side

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        def excess(x: Array) -> Array:
            return self.value(x) - height

        def inside(x: Array) -> Array:
            return self.in_sublevel(x, height)

        return first_crossing(excess, self.minimum, direction, (1e-5, 1e5), inside)
