"""The test that exit times are exponential, with the law of its statistic when the mean is estimated."""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import ArrayLike, NDArray

from levyjax.datasets import Result
from levyjax.escape.statistics import checked_times

_MIN_EXITS = 8  # of the test of exponentiality; its table was made from samples of 8 and more
_MIN_STEPS = 5  # in the mean exit time, for times on a grid to be tested against a continuous law
_MAX_GRID = 0.1  # a grid step h moves the Kolmogorov-Smirnov statistic sqrt(n) D by at most sqrt(n) h / mean


@dataclass(frozen=True)
class ExponentialityTest(Result):
    """A Kolmogorov-Smirnov statistic and its p-value; both None where there is no test.

    Attributes:
        statistic: the largest distance between the distributions.
        pvalue: of that distance.
        method: "lilliefors" or "total_time_on_test".
        reason: why there is no test.
    """

    statistic: float | None
    pvalue: float | None
    method: str | None
    reason: str | None = None


def exponentiality_test(
    times: ArrayLike, exited: ArrayLike | None = None, *, resolution: float = 0.0
) -> ExponentialityTest:
    """A Kolmogorov-Smirnov test that exit times are exponential with an unknown rate.

    With every exit seen it is Lilliefors' test: D, the largest distance between the empirical distribution and the
    exponential one of the same mean. Its p-value comes from a table of the null law of D *with the mean estimated*
    (the plain Kolmogorov-Smirnov p-value would be far too large): within 0.004 of the truth from 8 times on and
    0.0015 from 25 on, within 10% of itself down to p = 0.001, an extrapolation below 0.0001.

    With censoring the clock is changed to the total time on test: on it the exits of an exponential law are a
    Poisson process, so that given their number they are uniform, whatever the rate, and the plain test against the
    uniform law applies. That is exact when the observation ends at a given exit; when it ends at one common time
    the p-value was found within 0.02 for 12 trajectories and 0.01 from 50 on. It sees a hazard that rises or falls
    up to the last recorded time, nothing after it.

    Times on a grid, k dt, are taken for continuous ones when sqrt(n) dt is under a tenth of the mean. Else
    `resolution=dt` is needed: each exit is then moved back into the step it was recorded at the end of, to a place
    drawn (with a fixed seed) from the exponential law within that step, which makes geometric times exponential.

    Args:
        times: shape (n,), exit or censoring times; finite, not negative; any unit.
        exited: shape (n,), bool, False = censored at `times`; None: all have exited.
        resolution: the step of the grid that the times lie on, in their unit; 0 for continuous times.

    Returns:
        `ExponentialityTest`; `method` is "lilliefors" or "total_time_on_test". Statistic and p-value are None with a
        `reason` when fewer than 8 trajectories have exited, when the mean is under 5 steps, or when the times lie on
        a coarse grid and `resolution` does not say so.

    Raises:
        ValueError: empty, NaN, infinite or negative times, shapes that differ, or a negative resolution.

    Source:
        Lilliefors (1969); Stephens (1974); Epstein (1960) for the total time on test. The table: `_null_table`.

    Example:
        >>> import numpy as np
        >>> times = np.random.default_rng(0).exponential(7.0, 500)
        >>> exponentiality_test(times).pvalue > 0.05, exponentiality_test(times**0.5).pvalue < 1e-6
        (True, True)
        >>> exponentiality_test([1.0, 2.0]).reason
        '2 exits: the test needs 8'
    """
    times, exited = checked_times(times, exited)
    if not 0.0 <= resolution < np.inf:
        raise ValueError(f"resolution is the time step of a grid, 0 or more, not {resolution}")
    reason = _why_no_test(times, exited, resolution)
    if reason is not None:
        return ExponentialityTest(None, None, None, reason)
    if resolution > 0:
        times = _off_the_grid(times, exited, resolution)
    if exited.all():
        statistic = float(_lilliefors_statistic(np.sort(times)))
        return ExponentialityTest(statistic, float(_lilliefors_pvalue(statistic, times.size)), "lilliefors")
    result = scipy.stats.kstest(_total_time_on_test(times, exited), "uniform")
    return ExponentialityTest(float(result.statistic), float(result.pvalue), "total_time_on_test")


def _why_no_test(times: NDArray[np.float64], exited: NDArray[np.bool_], resolution: float) -> str | None:
    r = int(exited.sum())
    if r < _MIN_EXITS:
        return f"{r} exits: the test needs {_MIN_EXITS}"
    mean = times.sum() / r
    if mean < _MIN_STEPS * resolution:
        return f"the mean exit time is {mean / resolution:.3g} steps: the test needs {_MIN_STEPS}"
    if resolution > 0:
        return None
    distinct = np.unique(times[exited])
    if distinct.size == 1:
        return "all exit times are equal: no continuous law"
    gap = np.diff(distinct).min()
    if distinct.size < r and gap * np.sqrt(r) > _MAX_GRID * mean:
        return f"the times lie on a grid of about {gap:.3g}, too coarse to ignore: give it as resolution"
    return None


