"""The fate of a jump: problems on which the straight way to the boundary, or the Hessian alone, gives a wrong number.

The right values were found without this package: closed forms, plain Euler in NumPy, a finite-difference solver of the
nonlocal equation. Each prediction is right within 2%, or is not called valid.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levyjax.arrays import column, pytree
from levyjax.basins import Ball, Box, Ellipsoid, HalfSpace, Sublevel
from levyjax.dynamics import SGD, Adam, Dynamics, Momentum, RMSProp, SGDState
from levyjax.dynamics.momentum import MomentumState
from levyjax.escape import (
    Complement,
    EscapeProblem,
    Plan,
    bias_constant,
    exit_rate,
    interval_reference,
    predict,
    quasi_stationary_rate,
    simulate,
    unit_rate,
)
from levyjax.escape.bias import rate_changes
from levyjax.escape.ends import Ends
from levyjax.escape.fate import follow_jumps
from levyjax.landscapes import AsymmetricValley, DoubleWell, Flat, Quadratic, Separable, from_function
from levyjax.noise import Independent, PerCoordinate, Rotational, StateDependent, StudentT
from levyjax.solvers import Euler, Iteration, JumpAdapted
from levyjax.solvers.make_flow import nearest_saddle
from levyjax.solvers.motion import Fate, at_rest
from levyjax.solvers.traced_motion import TracedMotion
from levyjax.stable import tail_constant


def on_the_line(function, minimum, basin, alpha, level, dynamics=None):
    return EscapeProblem(from_function(function, [minimum]), basin, Independent(alpha, [1.0]), dynamics or SGD(), level)


def double_well(x):
    return (x[0] ** 2 - 1) ** 2 / 4


def cubic(x):
    return x[0] ** 3 / 3 - x[0]


def cosine(x):
    return (1 - jnp.cos(2 * jnp.pi * x[0])) / (4 * jnp.pi**2)


def coupled(basin):
    """Noise along one axis, a Hessian that carries it to the other."""
    return EscapeProblem(Quadratic([[1.0, -0.6], [-0.6, 1.0]]), basin, Independent(1.5, [0.0, 1.0]), SGD(), 0.02)


class TestLinearFlow:
    """Quadratic landscapes: how far a path comes has a formula."""

    def test_the_flow_carries_a_jump_across_a_wall_that_its_ray_never_meets(self):
        """From (0, s): x0 = s (exp(-.4 t) - exp(-1.6 t))/2, largest s 0.2362 at t = log(4)/1.2."""
        time = math.log(4) / 1.2
        reach = (math.exp(-0.4 * time) - math.exp(-1.6 * time)) / 2
        rate = float(tail_constant(1.5)) / 1.5 * (0.02 * reach) ** 1.5
        half = predict(coupled(HalfSpace([1.0, 0.0], 1.0)))
        assert half.rate == pytest.approx(rate, rel=1e-7)
        box = predict(coupled(Box([-1.0, -100.0], [1.0, 100.0])))
        assert box.rate == pytest.approx(2 * rate, rel=1e-7)  # whoever lands beyond 100 would leave anyway
        over = 2 * float(tail_constant(1.5)) / 1.5 * (0.02 / 100) ** 1.5
        assert box.exit_probabilities["x1>upper"] == pytest.approx(over / 2 / (2 * rate), rel=1e-6)

    def test_the_face_is_where_the_flow_crosses(self):
        """Euler in NumPy: .808 and .192; shares of 1 in 400,000 exits, standard error .0006."""
        adam = Adam(0.1, 0.3, 0.5, variant="frozen", preconditioner=[0.5])
        prediction = predict(EscapeProblem(Quadratic([4.0]), Box([-0.5], [1.0]), Independent(1.7, [1.0]), adam, 0.004))
        assert prediction.exit_probabilities["x0<lower"] == pytest.approx(0.808, abs=0.003)

    def test_the_face_changes_in_the_course_of_a_path(self):
        """Noise on x2 alone: its path crosses x0's wall first if it is long, x1's later on; by a fine grid of times."""
        curvature, walls = np.array([[2.0, 0, -0.6], [0, 0.5, -0.3], [-0.6, -0.3, 1.0]]), np.array([0.2, 0.15])
        rates, modes = np.linalg.eigh(curvature)
        times = np.linspace(0, 10, 200_001)
        path = modes[:2] @ (modes[2][:, None] * np.exp(-rates[:, None] * times)) / walls[:, None]
        beyond = np.maximum.accumulate(path.max(axis=0)) ** 1.5  # jumps that have left, by time
        share = np.diff(beyond)[(path[0] > path[1])[1:]].sum() / beyond[-1]
        assert 0.2 < share < 0.9
        box = Box([-0.2, -0.15, -1e6], [0.2, 0.15, 1e6])
        noise = Independent(1.5, [0.0, 0.0, 1.0])
        for landscape in (Quadratic(curvature), from_function(lambda x: x @ curvature @ x / 2, np.zeros(3))):
            found = predict(EscapeProblem(landscape, box, noise, SGD(), 1e-3)).exit_probabilities
            assert found["x0<lower"] + found["x0>upper"] == pytest.approx(share, abs=2e-4)

    @pytest.mark.parametrize("unit", [1.0, 3.7, 0.016, 61.0])
    def test_a_path_that_turns_round_may_leave_by_the_other_face(self, unit):
        """A momentum swings about the minimum: jumps that just miss one wall leave by the other, in any unit of length.

        The unit also moves the times that are looked at against the path's turning points.
        """
        curvature, eta, beta, alpha, walls = 3.26, 0.131, 0.9, 0.61, (0.1605, 0.3095)
        prediction = predict(
            EscapeProblem(
                Quadratic([curvature]),
                Box([-walls[0] * unit], [walls[1] * unit]),
                Independent(alpha, [unit]),
                Momentum(eta / unit**0.3, beta),
                1e-5,
            )
        )
        friction, force = (1 - beta) / (eta / unit**0.3), curvature / (eta / unit**0.3)
        turn = math.sqrt(force - friction**2 / 4)
        peak = math.atan2(turn, friction / 2) / turn
        first, second = (math.exp(-friction / 2 * t) * abs(math.sin(turn * t)) for t in (peak, peak + math.pi / turn))
        near, far = (max(first / wall, second / other) for wall, other in (walls, walls[::-1]))
        # a jump towards a wall leaves there if the first swing gets there, else by the other one
        by = [first / walls[0], first / walls[1]]
        lower = by[0] ** alpha + max(far**alpha - by[1] ** alpha, 0)
        upper = by[1] ** alpha + max(near**alpha - by[0] ** alpha, 0)
        assert far > by[1] * 1.05
        assert prediction.exit_probabilities["x0<lower"] == pytest.approx(lower / (lower + upper), abs=1e-6)

    @pytest.mark.parametrize("level", [0.37, 0.1])
    def test_many_jumps_near_the_edge_of_two_faces_have_an_error(self, level):
        """Noise along (1.02, 1): from the minimum all jumps leave by x0, from beside it a third or an eighth by x1."""
        hessian = [[32.7, 5.67], [5.67, 11.0]]
        noise = Independent(1.21, np.array([[1.02, 0.0], [1.0, 0.0]]))
        problem = EscapeProblem(Quadratic(hessian), Ball(0.93, [0.0, 0.0]), noise, SGD(), level)
        found = predict(problem)
        samples = simulate(problem, Plan(JumpAdapted(), 8192), 0)
        shares = dict(zip(samples.face_names, np.bincount(samples.exit_face, minlength=4) / 8192, strict=True))
        apart = max(abs(share - found.exit_probabilities[name]) for name, share in shares.items())
        assert 0.05 < apart < found.exit_probability_error + 0.02
        quiet = predict(dataclasses.replace(problem, noise_level=1e-4 * level))
        assert quiet.exit_probability_error == 0

    @pytest.mark.parametrize("axis", [0, 1, 3])
    def test_rays_of_a_sphere_are_not_every_so_many_of_a_sequence(self, axis):
        """A half-space under rotational noise has a closed form; a momentum of slow relaxation overshoots nothing."""
        normal = np.eye(4)[axis]
        noise = Rotational(1.6, np.ones(4))
        problem = EscapeProblem(Quadratic([1e-6] * 4), HalfSpace(normal, 1.0), noise, Momentum(0.01, 0.9), 1e-7)
        prediction = predict(problem)
        exact = float(tail_constant(1.6)) / 1.6 * (1e-7 * 10) ** 1.6
        assert abs(prediction.rate - exact) < 4 * prediction.rate_error + 0.001 * exact
        assert prediction.rate_error < 0.01 * exact

    def test_slow_modes_are_followed_to_their_end(self):
        """Relaxation rates of 1, 1e-3 and 1e-4, the fast one without noise: 4.79e7 by the flow's formula."""
        turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)
        hessian = np.zeros((3, 3))
        hessian[0, 0], hessian[1:, 1:] = 1, turn @ np.diag([1e-3, 1e-4]) @ turn.T
        basin = Box([-1.0, -1.0, -0.1], [1.0, 1.0, 0.1])
        problem = EscapeProblem(Quadratic(hessian), basin, Independent(1.5, [0.0, 1.0, 0.01]), SGD(), 4e-6)
        assert predict(problem).mean_exit_time == pytest.approx(4.79e7, rel=0.003)

    def test_an_iteration_relaxes_as_its_steps_do(self):
        """SGD at 1.99 over the curvature turns round at every step and hardly relaxes: 134 steps, not 316."""
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(1.99), 0.02)
        prediction = predict(problem, Iteration())
        assert not prediction.valid
        assert prediction.kappa == pytest.approx(-math.log(0.99) / 1.99 * (0.02 * 1.99 ** (0.5 / 1.5)) ** -1.5)
        assert predict(problem).valid  # in continuous time

    @pytest.mark.parametrize(
        "dynamics",
        [
            Adam(0.1, 0.9, 0.99, 0.01, variant="malladi"),
            Momentum(0.1, 0.9),
            pytest.param(Adam(0.1, 0.9, 0.99, variant="malladi"), marks=pytest.mark.slow),
            pytest.param(Adam(0.1, 0.5, variant="corrected"), marks=pytest.mark.slow),
        ],
        ids=["malladi", "momentum", "stiffer", "corrected"],
    )
    def test_a_silent_coordinate_changes_nothing(self, dynamics):
        """Adam's preconditioner is epsilon0 there: the plane is stiff, a hundred times or more."""
        noise_level, alpha = 0.01, 1.5
        line = EscapeProblem(Quadratic([1.0]), Ball(1.0, [0.0]), Independent(alpha, [1.0]), dynamics, noise_level)
        noise = Independent(alpha, [1.0, 0.0])
        plane = EscapeProblem(Quadratic([1.0, 1.0]), Ball(1.0, [0.0, 0.0]), noise, dynamics, noise_level)
        one, other = predict(line), predict(plane)
        assert one.rate == pytest.approx(other.rate, rel=1e-6)
        assert one.kappa == pytest.approx(other.kappa, rel=1e-4)

    def test_noise_alone_under_a_preconditioner_has_no_exact_mean(self):
        problem = EscapeProblem(Flat([0.0]), Ball(1.0, [0.0]), Independent(1.5, [4.0]), RMSProp(0.1), 0.1)
        assert not predict(problem).valid


