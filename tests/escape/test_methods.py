"""Simulated exits, the quasi-stationary rate, the reference and the prediction: one law four ways.

Every seed is fixed. A deviation may be as large as the method's stated bias plus 4 standard errors, which happens by
chance with probability 6.3e-5 a test (3.2e-7 where it says 5, 1e-4 where it says p > 1e-4).
"""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gamma

from levyjax.basins import Ball, Box, HalfSpace, Sublevel
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.escape import (
    EscapeProblem,
    ExitCode,
    Plan,
    exponentiality_test,
    interval_reference,
    predict,
    quasi_stationary_rate,
    simulate,
)
from levyjax.landscapes import AsymmetricValley, DoubleWell, Flat, MultiWell, Quadratic, from_function
from levyjax.noise import Independent, Rotational
from levyjax.solvers import Euler, Iteration, JumpAdapted, flows, make_flow

BIAS = 0.01  # of the jump-adapted mean exit time, for alpha from 1.2 to 1.9
GRID = [(alpha, kappa) for alpha in (1.2, 1.5, 1.8, 1.9) for kappa in (0, 1, 3, 10, 100)] + [(1.9, 30)]
FEW = [(1.2, 0), (1.2, 3), (1.5, 1), (1.5, 10), (1.8, 10), (1.9, 3)]
ADAM = Adam(variant="frozen", preconditioner=[0.5])


def slow(*values, marks=()):
    """A parameter set for the large runs."""
    return pytest.param(*values, marks=[pytest.mark.slow, *(marks if isinstance(marks, tuple) else (marks,))])


def on_interval(alpha, kappa, start=None, noise_level=1.0):
    """F = kappa x^2/2 on (-1, 1)."""
    landscape = Quadratic([float(kappa)]) if kappa else Flat([0.0])
    return EscapeProblem(landscape, Box([-1.0], [1.0]), Independent(alpha, [1.0]), SGD(), noise_level, start)


def quadratic(alpha, noise_level):
    return on_interval(alpha, 1, None, noise_level)


def valley(level, alpha=1.5):
    noise = Independent(alpha, [1.0])
    return EscapeProblem(AsymmetricValley([1.0], [5.0]), Box([-1.0], [1.5]), noise, SGD(), level)


def exits(problem, count, seed=0, **plan):
    return simulate(problem, Plan(JumpAdapted(), count, **plan), seed)


def reference_of(problem):
    """Its error is far below a standard error."""
    reference = interval_reference(problem, relative_error=1e-4, max_degree=12)
    assert reference.error < 1e-4
    return reference


def assert_mean(times, exact, bias=BIAS, sigmas=4):
    """The mean is within its bias and its standard error of the exact one."""
    error = times.std() / math.sqrt(times.size)
    assert abs(times.mean() - exact) < bias * exact + sigmas * error, (times.mean() / exact - 1, error / exact)


def assert_same_mean(one, other, bias=0.0, sigmas=4):
    """Two samples have one mean."""
    error = math.hypot(*(times.std() / math.sqrt(times.size) for times in (one, other)))
    ratio = one.mean() / other.mean() - 1
    assert abs(ratio) < bias + sigmas * error / other.mean(), (ratio, error / other.mean())


