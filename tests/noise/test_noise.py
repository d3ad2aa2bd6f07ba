"""Noises beyond the stable law with one index: their laws, and what leaves a basin under them.

Every seed is fixed. A count or mean may be 4 standard errors from its law, which happens by chance with probability
6.3e-5 a number; where it says 5, 5.7e-7.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import levyjax.noise
from levyjax.arrays import cast
from levyjax.basins import Ball, Box
from levyjax.config import ConfigError, cells, parse
from levyjax.config.build import build_plan, build_problem
from levyjax.dynamics import SGD, Momentum
from levyjax.escape import EscapeProblem, Plan, predict, quasi_stationary_rate, simulate, unit_rate
from levyjax.landscapes import Quadratic
from levyjax.noise import Empirical, Independent, Noise, Pareto, PerCoordinate, StepNoise, StudentT, Tempered, Truncated
from levyjax.noise.empirical import uniform_index
from levyjax.noise.spectral import isotropic_measure, sum_error
from levyjax.random import Counter
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed
from levyjax.stable import sample_relativistic, sample_truncated, sf, tail_constant
from levyjax.stable.constants import radial_tail_constant

SQUARE = Box([-1.0, -1.0], [1.0, 1.0])


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def counters(size):
    index = jnp.arange(size, dtype=jnp.uint32)
    return Counter(0 * index + jnp.uint32(7), index, 0 * index + jnp.uint32(3), 0 * index)


@jax.jit
def increment(noise, counter, dt):
    return noise.increment(counter, dt)


def in_square(noise, noise_level, dynamics=None):
    return EscapeProblem(Quadratic([1.0, 1.0]), SQUARE, noise, dynamics or SGD(), noise_level)


@pytest.fixture
def quick_compiler():
    """Programs that are used once compile in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class TestPerCoordinate:
    ALPHAS = (1.2, 1.8)

    def test_one_index_for_all_is_independent(self):
        many, dt = counters(1000), jnp.float32(0.1)
        for scale in ([0.5, 0.2], [[0.5, 0.1], [0.3, 0.2]]):
            noises = cast((PerCoordinate([1.5, 1.5], scale), Independent(1.5, scale)), jnp.float32)
            one, other = (np.asarray(increment(noise, many, dt)) for noise in noises)
            np.testing.assert_allclose(one, other, rtol=1e-6)
            problems = [in_square(noise, 0.05) for noise in (PerCoordinate([1.5, 1.5], scale), Independent(1.5, scale))]
            one, other = map(predict, problems)
            assert one.rate == pytest.approx(other.rate, rel=1e-12)
            assert (one.kappa, one.valid) == (pytest.approx(other.kappa, rel=1e-12), other.valid)

    @pytest.mark.parametrize("dt", [1.0, 0.01])
    def test_each_coordinate_has_its_own_law(self, dt, many):
        """The characteristic function of each coordinate of A L(dt), A a matrix, at three frequencies."""
        matrix = np.array([[0.5, 0.1], [0.3, 0.2]])
        noise = cast(PerCoordinate(self.ALPHAS, matrix), jnp.float32)
        draws = np.asarray(increment(noise, counters(200_000 * many), jnp.float32(dt)), np.float64)
        for row, values in zip(matrix, draws, strict=True):
            for frequency in (1.0, 3.0, 10.0):
                law = math.exp(
                    -dt * sum(abs(frequency * a) ** alpha for a, alpha in zip(row, self.ALPHAS, strict=True))
                )
                cosines = np.cos(frequency * values)
                assert abs(cosines.mean() - law) < 4 * cosines.std() / math.sqrt(values.size)

    def test_rate_and_faces_are_each_coordinates_own(self):
        noise_level, box = 0.02, Box([-1.0, -0.5], [2.0, 1.5])
        problem = EscapeProblem(Quadratic([1.0, 1.0]), box, PerCoordinate(self.ALPHAS, [0.8, 1.3]), SGD(), noise_level)
        prediction = predict(problem)
        reach = noise_level * np.array([0.8 / 1.0, 0.8 / 2.0, 1.3 / 0.5, 1.3 / 1.5])
        alphas = np.repeat(self.ALPHAS, 2)
        parts = tail_constant(alphas) / alphas * reach**alphas
        assert prediction.rate == pytest.approx(parts.sum(), rel=1e-12)
        np.testing.assert_allclose(list(prediction.exit_probabilities.values()), parts / parts.sum(), rtol=1e-9)
        assert prediction.kappa == pytest.approx((reach**-alphas).min(), rel=1e-12)
        assert float(unit_rate(problem)) == pytest.approx(predict(in_noise(problem, 1.0)).rate, rel=1e-6)

    def test_the_iteration_is_the_sde_at_each_coordinates_noise_level(self):
        """E[K] = 1/sum_j (eta epsilon)^alpha_j (C/alpha)_j [g^alpha_j + g^alpha_j]."""
        problem = in_square(PerCoordinate(self.ALPHAS, [1.0, 1.0]), 0.2, SGD(0.1))
        alphas = np.array(self.ALPHAS)
        expected = 1 / (2 * tail_constant(alphas) / alphas * 0.02**alphas).sum()
        assert predict(problem, Iteration()).mean_exit_steps == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("noise_level", [0.03, 0.01])
    def test_probability_of_leaving_along_the_first_coordinate(self, noise_level):
        """By the law share_j = epsilon^alpha_j (C/alpha)_j over their sum, jump-adapted, 200,000 exits."""
        problem = in_square(PerCoordinate(self.ALPHAS, [1.0, 1.0]), noise_level)
        prediction = predict(problem)
        assert prediction.valid
        samples = simulate(problem, Plan(JumpAdapted(), 200_000), 1)
        first = np.mean(samples.exit_face < 2)
        law = sum(list(prediction.exit_probabilities.values())[:2])
        alphas = np.array(self.ALPHAS)
        share = tail_constant(alphas) / alphas * noise_level**alphas
        assert law == pytest.approx(share[0] / share.sum(), rel=1e-12)
        assert abs(first - law) < 4 * math.sqrt(law * (1 - law) / samples.exit_face.size)

    @pytest.mark.slow
    def test_three_solvers_agree(self):
        """Euler and jump-adapted exit times within 2% and 4 standard errors, and the quasi-stationary rate between."""
        problem = in_square(PerCoordinate(self.ALPHAS, [1.0, 1.0]), 0.1)
        means = {}
        for solver, count in ((Euler(0.02), 20_000), (JumpAdapted(), 40_000)):
            times = simulate(problem, Plan(solver, count), 2).exit_time
            means[type(solver)] = times.mean(), times.std() / math.sqrt(count)
        (euler, euler_error), (adapted, adapted_error) = means.values()
        assert abs(euler / adapted - 1) < 0.02 + 4 * math.hypot(euler_error, adapted_error) / adapted
        found = quasi_stationary_rate(problem, 0, relative_error=0.005, num_particles=2000)
        assert abs(found.rate * adapted - 1) < 0.02 + 4 * math.hypot(0.005, adapted_error / adapted)

    @pytest.mark.slow
    def test_momentum_and_a_ball(self):
        problem = EscapeProblem(
            Quadratic([1.0, 0.5]),
            Ball(1.0, [0.0, 0.0]),
            PerCoordinate(self.ALPHAS, [1.0, 1.0]),
            Momentum(0.1, 0.5),
            0.01,
        )
        prediction = predict(problem)
        samples = simulate(problem, Plan(JumpAdapted(), 10_000), 0)
        assert abs(samples.exit_time.mean() * prediction.rate - 1) < 0.02 + 4 / math.sqrt(10_000)