class TestTracedFlow:
    """Any landscape, any basin: jumps are followed."""

    def test_jumps_that_stay_inside_come_to_rest_in_another_well(self):
        """By a finite-difference solver 1050; the direct jumps alone give 2330."""
        prediction = predict(on_the_line(double_well, -1.0, HalfSpace([1.0], 2.0), 1.5, 0.05))
        assert prediction.mean_exit_time == pytest.approx(1050, rel=0.02)
        assert any("another well" in reason for reason in prediction.reasons)

    def test_a_row_of_wells_is_a_chain(self):
        """Five wells, by the rates between intervals: 1229.03; by Euler 1216 with a standard error of 16."""
        minima, edges = np.arange(-2, 3.0), np.array([-2.3, -1.5, -0.5, 0.5, 1.5, 2.3])
        unit, level = float(tail_constant(1.5)) / 1.5, 0.02**1.5
        reach = np.abs(edges - minima[:, None]) ** -1.5
        between = unit * level * np.abs(np.diff(reach, axis=1))
        np.fill_diagonal(between, 0)
        out = unit * level * (reach[:, 0] + reach[:, -1])
        mean = np.linalg.solve(np.diag(between.sum(axis=1) + out) - between, np.ones(5))[2]
        prediction = predict(on_the_line(cosine, 0.0, Box([-2.3], [2.3]), 1.5, 0.02))
        assert prediction.mean_exit_time == pytest.approx(mean, rel=1e-3)
        assert prediction.mean_exit_time == pytest.approx(1216, rel=3 * 16 / 1216)

    @pytest.mark.parametrize(
        ("function", "minimum", "basin", "alpha", "level", "right"),
        [
            (lambda x: 0.0025 * jnp.log(jnp.cosh(x[0] / 0.05)), 0.0, Box([-1.0], [1.0]), 1.5, 0.03, 442.3),
            (cubic, 1.0, HalfSpace([-1.0], 1.1), 1.2, 0.05, 296.0),
        ],
        ids=["a drift that is weaker far out", "a saddle next to the wall"],
    )
    def test_a_drift_that_vanishes_on_the_way_is_not_called_valid(self, function, minimum, basin, alpha, level, right):
        prediction = predict(on_the_line(function, minimum, basin, alpha, level))
        assert not prediction.valid or prediction.mean_exit_time == pytest.approx(right, rel=0.02)

    def test_a_saddle_on_the_wall_counts_in_a_basin_of_any_kind(self):
        problem = EscapeProblem(DoubleWell(1.0, 0.25), HalfSpace([-1.0], 0.0), Independent(1.5, [1.0]), SGD(), 0.05)
        assert not predict(problem).valid  # 448; the truth is 409.6

    def test_several_faces_between_two_lengths_that_are_looked_at(self):
        """Noise on a line at 45 degrees, almost: the followed fates are those of the formula, to the stated error."""
        curvature, center = np.array([1.6, 0.7]), np.array([-0.6, 0.0])
        landscapes = (
            Quadratic(curvature, center),
            from_function(lambda x: (curvature * (x - center) ** 2).sum() / 2, center),
        )
        noise, dynamics = Rotational(1.6, [[0.72, -1.08], [0.67, -1.0]]), Momentum(0.1, 0.9, nesterov=True)
        known, found = (predict(EscapeProblem(one, Ball(1.2, [0.0, 0.1]), noise, dynamics, 1e-6)) for one in landscapes)
        assert found.rate == pytest.approx(known.rate, rel=1e-3)
        apart = [abs(found.exit_probabilities[face] - share) for face, share in known.exit_probabilities.items()]
        assert min(known.exit_probabilities.values()) > 0.01
        assert max(apart) < found.exit_probability_error + known.exit_probability_error < 0.02

    def test_steps_jump_over_a_thin_target(self):
        """x -> x/2 comes to [1, 1.05] from [1, 1.05] 2^k only: sum_k 2^(-1.5 k) times its rate. NumPy: 11,530 (110)."""
        problem = EscapeProblem(
            Quadratic([1.0]), Complement(Box([1.0], [1.05])), Independent(1.5, [1.0]), SGD(0.5), 0.05
        )
        prediction = predict(problem, Iteration())
        level = 0.05 * 0.5 ** (0.5 / 1.5)
        rate = float(tail_constant(1.5)) / 1.5 * level**1.5 * (1 - 1.05**-1.5) / (1 - 2**-1.5)
        assert prediction.rate == pytest.approx(rate, rel=0.002)
        assert prediction.mean_exit_steps == pytest.approx(11_530, rel=3 * 110 / 11_530)
        continuous = predict(problem)  # no path passes the target by
        assert continuous.rate == pytest.approx(float(tail_constant(1.5)) / 1.5 * 0.05**1.5, rel=1e-4)

    def test_marcus_noise_counts_the_end_of_a_jump_not_its_way(self):
        """Its flow turns round (0.8, 0), out of the box and back: plain simulation gives 522.4 (3.7)."""
        noise = StateDependent(
            Independent(1.4, [1.0, 0.3]), lambda x: jnp.array([[-x[1], 0.0], [x[0] - 0.8, 0.3]]), kind="marcus"
        )
        problem = EscapeProblem(Quadratic([1.0, 1.0]), Box([-1.0, -1.0], [1.2, 1.0]), noise, SGD(), 0.05)
        assert predict(problem).mean_exit_time == pytest.approx(522.4, rel=0.02)

    def test_jumps_that_blow_up_inside_never_leave(self):
        prediction = predict(on_the_line(cubic, 1.0, HalfSpace([1.0], 3.0), 1.5, 0.05))
        assert prediction.rate is None
        assert "infinity inside" in prediction.reasons[0]

    def test_a_start_that_the_flow_takes_out_is_refused(self):
        problem = EscapeProblem(
            from_function(double_well, [-1.0]), HalfSpace([1.0], 0.5), Independent(1.5, [1.0]), SGD(), 0.02, start=[0.2]
        )
        assert "From this start" in predict(problem).reasons[0]

    @pytest.mark.parametrize("stiff", [1.0, 1e-4])
    def test_fates_and_times_of_known_paths(self, stiff):
        """x' = x - x^3 from s: x^2 = 1/(1 + (1/s^2 - 1) exp(-2t)); beside it y' = -stiff y."""
        landscape = from_function(lambda x: (x[0] ** 2 - 1) ** 2 / 4 + stiff * x[1] ** 2 / 2, [1.0, 0.0])
        problem = EscapeProblem(landscape, HalfSpace([-1.0, 0.0], 0.9), Independent(1.5, [1.0, 1.0]), SGD(), 0.1)
        with jax.enable_x64(True):
            ends = TracedMotion(problem, None, 1.0).follow(
                at_rest(problem, np.array([[0.5, -0.5, 3.0], [0.3, 0.0, 0.0]]))
            )
        assert ends.fate.tolist() == [Fate.RETURNS, Fate.LEAVES, Fate.RETURNS]
        assert ends.time[1] == pytest.approx(0.5 * math.log(3 / (1 / 0.81 - 1)), rel=0.02)
        assert ends.point[0, 1] == pytest.approx(-0.9, abs=1e-5)


