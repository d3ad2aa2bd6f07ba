"""Laws of the exit-time statistics. False alarms: each law test fails by chance with the probability it states."""

import numpy as np
import pytest
from scipy import stats

from levyjax.escape import exponentiality as ex
from levyjax.escape import statistics as es
from levyjax.escape.laplace import laplace_transform

ALARM = 1e-4  # per law test, two-sided


def plausible(hits: int, trials: int, probability: float | tuple[float, float]) -> bool:
    """Whether the count is no 1-in-10,000 surprise for some probability in the range."""
    low, high = probability if isinstance(probability, tuple) else (probability, probability)
    return bool(stats.binom.cdf(hits, trials, low) > ALARM / 2 and stats.binom.sf(hits - 1, trials, high) > ALARM / 2)


def uniform(pvalues) -> bool:
    return stats.kstest(pvalues, "uniform").pvalue > ALARM


class TestExponentialFit:
    def test_interval_of_complete_samples_is_exact(self):
        draws = np.random.default_rng(1).exponential(3.0, (4000, 5))
        fits = [es.exponential_fit(times) for times in draws]
        assert plausible(sum(f.rate_interval[0] <= 1 / 3 <= f.rate_interval[1] for f in fits), 4000, 0.95)
        assert plausible(sum(f.mean_interval[0] <= 3.0 <= f.mean_interval[1] for f in fits), 4000, 0.95)
        below = sum(f.rate_interval[1] < 1 / 3 for f in fits)
        assert plausible(below, 4000, 0.025)

    @pytest.mark.parametrize(("n", "end"), [(5, 1.0), (20, 0.4), (100, 1.2), (50, 0.06)])
    def test_interval_of_censored_samples_covers_at_least_what_it_states(self, n, end):
        draws = np.random.default_rng(2).exponential(1.0, (4000, n))
        fits = [es.exponential_fit(np.minimum(times, end), times <= end) for times in draws]
        assert plausible(sum(f.rate_interval[0] <= 1 <= f.rate_interval[1] for f in fits), 4000, (0.95, 1.0))

    @pytest.mark.parametrize("n", [10, 50, 200])
    @pytest.mark.parametrize("end", [0.02, 0.06, 0.2, 1.0, np.inf])
    def test_intervals_from_totals_cover_at_least_what_they_state(self, n, end):
        """Where often none or few have left, too; at (50, 0.06) no exit at all has a chance of 5%."""
        draws = np.random.default_rng(20).exponential(1.0, (4000, n))
        totals, exits = np.minimum(draws, end).sum(axis=1), (draws <= end).sum(axis=1)
        fits = [es.exponential_fit_of_total(t, r, n - r) for t, r in zip(totals.tolist(), exits.tolist(), strict=True)]
        assert plausible(sum(f.rate_interval[0] <= 1 <= f.rate_interval[1] for f in fits), 4000, (0.95, 1.0))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((np.nan, 1, 0), "total time must be a positive number"),
            ((np.inf, 1, 0), "total time must be a positive number"),
            ((-1.0, 1, 0), "total time must be a positive number"),
            ((1.0, np.nan, 0), "num_exited must be a whole number, not nan"),
            ((1.0, 1, np.inf), "num_censored must be a whole number, not inf"),
            ((1.0, 1.5, 0), "num_exited must be a whole number, not 1.5"),
            ((1.0, -1, 2), "none below 0"),
            ((1.0, 0, 0), "give at least one"),
        ],
    )
    def test_totals_that_are_none(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            es.exponential_fit_of_total(*arguments)

    def test_censored_data_give_the_truth(self):
        times = np.random.default_rng(3).exponential(10.0, 20_000)
        end = -10 * np.log(0.3)
        seen = times <= end
        fit = es.exponential_fit(np.minimum(times, end), seen)
        assert fit.num_exited == seen.sum()
        assert fit.num_exited + fit.num_censored == 20_000
        assert abs(np.log(fit.mean / 10)) < stats.norm.isf(ALARM / 2) / np.sqrt(fit.num_exited)
        assert np.mean(times[seen]) < 6  # what leaving the censored ones out would say

    def test_all_censored_is_a_bound(self):
        fit = es.exponential_fit(np.full(4, 25.0), np.zeros(4, bool))
        assert fit.rate is None
        assert fit.mean is None
        assert fit.rate_interval == pytest.approx((0.0, -np.log(0.025) / 100))
        assert fit.mean_interval == (pytest.approx(100 / -np.log(0.025)), None)
        assert (fit.num_exited, fit.num_censored) == (0, 4)

    def test_confidence_and_units(self):
        times = [1.0, 5.0, 2.0]
        wide, narrow = (es.exponential_fit(times, confidence=c).rate_interval for c in (0.999, 0.5))
        assert wide[0] < narrow[0] < narrow[1] < wide[1]
        hours = es.exponential_fit(np.array(times) / 60)
        assert hours.rate == pytest.approx(60 * 3 / 8)
        assert es.exponential_fit(np.float32(times)).rate == 0.375

    @pytest.mark.parametrize("function", [es.exponential_fit, es.kaplan_meier, ex.exponentiality_test])
    @pytest.mark.parametrize(
        ("times", "exited", "message"),
        [
            ([], [], "at least one"),
            ([[1.0]], [[True]], "1-d"),
            ([1.0, np.nan], [True, True], "1 of 2 times are NaN"),
            ([1.0, np.inf], [True, False], "censored"),
            ([1.0, -1.0], [True, True], "negative"),
            ([1.0, 2.0], [True], "one shape"),
            ([1.0, 2.0], [1, 2], "bool"),
            ([1.0, 1j], [True, True], "real numbers"),
            (["a", "b"], [True, True], "real numbers"),
        ],
    )
    def test_refusals(self, function, times, exited, message):
        with pytest.raises(ValueError, match=message):
            function(times, exited)

    def test_more_refusals(self):
        with pytest.raises(ValueError, match="all times are 0"):
            es.exponential_fit([0.0, 0.0])
        with pytest.raises(ValueError, match="confidence"):
            es.exponential_fit([1.0], confidence=95)


class TestKaplanMeier:
    def test_without_censoring_it_is_the_empirical_law(self):
        times = np.random.default_rng(4).exponential(1.0, 50)
        curve = es.kaplan_meier(times)
        assert curve.times[0] == 0
        assert curve.survival == pytest.approx(np.arange(50, -1, -1) / 50)

    def test_band_covers_pointwise(self):
        t, hits, repeats = 0.7, 0, 1000
        for draw in np.random.default_rng(5).exponential(1.0, (repeats, 100)):
            curve = es.kaplan_meier(np.minimum(draw, 1.0), draw <= 1.0)
            at = np.searchsorted(curve.times, t, side="right") - 1
            hits += curve.low[at] <= np.exp(-t) <= curve.high[at]
        assert plausible(hits, repeats, (0.935, 0.965))  # Greenwood's band is asymptotic

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of SciPy, where the curve is 1 or 0
    @pytest.mark.parametrize("decimals", [1, 12])  # tied times and others
    def test_is_scipys(self, decimals):
        rng = np.random.default_rng(7)
        for _ in range(20):
            times, exited = rng.exponential(size=40).round(decimals), rng.random(40) < rng.uniform(0.2, 1)
            curve = es.kaplan_meier(times, exited)
            theirs = stats.ecdf(stats.CensoredData.right_censored(times, ~exited)).sf
            here = np.isin(curve.times, theirs.quantiles)
            np.testing.assert_allclose(curve.survival[here], theirs.probabilities, rtol=1e-12, atol=1e-12)
            band = theirs.confidence_interval(method="log-log")
            inner = (curve.survival[here] > 1e-9) & (curve.survival[here] < 1)
            np.testing.assert_allclose(curve.low[here][inner], band.low.probabilities[inner], rtol=1e-9)
            np.testing.assert_allclose(curve.high[here][inner], band.high.probabilities[inner], rtol=1e-9)

    def test_ends_without_a_greenwood_band(self):
        last = es.kaplan_meier([1.0, 2.0, 3.0])
        assert (last.survival[-1], last.low[-1], last.high[-1]) == (0.0, 0.0, last.high[-2])
        none = es.kaplan_meier([2.0, 3.0], [False, False])
        assert none.survival.tolist() == [1.0, 1.0, 1.0]
        assert none.low == pytest.approx([1.0, 0.025**0.5, 0.025])
        assert none.high.tolist() == [1.0, 1.0, 1.0]
        at_once = es.kaplan_meier([0.0, 0.0])
        assert (at_once.times.tolist(), at_once.low.tolist(), at_once.high.tolist()) == ([0.0], [0.0], [1.0])


class TestExponentiality:
    @pytest.mark.parametrize(("n", "repeats"), [(8, 20_000), (50, 20_000), (500, 5000), (4000, 1500)])
    def test_pvalues_are_uniform(self, n, repeats):
        statistics = ex._null_statistics(n, repeats, np.random.default_rng(6))
        pvalues = ex._lilliefors_pvalue(statistics, n)
        assert uniform(pvalues)
        assert plausible(int(np.sum(pvalues < 0.01)), repeats, (0.0095, 0.0105))

    def test_table_is_what_its_derivation_gives(self):
        limit, correction = ex._null_table(budget=0.002, seed=7)
        middle = (ex._LEVELS <= 0.95) & (ex._LEVELS >= 0.05)
        assert np.abs(limit - ex._LIMIT)[middle].max() < 0.06  # standard errors of 0.01
        assert np.abs(correction - ex._CORRECTION)[middle].max() < 0.6  # standard errors of 0.1

    def test_published_critical_values(self):
        """Stephens (1974): upper tail points of (D - 0.2/n)(sqrt n + 0.26 + 0.5/sqrt n), smoothed simulations.

        His 1% point 1.308 is at 0.0088 of our larger simulation (1.2935 +- 0.0015 at n = 1000), hence the tolerance.
        """
        for n in (20, 100, 4000):
            modified = np.array([0.926, 0.990, 1.094, 1.190, 1.308])
            d = modified / (np.sqrt(n) + 0.26 + 0.5 / np.sqrt(n)) + 0.2 / n
            assert ex._lilliefors_pvalue(d, n) == pytest.approx([0.15, 0.10, 0.05, 0.025, 0.01], rel=0.15)

    def test_pvalue_falls_from_one_to_nothing_without_a_break(self):
        p = ex._lilliefors_pvalue(np.linspace(0, 0.2, 400), 1000)
        assert p[0] > 0.9999
        assert 0 < p[-1] < 1e-40
        assert (np.diff(p) <= 0).all()

    def test_public_function_agrees_with_scipy_on_the_statistic(self):
        times = np.random.default_rng(8).exponential(5.0, 300)
        result = ex.exponentiality_test(times)
        assert result.statistic == pytest.approx(stats.kstest(times / times.mean(), "expon").statistic)
        assert result.method == "lilliefors"
        assert ex.exponentiality_test(1e6 * times).pvalue == pytest.approx(result.pvalue)

    @pytest.mark.parametrize("end", [np.inf, np.log(10 / 3)])
    def test_it_sees_a_weibull_law(self, end):
        for times in np.random.default_rng(9).weibull(1.3, (20, 1000)):
            assert ex.exponentiality_test(np.minimum(times, end), times <= end).pvalue < 0.01  # power over 0.9999

    @pytest.mark.parametrize(("n", "end"), [(50, 1.2), (200, 0.3)])
    def test_pvalues_are_uniform_with_censoring(self, n, end):
        draws = np.random.default_rng(10).exponential(1.0, (500, n))
        results = [ex.exponentiality_test(np.minimum(x, end), x <= end) for x in draws]
        assert uniform([result.pvalue for result in results])
        assert results[0].method == "total_time_on_test"

    def test_pvalues_are_uniform_on_a_grid(self):
        draws = np.ceil(np.random.default_rng(11).exponential(20.0, (500, 1000)))
        assert uniform([ex.exponentiality_test(0.1 * x, resolution=0.1).pvalue for x in draws])

    def test_no_test_says_why(self):
        grid = np.ceil(np.random.default_rng(12).exponential(20.0, 1000))
        for times, exited, resolution, why in [
            (grid[:7], None, 0.0, "7 exits"),
            (grid, np.zeros(1000, bool), 0.0, "0 exits"),
            (grid, None, 0.0, "grid of about 1"),
            (grid, None, 10.0, "steps: the test needs 5"),
            (np.ones(10), None, 0.0, "equal"),
        ]:
            result = ex.exponentiality_test(times, exited, resolution=resolution)
            assert (result.statistic, result.pvalue, result.method) == (None, None, None)
            assert why in result.reason
        fine = np.ceil(np.random.default_rng(13).exponential(2000.0, 1000))
        assert ex.exponentiality_test(fine).reason is None
        for resolution in (-1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="resolution"):
                ex.exponentiality_test(grid, resolution=resolution)


class TestLaplaceTransform:
    @pytest.mark.parametrize(
        ("u", "n", "repeats", "coverage"),
        [
            (-0.5, 1000, 2000, (0.94, 0.96)),
            (-0.5, 10_000, 400, (0.94, 0.96)),
            (-0.8, 1000, 800, (0.935, 0.96)),
            (0.5, 200, 2000, (0.94, 0.96)),
            (1.0, 50, 2000, (0.94, 0.96)),
            (2.0, 200, 2000, (0.94, 0.96)),
        ],
    )
    def test_interval_covers(self, u, n, repeats, coverage):
        hits, rng = 0, np.random.default_rng(14)
        for _ in range(repeats):
            estimate = laplace_transform(rng.exponential(4.0, n), 0.25, u)
            low, high = estimate.interval
            hits += low <= estimate.expected <= (np.inf if high is None else high)
        assert estimate.expected == 1 / (1 + u)
        assert plausible(hits, repeats, coverage)

    def test_a_law_with_a_start_that_is_not_exponential(self):
        """X = E1 + E2/20, a start in the middle of the basin: the tail is exponential, the transform another."""
        rng, truth, hits = np.random.default_rng(15), 2 / (1 - 0.5 / 20), 0
        for _ in range(600):
            low, high = laplace_transform(rng.exponential(1, 1000) + rng.exponential(0.05, 1000), 1.0, -0.5).interval
            hits += low <= truth <= high
        assert plausible(hits, 600, (0.935, 0.96))

    def test_a_wrong_rate_shows(self):
        times = np.random.default_rng(16).exponential(1.0, 4000)
        for u in (-0.5, 0.5, 1.0, 2.0):
            estimate = laplace_transform(times, 1.2, u)
            low, high = estimate.interval
            assert not low <= estimate.expected <= high
            assert low <= 1 / (1 + 1.2 * u) <= high

    def test_an_infinite_transform_is_null(self):
        estimate = laplace_transform(np.random.default_rng(17).exponential(3.0, 500), 1.0, -0.5)
        assert estimate.value is None
        assert estimate.interval[1] is None
        assert estimate.interval[0] > 2

    def test_zero_and_refusals(self):
        assert laplace_transform([1.0, 2.0], 1.0, 0.0).interval == (1.0, 1.0)
        assert laplace_transform(np.zeros(30), 1.0, -0.5).interval == (1.0, 1.0)
        for arguments, message in [
            (([1.0, 2.0], 0.0, 1.0), "rate"),
            (([1.0, 2.0], 1.0, -1.0), "above -1"),
            (([1.0, 2.0], 1.0, -0.5), "needs 20"),
            (([1.0], 1.0, 1.0), "needs 2"),
            (([1.0, 2.0], np.nan, 1.0), "rate"),
            (([1.0, 2.0], np.inf, 1.0), "rate"),
            (([1.0, 2.0], -1.0, 1.0), "rate"),
            (([1.0, 2.0], 1.0, np.nan), "above -1"),
            (([1.0, np.nan], 1.0, 1.0), "1 of 2 times are NaN"),
        ]:
            with pytest.raises(ValueError, match=message):
                laplace_transform(*arguments)


class TestLogLogSlope:
    @pytest.mark.parametrize("x", [[0.01, 0.1], [0.1, 0.01, 0.05, 0.02]])
    def test_interval_covers(self, x):
        rng, x = np.random.default_rng(18), np.array(x)
        sd = np.linspace(0.05, 0.2, x.size)
        fits = [es.log_log_slope(x, 3 * x**-1.5 * np.exp(sd * rng.standard_normal(x.size)), sd) for _ in range(2000)]
        assert plausible(sum(f.slope_interval[0] <= -1.5 <= f.slope_interval[1] for f in fits), 2000, 0.95)
        if x.size > 2:
            assert uniform([f.misfit_pvalue for f in fits])
        else:
            assert fits[0].misfit_pvalue is None

    def test_of_real_mean_times(self):
        rng, x = np.random.default_rng(19), np.array([0.1, 0.05, 0.02])
        exits = [es.exponential_fit(rng.exponential(x0**-1.8, 4000)) for x0 in x]
        means, ends = [f.mean for f in exits], [f.mean_interval for f in exits]
        by_count = es.log_log_slope(x, means, 4000**-0.5, confidence=1 - ALARM)
        by_ends = es.log_log_slope(x, means, y_interval=ends, confidence=1 - ALARM)
        assert by_ends.slope_interval == pytest.approx(by_count.slope_interval, rel=1e-3)
        assert by_count.slope_interval[0] < -1.8 < by_count.slope_interval[1]

    def test_a_curve_is_no_power_law(self):
        x = np.geomspace(0.01, 1, 5)
        assert es.log_log_slope(x, x**-1.5 / (1 + x), 0.01).misfit_pvalue < 1e-6

    def test_one_point_has_no_slope(self):
        assert es.log_log_slope([0.1], [3.0], 0.1) is None
        assert es.log_log_slope([], [], 0.1) is None

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"x": [1, 2], "y": [1, 2]}, "once"),
            ({"x": [1, 2], "y": [1, 2], "sd_log": 0.1, "y_interval": [[1, 2], [1, 2]]}, "once"),
            ({"x": [1, 2], "y": [1, 2, 3], "sd_log": 0.1}, "one length"),
            ({"x": [1, 2], "y": [1, 2], "sd_log": [0.1]}, "sd_log"),
            ({"x": [1, 2], "y": [1, np.nan], "sd_log": 0.1}, "positive"),
            ({"x": [0, 2], "y": [1, 1], "sd_log": 0.1}, "positive"),
            ({"x": [1, np.inf], "y": [1, 1], "sd_log": 0.1}, "positive"),
            ({"x": [1, 2], "y": [1, 1], "sd_log": np.nan}, "positive"),
            ({"x": [1, 2], "y": [1, 1], "y_interval": [[2, 1], [1, 2]]}, "positive"),
            ({"x": [1, 2], "y": [1, 1j], "sd_log": 0.1}, "real numbers"),
            ({"x": [1, 2], "y": [1, 1], "sd_log": 0.1, "confidence": np.nan}, "confidence"),
            ({"x": [2, 2], "y": [1, 1], "sd_log": 0.1}, "two different"),
            ({"x": [1, 2], "y": [1, 1], "y_interval": [[1, 2]]}, "rows"),
        ],
    )
    def test_refusals(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            es.log_log_slope(**arguments)


def test_binomial_interval_is_exact():
    low, high = es.binomial_interval(3, 20)
    assert stats.binom.sf(2, 20, low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 20, high) == pytest.approx(0.025)
    assert es.binomial_interval(5, 5)[1] == 1.0
    for successes, trials in [(-1, 3), (4, 3), (0, 0), (np.nan, 3), (1, np.nan), (np.inf, np.inf), (0.5, 3)]:
        with pytest.raises(ValueError, match=r"successes|trials"):
            es.binomial_interval(successes, trials)
