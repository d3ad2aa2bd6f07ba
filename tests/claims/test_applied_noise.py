"""The rule of D10: how intervals and verdicts on the two noises make a verdict."""

import pytest

from levyjax.claims.applied_noise import _difference, _judged


def test_difference_has_the_interval_of_both():
    value, (low, high) = _difference((1.9, (1.87, 1.93)), (1.5, (1.46, 1.54)))
    assert (value, low, high) == pytest.approx((0.4, 0.35, 0.45))


@pytest.mark.parametrize(
    ("interval", "verdicts", "expected"),
    [
        ((0.1, 0.2), ("stable", "heavy_tailed"), "confirmed"),
        ((0.1, 0.2), ("finite_variance", "finite_variance"), "holds_within_limits"),
        ((0.1, 0.2), ("finite_variance", "stable"), "undecided"),
        ((0.1, 0.2), ("undecided", "finite_variance"), "undecided"),
        ((-0.1, 0.2), ("stable", "stable"), "undecided"),
        ((-0.2, -0.1), ("finite_variance", "undecided"), "refuted"),
    ],
)
def test_rule(interval, verdicts, expected):
    assert _judged(interval, verdicts) == expected
