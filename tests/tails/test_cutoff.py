"""The power law with an exponential cutoff: its likelihood against SciPy's quadrature, coverage, and the ratio's level.

False alarms: every law test fails by chance with the probability it states; the seeds are fixed and were not chosen.
"""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from levyjax import tails

ALARM = 1e-4


def cut(rng, n, alpha, cutoff):
    """Density x^-(1 + alpha) exp(-x/cutoff) from 1 on, by rejection from Pareto's."""
    kept = np.empty(0)
    while kept.size < n:
        x = rng.random(4 * n) ** (-1 / alpha)
        kept = np.append(kept, x[rng.random(4 * n) < np.exp(-(x - 1) / cutoff)])
    return kept[:n]


@pytest.mark.parametrize(("alpha", "cutoff"), [(0.5, 10.0), (1.5, 100.0)])
def test_is_the_maximum_of_the_likelihood(alpha, cutoff):
    x = cut(np.random.default_rng(1), 2_000, alpha, cutoff)

    def loss(at):
        mass = integrate.quad(lambda t: math.exp(-at[0] * t - math.exp(t - at[1])), 0, math.log(60) + at[1])[0]
        return (np.log(x).mean() * at[0] + x.mean() / math.exp(at[1])) + math.log(mass)

    best = optimize.minimize(loss, [alpha, math.log(cutoff)], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 0})
    estimate = tails.truncated_power_law(x, 1.0)
    assert estimate.alpha == pytest.approx(best.x[0], abs=1e-4)
    assert math.log(estimate.settings["cutoff"]) == pytest.approx(best.x[1], abs=1e-3)
    plain = math.log(np.log(x).mean()) + 1
    assert estimate.settings["log_likelihood_ratio"] == pytest.approx(x.size * (plain - best.fun), abs=1e-3)
    fall = [
        optimize.minimize_scalar(lambda c, end=end: loss([end, c]), bounds=(0, 20), method="bounded").fun - best.fun
        for end in estimate.interval
    ]
    assert np.array(fall) * x.size == pytest.approx(1.92, abs=0.01)


@pytest.mark.parametrize("x_min", [1.0, None])
@pytest.mark.parametrize(("alpha", "cutoff"), [(0.5, 100.0), (1.5, 30.0), (1.5, 1e9)])
def test_intervals_cover(alpha, cutoff, x_min):
    """A stated 95% may be 92% in truth: of 60 samples, less is a 1-in-10,000 event."""
    rng = np.random.default_rng(2)
    ends = [tails.truncated_power_law(cut(rng, 1_000, alpha, cutoff), x_min).interval for _ in range(60)]
    assert stats.binom.cdf(sum(low <= alpha <= high for low, high in ends), 60, 0.92) > ALARM


def test_the_ratio_tells_a_cutoff_from_none():
    """Without cutoff p is below 0.05 in at most 6% of samples; with one at 30 times x_min always at n = 10,000."""
    rng = np.random.default_rng(3)
    plain = [tails.truncated_power_law(rng.random(1_000) ** (-1 / 1.5), 1.0) for _ in range(100)]
    assert stats.binom.sf(sum(one.settings["p_value"] < 0.05 for one in plain) - 1, 100, 0.06) > ALARM
    settings = tails.truncated_power_law(cut(rng, 10_000, 1.5, 30.0), 1.0).settings
    assert settings["p_value"] < 1e-3
    assert 10 < settings["cutoff"] < 100


def test_the_unit_does_not_matter_and_the_threshold_is_found():
    rng = np.random.default_rng(4)
    x = np.where(rng.random(4_000) < 0.5, 0.2 + 0.8 * rng.random(4_000), cut(rng, 4_000, 1.0, 50.0))
    found = tails.truncated_power_law(x)
    assert 0.6 < found.settings["x_min"] < 2
    for unit in (1e-300, 1e150):
        other = tails.truncated_power_law(-unit * x)
        assert other.alpha == pytest.approx(found.alpha, rel=1e-6)
        assert other.settings["cutoff"] == pytest.approx(unit * found.settings["cutoff"], rel=1e-5)


def test_what_does_not_fit_is_warned_of_or_refused():
    assert (
        "no power law with an exponential cutoff"
        in tails.truncated_power_law(np.random.default_rng(5).normal(10, 1, 2_000), 5.0).warnings[0]
    )
    with pytest.raises(ValueError, match="x_min 0 does not fit"):
        tails.truncated_power_law(np.arange(1.0, 50.0), 0)
    with pytest.raises(ValueError, match="of one size"):
        tails.truncated_power_law(np.resize([1.0, -1.0], 50))
