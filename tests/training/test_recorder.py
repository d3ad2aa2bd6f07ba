"""Gradients of a loop of one's own: kept or streamed, from NumPy, JAX, optax, and what only looks like an array."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from levyjax import stable, tails
from levyjax.training import NoiseRecorder, noise_of, recording, stable_scales

RNG = np.random.default_rng(0)
GRADIENTS = (RNG.normal(size=(300, 70)) * np.geomspace(0.01, 10, 70) + 5.0).astype(np.float32)
GRADIENTS[:, 3] = 0
TREE = {"bias": GRADIENTS[:, :6], "layer": {"kernel": GRADIENTS[:, 6:].reshape(300, 8, 8)}}
SLICES = {"bias": (0, 6), "layer.kernel": (6, 70)}


class ByArray:
    """What a tensor of another framework shows."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return self.array


class ByDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


MAKES = {
    "numpy": np.asarray,
    "jax": jnp.asarray,
    "__array__": ByArray,
    "__dlpack__": lambda array: ByDlpack(np.ascontiguousarray(array)),
}


def recorded(make=np.asarray, **options):
    recorder = NoiseRecorder(32, **options)
    for index in range(300):
        recorder.add(jax.tree.map(lambda leaf, index=index: make(leaf[index]), TREE))
    return recorder


class TestSamples:
    @pytest.mark.parametrize("make", MAKES)
    def test_are_the_gradients_less_their_mean(self, make):
        noise = recorded(MAKES[make]).noise()
        wide = GRADIENTS.astype(np.float64)
        np.testing.assert_allclose(noise.samples, wide - wide.mean(axis=0), atol=3e-6)
        np.testing.assert_allclose(noise.full_gradient, wide.mean(axis=0), rtol=1e-12)
        assert noise.samples.dtype == np.float32
        assert (noise.slices, noise.batch_size, noise.reference) == (SLICES, 32, "mean of the mini-batches")

    def test_less_a_full_gradient_that_is_given(self):
        recorder, full = NoiseRecorder(32), np.full(70, 4.0)
        for row in GRADIENTS:
            recorder.add(row, full)
        noise = recorder.noise()
        np.testing.assert_array_equal(noise.samples, GRADIENTS - np.float32(4))
        assert noise.reference == "given by the user"
        with pytest.raises(ValueError, match="for some gradients only"):
            recorder.add(GRADIENTS[0])

    def test_of_arrays_that_are_there(self):
        for given in (TREE, jax.tree.map(jnp.asarray, TREE)):
            noise = noise_of(given, batch_size=32)
            np.testing.assert_array_equal(noise.samples, recorded().noise().samples)
            assert noise.slices == SLICES
        np.testing.assert_array_equal(noise_of(GRADIENTS, batch_size=32).samples, noise.samples)

    def test_of_an_nnx_state_and_bfloat16(self):
        model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        recorder = NoiseRecorder(1)
        for scale in (1.0, 2.0):
            gradient = nnx.grad(lambda model, scale=scale: (scale * model(jnp.ones((1, 3)))).sum())(model)
            recorder.add(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), gradient))
        noise = recorder.noise()
        assert noise.slices == {"bias": (0, 2), "kernel": (2, 8)}
        np.testing.assert_array_equal(noise.samples, np.repeat([[-0.5], [0.5]], 8, axis=1))

    def test_what_is_recorded_goes_to_the_audit_and_to_scales(self):
        noise = recorded().noise()
        assert tails.audit(noise.samples).verdict == "finite_variance"
        np.testing.assert_allclose(stable_scales(GRADIENTS).scales, stable_scales(noise).scales, rtol=0.2)


