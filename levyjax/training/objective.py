"""Any model's loss as a function of one flat vector: its parameters from a tree, its mini-batches from trees."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from levyjax.training.examples import batch_size
from levyjax.training.form import Form, hashable
from levyjax.training.leaves import leaves_of
from levyjax.training.signature import call_of
from levyjax.training.streams import keys_like, on_streams, random_key, reseeded, streams_in

_RANDOM = ("random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform")  # primitives that draw


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """A loss at fixed parameters, checked: a function of one flat vector and of mini-batches.

    Attributes:
        form: the compiled programs' static part.
        vector: (num_parameters,), float32 or float64.
        arrays: what else the function takes: arrays that are not trained, keys, state.
        slices: name of a parameter array -> (start, stop); {} for a single array without a name.
        draws: whether it draws random numbers, anew for each mini-batch.
        each: whether it gives a loss for each example; otherwise the mean of a mini-batch.
    """

    form: Form
    vector: jax.Array
    arrays: Any
    slices: dict[str, tuple[int, int]]
    draws: bool
    each: bool


def objective_of(loss: Any, parameters: Any, batch: Any, *, key: Any = None, state: Any = None) -> Objective:
    """Check a loss on the shapes of one mini-batch, without compiling or running anything.

    Args:
        loss: (parameters, x, y) or (parameters, x) -> losses (batch,), or their mean (); also a tuple whose first part
            is that, as functions for `jax.value_and_grad(..., has_aux=True)` return it.
        parameters: any pytree of arrays, an nnx module or state.
        batch: an example mini-batch: (x, y) for a function of these, or one pytree; leaves have a leading axis.
        key: handed over as `key=`, folded in with the number of the mini-batch.
        state: handed over as `state=`.

    Returns:
        The objective.

    Raises:
        ValueError: one sentence on what does not fit.
    """
    if not callable(loss):
        raise ValueError(f"loss is a {type(loss).__name__}: give a function (parameters, x, y) -> losses.")
    graph, tree = nnx.split(parameters) if isinstance(parameters, nnx.Module) else (None, parameters)
    leaves, arrays, vector, slices = leaves_of(tree)
    streams = any(leaf.kind == "stream" for leaf in leaves) or bool(streams_in(state))
    if key is not None:
        key = random_key(key)
        arrays, state = reseeded(leaves, arrays, key), on_streams(functools.partial(keys_like, key), state)
    names, layout = call_of(loss, batch, key, state, streams)
    treedef = jax.tree.structure(tree)
    form = hashable(Form(loss, treedef, leaves, graph, layout, names))
    held = {"leaves": arrays, "key": key, "state": state}
    size = batch_size(batch)
    shape, draws = _traced(form, vector, held, batch)
    if shape.shape not in ((), (size,)) or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(
            f"the loss gives {shape.dtype} of shape {shape.shape} for a mini-batch of {size} examples: give the loss "
            f"of each example, ({size},), or their mean, ()."
        )
    if draws and key is None and not streams:
        raise ValueError(
            "the loss draws random numbers with a key of its own, so that every mini-batch would see the same ones: "
            "give key=, and a loss that takes it, (parameters, x, y, key=None)."
        )
    slices = {} if treedef == jax.tree.structure(0) else slices
    return Objective(form, vector, held, slices, draws, shape.shape == (size,))


def _traced(form: Any, vector: jax.Array, arrays: Any, batch: Any) -> tuple[Any, bool]:
    """Shape and type of what the loss gives, and whether it draws random numbers."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch)
    try:
        program, shape = jax.make_jaxpr(form, return_shape=True)(vector, arrays, shapes, np.int32(0))
    except Exception as error:
        reason = str(error).split("\n")[0].rstrip(".")[:300]
        if "TraceContext" in type(error).__name__:
            reason = "it changes an nnx model that it closes over; give the model itself as the parameters"
        what = ", ".join(f"{leaf.dtype} {leaf.shape}" for leaf in jax.tree.leaves(batch))
        raise ValueError(
            f"the loss fails on a mini-batch of {what} with {vector.size} parameters: {type(error).__name__}, {reason}."
        ) from error
    return shape, _has(program.jaxpr, _RANDOM)


def _has(program: Any, primitives: Sequence[str]) -> bool:
    """Whether a traced program, or one within it, has such a primitive."""
    for equation in program.eqns:
        if equation.primitive.name in primitives:
            return True
        inner = jax.tree.leaves(equation.params, is_leaf=lambda part: hasattr(part, "eqns") or hasattr(part, "jaxpr"))
        for part in inner:
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns") and _has(part, primitives):
                return True
    return False
