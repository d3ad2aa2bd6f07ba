"""A scale of any shape, d coordinates by m channels: the same law written another way gives the same numbers.

Every seed is fixed. A mean may be 4 standard errors from what it is compared with: by chance with probability 6.3e-5.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from levyjax.arrays import cast
from levyjax.basins import Ball, Box
from levyjax.config import ConfigError, cells, parse
from levyjax.config.build import build_problem
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.escape import EscapeProblem, Plan, interval_reference, predict, quasi_stationary_rate, simulate
from levyjax.landscapes import Flat, Quadratic
from levyjax.noise import Gaussian, Independent, PerCoordinate, Rotational, StudentT
from levyjax.random import Counter
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed

BOX = Box([-1.0, -1.5], [1.2, 1.0])
ALPHA = 1.5
TALL, PADDED = np.array([[1.0], [0.4]]), np.array([[1.0, 0.0], [0.4, 0.0]])
WIDE = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, -0.7]])  # two channels that point the same way are one
MERGED = np.array([1.0, (0.5**ALPHA + 0.7**ALPHA) ** (1 / ALPHA)])
MIXED = np.array([[1.0, 0.3, -0.4], [0.2, 0.6, 0.5]])
ROOT = np.linalg.cholesky(MIXED @ MIXED.T)

SLOW = ("tall_rotational", "tall_per_coordinate", "wide_per_coordinate")
PAIRS = {
    "tall": (Independent(ALPHA, TALL), Independent(ALPHA, PADDED)),
    "tall_rotational": (Rotational(ALPHA, TALL), Independent(ALPHA, PADDED)),
    "tall_per_coordinate": (PerCoordinate([1.4], TALL), PerCoordinate([1.4, 1.4], PADDED)),
    "wide": (Independent(ALPHA, WIDE), Independent(ALPHA, MERGED)),
    "wide_per_coordinate": (PerCoordinate([1.3, ALPHA, ALPHA], WIDE), PerCoordinate([1.3, ALPHA], MERGED)),
    "wide_rotational": (Rotational(ALPHA, MIXED), Rotational(ALPHA, ROOT)),
}


def problem(noise, noise_level=0.05, dynamics=None, hessian=(1.0, 0.5)):
    return EscapeProblem(Quadratic(np.asarray(hessian)), BOX, noise, dynamics or SGD(), noise_level)


def counters(size, trajectory=0):
    index = jnp.arange(size, dtype=jnp.uint32)
    return Counter(0 * index + jnp.uint32(7), index, 0 * index + jnp.uint32(3 + trajectory), 0 * index)


def increments(noise, dt, size, trajectory=0):
    return np.asarray(cast(noise, jnp.float32).increment(counters(size, trajectory), dt))


def assert_close(one, other, errors):
    """Within 4 standard errors."""
    assert abs(one - other) < 4 * np.hypot(*errors), (one, other, errors)


RUN = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PAIRS]


class TestOneLawWrittenTwice:
    @pytest.mark.parametrize("name", PAIRS)
    def test_prediction(self, name):
        one, other = (predict(problem(noise)) for noise in PAIRS[name])
        tolerance = 1e-3 if "wide_rotational" in name else 1e-9
        assert one.rate == pytest.approx(other.rate, rel=tolerance)
        assert one.kappa == pytest.approx(other.kappa, rel=tolerance)
        assert one.valid == other.valid
        assert one.exit_probabilities == pytest.approx(other.exit_probabilities, abs=tolerance)

    @pytest.mark.parametrize("name", PAIRS)
    def test_prediction_of_momentum(self, name):
        dynamics = Momentum(0.2, 0.5)
        one, other = (predict(problem(noise, 0.02, dynamics)) for noise in PAIRS[name])
        assert one.rate == pytest.approx(other.rate, rel=5e-3 if "wide_rotational" in name else 1e-6)

    @pytest.mark.parametrize("name", RUN)
    @pytest.mark.parametrize("solver", [JumpAdapted(), Euler(0.05)], ids=["jump_adapted", "euler"])
    def test_exit_times(self, name, solver):
        plan = Plan(solver, num_trajectories=2048)
        one, other = (
            np.asarray(simulate(problem(noise, 0.3), plan, key=key).exit_time, float)
            for key, noise in enumerate(PAIRS[name])
        )
        assert_close(np.log(one).mean(), np.log(other).mean(), [np.log(t).std() / len(t) ** 0.5 for t in (one, other)])

    @pytest.mark.parametrize("name", RUN)
    def test_quasi_stationary_rate(self, name):
        one, other = (
            quasi_stationary_rate(problem(noise, 0.2), key=key, relative_error=0.01)
            for key, noise in enumerate(PAIRS[name])
        )
        assert_close(one.rate, other.rate, (one.standard_error, other.standard_error))


def test_increments_are_the_scale_times_those_of_the_channels():
    draws, wide = (increments(Independent(ALPHA, scale), 0.1, 1000) for scale in (np.ones(3), MIXED))
    assert (np.abs(wide - MIXED @ draws) < 1e-5 * np.abs(draws).sum(axis=0)).all()


def test_a_silent_column_changes_no_bit():
    tall, padded = (increments(Independent(ALPHA, scale), 0.1, 1000) for scale in (TALL, PADDED))
    np.testing.assert_array_equal(tall, padded)


def test_rotational_increments_have_the_law_of_the_square_root():
    """Kolmogorov-Smirnov on four projections at 1e-4 each: a false alarm of at most 4e-4."""
    wide, square = (increments(Rotational(ALPHA, scale), 1.0, 20_000, i) for i, scale in enumerate((MIXED, ROOT)))
    for direction in ([1, 0], [0, 1], [0.6, 0.8], [0.6, -0.8]):
        assert stats.ks_2samp(np.asarray(direction) @ wide, np.asarray(direction) @ square).pvalue > 1e-4


def test_covariance_of_gaussian_noise():
    np.testing.assert_allclose(Gaussian(MIXED).covariance_rate(), 2 * MIXED @ MIXED.T, rtol=1e-6)
    one, other = (increments(Gaussian(scale), 1.0, 40_000) for scale in (MIXED, ROOT))
    np.testing.assert_allclose(np.cov(one), np.cov(other), atol=0.1)


@pytest.mark.parametrize("noise", [Independent(ALPHA, [[1.0, 0.5]]), PerCoordinate([ALPHA, ALPHA], [[1.0, 0.5]])])
def test_two_channels_on_a_line(noise):
    """Sums of independent stable variates are stable, of scale (sum |a|^alpha)^(1/alpha)."""
    one = Independent(ALPHA, [(1 + 0.5**ALPHA) ** (1 / ALPHA)])
    line = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.5]), noise, SGD(), 0.3)
    same = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.5]), one, SGD(), 0.3)
    for of in (lambda p: predict(p).rate, lambda p: interval_reference(p).rate):
        assert of(line) == pytest.approx(of(same), rel=1e-9)
    flat = [EscapeProblem(Flat([0.0]), Ball(1.0, [0.0]), each, SGD(), 0.3) for each in (noise, one)]
    assert predict(flat[0]).mean_exit_time == pytest.approx(predict(flat[1]).mean_exit_time, rel=1e-9)


def test_two_rotational_channels_on_a_line():
    """Scale (sum a^2)^(1/2)."""
    line, same = (
        interval_reference(EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.5]), noise, SGD(), 0.3)).rate
        for noise in (Rotational(ALPHA, [[1.0, 0.5]]), Independent(ALPHA, [1.25**0.5]))
    )
    assert line == pytest.approx(same, rel=1e-5)  # the mean over the circle of directions is a sum


def test_two_tail_indices_on_a_line_are_no_one_process():
    line = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.5]), PerCoordinate([1.3, 1.5], [[1.0, 0.5]]), SGD(), 0.3)
    with pytest.raises(ValueError, match="several tail indices"):
        interval_reference(line)
    assert predict(line).rate > 0


@pytest.mark.parametrize("variant", ["frozen", "gaussian"])
def test_preconditioners_see_all_channels(variant):
    """Adam's v averages diag(A A'), whatever the number of columns."""
    dynamics = Adam(0.1, 0.9, 0.99, gradient_noise=variant, variant="corrected")
    one, other = (predict(problem(noise, 0.02, dynamics)) for noise in PAIRS["tall"])
    assert one.rate == pytest.approx(other.rate, rel=1e-6 if variant == "frozen" else 0.05)


def test_tamed_steps_on_a_landscape_that_is_not_quadratic():
    one, other = (
        simulate(
            EscapeProblem(Quadratic([[1.0, 0.3], [0.3, 0.5]]), BOX, noise, SGD(), 0.3),
            Plan(Tamed(0.1), num_trajectories=256),
            key=0,
        ).exit_time
        for noise in PAIRS["tall"]
    )
    np.testing.assert_array_equal(one, other)


def test_draws_of_an_iteration():
    one, other = (predict(problem(StudentT(1.5, scale), 0.2, SGD(0.1)), Iteration()) for scale in (TALL, PADDED))
    assert one.rate == pytest.approx(other.rate, rel=1e-9)


def table(**noise):
    return {
        "landscape": {"kind": "quadratic", "hessian": [1.0, 0.5]},
        "basin": {"kind": "box", "lower": [-1.0, -1.5], "upper": [1.2, 1.0]},
        "dynamics": {"kind": "sgd"},
        "noise": {"kind": "independent", "alpha": ALPHA, **noise},
        "run": {"noise_level": 0.05, "dt": 0.1},
    }


def test_in_a_run_file():
    config = parse(table(scale=WIDE.tolist()))
    found = predict(build_problem(config, cells(config)[0]))
    assert found.rate == pytest.approx(predict(problem(PAIRS["wide"][0])).rate)
    config = parse({**table(), "noise": {"kind": "per_coordinate", "alphas": [1.4], "scale": TALL.tolist()}})
    assert build_problem(config, cells(config)[0]).noise.scale.shape == (2, 1)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"scale": [[1.0, 2.0], [1.0]]}, r"\[noise\] scale: row 1 has 1 entries, but row 0 has 2"),
        ({"scale": [[1.0, 2.0]]}, r"\[noise\] scale has 1"),
        ({"scale": [[], []]}, r"\[noise\] scale: row 0 has 0 entries"),
        ({"scale": [[1.0], 2.0]}, r"\[noise\] scale: row 1 is no list"),
        ({"scale": [[0.0], [0.0]]}, "not 0 in all its entries"),
    ],
)
def test_refusals(noise, message):
    with pytest.raises(ConfigError, match=message):
        parse(table(**noise))


def test_alphas_and_columns_must_agree():
    with pytest.raises(ValueError, match="alphas has 2 entries but scale has 1 columns"):
        PerCoordinate([1.2, 1.8], TALL)
