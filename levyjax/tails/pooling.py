"""Pooled values: what the estimators of one law are given when the data are a matrix, or dependent."""

import dataclasses
import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.datasets import Result, along
from levyjax.tails.dependence import clustered_sizes, some_columns
from levyjax.tails.moments import stable_scale
from levyjax.tails.order import without_order
from levyjax.tails.values import MINIMUM_VALUES, centred, check_values

MAXIMUM_VALUES = 100_000  # a random part of larger data; the fits then take a few seconds
ROWS_TO_STANDARDIZE = 50
LARGEST_TIE = 0.05  # part of equal values from which no density makes sense
_MATRIX_VALUES = 2**22  # of larger matrices, random columns
_DEPENDENCE = 0.25  # relative growth of a mean's variance, by dependence, that is let pass
_DEPENDENCE_IN_BURSTS = 0.05  # the same of sizes, since the largest are more dependent than their ranks
_FEWEST_TO_JUDGE = 200  # values from which correlation and symmetry are looked at
_RANKED_VALUES = 2**20  # of larger matrices, columns evenly spread
_TIED = 0.02  # part of values that occur twice from which they are taken for rounded
ASYMMETRIC = 1e-5  # p value of the two sides' equality


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled(Result):
    """Values of one law as far as that can be had, in random order, with no exact zeros.

    Attributes:
        values: float64 (n,).
        columns: indices of the columns they are from; None if the columns were not told apart.
        row_variance_ratio: variance of the rows' mean log|x| against that of independent values; None without rows.
        largest_tie: part of the values that equal the most frequent one, before differences took their place (where
            no column is without ties: in the median column).
        every: one of so many values or rows was taken because large ones come in bursts; 1 if they do not.
        notes: sentences on what was done.
    """

    _dims = along({"value": "values", "column": "columns"})

    values: np.ndarray
    columns: np.ndarray | None
    row_variance_ratio: float | None
    largest_tie: float
    every: int
    notes: tuple[str, ...]


def pool(data: np.ndarray, *, center: bool = True, seed: int = 0) -> Pooled:
    """Brings data to one scale, pools and shuffles them, and thins them where rows are dependent.

    Data that were sorted before they were stored are shuffled first.

    With 50 rows or more, every column is centred and divided by its own scale exp(mean log|x|): pooled Gaussians of
    different scales look heavy-tailed. Columns with 5% of equal values are set aside: a parameter that few examples
    reach has the same noise (minus the full gradient) in all other mini-batches, which is no density. The values of a
    row, which is a mini-batch, may share a scale; then only so many of each row are taken that this adds at most a
    quarter to the variance of a mean.

    Args:
        data: finite real numbers, (n,) or (rows, columns).
        center: take the middle (of each column, where columns are told apart) away first.
        seed: of everything random.

    Returns:
        At most 100,000 values and what was done.

    Raises:
        ValueError: fewer than 16 values that are not zero, all are equal, or no column of a matrix varies.

    Source:
        Derived here: the design effect of cluster sampling (Kish 1965), for log|x|.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(100, 5)) * [1.0, 1e-3, 10.0, 0.0, 1.0]
        >>> pooled = pool(noise)
        >>> pooled.values.shape, pooled.columns.tolist()
        ((400,), [0, 1, 2, 4])
    """
    data, order_notes = without_order(data, seed)
    rng, notes = np.random.default_rng(seed), [*order_notes]
    columns = ratio = tie = None
    if data.ndim == 2 and len(data) >= ROWS_TO_STANDARDIZE:
        values, columns, tie = _standardized(data, center, rng, notes)
        values, every = (values, 1) if tie else _decorrelated(values, notes)
        values, ratio = _thinned(values, rng, notes)
        values = values.ravel() if tie else _without_zeros(values.ravel(), notes)
    else:
        values = _few_rows(data, rng, notes) if data.ndim == 2 else data
        values = _unrounded(_without_zeros(values.ravel().astype(np.float64), notes), rng, notes)
        values, every = _decorrelated(values, notes) if data.ndim == 1 else (values, 1)
        values = centred(values, center, keep_zeros=False)
    check_values(values, "data without zeros", minimum=MINIMUM_VALUES)
    if values.size > MAXIMUM_VALUES:
        notes.append(f"A random part of {MAXIMUM_VALUES} of {values.size} values was taken.")
    values = rng.permutation(values)[:MAXIMUM_VALUES]
    tie = tie or largest_tie(values)
    values = _symmetric(values, center, notes) if tie <= LARGEST_TIE else values
    return Pooled(values, columns, ratio, tie, every, tuple(notes))


