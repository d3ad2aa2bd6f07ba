"""Skewed, positive, elliptical, tempered and truncated draws, and the density of the rotation-invariant law."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from levyjax import stable

EXTREMES = [0, 1, 2, 0x55555555, 0x7FFFFFFF, 0x80000000, 0xAAAAAAAA, 0xFFFFFFFE, 0xFFFFFFFF]
ALPHAS = [1e-6, 0.05, 0.3, 0.5, 0.8, 1 - 1e-7, 1.0, 1 + 1e-6, 1.5, 1.9999999, 2.0]
BETAS = [-1.0, -0.9999999, -0.5, 0.0, 0.3, 1.0]


def extreme_words(count):
    grid = np.array(list(itertools.product(EXTREMES, repeat=count)), np.uint32).T
    return tuple(jnp.asarray(row) for row in grid)


def s0_characteristic_function(w, alpha, beta):
    if alpha == 1:
        return np.exp(-w - 2j / math.pi * beta * w * math.log(w))
    return np.exp(-(w**alpha) - 1j * beta * math.tan(math.pi * alpha / 2) * (w - w**alpha))


def deviations(samples, expected):
    """Standard errors between a mean and what it should be."""
    return abs(samples.mean() - expected) / (samples.std() / math.sqrt(samples.size))


def wave_deviations(draws, w, expected):
    angles = w * np.asarray(draws, np.float64)
    return max(deviations(np.cos(angles), np.real(expected)), deviations(np.sin(angles), np.imag(expected)))


class TestSkewed:
    @pytest.mark.parametrize("parametrization", ["S0", "S1"])
    def test_extreme_words(self, parametrization):
        alphas, betas = np.meshgrid(np.float32(ALPHAS), np.float32(BETAS))
        draw = jax.jit(partial(stable.skewed, parametrization=parametrization))
        words = tuple(word[:, None, None] for word in extreme_words(2))
        assert np.isfinite(np.asarray(draw(words, jnp.asarray(alphas), jnp.asarray(betas)))).all()
        with jax.enable_x64(True):
            words = tuple(word[:, None, None] for word in extreme_words(4))
            double = draw(words, jnp.asarray(alphas, jnp.float64), jnp.asarray(betas, jnp.float64))
            assert np.isfinite(np.asarray(double)).all()

    @pytest.mark.parametrize("beta", [-1.0, -0.5, 0.3, 1.0])
    def test_characteristic_function(self, beta, many):
        """|z| < 6 at 3 frequencies, real and imaginary, for 10 alphas and 4 betas: false alarm 5e-7."""
        for alpha in (0.3, 0.6, 0.95, 0.9999, 1.0, 1.0001, 1.05, 1.3, 1.8, 2.0):
            draws = stable.sample(11, alpha, (200_000 * many,), beta=beta)
            for w in (0.3, 1.0, 2.0):
                assert wave_deviations(draws, w, s0_characteristic_function(w, alpha, beta)) < 6

    @pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.5), (1.3, -0.7), (1.7, 1.0)])
    def test_law_of_scipy(self, alpha, beta):
        """Kolmogorov-Smirnov at level 1e-5 each, 300 draws, S1."""
        draws = np.asarray(stable.sample(12, alpha, (300,), beta=beta, parametrization="S1"), np.float64)
        assert stats.kstest(draws, stats.levy_stable(alpha, beta).cdf).pvalue > 1e-5

    def test_levy_law(self, many):
        """Kolmogorov-Smirnov at level 1e-5."""
        draws = stable.sample(13, 0.5, (100_000 * many,), beta=1.0, parametrization="S1")
        assert stats.kstest(np.asarray(draws, np.float64), stats.levy.cdf).pvalue > 1e-5

    def test_symmetric_draws_are_the_same(self):
        for alpha in (0.6, 1.0, 1.4, 2.0):
            plain = np.asarray(stable.sample(14, alpha, (10_000,)))
            np.testing.assert_allclose(stable.sample(14, alpha, (10_000,), beta=jnp.float32(0)), plain, rtol=1e-4)

    @pytest.mark.parametrize("beta", [0.5, 1.0, -1.0])
    def test_continuous_through_one(self, beta):
        """Draw by draw, with float32's nearest neighbours of 1."""
        at_one = np.asarray(stable.sample(15, 1.0, (100_000,), beta=beta), np.float64)
        for near in (1 - 6e-8, 1 + 1.2e-7, 1 - 1e-6, 1 + 1e-6):
            draws = np.asarray(stable.sample(15, near, (100_000,), beta=beta), np.float64)
            assert (np.abs(draws - at_one) / (1 + np.abs(at_one))).max() < 1e-4

    @pytest.mark.parametrize("alpha", [0.4, 0.97, 0.9999, 1.0001, 1.6])
    @pytest.mark.parametrize("beta", [-1.0, -0.4, 1.0])
    def test_float32_agrees_with_float64(self, alpha, beta):
        single = np.asarray(stable.sample(16, alpha, (50_000,), beta=jnp.float32(beta)), np.float64)
        with jax.enable_x64(True):
            alpha, beta = float(np.float32(alpha)), float(np.float32(beta))
            double = np.asarray(stable.sample(16, alpha, (50_000,), jnp.float64, beta=beta))
        assert (np.abs(single - double) / (1 + np.abs(double))).max() < 1e-3
        assert np.median(np.abs(single - double) / (1 + np.abs(double))) < 1e-6

    @pytest.mark.parametrize("alpha", [0.3, 0.7, 0.999])
    @pytest.mark.parametrize("beta", [-1.0, 1.0])
    def test_support(self, alpha, beta):
        words = tuple(
            jnp.concatenate([w, jax.random.bits(jax.random.key(j), (10**6,), jnp.uint32)])
            for j, w in enumerate(extreme_words(2))
        )
        draw = jax.jit(stable.skewed, static_argnums=3)
        assert (beta * np.asarray(draw(words, jnp.float32(alpha), jnp.float32(beta), "S1")) >= 0).all()
        end = -math.tan(math.pi * float(np.float32(alpha)) / 2)
        draws = beta * np.asarray(draw(words, jnp.float32(alpha), jnp.float32(beta), "S0"), np.float64)
        assert draws.min() >= end * (1 + 1e-6)

    @pytest.mark.parametrize("alpha", [1.0, 1.0001, 1.3, 1.8])
    def test_light_side_has_no_fat_tail(self, alpha, many):
        """Chernoff, E exp(-s S1) = exp(s^alpha/|cos(pi alpha/2)|): exp(-30) at 1.8, less below; false alarm 4e-7.

        In the large run it is 4e-5.
        """
        for key in range(17, 17 + many):
            assert stable.sample(key, alpha, (1 << 22,), beta=1.0).min() > (-9 if alpha > 1.5 else -6)

    @pytest.mark.parametrize("probability", [1e-3, 1e-5])
    @pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.5), (1.0, -0.5), (1.5, 0.8)])
    def test_tail_counts(self, alpha, beta, probability, many):
        check_tails(alpha, beta, probability, many << 22)

    @pytest.mark.slow  # at 128 times the usual number of draws, of which it needs as many
    @pytest.mark.parametrize(
        ("alpha", "beta"), [(0.5, 0.5), (0.99, 1.0), (1.0, -0.5), (1.01, 0.3), (1.5, 0.8), (1.8, -1.0)]
    )
    def test_far_tail_counts(self, alpha, beta):
        check_tails(alpha, beta, 1e-7, 1 << 29)

    def test_gradients(self):
        for alpha in (0.6, 1.0, 1.4):
            check_slope(lambda a, dtype: stable.sample(3, a, (50,), dtype, beta=0.6), alpha)
        check_slope(lambda b, dtype: stable.sample(3, 1.3, (50,), dtype, beta=b), 0.4)

    def test_traced_and_batched(self):
        before = stable.sampling._sample_skewed._cache_size()
        for alpha, beta in ((1.2, 0.5), (1.7, -0.3)):
            stable.sample(0, alpha, (11,), beta=beta)
        assert stable.sampling._sample_skewed._cache_size() == before + 1
        assert stable.sample(0, jnp.linspace(0.5, 2, 7)[:, None], beta=jnp.linspace(-1, 1, 3)).shape == (7, 3)

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"beta must be in \[-1, 1\]"):
            stable.sample(0, 1.5, (3,), beta=1.1)
        with pytest.raises(ValueError, match="parametrization"):
            stable.sample(0, 1.5, (3,), beta=0.5, parametrization="S2")


