"""Density of the rotation-invariant stable law in R^d and of its radius, by the Mellin transform.

R = |X| has E R^s = 2^s Gamma((d+s)/2) Gamma(1 - s/alpha)/(Gamma(d/2) Gamma(1 - s/2)) for -d < Re s < alpha, so

    r f_R(r) = 1/(2 pi i) int E R^s r^(-s) ds   along Re s = c,

an integrand that falls off like exp(-pi |Im s|/(2 alpha)) and takes the trapezoidal rule with exponential convergence.
Its poles are those of the two series of the law: s = n alpha, n >= 1, of the tail, and s = -d - 2m, m >= 0, of the
origin. The line may pass them when their residues, the series' terms, are added, and then the integral is the series'
remainder. Of some fixed lines each r takes the one where the largest of the integrand and these terms is smallest:
little cancels, near or far.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from levyjax.stable.kernel import in_bucket
from levyjax.stable.sampling import check_range

_TAIL_TERMS = 48
_ORIGIN_TERMS = 8
_SHIFT = 18  # the complex gamma function's argument has a real part above 1/2 - _ORIGIN_TERMS
# B_2k/(2k (2k - 1)): Stirling's series.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)


def _log_gamma(z: Array) -> Array:
    """log Gamma(z) up to multiples of 2 pi i, for Re z > -9."""
    factors = [z + k for k in range(_SHIFT)]
    halves = [math.prod(factors[1:9], start=factors[0]), math.prod(factors[10:], start=factors[9])]
    y = z + _SHIFT
    series = jnp.zeros_like(y)
    for coefficient in reversed(_STIRLING):
        series = series / y**2 + coefficient
    return (y - 0.5) * jnp.log(y) - y + math.log(2 * math.pi) / 2 + series / y - jnp.log(halves[0]) - jnp.log(halves[1])


def _log_sine(z: Array) -> Array:
    """log sin(pi z) up to multiples of 2 pi i, for Im z > 0."""
    return -1j * math.pi * z + jnp.log1p(-jnp.exp(2j * math.pi * z)) + (0.5j * math.pi - math.log(2))


def _log_moment(s: Array, alpha: Array, dimension: int) -> Array:
    """log E R^s, continued past its poles, for Im s > 0."""
    right, alpha = s.real > 0, alpha.astype(s.dtype)
    upper = jnp.where(right, s / 2, 1 - s / alpha)
    lower = jnp.where(right, s / alpha, 1 - s / 2)
    radius, upper, lower = _log_gamma(jnp.stack([(dimension + s) / 2, upper, lower]))
    reflection = jnp.where(right, _log_sine(s / 2) - _log_sine(s / alpha), 0)
    return s * math.log(2) + radius - math.lgamma(dimension / 2) + upper - lower + reflection


def _lines(alpha: Array, dimension: int) -> tuple[Array, np.ndarray]:
    """Real parts c of the lines, and for each which poles it has passed: the tail's, then the origin's."""
    between = 4 + math.ceil(4 * math.sqrt(dimension))
    tail, origin = np.arange(_TAIL_TERMS + 1), np.arange(1, _ORIGIN_TERMS + 1)
    part = (np.linspace(0, 1, between, endpoint=False) ** 2).astype(alpha.dtype)
    middle = 1 - dimension + (dimension + alpha / 2 - 1) * part
    lines = [alpha * (tail + 0.5).astype(alpha.dtype), middle, (1 - dimension - 2 * origin).astype(alpha.dtype)]
    passed = np.zeros((len(tail) + between + len(origin), _TAIL_TERMS + _ORIGIN_TERMS), bool)
    passed[: len(tail), :_TAIL_TERMS] = np.arange(_TAIL_TERMS) < tail[:, None]
    passed[-len(origin) :, _TAIL_TERMS:] = np.arange(_ORIGIN_TERMS) < origin[:, None]
    return jnp.concatenate(lines), passed


def _tail_terms(x: Array, alpha: Array, dimension: int) -> tuple[Array, Array]:
    """Terms of r^(1-d) f_R(r) in r^(-alpha), at x = log r: logarithms, and the signs with their sines."""
    n = np.arange(1, _TAIL_TERMS + 1).astype(alpha.dtype)
    log_gamma = jax.scipy.special.gammaln
    log_size = jnp.log(alpha / math.pi) - log_gamma(n) + n * alpha * (math.log(2) - x) - dimension * x
    log_size += log_gamma((dimension + n * alpha) / 2) - math.lgamma(dimension / 2) + log_gamma(n * alpha / 2)
    sign = np.where(n % 2 == 1, 1, -1).astype(alpha.dtype)
    # sin(pi n alpha/2) by 2 - alpha where that is small: the terms vanish at alpha = 2.
    sine = jnp.where(alpha < 1, sign * jnp.sin(math.pi / 2 * n * alpha), jnp.sin(math.pi / 2 * n * (2 - alpha)))
    return log_size, sine


def _origin_terms(x: Array, alpha: Array, dimension: int) -> tuple[Array, np.ndarray]:
    """Terms of r^(1-d) f_R(r) in r^2, at x = log r: logarithms and signs."""
    m = np.arange(_ORIGIN_TERMS).astype(alpha.dtype)
    power = dimension + 2 * m
    log_gamma = jax.scipy.special.gammaln
    log_size = log_gamma(1 + power / alpha) - log_gamma(1 + power / 2) - log_gamma(1 + m)
    log_size += math.log(2) - math.lgamma(dimension / 2) + 2 * m * x - power * math.log(2)
    return log_size, np.where(m % 2 == 0, 1, -1).astype(alpha.dtype)


def _nodes(alpha: Array, dimension: int) -> Array:
    """Midpoints t of the trapezoidal rule, spaced by alpha/8: a quarter of the nearest pole's distance."""
    count = 320 + 40 * math.ceil(math.sqrt(dimension))
    return alpha / 8 * (np.arange(count) + 0.5).astype(alpha.dtype)


