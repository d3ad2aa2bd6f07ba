"""First passage to a set: the region to leave is what lies outside of it."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import bisected, column, pytree
from levyjax.basins.base import axis_face, axis_face_names

_BISECTIONS = 40
_SCAN = (1e-5, 1e5, 1000)


@pytree
class Complement:
    """All points but those of a target set: leaving it is the first entry into the target.

    It goes where a basin does in an `EscapeProblem`, whose minimum and start lie outside the target. Paths may jump
    over the target, so it is no star-shaped basin: `simulate` takes Euler, Tamed or Iteration, and `predict` counts the
    jumps after which the noise-free flow enters the target. As with all exits only the ends of steps are looked at: a
    path that drifts through a thin target within a step is not seen there.

    Args:
        target: any basin: `Box`, `Ball`, `Sublevel` of another well, ...

    Example:
        >>> import jax.numpy as jnp
        >>> from levyjax.basins import Box
        >>> Complement(Box([1.0], [2.0])).contains(jnp.array([[0.0, 1.5, 3.0]])).tolist()
        [True, False, True]
    """

    target: Any

    @property
    def star_shaped(self) -> bool:
        return False

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        return ~self.target.contains(x) & ~jnp.isnan(x).any(axis=0)

    def gauge(self, origin: Float[Array, " d"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        """1/t at the first entry along the ray, 0 where there is none; entries thinner than 2% may be missed."""
        length = jnp.maximum(jnp.sqrt((direction**2).sum(axis=0)), jnp.finfo(direction.dtype).tiny)
        unit, centre = direction / length, column(origin, direction)
        low, high, count = _SCAN
        ratio = (high / low) ** (1 / count)

        def inside(distance: Array) -> Array:
            return self.target.contains(centre + distance * unit)

        def scan(index: Array, found: Array) -> Array:
            distance = low * ratio ** index.astype(unit.dtype)
            return jnp.where((found == 0) & inside(distance), distance, found)

        high = lax.fori_loop(0, count + 1, scan, jnp.zeros_like(length))

        entry = bisected(lambda distance: ~inside(distance), high / ratio, high, _BISECTIONS)[1]
        return jnp.where(high > 0, length / jnp.where(high > 0, entry, 1), 0)

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return axis_face_names(dimension)

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return axis_face(origin, x)
