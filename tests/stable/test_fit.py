"""Maximum likelihood of the stable law: the maximum, its intervals, the ends of the ranges, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from levyjax import stable
from levyjax.stable.fit import StableFit


def draw(seed: int, alpha: float, shape: tuple[int, ...], beta: float = 0.0) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(stable.sample(seed, alpha, shape, jnp.float64, beta=beta))


@functools.cache
def several() -> tuple[np.ndarray, StableFit]:
    """Eight samples of 500 of one law, loc 3 and scale 2, and their fits."""
    data = 3 + 2 * draw(0, 1.5, (8, 500))
    return data, stable.fit(data)


def test_nothing_is_more_likely():
    """A simplex search from the fit finds no more than rounding; the density is the exact one."""
    data, found = several()
    x = data[0]

    def minus(parameters: np.ndarray) -> float:
        alpha, loc, log_scale = parameters
        if not 0.3 < alpha < 2:
            return np.inf
        with jax.enable_x64(True):
            return -float(stable.logpdf(x, alpha, loc=loc, scale=np.exp(log_scale)).sum())

    at = np.array([found.alpha[0], found.loc[0], np.log(found.scale[0])])
    np.testing.assert_allclose(found.log_likelihood[0], -minus(at), rtol=1e-6)
    best = optimize.minimize(minus, at, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-5, "maxfev": 60})
    assert -best.fun <= found.log_likelihood[0] + 1e-3
    assert abs(best.x - at).max() < 0.01


@pytest.mark.slow
def test_one_data_set_in_single_precision():
    data, found = several()
    one = stable.fit(data[3].astype(np.float32))
    assert (one.alpha.shape, found.alpha.shape, found.alpha_ci95.shape) == ((), (8,), (8, 2))
    for name in ("alpha", "loc", "scale"):
        np.testing.assert_allclose(getattr(one, name), getattr(found, name)[3], atol=4e-3)
        np.testing.assert_allclose(getattr(one, f"{name}_ci95"), getattr(found, f"{name}_ci95")[3], atol=0.02)
    assert one.converged
    assert found.converged.all()


def test_any_unit_and_location():
    data, found = several()
    moved = stable.fit(1e-200 * (data - 5))
    np.testing.assert_allclose(moved.alpha, found.alpha, rtol=1e-4)
    np.testing.assert_allclose(moved.scale, 1e-200 * found.scale, rtol=1e-4)
    np.testing.assert_allclose(moved.loc, 1e-200 * (found.loc - 5), rtol=1e-3)
    shift = 500 * 200 * np.log(10)
    np.testing.assert_allclose(moved.log_likelihood, found.log_likelihood + shift, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.7, 1.2, 1.7])
def test_intervals_cover(alpha):
    """95% intervals over 1000 samples of 500 cover in 92 to 97 of 100; the count's standard error is 0.7."""
    found = stable.fit(draw(1, alpha, (1000, 500)))
    for interval, truth in ((found.alpha_ci95, alpha), (found.loc_ci95, 0.0), (found.scale_ci95, 1.0)):
        covered = ((interval[:, 0] <= truth) & (truth <= interval[:, 1])).mean()
        assert 0.92 <= covered <= 0.97, (alpha, truth, covered)
    assert found.converged.all()


@pytest.mark.slow
def test_skewed():
    """Each estimate within 4 of its own standard errors, of 12 numbers: a false alarm in 1300."""
    for seed, (alpha, beta) in enumerate([(1.5, 0.5), (0.8, -0.6), (1.0, 0.3)]):
        found = stable.fit(2 * draw(seed, alpha, (2000,), beta) - 1, beta=None)
        truths = {"alpha": alpha, "beta": beta, "loc": -1.0, "scale": 2.0}
        for name, truth in truths.items():
            low, high = getattr(found, f"{name}_ci95")
            assert abs(getattr(found, name) - truth) < (high - low) / 3.92 * 4, (alpha, beta, name)
        assert found.converged


def test_ends_of_the_ranges():
    rng = np.random.default_rng(0)
    flat = stable.fit(rng.random((8, 500)))  # lighter than any stable law
    assert flat.converged.all()
    assert (flat.alpha == 2).all()
    assert (flat.alpha_ci95[:, 1] == 2).all()
    assert ((flat.alpha_ci95[:, 0] > 1.8) & (flat.alpha_ci95[:, 0] < 2)).all()


@pytest.mark.slow
def test_one_sided_data_have_beta_one():
    found = stable.fit(draw(0, 0.8, (2000,), 1.0), beta=None)
    assert found.converged
    assert found.beta == found.beta_ci95[1] == 1
    assert found.beta_ci95[0] > 0.9


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.array([]), "not empty"),
        ([1.0] * 9, "at least 10"),
        ([np.nan] * 20, "NaN or infinite"),
        ([1.0] * 20, "half of its values equal"),
        (np.zeros((2, 3, 4)), "got shape"),
        (np.full(20, 1j), "real"),
        (["a"] * 20, "real"),
    ],
)
def test_bad_data(data, words):
    with pytest.raises(ValueError, match=words):
        stable.fit(data)


def test_bad_skewness():
    with pytest.raises(ValueError, match="beta must be"):
        stable.fit(np.arange(20.0), beta=1.5)
