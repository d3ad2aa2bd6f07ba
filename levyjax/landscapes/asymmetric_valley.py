"""A valley whose two sides rise at different speeds (He, Huang, Yuan 2019)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column, concrete, freeze, pytree
from levyjax.checks import finite, positive, vector
from levyjax.keys import key, piece
from levyjax.landscapes.base import checked_center


@piece("landscape", "asymmetric_valley")
@pytree
class AsymmetricValley:
    """F(x) = sum_j c_j (x_j - center_j)^2/2 with c_j = curvature_left_j below the center and curvature_right_j above.

    Args:
        curvature_left: (d,), positive.
        curvature_right: (d,), positive.
        center: the minimum (d,); default 0.

    Raises:
        ValueError: a curvature that is not positive, or lengths that differ.

    Source:
        He, Huang, Yuan, "Asymmetric valleys: beyond sharp and flat local minima", NeurIPS 2019.

    Example:
        >>> import jax.numpy as jnp
        >>> AsymmetricValley([1.0], [4.0]).gradient(jnp.array([[-1.0, 1.0]])).tolist()
        [[-1.0, 4.0]]
    """

    curvature_left: Any = key(vector(positive), coordinates=0)
    curvature_right: Any = key(vector(positive), coordinates=0)
    center: Any = key(vector(finite), default=None, coordinates=0)

    def __post_init__(self) -> None:
        left, right = self.curvature_left, self.curvature_right
        if concrete(left) and concrete(right) and left.shape != right.shape:
            raise ValueError(
                f"curvature_left has {left.shape[0]} coordinates but curvature_right has {right.shape[0]}."
            )
        freeze(self, center=checked_center(self.center, left, "curvature_left"))

    @property
    def minimum(self) -> Any:
        return self.center

    def _curvature(self, offset: Array) -> Array:
        return jnp.where(offset < 0, column(self.curvature_left, offset), column(self.curvature_right, offset))

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        offset = x - column(self.center, x)
        return (self._curvature(offset) * offset**2).sum(axis=0) / 2

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        offset = x - column(self.center, x)
        return self._curvature(offset) * offset

    def hessian(self) -> Float[Array, "d d"]:
        """The flatter side's curvatures: the Hessian has a jump at the minimum, and relaxation is slowest there."""
        return jnp.diag(jnp.minimum(jnp.asarray(self.curvature_left), jnp.asarray(self.curvature_right)))

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        return self.value(x) < height

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        return jnp.sqrt((self._curvature(direction) * direction**2).sum(axis=0) / (2 * height))
