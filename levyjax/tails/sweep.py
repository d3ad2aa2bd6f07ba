"""What the block estimator says at other block lengths and in another order: two checks that it lacks itself."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.datasets import Result, along
from levyjax.tails.block import block_log_moment, reciprocal
from levyjax.tails.values import centred, check_values, log_abs

LOG_NORMAL_MEAN = -(np.euler_gamma + math.log(2)) / 2  # E log|N(0, 1)|
_GROUPS = 64
_RUNGS = 6
_CLEAR = 6.0  # difference of residual sums, as a likelihood ratio of e^3 = 20


@dataclasses.dataclass(frozen=True)
class BlockLengthSweep(Result):
    """The block estimator over a ladder of block lengths, with two one-parameter laws fitted to it.

    Attributes:
        block_lengths: K1, (m,).
        alpha: alpha_hat at each, (m,).
        interval: 95% of each, (m, 2).
        stable_alpha: the flat line, 1/alpha_hat = 1/stable_alpha, which a stable law predicts.
        stable_residual: its residual sum, weighted by the inverse covariance: chi-squared of m - 1 degrees if true.
        log_excess: D of 1/alpha_hat = 1/2 + D/log K1, which a finite variance predicts for long blocks.
        finite_variance_residual: its residual sum.
        direct_log_excess: D = E log|N(0,1)| - E log(|X|/sd X) from the data themselves; it is meaningless, and grows
            with n, if the variance is infinite.
        preferred: "stable", "finite_variance", or "neither" where the residual sums differ by less than 6.
        advantage: finite_variance_residual - stable_residual; positive speaks for a stable law.
    """

    _dims = along({"block_lengths": "block_lengths alpha interval"})

    block_lengths: np.ndarray
    alpha: np.ndarray
    interval: np.ndarray
    stable_alpha: float
    stable_residual: float
    log_excess: float
    finite_variance_residual: float
    direct_log_excess: float
    preferred: str
    advantage: float


@dataclasses.dataclass(frozen=True)
class ShuffleTest(Result):
    """The block estimator in storage order against shuffled orders of the same values.

    Attributes:
        alpha: the estimate in storage order.
        shuffled: the estimates after shuffling, (num_shuffles,).
        p_value: part of the orders, storage order included, whose 1/alpha lies as far from their median.
        dependent: whether p_value is at most 0.01.
        statement: the finding as a sentence.
    """

    _dims = along({"shuffle": "shuffled"})

    alpha: float
    shuffled: np.ndarray
    p_value: float
    dependent: bool
    statement: str


def extrapolate_alpha(alpha: float, block_length: int, new_block_length: int) -> float:
    """What the block estimator says at another block length if the variance is finite: 1/alpha = 1/2 + D/log K1.

    A stable law would give the same value at every block length.

    Args:
        alpha: the estimate at `block_length`.
        block_length: K1, at least 2.
        new_block_length: another K1, at least 2.

    Returns:
        The estimate predicted there; inf where 1/2 + D/log K1 is not positive.

    Raises:
        ValueError: alpha is not positive or a block length is below 2.

    Source:
        Derived here. A sum of K1 values is sqrt(K1) sd N(0,1) for large K1, so that the estimator's two means differ by
        (log K1)/2 + D with D = E log|N(0,1)| - E log(|X|/sd X).

    Example:
        >>> round(extrapolate_alpha(1.2182, 36400, 16640), 3)
        1.181
    """
    if not (alpha > 0 and block_length >= 2 and new_block_length >= 2):
        raise ValueError(
            f"alpha {alpha} or a block length of {block_length}, {new_block_length} does not fit. "
            "Give alpha above 0 and block lengths of 2 or more."
        )
    log_excess = (1 / alpha - 0.5) * math.log(block_length)
    return float(reciprocal(0.5 + log_excess / math.log(new_block_length)))


def block_length_sweep(
    data: Any, block_lengths: Sequence[int] | None = None, *, center: bool = True
) -> BlockLengthSweep:
    """The block estimator over a ladder of block lengths, which tells a stable law from a finite variance.

    The data are taken in the order given: shuffle them first unless that order is the question.

    Args:
        data: real numbers (n,), or (iterations, parameters) row by row.
        block_lengths: the ladder of K1, at least 3 different ones from 2 to n/16; default six in geometric steps from
            sqrt(n)/6 (at least 8) to n/40, because short blocks have not forgotten the law of one value.
        center: take the middle (the mean of the middle half of the values) away first.

    Returns:
        The ladder, both fits and which is preferred. The fits weigh the rungs by their covariance, from the scatter
        over 64 consecutive groups of values.

    Raises:
        ValueError: the data are unusable, fewer than 400 values, or the ladder does not fit.

    Source:
        Derived here, see `extrapolate_alpha`.

    Example:
        >>> laplace = np.random.default_rng(0).laplace(size=100_000)
        >>> sweep = block_length_sweep(laplace)
        >>> sweep.preferred, round(sweep.direct_log_excess, 2)
        ('finite_variance', 0.29)
    """
    values = centred(check_values(data, minimum=400).ravel(), center)
    ladder = _ladder(values.size, block_lengths)
    logs = np.log(ladder)
    growth, covariance = _growth(values, ladder)
    precision = np.linalg.inv(covariance)
    inverse, stable_residual = _fit(growth, logs, precision)
    log_excess, finite_residual = _fit(growth - logs / 2, np.ones_like(logs), precision)
    half = scipy.stats.t.ppf(0.975, _GROUPS - 1) * np.sqrt(np.diag(covariance)) / logs
    nonzero = values[values != 0]
    advantage = finite_residual - stable_residual
    preferred = "neither" if abs(advantage) < _CLEAR else "stable" if advantage > 0 else "finite_variance"
    return BlockLengthSweep(
        block_lengths=ladder,
        alpha=reciprocal(growth / logs),
        interval=np.stack([reciprocal(growth / logs + half), reciprocal(growth / logs - half)], axis=1),
        stable_alpha=float(reciprocal(inverse)),
        stable_residual=stable_residual,
        log_excess=log_excess,
        finite_variance_residual=finite_residual,
        direct_log_excess=float(LOG_NORMAL_MEAN - np.log(np.abs(nonzero) / values.std()).mean()),
        preferred=preferred,
        advantage=advantage,
    )


def shuffle_test(data: Any, *, num_shuffles: int = 199, seed: int = 0, center: bool = True) -> ShuffleTest:
    """Whether the block estimator depends on the order of the values, as it must not for independent ones.

    Args:
        data: real numbers (n,), or (iterations, parameters) row by row.
        num_shuffles: how many random orders to compare with, 19 or more.
        seed: of the orders.
        center: take the middle (the mean of the middle half of the values) away first.

    Returns:
        The estimates and the verdict. A dependent order means that neighbours are dependent *or* share a scale (as
        the parameters of one layer do): the estimate in storage order is then no tail index.

    Raises:
        ValueError: the data are unusable or num_shuffles is below 19.

    Source:
        A permutation test: exact for exchangeable values (Fisher 1935).

    Example:
        >>> layers = np.random.default_rng(0).normal(size=(10, 1_000)) * np.geomspace(1e-3, 1, 10)[:, None]
        >>> test = shuffle_test(layers.ravel())
        >>> test.dependent, round(test.alpha, 1), bool(np.median(test.shuffled) < 1.2)
        (True, 1.7, True)
    """
    if num_shuffles < 19:
        raise ValueError(f"num_shuffles {num_shuffles} is too small to show anything. Give 19 or more.")
    values = check_values(data).ravel()
    stored = block_log_moment(values, center=center)
    length = stored.settings["block_length"]
    values = centred(values, center)
    orders = [np.random.default_rng([seed, j]).permutation(values) for j in range(num_shuffles)]
    inverse = np.array([_log_growth(order, length) for order in orders]) / math.log(length)
    own = _log_growth(values, length) / math.log(length)
    middle = np.median(np.append(inverse, own))  # of all orders alike, so that under the hypothesis every rank is equal
    p_value = (1 + int((np.abs(inverse - middle) >= abs(own - middle)).sum())) / (num_shuffles + 1)
    dependent = p_value <= 0.01
    low, high = np.quantile(reciprocal(inverse), [0.005, 0.995])
    statement = (
        f"In storage order the block estimate is {stored.alpha:.3f}; shuffled it lies between {low:.3f} and "
        f"{high:.3f} (99%, p = {p_value:.3f}): "
        + ("neighbouring values are dependent or share a scale." if dependent else "the order does not matter.")
    )
    return ShuffleTest(stored.alpha, reciprocal(inverse), p_value, dependent, statement)


def _ladder(n: int, given: Sequence[int] | None) -> np.ndarray:
    if given is None:
        return np.unique(np.geomspace(max(8.0, math.sqrt(n) / 6), n / 40, _RUNGS).astype(int))
    ladder = np.unique(np.asarray(given))
    if len(ladder) < 3 or ladder.dtype.kind not in "iu" or ladder[0] < 2 or ladder[-1] > n // 16:
        raise ValueError(f"block_lengths {list(given)} do not fit. Give 3 or more different integers, 2 to {n // 16}.")
    return ladder


def _log_growth(values: np.ndarray, length: int) -> float:
    """Mean log|block sum| - mean log|x|: log K1 over the estimated alpha."""
    used = values[: values.size // length * length]
    (sums, sums_nonzero), (logs, nonzero) = log_abs(used.reshape(-1, length).sum(axis=1)), log_abs(used)
    return float(sums.sum() / max(1, sums_nonzero.sum()) - logs.sum() / nonzero.sum())


def _growth(values: np.ndarray, ladder: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`_log_growth` at every rung and the covariance of the rungs.

    Every rung is a difference of means of log|.| over consecutive pieces. The deviation of each piece from its mean
    goes to the group its middle lies in, and the scatter of the 64 group sums gives the covariance. (64 because the
    inverse of a covariance of six rungs then errs by a few percent; a block of n/40 is shared by two groups.)
    """
    n = values.size
    means, deviations = zip(*(_piece_means(values, int(k), n) for k in (1, *ladder)), strict=True)
    growth = np.array(means[1:]) - means[0]
    influence = np.array(deviations[1:]) - deviations[0]
    return growth, influence @ influence.T / (1 - 1 / _GROUPS)


def _piece_means(values: np.ndarray, length: int, n: int) -> tuple[float, np.ndarray]:
    count = n // length
    logs, nonzero = log_abs(values[: count * length].reshape(count, length).sum(axis=1))
    total = max(1, int(nonzero.sum()))
    mean = float(logs.sum() / total)
    groups = (np.arange(count) * length + length // 2) * _GROUPS // n
    return mean, np.bincount(groups, np.where(nonzero, logs - mean, 0.0), _GROUPS) / total


def _fit(y: np.ndarray, x: np.ndarray, precision: np.ndarray) -> tuple[float, float]:
    """Generalised least squares of y = slope x: the slope and the residual sum."""
    slope = float(x @ precision @ y / (x @ precision @ x))
    rest = y - slope * x
    return slope, float(rest @ precision @ rest)
