"""Counters beyond 32 bits, by starting there, and clocks that do not drift in float32."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from memoryless import Memoryless, memoryless, problem_of

from levyjax.arrays import add_to, cast, pytree
from levyjax.basins import Box
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.engine import ExitCode, chunks, run, run_chunks
from levyjax.escape import EscapeProblem, Plan, particles, quasi_stationary, simulate, summarize
from levyjax.escape.problem import ExitProcess
from levyjax.landscapes import Quadratic
from levyjax.noise import Gaussian
from levyjax.random import Counter, run_key, words
from levyjax.random.streams import MAX_STEPS, trajectory_key
from levyjax.solvers import Euler
from levyjax.solvers.jump_adapted import JumpAdapted
from levyjax.sweep import replay

TOP = 0xFFFFFFFF
ONE = jax.devices()[:1]


def halves(numbers) -> tuple[jax.Array, jax.Array]:
    numbers = np.asarray(numbers, np.uint64)
    return jnp.asarray((numbers & np.uint64(TOP)).astype(np.uint32)), jnp.asarray(
        (numbers >> np.uint64(32)).astype(np.uint32)
    )


@pytest.fixture
def started_at(monkeypatch):
    """Makes trajectories count their steps from a number on; for runs in which all have a lane from the beginning."""
    finish = chunks._finish

    def set_start(step: int) -> None:
        def shifted(advance, states, *rest):
            (state,) = states
            low, high = halves(np.full(state.lanes.slot.shape, step))
            counter = state.lanes.counter._replace(low=low, high=high)
            return finish(advance, [state._replace(lanes=state.lanes._replace(counter=counter))], *rest)

        monkeypatch.setattr(chunks, "_finish", shifted)
        monkeypatch.setattr(chunks, "_cores", lambda mesh: 1)

    return set_start


def reference(process: Memoryless, key: int, ids, first_step: int, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the exits and records, one step after the other with 64-bit counters made by NumPy."""
    key0, key1 = trajectory_key(run_key(key), *halves(ids))
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (1, len(ids))), process.start())
    exits, records = np.zeros(len(ids), np.uint64), np.zeros(len(ids), np.float32)
    for at in range(first_step, first_step + num_steps):
        state = process.step(state, Counter(key0, key1, *halves(np.full(len(ids), at))))
        now = (np.asarray(process.status(state)) == ExitCode.EXITED) & (exits == 0)
        exits[now], records[now] = at + 1, np.asarray(state.total)[0, now]
    return exits, records


class TestSteps:
    @pytest.mark.parametrize("first", [2**31 - 8, 2**32 - 8, 2**32, 3 * 2**32 - 64, 2**38 - 8])
    def test_random_numbers_are_those_of_the_64_bit_step(self, started_at, first):
        started_at(first)
        process, num_steps = memoryless(20.0), 100
        ends = run(process, 3, 64, first + num_steps, devices=ONE)
        exits, records = reference(process, 3, np.arange(64), first, num_steps)
        exited = exits > 0
        assert exited.sum() > 50
        np.testing.assert_array_equal(ends.code == ExitCode.EXITED, exited)
        np.testing.assert_array_equal(ends.step, np.where(exited, exits, first + num_steps))
        np.testing.assert_allclose(ends.record[exited, 0], records[exited], rtol=1e-6)

    @pytest.mark.parametrize("limit", [2**32 - 1, 2**32, 2**32 + 5, MAX_STEPS - 1])
    def test_the_limit_is_met_to_the_step(self, started_at, limit):
        started_at((limit - 20) // 8 * 8)
        ends = run(Memoryless(jnp.float32(0)), 0, 64, limit, devices=ONE)
        assert (ends.code == ExitCode.CENSORED).all()
        assert (ends.step == limit).all()

    def test_blocks_never_run_over(self):
        """What the engine's comment says: 2^32 is a whole number of blocks."""
        for limits in (chunks._CPU, chunks._ACCELERATOR):
            assert 2**32 % limits.block.steps == 0

    def test_no_step_repeats_the_words_of_another(self):
        steps = np.unique([low + high for low in range(16) for high in (0, 2**31, 2**32, 2**33, 2**38, 2**39 - 16)])
        zero = jnp.zeros(len(steps), jnp.uint32)
        pair = np.asarray(words(Counter(zero, zero, *halves(steps)), 1))[:, 0]
        assert np.unique(pair, axis=1).shape[1] == len(steps) == 96

    @pytest.mark.parametrize("dynamics", [SGD(), Momentum(0.1), Adam()])
    def test_exit_times_are_steps_times_dt(self, started_at, dynamics):
        first = 5 * 2**32 - 16
        started_at(first)
        samples = simulate(problem_of(dynamics), Plan(Euler(0.1), 64, devices=ONE), 0)
        assert samples.exit_step.dtype == np.uint64
        assert (samples.exit_step > first).all()
        taken = (samples.exit_time - first * 0.1) / 0.1
        np.testing.assert_allclose(taken, (samples.exit_step - np.uint64(first)).astype(float), atol=1e-4)
        assert summarize(samples).total_steps == sum(samples.exit_step.tolist()) > 2**40

    def test_quasi_stationary_particles_stay_below(self):
        parts = (quasi_stationary._MOST_BATCHES, quasi_stationary._MOST_BLOCKS, particles._STEPS_PER_BLOCK)
        assert np.prod(parts) < 2**32


class TestTrajectories:
    @pytest.mark.parametrize("boundary", [2**31, 2**32, 2**40])
    def test_ids_across_a_boundary(self, boundary):
        process, first = memoryless(20.0), boundary - 50
        ends = run(process, 3, 100, first_id=first, chunk_size=64)
        exits, records = reference(process, 3, first + np.arange(100), 0, 400)
        np.testing.assert_array_equal(ends.step, exits)
        np.testing.assert_allclose(ends.record[:, 0], records, rtol=1e-6)
        below, above = run(process, 3, 50, first_id=first), run(process, 3, 50, first_id=boundary)
        np.testing.assert_array_equal(ends.record, np.concatenate([below.record, above.record]))

    @pytest.mark.parametrize("trajectory", [2**31 + 3, 2**32 - 1, 2**32, 2**33 + 1])
    def test_a_simulation_of_late_ids_is_replayed(self, trajectory):
        problem, plan = problem_of(SGD()), Plan(Euler(0.1), 8, devices=ONE)
        samples = simulate(problem, plan, 0, first_id=trajectory - 4)
        found = replay(problem, plan, 0, trajectory)
        assert (found.exit_step, found.exit_code) == (samples.exit_step[4], samples.exit_code[4])
        np.testing.assert_array_equal(found.exit_position, samples.exit_position[4])
        assert len(np.unique(samples.exit_position, axis=0)) == 8

    def test_more_than_32_bits_of_them(self):
        """The first chunks of 2^33 trajectories are what they would be alone."""
        process = memoryless(20.0)
        parts = list(itertools.islice(run_chunks(process, 0, 2**33, chunk_size=256), 2))
        alone = run(process, 0, 512)
        np.testing.assert_array_equal(np.concatenate([part.step for part in parts]), alone.step)


@pytree
class Late:
    """A jump-adapted process whose clock starts late."""

    process: Any
    time: Any

    def start(self):
        state = self.process.start()
        return state._replace(time=state.time + self.time)

    def step(self, state, counter):
        return self.process.step(state, counter)

    def status(self, state):
        return self.process.status(state)

    def record(self, state):
        return self.process.record(state)


def quiet(dtype, max_time=math.inf):
    """Gaussian noise so weak that nothing leaves: steps of 0.2 for ever."""
    problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Gaussian([1.0]), SGD(), 0.05)
    with jax.enable_x64(True):
        solver = JumpAdapted().prepare(problem, max_time)
    return cast(ExitProcess(problem, solver), dtype)


