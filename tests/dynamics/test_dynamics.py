"""Optimizers: the discrete ones against optax, the SDEs against their equations."""

import functools
import time

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import solve_ivp

from levyjax.arrays import cast
from levyjax.basins import Box
from levyjax.claims.averaging import spike_cap
from levyjax.dynamics import SGD, AdaGrad, Adam, ClippedSGD, DrivingNoise, Dynamics, Momentum, RMSProp, flow, from_optax
from levyjax.dynamics.adam import AdamState
from levyjax.escape import EscapeProblem, Plan, predict, simulate
from levyjax.escape.fate import modes_at
from levyjax.landscapes import Quadratic
from levyjax.noise import Gaussian, Independent, Pareto
from levyjax.random import Counter, Stream
from levyjax.solvers import Euler, Iteration, JumpAdapted
from levyjax.solvers.steps import projected

NOISE = Independent(1.5, [0.5, 0.2])
PAIRS = {  # ours, optax's
    "sgd": (SGD(0.1), optax.sgd(0.1)),
    "momentum": (Momentum(0.02, 0.9), optax.sgd(0.02, momentum=0.9)),
    "nesterov": (Momentum(0.02, 0.9, nesterov=True), optax.sgd(0.02, momentum=0.9, nesterov=True)),
    "adam": (Adam(0.01), optax.adam(0.01)),
    "adamw": (Adam(0.01, weight_decay=0.3), optax.adamw(0.01, weight_decay=0.3)),
    "rmsprop": (RMSProp(0.01, 0.9), optax.rmsprop(0.01, 0.9, eps_in_sqrt=False)),
    "adagrad": (AdaGrad(0.1), optax.adagrad(0.1)),
    "adagrad_from_0": (AdaGrad(0.1, 0.0, 0.01), optax.adagrad(0.1, 0.0, 0.01)),
    "clipped": (ClippedSGD(0.1, 0.02), optax.chain(optax.sgd(0.1), optax.clip_by_global_norm(0.02))),
    "clipped_coordinates": (ClippedSGD(0.1, 0.02, by="coordinate"), optax.chain(optax.sgd(0.1), optax.clip(0.02))),
}
EVERY = {name: ours for name, (ours, _) in PAIRS.items()} | {
    "adam_corrected": Adam(0.01, variant="corrected"),
    "adam_frozen": Adam(variant="frozen", preconditioner=[1.0, 2.0]),
    "adam_malladi": Adam(0.01, variant="malladi"),
    "adam_stable": Adam(0.01, gradient_noise="stable"),
    "rmsprop_stable": RMSProp(0.01, gradient_noise="stable"),
    "from_optax": from_optax(optax.adam(0.01), 0.01),
}


def counter(step, lanes=1, key=3):
    return Counter(*(jnp.asarray(np.full(lanes, word, np.uint32)) for word in (key, 1, step, 0)))


@jax.jit
def sde_step(dynamics, state, gradient, driving):
    return dynamics.sde_step(state, gradient, driving)


@jax.jit
def iterated(dynamics, state, gradient, driving):
    return dynamics.iterate(state, gradient, driving)


