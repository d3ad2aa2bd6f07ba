"""Maximum likelihood of the stable law: the maximum, its intervals, the ends of the ranges, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

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


def likelihood(data: np.ndarray, found: StableFit, parametrization: str, **moved: float) -> float:
    """Of the exact density, at a fit with some numbers moved."""
    at = {name: float(getattr(found, name)) + moved.get(name, 0.0) for name in ("alpha", "beta", "loc", "scale")}
    with jax.enable_x64(True):
        parts = stable.logpdf(
            data, np.full(len(data), at["alpha"]), at["beta"], loc=at["loc"], scale=at["scale"],
            parametrization=parametrization,
        )  # fmt: skip
        return float(parts.sum())


class TestHeld:
    """Any of the four numbers held, against the exact density around the fit."""

    @pytest.mark.parametrize(
        ("held", "parametrization"),
        [
            ({"alpha": 1.5, "beta": None}, "S0"),
            ({"loc": 3.0}, "S0"),
            ({"scale": 2.0, "beta": None}, "S1"),
            ({"loc": 3.8, "beta": None}, "S1"),
            ({"alpha": 1.4, "loc": 3.8, "beta": None}, "S1"),
            ({"alpha": 1.0, "loc": 2.5, "beta": None}, "S1"),
            ({"loc": 3.0, "scale": 2.0, "beta": None}, "S0"),
            ({"alpha": 1.5, "beta": 0.4, "scale": 2.0}, "S1"),
        ],
    )
    def test_a_maximum(self, held, parametrization):
        """The log-likelihood is the density's, and falls both ways in every number that is free."""
        data = 3 + 2 * draw(0, 1.5, (500,), 0.4)
        found = stable.fit(data, **held, parametrization=parametrization)
        assert found.converged
        top = likelihood(data, found, parametrization)
        np.testing.assert_allclose(found.log_likelihood, top, rtol=1e-6)
        for name in ("alpha", "beta", "loc", "scale"):
            low, high = getattr(found, f"{name}_ci95")
            number = held.get(name, 0.0 if name == "beta" else None)
            if number is not None:
                assert getattr(found, name) == low == high == number
            else:
                assert low < getattr(found, name) < high
                for move in (0.05 * (low - high), 0.05 * (high - low)):
                    assert likelihood(data, found, parametrization, **{name: move}) < top

    @pytest.mark.parametrize("name", ["alpha", "beta", "loc", "scale"])
    @pytest.mark.parametrize("parametrization", ["S0", "S1"])
    def test_the_interval_of_one_number(self, name, parametrization):
        """The mean drop of the log-likelihood at its ends is 1.92: the third derivative cancels."""
        data, held = 3 + 2 * draw(3, 1.5, (2000,), 0.4), {"alpha": 1.5, "beta": 0.4, "loc": 3.0, "scale": 2.0}
        if parametrization == "S1":
            held["loc"] = 3.8
        found = stable.fit(data, **held | {name: None}, parametrization=parametrization)
        top = likelihood(data, found, parametrization)
        moves = [float(end - getattr(found, name)) for end in getattr(found, f"{name}_ci95")]
        drops = [top - likelihood(data, found, parametrization, **{name: move}) for move in moves]
        assert np.mean(drops) == pytest.approx(1.959963984540054**2 / 2, rel=0.05)

    @pytest.mark.parametrize(("alpha", "beta"), [(0.8, 0.5), (1.2, -0.5)])
    def test_s1_is_the_same_law(self, alpha, beta):
        """S1's location is S0's less beta scale tan(pi alpha/2); held there, it gives the same maximum again."""
        data = draw(1, alpha, (1000,), beta)
        zero, one = (stable.fit(data, beta=None, parametrization=name) for name in ("S0", "S1"))
        for name in ("alpha", "beta", "scale", "log_likelihood", "alpha_ci95", "scale_ci95"):
            np.testing.assert_allclose(getattr(one, name), getattr(zero, name), rtol=1e-12)
        np.testing.assert_allclose(one.loc, zero.loc - zero.beta * zero.scale * np.tan(np.pi / 2 * zero.alpha))
        again = stable.fit(data, beta=None, loc=one.loc, parametrization="S1")
        np.testing.assert_allclose(again.log_likelihood, one.log_likelihood, atol=1e-4)
        np.testing.assert_allclose(again.alpha, one.alpha, atol=1e-3)

    def test_s1_has_no_interval_where_alpha_may_be_1(self):
        data = draw(2, 1.0, (500,), 0.5)
        found = stable.fit(data, beta=None, parametrization="S1")
        assert found.alpha_ci95[0] < 1 < found.alpha_ci95[1]
        assert found.loc_ci95.tolist() == [-np.inf, np.inf]
        assert np.isfinite(stable.fit(data, parametrization="S1").loc_ci95).all()  # a symmetric law has one

    def test_gaussian(self):
        """SciPy's fit of the normal law, whose variance is 2 scale^2; beta is not told by any data."""
        data = np.random.default_rng(0).normal(3.0, 2.0, 400)
        for unit in (1e-20, 1.0, 1e20, 1e200):
            found = stable.fit(unit * data, alpha=2, beta=None)
            loc, deviation = stats.norm.fit(data)
            np.testing.assert_allclose([found.loc, found.scale * 2**0.5], [unit * loc, unit * deviation], rtol=1e-12)
            half = 1.959963984540054 * deviation / 20
            np.testing.assert_allclose(found.loc_ci95, unit * np.array([loc - half, loc + half]), rtol=1e-12)
            assert found.beta_ci95.tolist() == [-1, 1]
            assert found.converged
            exact = stats.norm.logpdf(data, loc, deviation).sum() - 400 * np.log(unit)
            np.testing.assert_allclose(found.log_likelihood, exact, rtol=1e-12)
        known = stable.fit(data, alpha=2, loc=1.0)
        np.testing.assert_allclose(known.scale, np.sqrt(np.mean((data - 1.0) ** 2) / 2), rtol=1e-12)

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_one_sided(self, sign):
        """Zolotarev's logarithms: with the support's end known, alpha is 1/sqrt(1 + 6/pi^2 var log X) or so."""
        with jax.enable_x64(True):
            data = sign * np.asarray(stable.sample(0, 0.7, (1000,), jnp.float64, beta=1.0) + np.tan(0.35 * np.pi))
        best = stable.fit(data, beta=sign, loc=0, parametrization="S1")
        assert best.converged
        assert abs(best.alpha - 0.7) < 0.05
        for held in ({"alpha": 0.7}, {"scale": 1.0, "loc": 0.0}, {"alpha": 0.7, "loc": 0.0}, {}):
            found = stable.fit(data, beta=sign, **held, parametrization="S1")
            assert found.converged
            top = likelihood(data, found, "S1")
            np.testing.assert_allclose(found.log_likelihood, top, rtol=1e-6)
            assert abs(top - best.log_likelihood) < 8  # the truth is not further off: chi-squared of four
            low, high = found.alpha_ci95
            assert low <= 0.7 + (high - low)
            assert abs(found.loc) < 0.5
        zero, one = (stable.fit(data, alpha=0.7, beta=sign, parametrization=name) for name in ("S0", "S1"))
        np.testing.assert_allclose(zero.loc - one.loc, sign * zero.scale * np.tan(0.35 * np.pi))
        with pytest.raises(ValueError, match=r"outside the support of every law with alpha = 0\.7"):
            stable.fit(data, alpha=0.7, beta=sign, loc=5.0 * sign, parametrization="S1")

    def test_any_unit(self):
        data, held = draw(4, 1.3, (300,), -0.5), {"beta": None, "parametrization": "S1"}
        found = stable.fit(data, loc=0.4, **held)
        for unit in (1e-20, 1e20):
            moved = stable.fit(unit * data, loc=0.4 * unit, **held)
            np.testing.assert_allclose([moved.alpha, moved.beta], [found.alpha, found.beta], rtol=1e-6)
            np.testing.assert_allclose(moved.scale_ci95, unit * found.scale_ci95, rtol=1e-6)
        pinned = stable.fit(1e20 * data, alpha=1.0, scale=1e20, **held)  # where S1 depends on the unit
        here = stable.fit(data, alpha=1.0, scale=1.0, **held)
        shift = 2 / np.pi * here.beta * np.log(1e20)
        np.testing.assert_allclose(pinned.loc / 1e20, here.loc - shift, rtol=1e-5)

    def test_no_saddle_is_called_a_maximum(self):
        """Two clusters, symmetric about the start: there the likelihood is least along loc."""
        cluster = np.linspace(-0.4, 0.4, 15)
        data = np.concatenate([cluster - 3, cluster + 3])
        found = stable.fit(data, alpha=1.0, scale=0.3)
        grid = np.linspace(-4, 4, 4001)
        sums = -np.log1p(((data[:, None] - grid) / 0.3) ** 2).sum(axis=0)
        assert found.converged
        np.testing.assert_allclose(abs(found.loc), abs(grid[sums.argmax()]), atol=2e-3)

    def test_many_data_sets(self):
        data = 3 + 2 * draw(5, 1.5, (3, 200), 0.4)
        found = stable.fit(data, scale=2.0, beta=None, parametrization="S1")
        for row in range(3):
            one = stable.fit(data[row], scale=2.0, beta=None, parametrization="S1")
            for name, part in vars(one).items():
                np.testing.assert_allclose(getattr(found, name)[row], part, rtol=1e-6, atol=1e-8)

    @pytest.mark.parametrize(
        ("held", "words"),
        [
            ({"alpha": 0.2}, r"alpha must be in \[0.3, 2\], or None to estimate it, got 0.2"),
            ({"alpha": "1"}, "alpha must be in"),
            ({"alpha": [1.0, 1.5]}, "alpha must be in"),
            ({"loc": np.nan}, "loc must be a finite number"),
            ({"scale": 0.0}, "scale must be positive and finite"),
            ({"scale": -np.inf}, "scale must be positive and finite"),
            ({"parametrization": "S2"}, "parametrization must be"),
            ({"alpha": 1.0, "loc": 0, "scale": 1}, "nothing is left to fit"),
        ],
    )
    def test_refused(self, held, words):
        with pytest.raises(ValueError, match=words):
            stable.fit(np.arange(20.0), **held)
