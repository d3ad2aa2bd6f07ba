"""The monitor of tails: its twins, its layers, and the fall of noise with the batch size."""

import jax.numpy as jnp
import numpy as np
import pytest

from levyjax import stable
from levyjax.training import GradientNoise
from levyjax.training.tail_monitor import batch_size_study, layer_tail, tail_monitor

SCALES = np.exp(np.random.default_rng(0).normal(size=60))


class TestLayerTail:
    def test_the_gaussian_twin_of_gaussian_noise_shows_the_same(self):
        """The pooled estimate of scaled Gaussian noise is far below 2, and so is its twin's."""
        found = layer_tail(np.random.default_rng(1).normal(size=(400, 60)) * SCALES, audited=False)
        low, high = found.interval["as_published"]
        assert high < 1.9
        assert low - 0.1 < found.gaussian["as_published"] < high + 0.1
        assert found.alpha["characteristic_function"] == pytest.approx(2, abs=0.05)

    def test_the_stable_twin_of_stable_noise_shows_the_same(self):
        """False alarms: four standard errors of the difference of two estimates, about 1e-4."""
        noise = np.asarray(stable.sample(3, 1.4, (400, 60)), np.float64) * SCALES
        found = layer_tail(noise, audited=False, seed=4)
        for method in ("characteristic_function", "block_log_moment"):
            low, high = found.interval[method]
            assert abs(found.alpha[method] - found.stable[method]) < 4 * np.sqrt(2) * (high - low) / 3.92
        assert found.gaussian["characteristic_function"] > 1.9

    @pytest.mark.slow
    def test_the_verdict_is_the_audits(self):
        noise = np.asarray(stable.sample(3, 1.4, (400, 60)), np.float64) * SCALES
        assert layer_tail(noise).verdict == "stable"

    def test_layers_are_told_apart(self):
        samples = np.concatenate(
            [np.random.default_rng(2).normal(size=(200, 30)), np.random.default_rng(3).standard_cauchy((200, 30))], 1
        )
        slices = {"a.bias": (0, 10), "a.kernel": (10, 30), "b.kernel": (30, 60)}
        noise = GradientNoise(samples, np.zeros(60), 5, 8, slices)
        found = {row.layer: row.alpha["characteristic_function"] for row in tail_monitor([noise], audited=False)}
        assert list(found) == ["all", "a", "b"]
        assert found["a"] > 1.9
        assert found["b"] == pytest.approx(1, abs=0.1)
        with pytest.raises(ValueError, match="layer 'c'"):
            tail_monitor([noise], layers=["c"])


class TestBatchSizes:
    @pytest.mark.parametrize(("alpha", "slope"), [(2.0, -0.5), (1.4, 1 / 1.4 - 1)])
    def test_the_slope_is_that_of_the_law(self, alpha, slope):
        """Per-example gradients are the examples themselves, so many that none is the largest of most mini-batches."""
        x = np.asarray(stable.sample(5, alpha, (400_000, 2)))
        y = np.zeros(len(x), np.int32)

        def losses(p, x, y):
            return x @ p

        (study,) = batch_size_study(losses, jnp.zeros(2), jnp.asarray(x), jnp.asarray(y), (16, 64), 400, audited=False)
        error = (study.interval[1] - study.interval[0]) / 3.92
        assert error < 0.05
        assert abs(study.slope - slope) < 4 * error + 0.01

    def test_one_size_is_no_trend(self):
        with pytest.raises(ValueError, match="show no trend"):
            batch_size_study(lambda p, x, y: x @ p, jnp.zeros(1), jnp.ones((4, 1)), jnp.ones(4), (8,), 60)
