"""Moments, logarithmic moments and entropy of the alpha-stable law."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from levyjax.arrays import concrete
from levyjax.stable import contour
from levyjax.stable.kernel import check_parameters, common, kernel, valid

_PI = math.pi


def _angle(alpha: Array, beta: Array) -> Array:
    """arctan(beta tan(pi alpha/2)); NaN at alpha = 1 unless beta = 0, where S1 has no closed form."""
    tangent = jnp.where((alpha == 1) & (beta != 0), jnp.nan, contour.tangent(alpha))
    return jnp.arctan(beta * tangent)


def _check_centre(alpha: Any, beta: Any) -> None:
    if concrete(alpha) and concrete(beta) and np.any((np.asarray(alpha) == 1) & (np.asarray(beta) != 0)):
        raise ValueError("alpha must not be 1 where beta is not 0: |X| has no moment in closed form there.")


def fractional_moment(p: Any, alpha: Any, beta: Any = 0.0, *, scale: Any = 1.0) -> Float[Array, "..."]:
    """E|X|^p for -1 < p < alpha and X centred as in S1 (loc = 0; the same as in S0 for beta = 0).

    Args:
        p: order of the moment.
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1]; 0 at alpha = 1.
        scale: sigma > 0 in exp(-|sigma u|^alpha).

    Returns:
        The moment, of the broadcast shape.

    Raises:
        ValueError: p is not in (-1, alpha), or alpha, beta or scale is out of range.

    Source:
        Nolan 2020, equation 3.56; 1/(Gamma(1 - p) cos(pi p/2)) = 2 Gamma(1 + p) sin(pi p/2)/(pi p) by reflection.

    Example:
        >>> abs(float(fractional_moment(1.0, 2.0)) - 2 / math.sqrt(math.pi)) < 1e-5  # Gaussian
        True
    """
    check_parameters(alpha, beta, scale)
    _check_centre(alpha, beta)
    if concrete(p) and concrete(alpha) and not np.all((np.asarray(p) > -1) & (np.asarray(p) < np.asarray(alpha))):
        raise ValueError(f"p must be in (-1, alpha), got {np.asarray(p).tolist()}: beyond, E|X|^p is infinite.")
    p, alpha, beta, scale = common(p, alpha, beta, scale)
    angle = _angle(alpha, beta)
    scale = jnp.where(valid(alpha, beta, scale) & (p > -1) & (p < alpha), scale, jnp.nan)
    ratio = jnp.sinc(p / 2) * jnp.cos(p * angle / alpha) / jnp.cos(angle) ** (p / alpha)
    return scale**p * jnp.exp(gammaln(1 - p / alpha) + gammaln(1 + p)) * ratio


def log_moment(alpha: Any, beta: Any = 0.0, *, scale: Any = 1.0) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """E log|X| and Var log|X| for X centred as in S1 (loc = 0; the same as in S0 for beta = 0).

    Args:
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1]; 0 at alpha = 1.
        scale: sigma > 0 in exp(-|sigma u|^alpha).

    Returns:
        Mean and variance of log|X|, of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        The first two derivatives of log E|X|^p at p = 0; Zolotarev 1986, section 3.6.

    Example:
        >>> mean, variance = log_moment(1.0)
        >>> abs(float(mean)) < 1e-6, abs(float(variance) - math.pi**2 / 4) < 1e-5  # Cauchy
        (True, True)
    """
    check_parameters(alpha, beta, scale)
    _check_centre(alpha, beta)
    alpha, beta, scale = common(alpha, beta, scale)
    alpha = jnp.where(valid(alpha, beta, scale), alpha, jnp.nan)
    angle = _angle(alpha, beta)
    mean = np.euler_gamma * (1 / alpha - 1) + jnp.log(scale) - jnp.log(jnp.cos(angle)) / alpha
    variance = _PI**2 * (1 / (6 * alpha**2) + 1 / 12) - (angle / alpha) ** 2
    return mean, variance + jnp.zeros_like(mean)


@functools.partial(jax.jit, static_argnums=0)
def _entropy(nodes: int, alpha: Array, beta: Array) -> Array:
    alpha, beta = (value[..., None] for value in jnp.broadcast_arrays(alpha, beta))
    most = 38.0 if alpha.dtype == jnp.float64 else 18.0
    top = jnp.minimum(most / alpha, 0.8 * math.log(float(jnp.finfo(alpha.dtype).max)))
    w = -most + (top + most) * jnp.asarray(np.linspace(0, 1, nodes), alpha.dtype)  # log of the distance from the centre
    centre = jnp.where(alpha < 0.9, -beta * contour.tangent(alpha), 0)  # for small alpha the law is sharp there
    total = jnp.zeros(alpha.shape[:-1], alpha.dtype)
    for side in (-1, 1):
        log_density = kernel("logpdf", "S0", centre + side * jnp.exp(w), jnp.zeros_like(w), alpha, beta)
        finite = jnp.where(jnp.isfinite(log_density), log_density, 0)
        total = total - jnp.where(jnp.isfinite(log_density), jnp.exp(finite + w) * finite, 0).sum(-1)
    return total * (top + most)[..., 0] / (nodes - 1)


def entropy(alpha: Any, beta: Any = 0.0, *, scale: Any = 1.0) -> Float[Array, "..."]:
    """Differential entropy -E log f(X) in nats, by the trapezoidal rule in the logarithm of the distance.

    Args:
        alpha: tail index in (0, 2], from 0.1.
        beta: skewness in [-1, 1].
        scale: sigma > 0 in exp(-|sigma u|^alpha).

    Returns:
        The entropy, of the broadcast shape.

    Raises:
        ValueError: alpha, beta or scale is out of range.

    Source:
        The integral has poles at distance pi/2 of the real axis (see `levyjax.stable.table`), and the rule's error is
        exp(-pi^2/step).

    Example:
        >>> abs(float(entropy(1.0)) - math.log(4 * math.pi)) < 1e-4  # Cauchy
        True
    """
    check_parameters(alpha, beta, scale)
    alpha, beta, scale = common(alpha, beta, scale)
    scale = jnp.where(valid(alpha, beta, scale), scale, jnp.nan)
    nodes = 800 if alpha.dtype == jnp.float64 else 256
    return _entropy(nodes, alpha, beta) + jnp.log(scale)
