"""Heavy-tailed draws for an optimizer's iteration: Pareto and Student t, one draw a coordinate and step.

A sum of such draws has another law, so they are no increments of a process that could be taken over any dt: only the
iteration runs with them. Both variates are made from a uniform one with 39 bits and a true exponent (63 in float64),
so that the tail is right in float32 as far as P = 2^-39.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Float

from levyjax.arrays import apply, as_matrix, pytree
from levyjax.checks import positive, scale_matrix, sweep
from levyjax.keys import key, piece
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words
from levyjax.stable.elementary import exp2, minus_log2_uniform, sin
from levyjax.stable.variates import Words, angle_uniform, attach_sign, inverse

_LN2 = math.log(2)
_HALF_PI = math.pi / 2


def pareto(bits: Words, index: Float[Array, "..."]) -> Float[Array, "..."]:
    """A symmetric Pareto variate from its random words: P(|Z| > u) = u^-index for u > 1."""
    part, rest = angle_uniform(bits)
    return attach_sign(exp2(minus_log2_uniform(part, rest) * inverse(jnp.asarray(index, part.dtype))), bits[0])


def student_t(bits: Words, nu: Float[Array, "..."]) -> Float[Array, "..."]:
    """A Student t variate from its random words.

    Source:
        Bailey 1994: with W uniform on (0, 1) and an independent uniform angle, sqrt(nu (W^(-2/nu) - 1)) times the
        angle's sine is Student t. No rejection; the tail is made where W is small.
    """
    part, rest = angle_uniform(bits)
    inverse_nu = inverse(jnp.asarray(nu, part.dtype))
    log2_radius = minus_log2_uniform(part, rest) * inverse_nu
    # 1 - W^(2/nu) under the root, that nothing overflows
    radius = exp2(log2_radius) * jnp.sqrt(-jnp.expm1(-2 * _LN2 * log2_radius) / inverse_nu)
    return attach_sign(radius * sin(_angle(bits)), bits[0])


def _angle(bits: Words) -> Array:
    """An angle uniform on (0, pi/2), from the words' bits that `angle_uniform` leaves."""
    dtype = jnp.float32 if len(bits) == 2 else jnp.float64
    return ((bits[1] >> jnp.uint32(8)).astype(jnp.int32).astype(dtype) + 0.5) * (_HALF_PI * 2.0**-24)


def two_sides(scale: Any) -> Float[Array, "d rays"]:
    """Both directions of each column of A: the rays of independent symmetric coordinates."""
    columns = as_matrix(scale)
    return jnp.concatenate([columns, -columns], axis=1)


@piece("noise", "pareto")
@pytree
class Pareto:
    """A Z for iterations: Z_j independent, symmetric, P(|Z_j| > u) = u^-index for u > 1 and never below 1.

    Args:
        index: tail index, positive; below 2 the variance is infinite.
        scale: A, its diagonal (d,) or the matrix (d, m).

    Raises:
        ValueError: an index that is not positive; a scale that is negative, zero, not finite or not rectangular.

    Source:
        Wang, Oh and Rhee 2022 drive their clipped SGD by it (index 1.2, scale 0.1).

    Example:
        >>> import numpy as np
        >>> Pareto(1.2, [0.1]).chances(np.array([10.0, 10.0])).round(6).tolist()
        [0.031548, 0.031548]
    """

    index: Any = key(positive, swept=sweep(positive))
    scale: Any = key(scale_matrix, coordinates=0, given="identity")

    @property
    def tail_index(self) -> float | None:
        return float(self.index)

    def increment(self, counter: Counter, dt: Any = 1.0, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        return apply(self.scale, pareto(bits, self.index))

    def rays(self) -> Float[Array, "d rays"]:
        return two_sides(self.scale)

    def chances(self, lengths: Float[np.ndarray, " rays"]) -> Float[np.ndarray, " rays"]:
        return 0.5 * np.maximum(lengths, 1.0) ** -float(self.index)


@piece("noise", "student_t")
@pytree
class StudentT:
    """A Z for iterations: Z_j independent and Student t of nu degrees of freedom, P(|Z_j| > u) of order u^-nu.

    Args:
        nu: degrees of freedom, positive; the tail index. At 1 it is the Cauchy law.
        scale: A, its diagonal (d,) or the matrix (d, m).

    Raises:
        ValueError: nu that is not positive; a scale that is negative, zero, not finite or not rectangular.

    Example:
        >>> import numpy as np
        >>> StudentT(1.0, [1.0]).chances(np.array([1.0, 1.0])).round(6).tolist()
        [0.25, 0.25]
    """

    nu: Any = key(positive, swept=sweep(positive))
    scale: Any = key(scale_matrix, coordinates=0, given="identity")

    @property
    def tail_index(self) -> float | None:
        return float(self.nu)

    def increment(self, counter: Counter, dt: Any = 1.0, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        return apply(self.scale, student_t(bits, self.nu))

    def rays(self) -> Float[Array, "d rays"]:
        return two_sides(self.scale)

    def chances(self, lengths: Float[np.ndarray, " rays"]) -> Float[np.ndarray, " rays"]:
        return scipy.special.stdtr(float(self.nu), -np.asarray(lengths))