class TestGaugeFormula:
    """`exit_rate` and `unit_rate` are right, or refused with the reason, where the flow can be followed."""

    @pytest.mark.parametrize(
        ("function", "minimum", "basin", "reason"),
        [
            (cosine, 0.0, Box([-2.3], [2.3]), "come to rest in another well"),  # 3091, right is 1216
            (double_well, -1.0, HalfSpace([1.0], 2.0), "come to rest in another well"),  # 2330, right is 1050
            (cubic, 1.0, Box([-100.0], [2.0]), "carries jumps across the boundary"),  # 448, right is 330
            (cubic, 1.0, HalfSpace([1.0], 2.0), "to infinity"),  # 448: a part of the paths never leaves
            (lambda x: 0.0 * x[0], 0.0, Box([-1.0], [1.0]), "no restoring drift"),
        ],
        ids=["a row of wells", "two wells", "beyond a saddle", "blows up", "flat"],
    )
    def test_what_the_flow_leads_elsewhere_is_refused(self, function, minimum, basin, reason):
        problem = on_the_line(function, minimum, basin, 1.5, 0.02)
        for rate in (exit_rate, unit_rate):
            with pytest.raises(ValueError, match=f"^The gauge formula is not for this problem. [^\n]*{reason}"):
                rate(problem)

    def test_two_wells_below_one_level_are_refused(self):
        landscape = from_function(lambda x: (x[0] ** 2 - 1) ** 2 / 4 + x[0] / 10, [-1.0466805318046022])
        problem = EscapeProblem(landscape, Sublevel(landscape, 1.0), Independent(1.5, [1.0]), SGD(), 0.01)
        with pytest.raises(ValueError, match="in another well"):
            exit_rate(problem)

    @pytest.mark.parametrize(
        ("function", "minimum", "basin"),
        [
            (cosine, 0.0, Box([-0.4], [0.3])),
            (cubic, 1.0, Box([-0.5], [2.0])),
            (lambda x: jnp.cosh(x[0]), 0.0, Box([-1.0], [2.0])),
        ],
        ids=["one of many wells", "short of the saddle", "one well"],
    )
    def test_what_was_right_is_answered(self, function, minimum, basin):
        """C/alpha (1/low^alpha + 1/high^alpha) level^alpha, low and high the ways to the boundary."""
        problem = on_the_line(function, minimum, basin, 1.5, 0.02)
        ways = np.array([minimum - basin.lower[0], basin.upper[0] - minimum])
        expected = float(tail_constant(1.5)) / 1.5 * ((0.02 / ways) ** 1.5).sum()
        assert float(exit_rate(problem)) == pytest.approx(expected, rel=1e-6)

    def test_derivatives_take_the_formula(self):
        """Inside of transformations nothing can be looked at; noise_level^alpha has the slope alpha/noise_level."""
        problem = on_the_line(cosine, 0.0, Box([-2.3], [2.3]), 1.5, 0.02)
        rate = float(jax.jit(exit_rate)(problem))
        assert float(jax.grad(exit_rate)(problem).noise_level) == pytest.approx(1.5 * rate / 0.02, rel=1e-5)

    def test_a_sample_in_many_dimensions_is_asked(self):
        """In 20 dimensions jumps along the axes stay on them in a round basin; a coupled Hessian carries them out."""
        noise = Independent(1.5, np.ones(20))
        alone = from_function(lambda x: jnp.cosh(x).sum(), np.zeros(20))
        expected = 20 * 2 * float(tail_constant(1.5)) / 1.5 * 0.01**1.5
        problem = EscapeProblem(alone, Ball(1.0, np.zeros(20)), noise, SGD(), 0.01)
        assert float(exit_rate(problem)) == pytest.approx(expected, rel=1e-5)
        root = np.random.default_rng(0).normal(size=(20, 20))
        coupled = from_function(lambda x, h: x @ h @ x / 2, np.zeros(20), np.eye(20) + root @ root.T / 4)
        wall = HalfSpace(np.random.default_rng(1).normal(size=20), 1.0)
        with pytest.raises(ValueError, match="carries jumps across"):
            exit_rate(EscapeProblem(coupled, wall, noise, SGD(), 0.01))


