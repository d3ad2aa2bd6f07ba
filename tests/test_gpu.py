"""The same laws and the same numbers on an accelerator; run with `pytest -m gpu` where there is one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from levyjax import stable
from levyjax.basins import Box
from levyjax.dynamics import SGD, Adam, Momentum, from_optax
from levyjax.escape import EscapeProblem, ExitCode, Plan, predict, quasi_stationary_rate, simulate
from levyjax.landscapes import DoubleWell, Quadratic
from levyjax.noise import Independent, Rotational, sde_noise_level
from levyjax.random.threefry import threefry2x32
from levyjax.solvers import Euler, Iteration, JumpAdapted, Tamed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() == "cpu", reason="no accelerator"),
]

FALSE_ALARM = 1e-4  # of each test below


def box(noise, dynamics=None, noise_level=0.05, dimension=2):
    ones = [1.0] * dimension
    return EscapeProblem(Quadratic(ones), Box([-1.0] * dimension, ones), noise, dynamics or SGD(), noise_level)


def test_the_cipher_gives_the_known_answers():
    ones = jnp.uint32(0xFFFFFFFF)
    words = jax.jit(threefry2x32)(ones, ones, ones, ones)
    assert [int(word) for word in words] == [0x1CB996FC, 0xBB002BE7]


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.5, 1.9])
def test_tail_counts_of_float32_draws(alpha):
    """2^27 draws beyond the levels of four probabilities: exact binomial bounds, shared among the levels."""
    draws = jnp.abs(stable.sample(7, alpha, (1 << 27,)))
    assert draws.dtype == jnp.float32
    for probability in (1e-2, 1e-3, 1e-5, 1e-7):
        level = float(stable.isf(probability / 2, alpha))
        found = int((draws > level).sum())
        low, high = stats.binom.interval(1 - FALSE_ALARM / 4, draws.size, probability)
        assert low <= found <= high, (probability, found, low, high)


def test_draws_are_those_of_the_cpu():
    """The same words; the transform rounds a little differently."""
    here = np.asarray(stable.sample(3, 1.5, (1 << 16,)))
    with jax.default_device(jax.devices("cpu")[0]):
        there = np.asarray(stable.sample(3, 1.5, (1 << 16,)))
    np.testing.assert_allclose(here, there, rtol=2e-4, atol=2e-6)


def test_functions_of_the_law_agree_with_the_cpu_in_float64():
    x = np.concatenate([np.linspace(-10, 10, 101), np.logspace(1, 12, 30)])
    for alpha, beta in ((0.5, 0.3), (1.0, 0.5), (1.5, 0.0), (1.9, -1.0)):
        with jax.enable_x64(True):
            here = np.asarray(stable.logpdf(x, alpha, beta))
            with jax.default_device(jax.devices("cpu")[0]):
                there = np.asarray(stable.logpdf(x, alpha, beta))
        np.testing.assert_allclose(here, there, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_chunks(dtype):
    problem = box(Independent(1.5, [1.0, 1.0]), noise_level=0.2)
    one = simulate(problem, Plan(Euler(0.05), 20_000, dtype=dtype), key=0)
    other = simulate(problem, Plan(Euler(0.05), 20_000, dtype=dtype, chunk_size=3_000), key=0)
    np.testing.assert_array_equal(one.exit_step, other.exit_step)
    np.testing.assert_array_equal(one.exit_position, other.exit_position)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exits_are_those_of_the_cpu(dtype):
    """Trajectory by trajectory; float32 may round a path across the boundary at another step."""
    problem = box(Independent(1.5, [1.0, 1.0]), noise_level=0.2)
    here = simulate(problem, Plan(Euler(0.05), 8192, dtype=dtype), key=0)
    there = simulate(problem, Plan(Euler(0.05), 8192, dtype=dtype, devices=jax.devices("cpu")[:1]), key=0)
    same = here.exit_step == there.exit_step
    assert same.mean() >= (0.99 if dtype == "float32" else 0.9999)
    np.testing.assert_allclose(here.exit_position[same], there.exit_position[same], rtol=1e-2, atol=1e-3)


PROBLEMS = {
    "euler": (box(Independent(1.5, [1.0, 1.0])), Euler(0.02)),
    "rotational": (box(Rotational(1.5, [1.0, 1.0])), Euler(0.02)),
    "tamed": (box(Independent(1.5, [1.0, 1.0])), Tamed(0.02)),
    "jump_adapted": (box(Independent(1.5, [1.0, 1.0]), noise_level=0.01), JumpAdapted()),
    "iteration": (box(Independent(1.5, [1.0, 1.0]), SGD(0.05)), Iteration()),
}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_exit_rates_of_every_method(name):
    """65536 exits: within 10% of the small-noise law, whose own error is a few percent at these noise levels."""
    problem, solver = PROBLEMS[name]
    samples = simulate(problem, Plan(solver, 65_536), key=1)
    assert samples.count(ExitCode.EXITED) == 65_536
    sde = problem
    if name == "iteration":
        level = float(problem.noise_level) * float(sde_noise_level(1.5, problem.dynamics.learning_rate))
        sde = dataclasses.replace(problem, noise_level=level)
    assert samples.exit_time.mean() * predict(sde).rate == pytest.approx(1, abs=0.1)


def test_quasi_stationary_rate():
    problem = box(Independent(1.5, [1.0, 1.0]), noise_level=0.01)
    assert quasi_stationary_rate(problem).rate / predict(problem).rate == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dynamics", [Momentum(0.05), Adam(0.05), from_optax(optax.adam(0.05), 0.05)])
def test_optimizers_run(dynamics):
    problem = box(Independent(1.5, [1.0, 1.0]), dynamics, noise_level=0.3)
    samples = simulate(problem, Plan(Iteration(), 4096, max_time=500.0), key=2)
    assert samples.count(ExitCode.EXITED) > 0
    assert samples.count(ExitCode.NONFINITE) == 0


def test_double_well_by_a_function_of_jax():
    problem = EscapeProblem(DoubleWell(1.0, 0.25), Box([0.0], [3.0]), Independent(1.5, [1.0]), SGD(), 0.1)
    samples = simulate(problem, Plan(Euler(0.01), 4096), key=0)
    assert samples.count(ExitCode.EXITED) == 4096
