"""Solvers alone: what small jumps add to a flow, which steps are stable, which numbers a dtype resolves.

Every seed is fixed. Means may differ by 4 standard errors, which happens by chance with probability 6.3e-5 a test.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov

from levyjax.arrays import as_matrix, cast
from levyjax.basins import Ball, Box, HalfSpace
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.escape import EscapeProblem, ExitCode, Plan, interval_reference, predict, quasi_stationary_rate, simulate
from levyjax.landscapes import Quadratic, from_function
from levyjax.noise import Gaussian, Independent, PerCoordinate, Rotational
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed
from levyjax.solvers.limits import require_resolution, require_stable
from levyjax.solvers.motion import jump_slopes, linearised
from levyjax.solvers.spread import exposed
from levyjax.solvers.steps import limited

ALONG = [[1.0, 0.99], [0.99, 1.0]]  # diag(1.99, 0.01) turned by 45 degrees

STEPPED = from_function(lambda x: x[0] ** 2 / 2 + 1e-3 * x[1] ** 2 / 2, [0.0, 0.0])  # no formula for its flow


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def in_ball(curvature, noise, level, dynamics=None):
    dimension = len(curvature)
    return EscapeProblem(Quadratic(curvature), Ball(1.0, np.zeros(dimension)), noise, dynamics or SGD(), level)


def exits(problem, count=20_000, seed=0, solver=None, **plan):
    return simulate(problem, Plan(solver or JumpAdapted(), count, **plan), seed)


def assert_mean(times, exact, error=0.0, bias=0.0):
    """The mean is an exact one, which itself is known to a standard error and a bias."""
    error = math.hypot(times.std() / math.sqrt(times.size), error)
    assert abs(times.mean() - exact) < bias * exact + 4 * error, (times.mean(), exact, error)


@jax.jit
def amount(small_jumps, *arguments):
    return small_jumps.amount(*arguments)


def assert_same_mean(one, other):
    assert_mean(one, other.mean(), other.std() / math.sqrt(other.size))


class TestSmallJumpsOfSeveralModes:
    """The covariance of what the small jumps add over a time, from the matrices themselves."""

    def added(self, problem, time, depth=1.0):
        """(d, d), root times its transpose: from the draws' unit vectors."""
        with jax.enable_x64(True):
            solver = JumpAdapted().prepare(problem)
            flow, alpha = cast(solver.layout.flow, jnp.float64), np.asarray(problem.noise.alpha)
            variances = np.asarray(solver.layout.variances) * depth ** (2 - alpha)
            modes = len(flow.decay)
            shrunk = -np.expm1(-2 * flow.decay * time) / (2 * flow.decay)
            root = np.asarray(
                amount(
                    flow.noise,
                    flow.decay,
                    np.full(modes, time),
                    np.broadcast_to(shrunk[:, None], (modes, modes)),
                    np.broadcast_to(variances[:, None], (modes, modes)),
                    np.eye(modes),
                )
            )
            basis = np.eye(modes) if flow.basis is None else flow.basis
            return basis @ root @ root.T @ basis.T, variances

    def exact(self, problem, variances, time):
        with jax.enable_x64(True):
            hessian = np.asarray(problem.landscape.hessian())
        columns = problem.noise_level * np.asarray(problem.noise.scale)
        rest = solve_continuous_lyapunov(hessian, columns * variances @ columns.T)
        gone = expm(-hessian * time)
        return rest - gone @ rest @ gone.T

    @pytest.mark.parametrize(
        ("curvature", "noise"),
        [
            ([1.0, 1.0], Rotational(1.9, ALONG)),
            ([1.0, 6.0], Rotational(1.9, ALONG)),
            ([[3.0, 1.0], [1.0, 2.0]], Independent(1.5, [[1.0, 0.0], [0.0, 0.0]])),
            ([[3.0, 1.0], [1.0, 2.0]], PerCoordinate([1.9, 1.2], [[1.0, 0.0], [0.5, 1.0]])),
            (np.diag(np.arange(1.0, 11)) + 0.3, Independent(1.5, np.eye(10) + 0.2)),
        ],
        ids=["one rate", "two rates", "noise on one axis", "an alpha each", "ten"],
    )
    def test_covariance_is_the_linear_equations(self, curvature, noise):
        problem = in_ball(curvature, noise, 0.2)
        for time, depth in ((1e-3, 1.0), (0.3, 0.1), (4.0, 0.5)):
            found, variances = self.added(problem, time, depth)
            exact = self.exact(problem, variances, time)
            np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())

    @pytest.mark.parametrize("time", [1e-2, 1.0, 30.0])
    @pytest.mark.parametrize(
        ("landscape", "noise", "dynamics"),
        [
            (STEPPED, Independent(1.5, [[1.0, 0.0], [0.5, 1.0]]), SGD()),
            (STEPPED, PerCoordinate([1.9, 1.2], [[1.0, 0.0], [0.5, 1.0]]), SGD()),
            (Quadratic([[2.0, 0.5], [0.5, 1e-3 + 0.125]]), Rotational(1.5, ALONG), Momentum(0.1, 0.8)),
            (Quadratic([10.0, 0.1]), Independent(1.5, [1.0, 1.0]), Momentum(0.1, 0.0)),
            (Quadratic([2.5, 1.0]), Independent(1.5, [1.0, 1.0]), Momentum(0.1, 0.0)),
        ],
        ids=["rates of 1 and 1e-3", "an alpha each", "turning modes", "two momenta", "critical damping"],
    )
    def test_covariance_of_any_dynamics_is_the_linear_equations(self, landscape, noise, dynamics, time):
        """Rates that differ by 1000 had the fast mode's variance grow at the slow one's rate; to 1% of it here."""
        problem = EscapeProblem(landscape, Ball(1.0, [0.0, 0.0]), noise, dynamics, 1e-3)
        with jax.enable_x64(True):
            solver = JumpAdapted().prepare(problem)
            flow, variances = solver.layout.flow, np.asarray(solver.layout.variances)
            system = linearised(problem, None, landscape.minimum)
            spreads = jump_slopes(problem, landscape.minimum) @ (1e-3 * np.asarray(as_matrix(noise.scale)))
        n = len(system)
        for dtype, allowed in ((jnp.float64, 0.002), (jnp.float32, 0.005)):
            with jax.enable_x64(dtype == jnp.float64):
                made = cast(flow.noise, dtype)
                factors, draws = np.ones((made.parts.shape[-1], n), dtype), np.eye(n, dtype=dtype)
                root = np.asarray(amount(made, np.full(n, time, dtype), factors, draws))
            rest = solve_continuous_lyapunov(system, spreads * variances @ spreads.T)
            exact = rest - expm(-system * time) @ rest @ expm(-system * time).T
            size = np.sqrt(np.diag(exact))
            np.testing.assert_allclose(root @ root.T, exact, atol=allowed * np.outer(size, size).max(), rtol=0)
            errors = np.abs(np.diag(root @ root.T) - np.diag(exact))
            assert (errors <= 5 * allowed * np.diag(exact) + 1e-4 * np.diag(rest)).all()

    def test_rates_far_apart_are_left_alike_by_either_flow(self):
        noise = Rotational(1.5, [1.0, 0.1])
        times = [
            exits(EscapeProblem(landscape, Ball(1.0, [0.0, 0.0]), noise, SGD(), 0.01), seed=seed).exit_time
            for seed, landscape in enumerate((STEPPED, Quadratic([1.0, 2e-3])))
        ]
        assert_same_mean(*times)

    @pytest.mark.parametrize("level", [0.15])
    def test_turned_noise_is_left_as_its_twin_on_the_axes(self, level):
        """44.4 +- 0.7 by Euler's steps of 0.001 in NumPy; without the covariance it was 69.3."""
        turned, twin = (
            exits(in_ball([1.0, 1.0], Rotational(1.9, scale), level), seed=seed).exit_time
            for seed, scale in enumerate((ALONG, [1.99, 0.01]))
        )
        assert_mean(turned, 44.4, 0.7, bias=0.01)
        assert_same_mean(turned, twin)

    @pytest.mark.slow
    @pytest.mark.parametrize("dimension", [2, 3])
    @pytest.mark.parametrize("level", [0.6, 0.15, 0.03])
    @pytest.mark.parametrize("noise", [Independent, Rotational, PerCoordinate])
    def test_turned_problems_are_left_alike(self, noise, level, dimension):
        """kappa is about 1, 10 to 50, and 100 to 1000."""
        rng = np.random.default_rng(3)
        turn = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
        scale = np.tril(rng.normal(size=(dimension, dimension))) + np.eye(dimension)
        hessian = np.diag([1.0, 6.0, 0.3][:dimension])
        alpha = np.array([1.9, 1.5, 1.3][:dimension]) if noise is PerCoordinate else 1.8
        times = [
            exits(
                in_ball(turn @ hessian @ turn.T, noise(alpha, turn @ scale / np.linalg.norm(scale, 2)), level),
                seed=seed,
            ).exit_time
            for seed, turn in enumerate((np.eye(dimension), turn))
        ]
        assert_same_mean(*times)

    @pytest.mark.parametrize("options", [{"chunk_size": 64}, {"devices": 4}])
    @pytest.mark.parametrize("dynamics", [SGD(), Momentum(0.05, 0.8)], ids=["sgd", "momentum"])
    def test_bits_do_not_depend_on_lanes(self, options, dynamics):
        problem = in_ball([[3.0, 1.0], [1.0, 2.0]], Rotational(1.9, ALONG), 0.3)
        problem = dataclasses.replace(problem, dynamics=dynamics)
        devices = {"devices": jax.devices()[: options.get("devices", 1)]}
        first, other = exits(problem, 500, devices=jax.devices()[:1]), exits(problem, 500, **{**options, **devices})
        np.testing.assert_array_equal(first.exit_position, other.exit_position)


