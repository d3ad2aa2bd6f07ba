"""Any function of a point as a landscape."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import concrete, parameter, pytree, static
from levyjax.landscapes.base import beside, first_crossing
from levyjax.landscapes.minimum import AT_REST, largest_curvature

_SEGMENT_POINTS = 16
_WHOLE = 512  # coordinates up to which the Hessian is made to find its largest eigenvalue


@pytree
class FunctionLandscape:
    """F given by a function of one point; made by `from_function`."""

    function: Callable[..., Array] = static()
    minimum: Any
    parameters: Any = None

    def _pointwise(self, transform: Callable, x: Array, column_result: bool) -> Array:
        """Apply a function of one point (d,) to points (d, *batch)."""
        flat = x.reshape(x.shape[0], -1)
        values = jax.vmap(transform, in_axes=-1, out_axes=-1)(flat)
        return values.reshape((x.shape[0], *x.shape[1:]) if column_result else x.shape[1:])

    def _call(self, point: Array) -> Array:
        return self.function(point) if self.parameters is None else self.function(point, self.parameters)

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        return self._pointwise(self._call, x, False)

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        return self._pointwise(jax.grad(self._call), x, True)

    def hessian(self) -> Float[Array, "d d"]:
        """The mean of both sides, for where pieces of F meet at x* JAX's derivatives are those of neither."""
        one, other = map(jax.hessian(self._call), beside(jnp.asarray(self.minimum)))
        return (one + other) / 2

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        """Whether F stays below the level at 16 points on the way from x* to x: the component, if it is star-shaped."""
        minimum = jnp.asarray(self.minimum, x.dtype)
        level = self._call(minimum) + height
        start = minimum.reshape((-1,) + (1,) * (x.ndim - 1))
        parts = (jnp.arange(_SEGMENT_POINTS, dtype=x.dtype) + 1) / _SEGMENT_POINTS
        segment = start[..., None] + (x - start)[..., None] * parts
        return (self.value(segment) < level).all(axis=-1)

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        minimum = jnp.asarray(self.minimum, direction.dtype)
        level = self._call(minimum) + height
        return first_crossing(lambda x: self.value(x) - level, minimum, direction, (1e-5, 1e5))


def _curvature(landscape: FunctionLandscape, point: Array) -> float:
    """The largest eigenvalue of the Hessian by size; that of many coordinates without the matrix."""
    if point.size <= _WHOLE:
        return float(np.linalg.norm(landscape.hessian(), 2))
    gradient = jax.grad(landscape._call)

    @jax.jit
    def along(vector: Array) -> Array:
        one, other = (jax.jvp(gradient, (side,), (vector,))[1] for side in beside(point))
        return (one + other) / 2

    def product(vector: np.ndarray) -> np.ndarray:
        return np.asarray(along(jnp.asarray(vector.ravel(), point.dtype)))

    return abs(largest_curvature(product, point.size, np.dtype(point.dtype)))


def from_function(function: Callable[..., Array], minimum: Any, parameters: Any = None) -> FunctionLandscape:
    """Make a landscape of any JAX function of one point.

    Args:
        function: f(x) -> scalar for x of shape (d,), or f(x, parameters).
        minimum: a local minimum x*, (d,); its gradient must vanish. `minimize` brings a trained point there.
        parameters: an optional pytree of arrays handed to the function, so that changing them does not recompile.

    Returns:
        A landscape whose gradient and Hessian come from `jax.grad`.

    Raises:
        ValueError: the gradient at `minimum` does not vanish, or f is not a finite scalar there.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = from_function(lambda x: jnp.sum(jnp.cosh(x)), [0.0, 0.0])
        >>> landscape.hessian().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    landscape = FunctionLandscape(
        function=function, minimum=parameter(minimum, "minimum", ndim=(1,)), parameters=parameters
    )
    if concrete(landscape.minimum):
        point = jnp.asarray(landscape.minimum, jnp.result_type(float))
        value = landscape._call(point)
        if jnp.shape(value) != () or not np.isfinite(value):
            raise ValueError(f"The function must give one finite number at the minimum, got {value}.")
        slope, curvature = np.linalg.norm(landscape.gradient(point)), _curvature(landscape, point)
        if not slope <= AT_REST * max(curvature, 1e-12):
            raise ValueError(
                f"The gradient at the given minimum has norm {slope:.3g}; descend to a point where it vanishes first, "
                "such as by landscapes.minimize."
            )
    return landscape
