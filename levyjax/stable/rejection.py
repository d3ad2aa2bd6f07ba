"""Rejection with random words that are a pure function of (key, entry, round)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from levyjax.random import Counter, Stream
from levyjax.random.streams import trajectory_key
from levyjax.stable.variates import Words, draw_words

Proposal = Callable[[Words], tuple[Array, Array]]  # one entry's words (num_words, size) to (values, accepted)


def sum_of_accepted(
    key: tuple[Any, Any], size: int, num_words: int, propose: Proposal, pieces: Array, max_rounds: Any, dtype: Any
) -> Array:
    """For each entry, the sum of its first accepted proposals, as many as `pieces` says.

    Entry i takes in round k the words of trajectory i at step k, whatever the other entries do: its value depends on
    the key, i and its own parameters alone, not on the batch around it.

    Args:
        key: two words, as from `run_key`.
        size: number of entries.
        num_words: coordinates of words that a proposal takes.
        propose: words with leading shape (num_words, size) to (values, accepted) of shapes (..., size) and (size,).
        pieces: of shape (size,), at least 1 each.
        max_rounds: entries that are not done by then are NaN.
        dtype: float32 or float64.

    Returns:
        Sums of shape (..., size).
    """
    index = jnp.arange(size, dtype=jnp.uint32)
    key0, key1 = trajectory_key(key, index, jnp.zeros_like(index))

    def proposals(step: Array) -> tuple[Array, Array]:
        counter = Counter(key0, key1, jnp.broadcast_to(step, index.shape), jnp.zeros_like(index))
        return propose(draw_words(counter, num_words, Stream.NOISE, dtype))

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        step, done, _ = carry
        return jnp.any(done < pieces) & (step < jnp.asarray(max_rounds, jnp.uint32))

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        step, done, total = carry
        values, accepted = proposals(step)
        taken = accepted & (done < pieces)
        return step + jnp.uint32(1), done + taken.astype(done.dtype), total + jnp.where(taken, values, 0)

    values = jax.eval_shape(proposals, jnp.uint32(0))[0]
    start = (jnp.uint32(0), jnp.zeros_like(pieces), jnp.zeros(values.shape, dtype))
    _, done, total = lax.while_loop(unfinished, body, start)
    return jnp.where(done < pieces, jnp.nan, total)
