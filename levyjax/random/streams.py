"""Which random words belong to whom: a pure function of (run key, trajectory id, step, stream, coordinate)."""

from enum import IntEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from levyjax.random.threefry import threefry2x32

_COORDINATE_BITS, _STREAM_BITS = 22, 3
MAX_COORDINATES = 1 << _COORDINATE_BITS  # that a step can draw for
MAX_STEPS = 1 << 39  # 32 bits in the first counter word, 7 in the second
_LOW_WORDS = 4  # streams 4 to 7 hold the low halves of the words of streams 0 to 3 (float64)


class Stream(IntEnum):
    """Independent sequences of one trajectory; the one after NOISE and after GRADIENT holds its radial factor."""

    NOISE = 0  # the increments of L
    RADIUS = 1  # added to a stream: the radial factor of its rotation-invariant vectors
    GRADIENT = 2  # the mini-batch noise that Adam's second moment sees


class Counter(NamedTuple):
    """Where a trajectory stands: its key and its 64-bit step, each word of shape (*batch)."""

    key0: UInt32[Array, "*batch"]
    key1: UInt32[Array, "*batch"]
    low: UInt32[Array, "*batch"]
    high: UInt32[Array, "*batch"]


def run_key(key: Any) -> tuple[np.uint32 | Array, np.uint32 | Array]:
    """The two words that name a run.

    Args:
        key: an integer seed in [0, 2^64), a `jax.random.key`, or the two words themselves.

    Raises:
        ValueError: the seed is out of range or the key is not a single key.

    Example:
        >>> run_key(2**32 + 7)
        (np.uint32(1), np.uint32(7))
    """
    if isinstance(key, int | np.integer):
        if not 0 <= int(key) < 1 << 64:
            raise ValueError(f"seed must be in [0, 2^64), got {key}.")
        return np.uint32(int(key) >> 32), np.uint32(int(key) & 0xFFFFFFFF)
    if hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    if not (hasattr(key, "shape") and len(key.shape) == 1 and key.shape[0] in (2, 4) and key.dtype == jnp.uint32):
        raise ValueError(f"key must be an integer seed or one jax.random.key, got {key!r}.")
    if key.shape[0] == 4:  # the rbg generators' keys are two threefry keys side by side
        return threefry2x32(*key)
    return key[0], key[1]


def trajectory_key(key: tuple[Any, Any], low: UInt32[Array, "*batch"], high: UInt32[Array, "*batch"]):
    """The key of trajectory (high, low): different ids get different keys, for the cipher is a permutation."""
    return threefry2x32(jnp.asarray(key[0], jnp.uint32), jnp.asarray(key[1], jnp.uint32), low, high)


def first_counter(key: tuple[Any, Any], index: UInt32[Array, "*batch"]) -> Counter:
    """Step 0 of the trajectories with these ids, below 2^32."""
    zero = jnp.zeros_like(index)
    return Counter(*trajectory_key(key, index, zero), zero, zero)


def words(
    counter: Counter, num_coordinates: int, stream: int = Stream.NOISE
) -> tuple[UInt32[Array, "d *batch"], UInt32[Array, "d *batch"]]:
    """Two random words for each coordinate at the counter's step.

    Args:
        counter: key and step, of shape (*batch).
        num_coordinates: d, at most 2^22.
        stream: which sequence; 0 to 7.

    Returns:
        Two arrays of shape (d, *batch).

    Source:
        Counter layout: word 0 is the step's low half; word 1 is 7 bits of its high half, 3 bits of stream and 22
        bits of coordinate. No two (step, stream, coordinate) share a counter below 2^39 steps.

    Example:
        >>> import jax.numpy as jnp
        >>> w0, w1 = words(Counter(*jnp.zeros((4,), jnp.uint32)), 3)
        >>> w0.shape
        (3,)
    """
    if num_coordinates > MAX_COORDINATES:
        raise ValueError(
            f"At most {MAX_COORDINATES} coordinates have random words of their own, got {num_coordinates}."
        )
    index = jnp.arange(num_coordinates, dtype=jnp.uint32).reshape((-1,) + (1,) * counter.low.ndim)
    tag = (counter.high << jnp.uint32(_COORDINATE_BITS + _STREAM_BITS)) | jnp.uint32(int(stream) << _COORDINATE_BITS)
    return threefry2x32(counter.key0[None], counter.key1[None], counter.low[None], tag[None] | index)


def low_words(counter: Counter, num_coordinates: int, stream: int = Stream.NOISE):
    """The 64 further bits that a float64 variate takes; its leading bits are those of the float32 one."""
    return words(counter, num_coordinates, stream + _LOW_WORDS)
