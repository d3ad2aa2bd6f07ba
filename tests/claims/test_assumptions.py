"""Assumption 2's quantities against plain loops and optax, and Theorem 1's condition against its own inequality."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from levyjax.claims.adam_quantities import adam_quantities, assumption2
from levyjax.escape.validity import adam_rate, largest_noise_level


def losses(w, x, y):
    return (x @ w - y) ** 2


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)), rng.normal(size=40)


def by_hand(x, y, batches, rate=0.01, beta1=0.9, beta2=0.99, epsilon=1e-8):
    """The noise-free run, and m along the points that optax's Adam visits."""

    def full(w):
        return 2 * x.T @ (x @ w - y) / len(y)

    def batch(w, rows):
        return 2 * x[rows].T @ (x[rows] @ w - y[rows]) / len(rows)

    optimizer = optax.adam(rate, beta1, beta2, epsilon)
    w, free = jnp.zeros(3), np.zeros(3)
    state, m, free_m, free_v, total = optimizer.init(w), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    out = []
    for k, rows in enumerate(batches, 1):
        m = beta1 * m + (1 - beta1) * full(np.asarray(w))
        free_m = beta1 * free_m + (1 - beta1) * full(free)
        free_v = beta2 * free_v + (1 - beta2) * full(free) ** 2
        total = total + m - free_m
        slope, height = full(np.asarray(w)), ((x @ np.asarray(w) - y) ** 2).mean()
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(jnp.asarray(batch(np.asarray(w), rows)), state)
        root = np.sqrt(np.asarray(state[0].nu) / (1 - beta2**k)) + epsilon
        out.append(
            [height, np.linalg.norm(m - free_m), np.linalg.norm(total), np.linalg.norm(free_m),
             np.linalg.norm(full(free)), slope @ (m / root) / (1 - beta1**k) / (1 + height),
             np.sqrt(np.asarray(state[0].nu).max())]
        )  # fmt: skip
        w = optax.apply_updates(w, updates)
        free = free - rate * free_m / (1 - beta1**k) / (np.sqrt(free_v / (1 - beta2**k)) + epsilon)
    return np.array(out).T, np.asarray(w), free


class TestQuantities:
    def test_equal_a_plain_loop_around_optax(self, data):
        x, y = data
        rng = np.random.default_rng([5, 3])
        batches = [rng.choice(40, 8, False, shuffle=False) for _ in range(30)]
        with jax.enable_x64(True):
            expected, end, free_end = by_hand(x, y, batches)
            found = adam_quantities(
                losses, np.zeros(3), x, y, iterations=30, learning_rate=0.01, batch_size=8, beta2=0.99, seed=5
            )
        names = ("loss", "gap", "gap_sum", "free_momentum", "free_gradient", "descent", "largest_root")
        for name, row in zip(names, expected, strict=True):
            np.testing.assert_allclose(getattr(found, name), row, rtol=1e-9, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(found.parameters, end, rtol=1e-9)
        np.testing.assert_allclose(found.free_parameters, free_end, rtol=1e-9)

    def test_without_noise_there_is_no_gap(self, data):
        x, y = data
        with jax.enable_x64(True):
            found = adam_quantities(losses, np.zeros(3), x, y, iterations=20, batch_size=40)
        np.testing.assert_allclose(found.gap, 0, atol=1e-12)
        np.testing.assert_allclose(found.parameters, found.free_parameters, rtol=1e-9)

    def test_the_constants_bound_what_they_should(self, data):
        x, y = data
        found = adam_quantities(losses, jnp.zeros(3), x.astype(np.float32), y.astype(np.float32), iterations=50)
        constants = assumption2(found, skip=5)
        kept = slice(5, None)
        assert (found.free_momentum[kept] >= constants.tau * found.free_gradient[kept] * (1 - 1e-6)).all()
        assert (found.gap[kept] <= constants.tau_m * found.gap_sum[kept] * (1 + 1e-6)).all()
        assert constants.v_max == found.largest_root[kept].max()
        assert constants.rates == (pytest.approx(100), pytest.approx(1))
        assert (constants.betas_ordered, constants.rates_ordered) == (True, False)

    def test_bad_arguments(self, data):
        x, y = data
        with pytest.raises(ValueError, match="mini-batches of 41"):
            adam_quantities(losses, np.zeros(3), x, y, iterations=1, batch_size=41)
        found = adam_quantities(losses, jnp.zeros(3), x.astype(np.float32), y.astype(np.float32), iterations=2)
        with pytest.raises(ValueError, match="skip 2"):
            assumption2(found, skip=2)


class TestCondition:
    @pytest.mark.parametrize("rate", [1e-4, 0.01, 0.3])
    @pytest.mark.parametrize("gap", [0.1, 2.0])
    @pytest.mark.parametrize("convexity", [0.01, 1.0])
    def test_the_largest_level_is_the_edge_of_the_inequality(self, rate, gap, convexity):
        def holds(level):
            return math.log(2 * gap / (convexity * level ** (1 / 3))) <= rate * level ** (-1 / 3)

        level = largest_noise_level(rate, convexity, gap)
        if math.isinf(level):
            assert all(holds(10.0**power) for power in range(-30, 10))
        else:
            assert holds(level * 0.999)
            assert not holds(level * 1.001)
            assert all(holds(level * 10.0**-power) for power in range(1, 20))

    def test_nothing_is_admitted_without_convexity(self):
        assert largest_noise_level(adam_rate(-0.1, 1.0, 1.0), -0.1, 1.0) == 0
        with pytest.raises(ValueError, match="loss_gap 0"):
            largest_noise_level(1.0, 1.0, 0)
