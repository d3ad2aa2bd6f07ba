"""optax and levyjax: any transformation as dynamics, and stable noise as a transformation."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy.optimize import brentq
from scipy.stats import binom

import levyjax
from levyjax.arrays import cast
from levyjax.basins import Box
from levyjax.dynamics import SGD, Adam, DrivingNoise, Momentum, add_stable_noise, from_optax
from levyjax.dynamics.stable_noise import AddStableNoiseState
from levyjax.engine import chunks, run
from levyjax.escape import EscapeProblem, Plan, predict, simulate
from levyjax.escape.problem import ExitProcess
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.random import Counter
from levyjax.solvers import Euler, Iteration, JumpAdapted
from levyjax.stable import sf

SLOW = pytest.mark.slow
NOISE = Independent(1.5, [0.5, 0.2])
SCHEDULE = optax.exponential_decay(0.1, 50, 0.5)
TRANSFORMATIONS = {
    "sgd": optax.sgd(0.05),
    "rmsprop": optax.rmsprop(0.02),
    "adagrad": optax.adagrad(0.1),
    "adam": optax.adam(0.3),
    "adamw": optax.adamw(0.02),
    "lion": optax.lion(0.02),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    "clipped_wide": optax.chain(optax.clip_by_global_norm(10.0), optax.sgd(0.1)),
    "schedule": optax.sgd(SCHEDULE, momentum=0.5),
    "injected": optax.inject_hyperparams(optax.adam)(SCHEDULE),
}


def problem_of(dynamics, dimension=2, noise_level=1.0):
    ones = [1.0] * dimension
    return EscapeProblem(Quadratic(ones), Box([-1.0] * dimension, ones), Independent(1.5, ones), dynamics, noise_level)


def counter(step, lanes=1):
    one = jnp.ones(lanes, jnp.uint32)
    return Counter(jnp.arange(lanes, dtype=jnp.uint32), one, one * jnp.uint32(step), one * jnp.uint32(0))


class TestFromOptax:
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            pytest.param(SGD(0.05), optax.sgd(0.05), marks=SLOW, id="sgd"),
            pytest.param(Momentum(0.02, 0.9), optax.sgd(0.02, momentum=0.9), marks=SLOW, id="momentum"),
            pytest.param(Adam(0.3), optax.adam(0.3), id="adam"),
        ],
    )
    def test_exits_are_those_of_our_own(self, ours, theirs):
        """The same paths to rounding, so the same exit steps."""
        eta = float(ours.learning_rate)
        plan = Plan(Iteration(), 256, max_time=2000 * eta, dtype="float64")
        own = simulate(problem_of(ours), plan, 1)
        other = simulate(problem_of(from_optax(theirs, eta)), plan, 1)
        assert own.exited.all()
        np.testing.assert_array_equal(own.exit_step, other.exit_step)
        np.testing.assert_array_equal(own.exit_time, other.exit_time)
        np.testing.assert_allclose(own.exit_position, other.exit_position, rtol=1e-9, atol=1e-9)

    def test_a_function_of_hyperparameters_is_compiled_once_for_all_their_values(self, programs):
        plan = Plan(Iteration(), 64, max_time=40.0, dtype="float64")
        for place, (rate, momentum) in enumerate([(0.3, 0.9), (0.1, 0.9), (0.05, 0.5)]):
            numbers = {"learning_rate": rate, "b1": momentum}
            found = simulate(problem_of(from_optax(optax.adam, hyperparameters=numbers)), plan, 1)
            assert not programs or place == 0, programs
            if place == 1:
                expected = simulate(problem_of(from_optax(optax.adam(rate, b1=momentum))), plan, 1)
                np.testing.assert_array_equal(found.exit_step, expected.exit_step)
                np.testing.assert_allclose(found.exit_position, expected.exit_position, rtol=1e-9, atol=1e-9)
            programs.clear()

    @pytest.mark.parametrize(
        ("transformation", "numbers", "words"),
        [
            (optax.adam, {"rate": 0.1}, "makes one of the hyperparameters"),
            (optax.adam, {"learning_rate": "fast"}, "must be numeric"),
            (lambda rate: rate, {"rate": 0.1}, "or make one"),
            (3, None, "must be an optax"),
        ],
    )
    def test_what_makes_no_transformation_is_refused(self, transformation, numbers, words):
        with pytest.raises(ValueError, match=words):
            from_optax(transformation, hyperparameters=numbers)

    @pytest.mark.parametrize(
        ("name", "dtype"), [*((name, "float64") for name in TRANSFORMATIONS), ("adamw", "float32")]
    )
    def test_each_lane_is_a_loop_of_its_own(self, name, dtype):
        """Three trajectories side by side against three plain optax loops."""
        theirs, steps = TRANSFORMATIONS[name], jnp.arange(40, dtype=jnp.uint32)
        with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("standard"):
            dynamics, noise = cast((from_optax(theirs), NOISE), jnp.dtype(dtype))
            start = jnp.asarray([[0.7, 0.1, -2.0], [-0.4, 0.2, 1.0]], dtype)

            def at(step):
                return counter(0, 3)._replace(low=jnp.full(3, step))

            def ours(state, step):
                return dynamics.iterate(state, state.x, DrivingNoise(noise, jnp.ones((), dtype), at(step), 1.0)), None

            def plain(carry, u):
                x, state = carry
                updates, state = theirs.update(x + u, state, x)
                return (optax.apply_updates(x, updates), state), None

            ends = jax.jit(lambda state: jax.lax.scan(ours, state, steps)[0])(dynamics.init(start)).x
            u = jax.jit(jax.vmap(lambda step: noise.increment(at(step), 1.0)))(steps)
            loop = jax.jit(lambda x, u: jax.lax.scan(plain, (x, theirs.init(x)), u)[0][0])
            expected = jnp.stack([loop(start[:, lane], u[:, :, lane]) for lane in range(3)], axis=1)
        assert ends.dtype == dtype
        tolerance = 1e-4 if dtype == "float32" else 1e-10
        np.testing.assert_allclose(ends, expected, rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize(
        ("name", "dimension"),
        [("adam", 2), pytest.param("clipped_wide", 40, marks=SLOW), pytest.param("schedule", 2, marks=SLOW)],
    )
    def test_bits_do_not_depend_on_lanes_or_devices(self, monkeypatch, name, dimension):
        """Refilled lanes start anew: their counts, schedules and averages are those of a first trajectory."""
        problem = problem_of(from_optax(TRANSFORMATIONS[name]), dimension, 1.0)
        process = cast(ExitProcess(problem, Iteration()), jnp.float32)
        ends = {}
        for widths, devices in (((512,), 1), ((64,), 1), ((128, 64), 2)):

            def fixed(num_trajectories, rows, mesh, chunk_size, narrowing, widths=widths):
                slots = -(-num_trajectories // mesh.size)
                return list(widths), -(-slots // chunks.LANE_MULTIPLE) * chunks.LANE_MULTIPLE, num_trajectories

            monkeypatch.setattr(chunks, "_widths", fixed)
            ends[widths] = run(process, 5, 512, 200, devices=jax.devices()[:devices])
        first = ends.pop((512,))
        assert len(np.unique(first.step)) > 10
        for other in ends.values():
            for field in ("step", "code", "record"):
                np.testing.assert_array_equal(getattr(first, field), getattr(other, field))

    def test_random_keys_are_told_apart(self):
        """Without noise of ours, trajectories differ by the transformation's own; the run can be repeated."""
        noisy = from_optax(optax.chain(add_stable_noise(1.5, 1.0, key=7), optax.sgd(0.1)))
        problem = problem_of(noisy, noise_level=1e-20)
        first, second = (simulate(problem, Plan(Iteration(), 256, devices=jax.devices()[:1]), 0) for _ in range(2))
        assert len(np.unique(first.exit_position[:, 0])) == 256
        np.testing.assert_array_equal(first.exit_position, second.exit_position)

    @pytest.mark.slow
    def test_noise_inside_has_the_law_of_noise_outside(self):
        """Mean exit steps of SGD: by the engine's noise, and by the transformation's; 4 standard errors (6e-5)."""
        inside = problem_of(from_optax(optax.chain(add_stable_noise(1.5, 1.0, key=7), optax.sgd(0.1))), 2, 1e-20)
        outside = problem_of(SGD(0.1))
        steps = [simulate(problem, Plan(Iteration(), 2048), 0).exit_step for problem in (inside, outside)]
        error = np.hypot(*(step.std() / 2048**0.5 for step in steps))
        assert abs(steps[0].mean() - steps[1].mean()) < 4 * error

    def test_batches_of_any_shape(self):
        dynamics = from_optax(optax.adam(0.1))
        for batch in ((), (3,), (2, 3)):
            state = dynamics.init(jnp.ones((4, *batch)))
            assert state.inner[0].mu.shape == (4, *batch)
            assert state.inner[0].count.shape == batch

    @pytest.mark.parametrize("solver", [Euler(0.1), JumpAdapted()])
    def test_there_is_no_sde(self, solver):
        with pytest.raises(ValueError, match=r'no SDE is known for it; run it by method "iteration"'):
            simulate(problem_of(from_optax(optax.sgd(0.1))), Plan(solver, 16), 0)

    def test_no_prediction(self):
        prediction = predict(problem_of(from_optax(optax.sgd(0.1))), Iteration())
        assert prediction.rate is None
        assert not prediction.valid
        assert "no SDE is known" in prediction.reasons[0]

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="must be an optax GradientTransformation"):
            from_optax(optax.adam)
        with pytest.raises(ValueError, match=r"learning_rate = 0\.0 is refused"):
            from_optax(optax.adam(0.1), 0.0)


