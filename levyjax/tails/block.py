"""The block log-moment estimator, which the paper uses, with an interval."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails.values import TailEstimate, centred, check_values, common_warnings, log_abs

METHOD = "block_log_moment"
_COLUMNS = 2**20  # values handled at a time by `per_coordinate`
_FEW_BLOCKS = 20


def block_log_moment(data: Any, *, block_length: int | None = None, center: bool = True) -> TailEstimate:
    """Tail index by the block log-moment estimator: how fast sums of K1 neighbours grow with K1.

    1/alpha = (mean log|sum of a block| - mean log|x|)/log K1, unbiased for 1/alpha if the values are independent,
    symmetric stable and centred. It checks none of that: see `block_length_sweep`, `shuffle_test` and `audit`.

    Args:
        data: real numbers (n,), in the order whose neighbours are summed; (iterations, parameters) is taken row by
            row, as the paper's code takes it.
        block_length: K1, from 2 to n/2. Default: the largest divisor of n not above sqrt(n), as the paper's code has
            it, unless that is below sqrt(n)/2 (for a prime n it is 1); then floor(sqrt(n)), and the values that fill
            no block are left out, with a warning.
        center: take the middle (the mean of the middle half of the values) away first. False for noise whose mean is
            zero by construction.

    Returns:
        The estimate. The interval is from the scatter over the blocks of both log means together, which are
        correlated, through Student's t: honest for independent blocks, whatever the law.

    Raises:
        ValueError: the data are unusable or the block length does not fit.

    Source:
        Mohammadi, Mohammadpour and Ogata 2015, Corollary 2.4; used by Simsekli, Sagun and Gurbuzbalaban 2019 and by
        Zhou et al. 2020. Their code adds a tiny number to |x| inside the logarithm, which makes a few exact zeros
        look like a heavy tail; here zeros are left out and counted.

    Example:
        >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
        >>> estimate = block_log_moment(cauchy)
        >>> estimate.settings["block_length"], bool(estimate.interval[0] < 1 < estimate.interval[1])
        (100, True)
    """
    data = check_values(data).ravel()
    values = centred(data, center)
    length = _block_length(values.size, block_length)
    num_blocks = values.size // length
    used = values[: length * num_blocks]
    inverse, error = inverse_alpha(used[:, None], length)
    alpha, interval = _invert(inverse, error, num_blocks)
    if not math.isfinite(inverse[0]):
        if np.unique(data[: 2**20]).size <= 2:
            raise ValueError(f"data holds only the values {data.min():g} and {data.max():g}. Give values that vary.")
        raise ValueError("data sums to zero in every block. Shuffle the values or give another block length.")
    zeros = int((data[: used.size] == 0).sum())
    warnings = common_warnings(used, zeros, float(alpha[0]), center)
    if values.size > used.size:
        warnings.append(f"The last {values.size - used.size} of {values.size} values fill no block and were left out.")
    if num_blocks < _FEW_BLOCKS:
        warnings.append(f"Only {num_blocks} blocks: the interval is rough.")
    settings = {"block_length": length, "num_blocks": num_blocks, "center": center, "zeros": zeros}
    ends = (float(interval[0, 0]), float(interval[0, 1]))
    return TailEstimate(float(alpha[0]), ends, METHOD, settings, used.size, tuple(warnings))


def block_log_moment_as_published(data: Any) -> TailEstimate:
    """The block log-moment estimator exactly as the paper's released code computes it.

    The values are taken as they lie, not centred; K1 is the largest divisor of n not above sqrt(n); a tiny number is
    added to every |x| inside the logarithm, so that exact zeros look like a heavy tail.

    Args:
        data: real numbers (n,); (iterations, parameters) row by row.

    Returns:
        The estimate; the interval is `block_log_moment`'s, for independent blocks.

    Raises:
        ValueError: the data are unusable, or n is prime, where the code divides by log 1.

    Source:
        The released code of Zhou et al. 2020, after that of Simsekli, Sagun and Gurbuzbalaban 2019.

    Example:
        >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
        >>> block_log_moment_as_published(cauchy).settings["block_length"]
        100
    """
    values = check_values(data).ravel()
    length = next(k for k in range(math.isqrt(values.size), 0, -1) if values.size % k == 0)
    if length == 1:
        raise ValueError(f"data holds {values.size} values, a prime number, which has no blocks. Leave one value out.")
    growth = _published_growth(values.reshape(-1, length))
    inverse, error = growth.mean(keepdims=True), growth.std(ddof=1, keepdims=True) / math.sqrt(growth.size)
    alpha, interval = _invert(inverse, error, growth.size)
    zeros = int((values == 0).sum())
    warnings = [f"{zeros} of {values.size} values are exactly zero and count as 2.2e-16."] if zeros else []
    settings = {"block_length": length, "num_blocks": growth.size, "center": False, "zeros": zeros}
    ends = (float(interval[0, 0]), float(interval[0, 1]))
    return TailEstimate(float(alpha[0]), ends, f"{METHOD}_as_published", settings, values.size, tuple(warnings))


def per_coordinate(data: Any, *, block_length: int | None = None, center: bool = True) -> TailEstimate:
    """Tail index of every parameter on its own, from its values along the iterations.

    Args:
        data: (iterations, parameters).
        block_length: K1 along the iterations; default as in `block_log_moment`.
        center: take the middle of each parameter's values away first.

    Returns:
        The estimate with alpha (parameters,) and interval (parameters, 2); nan for a parameter that never varies,
        counted as `settings["dead"]` and in a warning.

    Raises:
        ValueError: the data are unusable or have one axis only, or the block length does not fit.

    Source:
        As `block_log_moment`; per-coordinate against pooled estimates: Xie, Sato and Sugiyama 2021.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(1_000, 3)) * [1.0, 1e-3, 0.0]
        >>> estimate = per_coordinate(noise)
        >>> estimate.alpha.shape, estimate.settings["dead"]
        ((3,), 1)
    """
    values = check_values(data)
    if values.ndim == 1:
        raise ValueError(f"data has shape {values.shape}. Give (iterations, parameters), or use block_log_moment.")
    if values.shape[0] < 4:
        raise ValueError(f"data has {values.shape[0]} iterations, and at least 4 are needed. Give more iterations.")
    length = _block_length(values.shape[0], block_length)
    num_blocks = values.shape[0] // length
    rows, width = length * num_blocks, max(1, _COLUMNS // (length * num_blocks))
    pieces = [
        inverse_alpha(centred(values[:, start : start + width], center)[:rows], length)
        for start in range(0, values.shape[1], width)
    ]
    inverse, error = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    alpha, interval = _invert(inverse, error, num_blocks)
    dead = int(np.isnan(inverse).sum())
    settings = {"block_length": length, "num_blocks": num_blocks, "center": center, "dead": dead}
    warnings = (f"{dead} of {alpha.size} coordinates never vary and have no index (nan).",) if dead else ()
    return TailEstimate(alpha, interval, METHOD, settings, rows, warnings)


def inverse_alpha(values: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """1/alpha of every column of (n, p), n a multiple of the block length, and its standard error.

    With zeros left out, 1/alpha is a difference of two ratios of means over blocks; `influence` is its derivative.
    """
    block_sums = values.reshape(-1, length, values.shape[1]).sum(axis=1)
    mean_sums, influence_sums = _log_mean(block_sums, 1)
    mean_values, influence_values = _log_mean(values, length)
    influence = influence_sums - influence_values
    error = influence.std(axis=0, ddof=1) / math.sqrt(len(influence))
    return (mean_sums - mean_values) / math.log(length), error / math.log(length)


def _published_growth(blocks: np.ndarray) -> np.ndarray:
    """1/alpha of every block (blocks, K1), as the paper's code has it."""
    sums, values = (np.log(np.abs(part) + np.spacing(1.0)) for part in (blocks.sum(axis=1), blocks))
    return (sums - values.mean(axis=1)) / math.log(blocks.shape[1])


