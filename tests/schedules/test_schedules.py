"""Noise levels that change with time: simulated beside plain NumPy, and by the integrated rate where they are slow.

Every seed is fixed. Shares may differ by 4 standard errors, which happens by chance with probability 6.3e-5 a number.
"""

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from levyjax import schedules
from levyjax.basins import Box
from levyjax.checks import ConfigError
from levyjax.cli import main
from levyjax.config import cells, parse
from levyjax.config.build import build_problem
from levyjax.dynamics import SGD, Momentum, from_optax
from levyjax.escape import (
    EscapeProblem,
    Plan,
    annealed_survival,
    exit_rate,
    interval_reference,
    predict,
    quasi_stationary_rate,
    simulate,
)
from levyjax.landscapes import Quadratic, from_drift
from levyjax.noise import Independent
from levyjax.schedules import Schedule
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed

RUN = {
    "landscape": {"kind": "quadratic", "hessian": [1.0]},
    "basin": {"kind": "box", "lower": [-1.0], "upper": [1.0]},
    "dynamics": {"kind": "sgd"},
    "noise": {"kind": "independent", "alpha": 1.5},
    "run": {"noise_level": 0.5, "dt": 0.01, "max_time": 40.0, "num_trajectories": 256},
}
ANNEALED = {"schedule": "exponential", "time": 5.0}


def problem(level, dynamics=None):
    return EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), dynamics or SGD(0.01), level)


def simulated(level, solver=None, count=256, max_time=40.0, dynamics=None):
    return simulate(problem(level, dynamics), Plan(solver or Euler(0.01), count, max_time), 0)


def changed(**run):
    return RUN | {"run": RUN["run"] | run}


class TestSimulated:
    @pytest.mark.parametrize("solver", [Euler(0.01), Tamed(0.01)], ids=["euler", "tamed"])
    def test_share_of_exits_of_an_annealed_quadratic(self, solver):
        """By plain NumPy, Euler's steps of 0.01 to t = 40, 40,000 paths: 0.4762, standard error 0.0025."""
        share = simulated(schedules.exponential(0.5, 5.0), solver, 20_000).exited.mean()
        assert share == pytest.approx(0.4762, abs=4 * math.hypot(0.0025, math.sqrt(0.25 / 20_000)))

    @pytest.mark.parametrize(
        "level",
        [
            lambda t: 0.5 * jnp.exp(-t / 5),
            0.5 * schedules.exponential(1.0, 5.0),
            np.float64(0.5) * schedules.exponential(1.0, 5.0),
            schedules.of_steps(0.5 * np.exp(-0.01 * np.arange(5000) / 5)),
            Schedule(optax.exponential_decay(0.5, 500, math.exp(-1)), of="steps"),
        ],
        ids=["function", "product", "numpy", "array", "optax"],
    )
    def test_ways_to_write_it(self, level):
        """To rounding, by which at most one of 256 paths may leave or not."""
        one, other = simulated(schedules.exponential(0.5, 5.0)), simulated(level)
        assert (one.exit_step != other.exit_step).sum() <= 1

    @pytest.mark.parametrize("solver", [Euler(0.01), Tamed(0.01), Iteration()], ids=str)
    def test_one_that_stays_is_a_number_to_the_bit(self, solver):
        one, other = simulated(0.3, solver), simulated(lambda t: 0.3 + 0 * t, solver)
        np.testing.assert_array_equal(one.exit_step, other.exit_step)
        np.testing.assert_array_equal(one.exit_position, other.exit_position)

    def test_an_iteration_counts_time_in_learning_rates(self):
        """Of time and of steps: 1/eta steps are a unit of time."""
        of_time = simulated(schedules.linear(5.0, 10.0, 0.5), Iteration())
        of_steps = simulated(schedules.of_steps(np.linspace(5.0, 0.5, 1001)), Iteration())
        assert 20 < of_time.exited.sum() < 256
        assert (of_time.exit_step != of_steps.exit_step).sum() <= 2

    def test_noise_that_has_stopped_ends_nothing(self):
        """After t = 1 there is none."""
        samples = simulated(schedules.linear(0.5, 1.0), max_time=20.0)
        assert 0 < samples.exited.sum() < 256
        assert samples.exit_time[samples.exited].max() <= 1.01

    def test_under_momentum(self):
        """Less noise leaves more rarely, and a schedule lies between its ends."""
        shares = [
            simulated(level, Euler(0.01), 1024, 20.0, Momentum(0.1, 0.9)).exited.mean()
            for level in (0.01, schedules.linear(0.04, 20.0, 0.01), 0.04)
        ]
        assert shares[0] < shares[1] - 0.05
        assert shares[1] < shares[2] - 0.05