class TestJumpAdaptedOnTheInterval:
    @pytest.mark.parametrize(("alpha", "kappa"), FEW)
    def test_mean_exit_time_is_the_reference(self, alpha, kappa):
        problem = on_interval(alpha, kappa)
        samples = exits(problem, 200_000, FEW.index((alpha, kappa)))
        assert samples.count(ExitCode.EXITED) == 200_000
        assert_mean(samples.exit_time, float(reference_of(problem).mean_exit_time()))

    @pytest.mark.slow
    @pytest.mark.parametrize(("alpha", "kappa"), GRID)
    def test_mean_exit_time_on_the_whole_grid(self, alpha, kappa):
        problem = on_interval(alpha, kappa)
        times = exits(problem, 2_000_000, 100 + GRID.index((alpha, kappa))).exit_time
        assert_mean(times, float(reference_of(problem).mean_exit_time()))

    @pytest.mark.parametrize("alpha", [1.2, 1.8])
    def test_noise_alone_from_other_starts_is_getoors(self, alpha):
        for place, start in enumerate((0.0, 0.5, -0.9)):
            exact = (1 - start**2) ** (alpha / 2) / gamma(1 + alpha)
            assert_mean(exits(on_interval(alpha, 0, [start]), 200_000, 10 + place).exit_time, exact)

    @pytest.mark.parametrize(("kappa", "start"), [(0, [0.6]), slow(0, None), slow(4, None), (10, [-0.5])])
    def test_brownian_mean_and_side(self, kappa, start):
        problem = on_interval(2.0, kappa, start)
        reference, samples = reference_of(problem), exits(problem, 200_000, 20)
        assert_mean(samples.exit_time, float(reference.mean_exit_time()))
        above = float(reference.exit_probability_above())
        assert abs((samples.exit_face == 1).mean() - above) < 0.002 + 4 * math.sqrt(above * (1 - above) / 200_000)

    @pytest.mark.parametrize(
        ("alpha", "level"),
        [
            (1.2, 0.5),
            slow(1.5, 0.5),
            slow(1.5, 1.0),
            (1.8, 0.7),
        ],
    )
    def test_exit_side_in_an_asymmetric_valley(self, alpha, level):
        count, problem = 200_000, valley(level, alpha)
        reference, samples = reference_of(problem), exits(problem, count, 30)
        above = float(reference.exit_probability_above())
        share = (samples.exit_face == 1).mean()
        assert abs(share - above) < 0.005 + 4 * math.sqrt(above * (1 - above) / count)
        assert_mean(samples.exit_time, float(reference.mean_exit_time()))

    def test_steps_per_exit_do_not_grow_as_the_noise_shrinks(self):
        levels = (0.1, 1e-2, 1e-3, 1e-4, 1e-6)
        steps = [exits(quadratic(1.5, level), 40_000, 40).exit_step.mean() for level in levels]
        assert max(steps) < 1.2 * min(steps)

    @pytest.mark.parametrize("level", [1e-3, 1e-6])
    def test_small_noise_limit_is_exponential_with_the_predicted_rate(self, level):
        problem = quadratic(1.5, level)
        times = exits(problem, 40_000, 50).exit_time * predict(problem).rate
        assert abs(times.mean() - 1) < 1e-3 + 4 / 200
        assert exponentiality_test(times).pvalue > 1e-4


def double_well(level):
    return EscapeProblem(DoubleWell(1.0, 0.5), Box([-0.9], [1.8]), Independent(1.5, [1.0]), SGD(), level)


def hyperbolic(level):
    landscape = from_function(lambda x: jnp.cosh(2 * x[0]) / 4 + 0.1 * x[0] ** 4, [0.0])
    return EscapeProblem(landscape, Box([-1.0], [1.5]), Independent(1.5, [1.0]), SGD(), level)


def adam(level):
    return EscapeProblem(Quadratic([1.0]), Box([-1.0], [2.0]), Independent(1.5, [0.5]), ADAM, level)


def momentum(level):
    return EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), Momentum(0.1, 0.8), level)


