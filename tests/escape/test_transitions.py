"""Visits to several wells against the law of the chain that jumps make between them.

A |z| < 4 test fails by chance with probability 6.3e-5; 18 numbers are tested so in the default run, 15 in the slow one.
"""

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate

from levyjax.basins import Box
from levyjax.dynamics import SGD, ClippedSGD
from levyjax.escape import (
    EscapeProblem,
    ExitCode,
    draw_transition_rates,
    expected_occupancy,
    mean_passage_times,
    predict,
    simulate_visits,
    stationary_occupancy,
    transition_rates,
)
from levyjax.landscapes import MultiWell, from_function
from levyjax.noise import Independent, Pareto, StudentT, Truncated
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed
from levyjax.stable import tail_constant

MINIMA, SADDLES = [-1.0, 1.0, 2.5], [0.2, 2.0]


def row(minima=MINIMA, saddles=SADDLES, curvature=1.0, barrier=1.0):
    wells = len(minima)
    same = np.ones(wells - 1)
    return MultiWell(minima, saddles, barrier * same, np.full(wells, curvature), 2 * same)


class TestRates:
    @pytest.mark.parametrize("longest_jump", [math.inf, 2.0])
    def test_are_the_levy_measure_of_the_wells(self, longest_jump):
        alpha, level, scale = 1.3, 0.2, 0.7
        rates = transition_rates(MINIMA, SADDLES, alpha, level, scale, longest_jump)
        edges = [-20_000.0, *SADDLES, 20_000.0]
        density = float(tail_constant(alpha)) * (level * scale) ** alpha
        for start, origin in enumerate(MINIMA):
            for end in range(3):
                if end != start:
                    low, high = sorted(min(abs(edge - origin), longest_jump) for edge in edges[end : end + 2])
                    expected = density * integrate.quad(lambda y: y ** (-1 - alpha), low, high, limit=500)[0]
                    assert rates[start, end] == pytest.approx(expected, rel=1e-4, abs=1e-15)
        np.testing.assert_allclose(rates.sum(axis=1), 0, atol=1e-15)

    def test_leave_a_well_as_predicted(self):
        for well, ends in enumerate(zip([-np.inf, *SADDLES], [*SADDLES, np.inf], strict=True)):
            landscape = MultiWell(MINIMA, SADDLES, [1.0, 1.0], [1.0] * 3, [2.0, 2.0], well=well)
            problem = EscapeProblem(landscape, Box(ends[:1], ends[1:]), Independent(1.4, [0.6]), SGD(), 0.02)
            rates = transition_rates(MINIMA, SADDLES, 1.4, 0.02, 0.6)
            assert -rates[well, well] == pytest.approx(predict(problem).rate, rel=1e-9)

    def test_odds_of_two_wells_are_the_ratio_of_their_widths_to_the_power_alpha(self):
        for alpha in (0.7, 1.2, 1.9):
            left, right = stationary_occupancy(transition_rates([-1.0, 3.0], [0.0], alpha, 0.1))
            assert right / left == pytest.approx(3**alpha, rel=1e-9)

    def test_occupancy_of_a_finite_run(self):
        """Two states: pi_j + (delta - pi_j) (1 - exp(-q t))/(q t), q the sum of the rates."""
        rates = transition_rates([-1.0, 2.0], [0.0], 1.5, 0.1)
        law, q = stationary_occupancy(rates), rates[0, 1] + rates[1, 0]
        for duration in (0.1 / q, 3 / q, 1000 / q):
            memory = (1 - math.exp(-q * duration)) / (q * duration)
            expected = law + (np.array([1, 0]) - law) * memory
            np.testing.assert_allclose(expected_occupancy(rates, 0, duration), expected, rtol=1e-9)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (([0.0, 1.0], [2.0], 1.5, 0.1), "minima and saddles must alternate and rise"),
            (([0.0], [], 1.5, 0.1), "minima and saddles must alternate and rise"),
            (([0.0, 1.0], [0.5], 2.0, 0.1), "alpha must be in (0, 2), got 2.0"),
            (([0.0, 1.0], [0.5], 1.5, 0.0), "noise_level must be positive, got 0.0."),
            (([0.0, 1.0], [0.5], 1.5, math.inf), "noise_level must be finite, got inf."),
            (([0.0, 1.0], [0.5], 1.5, math.nan), "noise_level must be positive, got nan."),
            (([-math.inf, 1.0], [0.5], 1.5, 0.1), "minima and saddles must be finite"),
            (([0.0, math.nan], [0.5], 1.5, 0.1), "minima and saddles must alternate and rise"),
            (([0.0, 1.0], [0.5], 1.5, 0.1, 1.0, -1.0), "longest_jump must be positive, got -1.0."),
        ],
    )
    def test_bad_arguments(self, arguments, words):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
            transition_rates(*arguments)
        assert words in str(caught.value)

    def test_a_chain_in_two_parts_has_no_law(self):
        with pytest.raises(ValueError, match="has 2 stationary laws"):
            stationary_occupancy(np.array([[-1.0, 1, 0, 0], [1, -1, 0, 0], [0, 0, -1, 1], [0, 0, 1, -1]]))


