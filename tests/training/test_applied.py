"""Noise as an optimizer applies it: against plain sums, a plain optax loop, and the law of averaged stable noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from levyjax import stable
from levyjax.training import MLP, TrainConfig, applied_noise, draw_batches, flatten, gradient_noise, load, loop, train

DATA = load("digits")
MODEL = flatten(MLP((64, 12, 10), rngs=nnx.Rngs(0)))
ARGUMENTS = MODEL.losses, MODEL.parameters, jnp.asarray(DATA.train_x), jnp.asarray(DATA.train_y)


def measured(optimizer, batches, **options):
    return applied_noise(*ARGUMENTS, batches, optimizer, optimizer.init(MODEL.parameters), 0.1, **options)


def gradients(batches):
    noise = gradient_noise(*ARGUMENTS, batches)
    return noise.samples.astype(np.float64) + noise.full_gradient


@pytest.mark.parametrize("centred", [False, True])
def test_sgd_applies_the_gradient_noise(centred):
    batches = draw_batches(1437, 32, 30)
    plain = gradient_noise(*ARGUMENTS, batches)
    noise = measured(optax.sgd(0.1), batches, centre=plain.full_gradient if centred else None)
    np.testing.assert_allclose(noise.raw.samples, plain.samples, atol=1e-7)
    expected = plain.samples if centred else plain.samples - plain.samples.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(noise.applied.samples, expected, atol=3e-7)
    assert np.abs(expected).max() > 0.05


@pytest.mark.parametrize(("burn_in", "thinning"), [(0, 1), (7, 3), (2, 4)])
def test_momentum_applies_its_sum(monkeypatch, burn_in, thinning):
    """Also that chunks do not matter: the second and third have burn-ins that are no multiple of the thinning."""
    monkeypatch.setattr("levyjax.training.applied._VALUES", 4 * MODEL.parameters.size)
    batches = draw_batches(1437, 16, burn_in + thinning * 10)
    noise = measured(optax.sgd(0.1, momentum=0.8), batches, burn_in=burn_in, thinning=thinning)
    sums, total = [], 0.0
    for gradient in gradients(batches):
        total = 0.8 * total + gradient
        sums.append(total)
    counted = np.array(sums[burn_in:])
    np.testing.assert_allclose(noise.applied.full_gradient, counted.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        noise.applied.samples, counted[thinning - 1 :: thinning] - counted.mean(axis=0), atol=3e-6
    )
    raw = gradient_noise(*ARGUMENTS, batches[burn_in + thinning - 1 :: thinning])
    np.testing.assert_allclose(noise.raw.samples, raw.samples, atol=1e-7)


def test_adam_applies_what_a_plain_optax_loop_does():
    """From a state of its own, as a training run has it."""
    losses, parameters, x, y = ARGUMENTS
    gradient = jax.jit(jax.grad(lambda p, rows: losses(p, x[rows], y[rows]).mean()))
    adam, state = optax.adam(0.1), optax.adam(0.1).init(parameters)
    batches = draw_batches(1437, 16, 36)
    states, updates = [state], []
    with jax.numpy_dtype_promotion("standard"):
        update_of = jax.jit(adam.update)
        for rows in batches:
            update, state = update_of(gradient(parameters, rows), state)
            updates.append(np.asarray(update, np.float64) / -0.1)
            states.append(state)
    noise = applied_noise(*ARGUMENTS, batches[5:], adam, states[5], 0.1, burn_in=7, thinning=2)
    counted = np.array(updates[12:])
    np.testing.assert_allclose(noise.applied.samples, counted[1::2] - counted.mean(axis=0), atol=1e-4)
    assert counted.std() > 0.1


@pytest.mark.parametrize("alpha", [0.8, 1.5])
def test_averaged_stable_noise_is_stable_with_the_known_scale(alpha):
    """(1-b)/(1-b^a)^(1/a), by E cos(w u) of 12,800 values at three points: false alarm 1e-5 for each alpha.

    The loss is linear in the parameters, so that an example's gradient is a draw of the law, used once.
    """
    b, kept, thinning, coordinates = 0.7, 200, 20, 64  # 0.7^20 < 1e-3
    draws = stable.sample(3, alpha, (100 + kept * thinning, coordinates))
    batches = np.arange(len(draws), dtype=np.int32)[:, None]
    average, start = optax.trace(b), jnp.zeros(coordinates)
    noise = applied_noise(
        lambda w, x, _: x @ w, start, draws, draws[:, 0], batches, average, average.init(start), -1 / (1 - b),
        burn_in=100, thinning=thinning, centre=0.0,
    )  # fmt: skip
    scale = (1 - b) / (1 - b**alpha) ** (1 / alpha)
    for w in (0.3, 1.0, 3.0):
        found = np.cos(w * noise.applied.samples / scale).mean()
        mean, square = np.exp(-(w**alpha)), (1 + np.exp(-((2 * w) ** alpha))) / 2
        assert abs(found - mean) < 4.7 * np.sqrt((square - mean**2) / (kept * coordinates)), w


def test_noise_beside_a_large_mean_is_centred():
    """A gradient of 100 with noise of 5e-5 in float32: the mean of 20,000 updates is that of float64."""
    rng = np.random.default_rng(0)
    x = (100 + 5e-5 * rng.normal(size=(500, 3))).astype(np.float32)
    batches, sgd, start = rng.integers(0, 500, (20_000, 1)), optax.sgd(1.0), jnp.zeros(3)
    noise = applied_noise(
        lambda w, x, _: x @ w, start, jnp.asarray(x), jnp.zeros(500), batches, sgd, sgd.init(start), 1.0
    )
    drawn = x.astype(np.float64)[batches[:, 0]]
    np.testing.assert_allclose(noise.applied.full_gradient, drawn.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(noise.applied.samples, drawn - drawn.mean(axis=0), atol=1e-11)


def test_float64_and_refusals():
    batches = draw_batches(1437, 8, 10)
    with pytest.raises(ValueError, match="Give burn_in \\+ thinning \\* num_recorded"):
        measured(optax.sgd(0.1), batches, burn_in=1, thinning=2)
    with pytest.raises(ValueError, match="Give burn_in \\+ thinning \\* num_recorded"):
        measured(optax.sgd(0.1), batches, burn_in=10)
    sgd, bad = optax.sgd(0.1), MODEL.parameters.at[0].set(jnp.nan)
    with pytest.raises(ValueError, match="at iteration 7 are not all finite"):
        applied_noise(MODEL.losses, bad, *ARGUMENTS[2:], batches, sgd, sgd.init(bad), 0.1, iteration=7)
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, w = jnp.asarray(rng.normal(size=(50, 6))), jnp.ones(6, jnp.float64)
        rows = draw_batches(50, 5, 12)
        noise = applied_noise(lambda w, x, _: (x @ w) ** 2, w, x, x, rows, sgd, sgd.init(w), 0.1)
        plain = gradient_noise(lambda w, x, _: (x @ w) ** 2, w, x, x, rows)
    assert noise.applied.samples.dtype == np.float64
    np.testing.assert_allclose(noise.applied.samples, plain.samples - plain.samples.mean(axis=0), atol=1e-12)


def test_training_measures_it_with_its_own_optimizer_and_state():
    """Momentum's memory at the iterate goes on: without a burn-in the first update would show it."""
    config = TrainConfig(
        data="synthetic", widths=(), momentum=0.5, learning_rate=0.02, iterations=7, capture_at=(7,), num_batches=3,
        applied=True,
    )  # fmt: skip
    result = train(config)
    (noise,), (plain,) = result.applied, result.noise
    assert noise.raw.samples.shape == noise.applied.samples.shape == plain.samples.shape == (3, 210)
    np.testing.assert_array_equal(noise.raw.full_gradient, plain.full_gradient)
    assert noise.applied.slices == plain.slices
    data = load("synthetic")
    seed = np.random.SeedSequence([0, loop._APPLIED, 7]).generate_state(1)[0]
    batches = draw_batches(2_000, 32, 20 + 4 * 3, int(seed))
    each = gradient_noise(
        result.model.losses, result.parameters, jnp.asarray(data.train_x), jnp.asarray(data.train_y), batches
    )
    weights = 0.5 ** np.arange(24)
    recent = [(weights[:, None] * each.samples[end - 24 : end][::-1]).sum(axis=0) for end in (24, 28, 32)]
    expected = np.array(recent) + 2 * each.full_gradient - noise.applied.full_gradient
    np.testing.assert_allclose(noise.applied.samples, expected, atol=2e-6)


def test_training_keeps_statistics_in_place_of_samples():
    config = TrainConfig(data="synthetic", widths=(), iterations=5, capture_at=(5, 0), num_batches=20)
    whole = train(config)
    streamed = train(TrainConfig(**{**vars(config), "capture": "statistics"}))
    assert (streamed.noise, whole.statistics, whole.applied) == ((), (), ())
    for noise, statistics in zip(whole.noise, streamed.statistics, strict=True):
        assert statistics.iteration == noise.iteration
        square = (noise.samples.astype(np.float64) ** 2).mean(axis=0)
        np.testing.assert_allclose(statistics.second_moment, square, rtol=1e-4)
    with pytest.raises(ValueError, match=r"capture 'all' is unknown\. Give one of samples, statistics"):
        TrainConfig(capture="all")