def _off_the_grid(times: NDArray[np.float64], exited: NDArray[np.bool_], resolution: float) -> NDArray[np.float64]:
    """Times k h of a geometric law, spread over their steps ((k - 1) h, k h]: an exponential law's, to O(1/sqrt n)."""
    leave = exited.sum() * resolution / times.sum()  # the estimated probability of leaving in a step
    rate = -np.log1p(-leave) / resolution
    within = -np.log1p(-leave * np.random.default_rng(0).random(times.size)) / rate
    return np.where(exited, np.maximum(times - resolution + within, 0.0), times)


def _total_time_on_test(times: NDArray[np.float64], exited: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The exits on the clock that adds up the time of all trajectories still inside, as parts of its last reading."""
    order = np.lexsort((~exited, times))  # where they tie, exits come before censoring
    at_risk = times.size - np.arange(times.size)
    clock = np.cumsum(np.diff(times[order], prepend=0.0) * at_risk)
    part = clock[exited[order]] / clock[-1]
    return part[part < 1]


def _lilliefors_statistic(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """The statistic D of each row of `ordered`, shape (..., n), each row in increasing order."""
    n = ordered.shape[-1]
    law = -np.expm1(-ordered / ordered.mean(axis=-1, keepdims=True))
    above = (np.arange(1, n + 1) / n - law).max(axis=-1)
    return np.maximum(above, (law - np.arange(n) / n).max(axis=-1))


# The null law of Lilliefors' D for n exponential times, by its upper tail probability p:
#     sqrt(n) D = limit(p) - 1 / (6 sqrt(n)) + correction(p) / n.
# The middle term is that of the plain Kolmogorov-Smirnov statistic too; a free fit gives -0.165 +- 0.006 at every p
# from 0.02 to 0.99. The two columns are least squares on the simulated quantiles of `_null_table`.
_LEVELS = np.array([
    0.9999, 0.999, 0.99, 0.975, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.025, 0.01, 0.005, 0.0025,
    0.001, 0.0005, 0.0001,
])  # fmt: skip
_LIMIT = np.array([
    0.3131, 0.3497, 0.4064, 0.4391, 0.4706, 0.5115, 0.5687, 0.6159, 0.6606, 0.7060, 0.7553, 0.8122, 0.8846, 0.9948,
    1.0936, 1.1842, 1.2943, 1.3719, 1.4453, 1.5364, 1.6018, 1.7415,
])  # fmt: skip
_CORRECTION = np.array([
    0.160, 0.170, 0.143, 0.128, 0.115, 0.106, 0.096, 0.082, 0.065, 0.048, 0.031, 0.016, -0.014, -0.081, -0.156, -0.238,
    -0.361, -0.464, -0.566, -0.703, -0.822, -0.992,
])  # fmt: skip
# Beyond the table log p falls like that of a Gaussian maximum, exp(-x^2 / (2 s^2)), where s^2 = 0.14919 is the
# largest variance of the limiting process, max over v of v (1 - v) - ((1 - v) log(1 - v))^2 (Durbin 1973).
_TAIL_SCORE = 0.149192**-0.5


def _lilliefors_pvalue(statistic: ArrayLike, n: int) -> NDArray[np.float64]:
    """P(D > statistic) for n exponential times, interpolated as a normal score in sqrt(n) D + 1 / (6 sqrt(n))."""
    x = np.sqrt(n) * np.asarray(statistic) + 1 / (6 * np.sqrt(n))
    knots, scores = _LIMIT + _CORRECTION / n, -scipy.special.ndtri(_LEVELS)
    inside = scipy.interpolate.PchipInterpolator(knots, scores)(np.clip(x, knots[0], knots[-1]))
    first = (scores[1] - scores[0]) / (knots[1] - knots[0])
    beyond = first * np.minimum(x - knots[0], 0.0) + _TAIL_SCORE * np.maximum(x - knots[-1], 0.0)
    return scipy.special.ndtr(-(inside + beyond))


def _null_statistics(n: int, repeats: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """D of `repeats` samples of n, drawn in order (Rényi): the k-th gap of n exponentials is one over n - k + 1."""
    pieces = np.array_split(np.empty(repeats), max(1, n * repeats // 2_000_000))
    at_risk = n - np.arange(n)
    draws = (np.cumsum(rng.standard_exponential((piece.size, n)) / at_risk, axis=1) for piece in pieces)
    return np.concatenate([_lilliefors_statistic(draw) for draw in draws])


def _null_table(budget: float = 1.0, seed: int = 20201) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`_LIMIT` and `_CORRECTION` from simulation: the committed ones have budget 1, two minutes of one core."""
    rng = np.random.default_rng(seed)
    sizes = np.array([8, 15, 40, 150, 1000, 6000])
    repeats = (budget * np.array([4e6, 4e6, 4e6, 4e6, 2e6, 4e5])).astype(int)
    rows = [
        np.sqrt(n) * np.quantile(_null_statistics(n, m, rng), 1 - _LEVELS) + 1 / (6 * np.sqrt(n))
        for n, m in zip(sizes.tolist(), repeats.tolist(), strict=True)
    ]
    weight = np.sqrt(repeats)[:, None]
    design = np.stack([np.ones(sizes.size), 1 / sizes], axis=1)
    limit, correction = np.linalg.lstsq(weight * design, weight * np.array(rows), rcond=None)[0]
    return limit, correction
