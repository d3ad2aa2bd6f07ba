"""Which estimator data call for, where none is named: by their symmetry, and by whether its law fits them."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails.extremes import moment
from levyjax.tails.laws import fit_law
from levyjax.tails.likelihood import maximum_likelihood
from levyjax.tails.moments import characteristic_function
from levyjax.tails.pooling import ASYMMETRIC, independent_part, most_alike
from levyjax.tails.power_law import power_law, rejected
from levyjax.tails.values import TailEstimate

_Z = 1.959964
_FEWEST_TO_JUDGE = 40  # values from which the two sides are compared
_ASYMMETRIC_IF_ONE_SIDED = 1e-2  # p value of the two sides' equality, where the signs speak against it
_FITS, _MAY_FIT = 1e-2, 1e-3  # p values of the stable law below which it is warned of, and refused
_CLOSE = 3.0  # of log-likelihood, by which Student t may be behind and still be taken for the law
_SAME_SHAPE = 1.3, 1.4  # values of A^2 that 0.2% of normal and extreme-value samples exceed (of 8000 and 4000)
_BENT = 2.5, 4.0  # standard errors from which a bend is warned of, and refused where the tail gets lighter
_FEWEST_OUTER, _FEW = 30, 1_000  # values of the tail whose index is looked at, and that show a bend
_NAME_ONE = "Audit them, or name a method."


@dataclasses.dataclass(frozen=True)
class Choice:
    """An estimator, why it was chosen, and warnings."""

    function: Callable[..., TailEstimate]
    reason: str = ""
    warnings: tuple[str, ...] = ()


def choose(values: np.ndarray) -> Choice:
    """The estimator for data of which nothing is known.

    Args:
        values: (n,) or (rows, columns), checked.

    Returns:
        Maximum likelihood for symmetric data, the power law for one-sided ones, the characteristic function for
        others; with a warning where its law fits badly.

    Raises:
        ValueError: one-sided data do not look like a power law, or skewed two-sided ones like no stable law.
    """
    part, one_sided = independent_part(values), bool(values.min() >= 0 or values.max() <= 0)
    shift, alike = most_alike(part) if part.size >= _FEWEST_TO_JUDGE or one_sided else (0.0, 1.0)
    if alike > (_ASYMMETRIC_IF_ONE_SIDED if one_sided else ASYMMETRIC):
        return Choice(maximum_likelihood, "The values are symmetric.", _doubts(part - shift, "the values")[1])
    if one_sided:
        return Choice(_power_law_about_any_zero, "The values are one-sided.", _tail_doubts(part))
    even = part.size // 2 * 2
    p_value, doubts = _doubts(part[0:even:2] - part[1:even:2], "differences of the values")
    if p_value < _MAY_FIT:
        raise ValueError(
            f"data are not symmetric, and no stable law fits differences of them (p = {p_value:.1g}). {_NAME_ONE}"
        )
    if not doubts and part.size < _FEW:
        doubts = (f"Only {part.size} values: too few to show whether they are of a skewed stable law.",)
    return Choice(characteristic_function, "The values are two-sided and not symmetric.", doubts)


def _doubts(values: np.ndarray, what: str) -> tuple[float, tuple[str, ...]]:
    """The p value of the symmetric stable law, and a warning if it is low or Student's law does as well."""
    try:
        stable, student = fit_law(values, "stable"), fit_law(values, "student_t")
    except ValueError:  # half of the values are equal
        return 0.0, ("Half of the values are equal, so no stable law fits them.",)
    if stable.p_value < _FITS:
        text = (
            f"No stable law fits {what} (p = {stable.p_value:.1g}): the index is that of a law that they do not have."
        )
        return stable.p_value, (text,)
    ahead = stable.log_likelihood - student.log_likelihood
    error = stable.shape * (2 - stable.shape) / math.sqrt(values.size)
    if ahead < _CLOSE and abs(min(student.shape, 2.0) - stable.shape) > max(error, 0.01):
        text = (
            f"A Student t law of tail index {student.shape:.2f} fits {what} as well as a stable one of "
            f"{stable.shape:.2f} (log-likelihood {-ahead:+.1f}): the index holds only if they are stable."
        )
        return stable.p_value, (text,)
    return stable.p_value, ()