class TestWhatElseChanges:
    """Shares of exits beside those of plain NumPy, of 60,000 and 40,000 paths."""

    def test_a_learning_rate_of_optax(self):
        """x <- x - eta_n (x + 0.2 u) with eta_n = 0.1 0.998^n, 3000 times: 0.3246, standard error 0.0019."""
        dynamics = from_optax(optax.sgd(optax.exponential_decay(0.1, 1, 0.998)))
        share = simulated(0.2, Iteration(), 20_000, 3000.0, dynamics).exited.mean()
        assert share == pytest.approx(0.3246, abs=4 * math.hypot(0.0019, math.sqrt(0.22 / 20_000)))

    @pytest.mark.parametrize("solver", [Euler(0.02), JumpAdapted()], ids=["euler", "jump_adapted"])
    def test_a_ramp_of_the_curvature(self, solver):
        """From 1 to 0.2 as exp(-t/50), until t = 100 at noise level 0.05: 0.3669, standard error 0.0024."""
        ramp = from_drift(lambda x: jnp.stack([-x[1] * x[0], (0.2 - x[1]) / 50]), [0.0, 0.2])
        box, noise = Box([-1.0, -np.inf], [1.0, np.inf]), Independent(1.5, [1.0, 0.0])
        started = EscapeProblem(ramp, box, noise, SGD(), 0.05, start=[0.0, 1.0])
        share = simulate(started, Plan(solver, 20_000, 100.0), 0).exited.mean()
        assert share == pytest.approx(0.3669, abs=4 * math.hypot(0.0024, math.sqrt(0.24 / 20_000)))


class TestIntegratedRate:
    def test_a_slow_schedule(self):
        """From 0.02 at t = 0, over 2000 relaxation times: within 2%, and 4 standard errors of 20,000 paths."""
        slow, times = schedules.exponential(0.02, 2000.0), np.array([500.0, 1000.0, 2000.0, 4000.0])
        law = annealed_survival(problem(slow), times)
        assert law.valid
        samples = simulated(slow, Euler(0.1), 20_000, 4000.0)
        inside = [(~samples.exited | (samples.exit_time > time)).mean() for time in times]
        assert inside == pytest.approx(law.survival.tolist(), rel=0.02, abs=4 * math.sqrt(0.25 / 20_000))

    def test_by_hand(self):
        """rate = c eps^1.5, so that its integral has a formula: c eps_0^1.5 tau (1 - exp(-1.5 t/tau))/1.5."""
        law = annealed_survival(problem(schedules.exponential(0.01, 1000.0)), [200.0, 2000.0])
        rate = predict(problem(0.01)).rate
        gone = rate * 1000.0 * -np.expm1(-1.5 * np.array([0.2, 2.0])) / 1.5
        np.testing.assert_allclose(law.survival, np.exp(-gone), rtol=1e-5)
        np.testing.assert_allclose(law.rate, rate * np.exp(-1.5 * np.array([0.2, 2.0])), rtol=1e-5)

    def test_rates_of_ones_own_at_much_noise(self):
        """Those of the boundary value problem, over 100 relaxation times."""
        ramp = schedules.linear(0.1, 100.0, 0.2)
        law = annealed_survival(
            problem(ramp), [100.0], lambda fixed: interval_reference(fixed, relative_error=1e-3).rate
        )
        samples = simulated(ramp, Euler(0.005), 10_000, 100.0)
        assert (~samples.exited).mean() == pytest.approx(law.survival[0], rel=0.02, abs=4 * math.sqrt(0.25 / 10_000))

    def test_a_fast_one_is_not_valid(self):
        law = annealed_survival(problem(schedules.exponential(0.01, 5.0)), [10.0])
        assert not law.valid
        assert "within a relaxation time" in law.reasons[0]

    def test_noise_beyond_the_limit_is_not_valid(self):
        law = annealed_survival(problem(schedules.exponential(0.3, 1000.0)), [10.0])
        assert not law.valid
        assert law.reasons[0].startswith("At noise_level = 0.3: kappa")

    @pytest.mark.parametrize(
        ("level", "times", "words"),
        [
            (0.1, [1.0], "is for a noise level that is a schedule of time"),
            (schedules.of_steps([0.1]), [1.0], "is for a noise level that is a schedule of time"),
            (schedules.exponential(0.1, 1.0), [2.0, 1.0], "in increasing order"),
            (schedules.linear(0.1, 1.0, -0.1), [2.0], "must not be negative"),
        ],
    )
    def test_refusals(self, level, times, words):
        with pytest.raises(ValueError, match=words):
            annealed_survival(problem(level), times)


