"""A fully connected classifier, and any classifier as a function of one flat vector."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": jax.nn.relu, "tanh": jnp.tanh}


class MLP(nnx.Module):
    """A fully connected network: linear maps with an activation between them, none at the end.

    Args:
        widths: of the input, of every hidden layer, and of the output: (784, 10, 10).
        rngs: for the first parameters (lecun-normal weights, zero biases).
        activation: "relu" or "tanh".
        bias: whether linear maps have one; the paper's released networks have none.

    Raises:
        ValueError: fewer than two widths, one below 1, or another activation.

    Example:
        >>> MLP((64, 32, 10), rngs=nnx.Rngs(0))(jnp.zeros((5, 64))).shape
        (5, 10)
    """

    def __init__(self, widths: Sequence[int], *, rngs: nnx.Rngs, activation: str = "relu", bias: bool = True):
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths {tuple(widths)} make no network. Give two or more, each 1 or more.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is unknown. Give one of {', '.join(ACTIVATIONS)}.")
        self.layers = nnx.List(
            [nnx.Linear(into, out, use_bias=bias, rngs=rngs) for into, out in itertools.pairwise(widths)]
        )
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits (batch, classes) of examples (batch, features)."""
        return self.from_first(self.layers[0](x))

    def from_first(self, units: jax.Array) -> jax.Array:
        """Logits (batch, classes) of what the first layer gives."""
        for layer in self.layers[1:]:
            units = layer(ACTIVATIONS[self.activation](units))
        return units


@dataclasses.dataclass(frozen=True, eq=False)
class FlatModel:
    """A classifier as a function of one vector of parameters.

    Attributes:
        parameters: the first parameters, (num_parameters,).
        apply: (parameters, x) -> logits (batch, classes).
        unravel: parameters -> the nnx state they make up.
        slices: name of a parameter array, such as "layers.0.kernel" -> (start, stop) in the vector.
        loss: name of the loss, one of `LOSSES`.
    """

    parameters: jax.Array
    apply: Callable[[jax.Array, jax.Array], jax.Array]
    unravel: Callable[[jax.Array], Any]
    slices: dict[str, tuple[int, int]]
    loss: str = "cross_entropy"

    def losses(self, parameters: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """The loss (batch,) of each example (batch, features) with labels (batch,)."""
        return LOSSES[self.loss](self.apply(parameters, x), y)


def cross_entropy(logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """-log of the softmax at the label, in nats."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes int32 labels with int64 positions in 64-bit mode
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def linear_hinge(logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Mean over the classes of max(0, 1 - t logit), t = 1 for the label and -1 for the others.

    Source:
        Zhou et al. 2020, released code, utils.py.

    Example:
        >>> round(linear_hinge(jnp.array([[2.0, 0.0, -3.0]]), jnp.array([0])).item(), 4)
        0.3333
    """
    signs = 2 * jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype) - 1
    return jax.nn.relu(1 - signs * logits).mean(axis=1)


LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "cross_entropy": cross_entropy,
    "linear_hinge": linear_hinge,
}


def flatten(model: nnx.Module, loss: str = "cross_entropy") -> FlatModel:
    """Turns a model that maps examples to logits into a function of one flat vector of its parameters.

    Args:
        model: any nnx module. Other state than `nnx.Param` is as it is here in every call: a model that draws random
            numbers (dropout in training) goes to `gradient_noise` itself, which draws anew for each mini-batch.
        loss: "cross_entropy" or "linear_hinge".

    Returns:
        The flat model; the parameters come in the order of their names, biases before kernels.

    Raises:
        ValueError: another loss.

    Example:
        >>> flat = flatten(MLP((4, 3), rngs=nnx.Rngs(0)))
        >>> flat.parameters.shape, flat.slices
        ((15,), {'layers.0.bias': (0, 3), 'layers.0.kernel': (3, 15)})
    """
    if loss not in LOSSES:
        raise ValueError(f"loss {loss!r} is unknown. Give one of {', '.join(LOSSES)}.")
    graph, state, rest = nnx.split(model, nnx.Param, ...)
    parameters, unravel = ravel_pytree(state)
    slices, start = {}, 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = ".".join(str(getattr(key, "key", key)) for key in path if not isinstance(key, jax.tree_util.GetAttrKey))
        slices[name] = (start, start + leaf.size)
        start += leaf.size

    def apply(vector: jax.Array, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, unravel(vector), rest, copy=True)(x)  # a copy may change its state, such as averages

    return FlatModel(parameters, apply, unravel, slices, loss)
