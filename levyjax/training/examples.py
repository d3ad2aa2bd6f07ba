"""Examples and their mini-batches: trees of arrays, of any make, with one row for each example."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from levyjax import input

HALVES = ("float16", "bfloat16")


class Pair(NamedTuple):
    """Examples and labels, as two arguments; y may be None."""

    x: Any
    y: Any


def as_arrays(tree: Any, name: str = "x") -> Any:
    """The leaves of a tree of examples as device arrays; halves as float32.

    NumPy and JAX arrays, and anything with `__dlpack__` or `__array__`.

    Raises:
        ValueError: a leaf is no array, or has no leading axis.
    """

    def leaf(path: Any, value: Any) -> jax.Array:
        where = name + jax.tree_util.keystr(path)
        array = as_array(value, where)
        if array.ndim == 0:
            raise ValueError(f"{where} is a single number: give an array with one row for each example.")
        return widened(jnp.asarray(array))

    return jax.tree_util.tree_map_with_path(leaf, tree)


def as_array(value: Any, name: str) -> Any:
    """What `levyjax.input.as_array` reads, of numbers; a JAX array stays on its device, a tensor leaves its graph.

    Raises:
        ValueError: it is no array of numbers.
    """
    if isinstance(value, jax.Array):
        return value
    array = input.as_array(value.detach() if hasattr(value, "detach") else value, name)
    if not (array.dtype.kind in "biufc" or jnp.issubdtype(array.dtype, jnp.floating)):
        raise ValueError(f"{name} has dtype {array.dtype}, which holds no numbers. Give arrays of numbers.")
    return array


def widened(array: Any) -> Any:
    """Halves as float32."""
    return array.astype(np.float32) if str(getattr(array, "dtype", "")) in HALVES else array


def batch_size(tree: Any) -> int:
    """The length of the leading axis that all leaves share.

    Raises:
        ValueError: no leaf, or different lengths.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    sizes = {jax.tree_util.keystr(path).lstrip(".") or "batch": leaf.shape[0] for path, leaf in leaves}
    if not sizes or 0 in sizes.values():
        raise ValueError("there are no examples: give arrays with one row for each.")
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{where} {size}" for where, size in list(sizes.items())[:4])
        raise ValueError(f"the examples have different numbers of rows ({shown}): give one row for each example.")
    return next(iter(sizes.values()))


def taken(batch: Any, rows: Any) -> Any:
    """Some rows of every leaf."""
    return jax.tree.map(lambda leaf: leaf[rows], batch)
