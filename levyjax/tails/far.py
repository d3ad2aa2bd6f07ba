"""The tail alone: over how many of the largest values it is a power law, and whether its index is above 2."""

import dataclasses

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails import columns

_PARTS = (2.5, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
_FEWEST = 25
_STRAIGHT = 1.321  # 5% critical value of A^2 for an exponential law with fitted mean (Stephens 1974)


@dataclasses.dataclass(frozen=True)
class FarTail:
    """Hill's index over the longest straight part of the tail.

    Attributes:
        num_tail: k, how many of the largest |x|; 0 if no part is straight.
        alpha: Hill's index there.
        interval: its 95% interval.
        outer: Hill's index of the outermost values, an eighth of k (25 at least).
        rising: whether the index grows outwards, from a tenth of the values to one of five parts further out, by more
            than three standard errors: a tail lighter than a power law.
        light: whether the moment estimate of the outermost hundredth (50 values at least) is clearly above 2.
    """

    num_tail: int
    alpha: float
    interval: tuple[float, float]
    outer: float
    rising: bool
    light: bool

    @property
    def says(self) -> str | None:
        """ "above" or "below" 2 if the interval and the outer index agree on that, else None."""
        if self.outer > 2 and (self.rising or self.interval[0] > 2):
            return "above"
        if self.light and self.interval[1] > 2:
            return "above"
        return "below" if self.num_tail and self.interval[1] < 2 and self.outer < 2.5 and not self.rising else None


def far_tail(values: np.ndarray) -> FarTail:
    """Looks for the longest part of the tail, of at most 40% of the values, whose logarithm is exponential.

    Args:
        values: (n,), centred.

    Returns:
        What was found; if no part is straight, Hill's index of n/50 values with `num_tail` 0.

    Source:
        Hill 1975. log(X/x_k) of a power-law tail is exponential beyond x_k: tested by Anderson and Darling's distance.

    Example:
        >>> far_tail(1 + np.random.default_rng(0).pareto(1.2, size=10_000)).num_tail
        4000
    """
    logs = np.sort(np.log(np.abs(values[values != 0])))[::-1]
    counts = [int(logs.size / part) for part in _PARTS if logs.size / part >= _FEWEST] or [max(2, logs.size // 3)]
    chosen = next((k for k in counts if _distance(logs[:k] - logs[k]) < _STRAIGHT), 0)
    k = chosen or max(_FEWEST, logs.size // 50)
    k = min(k, logs.size - 1)
    outer_count = min(k, max(_FEWEST, k // 8))
    outer, tenth = _hill(logs, outer_count), max(2, logs.size // 10)
    inner, steps = _hill(logs, tenth), [tenth // 2**j for j in range(2, 7) if tenth // 2**j >= 15]
    rising = any(_hill(logs, count) - inner > 3 * inner / np.sqrt(count) for count in steps)
    low, high = _hill(logs, k) * scipy.stats.chi2.ppf([0.025, 0.975], 2 * k) / (2 * k)
    return FarTail(chosen, _hill(logs, k), (float(low), float(high)), outer, rising, _light(logs))


def _light(logs: np.ndarray) -> bool:
    k = max(2 * _FEWEST, logs.size // 100)
    if k >= logs.size:
        return False
    sizes = np.exp(logs - logs[0])[:, None]
    _, low, _ = columns.moment(sizes, np, num_tail=k)
    return bool(low[0] > 2)


def _hill(logs: np.ndarray, k: int) -> float:
    return float(1 / max((logs[:k] - logs[k]).mean(), 1e-300))


def _distance(spacings: np.ndarray) -> float:
    """A^2 of values against an exponential law of their mean, with Stephens' factor for finite n."""
    z = np.sort(spacings) / max(spacings.mean(), 1e-300)
    odd = 2 * np.arange(1, z.size + 1) - 1
    below = np.log(np.maximum(-np.expm1(-z), 1e-300))
    return float((-z.size - (odd * (below - z[::-1])).mean()) * (1 + 0.6 / z.size))
