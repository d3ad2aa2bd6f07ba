"""The power law from a threshold on, as Clauset, Shalizi and Newman fit it: Pareto's or, for counts, the zeta law."""

import dataclasses
import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails.values import TailEstimate, check_values, tied_threshold

_Z = 1.959964
_FEWEST = 50  # values that a chosen threshold leaves, or half of fewer than 100
_CANDIDATES = 80  # thresholds tried
_COMPARED = 4096  # places at which a law is compared with the data
_OUTER = 4  # the interval takes in that of the outer quarter of the tail
_LARGEST = 100.0  # index of counts that is looked for
_EXPANDED_FROM = 100.0  # on the zeta function is its expansion, with an error below 2e-8 for indices up to 4
_REJECTED = 1.308  # of the modified distance: 1% under an exponential law of fitted rate (Stephens 1974)
_BIASED_FROM = 1.35  # estimates on stable data from which intervals fail to cover
_ON_STABLE = (
    "The largest values are taken for a power law: on symmetric stable data of index 1.5 the 95% interval covered the "
    "index in 88% (n = 1000) and 41% (n = 10,000) of 300 samples (docs/tail_estimators.md)."
)


def power_law(data: Any, x_min: float | None = None, discrete: bool | None = None) -> TailEstimate:
    """Tail index of P(|X| > x) ~ x^-alpha by maximum likelihood from a threshold x_min on, chosen or given.

    Among up to 80 thresholds the one is chosen from which on the fitted law is nearest to the data, by Kolmogorov and
    Smirnov's distance. Fractions are fitted by Pareto's law, whole numbers by the zeta law. The middle is not taken
    away: for one-sided data, such as sizes, counts, degrees and losses. Exact zeros are left out.

    Args:
        data: real numbers (n,), or (iterations, parameters) pooled; their sizes |x| are used.
        x_min: the smallest size that is used; None chooses it, with 50 values or more from there on.
        discrete: whether the data are counts; None says so if all are whole numbers.

    Returns:
        The estimate; this is the index of the distribution function, by 1 smaller than the exponent of the density or
        of the probabilities, which the `powerlaw` package gives. The settings say the threshold, the number of values
        from there on, and the distance. With x_min given the interval is that of an exact power law from there on.
        With x_min chosen it also takes in the interval from the outer quarter of these values: the choice of the
        threshold and a tail that bends would else make it too narrow.

    Raises:
        ValueError: the data are unusable, the threshold leaves too few values, or counts are no whole numbers.

    Source:
        Clauset, Shalizi and Newman 2009; the wider interval: docs/tail_estimators.md.

    Example:
        >>> estimate = power_law(np.random.default_rng(0).zipf(2.5, 20_000))
        >>> bool(abs(estimate.alpha - 1.5) < 0.03), estimate.settings["discrete"]
        (True, True)
    """
    values = check_values(data).ravel()
    sizes = np.abs(values[values != 0])
    whole = bool((sizes % 1 == 0).all())
    if discrete and not whole:
        raise ValueError("data holds fractions, and discrete=True is for whole numbers. Divide by their unit first.")
    tails = Tails.of(sizes, whole if discrete is None else bool(discrete))
    if x_min is None:
        places = tails.candidates()
        thresholds = tails.sizes[places]
    else:
        thresholds = np.array([tails.checked(x_min)])
        places = np.searchsorted(tails.sizes, thresholds)
    indices = tails.fitted(places, thresholds)
    distances = [tails.distance(*each) for each in zip(places, thresholds, indices, strict=True)]
    best = int(np.argmin(distances))
    num_tail, alpha = int(tails.above[places[best]]), float(indices[best])
    low, high = tails.interval(num_tail, thresholds[best], alpha)
    if x_min is None:
        place = tails.leaving(num_tail / _OUTER)
        further = tails.sizes[place]
        outer = tails.interval(int(tails.above[place]), further, float(tails.fitted(place, further)))
        low, high = min(low, outer[0]), max(high, outer[1])
    settings = {
        "x_min": float(thresholds[best]),
        "discrete": tails.counts,
        "num_tail": num_tail,
        "distance": float(distances[best]),
    }
    warnings = _warnings(settings, alpha, bool(values.min() < 0 < values.max()))
    if not tails.counts:
        warnings += tied_threshold(int((sizes == thresholds[best]).sum()), num_tail)
    return TailEstimate(alpha, (low, high), "power_law", settings, values.size, tuple(warnings))


