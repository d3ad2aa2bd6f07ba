"""Exits across saddles: simulated from basins of attraction in the plane, and what saddles do to the limit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from wells import SADDLES, bent, row

from levyjax.basins import Attraction, Box
from levyjax.claims.base import known
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, predict, simulate, unit_rate
from levyjax.escape.saddles import saddle_bias
from levyjax.landscapes import DoubleWell, Separable
from levyjax.noise import Independent
from levyjax.solvers import Tamed
from levyjax.stable import tail_constant


def grid():
    return Separable([row(1), DoubleWell(1.0, 0.5)])


PLANE = {"grid": grid, "bent": lambda: bent([1.0, 2.0, 0.3])}
OBLIQUE = Independent(1.5, [[1.0, 0.4], [-0.3, 0.8]])
PART = 0.5  # of the mean exit time: how long the runs last


def rare(landscape, kappa):
    """Exits from the basin of attraction at a noise level at which they are this rare, and their rate."""
    problem = EscapeProblem(landscape, Attraction(landscape), OBLIQUE, SGD(), 1.0)
    with jax.enable_x64(True):
        slowest = np.linalg.eigvalsh(landscape.hessian())[0]
        crowded = 2 * float(tail_constant(1.5)) / 1.5 * slowest / float(unit_rate(problem))
    problem = dataclasses.replace(problem, noise_level=(crowded / kappa) ** (1 / 1.5))
    return problem, predict(problem)


def z_score(problem, rate, lanes, key):
    """Of the number of exits within PART of the mean exit time: the small-noise limit's law is binomial.

    By tamed steps: far up the slopes explicit ones overshoot the basin.
    """
    fastest = np.linalg.eigvalsh(problem.landscape.hessian())[-1]
    plan = Plan(Tamed(0.1 / fastest), lanes, max_time=PART / rate, chunk_size=lanes)
    exited = simulate(problem, plan, key).exited.sum()
    chance = 1 - np.exp(-PART)
    return (exited - lanes * chance) / np.sqrt(lanes * chance * (1 - chance))


class TestExitsInThePlane:
    """Simulated in the basin, against the rate of its rays."""

    @pytest.mark.slow
    def test_wells_in_a_grid(self):
        """A false alarm once in 2,000 runs: at this noise level the limit's own bias is 0.7 of a standard error."""
        problem, prediction = rare(grid(), 200)
        assert abs(z_score(problem, known(prediction.rate), 200, 0)) < 4

    @pytest.mark.slow
    @pytest.mark.parametrize("name", PLANE)
    def test_long_runs(self, name):
        """A false alarm once in 5,000 runs: the limit's own bias is 0.4 of a standard error."""
        problem, prediction = rare(PLANE[name](), 2400)
        assert prediction.valid
        assert abs(z_score(problem, known(prediction.rate), 1000, 1)) < 4

    def test_the_rate_in_a_grid_is_that_of_its_box(self):
        problem, prediction = rare(grid(), 100)
        box = dataclasses.replace(problem, basin=Box([SADDLES[0], 0.0], [SADDLES[1], np.inf]))
        assert prediction.rate == pytest.approx(predict(box).rate, rel=1e-6)


class TestSaddles:
    def test_descents_from_the_boundary_come_to_the_saddle(self):
        with jax.enable_x64(True):
            basin = Attraction(bent([1.0, 2.0, 0.3]))
            rays = jnp.asarray([[-1.0, -1.0, -1.0], [-0.7, 0.1, 0.6]])
            origin = jnp.asarray(basin.landscape.minimum)
            saddle = np.asarray(basin.saddle(origin[:, None] + rays / basin.gauge(origin, rays)))
        np.testing.assert_allclose(saddle, np.repeat([[0.0], [-0.1]], 3, axis=1), atol=1e-5)

    def test_exits_come_sooner_by_the_bias_of_a_saddle(self):
        """Of 12%, known to 4% of the rate: five standard errors of the mean, and the formula's own error."""
        landscape = DoubleWell(1.0, 0.25)
        problem = EscapeProblem(landscape, Box([0.0], [np.inf]), Independent(1.5, [1.0]), SGD(), 0.02 ** (1 / 1.5))
        prediction = predict(problem)
        assert prediction.kappa == pytest.approx(100)
        assert not prediction.valid
        assert "12% sooner" in prediction.reasons[0]
        times = simulate(problem, Plan(Tamed(0.05), 20_000), 5).exit_time
        assert 1 / (times.mean() * known(prediction.rate)) == pytest.approx(1 + saddle_bias(1.5, 50), rel=0.04)

    def test_the_limit_holds_at_a_saddle_in_the_end(self):
        problem, prediction = rare(grid(), 2400)
        assert prediction.valid
        problem = dataclasses.replace(problem, basin=Box([SADDLES[0], 0.0], [SADDLES[1], np.inf]))
        assert predict(problem).valid

    @pytest.mark.parametrize("alpha", [0.5, 1.0, 1.0001, 1.5, 1.9])
    def test_the_bias_is_the_integral_it_says(self, alpha):
        kappa, constant = 30.0, 2 * float(tail_constant(alpha)) / alpha
        delta = (alpha * kappa) ** (-1 / alpha)
        expected = alpha * delta * quad(lambda z: min(1.0, constant * z**-alpha), 0, 1 / delta, limit=500)[0]
        assert saddle_bias(alpha, kappa) == pytest.approx(expected, rel=1e-6)
