"""A network's loss as a landscape, and rates over columns: against plain JAX, by hand, and by simulation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from levyjax.arrays import cast
from levyjax.basins import Box, Ellipsoid, Sublevel
from levyjax.claims.base import Settings
from levyjax.claims.figures.network import finite_reaches, ray_reach
from levyjax.claims.network import network_exits
from levyjax.dynamics import SGD, Momentum
from levyjax.escape import EscapeProblem, predict
from levyjax.escape.columns import column_rate
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent, Rotational
from levyjax.training import MLP, flatten, landscape, network_landscape


@pytest.fixture(autouse=True, scope="module")
def quick_compiler():
    """Programs that are used once compile in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


DECAY = 0.05
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(30, 4)), np.arange(30) % 3
X[:, 0] += Y


def network(*widths, activation="tanh"):
    return MLP(widths, rngs=nnx.Rngs(0), activation=activation)


@pytest.fixture(scope="module")
def trained():
    return network_landscape(network(4, 3, 3), X, Y, DECAY)


def problem_of(loss, level=0.01, height=0.2, noise=None):
    noise = noise or Independent(1.5, np.linspace(0.0, 1.0, loss.minimum.size))
    return EscapeProblem(loss, Sublevel(loss, height), noise, SGD(), level)


def test_a_ray_that_stays_where_it_is_never_leaves(trained):
    with jax.enable_x64(True):
        rays = jnp.stack([jnp.zeros(trained.minimum.size), jnp.ones(trained.minimum.size)], axis=1)
        gauge = np.asarray(trained.sublevel_gauge(rays, 0.2))
    assert gauge[0] == 0 < gauge[1]


