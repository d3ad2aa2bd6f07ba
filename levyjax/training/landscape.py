"""The regularised loss of a network on fixed examples: a landscape, and a finite sum over the examples."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from levyjax.arrays import column, parameter, pytree, static
from levyjax.deprecation import renamed
from levyjax.landscapes.base import crossing_along, hessian_products
from levyjax.landscapes.minimum import descend
from levyjax.training.gradients import Losses
from levyjax.training.networks import MLP, flatten

_SEGMENT_POINTS = 2
_NEAR, _FAR = 1e-3, 1e5  # where a ray's way out is looked for
_NUMBERS = 1 << 23  # of the units or examples of the rays that are searched together
_AT_REST = 1e-8  # the gradient's norm from which on a point counts as a minimum


@pytree
class NetworkLoss:
    """F(x) = mean of the losses of some examples + weight_decay |x|^2/2, at points (d, *batch).

    It is a landscape, and a finite sum: `noise.MiniBatch(loss, batch_size)` is its mini-batch noise. The precision is
    that of the points; `arrays.cast` turns the examples to it. `network_landscape` finds the minimum of a small one.

    Args:
        losses: (parameters (d,), x, y) -> loss of each example, as `FlatModel.losses`.
        features: the examples, (n, ...).
        targets: (n, ...), what `losses` takes for y.
        weight_decay: at least 0.
        minimum: x*, (d,); not needed to train from elsewhere.
        first: (parameters, x) -> what `losses` takes in place of x, if that is linear in the parameters, such as a
            network's first layer: rays are then searched without working it out anew.

    Example:
        Exits of SGD from a ball around a network's minimum, driven by its own mini-batches:

        >>> from levyjax.basins import Ball
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.escape import EscapeProblem, Plan, simulate
        >>> from levyjax.noise import MiniBatch
        >>> from levyjax.solvers import Iteration
        >>> model = MLP((2, 2, 2), rngs=nnx.Rngs(0), activation="tanh")
        >>> loss = network_landscape(model, [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], [0, 1, 1], 0.1)
        >>> problem = EscapeProblem(loss, Ball(0.3, loss.minimum), MiniBatch(loss, 1), SGD(0.2), noise_level=1.0)
        >>> samples = simulate(problem, Plan(Iteration(), num_trajectories=64, max_time=100.0), key=0)
        >>> bool(samples.exited.all())
        True
    """

    losses: Losses = static()
    features: Any = None
    targets: Any = None
    weight_decay: Any = 0.0
    minimum: Any = None
    first: Callable[[Any, Any], Any] | None = static(default=None)

    @jax.jit
    def value(self, x: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        return _everywhere(lambda x: self._losses(x, self.features, self.targets).mean() + self._decay(x), x)

    @jax.jit
    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        count = len(self.features)
        weights = jnp.full((count, *x.shape[1:]), 1 / count, x.dtype)
        return self.weighted_gradient(x, weights) + jnp.asarray(self.weight_decay, x.dtype) * x

    def weighted_gradient(
        self, x: Float[Array, "d *batch"], weights: Float[Array, "n *batch"]
    ) -> Float[Array, "d *batch"]:
        """Of sum_i weights_i loss_i, a column of weights for each point, without the penalty."""

        def one(x: Array, weights: Array) -> Array:
            return jnp.vdot(weights, self._losses(x, self.features, self.targets))

        return _everywhere(jax.grad(one), x, weights)

    def batch_gradient(self, x: Float[Array, "d *batch"], index: Int[Array, "b *batch"]) -> Float[Array, "d *batch"]:
        """Of the mean over the examples `index`, + the penalty."""

        def one(x: Array, index: Array) -> Array:
            features, targets = jnp.asarray(self.features)[index], jnp.asarray(self.targets)[index]
            return self._losses(x, features, targets).mean() + self._decay(x)

        return _everywhere(jax.grad(one), x, index)

    def sample_gradients(self, x: Any) -> Float[np.ndarray, "n d"]:
        """Of every example's loss + the penalty at one point (d,), one after the other, held as float64."""
        return np.asarray(_sample_gradients(self, jnp.asarray(x)), np.float64)

    @jax.jit
    def hessian(self) -> Float[Array, "d d"]:
        minimum = jnp.asarray(self.minimum)
        rows = hessian_products(self, jnp.eye(minimum.shape[0], dtype=minimum.dtype))
        return (rows + rows.T) / 2

    @jax.jit
    def in_sublevel(self, x: Float[Array, "d *batch"], height: Any) -> Bool[Array, "*batch"]:
        """Whether F is below the level at x and half of the way from x* to it: the component, if star-shaped."""
        minimum = jnp.asarray(self.minimum, x.dtype)
        level, minimum = self.value(minimum) + height, column(minimum, x) + jnp.zeros_like(x)
        ray = self._ray(minimum, x - minimum)
        parts = [(part + 1) / _SEGMENT_POINTS for part in range(_SEGMENT_POINTS)]
        return jnp.stack([ray(jnp.full(x.shape[1:], part, x.dtype)) < level for part in parts]).all(axis=0)

    @jax.jit
    def sublevel_gauge(self, direction: Float[Array, "d *batch"], height: Any) -> Float[Array, "*batch"]:
        """A few rays at a time, as many as memory holds."""
        flat = direction.reshape(direction.shape[0], -1)
        count = flat.shape[1]
        width = min(count, max(1, _NUMBERS // jax.eval_shape(self._entered, flat[:, 0], self.features).size))
        index = jnp.minimum(jnp.arange(-(-count // width) * width, dtype=jnp.int32), count - 1).reshape(-1, width)
        gauges = lax.map(lambda index: self._gauge(flat[:, index], height), index)
        return gauges.reshape(-1)[:count].reshape(direction.shape[1:])

    def _gauge(self, direction: Float[Array, "d rays"], height: Any) -> Float[Array, " rays"]:
        minimum = jnp.asarray(self.minimum, direction.dtype)
        ray = self._ray(column(minimum, direction) + jnp.zeros_like(direction), direction)
        level, length = self.value(minimum) + height, jnp.sqrt((direction**2).sum(axis=0))
        return crossing_along(lambda t: ray(t) - level, length, (_NEAR, _FAR))

    def _ray(self, origin: Float[Array, "d *batch"], direction: Float[Array, "d *batch"]) -> Any:
        """F(origin + t direction) as a function of t (*batch): the first layer is worked out once."""
        if self.first is None:
            return lambda t: self.value(origin + t * direction)
        entered, change = (_everywhere(lambda x: self._entered(x, self.features), x) for x in (origin, direction))

        def one(x: Array, entered: Array) -> Array:
            return self.losses(x, entered, self.targets).mean() + self._decay(x)

        return lambda t: _everywhere(one, origin + t * direction, entered + t * change)

    def _entered(self, x: Float[Array, " d"], features: Any) -> Any:
        """The examples, or what the first layer makes of them."""
        return features if self.first is None else self.first(x, features)

    def _losses(self, x: Float[Array, " d"], features: Any, targets: Any) -> Float[Array, " n"]:
        return self.losses(x, self._entered(x, features), targets)

    def _decay(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        return jnp.asarray(self.weight_decay, x.dtype) / 2 * (x**2).sum()


def _everywhere(one: Callable[..., Array], *arrays: Array) -> Array:
    """A function of columns, of arrays (rows, *batch), in products of the highest precision."""
    batch = arrays[0].shape[1:]
    flat = [array.reshape(*array.shape[: array.ndim - len(batch)], -1) for array in arrays]
    with jax.default_matmul_precision("highest"):
        found = jax.vmap(one, in_axes=-1, out_axes=-1)(*flat)
    return found.reshape(*found.shape[:-1], *batch)


@jax.jit
def _sample_gradients(loss: NetworkLoss, x: Float[Array, " d"]) -> Float[Array, "n d"]:
    def one(index: Array) -> Array:
        return loss.batch_gradient(x, index[None])

    return lax.map(one, jnp.arange(len(loss.features), dtype=jnp.int32))


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
    with jax.enable_x64(True):
        return at_minimum(_at_start(model, features, np.eye(widths[-1])[labels], decay))


def _at_start(model: MLP, features: np.ndarray, targets: np.ndarray, weight_decay: Any) -> NetworkLoss:
    """The loss of the model, at its own parameters; the first layer apart from the rest."""
    graph, _, rest = nnx.split(model, nnx.Param, ...)
    flat = flatten(model)

    def network(parameters: Array) -> Any:
        return nnx.merge(graph, flat.unravel(parameters), rest)

    def first(parameters: Array, x: Array) -> Array:
        return network(parameters).layers[0](x)

    def losses(parameters: Array, entered: Array, targets: Array) -> Array:
        logits = network(parameters).from_first(entered)
        ahead = logits - (logits * targets).sum(axis=1, keepdims=True)
        return jax.nn.softplus(jax.nn.logsumexp(ahead, axis=1, b=1 - targets))  # to its last digit where it is small

    return NetworkLoss(losses, features, targets, weight_decay, np.asarray(flat.parameters, np.float64), first)


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


def at_minimum(landscape: NetworkLoss) -> NetworkLoss:
    """The landscape at a point where the gradient vanishes, near where a descent from its own minimum ends."""

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _value_and_gradient(landscape, x)
        return float(value), np.asarray(gradient)

    def product_at(x: np.ndarray, vector: np.ndarray) -> np.ndarray:
        return np.asarray(_along(landscape, x, vector.astype(x.dtype)))

    x, slope = descend(loss, product_at, landscape.minimum)
    if not np.linalg.norm(slope) <= _AT_REST:
        raise ValueError(
            f"The descent stopped at a gradient of {np.linalg.norm(slope):.2g}, above {_AT_REST:g}: give a larger "
            "weight_decay, with which the loss has a minimum."
        )
    return dataclasses.replace(landscape, minimum=x)


__getattr__ = renamed(__name__, {"FlatLoss": "NetworkLoss"})
