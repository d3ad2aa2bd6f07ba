"""Drifts that are no gradient: their rates by every method, and a refusal of what needs a potential.

The means of `TRUTHS` are from plain NumPy: Euler's steps of dt = 0.002 to 0.01 with Chambers, Mallows and Stuck's
variates and the exit tested after each step, 16,000 to 20,000 paths from the attractor (seeds 1 to 4). They are
compared to within 1.5%, the stated error of the methods and Euler's of those steps, and 4 standard errors of both,
which happens by chance with probability 6.3e-5 a number.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levyjax import plots
from levyjax.basins import Attraction, Ball, Box, Sublevel
from levyjax.checks import ConfigError
from levyjax.config import cells, parse
from levyjax.config.build import build_problem
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.engine import ExitCode
from levyjax.escape import EscapeProblem, Plan, exit_rate, interval_reference, predict, quasi_stationary_rate, simulate
from levyjax.landscapes import LinearDrift, Quadratic, Separable, from_drift, from_function
from levyjax.noise import Gaussian, Independent
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed

TURNING = [[-1.0, 3.0], [-3.0, -1.0]]
COLOURED = [[-1.0, 1.0], [0.0, -1.0]]  # x' = -x + y, y' = -y + noise: its eigenvectors are parallel
ON_Y = [[0.0, 0.0], [0.0, 1.0]]


def maier_stein(x, strength):
    """Of Maier and Stein 1993: a gradient at strength = 1 alone."""
    u, v = x
    return jnp.stack([u - u**3 - strength * u * v**2, -(1 + u**2) * v])


def two_wells(level, lower=0.0, alpha=1.5):
    field = from_drift(maier_stein, [0.9, 0.1], 5.0)
    return EscapeProblem(field, Box([lower, -1.0], [2.0, 1.0]), Independent(alpha, [1.0, 1.0]), SGD(), level)


def turning(level, dynamics=None, matrix=TURNING, alpha=1.5):
    box, noise = Box([-1.0, -0.5], [2.0, 1.0]), Independent(alpha, [1.0, 0.5])
    return EscapeProblem(LinearDrift(matrix), box, noise, dynamics or SGD(), level)


def coloured(level):
    wide = Box([-1.0, -np.inf], [1.0, np.inf])
    return EscapeProblem(LinearDrift(COLOURED), wide, Independent(1.5, ON_Y), SGD(), level)


class Truth(NamedTuple):
    problem: EscapeProblem
    mean: float
    error: float
    lower: Any  # the probability of leaving through x0<lower


TRUTHS = {
    "Maier and Stein, little noise": Truth(two_wells(0.05), 107.65, 0.76, 0.2706),
    "Maier and Stein, much noise": Truth(two_wells(0.2), 10.812, 0.076, 0.4119),
    "turning": Truth(turning(0.05), 114.82, 0.90, 0.2649),
    "coloured noise": Truth(coloured(0.1), 339.4, 2.7, 0.4996),
}


def assert_mean(mean, error, truth):
    assert abs(mean - truth.mean) < 0.015 * truth.mean + 4 * math.hypot(error, truth.error), (mean, error, truth[1:])


class TestRates:
    @pytest.mark.parametrize("solver", [JumpAdapted(), Euler(0.005)], ids=["jump_adapted", "euler"])
    @pytest.mark.parametrize("name", TRUTHS)
    def test_simulated(self, name, solver):
        truth, count = TRUTHS[name], 4096
        samples = simulate(truth.problem, Plan(solver, count), 0)
        assert samples.exited.all()
        assert_mean(samples.exit_time.mean(), samples.exit_time.std() / math.sqrt(count), truth)
        share = (samples.exit_face == samples.face_names.index("x0<lower")).mean()
        assert share == pytest.approx(truth.lower, abs=4 * math.sqrt(0.25 / count) + 4 * math.sqrt(0.25 / 16_000))

    @pytest.mark.parametrize("name", TRUTHS)
    def test_quasi_stationary(self, name):
        """From the quasi-stationary law, by up to 5% shorter where there is much noise."""
        truth = TRUTHS[name]
        rate = quasi_stationary_rate(truth.problem, relative_error=0.005, max_seconds=60)
        error = rate.standard_error / rate.rate**2
        allowed = 0.05 if "much" in name else 0.015
        assert abs(1 / rate.rate - truth.mean) < allowed * truth.mean + 4 * math.hypot(error, truth.error)

    @pytest.mark.parametrize("name", TRUTHS)
    def test_predicted_with_its_bias(self, name):
        """Here no limit is reached, and each prediction says so; where it is valid, it is the quasi-stationary rate."""
        problem = TRUTHS[name].problem
        assert not predict(problem).valid
        low = dataclasses.replace(problem, noise_level=np.asarray(0.002))
        prediction = predict(low)
        rate = quasi_stationary_rate(low, relative_error=0.003, max_seconds=60)
        assert prediction.valid
        assert prediction.rate == pytest.approx(rate.rate, rel=0.02, abs=4 * rate.standard_error)

    def test_jumps_to_another_well(self):
        """Of a box around both wells, the chain of wells."""
        problem = two_wells(0.01, lower=-1.5)
        prediction = predict(problem)
        assert any("another well" in reason for reason in prediction.reasons)
        samples = simulate(problem, Plan(JumpAdapted(), 4096), 0)
        error = samples.exit_time.std() / 64
        assert samples.exit_time.mean() == pytest.approx(prediction.mean_exit_time, rel=0.02, abs=4 * error)

    def test_momentum(self):
        """The same SDE by two solvers."""
        problem = turning(0.02, Momentum(0.01, 0.5))
        first, second = (simulate(problem, Plan(solver, 4096), 0).exit_time for solver in (JumpAdapted(), Euler(0.005)))
        error = math.hypot(first.std(), second.std()) / 64
        assert first.mean() == pytest.approx(second.mean(), rel=0.01, abs=4 * error)


class TestTheSameDrift:
    """Written in two ways."""

    def both(self):
        hessian = np.array([[1.0, 0.3], [0.3, 0.5]])
        box, noise = Box([-1.0, -2.0], [1.5, 1.0]), Independent(1.5, [1.0, 0.7])
        landscapes = Quadratic(hessian, [0.1, 0.2]), LinearDrift(-hessian, [0.1, 0.2])
        return [EscapeProblem(landscape, box, noise, SGD(0.1), 0.05) for landscape in landscapes]

    @pytest.mark.parametrize(
        "solver", [JumpAdapted(), Euler(0.05), Tamed(0.05), Iteration()], ids=lambda s: type(s).__name__
    )
    def test_a_symmetric_matrix_is_a_quadratic_to_the_bit(self, solver):
        one, other = (simulate(problem, Plan(solver, 64), 0) for problem in self.both())
        np.testing.assert_array_equal(one.exit_step, other.exit_step)
        np.testing.assert_array_equal(one.exit_position, other.exit_position)

    def test_and_has_its_predictions(self):
        one, other = self.both()
        assert predict(one) == predict(other)
        assert predict(one, Iteration()) == predict(other, Iteration())
        assert exit_rate(one) == exit_rate(other)
        assert quasi_stationary_rate(one, max_seconds=2).rate == quasi_stationary_rate(other, max_seconds=2).rate

    def test_a_matrix_is_a_function(self):
        """The function's flow is followed step by step, the matrix's is known."""
        problem = turning(0.01)
        field = from_drift(lambda x, m: m @ x, [0.1, 0.1], np.array(TURNING))
        one, other = predict(problem), predict(dataclasses.replace(problem, landscape=field))
        assert other.rate == pytest.approx(one.rate, rel=1e-3)
        assert other.kappa == pytest.approx(one.kappa, rel=1e-3)
        assert list(other.exit_probabilities.values()) == pytest.approx(list(one.exit_probabilities.values()), abs=1e-3)

    def test_on_the_line_beside_the_boundary_value_problem(self):
        problem = EscapeProblem(LinearDrift([[-2.0]]), Box([-1.0], [2.0]), Independent(1.5, [1.0]), SGD(), 0.3)
        quadratic = dataclasses.replace(problem, landscape=Quadratic([2.0]))
        assert interval_reference(problem).rate == interval_reference(quadratic).rate

    def test_in_a_run_file(self):
        run = {
            "landscape": {"kind": "linear_drift", "matrix": TURNING},
            "basin": {"kind": "box", "lower": [-1.0, -0.5], "upper": [2.0, 1.0]},
            "dynamics": {"kind": "sgd"},
            "noise": {"kind": "independent", "alpha": 1.5, "scale": [1.0, 0.5]},
            "run": {"noise_level": 0.05, "method": "jump_adapted"},
        }
        config = parse(run)
        assert predict(build_problem(config, cells(config)[0])) == predict(turning(0.05))
        with pytest.raises(ConfigError, match=r"\[basin\] A sublevel set needs a potential"):
            parse(run | {"basin": {"kind": "sublevel", "height": 1.0}})
        centre = {"kind": "linear_drift", "matrix": [[0.0, 1.0], [-1.0, 0.0]]}
        with pytest.raises(ConfigError, match=r"\[landscape\] matrix .* 0 \+- 1i"):
            parse(run | {"landscape": centre})


def refusals():
    drift, box, noise = LinearDrift(TURNING), Box([-1.0, -1.0], [1.0, 1.0]), Independent(1.5, [1.0, 1.0])
    return {
        "a sublevel set": (lambda: Sublevel(drift, 1.0), "A sublevel set needs a potential F"),
        "of parts": (lambda: Sublevel(Separable([drift, Quadratic([1.0])]), 1.0), "A sublevel set needs a potential F"),
        "attraction": (lambda: Attraction(drift), "Attraction needs a potential F"),
        "a picture": (lambda: plots.landscape(LinearDrift([[-1.0]]), [-1], [1]), "of heights needs a potential"),
        "a centre": (lambda: LinearDrift([[0.0, 1.0], [-1.0, 0.0]]), "eigenvalue of the Jacobian is 0 [+]- 1i"),
        "no square": (lambda: LinearDrift([[-1.0, 0.0]]), "there are 1 rows"),
        "other lengths": (lambda: LinearDrift([[-1.0]], [0.0, 0.0]), "center has 2 coordinates but matrix has 1"),
        "a saddle": (lambda: from_drift(lambda x: x - x**3, [0.0]), "does not attract: .* is 1, and all"),
        "no point of rest": (lambda: from_drift(lambda x: 1 + x**2, [0.3]), "comes to rest nowhere near"),
        "nor at a fold": (lambda: from_drift(lambda x: 1 + x**2, [0.0]), "comes to rest nowhere near"),
        "a scalar": (lambda: from_drift(lambda x: -x.sum(), [0.0, 0.0]), "must give 2 finite numbers"),
        "no number": (lambda: from_drift(lambda x: -jnp.log(x), [-1.0]), "must give 1 finite numbers"),
        "a curl as a function": (lambda: EscapeProblem(Curl(), box, noise, SGD(), 0.1), "from_drift"),
        "an unstable class": (lambda: EscapeProblem(Spiral(-1.0), box, noise, SGD(), 0.1), "does not attract"),
        "a wrong Jacobian": (lambda: EscapeProblem(Spiral(1.0, 2.0), box, noise, SGD(), 0.1), "not the derivative"),
        "steps that are too long": (lambda: simulate(turning(0.05), Plan(Euler(0.3), 4), 0), "dt = 0.3 are too long"),
        "exit_rate": (lambda: exit_rate(turning(0.05)), "carries jumps across the boundary"),
        "jump_adapted": (
            lambda: simulate(turning(0.05, Momentum(0.1)), Plan(JumpAdapted(), 4), 0), "Momentum is unstable"
        ),
    }  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spiral:
    """A drift of a user's own: minus damping x and a turn."""

    damping: float
    claimed: float = 1.0
    has_potential = False

    @property
    def minimum(self):
        return np.zeros(2)

    def gradient(self, x):
        return jnp.stack([self.damping * x[0] - x[1], x[0] + self.damping * x[1]])

    def hessian(self):
        return jnp.array([[self.damping, -1.0], [1.0, self.damping]]) * self.claimed


