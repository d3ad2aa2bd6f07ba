"""Sine, log2 and exp2 on the bounded arguments of the samplers, as polynomials that vectorise everywhere.

Coefficients are Chebyshev fits of the stated degree (highest power first), made in double precision for float32 and in
50 digits for float64; the maximum errors stated below are held by the tests.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


class _Format(NamedTuple):
    """What the functions need to know of a floating-point format."""

    integer: Any
    mantissa_bits: int
    sqrt_half: int  # the bits of sqrt(1/2)
    magic: float  # 1.5 x 2^mantissa_bits: added to a number, it leaves its nearest integer in the low bits
    magic_bits: int
    log2: tuple[float, ...]  # log2(1 + m)/m on sqrt(1/2) - 1 <= m <= sqrt(2) - 1
    exp2: tuple[float, ...]  # 2^y on |y| <= 1/2
    sin: tuple[float, ...]  # sin(x)/x in powers of x^2 on 0 <= x <= pi/2


_FLOAT32 = _Format(
    jnp.int32,
    23,
    0x3F3504F3,
    1.5 * 2.0**23,
    0x4B400000,
    log2=(
        0.125836983,
        -0.207269729,
        0.215715611,
        -0.238944824,
        0.287916248,
        -0.360703683,
        0.480910643,
        -0.721347347,
        1.442695,
    ),
    exp2=(0.000153458118, 0.00133999312, 0.00961848896, 0.0555032878, 0.240226469, 0.693147206, 1.0),
    sin=(2.60190307e-06, -0.000198074187, 0.00833302514, -0.166666567, 0.999999995),
)
_FLOAT64 = _Format(
    jnp.int64,
    52,
    0x3FE6A09E667F3BCD,
    1.5 * 2.0**52,
    0x4338000000000000,
    log2=(
        0.03677416934714219,
        -0.08546741793954375,
        0.09414882662095735,
        -0.08234343834443268,
        0.08175306478371262,
        -0.0893036861956003,
        0.09643400946674259,
        -0.1031564771346186,
        0.11096631074823189,
        -0.12021762501443926,
        0.13115422276901945,
        -0.14426976700975894,
        0.16029945342821048,
        -0.1803368743615282,
        0.20609929137787664,
        -0.240449173549558,
        0.2885390081799428,
        -0.3606737602218718,
        0.4808983469629793,
        -0.7213475204444822,
        1.4426950408889634,
    ),
    exp2=(
        4.4558179083360645e-10,
        7.074194297288521e-09,
        1.0178057087733941e-07,
        1.3215432535912375e-06,
        1.5252733841556773e-05,
        0.00015403530463724353,
        0.001333355814640647,
        0.009618129107587256,
        0.055504108664821625,
        0.24022650695910158,
        0.6931471805599453,
        1.0,
    ),
    sin=(
        2.721574933448145e-15,
        -7.643026557152665e-13,
        1.6058940878455908e-10,
        -2.5052106890568924e-08,
        2.75573192112296e-06,
        -0.00019841269841208676,
        0.008333333333333186,
        -0.16666666666666666,
        1.0,
    ),
)
_LOG2_E = 1 / np.log(2)


def _format(x: Array) -> _Format:
    return _FLOAT32 if x.dtype == jnp.float32 else _FLOAT64


def _polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    value = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + jnp.asarray(coefficient, x.dtype)
    return value


def sin(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin x for |x| <= pi/2, to 3 ulp."""
    return x * _polynomial(x * x, _format(x).sin)


def sinc(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin(x)/x for |x| <= pi/2, smooth at 0, to 3 ulp."""
    return _polynomial(x * x, _format(x).sin)


@jax.custom_jvp
def _log2(x: Array) -> Array:
    form = _format(x)
    integer, shift = form.integer, form.integer(form.mantissa_bits)
    bits = lax.bitcast_convert_type(x, integer)
    exponent = (bits - integer(form.sqrt_half)) >> shift
    mantissa = lax.bitcast_convert_type(bits - (exponent << shift), x.dtype) - 1
    # Through the low bits of a float: not every processor turns 64-bit integers into floats.
    whole = lax.bitcast_convert_type(exponent + integer(form.magic_bits), x.dtype) - form.magic
    return whole + mantissa * _polynomial(mantissa, form.log2)


@_log2.defjvp
def _log2_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _log2(x), dx * float(_LOG2_E) / x


def log2(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log2 x for normal x > 0: absolute error below eps/2 (1 + |log2 x|), eps the format's precision; finite at 0."""
    return _log2(x)


def minus_log2_uniform(y: Float[Array, "..."], one_minus_y: Float[Array, "..."]) -> Float[Array, "..."]:
    """-log2 y for 0 < y < 1 given also 1 - y, so that it keeps its relative precision where y is close to 1."""
    near_one = -one_minus_y * _polynomial(-one_minus_y, _format(y).log2)
    return -jnp.where(one_minus_y < 0.25, near_one, _log2(y))


@jax.custom_jvp
def _exp2(y: Array) -> Array:
    form, info = _format(y), jnp.finfo(y.dtype)
    y = jnp.clip(y, info.minexp, info.maxexp * (1 - float(info.eps)))
    whole = jnp.round(y)
    fraction = lax.bitcast_convert_type(_polynomial(y - whole, form.exp2), form.integer)
    exponent = lax.bitcast_convert_type(whole + form.magic, form.integer) << form.integer(form.mantissa_bits)
    return lax.bitcast_convert_type(exponent + fraction, y.dtype)


@_exp2.defjvp
def _exp2_jvp(primals, tangents):
    (y,), (dy,) = primals, tangents
    value = _exp2(y)
    return value, dy * value / float(_LOG2_E)


def exp2(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """2^y, held inside the normal range instead of overflowing; to 2 ulp."""
    return _exp2(y)