class TestSeveralWellsInABasin:
    """A jump to the next saddle is long, however far the boundary: `JumpAdapted` took what is shorter than a quarter of
    the way to the boundary for Brownian motion, which leads to no other well."""

    @pytest.mark.parametrize(
        ("half_width", "level", "count"), [(2.3, 0.02, 1 << 14), (5.3, 0.05, 1 << 12)], ids=["five wells", "eleven"]
    )
    def test_mean_exit_times_are_those_of_the_interval_solver(self, half_width, level, count):
        """They were 5% and 26% too long. Off by 4 standard errors and 1% in 1 of 15,000 runs."""
        problem = on_the_line(cosine, 0.0, Box([-half_width], [half_width]), 1.5, level)
        times = simulate(problem, Plan(JumpAdapted(), count), 1).exit_time
        expected = float(interval_reference(problem).mean_exit_time())
        assert times.mean() == pytest.approx(expected, abs=4 * times.std() / math.sqrt(count) + 0.01 * expected)

    @pytest.mark.slow
    def test_rates_are_those_of_the_interval_solver(self):
        """5% too low before."""
        problem = on_the_line(cosine, 0.0, Box([-2.3], [2.3]), 1.5, 0.02)
        found = quasi_stationary_rate(problem, 1, relative_error=0.005)
        assert found.rate == pytest.approx(
            interval_reference(problem).rate, abs=4 * found.standard_error + 0.005 * found.rate
        )

    def test_jumps_over_a_saddle_are_seen_when_the_wall_is_far(self):
        """Down from the top at -1 the cubic leads out: C/alpha (level/2)^alpha. The mean was 45 times that."""
        problem = on_the_line(cubic, 1.0, HalfSpace([-1.0], 100.0), 1.5, 0.02)
        rate = float(tail_constant(1.5)) / 1.5 * (0.02 / 2) ** 1.5
        times = simulate(problem, Plan(JumpAdapted(), 4096), 2).exit_time
        assert times.mean() * rate == pytest.approx(1, abs=4 / 64 + 0.02)

    @pytest.mark.parametrize(
        ("function", "minimum", "basin", "deepest"),
        [
            (cosine, 0.0, Box([-2.3], [2.3]), 2 * 0.5 / 2.3),
            (cosine, 0.0, Box([-2.3], [1.2]), 2 * 0.5 / 1.2),
            (cosine, 0.0, Box([-0.8], [0.9]), None),
            (cubic, 1.0, Box([-100.0], [2.0]), None),
            (lambda x: jnp.cosh(x[0]), 0.0, Box([-1.0], [2.0]), None),
        ],
        ids=["row", "lopsided", "one well", "a saddle further than a wall", "convex"],
    )
    def test_the_nearest_saddle(self, function, minimum, basin, deepest):
        problem = on_the_line(function, minimum, basin, 1.5, 0.02)
        with jax.enable_x64(True):
            found = nearest_saddle(problem)
        assert found == (None if deepest is None else pytest.approx(deepest, rel=0.01))

    def test_the_nearest_saddle_in_the_plane(self):
        """Wells at x = -1 and 1, a saddle halfway; walls at 8 in x, at 1 in y. Along the axes alone jumps come."""
        landscape = from_function(lambda x: (x[0] ** 2 - 1) ** 2 / 4 + x[1] ** 2 / 2, [-1.0, 0.0])
        problem = EscapeProblem(landscape, Box([-9.0, -1.0], [9.0, 1.0]), Independent(1.5, [1.0, 1.0]), SGD(), 0.02)
        with jax.enable_x64(True):
            assert nearest_saddle(problem) == pytest.approx(2 * 1 / 8, rel=0.1)


