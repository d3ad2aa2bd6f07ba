"""When a small-noise rate may be believed."""

import math
from functools import lru_cache

import numpy as np
import scipy  # its parts load when they are used

from levyjax.stable import tail_constant

MAX_BIAS = 0.02  # a prediction is called valid where the known bias of the limit is below this part
MAX_ERROR = 0.008  # and the standard error of its rate below this one


@lru_cache(maxsize=256)
def bias_constant(alpha: float) -> float:
    """c in E Gamma ~ (1 - c/kappa)/rate for dX = -k X dt + epsilon dL on (-1, 1), kappa = k epsilon^-alpha.

    Args:
        alpha: tail index in (0, 2).

    Returns:
        c = (C_alpha/alpha) int_0^1 g(s) (s^-alpha - 1)/s ds, g(s) = (1-s)^-alpha + (1+s)^-alpha - 2.

    Source:
        After a jump to y inside, the path returns as y exp(-k t), and while it is at z the exit hazard is
        (C/alpha) epsilon^alpha [(1-z)^-alpha + (1+z)^-alpha] instead of its value at 0. The excess, integrated along
        the return (ds/(k s)) and over the jumps (C |y|^(-1-alpha) dy), adds c/kappa to the rate at first order.
        Simulation gives 0.8, 1.6 and 3.3 at alpha = 1.2, 1.5 and 1.8.

    Example:
        >>> round(bias_constant(1.5), 3)
        1.615
    """

    def half(power: float) -> tuple[np.ndarray, np.ndarray]:
        """Nodes t in (0, 1/2) and weights of t^power."""
        x, weights = scipy.special.roots_jacobi(20, 0.0, power)
        return (1 + x) / 4, weights * 0.25 ** (1 + power)

    def of_square(t: np.ndarray) -> np.ndarray:
        """g(t)/t^2, a smooth function."""
        return ((1 - t) ** -alpha + (1 + t) ** -alpha - 2) / t**2

    # t^(1-alpha) times a smooth function f has the integral of f(0) by itself, without bound as alpha tends to 2
    whole, (t, weights) = 0.5 ** (2 - alpha) / (2 - alpha), half(2 - alpha)
    start, linear = alpha * (alpha + 1), half(1.0)  # start: g/t^2 at 0
    lower = start * whole + weights @ ((of_square(t) - start) / t) - linear[1] @ of_square(linear[0])
    # near 1, with t = 1 - s: the first part of g is t^(1-alpha) times a smooth function, the others are smooth
    upper = alpha * whole
    upper += weights @ ((-np.expm1(alpha * np.log1p(-t)) / t * (1 - t) ** (-1 - alpha) - alpha) / t)
    t, weights = half(0.0)
    upper += weights @ (((2 - t) ** -alpha - 2) * (1 - (1 - t) ** alpha) * (1 - t) ** (-1 - alpha))
    return float(tail_constant(alpha) / alpha * (lower + upper))


def next_order(alpha: float) -> float:
    """How much larger than the bias at first order it is at most, as a part of it: a third at alpha = 1.9.

    Source:
        Intervals with the minimum in the middle and off it, beside `interval_reference`, at a bias of 2%: 0.01, 0.03,
        0.09, 0.17, 0.32 and 0.45 at alpha = 1.2, 1.5, 1.7, 1.8, 1.9 and 1.95.
    """
    return min(0.035 / (2 - alpha), 0.5) if alpha < 2 else 0.5


def adam_noise_level_limit(
    hessian_min: float, v_max: float, beta1: float, beta2: float, loss_gap: float, epsilon: float = 1e-8, tau: float = 1
) -> float:
    """The noise level below which the paper's condition for Adam holds (D9).

    Args:
        hessian_min: mu, smallest curvature.
        v_max: largest sqrt(v_i) along the path.
        beta1, beta2: as rates, as in the paper.
        loss_gap: Delta = F(start) - F(x*).
        epsilon: Adam's epsilon0.
        tau: the constant of Assumption 2, at most 1.

    Returns:
        The largest epsilon from which down ln(2 Delta/(mu epsilon^(1/3))) <= kappa_2 epsilon^(-1/3) holds, with
        kappa_2 = 2 mu tau (beta1 - beta2/4)/(beta1 (v_max + epsilon0) + mu tau); inf where it always holds.

    Source:
        Zhou et al. 2020, Theorem 1 and the constants above it.

    Example:
        >>> adam_noise_level_limit(1.0, 100.0, 0.9, 0.999, 1.0) < 1e-6
        True
    """
    rate = adam_rate(hessian_min, tau, v_max, beta1, beta2, epsilon)
    return math.inf if loss_gap <= 0 else largest_noise_level(rate, hessian_min, loss_gap)