class TestStatistics:
    def test_are_those_of_the_samples(self):
        found = recorded(keep="statistics", sample_size=4096).statistics()
        wide = GRADIENTS.astype(np.float64)
        np.testing.assert_allclose(found.full_gradient, wide.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.second_moment, wide.var(axis=0, ddof=1), rtol=1e-10)
        counts = np.arange(2, 301)
        means = np.cumsum(wide, axis=0)[:-1] / (counts - 1)[:, None]
        noise = np.sqrt((counts - 1) / counts)[:, None] * (wide[1:] - means)
        np.testing.assert_allclose(found.norms, np.linalg.norm(noise, axis=1), rtol=1e-10)
        alive = wide.any(axis=0)
        np.testing.assert_allclose(found.mean_log[alive], np.log(np.abs(noise[:, alive])).mean(axis=0), atol=1e-8)
        assert np.isneginf(found.mean_log[3])
        blocks = noise[:, 6:].reshape(299, 16, 4).sum(axis=2)
        assert found.layers["layer.kernel"].mean_log[1] == pytest.approx(np.log(np.abs(blocks)).mean(), abs=1e-8)
        assert list(found.layers) == ["all", *SLICES]
        assert found.sample.shape == (4096,)
        values = {place: set(noise[:, place].astype(np.float32).tolist()) for place in range(70)}
        assert all(
            value in values[place] for place, value in zip(found.sampled.tolist(), found.sample.tolist(), strict=True)
        )

    def test_the_sample_is_evenly_of_all_gradients(self):
        """300 gradients, each its own number: a chi-square of the counts, false alarm 1e-4."""
        from scipy import stats

        recorder = NoiseRecorder(1, keep="statistics", sample_size=3000)
        for value in range(300):
            recorder.add(np.full(5, float(value)), np.zeros(5))
        counts = np.bincount(recorder.statistics().sample.astype(int), minlength=300)
        assert stats.chisquare(counts).pvalue > 1e-4

    def test_stable_gradients_show_their_index_and_scales(self):
        """An index within 0.1 (8 standard errors), and scales within 20% (8 of them) where the full gradient is known:
        the mean of gradients with jumps is uncertain itself."""
        scales = np.geomspace(0.01, 100, 40)
        draws = np.asarray(stable.sample(1, 1.5, (4000, 40)), np.float64) * scales
        recorder, centred = NoiseRecorder(1, keep="statistics"), NoiseRecorder(1, keep="statistics")
        for row in draws + 3.0:
            recorder.add(row)
            centred.add(row, np.full(40, 3.0))
        assert stable_scales(recorder.statistics()).alpha == pytest.approx(1.5, abs=0.1)
        fit = stable_scales(centred.statistics())
        assert fit.alpha == pytest.approx(1.5, abs=0.1)
        np.testing.assert_allclose(fit.scales, scales, rtol=0.2)


class TestOptax:
    def test_records_what_passes_through_compiled_or_not(self):
        for wrapped in (jax.jit, lambda function: function):
            first, last = NoiseRecorder(8), NoiseRecorder(8)
            optimizer = optax.chain(recording(first), optax.sgd(0.5), recording(last))
            weights = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:]), TREE)
            update, state = wrapped(optimizer.update), optimizer.init(weights)
            for index in range(20):
                gradient = jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf[index]), TREE)
                updates, state = update(gradient, state, weights)
            np.testing.assert_array_equal(updates["bias"], -0.5 * gradient["bias"])
            expected = noise_of(jax.tree.map(lambda leaf: leaf[:20], TREE), batch_size=8)
            np.testing.assert_array_equal(first.noise().samples, expected.samples)
            np.testing.assert_allclose(last.noise().samples, -0.5 * expected.samples, atol=1e-6)
            assert first.noise().slices == SLICES

    def test_in_the_order_of_a_loop_on_the_device(self):
        recorder = NoiseRecorder(1)
        optimizer = optax.chain(recording(recorder), optax.sgd(0.1))

        def step(state, gradient):
            return optimizer.update(gradient, state)[::-1]

        jax.jit(lambda state: jax.lax.scan(step, state, jnp.asarray(GRADIENTS)))(optimizer.init(jnp.zeros(70)))
        np.testing.assert_array_equal(recorder.noise().samples, noise_of(GRADIENTS, batch_size=1).samples)
        assert len(recorder) == 300

    def test_what_is_wrong_in_a_program_is_said_afterwards(self):
        recorder = NoiseRecorder(1)
        jax.jit(recorder.add)(jnp.full(3, jnp.nan))
        with pytest.raises(ValueError, match="gradient 0 holds 3 of 3 values that are not finite"):
            recorder.noise()


