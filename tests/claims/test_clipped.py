"""The exact chain of SGD under Pareto noise: its law by integration, its means by simulation, and the verdicts."""

import math

import jax
import numpy as np
import pytest
from scipy import integrate

from levyjax.basins import Box
from levyjax.claims import clipped
from levyjax.claims.figures.wells import histogram_density, position_density
from levyjax.dynamics import SGD, ClippedSGD
from levyjax.escape import EscapeProblem, Plan, bias_constant, line_chain, predict, simulate
from levyjax.escape.line_chain import LineStep, pareto_law, stable_law
from levyjax.landscapes import Quadratic, WangOhRhee
from levyjax.noise import Pareto
from levyjax.solvers import Iteration
from levyjax.stable import sf


@pytest.mark.parametrize("u", [-7.0, -1.0, -0.3, 0.0, 0.4, 1.0, 3.0])
def test_survival_and_excess_are_integrals_of_the_density(u):
    for power, made in enumerate(pareto_law(2.5)):

        def weighted(z, power=power):
            return (z - u) ** power * 1.25 * abs(z) ** -3.5

        total = integrate.quad(weighted, max(u, 1.0), np.inf)[0]
        total += integrate.quad(weighted, u, -1.0)[0] if u < -1 else 0.0
        assert float(made(np.array(u))) == pytest.approx(total, rel=1e-7)


@pytest.mark.parametrize("alpha", [1.3, 2.0])
@pytest.mark.slow
def test_stable_law_is_that_of_the_density(alpha):
    """The survival by the library, the excess by integrating it; E |Z| = 2 Gamma(1 - 1/alpha)/pi."""
    law, u = stable_law(alpha), np.array([-3.0, 0.0, 0.5, 4.0, 300.0])
    with jax.enable_x64(True):
        np.testing.assert_allclose(law.survival(u), sf(u, alpha), rtol=1e-7, atol=1e-300)
        between = integrate.quad(lambda y: float(sf(y, alpha)), 0.5, 4.0)[0]
    made = law.excess(u)
    assert made[1] == pytest.approx(math.gamma(1 - 1 / alpha) / math.pi, rel=1e-7)
    assert made[2] - made[3] == pytest.approx(between, rel=1e-7)
    assert made[0] == pytest.approx(3 + law.excess(np.array(3.0)))


