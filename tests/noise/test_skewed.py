"""Skewed channels: the law of increments, jumps to either side, exits under them.

Every seed is fixed. A count or mean may be 4 standard errors from its law: by chance with probability 6.3e-5 a number.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from levyjax.arrays import cast
from levyjax.basins import Box
from levyjax.config import ConfigError, cells, parse
from levyjax.config.build import build_problem
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, interval_reference, predict, quasi_stationary_rate, simulate
from levyjax.landscapes import DoubleWell, Quadratic
from levyjax.noise import Independent, PerCoordinate
from levyjax.noise.skewness import centring_drift
from levyjax.random import Counter
from levyjax.solvers import Iteration, JumpAdapted
from levyjax.stable import cdf, sf, tail_constant

LAWS = [(1.5, 1.0), (1.5, -0.5), (1.0, 0.7), (0.7, 1.0)]


def drawn(noise, dt, size, trajectory=0):
    index = jnp.arange(size, dtype=jnp.uint32)
    counter = Counter(0 * index + jnp.uint32(7), index, 0 * index + jnp.uint32(trajectory), 0 * index)
    return np.asarray(jax.jit(lambda n, c: n.increment(c, dt))(cast(noise, jnp.float32), counter), np.float64)


def standardized(draws, alpha, beta, dt):
    """Increments as variates of S1 at time 1."""
    shift = 2 / math.pi * beta * dt * math.log(dt) if alpha == 1 else 0.0
    return (draws - shift) / dt ** (1 / alpha)


@pytest.mark.parametrize(("alpha", "beta"), LAWS)
class TestIncrements:
    def test_law(self, alpha, beta):
        """Kolmogorov-Smirnov at 1e-4."""
        x = standardized(drawn(Independent(alpha, [1.0], beta), 0.1, 20_000)[0], alpha, beta, 0.1)
        with jax.enable_x64(True):
            assert (
                stats.kstest(np.asarray(cdf(np.sort(x), alpha, beta=beta, parametrization="S1")), "uniform").pvalue
                > 1e-4
            )

    def test_tails(self, alpha, beta):
        """Counts of 2^25 draws beyond P = 1e-3, 1e-5 and 1e-7 on each heavy side: exact binomial bounds, 1e-4 each."""
        with jax.enable_x64(True):
            for side in (1.0, -1.0):
                if 1 + side * beta == 0:
                    continue
                for part in (1e-3, 1e-5, 1e-7):
                    u = ((1 + side * beta) * float(tail_constant(alpha)) / alpha / part) ** (1 / alpha)
                    chance = float(sf(jnp.asarray(u), alpha, beta=side * beta, parametrization="S1"))
                    count = draws_beyond(alpha, beta, side, u)
                    assert stats.binomtest(count, _DRAWS, chance).pvalue > 1e-4, (side, part, count)

    def test_sums_of_short_increments_have_the_law_of_a_long_one(self, alpha, beta):
        """Kolmogorov-Smirnov of 8 increments over 0.05 and one over 0.4, at 1e-4."""
        noise = Independent(alpha, [1.0], beta)
        parts = sum(drawn(noise, 0.05, 10_000, trajectory)[0] for trajectory in range(8))
        assert stats.ks_2samp(parts, drawn(noise, 0.4, 10_000, 9)[0]).pvalue > 1e-4


_DRAWS, _BLOCK = 1 << 25, 1 << 20


def draws_beyond(alpha, beta, side, u):
    """Draws beyond u."""
    noise = cast(Independent(alpha, [1.0], beta), jnp.float32)

    @jax.jit
    def beyond(noise, block):
        index = jnp.arange(_BLOCK, dtype=jnp.uint32)
        counter = Counter(0 * index + jnp.uint32(7), index, 0 * index + block, 0 * index)
        return (side * noise.increment(counter, 1.0)[0] > u).sum()

    return sum(int(beyond(noise, jnp.uint32(block))) for block in range(_DRAWS // _BLOCK))


def test_no_skewness_is_the_symmetric_noise():
    assert Independent(1.5, [1.0], 0.0).beta is None
    assert PerCoordinate([1.5, 1.2], [1.0, 1.0], [0.0, 0.0]).beta is None


@pytest.mark.parametrize("alpha", [1.5, 1.0, 0.7])
def test_the_centring_drift_by_quadrature(alpha):
    """Of the exponent at w = 1: psi(1) less the integral over the jumps, by quadrature in two pieces."""
    from scipy.integrate import quad

    r = 0.3
    whole, _ = centring_drift(alpha, 1.0, r)
    density = 2 * float(tail_constant(alpha))
    near = quad(lambda y: (math.sin(y) - y) * y ** (-1 - alpha), 0, r)[0]
    far = quad(lambda y: math.sin(y) * y ** (-1 - alpha), r, 1)[0]
    far += quad(lambda y: y ** (-1 - alpha), 1, np.inf, weight="sin", wvar=1.0)[0]
    psi = 0.0 if alpha == 1 else math.tan(math.pi * alpha / 2)
    assert float(whole) == pytest.approx(psi - density * (near + far), abs=1e-6)


def in_interval(alpha, beta, noise_level, lower=-1.0, upper=1.5):
    noise = Independent(alpha, [1.0], beta)
    return EscapeProblem(Quadratic([1.0]), Box([lower], [upper]), noise, SGD(), noise_level)


@pytest.mark.parametrize(("alpha", "beta"), [(1.5, 1.0), (1.5, -0.5), (1.0, 0.5), (0.7, -1.0)])
def test_predictions_agree_with_the_quasi_stationary_rate(alpha, beta):
    """Where it is called valid, within 2%."""
    problem = in_interval(alpha, beta, 0.001 if alpha <= 1 else 0.02)
    prediction, found = predict(problem), quasi_stationary_rate(problem, relative_error=0.002)
    assert prediction.valid
    assert found.rate == pytest.approx(prediction.rate, rel=0.02)
    one_sided = float(tail_constant(alpha)) / alpha * float(problem.noise_level) ** alpha
    assert prediction.rate == pytest.approx(one_sided * ((1 - beta) + (1 + beta) * 1.5**-alpha))


def test_the_mirror_image():
    one, other = predict(in_interval(1.4, 0.6, 0.02)), predict(in_interval(1.4, -0.6, 0.02, -1.5, 1.0))
    assert one.rate == pytest.approx(other.rate, rel=1e-12)
    assert list(one.exit_probabilities.values()) == pytest.approx(list(other.exit_probabilities.values())[::-1])


def own_draws(rng, alpha, beta, size):
    """Chambers, Mallows and Stuck 1976, S1 with location 0."""
    angle, wait = math.pi * (rng.random(size) - 0.5), rng.exponential(size=size)
    if alpha == 1:
        bent = math.pi / 2 + beta * angle
        return 2 / math.pi * (bent * np.tan(angle) - beta * np.log(math.pi / 2 * wait * np.cos(angle) / bent))
    skew = beta * math.tan(math.pi * alpha / 2)
    turn, size = math.atan(skew) / alpha, (1 + skew**2) ** (1 / (2 * alpha))
    first = np.sin(alpha * (angle + turn)) / np.cos(angle) ** (1 / alpha)
    return size * first * (np.cos(angle - alpha * (angle + turn)) / wait) ** ((1 - alpha) / alpha)


def own_exits(alpha, beta, noise_level, dt, count):
    """Exit times and sides of (-1, 1.5) by plain Euler steps."""
    rng, x, time, above = np.random.default_rng(0), np.zeros(count), np.zeros(count), np.zeros(count)
    live, step = np.arange(count), 0
    shift = 2 / math.pi * beta * dt * math.log(dt) if alpha == 1 else 0.0
    while live.size:
        step += 1
        x[live] += -x[live] * dt + noise_level * (dt ** (1 / alpha) * own_draws(rng, alpha, beta, live.size) + shift)
        out = (x[live] <= -1) | (x[live] >= 1.5)
        time[live[out]], above[live[out]] = step * dt, x[live[out]] >= 1.5
        live = live[~out]
    return time, above


@pytest.mark.parametrize(("alpha", "beta", "noise_level"), [(1.5, -0.5, 0.4), (1.0, 1.0, 0.2)])
def test_mean_exit_times_beside_plain_euler(alpha, beta, noise_level):
    """Jump-adapted within 4 errors and 2%, which covers what steps of 0.005 miss (0.7% at 0.0025, measured)."""
    times, above = own_exits(alpha, beta, noise_level, 0.005, 5000)
    plan = Plan(JumpAdapted(), num_trajectories=8192)
    found = simulate(in_interval(alpha, beta, noise_level), plan, key=1)
    mean, error = times.mean(), np.hypot(times.std() / 5000**0.5, np.std(found.exit_time) / 8192**0.5)
    assert abs(np.mean(found.exit_time) - mean) < 4 * error + 0.02 * mean
    up = (np.asarray(found.exit_position)[:, 0] > 0).mean()
    assert abs(up - above.mean()) < 4 * np.sqrt(0.25 / 5000 + 0.25 / 8192)


@pytest.mark.parametrize("beta", [-1.0, -0.5, 0.5, 1.0])
def test_sides_of_a_double_well(beta):
    """Out of the left well, through the saddle at 0 or through a wall: by one-sided jump measures, |z| < 4."""
    landscape = DoubleWell(1.0, 1.0)
    left = float(landscape.minimum[0])
    basin = Box([min(left, -left) - 1.0 if left < 0 else 0.0], [0.0 if left < 0 else left + 1.0])
    problem = EscapeProblem(landscape, basin, Independent(1.5, [1.0], beta), SGD(), 0.003)
    found = simulate(problem, Plan(JumpAdapted(), num_trajectories=2000), key=2)
    up = (np.asarray(found.exit_position)[:, 0] > left).mean()
    expected = (1 + beta) * (float(basin.upper[0]) - left) ** -1.5
    expected /= expected + (1 - beta) * (left - float(basin.lower[0])) ** -1.5
    assert abs(up - expected) < 4 * np.sqrt(max(expected * (1 - expected), 1e-3) / 2000) + 0.005


def test_an_iteration_moves_against_the_noise_of_its_gradient():
    """A jump of the gradient's noise up takes the point down: beta and -beta change places beside the SDE."""
    problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0], 1.0), SGD(0.1), 0.05)
    assert predict(problem).exit_probabilities["x0>upper"] == 1.0
    assert predict(problem, Iteration()).exit_probabilities["x0<lower"] == 1.0
    found = simulate(problem, Plan(Iteration(), num_trajectories=256), key=0)
    assert (np.asarray(found.exit_position)[:, 0] < 0).all()


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match="symmetric noise"):
        interval_reference(in_interval(1.5, 0.5, 0.3))
    problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.0, [1.0], 0.5), SGD(0.1), 0.05)
    assert "alpha = 1" in predict(problem, Iteration()).reasons[0]
    with pytest.raises(ValueError, match="beta has 2 entries but scale has 1 columns"):
        Independent(1.5, [1.0], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"beta\[0\] = 1.5 is refused|beta = 1.5 is refused"):
        Independent(1.5, [1.0], 1.5)