class Curl(Spiral):
    """A gradient that turns, and a value beside it."""

    has_potential = True

    def __init__(self):
        super().__init__(1.0)

    def value(self, x):
        return (x**2).sum(axis=0) / 2

    def in_sublevel(self, x, height):
        return self.value(x) < height

    def sublevel_gauge(self, direction, height):
        return jnp.sqrt((direction**2).sum(axis=0) / (2 * height))


class TestRefusals:
    @pytest.mark.parametrize("name", refusals())
    def test_in_one_sentence(self, name):
        asked, words = refusals()[name]
        with pytest.raises(ValueError, match=words) as caught:
            asked()
        assert str(caught.value).count(". ") <= 2

    @pytest.mark.parametrize(
        ("changes", "solver", "words"),
        [
            ({"noise": Gaussian([1.0, 1.0])}, None, "no Brownian law is known for a drift without a potential"),
            ({"dynamics": Momentum(0.1)}, None, "Momentum is unstable at this drift's attractor"),
            ({"dynamics": Adam(0.1)}, None, "Adam is unstable"),
            ({"dynamics": SGD(0.3)}, Iteration(), "Without noise the steps diverge"),
        ],
    )
    def test_of_a_prediction(self, changes, solver, words):
        prediction = predict(dataclasses.replace(turning(0.05), **changes), solver)
        assert prediction.rate is None
        assert words in prediction.reasons[0]

    def test_a_class_of_ones_own_is_a_drift(self):
        """Of the methods a drift has."""
        box, noise = Ball(1.0, [0.0, 0.0]), Independent(1.5, [1.0, 1.0])
        problem = EscapeProblem(Spiral(1.0), box, noise, SGD(), 0.01)
        linear = dataclasses.replace(problem, landscape=LinearDrift([[-1.0, 1.0], [-1.0, -1.0]]))
        assert predict(problem).rate == pytest.approx(predict(linear).rate, rel=1e-3)

    def test_a_gradient_is_not_looked_at_as_a_drift(self):
        """from_function of the same gradient has values, and refuses nothing."""
        bowl = from_function(lambda x: (x**2).sum() / 2, [0.0, 0.0])
        assert Sublevel(bowl, 1.0).height == 1.0


