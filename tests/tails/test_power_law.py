"""The power law from a threshold on: right indices, coverage, and the law against SciPy and sums written out.

False alarms: every law test fails by chance with the probability it states; the seeds are fixed and were not chosen.
"""

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from levyjax import tails

ALARM = 1e-4


def pareto(rng, n, alpha=1.5):
    return (1 - rng.random(n)) ** (-1 / alpha)


def bent(rng, n, alpha=1.5):
    """Clauset, Shalizi and Newman's test: density ~ exp(-(1 + alpha)(x - 1)) below 1, ~ x^-(1 + alpha) above."""
    rate = alpha + 1
    body = -np.log(1 - rng.random(n) * (1 - math.exp(-rate))) / rate
    in_body = math.expm1(rate) / rate
    return np.where(rng.random(n) < in_body / (in_body + 1 / alpha), body, pareto(rng, n, alpha))


LAWS = {  # each of index 1.5
    "Pareto": pareto,
    "exponential body": bent,
    "Frechet": lambda rng, n: rng.exponential(size=n) ** (-1 / 1.5),
    "zeta": lambda rng, n: rng.zipf(2.5, n),
    "floor of Pareto": lambda rng, n: np.floor(10 * pareto(rng, n)),
    "negative zeta": lambda rng, n: -rng.zipf(2.5, n),
}


@pytest.mark.parametrize("name", LAWS)
def test_intervals_cover_the_index_with_the_threshold_chosen(name):
    """A stated 95% may be 93% to 99.9% in truth: of 200 samples, less is a 1-in-10,000 event."""
    rng = np.random.default_rng(1)
    found = [tails.power_law(LAWS[name](rng, 2_000)) for _ in range(200)]
    covered = sum(low < 1.5 < high for low, high in (estimate.interval for estimate in found))
    assert stats.binom.cdf(covered, 200, 0.93) > ALARM
    assert np.median([high - low for low, high in (estimate.interval for estimate in found)]) < 0.8


def test_counts_of_the_zeta_law():
    """default_rng(0).zipf(2.5, 20000) has P(X = k) ~ k^-2.5 from k = 1 on: a tail index of 1.5."""
    counts = np.random.default_rng(0).zipf(2.5, 20_000)
    for data in (counts, counts * 1.0, counts.reshape(-1, 10)):
        estimate = tails.estimate(data, "power_law")
        assert estimate.interval[0] < 1.5 < estimate.interval[1]
        assert estimate.interval[1] - estimate.interval[0] < 0.15
        assert estimate.settings["discrete"]
        assert estimate.warnings == ()


@pytest.mark.parametrize("x_min", [1, 3, 20, 99, 100, 101])
def test_is_the_maximum_of_the_zeta_likelihood(x_min):
    counts = np.random.default_rng(2).zipf(1.8, 5_000)
    tail = counts[counts >= x_min]

    def loss(alpha):
        return tail.size * math.log(special.zeta(1 + alpha, x_min)) + (1 + alpha) * np.log(tail).sum()

    best = optimize.minimize_scalar(loss, bounds=(0.1, 5.0), method="bounded", options={"xatol": 1e-9})
    estimate = tails.power_law(counts, x_min)
    assert estimate.alpha == pytest.approx(best.x, abs=1e-6)
    assert estimate.settings["num_tail"] == tail.size
    curve = (loss(best.x + 1e-3) - 2 * loss(best.x) + loss(best.x - 1e-3)) / 1e-6  # the observed information
    assert np.diff(np.log(estimate.interval))[0] == pytest.approx(2 * 1.96 / math.sqrt(curve) / best.x, rel=1e-3)


def test_fractions_above_a_given_threshold_are_hills():
    values = bent(np.random.default_rng(3), 5_000)
    largest = np.sort(values)[-401:]
    assert tails.power_law(values, largest[0]).alpha == pytest.approx(401 / np.log(largest / largest[0]).sum())
    error = np.diff(np.log(tails.power_law(values, largest[0]).interval))[0]
    assert error == pytest.approx(2 * 1.96 / math.sqrt(401), rel=1e-4)


