"""The regularised loss of a network on fixed examples as a landscape, at a minimum that training has found."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import lax
from jaxtyping import Array, Bool, Float
from scipy.sparse.linalg import LinearOperator, cg

from levyjax.arrays import column, parameter, pytree, static, total
from levyjax.landscapes.base import crossing_along, hessian_products
from levyjax.training.networks import MLP, flatten

_SEGMENT_POINTS = 2
_UNROLL = 32  # up to this many units a product of two layers is a sum in a fixed order
_NEAR, _FAR = 1e-3, 1e5  # where a ray's way out is looked for
_NUMBERS = 1 << 23  # of the hidden units of the rays that are searched together
_DESCENT, _NEWTON, _CG = 20_000, 40, 5_000  # most steps
_AT_REST = 1e-8  # the gradient's norm from which on a point counts as a minimum


@pytree
class NetworkLoss:
    """F(x) = mean cross-entropy of a tanh network on fixed examples + weight_decay |x|^2/2, in nats.

    x holds the parameters in the order of `training.flatten`: of each layer the biases, then the kernel by rows. Made
    by `network_landscape`, which finds the minimum.

    Args:
        features: (n, features).
        targets: (n, classes), the labels as rows of 0 and one 1.
        weight_decay: at least 0.
        minimum: (d,).
        widths: of the input, the hidden layers and the output.
    """

    features: Any
    targets: Any
    weight_decay: Any
    minimum: Any
    widths: tuple[int, ...] = static()

    def _layers(self, x: Array) -> list[tuple[Array, Array]]:
        """Biases (out, *batch) and kernels (in, out, *batch)."""
        layers, start = [], 0
        for into, out in zip(self.widths[:-1], self.widths[1:], strict=True):
            kernel, stop = start + out, start + out + into * out
            layers.append((x[start:kernel], x[kernel:stop].reshape(into, out, *x.shape[1:])))
            start = stop
        return layers

    def _enter(self, layer: tuple[Array, Array]) -> Float[Array, "n units *batch"]:
        """What the first layer gives: it is linear in x, which makes rays cheap."""
        return jnp.tensordot(self.features, layer[1], axes=1, precision=lax.Precision.HIGHEST) + layer[0]

    def _logits(self, entered: Array, layers: list[tuple[Array, Array]]) -> tuple[Array, list[Array]]:
        """The logits (n, classes, *batch), and the hidden units of each layer."""
        hidden, now = [], entered
        for bias, kernel in layers:
            hidden.append(jnp.tanh(now))
            now = bias + _product(hidden[-1], kernel)
        return now, hidden

    def _cross_entropy(self, logits: Array) -> Float[Array, "*batch"]:
        right = (column(self.targets, logits[0]) * logits).sum(axis=1)
        return (jax.nn.logsumexp(logits, axis=1) - right).mean(axis=0)

    @jax.jit
    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        first, *rest = self._layers(x)
        loss = self._cross_entropy(self._logits(self._enter(first), rest)[0])
        return loss + self._decay(x)

    def _decay(self, x: Array) -> Array:
        return jnp.asarray(self.weight_decay, x.dtype) * (x**2).sum(axis=0) / 2

    @jax.jit
    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """By back-propagation, which jax differentiates once more."""
        first, *rest = self._layers(x)
        logits, hidden = self._logits(self._enter(first), rest)
        count = jnp.asarray(self.features.shape[0], x.dtype)
        error = (jax.nn.softmax(logits, axis=1) - column(self.targets, logits[0])) / count
        parts = []
        for (_, kernel), units in zip(reversed(rest), reversed(hidden), strict=True):
            parts += [_outer(units, error), error.sum(axis=0)]
            error = _product(error, kernel.swapaxes(0, 1)) * (1 - units**2)
        outer = jnp.tensordot(jnp.asarray(self.features).T, error, axes=1, precision=lax.Precision.HIGHEST)
        parts += [outer, error.sum(axis=0)]
        flat = [part.reshape(-1, *x.shape[1:]) for part in reversed(parts)]
        return jnp.concatenate(flat) + jnp.asarray(self.weight_decay, x.dtype) * x

    @jax.jit
    def hessian(self) -> Float[Array, "d d"]:
        minimum = jnp.asarray(self.minimum)
        rows = hessian_products(self, jnp.eye(minimum.shape[0], dtype=minimum.dtype))
        return (rows + rows.T) / 2

    @jax.jit
    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        """Whether F is below the level at x and half of the way from x* to it: the component, if star-shaped."""
        minimum = column(jnp.asarray(self.minimum, x.dtype), x)
        level = self.value(minimum) + height
        ray = self._ray(minimum, x - minimum)
        inside = [ray(jnp.asarray((part + 1) / _SEGMENT_POINTS, x.dtype)) < level for part in range(_SEGMENT_POINTS)]
        return jnp.stack(inside).all(axis=0)

    @jax.jit
    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        """A few rays at a time, as many as memory holds."""
        flat = direction.reshape(direction.shape[0], -1)
        count = flat.shape[1]
        width = min(count, max(1, _NUMBERS // (self.features.shape[0] * max(self.widths[1:]))))
        index = jnp.minimum(jnp.arange(-(-count // width) * width, dtype=jnp.int32), count - 1).reshape(-1, width)
        gauges = lax.map(lambda index: self._gauge(flat[:, index], height), index)
        return gauges.reshape(-1)[:count].reshape(direction.shape[1:])

    def _ray(self, origin: Float[Array, "d *batch"], direction: Float[Array, "d *batch"]) -> Any:
        """F(origin + t direction) as a function of t (*batch): the first layer is worked out once."""
        starts, slopes = self._layers(origin), self._layers(direction)
        entered, change = self._enter(starts[0]), self._enter(slopes[0])

        def value(t: Array) -> Array:
            layers = [
                (bias + t * bias_slope, kernel + t * kernel_slope)
                for (bias, kernel), (bias_slope, kernel_slope) in zip(starts[1:], slopes[1:], strict=True)
            ]
            loss = self._cross_entropy(self._logits(entered + t * change, layers)[0])
            return loss + self._decay(origin + t * direction)

        return value

    def _gauge(self, direction: Float[Array, "d rays"], height: Any) -> Float[Array, " rays"]:
        minimum = column(jnp.asarray(self.minimum, direction.dtype), direction)
        ray, level = self._ray(minimum, direction), self.value(minimum) + height
        length = jnp.sqrt((direction**2).sum(axis=0))
        return crossing_along(lambda t: ray(t) - level, length, (_NEAR, _FAR))


def _product(rows: Float[Array, "n into *batch"], kernel: Float[Array, "into out *batch"]) -> Array:
    """Each row times its lane's kernel, (n, out, *batch)."""
    if kernel.shape[0] <= _UNROLL:
        return total(jnp.stack([rows[:, k, None] * kernel[k] for k in range(kernel.shape[0])]))
    return jnp.einsum("nk...,kc...->nc...", rows, kernel, precision=lax.Precision.HIGHEST)


