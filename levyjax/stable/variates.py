"""Stable variates from random words, exact in the far tail in float32.

Chambers, Mallows and Stuck (1976) for the symmetric law, with U uniform on (-pi/2, pi/2) and W exponential:

    X = sin(alpha U) / cos(U)^(1/alpha) * (cos((1 - alpha) U) / W)^((1 - alpha)/alpha).

The tail is made where |U| is within theta = pi/2 - |U| of the pole of 1/cos U (and, for alpha < 1, where W is near 0).
A uniform float32 draw has 2^-24 as its smallest distance to the pole, so large values never come; here theta itself is
drawn, from 39 bits with a true exponent. Every angle below is a sum of positive terms, and of each angle and its
complement to pi the smaller enters the sine, so nothing cancels: the formula is continuous through alpha = 1 and is
2 cos(theta) sqrt(W), a N(0, 2) variate, at alpha = 2.
"""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from levyjax.random import Counter, words
from levyjax.random.streams import low_words
from levyjax.stable.elementary import exp2, log2, minus_log2_uniform, sin

_PI = math.pi
_HALF_PI = math.pi / 2
_LN2 = math.log(2)
_SQRT_2 = math.sqrt(2)

Words = tuple[UInt32[Array, "..."], ...]  # two words a variate in float32, four in float64


def draw_words(counter: Counter, num_coordinates: int, stream: int, dtype: Any) -> Words:
    """The words that one variate a coordinate takes: two in float32, four in float64 (the first two the same)."""
    high = words(counter, num_coordinates, stream)
    return high if jnp.dtype(dtype) == jnp.float32 else high + low_words(counter, num_coordinates, stream)


def _signed_float(word: UInt32[Array, "..."], dtype: Any) -> Array:
    """A word below 2^31 as a float; through int32, which every processor converts in one instruction."""
    return word.astype(jnp.int32).astype(dtype)


def _uniform(high: Array, extra: Array, extra_bits: int, dtype: Any) -> tuple[Array, Array]:
    """u and 1 - u in (0, 1), each with full relative precision, from 31 + extra_bits bits."""
    high_mask, extra_mask = jnp.uint32(0x7FFFFFFF), jnp.uint32((1 << extra_bits) - 1)

    def value(high: Array, extra: Array) -> Array:
        fine = (_signed_float(extra & extra_mask, dtype) + 0.5) * 2.0 ** -(31 + extra_bits)
        return _signed_float(high & high_mask, dtype) * 2.0**-31 + fine

    return value(high, extra), value(~high, ~extra)


def angle_uniform(bits: Words) -> tuple[Array, Array]:
    """The angle's distance from the pole as a part of its range, and the rest of that range."""
    if len(bits) == 2:  # the radius needs only the upper 24 bits of its word, except where both are tiny (P < 2^-45)
        return _uniform(bits[0], bits[1], 8, jnp.float32)
    return _uniform(bits[0], bits[2], 31, jnp.float64)


def exponential(bits: Words) -> Float[Array, "..."]:
    """An Exp(1) variate from its random words, the second of them; full relative precision at its small end."""
    if len(bits) == 2:
        y, rest = _uniform(bits[1] >> jnp.uint32(1), jnp.zeros_like(bits[1]), 0, jnp.float32)
    else:
        y, rest = _uniform(bits[1] >> jnp.uint32(1), bits[3], 31, jnp.float64)
    return minus_log2_uniform(y, rest) * _LN2


def attach_sign(magnitude: Array, word: Array) -> Array:
    """The magnitude, with the word's top bit as its sign."""
    return jnp.where(word >> jnp.uint32(31) == 0, magnitude, -magnitude)


def inverse(alpha: Array) -> Array:
    """1/alpha, finite however small alpha is."""
    return 1 / jnp.maximum(alpha, 1e-30)


def symmetric(bits: Words, alpha: Float[Array, "..."]) -> Float[Array, "..."]:
    """A symmetric alpha-stable variate, characteristic function exp(-|w|^alpha), from its random words.

    The sign is the first word's top bit and the magnitude does not depend on it. No pair of words gives 0, inf or NaN:
    magnitudes are held between the smallest normal and the largest finite number, which is reached with probability
    3e-12 at alpha = 0.3 in float32 and less above.

    Args:
        bits: as from `draw_words`.
        alpha: tail index in (0, 2], broadcast against the words.

    Returns:
        Variates of the broadcast shape, in the precision of the words.
    """
    part, rest = angle_uniform(bits)
    dtype = part.dtype
    alpha = jnp.asarray(alpha, dtype)
    theta, phi = part * _HALF_PI, rest * _HALF_PI
    beyond = (2 - alpha) * _HALF_PI
    sine = sin(jnp.minimum(alpha * phi, beyond + alpha * theta))
    cosine = sin(jnp.minimum(alpha * _HALF_PI + (1 - alpha) * theta, beyond + (alpha - 1) * theta))
    radius = log2(cosine / exponential(bits))
    magnitude = sine * exp2(inverse(alpha) * (radius - log2(sin(theta))) - radius)
    info = jnp.finfo(dtype)
    return attach_sign(jnp.clip(magnitude, float(info.tiny), float(info.max)), bits[0])


def normal(bits: Words) -> Float[Array, "..."]:
    """A standard normal variate from its random words (Box and Muller 1958), with its tail to P = 2^-31."""
    _, rest = angle_uniform(bits)
    return attach_sign(jnp.sqrt(2 * exponential(bits)) * sin(rest * _HALF_PI), bits[0])


def positive(bits: Words, index: Float[Array, "..."]) -> Float[Array, "..."]:
    """A positive stable variate A with E exp(-s A) = exp(-s^index), index in (0, 1]; at 1 it is exactly 1.

    Source:
        Kanter 1975: A = sin(a phi)/sin(phi)^(1/a) * (sin((1-a) phi)/W)^((1-a)/a), phi uniform on (0, pi); drawn by
        the distance of phi from its pole at pi, like the symmetric law.
    """
    part, rest = angle_uniform(bits)
    index = jnp.asarray(index, part.dtype)
    below_one = index < 1
    index = jnp.where(below_one, index, 0.5)  # no logarithm of 0 at index 1, where it would make the gradient NaN
    theta, phi = part * _PI, rest * _PI
    sine = sin(jnp.minimum(index * phi, (1 - index) * _PI + index * theta))
    other = sin(jnp.minimum((1 - index) * phi, index * _PI + (1 - index) * theta))
    radius = log2(other / exponential(bits))
    log_value = log2(sine) + inverse(index) * (radius - log2(sin(jnp.minimum(theta, phi)))) - radius
    return jnp.where(below_one, exp2(log_value), 1)


def isotropic(bits: Words, radial_bits: Words, alpha: Float[Array, "..."]) -> Float[Array, "d ..."]:
    """A rotation-invariant stable vector, characteristic function exp(-|w|^alpha): sqrt(2 A) times a normal vector.

    Args:
        bits: words of shape (d, ...), one variate a coordinate.
        radial_bits: words of shape (1, ...), the radial factor's, A positive stable of index alpha/2.
        alpha: tail index in (0, 2].

    Returns:
        Vectors of shape (d, ...).
    """
    subordinator = positive(radial_bits, jnp.asarray(alpha) / 2)
    return _SQRT_2 * jnp.sqrt(subordinator) * normal(bits)  # the root first: twice the largest number is not finite
