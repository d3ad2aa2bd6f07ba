"""Noise of single examples against brute force, and against the noise of mini-batches that follows from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from levyjax.training import MLP, draw_batches, flatten, gradient_noise, load, per_example_noise
from levyjax.training.per_example import layer_means, per_example_moments

DATA = load("digits")
MODEL = flatten(MLP((64, 12, 10), rngs=nnx.Rngs(0)))
ARGUMENTS = MODEL.losses, MODEL.parameters, jnp.asarray(DATA.train_x[:150]), jnp.asarray(DATA.train_y[:150])


def test_equals_brute_force_in_any_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(40, 3)), rng.normal(size=40), np.array([0.5, -1.0, 2.0])
    each = 2 * (x @ w - y)[:, None] * x
    chosen = np.array([7, 0, 39, 7])
    monkeypatch.setattr("levyjax.training.per_example._VALUES", 3 * 7)
    with jax.enable_x64(True):
        what = lambda w, x, y: (x @ w - y) ** 2, *map(jnp.asarray, (w, x, y))
        noise, few = per_example_noise(*what), per_example_noise(*what, chosen)
        moments = per_example_moments(*what, covariance=True, slices={"a": (0, 1), "b": (1, 3)})
    expected = each - each.mean(axis=0)
    np.testing.assert_allclose(noise.samples, expected, atol=1e-13)
    np.testing.assert_array_equal(few.samples, noise.samples[chosen])
    covariance = np.cov(each.T, bias=True)
    np.testing.assert_allclose(moments.covariance, covariance, rtol=1e-12)
    np.testing.assert_allclose(moments.second_moment, np.diag(covariance), rtol=1e-12)
    np.testing.assert_allclose(
        [moments.layers["a"], moments.layers["b"]], [covariance[0, 0], np.diag(covariance)[1:].mean()]
    )
    assert (noise.batch_size, moments.num_examples) == (1, 40)


def test_has_no_outliers_of_vmap():
    """Every value of the batched float32 gradients is that of one example at a time, to rounding."""
    noise = per_example_noise(*ARGUMENTS)
    one_by_one = gradient_noise(*ARGUMENTS, np.arange(150)[:, None])
    np.testing.assert_allclose(noise.samples, one_by_one.samples, atol=2e-6 * np.abs(one_by_one.samples).max())


def test_explains_the_noise_of_mini_batches():
    """Mean square over coordinates of 1000 mini-batches of 10: sigma^2/S (N - S)/(N - 1) within five standard errors,
    which come from the spread between mini-batches."""
    moments = per_example_moments(*ARGUMENTS, slices=MODEL.slices)
    noise = gradient_noise(*ARGUMENTS, draw_batches(150, 10, 1000)).samples.astype(np.float64)
    squares = (noise**2).mean(axis=1)
    expected = moments.second_moment.mean() / 10 * (150 - 10) / (150 - 1)
    assert abs(squares.mean() - expected) < 5 * squares.std() / np.sqrt(1000)
    sizes = {name: stop - start for name, (start, stop) in MODEL.slices.items()}
    total = sum(moments.layers[name] * size for name, size in sizes.items())
    assert total == pytest.approx(moments.second_moment.sum())
    assert moments.layers == layer_means(moments.second_moment, MODEL.slices)


def test_refuses():
    with pytest.raises(ValueError, match="give a vector of indices"):
        per_example_noise(*ARGUMENTS, np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="from 0 to 149"):
        per_example_moments(*ARGUMENTS, np.array([150]))
    bad = MODEL.parameters.at[0].set(jnp.nan)
    with pytest.raises(ValueError, match="at iteration 3 are not all finite"):
        per_example_moments(MODEL.losses, bad, *ARGUMENTS[2:], iteration=3)
