"""Basins with a formula: box, ball, ellipsoid, half-space."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import apply, column, concrete, freeze, parameter, positive, positive_definite, pytree
from levyjax.basins.base import axis_face, axis_face_names, located, quadric_gauge


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

    lower: Any
    upper: Any

    def __post_init__(self) -> None:
        lower = parameter(self.lower, "lower", ndim=(1,), infinite=True)
        upper = parameter(self.upper, "upper", ndim=(1,), infinite=True)
        if concrete(lower) and concrete(upper):
            if lower.shape != upper.shape:
                raise ValueError(f"lower has {lower.shape[0]} coordinates but upper has {upper.shape[0]}.")
            if not np.all(np.asarray(lower) < np.asarray(upper)):
                raise ValueError(f"lower must be below upper, got {np.asarray(lower)} and {np.asarray(upper)}.")
            if np.isinf(lower).all() and np.isinf(upper).all():
                raise ValueError("A box needs at least one finite bound: this one cannot be left.")
        freeze(self, lower=lower, upper=upper)

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


@pytree
class Ball:
    """|x - center| < radius.

    Args:
        radius: positive.
        center: (d,).

    Raises:
        ValueError: a radius that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> Ball(2.0, [0.0, 0.0]).gauge(jnp.zeros(2), jnp.array([1.0, 0.0])).item()
        0.5
    """

    radius: Any
    center: Any

    def __post_init__(self) -> None:
        freeze(
            self,
            radius=positive(parameter(self.radius, "radius", ndim=(0,)), "radius"),
            center=parameter(self.center, "center", ndim=(1,)),
        )

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


@pytree
class Ellipsoid:
    """(x - center)' M (x - center) < level.

    Args:
        matrix: M, its diagonal (d,) or the symmetric positive definite matrix (d, d).
        level: positive.
        center: (d,).

    Raises:
        ValueError: M is not positive definite, a level that is not positive, lengths that differ.

    Example:
        >>> import jax.numpy as jnp
        >>> Ellipsoid([1.0, 4.0], 1.0, [0.0, 0.0]).gauge(jnp.zeros(2), jnp.array([0.0, 1.0])).item()
        2.0
    """

    matrix: Any
    level: Any
    center: Any

    def __post_init__(self) -> None:
        matrix = positive_definite(parameter(self.matrix, "matrix", ndim=(1, 2)), "matrix")
        center = parameter(self.center, "center", ndim=(1,))
        if concrete(matrix) and concrete(center) and matrix.shape[0] != center.shape[0]:
            raise ValueError(f"matrix has {matrix.shape[0]} coordinates but center has {center.shape[0]}.")
        freeze(self, matrix=matrix, level=positive(parameter(self.level, "level", ndim=(0,)), "level"), center=center)

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

    normal: Any
    offset: Any

    def __post_init__(self) -> None:
        normal = parameter(self.normal, "normal", ndim=(1,))
        if concrete(normal) and not np.any(normal):
            raise ValueError("normal must not be zero: it points out of the half-space.")
        freeze(self, normal=normal, offset=parameter(self.offset, "offset", ndim=(0,)))

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
