"""Losses of linear and logistic regression on given data: finite sums, whose mini-batch noise is `noise.MiniBatch`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import apply, column, concrete, freeze, parameter, pytree, total
from levyjax.landscapes.base import first_crossing

_MAX_NEWTON = 200
_SOLVED = 1e-9  # of x: a Newton step so small ends within rounding, for its error is like its square


def _checked(features: Any, targets: Any, ridge: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """The data as float64.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, or a negative ridge.
    """
    if not (concrete(features) and concrete(targets)):
        raise ValueError("features and targets must be arrays of numbers: the minimum is solved for outside jit.")
    features, targets = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if features.ndim != 2 or targets.shape != features.shape[:1] or features.size == 0:
        raise ValueError(f"features must be (n, d) and targets (n,), got {features.shape} and {targets.shape}.")
    if not (np.isfinite(features).all() and np.isfinite(targets).all()):
        raise ValueError("features and targets must be finite.")
    ridge = parameter(ridge, "ridge", ndim=(0,))
    if concrete(ridge) and float(ridge) < 0:
        raise ValueError(f"ridge must not be negative, got {float(ridge)}.")
    return features, targets, ridge


def _scores(features: Any, x: Array) -> Float[Array, "n *batch"]:
    """a_i'x for every i."""
    return jnp.tensordot(features, x, axes=1, precision=jax.lax.Precision.HIGHEST)


def _mean_of_rows(features: Any, weights: Float[Array, "n *batch"]) -> Float[Array, "d *batch"]:
    """The mean of w_i a_i over all i."""
    sums = jnp.tensordot(jnp.asarray(features).T, weights, axes=1, precision=jax.lax.Precision.HIGHEST)
    return sums / jnp.asarray(features.shape[0], sums.dtype)


def _batch_mean(features: Any, weight: Any, x: Array, index: Int[Array, "b *batch"]) -> Float[Array, "d *batch"]:
    """The mean of weight(i, a_i'x) a_i over the rows of a batch."""
    rows = jnp.asarray(features).T[:, index]  # (d, b, *batch)
    weights = weight(index, total(rows * x[:, None]))
    return total(jnp.moveaxis(rows * weights, 1, 0)) / jnp.asarray(index.shape[0], x.dtype)