def _outer(rows: Float[Array, "n into *batch"], errors: Float[Array, "n out *batch"]) -> Array:
    """The sum over examples of row times error, (into, out, *batch)."""
    return jnp.einsum("nk...,nc...->kc...", rows, errors, precision=lax.Precision.HIGHEST)


def network_landscape(model: MLP, x: Any, y: Any, weight_decay: float) -> NetworkLoss:
    """Train a tanh network on all of some examples to a minimum, and take its loss around it as a landscape.

    By L-BFGS, then by Newton's method with conjugate gradients, in float64. With weight decay the minimum is isolated.
    Without it the loss may have none (a network that fits all examples goes on to larger weights without end), and
    where inputs are dead it is flat: `predict` then says that no rate is known.

    Args:
        model: an `MLP` with tanh units; its parameters are the start.
        x: examples (n, features).
        y: labels (n,), whole numbers from 0 below the network's last width.
        weight_decay: at least 0, on all parameters, as weight_decay |x|^2/2.

    Returns:
        The landscape; its parameters are in the order of `flatten(model)`.

    Raises:
        ValueError: relu units, whose loss has kinks; data that do not fit the network; a negative weight decay; no
            point with a gradient below 1e-8.

    Example:
        >>> from flax import nnx
        >>> model = MLP((2, 2, 2), rngs=nnx.Rngs(0), activation="tanh")
        >>> landscape = network_landscape(model, [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], [0, 1, 1], 0.1)
        >>> landscape.minimum.shape, bool(np.linalg.eigvalsh(landscape.hessian())[0] > 0)
        ((12,), True)
    """
    if model.activation != "tanh":
        raise ValueError(f"The loss of {model.activation} units has kinks and no Hessian; give a model of tanh units.")
    features, labels = np.asarray(x, np.float64), np.asarray(y)
    widths = (model.layers[0].in_features, *(layer.out_features for layer in model.layers))
    decay = parameter(weight_decay, "weight_decay", ndim=(0,))
    _check(features, labels, widths, float(decay))
    targets = np.eye(widths[-1])[labels]
    start = np.asarray(flatten(model).parameters, np.float64)
    with jax.enable_x64(True):
        return _descended(NetworkLoss(features, targets, decay, start, widths))