class TestReasonsOfRefusal:
    """What is refused says why."""

    @pytest.mark.parametrize("level", [1e-300, 1e300])
    def test_a_noise_level_beyond_all_numbers(self, level):
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), level)
        found = predict(problem)
        assert found.rate is None
        assert "beyond the numbers of double precision" in found.reasons[0]
        with pytest.raises(ValueError, match="in other units"):
            exit_rate(problem)

    @pytest.mark.parametrize("dimension", [1, 2])
    def test_a_quartic_has_no_curvature(self, dimension):
        """Its Hessian at the points where that is looked at is 1e-24."""
        landscape = from_function(lambda x: (x**4).sum(), np.zeros(dimension))
        noise = Independent(1.5, np.ones(dimension))
        problem = EscapeProblem(landscape, Ball(1.0, np.zeros(dimension)), noise, SGD(), 0.02)
        found = predict(problem)
        assert found.rate is None
        assert len(found.reasons) == 1
        assert "no restoring drift" in found.reasons[0]
        with pytest.raises(ValueError, match="no restoring drift"):
            exit_rate(problem)

    def test_a_stiff_landscape_has_curvature(self):
        landscape = from_function(lambda x: (jnp.cosh(x) * jnp.array([1.0, 1e6])).sum(), [0.0, 0.0])
        problem = EscapeProblem(landscape, Box([-2.0, -1.0], [2.0, 1.0]), Independent(1.5, [1.0, 1.0]), SGD(), 0.02)
        assert predict(problem).valid

    @pytest.mark.parametrize("kind", ["ito", "marcus"])
    @pytest.mark.parametrize(
        ("dispersion", "reason"), [(lambda x: x, "is 0 at the"), (lambda x: x / 0.0, "must be finite")]
    )
    def test_a_dispersion_that_starts_no_jumps(self, kind, dispersion, reason):
        noise = StateDependent(Independent(1.5, [1.0]), dispersion, kind=kind)
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), noise, SGD(), 0.02)
        found = predict(problem)
        assert found.rate is None
        assert reason in found.reasons[0]
        with pytest.raises(ValueError, match=reason):
            exit_rate(problem)