@dataclasses.dataclass(frozen=True)
class Tails:
    """Distinct sizes (m,), rising; how many values have each, lie there or above, and the sum of the logs of these."""

    sizes: np.ndarray
    number: np.ndarray
    above: np.ndarray
    logs: np.ndarray
    counts: bool

    @classmethod
    def of(cls, sizes: np.ndarray, counts: bool) -> "Tails":
        distinct, number = np.unique(sizes, return_counts=True)
        if distinct.size < 2:
            raise ValueError(f"data holds {sizes.size} nonzero values of one size. Give values that vary in size.")
        above, logs = (np.cumsum(part[::-1])[::-1] for part in (number, number * np.log(distinct)))
        return cls(distinct, number, above, logs, counts)

    def checked(self, x_min: Any) -> float:
        """The threshold, if two sizes or more lie there or above."""
        largest = self.sizes[-2]
        fits = (
            isinstance(x_min, int | float | np.integer | np.floating)
            and x_min is not True
            and 0 < x_min <= largest
            and not (self.counts and x_min % 1)
        )
        if not fits:
            what = "a whole number" if self.counts else "a number"
            raise ValueError(f"x_min {x_min} does not fit. Give {what} above 0 and up to {largest:g}, or None.")
        return float(x_min)

    def candidates(self, most: int = _CANDIDATES) -> np.ndarray:
        """Places of thresholds that leave enough values, evenly spread in the log of how many."""
        enough = np.flatnonzero(self.above[:-1] >= min(_FEWEST, self.above[0] // 2))
        if enough.size <= most:
            return enough
        wanted = np.geomspace(self.above[enough[-1]], self.above[enough[0]], most)
        return np.unique([self.leaving(number) for number in wanted])

    def leaving(self, number: float) -> np.intp:
        """The place of the threshold that leaves about so many values, and two sizes or more."""
        return np.abs(self.above[:-1] - number).argmin()

    def fitted(self, places: Any, thresholds: Any) -> np.ndarray:
        """Indices of largest likelihood."""
        mean = self.logs[places] / self.above[places] - np.log(thresholds)
        if not self.counts:
            return 1 / mean
        low, high = np.full_like(mean, 1e-3), np.full_like(mean, _LARGEST)
        for _ in range(50):  # halvings: the slope of the log-likelihood falls
            alpha = (low + high) / 2
            step = 1e-5 * alpha
            slope = (_log_sum(alpha - step, thresholds) - _log_sum(alpha + step, thresholds)) / (2 * step) - mean
            low, high = np.where(slope > 0, alpha, low), np.where(slope > 0, high, alpha)
        return (low + high) / 2

    def distance(self, place: int, x_min: float, alpha: float) -> float:
        """Kolmogorov and Smirnov's distance between law and data from the threshold on."""
        shown = slice(place, None, max(1, (self.sizes.size - place) // _COMPARED))
        sizes, above, number = self.sizes[shown], self.above[shown], self.number[shown]
        at, beyond = _survival(sizes, x_min, alpha, self.counts)
        total = self.above[place]
        return float(max(np.abs(at - above / total).max(), np.abs(beyond - (above - number) / total).max()))

    def interval(self, num_tail: int, x_min: float, alpha: float) -> tuple[float, float]:
        """The 95% interval of so many values of an exact power law, by its information on log alpha."""
        if not self.counts:
            error = 1 / math.sqrt(num_tail)
        else:
            step = 1e-3 * alpha
            around = _log_sum(alpha + step * np.array([-1.0, 0.0, 1.0]), x_min)
            error = 1e-3 / math.sqrt(num_tail * float(around[0] - 2 * around[1] + around[2]))
        return alpha * math.exp(-_Z * error), alpha * math.exp(_Z * error)


def _log_sum(alpha: Any, x_min: Any) -> np.ndarray:
    """log of the sum of (k/x_min)^-(1 + alpha)/x_min over k = x_min, x_min + 1, ...: Hurwitz' zeta function."""
    near = np.minimum(x_min, _EXPANDED_FROM)
    exact = np.log(scipy.special.zeta(1 + alpha, near)) + alpha * np.log(near)
    expanded = np.log1p(alpha / (2 * x_min) + alpha * (1 + alpha) / (12 * x_min**2)) - np.log(alpha)
    return np.where(x_min < _EXPANDED_FROM, exact, expanded)


def _survival(sizes: np.ndarray, x_min: float, alpha: float, counts: bool) -> tuple[np.ndarray, np.ndarray]:
    """P(X >= x) and P(X > x) under the law."""
    if not counts:
        at = np.exp(-alpha * (np.log(sizes) - math.log(x_min)))
        return at, at
    whole = _log_sum(alpha, x_min)
    at, beyond = (
        np.exp(_log_sum(alpha, x) - whole - alpha * (np.log(x) - math.log(x_min))) for x in (sizes, sizes + 1)
    )
    return at, beyond


def rejected(settings: dict[str, Any]) -> bool:
    """Whether the distance is too large for a power law, by Stephens' factor for finite n."""
    n = settings["num_tail"]
    root = math.sqrt(n)
    return (settings["distance"] - 0.2 / n) * (root + 0.26 + 0.5 / root) > _REJECTED


def _warnings(settings: dict[str, Any], alpha: float, two_sided: bool) -> list[str]:
    n, warnings = settings["num_tail"], []
    if rejected(settings):
        warnings.append(
            f"From x_min = {settings['x_min']:g} on the values do not follow a power law (Kolmogorov and Smirnov's "
            f"distance is {settings['distance']:.2g} for {n} values): its index is no tail index."
        )
    if two_sided and not settings["discrete"] and _BIASED_FROM < alpha < 4:
        warnings.append(_ON_STABLE)
    return warnings
