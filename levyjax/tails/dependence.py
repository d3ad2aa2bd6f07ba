"""Whether neighbouring rows, or neighbouring values, depend on each other, and over what distance."""

import dataclasses

import numpy as np
import scipy  # its parts load when they are used

FALSE_ALARMS = 0.005  # aimed at, and shared by all distances looked at; 0.3% to 0.8% measured from 16 to 10,000 rows
_LONGEST = 16  # distances up to n/16 are looked at
_VALUES = 2**20  # of larger matrices, columns evenly spread
_MOST = 0.9  # part of the correlations that the reach holds
_FEWEST = 8  # rows or values to judge


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


def _series(values: np.ndarray) -> list[np.ndarray]:
    """The signed and the unsigned ranks of the rows, (n,) each."""
    matrix = values.reshape(len(values), -1)
    count = max(1, _VALUES // len(matrix))
    if count < matrix.shape[1]:
        matrix = matrix[:, np.linspace(0, matrix.shape[1] - 1, count).astype(int)]
    ranks = np.asarray(scipy.stats.rankdata(matrix, axis=0)) - (len(matrix) + 1) / 2
    return [np.asarray(scipy.stats.rankdata(part.mean(axis=1))) for part in (ranks, np.abs(ranks))]


def _summed_correlations(series: np.ndarray, longest: int) -> np.ndarray:
    """Sums of the correlations at the distances up to 1, 2, 4, ..., without their bias of -1/n each."""
    n = series.size
    centred = series - series.mean()
    products = np.fft.irfft(np.abs(np.fft.rfft(centred, 2 * n)) ** 2)[: longest + 1]
    sums = np.cumsum(products[1:] / max(products[0], np.finfo(float).tiny) + 1 / n)
    return sums[2 ** np.arange(longest.bit_length()) - 1]