CUBIC = from_function(lambda x: (x**3 / 3 - x).sum(), [1.0])
QUARTIC = from_function(lambda x: (x**4 / 4 + x**2 / 2).sum(), [0.0])


def behind_a_wall(landscape, distance, dynamics=None, level=0.05, alpha=1.2):
    noise = Independent(alpha, [1.0])
    return EscapeProblem(landscape, HalfSpace([-1.0], distance), noise, dynamics or SGD(), level)


class TestSteepLandscapes:
    """Long jumps away from the wall, to where an explicit step would come back through it."""

    @pytest.mark.parametrize("dt", [0.2, slow(0.05)])
    @pytest.mark.parametrize(
        ("landscape", "distance", "exact", "error"), [(CUBIC, 1.1, 296, 2.1), (QUARTIC, 1, 130, 1)]
    )
    def test_mean_exit_time_does_not_depend_on_dt(self, landscape, distance, exact, error, dt):
        """By plain NumPy with the drift's step cut to a hundredth of its own time; 222 and 96 at dt = 0.2 uncut."""
        samples = exits(behind_a_wall(landscape, distance), 10_000, solver=Euler(dt))
        assert samples.exited.all()
        assert_mean(samples.exit_time, exact, error, bias=0.01)

    def test_stable_steps_are_not_touched(self):
        points = jnp.asarray([[0.1, 1.0, -0.7, 3.0]])
        np.testing.assert_array_equal(limited(QUARTIC, points, 0.05), QUARTIC.gradient(points))
        cut = limited(QUARTIC, jnp.asarray([[100.0]]), 0.05)
        assert float(cut[0, 0]) * 0.05 == pytest.approx(1e6 / 3e4, rel=1e-3)

    @pytest.mark.parametrize("dynamics", [Momentum(0.1, 0.5), Adam(variant="frozen", preconditioner=[1.0])])
    def test_a_wild_step_with_averages_is_no_exit(self, dynamics):
        start = dataclasses.replace(behind_a_wall(QUARTIC, 1.0, dynamics, level=1e-6), start=[1000.0])
        samples = exits(start, 16, solver=Euler(0.05))
        assert samples.count(ExitCode.NONFINITE) == 16


