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
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, UInt32

from levyjax.random import Counter, Stream, low_words, run_key, words
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


def _angle_uniform(bits: Words) -> tuple[Array, Array]:
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


def _attach_sign(magnitude: Array, word: Array) -> Array:
    return jnp.where(word >> jnp.uint32(31) == 0, magnitude, -magnitude)


def _inverse(alpha: Array) -> Array:
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
    part, rest = _angle_uniform(bits)
    dtype = part.dtype
    alpha = jnp.asarray(alpha, dtype)
    theta, phi = part * _HALF_PI, rest * _HALF_PI
    beyond = (2 - alpha) * _HALF_PI
    sine = sin(jnp.minimum(alpha * phi, beyond + alpha * theta))
    cosine = sin(jnp.minimum(alpha * _HALF_PI + (1 - alpha) * theta, beyond + (alpha - 1) * theta))
    radius = log2(cosine / exponential(bits))
    magnitude = sine * exp2(_inverse(alpha) * (radius - log2(sin(theta))) - radius)
    info = jnp.finfo(dtype)
    return _attach_sign(jnp.clip(magnitude, float(info.tiny), float(info.max)), bits[0])


def normal(bits: Words) -> Float[Array, "..."]:
    """A standard normal variate from its random words (Box and Muller 1958), with its tail to P = 2^-31."""
    _, rest = _angle_uniform(bits)
    return _attach_sign(jnp.sqrt(2 * exponential(bits)) * sin(rest * _HALF_PI), bits[0])


def positive(bits: Words, index: Float[Array, "..."]) -> Float[Array, "..."]:
    """A positive stable variate A with E exp(-s A) = exp(-s^index), index in (0, 1]; at 1 it is exactly 1.

    Source:
        Kanter 1975: A = sin(a phi)/sin(phi)^(1/a) * (sin((1-a) phi)/W)^((1-a)/a), phi uniform on (0, pi); drawn by
        the distance of phi from its pole at pi, like the symmetric law.
    """
    part, rest = _angle_uniform(bits)
    index = jnp.asarray(index, part.dtype)
    below_one = index < 1
    index = jnp.where(below_one, index, 0.5)  # no logarithm of 0 at index 1, where it would make the gradient NaN
    theta, phi = part * _PI, rest * _PI
    sine = sin(jnp.minimum(index * phi, (1 - index) * _PI + index * theta))
    other = sin(jnp.minimum((1 - index) * phi, index * _PI + (1 - index) * theta))
    radius = log2(other / exponential(bits))
    log_value = log2(sine) + _inverse(index) * (radius - log2(sin(jnp.minimum(theta, phi)))) - radius
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


def _check(alpha: Any, dtype: Any) -> None:
    if jnp.dtype(dtype) not in (jnp.float32, jnp.float64):
        raise ValueError(f"dtype must be float32 or float64, got {jnp.dtype(dtype).name}.")
    if jnp.dtype(dtype) == jnp.float64 and not jax.config.read("jax_enable_x64"):
        raise ValueError("float64 variates need jax_enable_x64; set it, or draw inside `with jax.enable_x64(True):`.")
    if not isinstance(alpha, Tracer):
        values = np.asarray(alpha, np.float64)
        if not np.all((values > 0) & (values <= 2)):
            raise ValueError(f"alpha must be in (0, 2], got {values.tolist()}.")


def _counters(key: tuple[Any, Any], size: int) -> Counter:
    key0, key1 = (jnp.asarray(word, jnp.uint32) for word in key)
    index = jnp.arange(size, dtype=jnp.uint32)
    return Counter(jnp.broadcast_to(key0, (size,)), jnp.broadcast_to(key1, (size,)), index, jnp.zeros_like(index))


@partial(jax.jit, static_argnames=("shape", "dtype"))
def _sample(key: tuple[Any, Any], alpha: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    bits = draw_words(_counters(key, math.prod(shape)), 1, Stream.NOISE, dtype)
    return symmetric(tuple(word.reshape(shape) for word in bits), jnp.asarray(alpha, dtype))


@partial(jax.jit, static_argnames=("dimension", "shape", "dtype"))
def _sample_isotropic(key: tuple[Any, Any], alpha: Array, dimension: int, shape: tuple[int, ...], dtype: Any) -> Array:
    counters = _counters(key, math.prod(shape))
    bits = draw_words(counters, dimension, Stream.NOISE, dtype)
    radial = draw_words(counters, 1, Stream.RADIUS, dtype)
    vectors = isotropic(
        tuple(word.reshape(dimension, *shape) for word in bits),
        tuple(word.reshape(1, *shape) for word in radial),
        jnp.asarray(alpha, dtype),
    )
    return jnp.moveaxis(vectors, 0, -1)


def sample(key: Any, alpha: Any, shape: tuple[int, ...] | None = None, dtype: Any = jnp.float32) -> Array:
    """Draw symmetric alpha-stable variates of unit scale: characteristic function exp(-|w|^alpha).

    At alpha = 2 this is N(0, 2), at alpha = 1 the standard Cauchy law. Multiply by the scale you want.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: tail index in (0, 2], a number or an array that broadcasts to `shape`; traced and batched freely.
        shape: of the result; default the shape of alpha.
        dtype: float32, or float64 where jax has it enabled.

    Returns:
        Variates of `shape`: never 0, inf or NaN (see `symmetric`), and symmetric to the last bit.

    Raises:
        ValueError: alpha outside (0, 2], or another dtype.

    Source:
        Chambers, Mallows, Stuck 1976; Weron 1996 for the corrected constants. Differentiable in alpha.

    Example:
        >>> import jax
        >>> x = sample(jax.random.key(0), 1.5, (10_000,))
        >>> bool(abs(jax.numpy.median(x)) < 0.05)
        True
    """
    _check(alpha, dtype)
    shape = np.shape(alpha) if shape is None else tuple(shape)
    return _sample(run_key(key), alpha, np.broadcast_shapes(shape, np.shape(alpha)), jnp.dtype(dtype))


def sample_isotropic(
    key: Any, alpha: Any, dimension: int, shape: tuple[int, ...] = (), dtype: Any = jnp.float32
) -> Array:
    """Draw rotation-invariant stable vectors: characteristic function exp(-|w|^alpha), |w| the Euclidean norm.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: tail index in (0, 2], a number or an array that broadcasts to `shape`.
        dimension: d, the length of each vector.
        shape: how many vectors.
        dtype: float32, or float64 where jax has it enabled.

    Returns:
        Vectors of shape (*shape, d); at alpha = 2 their coordinates are independent N(0, 2).

    Raises:
        ValueError: alpha outside (0, 2], dimension below 1, or another dtype.

    Source:
        Samorodnitsky and Taqqu 1994, proposition 2.5.2: a normal vector times the root of a positive alpha/2 variate.

    Example:
        >>> import jax
        >>> sample_isotropic(jax.random.key(0), 1.2, 3, (5,)).shape
        (5, 3)
    """
    _check(alpha, dtype)
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}.")
    return _sample_isotropic(run_key(key), alpha, dimension, tuple(shape), jnp.dtype(dtype))
