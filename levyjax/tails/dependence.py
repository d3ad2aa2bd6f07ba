"""Whether neighbouring rows, or neighbouring values, depend on each other, and over what distance."""

import dataclasses
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

FALSE_ALARMS = 0.005  # aimed at, and shared by all distances looked at; 0.3% to 0.8% measured from 16 to 10,000 rows
_LONGEST = 16  # distances up to n/16 are looked at
_VALUES = 2**20  # of larger matrices, columns evenly spread
_MOST = 0.9  # part of the correlations that the reach holds
_FEWEST = 8  # rows or values to judge
_WINDOWED = ((32, 8, 8), (128, 32, 32))  # values where a scale may be constant, distances looked at, fewest windows
_WINDOWS, _ORDERS = 2_048, 16  # looked at, and random orders of each that they are compared with
_WINDOWED_VALUES = 2**18  # of larger matrices, columns evenly spread
_CLUSTERED = 1e-4  # false alarms


@dataclasses.dataclass(frozen=True)
class Dependence:
    """Dependence of neighbours.

    Attributes:
        reach: distance within which nine tenths of the correlation lie.
        total: sum of the rank correlations within it; 1 + 2 total neighbours tell as much as one independent one.
    """

    reach: int
    total: float


def dependence(values: np.ndarray, *, tests: int = 1, longest: int | None = None) -> Dependence | None:
    """Dependence of neighbouring rows (or of neighbouring values, of data with one axis), if it is significant.

    Two series are looked at: the mean over a row of the ranks within each column, and of their distances from the
    median rank, so that shared signs and shared sizes are both seen. Each is brought to ranks itself, and its
    correlations are summed over the distances up to 1, 2, 4, ..., n/16. For independent rows each sum is normal with
    variance (distances)/n, whatever the law of a row and however dependent its values are.

    Args:
        values: (n,) or (rows, columns).
        tests: how many tests share the false alarms.
        longest: distance to look at; default n/16.

    Returns:
        The dependence, or None where no sum lies as far out as 0.5% of false alarms for all of them allow.

    Source:
        Sums of rank correlations: Wald and Wolfowitz 1943, Bonferroni's bound over the sums. Derived here.

    Example:
        >>> steps = np.random.default_rng(0).normal(size=2_000)
        >>> dependence(steps) is None, dependence(np.convolve(steps, np.ones(10))).reach > 3
        (True, True)
    """
    if len(values) < _FEWEST:
        return None
    longest = max(1, min(longest or len(values), len(values) // _LONGEST))
    sums = np.stack([_summed_correlations(series, longest) for series in _series(values)])
    reaches = 2 ** np.arange(sums.shape[1])
    bound = scipy.stats.norm.isf(FALSE_ALARMS / tests / sums.size / 2)
    if (np.abs(sums) <= bound * np.sqrt(reaches / len(values))).all():
        return None
    strongest = sums[sums.max(axis=1).argmax()]
    index = int(np.flatnonzero(strongest >= min(_MOST * strongest.max(), strongest.max()))[0])
    return Dependence(int(reaches[index]), float(strongest[index]))


def clustered_sizes(values: np.ndarray) -> bool:
    """Whether large values come in bursts: whether sizes depend on those next to them, beyond shared scales.

    Within windows of 32 (128) values, the rank correlations of |x - median| over the distances 1 to 8 (32) are summed
    and compared with those of random orders of the same windows. Long stretches that each have a scale of their own
    (the layers of a network, stored one after the other) differ from these only in the few windows where one stretch
    ends, which a test by ranks does not notice; a volatility that moves from value to value does in all of them.

    Args:
        values: (n,) or (rows, columns). Rows are put in random order whole: their columns may be dependent.

    Returns:
        Whether it is so, with 1 in 10,000 false alarms for values that are exchangeable within the windows.

    Source:
        Mann and Whitney 1947, of permuted windows (Fisher 1935). Derived here.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> volatility = np.exp(np.convolve(rng.normal(size=2_009), np.ones(10) / 3, "valid"))
        >>> clustered_sizes(rng.normal(size=2_000)), clustered_sizes(volatility * rng.normal(size=2_000))
        (False, True)
    """
    matrix = some_columns(values.reshape(len(values), -1), _WINDOWED_VALUES)
    sizes = np.abs(matrix - np.median(matrix, axis=0))
    return any(_clustered(sizes, *windowed) for windowed in _WINDOWED)


def _clustered(sizes: np.ndarray, window: int, longest: int, fewest: int) -> bool:
    count = len(sizes) // window
    if count < fewest:
        return False
    windows = sizes[: count * window].reshape(count, window, -1)
    windows = windows[np.linspace(0, count - 1, min(count, _WINDOWS)).astype(int)]
    ranks = np.asarray(scipy.stats.rankdata(windows, axis=1)) - (window + 1) / 2
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(window), (_ORDERS, len(ranks), 1)), axis=2)
    shuffled = (np.take_along_axis(ranks, order[:, :, None], axis=1) for order in orders)
    own, *others = (_near_products(part, longest) for part in (ranks, *shuffled))
    test: Any = scipy.stats.mannwhitneyu(own, np.concatenate(others), alternative="greater", method="asymptotic")
    return bool(test.pvalue < _CLUSTERED / len(_WINDOWED))


def _near_products(ranks: np.ndarray, longest: int) -> np.ndarray:
    """The sum of r(i) r(i + lag) over lags up to the longest, i, and columns, for each window."""
    sums = np.cumsum(ranks, axis=1)
    before = np.concatenate([np.zeros_like(sums[:, :1]), sums], axis=1)  # up to, but not including, i
    starts = np.maximum(np.arange(ranks.shape[1]) - longest, 0)
    return (ranks * (before[:, :-1] - before[:, starts])).sum(axis=(1, 2))


def some_columns(matrix: np.ndarray, most: int) -> np.ndarray:
    """Columns evenly spread, as many as hold so many values."""
    count = max(1, most // len(matrix))
    return matrix[:, np.linspace(0, matrix.shape[1] - 1, min(count, matrix.shape[1])).astype(int)]


def _series(values: np.ndarray) -> list[np.ndarray]:
    """The signed and the unsigned ranks of the rows, (n,) each."""
    matrix = some_columns(values.reshape(len(values), -1), _VALUES)
    ranks = np.asarray(scipy.stats.rankdata(matrix, axis=0)) - (len(matrix) + 1) / 2
    return [np.asarray(scipy.stats.rankdata(part.mean(axis=1))) for part in (ranks, np.abs(ranks))]


def _summed_correlations(series: np.ndarray, longest: int) -> np.ndarray:
    """Sums of the correlations at the distances up to 1, 2, 4, ..., without their bias of -1/n each."""
    n = series.size
    centred = series - series.mean()
    products = np.fft.irfft(np.abs(np.fft.rfft(centred, 2 * n)) ** 2)[: longest + 1]
    sums = np.cumsum(products[1:] / max(products[0], np.finfo(float).tiny) + 1 / n)
    return sums[2 ** np.arange(longest.bit_length()) - 1]
