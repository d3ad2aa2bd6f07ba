"""Optimizers against their SDEs, and momentum against the basins it carries a path out of."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.integrate import solve_ivp

from levyjax.claims import overshoot
from levyjax.escape import Plan, predict, simulate
from levyjax.plots import points_on_curve
from levyjax.plots.curves import curve_points
from levyjax.solvers import JumpAdapted


class TestOvershoot:
    """Rates on a half-line of dynamics that swing."""

    @pytest.mark.parametrize("damping", [0.2, 0.7, 1.0, 1.2])
    def test_peak_and_rebound_by_an_adaptive_solver(self, damping):
        """x'' + b1 x' + b1 k x = 0 with b1 = 1, pushed or let go."""
        curvature = 1 / (2 * damping) ** 2
        options = {"t_span": (0, 60), "rtol": 1e-10, "atol": 1e-12, "max_step": 1e-2}
        field = lambda t, y: [y[1], -y[1] - curvature * y[0]]  # noqa: E731
        pushed, released = (solve_ivp(field, y0=start, **options).y[0] for start in ([0.0, 1.0], [1.0, 0.0]))
        assert overshoot.peak(damping) == pytest.approx(pushed.max(), rel=1e-4)
        assert overshoot.rebound(damping) == pytest.approx(max(-released.min(), 0), abs=1e-4)

    @pytest.mark.parametrize(("make", "pushed"), [(overshoot.adam, False), (overshoot.heavy_ball, True)])
    @pytest.mark.parametrize("damping", [0.2, 0.8, 1.2])
    def test_flow_out_search_is_the_closed_form(self, make, pushed, damping):
        problem = make(damping)
        ratio = predict(problem).rate / overshoot.naive_rate(problem)
        assert ratio == pytest.approx(overshoot.over_naive(damping, pushed), rel=2e-3)

    @pytest.mark.slow
    @pytest.mark.parametrize(("make", "pushed"), [(overshoot.adam, False), (overshoot.heavy_ball, True)])
    def test_first_exits_follow_the_closed_form(self, make, pushed):
        """N = 100,000 at damping ratio 0.2; off by 4.5 standard errors in 1 of 150,000 runs."""
        problem = make(0.2)
        times = simulate(problem, Plan(JumpAdapted(), 100_000), 3).exit_time
        rate = overshoot.naive_rate(problem) * overshoot.over_naive(0.2, pushed)
        assert times.mean() * rate == pytest.approx(1, abs=4.5 / np.sqrt(times.size))

    @pytest.mark.parametrize(
        ("ratios", "verdict"),
        [
            ([1.0] * 7, "confirmed"),
            ([1.4] + [1.0] * 6, "holds_within_limits"),
            ([1.0] * 6 + [1.1], "refuted"),
            ([1.02] * 7, "undecided"),
        ],
    )
    def test_rule(self, ratios, verdict):
        half = 0.03 if verdict == "undecided" else 0.01
        intervals = [(ratio - half, ratio + half) for ratio in ratios]
        assert overshoot.judge(overshoot.Series(ratios, intervals, ratios, intervals)) == verdict


class TestCurves:
    """The numbers behind points on a theory's curve."""

    def test_an_interval_that_reaches_zero_is_an_upper_bound(self):
        points = curve_points([1, 2], [0.1, 0.2], [(-0.1, 0.3), (0.15, 0.26)], positive=True)
        assert (points.bound_x.tolist(), points.bound.tolist()) == ([1.0], [0.3])
        np.testing.assert_allclose(points.errors, [[0.05], [0.06]])

    def test_lengths_that_differ_are_refused(self):
        with pytest.raises(ValueError, match="2 x, 1 y and 1 intervals"):
            curve_points([1, 2], [1], None)

    def test_another_scale_is_refused(self):
        with pytest.raises(ValueError, match="log must be"):
            points_on_curve([1], [1], log="z")

    def test_series_differ_in_colour_and_share_the_axes(self):
        axes = points_on_curve([1, 2], [1, 4], None, ([1, 2], [1, 4]), label="a", log="xy")
        assert points_on_curve([1, 2], [2, 3], label="b", ax=axes) is axes
        colors = {bars[0].get_color() for bars in axes.containers}
        assert len(colors) == 2
        plt.close(axes.figure)