def upper_tail(x, alpha, beta):
    """P(X > x) of S1 by the first terms of its series in x^-alpha, and the size of the last as their error.

    At alpha = 1 the first term alone; the next one is a shift of x by (2/pi) log x, which is taken as the error.
    """
    if alpha == 1:
        first = (1 + beta) / (math.pi * x)
        return first, first * (1 + math.log(x)) / x
    k, zeta = np.arange(1, 5), beta * math.tan(math.pi * alpha / 2)
    sines = np.sin(k * (math.pi * alpha / 2 + math.atan(zeta))) * (1 + zeta**2) ** (k / 2)
    terms = (-1.0) ** (k + 1) * special.gamma(alpha * k) / special.factorial(k) * sines * x ** (-alpha * k) / math.pi
    return terms.sum(), np.abs(terms[-1])


def check_tails(alpha, beta, probability, size):
    """Exact binomial tests of both tails at level 1e-5 each, at levels where the first term of the tail is P."""
    chunk = 1 << 22
    signs = [sign for sign in (1, -1) if 1 + sign * beta > 0]
    constant = float(stable.tail_constant(alpha)) / alpha / probability
    levels = {sign: ((1 + sign * beta) * constant) ** (1 / alpha) for sign in signs}
    shift = beta * math.tan(math.pi * alpha / 2) if alpha != 1 else 0
    counts = dict.fromkeys(signs, 0)
    for key in range(1000, 1000 + size // chunk):
        draws = np.asarray(stable.sample(key, alpha, (chunk,), beta=beta), np.float64)
        for sign in signs:
            counts[sign] += int((sign * (draws + shift) > levels[sign]).sum())
    for sign in signs:
        tail, error = upper_tail(levels[sign], alpha, sign * beta)
        low = stats.binom.cdf(counts[sign], size, tail - error)
        high = stats.binom.sf(counts[sign] - 1, size, tail + error)
        assert min(low, high) > 1e-5


def check_slope(draw, at):
    """The float32 derivative of draws against central differences in float64."""
    _, slope = jax.jvp(lambda a: draw(a, jnp.float32), (jnp.float32(at),), (jnp.float32(1),))
    with jax.enable_x64(True):
        at = float(np.float32(at))
        up, down = (np.asarray(draw(jnp.float64(at + h), jnp.float64)) for h in (1e-5, -1e-5))
    expected = (up - down) / 2e-5
    assert (np.abs(slope - expected) / (1 + np.abs(expected))).max() < 1e-3


class TestPositiveAndVectors:
    def test_laplace_transform(self, many):
        """|z| < 6 nine times: false alarm 2e-8."""
        for index in (0.2, 0.5, 0.9):
            draws = np.asarray(stable.sample_positive(21, index, (200_000 * many,)), np.float64)
            for s in (0.2, 1.0, 3.0):
                assert deviations(np.exp(-s * draws), math.exp(-(s**index))) < 6

    def test_gradients(self):
        check_slope(lambda a, dtype: stable.sample_positive(3, a, (50,), dtype), 0.6)
        check_slope(lambda a, dtype: stable.sample_isotropic(3, a, 3, (20,), dtype), 1.3)
        check_slope(lambda a, dtype: stable.sample(3, a, (50,), dtype), 0.8)

    def test_elliptical(self, many):
        """|z| < 6 three times."""
        matrix = np.array([[2.0, 0.0], [1.0, 0.5], [0.3, -1.0]])
        vectors = np.asarray(stable.sample_elliptical(22, 1.3, matrix, (200_000 * many,)), np.float64)
        for w in np.array([[1.0, 0.0, 0.0], [0.2, 0.4, -0.5], [0.0, 0.3, 0.8]]):
            assert deviations(np.cos(vectors @ w), math.exp(-(np.linalg.norm(matrix.T @ w) ** 1.3))) < 6

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"index must be in \(0, 1\]"):
            stable.sample_positive(0, 1.2, (3,))
        with pytest.raises(ValueError, match="matrix must have shape"):
            stable.sample_elliptical(0, 1.2, np.ones(3))


