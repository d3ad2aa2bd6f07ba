"""Streamed statistics of gradient noise against the noise itself."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from levyjax import stable, tails
from levyjax.training import (
    MLP,
    GradientNoise,
    draw_batches,
    flatten,
    gradient_noise,
    load,
    noise_statistics,
    stable_scales,
)

DATA = load("digits")
MODEL = flatten(MLP((64, 24, 10), rngs=nnx.Rngs(0)))
ARGUMENTS = MODEL.losses, MODEL.parameters, jnp.asarray(DATA.train_x), jnp.asarray(DATA.train_y)


@pytest.fixture(scope="module", params=[64, 150])  # whole groups, and groups of which the last is not full
def both(request):
    batches = draw_batches(len(DATA.train_y), 32, request.param)
    streamed = noise_statistics(*ARGUMENTS, batches, slices=MODEL.slices, sample_size=10_000)
    return gradient_noise(*ARGUMENTS, batches, slices=MODEL.slices), streamed


def test_coordinates_are_those_of_the_noise_in_memory(both):
    whole, streamed = both
    noise = whole.samples.astype(np.float64)
    np.testing.assert_array_equal(streamed.zeros, (noise == 0).sum(axis=0))
    np.testing.assert_allclose(streamed.second_moment, (noise**2).mean(axis=0), rtol=3e-5)
    np.testing.assert_allclose(streamed.norms, np.linalg.norm(noise, axis=1), rtol=1e-5)
    live = streamed.zeros == 0
    np.testing.assert_allclose(streamed.mean_log[live], np.log(np.abs(noise[:, live])).mean(axis=0), rtol=2e-3)
    assert np.isneginf(streamed.mean_log[streamed.zeros == len(noise)]).all()


def test_layers_are_those_of_the_noise_in_memory(both):
    whole, streamed = both
    assert list(streamed.layers) == ["all", *MODEL.slices]
    together = {}
    for name, (start, stop) in MODEL.slices.items():
        logs, noise = streamed.layers[name], whole.samples[:, start:stop].astype(np.float64)
        assert logs.lengths.tolist() == [4**power for power in range(len(logs.lengths))]
        for length, mean, count in zip(logs.lengths.tolist(), logs.mean_log, logs.count, strict=True):
            blocks = noise[:, : noise.shape[1] // length * length].reshape(len(noise), -1, length).sum(axis=2)
            assert blocks.shape[1] >= 16 or length == 1
            present = blocks[blocks != 0]
            assert count == pytest.approx(present.size, rel=2e-3)  # where all are dead a sum is 0, or all but 0
            assert mean == pytest.approx(np.log(np.abs(present)).mean(), rel=2e-3, abs=2e-3)
            together.setdefault(length, []).append(present)
        alpha = np.log(logs.lengths[1:]) / (logs.mean_log[1:] - logs.mean_log[0])
        np.testing.assert_allclose(logs.alpha(), alpha)
    logs = streamed.layers["all"]
    assert logs.lengths.tolist() == list(together)
    expected = [np.log(np.abs(np.concatenate(parts))).mean() for parts in together.values()]
    np.testing.assert_allclose(logs.mean_log, expected, rtol=2e-3)


def test_all_layers_together_are_compared_with_their_own_coordinates():
    """A small array of large noise has no long blocks: independent Gaussian noise shows an index of 2 all the same."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(200, 16 + 4096)) * np.repeat([1e6, 1.0], [16, 4096]), jnp.float32)
    found = noise_statistics(
        lambda w, x, y: x @ w, jnp.zeros(16 + 4096), x, jnp.zeros(200), np.arange(200)[:, None],
        slices={"bias": (0, 16), "kernel": (16, 4112)},
    )  # fmt: skip
    np.testing.assert_allclose(found.layers["all"].alpha(), 2.0, rtol=0.02)  # standard errors of at most 0.4%


@pytest.mark.parametrize("size", [1e-28, 1e-20, 1e20, 1e28])
def test_noise_of_any_size_has_its_moments_in_single_precision(size):
    """Coordinates of sizes from 1e-6 to 1e6 times that, against float64."""
    rng = np.random.default_rng(0)
    sizes = np.geomspace(1e-6, 1e6, 7) * size
    x = (rng.normal(size=(100, 7)) * sizes).astype(np.float32)
    found = noise_statistics(
        lambda w, x, y: x @ w, jnp.zeros(7), jnp.asarray(x), jnp.zeros(100), np.arange(100)[:, None]
    )
    noise = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found.second_moment, (noise**2).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.norms, np.linalg.norm(noise, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.mean_log, np.log(np.abs(noise)).mean(axis=0), rtol=1e-5)


def decayed_losses(p, x, y):
    return MODEL.losses(p, x, y) + 1e-2 / 2 * jnp.vdot(p, p)


@pytest.fixture(scope="module")
def without_and_with_decay():
    batches = draw_batches(len(DATA.train_y), 32, 100)
    return [gradient_noise(loss, *ARGUMENTS[1:], batches) for loss in (MODEL.losses, decayed_losses)]