INVERSE_BY_BLOCKS: dict[str, Callable[[np.ndarray], float]] = {  # method -> 1/alpha of whole blocks (blocks, K1)
    METHOD: lambda blocks: float(inverse_alpha(blocks.reshape(-1, 1), blocks.shape[1])[0][0]),
    f"{METHOD}_as_published": lambda blocks: float(_published_growth(blocks).mean()),
}


def _log_mean(values: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of log|x| over the nonzero x of every column (nan if none), and the influence (blocks, p) of each block."""
    logs, nonzero = log_abs(values)
    counts = nonzero.sum(axis=0)
    mean = logs.sum(axis=0) / np.where(counts > 0, counts, np.nan)
    deviations = np.where(nonzero, logs - mean, 0.0).reshape(-1, length, values.shape[1]).sum(axis=1)
    return mean, deviations * len(deviations) / np.maximum(counts, 1)


def _invert(inverse: np.ndarray, error: np.ndarray, num_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    half = scipy.stats.t.ppf(0.975, num_blocks - 1) * error
    return reciprocal(inverse), np.stack([reciprocal(inverse + half), reciprocal(inverse - half)], axis=-1)


def reciprocal(inverse: np.ndarray | float) -> np.ndarray:
    """1/x, inf where x is not positive, nan where x is nan."""
    inverse = np.asarray(inverse)
    return np.where(inverse <= 0, np.inf, 1 / np.where(inverse <= 0, 1.0, inverse))


def _block_length(n: int, given: int | None) -> int:
    if given is None:
        root = math.isqrt(n)
        divisor = next(k for k in range(root, 0, -1) if n % k == 0)
        return divisor if 2 * divisor >= root else root
    if given != int(given) or not 2 <= given <= n // 2:
        raise ValueError(f"block_length {given} does not fit {n} values. Give an integer from 2 to {n // 2}.")
    return int(given)
