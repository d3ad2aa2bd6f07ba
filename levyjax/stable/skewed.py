"""Skewed stable variates from random words, continuous through alpha = 1 and exact in both tails in float32.

Chambers, Mallows and Stuck (1976) with V uniform on (-pi/2, pi/2), W exponential, e = 1 - alpha and
zeta = beta tan(pi alpha/2) = beta cot(pi e/2), as Nolan's S1 and S0 = S1 - zeta:

    S1 = K R^(e/alpha),   R = (cos(e V) + zeta sin(e V))/(W cos V),   K = (sin(alpha V) + zeta cos(alpha V))/cos V.

zeta has a pole at alpha = 1, so S0 = M R^(e/alpha) + zeta (R^(e/alpha) - 1), with M = K - zeta, is what is computed:
every quotient by sin(pi e/2) is one of sin(x)/x, and R^(e/alpha) - 1 one of expm1(x)/x, so that nothing is divided by
e. V is its sign times pi/2 less theta, its distance from the pole that it is near; V and beta change sign together, so
only V > 0 is needed, with b = the sign of V times beta. Where b > 0 all sums have positive terms; where b < 0, b is
(1 + b) - 1 and the part of b = -1, in which the pole cancels, is written with the pole cancelled.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from levyjax.stable.elementary import exp2, log2, sin, sinc
from levyjax.stable.variates import Words, angle_uniform, attach_sign, exponential, inverse

_HALF_PI = math.pi / 2
_LN2 = math.log(2)
_SERIES_TERMS = 15  # of expm1(z)/z for |z| < 1/2: the first one left out is 1e-18


def _expm1_ratio(z: Array) -> Array:
    """expm1(z)/z, smooth at 0, for |z| <= 1/2."""
    value = jnp.ones_like(z)
    for n in range(_SERIES_TERMS, 1, -1):
        value = 1 + value * z / n
    return value


def _pole_terms(b: Array, alpha: Array, theta: Array, phi: Array) -> tuple[Array, Array, Array]:
    """M, R W and zeta e at the angle phi = pi/2 - theta > 0 (module text)."""
    e = 1 - alpha
    beyond = (2 - alpha) * _HALF_PI
    end = sinc(e * _HALF_PI)
    cosine = sin(jnp.minimum(alpha, 2 - alpha) * _HALF_PI)  # cos(pi e/2)
    pole = sin(theta)

    sin_alpha_phi = sin(jnp.minimum(alpha * phi, beyond + alpha * theta))
    cos_e_phi = sin(jnp.minimum(alpha * _HALF_PI + e * theta, beyond - e * theta))
    middle = phi * (1 + alpha) / 2
    bend = sin(jnp.minimum(middle, math.pi - middle)) * cosine * (phi / _HALF_PI) * sinc(e * phi / 2) / end
    turn = cosine * (phi / _HALF_PI) * sinc(e * phi) / end

    theta_ratio = (theta / _HALF_PI) * sinc(e * theta) / end  # sin(e theta)/sin(pi e/2)
    phi_ratio = (phi / math.pi) * sinc(e * phi / 2) / end
    light = sin(phi) * theta_ratio / pole - 2 * sin(e * (_HALF_PI + theta) / 2) * phi_ratio
    heavy = b >= 0
    m = jnp.where(heavy, (sin_alpha_phi + b * bend) / pole, light + (1 + b) * bend / pole)
    r = jnp.where(heavy, cos_e_phi + b * turn, theta_ratio + (1 + b) * turn) / pole
    return m, r, b * cosine / (_HALF_PI * end)


def _k(b: Array, alpha: Array, theta: Array, phi: Array, m: Array, zeta: Array) -> Array:
    """K: m + zeta, but for b < 0 and alpha < 1 as a sum in which the part of b = -1 keeps its sign."""
    e = jnp.maximum(1 - alpha, float(jnp.finfo(alpha.dtype).eps) / 2)
    end = sin(e * _HALF_PI)
    cosine = sin(jnp.minimum(alpha, 2 - alpha) * _HALF_PI)
    cos_alpha_phi = sin(jnp.minimum(theta + e * phi, _HALF_PI))
    light = ((1 + b) * cosine * cos_alpha_phi - sin(jnp.minimum(alpha * theta, _HALF_PI))) / (end * sin(theta))
    return jnp.where((b < 0) & (alpha < 1), light, m + zeta)


def skewed(
    bits: Words, alpha: Float[Array, "..."], beta: Float[Array, "..."], parametrization: str = "S0"
) -> Float[Array, "..."]:
    """A skewed stable variate of unit scale from its random words.

    Args:
        bits: as from `draw_words`.
        alpha: tail index in (0, 2], broadcast against the words.
        beta: skewness in [-1, 1], broadcast against the words.
        parametrization: "S0" (continuous at alpha = 1) or "S1" (S0 + beta tan(pi alpha/2); S0 itself at alpha = 1).

    Returns:
        Variates of the broadcast shape, in the precision of the words; no pair of words gives inf or NaN.

    Source:
        Nolan 2020, definitions 1.3 and 1.4; Weron 1996 for the constants.
    """
    part, rest = angle_uniform(bits)
    dtype = part.dtype
    alpha = jnp.asarray(alpha, dtype)
    b = attach_sign(
        jnp.broadcast_to(jnp.asarray(beta, dtype), jnp.broadcast_shapes(jnp.shape(beta), part.shape)), bits[0]
    )
    theta, phi = part * _HALF_PI, rest * _HALF_PI
    m, r, zeta_e = _pole_terms(b, alpha, theta, phi)
    e = 1 - alpha
    zeta = zeta_e / jnp.where(e == 0, 1, e)
    log_r = log2(r / exponential(bits)) * inverse(alpha)
    z = e * log_r * _LN2
    near = jnp.abs(z) <= 0.5
    power = exp2(e * log_r)
    s1 = _k(b, alpha, theta, phi, m, zeta) * power
    difference = zeta_e * jnp.where(near, log_r, 0) * _LN2 * _expm1_ratio(jnp.where(near, z, 0))
    s0 = jnp.where(near, m * power + difference, s1 - zeta)
    value = _within_support(s0, b, alpha, zeta) if parametrization == "S0" else jnp.where(e == 0, s0, s1)
    largest = float(jnp.finfo(dtype).max)
    return attach_sign(jnp.clip(value, -largest, largest), bits[0])


def _within_support(s0: Array, b: Array, alpha: Array, zeta: Array) -> Array:
    """Rounding does not carry a totally skewed variate with alpha < 1 over the end of its support, -zeta."""
    value = jnp.where((alpha < 1) & (b == 1), jnp.maximum(s0, -zeta), s0)
    return jnp.where((alpha < 1) & (b == -1), jnp.minimum(value, -zeta), value)