class TestBias:
    """What second jumps add, against what is known."""

    @pytest.mark.parametrize(
        ("left", "right", "lower", "upper", "alpha", "levels"),
        [
            (1.177, 2.599, -0.0368, 0.00904, 0.69, [1.7e-3, 5.1e-3, 1.7e-2]),
            (0.2075, 0.0517, -0.1966, 0.5015, 1.22, [1.6e-3, 1.6e-2]),
            (0.585, 1.62, -0.524, 1.44, 1.52, [1.24e-3, 1.24e-2]),
            (1.0, 1.15, -1.0, 1.0, 1.8, [0.077]),
            (1.0, 5.0, -1.0, 1.0, 1.8, [0.077]),
            (1.0, 2.0, -1.0, 0.6, 1.4, [0.116]),
        ],
    )
    def test_at_a_kink_small_jumps_do_not_cancel(self, left, right, lower, upper, alpha, levels):
        """A valley of two curvatures: the bias goes like the noise level; 0.45 to 2 times the interval solver's.

        The second valley at ten times the noise has parts of the bias that cancel at first order: it must be refused.
        """
        valley, box = AsymmetricValley([left], [right], [0.0]), Box([lower], [upper])
        for level in levels:
            problem = EscapeProblem(valley, box, Independent(alpha, [1.0]), SGD(), level)
            found = predict(problem)
            exact = float(interval_reference(problem, relative_error=1e-4, max_degree=12).mean_exit_time())
            sooner = 1 / found.rate / exact - 1
            assert not found.valid or abs(sooner) < 0.02
            if level == levels[0]:
                with jax.enable_x64(True):
                    assert 0.45 < Ends(follow_jumps(problem, None), level).bias()[0] / sooner < 2

    def test_both_sides_of_a_kink_count_alike(self):
        """A valley and its mirror image have one kappa, that of their mean curvature, and one verdict."""
        one, other = (
            predict(
                EscapeProblem(
                    AsymmetricValley([a], [b], [0.3]), Box([low], [high]), Independent(1.4, [1.0]), SGD(), 0.02
                )
            )
            for a, b, low, high in ((1.0, 3.0, -0.7, 1.0), (3.0, 1.0, -0.4, 1.3))
        )
        assert other.rate == pytest.approx(one.rate, rel=1e-9)
        assert other.kappa == pytest.approx(one.kappa, rel=1e-9)
        assert one.kappa == pytest.approx(2.0 * 0.02**-1.4 * 0.7**1.4, rel=1e-6)
        assert other.valid == one.valid

    @pytest.mark.parametrize("alpha", [1.2, 1.5, 1.8])
    def test_of_an_interval(self, alpha):
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(alpha, [1.0]), SGD(), 0.01)
        with jax.enable_x64(True):
            jump_fates = follow_jumps(problem, None)
            well = jump_fates.wells[0]
            rate = well.segments.rates(jump_fates.rays, 0.01).sum()
            (change, _), *_ = rate_changes(jump_fates, well, 0.01).values()
        assert change / rate == pytest.approx(bias_constant(alpha) * 0.01**alpha, rel=0.04)

    @pytest.mark.parametrize(("lower", "upper", "alpha"), [(-1.0, 0.4, 1.2), (-1.0, 0.2, 1.6), (-50.0, 1.0, 1.6)])
    def test_small_jumps_to_both_sides_balance_off_the_middle(self, lower, upper, alpha):
        """They did not, and the bias was 1.6 to 2.5 times the interval solver's; now the next order is left of it."""
        level = upper * 160 ** (-1 / alpha)
        problem = EscapeProblem(Quadratic([1.0]), Box([lower], [upper]), Independent(alpha, [1.0]), SGD(), level)
        exact = float(interval_reference(problem, relative_error=1e-4, max_degree=12).mean_exit_time())
        sooner = predict(problem).mean_exit_time / exact - 1
        with jax.enable_x64(True):
            jump_fates = follow_jumps(problem, None)
            well = jump_fates.wells[0]
            rate = well.segments.rates(jump_fates.rays, level).sum()
            (change, _), *_ = rate_changes(jump_fates, well, level).values()
        assert change / rate == pytest.approx(sooner, rel=0.07)

    @pytest.mark.parametrize(("dynamics", "solver"), [(SGD(), None), (SGD(0.1), Iteration())])
    def test_a_motion_that_is_followed_has_that_of_one_that_is_known(self, dynamics, solver):
        """Sampled, it was 1.5 times the other and one of two verdicts; iterations stopped a step late."""
        box = Box([-0.6, -1.0, -1.0], [1.3, 1.2, 0.8])
        noise = Independent(1.4, [[0.6, 0.3, 0.0], [-0.3, 0.8, 0.1], [0.1, 0.0, 0.5]])
        curvature, center = np.array([0.5, 1.0, 2.0]), np.array([0.3, 0.2, 0.0])
        parts = Separable((Quadratic(curvature[:1], center[:1]), Quadratic(curvature[1:], center[1:])))
        found = []
        for landscape in (Quadratic(curvature, center), parts):
            with jax.enable_x64(True):
                jump_fates = follow_jumps(EscapeProblem(landscape, box, noise, dynamics, 0.03), solver)
                found.append(rate_changes(jump_fates, jump_fates.wells[0], 0.03)[int(Fate.LEAVES), -1])
        assert found[1] == pytest.approx(found[0], rel=1e-4)

    def test_steps_of_a_whole_relaxation_have_none(self):
        problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(1.0), 0.1)
        assert predict(problem, Iteration()).valid

    def test_a_path_that_lingers_at_the_wall_is_not_called_valid(self):
        adam = Adam(0.02, 0.9, 0.99, variant="malladi")
        problem = EscapeProblem(Quadratic([2.0]), Box([-1.0], [1.5]), Independent(1.5, [1.0]), adam, 0.1)
        assert not predict(problem).valid  # 282; the truth is 266.5


class TestStepsOfBrownianMotion:
    """A path is looked at once a step: the mean of the SDE in continuous time is not that of the steps."""

    @pytest.mark.parametrize("learning_rate", [0.1, 1e-4])
    @pytest.mark.parametrize(
        ("landscape", "alpha"),
        [(Flat([0.0]), 1.5), (Flat([0.0]), 2.0), (AsymmetricValley([1.0], [2.0]), 2.0)],
        ids=["flat", "flat-gaussian", "valley-gaussian"],
    )
    def test_valid_or_refused(self, landscape, alpha, learning_rate):
        """2048 exits, 5 standard errors and 2%."""
        level = 0.7 / learning_rate ** ((alpha - 1) / alpha)
        problem = EscapeProblem(landscape, Box([-1.0], [0.8]), Independent(alpha, [1.0]), SGD(learning_rate), level)
        prediction = predict(problem, Iteration())
        exits = simulate(problem, Plan(Iteration(), 2048, 1e3), 0).exit_time
        off = abs(exits.mean() / prediction.mean_exit_time - 1)
        if prediction.valid:
            assert off < 0.02 + 5 * exits.std() / exits.mean() / math.sqrt(2048)
        else:
            assert "once a step" in " ".join(prediction.reasons)
            assert off > 0.02
        assert prediction.valid == (learning_rate < 0.01)


class TestSimulated:
    """The methods that draw jumps split them by how far the flow takes them. 4 standard errors, by chance 6e-5."""

    @pytest.mark.parametrize(
        "basin", [Box([-1.0, -100.0], [1.0, 100.0]), HalfSpace([1.0, 0.0], 1.0)], ids=["box", "half-space"]
    )
    def test_jumps_that_the_flow_carries_out(self, basin):
        problem = coupled(basin)
        limit = predict(problem).mean_exit_time
        times = simulate(problem, Plan(JumpAdapted(), 2048), 0).exit_time
        assert abs(times.mean() / limit - 1) < 4 / math.sqrt(2048) + 0.02
        found = quasi_stationary_rate(problem, relative_error=0.01)
        assert abs(found.rate * limit - 1) < 4 * found.standard_error / found.rate + 0.02

    def test_overshoots_of_coordinates_with_their_own_index(self):
        noise = PerCoordinate([1.4, 1.7], [1.0, 1.0])
        dynamics = Momentum(0.1, 0.5, nesterov=True)
        problem = EscapeProblem(Quadratic([1.0, 1.0]), Box([-1.0] * 2, [1.0] * 2), noise, dynamics, 0.01)
        found = quasi_stationary_rate(problem, relative_error=0.02)
        assert abs(found.rate / predict(problem).rate - 1) < 4 * found.standard_error / found.rate + 0.02

    def test_euler_of_the_same_step_is_the_iteration(self):
        problem = EscapeProblem(
            Quadratic([1.0]), Complement(Box([1.0], [1.05])), Independent(1.5, [1.0]), SGD(0.5), 0.05
        )
        level = 0.05 * 0.5 ** (0.5 / 1.5)
        sde = EscapeProblem(problem.landscape, problem.basin, problem.noise, SGD(), level)
        assert predict(sde, Euler(0.5)).rate == pytest.approx(predict(problem, Iteration()).rate, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "right"), [("gaussian", 9.74e-6), ("stable", 3.09e-7)])
