"""The stable law's functions against closed forms, a second route, and each other.

The second route is the density's Mellin transform (`stable.isotropic_pdf` in one dimension), which shares nothing with
the contour integral; its own error is up to 1e-9.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from levyjax import stable

X = np.array([0.0, 1e-3, 0.1, 0.7, 1.0, 2.5, 7.0, 12.0, 40.0, 1e3, 1e6, 1e12])
SIGNED = np.concatenate([-X[:0:-1], X])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


class TestClosedForms:
    def test_gaussian(self):
        x = X[X <= 40]
        np.testing.assert_allclose(stable.pdf(x, 2.0), stats.norm.pdf(x, scale=2**0.5), rtol=1e-10)
        np.testing.assert_allclose(stable.logpdf(x, 2.0), stats.norm.logpdf(x, scale=2**0.5), rtol=1e-10)
        np.testing.assert_allclose(stable.logsf(x, 2.0), stats.norm.logsf(x, scale=2**0.5), rtol=1e-10)

    def test_cauchy(self):
        np.testing.assert_allclose(stable.pdf(SIGNED, 1.0), 1 / (np.pi * (1 + SIGNED**2)), rtol=1e-10)
        np.testing.assert_allclose(stable.sf(X, 1.0), np.arctan2(1, X) / np.pi, rtol=1e-10)
        np.testing.assert_allclose(stable.cdf(-X, 1.0), np.arctan2(1, X) / np.pi, rtol=1e-10)

    def test_levy(self):
        x = np.array([1e-3, 0.01, 0.1, 0.5, 1.0, 3.0, 100.0, 1e6])
        exact = np.exp(-1 / (2 * x)) / np.sqrt(2 * np.pi * x**3)
        options = {"parametrization": "S1"}
        np.testing.assert_allclose(stable.pdf(x, 0.5, 1.0, **options), exact, rtol=1e-7)
        np.testing.assert_allclose(stable.cdf(x, 0.5, 1.0, **options), special.erfc(1 / np.sqrt(2 * x)), rtol=1e-7)
        assert (stable.pdf(-x, 0.5, 1.0, **options) == 0).all()
        assert (stable.logpdf(-x, 0.5, 1.0, **options) == -np.inf).all()
        assert (stable.cdf(-x, 0.5, 1.0, **options) == 0).all()


class TestSecondRoute:
    @pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8, 0.99, 1.01, 1.2, 1.5, 1.8, 1.99, 1.999])
    def test_density_is_the_mellin_transforms(self, alpha):
        x = np.array([0.0, 0.03, 0.5, 1.0, 3.0, 8.0, 20.0, 100.0])
        np.testing.assert_allclose(stable.pdf(x, alpha), stable.isotropic_pdf(x, alpha, 1), rtol=2e-9)

    @pytest.mark.parametrize("alpha", [0.3, 0.7, 1.3, 1.7, 1.95])
    def test_far_tail_is_the_series(self, alpha):
        """sf = sum_k (-1)^(k+1) Gamma(alpha k) sin(k pi alpha/2) x^(-alpha k)/(pi k!), to its third term."""
        x, k = np.array([1e12, 1e14]) ** (1.5 / alpha), np.arange(1, 4)[:, None]
        terms = special.gamma(alpha * k) / special.factorial(k) * np.sin(k * np.pi * alpha / 2) * x ** (-alpha * k)
        exact = -((-1.0) ** k * terms).sum(axis=0) / np.pi
        np.testing.assert_allclose(stable.sf(x, alpha), exact, rtol=1e-10)
        np.testing.assert_allclose(stable.cdf(-x, alpha), exact, rtol=1e-10)


class TestIdentities:
    @pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.3), (1.0, 0.9), (1.5, -1.0), (1.8, 0.5)])
    def test_density_is_the_slope_of_the_distribution(self, alpha, beta):
        x = np.array([-3.0, -0.5, 0.2, 1.0, 6.0])
        slope = jax.vmap(jax.grad(lambda x: stable.cdf(x, alpha, beta)))(x)
        np.testing.assert_allclose(slope, stable.pdf(x, alpha, beta), rtol=1e-7)
        np.testing.assert_allclose(stable.cdf(x, alpha, beta) + stable.sf(x, alpha, beta), 1, rtol=1e-12)
        np.testing.assert_allclose(stable.pdf(-x, alpha, -beta), stable.pdf(x, alpha, beta), rtol=1e-12)

    @pytest.mark.parametrize("beta", [0.3, -1.0])
    def test_continuous_through_one(self, beta):
        at_one = stable.pdf(SIGNED[np.abs(SIGNED) < 50], 1.0, beta)
        for step in (1e-9, 1e-12):
            for alpha in (1 - step, 1 + step):
                near = stable.pdf(SIGNED[np.abs(SIGNED) < 50], alpha, beta)
                np.testing.assert_allclose(near, at_one, rtol=1e-7 + 100 * step, atol=1e-290)

    @pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.0), (1.2, 0.5), (1.7, -0.8)])
    def test_scipy_agrees_where_it_is_right(self, alpha, beta):
        x = np.array([-2.0, -0.3, 0.4, 1.5, 5.0])
        found = stable.pdf(x, alpha, beta, loc=0.5, scale=2.0, parametrization="S1")
        np.testing.assert_allclose(found, stats.levy_stable.pdf(x, alpha, beta, 0.5, 2.0), rtol=1e-6)

    def test_draws_follow_it(self):
        """Kolmogorov and Smirnov's test rejects at p < 1e-4."""
        for seed, (alpha, beta) in enumerate([(0.8, 0.5), (1.0, -0.7), (1.5, 0.0), (1.9, 1.0)]):
            draws = np.asarray(stable.sample(seed, alpha, (20_000,), jnp.float64, beta=beta))
            assert stats.kstest(stable.cdf(draws, alpha, beta), "uniform").pvalue > 1e-4, (alpha, beta)

    def test_score_is_the_gradient(self):
        step, point = 1e-5, np.array([1.4, 0.3, 0.2, 1.5])

        def log(parameters):
            alpha, beta, loc, scale = parameters
            return float(stable.logpdf(0.9, alpha, beta, loc=loc, scale=scale))

        differences = [(log(point + row) - log(point - row)) / (2 * step) for row in step * np.eye(4)]
        found = stable.score(0.9, point[0], point[1], loc=point[2], scale=point[3])
        np.testing.assert_allclose(found, differences, rtol=1e-6)


NAMES = ["pdf", "logpdf", "cdf", "sf", "logsf", "characteristic_function", "score"]


class TestEveryFunction:
    @pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=pytest.mark.slow) if name in ("score", "logsf", "sf") else name for name in NAMES],
    )
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
        np.testing.assert_allclose(single, stable.pdf(x, np.float64(np.float32(alpha))), rtol=error)