class TestChain:
    def test_clipped_steps_have_their_atoms(self):
        """F = x^2/2 from 0: a step is noise alone, of at most the bound."""
        step = LineStep(Quadratic([1.0]), pareto_law(1.5), 1.0, 0.1, 0.5)
        y = np.array([-0.6, -0.5, -0.2, 0.0, 0.2, 0.4999, 0.5])
        chance = 0.5 * (0.1 / np.array([0.2, 0.2, 0.4999])) ** 1.5
        expected = [1.0, 1 - 0.5 * 0.2**1.5, 1 - chance[0], 0.5, chance[1], chance[2], 0.0]
        np.testing.assert_allclose(step.above(np.zeros(1), y)[0], expected, rtol=1e-12)
        assert step.excess(np.zeros(1), np.array([-0.7]))[0, 0] == pytest.approx(0.7)

    @pytest.mark.parametrize("bound", [math.inf, 0.3])
    def test_rows_are_means_of_functions_that_are_linear_between_nodes(self, bound):
        """Sums to the chance of staying, and, kept inside by walls that are far away, to the mean point."""
        step = LineStep(Quadratic([1.0]), pareto_law(2.5), 0.2, 0.1, bound)
        nodes = np.linspace(-1, 1, 41)
        stays = step.above(nodes, nodes[:1]) - step.above(nodes, nodes[-1:])
        np.testing.assert_allclose(step.matrix(nodes).sum(axis=1), stays[:, 0], atol=1e-12)
        near = np.abs(nodes) < 0.6
        if bound < 1:
            np.testing.assert_allclose((step.matrix(nodes) @ nodes)[near], 0.9 * nodes[near], atol=2e-3)

    def test_converges_with_the_square_of_the_spacing(self):
        step = LineStep(WangOhRhee(), pareto_law(1.2), 0.1, 0.05, 0.5)
        means = [line_chain.mean_steps(step, -1.3, 0.2, -0.7, count) for count in (100, 200, 400)]
        assert abs(means[2] / means[1] - 1) < 0.02
        assert abs(means[2] - means[1]) < 0.5 * abs(means[1] - means[0])

    @pytest.mark.parametrize("bound", [math.inf, 0.5, 0.28])
    def test_means_are_those_of_simulations(self, bound):
        """|z| < 4 fails by chance once in 16,000 for each of the three."""
        dynamics = SGD(0.1) if math.isinf(bound) else ClippedSGD(0.1, bound)
        problem = EscapeProblem(WangOhRhee(), Box([-1.3], [0.2]), Pareto(1.2, [0.1]), dynamics, 1.0, start=[-0.7])
        samples = simulate(problem, Plan(Iteration(project=[[-1.6], [1.6]]), 600), 3)
        steps = samples.exit_step.astype(float)
        exact = line_chain.mean_steps(LineStep(WangOhRhee(), pareto_law(1.2), 0.1, 0.1, bound), -1.3, 0.2, -0.7, 600)
        assert abs(steps.mean() - exact) < 4 * steps.std() / math.sqrt(600)

    def test_tends_to_the_law_of_one_draw(self):
        """1/P(a draw leaves), less the part that the first-order law of the bias states."""
        for rate in (0.02, 0.005):
            problem = EscapeProblem(Quadratic([2.0]), Box([-1.0], [1.0]), Pareto(1.2, [0.1]), SGD(rate), 1.0)
            law = predict(problem, Iteration())
            exact = line_chain.mean_steps(LineStep(Quadratic([2.0]), pareto_law(1.2), 0.1, rate), -1.0, 1.0, 0.0, 500)
            assert 1 - exact / law.mean_exit_steps == pytest.approx(bias_constant(1.2) / law.kappa, rel=0.2)

    def test_stationary_law_is_kept_by_the_chain(self):
        chances = line_chain.kept_inside(
            LineStep(Quadratic([1.0]), pareto_law(1.2), 0.1, 0.2, 0.5), np.linspace(-1, 1, 201)
        )
        np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-12)
        law = line_chain.stationary_law(chances)
        np.testing.assert_allclose(law @ chances, law, atol=1e-14)
        np.testing.assert_allclose(law, law[::-1], atol=1e-12)
        start = np.eye(201)[0]
        np.testing.assert_allclose(line_chain.laws(chances, start, 100, 3)[-1], law, atol=1e-9)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("exact", "simulated", "p", "verdict"),
        [
            ([1.22, 1.4, 1.62], [(1.2, 1.24), (1.38, 1.42), (1.55, 1.7)], 0.5, "confirmed"),
            ([1.22, 1.4, 1.62], [(1.2, 1.24), (1.38, 1.42), (1.55, 1.7)], 1e-4, "undecided"),
            ([1.22, 1.4, 1.62], [(1.2, 1.24), (1.38, 1.42), (1.7, 1.8)], 0.5, "undecided"),
            ([1.22, 1.4, 1.72], [(1.2, 1.24), (1.38, 1.42), (1.7, 1.75)], 0.5, "refuted"),
        ],
    )
    def test_slopes(self, exact, simulated, p, verdict):
        assert clipped.judge_slopes(exact, simulated, [1.2, 1.4, 1.6], p) == verdict

    @pytest.mark.parametrize(
        ("plain", "narrow", "verdict"),
        [
            (0.2, (0.001, 0.009), "confirmed"),
            (0.2, (0.011, 0.02), "holds_within_limits"),
            (0.2, (0.12, 0.2), "refuted"),
            (0.2, (0.005, 0.02), "undecided"),
        ],
    )
    def test_occupancy(self, plain, narrow, verdict):
        assert clipped.judge_occupancy(plain, narrow) == verdict


class TestDensity:
    def test_counts_those_outside_in_the_whole(self):
        np.testing.assert_allclose(histogram_density([0.1, 0.2, 0.7, 5.0], [0.0, 0.5, 1.0]), [1.0, 0.5])

    def test_draws(self):
        axes = position_density({"a": [0.1, 0.2], "b": [0.9]}, [0.0, 0.5, 1.0], [0.5])
        axes.figure.canvas.draw()
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]

    @pytest.mark.parametrize("edges", [[0.0], [1.0, 0.0]])
    def test_bad_edges(self, edges):
        with pytest.raises(ValueError, match="edges must be two or more numbers that rise"):
            histogram_density([0.1], edges)