MATRIX = [[0.5, 0.1], [0.3, 0.2]]
DRAWS = {
    "pareto": Pareto(1.2, [0.5, 0.2]),
    "pareto matrix": Pareto(0.6, MATRIX),
    "student t": StudentT(3.0, [0.5, 0.2]),
    "student t matrix": StudentT(1.5, MATRIX),
    "truncated": Truncated(1.5, 10.0, [0.5, 0.2]),
    "tempered": Tempered(1.2, 0.5, [0.5, 0.2]),
}
SAMPLES = np.random.default_rng(0).standard_t(1.5, (1000, 2)) @ np.array(MATRIX)
DRAWS |= {"empirical": Empirical(SAMPLES), "empirical apart": Empirical(SAMPLES, joint=False)}
each_draw = pytest.mark.parametrize("name", DRAWS)
BAD = {
    "pareto index": (lambda: Pareto(0.0, [1.0]), "index = 0.0 is refused: give a finite number above 0."),
    "pareto scale": (lambda: Pareto(1.2, [0.0]), "scale = [0.0] is refused"),
    "truncated alpha": (lambda: Truncated(0.2, 1.0, [1.0]), "alpha = 0.2 is refused: give a number from 0.3 to 2."),
    "truncated bound": (lambda: Truncated(1.5, -1.0, [1.0]), "bound = -1.0 is refused: give a finite number above 0."),
    "tempered alpha": (lambda: Tempered(2.0, 1.0, [1.0]), "alpha = 2.0 is refused"),
    "tempered tempering": (
        lambda: Tempered(1.5, 0.0, [1.0]),
        "tempering = 0.0 is refused: give a finite number above 0.",
    ),
    "tempered Gaussian": (lambda: Tempered(1.999, 1.0, [1.0]), "cannot be tabulated"),
    "empirical shape": (lambda: Empirical([1.0, 2.0]), "samples must have shape (n, d) with n of at least 2"),
    "empirical finite": (lambda: Empirical([[1.0], [math.nan]]), "samples must be finite."),
    "empirical same": (lambda: Empirical([[1.0], [1.0]]), "samples are all the same"),
    "student t nu": (lambda: StudentT(-1.0, [1.0]), "nu = -1.0 is refused: give a finite number above 0."),
    "student t scale": (
        lambda: StudentT(1.2, [math.nan]),
        "scale[0] = nan is refused: give a finite number, 0 or above.",
    ),
}


