"""A stable law with SciPy's method names, its mode and its median."""

import jax
import numpy as np
import pytest
import scipy.stats
from scipy.special import log_ndtr

from levyjax import stable
from levyjax.stable import Stable

PARAMETERS = [(0.5, 1.0), (0.7, -0.4), (1.0, 0.6), (1.5, 0.0), (1.7, -1.0), (2.0, 0.0)]


@pytest.mark.parametrize("parametrization", ["S0", "S1"])
@pytest.mark.parametrize(("alpha", "beta"), PARAMETERS)
def test_methods_are_those_of_scipys_law(alpha, beta, parametrization):
    law, other = Stable(alpha, beta, 0.3, 2.0, parametrization), scipy.stats.levy_stable(alpha, beta, 0.3, 2.0)
    x = np.array([-4.0, 0.1, 3.0])
    if parametrization == "S0":  # the same law by SciPy's parametrization
        shift = 2 / np.pi * np.log(2.0) if alpha == 1 else np.tan(np.pi * alpha / 2)
        other = scipy.stats.levy_stable(alpha, beta, 0.3 - 2.0 * beta * shift, 2.0)
    np.testing.assert_allclose(law.pdf(x), other.pdf(x), rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(law.cdf(x), other.cdf(x), rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(
        law.sf(x), 1 - other.cdf(x), rtol=2e-5, atol=1e-9
    )  # SciPy's sf lacks a shift at alpha = 1
    for name in ("pdf", "cdf", "sf"):
        log = getattr(law, f"log{name}")(x)
        np.testing.assert_allclose(np.exp(log), getattr(law, name)(x), rtol=1e-12, atol=1e-300)
    q = np.array([0.05, 0.5, 0.9])
    np.testing.assert_allclose(law.cdf(law.ppf(q)), q, rtol=1e-11)
    np.testing.assert_allclose(law.sf(law.isf(q)), q, rtol=1e-11)
    assert law.median() == law.ppf(0.5)
    low, high = law.interval(0.8)
    np.testing.assert_allclose([law.cdf(low), law.sf(high)], 0.1, rtol=1e-11)
    assert isinstance(law.pdf(0.3), np.float64)
    assert law.pdf([[0.1, 0.2]]).shape == (1, 2)


def test_moments_and_support():
    assert Stable(1.5, 0.5, 1.0, 2.0, "S1").mean() == 1.0
    assert Stable(1.5, 0.5, 1.0, 2.0).mean() == pytest.approx(1.0 + 2.0 * 0.5)  # loc - beta scale tan(pi 3/4)
    assert np.isnan(Stable(1.0).mean())
    assert Stable(0.5, -1.0).mean() == -np.inf
    assert Stable(2.0, scale=3.0).var() == 18.0
    assert Stable(1.9).std() == np.inf
    assert Stable(0.5, 1.0, 0.25, parametrization="S1").support() == (0.25, np.inf)
    assert Stable(1.2, 1.0).support() == (-np.inf, np.inf)
    assert Stable(2.0).entropy() == pytest.approx(np.log(4 * np.pi * np.e) / 2, rel=1e-8)


@pytest.mark.parametrize("parametrization", ["S0", "S1"])
@pytest.mark.parametrize(("alpha", "beta"), PARAMETERS)
def test_variates_have_the_law(alpha, beta, parametrization):
    """A false alarm in 1 of 10,000, for each of 12."""
    law = Stable(alpha, beta, 0.3, 2.0, parametrization)
    assert scipy.stats.kstest(law.rvs(5000, random_state=1), law.cdf).pvalue > 1e-4


def test_seeds_and_sizes_are_scipys():
    law = Stable(1.3, 0.2)
    assert np.ndim(law.rvs(random_state=3)) == 0
    assert law.rvs((2, 3), random_state=3).shape == (2, 3)
    np.testing.assert_array_equal(law.rvs(4, random_state=3), law.rvs(4, random_state=np.random.default_rng(3)))
    generator = np.random.RandomState(0)
    assert (law.rvs(4, generator) != law.rvs(4, generator)).all()


def test_scipys_functions_take_it():
    law = Stable(1.5, 0.3)
    data = law.rvs(500, random_state=0)
    (ordered, sorted_data), _ = scipy.stats.probplot(data, dist=law)
    assert np.corrcoef(law.cdf(ordered), law.cdf(sorted_data))[0, 1] > 0.99


def test_the_fitted_law_is_the_fits():
    data = Stable(1.6, 0.4, 5.0, 1e-3).rvs(2000, random_state=0)
    law, found = Stable.fit(data), stable.fit(data, beta=None)
    assert (law.alpha, law.beta, law.loc, law.scale) == (found.alpha, found.beta, found.loc, found.scale)


def test_the_fit_of_a_law_with_numbers_held():
    data = Stable(1.6, 0.4, 5.0, 1e-3, "S1").rvs(500, random_state=1)
    held = {"loc": 5.0, "parametrization": "S1"}
    law, found = Stable.fit(data, **held), stable.fit(data, beta=None, **held)
    assert (law.alpha, law.beta, law.loc, law.scale) == (found.alpha, found.beta, 5.0, found.scale)
    assert law.parametrization == "S1"
    np.testing.assert_allclose(law.logpdf(data).sum(), found.log_likelihood, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"alpha": 2.5}, "alpha must be in"),
        ({"alpha": "x"}, "alpha must be a finite number"),
        ({"alpha": [1.0, 1.5]}, "alpha must be a finite number"),
        ({"alpha": 1.5, "scale": 0.0}, "scale must be positive"),
        ({"alpha": 1.5, "loc": np.nan}, "loc must be a finite number"),
        ({"alpha": 1.5, "parametrization": "S2"}, "parametrization must be"),
    ],
)
def test_what_is_no_law_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Stable(**given)


