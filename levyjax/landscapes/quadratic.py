"""Quadratic and flat landscapes: what has a formula for everything."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from levyjax.arrays import apply, as_matrix, column, freeze, pytree
from levyjax.checks import finite, positive_definite, vector
from levyjax.keys import key, piece
from levyjax.landscapes.base import checked_center


@piece("landscape", "quadratic")
@pytree
class Quadratic:
    """F(x) = (x - center)' H (x - center)/2.

    Args:
        curvature: H, its diagonal (d,) or the symmetric positive definite matrix (d, d).
        center: the minimum (d,); default 0.

    Raises:
        ValueError: H is not positive definite, or center has another length.

    Example:
        >>> import jax.numpy as jnp
        >>> Quadratic([1.0, 0.1]).gradient(jnp.array([1.0, 1.0])).tolist()
        [1.0, 0.10000000149011612]
    """

    curvature: Any = key(positive_definite, name="hessian", coordinates=0)
    center: Any = key(vector(finite), default=None, coordinates=0)

    def __post_init__(self) -> None:
        freeze(self, center=checked_center(self.center, self.curvature, "curvature"))

    @property
    def minimum(self) -> Any:
        return self.center

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        offset = x - column(self.center, x)
        return (offset * apply(self.curvature, offset)).sum(axis=0) / 2

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        return apply(self.curvature, x - column(self.center, x))

    def hessian(self) -> Float[Array, "d d"]:
        return as_matrix(self.curvature)

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        return self.value(x) < height

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        return jnp.sqrt((direction * apply(self.curvature, direction)).sum(axis=0) / (2 * height))


@piece("landscape", "flat", without=("center",))
@pytree
class Flat:
    """F = 0: no drift, so that a trajectory is its noise alone; a run file needs `start` for it.

    Args:
        center: the point (d,) that stands for the minimum: where rays to the basin's boundary start.

    Example:
        >>> import jax.numpy as jnp
        >>> Flat([0.0]).gradient(jnp.array([2.0])).tolist()
        [0.0]
    """

    center: Any = key(vector(finite), coordinates=0, given="start")

    @property
    def minimum(self) -> Any:
        return self.center

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        return jnp.zeros_like(x[0])

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        return jnp.zeros_like(x)

    def hessian(self) -> Float[Array, "d d"]:
        return jnp.zeros((self.center.shape[0],) * 2, jnp.asarray(self.center).dtype)

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        return (x == x).all(axis=0)

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        return jnp.zeros_like(direction[0])