ROUNDED = ("sgd", "momentum", "adam")  # also in float32 in the default run


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float64") for name in PAIRS]
    + [pytest.param(name, "float32", marks=[] if name in ROUNDED else pytest.mark.slow) for name in PAIRS],
)
def test_iteration_is_optax_on_shared_noise(name, dtype):
    """To 1e-6 over 200 steps with stable noise: in float64 the paths, in float32 each step (its rounding adds up)."""
    curvature, level = np.array([1.0, 0.1]), 0.3
    with jax.enable_x64(dtype == "float64"):
        dynamics, noise = cast((PAIRS[name][0], NOISE), jnp.dtype(dtype))
        theirs = PAIRS[name][1]
        update = jax.jit(theirs.update)
        k = jnp.asarray(curvature, dtype)
        state = dynamics.init(jnp.asarray([[0.7], [-0.4]], dtype))
        x = state.x[:, 0]
        opt_state = theirs.init(x)

        @jax.jit
        def iterate(state, at):
            driving = DrivingNoise(noise, jnp.asarray(level, dtype), at, 1.0)
            return dynamics.iterate(state, k[:, None] * state.x, driving), noise.increment(at, 1.0)[:, 0]

        for step in range(200):
            before, x_before = state.x[:, 0], x
            state, u = iterate(state, counter(step))
            with jax.numpy_dtype_promotion("standard"):
                updates, opt_state = update(k * x + jnp.asarray(level, dtype) * u, opt_state, x)
                x = optax.apply_updates(x, updates)
            np.testing.assert_allclose(state.x[:, 0] - before, x - x_before, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(state.x[:, 0], x, atol=1e-6 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("size", [1e2, 1e6])
def test_one_spike_moves_adam_by_the_cap(size):
    """D5: 31.77 learning rates in all, for a spike at iteration 20,000 of whatever size."""
    with jax.enable_x64(True):
        adam, noise = cast((Adam(1e-3), Independent(2.0, [1.0])), jnp.float64)
        zero = jnp.zeros((1, 1))

        def step(index, state):
            driving = DrivingNoise(
                noise, 0.0, counter(20_000)._replace(low=jnp.ones(1, jnp.uint32) * (20_000 + index)), 1.0
            )
            return adam.iterate(state, jnp.where(index == 0, size, zero), driving)

        moved = jax.lax.fori_loop(jnp.uint32(0), jnp.uint32(400), step, AdamState(zero, zero, zero + 1e-20)).x
    assert abs(float(moved[0, 0])) / 1e-3 == pytest.approx(spike_cap(0.9, 0.999), rel=1e-3)
    assert spike_cap(0.9, 0.999) == pytest.approx(31.77, abs=0.005)


@pytest.mark.parametrize("variant", ["paper", "corrected", "frozen"])
def test_sde_without_noise_follows_its_equation(variant):
    """Against an adaptive solver, from t0 = dt on, where mu and omega are finite; first order in dt."""
    curvature, start, dt = np.array([1.0, 0.3]), np.array([0.6, -0.5]), 1e-4
    adam = {
        "paper": Adam(),
        "corrected": Adam(0.05, variant="corrected"),
        "frozen": Adam(variant="frozen", preconditioner=[0.5, 0.2]),
    }[variant]
    b1, b2 = (float(rate) for rate in adam.rates())
    moment = np.asarray(NOISE.scale) ** 2

    def field(t, y):
        x, m, v = y.reshape(3, 2)
        q = np.array([0.5, 0.2]) if variant == "frozen" else np.sqrt(v / -np.expm1(-b2 * t)) + 1e-8
        g = curvature * x
        dv = 0 * v if variant == "frozen" else b2 * (g**2 + moment - v)
        return np.concatenate([-m / -np.expm1(-b1 * t) / q, b1 * (g - m), dv])

    with jax.enable_x64(True):
        dynamics, noise = cast((adam, NOISE), jnp.float64)
        k = jnp.asarray(curvature)[:, None]

        def step(index, state):
            return dynamics.sde_step(
                state,
                k * state.x,
                DrivingNoise(noise, 0.0, counter(0)._replace(low=index.astype(jnp.uint32)[None]), dt),
            )

        state = dynamics.init(jnp.asarray(start)[:, None])
        first = jax.jit(step)(jnp.uint32(0), state)
        # The first step takes the limit mu m -> g.
        q = np.array([0.5, 0.2]) if variant == "frozen" else np.sqrt((curvature * start) ** 2 + moment) + 1e-8
        np.testing.assert_allclose(first.x[:, 0], start - curvature * start / q * dt, rtol=1e-9)
        last = jax.lax.fori_loop(jnp.uint32(1), jnp.uint32(20_000), step, first)
    initial = np.concatenate([np.asarray(part)[:, 0] for part in first])
    solution = solve_ivp(field, (dt, 2.0), initial, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.asarray(last.x)[:, 0], solution.y[:2, -1], atol=2e-3)


def test_gradient_noise_is_drawn_once_a_learning_rate_and_on_its_own_stream():
    adam, noise = cast((Adam(0.1, gradient_noise="stable"), NOISE), jnp.float32)
    zero = jnp.zeros((2, 1), jnp.float32)
    squared = jax.jit(
        lambda at: adam._squared_gradient(zero, DrivingNoise(noise, jnp.float32(1), at, jnp.float32(0.02)))
    )
    drawn = jax.jit(noise.increment, static_argnums=2)
    squares = [np.asarray(squared(counter(step))) for step in range(11)]
    for step in range(1, 11):
        assert np.array_equal(squares[step], squares[step - 1]) == (step % 5 != 0)
    own = np.asarray(drawn(counter(0), jnp.float32(1), Stream.GRADIENT)) ** 2
    np.testing.assert_allclose(squares[0], own, rtol=64 * np.finfo(np.float32).eps)  # two programs round differently
    assert not np.allclose(own, np.asarray(drawn(counter(0), jnp.float32(1))) ** 2, rtol=0.01)


def test_stationary_law_of_v():
    """E v = diag(A A') for Gaussian gradient noise; 5 standard errors."""
    maps = Adam(0.1, gradient_noise="gaussian", epsilon=0.0).jump_maps(NOISE)
    v = 1 / np.asarray(maps) ** 2
    moment = np.asarray(NOISE.scale) ** 2
    assert np.all(np.abs(v.mean(axis=0) - moment) < 5 * v.std(axis=0) / np.sqrt(len(v)) + 1e-3 * moment)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(0.0), "learning_rate = .* is refused: give a finite number above 0"),
        (lambda: Adam(beta1=1.0), "beta1 = 1.0 is refused"),
        (lambda: Adam(beta2=-0.1), "beta2 = -0.1 is refused"),
        (lambda: Adam(epsilon=-1.0), "epsilon = -1.0 is refused: give a finite number, 0 or above"),
        (lambda: Adam(variant="papr"), 'did you mean "paper"'),
        (lambda: Adam(variant="corrected"), "learning_rate is missing: variant"),
        (lambda: Adam(variant="frozen"), "needs preconditioner"),
        (lambda: Adam(preconditioner=[1.0]), 'give it with variant = "frozen" only'),
        (lambda: Adam(0.1, gradient_noise="uniform"), "gradient_noise = .* is unknown: .*Allowed are"),
        (lambda: Adam(variant="malladi"), "learning_rate is missing: variant"),
        (lambda: Adam(0.1, variant="malladi", gradient_noise="stable"), '"frozen" with variant = "malladi"'),
        (lambda: Adam(weight_decay=-0.1), "weight_decay = -0.1 is refused"),
        (lambda: RMSProp(None), "needs a learning_rate"),
        (lambda: RMSProp(0.1, 1.0), "beta2 = 1.0 is refused"),
        (lambda: RMSProp(0.1, epsilon=-1.0), "epsilon = -1.0 is refused: give a finite number, 0 or above"),
        (lambda: RMSProp(0.1, gradient_noise="uniform"), "gradient_noise = .* is unknown: .*Allowed are"),
        (lambda: AdaGrad(None), "needs a learning_rate"),
        (lambda: AdaGrad(-1.0), "learning_rate = .* is refused: give a finite number above 0"),
        (lambda: AdaGrad(0.1, -1.0), "initial = -1.0 is refused"),
        (lambda: AdaGrad(0.1, epsilon=-1.0), "epsilon = -1.0 is refused: give a finite number, 0 or above"),
        (lambda: ClippedSGD(None, 1.0), "needs a learning_rate"),
        (lambda: ClippedSGD(0.1, 0.0), "bound = 0.0 is refused"),
        (lambda: ClippedSGD(0.1, 1.0, by="size"), "by = .* is unknown: .*Allowed are"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("name", EVERY)
class TestEvery:
    """What all dynamics have in common."""

    def parts(self, name, dtype="float32"):
        dynamics, noise = cast((EVERY[name], NOISE), jnp.dtype(dtype))
        return dynamics, DrivingNoise(noise, jnp.asarray(0.3, dtype), counter(0, 5), jnp.asarray(0.01, dtype))

    def moves(self, dynamics):
        """The steps that it has, each a function of state, gradient and driving."""
        names = ("iterate",) if dynamics.why_no_sde() is not None else ("iterate", "sde_step")
        return [name for name in names if name == "sde_step" or dynamics.learning_rate is not None]

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_steps_under_jit_keep_types_and_shapes(self, name, dtype):
        """In float64 by types alone; its numbers are those of optax, above."""

        def step(dynamics, state, driving):
            return [getattr(dynamics, move)(state, state.x, driving) for move in self.moves(dynamics)]

        with jax.enable_x64(dtype == "float64"):
            dynamics, driving = self.parts(name, dtype)
            assert isinstance(dynamics, Dynamics)
            state = dynamics.init(jnp.ones((2, 5), dtype))
            run = jax.jit(step) if dtype == "float32" else functools.partial(jax.eval_shape, step)
            for after in run(dynamics, state, driving):
                assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
                    lambda leaf: (leaf.shape, leaf.dtype), state
                )
                if dtype == "float32":
                    assert bool(jnp.isfinite(after.x).all())
                    assert bool((after.x != state.x).all())

    def test_vmap_over_a_swept_learning_rate(self, name):
        """The learning rate is a leaf: a batch of optimizers is one program."""
        dynamics, driving = self.parts(name)
        if dynamics.learning_rate is None:
            dynamics = cast(Adam(0.01), jnp.float32)
        leaves, tree = jax.tree.flatten(dynamics)
        state = dynamics.init(jnp.ones((2, 5), jnp.float32))

        def step(factor):
            scaled = tree.unflatten(leaves)
            object.__setattr__(scaled, "learning_rate", dynamics.learning_rate * factor)
            return scaled.iterate(state, state.x, driving).x

        many, one = jax.jit(lambda factors: (jax.vmap(step)(factors), step(factors[1])))(np.float32([0.01, 1.0, 2.0]))
        np.testing.assert_allclose(many[1], one, rtol=1e-6)
        if name != "from_optax":  # whose learning rate is its clock
            assert (np.asarray(many[2]) != np.asarray(many[0])).any()

    def test_round_trip(self, name):
        leaves, tree = jax.tree.flatten(EVERY[name])
        again = jax.tree.unflatten(tree, leaves)
        assert type(again) is type(EVERY[name])
        assert jax.tree.structure(again) == tree
        assert jax.tree.leaves(again) == leaves

    def test_the_sde_or_a_clear_refusal(self, name):
        dynamics, driving = self.parts(name)
        x = jnp.zeros((2, 5), jnp.float32)
        if dynamics.why_no_sde() is not None:
            state, noise = dynamics.init(x), driving.noise
            asked = (
                ("sde_step", state, x, driving),
                ("rest", x, noise),
                ("drift", state, x, noise),
                ("jump_maps", noise),
            )
            for question, *given in (*asked, ("displace", state, x), ("after_jump", x, x, noise), ("jump_maps", noise)):
                with pytest.raises(ValueError, match=r'; run it by method "iteration"'):
                    getattr(dynamics, question)(*given)
            return
        still = dynamics.drift(dynamics.rest(x, driving.noise), x, driving.noise)
        for leaf in jax.tree.leaves(still):
            np.testing.assert_array_equal(leaf, 0)
        assert dynamics.jump_maps(driving.noise).shape[1] == 2


SDES = {
    "nesterov": Momentum(0.1, 0.8, nesterov=True),
    "rmsprop": RMSProp(0.1, 0.8),
    "malladi": Adam(0.1, 0.8, 0.95, variant="malladi"),
    "adamw": Adam(0.1, 0.8, 0.95, variant="corrected", weight_decay=0.2),
}


class TestNewSdes:
    """Those of Nesterov, RMSProp, Malladi's Adam and AdamW."""

    @pytest.mark.parametrize("name", SDES)
    def test_sde_without_noise_follows_its_equation(self, name):
        """Written out by hand, against an adaptive solver; first order in dt. Starts after the averages' start."""
        curvature, dt, eta = np.array([1.0, 0.3]), 1e-4, 0.1
        moment = np.asarray(NOISE.scale) ** 2

        def field(t, y):
            x, m, v = y.reshape(3, 2)
            g = curvature * x
            if name == "nesterov":
                return np.concatenate([-(g + 0.8 * m), (g - 0.2 * m) / eta, 0 * v])
            if name == "rmsprop":
                return np.concatenate([-g / (np.sqrt(v) + 1e-8), 0 * m, 2.0 * (g**2 + moment - v)])
            b1, b2 = 2.0, 0.5
            mu, omega = 1 / -np.expm1(-b1 * t), 1 / -np.expm1(-b2 * t)
            q, w = np.sqrt(omega * v) + 1e-8, 0.2 if name == "adamw" else 0.0
            s = moment + g**2 if name == "adamw" else 2 * moment
            return np.concatenate([-mu * m / q - w * x, b1 * (g - m), b2 * (s - v)])

        with jax.enable_x64(True):
            dynamics, noise = cast((SDES[name], NOISE), jnp.float64)
            k = jnp.asarray(curvature)[:, None]

            def step(index, state):
                at = counter(0)._replace(low=index.astype(jnp.uint32)[None])
                return dynamics.sde_step(state, k * state.x, DrivingNoise(noise, 0.0, at, dt))

            state = dynamics.init(jnp.asarray([[0.6], [-0.5]]))
            first = jax.lax.fori_loop(jnp.uint32(0), jnp.uint32(1000), step, state)
            last = jax.lax.fori_loop(jnp.uint32(1000), jnp.uint32(20_000), step, first)
        zero = jnp.zeros((2, 1))
        initial = [getattr(first, part, zero)[:, 0] for part in ("x", "m", "v")]
        solution = solve_ivp(field, (1000 * dt, 2.0), np.concatenate(initial), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(np.asarray(last.x)[:, 0], solution.y[:2, -1], atol=2e-3)

    @pytest.mark.parametrize("name", SDES)
    def test_drift_is_the_sde_long_after_the_start(self, name):
        """One small step at late times, without noise, against `drift`; and its Jacobian against the modes."""
        with jax.enable_x64(True):
            dynamics, noise = cast((SDES[name], NOISE), jnp.float64)
            state = dynamics.rest(jnp.asarray([[0.3], [0.2]]), noise)
            state = state._replace(**{part: getattr(state, part) * 0.7 + 0.1 for part in state._fields[1:]})
            gradient, dt = jnp.asarray([[0.4], [-0.3]]), 1e-7
            late = counter(0)._replace(high=jnp.ones(1, jnp.uint32))
            after = sde_step(dynamics, state, gradient, DrivingNoise(noise, 0.0, late, dt))
            rates = jax.jit(dynamics.drift)(state, gradient, noise)
            for new, old, rate in zip(*jax.device_get((after, state, rates)), strict=True):
                np.testing.assert_allclose((new - old) / dt, rate, rtol=1e-5, atol=1e-6)

            hessian = jnp.asarray([1.0, 0.3])
            problem = EscapeProblem(Quadratic([1.0, 0.3]), Box([-1.0] * 2, [1.0] * 2), NOISE, SDES[name], 0.1)
            rest = dynamics.rest(jnp.zeros(2), noise)
            flat, unflatten = jax.flatten_util.ravel_pytree(rest)

            def velocity(vector):
                state = unflatten(vector)
                return jax.flatten_util.ravel_pytree(dynamics.drift(state, hessian * state.x, noise))[0]

            exact = -np.linalg.eigvals(jax.jit(jax.jacfwd(velocity))(flat))
            spectrum = modes_at(problem, None, np.zeros(2)).values
        for value in spectrum:
            assert np.abs(exact - value).min() < 1e-6

    @pytest.mark.parametrize("name", SDES)
    def test_a_jump_goes_as_far_as_its_map_says(self, name):
        """On a flat landscape; and what `after_jump` makes is what `displace` makes of it (without the decay)."""
        dynamics, noise = cast((SDES[name], NOISE), jnp.float32)
        if name == "adamw":
            dynamics = cast(Adam(0.1, 0.8, 0.95, variant="corrected"), jnp.float32)
        jump = jnp.asarray([[0.3], [-0.1]], jnp.float32)
        state = dynamics.displace(dynamics.rest(jnp.zeros((2, 1), jnp.float32), noise), jump)
        far = dynamics.jump_maps(noise)[0][:, None] * jump
        jumped = dynamics.after_jump(jnp.zeros((2, 1), jnp.float32), far, noise)
        for mine, theirs in zip(jumped, state, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5)
        step = jax.jit(lambda state: flow(dynamics, jnp.zeros_like, noise, state, jnp.float32(0.05)))
        for _ in range(400):
            state = step(state)
        np.testing.assert_allclose(state.x, far, rtol=1e-4)

    @pytest.mark.parametrize("name", ["nesterov"])
    def test_euler_step_of_one_learning_rate_is_the_iteration(self, name):
        dynamics, noise = cast((SDES[name], NOISE), jnp.float32)
        state = dynamics.init(jnp.ones((2, 5), jnp.float32))._replace(m=jnp.full((2, 5), 0.3, jnp.float32))
        at = counter(4, 5)
        sde = sde_step(dynamics, state, state.x, DrivingNoise(noise, jnp.float32(0), at, jnp.float32(0.1)))
        own = iterated(dynamics, state, state.x, DrivingNoise(noise, jnp.float32(0), at, jnp.float32(1)))
        for mine, theirs in zip(sde, own, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", SDES)
    def test_exits_at_the_predicted_rate(self, name):
        """The jump-adapted SDE at small noise: 4000 exits, 4 standard errors (6e-5) and 3% for the limit."""
        noise = Independent(1.5, [1.0])
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.5]), noise, SDES[name], 0.002)
        predicted = predict(problem)
        samples = simulate(problem, Plan(JumpAdapted(), 4000), 3)
        ratio = float(samples.exit_time.mean()) * predicted.rate
        assert abs(ratio - 1) < 4 / np.sqrt(4000) + 0.03, ratio

    @pytest.mark.slow
    def test_nesterov_iteration_exits_at_the_predicted_rate(self):
        """2000 exits of the algorithm itself; 4 standard errors and 3% for the limit."""
        problem = EscapeProblem(
            Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), Momentum(0.1, 0.8, nesterov=True), 0.02
        )
        samples = simulate(problem, Plan(Iteration(), 2000), 3)
        ratio = float(samples.exit_time.mean()) * predict(problem, Iteration()).rate
        assert abs(ratio - 1) < 4 / np.sqrt(2000) + 0.03, ratio


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EVERY if EVERY[name].learning_rate is not None])
@pytest.mark.parametrize("solver", [Iteration(), Euler(0.01)])
def test_bits_do_not_depend_on_lanes(name, solver):
    if EVERY[name].why_no_sde() is not None and not isinstance(solver, Iteration):
        return
    noise = Independent(1.5, [1.0, 1.0])
    problem = EscapeProblem(Quadratic([1.0, 1.0]), Box([-1.0] * 2, [1.0] * 2), noise, EVERY[name], 0.5)
    time = 200 * float(solver.step_time(problem))
    plans = [Plan(solver, 512, time, chunk_size=size, devices=jax.devices()[:1]) for size in (64, 512)]
    one, other = (simulate(problem, plan, 5) for plan in plans)
    np.testing.assert_array_equal(one.exit_step, other.exit_step)
    np.testing.assert_array_equal(one.exit_position, other.exit_position)