def random_generator(rng, joined=True):
    """2 to 6 states with rates over 20 decades, a third of them 0 unless all have to be joined in a ring."""
    size = int(rng.integers(2, 7))
    rates = 10.0 ** rng.uniform(-10, 10, (size, size)) * (rng.random((size, size)) < 0.65)
    if joined:
        rates[np.arange(size), np.arange(1, size + 1) % size] = 10.0 ** rng.uniform(-10, 10, size)
    np.fill_diagonal(rates, 0)
    return rates - np.diag(rates.sum(axis=1))


def exactly(rates, number):
    """The generator in exact or many-digit numbers, its diagonal the exact sum of its rates."""
    exact = np.array([[number(float(rate)) for rate in row] for row in rates], dtype=object)
    np.fill_diagonal(exact, number(0))
    np.fill_diagonal(exact, -exact.sum(axis=1))
    return exact


def solved(matrix, right):
    """Of exact numbers, by Gauss-Jordan elimination."""
    rows = np.column_stack([matrix, right])
    for place in range(len(rows)):
        pivot = next(row for row in range(place, len(rows)) if rows[row, place] != 0)
        rows[[place, pivot]] = rows[[pivot, place]]
        rows[place] = rows[place] / rows[place, place]
        for row in set(range(len(rows))) - {place}:
            rows[row] = rows[row] - rows[row, place] * rows[place]
    return rows[:, -1]


def mean_powers(rates, duration):
    """(1/T) integral_0^T exp(Q s) ds in 400 digits: Taylor's series, and doubling."""
    with decimal.localcontext(prec=400):
        rates, duration = exactly(rates, Decimal), Decimal(duration)
        doublings = max(0, math.ceil(math.log2(float(max(-np.diag(rates)) * duration) + 1e-300))) + 10
        step = duration / Decimal(2) ** doublings
        term = np.array([[Decimal(int(i == j)) for j in range(len(rates))] for i in range(len(rates))], dtype=object)
        after, mean = 0 * term, 0 * term
        for order in range(1, 80):
            after, mean, term = after + term, mean + term / order, term.dot(rates) * step / order
        for _ in range(doublings):
            after, mean = after.dot(after), (mean + after.dot(mean)) / 2
        return mean.astype(float)