def test_in_a_run_file():
    table = {
        "landscape": {"kind": "quadratic", "hessian": [1.0]},
        "basin": {"kind": "box", "lower": [-1.0], "upper": [1.5]},
        "dynamics": {"kind": "sgd"},
        "noise": {"kind": "independent", "alpha": 1.5, "beta": -0.5},
        "run": {"noise_level": 0.02, "dt": 0.1},
    }
    config = parse(table)
    assert predict(build_problem(config, cells(config)[0])).rate == pytest.approx(
        predict(in_interval(1.5, -0.5, 0.02)).rate
    )
    with pytest.raises(ConfigError, match=r"\[noise\] beta"):
        parse({**table, "noise": {**table["noise"], "beta": 2.0}})


def test_several_wells_under_skewed_noise_are_never_called_valid():
    """At this noise level exits took 2.4% +- 0.6% longer than the chain says, and 0.4% without skewness."""
    parts = DoubleWell(1.0, 0.25), Box([-3.0], [3.0])
    found = predict(EscapeProblem(*parts, Independent(1.5, [1.0], [0.8]), SGD(), 0.1))
    assert found.rate is not None
    assert not found.valid
    assert "other wells inside" in found.reasons[0]
    assert predict(EscapeProblem(*parts, Independent(1.5, [1.0]), SGD(), 0.1)).valid
