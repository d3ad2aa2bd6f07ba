"""Real networks' excursions from a minimum, and the paper's SDEs on a network: by plain loops and exact moments."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from levyjax.arrays import cast
from levyjax.claims import figure5
from levyjax.claims.figures.bands import curve_bands
from levyjax.claims.figures.ratios import grouped_ratios
from levyjax.claims.network import examples
from levyjax.claims.real_escapes import Exits, OptimizerStudy
from levyjax.dynamics import SGD, Adam
from levyjax.dynamics.adam import AdamState
from levyjax.escape import exponential_fit
from levyjax.noise import Independent, MiniBatch, sde_noise_level
from levyjax.noise.base import noise_at
from levyjax.noise.empirical import uniform_index
from levyjax.random import Stream, first_counter, run_key, words
from levyjax.training import MLP, NetworkLoss, excursions, exit_levels, first_exits, flatten, noise_models
from levyjax.training.escapes import EVERY, Excursions, FreeProcess
from levyjax.training.noise_models import captured_noise
from levyjax.training.sde import Curves, SeenNoise, law_distance, training_curves

DECAY, BATCH = 0.1, 3
LOOKS = 5  # the same everywhere, so that a program is compiled once
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)).astype(np.float32), rng.normal(size=12).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def quick_compiler():
    """Programs that are used once compile in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def squares(parameters, x, y):
    return (x @ parameters - y) ** 2 / 2


@pytest.fixture(scope="module")
def regression():
    """A linear network, its minimum and the models of its noise."""
    minimum = np.linalg.solve(X.T @ X / 12 + DECAY * np.eye(3), X.T @ Y / 12)
    minimum = jnp.asarray(minimum, jnp.float32)
    loss = NetworkLoss(squares, jnp.asarray(X), jnp.asarray(Y), DECAY, minimum)
    return loss, minimum, noise_models(loss, BATCH, num_batches=500)


def warm_adam(rate, measured):
    """Adam that has long been at the minimum."""
    return Adam(rate, initial_m=np.zeros(3), initial_v=measured.variance)


def drawn_batches(seed, lane, steps):
    """What the mini-batches of a lane are."""
    counter = first_counter(run_key(seed), jnp.asarray([lane], jnp.uint32))
    for step in range(steps):
        bits = words(counter._replace(low=jnp.full(1, step, jnp.uint32)), BATCH)
        yield np.asarray(uniform_index(bits, len(Y)))[:, 0]


class TestNetworkLoss:
    def test_gradients_agree_with_each_other_and_with_the_formula(self, regression):
        loss, minimum, _ = regression
        x = minimum[:, None] + jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)), jnp.float32)
        every = np.stack([loss.sample_gradients(column) for column in x.T])  # (lanes, n, d)
        expected = every.mean(axis=1).T
        np.testing.assert_allclose(loss.gradient(x), expected, rtol=1e-5, atol=1e-6)
        index = jnp.asarray(np.random.default_rng(2).integers(0, 12, (5, 4)), jnp.int32)
        weights = np.stack([np.bincount(column, minlength=12) / 5 for column in np.asarray(index).T], axis=1)
        weighted = loss.weighted_gradient(x, jnp.asarray(weights, jnp.float32))
        np.testing.assert_allclose(loss.batch_gradient(x, index), weighted + DECAY * x, rtol=1e-5, atol=1e-6)
        values = ((X @ np.asarray(x) - Y[:, None]) ** 2 / 2).mean(axis=0) + DECAY / 2 * (np.asarray(x) ** 2).sum(axis=0)
        np.testing.assert_allclose(loss.value(x), values, rtol=1e-5)

    def test_is_at_rest_at_the_minimum(self, regression):
        loss, minimum, _ = regression
        assert np.abs(np.asarray(loss.gradient(minimum[:, None]))).max() < 1e-6