class TestTempered:
    def test_relativistic_law(self, many):
        """|z| < 6, 21 times: false alarm 4e-8."""
        for alpha, tempering in ((0.5, 0.1), (1.0, 1.0), (1.5, 2.0), (1.9, 0.5), (1.2, 20.0), (2.0, 1.0), (1.5, 0.0)):
            draws = stable.sample_relativistic(23, alpha, tempering, (50_000 * many,))
            for w in (0.3, 1.0, 3.0):
                expected = stable.relativistic_characteristic_function(jnp.float32(w), alpha, tempering)
                assert wave_deviations(draws, w, complex(expected)) < 6

    def test_tempered_law(self, many):
        """|z| < 6, 18 times: false alarm 4e-8."""
        for alpha, tempering in ((0.2, 1.0), (0.5, 0.1), (0.8, 1.0), (0.95, 3.0), (0.7, 30.0), (0.5, 0.0)):
            draws = stable.sample_tempered(24, alpha, tempering, (50_000 * many,))
            for w in (0.3, 1.0, 3.0):
                expected = stable.tempered_characteristic_function(jnp.float32(w), alpha, tempering)
                assert wave_deviations(draws, w, complex(expected)) < 6

    def test_vectors_and_float64(self, many):
        """|z| < 6."""
        with jax.enable_x64(True):
            vectors = stable.sample_relativistic(25, 1.2, 0.7, (100_000 * many,), jnp.float64, dimension=2)
        assert vectors.dtype == jnp.float64
        expected = math.exp(0.7**1.2 - (0.5**2 + 0.7**2) ** 0.6)
        assert deviations(np.cos(np.asarray(vectors) @ [0.3, 0.4]), expected) < 6

    @pytest.mark.slow
    def test_an_entry_does_not_depend_on_its_batch(self):
        alone = stable.sample_relativistic(26, 1.5, 0.2, (3,))
        strengths = jnp.asarray([0.2, 0.2, 0.2, 30.0])
        np.testing.assert_array_equal(stable.sample_relativistic(26, 1.5, strengths)[:3], alone)
        alone = stable.sample_tempered(26, 0.5, 0.2, (3,))
        np.testing.assert_array_equal(stable.sample_tempered(26, 0.5, strengths)[:3], alone)

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\)"):
            stable.sample_tempered(0, 1.2, 1.0)
        with pytest.raises(ValueError, match="too strong"):
            stable.sample_relativistic(0, 1.5, 1e4)
        traced = jax.jit(lambda m: stable.sample_relativistic(0, 1.5, m, (2,)))(1e4)
        assert np.isnan(np.asarray(traced)).all()


