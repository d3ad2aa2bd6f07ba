"""Noises beyond the stable law with one index: their laws, and what leaves a basin under them.

Every seed is fixed. A count or mean may be 4 standard errors from its law, which happens by chance with probability
6.3e-5 a number; where it says 5, 5.7e-7.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levyjax.arrays import cast
from levyjax.basins import Ball, Box
from levyjax.config import ConfigError, cells, parse
from levyjax.config.build import build_plan, build_problem
from levyjax.dynamics import SGD, Momentum
from levyjax.escape import EscapeProblem, Plan, predict, quasi_stationary_rate, simulate, unit_rate
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent, PerCoordinate
from levyjax.random import Counter
from levyjax.solvers import Euler, Iteration, JumpAdapted
from levyjax.stable import tail_constant

SQUARE = Box([-1.0, -1.0], [1.0, 1.0])


def counters(size):
    index = jnp.arange(size, dtype=jnp.uint32)
    return Counter(0 * index + jnp.uint32(7), index, 0 * index + jnp.uint32(3), 0 * index)


def in_square(noise, noise_level, dynamics=None):
    return EscapeProblem(Quadratic([1.0, 1.0]), SQUARE, noise, dynamics or SGD(), noise_level)


class TestPerCoordinate:
    ALPHAS = (1.2, 1.8)

    def test_one_index_for_all_is_independent(self):
        many, dt = counters(1000), jnp.float32(0.1)
        for scale in ([0.5, 0.2], [[0.5, 0.1], [0.3, 0.2]]):
            noises = cast((PerCoordinate([1.5, 1.5], scale), Independent(1.5, scale)), jnp.float32)
            one, other = (np.asarray(noise.increment(many, dt)) for noise in noises)
            np.testing.assert_allclose(one, other, rtol=1e-6)
            problems = [in_square(noise, 0.05) for noise in (PerCoordinate([1.5, 1.5], scale), Independent(1.5, scale))]
            one, other = map(predict, problems)
            assert one.rate == pytest.approx(other.rate, rel=1e-12)
            assert (one.kappa, one.valid) == (pytest.approx(other.kappa, rel=1e-12), other.valid)

    @pytest.mark.parametrize("dt", [1.0, 0.01])
    def test_each_coordinate_has_its_own_law(self, dt):
        """The characteristic function of each coordinate of A L(dt), A a matrix, at three frequencies."""
        matrix = np.array([[0.5, 0.1], [0.3, 0.2]])
        noise = cast(PerCoordinate(self.ALPHAS, matrix), jnp.float32)
        draws = np.asarray(jax.jit(noise.increment)(counters(200_000), jnp.float32(dt)), np.float64)
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
        ("noise", "words"),
        [
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