def adam_rate(
    strong_convexity: float, tau: float, v_max: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> float:
    """kappa_2 of Theorem 1 for Adam: 2 mu tau/(beta1 (v_max + epsilon) + mu tau) (beta1 - beta2/4).

    The loss of the noise-free flow falls as exp(-kappa_2 t) by the supplement's Theorem 4. (For SGD kappa_2 = 2 mu.)

    Args:
        strong_convexity: mu of Assumption 1.
        tau: of Assumption 2.
        v_max: of Assumption 2.
        beta1: as a rate.
        beta2: as a rate.
        epsilon: in the denominator.

    Returns:
        The rate; not positive where mu, tau or beta1 - beta2/4 is not.

    Source:
        Zhou et al. 2020, before Theorem 1. (Its proof takes |m hat|^2 >= tau |grad F|^2 where the assumption gives
        tau^2: below tau = 1 the rate that is proved is smaller still.)

    Example:
        >>> round(adam_rate(1.0, 1.0, 329.0), 5)  # the bounds of their Figure 2, with mu = 1
        0.00438
    """
    return 2 * strong_convexity * tau / (beta1 * (v_max + epsilon) + strong_convexity * tau) * (beta1 - beta2 / 4)


def largest_noise_level(rate: float, strong_convexity: float, loss_gap: float) -> float:
    """The largest eps_0 such that every noise level up to it meets ln(2 Delta/(mu eps^(1/3))) <= kappa_2 eps^(-1/3).

    Args:
        rate: kappa_2.
        strong_convexity: mu.
        loss_gap: Delta = F at the start - F at the minimum, positive.

    Returns:
        eps_0; inf where every noise level meets it, 0 where none does (mu or kappa_2 not positive).

    Raises:
        ValueError: the gap is not positive.

    Source:
        The condition: Zhou et al. 2020, Theorem 1. With u = eps^(-1/3) it is ln(a u) <= kappa_2 u, a = 2 Delta/mu,
        whose larger root is -W_-1(-kappa_2/a)/kappa_2, W_-1 the lower branch of Lambert's function.

    Example:
        >>> print(f"{largest_noise_level(adam_rate(1.0, 1.0, 329.0), 1.0, 1.0):.1e}")
        1.5e-10
    """
    if not loss_gap > 0:
        raise ValueError(f"loss_gap {loss_gap} is no height of a basin. Give a positive number.")
    if not (rate > 0 and strong_convexity > 0):
        return 0.0
    quotient = rate * strong_convexity / (2 * loss_gap)
    if quotient >= 1 / math.e:
        return math.inf
    return float((-scipy.special.lambertw(-quotient, -1).real / rate) ** -3.0)


NO_DRIFT = (
    "There is no restoring drift in some direction (kappa = 0: the Hessian is not positive definite, so that this is "
    "no isolated minimum): exits are not rare events and have no small-noise rate."
)


def limit_reasons(kappa: float, bias: tuple[float, float], chain: bool = False) -> list[str]:
    """Why the small-noise limit is not reached, in a sentence; nothing where it is.

    Args:
        kappa: of the worst direction.
        bias: by what part exits come sooner than in the limit, and the error of that.
        chain: whether the limit is a chain of wells.
    """
    size, error = abs(bias[0]), bias[1]
    if size + error <= MAX_BIAS:
        return []
    shorter = size / (1 + size) if bias[0] > 0 else size
    change = f"about {100 * shorter:.2g}%" if size < 0.5 else "much"
    side = "shorter" if bias[0] > 0 else "longer"
    limit = "chain of wells" if chain else "limit"
    most = f"up to {100 * (size + error):.2g}%"
    sure = f" (by a sample, or {most})" if size <= 2 * error else f" (or {most})" if size <= MAX_BIAS else ""
    times = f"mean exit times are {change}{sure} {side} than"
    if size < error:  # not even the side is known
        times = f"mean exit times may be {most} shorter or longer than"
    return [f"kappa = {kappa:.3g} is too low: at this noise level {times} the small-noise {limit} given here."]