class TestWeightDecayInTheLoss:
    """Digits have pixels that are always 0. A penalty in the loss is no noise: all is as without it."""

    def test_dead_coordinates_stay_dead(self, without_and_with_decay):
        plain, decayed = (noise.samples for noise in without_and_with_decay)
        dead = (plain == 0).all(axis=0)
        assert dead.sum() > 200
        np.testing.assert_array_equal((decayed == 0).all(axis=0), dead)
        np.testing.assert_allclose(decayed, plain, atol=1e-6)

    def test_the_index_of_a_layer_is_the_same(self, without_and_with_decay):
        start, stop = next(iter(MODEL.slices.values()))
        parts = [
            GradientNoise(noise.samples[:, start:stop], noise.full_gradient[start:stop], 0, 32, {})
            for noise in without_and_with_decay
        ]
        plain, decayed = (stable_scales(part) for part in parts)
        assert decayed.num_dead == plain.num_dead
        assert decayed.alpha == pytest.approx(plain.alpha, rel=1e-3)

    def test_so_it_is_in_a_stream(self):
        batches = draw_batches(len(DATA.train_y), 32, 64)
        plain, decayed = (noise_statistics(loss, *ARGUMENTS[1:], batches) for loss in (ARGUMENTS[0], decayed_losses))
        dead = plain.zeros == 64
        np.testing.assert_array_equal(decayed.zeros == 64, dead)
        assert not decayed.second_moment[dead].any()


def test_the_sample_is_of_the_noise(both):
    whole, streamed = both
    assert streamed.sample.size == pytest.approx(10_000, abs=len(whole.samples))
    ours, theirs = (np.quantile(np.abs(values), [0.3, 0.5, 0.9, 0.99]) for values in (streamed.sample, whole.samples))
    np.testing.assert_allclose(ours, theirs, rtol=0.15, atol=1e-6)


def test_the_sample_shows_the_characteristic_function():
    """Stable gradients of scales from 0.01 to 100; the 95% interval widened to thrice its width: false alarm 1e-8."""
    scales = np.geomspace(0.01, 100, 50).astype(np.float32)
    draws = stable.sample(1, 1.4, (4000, 50)) * scales
    batches = np.arange(4000, dtype=np.int32)[:, None]
    found = noise_statistics(lambda w, x, _: x @ w, jnp.ones(50), draws, draws[:, 0], batches, sample_size=40_000)
    rows = np.arange(4000).repeat(10)
    centred = np.asarray(draws, np.float64) - found.full_gradient
    np.testing.assert_allclose(found.sample, centred[rows, found.sampled], rtol=1e-5, atol=1e-4)
    estimate = tails.characteristic_function(found.sample_of_one_scale())
    low, high = estimate.interval
    assert estimate.alpha - 1.5 * (high - low) < 1.4 < estimate.alpha + 1.5 * (high - low)
    assert high - low < 0.1


def test_float64_agrees_to_rounding():
    code = """
import jax; jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp, numpy as np
from levyjax.training import draw_batches, gradient_noise, noise_statistics
rng = np.random.default_rng(0)
x, y = jnp.asarray(rng.normal(size=(200, 80))), jnp.asarray(rng.normal(size=200))
def losses(w, x, y): return (x @ w - y) ** 2
batches = draw_batches(200, 10, 70)
a = noise_statistics(losses, jnp.zeros(80), x, y, batches)
b = gradient_noise(losses, jnp.zeros(80), x, y, batches).samples
np.testing.assert_allclose(a.second_moment, (b**2).mean(0), rtol=1e-12)
np.testing.assert_allclose(a.mean_log, np.log(np.abs(b)).mean(0), rtol=1e-11)
blocks = b.reshape(70, 20, 4).sum(2)
np.testing.assert_allclose(a.layers["all"].mean_log[1], np.log(np.abs(blocks)).mean(), rtol=1e-11)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_diverged_parameters_are_refused():
    parameters = MODEL.parameters.at[0].set(jnp.nan)
    with pytest.raises(ValueError, match="at iteration 7 are not all finite"):
        noise_statistics(MODEL.losses, parameters, *ARGUMENTS[2:], draw_batches(100, 5, 3), iteration=7)


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_mini_batches():
    def peak(num_batches):
        code = f"""
import resource, jax.numpy as jnp, numpy as np
from flax import nnx
from levyjax import stable, tails
from levyjax.training import MLP, draw_batches, flatten, load, noise_statistics
data, model = load("digits"), flatten(MLP((64, 2000, 10), rngs=nnx.Rngs(0)))
batches = draw_batches(1437, 2, {num_batches})
noise_statistics(model.losses, model.parameters, jnp.asarray(data.train_x), jnp.asarray(data.train_y), batches)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)

    few, many = peak(128), peak(2048)  # all of the latter's noise would be 1.2 GB
    assert many < few + 100_000  # KiB
