"""Quantiles of the alpha-stable law.

Safeguarded Newton steps on log(-log P(X > x)) in asinh x, which is nearly a straight line for every tail.

Either tail is solved as an upper tail of at most 1/2 (the left one after reflection), so that probabilities down to the
smallest number keep their relative precision. A step that leaves the bracket or fails to halve the residual is replaced
by a bisection. Derivatives are the implicit function's.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from levyjax.stable import contour
from levyjax.stable.constants import tail_constant
from levyjax.stable.kernel import check_parameters, common, in_bucket, kernel, unit_shift, valid

_MOST_STEPS = 100


def _logsf(x: Array, alpha: Array, beta: Array) -> Array:
    return kernel("logsf", "S0", x, jnp.zeros_like(x), alpha, beta)


def _logsf_and_slope(x: Array, alpha: Array, beta: Array) -> tuple[Array, Array]:
    return jax.jvp(lambda x: _logsf(x, alpha, beta), (x,), (jnp.ones_like(x),))


def _start(target: Array, alpha: Array, beta: Array) -> Array:
    """asinh of the power tail's quantile, or of the Gaussian's where that is farther out."""
    weight = (1 + beta) * tail_constant(alpha) / alpha
    power = (jnp.log(jnp.maximum(weight, 1e-30)) - target) / alpha  # log x
    power = jnp.where(weight > 0, power, -1)
    gauss = jnp.log(2 * jnp.sqrt(-target))
    return jnp.maximum(jnp.maximum(power, gauss) + math.log(2), 0)


@jax.custom_jvp
def _upper(target: Array, alpha: Array, beta: Array) -> Array:
    """x in S0 with log P(X > x) = target <= log(1/2) or so; all three of one shape."""
    eps = float(jnp.finfo(target.dtype).eps)
    ceiling = math.log(float(jnp.finfo(target.dtype).max)) - 1

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        low, high, y, before, _, count = state
        x = jnp.sinh(y)
        value, slope = _logsf_and_slope(x, alpha, beta)
        residual = jnp.log(value / target)  # rises with x
        low, high = jnp.where(residual < 0, y, low), jnp.where(residual < 0, high, y)
        newton = y - residual * value / (slope * jnp.cosh(y))
        good = (newton > low) & (newton < high) & (jnp.abs(residual) < before / 2)
        tiny = jnp.abs(residual * target) <= 4 * eps * (1 + jnp.abs(target))
        proposed = jnp.where(good | (tiny & jnp.isfinite(newton)), newton, (low + high) / 2)
        done = tiny | (jnp.abs(proposed - y) <= eps * (1 + jnp.abs(y)))
        return low, high, proposed, jnp.where(good, jnp.abs(residual), jnp.inf), done, count + 1

    def going(state: tuple[Array, ...]) -> Array:
        return ~jnp.all(state[4]) & (state[5] < _MOST_STEPS)

    top = jnp.full_like(target, ceiling)
    first = jnp.minimum(_start(target, alpha, beta), ceiling - 1)
    state = (-top / 20, top, first, top * jnp.inf, jnp.isnan(target), jnp.asarray(0))
    y = lax.while_loop(going, step, state)[2]
    return jnp.where(y > ceiling - 1e-3, jnp.inf, jnp.sinh(y))


@_upper.defjvp
def _upper_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    target, alpha, beta = primals
    x = _upper(target, alpha, beta)
    _, drift = jax.jvp(lambda a, b: _logsf(x, a, b), (alpha, beta), tangents[1:])
    return x, (tangents[0] - drift) / _logsf_and_slope(x, alpha, beta)[1]


@jax.jit
def _quantile(
    upper: Array, in_s1: Array, p: Array, alpha: Array, beta: Array, loc: Array, scale: Array
) -> Array:  # by values: each program takes seconds to compile
    p, alpha, beta, loc, scale = jnp.broadcast_arrays(p, alpha, beta, loc, scale)
    inside = (p > 0) & (p < 1)
    safe = jnp.where(inside, p, 0.5)
    small = safe <= 0.5
    target = jnp.where(small, jnp.log(safe), jnp.log1p(-jnp.where(small, 0.5, safe)))
    sign = jnp.where(small == upper, 1, -1).astype(p.dtype)  # 1: x is in the right tail
    z = sign * _upper(target, alpha, sign * beta)
    bound = jnp.where((p == 0) == upper, 1, -1).astype(p.dtype)
    shift = beta * contour.tangent(alpha)
    edge = jnp.where((alpha < 1) & (beta == -bound), -shift, bound * jnp.inf)
    z = jnp.where(inside, z, jnp.where((p == 0) | (p == 1), edge, jnp.nan))
    z = jnp.where(valid(alpha, beta, scale), z, jnp.nan)
    return loc + scale * jnp.where(in_s1, z + unit_shift(alpha, beta, scale), z)


def ppf(
    q: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """The x with P(X <= x) = q, to nearly full precision for small q.

    Args:
        q: probabilities, any shape; 0 and 1 give the ends of the support, others outside (0, 1) NaN.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Quantiles of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        The inverse of `cdf`.

    Example:
        >>> round(float(ppf(0.75, 1.0)), 4)
        1.0
    """
    check_parameters(alpha, beta, scale, parametrization)
    values = common(q, alpha, beta, loc, scale, on_device=False)
    return in_bucket(functools.partial(_quantile, False, parametrization == "S1"), *values)


def isf(
    p: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """The x with P(X > x) = p, to nearly full precision for small p.

    Args:
        p: probabilities, any shape; 0 and 1 give the ends of the support, others outside (0, 1) NaN.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Quantiles of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        The inverse of `sf`.

    Example:
        >>> bool(abs(isf(1e-6, 1.0) * math.pi * 1e-6 - 1) < 1e-5)
        True
    """
    check_parameters(alpha, beta, scale, parametrization)
    values = common(p, alpha, beta, loc, scale, on_device=False)
    return in_bucket(functools.partial(_quantile, True, parametrization == "S1"), *values)


def median(
    alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """The x with P(X <= x) = 1/2.

    Args:
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Medians of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Example:
        >>> round(float(median(0.5, 1.0, parametrization="S1")), 4)  # Levy's law: 1/(2 erfcinv(1/2)^2)
        2.1981
    """
    return ppf(0.5, alpha, beta, loc=loc, scale=scale, parametrization=parametrization)
