"""Leaves of a model: which of them are parameters, what they are called, and all in one vector."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from levyjax.training.examples import HALVES, as_array


class Leaf(NamedTuple):
    """What one leaf of the parameters is: "parameter", "stream" (a random key of nnx), "array" or "fixed"."""

    kind: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    value: Any = None


def names_of(tree: Any) -> list[str]:
    """Names of the leaves of a tree, from the way to each: "layers.0.kernel".

    Example:
        >>> names_of({"out": [1, 2], "in": 3}), names_of(1)
        (['in', 'out.0', 'out.1'], ['parameters'])
    """
    return [_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _name(path: Sequence[Any]) -> str:
    if len(path) > 1 and getattr(path[-1], "name", "") in ("value", "raw_value"):  # of a variable of nnx
        path = path[:-1]
    parts = [
        getattr(part, attribute) for part in path for attribute in ("key", "name", "idx") if hasattr(part, attribute)
    ]
    return ".".join(map(str, parts)) or "parameters"


def leaves_of(tree: Any) -> tuple[tuple[Leaf, ...], list[Any], jax.Array, dict[str, tuple[int, int]]]:
    """What each leaf is, the arrays that are no parameters, and all parameters in one vector with their names."""
    if isinstance(tree, dict) and {"params", "batch_stats"} <= set(tree):
        raise ValueError("parameters hold batch_stats, which are not trained: give variables['params'], and state=.")
    kinds, leaves, arrays, pieces, slices, start = _kinds(tree), [], [], [], {}, 0
    for (path, value), kind in zip(jax.tree_util.tree_flatten_with_path(tree)[0], kinds, strict=True):
        name = _name(path)
        if kind == "parameter":
            array = jnp.asarray(as_array(value, f"parameter {name}"))
            if jnp.issubdtype(array.dtype, jnp.complexfloating):
                raise ValueError(f"parameter {name} is complex: give real parameters.")
            kept = "float32" if str(array.dtype) in HALVES else str(array.dtype)
            leaves.append(Leaf(kind, array.shape, kept))
            pieces.append(array)
            slices[name] = (start, start + array.size)
            start += array.size
        elif kind == "fixed":
            leaves.append(Leaf(kind, value=value))
        else:
            leaves.append(Leaf(kind))
            arrays.append(jnp.asarray(value))
    if start == 0:
        raise ValueError(
            f"parameters ({type(tree).__name__}) hold no floating-point numbers: give the model's arrays of parameters."
        )
    dtype = jnp.result_type(*(leaf.dtype for leaf in leaves if leaf.kind == "parameter"))
    whole = [piece.astype(dtype).reshape(-1) for piece in pieces]
    return tuple(leaves), arrays, whole[0] if len(whole) == 1 else jnp.concatenate(whole), slices


def _kinds(tree: Any) -> Iterator[str]:
    """The kind of every leaf. Of nnx variables only `nnx.Param` is trained, where there are any."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, nnx.Variable))
    trained = any(isinstance(node, nnx.Param) for node in nodes)
    plain = iter(jax.tree_util.tree_flatten_with_path(tree)[0])
    for node in nodes:
        for _ in jax.tree.leaves(node):
            path, value = next(plain)
            if isinstance(node, nnx.RngKey):
                yield "stream"
            elif isinstance(node, nnx.Variable) and trained and not isinstance(node, nnx.Param):
                yield "array"
            else:
                yield _kind(path, value)


def _kind(path: Sequence[Any], value: Any) -> str:
    """Floating arrays are parameters, and so are numbers of plain containers; a number in an object is a setting."""
    if isinstance(value, float):
        plain = (jax.tree_util.DictKey, jax.tree_util.SequenceKey)
        return "parameter" if all(isinstance(part, plain) for part in path) else "fixed"
    dtype = getattr(value, "dtype", None)
    if dtype is None or isinstance(value, type):
        return "fixed"
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return "parameter" if jnp.issubdtype(dtype, jnp.inexact) else "array"
    return "parameter" if hasattr(value, "__array__") or hasattr(value, "__dlpack__") else "fixed"