class TestModels:
    @pytest.fixture(scope="class")
    @classmethod
    def drawn(cls, regression):
        """Noise of each model away from the minimum: name -> (d, draws)."""
        _, minimum, measured = regression
        lanes = 20_000
        x = jnp.repeat((minimum + 0.5)[:, None], lanes, axis=1)
        counter = first_counter(run_key(3), jnp.arange(lanes, dtype=jnp.uint32))
        run = jax.jit(lambda model, x, counter: noise_at(model, x, 1.0).increment(counter, 1.0))
        models = cast(measured.models, jnp.float32)
        return {name: np.asarray(run(model, x, counter), float) for name, model in models.items()}

    def covariance(self, loss, x):
        return np.cov(loss.sample_gradients(x).T, bias=True) / BATCH

    @pytest.mark.parametrize("name", ["algorithm", "local", "gaussian", "captured", "diagonal"])
    def test_has_the_covariance_that_it_says(self, regression, drawn, name):
        # Six entries and three means a model, each within 5 standard errors: a false alarm in about 4e5 runs.
        loss, minimum, measured = regression
        expected = self.covariance(loss, minimum + 0.5 if name in ("algorithm", "local") else minimum)
        if name == "captured":
            expected = np.cov(measured.captured.samples.T, bias=True)
        if name == "diagonal":
            expected = np.diag(np.diag(expected))
        noise = drawn[name]
        products = noise[:, None] * noise[None]
        error = products.std(axis=2) / np.sqrt(noise.shape[1])
        assert (np.abs(products.mean(axis=2) - expected) < 5 * error).all()
        assert (np.abs(noise.mean(axis=1)) < 5 * noise.std(axis=1) / np.sqrt(noise.shape[1])).all()

    def test_the_gaussian_has_the_exact_covariance(self, regression):
        loss, minimum, measured = regression
        scale = np.asarray(measured.models["gaussian"].scale, float)
        np.testing.assert_allclose(2 * scale @ scale.T, self.covariance(loss, minimum), rtol=1e-5, atol=1e-7)
        batches = measured.models["algorithm"]
        np.testing.assert_allclose(batches.covariance(minimum), self.covariance(loss, minimum), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(measured.variance, np.diag(self.covariance(loss, minimum)), rtol=1e-5)

    @pytest.mark.parametrize("name", ["stable", "elliptical"])
    def test_stable_noise_has_the_measured_scales(self, regression, drawn, name):
        # P(|X| < scale) of a symmetric stable law, by 5 binomial standard errors a coordinate: 1 false alarm in 6e5.
        from scipy.stats import levy_stable

        measured = regression[2].stable
        inside = (np.abs(drawn[name]) < measured.scales[:, None]).mean(axis=1)
        expected = 1 - 2 * levy_stable.sf(1.0, measured.alpha, 0.0)
        assert (np.abs(inside - expected) < 5 * np.sqrt(expected * (1 - expected) / drawn[name].shape[1])).all()

    def test_elliptical_noise_has_the_correlations(self, regression):
        measured = regression[2]
        scale = np.asarray(measured.models["elliptical"].scale, float)
        shape = scale @ scale.T
        expected = self.covariance(regression[0], regression[1])
        np.testing.assert_allclose(np.sqrt(np.diag(shape)), measured.stable.scales, rtol=1e-5)
        sizes = [np.sqrt(np.diag(matrix)) for matrix in (shape, expected)]
        first, second = (m / np.outer(s, s) for m, s in zip((shape, expected), sizes, strict=True))
        np.testing.assert_allclose(first, second, atol=1e-5)

    def test_captured_noise_is_that_of_the_batches(self, regression):
        loss, minimum, _ = regression
        noise, every = captured_noise(loss, minimum, BATCH, 100, 4)
        batches = np.random.default_rng(4).integers(0, 12, (100, BATCH), dtype=np.int32)
        own = [np.asarray(jax.grad(lambda p, i=i: squares(p, X[i], Y[i]).mean())(minimum)) for i in batches[:3]]
        np.testing.assert_allclose(noise.samples[:3] + noise.full_gradient, own, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(every.mean(axis=0), noise.full_gradient)
        with pytest.raises(ValueError, match="0 mini-batches of 3"):
            captured_noise(loss, minimum, BATCH, 0, 4)


class TestExcursions:
    @pytest.mark.parametrize("adaptive", [False, True])
    def test_is_a_plain_optax_loop_on_the_same_batches(self, regression, adaptive):
        loss, minimum, measured = regression
        steps, lane = LOOKS * EVERY, 2
        rate = 0.05
        own = warm_adam(rate, measured) if adaptive else SGD(rate)
        found = excursions(loss, MiniBatch(loss, BATCH), own, num_lanes=4, num_steps=steps, seed=5)
        optimizer = optax.adam(rate) if adaptive else optax.sgd(rate)
        x, state = minimum, optimizer.init(minimum)
        if adaptive:  # long after the start, v at its mean
            first = state[0]._replace(count=jnp.int32(10**6), nu=jnp.asarray(measured.variance, jnp.float32))
            state = (first, *state[1:])
        with jax.numpy_dtype_promotion("standard"):
            for step, batch in enumerate(drawn_batches(5, lane, steps)):
                gradient = jax.grad(lambda p, i=batch: squares(p, X[i], Y[i]).mean() + DECAY / 2 * p @ p)(x)
                updates, state = optimizer.update(gradient, state, x)
                x = optax.apply_updates(x, updates)
                if (step + 1) % EVERY == 0:
                    look = step // EVERY
                    away = np.linalg.norm(np.asarray(x - minimum))
                    np.testing.assert_allclose(found.distance[look, lane], away, rtol=1e-4)
                    excess = loss.value(x[:, None])[0] - loss.value(minimum[:, None])[0]
                    np.testing.assert_allclose(found.excess[look, lane], excess, rtol=1e-3, atol=1e-6)

    def test_exits_agree_with_a_brute_force_loop(self, regression):
        loss, minimum, _ = regression
        steps, level, lanes, rate = LOOKS * EVERY, 0.25, 3, 0.2
        found = excursions(loss, MiniBatch(loss, BATCH), SGD(rate), num_lanes=lanes, num_steps=steps, seed=6)
        times, exited = first_exits(found.distance, level)
        hessian, pull = X.T.astype(float), np.asarray(minimum, float)
        for lane in range(lanes):
            x, left = pull.copy(), None
            for step, i in enumerate(drawn_batches(6, lane, steps), start=1):
                x = x - rate * (hessian[:, i] @ (X[i] @ x - Y[i]) / BATCH + DECAY * x)
                if left is None and step % EVERY == 0 and np.linalg.norm(x - pull) >= level:
                    left = step
            assert exited[lane] == (left is not None)
            assert times[lane] == (steps if left is None else left)
        assert exited.any()

    @pytest.mark.parametrize("name", ["algorithm", "local"])
    def test_a_lane_is_the_same_whatever_their_number(self, regression, name):
        loss, _, measured = regression
        noise, steps = measured.models[name], LOOKS * EVERY
        runs = [excursions(loss, noise, SGD(0.1), num_lanes=lanes, num_steps=steps, seed=7) for lanes in (70, 3)]
        np.testing.assert_array_equal(runs[0].distance[:, :3], runs[1].distance)
        assert np.unique(runs[0].distance[-1]).size == 70

    def test_refuses_steps_between_looks(self, regression):
        loss = regression[0]
        with pytest.raises(ValueError, match="multiple of 10"):
            excursions(loss, MiniBatch(loss, BATCH), SGD(0.1), num_lanes=1, num_steps=15, seed=0)

    def test_levels_are_what_half_of_the_lanes_pass(self):
        values = np.random.default_rng(0).exponential(size=(20, 101))
        (level,) = exit_levels(values, [10 * EVERY])
        times, exited = first_exits(values, level)
        assert ((times <= 10 * EVERY) & exited).sum() == 51

    def test_a_lane_that_overflows_is_counted_and_gives_no_level(self):
        """One lane of 128 becomes NaN at the third look: two looks have levels, and its exit is its own."""
        values = np.random.default_rng(0).exponential(size=(6, 128))
        levels = exit_levels(values, [20])
        values[2:, 7] = np.nan
        assert exit_levels(values, [20]) == levels
        with pytest.raises(ValueError, match="1 of 128 lanes are not finite by step 30"):
            exit_levels(values, [20, 30])
        times, exited = first_exits(values, 100.0)
        assert np.flatnonzero(exited).tolist() == [7]
        assert (times[7], set(times[~exited])) == (30.0, {60.0})
        assert Excursions(values, values).num_nonfinite == 1
        assert Excursions(np.ones((6, 128)), values).num_nonfinite == 1

    def test_a_run_that_diverges_says_so(self, regression):
        loss = regression[0]
        found = excursions(loss, MiniBatch(loss, BATCH), SGD(1e4), num_lanes=2, num_steps=LOOKS * EVERY, seed=5)
        assert found.num_nonfinite == 2
        with pytest.raises(ValueError, match="2 of 2 lanes are not finite"):
            exit_levels(found.distance, [LOOKS * EVERY])

    @pytest.mark.parametrize("steps", [0, 5, 15, -10, 30, 12.5])
    def test_a_median_between_or_beyond_the_looks_is_refused(self, steps):
        with pytest.raises(ValueError, match="Give multiples of 10 from 10 to 20"):
            exit_levels(np.ones((2, 3)), [steps])

    @pytest.mark.parametrize("level", [np.nan, np.inf, -np.inf])
    def test_a_level_that_is_no_number_is_refused(self, level):
        with pytest.raises(ValueError, match="level must be a finite number"):
            first_exits(np.ones((2, 3)), level)

    def test_what_is_no_number_has_left(self):
        times, exited = first_exits(np.array([[0.0], [np.nan]]), 1.0)
        assert exited.all()
        assert times.tolist() == [20.0]


@pytest.fixture(scope="module")
def classifier():
    x = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    return flatten(MLP((2, 2), rngs=nnx.Rngs(0))), (x, (x[:, 0] > 0).astype(np.int32))


class TestCurves:
    def run(self, classifier, dynamics, noise=None, steps=4, seeds=3, decay=0.0, **more):
        model, data = classifier
        loss = NetworkLoss(model.losses, *data, decay)
        process = FreeProcess(loss, noise or MiniBatch(loss, BATCH), dynamics, model.parameters, **more)
        test = data[0][:5], data[1][:5]
        return training_curves(model, process, test, num_seeds=seeds, num_steps=steps, record_every=2, seed=1)

    def step(self, classifier, dynamics, noise, rate, lanes=1, level=1.0, state=None):
        """One step of an SDE of length `rate` from the model's parameters, and the full gradient there."""
        model, data = classifier
        process = cast(
            FreeProcess(NetworkLoss(model.losses, *data), noise, dynamics, model.parameters, level, rate), jnp.float32
        )
        counter = first_counter(run_key(0), jnp.arange(lanes, dtype=jnp.uint32))
        point = jnp.repeat(model.parameters[:, None], lanes, axis=1)
        moved = jax.jit(FreeProcess.step)(process, dynamics.init(point) if state is None else state, counter)
        return moved, np.asarray(process.landscape.gradient(point), float)

    @pytest.mark.parametrize("adaptive", [False, True])
    def test_the_algorithm_is_optax(self, classifier, adaptive):
        model, (x, y) = classifier
        curves = self.run(classifier, Adam(0.1) if adaptive else SGD(0.1))
        optimizer = optax.adam(0.1) if adaptive else optax.sgd(0.1)
        point, state = model.parameters, optimizer.init(model.parameters)
        counter = first_counter(run_key(1), jnp.asarray([2], jnp.uint32))
        losses = [model.losses(point, x, y).mean()]
        with jax.numpy_dtype_promotion("standard"):
            for step in range(4):
                bits = words(counter._replace(low=jnp.full(1, step, jnp.uint32)), BATCH)
                i = np.asarray(uniform_index(bits, 20))[:, 0]
                gradient = jax.grad(lambda p, i=i: model.losses(p, x[i], y[i]).mean())(point)
                updates, state = optimizer.update(gradient, state, point)
                point = optax.apply_updates(point, updates)
                losses.append(model.losses(point, x, y).mean())
        np.testing.assert_allclose(curves.train_loss[:, 2], np.asarray(losses)[::2], rtol=1e-4)
        answers = np.asarray(model.apply(point, x)).argmax(axis=1)
        assert curves.train_accuracy[-1, 2] == pytest.approx((answers == y).mean())
        assert curves.iterations.tolist() == [0, 2, 4]

    def test_a_seed_is_the_same_whatever_their_number(self, classifier):
        few, many = (self.run(classifier, SGD(0.1), seeds=seeds) for seeds in (3, 11))
        np.testing.assert_array_equal(few.train_loss, many.train_loss[:, :3])

    def test_without_noise_the_first_equation_is_gradient_descent(self, classifier):
        model, (x, y) = classifier
        quiet = Independent(1.5, np.full(model.parameters.size, 1e-20))
        point = model.parameters
        for _ in range(4):
            point = point - 0.1 * jax.grad(lambda p: model.losses(p, x, y).mean())(point)
        expected = float(model.losses(point, x, y).mean())
        found = self.run(classifier, SGD(0.1), quiet, dt=0.1).train_loss[-1]
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    @pytest.mark.parametrize("settled", [False, True])
    def test_the_second_equation_step_by_hand(self, classifier, settled):
        """v averages the squared gradients of mini-batches; from a given start it is not corrected."""
        model, (x, y) = classifier
        rate, size, b1, b2 = 0.1, model.parameters.size, 0.5, 0.75
        loss = NetworkLoss(model.losses, x, y)
        noise = SeenNoise(Independent(1.5, np.full(size, 1e-20)), MiniBatch(loss, BATCH))
        adam = Adam(
            rate, beta1=b1, beta2=b2, gradient_noise="stable", initial_v=np.full(size, 0.3) if settled else None
        )
        assert float(adam.init(model.parameters).v[0]) == pytest.approx(0.3 if settled else 0.0)
        state = AdamState(model.parameters[:, None], *(jnp.full((size, 1), value) for value in (0.1, 0.2)))
        found, full = self.step(classifier, adam, noise, rate, state=state)
        bits = words(first_counter(run_key(0), jnp.arange(1, dtype=jnp.uint32)), BATCH, Stream.GRADIENT)
        index = uniform_index(bits, len(y)).astype(jnp.int32)
        seen = np.asarray(cast(loss, jnp.float32).batch_gradient(state.x, index), float)
        m = 0.1 + (1 - np.exp(-b1 * rate)) * (full - 0.1)
        v = 0.2 + (1 - np.exp(-b2 * rate)) * (seen**2 - 0.2)
        np.testing.assert_allclose(found.m, m, rtol=1e-5)
        np.testing.assert_allclose(found.v, v, rtol=1e-4)
        q = np.sqrt(v / (1 if settled else 1 - np.exp(-b2 * rate))) + 1e-8
        moved = np.asarray(state.x, float) - rate * m / (1 - np.exp(-b1 * rate)) / q
        np.testing.assert_allclose(found.x, moved, rtol=1e-4, atol=1e-6)

    def test_the_noise_of_a_step_is_eta_times_a_stable_draw(self, classifier):
        # P(|X| < scale) by 5 binomial standard errors: 1 false alarm in 2e6.
        from scipy.stats import levy_stable

        model, rate = classifier[0], 0.01
        noise = Independent(1.5, np.full(model.parameters.size, 3.0))
        found, full = self.step(classifier, SGD(), noise, rate, 2_000, sde_noise_level(1.5, rate))
        drawn = (np.asarray(found.x) - np.asarray(model.parameters)[:, None] + rate * full) / rate / 3.0
        expected = 1 - 2 * levy_stable.sf(1.0, 1.5, 0.0)
        assert abs((np.abs(drawn) < 1).mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / drawn.size)

    def test_a_diverged_network_has_no_accuracy(self, classifier):
        curves = self.run(classifier, SGD(1e12), decay=1.0)
        for name in ("train", "test"):
            assert np.isfinite(getattr(curves, f"{name}_accuracy")[0]).all()
            assert np.isnan(getattr(curves, f"{name}_accuracy")[-1]).all()

    def test_refuses_records_that_do_not_fit(self, classifier):
        with pytest.raises(ValueError, match="positive multiple of record_every"):
            self.run(classifier, SGD(0.1), steps=3)


class TestLawDistance:
    def test_equals_the_double_sums(self):
        first, second = np.random.default_rng(0).normal(size=(2, 9, 2))

        def mean(a, b):
            return np.linalg.norm(a[:, None] - b[None], axis=2).mean()

        across = 2 * mean(first, second)
        expected = (across - mean(first, first) - mean(second, second)) / across
        assert law_distance(first, second).distance == pytest.approx(expected)

    def test_p_values_of_equal_laws_are_uniform(self):
        # 200 tests at level 0.1: 20 rejections expected, more than 40 has P = 1e-5.
        draws = np.random.default_rng(1)
        p = [law_distance(*draws.normal(size=(2, 8, 1)), num_permutations=39, seed=j).p_value for j in range(200)]
        assert 4 <= sum(value <= 0.1 for value in p) <= 40

    @pytest.mark.parametrize("unit", [1e-200, 1e-30, 1e30, 1e150])
    def test_is_the_same_in_other_units(self, unit):
        first, second = np.random.default_rng(0).normal(size=(2, 9, 2))
        expected = law_distance(first, second, num_permutations=99)
        found = law_distance(first * unit, second * unit, num_permutations=99)
        assert found.distance == pytest.approx(expected.distance, rel=1e-12)
        assert found.p_value == expected.p_value

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            ([[1.0], [np.nan]], "1 of 2 rows that are not finite"),
            ([[1.0], [-np.inf]], "1 of 2 rows that are not finite"),
            ([[1e200], [0.0]], "overflow"),
            (np.zeros((0, 1)), "one row or more"),
            ([1.0, 2.0], "a vector a row"),
            ([[1.0, 2.0]], "rows of"),
        ],
    )
    def test_refuses_what_has_no_distance(self, bad, words):
        for pair in ((bad, [[1.0], [2.0]]), ([[1.0], [2.0]], bad)):
            with pytest.raises(ValueError, match=words):
                law_distance(*map(np.asarray, pair))

    def test_no_difference_at_all(self):
        ones = np.ones((5, 2))
        assert law_distance(ones, ones).distance == 0
        assert law_distance(ones, ones).p_value == 1


