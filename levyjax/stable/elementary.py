"""Sine, log2 and exp2 on the bounded arguments of the samplers, as short polynomials that vectorise everywhere.

Float32 only; float64 goes to the library functions. Coefficients are Chebyshev fits of the stated degree (highest
power first), made in double precision; the maximum errors stated below are held by the tests.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_LOG2_E = 1 / math.log(2)
_SQRT_HALF_BITS = 0x3F3504F3
# log2(1 + m)/m on sqrt(1/2) - 1 <= m <= sqrt(2) - 1
_LOG2 = (
    0.125836983,
    -0.207269729,
    0.215715611,
    -0.238944824,
    0.287916248,
    -0.360703683,
    0.480910643,
    -0.721347347,
    1.442695,
)
# 2^y on |y| <= 1/2
_EXP2 = (0.000153458118, 0.00133999312, 0.00961848896, 0.0555032878, 0.240226469, 0.693147206, 1.0)
# sin(x)/x in powers of x^2 on 0 <= x <= pi/2
_SIN = (2.60190307e-06, -0.000198074187, 0.00833302514, -0.166666567, 0.999999995)


def _polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    value = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + jnp.asarray(coefficient, x.dtype)
    return value


def sin(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin x for 0 <= x <= pi/2, to 3 ulp in float32."""
    return jnp.sin(x) if x.dtype != jnp.float32 else x * _polynomial(x * x, _SIN)


@jax.custom_jvp
def _log2_float32(x: Array) -> Array:
    bits = lax.bitcast_convert_type(x, jnp.int32)
    exponent = (bits - _SQRT_HALF_BITS) >> 23
    mantissa = lax.bitcast_convert_type(bits - (exponent << 23), jnp.float32) - 1.0
    return exponent.astype(jnp.float32) + mantissa * _polynomial(mantissa, _LOG2)


@_log2_float32.defjvp
def _log2_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _log2_float32(x), dx * _LOG2_E / x


def log2(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log2 x for normal x > 0: absolute error below 6e-8 (1 + |log2 x|) in float32; finite at 0 in any type."""
    if x.dtype == jnp.float32:
        return _log2_float32(x)
    return jnp.log2(jnp.maximum(x, jnp.finfo(x.dtype).tiny))


def minus_log2_uniform(y: Float[Array, "..."], one_minus_y: Float[Array, "..."]) -> Float[Array, "..."]:
    """-log2 y for 0 < y < 1 given also 1 - y, so that it keeps its relative precision where y is close to 1."""
    if y.dtype != jnp.float32:
        return -jnp.where(y < 0.5, jnp.log2(y), jnp.log1p(-one_minus_y) * _LOG2_E)
    near_one = -one_minus_y * _polynomial(-one_minus_y, _LOG2)
    return -jnp.where(one_minus_y < 0.25, near_one, _log2_float32(y))


@jax.custom_jvp
def _exp2_float32(y: Array) -> Array:
    y = jnp.clip(y, -126.0, 127.99999)
    whole = jnp.round(y)
    fraction = lax.bitcast_convert_type(_polynomial(y - whole, _EXP2), jnp.int32)
    return lax.bitcast_convert_type((whole.astype(jnp.int32) << 23) + fraction, jnp.float32)


@_exp2_float32.defjvp
def _exp2_jvp(primals, tangents):
    (y,), (dy,) = primals, tangents
    value = _exp2_float32(y)
    return value, dy * value / _LOG2_E


def exp2(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """2^y, held inside the normal range instead of overflowing; to 2 ulp in float32."""
    if y.dtype == jnp.float32:
        return _exp2_float32(y)
    info = jnp.finfo(y.dtype)
    return jnp.exp2(jnp.clip(y, info.minexp, info.maxexp - 1e-12))