class TestJumpAdaptedElsewhere:
    @pytest.mark.parametrize("make", [partial(quadratic, 1.5), slow(double_well), slow(hyperbolic), slow(adam)])
    def test_skipping_near_the_minimum_changes_nothing(self, make, monkeypatch):
        for level in (0.3, 0.05):
            skipped = exits(make(level), 40_000, 60)
            with monkeypatch.context() as patched:
                for module in (flows, make_flow):
                    patched.setattr(module, "SKIP_SPREAD", 1e-9)
                stepped = exits(make(level), 40_000, 61)
            assert_same_mean(skipped.exit_time, stepped.exit_time, bias=0.005)
        assert stepped.exit_step.mean() > 2 * skipped.exit_step.mean()  # it does skip where the noise is small

    @pytest.mark.parametrize("make", [double_well, slow(hyperbolic)])
    def test_nonlinear_landscapes_are_the_reference(self, make):
        for level in (1.0, 0.2):
            problem = make(level)
            assert_mean(exits(problem, 40_000, 70).exit_time, float(reference_of(problem).mean_exit_time()))

    @pytest.mark.parametrize("height", [3.0, slow(1.5), slow(6.0)])
    def test_a_well_far_higher_than_its_parabola_is_left_in_few_steps(self, height):
        """Smooth, though its gradient is linear in a thousandth of the way to the wall only; a saddle is the wall."""
        landscape = MultiWell([-1.0, 1.0], [0.0], [height], [2.0, 2.0], [2.0])
        for level in (0.2, 0.05):
            problem = EscapeProblem(landscape, Box([-3.0], [0.0]), Independent(1.5, [1.0]), SGD(), level)
            samples = exits(problem, 40_000, 72)
            exact = float(interval_reference(problem).mean_exit_time())
            assert_mean(samples.exit_time, exact)
            assert samples.exit_step.mean() < 300

    @pytest.mark.slow
    def test_a_sublevel_set_gives_no_warning(self):
        well = DoubleWell(1.0, 0.5)
        exits(EscapeProblem(well, Sublevel(well, 0.4), Independent(1.5, [1.0]), SGD(), 0.31), 64)

    @pytest.mark.slow
    def test_sublevel_set_is_the_reference(self):
        well = DoubleWell(1.0, 0.5)
        problem = EscapeProblem(well, Sublevel(well, 0.4), Independent(1.5, [1.0]), SGD(), 0.3)
        assert_mean(exits(problem, 40_000, 71).exit_time, float(reference_of(problem).mean_exit_time()))

    @pytest.mark.parametrize(("dimension", "alpha"), [(2, 1.2), slow(2, 1.8), slow(5, 1.5)])
    def test_rotational_noise_alone_in_a_ball_is_getoors(self, dimension, alpha):
        noise, center = Rotational(alpha, np.ones(dimension)), np.zeros(dimension)
        constant = gamma(dimension / 2) / (2**alpha * gamma(1 + alpha / 2) * gamma((dimension + alpha) / 2))
        for place, distance in enumerate((0.0, 0.7)):
            start = np.eye(dimension)[0] * distance
            problem = EscapeProblem(Flat(center), Ball(1.0, center), noise, SGD(), 1.0, start)
            exact = constant * (1 - distance**2) ** (alpha / 2)
            assert_mean(exits(problem, 100_000, 80 + place).exit_time, exact)

    @pytest.mark.slow
    def test_half_space_at_small_noise(self):
        noise = Independent(1.5, [1.0, 0.5])
        problem = EscapeProblem(Quadratic([1.0, 3.0]), HalfSpace([1.0, 1.0], 1.0), noise, SGD(), 1e-3)
        times = exits(problem, 40_000, 90).exit_time
        assert_mean(times, predict(problem).mean_exit_time, bias=1e-3)

    @pytest.mark.slow
    @pytest.mark.parametrize("kappa", [0, 3])
    def test_box_of_ten_coordinates_is_the_first_of_ten_intervals(self, kappa):
        ten = np.ones(10)
        landscape = Quadratic(kappa * ten) if kappa else Flat(0 * ten)
        box = EscapeProblem(landscape, Box(-ten, ten), Independent(1.5, ten), SGD(), 1.0)
        firsts = exits(on_interval(1.5, kappa), 400_000, 91).exit_time.reshape(-1, 10).min(axis=1)
        assert_same_mean(exits(box, 40_000, 92).exit_time, firsts, bias=BIAS)

    @pytest.mark.slow
    def test_float64_is_the_same_law(self):
        for kappa in (0, 10):
            single, double = (
                exits(on_interval(1.5, kappa), 40_000, 93 + place, dtype=dtype)
                for place, dtype in enumerate(("float32", "float64"))
            )
            assert double.exit_position.dtype == np.float64
            assert_same_mean(single.exit_time, double.exit_time)


class TestJumpAdaptedAsAProgram:
    @pytest.mark.parametrize(
        "make",
        [
            partial(quadratic, 1.5, 0.3),
            slow(partial(double_well, 0.3)),
            slow(partial(adam, 0.1)),
            slow(partial(momentum, 0.1)),
        ],
    )
    def test_bits_do_not_depend_on_chunks_or_devices(self, make):
        first = exits(make(), 1000, 7, devices=jax.devices()[:1])
        for devices, chunk_size in ((1, 64), (4, None)):
            other = exits(make(), 1000, 7, devices=jax.devices()[:devices], chunk_size=chunk_size)
            np.testing.assert_array_equal(other.exit_time, first.exit_time)
            np.testing.assert_array_equal(other.exit_position, first.exit_position)

    def test_censored_trajectories_are_the_same_until_then(self):
        """Steps end at max_time, so only those that end before it are the same to the bit."""
        problem, horizon = on_interval(1.5, 10), 1.0
        free, censored = exits(problem, 4000, 8), exits(problem, 4000, 8, max_time=horizon)
        left = censored.exited
        assert 0 < left.sum() < 4000
        np.testing.assert_array_equal(censored.exit_time[left], free.exit_time[left])
        np.testing.assert_array_equal(left, free.exit_time <= horizon)
        np.testing.assert_allclose(censored.exit_time[~left], horizon, rtol=1e-6)
        assert (np.abs(censored.exit_position[~left]) < 1).all()