def test_a_preconditioner_of_long_memory_is_at_rest(noise, right):
    adam = Adam(1e-5, 0.9, 0.999, variant="paper", gradient_noise=noise)
    problem = EscapeProblem(Quadratic([2.0]), Box([-1.0], [1.5]), Independent(1.5, [1.0]), adam, 1e-3)
    prediction = predict(problem)
    assert abs(prediction.rate - right) < 4 * prediction.rate_error + 0.006 * right


@pytree
class HeavyBall(Dynamics):
    """A user's optimizer with no more than it must say: dx = -m dt, dm = (g - friction m) dt - noise."""

    friction: float

    def init(self, x):
        return MomentumState(x, jnp.zeros_like(x))

    def iterate(self, state, gradient, driving):
        raise NotImplementedError

    def drift(self, state, gradient, noise):
        return MomentumState(-state.m, gradient - self.friction * state.m)

    def displace(self, state, amount):
        return MomentumState(state.x, state.m - amount)

    def momentum_rate(self):
        return self.friction


@pytree
class FixedPreconditioner(Dynamics):
    """dx = P (-g dt + epsilon A dL), P diagonal: on a line that of SGD on P F with scale P A."""

    diagonal: Any

    def init(self, x):
        return SGDState(x)

    def iterate(self, state, gradient, driving):
        return SGDState(state.x - self.diagonal[:, None] * (gradient + driving.draw()))

    def drift(self, state, gradient, noise):
        return SGDState(-column(self.diagonal, gradient) * gradient)

    def displace(self, state, amount):
        return SGDState(state.x + column(self.diagonal, amount) * amount)


def test_a_users_optimizer_is_predicted_as_the_same_one_here():
    """Momentum(1, beta) has dm = (g - (1 - beta) m) dt - epsilon A dL, dx = -m dt; how far a jump moves x follows."""
    parts = Quadratic([1.0]), Box([-1.0], [1.5]), Independent(1.5, [1.0])
    theirs, ours = (predict(EscapeProblem(*parts, one, 1e-3)) for one in (HeavyBall(0.4), Momentum(1.0, 0.6)))
    assert theirs.rate == pytest.approx(ours.rate, rel=1e-9)
    assert (theirs.valid, theirs.kappa) == (ours.valid, pytest.approx(ours.kappa))


def test_every_method_runs_a_users_optimizer_of_four_methods():
    """Its Euler steps, states after jumps and jump maps follow from these; each method as SGD in other units."""
    box, fixed = Box([-1.0], [1.5]), FixedPreconditioner(np.array([0.5]))
    theirs = EscapeProblem(Quadratic([2.0]), box, Independent(1.5, [2.0]), fixed, 0.02)
    ours = EscapeProblem(Quadratic([1.0]), box, Independent(1.5, [1.0]), SGD(), 0.02)
    assert predict(theirs).rate == pytest.approx(predict(ours).rate, rel=1e-9)
    one, other = (simulate(problem, Plan(Euler(0.125), 256, dtype="float64"), 3) for problem in (theirs, ours))
    np.testing.assert_allclose(one.exit_time, other.exit_time, rtol=1e-9)
    one, other = (simulate(problem, Plan(JumpAdapted(), 4096), 3).exit_time for problem in (theirs, ours))
    assert abs(one.mean() - other.mean()) < 5 * np.hypot(one.std(), other.std()) / 64
    one, other = (quasi_stationary_rate(problem, 3, relative_error=0.02) for problem in (theirs, ours))
    assert abs(one.rate - other.rate) < 5 * math.hypot(one.standard_error, other.standard_error)


def test_what_is_no_optimizer_is_refused():
    class Bare:
        """The methods alone."""

        init = iterate = sde_step = rest = drift = displace = jump_maps = lambda *_: None

    with pytest.raises(ValueError, match=r"derive Bare from levyjax\.dynamics\.Dynamics"):
        EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.5]), Independent(1.5, [1.0]), Bare(), 0.02)
    parts = Quadratic([1.0]), Box([-1.0], [1.5]), Independent(1.5, [1.0])
    prediction = predict(EscapeProblem(*parts, FixedPreconditioner(np.array([0.5])), 0.02), Iteration())
    assert prediction.reasons[0].startswith("FixedPreconditioner itself has no exit rate")


@pytree
class Rotating(FixedPreconditioner):
    """A preconditioner that mixes coordinates."""

    def displace(self, state, amount):
        return SGDState(state.x + amount[::-1])


@pytree
class Drifting(Dynamics):
    """An SDE without a word on what its noise does."""

    def init(self, x):
        return SGDState(x)

    def iterate(self, state, gradient, driving):
        return SGDState(state.x - gradient - driving.draw())

    def drift(self, state, gradient, noise):
        return SGDState(-gradient)


def test_half_an_sde_is_none():
    problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.5]), Independent(1.5, [1.0]), Drifting(), 0.02)
    assert predict(problem).reasons == ("No SDE is known for Drifting, so there is no rate to predict; simulate it.",)
    with pytest.raises(ValueError, match="No SDE is known for Drifting"):
        simulate(problem, Plan(Euler(0.1), 64), 0)


def test_an_optimizer_that_mixes_coordinates_is_refused():
    parts = Quadratic([1.0, 1.0]), Ball(1.0, [0.0, 0.0]), Independent(1.5, [1.0, 1.0])
    EscapeProblem(*parts, FixedPreconditioner(np.array([1.0, 0.5])), 0.02)
    with pytest.raises(ValueError, match="lets the noise on one coordinate move another"):
        EscapeProblem(*parts, Rotating(np.array([1.0, 0.5])), 0.02)