@jax.jit
def drawn(noise, counter):
    return noise.increment(counter, jnp.ones((), noise.scale.dtype))


class TestEveryDraw:
    """The promises of a noise, for those of an iteration alone; those of Levy processes are in test_pieces."""

    def test_the_table_is_whole(self):
        public = {item for name in levyjax.noise.__all__ if hasattr(item := getattr(levyjax.noise, name), "chances")}
        assert public - {StepNoise} == {type(noise) for noise in DRAWS.values()}

    @each_draw
    def test_is_frozen_and_a_pytree_and_fits_its_protocol(self, name):
        noise = DRAWS[name]
        assert isinstance(noise, StepNoise)
        assert isinstance(noise, Noise)
        assert not isinstance(noise, levyjax.noise.LevyNoise)
        for field in dataclasses.fields(noise):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(noise, field.name, 1.0)
        leaves, structure = jax.tree.flatten(noise)
        again = jax.tree.unflatten(structure, leaves)
        assert jax.tree.structure(again) == structure
        assert all(a is b for a, b in zip(jax.tree.leaves(again), leaves, strict=True))
        assert type(jax.tree.map(lambda _: object(), noise)) is type(noise)

    @each_draw
    def test_jit_and_vmap_give_what_eager_gives(self, name, quick_compiler):
        noise, many = cast(DRAWS[name], jnp.float32), counters(20)
        with jax.disable_jit():
            eager = noise.increment(many, 1.0)
        assert eager.shape == (2, 20)
        np.testing.assert_allclose(drawn(noise, many), eager, rtol=2e-5)
        mapped = jax.jit(jax.vmap(lambda counter: noise.increment(counter, 1.0), out_axes=-1))(many)
        np.testing.assert_allclose(mapped, eager, rtol=2e-5)
        twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), noise)
        both = jax.jit(jax.vmap(lambda noise: noise.increment(many, 1.0)))(twice)
        np.testing.assert_allclose(both[1], eager, rtol=2e-5)

    @each_draw
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype_is_kept(self, name, dtype):
        with jax.enable_x64(True):
            assert drawn(cast(DRAWS[name], jnp.dtype(dtype)), counters(3)).dtype == dtype

    @each_draw
    def test_a_draw_is_its_counters_whatever_the_batch(self, name):
        noise, many = cast(DRAWS[name], jnp.float32), counters(60)
        whole = np.asarray(drawn(noise, many))
        np.testing.assert_array_equal(drawn(noise, Counter(*(word[13:20] for word in many))), whole[:, 13:20])
        np.testing.assert_array_equal(drawn(noise, Counter(*(word[4] for word in many))), whole[:, 4])
        grid = drawn(noise, Counter(*(word.reshape(3, 20) for word in many)))
        np.testing.assert_array_equal(grid, whole.reshape(2, 3, 20))

    @pytest.mark.parametrize("name", ["pareto matrix", slow("student t")])
    def test_a_trajectory_does_not_depend_on_the_chunk(self, name):
        problem = in_square(DRAWS[name], 0.5, SGD(0.1))
        one, other = (
            simulate(problem, Plan(Iteration(), 300, max_time=20.0, chunk_size=size), 3) for size in (300, 64)
        )
        np.testing.assert_array_equal(one.exit_step, other.exit_step)
        np.testing.assert_array_equal(one.exit_position, other.exit_position)

    @each_draw
    def test_no_process_in_continuous_time(self, name):
        problem = in_square(DRAWS[name], 0.5)
        for solver in (Euler(0.1), Tamed(0.1), JumpAdapted()):
            with pytest.raises(ValueError, match=r"no process in continuous time; take method = 'iteration'"):
                simulate(problem, Plan(solver, 4), 0)
        assert predict(problem).rate is None
        assert "iteration" in predict(problem, Euler(0.1)).reasons[0]

    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_argument_is_refused_in_one_sentence(self, name):
        make, words = BAD[name]
        with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
            make()
        assert words in str(caught.value)