def _check(features: np.ndarray, labels: np.ndarray, widths: tuple[int, ...], weight_decay: float) -> None:
    if features.ndim != 2 or features.shape[1] != widths[0] or len(features) == 0 or not np.isfinite(features).all():
        raise ValueError(f"x must be finite numbers (n, {widths[0]}) for this network, got shape {features.shape}.")
    whole = labels.dtype.kind in "iu" and labels.shape == (len(features),)
    if not whole or labels.min() < 0 or labels.max() >= widths[-1]:
        raise ValueError(f"y must be {len(features)} whole numbers from 0 to {widths[-1] - 1}, got {_shown(labels)}.")
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay}.")


def _shown(labels: np.ndarray) -> str:
    return f"{labels.dtype} of shape {labels.shape}"


@jax.jit
def _value_and_gradient(landscape: NetworkLoss, x: Array) -> tuple[Array, Array]:
    return landscape.value(x), landscape.gradient(x)


@jax.jit
def _along(landscape: NetworkLoss, x: Array, vector: Array) -> Array:
    return jax.jvp(landscape.gradient, (x,), (vector,))[1]


def _newton_step(landscape: NetworkLoss, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The solution of H step = slope by conjugate gradients."""

    def product(vector: np.ndarray) -> np.ndarray:
        return np.asarray(_along(landscape, x, vector.ravel().astype(x.dtype)))

    hessian: Any = LinearOperator((x.size, x.size), matvec=product, dtype=x.dtype)  # pyright: ignore[reportCallIssue]
    return cg(hessian, slope, rtol=1e-6, maxiter=_CG)[0]


def _descended(landscape: NetworkLoss) -> NetworkLoss:
    """The landscape at a point where the gradient vanishes, near where a descent from its own minimum ends."""

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _value_and_gradient(landscape, x)
        return float(value), np.asarray(gradient)

    options = {"maxiter": _DESCENT, "maxfun": 2 * _DESCENT, "maxcor": 30, "ftol": 0, "gtol": 1e-9}
    x = scipy.optimize.minimize(loss, landscape.minimum, jac=True, method="L-BFGS-B", options=options).x
    slope = loss(x)[1]
    for _ in range(_NEWTON):
        moved = x - _newton_step(landscape, x, slope)
        after = loss(moved)[1]
        if not np.linalg.norm(after) < np.linalg.norm(slope):
            break
        x, slope = moved, after
    if not np.linalg.norm(slope) <= _AT_REST:
        raise ValueError(
            f"The descent stopped at a gradient of {np.linalg.norm(slope):.2g}, above {_AT_REST:g}: give a larger "
            "weight_decay, with which the loss has a minimum."
        )
    return NetworkLoss(landscape.features, landscape.targets, landscape.weight_decay, x, landscape.widths)
