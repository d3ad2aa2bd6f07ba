"""Noise that depends on the point: mini-batches of regression data, and a dispersion A(x).

Every seed is fixed. A mean may be 4 standard errors from its law, which happens by chance with probability 6.3e-5 a
number.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import levyjax.noise
from levyjax.arrays import cast
from levyjax.basins import Ball, Box
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.escape import EscapeProblem, Plan, exit_rate, interval_reference, predict, simulate, unit_rate
from levyjax.landscapes import Flat, LinearRegression, LogisticRegression, Quadratic
from levyjax.noise import (
    Gaussian,
    Independent,
    MiniBatch,
    Noise,
    Pareto,
    PerCoordinate,
    PointNoise,
    Rotational,
    StateDependent,
)
from levyjax.noise.base import noise_at
from levyjax.random import Counter, Stream, words
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed
from levyjax.stable import tail_constant
from levyjax.training.landscape import NetworkLoss

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(50, 3)) * [1.0, 0.5, 2.0]
LINEAR = LinearRegression(FEATURES, FEATURES @ [1.0, -2.0, 0.5] + RNG.standard_t(3, 50), ridge=0.05)
LOGISTIC = LogisticRegression(FEATURES, (FEATURES @ [1.0, -1.0, 0.5] + RNG.normal(size=50) > 0) * 1.0, ridge=0.02)
WIDE = Box([-100.0] * 3, [100.0] * 3)
each_loss = pytest.mark.parametrize("loss", [LINEAR, LOGISTIC], ids=["linear", "logistic"])


def counters(size, step=3):
    index = jnp.arange(size, dtype=jnp.uint32)
    return Counter(0 * index + jnp.uint32(7), index, 0 * index + jnp.uint32(step), 0 * index)


@jax.jit
def increments(noise, x, counter, dt=1.0):
    return noise.at(x, 1.0).increment(counter, jnp.asarray(dt, x.dtype))


class TestRegression:
    @each_loss
    def test_the_minimum_is_solved_to_1e_10(self, loss):
        """|x - x*| <= |gradient|/(smallest curvature), here 1.5 times that for the change of curvature on the way."""
        with jax.enable_x64(True):
            gradient = loss.sample_gradients(loss.minimum).mean(axis=0)
            least = np.linalg.eigvalsh(np.asarray(loss.hessian())).min()
        assert 1.5 * np.linalg.norm(gradient) / least < 1e-10

    @each_loss
    def test_rows_and_batches_are_the_gradients_of_the_same_sum(self, loss):
        with jax.enable_x64(True):
            x = jnp.asarray([0.3, -0.2, 1.1])
            rows = loss.sample_gradients(np.asarray(x))
            np.testing.assert_allclose(rows.mean(axis=0), loss.gradient(x), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(jax.grad(loss.value)(x), loss.gradient(x), rtol=1e-12, atol=1e-14)
            index = jnp.asarray([[3, 0], [7, 7], [7, 49]])
            batches = loss.batch_gradient(x[:, None] * jnp.ones(2), index)
            np.testing.assert_allclose(batches.T, rows[np.asarray(index)].mean(axis=0), rtol=1e-12)


class TestMiniBatch:
    @each_loss
    @pytest.mark.parametrize("batch_size", [1, 5])
    def test_mean_and_covariance_at_a_point(self, loss, batch_size, many):
        noise = cast(MiniBatch(loss, batch_size), jnp.float32)
        point = np.array([0.3, -0.2, 1.1])
        x = jnp.asarray(point, jnp.float32)[:, None] * jnp.ones(200_000)
        parts = [increments(noise, x, counters(200_000, step)) for step in range(3, 3 + many)]
        draws = np.concatenate(parts, axis=1).astype(np.float64)
        law = MiniBatch(loss, batch_size).covariance(point)
        assert np.all(np.abs(draws.mean(axis=1)) < 4 * draws.std(axis=1) / math.sqrt(draws.shape[1]))
        for i in range(3):
            for j in range(3):
                products = draws[i] * draws[j]
                assert abs(products.mean() - law[i, j]) < 4 * products.std() / math.sqrt(products.size)

    @each_loss
    def test_the_iteration_is_sgd_on_those_rows(self, loss):
        """Step by step against NumPy: x - eta (mean gradient of the rows that the counter draws)."""
        problem = EscapeProblem(loss, WIDE, MiniBatch(loss, 4), SGD(0.1), 1.0, start=[0.5, 0.5, 0.5])
        with jax.enable_x64(True):
            problem, solver = cast(problem, jnp.float64), Iteration()
            state, x = solver.init(problem, jnp.full((3, 1), 0.5)), np.full(3, 0.5)
            for step in range(5):
                zero = jnp.zeros(1, jnp.uint32)
                counter = Counter(zero + 7, zero + 9, zero + jnp.uint32(step), zero)
                bits = [np.asarray(word, object)[:, 0] for word in words(counter, 4, Stream.NOISE)]
                rows = [(((int(high) << 32) | int(low)) * 50) >> 64 for high, low in zip(*bits, strict=True)]
                x = x - 0.1 * loss.sample_gradients(x)[rows].mean(axis=0)
                state = solver.step(problem, state, counter)
                np.testing.assert_allclose(np.asarray(state.x)[:, 0], x, rtol=1e-10)

    @pytest.mark.parametrize("continuous", [False, True])
    def test_stationary_covariance_of_sgd(self, continuous):
        """S = E (I - eta H_B) S (I - eta H_B) + eta^2 C, exact for linear regression, after 400 steps.

        So for the SDE at noise_level eta^(1/2) with steps of eta, whose noise has the same covariance at every point.

        H_B and the noise at the minimum have mean-zero products of odd order in x only, which vanish in the mean.
        """
        loss, eta, batch_size = LINEAR, 0.1, 2
        rows = np.asarray(loss.features)
        hessians = rows[:, :, None] * rows[:, None, :] + 0.05 * np.eye(3)
        mean = hessians.mean(axis=0)
        spread = np.mean([np.kron(h - mean, h - mean) for h in hessians], axis=0) / batch_size
        step = np.eye(3) - eta * mean
        rows = loss.sample_gradients(loss.minimum)
        constant = eta**2 * (rows.T @ rows) / len(rows) / batch_size
        whole = np.kron(step, step) + eta**2 * spread
        assert np.abs(np.linalg.eigvals(whole)).max() < 0.98
        law = np.linalg.solve(np.eye(9) - whole, constant.ravel()).reshape(3, 3)
        noise = MiniBatch(loss, batch_size)
        problem = EscapeProblem(loss, WIDE, noise, SGD(eta), 1.0)
        solver, count = Iteration(), 40_000
        if continuous:
            problem = EscapeProblem(loss, WIDE, noise.diffusion(), SGD(), math.sqrt(eta))
            solver, count = Euler(eta), 4000
        samples = simulate(problem, Plan(solver, count, max_time=40.0), 0)
        assert not samples.exited.any()
        offset = samples.exit_position - loss.minimum
        for i in range(3):
            products = offset[:, i] ** 2
            assert abs(products.mean() - law[i, i]) < 4 * products.std() / math.sqrt(products.size)

    def test_a_trajectory_does_not_depend_on_the_chunk(self):
        problem = EscapeProblem(LINEAR, Box([-3.0] * 3, [3.0] * 3), MiniBatch(LINEAR, 2), Momentum(0.1, 0.5), 2.0)
        plans = [Plan(Iteration(), 200, max_time=5.0, chunk_size=size) for size in (200, 64)]
        one, other = (simulate(problem, plan, 3).exit_position for plan in plans)
        np.testing.assert_array_equal(one, other)

    def test_no_process_and_no_rate(self):
        problem = EscapeProblem(LINEAR, WIDE, MiniBatch(LINEAR, 2), SGD(0.1), 1.0)
        with pytest.raises(ValueError, match="take method = 'iteration'"):
            simulate(problem, Plan(Euler(0.1), 4), 0)
        assert "No exit rate is known for MiniBatch noise." in predict(problem, Iteration()).reasons


def bent(x, slope):
    """A(x), diagonal: 1 + slope |x_j|^2."""
    return 1 + slope * x**2


def turned(x):
    """A(x), a matrix."""
    return jnp.stack([jnp.stack([1 + x[1] ** 2, 0 * x[0]]), jnp.stack([jnp.sin(x[0]), 0.5 + 0 * x[0]])])


STATES = {
    "ito diagonal": StateDependent(Independent(1.5, [0.5, 0.2]), bent, np.array([0.5, 1.0])),
    "ito matrix": StateDependent(Rotational(1.3, [0.5, 0.2]), turned),
    "marcus diagonal": StateDependent(PerCoordinate([1.2, 1.8], [0.5, 0.2]), bent, np.array([0.5, 1.0]), "marcus"),
    "marcus matrix": StateDependent(Independent(1.5, [0.5, 0.2]), turned, kind="marcus"),
}
PAIR = LinearRegression(FEATURES[:, :2], FEATURES @ [1.0, -2.0, 0.5])
PIECES = STATES | {"mini-batch": MiniBatch(PAIR, 3)}
each_piece = pytest.mark.parametrize("name", PIECES)
BAD = {
    "driver": (lambda: StateDependent(Pareto(1.2, [1.0]), bent), "driver must be a Lévy process, got Pareto."),
    "kind": (
        lambda: StateDependent(Gaussian([1.0]), bent, kind="strat"),
        "kind must be 'ito' or 'marcus', got 'strat'.",
    ),
    "problem": (lambda: MiniBatch(Quadratic([1.0])), "problem must be a finite sum, such as LinearRegression"),
    "batch_size": (lambda: MiniBatch(LINEAR, 0), "batch_size must be at least 1, got 0."),
}


class TestEveryPointNoise:
    def test_the_table_is_whole(self):
        public = {item for name in levyjax.noise.__all__ if hasattr(item := getattr(levyjax.noise, name), "at")}
        assert public - {PointNoise} == {type(noise) for noise in PIECES.values()}

    def test_of_a_network_whose_minimum_is_not_known(self):  # protocols of Python 3.11 ask for every property's value
        loss = NetworkLoss(lambda parameters, x, y: parameters @ x * y, np.ones((3, 2)), np.ones(3))
        assert isinstance(MiniBatch(loss), PointNoise)
        assert noise_at(MiniBatch(loss), jnp.ones((2, 1)), 1.0).point is not None

    @each_piece
    def test_is_frozen_and_a_pytree_and_fits_its_protocol(self, name):
        noise = PIECES[name]
        assert isinstance(noise, PointNoise)
        assert isinstance(noise, Noise)
        for field in dataclasses.fields(noise):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(noise, field.name, 1.0)
        leaves, structure = jax.tree.flatten(noise)
        again = jax.tree.unflatten(structure, leaves)
        assert jax.tree.structure(again) == structure
        assert all(a is b for a, b in zip(jax.tree.leaves(again), leaves, strict=True))

    @each_piece
    def test_jit_and_vmap_and_any_batch_give_the_same(self, name):
        noise, many = cast(PIECES[name], jnp.float32), counters(60)
        x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 60)), jnp.float32)
        whole = np.asarray(increments(noise, x, many))
        part = increments(noise, x[:, 13:20], Counter(*(word[13:20] for word in many)))
        np.testing.assert_array_equal(part, whole[:, 13:20])
        one_by_one = jax.jit(jax.vmap(increments, (None, -1, 0), -1))(noise, x, many)
        np.testing.assert_allclose(one_by_one, whole, rtol=2e-5, atol=1e-6)
        eager = noise.at(x, 1.0).increment(many, jnp.float32(1.0))
        np.testing.assert_allclose(eager, whole, rtol=2e-5, atol=1e-6)

    @each_piece
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype_is_kept(self, name, dtype):
        with jax.enable_x64(True):
            noise = cast(PIECES[name], jnp.dtype(dtype))
            assert jax.eval_shape(increments, noise, jnp.zeros((2, 3), dtype), counters(3)).dtype == dtype

    @each_piece
    def test_no_point_no_increment_and_no_jump_by_jump(self, name):
        noise = PIECES[name]
        with pytest.raises(ValueError, match="depends on the point"):
            noise.increment(counters(1), 1.0)
        problem = EscapeProblem(Quadratic([1.0, 1.0]), Box([-1.0] * 2, [1.0] * 2), noise, SGD(), 0.1)
        with pytest.raises(ValueError, match=r"depends on the point, which this method cannot follow"):
            simulate(problem, Plan(JumpAdapted(), 4), 0)

    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_argument_is_refused_in_one_sentence(self, name):
        make, words = BAD[name]
        with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
            make()
        assert words in str(caught.value)


def valley(noise, noise_level, box=(-1.0, 1.5)):
    return EscapeProblem(Quadratic([1.0]), Box([box[0]], [box[1]]), noise, SGD(), noise_level)


def waves(x, parameters):
    """A(y) = 1 + a sin(2 y + b), above 0 for a below 1."""
    return 1 + parameters[0] * jnp.sin(2 * x + parameters[1])


def exponential_scale(x):
    """A(y) = exp(y): y' = A(y) z has the solution -log(exp(-x) - z)."""
    return jnp.exp(x)


