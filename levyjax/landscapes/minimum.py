"""Descent to a minimum, and the largest curvature there, by products with the Hessian: never as a d x d matrix."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float
from scipy.sparse.linalg import ArpackError, LinearOperator, cg, eigsh
from threadpoolctl import threadpool_limits

from levyjax.arrays import parameter

Product = Callable[[np.ndarray], np.ndarray]  # v (d,) -> H v (d,)

_DESCENT, _NEWTON, _CG = 20_000, 40, 5_000  # most steps
_ROUGH, _FINE = 1e-2, 1e-4  # accuracies of the outermost eigenvalues, parts of the largest by size
AT_REST = 1e-3  # a gradient of at most this, times the largest curvature, is that of a minimum


def outermost(
    rng: np.random.Generator, dimension: int, dtype: Any, product: Product, count: int, which: str, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues in increasing order and eigenvectors of a symmetric map, by Lanczos' method from a random start.

    Args:
        rng: of the start.
        dimension: d.
        dtype: of the vectors.
        product: the map.
        count: how many, below d.
        which: "LM" the largest by size, "LA" by value.
        tolerance: relative, of the eigenvalues.

    Raises:
        ValueError: no convergence, or a map that is 0.

    Source:
        Lehoucq, Sorensen and Yang 1998 (ARPACK, through SciPy).
    """
    linear: Any = LinearOperator((dimension,) * 2, matvec=product, dtype=dtype)  # pyright: ignore[reportCallIssue]
    start = rng.normal(size=dimension).astype(dtype)
    solve: Any = eigsh
    try:
        with one_thread():
            return solve(linear, count, which=which, v0=start, tol=tolerance)
    except ArpackError as error:
        raise ValueError(f"the Hessian's eigenvalues were not found: {error}") from None


def largest_curvature(product: Product, dimension: int, dtype: Any) -> float:
    """The largest eigenvalue by size, with its sign, within 1%; nan where the products are not finite."""
    rng = np.random.default_rng(0)
    first = product(rng.normal(size=dimension).astype(dtype))
    if not np.isfinite(first).all() or not first.any():
        return float(np.abs(first).max())  # nan, or the 0 of a flat function
    if dimension == 1:
        return float(product(np.ones(1, dtype))[0])
    return float(outermost(rng, dimension, dtype, product, 1, "LM", _ROUGH)[0][0])