class TestFigures:
    def test_an_open_interval_is_an_arrow_at_its_lower_end(self):
        axes = grouped_ratios(["a", "b"], {"one": [(2.0, (1.0, 3.0)), (None, (7.0, None))]})
        marks = {(line.get_marker(), *line.get_xdata()) for line in axes.get_lines()}
        assert (">", 7.0) in marks
        assert ("o", 2.0) in marks
        with pytest.raises(ValueError, match="2 groups"):
            grouped_ratios(["a", "b"], {"one": [(2.0, None)]})

    def test_bands_hold_the_middle(self):
        axes = curve_bands([0, 1], {"one": np.arange(22.0).reshape(2, 11)}, log=False)
        np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), [5, 16])
        corners = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert corners.min() == 1
        assert corners.max() == 20
        with pytest.raises(ValueError, match=r"give \(2, seeds\)"):
            curve_bands([0, 1], {"one": np.ones((3, 4))})


class TestVerdicts:
    def race(self, factor, spread=0.01):
        draws = np.random.default_rng(2).normal(size=(2, 5, 20))
        first, second = (np.exp(spread * draw) * scale for draw, scale in zip(draws, (1.0, factor), strict=True))
        curves = [Curves(np.arange(5), losses, losses, losses, losses) for losses in (first, second)]
        return figure5._race(curves[0], {"SDE": curves[1]}, 0)

    @pytest.mark.parametrize(
        ("factor", "verdict"), [(1.0, "confirmed"), (1.1, "holds_within_limits"), (2.0, "refuted"), (np.nan, "refuted")]
    )
    def test_a_race_is_judged_by_its_law_and_its_end(self, factor, verdict):
        assert figure5.judge_race(self.race(factor), "SDE", 0) == verdict

    def test_the_end_is_a_ratio_of_medians(self):
        ratio, (low, high) = figure5.final_ratio(self.race(2.0), "SDE", 0)
        assert low < ratio < high
        assert ratio == pytest.approx(2.0, rel=0.03)

    def test_without_an_exit_a_ratio_is_bounded_from_below(self):
        real, never = exponential_fit([1.0] * 50), exponential_fit([100.0] * 50, [False] * 50)
        exits = {name: Exits((fit,), (None,), (1.0, 1.0)) for name, fit in (("algorithm", real), ("model", never))}
        found = OptimizerStudy((1.0,), (0.0,), exits)
        ratio, (low, high) = found.ratio("model", 0)
        assert ratio is None
        assert high is None
        assert low == pytest.approx(never.mean_interval[0] / real.mean_interval[1])
        assert found.ratio("algorithm", 0)[0] == 1

    def test_examples_have_mean_0_and_variance_1_or_are_0(self):
        x, y = examples("digits", 50, 2)
        assert x.shape == (50, 16)
        assert len(y) == 50
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
        assert set(x.std(axis=0).round(9)) <= {0.0, 1.0}