def assert_tail_counts(noise, law, batches):
    """Draws beyond the quantiles at P = 1e-3, 1e-5 and 1e-7 are as many as the binomial law has between 2.9e-7 points.

    Six numbers at 5.7e-7 for each law: its false-alarm rate is 3.4e-6.
    """
    chances = np.array([1e-3, 1e-5, 1e-7])
    limits = jnp.asarray(law(chances), jnp.float32)[:, None]
    noise, size = cast(noise, jnp.float32), 1 << 20

    @jax.jit
    def count(batch):
        index = jnp.arange(size, dtype=jnp.uint32)
        values = noise.increment(Counter(0 * index, 0 * index + jnp.uint32(9), index, 0 * index + batch), 1.0)
        assert values.shape == (1, size)
        return (values > limits).sum(axis=1), (values < -limits).sum(axis=1)

    counts = np.sum([count(jnp.uint32(batch)) for batch in range(batches)], axis=0)
    spread = stats.binom(batches * size, chances / 2)
    assert np.all(spread.cdf(counts) > 2.9e-7)
    assert np.all(spread.sf(counts - 1) > 2.9e-7)


LAWS = {  # the noise, and its two-sided quantile u(P): P(|Z| > u) = P
    "pareto 0.5": (Pareto(0.5, [1.0]), lambda p: p ** (-1 / 0.5)),
    "pareto 1.2": (Pareto(1.2, [1.0]), lambda p: p ** (-1 / 1.2)),
    "student t 0.7": (StudentT(0.7, [1.0]), lambda p: stats.t(0.7).isf(p / 2)),
    "student t 3": (StudentT(3.0, [1.0]), lambda p: stats.t(3.0).isf(p / 2)),
    "student t 30": (StudentT(30.0, [1.0]), lambda p: stats.t(30.0).isf(p / 2)),
}