class TestNoRate:
    """Where no rate is predicted, one sentence says why."""

    @pytest.mark.parametrize(
        ("dynamics", "solver", "words"),
        [
            (RMSProp(0.1), Iteration(), "RMSProp itself has no exit rate"),
            (Adam(0.1, variant="malladi"), Iteration(), "Adam itself has no exit rate"),
            (AdaGrad(0.1), Iteration(), "steps shrink for ever"),
            (ClippedSGD(0.1, 0.5), None, "A clipped step bounds the jumps"),
            (Adam(0.1, weight_decay=0.1), Euler(0.01), "pulls to the origin"),
        ],
    )
    def test_refused(self, dynamics, solver, words):
        problem = EscapeProblem(Quadratic([1.0, 1.0], [0.1, 0.0]), Box([-1.0] * 2, [1.0] * 2), NOISE, dynamics, 0.01)
        prediction = predict(problem, solver)
        assert prediction.rate is None
        assert len(prediction.reasons) == 1
        assert words in prediction.reasons[0]

    @pytest.mark.parametrize("name", [name for name, one in EVERY.items() if one.why_no_sde() is not None])
    @pytest.mark.parametrize("noise", [Pareto(1.5, [1.0, 1.0]), Gaussian([1.0, 1.0])])
    def test_refused_for_other_noise(self, name, noise):
        box = Box([-1.0] * 2, [1.0] * 2)
        for solver in (Iteration(), Euler(0.01), None):
            prediction = predict(EscapeProblem(Quadratic([1.0, 1.0]), box, noise, EVERY[name], 0.01), solver)
            assert prediction.rate is None
            assert prediction.reasons == (f"{EVERY[name].why_no_sde()}, so there is no rate to predict; simulate it.",)