def test_fates_of_jumps_from_rest_are_those_that_following_them_finds():
    # a mode that turns gives records a rounding apart
    parts = Ellipsoid([0.2, 0.002], 0.2, [0.0, 0.0]), Independent(1.5, [1.0, 10.0])
    optimizer = Adam(variant="frozen", preconditioner=[1.0, 10.0])
    for landscape, dynamics in ((Quadratic([0.2, 0.002]), optimizer), (Quadratic([1.0, 0.3]), Momentum(0.1, 0.9))):
        problem = EscapeProblem(landscape, *parts, dynamics, 1e-4)
        with jax.enable_x64(True):
            jump_fates = follow_jumps(problem, None)
            well = jump_fates.wells[0]
            generator = np.random.default_rng(0)
            ray = generator.integers(0, 4, 2000)
            length = well.shortest(jump_fates.rays)[ray] * np.exp(generator.normal(size=2000))
            followed = well.labels(well.jumps.states(ray, length))
        near = np.abs(length / well.shortest(jump_fates.rays)[ray] - 1) < 1e-3
        assert (well.fates_of(ray, length) == followed)[:, ~near].all()


def test_stiff_jumps_are_followed_to_their_end():
    """Newton's steps at rounding level were taken for divergence: a quarter of the jumps was lost, and more beside an
    idle coordinate, which changes nothing."""
    well = DoubleWell(1.1444538501668307, 0.541628847170173, [12056.291632906603], "right")
    noise = PerCoordinate([1.84, 1.29], [1.3752103858943485, 0.7757522138843114])
    box = Box([0.2897993552400866, -0.7076185909639509], [1.8998532696548351, 1.1725357178156788])
    one = predict(EscapeProblem(well, box, noise, SGD(), 0.05))
    idle = Separable([well, Quadratic([0.34])])
    noise = PerCoordinate([1.84, 1.29, 1.5], [1.3752103858943485, 0.7757522138843114, 0.36])
    box = Box([*np.asarray(box.lower), -np.inf], [*np.asarray(box.upper), np.inf])
    other = predict(EscapeProblem(idle, box, noise, SGD(), 0.05))
    assert not any("could not be followed" in reason for reason in (*one.reasons, *other.reasons))
    assert other.rate == pytest.approx(one.rate, rel=1e-6)


def test_jumps_that_were_not_followed_to_their_end_are_in_the_errors(monkeypatch):
    problem = on_the_line(double_well, -1.0, HalfSpace([1.0], 2.0), 1.5, 0.02)
    whole = predict(problem)
    monkeypatch.setattr(Ends, "undecided", lambda _: 0.2)
    found = predict(problem)
    assert found.rate_error == pytest.approx(math.hypot(whole.rate_error, 0.25 * whole.rate))
    assert found.exit_probability_error == pytest.approx(min(whole.exit_probability_error + 0.2, 1))


def test_faces_of_draws_that_leave_near_an_edge_have_an_error():
    """One column of the scale points just beside the edge between two faces: the rest of the noise moves exits over."""
    noise = StudentT(1.36, [[0.4704, 0.1], [0.4665, 0.5]])
    problem = EscapeProblem(Quadratic([1.0, 1.0]), Ball(1.0, [0.0, 0.0]), noise, SGD(0.5), 0.02)
    prediction = predict(problem, Iteration())
    samples = simulate(problem, Plan(Iteration(), 1 << 14), 3)
    names = problem.basin.face_names(2)
    shares = np.bincount(samples.exit_face, minlength=4) / len(samples.exit_face)
    apart = np.abs(shares - [prediction.exit_probabilities[name] for name in names]).max()
    assert 0.02 < apart < prediction.exit_probability_error + 5 * 0.5 / 128


def test_a_sample_of_jumps_in_many_dimensions_is_not_all_that_is_known():
    """The flow carries a few percent of the jumps out, of which a sample of a hundred may have none."""
    generator = np.random.default_rng(0)
    root = generator.normal(size=(20, 20))
    hessian = np.eye(20) + root @ root.T / 4
    wall, noise = HalfSpace(generator.normal(size=20), 1.0), Independent(1.85, np.ones(20))
    parts = wall, noise, SGD(), 1e-4
    function = from_function(lambda x, h: x @ h @ x / 2, np.zeros(20), hessian)
    sampled, exact = (predict(EscapeProblem(one, *parts)) for one in (function, Quadratic(hessian)))
    assert exact.valid
    apart = abs(sampled.rate - exact.rate)
    assert 0.01 * exact.rate < apart < 1.1 * sampled.rate_error
    assert not sampled.valid
    assert any("that is left out here" in reason for reason in sampled.reasons)


def _steeper_further_out():
    return from_function(lambda x: (jnp.cosh(20 * x[0]) - 1) / 400, [0.0])


def test_a_well_that_is_steeper_further_out_is_followed_to_its_end():
    """(cosh 20x - 1)/400 falls by 1e16 a unit of time at 2, in steps of 1e-17: whatever jumps less far comes back."""
    rates = []
    for wall in (1.0, 2.0):
        found = predict(
            EscapeProblem(_steeper_further_out(), Box([-wall], [wall]), Independent(1.5, [1.0]), SGD(), 0.02)
        )
        assert found.valid
        rates.append(found.rate)
    assert rates[0] / rates[1] == pytest.approx(2**1.5, rel=1e-6)
    assert rates[0] == pytest.approx(2 * tail_constant(1.5) / 1.5 * 0.02**1.5, rel=1e-6)


def test_a_path_that_turns_round_is_not_at_rest():
    """With momentum a path stands still for a moment where it turns, high up in a steep well: that is no well."""
    problem = EscapeProblem(
        _steeper_further_out(), Box([-2.0], [2.0]), Independent(1.5, [1.0]), Momentum(0.01, 0.9), 0.02
    )
    with jax.enable_x64(True):
        rest = at_rest(problem, np.zeros((1, 200)))
        pushed = problem.dynamics.displace(rest, np.geomspace(1e-3, 1e5, 200)[None])
        ends = TracedMotion(problem, None, 2.0).follow(pushed)
    assert not np.isin(ends.fate, (Fate.ELSEWHERE, Fate.BLOWS_UP)).any()
    assert (ends.fate == Fate.RETURNS).sum() > 10