class TestLawsOfDraws:
    @pytest.mark.parametrize("batches", [4, slow(400)])
    @pytest.mark.parametrize("name", LAWS)
    def test_far_tails_in_float32(self, name, batches):
        """P = 1e-7 is expected 42 times in the large run."""
        assert_tail_counts(*LAWS[name], batches)

    @pytest.mark.parametrize("name", LAWS)
    def test_the_whole_law_and_chances(self, name, many):
        """Kolmogorov-Smirnov over 100,000 draws, p > 1e-4; `chances` are one side's."""
        noise, quantile = LAWS[name]
        draws = np.asarray(drawn(cast(noise, jnp.float32), counters(100_000 * many)), np.float64)[0]
        assert np.isfinite(draws).all()
        uniform = np.where(draws > 0, 1 - np.tile(noise.chances(np.abs(draws)), 1), noise.chances(np.abs(draws)))
        assert stats.kstest(uniform, "uniform").pvalue > 1e-4
        chances = np.array([0.1, 1e-3, 1e-7])
        np.testing.assert_allclose(noise.chances(quantile(chances)), chances / 2, rtol=1e-9)

    @pytest.mark.parametrize("name", ["pareto 1.2", "student t 3"])
    def test_float64_draws_the_same(self, name):
        with jax.enable_x64(True):
            one, other = (
                np.asarray(drawn(cast(LAWS[name][0], jnp.dtype(dtype)), counters(1000))) for dtype in ("f4", "f8")
            )
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def inverted(survival, chances):
    """The u with P(|Z| > u) = chances, by bisection."""
    low, high = np.full(len(chances), 1e-9), np.full(len(chances), 1e9)
    for _ in range(200):
        middle = np.sqrt(low * high)
        beyond = survival(middle) < chances
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return high


class TestLightTails:
    @pytest.mark.parametrize(("alpha", "bound"), [(1.5, 10.0), slow(0.7, 1000.0), slow(1.9, 0.5), slow(1.0, 3.0)])
    def test_truncated_is_the_stable_law_inside_its_bound(self, alpha, bound, many):
        """Two-sample Kolmogorov-Smirnov against exact rejection, 200,000 draws each, p > 1e-4."""
        noise = cast(Truncated(alpha, bound, [1.0]), jnp.float32)
        draws = np.asarray(drawn(noise, counters(200_000 * many)))[0]
        assert np.abs(draws).max() <= bound * (1 + 1e-6)
        exact = np.asarray(sample_truncated(1, alpha, bound, (200_000 * many,)))
        assert stats.ks_2samp(draws, exact).pvalue > 1e-4

    @pytest.mark.parametrize(("alpha", "tempering"), [(1.5, 1.0), slow(0.8, 0.1), slow(1.8, 0.3)])
    def test_tempered_has_its_characteristic_function(self, alpha, tempering, many):
        """At five frequencies, within 4 standard errors; and the law of exact rejection, p > 1e-4."""
        noise = cast(Tempered(alpha, tempering, [1.0]), jnp.float32)
        draws = np.asarray(drawn(noise, counters(200_000 * many)), np.float64)[0]
        for frequency in (0.1, 0.3, 1.0, 3.0, 10.0):
            law = math.exp(tempering**alpha - (frequency**2 + tempering**2) ** (alpha / 2))
            cosines = np.cos(frequency * draws)
            assert abs(cosines.mean() - law) < 4 * cosines.std() / math.sqrt(draws.size)
        exact = np.asarray(sample_relativistic(1, alpha, tempering, (200_000 * many,)))
        assert stats.ks_2samp(draws, exact).pvalue > 1e-4

    @pytest.mark.parametrize("batches", [4, slow(400)])
    @pytest.mark.parametrize(
        "noise", [Truncated(1.5, 1e6, [1.0]), Tempered(1.2, 0.5, [1.0])], ids=["truncated", "tempered"]
    )
    def test_far_tails_in_float32(self, noise, batches):
        """The quantiles by bisection of one side's chances, which have formulas of their own (`test_chances`)."""
        assert_tail_counts(noise, lambda p: inverted(lambda u: 2 * noise.chances(u), p), batches)

    def test_chances(self):
        """Truncated: from the stable survival function. Tempered: by quadrature of the characteristic function."""
        beyond = [2 * float(sf(u, 1.5)) for u in (2.0, 10.0)]
        expected = (beyond[0] - beyond[1]) / (1 - beyond[1]) / 2
        assert Truncated(1.5, 10.0, [1.0]).chances(np.array([2.0]))[0] == pytest.approx(expected, rel=1e-5)

        def transform(w):
            return math.exp(1 - (w**2 + 1) ** 0.75) / w

        middle = integrate.quad(transform, 1e-12, math.inf, weight="sin", wvar=2.0, limlst=200)[0]
        expected = 0.5 - middle / math.pi
        assert Tempered(1.5, 1.0, [1.0]).chances(np.array([2.0]))[0] == pytest.approx(expected, rel=1e-6)

    def test_a_basin_out_of_reach_of_one_draw(self):
        problem = in_square(Truncated(1.5, 10.0, [0.1, 0.1]), 0.5, SGD(0.1))
        prediction = predict(problem, Iteration())
        assert prediction.rate is None
        assert "it takes several" in prediction.reasons[0]
        wide = predict(in_square(Truncated(1.5, 1000.0, [0.1, 0.1]), 0.5, SGD(0.1)), Iteration())
        law = 4 * Truncated(1.5, 1000.0, [1.0]).chances(np.array([200.0]))[0]
        assert wide.mean_exit_steps == pytest.approx(1 / law, rel=1e-12)
        assert not wide.valid