class TestNetworkLoss:
    @pytest.mark.parametrize("widths", [(4, 3, 3), (4, 5, 2, 3), (4, 3), (4, 40, 3)])
    def test_is_the_models_own_loss_and_gradient(self, widths):
        model = network(*widths)
        flat = flatten(model)
        with jax.enable_x64(True):
            points = jnp.asarray(np.random.default_rng(1).normal(size=(flat.parameters.size, 5)))
            loss = landscape._at_start(model, X, np.eye(3)[Y], DECAY)

            def plain(x):
                logits = flat.apply(x, jnp.asarray(X))
                return optax.softmax_cross_entropy(logits, jnp.eye(3)[Y]).mean() + DECAY * (x @ x) / 2

            expected, slopes = jax.jit(jax.vmap(jax.value_and_grad(plain), in_axes=1))(points)
            np.testing.assert_allclose(loss.value(points), expected, rtol=1e-12)
            np.testing.assert_allclose(loss.gradient(points), slopes.T, rtol=1e-9, atol=1e-13)

    def test_keeps_its_type(self, trained):
        loss = cast(trained, jnp.float32)
        x = jnp.ones((loss.minimum.shape[0], 2), jnp.float32)
        assert loss.value(x).dtype == loss.gradient(x).dtype == loss.sublevel_gauge(x, 0.2).dtype == jnp.float32

    def test_training_ends_at_a_minimum(self, trained):
        with jax.enable_x64(True):
            minimum = jnp.asarray(trained.minimum)
            assert np.linalg.norm(trained.gradient(minimum)) < 1e-12
            hessian = np.asarray(trained.hessian())
            assert np.linalg.eigvalsh(hessian)[0] > 1e-3
            step = 1e-5 * jnp.eye(minimum.size)
            slopes = trained.gradient(minimum[:, None] + step) - trained.gradient(minimum[:, None] - step)
            np.testing.assert_allclose(hessian, slopes / 2e-5, atol=1e-8)

    def test_rays_end_at_the_level_for_the_first_time(self, trained, monkeypatch):
        monkeypatch.setattr(landscape, "_NUMBERS", 7 * X.shape[0] * 3)  # seven rays at a time
        rays = np.random.default_rng(2).normal(size=(trained.minimum.size, 10))
        with jax.enable_x64(True):
            minimum = jnp.asarray(trained.minimum)[:, None]
            loss = dataclasses.replace(trained, weight_decay=np.asarray(DECAY * 1.0))
            gauge = loss.sublevel_gauge(jnp.asarray(rays), 0.2)
            rise = [loss.value(minimum + part * rays / gauge) - loss.value(minimum) for part in np.linspace(0, 1, 50)]
            np.testing.assert_allclose(rise[-1], 0.2, rtol=1e-9)
            assert np.max(rise[:-1]) < 0.2
            edge = minimum + rays / gauge * np.array([[0.999], [1.001]])[:, :, None]
            inside = np.stack([loss.in_sublevel(point, 0.2) for point in edge])
        np.testing.assert_array_equal(inside, [[True] * 10, [False] * 10])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((network(4, 3, 3, activation="relu"), X, Y, DECAY), "kinks"),
            ((network(5, 3, 3), X, Y, DECAY), r"\(n, 5\)"),
            ((network(4, 3, 2), X, Y, DECAY), "from 0 to 1"),
            ((network(4, 3, 3), X, Y[:-1], DECAY), "30 whole numbers"),
            ((network(4, 3, 3), X, Y, -1.0), "negative"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            network_landscape(*arguments)


class TestRatesOfNetworks:
    def test_a_prediction_is_valid_at_small_noise_and_says_why_not_without_decay(self, trained):
        assert predict(problem_of(trained, 1e-5)).valid
        flat = network_landscape(network(4, 3, 3), np.eye(4)[:3], np.arange(3), 0.0)
        prediction = predict(problem_of(flat, 1e-4))
        assert not prediction.valid
        assert prediction.kappa == 0
        assert "no isolated minimum" in prediction.reasons[0]

    def test_all_columns_are_the_prediction(self, trained):
        problem = problem_of(trained)
        found = column_rate(problem)
        assert found.rate == pytest.approx(predict(problem).rate, rel=1e-12)
        assert (found.standard_error, found.num_columns) == (0, trained.minimum.size - 1)

    @pytest.mark.parametrize("quadratic", [False, True])
    def test_sampled_columns_are_unbiased(self, trained, quadratic):
        """The mean of 40 samples within 4.5 standard errors: a false alarm once in 100,000 (Student t)."""
        problem = problem_of(trained)
        exact = column_rate(problem, quadratic=quadratic).rate
        found = [column_rate(problem, 20, quadratic=quadratic, seed=seed) for seed in range(40)]
        rates, errors = np.array([one.rate for one in found]), np.array([one.standard_error for one in found])
        assert abs(rates.mean() - exact) < 4.5 * rates.std(ddof=1) / np.sqrt(40)
        assert np.sqrt((errors**2).mean()) == pytest.approx(rates.std(ddof=1), rel=0.5)

    @pytest.mark.slow
    def test_simulated_exits_come_at_the_rate_of_the_rays(self):
        """Within 4 standard errors, which are 0.51 of the 95% interval's half in logarithms."""
        outcome = network_exits(Settings(quick=True))
        half = np.log(outcome.ci95[1] / outcome.ci95[0]) / 2
        assert abs(np.log(outcome.measured)) < 4 * 0.51 * half


@pytest.mark.parametrize("scale", [np.array([0.5, 1.0, 0.0]), np.random.default_rng(3).normal(size=(3, 3))])
@pytest.mark.parametrize("quadratic", [False, True])
def test_columns_on_a_quadratic_are_an_ellipsoids(scale, quadratic):
    hessian = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.0], [0.1, 0.0, 0.3]])
    problem = problem_of(Quadratic(hessian), noise=Independent(1.3, scale))
    ellipsoid = dataclasses.replace(problem, basin=Ellipsoid(hessian, 0.4, np.zeros(3)))
    assert column_rate(problem, quadratic=quadratic).rate == pytest.approx(predict(ellipsoid).rate, rel=1e-13)


def test_column_rate_refuses_what_it_has_no_law_for():
    problem = problem_of(Quadratic([1.0, 2.0]))
    for changed in ({"dynamics": Momentum(0.1, 0.9)}, {"noise": Rotational(1.5, [1.0, 1.0])}):
        with pytest.raises(ValueError, match="use predict"):
            column_rate(dataclasses.replace(problem, **changed))
    with pytest.raises(ValueError, match="got SGD, Independent, Box"):
        column_rate(dataclasses.replace(problem, basin=Box([-1.0, -1.0], [1.0, 1.0])))
    with pytest.raises(ValueError, match="at least 2"):
        column_rate(problem, 1)


class TestRayReach:
    def test_rows_have_a_point_for_each_ray_that_leaves(self):
        rows = finite_reaches({"bias": [[2.0, 1.0]], "kernel": [np.inf, 3.0]})
        assert {name: ways.tolist() for name, ways in rows.items()} == {"bias": [1.0, 2.0], "kernel": [3.0]}
        axes = ray_reach({"bias": [2.0, 1.0], "kernel": [np.inf, 3.0]})
        assert [np.size(line.get_xdata()) for line in axes.get_lines()[::2]] == [2, 1]

    @pytest.mark.parametrize(("reaches", "message"), [({}, "one or more"), ({"bias": [0.0]}, "positive")])
    def test_refuses(self, reaches, message):
        with pytest.raises(ValueError, match=message):
            ray_reach(reaches)