def test_clipped_steps_are_never_longer_than_the_bound():
    """In float32, with gradients whose squares overflow, and at 0."""
    x = np.float32([[0.0, 1e30, 3e-30, -1e37, 0.04], [0.0, 1e30, 4e-30, 1.0, 0.03]])
    for by in ("norm", "coordinate"):
        dynamics, noise = cast((ClippedSGD(1.0, 0.05, by=by), NOISE), jnp.float32)
        driving = DrivingNoise(noise, jnp.float32(0), counter(0, 5), 1.0)
        step = -np.asarray(iterated(dynamics, dynamics.init(jnp.asarray(0 * x)), jnp.asarray(x), driving).x)
        length = np.abs(step).max(axis=0) if by == "coordinate" else np.hypot(*step)
        np.testing.assert_allclose(length[1], 0.05, rtol=1e-6)
        np.testing.assert_allclose(length[3], 0.05, rtol=1e-6)
        np.testing.assert_array_equal(step[:, [0, 2, 4]], x[:, [0, 2, 4]])


class TestMomentum:
    def test_sde_is_heavy_ball(self):
        """x'' + b x' + b k x/(1 - beta) = 0: by the Runge-Kutta flow, and by the SDE's own steps to first order."""
        momentum, k, start = Momentum(0.1, 0.9), 2.0, 0.7
        b = float(momentum.rate())
        turn = np.sqrt(b * k / 0.1 - b**2 / 4)
        times = np.arange(1, 401) * 0.01
        exact = start * np.exp(-b * times / 2) * (np.cos(turn * times) + b / (2 * turn) * np.sin(turn * times))
        with jax.enable_x64(True):
            dynamics, noise = cast((momentum, Independent(1.5, [1.0])), jnp.float64)
            state = rough = dynamics.init(jnp.full((1, 1), start))
            path, rough_path = [], []
            fine = jax.jit(lambda state: flow(dynamics, lambda x: k * x, noise, state, 0.01))
            coarse = jax.jit(
                lambda state: dynamics.sde_step(state, k * state.x, DrivingNoise(noise, 0.0, counter(0), 0.01))
            )
            for _ in times:
                state, rough = fine(state), coarse(rough)
                path.append(float(state.x[0, 0]))
                rough_path.append(float(rough.x[0, 0]))
        np.testing.assert_allclose(path, exact, atol=1e-6)
        np.testing.assert_allclose(rough_path, exact, atol=0.05)

    def test_euler_step_of_one_learning_rate_is_the_iteration(self):
        momentum, noise = cast((Momentum(0.1, 0.9), NOISE), jnp.float32)
        state = momentum.init(jnp.ones((2, 5), jnp.float32))._replace(m=jnp.full((2, 5), 0.3, jnp.float32))
        at = counter(4, 5)
        sde = sde_step(momentum, state, state.x, DrivingNoise(noise, jnp.float32(0), at, jnp.float32(0.1)))
        own = iterated(momentum, state, state.x, DrivingNoise(noise, jnp.float32(0), at, jnp.float32(1)))
        for mine, theirs in zip(sde, own, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)

    def test_a_jump_goes_as_far_as_its_map_says(self):
        """On a flat landscape, epsilon y/(1 - beta) in all."""
        momentum, noise = cast((Momentum(0.1, 0.8), NOISE), jnp.float32)
        jump = jnp.asarray([[0.3], [-0.1]], jnp.float32)
        state = momentum.displace(momentum.rest(jnp.zeros((2, 1), jnp.float32), noise), jump)
        far = momentum.jump_maps(noise)[0][:, None] * jump
        np.testing.assert_allclose(
            momentum.after_jump(jnp.zeros((2, 1), jnp.float32), far, noise).m, state.m, rtol=1e-6
        )
        step = jax.jit(lambda state: flow(momentum, jnp.zeros_like, noise, state, jnp.float32(0.025)))
        for _ in range(400):
            state = step(state)
        np.testing.assert_allclose(state.x, far, rtol=1e-5)

    def test_needs_a_learning_rate(self):
        with pytest.raises(ValueError, match="learning_rate"):
            Momentum(None)
        with pytest.raises(ValueError, match=r"beta = 1\.0 is refused"):
            Momentum(0.1, 1.0)


def test_a_projection_keeps_what_is_inside_and_not_a_number():
    state = projected(SGD().init(jnp.array([[-9.0, 0.5, 9.0, jnp.nan]])), np.array([[-1.0], [2.0]]))
    np.testing.assert_array_equal(state.x, [[-1.0, 0.5, 2.0, np.nan]])


def test_adagrad_in_float64_between_bounds_compiles():
    """With jnp.clip for the bounds XLA takes more than five minutes; here it is seconds, and the bound is a minute."""
    problem = EscapeProblem(
        Quadratic([1.0, 0.1]), Box([-1.0, -1.0], [1.0, 1.0]), Independent(1.5, [1.0, 1.0]), AdaGrad(0.1), 0.3
    )
    solver = Iteration(project=[[-2.0, -2.0], [2.0, 2.0]])
    began = time.perf_counter()
    simulate(problem, Plan(solver, 10, max_time=2.0, dtype="float64"), 0)
    assert time.perf_counter() - began < 60