def _without_zeros(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """The values that are not exactly zero, unless zero is one of many equal values, as of rounded ones or counts."""
    zeros = int((values == 0).sum())
    others = values[values != 0]
    if zeros == 0 or np.ptp(others) == 0 or zeros < 3 * largest_tie(others) * others.size:
        return values
    notes.append(f"{zeros} of {values.size} values are exactly zero and were left out.")
    return values[values != 0]


def _unrounded(values: np.ndarray, rng: np.random.Generator, notes: list[str]) -> np.ndarray:
    """Equal values spread at random over the half gaps to their neighbours, if they are not too many."""
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    tied = counts[place] > 1
    if tied.mean() < _TIED or counts.max() > LARGEST_TIE * values.size or distinct.size < 3:
        return values
    edges = (distinct[1:] + distinct[:-1]) / 2
    edges = np.concatenate([[2 * distinct[0] - edges[0]], edges, [2 * distinct[-1] - edges[-1]]])
    spread = edges[place] + rng.random(values.size) * (edges[place + 1] - edges[place])
    notes.append(
        f"{tied.mean():.0%} of the values occur more than once: they are rounded, and were spread over the gaps."
    )
    return np.where(tied, spread, values)


def _decorrelated(values: np.ndarray, notes: list[str]) -> tuple[np.ndarray, int]:
    """Every m-th value (or row), so that those taken, and their sizes if these come in bursts, are nearly uncorrelated.

    Returns also the m of the sizes, 1 if they do not.
    """
    if len(values) < _FEWEST_TO_JUDGE:
        return values, 1
    what = "values" if values.ndim == 1 else "rows"
    reach, step = _reach_and_step(values, _DEPENDENCE)
    if step > 1:
        notes.append(f"Neighbouring {what} are correlated (up to a distance of {reach}): one of {step} was taken.")
        values = values[::step]
    if not clustered_sizes(values):
        return values, 1
    reach, step = _reach_and_step(np.abs(values - np.median(values, axis=0)), _DEPENDENCE_IN_BURSTS)
    if step > 1:
        sizes = "sizes of neighbours" if values.ndim == 1 else "sizes in neighbouring rows"
        notes.append(
            f"Large values come in bursts: {sizes} are correlated (up to a distance of {reach}). One of {step} {what} "
            "was taken."
        )
    return values[::step], step


def _reach_and_step(values: np.ndarray, allowed: float) -> tuple[int, int]:
    """How far ranks are correlated, and every which value they are nearly not: correlations sum to less than allowed.

    Of (rows, columns) the correlations are those of all columns together.
    """
    matrix, n = some_columns(values.reshape(len(values), -1), _RANKED_VALUES), len(values)
    ranks = np.asarray(scipy.stats.rankdata(matrix, axis=0)) - (n + 1) / 2  # equal values have one rank
    power = (np.abs(np.fft.rfft(ranks, 2 * n, axis=0)) ** 2).sum(axis=1)
    correlation = np.fft.irfft(power)[: n // 4]
    correlation = correlation / correlation[0]
    below = np.flatnonzero(correlation < 2 / math.sqrt(n))
    reach = int(below[0]) if below.size else correlation.size
    steps = (m for m in range(1, reach + 1) if correlation[m:reach:m].sum() < allowed)
    return reach, min(next(steps, max(1, reach)), n // MINIMUM_VALUES)


def _few_rows(data: np.ndarray, rng: np.random.Generator, notes: list[str]) -> np.ndarray:
    """One value of each column where the columns have scales of their own, since its values then share one."""
    notes.append(
        f"Only {len(data)} rows, too few to bring {data.shape[1]} columns to one scale: columns of different "
        "scales look heavy-tailed when pooled."
    )
    logs = np.log(np.where(data != 0, np.abs(data), 1.0))
    ratio = float(logs.mean(axis=0).var() * len(data) / max(logs.var(), 1e-300))
    if len(data) == 1 or ratio < 1 + 5 * math.sqrt(2 / data.shape[1]):
        return data
    notes.append(
        f"The values of one column share a scale (the variance of their mean log is {ratio:.1f} times that of "
        "independent values): one of each was taken, at random."
    )
    return data[rng.integers(len(data), size=data.shape[1]), np.arange(data.shape[1])]


def _symmetric(values: np.ndarray, center: bool, notes: list[str]) -> np.ndarray:
    """The values, around the centre that makes the two sides most alike, or differences of pairs if none does."""
    if values.size < _FEWEST_TO_JUDGE:
        return values
    shift, p_value = most_alike(values, center)
    if p_value > ASYMMETRIC:
        return values - shift
    notes.append(
        f"The values are not symmetric around their centre (p = {p_value:.1g}): the differences of random pairs "
        "were taken, which have the same tail index, and the same verdict."
    )
    even = values.size // 2 * 2
    differences = values[0:even:2] - values[1:even:2]
    return differences[differences != 0]


def most_alike(values: np.ndarray, center: bool = True) -> tuple[float, float]:
    """The centre around which the two sides are most alike, and the p value that they are of one law there.

    The middle is wide of the mark where the law has a sharp peak or a gap, the median where it has a gap, and the
    point between two quantiles where it has a peak: all are tried.
    """
    quantiles = np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9])
    shifts = [0.0, *(((quantiles + quantiles[::-1]) / 2)[:3].tolist() if center else [])]
    p_values = [_alike(values - shift) for shift in shifts]
    best = int(np.argmax(p_values))
    return shifts[best], p_values[best]


def independent_part(data: np.ndarray, seed: int = 0) -> np.ndarray:
    """As many values (n,) of data (n,) or (rows, columns) as may be taken for independent, in random order."""
    rng = np.random.default_rng(seed)
    data = data[:_MATRIX_VALUES] if data.ndim == 1 else some_columns(data, _MATRIX_VALUES)
    values, _ = _decorrelated(data, [])
    if values.ndim == 2:
        values, _ = _thinned(values, rng, [])
    return rng.permutation(values.ravel())[:MAXIMUM_VALUES]


def _alike(values: np.ndarray) -> float:
    """p value that the sizes of the positive and of the negative values are of one law."""
    above, below = values[values > 0], -values[values < 0]
    if min(above.size, below.size) <= MINIMUM_VALUES:
        return 0.0
    sides = scipy.stats.binomtest(above.size, above.size + below.size).pvalue
    sizes: Any = scipy.stats.ks_2samp(above, below, method="asymp")
    return float(min(sides, sizes.pvalue))


def largest_tie(values: np.ndarray) -> float:
    """The part of the values (n,) that equal the most frequent one."""
    return float(np.unique(values, return_counts=True)[1].max() / values.size)


def _standardized(
    data: np.ndarray, center: bool, rng: np.random.Generator, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """The columns that vary and have a density, centred, each divided by its scale; and which they are.

    Where every column that varies has ties, all of these, and the part of the most frequent value in the median one.
    """
    count = max(1, _MATRIX_VALUES // len(data))
    columns = np.sort(rng.permutation(data.shape[1])[:count])
    if count < data.shape[1]:
        notes.append(f"{count} of {data.shape[1]} columns were taken, at random.")
    data = data[:, columns].astype(np.float64)
    ordered = np.sort(data, axis=0)
    living = ordered[0] < ordered[-1]
    if not living.any():
        raise ValueError(f"data hold the same value in every row of all {columns.size} columns. Give values that vary.")
    run = max(1, int(LARGEST_TIE * len(data)))
    tied = living & (ordered[run:] == ordered[:-run]).any(axis=0)
    if (tied == living).all():
        shown = np.flatnonzero(living)[np.linspace(0, living.sum() - 1, min(100, living.sum())).astype(int)]
        tie = float(np.median([largest_tie(data[:, column]) for column in shown]))
        notes.append(
            f"Of {columns.size} columns {(~living).sum()} never vary and the other {living.sum()} all have more than "
            f"{LARGEST_TIE:.0%} of equal values ({tie:.0%} in the median column)."
        )
        return centred(data[:, living], center, keep_zeros=False), columns[living], tie
    kept = living & ~tied
    notes.append(
        f"Of {columns.size} columns {(~living).sum()} never vary and {tied.sum()} have more than "
        f"{LARGEST_TIE:.0%} of equal values; the other {kept.sum()} were each divided by their own scale."
    )
    values = centred(data[:, kept], center)
    return values / np.maximum(stable_scale(values, 1.0), np.finfo(float).tiny), columns[kept], None


def _thinned(values: np.ndarray, rng: np.random.Generator, notes: list[str]) -> tuple[np.ndarray, float]:
    """Of every row as many values, at random, as may be taken for independent: 1 + (m - 1) rho = 1.25.

    rho is the correlation of log|x| within a row, from the variance of the row means,
    (1 + (p - 1) rho)/p of one value's.
    """
    num_columns = values.shape[1]
    logs = np.log(np.where(values != 0, np.abs(values), 1.0))
    logs -= logs.mean(axis=0)
    total = float(logs.var())
    ratio = float(logs.mean(axis=1).var() * num_columns / total) if num_columns > 1 and total > 0 else 1.0
    correlation = max(0.0, (ratio - 1) / max(1, num_columns - 1))
    count = int(1 + _DEPENDENCE / correlation) if correlation > 0 else num_columns
    if count >= num_columns:
        return values, ratio
    notes.append(
        f"The values of one row share a scale: the variance of their mean log is {ratio:.1f} times that of independent "
        f"values. Only {count} of {num_columns} of each row were taken, at random."
    )
    order = rng.random(values.shape).argpartition(count - 1, axis=1)[:, :count]
    return np.take_along_axis(values, order, axis=1), ratio