@pytree
class LinearRegression:
    """F(x) = mean_i (a_i'x - y_i)^2/2 + ridge |x|^2/2, a_i the rows of `features` and y_i the targets.

    Args:
        features: (n, d).
        targets: (n,).
        ridge: at least 0.

    Raises:
        ValueError: data of the wrong shape or not finite, a negative ridge, or a Hessian that is not positive definite.

    Example:
        >>> landscape = LinearRegression([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], [1.0, 4.0, 0.0])
        >>> landscape.minimum.round(12).tolist()
        [1.0, 2.0]
    """

    features: Any
    targets: Any
    ridge: Any = 0.0
    curvature: Any = None
    minimum: Any = None

    def __post_init__(self) -> None:
        features, targets, ridge = _checked(self.features, self.targets, self.ridge)
        count, dimension = features.shape
        # The least squares of the data with the ridge as further rows: twice the digits of the normal equations.
        rows = np.concatenate([features, np.sqrt(count * float(ridge)) * np.eye(dimension)])
        wanted = np.concatenate([targets, np.zeros(dimension)])
        minimum, _, rank, _ = np.linalg.lstsq(rows, wanted, rcond=None)
        if rank < dimension:
            raise ValueError(
                f"The data fix only {rank} of {dimension} coordinates of the minimum; give a ridge above 0."
            )
        curvature = rows.T @ rows / count
        freeze(self, features=features, targets=targets, ridge=ridge, curvature=curvature, minimum=minimum)

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        residuals = _scores(self.features, x) - column(self.targets, x)
        return (residuals**2).mean(axis=0) / 2 + self.ridge * (x**2).sum(axis=0) / 2

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        return apply(jnp.asarray(self.curvature), x - column(self.minimum, x))

    def hessian(self) -> Float[Array, "d d"]:
        return jnp.asarray(self.curvature)

    def batch_gradient(self, x: Float[Array, "d *batch"], index: Int[Array, "b *batch"]) -> Float[Array, "d *batch"]:
        """The gradient of the loss of the rows `index` alone."""
        targets = jnp.asarray(self.targets)
        return _batch_mean(self.features, lambda i, score: score - targets[i], x, index) + self.ridge * x

    def sample_gradients(self, x: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n d"]:
        """Of every row's loss at one point, in float64."""
        features, x = np.asarray(self.features), np.asarray(x)
        return features * (features @ x - np.asarray(self.targets))[:, None] + float(self.ridge) * x

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        offset = x - column(self.minimum, x)
        return (offset * apply(jnp.asarray(self.curvature), offset)).sum(axis=0) < 2 * height

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        return jnp.sqrt((direction * apply(jnp.asarray(self.curvature), direction)).sum(axis=0) / (2 * height))


def _logistic_minimum(features: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Newton's method with halved steps, to rounding."""
    count, dimension = features.shape

    def loss(x: np.ndarray) -> float:
        scores = features @ x
        return float((np.logaddexp(0, scores) - targets * scores).mean() + ridge * x @ x / 2)

    x = np.zeros(dimension)
    for _ in range(_MAX_NEWTON):
        chances = scipy.special.expit(features @ x)
        slope = features.T @ (chances - targets) / count + ridge * x
        hessian = (features.T * (chances * (1 - chances))) @ features / count + ridge * np.eye(dimension)
        if np.linalg.cond(hessian) > 1e14:
            break
        step = np.linalg.solve(hessian, slope)
        if np.abs(step).max() <= _SOLVED * max(1.0, np.abs(x).max()):
            return x - step
        size = 1.0
        rounding = 1e-14 * max(1.0, loss(x))  # below it a loss does not tell which step is better
        while loss(x - size * step) > loss(x) + rounding and size > 1e-6:
            size /= 2
        x = x - size * step
        if size < 1e-5:  # at rounding
            return x
    raise ValueError("The data are separable, so that the loss has no minimum; give a ridge above 0.")


@pytree
class LogisticRegression:
    """F(x) = mean_i [log(1 + exp(a_i'x)) - y_i a_i'x] + ridge |x|^2/2, with labels y_i of 0 and 1.

    Args:
        features: (n, d).
        targets: (n,), each 0 or 1.
        ridge: at least 0; above 0 where the data are separable.

    Raises:
        ValueError: data of the wrong shape or not finite, other labels, a negative ridge, or a loss without minimum.

    Example:
        >>> landscape = LogisticRegression([[1.0], [1.0], [1.0], [1.0]], [1.0, 0.0, 0.0, 0.0])
        >>> landscape.minimum.round(6).tolist()  # log(1/3)
        [-1.098612]
    """

    features: Any
    targets: Any
    ridge: Any = 0.0
    minimum: Any = None

    def __post_init__(self) -> None:
        features, targets, ridge = _checked(self.features, self.targets, self.ridge)
        if not np.isin(targets, (0.0, 1.0)).all():
            raise ValueError(f"targets must be 0 or 1, got {np.unique(targets)[:4].tolist()}.")
        minimum = _logistic_minimum(features, targets, float(ridge))
        freeze(self, features=features, targets=targets, ridge=ridge, minimum=minimum)

    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        scores = _scores(self.features, x)
        losses = jax.nn.softplus(scores) - column(self.targets, x) * scores
        return losses.mean(axis=0) + self.ridge * (x**2).sum(axis=0) / 2

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        errors = jax.nn.sigmoid(_scores(self.features, x)) - column(self.targets, x)
        return _mean_of_rows(self.features, errors) + self.ridge * x

    def hessian(self) -> Float[Array, "d d"]:
        chances = jax.nn.sigmoid(_scores(self.features, jnp.asarray(self.minimum)))
        rows = jnp.asarray(self.features)
        dimension = rows.shape[1]
        return _mean_of_rows(rows, (chances * (1 - chances))[:, None] * rows) + self.ridge * jnp.eye(
            dimension, dtype=rows.dtype
        )

    def batch_gradient(self, x: Float[Array, "d *batch"], index: Int[Array, "b *batch"]) -> Float[Array, "d *batch"]:
        """The gradient of the loss of the rows `index` alone."""
        targets = jnp.asarray(self.targets)
        errors = _batch_mean(self.features, lambda i, score: jax.nn.sigmoid(score) - targets[i], x, index)
        return errors + self.ridge * x

    def sample_gradients(self, x: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n d"]:
        """Of every row's loss at one point, in float64."""
        features, x = np.asarray(self.features), np.asarray(x)
        return (
            features * (scipy.special.expit(features @ x) - np.asarray(self.targets))[:, None] + float(self.ridge) * x
        )

    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        return self.value(x) < self.value(jnp.asarray(self.minimum, x.dtype)) + height

    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        level = self.value(jnp.asarray(self.minimum, direction.dtype)) + height
        return first_crossing(lambda x: self.value(x) - level, self.minimum, direction, (1e-5, 1e5))
