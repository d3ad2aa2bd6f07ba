"""Basins with a formula: box, ball, ellipsoid, half-space."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import apply, column, concrete, pytree
from levyjax.basins.base import axis_face, axis_face_names, located, quadric_gauge
from levyjax.checks import finite, positive, positive_definite, real, refuse, vector
from levyjax.keys import key, piece

_LOWER = real("a number or -inf", lambda x: x < math.inf)
_UPPER = real("a number or inf", lambda x: x > -math.inf)


@piece("basin", "box")
@pytree
class Box:
    """lower_j < x_j < upper_j for every coordinate.

    Args:
        lower, upper: (d,), lower below upper; -inf and inf are allowed, not for all bounds at once.

    Raises:
        ValueError: lengths that differ, a lower bound not below its upper one, no finite bound.

    Example:
        >>> import jax.numpy as jnp
        >>> Box([-1.0], [2.0]).gauge(jnp.zeros(1), jnp.array([[-1.0, 1.0]])).tolist()
        [1.0, 0.5]
    """

    lower: Any = key(vector(_LOWER), coordinates=0)
    upper: Any = key(vector(_UPPER), coordinates=0)

    def __post_init__(self) -> None:
        if not (concrete(self.lower) and concrete(self.upper)):
            return
        lower, upper = np.asarray(self.lower), np.asarray(self.upper)
        if lower.shape != upper.shape:
            raise ValueError(f"lower has {lower.shape[0]} coordinates but upper has {upper.shape[0]}.")
        if not np.all(lower < upper):
            j = int(np.argmin(lower < upper))
            raise ValueError(
                f"lower[{j}] = {lower[j]} is not below upper[{j}] = {upper[j]}. Make each lower bound the smaller."
            )
        if np.isinf(lower).all() and np.isinf(upper).all():
            raise ValueError("lower and upper have no finite bound, so nothing can leave. Give at least one.")

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        return ((x > column(self.lower, x)) & (x < column(self.upper, x))).all(axis=0)

    def _face_gauges(self, origin: Array, direction: Array) -> Array:
        """(2d, *batch): 1/t at each face's plane, in the order x0<lower, x0>upper, x1<lower, ..."""
        start = located(origin, direction)
        below = -direction / (start - column(self.lower, direction))
        above = direction / (column(self.upper, direction) - start)
        return jnp.stack([below, above], axis=1).reshape(-1, *direction.shape[1:])

    def gauge(self, origin: Float[Array, "d *start"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        return jnp.maximum(self._face_gauges(origin, direction).max(axis=0), 0)

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return tuple(name for j in range(dimension) for name in (f"x{j}<lower", f"x{j}>upper"))

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return jnp.argmax(self._face_gauges(origin, x - column(origin, x)), axis=0)


@piece("basin", "ball")
@pytree
class Ball:
    """|x - center| < radius.

    Args:
        radius: positive.
        center: (d,); in a run file the landscape's minimum where it is left out.

    Raises:
        ValueError: a radius that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> Ball(2.0, [0.0, 0.0]).gauge(jnp.zeros(2), jnp.array([1.0, 0.0])).item()
        0.5
    """

    radius: Any = key(positive)
    center: Any = key(vector(finite), coordinates=0, given="minimum")

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        return ((x - column(self.center, x)) ** 2).sum(axis=0) < jnp.asarray(self.radius) ** 2

    def gauge(self, origin: Float[Array, "d *start"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        offset = located(origin, direction) - column(self.center, direction)
        b = (direction * offset).sum(axis=0)
        return quadric_gauge(b, (direction**2).sum(axis=0), self.radius**2 - (offset**2).sum(axis=0))

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return axis_face_names(dimension)

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return axis_face(origin, x)


@piece("basin", "ellipsoid")
@pytree
class Ellipsoid:
    """(x - center)' M (x - center) < level.

    Args:
        matrix: M, its diagonal (d,) or the symmetric positive definite matrix (d, d).
        level: positive.
        center: (d,); in a run file the landscape's minimum where it is left out.

    Raises:
        ValueError: M is not positive definite, a level that is not positive, lengths that differ.

    Example:
        >>> import jax.numpy as jnp
        >>> Ellipsoid([1.0, 4.0], 1.0, [0.0, 0.0]).gauge(jnp.zeros(2), jnp.array([0.0, 1.0])).item()
        2.0
    """

    matrix: Any = key(positive_definite, coordinates=0)
    level: Any = key(positive)
    center: Any = key(vector(finite), coordinates=0, given="minimum")

    def __post_init__(self) -> None:
        matrix, center = self.matrix, self.center
        if concrete(matrix) and concrete(center) and matrix.shape[0] != center.shape[0]:
            raise ValueError(f"matrix has {matrix.shape[0]} coordinates but center has {center.shape[0]}.")

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        offset = x - column(self.center, x)
        return (offset * apply(self.matrix, offset)).sum(axis=0) < self.level

    def gauge(self, origin: Float[Array, "d *start"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        offset = located(origin, direction) - column(self.center, direction)
        mapped = apply(self.matrix, offset)
        b = (direction * mapped).sum(axis=0)
        a = (direction * apply(self.matrix, direction)).sum(axis=0)
        return quadric_gauge(b, a, self.level - (offset * mapped).sum(axis=0))

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return axis_face_names(dimension)

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return axis_face(origin, x)


@piece("basin", "half_space")
@pytree
class HalfSpace:
    """normal' x < offset.

    Args:
        normal: (d,), not zero.
        offset: a number.

    Raises:
        ValueError: a zero normal.

    Example:
        >>> import jax.numpy as jnp
        >>> HalfSpace([1.0, 0.0], 2.0).gauge(jnp.zeros(2), jnp.array([[1.0, -1.0], [0.0, 0.0]])).tolist()
        [0.5, 0.0]
    """

    normal: Any = key(vector(finite), coordinates=0)
    offset: Any = key(finite)

    def __post_init__(self) -> None:
        if concrete(self.normal) and not np.any(self.normal):
            raise refuse(self.normal.tolist(), "normal", "a direction that is not 0 in all its entries")

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        return (column(self.normal, x) * x).sum(axis=0) < self.offset

    def gauge(self, origin: Float[Array, "d *start"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        normal = column(self.normal, direction)
        slack = self.offset - (normal * located(origin, direction)).sum(axis=0)
        return jnp.maximum((normal * direction).sum(axis=0) / slack, 0)

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return ("normal",)

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return jnp.zeros(x.shape[1:], jnp.int32)
