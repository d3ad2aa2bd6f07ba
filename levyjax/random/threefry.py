"""Threefry-2x32, written with integer array operations so that XLA fuses it into the loop that uses the bits."""

import jax.numpy as jnp
from jaxtyping import Array, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA  # Salmon et al. 2011, section 4.2 (from Skein)


def threefry2x32(
    k0: UInt32[Array, "..."],
    k1: UInt32[Array, "..."],
    c0: UInt32[Array, "..."],
    c1: UInt32[Array, "..."],
    rounds: int = 20,
) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """Encrypt the 64-bit counter (c0, c1) under the 64-bit key (k0, k1).

    For a fixed key this is a permutation of the 2^64 counters: different counters never give the same pair of words.

    Args:
        k0, k1: key words, broadcast against the counter.
        c0, c1: counter words.
        rounds: a multiple of 4; 20 is the cipher of `jax.random`.

    Returns:
        Two arrays of 32 random bits each, of the broadcast shape.

    Source:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; checked against the
        known-answer vectors of Random123.

    Example:
        >>> zero = jnp.uint32(0)
        >>> [hex(int(word)) for word in threefry2x32(zero, zero, zero, zero)]
        ['0x6b200159', '0x99ba4efe']
    """
    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(_PARITY))
    x0, x1 = c0 + k0, c1 + k1
    for group in range(rounds // 4):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = (x1 << jnp.uint32(rotation)) | (x1 >> jnp.uint32(32 - rotation))
            x1 = x1 ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1