class TestWallsNearSaddles:
    """Small jumps carry the point towards the saddle, where the gradient that holds it back is weaker."""

    landscape = from_function(lambda x: (x**4 / 4 - 0.1 * x**3 / 3 - x**2 / 2 + 0.1 * x).sum(), [-1.0])

    @pytest.mark.parametrize("level", [0.2, slow(0.07)])
    def test_mean_side_and_rate_are_the_reference(self, level):
        """At 0.2 the point was taken to be in a parabola: 5% of the exits above were missing."""
        box = Box([-2.0], [0.05])
        problem = EscapeProblem(self.landscape, box, Independent(1.6, [1.0]), SGD(), level)
        reference, samples = interval_reference(problem, relative_error=1e-4), exits(problem, 40_000)
        assert_mean(samples.exit_time, float(reference.mean_exit_time()), bias=0.01)
        above = float(reference.exit_probability_above())
        share = (samples.exit_face == 1).mean()
        assert abs(share - above) < 0.005 * above + 4 * math.sqrt(above * (1 - above) / 40_000)
        found = quasi_stationary_rate(problem, 0, relative_error=5e-3)
        assert abs(found.rate / reference.rate - 1) < 0.005 + 4 * found.standard_error / reference.rate


def line(curvature=1.0, center=0.0, level=0.03, dynamics=None):
    box = Box([center - 1], [center + 1])
    return EscapeProblem(Quadratic([curvature], [center]), box, Independent(1.5, [1.0]), dynamics or SGD(), level)