def clocks(process, **options) -> tuple[np.ndarray, np.ndarray]:
    """Times and steps at the end of 64 trajectories."""
    ends = run(process, 0, 64, devices=ONE, **options)
    return ends.record[:, -2:].sum(axis=1, dtype=np.float64), ends.step


class TestClocks:
    @pytest.mark.parametrize("start", [0.0, 2.0**24, 2.0**30])
    def test_a_sum_in_two_parts(self, start):
        """Of amounts that one float32 would lose: within 2^-24 of an amount each of 10^5 times."""
        amounts = np.random.default_rng(0).exponential(size=(100_000, 8)).astype(np.float32)

        def add(carry, amount):
            return add_to(*carry, amount), None

        high, low = (np.full(8, part, np.float32) for part in (start, 0))
        high, low = jax.jit(lambda parts, amounts: jax.lax.scan(add, parts, amounts)[0])((high, low), amounts)
        exact = start + amounts.sum(axis=0, dtype=np.float64)
        found = np.asarray(high, np.float64) + np.asarray(low, np.float64)
        np.testing.assert_array_equal(high, exact.astype(np.float32))
        np.testing.assert_allclose(found - start, exact - start, rtol=3e-7)
        if start:
            plain = np.full(8, start, np.float32)
            for amount in amounts[:1000]:
                plain = plain + amount
            assert np.abs((plain - start) / amounts[:1000].sum(axis=0) - 1).min() > 0.01

    @pytest.mark.parametrize("num_steps", [1 << 14, pytest.param(1 << 21, marks=pytest.mark.slow)])
    def test_float32_keeps_the_time_of_float64(self, num_steps):
        """After many steps of 0.2, which float32 holds to 1.5e-8; a plain sum would drift by 1e-4, and then stop."""
        single, steps = clocks(quiet(jnp.float32), max_steps=num_steps)
        assert (steps == num_steps).all()
        with jax.enable_x64(True):
            double, _ = clocks(quiet(jnp.float64), max_steps=num_steps)
        np.testing.assert_allclose(single, double, rtol=3e-8)

    def test_censored_in_time_however_late(self):
        """From 2^26 on float32 has steps of 8, in which waits of 0.2 would be lost, and nothing would ever end."""
        begin, span = 2.0**26, 4096.0
        late = Late(quiet(jnp.float32, begin + span), jnp.float32(begin))
        for process, end in ((quiet(jnp.float32, span), span), (late, begin + span)):
            times, steps = clocks(process, max_steps=30_000)
            np.testing.assert_allclose(times, end, rtol=1e-7)
            assert (np.abs(steps / (span / 0.2) - 1) < 1e-3).all()