class TestQuasiStationaryRate:
    @pytest.mark.parametrize(("alpha", "kappa"), [(1.2, 10), (1.5, 3), (1.5, 1000), (1.8, 10)])
    def test_rate_is_the_reference(self, alpha, kappa):
        self.check(alpha, kappa, 2e-3)

    @pytest.mark.slow
    @pytest.mark.parametrize("alpha", [1.2, 1.5, 1.8])
    @pytest.mark.parametrize("kappa", [0, 3, 10, 1000])
    def test_rate_on_the_whole_grid(self, alpha, kappa):
        self.check(alpha, kappa, 5e-4)

    def check(self, alpha, kappa, relative_error):
        problem = on_interval(alpha, kappa)
        found, exact = quasi_stationary_rate(problem, 1, relative_error=relative_error), reference_of(problem).rate
        assert found.converged
        assert abs(found.rate / exact - 1) < 0.005 + 3 * found.standard_error / exact, found.rate / exact - 1

    @pytest.mark.slow
    def test_rates_of_independent_coordinates_add_up(self):
        curvature, alpha = [3.0, 10.0, 30.0], 1.5
        noise = Independent(alpha, np.ones(3))
        problem = EscapeProblem(Quadratic(curvature), Box(-np.ones(3), np.ones(3)), noise, SGD(), 1.0)
        exact = sum(reference_of(on_interval(alpha, kappa)).rate for kappa in curvature)
        found = quasi_stationary_rate(problem, 2, relative_error=2e-3)
        assert abs(found.rate / exact - 1) < 0.005 + 4 * found.standard_error / exact

    @pytest.mark.parametrize("dimension", [12, slow(100)])
    @pytest.mark.slow
    def test_many_coordinates_cost_one_ray_each_step(self, dimension):
        ones = np.ones(dimension)
        noise = Independent(1.5, np.linspace(0.5, 1.5, dimension))
        problem = EscapeProblem(Quadratic(ones), Box(-ones, 2 * ones), noise, SGD(), 1e-3)
        found, prediction = quasi_stationary_rate(problem, 13, relative_error=1e-3), predict(problem)
        assert prediction.kappa > 1e4
        assert abs(found.rate / prediction.rate - 1) < 1e-3 + 4 * found.standard_error / prediction.rate

    @pytest.mark.slow
    @pytest.mark.parametrize("noise", [Independent, Rotational])
    def test_small_noise_limit_in_a_box(self, noise):
        box = Box([-1.0, -1.0, -0.5], [1.0, 2.0, 1.0])
        problem = EscapeProblem(Quadratic([1.0, 2.0, 3.0]), box, noise(1.5, [1.0, 0.7, 0.5]), SGD(), 1e-4)
        prediction = predict(problem)
        assert prediction.kappa > 1e4
        found = quasi_stationary_rate(problem, 3, relative_error=1e-4)
        error = 4 * math.hypot(found.standard_error, prediction.rate_error)
        assert abs(found.rate - prediction.rate) < 5e-4 * prediction.rate + error

    @pytest.mark.parametrize("kappa", [3, slow(30)])
    def test_standard_error_is_honest(self, kappa):
        """12 honest z-scores have a root mean square above 1.6 with probability 1.6e-3, and then 1.5 at 5%."""
        problem = on_interval(1.5, kappa)
        exact = reference_of(problem).rate
        found = [quasi_stationary_rate(problem, seed, relative_error=0.02, num_particles=512) for seed in range(12)]
        z = [(one.rate - exact) / one.standard_error for one in found]
        assert math.sqrt(np.mean(np.square(z))) < 1.6, z

    def test_rate_in_an_asymmetric_valley(self):
        problem = valley(0.5)
        found, exact = quasi_stationary_rate(problem, 8, relative_error=3e-3), reference_of(problem).rate
        assert abs(found.rate / exact - 1) < 0.005 + 4 * found.standard_error / exact, found.rate / exact - 1

    @pytest.mark.slow
    @pytest.mark.parametrize(("level", "tolerance"), [(1e-3, 0.015), (1e-4, 0.003)])
    def test_basin_that_the_flow_leaves(self, level, tolerance):
        """Adam overshoots: the rate is that of the jumps after which the flow leaves."""
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [8.0]), Independent(1.5, [0.5]), ADAM, level)
        found, prediction = quasi_stationary_rate(problem, 4, relative_error=5e-3), predict(problem)
        assert abs(found.rate / prediction.rate - 1) < tolerance + 4 * found.standard_error / prediction.rate

    @pytest.mark.parametrize("level", [1e-3, slow(1e-5)])
    def test_noise_in_a_momentum_costs_no_more_at_small_noise(self, level):
        """The jumps after which the flow leaves are known; what is counted is who differs from them."""
        problem = dataclasses.replace(momentum(level), landscape=Quadratic([20.0]))
        found, prediction = quasi_stationary_rate(problem, 12, relative_error=1e-3), predict(problem)
        assert found.converged
        assert found.steps < 2e7
        assert abs(found.rate / prediction.rate - 1) < 2e-3 + 4 * found.standard_error / prediction.rate

    def test_particles_have_no_bias_from_their_own_clocks(self):
        """Without drift most steps are short and near the boundary, and stand for little time."""
        for alpha in (1.2, 1.5):
            self.check(alpha, 0, 4e-3)

    def test_starts_anywhere_and_stops_at_max_time(self):
        problem = on_interval(1.5, 3)
        whole = quasi_stationary_rate(problem, 5, relative_error=1e-9, max_time=60.0)
        assert not whole.converged
        assert 60 <= whole.time < 70
        moved = dataclasses.replace(problem, start=[0.9])
        other = quasi_stationary_rate(moved, 6, relative_error=0.005)
        assert abs(other.rate - whole.rate) < 4 * math.hypot(other.standard_error, whole.standard_error)

    def test_mean_exit_time_from_its_law_is_one_over_the_rate(self):
        """From the minimum the mean is longer, by as much as the reference says."""
        problem = on_interval(1.5, 3)
        reference = reference_of(problem)
        longer = float(reference.mean_exit_time()) * reference.rate
        assert 1.02 < longer < 1.09
        mean = exits(problem, 200_000, 11).exit_time.mean()
        rate = quasi_stationary_rate(problem, 7, relative_error=3e-3).rate
        assert mean * rate == pytest.approx(longer, rel=BIAS + 4 * math.hypot(1 / 447, 3e-3))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"relative_error": 0.0}, "relative_error must be positive"),
            ({"relative_error": float("nan")}, "relative_error must be positive"),
            ({"num_particles": 1}, "num_particles must be at least 2"),
            ({"max_time": 1e-6}, "too short"),
        ],
    )
    def test_bad_arguments(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            quasi_stationary_rate(on_interval(1.5, 3), 0, **arguments)

    def test_random_gradient_noise_is_refused(self):
        dynamics = Adam(0.1, gradient_noise="gaussian")
        problem = dataclasses.replace(quadratic(1.5, 0.1), dynamics=dynamics)
        with pytest.raises(ValueError, match="gradient_noise"):
            quasi_stationary_rate(problem)


SINGLE = Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: predict(p, Iteration()), "needs a learning_rate"),
        (lambda p: predict(p, Iteration), "solver is the class Iteration"),
        (lambda p: predict(p, "iteration"), "solver is 'iteration'"),
        (lambda p: Plan(JumpAdapted), "solver is the class JumpAdapted"),
        (lambda p: Plan(Euler(0.1), 2.5), "num_trajectories must be a whole number, got 2.5"),
        (lambda p: Plan(Euler(0.1), math.nan), "num_trajectories must be a whole number"),
        (lambda p: Plan(Euler(0.1), chunk_size=2.5), "chunk_size must be a whole number"),
        (lambda p: quasi_stationary_rate(p, num_particles=2.5), "num_particles must be a whole number"),
        (lambda p: quasi_stationary_rate(p, dtype="float16"), "dtype must be 'float32' or 'float64'"),
        (lambda p: EscapeProblem(*SINGLE, SGD, 0.1), r"dynamics is the class SGD: give an object, SGD\(...\)"),
        (lambda p: EscapeProblem(*SINGLE[:2], None, SGD(), 0.1), "noise is missing"),
        (lambda p: EscapeProblem(SINGLE[0], Box, SINGLE[2], SGD(), 0.1), "basin is the class Box"),
    ],
)
def test_what_is_no_object_or_no_whole_number_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(EscapeProblem(*SINGLE, SGD(), 0.1))