class TestStateDependent:
    @pytest.mark.parametrize("kind", ["ito", "marcus"])
    def test_a_constant_dispersion_is_the_driver(self, kind):
        many = counters(100)
        x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 100)), jnp.float32)
        matrix = jnp.asarray([[0.5, 0.1], [0.3, 0.2]], jnp.float32)
        noise = cast(StateDependent(Independent(1.5, [1.0, 1.0]), lambda x, a: a, matrix, kind), jnp.float32)
        expected = cast(Independent(1.5, np.asarray(matrix)), jnp.float32).increment(many, jnp.float32(0.1))
        np.testing.assert_allclose(increments(noise, x, many, 0.1), expected, rtol=1e-4, atol=1e-5)

    def test_the_flow_of_marcus_has_its_closed_form(self):
        """y' = y z: a factor exp(z), to 1e-6 for |z| <= 1, and near 0 or far away where |z| is large."""
        with jax.enable_x64(True):
            noise = StateDependent(Independent(1.5, [1.0]), lambda x: x, kind="marcus")
            x, z = jnp.asarray([[0.5, 1.0, -2.0, 1.5]]), jnp.asarray([[1.0, -0.7, 0.3, 20.0]])
            np.testing.assert_allclose(noise.flow(x, z)[:, :3], (x * jnp.exp(z))[:, :3], rtol=1e-6)
            np.testing.assert_allclose(noise.flow(x, z)[:, 3:], (x * jnp.exp(z))[:, 3:], rtol=1e-2)
            assert np.abs(noise.flow(x, jnp.full((1, 4), -1e6))).max() < 1e-20
            assert np.all(np.isfinite(noise.flow(x, jnp.full((1, 4), 1e6))))
            assert np.abs(noise.flow(x, jnp.full((1, 4), 1e6))).min() > 1e6

    def test_ito_has_the_rate_of_the_dispersion_at_the_minimum(self):
        """A(x) = 1 + x^2/2 from x* = 0: the rate of A = 1; jump sizes on the way in change it by O(1/kappa)."""
        noise = StateDependent(Independent(1.5, [1.0]), bent, np.array([0.5]))
        problem = valley(noise, 0.02)
        plain = valley(Independent(1.5, [1.0]), 0.02)
        prediction = predict(problem)
        assert dataclasses.replace(prediction, reasons=()) == predict(plain)
        assert "depends on the point" in prediction.reasons[0]
        assert float(unit_rate(problem)) == pytest.approx(float(unit_rate(plain)), rel=1e-6)
        assert prediction.valid
        times = simulate(problem, Plan(Euler(0.1), 20_000), 0).exit_time
        assert abs(times.mean() * prediction.rate - 1) < 0.02 + 4 / math.sqrt(20_000)

    def test_marcus_leaves_by_the_flow(self):
        """A(y) = exp(y) on (-1, 1.5): a jump z leaves iff z > 1 - exp(-1.5) or z < 1 - e; rate and sides by that."""
        noise, noise_level = StateDependent(Independent(1.5, [1.0]), exponential_scale, kind="marcus"), 0.01
        problem = valley(noise, noise_level)
        prediction = predict(problem)
        reach = np.array([math.e - 1, 1 - math.exp(-1.5)])
        parts = tail_constant(1.5) / 1.5 * (noise_level / reach) ** 1.5
        assert prediction.rate == pytest.approx(parts.sum(), rel=1e-7)
        np.testing.assert_allclose(list(prediction.exit_probabilities.values()), parts / parts.sum(), rtol=1e-7)
        ito = predict(valley(dataclasses.replace(noise, kind="ito"), noise_level))
        assert ito.rate == pytest.approx((tail_constant(1.5) / 1.5 * (noise_level / np.array([1, 1.5])) ** 1.5).sum())

    def test_rates_of_marcus_have_derivatives(self):
        """In all that sets them: both of A's parameters, the bounds, the minimum, the noise's level, alpha and scale.

        The flow's time to the boundary is the integral of 1/A, so the rate has a quadrature, whose differences the
        derivatives are to match. (A search that does not differentiate its own end is off by 3.5% in the first.)
        """

        def rate(values):
            a, b, low, high, minimum, level, alpha, scale = values
            noise = StateDependent(Independent(alpha, scale[None]), waves, jnp.stack([a, b]), "marcus")
            landscape, basin = Quadratic(jnp.ones(1), minimum[None]), Box(low[None], high[None])
            return exit_rate(EscapeProblem(landscape, basin, noise, SGD(), level))

        def expected(values):
            a, b, low, high, minimum, level, alpha, scale = values
            nodes, weights = np.polynomial.legendre.leggauss(60)

            def time(end):
                half = (end - minimum) / 2
                return abs(half * (weights / (1 + a * np.sin(2 * (minimum + half * (nodes + 1)) + b))).sum())

            reach = np.array([time(low), time(high)])
            return float(tail_constant(alpha)) / alpha * ((level * scale / reach) ** alpha).sum()

        at = np.array([0.5, 0.3, -1.0, 1.5, 0.2, 0.05, 1.5, 0.8])
        with jax.enable_x64(True):
            assert float(rate(jnp.asarray(at))) == pytest.approx(expected(at), rel=1e-9)
            reverse, forward = (np.asarray(jax.jit(make(rate))(jnp.asarray(at))) for make in (jax.grad, jax.jacfwd))
            steps = 1e-5 * np.eye(len(at))
            slopes = [(expected(at + step) - expected(at - step)) / 2e-5 for step in steps]
        np.testing.assert_allclose(reverse, slopes, rtol=1e-6)
        np.testing.assert_allclose(forward, reverse, rtol=1e-12)

    def test_rates_of_marcus_in_the_plane_have_derivatives(self):
        """A matrix A(y) and a ball: the flow is bent, and the boundary is not where it was."""
        rays = np.array([[1.0, -0.6, 0.1], [0.2, 0.8, -1.0]])

        def reaches(values):
            noise = StateDependent(
                Independent(1.5, [1.0, 1.0]), lambda x, p: p[0] * turned(p[1] * x), values[:2], "marcus"
            )
            out, gauge = noise.way_out(Ball(values[2], jnp.zeros(2)), values[3:], jnp.asarray(rays))
            return jnp.concatenate([out.ravel(), gauge])

        with jax.enable_x64(True):
            at, reaches = jnp.asarray([1.0, 0.7, 0.8, 0.1, -0.2]), jax.jit(reaches)
            slopes = jax.jit(jax.jacrev(reaches))(at)
            for place, step in enumerate(1e-5 * jnp.eye(len(at))):
                expected = (reaches(at + step) - reaches(at - step)) / 2e-5
                np.testing.assert_allclose(slopes[:, place], expected, rtol=1e-6, atol=1e-8)

    def test_a_dispersion_that_hides_what_is_differentiated_is_refused(self):
        def rate(size):
            noise = StateDependent(Independent(1.5, [1.0]), lambda x: 1 + size * x**2, kind="marcus")
            return exit_rate(valley(noise, 0.05))

        for derivative in (jax.grad, jax.jacfwd):
            with pytest.raises(ValueError, match=r"^The dispersion's function [^\n]+ one of its parameters\."):
                derivative(rate)(0.5)

    @pytest.mark.parametrize("count", [500, pytest.param(5000, marks=pytest.mark.slow)])
    def test_exits_of_marcus(self, count):
        """Means within 3% (kappa = 61) and 4 errors of the law, and the side within 4 errors; no flow ends as NaN."""
        noise = StateDependent(Independent(1.5, [1.0]), exponential_scale, kind="marcus")
        problem = valley(noise, 0.05)
        prediction = predict(problem)
        samples = simulate(problem, Plan(Euler(0.1), count), 0)
        assert samples.exited.all()
        assert abs(samples.exit_time.mean() * prediction.rate - 1) < 0.03 + 4 / math.sqrt(count)
        law = prediction.exit_probabilities["x0<lower"]
        assert abs(np.mean(samples.exit_face == 0) - law) < 4 * math.sqrt(law * (1 - law) / count)

    @pytest.mark.parametrize("kind", ["ito", "marcus"])
    def test_taming_leaves_the_noise_as_it_is(self, kind):
        """On flat ground nothing is tamed, and the dispersion is the point's for both solvers."""
        noise = StateDependent(Independent(1.5, [1.0]), exponential_scale, kind=kind)
        problem = dataclasses.replace(valley(noise, 0.1), landscape=Flat([0.0]))
        plain, tamed = (simulate(problem, Plan(solver, 64, max_time=50.0), 0) for solver in (Euler(0.1), Tamed(0.1)))
        np.testing.assert_array_equal(plain.exit_position, tamed.exit_position)

    def test_refusals(self):
        marcus = StateDependent(Independent(1.5, [1.0]), exponential_scale, kind="marcus")
        with pytest.raises(ValueError, match="Marcus noise belongs to an SDE"):
            simulate(dataclasses.replace(valley(marcus, 0.1), dynamics=SGD(0.1)), Plan(Iteration(), 4), 0)
        ito = dataclasses.replace(marcus, kind="ito")
        for solver in (Euler(0.1), Tamed(0.1)):
            with pytest.raises(ValueError, match="Marcus noise is for SGD"):
                simulate(dataclasses.replace(valley(marcus, 0.1), dynamics=Momentum(0.1)), Plan(solver, 4), 0)
            with pytest.raises(ValueError, match="for SGD and Momentum only"):
                simulate(dataclasses.replace(valley(ito, 0.1), dynamics=Adam()), Plan(solver, 4), 0)
        with pytest.raises(ValueError, match="which this method cannot follow"):
            interval_reference(valley(ito, 0.1))
        assert predict(dataclasses.replace(valley(ito, 0.1), landscape=Flat([0.0]))).rate is None
        assert predict(valley(StateDependent(Gaussian([1.0]), bent, np.array([0.5])), 0.1)).rate is None
        assert predict(dataclasses.replace(valley(marcus, 0.1), dynamics=Momentum(0.1))).rate is None