class TestEmpirical:
    @pytest.mark.parametrize("count", [2, 3, 7, 1000, (1 << 22) + 5])
    def test_indices_are_the_floor_of_a_64_bit_fraction(self, count):
        """Against whole-number arithmetic: no remainder, and never out of range."""
        words = np.random.default_rng(count).integers(0, 1 << 32, (2, 500), np.uint32)
        words[:, :3] = [[0, 0xFFFFFFFF, 0xFFFFFFFF], [0, 0, 0xFFFFFFFF]]
        exact = [(((int(high) << 32) | int(low)) * count) >> 64 for high, low in words.T]
        assert np.asarray(uniform_index(tuple(jnp.asarray(words)), count)).tolist() == exact

    @pytest.mark.parametrize("joint", [True, False])
    def test_every_row_is_drawn_alike(self, joint, many):
        """Chi-squared over 50 rows, and over pairs of rows where coordinates are drawn apart, p > 1e-4."""
        rows = np.stack([np.arange(50.0), 100 + np.arange(50.0)], axis=1)
        noise = cast(Empirical(rows, joint=joint), jnp.float32)
        draws = np.asarray(drawn(noise, counters(100_000 * many)), np.float64) + rows.mean(axis=0)[:, None]
        found = np.rint(draws - [[0], [100]]).astype(int)
        np.testing.assert_allclose(draws - [[0], [100]], found, atol=1e-4)
        assert np.array_equal(found[0], found[1]) is joint
        for counts in (np.bincount(found[0], minlength=50), np.bincount(found[1], minlength=50)):
            assert stats.chisquare(counts).pvalue > 1e-4
        if not joint:
            assert stats.chisquare(np.bincount(found[0] * 50 + found[1], minlength=2500)).pvalue > 1e-4

    @pytest.mark.parametrize("joint", [True, False])
    def test_mean_exit_steps(self, joint):
        """In a square that one row in 250 leaves: by counting rows, within 5% (many draws together) and 4 errors."""
        noise = Empirical(SAMPLES, joint=joint)
        size = np.abs(noise.samples)
        leaving = size.max(axis=1) if joint else size.ravel()
        limit = np.sort(leaving)[-4 if joint else -8] * 0.999
        problem = in_square(noise, 1 / (0.5 * limit), SGD(0.5))
        prediction = predict(problem, Iteration())
        assert prediction.mean_exit_steps == pytest.approx(250 if joint else 125, rel=1e-12)
        steps = simulate(problem, Plan(Iteration(), 20_000), 0).exit_step.astype(float)
        assert steps.mean() < prediction.mean_exit_steps * (1 + 4 / math.sqrt(20_000))
        assert steps.mean() > prediction.mean_exit_steps * 0.75


