"""Captured gradient noise, drawn again."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from levyjax.arrays import concrete, freeze, pytree, static
from levyjax.noise.draws import two_sides
from levyjax.random import Counter, Stream, words


def _product(word: UInt32[Array, "..."], factor: UInt32[Array, "..."]) -> tuple[Array, Array]:
    """The high and the low word of a product of two words."""
    half, mask = jnp.uint32(16), jnp.uint32(0xFFFF)
    high, low = word >> half, word & mask
    factor_high, factor_low = factor >> half, factor & mask
    lowest = low * factor_low
    first = high * factor_low + (lowest >> half)
    second = low * factor_high + (first & mask)
    return high * factor_high + (first >> half) + (second >> half), (second << half) | (lowest & mask)


def uniform_index(bits: tuple[UInt32[Array, "..."], UInt32[Array, "..."]], count: int) -> UInt32[Array, "..."]:
    """An index below `count` from 64 random bits: floor(count u), u a 64-bit fraction.

    No remainder is taken: each index has the probability 1/count but for 2^-64.

    Example:
        >>> top = jnp.uint32(0xFFFFFFFF)
        >>> int(uniform_index((top, top), 1000)), int(uniform_index((jnp.uint32(0), top), 1000))
        (999, 0)
    """
    factor = jnp.uint32(count)
    high, low = _product(bits[0], factor)
    carry, _ = _product(bits[1], factor)
    return high + (low + carry < low).astype(jnp.uint32)


def check_samples(samples: Any) -> Any:
    """Hold rows of samples (n, d) as float64.

    Raises:
        ValueError: they are no such table, fewer than two, or not finite.
    """
    if not concrete(samples):
        return samples
    array = np.asarray(samples, np.float64)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise ValueError(f"samples must have shape (n, d) with n of at least 2, got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("samples must be finite.")
    return array


@pytree
class Empirical:
    """Z for iterations: rows of captured noise, centred, drawn with equal probability and with replacement.

    Args:
        samples: (n, d), a gradient noise a row, as `training` captures it.
        joint: draw whole rows, with the dependence between coordinates; otherwise each coordinate from a row of its
            own.

    Raises:
        ValueError: samples that are no finite table of at least two rows, or that are all the same.

    Example:
        >>> noise = Empirical([[1.0, 2.0], [3.0, 6.0]])
        >>> noise.samples.tolist()
        [[-1.0, -2.0], [1.0, 2.0]]
    """

    samples: Any
    joint: bool = static(default=True)

    def __post_init__(self) -> None:
        samples = check_samples(self.samples)
        centred = samples - samples.mean(axis=0)
        if concrete(centred) and not centred.any():
            raise ValueError("samples are all the same: there would be no noise.")
        freeze(self, samples=centred)

    @property
    def scale(self) -> Any:
        """The identity: samples have their own size."""
        return np.ones(self.samples.shape[1], self.samples.dtype)

    @property
    def tail_index(self) -> float | None:
        return None

    def increment(self, counter: Counter, dt: Any = 1.0, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        count, dimension = self.samples.shape
        columns = jnp.asarray(self.samples).T
        index = uniform_index(words(counter, 1 if self.joint else dimension, stream), count).astype(jnp.int32)
        if self.joint:
            return columns[:, index[0]]
        return jnp.stack([column[place] for column, place in zip(columns, index, strict=True)])

    def rays(self) -> Float[Array, "d rays"]:
        return jnp.asarray(self.samples).T if self.joint else two_sides(self.scale)

    def chances(self, lengths: Float[np.ndarray, " rays"]) -> Float[np.ndarray, " rays"]:
        if self.joint:
            return (np.asarray(lengths) < 1) / self.samples.shape[0]
        both = np.concatenate([self.samples.T, -self.samples.T])
        return np.array([(values > length).mean() for values, length in zip(both, lengths, strict=True)])
