"""Optimizers against their SDEs, and momentum against the basins it carries a path out of."""

import matplotlib

matplotlib.use("Agg")

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.integrate import solve_ivp

from levyjax.arrays import cast
from levyjax.claims import overshoot
from levyjax.dynamics import Adam, Kick
from levyjax.escape import Plan, predict, simulate
from levyjax.noise import Gaussian
from levyjax.plots import points_on_curve
from levyjax.plots.curves import curve_points
from levyjax.random import Counter
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


class TestMalladi:
    """The SDE of Malladi et al. sees the covariance that the iteration's noise has."""

    def test_second_moment_at_rest_is_the_iterations_mean(self):
        """2 A A' at alpha = 2. v averages 1/(1 - beta2) = 1000 squares with weights: 4096 means of relative error
        sqrt(1/1000) each, so 4.5 standard errors are 0.22% (1 run in 150,000)."""
        noise = cast(Gaussian([0.3]), jnp.float32)
        adam = cast(Adam(0.1, 0.9, 0.999, variant="malladi"), jnp.float32)
        words = jnp.arange(4096, dtype=jnp.uint32)
        state = adam.rest(jnp.zeros((1, 4096), jnp.float32), noise)

        def step(index, state):
            at = Counter(words, words * 0, words * 0 + index.astype(jnp.uint32) + 1_000_000, words * 0)
            return adam.iterate(state, 0 * state.x, Kick(noise, 1.0, at, 1.0))

        after = jax.jit(lambda state: jax.lax.fori_loop(0, 8000, step, state))(state)
        assert float(after.v.mean() / state.v.mean()) == pytest.approx(1, abs=0.0022)

    def test_jumps_are_mapped_by_that_moment(self):
        noise, adam = Gaussian([0.3]), Adam(0.1, variant="malladi", epsilon=0.0)
        assert float(adam.jump_maps(noise)[0, 0]) == pytest.approx(1 / (0.3 * 2**0.5), rel=1e-6)


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
