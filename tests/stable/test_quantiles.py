"""Quantiles, moments and entropy against closed forms, the distribution they invert and numerical integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from levyjax import stable

Q = np.array([1e-300, 1e-30, 1e-8, 0.01, 0.3, 0.5, 0.7, 0.99, 1 - 1e-8])
S1 = {"parametrization": "S1"}


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


class TestQuantiles:
    def test_gaussian(self):
        np.testing.assert_allclose(stable.ppf(Q, 2.0), stats.norm.ppf(Q, scale=2**0.5), rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(stable.isf(Q, 2.0), stats.norm.isf(Q, scale=2**0.5), rtol=1e-11, atol=1e-14)

    def test_cauchy(self):
        exact = np.sign(Q - 0.5) / np.tan(np.pi * np.minimum(Q, 1 - Q))
        np.testing.assert_allclose(stable.ppf(Q, 1.0), exact, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(stable.isf(Q, 1.0), -exact, rtol=1e-10, atol=1e-14)

    @pytest.mark.slow
    def test_levy(self):
        far = 1 / (2 * special.erfinv(Q[2:]) ** 2)
        np.testing.assert_allclose(stable.isf(Q, 0.5, 1.0, **S1)[2:], far, rtol=1e-9)
        np.testing.assert_allclose(stable.ppf(Q, 0.5, 1.0, **S1), 1 / (2 * special.erfcinv(Q) ** 2), rtol=1e-9)

    @pytest.mark.parametrize("alpha", [0.3, 0.8, 1.0, 1.3, 1.9, 1.9999])
    @pytest.mark.parametrize("beta", [0.0, -0.6, 1.0])
    def test_invert_the_distribution(self, alpha, beta):
        """To 1e-9 wherever the quantile is a finite number, and to what a few units in its last place move."""
        for inverse, function in ((stable.ppf, stable.cdf), (stable.isf, stable.sf)):
            x = np.asarray(inverse(Q, alpha, beta))
            inside = np.isfinite(x)
            assert inside.sum() >= 7
            allowed = 1e-9 * Q + 8 * np.spacing(np.abs(x)) * stable.pdf(x, alpha, beta)
            assert (np.abs(function(x, alpha, beta) - Q) <= allowed)[inside].all()

    def test_ends_of_the_support(self):
        ends = np.array([0.0, 1.0, -0.1, 1.1, np.nan, 0.5, 0.5, 0.5, 0.5])
        assert stable.ppf(ends, 1.5)[:2].tolist() == [-np.inf, np.inf]
        assert np.isnan(stable.ppf(ends, 1.5)[2:5]).all()
        np.testing.assert_allclose(stable.ppf(ends, 0.5, 1.0, **S1)[:2], [0.0, np.inf], atol=1e-14)
        np.testing.assert_allclose(stable.isf(ends, 0.5, -1.0, loc=2.0, scale=3.0, **S1)[:2], [2.0, -np.inf])

    def test_location_and_scale_in_both_parametrizations(self):
        for parametrization in ("S0", "S1"):
            options = {"loc": -1.0, "scale": 2.5, "parametrization": parametrization}
            for alpha in (0.7, 1.0, 1.6):
                x = stable.ppf(Q, alpha, 0.4, **options)
                np.testing.assert_allclose(stable.cdf(x, alpha, 0.4, **options)[3:], Q[3:], rtol=1e-9)

    def test_derivatives(self):
        """In q, alpha and beta, against differences."""
        point, steps = np.array([0.9, 1.4, 0.3]), 1e-6 * np.eye(3)
        found = jax.grad(stable.ppf, argnums=(0, 1, 2))(*jnp.asarray(point))
        differences = [(stable.ppf(*(point + row)) - stable.ppf(*(point - row))) / 2e-6 for row in steps]
        np.testing.assert_allclose(found, differences, rtol=1e-6)

    def test_float32(self):
        for alpha in (0.5, 1.0, 1.5, 1.9):
            single = stable.ppf(np.float32(Q[2:]), np.float32(alpha))
            assert single.dtype == jnp.float32
            exact = stable.ppf(np.float64(np.float32(Q[2:-1])), np.float64(np.float32(alpha)))
            np.testing.assert_allclose(single[:-1], exact, rtol=2e-4, atol=1e-5)

    @pytest.mark.parametrize("function", [stable.ppf, stable.isf, stable.entropy, stable.log_moment])
    def test_bad_parameters(self, function):
        first = (0.5,) if function in (stable.ppf, stable.isf) else ()
        for parameters in ((2.1,), (0.0,), (1.5, -1.1)):
            with pytest.raises(ValueError, match="must be"):
                function(*first, *parameters)
        with pytest.raises(ValueError, match="scale must be"):
            function(*first, 1.5, scale=-1.0)


class TestMoments:
    @pytest.mark.parametrize("p", [-0.9, -0.3, 0.2, 0.45])
    def test_closed_forms(self, p):
        np.testing.assert_allclose(stable.fractional_moment(p, 1.0), 1 / np.cos(np.pi * p / 2), rtol=1e-12)
        gaussian = 2**p * special.gamma((1 + p) / 2) / np.sqrt(np.pi)
        np.testing.assert_allclose(stable.fractional_moment(p, 2.0), gaussian, rtol=1e-12)
        levy = 2**-p * special.gamma(0.5 - p) / np.sqrt(np.pi)
        np.testing.assert_allclose(stable.fractional_moment(p, 0.5, 1.0), levy, rtol=1e-12)

    @pytest.mark.parametrize(("alpha", "beta", "p"), [(1.5, 0.0, 1.0), (1.5, 0.6, 0.7), (0.8, -0.9, 0.3)])
    def test_integral_of_the_density(self, alpha, beta, p):
        """In S1, in which the moment is of |X|; both sides in log|x|."""
        log_x = np.linspace(-60, 80, 4001)
        x = np.exp(log_x)
        density = stable.pdf(x, alpha, beta, **S1) + stable.pdf(-x, alpha, beta, **S1)
        np.testing.assert_allclose(
            stable.fractional_moment(p, alpha, beta), integrate.trapezoid(density * x ** (1 + p), log_x), rtol=1e-7
        )
        mean = integrate.trapezoid(density * x * log_x, log_x)
        variance = integrate.trapezoid(density * x * (log_x - mean) ** 2, log_x)
        np.testing.assert_allclose(stable.log_moment(alpha, beta), (mean, variance), rtol=1e-7)

    def test_scale_and_sampling(self, many):
        """The mean of log|X| over 1e5 draws, to 5 standard errors: a false alarm in 2e6."""
        mean, variance = stable.log_moment(1.3, 0.5, scale=2.0)
        draws = np.log(
            np.abs(stable.sample(3, 1.3, (100_000 * many,), jnp.float64, beta=0.5) + 0.5 * np.tan(0.65 * np.pi))
        )
        assert abs(draws.mean() + np.log(2) - mean) < 5 * np.sqrt(variance / draws.size)

    def test_refusals(self):
        for p in (-1.0, 1.5, 2.0):
            with pytest.raises(ValueError, match="p must be in"):
                stable.fractional_moment(p, 1.5)
        for function in (lambda: stable.fractional_moment(0.5, 1.0, 0.5), lambda: stable.log_moment(1.0, 0.5)):
            with pytest.raises(ValueError, match="alpha must not be 1"):
                function()


class TestEntropy:
    def test_closed_forms(self):
        np.testing.assert_allclose(stable.entropy(2.0), np.log(4 * np.pi * np.e) / 2, rtol=1e-11)
        np.testing.assert_allclose(stable.entropy(1.0), np.log(4 * np.pi), rtol=1e-11)
        levy = (1 + 3 * np.euler_gamma + np.log(16 * np.pi)) / 2
        np.testing.assert_allclose(stable.entropy(0.5, 1.0), levy, rtol=1e-8)
        np.testing.assert_allclose(stable.entropy(0.5, 1.0, scale=3.0), levy + np.log(3), rtol=1e-8)

    @pytest.mark.slow
    def test_draws(self, many):
        """The mean of -log f over 2e4 draws, to 5 standard errors: a false alarm in 2e6."""
        for alpha, beta in ((0.6, 0.3), (1.4, -0.8), (1.9, 0.0)):
            draws = stable.sample(5, alpha, (20_000 * many,), jnp.float64, beta=beta)
            # A skewed law takes 11 kB of memory a point: in parts.
            values = -np.concatenate([stable.logpdf(part, alpha, beta) for part in np.split(np.asarray(draws), many)])
            assert abs(values.mean() - stable.entropy(alpha, beta)) < 5 * values.std() / np.sqrt(values.size)


class TestCentre:
    def test_levy(self):
        exact = {stable.mode: 1 / 3, stable.median: 1 / (2 * special.erfcinv(0.5) ** 2)}
        for function, value in exact.items():
            for sign in (1, -1):
                found = function(0.5, sign, loc=3.0, scale=2.0, parametrization="S1")
                np.testing.assert_allclose(found, 3 + 2 * sign * value, rtol=1e-9)

    def test_mode_of_landau(self):
        """-0.22278298 in Landau's own variable, pi/2 times this one and log(pi/2) on."""
        found = stable.mode(1.0, 1.0)
        np.testing.assert_allclose(np.pi / 2 * found + np.log(np.pi / 2), -0.22278298, atol=1e-8)
        moved = stable.mode(1.0, 1.0, loc=1.0, scale=3.0, parametrization="S1")
        np.testing.assert_allclose(moved, 1 + 3 * found + 6 / np.pi * np.log(3.0), rtol=1e-9)

    @pytest.mark.parametrize("beta", [0.3, -0.9, 1.0])
    def test_halves_and_summits(self, beta):
        """Half lies below the median, and the density falls on both sides of the mode, by the square of the way."""
        alpha = np.array([0.3, 0.5, 0.9, 1 - 1e-9, 1.0, 1.01, 1.5, 1.99])
        np.testing.assert_allclose(stable.cdf(stable.median(alpha, beta), alpha, beta), 0.5, rtol=1e-9)
        mode = np.asarray(stable.mode(alpha, beta))
        top = np.asarray(stable.logpdf(mode, alpha, beta))
        for way in (1e-4, 1e-2, 1.0):
            for side in (mode - way, mode + way):
                assert (stable.logpdf(side, alpha, beta) < top - 0.1 * way**2 / (1 + 9 * way**2)).all()

    def test_symmetric_and_gaussian(self):
        options = {"loc": 1e20, "scale": 1e-20}
        for function in (stable.mode, stable.median):
            assert (np.asarray(function(np.array([0.5, 1.0, 1.7, 2.0]), 0.0, **options)) == 1e20).all()
        assert stable.mode(2.0, 1.0, loc=3.0) == 3