def _tail_doubts(values: np.ndarray) -> tuple[str, ...]:
    """Warnings of one-sided values, whose logarithms are neither normal nor those of exponential ones.

    Raises:
        ValueError: they are, or the largest values show no power law.
    """
    sizes = np.abs(values[values != 0])
    if (sizes % 1 == 0).all():
        sizes = sizes - np.random.default_rng(0).random(sizes.size)  # whole numbers are spread over the unit below
    logs = np.sort(np.log(sizes))
    if _normal(logs) < _SAME_SHAPE[0]:
        raise _no_power_law("their logarithms look normal")
    if _least_extreme(logs) < _SAME_SHAPE[1]:
        raise _no_power_law("they look exponential, or like a power of exponential values")
    count = min(int(power_law(sizes).settings["num_tail"]), sizes.size - 1)
    if math.isinf(moment(sizes, num_tail=count, center=False).interval[1]):
        raise _no_power_law("the largest of them do not tell a power law from a lighter tail")
    if rejected(settings := power_law(values).settings):
        raise _no_power_law("from no threshold on they follow a power law")
    inner, outer, errors = _bend(logs[::-1], count)
    if outer > inner and errors > _BENT[1]:
        raise _no_power_law(f"their index rises outwards from {inner:.2f} to {outer:.2f}, as that of a lighter tail")
    if errors > _BENT[0]:
        return (f"The index changes outwards, from {inner:.2f} to {outer:.2f}: it may go on so.",)
    if (used := int(settings["num_tail"])) < _FEW:
        return (f"Only {used} values are in the tail: too few to show whether it bends further out.",)
    return ()


def _no_power_law(what: str) -> ValueError:
    return ValueError(f"data are one-sided, and {what}. They show no tail index. {_NAME_ONE}")


def _bend(falling: np.ndarray, count: int) -> tuple[float, float, float]:
    """Hill's index of the tail, of the outer part that differs from it most, and by how many standard errors."""
    inner, worst = _hill(falling, count), (0.0, 0.0)
    while (count := count // 2) >= _FEWEST_OUTER:
        further = _hill(falling, count)
        worst = max(worst, (abs(math.log(further / inner)) * math.sqrt(count), further))
    return inner, worst[1], worst[0]


def _hill(falling: np.ndarray, count: int) -> float:
    return float(1 / max((falling[:count] - falling[count]).mean(), 1e-9))


def _power_law_about_any_zero(data: Any, **settings: Any) -> TailEstimate:
    """The power law, its interval widened by that of a power law in x - c for any c: where the data begin is not known.

    Its law of (x - x_min)/x_min is 1 - (1 + theta y)^(-1/gamma), the generalised Pareto law; at the theta of largest
    likelihood gamma is the mean of log(1 + theta y).
    """
    found = power_law(data, **settings)
    if "x_min" in settings or found.settings["discrete"]:
        return found
    excess = np.abs(np.asarray(data).ravel()) / found.settings["x_min"] - 1
    excess = excess[excess >= 0]

    def loss(log_theta: float) -> float:
        gamma = float(np.log1p(math.exp(log_theta) * excess).mean())
        return math.log(gamma) - log_theta + gamma

    theta = math.exp(scipy.optimize.minimize_scalar(loss, bounds=(-8.0, 8.0), method="bounded").x)
    gamma = float(np.log1p(theta * excess).mean())
    half = _Z * (1 + gamma) / math.sqrt(excess.size)
    low, high = found.interval
    low, high = min(low, 1 / (gamma + half)), max(high, 1 / (gamma - half) if gamma > half else math.inf)
    return dataclasses.replace(found, interval=(low, high))


def _normal(rising: np.ndarray) -> float:
    """A^2 of values against a normal law of their mean and deviation."""
    z = (rising - rising.mean()) / rising.std(ddof=1)
    n = rising.size
    return _distance(scipy.stats.norm.logcdf(z), scipy.stats.norm.logsf(z)) * (1 + 0.75 / n + 2.25 / n**2)


def _least_extreme(rising: np.ndarray) -> float:
    """A^2 of values against the law of logarithms of exponential ones, fitted by maximum likelihood."""
    z = (rising - rising[-1]) / rising.std()

    def slope(scale: float) -> float:
        weights = np.exp(z / scale)
        return float((weights @ z) / weights.sum() - scale - z.mean())

    scale = float(scipy.optimize.brentq(slope, 1e-4, 20.0))
    law = scipy.stats.gumbel_l(scale * math.log(np.exp(z / scale).mean()), scale)
    return _distance(law.logcdf(z), law.logsf(z)) * (1 + 0.2 / math.sqrt(rising.size))


def _distance(log_below: np.ndarray, log_above: np.ndarray) -> float:
    odd = 2 * np.arange(1, log_below.size + 1) - 1
    return float(-log_below.size - (odd * (log_below + log_above[::-1])).mean())
