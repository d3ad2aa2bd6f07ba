"""The stable law in float32: exact limits, the far tail, extreme words."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from levyjax import stable
from levyjax.stable import elementary
from levyjax.stable.constants import radial_tail_constant

EXTREMES = [0, 1, 2, 0x55555555, 0x7FFFFFFF, 0x80000000, 0xAAAAAAAA, 0xFFFFFFFE, 0xFFFFFFFF]
ALPHAS = [1e-6, 0.05, 0.3, 0.5, 0.8, 1 - 1e-7, 1.0, 1 + 1e-6, 1.5, 1.9999999, 2.0]


def extreme_words(count=2):
    grid = np.array(list(itertools.product(EXTREMES, repeat=count)), np.uint32).T
    return tuple(jnp.asarray(row) for row in grid)


def tail(x, alpha, terms=40):
    """P(|X| > x) by its series in x^-alpha, for x^alpha large."""
    k = np.arange(1, terms + 1)
    sizes = special.gammaln(k * alpha) - special.gammaln(k + 1) - k * alpha * math.log(x)
    series = (-1.0) ** (k + 1) * np.sin(k * math.pi * alpha / 2) * np.exp(np.minimum(sizes, 50))
    best = int(np.argmin(np.abs(np.exp(np.minimum(sizes, 50)))))  # asymptotic for alpha > 1: stop at the least term
    return 2 / math.pi * series[: max(best, 1)].sum()


def level(probability, alpha):
    """x with P(|X| > x) = probability."""
    x = (2 * float(stable.tail_constant(alpha)) / alpha / probability) ** (1 / alpha)
    for _ in range(100):
        x *= (tail(x, alpha) / probability) ** (1 / alpha)
    return x


class TestElementary:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_errors_are_as_stated(self, dtype):
        """Against the next wider type of the C library."""
        wide = np.float64 if dtype == np.float32 else np.longdouble
        if np.finfo(wide).eps == np.finfo(dtype).eps:
            pytest.skip("long double is no wider here")

        def errors(function, true, x):
            with jax.enable_x64(dtype == np.float64):
                return np.abs(np.asarray(jax.jit(function)(jnp.asarray(x))).astype(wide) - true), true

        rng, info = np.random.default_rng(0), np.finfo(dtype)
        x = np.concatenate([rng.uniform(0, math.pi / 2, 10**6), 10 ** rng.uniform(-30, 0, 10**5)]).astype(dtype)
        error, true = errors(elementary.sin, np.sin(x.astype(wide)), x)
        assert (error / np.spacing(true.astype(dtype))).max() < 3
        y = np.exp(rng.uniform(math.log(info.tiny), math.log(info.max), 10**6)).astype(dtype)
        error, true = errors(elementary.log2, np.log2(y.astype(wide)), y)
        assert (error / (1 + np.abs(true))).max() < info.eps / 2
        z = rng.uniform(info.minexp + 1, info.maxexp - 0.1, 10**6).astype(dtype)
        error, true = errors(elementary.exp2, np.exp2(z.astype(wide)), z)
        assert (error / np.spacing(true.astype(dtype))).max() < 2

    def test_derivatives(self):
        for function, slope in (
            (elementary.log2, lambda x: 1 / (x * math.log(2))),
            (elementary.exp2, lambda x: math.log(2) * 2**x),
            (elementary.sin, math.cos),
        ):
            assert float(jax.grad(function)(jnp.float32(0.7))) == pytest.approx(slope(0.7), rel=1e-5)


class TestSampler:
    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_extreme_words(self, alpha):
        for draws in (
            stable.symmetric(extreme_words(), jnp.float32(alpha)),
            stable.positive(extreme_words(), jnp.float32(alpha / 2)),
        ):
            draws = np.asarray(draws)
            assert np.isfinite(draws).all()
            assert (draws != 0).all()

    @pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0, 1.5, 2.0])
    def test_extreme_words_in_float64(self, alpha):
        with jax.enable_x64(True):
            draws = np.asarray(stable.symmetric(extreme_words(4), jnp.float64(alpha)))
        assert draws.dtype == np.float64
        assert np.isfinite(draws).all()
        assert (draws != 0).all()

    def test_symmetric_to_the_bit(self):
        first, second = (jax.random.bits(jax.random.key(j), (10_000,), jnp.uint32) for j in (0, 1))
        for alpha in (0.7, 1.5):
            plus = stable.symmetric((first, second), jnp.float32(alpha))
            minus = stable.symmetric((first ^ jnp.uint32(1 << 31), second), jnp.float32(alpha))
            np.testing.assert_array_equal(plus, -minus)

    def test_exact_limits(self, many):
        """Kolmogorov-Smirnov at level 1e-5 each."""
        gaussian = np.asarray(stable.sample(1, 2.0, (100_000 * many,)))
        assert stats.kstest(gaussian, stats.norm(0, math.sqrt(2)).cdf).pvalue > 1e-5
        assert stats.kstest(np.asarray(stable.sample(2, 1.0, (100_000 * many,))), stats.cauchy.cdf).pvalue > 1e-5

    @pytest.mark.parametrize(("alpha", "near", "rare"), [(1.0, 1 + 1e-6, 0), (1.0, 1 - 1e-6, 0), (2.0, 2 - 1e-6, 1e-4)])
    def test_continuous_in_alpha(self, alpha, near, rare):
        """Draw by draw; just below 2 a part of order 2 - alpha are the jumps that alpha = 2 has not."""
        x, y = (np.asarray(stable.sample(3, a, (100_000,)), np.float64) for a in (alpha, near))
        assert (np.abs(y / x - 1) > 1e-4).mean() <= rare

    @pytest.mark.parametrize("alpha", [0.6, 1.0, 1.3, 1.7])
    def test_sums_have_the_same_law(self, alpha, many):
        """Two-sample Kolmogorov-Smirnov at level 1e-5."""
        draws = np.asarray(stable.sample(4, alpha, (8, 40_000 * many)), np.float64)
        single = np.asarray(stable.sample(5, alpha, (40_000 * many,)), np.float64)
        assert stats.ks_2samp(draws.sum(axis=0) / 8 ** (1 / alpha), single).pvalue > 1e-5

    @pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0, 1.2, 1.5, 1.8, 2.0])
    def test_characteristic_function(self, alpha, many):
        """|z| < 5 at three frequencies: false alarm 2e-6."""
        draws = np.asarray(stable.sample(6, alpha, (500_000 * many,)), np.float64)
        for w in (0.3, 1.0, 2.0):
            waves = np.cos(w * draws)
            assert abs(waves.mean() - math.exp(-(w**alpha))) < 5 * waves.std() / math.sqrt(draws.size)

    @pytest.mark.parametrize("probability", [1e-5, 1e-6, 1e-7, 1e-8])
    @pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0, 1.2, 1.5, 1.8])
    def test_far_tail_as_a_sum_over_the_lattice_of_words(self, alpha, probability):
        """P(|X| > x) of the float32 sampler itself: the angle's word summed near the pole, the radius by quantiles."""
        x = level(probability, alpha)
        radius_count, angle_count = 1 << 10, 1 << 12
        # Angles from the pole out, in bins that grow: each bin's middle stands for its words.
        edges = np.unique(np.concatenate([np.arange(256), np.geomspace(256, 2**31, angle_count)]).astype(np.int64))
        middles, sizes = (edges[:-1] + edges[1:] - 1) // 2, np.diff(edges)
        # Radius words, both ends resolved: for alpha < 1 small exponentials make the tail.
        ends = np.unique(np.concatenate([np.arange(256), np.geomspace(256, 2**31, radius_count)]).astype(np.int64))
        ends = np.unique(np.concatenate([ends, 2**32 - ends]))
        radii, weights = (ends[:-1] + ends[1:] - 1) // 2, np.diff(ends)

        def count(w0, w1):
            draws = stable.symmetric((w0[:, None], w1[None]), jnp.float32(alpha))
            return jnp.abs(draws) > x

        beyond = np.asarray(jax.jit(count)(jnp.asarray(middles, jnp.uint32), jnp.asarray(radii, jnp.uint32)))
        found = (beyond * sizes[:, None].astype(float)).sum(axis=0) @ weights / 2.0**63
        assert found == pytest.approx(probability, rel=0.03)

    def test_tail_counts(self, many):
        """Exact binomial tests at level 1e-5 each."""
        chances, size = np.array([1e-3, 1e-5]), 1 << 23
        limits = jnp.asarray([level(chance, 1.5) for chance in chances], jnp.float32)[:, None]
        count = jax.jit(lambda draws: (jnp.abs(draws) > limits).sum(axis=1))
        beyond = np.sum([count(stable.sample(key, 1.5, (size,))) for key in range(7, 7 + many)], axis=0)
        for number, chance in zip(beyond.tolist(), chances, strict=True):
            assert stats.binomtest(number, size * many, chance).pvalue > 1e-5

    def test_gradient_in_alpha(self):
        slope = float(jax.grad(lambda a: stable.sample(3, a, (5,)).sum())(1.5))
        with jax.enable_x64(True):
            up, down = (float(stable.sample(3, a, (5,), dtype=jnp.float64).sum()) for a in (1.5 + 1e-5, 1.5 - 1e-5))
        assert slope == pytest.approx((up - down) / 2e-5, rel=1e-3)

    def test_alpha_is_traced_and_batched(self):
        stable.sample(0, 1.5, (10,))
        before = stable.sampling._sample._cache_size()
        stable.sample(1, 1.7, (10,))
        assert stable.sampling._sample._cache_size() == before
        assert stable.sample(0, jnp.linspace(0.5, 2, 7)).shape == (7,)
        batch = jax.vmap(lambda key: stable.sample(key, 1.5, (4,)))(jax.random.split(jax.random.key(0), 3))
        assert np.unique(batch).size == 12

    def test_float64_has_the_float32_words(self):
        with jax.enable_x64(True):
            double = np.asarray(stable.sample(7, 1.5, (1000,), dtype=jnp.float64))
        np.testing.assert_allclose(double, np.asarray(stable.sample(7, 1.5, (1000,))), rtol=1e-4)

    @pytest.mark.parametrize("alpha", [0.0, -1.0, 2.1, float("nan")])
    def test_bad_alpha(self, alpha):
        with pytest.raises(ValueError, match=r"alpha must be in \(0, 2\]"):
            stable.sample(0, alpha, (3,))

    def test_bad_dtype(self):
        with pytest.raises(ValueError, match="jax_enable_x64"):
            stable.sample(0, 1.5, (3,), dtype=jnp.float64)
        with pytest.raises(ValueError, match="float32 or float64"):
            stable.sample(0, 1.5, (3,), dtype=jnp.int32)


