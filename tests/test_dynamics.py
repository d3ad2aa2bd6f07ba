"""Optimizers: the discrete ones against optax, the SDEs against their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import solve_ivp

from levyjax.arrays import cast
from levyjax.claims.averaging import spike_cap
from levyjax.dynamics import SGD, Adam, AdamState, Kick, Momentum, flow
from levyjax.noise import Independent
from levyjax.random import Counter, Stream

NOISE = Independent(1.5, [0.5, 0.2])


def counter(step, lanes=1, key=3):
    one = jnp.ones(lanes, jnp.uint32)
    return Counter(one * jnp.uint32(key), one, one * jnp.uint32(step), one * jnp.uint32(0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ours", [SGD(0.1), Adam(0.01), Momentum(0.02, 0.9)])
def test_iteration_is_optax_on_shared_noise(ours, dtype):
    """To 1e-6 over 200 steps with stable noise: in float64 the paths, in float32 each step (its rounding adds up)."""
    curvature, level = np.array([1.0, 0.1]), 0.3
    with jax.enable_x64(dtype == "float64"):
        dynamics, noise = cast((ours, NOISE), jnp.dtype(dtype))
        theirs = {SGD: optax.sgd(0.1), Adam: optax.adam(0.01), Momentum: optax.sgd(0.02, momentum=0.9)}[type(ours)]
        k = jnp.asarray(curvature, dtype)
        state = dynamics.init(jnp.asarray([[0.7], [-0.4]], dtype))
        x = state.x[:, 0]
        opt_state = theirs.init(x)

        @jax.jit
        def iterate(state, at):
            kick = Kick(noise, jnp.asarray(level, dtype), at, 1.0)
            return dynamics.iterate(state, k[:, None] * state.x, kick), noise.increment(at, 1.0)[:, 0]

        for step in range(200):
            before, x_before = state.x[:, 0], x
            state, u = iterate(state, counter(step))
            with jax.numpy_dtype_promotion("standard"):
                updates, opt_state = theirs.update(k * x + jnp.asarray(level, dtype) * u, opt_state, x)
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
            kick = Kick(noise, 0.0, counter(20_000)._replace(low=jnp.ones(1, jnp.uint32) * (20_000 + index)), 1.0)
            return adam.iterate(state, jnp.where(index == 0, size, zero), kick)

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
                state, k * state.x, Kick(noise, 0.0, counter(0)._replace(low=index.astype(jnp.uint32)[None]), dt)
            )

        state = dynamics.init(jnp.asarray(start)[:, None])
        first = step(jnp.uint32(0), state)
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
    squares = [
        np.asarray(adam._squared_gradient(zero, Kick(noise, jnp.float32(1), counter(step), jnp.float32(0.02))))
        for step in range(11)
    ]
    for step in range(1, 11):
        assert np.array_equal(squares[step], squares[step - 1]) == (step % 5 != 0)
    own = np.asarray(noise.increment(counter(0), jnp.float32(1), Stream.GRADIENT)) ** 2
    np.testing.assert_array_equal(squares[0], own)
    assert not np.array_equal(own, np.asarray(noise.increment(counter(0), jnp.float32(1))) ** 2)


def test_stationary_law_of_v():
    """E v = diag(A A') for Gaussian gradient noise; 5 standard errors."""
    maps = Adam(0.1, gradient_noise="gaussian", epsilon=0.0).jump_maps(NOISE)
    v = 1 / np.asarray(maps) ** 2
    moment = np.asarray(NOISE.scale) ** 2
    assert np.all(np.abs(v.mean(axis=0) - moment) < 5 * v.std(axis=0) / np.sqrt(len(v)) + 1e-3 * moment)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(0.0), "learning_rate must be positive"),
        (lambda: Adam(beta1=1.0), "beta1 must be in"),
        (lambda: Adam(beta2=-0.1), "beta2 must be in"),
        (lambda: Adam(epsilon=-1.0), "epsilon must not be negative"),
        (lambda: Adam(variant="papr"), "variant must be one of"),
        (lambda: Adam(variant="corrected"), "need a learning_rate"),
        (lambda: Adam(variant="frozen"), "preconditioner goes with"),
        (lambda: Adam(preconditioner=[1.0]), "preconditioner goes with"),
        (lambda: Adam(0.1, gradient_noise="uniform"), "gradient_noise must be one of"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()


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
            coarse = jax.jit(lambda state: dynamics.sde_step(state, k * state.x, Kick(noise, 0.0, counter(0), 0.01)))
            for _ in times:
                state, rough = fine(state), coarse(rough)
                path.append(float(state.x[0, 0]))
                rough_path.append(float(rough.x[0, 0]))
        np.testing.assert_allclose(path, exact, atol=1e-6)
        np.testing.assert_allclose(rough_path, exact, atol=0.05)

    def test_euler_step_of_one_learning_rate_is_the_iteration(self):
        momentum, noise = cast((Momentum(0.1, 0.9), NOISE), jnp.float32)
        state = momentum.init(jnp.ones((2, 5), jnp.float32))._replace(m=jnp.full((2, 5), 0.3, jnp.float32))
        sde = momentum.sde_step(state, state.x, Kick(noise, jnp.float32(0), counter(4, 5), jnp.float32(0.1)))
        own = momentum.iterate(state, state.x, Kick(noise, jnp.float32(0), counter(4, 5), jnp.float32(1)))
        for mine, theirs in zip(sde, own, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)

    def test_a_jump_goes_as_far_as_its_map_says(self):
        """On a flat landscape, epsilon y/(1 - beta) in all."""
        momentum, noise = cast((Momentum(0.1, 0.8), NOISE), jnp.float32)
        jump = jnp.asarray([[0.3], [-0.1]], jnp.float32)
        state = momentum.displace(momentum.rest(jnp.zeros((2, 1), jnp.float32), noise), jump)
        far = momentum.jump_maps(noise)[0][:, None] * jump
        np.testing.assert_allclose(momentum.thrown(jnp.zeros((2, 1), jnp.float32), far, noise).m, state.m, rtol=1e-6)
        step = jax.jit(lambda state: flow(momentum, jnp.zeros_like, noise, state, jnp.float32(0.025)))
        for _ in range(400):
            state = step(state)
        np.testing.assert_allclose(state.x, far, rtol=1e-5)

    def test_needs_a_learning_rate(self):
        with pytest.raises(ValueError, match="learning_rate"):
            Momentum(None)
        with pytest.raises(ValueError, match=r"beta must be in \[0, 1\)"):
            Momentum(0.1, 1.0)
