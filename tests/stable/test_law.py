"""The stable law's functions against closed forms, a second route, and each other.

The second route is the density's Mellin transform (`stable.isotropic_pdf` in one dimension), which shares nothing with
the contour integral; its own error is up to 1e-9.
"""

import csv
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from levyjax import stable

X = np.array([0.0, 1e-3, 0.1, 0.7, 1.0, 2.5, 7.0, 12.0, 40.0, 1e3, 1e6, 1e12])
SIGNED = np.concatenate([-X[:0:-1], X])
NOT_NOW = ("logpdf", "cdf", "sf")  # their tables are those of pdf and logsf

slow = functools.partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def at(function, x, alpha, beta=0.0, **options):
    """A function's values through one program for all tests: every argument in double precision, 256 points."""
    arguments = np.broadcast_arrays(*np.atleast_1d(x, alpha, beta))
    size = arguments[0].size
    return np.asarray(function(*(np.resize(np.float64(argument), 256) for argument in arguments), **options))[:size]


def reference(symmetric: bool) -> list[np.ndarray]:
    """alpha, beta, x, log f, log P(X > x) and log P(X <= x) where both routes agree to 14 digits."""
    with Path(__file__).with_name("stable_table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row.pop("digits")) >= 14]
    columns = np.array([[float(value) for value in row.values()] for row in rows]).T
    return list(columns[:, (columns[1] == 0) == symmetric])


class TestReference:
    """20 digits by two routes of mpmath: Zolotarev and Nolan's integral, and series or Fourier integrals."""

    @pytest.mark.parametrize(("symmetric", "error"), [(True, 1e-10), (False, 1e-7)])
    def test_every_function(self, symmetric, error):
        alpha, beta, x, density, upper, lower = reference(symmetric)
        assert len(x) > 140
        for function, exact in ((stable.pdf, density), (stable.sf, upper), (stable.cdf, lower)):
            normal = exact > -700
            np.testing.assert_allclose(at(function, x, alpha, beta)[normal], np.exp(exact[normal]), rtol=error)
        logs = (
            at(stable.logpdf, x, alpha, beta),
            at(stable.logsf, x, alpha, beta),
            at(stable.logcdf, x, alpha, beta),
            at(stable.logsf, -x, alpha, -beta),
        )
        for found, exact in zip(logs, (density, upper, lower, lower), strict=True):
            np.testing.assert_allclose(found, exact, rtol=error, atol=error)

    @pytest.mark.slow
    def test_float32(self):
        """Relative, of pdf, cdf and sf: 1e-5 for alpha <= 1.5, 1e-4 up to 2; points and parameters as rounded."""
        alpha, _, x, *_ = (np.float64(np.float32(column)) for column in reference(True))
        for function in (stable.pdf, stable.sf, stable.cdf):
            exact = np.asarray(function(x, alpha))
            single = np.asarray(function(np.float32(x), np.float32(alpha)), np.float64)
            error = np.where((exact > 1e-35) & (alpha < 2), np.abs(single / exact - 1), 0)
            assert error[alpha <= 1.5].max() < 1e-5
            assert error.max() < 1e-4

    @pytest.mark.parametrize("alpha", [0.3, 1.0, 1.5, 1.9, 1.999999, 2.0])
    @pytest.mark.parametrize("name", ["pdf", *(slow(name) for name in ("logsf", *NOT_NOW))])
    def test_many_points_through_a_table(self, name, alpha):
        """4096 points of one law take another way than a few; that of float32, too."""
        x = np.float64(np.float32(np.concatenate([np.linspace(-30, 30, 2500), np.geomspace(1e-10, 1e30, 2500)])))
        function = getattr(stable, name)
        exact = np.asarray(function(x, np.full(5000, alpha)))
        normal = np.abs(exact) > 1e-300
        np.testing.assert_allclose(function(x, alpha)[normal], exact[normal], rtol=1e-10)
        single, rounded = jnp.asarray(x, jnp.float32), np.float32(alpha)
        exact = np.asarray(function(x, np.full(5000, np.float64(rounded))))
        allowed = (1e-5 if alpha <= 1.5 else 1e-4) * np.abs(exact) + (1e-6 if "log" in name else 1e-36)
        found = np.asarray(function(single, rounded), np.float64)
        assert (np.abs(found - exact) <= allowed)[np.abs(exact) < 1e38].all()


class TestClosedForms:
    def test_gaussian(self):
        x = X[X <= 40]
        np.testing.assert_allclose(at(stable.pdf, x, 2.0), stats.norm.pdf(x, scale=2**0.5), rtol=1e-10)
        np.testing.assert_allclose(at(stable.logpdf, x, 2.0), stats.norm.logpdf(x, scale=2**0.5), rtol=1e-10)
        np.testing.assert_allclose(at(stable.logsf, x, 2.0), stats.norm.logsf(x, scale=2**0.5), rtol=1e-10)

    def test_cauchy(self):
        np.testing.assert_allclose(at(stable.pdf, SIGNED, 1.0), 1 / (np.pi * (1 + SIGNED**2)), rtol=1e-10)
        np.testing.assert_allclose(at(stable.sf, X, 1.0), np.arctan2(1, X) / np.pi, rtol=1e-10)
        np.testing.assert_allclose(at(stable.cdf, -X, 1.0), np.arctan2(1, X) / np.pi, rtol=1e-10)

    def test_far_left_tail(self):
        """log P(X <= x) down to 1e-300 and beyond."""
        x = np.array([-1e300, -1e30, -2.0, 3.0, 1e9])
        np.testing.assert_allclose(at(stable.logcdf, x[:3], 1.0), np.log(np.arctan2(1, -x[:3]) / np.pi), rtol=1e-12)
        np.testing.assert_allclose(at(stable.logcdf, x[3:], 1.0), np.log1p(-np.arctan(1 / x[3:]) / np.pi), rtol=1e-10)
        z = np.array([-40.0, -50.0, -2000.0])
        np.testing.assert_allclose(at(stable.logcdf, z, 2.0), stats.norm.logcdf(z, scale=2**0.5), rtol=1e-10)
        slope = jax.grad(lambda x: stable.logcdf(x, 1.0))(-3.0)
        np.testing.assert_allclose(slope, stats.cauchy.pdf(-3) / stats.cauchy.cdf(-3), rtol=1e-8)

    def test_levy(self):
        x = np.array([1e-3, 0.01, 0.1, 0.5, 1.0, 3.0, 100.0, 1e6])
        exact = np.exp(-1 / (2 * x)) / np.sqrt(2 * np.pi * x**3)
        options = {"parametrization": "S1"}
        np.testing.assert_allclose(at(stable.pdf, x, 0.5, 1.0, **options), exact, rtol=1e-7)
        np.testing.assert_allclose(at(stable.cdf, x, 0.5, 1.0, **options), special.erfc(1 / np.sqrt(2 * x)), rtol=1e-7)
        assert (at(stable.pdf, -x, 0.5, 1.0, **options) == 0).all()
        assert (at(stable.logpdf, -x, 0.5, 1.0, **options) == -np.inf).all()
        assert (at(stable.cdf, -x, 0.5, 1.0, **options) == 0).all()


class TestSecondRoute:
    @pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8, 0.99, 1.01, 1.2, 1.5, 1.8, 1.99, 1.999])
    def test_density_is_the_mellin_transforms(self, alpha):
        x = np.array([0.0, 0.03, 0.5, 1.0, 3.0, 8.0, 20.0, 100.0])
        np.testing.assert_allclose(at(stable.pdf, x, alpha), stable.isotropic_pdf(x, alpha, 1), rtol=2e-9)

    @pytest.mark.parametrize("alpha", [0.3, 0.7, 1.3, 1.7, 1.95])
    def test_far_tail_is_the_series(self, alpha):
        """sf = sum_k (-1)^(k+1) Gamma(alpha k) sin(k pi alpha/2) x^(-alpha k)/(pi k!), to its third term."""
        x, k = np.array([1e12, 1e14]) ** (1.5 / alpha), np.arange(1, 4)[:, None]
        terms = special.gamma(alpha * k) / special.factorial(k) * np.sin(k * np.pi * alpha / 2) * x ** (-alpha * k)
        exact = -((-1.0) ** k * terms).sum(axis=0) / np.pi
        np.testing.assert_allclose(at(stable.sf, x, alpha), exact, rtol=1e-10)
        np.testing.assert_allclose(at(stable.cdf, -x, alpha), exact, rtol=1e-10)