class TestExitsByOneDraw:
    @pytest.mark.parametrize(
        "noise",
        [
            Pareto(1.5, [[0.1, 0.02], [0.03, 0.05]]),
            StudentT(1.4, [0.1, 0.1]),
            slow(Pareto(1.2, [0.1, 0.05])),
        ],
    )
    def test_mean_exit_steps(self, noise):
        """E[K] = 1/sum_j [P(Z eta epsilon g(A_j) > 1) + P(-Z eta epsilon g(-A_j) > 1)], within 2% and 4 errors."""
        box = Box([-1.0, -1.5], [1.0, 2.0])
        problem = EscapeProblem(Quadratic([1.0, 0.5]), box, noise, SGD(0.1), 0.2)
        prediction = predict(problem, Iteration())
        columns = np.diag(noise.scale) if noise.scale.ndim == 1 else noise.scale
        tail = stats.t(1.4).sf if isinstance(noise, StudentT) else lambda u: 0.5 * u ** -float(noise.index)
        total = 0.0
        for side in (1, -1):
            for column in columns.T * side:
                reach = np.max([column / box.upper, column / box.lower])
                total += tail(1 / (0.02 * reach))
        assert prediction.mean_exit_steps == pytest.approx(1 / total, rel=1e-9)
        assert prediction.rate == pytest.approx(total / 0.1, rel=1e-9)
        assert prediction.valid, prediction.reasons
        count = 3000
        steps = simulate(problem, Plan(Iteration(), count), 0).exit_step.astype(float)
        assert abs(steps.mean() * total - 1) < 0.02 + 4 / math.sqrt(count)

    @pytest.mark.slow
    def test_momentum_counts_draws_that_leave_by_the_flow(self):
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Pareto(1.2, [0.05]), Momentum(0.05, 0.8), 0.2)
        prediction = predict(problem, Iteration())
        assert "Noise enters the momentum" in " ".join(prediction.reasons)
        steps = simulate(problem, Plan(Iteration(), 4000), 0).exit_step.astype(float)
        assert abs(steps.mean() / prediction.mean_exit_steps - 1) < 0.03 + 4 / math.sqrt(4000)

    def test_finite_variance_is_not_called_valid(self):
        prediction = predict(in_square(StudentT(4.0, [0.1, 0.1]), 0.5, SGD(0.1)), Iteration())
        assert prediction.rate > 0
        assert (prediction.valid, prediction.kappa) == (False, None)
        assert "finite variance" in prediction.reasons[0]


def in_noise(problem, noise_level):
    return EscapeProblem(problem.landscape, problem.basin, problem.noise, problem.dynamics, noise_level)


RUN = {
    "landscape": {"kind": "quadratic", "hessian": [1.0, 1.0]},
    "basin": {"kind": "box", "lower": [-1.0, -1.0], "upper": [1.0, 1.0]},
    "dynamics": {"kind": "sgd", "learning_rate": 0.1},
    "noise": {"kind": "per_coordinate", "alphas": [[1.2, 1.8], [1.5, 1.5]]},
    "run": {"noise_level": [0.1, 0.05], "dt": 0.05},
}