def test_distance_is_that_of_scipy():
    values = bent(np.random.default_rng(4), 3_000)
    estimate = tails.power_law(values)
    x_min = estimate.settings["x_min"]
    law = stats.pareto(estimate.alpha, scale=x_min)
    expected = stats.kstest(values[values >= x_min], law.cdf).statistic
    assert estimate.settings["distance"] == pytest.approx(expected, rel=1e-9)
    assert 0.7 < x_min < 3  # from 1 on it is a power law
    for other in (0.5 * x_min, 2 * x_min):
        assert tails.power_law(values, other).settings["distance"] > estimate.settings["distance"]


def test_zeros_and_the_unit_do_not_matter_and_large_counts_are_fractions():
    values = pareto(np.random.default_rng(5), 2_000)
    found = tails.power_law(values)
    assert tails.power_law(np.append(values, np.zeros(500))).alpha == found.alpha
    for unit in (1e-300, 1e150):
        assert tails.power_law(unit * values).alpha == pytest.approx(found.alpha, rel=1e-9)
    counts = tails.power_law(np.round(1e9 * values))
    assert counts.settings["discrete"]
    assert counts.alpha == pytest.approx(found.alpha, rel=1e-6)
    assert counts.interval == pytest.approx(found.interval, rel=1e-5)


def test_a_law_that_does_not_fit_and_stable_data_are_warned_of():
    rng = np.random.default_rng(6)
    assert "do not follow a power law" in tails.power_law(rng.exponential(size=5_000), 0.1).warnings[0]
    assert "do not follow a power law" in tails.power_law(rng.poisson(5, 5_000), 1).warnings[0]
    stable = stats.levy_stable.rvs(1.5, 0, size=10_000, random_state=7)
    assert any("on symmetric stable data" in text for text in tails.power_law(stable).warnings)


@pytest.mark.parametrize("method", ["hill", "moment"])
def test_a_tied_threshold_is_warned_of(method):
    """Of zipf(2.5) Hill's index is 1.31 at k = 400 and 2.21 at 5000, and 1.5 is right."""
    counts = np.random.default_rng(0).zipf(2.5, 20_000) * 1.0
    for num_tail in (400, 5_000):
        warnings = tails.estimate(counts, method, num_tail=num_tail, center=False).warnings
        assert any("values equal the threshold" in text and "power_law" in text for text in warnings)
    for values in (pareto(np.random.default_rng(8), 5_000), pareto(np.random.default_rng(8), 5_000).astype(np.float32)):
        assert not any("threshold" in text for text in tails.estimate(values, method).warnings)


def test_rounded_fractions_are_warned_of():
    rounded = np.round(pareto(np.random.default_rng(9), 20_000), 1)
    assert any("values equal the threshold" in text for text in tails.power_law(rounded, 1.1).warnings)


@pytest.mark.parametrize(
    ("x_min", "discrete", "words"),
    [
        (0, None, "x_min 0 does not fit"),
        (1.5, None, "Give a whole number above 0"),
        (1e9, None, "x_min 1000000000.0 does not fit"),
        ("1", None, "x_min 1 does not fit"),
        (math.nan, None, "x_min nan does not fit"),
    ],
)
def test_thresholds_that_are_refused(x_min, discrete, words):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
        tails.power_law(np.random.default_rng(10).zipf(2.5, 100), x_min, discrete)
    assert words in str(caught.value)


def test_data_that_are_refused():
    for data, settings, words in (
        (np.arange(100) + 0.5, {"discrete": True}, "discrete=True is for whole numbers"),
        (np.resize([1.0, -1.0], 50), {}, "of one size"),
        (np.ones(50), {}, "constant"),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
            tails.power_law(data, **settings)
        assert words in str(caught.value)