class TestEdges:
    def test_the_end_of_the_numbers(self):
        x = np.array([1e295, 1e307])
        np.testing.assert_allclose(at(stable.logsf, x, 1.0), -np.log(np.pi) - np.log(x), rtol=1e-12)
        np.testing.assert_allclose(stable.logsf(x.repeat(2500), 1.0)[::2500], -np.log(np.pi) - np.log(x), rtol=1e-12)
        single = jnp.asarray([1e33, 2e38], jnp.float32)
        exact = -np.log(np.pi) - np.log(np.float64(single))
        np.testing.assert_allclose(stable.logsf(single, np.float32(1.0)), exact, rtol=1e-6)
        assert stable.characteristic_function(np.array([1e300, np.inf]), 1.5, 0.3).tolist() == [0, 0]

    @pytest.mark.slow
    def test_derivative_in_alpha_of_a_gaussian_sample(self):
        x = np.random.default_rng(0).normal(size=5000) * 2**0.5  # through a table; at 2 its far nodes grow without end
        found = jax.grad(lambda alpha: stable.logpdf(x, alpha).sum())(2.0)
        np.testing.assert_allclose(found, stable.score(x, 2.0)[:, 0].sum(), rtol=1e-9)

    def test_half_precision_is_computed_in_float32(self):
        assert stable.pdf(np.zeros(5000, np.float16), 1.5).dtype == jnp.float32

    @pytest.mark.slow
    def test_traced_parameters_out_of_range(self):
        for function in (
            lambda a: stable.pdf(0.3, a),
            lambda a: stable.ppf(0.3, a),
            lambda a: abs(stable.characteristic_function(0.3, a)),
            lambda a: stable.score(0.3, a)[0],
            stable.entropy,
            lambda a: stable.log_moment(a)[1],
            lambda a: stable.fractional_moment(0.5, a),
        ):
            assert np.isnan(jax.jit(function)(2.5))