class TestWallsAcrossTheAxes:
    """The wall of a half-space is nearer along its normal than along any axis; exits were up to 15% late there."""

    @pytest.mark.parametrize("d", [2, 8])
    def test_brownian_noise(self, d):
        """Beside the exact mean on the line, 1% and 4 standard errors of 4096 exits apart at most: 7.3%."""
        wall = 0.7 * math.sqrt(d)
        problem = EscapeProblem(Quadratic([1.4] * d), HalfSpace([1.0] * d, wall), Gaussian([1.0] * d), SGD(), 0.25)
        line = EscapeProblem(Quadratic([1.4]), Box([-5.0], [0.7]), Gaussian([1.0]), SGD(), 0.25)
        times = simulate(problem, Plan(JumpAdapted(), 4096), 0).exit_time
        assert abs(times.mean() / predict(line).mean_exit_time - 1) < 0.01 + 4 / 64

    def test_the_longest_spread_of_a_half_space_is_that_along_its_normal(self):
        covariance = np.array([[2.0, 0.7, 0.0], [0.7, 1.0, 0.1], [0.0, 0.1, 0.5]])
        normal = np.array([1.0, -2.0, 3.0])
        half = HalfSpace(normal, 2.0)
        problem = EscapeProblem(Quadratic([1.0] * 3), half, Gaussian([1.0] * 3), SGD(), 0.1)
        with jax.enable_x64(True):
            assert exposed(problem, covariance) == pytest.approx(normal @ covariance @ normal / 4, rel=1e-6)


class TestStableSteps:
    @pytest.mark.parametrize("solver", [Euler(3.0), Euler(2.0), Tamed(2.5)])
    def test_steps_that_diverge_at_the_minimum_are_refused(self, solver):
        with pytest.raises(ValueError, match="too long for the curvature at the minimum"):
            exits(line(), 4, solver=solver)

    def test_just_stable_ones_and_the_iteration_are_not(self):
        exits(line(), 4, solver=Euler(1.9), max_time=10.0)
        exits(line(dynamics=SGD(3.0)), 4, solver=Iteration())
        require_stable(in_ball([1.0, 0.5], Rotational(1.5, [1.0, 1.0]), 0.1), Euler(1.99))

    @pytest.mark.parametrize("nesterov", [False, True])
    def test_momentum_has_the_limit_of_its_own_matrix(self, nesterov):
        """The largest |eigenvalue| of the step's matrix, written out, crosses 1 where the refusal begins."""
        eta, beta = 0.1, 0.9
        problem = line(50.0, dynamics=Momentum(eta, beta, nesterov))

        def radius(dt):
            trace = np.array([dt * 50 / eta, 1 - (1 - beta) * dt / eta])
            point = [1 - 50 * dt, 0] if nesterov else [1, 0]
            return np.abs(np.linalg.eigvals([point - (beta if nesterov else 1) * dt * trace, trace])).max()

        refused = []
        for dt in np.geomspace(1e-3, 1, 40):
            try:
                require_stable(problem, Euler(dt))
                refused.append(False)
            except ValueError:
                refused.append(True)
        assert refused == [radius(dt) > 1 for dt in np.geomspace(1e-3, 1, 40)]
        assert 0 < sum(refused) < 40

    def test_adam_has_one_too(self):
        problem = line(dynamics=Adam(variant="frozen", preconditioner=[1.0]))
        require_stable(problem, Euler(0.5))
        with pytest.raises(ValueError, match="is short enough"):
            require_stable(problem, Euler(20.0))


class TestResolution:
    """491 at c = 0; in float32 432 at 1e5 and 173 at 1e7, by Euler's steps of 0.01."""

    @pytest.mark.parametrize("center", [1e5, -1e7])
    @pytest.mark.parametrize("solver", [Euler(0.01), JumpAdapted()])
    def test_coordinates_too_large_are_refused_in_float32_alone(self, center, solver):
        with pytest.raises(
            ValueError, match=r"too large for float32: at 1e.*take dtype = 'float64' or put the minimum"
        ):
            exits(line(center=center), 4, solver=solver)
        require_resolution(line(center=center), solver, "float64")

    def test_short_steps_are_refused_where_longer_ones_are_not(self):
        """At 3e4 steps of 0.01 give 485 +- 8 with the random numbers that give 491 at 0; those of 0.1 give 490."""
        with pytest.raises(ValueError, match="too short for coordinates in float32"):
            require_resolution(line(center=3e4), Euler(0.01), "float32")
        require_resolution(line(center=3e4), Euler(0.1), "float32")
        require_resolution(line(center=1e4), Euler(0.01), "float32")

    def test_what_is_allowed_far_out_is_right(self):
        near, far = (exits(line(center=center), 4000, solver=Euler(0.1)).exit_time for center in (0.0, 3e4))
        assert far.mean() == pytest.approx(near.mean(), rel=0.01)  # by the same random numbers

    def test_slow_drift_that_the_noise_carries_over_rounding_is_allowed(self):
        require_resolution(line(1e-6, level=1e-4), Euler(0.01), "float32")
        with pytest.raises(ValueError, match="too short for coordinates in float32"):
            require_resolution(line(1e-6, level=1e-9), Euler(0.01), "float32")