class TestMode:
    def test_of_levys_law(self):
        """1/3 of the scale, in S1."""
        with jax.enable_x64(True):
            found = stable.mode(0.5, [1.0, -1.0], loc=2.0, scale=3.0, parametrization="S1")
        np.testing.assert_allclose(found, [3.0, 1.0], rtol=1e-9)

    def test_of_landaus_law(self):
        """-0.2227829812564085 where E exp(iuX) = exp(-pi/2 |u| - iu log|u|): Kolbig and Schorr 1984, CPC 31.

        That is pi/2 of the standard law, moved by log(pi/2).
        """
        with jax.enable_x64(True):
            found = np.pi / 2 * float(stable.mode(1.0, 1.0)) + np.log(np.pi / 2)
        assert found == pytest.approx(-0.2227829812564085, abs=1e-8)

    @pytest.mark.parametrize(("alpha", "beta"), [(0.3, 1.0), (0.8, 0.5), (1.0, 0.1), (1.3, -0.7), (1.99, 1.0)])
    def test_nothing_is_more_likely(self, alpha, beta):
        with jax.enable_x64(True):
            mode = float(stable.mode(alpha, beta))
            around = mode + np.array([-1e-3, -1e-4, 0, 1e-4, 1e-3])
            density = np.asarray(stable.pdf(around, alpha, beta))
        assert density.argmax() == 2

    def test_of_symmetric_and_invalid_laws(self):
        with jax.enable_x64(True):
            assert stable.mode(1.3, loc=2.0) == 2.0
            assert np.isnan(jax.jit(stable.mode)(2.5, 0.1))
            with pytest.raises(ValueError, match="alpha must be in"):
                stable.mode(2.5)

    def test_derivatives_are_the_implicit_functions(self):
        with jax.enable_x64(True):
            slope, h = jax.jacfwd(stable.mode)(1.5, 0.5), 1e-4
            right = (float(stable.mode(1.5 + h, 0.5)) - float(stable.mode(1.5 - h, 0.5))) / (2 * h)
        assert slope == pytest.approx(right, rel=1e-5)


class TestLogCdf:
    """Beside SciPy, and beyond the smallest probability that is a number."""

    def test_far_left_of_the_gaussian(self):
        with jax.enable_x64(True):
            found = stable.logcdf(np.array([-10.0, -60.0, -300.0, 3.0]), 2.0)
        np.testing.assert_allclose(found, log_ndtr(np.array([-10.0, -60.0, -300.0, 3.0]) / np.sqrt(2)), rtol=1e-9)

    @pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.3), (1.0, -0.9), (1.7, 0.5)])
    def test_is_the_mirror_image_of_logsf(self, alpha, beta):
        x = np.array([-1e200, -30.0, -1.0, 0.4, 20.0])
        with jax.enable_x64(True):
            left, right = stable.logcdf(x, alpha, beta), stable.logsf(-x, alpha, -beta)
        np.testing.assert_allclose(left, right, rtol=1e-12)

    def test_of_levys_law(self):
        """erfc(1/sqrt(2x)), and nothing below 0."""
        x = np.array([-1.0, 1e-3, 0.5, 1e6])
        with jax.enable_x64(True):
            found = np.asarray(stable.logcdf(x, 0.5, 1.0, parametrization="S1"))
        assert found[0] == -np.inf
        np.testing.assert_allclose(found[1:], np.log(2) + log_ndtr(-1 / np.sqrt(x[1:])), rtol=1e-9)
