"""Exact draws of the symmetric stable law conditioned on |X| <= bound, by rejection at any bound.

Two proposals, of which each entry takes the one that is kept more often. A stable variate X is kept where
|X| <= bound. For small bounds: X = sqrt(2 A) Z has given A the density exp(-x^2/(4 A))/sqrt(4 pi A), so a uniform x on
[-bound, bound] and A from its law tilted by A^(-1/2) are kept with probability exp(-x^2/(4 A)), which is close to 1.
With a = alpha/2, p = (1 - a)/a and Kanter's A = (b(phi)/W)^p, the tilted A has W ~ Gamma(1 + p/2) and phi uniform on
(0, pi) kept with probability (b(phi)/b(0))^(-p/2), b being least at 0. The first is kept with probability
P(|X| <= bound), the second with that over 2 bound f(0), but for the tilt: they meet where 2 bound f(0) = 1.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
from jaxtyping import Array

from levyjax.random import run_key
from levyjax.stable.elementary import exp2, log2, sin
from levyjax.stable.rejection import sum_of_accepted
from levyjax.stable.sampling import check_dtype, check_range
from levyjax.stable.variates import Words, angle_uniform, attach_sign, exponential, inverse, normal, symmetric

_LN2 = math.log(2)
_MAX_ROUNDS = 4000  # of 2% kept at alpha = 0.1, where it is least: not done with probability 1e-31


def _gamma(bits: Words, shape: Array) -> tuple[Array, Array]:
    """A Gamma(shape) proposal, shape >= 1, and the logarithm of its part to keep (Marsaglia and Tsang 2000)."""
    d = shape - 1 / 3
    z = normal(bits)
    root = 1 + z / jnp.sqrt(9 * d)
    v = jnp.where(root > 0, root, 1) ** 3
    return d * v, jnp.where(root > 0, z**2 / 2 + d * (1 - v + jnp.log(v)), -jnp.inf)


def _log2_b_ratio(bits: Words, a: Array) -> Array:
    """log2 of (b(phi)/b(0))^p at a uniform phi: sinc(a phi) sinc((1-a) phi)^p/sinc(phi)^(1/a)."""
    part, rest = angle_uniform(bits)
    theta, phi = part * math.pi, rest * math.pi
    other = jnp.maximum(1 - a, 1e-20)
    first = sin(jnp.minimum(a * phi, (1 - a) * math.pi + a * theta)) / (a * phi)
    second = sin(jnp.minimum(other * phi, a * math.pi + other * theta)) / (other * phi)
    pole = sin(jnp.minimum(theta, phi)) / phi
    return log2(first) + (1 - a) * inverse(a) * log2(second) - inverse(a) * log2(pole)


def _near_zero(bits: Words, alpha: Array, bound: Array) -> tuple[Array, Array]:
    """The proposal for small bounds, from three variates' words."""
    uniform, angle, radius = (tuple(word[j] for word in bits) for j in range(3))
    a = alpha / 2
    p = (1 - a) * inverse(a)
    ratio = _log2_b_ratio(angle, a)
    w, log_kept = _gamma(radius, 1 + p / 2)
    log_a = log2(a) + p * log2(jnp.maximum(1 - a, 1e-20)) + ratio - p * log2(w)
    x = attach_sign(bound * angle_uniform(uniform)[0], uniform[0])
    cost = ratio * _LN2 / 2 - log_kept + exp2(2 * log2(jnp.abs(x)) - 2 - log_a)
    return x, exponential(angle) > cost


@partial(jax.jit, static_argnames=("shape", "dtype"))
def _sample_truncated(key: tuple[Any, Any], alpha: Array, bound: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    alpha, bound = (jnp.broadcast_to(jnp.asarray(value, dtype), shape).reshape(-1) for value in (alpha, bound))
    small = jnp.log(bound) < math.log(math.pi / 2) - jax.scipy.special.gammaln(1 + inverse(alpha))

    def propose(bits: Words) -> tuple[Array, Array]:
        x = symmetric(tuple(word[0] for word in bits), alpha)
        near, kept = _near_zero(bits, alpha, bound)
        return jnp.where(small, near, x), jnp.where(small, kept, jnp.abs(x) <= bound)

    pieces = jnp.ones(alpha.shape, jnp.int32)
    return sum_of_accepted(key, alpha.size, 3, propose, pieces, _MAX_ROUNDS, dtype).reshape(shape)


def sample_truncated(
    key: Any, alpha: Any, bound: Any, shape: tuple[int, ...] | None = None, dtype: Any = jnp.float32
) -> Array:
    """Draw symmetric stable variates of unit scale conditioned on |X| <= bound, exactly.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: tail index in (0, 2], a number or an array that broadcasts to `shape`.
        bound: above 0, like alpha; infinity leaves the law as it is.
        shape: of the result; default that of alpha and bound together.
        dtype: float32, or float64 where jax has it enabled.

    Returns:
        Variates of `shape` in [-bound, bound]. At least 23% of the proposals are kept for alpha >= 0.3 and 2% at 0.1;
        below 0.1 entries may come out as NaN where the bound is small.

    Raises:
        ValueError: an argument out of range, or another dtype.

    Source:
        Module text; Devroye 2009 for the polynomially tilted positive stable law.

    Example:
        >>> x = sample_truncated(0, 1.2, 0.1, (1000,))
        >>> bool((abs(x) <= 0.1).all())
        True
    """
    check_dtype(dtype)
    check_range("alpha", alpha, 0, 2, "(]")
    check_range("bound", bound, 0, math.inf, "(]")
    shape = np.broadcast_shapes(() if shape is None else tuple(shape), np.shape(alpha), np.shape(bound))
    return _sample_truncated(run_key(key), alpha, bound, shape, jnp.dtype(dtype))
