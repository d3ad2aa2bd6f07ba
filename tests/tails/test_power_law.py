"""Power laws from a smallest value on: whole numbers by the zeta law, continuous ones by Pareto's."""

import numpy as np
import pytest
import scipy
from scipy.optimize import minimize_scalar

from levyjax import tails


def inside(estimate, alpha: float) -> bool:
    return estimate.interval[0] <= alpha <= estimate.interval[1]


def from_three_on(rng, n: int) -> np.ndarray:
    """Three in ten values are Pareto of index 1.5 from 3 on, the others have a rising density below 3."""
    return np.where(rng.random(n) < 0.3, 3 * rng.random(n) ** (-1 / 1.5), 3 * np.sqrt(rng.random(n)))


class TestPowerLaw:
    def test_whole_numbers_of_index_one_and_a_half(self):
        """NumPy's zipf(2.5) has P(k) ~ k^-2.5, so P(K >= k) ~ k^-1.5."""
        found = tails.estimate(np.random.default_rng(0).zipf(2.5, 20_000) * 1.0, "power_law")
        assert inside(found, 1.5)
        assert abs(found.alpha - 1.5) < 0.04
        assert found.settings["discrete"]
        assert found.settings["x_min"] <= 3

    @pytest.mark.parametrize(("x_min", "exponent"), [(1, 2.2), (1, 3.5), (4, 2.5)])
    def test_the_index_is_at_the_largest_likelihood(self, x_min, exponent):
        counts = np.random.default_rng(3).zipf(exponent, 5_000)
        counts = counts[counts >= x_min]
        logs = np.log(counts).mean()
        best = minimize_scalar(
            lambda a: np.log(scipy.special.zeta(a, x_min)) + a * logs,
            bounds=(1.1, 6),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert tails.power_law(counts, x_min=x_min).alpha + 1 == pytest.approx(best.x, abs=1e-5)

    def test_continuous_values_from_x_min_on_are_hills_index(self):
        values = np.random.default_rng(4).random(5_000) ** (-1 / 1.5)
        low = np.sort(values)[-501]
        found, hill = (
            tails.power_law(values, x_min=np.nextafter(low, np.inf)),
            tails.hill(values, num_tail=500, center=False),
        )
        assert found.settings["num_tail"] == 500
        assert found.alpha == pytest.approx(hill.alpha, rel=1e-9)
        assert found.interval == pytest.approx(hill.interval, rel=1e-9)

    def test_where_the_power_law_begins_is_found(self):
        """Below 3 there is another law (a rising density), which hides an index of 1.5."""
        assert tails.power_law(from_three_on(np.random.default_rng(5), 20_000)).settings["x_min"] > 2.8

    @pytest.mark.parametrize("law", ["whole", "continuous", "from three on"])
    def test_intervals_with_a_chosen_x_min_cover(self, law):
        """Of 60 samples 95% cover: fewer than 50 have a probability below 0.1% by the binomial law."""
        covered = 0
        for seed in range(60):
            rng = np.random.default_rng(seed)
            if law == "from three on":
                values = from_three_on(rng, 5_000)
            else:
                values = rng.zipf(2.5, 1_000) if law == "whole" else rng.random(1_000) ** (-1 / 1.5)
            covered += inside(tails.power_law(values), 1.5)
        assert covered >= 50

    def test_rows_keep_an_interval_that_holds_the_choice(self):
        values = np.random.default_rng(7).zipf(2.5, (400, 10)) * 1.0
        by_rows, pooled = tails.estimate(values, "power_law"), tails.power_law(values)
        assert by_rows.alpha == pooled.alpha
        assert by_rows.interval[0] <= pooled.interval[0] < pooled.interval[1] <= by_rows.interval[1]

    @pytest.mark.parametrize(
        ("data", "settings", "words"),
        [
            (np.linspace(1, 2, 100), {"discrete": True}, "no whole numbers"),
            (np.linspace(1, 2, 100), {"x_min": 0}, "above 0"),
            (np.arange(1, 100), {"x_min": 1.5}, "whole one"),
            (np.linspace(1, 2, 100), {"x_min": 3}, "Give 2 or more values"),
            (np.linspace(1, 2, 20), {}, "Give 50 or more values"),
            (np.tile([0.0, 1.0], 100), {}, "not all equal"),
        ],
    )
    def test_what_has_no_power_law_is_refused(self, data, settings, words):
        with pytest.raises(ValueError, match=words):
            tails.power_law(data, **settings)


class TestTiesOfExtremes:
    @pytest.mark.parametrize("method", ["hill", "moment"])
    @pytest.mark.parametrize("num_tail", [400, 5_000])
    def test_tied_thresholds_are_warned_of(self, method, num_tail):
        values = np.random.default_rng(0).zipf(2.5, 20_000) * 1.0
        found = tails.estimate(values, method, num_tail=num_tail, center=False)
        assert any('Use method "power_law"' in text for text in found.warnings)

    @pytest.mark.parametrize("method", ["hill", "moment"])
    def test_values_that_are_not_rounded_are_not(self, method):
        values = np.random.default_rng(0).standard_cauchy(20_000)
        assert not any("power_law" in text for text in tails.estimate(values, method).warnings)
