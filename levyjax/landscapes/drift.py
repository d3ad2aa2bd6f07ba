"""Drifts that are no gradient: a matrix, or any function of a point, with the attractor where they come to rest."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Bool, Float

from levyjax.arrays import apply, as_matrix, column, concrete, freeze, parameter, pytree, static
from levyjax.checks import finite, stable_matrix, vector, why_unstable
from levyjax.keys import key, piece
from levyjax.landscapes.base import beside, checked_center, require_potential
from levyjax.landscapes.quadratic import Flat, Quadratic

_NEWTON = 4  # steps, after those of the search
_AT_REST, _LEAST = 1e-7, 1e-9  # the next step of Newton's method is a part of the point's size, or of this, at most
_SOLVED = 1e-6  # of the drift, that this step leaves


class _Drift:
    """What all drifts without a potential have in common: their values are refused, in one sentence."""

    has_potential = False

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        require_potential(self, "A value F(x)")
        raise NotImplementedError

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        require_potential(self, "A sublevel set")
        raise NotImplementedError

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        require_potential(self, "A sublevel set")
        raise NotImplementedError


@piece("landscape", "linear_drift")
@pytree
class LinearDrift(_Drift):
    """The drift M (x - center), of any stable matrix: rotating flows, coloured noise as a state of its own.

    It takes the place of -grad F in every optimizer: SGD's SDE is dx = M (x - center) dt + epsilon A dL. Of a symmetric
    M it is that of `Quadratic(-M)`, with the same numbers. Noise of correlation time tau on x is a second coordinate:
    M = [[-k, 1], [0, -1/tau]], with noise on the second one alone.

    Args:
        matrix: M, (d, d), all of whose eigenvalues have a negative real part.
        center: where it comes to rest, (d,); default 0.

    Raises:
        ValueError: a matrix that is not square, or with an eigenvalue whose real part is not negative; a center of
            another length.

    Example:
        >>> import jax.numpy as jnp
        >>> turning = LinearDrift([[-1.0, 3.0], [-3.0, -1.0]])
        >>> turning.gradient(jnp.array([1.0, 0.0])).tolist()  # minus the drift
        [1.0, 3.0]
    """

    matrix: Any = key(stable_matrix, coordinates=0)
    center: Any = key(vector(finite), default=None, coordinates=0)

    def __post_init__(self) -> None:
        freeze(self, center=checked_center(self.center, self.matrix, "matrix"))

    @property
    def minimum(self) -> Any:
        """The attractor."""
        return self.center

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """Minus the drift."""
        return -apply(self.matrix, x - column(self.center, x))

    def hessian(self) -> Float[Array, "d d"]:
        """Minus the drift's Jacobian, which need not be symmetric."""
        return -as_matrix(self.matrix)


@pytree
class DriftField(_Drift):
    """A drift given by a function of one point; made by `from_drift`."""

    function: Callable[..., Array] = static()
    minimum: Any
    parameters: Any = None

    def _call(self, point: Array) -> Array:
        return self.function(point) if self.parameters is None else self.function(point, self.parameters)

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """Minus the drift."""
        flat = x.reshape(x.shape[0], -1)
        return -jax.vmap(self._call, in_axes=-1, out_axes=-1)(flat).reshape(x.shape)

    def hessian(self) -> Float[Array, "d d"]:
        """Minus the drift's Jacobian at the attractor; the mean of both sides, where pieces of it meet there."""
        one, other = map(jax.jacfwd(self._call), beside(jnp.asarray(self.minimum)))
        return -(one + other) / 2


LINEAR = Quadratic | Flat | LinearDrift  # whose drift is a linear function


def is_symmetric(landscape: Any) -> bool:
    """Whether a landscape's Hessian is symmetric: that of a potential, or of a drift that has one."""
    if not isinstance(landscape, LinearDrift):
        return getattr(landscape, "has_potential", True)
    matrix = np.asarray(landscape.matrix)
    return matrix.ndim == 1 or bool(np.allclose(matrix, matrix.T, rtol=1e-13, atol=0))


