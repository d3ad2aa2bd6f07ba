"""Landscapes side by side, each of its own coordinates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import freeze, pytree
from levyjax.landscapes.base import first_crossing, has_potential


@pytree
class Separable:
    """F(x) = F_1(first coordinates) + F_2(the next ones) + ...: two rows of wells make a grid of them.

    `in_sublevel` asks each part whether its coordinates are in its own component. That is the component of the sum
    where no well in reach is lower than x*; of wells that are left in two coordinates at once it may hold some that are
    joined to x* only at a higher level.

    Args:
        parts: landscapes, whose minima together are x*.

    Raises:
        ValueError: no parts.

    Example:
        >>> from levyjax.landscapes import DoubleWell, Quadratic
        >>> Separable([DoubleWell(1.0, 0.25), Quadratic([3.0])]).hessian().tolist()
        [[2.0, 0.0], [0.0, 3.0]]
    """

    parts: Any

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        if not parts:
            raise ValueError("Separable needs at least one part, got none.")
        freeze(self, parts=parts)

    def _split(self, x: Array) -> list[Array]:
        sizes = [part.minimum.shape[0] for part in self.parts]
        return jnp.split(x, np.cumsum(sizes)[:-1].tolist())

    @property
    def minimum(self) -> Any:
        minima = [part.minimum for part in self.parts]
        library = jnp if any(isinstance(one, jax.Array) for one in minima) else np
        return library.concatenate(minima)

    @property
    def has_potential(self) -> bool:
        return all(map(has_potential, self.parts))

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        values = [part.value(own) for part, own in zip(self.parts, self._split(x), strict=True)]
        return jnp.stack(values).sum(axis=0)

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        return jnp.concatenate([part.gradient(own) for part, own in zip(self.parts, self._split(x), strict=True)])

    def hessian(self) -> Float[Array, "d d"]:
        return jax.scipy.linalg.block_diag(*(part.hessian() for part in self.parts))

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        inside = [part.in_sublevel(own, height) for part, own in zip(self.parts, self._split(x), strict=True)]
        return (self._excess(x) < height) & jnp.stack(inside).all(axis=0)

    def _excess(self, x: Array) -> Array:
        return self.value(x) - self.value(jnp.asarray(self.minimum, x.dtype))

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        def inside(x: Array) -> Array:
            return self.in_sublevel(x, height)

        return first_crossing(lambda x: self._excess(x) - height, self.minimum, direction, (1e-5, 1e5), inside)