class TestRefusals:
    @pytest.mark.parametrize(
        "asked",
        [
            quasi_stationary_rate,
            exit_rate,
            interval_reference,
            lambda annealed: simulate(annealed, Plan(JumpAdapted(), 4, 5.0), 0),
            lambda annealed: float(annealed.noise_level),
            lambda annealed: np.asarray(annealed.noise_level),
        ],
    )
    def test_what_needs_one_number_names_the_way_out(self, asked):
        with pytest.raises(ValueError, match=r"is a schedule, .* by Euler, Tamed or Iteration, .*annealed_survival"):
            asked(problem(schedules.exponential(0.5, 5.0)))

    def test_a_prediction(self):
        prediction = predict(problem(lambda t: 0.1 + 0 * t))
        assert prediction.rate is None
        assert "annealed_survival" in prediction.reasons[0]

    @pytest.mark.parametrize(
        ("made", "words"),
        [
            (lambda: problem(lambda t: -t), "above 0 at the start"),
            (lambda: problem(lambda t: jnp.ones(2)), "above 0 at the start"),
            (lambda: schedules.of_steps([0.0, 1.0]), "above 0 at the start"),
            (lambda: problem([[0.1, 0.2]]), "give schedules.of_steps"),
            (lambda: Schedule(0.5), "is a function of time"),
            (lambda: Schedule(lambda t: 1.0 + t, of="minutes"), "of"),
            (lambda: schedules.exponential(0.5, 0.0), "time must be positive"),
            (lambda: -1.0 * schedules.exponential(0.5, 1.0), "factor of a schedule must be positive"),
            (lambda: simulated(lambda t: 0.5 + 0 * t, max_time=math.inf), "give a max_time"),
        ],
    )
    def test_of_what_is_no_schedule(self, made, words):
        with pytest.raises(ValueError, match=words):
            made()


class TestRunFile:
    def test_a_factor_of_the_noise_level(self):
        config = parse(changed(noise_schedule=ANNEALED | {"end": 0.1}, noise_level=[0.5, 0.2]))
        for cell, level in zip(cells(config), (0.5, 0.2), strict=True):
            made = build_problem(config, cell).noise_level
            assert float(made(0.0)) == pytest.approx(level)
            assert float(made(5.0)) == pytest.approx(level * (0.1 + 0.9 * math.exp(-1)))
        assert parse(config.to_dict()) == config

    @pytest.mark.parametrize(
        ("run", "words"),
        [
            ({"noise_schedule": 0.5}, "give a table, such as"),
            ({"noise_schedule": ANNEALED | {"tme": 1.0}}, 'did you mean "time"'),
            ({"noise_schedule": {"time": 1.0}}, "schedule is missing"),
            ({"noise_schedule": {"schedule": "linaer", "time": 1.0}}, "linear"),
            ({"noise_schedule": ANNEALED | {"time": -1.0}}, r"noise_schedule\.time"),
            ({"noise_schedule": ANNEALED, "method": "jump_adapted"}, "noise_schedule is refused"),
            ({"noise_schedule": ANNEALED, "method": "quasi_stationary"}, "noise_schedule is refused"),
            ({"noise_schedule": ANNEALED, "max_time": math.inf}, "needs a max_time"),
        ],
    )
    def test_refusals(self, run, words):
        with pytest.raises(ConfigError, match=words):
            parse(changed(**run))

    def test_the_commands(self, tmp_path, capsys):
        """Exits are counted; what only a rate that stays has is null."""
        tables = []
        for name, table in changed(noise_schedule=ANNEALED).items():
            schedule = '{schedule = "exponential", time = 5.0}'
            rows = [
                f"{key} = {schedule if isinstance(value, dict) else json.dumps(value)}" for key, value in table.items()
            ]
            tables += [f"[{name}]", *rows]
        path = tmp_path / "run.toml"
        path.write_text("\n".join(tables))
        main(["escape", str(path), "--json", "--out", str(tmp_path / "results")])
        assert (tmp_path / "results" / "survival.png").exists()
        cell = json.loads(capsys.readouterr().out)["cells"][0]
        assert 0.3 < cell["exited"] / 256 < 0.65
        assert all(
            cell[name] is None for name in ("mean_exit_time", "rate", "rate_ci95", "ks_pvalue", "predicted_rate")
        )
        main(["predict", str(path), "--json"])
        cell = json.loads(capsys.readouterr().out)["cells"][0]
        assert cell["rate"] is None
        assert "annealed_survival" in cell["reasons"][0]


def test_a_start_off_the_minimum_goes_with_a_schedule():
    started = dataclasses.replace(problem(schedules.exponential(0.5, 5.0)), start=np.array([0.9]))
    samples = simulate(started, Plan(Euler(0.01), 256, 40.0), 0)
    assert samples.exited.mean() > simulated(schedules.exponential(0.5, 5.0)).exited.mean()


@pytest.mark.parametrize("make", [SGD, lambda schedule: Momentum(0.1, schedule)])
def test_optimizers_of_numbers_name_those_that_take_schedules(make):
    with pytest.raises(ValueError, match=r"is a number, no function of time: optax takes schedules, from_optax"):
        make(optax.exponential_decay(0.1, 50, 0.5))


@pytest.mark.parametrize("values", [[0.5, 0.25], np.array([0.5, 0.25])])
def test_an_array_over_steps_is_told_its_schedule(values):
    pieces = (Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(0.1))
    with pytest.raises(ValueError, match=r"for each step, give schedules\.of_steps\(values\)"):
        EscapeProblem(*pieces, noise_level=values)
    assert float(EscapeProblem(*pieces, noise_level=schedules.of_steps(values)).noise_level(1)) == 0.25