class TestConfiguration:
    def test_lists_of_lists_sweep(self):
        config = parse(RUN)
        made = cells(config)
        assert [cell.alpha for cell in made] == [(1.2, 1.8), (1.2, 1.8), (1.5, 1.5), (1.5, 1.5)]
        assert parse(config.to_dict()) == config
        problem = build_problem(config, made[0])
        assert problem.noise.alphas.tolist() == [1.2, 1.8]
        assert problem.noise.scale.tolist() == [1.0, 1.0]
        assert build_plan(config).solver.dt == 0.05

    def test_one_list_is_one_cell(self):
        config = parse(RUN | {"noise": {"kind": "per_coordinate", "alphas": [1.2, 1.8]}})
        assert {cell.alpha for cell in cells(config)} == {(1.2, 1.8)}

    @pytest.mark.parametrize(
        ("noise", "kind"),
        [
            ({"kind": "pareto", "index": [1.2, 1.5], "scale": 0.1}, Pareto),
            ({"kind": "student_t", "nu": 3}, StudentT),
            ({"kind": "truncated", "alpha": [1.5, 1.2], "bound": 10}, Truncated),
            ({"kind": "tempered", "alpha": 1.2, "tempering": 0.5}, Tempered),
        ],
    )
    def test_draws(self, noise, kind):
        config = parse(RUN | {"noise": noise, "run": {"noise_level": 0.1, "method": "iteration"}})
        assert parse(config.to_dict()) == config
        values = next(noise[name] for name in ("index", "nu", "alpha") if name in noise)
        assert [cell.alpha for cell in cells(config)] == (values if isinstance(values, list) else [values])
        made = build_problem(config, cells(config)[0]).noise
        assert type(made) is kind
        assert made.scale.tolist() == [noise.get("scale", 1.0)] * 2
        with pytest.raises(ConfigError, match='Set method = "iteration"'):
            parse(RUN | {"noise": noise})

    @pytest.mark.parametrize(
        ("noise", "words"),
        [
            ({"kind": "pareto", "index": 0.0}, "[noise] index = 0.0 is refused"),
            ({"kind": "student_t"}, "[noise] nu is missing"),
            ({"kind": "per_coordinate", "alphas": 1.2}, "[noise] alphas = 1.2 is refused: give a list"),
            ({"kind": "per_coordinate", "alphas": []}, "[noise] alphas = [] is refused"),
            ({"kind": "per_coordinate", "alphas": [[1.2, 2.2]]}, "[noise] alphas[0][1] = 2.2 is refused"),
            ({"kind": "per_coordinate", "alphas": [[1.2, 1.8], 1.2]}, "[noise] alphas[1] = 1.2 is refused"),
            ({"kind": "per_coordinate", "alphas": [[1.2, 1.8], [1.2]]}, "[noise] alphas[1] has 1."),
            ({"kind": "per_coordinate", "alphas": [1.2, 1.8, 1.5]}, "[noise] alphas[0] has 3."),
            ({"kind": "per_coordinate"}, "[noise] alphas is missing"),
        ],
    )
    def test_refused(self, noise, words):
        with pytest.raises(ConfigError) as caught:
            parse(RUN | {"noise": noise})
        assert words in str(caught.value)


@pytest.mark.parametrize("dimension", [2, 3])
def test_sums_over_a_sphere_state_their_error(dimension):
    """Half-spaces and caps of random normals, with closed forms: no more than 3 stated errors off in 19 of 20 cases."""
    rng, within = np.random.default_rng(0), []
    for alpha in (0.7, 1.3, 1.9):
        measure = isotropic_measure(alpha, np.ones(dimension), 512)
        directions, weights = np.asarray(measure.directions), np.asarray(measure.weights)
        for normal in [*np.eye(dimension), *rng.normal(size=(40, dimension))]:
            along = normal @ directions / np.linalg.norm(normal)
            half = float(tail_constant(alpha)) / alpha
            cap = float(radial_tail_constant(alpha, dimension)) * (math.acos(0.8) / math.pi if dimension == 2 else 0.1)
            for exact, parts in ((half, np.maximum(along, 0) ** alpha), (cap, along > 0.8)):
                error = abs((weights * parts).sum() - exact)
                within.append(error <= 3 * sum_error(weights * parts, measure) + 1e-6 * exact)
    assert np.mean(within) > 0.95
