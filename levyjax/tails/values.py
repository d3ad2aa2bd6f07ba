"""What an estimator takes and what it returns."""

import dataclasses
from typing import Any

import numpy as np

from levyjax.datasets import Result, along
from levyjax.input import as_array

MINIMUM_VALUES = 16
_ASYMMETRY = 4.0  # in standard errors


@dataclasses.dataclass(frozen=True)
class TailEstimate(Result):
    """A tail index with its 95% interval, how it was obtained, and what to beware of.

    Attributes:
        alpha: the estimate as it comes, not clipped: above 2 it says that no stable law fits; inf where the data
            show no growth at all. An array (p,) for p coordinates, nan for coordinates that never vary.
        interval: [low, high] of 95% for independent values; (p, 2) for p coordinates.
        method: the estimator.
        settings: its settings and what it counted (block length, zeros, values left out, ...).
        n: values used (of each coordinate).
        warnings: sentences; empty if nothing was noticed.
    """

    _dims = along({"column": "alpha interval"})

    alpha: Any
    interval: Any
    method: str
    settings: dict[str, Any]
    n: int
    warnings: tuple[str, ...] = ()


def check_values(data: Any, name: str = "data", *, minimum: int = MINIMUM_VALUES) -> np.ndarray:
    """Holds data as float64 and refuses what no tail index can be estimated from.

    Args:
        data: real numbers, (n,) or (iterations, parameters).
        name: what the message calls them.
        minimum: fewest values allowed.

    Returns:
        The same numbers as float64; an array with a single row or column comes back as (n,).

    Raises:
        ValueError: not real numbers, not one or two axes, empty, too few, not finite, or all equal.

    Example:
        >>> check_values([[1.0, 2.0], [3.0, 5.0]], minimum=4).shape
        (2, 2)
    """
    array = check_shape(data, name)
    if array.size < minimum:
        given = "is empty" if array.size == 0 else f"holds {array.size} values"
        raise ValueError(f"{name} {given}, and at least {minimum} are needed. Give more values.")
    with np.errstate(over="ignore", invalid="ignore"):  # of a longer type than float64: counted as not finite below
        array = array.astype(np.float64)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise ValueError(f"{name} holds {bad} of {array.size} values that are NaN or infinite. Remove them first.")
    if np.all(array == array.flat[0]):
        raise ValueError(f"{name} is constant: all {array.size} values are {array.flat[0]:g}. Give values that vary.")
    return array.ravel() if 1 in array.shape else array


def check_shape(data: Any, name: str = "data") -> np.ndarray:
    """Refuses data that are not real numbers with one or two axes, without reading them."""
    array = as_array(data, name)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}, which holds no real numbers. Save floating-point numbers.")
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {array.shape}. Give (n,) or (iterations, parameters).")
    return array


def equal_values(values: np.ndarray, tie: float) -> str:
    """A sentence on data of which a large part is equal."""
    shown = np.unique(values.ravel()[: 2**20])
    if shown.size <= 2:
        return (
            f"The data hold only the values {' and '.join(f'{value:g}' for value in shown)}, as labels or signs do "
            f"({tie:.0%} equal the more frequent one): they are rounded or discrete, and have no tail to be judged."
        )
    return (
        f"{tie:.0%} of the values equal the most frequent one: the data are rounded or discrete, and no density fits "
        "them."
    )


def tied_threshold(tied: int, num_tail: int) -> list[str]:
    """A warning if so many of the values equal the threshold that the index moves by more than a 20th of its error."""
    if tied <= max(1.0, 0.1 * num_tail**0.5):
        return []
    return [
        f"{tied} values equal the threshold of the {num_tail} largest: they are discrete or rounded, and the index is "
        "off by a part of a step. Use method power_law on whole numbers (rounded values divided by their unit)."
    ]


def middle(values: np.ndarray) -> np.ndarray:
    """The mean of the middle half of each column, the location taken away everywhere here.

    Not the mean: the mean of n stable values is off by n^(1/alpha - 1), which moves every block sum (measured at
    alpha = 1.2, n = 10^4, blocks of 100: the 95% interval of the block estimator then covers 71%). Not the median: it
    is anywhere in the gap of a law without small values, such as Pareto noise with random signs.
    """
    cut = len(values) // 4
    return np.partition(values, [cut, len(values) - cut - 1], axis=0)[cut : len(values) - cut].mean(axis=0)


def centred(values: np.ndarray, center: bool, keep_zeros: bool = True) -> np.ndarray:
    """Brings values to at most 1 in size and takes the middle of each column's nonzero values away.

    Exact zeros (dead parameters) stay zero, for they are no noise, unless `keep_zeros` is False.
    """
    size = np.abs(values).max(axis=0)
    values = values / np.where(size > 0, size, 1.0)
    if not center:
        return values
    if not keep_zeros:
        return values - middle(values)
    if values.ndim == 1:
        return np.where(values != 0, values - middle(values[values != 0]), 0.0)
    location = middle(values)
    for column in np.flatnonzero((values == 0).any(axis=0) & (size > 0)):
        location[column] = middle(values[values[:, column] != 0, column])
    return np.where(values != 0, values - location, 0.0)


def log_abs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log|x|, with 0 in place of log 0, and where x is not zero."""
    nonzero = values != 0
    return np.log(np.where(nonzero, np.abs(values), 1.0)), nonzero


def asymmetry(values: np.ndarray) -> float:
    """How many standard errors the mean lies from the middle (bounded in probability for symmetric laws)."""
    spread = values.std()
    return float(abs(values.mean() - middle(values)) / spread * np.sqrt(values.size)) if spread > 0 else 0.0


def common_warnings(values: np.ndarray, zeros: int, alpha: float, center: bool) -> list[str]:
    """Warnings that every estimator for symmetric stable values shares."""
    warnings = []
    if zeros:
        warnings.append(f"{zeros} of {values.size} values are exactly zero and were left out of the log means.")
    if alpha > 2:
        warnings.append("The index is above 2, where no stable law exists: the variance looks finite.")
    if center and (distance := asymmetry(values)) > _ASYMMETRY:
        warnings.append(
            f"The mean lies {distance:.1f} standard errors from the middle of the values: they are not symmetric, "
            "and an estimator for symmetric noise takes the shift of the centre for a heavy tail."
        )
    return warnings