def descend(
    value_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]],
    product_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Where a descent ends, and the gradient there: by L-BFGS, then by Newton's method with conjugate gradients.

    Args:
        value_and_gradient: of a point (d,).
        product_at: (point, v) -> H v.
        start: (d,), float64.
    """
    with one_thread():
        return _descended(value_and_gradient, product_at, start)


def one_thread() -> Any:
    """Products of vectors and slim matrices: many threads are no faster, and on a busy machine 100 times slower."""
    return threadpool_limits(1, user_api="blas")


def _descended(
    value_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]],
    product_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    options = {"maxiter": _DESCENT, "maxfun": 2 * _DESCENT, "maxcor": 30, "ftol": 0, "gtol": 1e-9}
    x = scipy.optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    slope = value_and_gradient(x)[1]
    operator: Any = LinearOperator
    for _ in range(_NEWTON):
        hessian = operator((x.size,) * 2, matvec=lambda vector, x=x: product_at(x, vector.ravel()), dtype=x.dtype)
        with np.errstate(all="ignore"):  # where nothing bends the step is infinite, and not taken
            moved = x - cg(hessian, slope, rtol=1e-6, maxiter=_CG)[0]
        after = value_and_gradient(moved)[1]
        if not np.linalg.norm(after) < np.linalg.norm(slope):
            break
        x, slope = moved, after
    return x, slope


def minimize(function: Callable[..., Array], start: Any, parameters: Any = None) -> Float[np.ndarray, " d"]:
    """Brings a trained point to a minimum, as `from_function` and the exits from a basin need it.

    In float64, or in the precision of the start where the function takes no other; by L-BFGS and Newton's method with
    Hessian-vector products, so that 10,000 parameters are no trouble. With weight decay a network's minimum is
    isolated; without it the loss may have none (weights grow without end), and units with kinks (relu) may end on one.

    Args:
        function: f(x) -> scalar for x of shape (d,), or f(x, parameters): that of `from_function`, such as
            `training.mean_loss` of a `training.flatten`ed network with a penalty.
        start: a point (d,).
        parameters: an optional pytree of arrays handed to the function.

    Returns:
        The point, float64.

    Raises:
        ValueError: the descent ends where the gradient does not vanish, at a saddle, or at no finite number.

    Source:
        Liu and Nocedal 1989 (L-BFGS, through SciPy); Nocedal and Wright 2006, section 7.1 (Newton-CG).

    Example:
        >>> from levyjax.landscapes import from_function
        >>> def rosenbrock(x):
        ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        >>> minimum = minimize(rosenbrock, [-1.2, 1.0])
        >>> minimum.round(6).tolist(), from_function(rosenbrock, minimum).minimum.shape
        ([1.0, 1.0], (2,))
    """
    point = np.asarray(parameter(start, "start", ndim=(1,)), np.float64)

    def call(x: Array) -> Array:
        return function(x) if parameters is None else function(x, parameters)

    with jax.enable_x64(True):
        dtype = _precision(call, point, np.asarray(start).dtype)
        value_and_gradient = jax.jit(jax.value_and_grad(call))
        along = jax.jit(lambda x, vector: jax.jvp(jax.grad(call), (x,), (vector,))[1])

        def product_at(x: np.ndarray, vector: np.ndarray) -> np.ndarray:
            return np.asarray(along(x.astype(dtype), vector.astype(dtype)), np.float64)

        def curvature_at(x: np.ndarray) -> float:
            return largest_curvature(lambda vector: product_at(x, vector.ravel()), x.size, np.float64)

        unit = abs(curvature_at(point))  # of F, so that it does not matter in which units F is
        unit = unit if 0 < unit < np.inf else 1.0

        def scaled(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = value_and_gradient(x.astype(dtype))
            return float(value) / unit, np.asarray(slope, np.float64) / unit

        if not np.isfinite(scaled(point)[0]):
            raise ValueError(f"The function must give one finite number at the start, got {scaled(point)[0] * unit}.")
        x, slope = descend(scaled, lambda x, vector: product_at(x, vector) / unit, point)
        size, curvature = float(np.linalg.norm(slope)) * unit, curvature_at(x)
        if not size <= AT_REST * abs(curvature):
            raise ValueError(
                f"The descent stopped at a gradient of {size:.2g}, above {AT_REST:g} of the largest curvature, "
                f"{curvature:.2g}: the function may have no minimum (a network has one with weight decay), or kinks."
            )
        if x.size > 1 and curvature > 0:
            top = outermost(
                np.random.default_rng(1), x.size, np.float64,
                lambda vector: curvature * vector.ravel() - product_at(x, vector.ravel()), 1, "LA", _FINE,
            )  # fmt: skip
            lowest = curvature - float(top[0][0])
        else:
            lowest = curvature
    if lowest < -2 * _FINE * abs(curvature):
        raise ValueError(
            f"The descent ended at a saddle: the Hessian has an eigenvalue of {lowest:.2g} there. Start from elsewhere."
        )
    return x


def _precision(call: Callable[[Array], Array], point: np.ndarray, own: Any) -> Any:
    """float64, or the start's own precision where the function is made for that alone."""
    try:
        found = jax.eval_shape(call, jnp.asarray(point))
    except (TypeError, ValueError):  # JAX's of types that are not promoted is a ValueError
        if own == np.float64 or not np.issubdtype(own, np.floating):
            own = np.dtype(np.float32)
        found = jax.eval_shape(call, jnp.asarray(point, own))
    if getattr(found, "shape", None) != ():
        raise ValueError(f"The function must give one number, got shape {getattr(found, 'shape', None)}.")
    return found.dtype if found.dtype == np.float64 else own if np.issubdtype(own, np.floating) else np.float32