class TestIsotropic:
    @pytest.mark.parametrize("alpha", [0.8, 1.5, 2.0])
    def test_rotation_invariance(self, alpha, many):
        """Characteristic function exp(-|w|^alpha) in every direction, |z| < 5."""
        vectors = np.asarray(stable.sample_isotropic(8, alpha, 3, (300_000 * many,)), np.float64)
        for w in ([1.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.3, -0.5, 0.7]):
            waves = np.cos(vectors @ w)
            assert abs(waves.mean() - math.exp(-(np.linalg.norm(w) ** alpha))) < 5 * waves.std() / math.sqrt(len(waves))

    def test_positive_stable_laplace_transform(self, many):
        bits = tuple(jax.random.bits(jax.random.key(j), (300_000 * many,), jnp.uint32) for j in (0, 1))
        for index in (0.3, 0.75):
            draws = np.asarray(stable.positive(bits, jnp.float32(index)), np.float64)
            for s in (0.2, 1.0, 3.0):
                terms = np.exp(-s * draws)
                assert abs(terms.mean() - math.exp(-(s**index))) < 5 * terms.std() / math.sqrt(terms.size)
        assert np.all(np.asarray(stable.positive(bits, jnp.float32(1.0))) == 1)

    def test_radial_tail(self, many):
        """Exact binomial test at level 1e-5, at P = 1e-4."""
        r, beyond, size = (float(radial_tail_constant(1.2, 3)) / 1e-4) ** (1 / 1.2), 0, 2_000_000
        for key in range(9, 9 + many):
            vectors = np.asarray(stable.sample_isotropic(key, 1.2, 3, (size,)), np.float64)
            beyond += int((np.linalg.norm(vectors, axis=1) > r).sum())
        assert stats.binomtest(beyond, size * many, 1e-4).pvalue > 1e-5


def test_constants():
    assert float(stable.tail_constant(1.5)) == pytest.approx(0.2992067103, abs=1e-10)
    assert float(stable.tail_constant(2.0)) == 0
    for alpha in (0.5, 1.0, 1.7):
        assert float(radial_tail_constant(alpha, 1)) == pytest.approx(2 * float(stable.tail_constant(alpha)) / alpha)
    assert float(radial_tail_constant(2.0, 5)) == 0
    slope = (float(stable.tail_constant(1.2001)) - float(stable.tail_constant(1.1999))) / 2e-4
    assert float(jax.grad(stable.tail_constant)(1.2)) == pytest.approx(slope, rel=1e-4)
