"""Asymmetric valleys: the law of the sides, the Gibbs law of Gaussian noise, and simulations."""

import math

import pytest
from scipy import stats

from levyjax.claims import valley


def test_the_share_is_an_arcsine_integral():
    """p+ + p- = E[1/(c- + (c+ - c-) T)] = 1/sqrt(c+ c-), with c+ p+ + c- p- = 1."""
    for above, below in ((1.0, 16.0), (2.0, 0.5)):
        whole = stats.arcsine.expect(lambda t, a=above, b=below: 1 / (b + (a - b) * t))
        assert whole == pytest.approx(1 / math.sqrt(above * below), rel=1e-6)
        part = (1 - below * whole) / (above - below)
        assert valley.share_of_side(above, below) == pytest.approx(part / whole, rel=1e-6)


@pytest.mark.parametrize("alpha", [1.3, 2.0])
def test_the_chain_tends_to_the_law_of_continuous_time(alpha, monkeypatch):
    """Its difference is of the order of the step, so twice the half step's share less the whole step's is closer."""
    shares = []
    for dt in (0.1, 0.05):
        monkeypatch.setattr(valley, "_DT", dt)
        shares.append(valley.exact_side(alpha, 4.0)[0])
    law = valley.share_of_side(0.25, 1.0)
    assert shares[0] - law == pytest.approx(0.0035, abs=0.001)
    assert 2 * shares[1] - shares[0] == pytest.approx(law, abs=0.0005)


def test_the_median_under_gaussian_noise_is_that_of_the_gibbs_law():
    """p ~ exp(-F/epsilon^2): two half normal laws of sd 1 and 4 noise levels, the flat one with 4/5 of the mass."""
    expected = 4 * stats.norm.isf(5 / 16)
    assert valley.exact_side(2.0, 16.0)[1] == pytest.approx(expected, rel=0.02)


def test_equal_sides_are_equal():
    share, median = valley.exact_side(1.5, 1.0)
    assert share == pytest.approx(0.5, abs=1e-9)
    assert median == pytest.approx(0.0, abs=1e-9)


def test_simulated_share_is_the_chain_s():
    """|z| < 4 fails by chance with probability 6.3e-5."""
    one = valley.side(1.5, 4.0, 10_000, 0)
    assert abs(one.share - one.exact) < 4 * math.sqrt(one.exact * (1 - one.exact) / 10_000)
    assert one.interval[0] > 0.6


@pytest.mark.parametrize(
    ("intervals", "verdict"),
    [
        ([(0.6, 0.7), (0.7, 0.8)], "confirmed"),
        ([(0.6, 0.7), (0.49, 0.53)], "undecided"),
        ([(0.6, 0.7), (0.4, 0.45)], "refuted"),
    ],
)
def test_verdict(intervals, verdict):
    assert valley.judge_sides(intervals) == verdict