class TestRefusals:
    def test_moving_parameters_are_warned_of(self):
        """A mean that goes one standard deviation of the noise in 300 gradients, of a single coordinate."""
        moving = RNG.normal(size=(300, 1)) + np.linspace(0, 4, 300)[:, None]
        for keep, take in (("samples", "noise"), ("statistics", "statistics")):
            recorder = NoiseRecorder(1, keep=keep)
            for row in moving:
                recorder.add(row)
            with pytest.warns(UserWarning, match="the gradients drift"):
                getattr(recorder, take)()

    @pytest.mark.parametrize(
        ("gradient", "words"),
        [
            ("abc", "holds no numbers"),
            ({}, "holds no real numbers"),
            ({"w": None}, "holds no real numbers"),
            (np.ones(3) * 1j, "holds no real numbers"),
            ([1.0, np.inf], "1 of 2 values that are not finite"),
            (object(), "no real number"),
        ],
    )
    def test_what_is_no_gradient(self, gradient, words):
        with pytest.raises(ValueError, match=words) as error:
            NoiseRecorder(1).add(gradient)
        assert "\n" not in str(error.value)

    def test_other_shapes_other_words_and_too_few(self):
        recorder = NoiseRecorder(1)
        recorder.add(np.ones(3))
        with pytest.raises(ValueError, match=r"\(4,\) where the first has \(3,\)"):
            recorder.add(np.ones(4))
        with pytest.raises(ValueError, match="1 gradients show no noise"):
            recorder.noise()
        with pytest.raises(ValueError, match="samples were kept"):
            recorder.statistics()
        with pytest.raises(ValueError, match="keep 'all' is unknown"):
            NoiseRecorder(1, keep="all")
        with pytest.raises(ValueError, match="batch_size 0"):
            NoiseRecorder(0)

    @pytest.mark.parametrize("bad", [np.ones((1, 3)), {"a": np.ones((5, 2)), "b": np.ones((4, 2))}, 3.0, {}, []])
    def test_no_gradients(self, bad):
        with pytest.raises(ValueError, match="give"):
            noise_of(bad, batch_size=1)

    def test_full_gradient_of_another_size(self):
        with pytest.raises(ValueError, match="full_gradient has 3 numbers where the gradients have 70"):
            noise_of(GRADIENTS, batch_size=1, full_gradient=np.ones(3))


RECORDED = """
recorder, rng = NoiseRecorder(1, keep="statistics"), np.random.default_rng(0)
for _ in range({count}):
    recorder.add(rng.standard_normal(10_000_000, np.float32))
recorder.statistics()
"""
MEASURED = """
rng = np.random.default_rng(0)
x, y = rng.normal(size=(200, 1000)).astype(np.float32), rng.integers(0, 10, 200)
weights = {{"first": rng.normal(size=(1000, 9900)).astype(np.float32) / 30, "last": np.zeros((9900, 10), np.float32)}}
def loss(w, x, y):
    logits = jnp.tanh(x @ w["first"]) @ w["last"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)[:, 0].mean()
noise_statistics(loss, weights, x, y, draw_batches(200, 8, {count}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", [RECORDED, MEASURED], ids=["recorded", "measured"])
def test_memory_of_ten_million_parameters_is_flat(what):
    """Below 4 GiB, and the same for four times as many mini-batches (1.1 and 1.2 GiB were measured)."""
    imports = "import resource, jax, jax.numpy as jnp, numpy as np\nfrom levyjax.training import *\n"
    end = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"

    def peak(count):
        code = imports + what.format(count=count) + end
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)

    few, many = peak(6), peak(24)
    assert many < few + 100_000  # KiB
    assert many < 4 * 2**20
