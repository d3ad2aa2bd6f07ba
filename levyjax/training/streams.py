"""Random streams of a model: keys that are folded in with the number of a mini-batch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from levyjax.training.leaves import Leaf


def random_key(key: Any) -> Any:
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    dtype, shape = getattr(key, "dtype", np.int32), getattr(key, "shape", None)
    if jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return key
    if dtype == np.uint32 and shape == (2,):
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise ValueError(f"key is no random key ({type(key).__name__}): give jax.random.key(0), or a whole number.")


def folded(keys: jax.Array, index: Any) -> jax.Array:
    """Keys of any shape, of old or new style, each folded in with a number."""
    typed = jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    function = jax.random.fold_in
    for _ in range(keys.ndim - (0 if typed else 1)):
        function = jax.vmap(function, (0, None))
    return function(keys, index)


def reseeded(leaves: Sequence[Leaf], arrays: list[Any], key: jax.Array) -> list[Any]:
    """Every random stream from the key and its place."""
    kept = [leaf for leaf in leaves if leaf.kind in ("stream", "array")]
    return [
        keys_like(key, array, place) if leaf.kind == "stream" else array
        for place, (leaf, array) in enumerate(zip(kept, arrays, strict=True))
    ]


def keys_like(key: jax.Array, keys: jax.Array, place: int) -> jax.Array:
    """New keys of the shape of others, from one key and their place."""
    made = jax.random.split(jax.random.fold_in(key, place), keys.size or 1)
    return made.reshape(keys.shape)


def streams_in(tree: Any) -> list[Any]:
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, nnx.Variable))
    return [node for node in nodes if isinstance(node, nnx.RngKey)]


def on_streams(function: Callable[[jax.Array, int], jax.Array], tree: Any) -> Any:
    """A tree with the keys of its random streams replaced by a function of each and of its place."""
    count = iter(range(len(streams_in(tree))))

    def node(value: Any) -> Any:
        if not isinstance(value, nnx.RngKey):
            return value
        place = next(count)
        return jax.tree.map(lambda keys: function(keys, place), value)

    return jax.tree.map(node, tree, is_leaf=lambda value: isinstance(value, nnx.Variable))