class TestTruncated:
    def test_gaussian_and_cauchy(self, many):
        """Kolmogorov-Smirnov at level 1e-5 each, on both sides of the change of method."""
        for alpha, law in ((2.0, stats.norm(0, math.sqrt(2))), (1.0, stats.cauchy)):
            for bound in (0.1, 1.0, 1.5, 2.0, 6.0):
                draws = np.asarray(stable.sample_truncated(27, alpha, bound, (50_000 * many,)), np.float64)
                assert np.abs(draws).max() <= np.float32(bound)  # as the sampler has it
                low, high = law.cdf([-bound, bound])
                assert stats.kstest((law.cdf(draws) - low) / (high - low), "uniform").pvalue > 1e-5

    @pytest.mark.parametrize(("alpha", "bound"), [(0.5, 0.3), (0.5, 3.0), (1.5, 0.5), (1.5, 1.7), (1.9999, 1.0)])
    def test_against_plain_rejection(self, alpha, bound, many):
        """Two-sample Kolmogorov-Smirnov at level 1e-5 each."""
        plain = np.asarray(stable.sample(28, alpha, (200_000 * many,)), np.float64)
        draws = np.asarray(stable.sample_truncated(29, alpha, bound, (50_000 * many,)), np.float64)
        assert stats.ks_2samp(draws, plain[np.abs(plain) <= bound]).pvalue > 1e-5

    def test_small_alpha(self):
        draws = np.asarray(stable.sample_truncated(32, 0.1, 4e-7, (10_000,)))
        assert np.isfinite(draws).all()

    def test_tiny_bounds_and_batches(self):
        draws = np.asarray(stable.sample_truncated(30, 1.5, jnp.asarray([1e-20, 1e-3, 1.0, jnp.inf])))
        assert np.isfinite(draws).all()
        assert draws[1] == stable.sample_truncated(30, 1.5, 1e-3, (2,))[1]

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"bound must be in \(0, inf\]"):
            stable.sample_truncated(0, 1.5, 0.0)