def test_in_the_plane_its_stream_lines_are_drawn():
    axes = plots.landscape(LinearDrift(TURNING), [-2, -2], [2, 2], basin=Box([-1.0, -0.5], [2.0, 1.0]))
    assert any(type(line).__name__ == "LineCollection" for line in axes.collections)


class TestSteps:
    """A drift whose turn grows further out: where explicit steps would spiral out of the basin the path is given up."""

    def problem(self):
        def drift(x, whirl):
            square = (x**2).sum()
            return -(1 + square) * x + whirl * square * jnp.stack([-x[1], x[0]])

        noise = Independent(1.2, [1.0, 1.0])
        return EscapeProblem(from_drift(drift, [0.0, 0.0], 40.0), Ball(3.0, [0.0, 0.0]), noise, SGD(), 0.02)

    def test_exits_by_steps_alone_are_nonfinite(self):
        """Euler's steps of 0.02 on a path that jumps to beyond r = 2: 40 r^2 dt is above 3 there, and it turns."""
        problem = self.problem()
        coarse = simulate(problem, Plan(Euler(0.02), 512), 0)
        fine = simulate(problem, Plan(JumpAdapted(), 512), 0)
        assert coarse.count(ExitCode.NONFINITE) > 50
        exits = coarse.exited.sum() / coarse.exit_time.sum()
        rate = 1 / fine.exit_time.mean()
        assert exits == pytest.approx(rate, rel=4 * math.sqrt(1 / coarse.exited.sum() + 1 / 512))

    def test_short_steps_are_no_others(self):
        problem = self.problem()
        samples = simulate(problem, Plan(Euler(1e-4), 64, max_time=3.0), 0)
        assert samples.count(ExitCode.NONFINITE) == 0
