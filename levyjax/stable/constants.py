"""Constants of the symmetric and the rotation-invariant stable law."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
import scipy  # its parts load when they are used


def _namespace(*values: Any):
    """NumPy in double precision for plain numbers, jax for its own arrays (so that rates have gradients)."""
    if any(isinstance(value, jax.Array) for value in values):
        return jnp, jax.scipy.special
    return np, scipy.special


def tail_constant(alpha: Any) -> Any:
    """C_alpha, which gives SaS(1) the Lévy density C_alpha |y|^(-1-alpha) and P(|X| > u) ~ (2 C_alpha/alpha) u^-alpha.

    Args:
        alpha: tail index in (0, 2], a number or an array.

    Returns:
        C_alpha = Gamma(1 + alpha) sin(pi alpha/2)/pi, exactly 0 at alpha = 2.

    Source:
        Samorodnitsky and Taqqu 1994, property 1.2.15 (their C_alpha is 2 C_alpha/alpha here).

    Example:
        >>> float(tail_constant(1.5).round(10))
        0.2992067103
    """
    np_, special = _namespace(alpha)
    alpha = np_.asarray(alpha)
    sine = np_.where(alpha < 1, np_.sin(np.pi / 2 * alpha), np_.sin(np.pi / 2 * (2 - alpha)))
    return special.gamma(1 + alpha) * sine / np.pi


def radial_tail_constant(alpha: Any, dimension: Any) -> Any:
    """K_{d,alpha}, which gives the law with characteristic function exp(-|w|^alpha) in R^d nu(|y| > r) = K r^-alpha.

    Args:
        alpha: tail index in (0, 2].
        dimension: d, at least 1.

    Returns:
        K = 2^alpha Gamma((d + alpha)/2)/(Gamma(d/2) Gamma(1 - alpha/2)), exactly 0 at alpha = 2;
        K_{1,alpha} = 2 C_alpha/alpha.

    Source:
        Project |Y| onto one axis: nu(|y_1| > r) = K E|U_1|^alpha r^-alpha must be (2 C_alpha/alpha) r^-alpha, and
        E|U_1|^alpha = Gamma(d/2) Gamma((1+alpha)/2)/(sqrt(pi) Gamma((d+alpha)/2)) on the unit sphere.

    Example:
        >>> bool(abs(radial_tail_constant(1.5, 1) - 2 * tail_constant(1.5) / 1.5) < 1e-12)
        True
    """
    np_, special = _namespace(alpha, dimension)
    alpha = np_.asarray(alpha)
    half = np_.asarray(dimension / 2, (alpha / 2).dtype)
    ratio = np_.exp(special.gammaln(half + alpha / 2) - special.gammaln(half))
    # 1/Gamma(1 - a/2) = (1 - a/2)/Gamma(2 - a/2), which is 0 at alpha = 2 without a pole.
    return 2.0**alpha * ratio * (1 - alpha / 2) / special.gamma(2 - alpha / 2)


def small_jump_variance(alpha: Any, dimension: Any = 1) -> Any:
    """Variance per unit of time of one coordinate of a rotation-invariant L in R^d from its jumps shorter than 1.

    From jumps shorter than r it is r^(2 - alpha) times this. In d = 1 this is 2 C_alpha/(2 - alpha), SaS(1).

    Args:
        alpha: tail index in (0, 2].
        dimension: d, at least 1.

    Returns:
        K_{d,alpha} alpha/(d (2 - alpha)); 2 at alpha = 2, where L is sqrt(2) times a Brownian motion.

    Source:
        Integrate y_1^2 over nu(|y| in dr) = K alpha r^(-1-alpha) dr, E U_1^2 = 1/d; the pole at alpha = 2 is taken
        into Gamma(2 - alpha/2).

    Example:
        >>> [round(float(small_jump_variance(alpha)), 6) for alpha in (2.0, 1.0)]
        [2.0, 0.63662]
    """
    np_, special = _namespace(alpha, dimension)
    alpha = np_.asarray(alpha)
    half = np_.asarray(dimension / 2, (alpha / 2).dtype)
    ratio = np_.exp(special.gammaln(half + alpha / 2) - special.gammaln(half))
    return 2.0**alpha * ratio * alpha / (4 * half * special.gamma(2 - alpha / 2))
