"""Descent to a minimum, and the check of one in many coordinates, against minima and curvatures that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from levyjax.landscapes import from_function, minimize
from levyjax.landscapes.minimum import largest_curvature
from levyjax.training import MLP, flatten, hessian_pairs


def bowl(x, parameters):
    """Quadratic of the given curvatures around a centre, with a quartic that leaves the minimum where it is."""
    away = x - jnp.asarray(parameters["centre"], x.dtype)
    return (jnp.asarray(parameters["bends"], x.dtype) * away**2).sum() / 2 + (away**2).sum() ** 2 / 4


def given(size, least=1e-2):
    rng = np.random.default_rng(0)
    return {"centre": rng.normal(size=size), "bends": np.geomspace(least, 1.0, size)}


@pytest.fixture
def no_matrix(monkeypatch):
    """The Hessian of many coordinates is never made."""

    def refuse(*_, **__):
        raise AssertionError("a dense Hessian")

    monkeypatch.setattr(jax, "hessian", refuse)


class TestMinimize:
    @pytest.mark.parametrize("size", [1, 2, 30, 10_000])
    def test_ends_at_the_minimum_that_from_function_takes(self, size, no_matrix):
        parameters = given(size)
        found = minimize(bowl, np.zeros(size), parameters)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, parameters["centre"], atol=1e-6)
        if size > 512:
            assert from_function(bowl, found, parameters).minimum.shape == (size,)

    @pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e9])
    def test_the_unit_of_the_function_does_not_matter(self, unit):
        parameters = given(5)
        found = minimize(lambda x: unit * bowl(x, parameters), np.zeros(5))
        np.testing.assert_allclose(found, parameters["centre"], atol=1e-6)

    def test_a_trained_network_is_polished(self):
        """A softmax network of tanh units with weight decay: its gradient and lowest curvature by JAX in float64."""
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 3, 60).astype(np.int32)
        flat = flatten(MLP((3, 4, 3), rngs=nnx.Rngs(0), activation="tanh"))

        def loss(w):
            return flat.losses(w, jnp.asarray(x, w.dtype), jnp.asarray(y)).mean() + 0.01 / 2 * (w**2).sum()

        point = flat.parameters
        for _ in range(100):  # trained, but at no minimum
            point = point - 0.2 * jax.grad(loss)(point)
        with pytest.raises(ValueError, match=r"such as by landscapes\.minimize"):
            from_function(loss, point)
        minimum = minimize(loss, point)
        landscape = from_function(loss, minimum)
        with jax.enable_x64(True):
            assert np.linalg.norm(jax.grad(loss)(jnp.asarray(minimum))) < 1e-7
            assert hessian_pairs(loss, minimum, 1, end="smallest").values[0] > 0
        assert float(loss(jnp.asarray(landscape.minimum, jnp.float32))) <= float(loss(point))

    def test_a_function_of_single_precision_alone_is_taken_in_it(self):
        centre = np.array([1.0, -2.0], np.float32)

        def single(x):
            if x.dtype != jnp.float32:
                raise TypeError("float32 only")
            return (jnp.array([1.0, 3.0], jnp.float32) * (x - centre) ** 2).sum()

        np.testing.assert_allclose(minimize(single, np.zeros(2, np.float32)), centre, atol=1e-5)

    @pytest.mark.parametrize(
        ("function", "start", "words"),
        [
            (lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, [1.0, 0.0], "ended at a saddle"),
            (lambda x: jnp.log1p(jnp.exp(-x[0])) + 1e-3 * x[0], [0.0], None),
            (lambda x: x.sum(), [0.0, 1.0], "stopped at a gradient"),
            (lambda x: jnp.abs(x - 0.3).sum(), [0.0, 1.0], "stopped at a gradient"),
            (lambda x: jnp.log(x[0]), [-1.0], "one finite number at the start"),
            (lambda x: x, [0.0, 1.0], "must give one number"),
            (lambda x: x.sum(), [[0.0, 1.0]], "start must be a vector"),
            (lambda x: x.sum(), [np.nan], "start must be finite"),
        ],
    )
    def test_what_has_no_minimum_there_is_refused(self, function, start, words):
        if words is None:  # a minimum far out, at log 999
            assert minimize(function, start)[0] == pytest.approx(np.log(999), rel=1e-5)
            return
        with pytest.raises(ValueError, match=words) as caught:
            minimize(function, start)
        assert "\n" not in str(caught.value)


class TestManyCoordinates:
    """Above 512 coordinates the curvature that a gradient is compared with is found by Lanczos' method."""

    @pytest.mark.parametrize(("off", "taken"), [(0.9e-3, True), (1.1e-3, False), (1.0, False)])
    def test_what_is_taken_for_a_minimum_is_the_same(self, off, taken, no_matrix):
        """The largest curvature is 1 and the gradient `off` times it."""
        parameters = given(600)
        point = parameters["centre"].copy()
        point[-1] += off
        with jax.enable_x64(True):
            if taken:
                from_function(bowl, point, parameters)
                return
            with pytest.raises(ValueError, match="The gradient at the given minimum has norm"):
                from_function(bowl, point, parameters)

    def test_a_flat_function_has_a_minimum_where_it_does_not_slope(self):
        from_function(lambda x: 0 * x.sum(), np.zeros(600))
        with pytest.raises(ValueError, match=r"has norm 24\.5"):
            from_function(lambda x: x.sum(), np.zeros(600))

    def test_pieces_that_meet_at_the_minimum_count_with_their_mean(self):
        """Curvatures 1 and 3 on the two sides of each coordinate's 0: JAX's own there would be 3."""
        with jax.enable_x64(True):
            from_function(lambda x: (jnp.where(x > 0, 1.5, 0.5) * x**2).sum(), np.zeros(600))

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_the_largest_curvature_is_that_by_size(self, sign):
        values = sign * np.array([-0.5, 0.0, 2.0, 0.3])
        assert largest_curvature(lambda v: values * v.ravel(), 4, np.float64) == pytest.approx(2 * sign, rel=1e-2)
        assert np.isnan(largest_curvature(lambda v: np.full(4, np.nan), 4, np.float64))
