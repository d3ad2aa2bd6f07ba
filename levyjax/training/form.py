"""The form of a loss: what a program is compiled for, as a function of one flat vector and of mini-batches."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from levyjax.training.leaves import Leaf
from levyjax.training.streams import folded, on_streams


@dataclasses.dataclass(frozen=True)
class Form:
    """What a compiled program is made for: the function, the tree of parameters and how the function is called.

    It is called as (vector, arrays, batch, index), index being the number of the mini-batch, and gives losses (batch,)
    or their mean.
    """

    loss: Callable[..., Any]
    tree: Any
    leaves: tuple[Leaf, ...]
    graph: Any
    layout: str  # of what the batch is handed over as: "parts", "first" or "whole"
    names: tuple[str, ...]  # of "key" and "state" those that the function takes

    def __call__(self, vector: jax.Array, arrays: Any, batch: Any, index: Any) -> jax.Array:
        given = {}
        if "key" in self.names:
            given["key"] = jax.random.fold_in(arrays["key"], index)
        if "state" in self.names:
            given["state"] = on_streams(lambda keys, _: folded(keys, index), arrays["state"])
        parts = {"parts": batch, "first": batch[:1], "whole": (batch,)}[self.layout]
        found = self.loss(self.parameters(vector, arrays, index), *parts, **given)
        return jnp.asarray(found[0] if isinstance(found, tuple) else found)

    def at_rest(self, arrays: Any) -> tuple["Form", Any]:
        """The same for a model that draws nothing, without its random streams, in the precision of the vector."""
        rest = zip((leaf for leaf in self.leaves if leaf.kind in ("stream", "array")), arrays["leaves"], strict=True)
        kept = [array for leaf, array in rest if leaf.kind == "array"]
        still = Leaf("fixed", value=np.uint32(0))
        leaves = (still if leaf.kind == "stream" else leaf._replace(dtype="") for leaf in self.leaves)
        return dataclasses.replace(self, leaves=tuple(leaves)), arrays | {"leaves": kept}

    def parameters(self, vector: jax.Array, arrays: Any, index: Any) -> Any:
        """The tree, or the nnx module, whose parameters are the vector, as the mini-batch of this number sees it."""
        rest, start, leaves = iter(arrays["leaves"]), 0, []
        for leaf in self.leaves:
            if leaf.kind == "parameter":
                stop = start + int(np.prod(leaf.shape))
                leaves.append(_shaped(vector, start, stop, leaf))
                start = stop
            elif leaf.kind == "stream":
                leaves.append(folded(next(rest), index))
            else:
                leaves.append(leaf.value if leaf.kind == "fixed" else next(rest))
        tree = jax.tree.unflatten(self.tree, leaves)
        return tree if self.graph is None else nnx.merge(self.graph, tree)


def hashable(form: Form) -> Any:
    """The form as a static argument; one with settings that cannot be compared is compiled for itself."""
    try:
        hash(form)
    except TypeError:
        return Own(form)
    return form


@dataclasses.dataclass(frozen=True, eq=False)
class Own:
    """A form that is equal to itself alone."""

    form: Form

    def __call__(self, *arguments: Any) -> jax.Array:
        return self.form(*arguments)

    def at_rest(self, arrays: Any) -> tuple[Form, Any]:
        return self.form.at_rest(arrays)


def _shaped(vector: jax.Array, start: int, stop: int, leaf: Leaf) -> jax.Array:
    """One array of the vector; the vector itself where it is the only one."""
    piece = vector if stop - start == vector.size else jax.lax.slice(vector, (start,), (stop,))
    piece = piece if piece.shape == leaf.shape else piece.reshape(leaf.shape)
    return piece if leaf.dtype in ("", str(piece.dtype)) else piece.astype(leaf.dtype)
