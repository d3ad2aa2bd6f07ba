"""The tail index by maximum likelihood under the symmetric stable law."""

import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails import density
from levyjax.tails.laws import StandardFit, fit_standard
from levyjax.tails.moments import lowest, near_two
from levyjax.tails.values import TailEstimate, check_values, common_warnings, middle

_Z = 1.959964
_ALLOWED = 1.920729  # of log-likelihood, by which a value within a 95% interval may fall short: chi-squared/2


def maximum_likelihood(data: Any) -> TailEstimate:
    """Tail index, location and scale of largest likelihood under the symmetric stable law.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled.

    Returns:
        The estimate, from 0.4 to 1.9995 (then shown as 2), with location and scale in the settings, in the unit of the
        data. The interval is from the scores of the values, on the scale of log(alpha/(2 - alpha)); it reaches 2 where
        the Gaussian law is within it by its likelihood.

    Raises:
        ValueError: the data are unusable, or half of them are equal.

    Source:
        DuMouchel 1973; the density: `levyjax.tails.density`.

    Example:
        >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
        >>> bool(abs(maximum_likelihood(cauchy).alpha - 1) < 0.05)
        True
    """
    raw = check_values(data).ravel()
    size = float(np.abs(raw).max())
    values = raw / size
    location = float(middle(values))
    unit = float(np.median(np.abs(values - location)))
    if unit == 0:
        raise ValueError("data has half of its values equal, so no density fits it. Leave the zeros out.")
    fit = fit_standard((values - location) / unit, "stable")
    alpha, interval = _interval(fit, raw.size)
    if fit.log_likelihood - fit_standard((values - location) / unit, "gaussian").log_likelihood < _ALLOWED:
        interval = (interval[0], 2.0)
    settings = {"location": size * (location + unit * fit.location), "scale": size * unit * fit.scale}
    warnings = common_warnings(values, 0, alpha, center=True) + near_two(alpha) + lowest(alpha)
    return TailEstimate(alpha, interval, "maximum_likelihood", settings, raw.size, tuple(warnings))


def _interval(fit: StandardFit, n: int) -> tuple[float, tuple[float, float]]:
    assert fit.covariance is not None
    if fit.shape >= density.HIGHEST:
        return 2.0, (max(0.0, 2 - 6 / math.sqrt(n)), 2.0)
    if fit.shape <= density.LOWEST:
        return fit.shape, (0.0, density.LOWEST + 6 / math.sqrt(n))
    place, half = float(fit.at[2]), _Z * math.sqrt(fit.covariance[2, 2])
    return fit.shape, (2 * float(scipy.special.expit(place - half)), 2 * float(scipy.special.expit(place + half)))