class TestRadialDensity:
    @pytest.mark.parametrize("dimension", [1, 3, 100, *(pytest.param(d, marks=pytest.mark.slow) for d in (2, 10, 30))])
    def test_cauchy_and_gauss(self, dimension):
        with jax.enable_x64(True):
            r = np.concatenate([[0.0], np.geomspace(1e-6, 1e8, 40)])
            power = (dimension + 1) / 2
            true = special.gammaln(power) - power * np.log(math.pi * (1 + r**2))
            np.testing.assert_allclose(stable.isotropic_logpdf(r, 1.0, dimension), true, atol=1e-10, rtol=0)
            r = np.concatenate([[0.0], np.geomspace(1e-6, 12, 40)])
            true = -dimension / 2 * math.log(4 * math.pi) - r**2 / 4
            np.testing.assert_allclose(stable.isotropic_logpdf(r, 2.0, dimension), true, atol=1e-10, rtol=0)

    @pytest.mark.parametrize(
        ("dimension", "alpha", "r", "log_density"),
        [
            (1, 0.3, 1.0, -2.9300218535208122),
            (1, 1.95, 5.0, -6.695757280390061),
            (2, 1.05, 0.5, -2.2069732993118913),
            (3, 0.3, 5.0, -9.612532666626294),
            (3, 1.999, 10.0, -18.930723112324703),
            (10, 0.8, 2.0, -11.353930919466865),
            (10, 1.5, 0.1, -9.588300236068813),
            (30, 1.8, 20.0, -85.57974407668185),
            (100, 0.5, 20.0, -214.63541358759596),
            (100, 1.8, 20.0, -214.12700719445664),
        ],
    )
    def test_series_in_high_precision(self, dimension, alpha, r, log_density):
        """The convergent one of Nolan's (2013) two series, summed in 400 digits."""
        with jax.enable_x64(True):
            assert float(stable.isotropic_logpdf(r, alpha, dimension)) == pytest.approx(log_density, abs=1e-9)

    def test_line_is_the_integral_of_its_cosines(self):
        """d = 1 against the Fourier integral of exp(-w^alpha) by a fine Gauss rule."""
        w, weights = special.roots_legendre(2000)
        with jax.enable_x64(True):
            for alpha in (0.7, 1.3, 1.9):
                edge = 45 ** (1 / alpha)
                # w = edge u^4 takes the kink at 0 away.
                u = (w + 1) / 2
                nodes, slopes = edge * u**4, edge * 4 * u**3 / 2 * weights
                for r in (0.0, 0.5, 2.0):
                    integral = (np.cos(nodes * r) * np.exp(-(nodes**alpha)) * slopes).sum() / math.pi
                    assert float(stable.isotropic_pdf(r, alpha, 1)) == pytest.approx(integral, rel=1e-9)

    def test_radius_of_draws(self, many):
        """Chi-square of 20 classes at level 1e-5, the classes' probabilities by a Gauss rule."""
        length = np.linalg.norm(np.asarray(stable.sample_isotropic(31, 1.4, 4, (100_000 * many,)), np.float64), axis=1)
        edges = np.linspace(0.5, 10, 20)
        x, weights = special.roots_legendre(10)
        half = np.diff(edges)[:, None] / 2
        with jax.enable_x64(True):
            density = np.asarray(stable.radial_pdf(edges[:-1, None] + half * (1 + x), 1.4, 4))
        parts = (density * weights * half).sum(axis=1)
        counts = np.histogram(length, edges)[0]
        expected = np.append(parts, 1 - parts.sum()) * length.size
        assert stats.chisquare(np.append(counts, length.size - counts.sum()), expected).pvalue > 1e-5

    def test_gradients(self):
        with jax.enable_x64(True):
            r, alpha = (jnp.asarray(x.ravel()) for x in np.meshgrid([0.0, 0.05, 1.0, 30.0], [0.6, 1.0, 1.7]))
            values = jax.jit(lambda r, a: stable.isotropic_logpdf(r, a, 3))
            slopes = jax.jit(jax.grad(lambda r, a: values(r, a).sum(), (0, 1)))(r, alpha)
            step = 1e-5
            across = (values(r + step, alpha) - values(jnp.abs(r - step), alpha)) / (2 * step)
            along = (values(r, alpha + step) - values(r, alpha - step)) / (2 * step)
            np.testing.assert_allclose(slopes[0], across, rtol=1e-5, atol=1e-8)
            np.testing.assert_allclose(slopes[1], along, rtol=1e-5)

    def test_float32(self):
        r = jnp.geomspace(1e-3, 1e4, 30)
        power = 2.0
        true = special.gammaln(power) - power * np.log(math.pi * (1 + np.asarray(r, np.float64) ** 2))
        assert np.abs(np.asarray(stable.isotropic_logpdf(r, 1.0, 3)) - true).max() < 1e-4

    def test_refusals(self):
        with pytest.raises(ValueError, match="dimension must be at least 1"):
            stable.isotropic_pdf(1.0, 1.5, 0)
        with pytest.raises(ValueError, match="r must be at least 0"):
            stable.isotropic_pdf(-1.0, 1.5, 2)