def _log_density(r: Array, alpha: Array, dimension: int) -> Array:
    """log f at one radius."""
    x = jnp.log(jnp.maximum(r, 1e-150 if r.dtype == jnp.float64 else 1e-30))
    fixed = jax.lax.stop_gradient(alpha)
    lines, passed_poles = _lines(fixed, dimension)
    heights = _log_moment(jax.lax.complex(lines, jnp.broadcast_to(fixed / 4, lines.shape)), fixed, dimension).real
    heights -= (lines + dimension) * x
    tail_size, sine = _tail_terms(x, alpha, dimension)
    origin_size, sign = _origin_terms(x, alpha, dimension)
    sizes, signs = jnp.concatenate([tail_size, origin_size]), jnp.concatenate([sine, sign])
    terms = sizes + jnp.log(jnp.abs(signs))
    heights = jnp.maximum(heights, jnp.where(passed_poles, terms, -jnp.inf).max(axis=1))
    best = jnp.argmin(jax.lax.stop_gradient(heights))
    largest, c = jax.lax.stop_gradient(heights[best]), lines[best]
    passed = jnp.asarray(passed_poles)[best]
    sizes, signs = jnp.where(passed, sizes, largest), jnp.where(passed, signs, 0)

    t = _nodes(fixed, dimension)
    s = jax.lax.complex(jnp.broadcast_to(c, t.shape), t)
    log_waves = _log_moment(s, alpha, dimension) - (s + dimension) * x.astype(s.dtype)
    integral = jnp.exp(log_waves - largest.astype(s.dtype)).real.sum() * (t[1] - t[0]) / math.pi
    total = integral + (signs * jnp.exp(sizes - largest)).sum()
    log_surface = math.log(2) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2)
    return jnp.log(jnp.maximum(total, float(jnp.finfo(r.dtype).tiny))) + largest - log_surface


@partial(jax.jit, static_argnames="dimension")
def _log_densities(r: Array, alpha: Array, dimension: int) -> Array:
    shape = jnp.broadcast_shapes(r.shape, alpha.shape)
    density = partial(_log_density, dimension=dimension)
    if alpha.ndim == 0:
        return jax.vmap(density, (0, None))(jnp.broadcast_to(r, shape).reshape(-1), alpha).reshape(shape)
    r, alpha = (jnp.broadcast_to(value, shape).reshape(-1) for value in (r, alpha))
    return jax.vmap(density)(r, alpha).reshape(shape)


def _log_pdf(r: Any, alpha: Any, dimension: int) -> tuple[Array, Array]:
    check_range("alpha", alpha, 0, 2, "(]")
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}.")
    r = jnp.asarray(r)
    r = r if jnp.issubdtype(r.dtype, jnp.floating) else r.astype(jnp.result_type(float))
    if not isinstance(r, Tracer) and bool((r < 0).any()):
        raise ValueError("r must be at least 0, got a negative radius.")
    return r, in_bucket(partial(_log_densities, dimension=dimension), r, jnp.asarray(alpha, r.dtype))


def isotropic_logpdf(r: Any, alpha: Any, dimension: int) -> Float[Array, "..."]:
    """Logarithm of `isotropic_pdf`, for dimensions in which the density itself is out of range.

    Example:
        >>> round(float(isotropic_logpdf(0.0, 2.0, 100)) / 50, 3)  # -log(4 pi)
        -2.531
    """
    return _log_pdf(r, alpha, dimension)[1]


def isotropic_pdf(r: Any, alpha: Any, dimension: int) -> Float[Array, "..."]:
    """Density in R^d, at points x of length r, of the law with characteristic function exp(-|w|^alpha).

    Args:
        r: |x|, at least 0, an array of any shape; its precision is the result's.
        alpha: tail index in (0, 2], a number or an array that broadcasts against r; traced and batched freely.
        dimension: d, at least 1.

    Returns:
        Densities of the broadcast shape. At alpha = 2 those of N(0, 2 I), at alpha = 1 of the Cauchy law
        Gamma((d+1)/2)/(pi (1 + r^2))^((d+1)/2). Differentiable in r and alpha.

    Raises:
        ValueError: an argument out of range.

    Source:
        Module text. E R^s follows from R^2 = 4 A G, A positive stable of index alpha/2 and G ~ Gamma(d/2)
        (Zolotarev 1986, section 2.6 for the moments of A); the series are those of Nolan 2013, section 4.

    Example:
        >>> round(float(isotropic_pdf(1.0, 1.0, 1)) * 3.14159265, 4)
        0.5
    """
    return jnp.exp(isotropic_logpdf(r, alpha, dimension))


def radial_pdf(r: Any, alpha: Any, dimension: int) -> Float[Array, "..."]:
    """Density of the radius |X|: `isotropic_pdf` times the surface 2 pi^(d/2)/Gamma(d/2) r^(d-1) of the sphere.

    Example:
        >>> round(float(radial_pdf(1.0, 1.0, 1)) * 3.14159265, 4)
        1.0
    """
    r, log_density = _log_pdf(r, alpha, dimension)
    log_surface = math.log(2) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2)
    if dimension == 1:
        return jnp.exp(log_density + log_surface)
    positive = r > 0
    log_radius = jnp.log(jnp.where(positive, r, 1))
    return jnp.where(positive, jnp.exp(log_density + log_surface + (dimension - 1) * log_radius), 0)