def updates_of(transformation, updates, steps=1):
    """The updates of each step."""
    state, found = transformation.init(updates), []
    for _ in range(steps):
        new, state = transformation.update(updates, state, updates)
        found.append(new)
    return found


def tail_of(x, alpha):
    with jax.enable_x64(True):
        return max(float(sf(x, alpha)), 1e-300)


class TestAddStableNoise:
    def test_is_public(self):
        assert levyjax.add_stable_noise is add_stable_noise

    @pytest.mark.parametrize(("alpha", "bound"), [(0.8, None), (1.5, None), (2.0, None), (1.5, 0.2)])
    def test_tail_counts(self, alpha, bound):
        """10^6 entries in two leaves and two steps, scale 0.1: exact binomial bounds at level 1e-4 for each count.

        16 counts, so false alarms 1.6e-3 in all.
        """
        zeros = {"a": jnp.zeros((250, 1000)), "b": jnp.zeros(250_000)}
        found = updates_of(add_stable_noise(alpha, 0.1, key=3, bound=bound), zeros, steps=2)
        noise = np.concatenate([np.ravel(leaf) for step in found for leaf in jax.tree.leaves(step)])
        assert len(np.unique(noise)) > 0.9 * len(noise)
        beyond = 0.0 if bound is None else tail_of(bound / 0.1, alpha)
        for tail in (0.3, 1e-3, 1e-4, 1e-5):
            part = beyond + tail * (1 - 2 * beyond) / 2
            threshold = math.exp(brentq(lambda x, part=part: math.log(tail_of(math.exp(x), alpha) / part), -10, 20))
            low, high = binom.interval(1 - 1e-4, len(noise), tail)
            assert low <= (np.abs(noise) > 0.1 * threshold).sum() <= high
        if bound is not None:
            assert np.abs(noise).max() <= bound * (1 + 1e-6)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    def test_types_are_kept(self, dtype):
        with jax.enable_x64(dtype == "float64"):
            updates = {"w": jnp.ones((3, 4), dtype), "none": None, "b": jnp.ones((), dtype)}
            (noisy,) = updates_of(add_stable_noise(1.5, 0.1, key=0), updates)
            assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), noisy) == jax.tree.map(
                lambda leaf: (leaf.shape, leaf.dtype), updates
            )
            assert (noisy["w"] != updates["w"]).any()

    def test_halves_are_the_rounded_float32_draws(self):
        noise = {
            dtype: np.asarray(updates_of(add_stable_noise(1.2, 0.1, key=5), jnp.zeros(1000, dtype))[0], np.float64)
            for dtype in ("float32", "float16", "bfloat16")
        }
        np.testing.assert_allclose(noise["float16"], noise["float32"], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(noise["bfloat16"], noise["float32"], rtol=8e-3)

    def test_key_step_and_leaf(self):
        """The same key gives the same noise; every step and leaf gets its own."""
        zeros = [jnp.zeros(100), jnp.zeros(100)]
        transformation = add_stable_noise(1.5, 1.0, key=jax.random.key(1))
        found = updates_of(transformation, zeros, steps=3)
        again = updates_of(add_stable_noise(1.5, 1.0, key=1), zeros, steps=3)
        np.testing.assert_array_equal(found, again)
        assert len(np.unique(np.asarray(found))) == 600
        state = transformation.update(zeros, transformation.init(zeros))[1]
        assert isinstance(state, AddStableNoiseState)
        assert state.count == 1
        assert state.count.dtype == jnp.int32

    def test_under_jit_and_vmap(self):
        transformation, zeros = add_stable_noise(1.5, 1.0, key=1), jnp.zeros(8)
        plain = updates_of(transformation, zeros)[0]
        state = transformation.init(zeros)
        np.testing.assert_allclose(jax.jit(transformation.update)(zeros, state)[0], plain, rtol=1e-6)
        states = jax.vmap(lambda key: AddStableNoiseState(jnp.int32(0), key))(jax.random.split(jax.random.key(1), 3))
        many = jax.vmap(transformation.update)(jnp.zeros((3, 8)), states)[0]
        for lane in range(3):
            own = AddStableNoiseState(jnp.int32(0), states.key[lane])
            np.testing.assert_allclose(many[lane], transformation.update(zeros, own)[0], rtol=1e-6)

    def test_masked(self):
        ones = {"w": jnp.ones(3), "b": jnp.ones(3)}
        masked = optax.masked(add_stable_noise(1.5, 1.0, key=0), {"w": True, "b": False})
        (noisy,) = updates_of(masked, ones)
        np.testing.assert_array_equal(noisy["b"], 1)
        assert (noisy["w"] != 1).all()

    def test_multi_transform(self):
        ones = {"w": jnp.ones(3), "b": jnp.ones(3)}
        parts = {"heavy": add_stable_noise(1.1, 1.0, key=0), "none": optax.identity()}
        (noisy,) = updates_of(optax.multi_transform(parts, {"w": "heavy", "b": "none"}), ones)
        np.testing.assert_array_equal(noisy["b"], 1)
        assert (noisy["w"] != 1).all()

    def test_multi_steps(self):
        """One draw for every two gradients."""
        many = optax.MultiSteps(add_stable_noise(1.5, 1.0, key=0), every_k_schedule=2)
        with jax.numpy_dtype_promotion("standard"):
            first, second = updates_of(many, jnp.zeros(3), steps=2)
        np.testing.assert_array_equal(first, 0)
        np.testing.assert_array_equal(second, updates_of(add_stable_noise(1.5, 1.0, key=0), jnp.zeros(3))[0])

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_injected(self, dtype):
        """alpha and scale as numbers to change, and as schedules; scale 0 is no noise at all, with a bound too."""
        injected = partial(optax.inject_hyperparams(add_stable_noise, static_args="key"), key=0)
        zeros = jnp.zeros(100, dtype)
        with jax.numpy_dtype_promotion("standard"):
            transformation = injected(1.5, 1.0)
            state = transformation.init(zeros)
            own = updates_of(add_stable_noise(1.5, 1.0, key=0), zeros)[0]
            np.testing.assert_allclose(
                *(np.asarray(x, np.float32) for x in (jax.jit(transformation.update)(zeros, state, zeros)[0], own)),
                rtol=1e-6,
            )
            state.hyperparams["alpha"], state.hyperparams["scale"] = jnp.asarray(1.0, dtype), jnp.asarray(2.0, dtype)
            np.testing.assert_array_equal(
                transformation.update(zeros, state, zeros)[0],
                updates_of(add_stable_noise(1.0, 2.0, key=0), zeros)[0],
            )
            fading = injected(1.5, optax.linear_schedule(1.0, 0.0, 1), bound=0.5)
            first, second = updates_of(fading, zeros, steps=2)
        assert (first != 0).all()
        assert (jnp.abs(first) <= 0.5).all()
        np.testing.assert_array_equal(second, 0)

    def test_sharding_is_kept(self):
        """The same numbers, and each device holds its part of them; eagerly and under jit."""
        mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
        sharding = NamedSharding(mesh, PartitionSpec("rows"))
        transformation, zeros = add_stable_noise(1.5, 1.0, key=0), jnp.zeros((8, 3))
        placed, state = jax.device_put(zeros, sharding), transformation.init(zeros)
        for update in (transformation.update, jax.jit(transformation.update)):
            noisy = update(placed, state)[0]
            assert noisy.sharding.is_equivalent_to(sharding, 2)
            np.testing.assert_allclose(noisy, transformation.update(zeros, state)[0], rtol=1e-6)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"alpha": 0.0}, "alpha must be in"),
            ({"alpha": 2.1}, "alpha must be in"),
            ({"scale": -1.0}, "scale must be in"),
            ({"bound": 0.0}, "bound must be in"),
        ],
    )
    def test_bad_arguments(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            add_stable_noise(**({"alpha": 1.5, "scale": 1.0, "key": 0} | arguments))

    def test_integers_are_refused(self):
        with pytest.raises(ValueError, match="floating-point updates, got int32"):
            updates_of(add_stable_noise(1.5, 1.0, key=0), jnp.zeros(3, jnp.int32))