def from_drift(drift: Callable[..., Array], attractor: Any, parameters: Any = None) -> DriftField:
    """Make a landscape of any drift, gradient or not: dx = f(x) dt + epsilon A dL and its relatives.

    -f takes the place of the gradient in every optimizer, solver and prediction, and the attractor that of the minimum.
    What needs a potential (sublevel sets, `Attraction`, laws at alpha = 2, `interval_reference`, plots of values)
    refuses it.

    Args:
        drift: f(x) -> (d,) for x of shape (d,), or f(x, parameters); any JAX function.
        attractor: about where it comes to rest, (d,): the point itself is found from there by Newton's method.
        parameters: an optional pytree of arrays handed to the function, so that changing them does not recompile.

    Returns:
        A landscape whose gradient is -f and whose minimum is the attractor.

    Raises:
        ValueError: f does not give (d,) finite numbers, no point of rest is found, or it does not attract: an
            eigenvalue of the Jacobian there has a real part that is not negative.

    Example:
        >>> import jax.numpy as jnp
        >>> def maier_stein(x, strength):
        ...     u, v = x
        ...     return jnp.stack([u - u**3 - strength * u * v**2, -(1 + u**2) * v])
        >>> field = from_drift(maier_stein, [0.9, 0.1], 5.0)
        >>> field.minimum.round(12).tolist(), field.hessian().round(6).diagonal().tolist()
        ([1.0, 0.0], [2.0, 2.0])
    """
    guess = np.asarray(parameter(attractor, "attractor", ndim=(1,)), np.float64)
    if not all(concrete(leaf) for leaf in jax.tree.leaves(parameters)):
        raise ValueError("from_drift looks for the attractor, so that its parameters must be numbers: call it outside.")
    with jax.enable_x64(True):
        point = _at_rest(DriftField(function=drift, minimum=guess, parameters=parameters), guess)
    return DriftField(function=drift, minimum=point, parameters=parameters)


def _at_rest(field: DriftField, guess: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """The attractor near a point."""
    call = jax.jit(field._call)
    slope = jax.jit(jax.jacfwd(field._call))
    first = call(jnp.asarray(guess))
    if jnp.shape(first) != guess.shape or not np.isfinite(first).all():
        raise ValueError(f"The drift must give {guess.size} finite numbers at the attractor, got {np.asarray(first)}.")

    def velocity(x: np.ndarray) -> np.ndarray:
        return np.asarray(call(jnp.asarray(x)), np.float64)

    def jacobian(x: np.ndarray) -> np.ndarray:
        one, other = (slope(side) for side in beside(jnp.asarray(x)))
        return np.asarray((one + other) / 2, np.float64)

    def step(x: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(jacobian(x), velocity(x), rcond=1e-12)[0]

    with np.errstate(all="ignore"):
        point = guess if not velocity(guess).any() else scipy.optimize.root(velocity, guess, jac=jacobian).x
        for _ in range(_NEWTON):
            nearer = point - step(point)
            if not np.isfinite(nearer).all() or not (
                np.linalg.norm(velocity(nearer)) < np.linalg.norm(velocity(point))
            ):
                break
            point = nearer
        left, speed = step(point), velocity(point)
        solved = np.linalg.norm(speed - jacobian(point) @ left) <= _SOLVED * np.linalg.norm(speed)
        rests = solved and np.abs(left).max() <= _AT_REST * max(float(np.abs(point).max()), _LEAST)
    if speed.any() and not rests:
        raise ValueError(
            f"The drift comes to rest nowhere near {guess.tolist()}: the search ended at {point.tolist()}, where it is "
            f"{speed.tolist()}. Give a point closer to the attractor."
        )
    if (reason := why_unstable(jacobian(point))) is not None:
        raise ValueError(f"The drift comes to rest at {point.tolist()}, which does not attract: {reason}.")
    return point