class TestIdentities:
    @pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.3), (1.0, 0.9), (1.5, -1.0), (1.8, 0.5)])
    def test_density_is_the_slope_of_the_distribution(self, alpha, beta):
        x = np.array([-3.0, -0.5, 0.2, 1.0, 6.0])
        slope = jax.vmap(jax.grad(lambda x: stable.cdf(x, alpha, beta)))(x)
        np.testing.assert_allclose(slope, at(stable.pdf, x, alpha, beta), rtol=1e-7)
        np.testing.assert_allclose(at(stable.cdf, x, alpha, beta) + at(stable.sf, x, alpha, beta), 1, rtol=1e-12)
        np.testing.assert_allclose(at(stable.pdf, -x, alpha, -beta), at(stable.pdf, x, alpha, beta), rtol=1e-12)

    @pytest.mark.parametrize("beta", [0.3, -1.0])
    def test_continuous_through_one(self, beta):
        at_one = at(stable.pdf, SIGNED[np.abs(SIGNED) < 50], 1.0, beta)
        for step in (1e-9, 1e-12):
            for alpha in (1 - step, 1 + step):
                near = at(stable.pdf, SIGNED[np.abs(SIGNED) < 50], alpha, beta)
                np.testing.assert_allclose(near, at_one, rtol=1e-7 + 100 * step, atol=1e-290)

    @pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.0), (1.2, 0.5), (1.7, -0.8)])
    def test_scipy_agrees_where_it_is_right(self, alpha, beta):
        x = np.array([-2.0, -0.3, 0.4, 1.5, 5.0])
        found = at(stable.pdf, x, alpha, beta, loc=0.5, scale=2.0, parametrization="S1")
        np.testing.assert_allclose(found, stats.levy_stable.pdf(x, alpha, beta, 0.5, 2.0), rtol=1e-6)

    @pytest.mark.slow
    def test_draws_follow_it(self, many):
        """Kolmogorov and Smirnov's test rejects at p < 1e-4."""
        for seed, (alpha, beta) in enumerate([(0.8, 0.5), (1.0, -0.7), (1.5, 0.0), (1.9, 1.0)]):
            draws = np.asarray(stable.sample(seed, alpha, (20_000 * many,), jnp.float64, beta=beta))
            # A skewed law takes 11 kB of memory a point: in parts.
            uniform = np.concatenate([stable.cdf(part, alpha, beta) for part in np.split(draws, many)])
            assert stats.kstest(uniform, "uniform").pvalue > 1e-4, (alpha, beta)

    def test_score_is_the_gradient(self):
        step, point = 1e-5, np.array([1.4, 0.3, 0.2, 1.5])

        def log(parameters):
            alpha, beta, loc, scale = parameters
            return float(at(stable.logpdf, 0.9, alpha, beta, loc=loc, scale=scale)[0])

        differences = [(log(point + row) - log(point - row)) / (2 * step) for row in step * np.eye(4)]
        found = stable.score(0.9, point[0], point[1], loc=point[2], scale=point[3])
        np.testing.assert_allclose(found, differences, rtol=1e-6)


NAMES = ["pdf", "logpdf", "cdf", "sf", "logsf", "logcdf", "characteristic_function", "score"]
LATER = ("logpdf", "sf", "logsf", "score")  # of the same programs' making as those that are not slow


class TestEveryFunction:
    @pytest.mark.parametrize("name", ["pdf", "cdf", "characteristic_function", *(slow(name) for name in LATER)])
    def test_jit_vmap_and_dtype(self, name):
        function = getattr(stable, name)
        x, alpha = jnp.asarray([0.3, 2.0], jnp.float32), jnp.asarray([0.9, 1.6], jnp.float32)
        value = function(x, alpha)
        assert value.dtype in (jnp.float32, jnp.complex64)
        np.testing.assert_allclose(jax.jit(function)(x, alpha), value, rtol=1e-5)
        np.testing.assert_allclose(jax.vmap(function)(x, alpha), value, rtol=1e-5)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(("alpha", "options"), [(0.0, {}), (2.1, {}), (1.5, {"beta": 1.5}), (1.5, {"scale": 0.0})])
    def test_bad_parameters(self, name, alpha, options):
        with pytest.raises(ValueError, match="must be"):
            getattr(stable, name)(0.0, alpha, **options)


def test_float32():
    x = np.array([0.0, 0.1, 1.0, 4.0, 10.0, 100.0, 1e4])
    for alpha, error in ((0.5, 1e-5), (1.0, 1e-5), (1.5, 1e-5), (1.8, 1e-4), (1.99, 1e-4)):
        single = stable.pdf(jnp.asarray(x, jnp.float32), jnp.float32(alpha))
        np.testing.assert_allclose(single, at(stable.pdf, x, np.float64(np.float32(alpha))), rtol=error)
