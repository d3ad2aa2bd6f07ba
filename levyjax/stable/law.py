"""Density, distribution, score and transform of the alpha-stable law.

**Conventions.** Z has E exp(iuZ) = exp(-|u|^alpha (1 - i beta tan(pi alpha/2) sign u)), T = tan(pi alpha/2):

| parametrization | alpha != 1                 | alpha = 1                              | beta = 0                |
|-----------------|----------------------------|----------------------------------------|-------------------------|
| "S0" (default)  | X = scale (Z - beta T) + loc | exp(-|u|(1 + i beta 2/pi sign u log|u|)) | exp(-|scale u|^alpha) |
| "S1"            | X = scale Z + loc          | as S0, loc + beta 2/pi scale log(scale) | the same                |

S0 is continuous in all four parameters and loc + scale x is a location and scale of it; S1 has mean loc for alpha > 1
and support (loc, inf) for alpha < 1, beta = 1, but no limit at alpha = 1. `scipy.stats.levy_stable` has the same two
under `parameterization`, with S1 its default (and, at alpha = 1, the same shift by beta 2/pi scale log(scale)). Both
are Nolan's (2020, "Univariate stable distributions", definitions 1.2 and 1.3). At alpha = 2 the law is N(0, 2 scale^2).

Every function takes arrays of x, alpha, beta, loc and scale that broadcast, works under `jit` and `vmap`, and has
derivatives in all of them. Thousands of points of one symmetric law (beta the number 0, alpha a scalar) go through
`levyjax.stable.table`, some fifty times as fast to the same accuracy.
Double precision in, double precision out (where JAX has it on); float32 otherwise.
Concrete parameters are checked; a traced one out of range gives NaN.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from levyjax.stable import contour
from levyjax.stable.kernel import check_parameters, common, evaluate, jitted, valid

_PI = math.pi


def pdf(
    x: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """Density of the stable law.

    Args:
        x: points, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1"; the module's table has both.

    Returns:
        The density, of the broadcast shape; 0 outside the support.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        Zolotarev 1986, section 2.2, on the contour described in `levyjax.stable.contour`.

    Example:
        >>> bool(abs(pdf(1.0, 1.0) * 2 * math.pi - 1) < 1e-5)  # Cauchy
        True
    """
    return evaluate("pdf", x, alpha, beta, loc, scale, parametrization)


def logpdf(
    x: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """Logarithm of the density, right also where the density underflows; -inf outside the support.

    Args:
        x: points, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        log f(x), of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        As `pdf`.

    Example:
        >>> round(float(logpdf(200.0, 2.0)) / (200**2 / 4 + math.log(4 * math.pi) / 2), 5)
        -1.0
    """
    return evaluate("logpdf", x, alpha, beta, loc, scale, parametrization)


def cdf(
    x: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """P(X <= x), with full relative precision in the left tail.

    Args:
        x: points, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Probabilities of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        As `pdf`.

    Example:
        >>> round(float(cdf(1.0, 1.0)), 5)
        0.75
    """
    return evaluate("cdf", x, alpha, beta, loc, scale, parametrization)


def logcdf(
    x: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """log P(X <= x), right also where the probability underflows.

    Args:
        x: points, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Logarithms of the broadcast shape; -inf below the support.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        As `pdf`.

    Example:
        >>> bool(abs(logcdf(-1e6, 1.0) + math.log(math.pi * 1e6)) < 1e-5)
        True
    """
    return evaluate("logcdf", x, alpha, beta, loc, scale, parametrization)


def sf(
    x: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """P(X > x), with full relative precision in the right tail.

    Args:
        x: points, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Probabilities of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        As `pdf`.

    Example:
        >>> bool(abs(sf(1e6, 1.0) * math.pi * 1e6 - 1) < 1e-5)
        True
    """
    return evaluate("sf", x, alpha, beta, loc, scale, parametrization)


def logsf(
    x: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "..."]:
    """log P(X > x), right also where the probability underflows.

    Args:
        x: points, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Logarithms of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        As `pdf`.

    Example:
        >>> round(float(logsf(0.0, 1.3)), 5)
        -0.69315
    """
    return evaluate("logsf", x, alpha, beta, loc, scale, parametrization)


def score(
    x: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Float[Array, "... 4"]:
    """The Fisher score: the gradient of log f(x) in (alpha, beta, loc, scale), on a last axis.

    Args:
        x: points, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        An array of the broadcast shape and a last axis of 4; its mean is 0 under the law.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        DuMouchel 1973, "On the asymptotic normality of the maximum-likelihood estimate".

    Example:
        >>> score(1.0, 1.0).round(3).tolist()[2:]  # Cauchy: 2x/(1 + x^2) and (x^2 - 1)/(1 + x^2)
        [1.0, 0.0]
    """
    check_parameters(alpha, beta, scale, parametrization)
    x, *parameters = jnp.broadcast_arrays(*common(x, alpha, beta, loc, scale))

    def total(*parameters: Array) -> Array:
        return jitted("logpdf", parametrization, x, *parameters).sum()

    slopes = jnp.stack(jax.grad(total, argnums=(0, 1, 2, 3))(*parameters), axis=-1)
    alpha, beta, _, scale = parameters
    return jnp.where(valid(alpha, beta, scale)[..., None], slopes, jnp.nan)


def characteristic_function(
    u: Any, alpha: Any, beta: Any = 0.0, *, loc: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0"
) -> Array:
    """E exp(iuX), complex.

    Args:
        u: frequencies, any shape.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" or "S1".

    Returns:
        Complex numbers of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        Nolan 2020, definitions 1.2 and 1.3.

    Example:
        >>> bool(abs(characteristic_function(2.0, 1.5) - math.exp(-(2**1.5))) < 1e-6)
        True
    """
    check_parameters(alpha, beta, scale, parametrization)
    u, alpha, beta, loc, scale = common(u, alpha, beta, loc, scale)
    size, log_scale = jnp.abs(scale * u), jnp.log(scale)
    safe = jnp.where(size == 0, 1, size)
    twist = jnp.where(size == 0, 0, contour.twist(jnp.log(safe), alpha) * safe)  # T (size - size^alpha)
    if parametrization == "S1":
        one = jnp.where(alpha == 1, 2 / _PI * log_scale, contour.tangent(alpha))
        twist = twist - one * size
    power = jnp.where(size == 0, 0, safe**alpha)
    power = jnp.where(valid(alpha, beta, scale), power, jnp.nan)
    gone = power > -2 * math.log(float(jnp.finfo(u.dtype).tiny))  # where the angle may have no number, either
    angle = jnp.where(gone, 0, u * loc - jnp.sign(u) * beta * twist)
    return lax.complex(jnp.exp(-power) * jnp.cos(angle), jnp.exp(-power) * jnp.sin(angle))