class TestChainsOfVeryDifferentRates:
    """Against exact rational arithmetic and 400 digits: to rounding, for rates over 20 decades, state by state."""

    def test_stationary_law(self):
        rng = np.random.default_rng(0)
        for _ in range(40):
            rates = random_generator(rng)
            balance = exactly(rates, Fraction).T
            balance[-1] = [Fraction(1)] * len(rates)
            expected = solved(balance, [Fraction(0)] * (len(rates) - 1) + [Fraction(1)])
            np.testing.assert_allclose(stationary_occupancy(rates), expected.astype(float), rtol=1e-14)

    def test_mean_passage_times(self):
        rng, finite = np.random.default_rng(1), 0
        for _ in range(40):
            rates = random_generator(rng, joined=False)
            times = mean_passage_times(rates, [0])
            to_solve = np.flatnonzero(np.isfinite(times) & (times > 0))
            finite += len(to_solve)
            own = exactly(rates, Fraction)[np.ix_(to_solve, to_solve)]
            expected = solved(-own, [Fraction(1)] * len(to_solve)) if len(to_solve) else np.zeros(0)
            np.testing.assert_allclose(times[to_solve], expected.astype(float), rtol=1e-14)
        assert finite > 40

    @pytest.mark.parametrize("joined", [True, False])
    def test_occupancy_of_any_duration(self, joined):
        """Shorter than every jump to longer than the slowest; chains with states that are not left among them."""
        rng = np.random.default_rng(2)
        for _ in range(30):
            rates, duration = random_generator(rng, joined), 10.0 ** rng.uniform(-12, 22)
            expected = mean_powers(rates, duration)
            for well in range(len(rates)):
                parts = expected_occupancy(rates, well, duration)
                assert parts.sum() == pytest.approx(1, abs=1e-15)
                np.testing.assert_allclose(parts, expected[well], rtol=1e-12, atol=1e-250)

    def test_long_runs_are_the_stationary_law(self):
        rates = np.array([[-2.0, 2.0], [1.0, -1.0]])
        for duration in (1e14, 1e300):
            np.testing.assert_allclose(expected_occupancy(rates, 0, duration), [1 / 3, 2 / 3], rtol=1e-13)

    def test_states_that_are_not_left(self):
        rates = np.array([[-3.0, 1.0, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        np.testing.assert_allclose(expected_occupancy(rates, 0, 1e20), [1 / 3e20, 1 / 3, 2 / 3], rtol=1e-13)
        np.testing.assert_array_equal(expected_occupancy(rates, 1, 5.0), [0, 1, 0])
        with pytest.raises(ValueError, match="has 2 stationary laws"):
            stationary_occupancy(rates)
        np.testing.assert_array_equal(stationary_occupancy(rates[:2, :2] + [[2, 0], [0, 0]]), [0, 1])
        np.testing.assert_array_equal(stationary_occupancy([[0.0]]), [1])

    def test_many_states(self):
        """A ring of 60 with a way to every state: numbers of paths overflow integers, and nobody has to count them."""
        rates = np.ones((60, 60)) - 60 * np.eye(60)
        np.testing.assert_allclose(stationary_occupancy(rates), 1 / 60, rtol=1e-13)
        np.testing.assert_allclose(mean_passage_times(rates, 0)[1:], 1, rtol=1e-13)

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda: stationary_occupancy([[-1.0, 1.0]]), "rates must be a square matrix"),
            (lambda: stationary_occupancy([[-1.0, 2.0], [1.0, -1.0]]), "Each row of rates must sum to 0"),
            (lambda: stationary_occupancy([[1.0, -1.0], [1.0, -1.0]]), "not negative"),
            (lambda: mean_passage_times([[-np.nan, np.nan], [1.0, -1.0]], 0), "rates must be finite"),
            (lambda: mean_passage_times([[-1.0, 1.0], [1.0, -1.0]], 0.5), "targets must be states from 0 to 1"),
            (lambda: expected_occupancy([[-1.0, 1.0], [1.0, -1.0]], -1, 1.0), "well must be a state from 0 to 1"),
            (lambda: expected_occupancy([[-1.0, 1.0], [1.0, -1.0]], 0, 0.0), "duration must be positive and finite"),
            (lambda: expected_occupancy([[-1.0, 1.0], [1.0, -1.0]], 0, np.nan), "duration must be positive and finite"),
            (lambda: expected_occupancy([[-1.0, 1.0], [1.0, -1.0]], 0, np.inf), "duration must be positive and finite"),
        ],
    )
    def test_refusals(self, call, words):
        with pytest.raises(ValueError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def compare(landscape, minima, saddles, alpha, kappa, sojourns, count, well, seed):
    """z of the occupancy of each well, and of each transition's number, against the chain's."""
    widest = max(1 / min(abs(m - s) for s in saddles) for m in minima)
    level = kappa ** (-1 / alpha) / widest
    rates = transition_rates(minima, saddles, alpha, level)
    duration = sojourns / -np.diag(rates).mean()
    options = {"duration": duration, "num_trajectories": count, "key": seed, "well": well}
    visits = simulate_visits(landscape, saddles, Independent(alpha, [1.0]), SGD(), level, Tamed(0.1), **options)
    assert np.all(visits.exit_code == ExitCode.CENSORED)
    parts = visits.time / duration
    np.testing.assert_allclose(parts.sum(axis=1), 1, rtol=1e-3)
    error = parts.std(axis=0, ddof=1) / math.sqrt(count)
    occupancy = (parts.mean(axis=0) - expected_occupancy(rates, well, duration)) / error
    numbers, expected = visits.transitions.sum(axis=0), rates * visits.time.sum(axis=0)[:, None]
    apart = ~np.eye(len(minima), dtype=bool)
    assert np.all(numbers[~apart] == 0)
    return occupancy, ((numbers - expected)[apart] / np.sqrt(expected[apart])), parts.mean(axis=0)


class TestVisits:
    def test_transitions_and_occupancy_of_three_wells(self):
        """Times in a well are exponential, so given them the numbers of transitions are Poisson."""
        landscape = row([-1.5, 0.5, 2.5], [-0.5, 1.5])
        occupancy, transitions, _ = compare(landscape, [-1.5, 0.5, 2.5], [-0.5, 1.5], 1.3, 800, 4, 400, 0, 0)
        assert np.all(np.abs(occupancy) < 4), occupancy
        assert np.all(np.abs(transitions) < 4), transitions

    def test_trajectories_without_noise_to_speak_of_stay(self):
        options = {"duration": 100.0, "num_trajectories": 10, "key": 0, "well": 2}
        visits = simulate_visits(row(), SADDLES, Independent(1.5, [1.0]), SGD(), 1e-9, Euler(0.1), **options)
        np.testing.assert_allclose(visits.time, [[0, 0, 100.0]] * 10, rtol=1e-5)
        assert visits.transitions.sum() == 0

    def test_a_blow_up_is_counted(self):
        landscape = from_function(lambda x: ((x**2 - 1) ** 2).sum(), [1.0])
        options = {"minima": [-1.0, 1.0], "duration": 200.0, "num_trajectories": 64, "key": 0}
        noise = Independent(1.2, [1.0])
        plain, euler, tamed = (
            simulate_visits(landscape, [0.0], noise, SGD(0.1), 0.5, solver, **options)
            for solver in (Iteration(), Euler(0.1), Tamed(0.1))
        )
        assert (plain.exit_code == ExitCode.NONFINITE).sum() > 32
        for visits in (euler, tamed):  # Euler's steps are cut where the landscape is too steep for them
            assert np.all(visits.exit_code == ExitCode.CENSORED)

    def test_bad_arguments(self):
        call = {"duration": 1.0, "num_trajectories": 4, "key": 0}
        parts = (row(), SADDLES, Independent(1.5, [1.0]), SGD(), 0.1)
        for solver, changes, words in (
            (Euler(0.1), {"well": 3}, "well must be from 0 to 2, got 3."),
            (Euler(0.1), {"duration": 0.01}, "duration must be 1 to"),
            (JumpAdapted(), {}, "in steps of one length"),
        ):
            with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
                simulate_visits(*parts, solver, **(call | changes))
            assert words in str(caught.value)

    def test_draws_are_for_the_iteration_alone(self):
        parts, options = (row(), SADDLES, Pareto(1.5, [1.0])), {"duration": 10.0, "num_trajectories": 4, "key": 0}
        with pytest.raises(ValueError, match="no process in continuous time"):
            simulate_visits(*parts, SGD(0.1), 0.1, Tamed(0.1), **options)
        visits = simulate_visits(*parts, SGD(0.1), 0.1, Iteration(), **options)
        assert np.all(visits.exit_code == ExitCode.CENSORED)


LADDER, STEPS = [-2.5, 0.25, 1.25], [-0.5, 0.75]  # one wide well, which no step of length 1 leaves
RATE, LEVEL, SCALE = 0.05, 0.02, 0.7


class TestDraws:
    def test_rates_are_chances_of_landing(self):
        noise = StudentT(1.0, [SCALE])  # P(Z > u) = 1/2 - arctan(u)/pi
        rates = draw_transition_rates(LADDER, STEPS, noise, RATE, LEVEL)
        edges = np.array([-np.inf, *STEPS, np.inf])
        for start, origin in enumerate(LADDER):
            below = 0.5 + np.arctan((edges - origin) / (RATE * LEVEL * SCALE)) / np.pi
            expected = np.delete(np.diff(below) / RATE, start)
            np.testing.assert_allclose(np.delete(rates[start], start), expected, rtol=1e-9)
        np.testing.assert_allclose(rates.sum(axis=1), 0, atol=1e-15)

    def test_are_those_of_the_levy_measure_for_rare_long_draws(self):
        """A Pareto draw each eta has the jumps of the stable process with 2 C/alpha (epsilon scale)^alpha = 1/eta."""
        alpha = 1.5
        stable_scale = (RATE * 2 * float(tail_constant(alpha)) / alpha) ** (-1 / alpha)
        levy = transition_rates(LADDER, STEPS, alpha, RATE * LEVEL, stable_scale * SCALE)
        np.testing.assert_allclose(draw_transition_rates(LADDER, STEPS, Pareto(alpha, [SCALE]), RATE, LEVEL), levy)

    def test_clipped_steps_past_the_bound_end_at_it(self):
        free, clipped = (
            draw_transition_rates(LADDER, STEPS, Pareto(1.5, [SCALE]), RATE, LEVEL, bound) for bound in (math.inf, 1.0)
        )
        np.testing.assert_array_equal(clipped[0], 0)
        assert clipped[1, 0] == pytest.approx(free[1, 0])
        assert clipped[2, 0] == 0
        assert clipped[2, 1] == pytest.approx(free[2, 0] + free[2, 1])
        np.testing.assert_allclose(stationary_occupancy(clipped), [1, 0, 0], atol=1e-12)

    @pytest.mark.parametrize(
        ("noise", "sizes", "words"),
        [
            (Pareto(1.5, [1.0, 1.0]), (0.1, 0.1), "noise of one coordinate"),
            (Pareto(1.5, [1.0]), (0.0, 0.1), "learning_rate must be positive, got 0.0."),
            (Pareto(1.5, [1.0]), (0.1, 0.1, -1.0), "longest_step must be positive, got -1.0."),
        ],
    )
    def test_bad_arguments(self, noise, sizes, words):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
            draw_transition_rates(LADDER, STEPS, noise, *sizes)
        assert words in str(caught.value)

    @pytest.mark.parametrize("kind", [pytest.param("truncated", marks=pytest.mark.slow), "clipped"])
    def test_visits_are_those_of_the_chain(self, kind):
        """Three transitions (Poisson, given the times) and three occupancies; none leaves the wide well.

        kappa is about 1000 here, so the law of one draw is off by 0.2%, and 450 transitions tell 5%.
        """
        if kind == "truncated":
            noise, dynamics, bound = Truncated(1.4, 1 / (RATE * LEVEL * SCALE), [SCALE]), SGD(RATE), math.inf
        else:
            noise, dynamics, bound = Pareto(1.4, [SCALE]), ClippedSGD(RATE, 1.0), 1.0
        rates = draw_transition_rates(LADDER, STEPS, noise, RATE, LEVEL, bound)
        duration, count = float(2 / -rates[2, 2]), 300
        options = {"duration": duration, "num_trajectories": count, "key": 5, "well": 2}
        visits = simulate_visits(row(LADDER, STEPS), STEPS, noise, dynamics, LEVEL, Iteration(), **options)
        numbers, times = visits.transitions.sum(axis=0), visits.time.sum(axis=0)
        possible = rates > 0
        assert possible.sum() == 3
        assert np.all(numbers[~possible] == 0)
        expected = (rates * times[:, None])[possible]
        assert np.all(np.abs(numbers[possible] - expected) < 4 * np.sqrt(expected)), (numbers, expected)
        parts = visits.time / duration
        error = parts.std(axis=0, ddof=1) / math.sqrt(count)
        z = (parts.mean(axis=0) - expected_occupancy(rates, 2, duration)) / error
        assert np.all(np.abs(z) < 4), z


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.2, 1.5, 1.8])
@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0])
def test_double_well_odds(alpha, ratio):
    """Odds = width ratio^alpha at kappa = 800 and more: the occupancy's z, and the odds within 4 of their errors."""
    minima = [-1.0, ratio]
    kappa = 800 if alpha < 1.8 else 1600
    occupancy, transitions, parts = compare(row(minima, [0.0]), minima, [0.0], alpha, kappa, 8, 1000, 0, 1)
    assert abs(occupancy[0]) < 4, (occupancy, parts)
    assert np.all(np.abs(transitions) < 4), transitions
