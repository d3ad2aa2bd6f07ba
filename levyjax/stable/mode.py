"""The mode of the alpha-stable law: the point of its largest density, of which there is one (Yamazato 1978)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levyjax.arrays import bisected
from levyjax.stable import contour
from levyjax.stable.kernel import check_parameters, common, in_bucket, kernel, unit_shift, valid

_FURTHEST = 1.0  # of the standard law in S0 the mode of beta > 0 lies between -1 (-0.67 at most) and 0


def _slope(x: Array, alpha: Array, beta: Array) -> Array:
    """Of the log density of the standard law in S0."""
    zero = jnp.zeros_like(x)
    return jax.jvp(lambda x: kernel("logpdf", "S0", x, zero, alpha, beta), (x,), (jnp.ones_like(x),))[1]


@jax.custom_jvp
def _standard_mode(alpha: Array, beta: Array) -> Array:
    """Of the standard law in S0, by bisection of the slope's sign."""
    skew, edge = jnp.abs(beta), -jnp.abs(beta) * contour.tangent(alpha)
    ended = (alpha < 1) & (skew == 1)
    low = jnp.full_like(alpha, -_FURTHEST)
    low = jnp.where(ended, jnp.maximum(low, edge), low)

    def rises(x: Array) -> Array:
        return ~(_slope(x, alpha, skew) <= 0)  # no number right at the end of the support

    low, high = bisected(rises, low, jnp.zeros_like(alpha), jnp.finfo(alpha.dtype).nmant + 8)
    return jnp.where((skew == 0) | (alpha == 2), 0, jnp.sign(beta) * (low + high) / 2)


@_standard_mode.defjvp
def _standard_mode_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """By the implicit function: the slope stays 0."""
    alpha, beta = primals
    mode = _standard_mode(alpha, beta)
    _, drift = jax.jvp(lambda alpha, beta: _slope(mode, alpha, beta), primals, tangents)
    _, bend = jax.jvp(lambda x: _slope(x, alpha, beta), (mode,), (jnp.ones_like(mode),))
    return mode, -drift / bend


@jax.jit
def _mode(in_s1: Array, alpha: Array, beta: Array, loc: Array, scale: Array) -> Array:
    alpha, beta, loc, scale = jnp.broadcast_arrays(alpha, beta, loc, scale)
    z = jnp.where(valid(alpha, beta, scale), _standard_mode(alpha, beta), jnp.nan)
    return loc + scale * (z + jnp.where(in_s1, unit_shift(alpha, beta, scale), 0))


def mode(
    alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """The point of the largest density.

    Args:
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Modes of the broadcast shape; loc where beta = 0. To 1e-9 of the scale in double precision.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        Yamazato 1978, "Unimodality of infinitely divisible distribution functions of class L"; Nolan 2020, section 3.2.

    Example:
        >>> round(float(mode(0.5, 1.0, parametrization="S1")), 4)  # Levy's law: 1/3
        0.3333
    """
    check_parameters(alpha, beta, scale, parametrization)
    values = common(alpha, beta, loc, scale, on_device=False)
    return in_bucket(lambda *values: _mode(parametrization == "S1", *values), *values)
