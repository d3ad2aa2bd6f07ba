"""The engine alone: lanes that are never idle for long, devices that do not talk, interruption, sums over chunks."""

import os
import resource
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from memoryless import memoryless, problem_of

from levyjax.arrays import cast, materialized, pytree, total
from levyjax.dynamics import SGD, Adam, Momentum
from levyjax.engine import ExitCode, Process, chunks, lanes, observe, observe_on, run, run_chunks
from levyjax.escape import Plan, exponential_fit, kaplan_meier, simulate, simulate_summary, summarize
from levyjax.escape.problem import ExitProcess
from levyjax.escape.summary import edges
from levyjax.solvers import Euler, Iteration
from levyjax.solvers.jump_adapted import JumpAdapted


def euler(dynamics, **options):
    return cast(ExitProcess(problem_of(dynamics, **options), Euler(0.05)), jnp.float32)


def iteration(dynamics, **options):
    return cast(ExitProcess(problem_of(dynamics, **options), Iteration()), jnp.float32)


def jumps(dynamics, **options):
    problem = problem_of(dynamics, **options)
    with jax.enable_x64(True):
        solver = JumpAdapted().prepare(problem)
    return cast(ExitProcess(problem, solver), jnp.float32)


def assert_same(first, second):
    for name in ("step", "code", "record"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.fixture
def with_widths(monkeypatch):
    """Runs with the given lanes, in the order in which they narrow."""

    def set_widths(*widths):
        def fixed(num_trajectories, rows, mesh, chunk_size, narrowing):
            slots = -(-num_trajectories // mesh.size)
            return list(widths), -(-slots // chunks.LANE_MULTIPLE) * chunks.LANE_MULTIPLE, num_trajectories

        monkeypatch.setattr(chunks, "_widths", fixed)
        monkeypatch.setattr(chunks, "_cores", lambda mesh: 1)

    return set_widths


class TestIdleLanes:
    def test_processes_are_processes(self):
        assert isinstance(memoryless(10.0), Process)
        assert isinstance(ExitProcess(problem_of(SGD()), Euler(0.1)), Process)

    @pytest.mark.parametrize(("widths", "most"), [((256,), 1.2), ((1024,), 1.2), ((1024, 64), 1.1)])
    def test_64_trajectories_a_lane(self, with_widths, widths, most):
        with_widths(*widths)
        ends = run(memoryless(1000.0), 0, 64 * widths[0], devices=jax.devices()[:1])
        assert ends.lane_steps < most * ends.step.sum()
        assert abs(ends.step.mean() / 1000 - 1) < 4 / np.sqrt(len(ends.step))

    def test_narrowing_pays_where_trajectories_are_few(self, with_widths):
        ratios = []
        for widths in ((1024,), (1024, 64)):
            with_widths(*widths)
            ends = run(memoryless(500.0), 0, 4096, devices=jax.devices()[:1])
            ratios.append(ends.lane_steps / ends.step.sum())
        assert ratios[0] > 2
        assert ratios[1] < 1.6

    def test_other_numbers_of_trajectories_run_the_same_program(self, monkeypatch):
        """On a CPU, where rows are few: one program for each power of four from 2^14 on."""
        monkeypatch.setattr(chunks, "_cores", lambda mesh: 1)
        mesh = chunks._mesh(tuple(jax.devices()[:1]))
        for counts in ((1, 300, 512, 2048, 5000, 1 << 14), (20_000, 1 << 16), (100_000, 1 << 18)):
            found = {tuple(map(str, chunks._widths(count, 3, mesh, None, True)[:2])) for count in counts}
            assert len(found) == 1, counts

    @pytest.mark.slow
    def test_default_widths(self, monkeypatch):
        """256 lanes, all full until no trajectory is left to start, and idle for ln 256 mean exits from there on."""
        monkeypatch.setattr(chunks, "_cores", lambda mesh: 1)
        for count, most in ((4096, 1.45), (65536, 1.05), (1 << 18, 1.05)):
            ends = run(memoryless(2000.0), 0, count, devices=jax.devices()[:1])
            assert ends.lane_steps < most * ends.step.sum(), count

    @pytest.mark.parametrize(
        ("make", "dynamics"),
        [
            (euler, SGD()),
            *(
                pytest.param(make, dynamics, marks=pytest.mark.slow)
                for make, dynamics in [
                    (jumps, Momentum(0.1)),
                    (jumps, SGD()),
                    (euler, Momentum(0.1)),
                    (euler, Adam()),
                    (jumps, Adam()),
                ]
            ),
        ],
    )
    def test_bits_are_those_of_a_run_without_refill(self, with_widths, make, dynamics):
        """Lanes for all, none taken over: each trajectory alone in its lane, and narrowing, and several devices."""
        process, count = make(dynamics), 1024
        with_widths(count)
        plain = run(process, 5, count, devices=jax.devices()[:1])
        for widths, devices in (((64,), 1), ((256, 64), 2)):
            with_widths(*widths)
            assert_same(plain, run(process, 5, count, devices=jax.devices()[:devices]))

    @pytest.mark.parametrize("cores", [1, 2, 16])
    @pytest.mark.parametrize("rows", [3, 30, 1000, 100_000])
    def test_every_share_has_its_slots(self, monkeypatch, cores, rows):
        monkeypatch.setattr(chunks, "_cores", lambda mesh: cores)
        mesh = chunks._mesh(tuple(jax.devices()[:1]))
        for count in (1, 100, 130, 513, 2000, 5000, 70_000, 1 << 19):
            (width,), slots, chunk = chunks._widths(count, rows, mesh, None, True)
            assert width % chunks.LANE_MULTIPLE == 0
            assert width <= slots
            for some in {chunk, max(chunk // 2 + 1, 1), min(chunk, 1025), min(chunk, 129), 1}:
                assert chunks._share(some, width, cores) <= slots

    def test_a_container_has_the_cores_of_its_share(self, monkeypatch, tmp_path):
        mesh, quota = chunks._mesh(tuple(jax.devices()[:1])), tmp_path / "cpu.max"
        monkeypatch.setattr(chunks.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
        monkeypatch.setattr(chunks, "_QUOTA", quota)
        for text, cores in (("150000 100000\n", 1), ("400000 100000\n", 4), ("max 100000\n", 64), ("", 64)):
            quota.write_text(text)
            assert chunks._cores(mesh) == cores
        assert chunks._cores(chunks._mesh(tuple(jax.devices()[:2]))) == 1

    @pytest.mark.parametrize("count", [1, 600, 2500])
    def test_bits_do_not_depend_on_the_number_of_cores(self, monkeypatch, count):
        """Also in float64, which is a setting of the thread that asks."""
        ends, progress = [], []
        for cores in (1, 2, 5):
            monkeypatch.setattr(chunks, "_cores", lambda mesh, cores=cores: cores)
            with jax.enable_x64(True):
                process = cast(euler(SGD()), jnp.float64)
                told = progress.append
                ends.append(run(process, 5, count, 500, devices=jax.devices()[:1], chunk_size=2000, on_progress=told))
        assert ends[0].record.dtype == np.float64
        assert sum(progress) == 3 * count
        for other in ends[1:]:
            assert_same(ends[0], other)

    def test_an_interrupt_on_several_cores_keeps_what_there_is(self, monkeypatch):
        monkeypatch.setattr(chunks, "_cores", lambda mesh: 3)

        def stop(_: int) -> None:
            raise KeyboardInterrupt

        options = {"devices": jax.devices()[:1], "on_progress": stop, "keep_partial": True}
        ends = run(memoryless(1e6), 0, 2000, **options)
        assert ends.interrupted
        assert len(ends.code) == 3 * chunks._CPU.lanes
        assert (ends.code == ExitCode.CENSORED).mean() > 0.9

    def test_an_uneven_chunk_is_dealt_evenly(self):
        work = chunks._work(10, 130, 1024, 4, 100)
        assert work.total.tolist() == [33, 33, 33, 31]
        assert work.first_low.tolist() == [10, 43, 76, 109]


def point(state):
    return state.x


class TestLooks:
    @pytest.mark.parametrize(
        ("make", "dynamics"),
        [
            (euler, SGD()),
            (jumps, SGD()),
            (iteration, Adam(0.2)),
            pytest.param(euler, Adam(), marks=pytest.mark.slow),
            pytest.param(jumps, Momentum(0.1), marks=pytest.mark.slow),
            pytest.param(iteration, Momentum(0.2), marks=pytest.mark.slow),
        ],
    )
    def test_the_states_are_those_of_a_run(self, make, dynamics):
        """To the last bit, however far apart the looks are; what has left stays where it left."""
        process, count, most = make(dynamics), 150, 120
        ends = run(process, 5, count, most)
        assert (ends.code == ExitCode.EXITED).any()
        assert (ends.code == ExitCode.CENSORED).any() or make is jumps
        for every in (1, 10):
            found = observe(process, 5, np.arange(count), every, point, most // every, max_steps=most)
            np.testing.assert_array_equal(found.seen[-1].T, ends.record[:, :2])
            np.testing.assert_array_equal(found.step, ends.step)
            np.testing.assert_array_equal(found.code, ends.code)

    def test_a_trajectory_is_the_same_whatever_the_others_are(self, monkeypatch):
        """Other numbers, orders, widths, devices and cores, ids beyond 2^32 and float64."""
        high = (1 << 40) + 3
        with jax.enable_x64(True):
            process = cast(iteration(Adam(0.05)), jnp.float64)
            everyone = observe(process, 1, np.arange(200), 7, point, 5, devices=jax.devices()[:1])
            assert everyone.seen.shape == (5, 2, 200)
            assert everyone.seen.dtype == np.float64
            monkeypatch.setattr(chunks, "_cores", lambda mesh: 3)
            for ids, options in (
                ([150, 3, high], {}),
                (np.arange(199, -1, -1), {"width": 128}),
                ([high, 199, 0], {"devices": jax.devices()[:3], "width": 64}),
            ):
                found = observe(process, 1, ids, 7, point, 5, **options)
                old = np.asarray(ids) < 200
                np.testing.assert_array_equal(found.seen[..., old], everyone.seen[..., np.asarray(ids)[old]])
            alone = run(process, 1, 1, 35, first_id=high)
        np.testing.assert_array_equal(found.seen[-1, :, 0], alone.record[0, :2])

    def test_parts_are_one_observation(self):
        process = memoryless(20.0)
        whole = observe(process, 2, [0, 1, 2], 3, lambda state: state.total[0], 40)
        parts = list(observe_on(process, 2, [0, 1, 2], 3, lambda state: state.total[0], 8))
        assert 1 < len(parts) <= 40 // 8
        seen = np.concatenate([part.seen for part in parts])
        np.testing.assert_array_equal(seen, whole.seen[: len(seen)])
        assert (parts[-1].code == ExitCode.EXITED).all()
        assert (parts[-1].step == whole.step).all()

    def test_a_look_has_arrays_of_its_own(self, programs):
        def far(limit, state):
            return {"far": state.total[0] > limit, "total": state.total}

        for limit in (1.0, 2.0):
            look = jax.tree_util.Partial(far, jnp.float32(limit))
            found = observe(memoryless(1e9), 0, np.arange(70), 10, look, 4).seen
            np.testing.assert_array_equal(found["far"], found["total"][:, 0] > limit)
        assert sum("_watched" in name for name in programs) == 1

    def test_steps_carry_into_the_high_word_within_a_block(self):
        process = memoryless(1e9)
        work = jax.tree.map(lambda leaf: leaf[0], chunks._work(0, 1, 1, 1, 1 << 38))
        start = lanes.idle_lanes(process, 64, 1, 1)[0]._replace(code=jnp.zeros(64, jnp.int32))
        word = jnp.full(64, jnp.uint32(2**32 - 4))
        start = start._replace(counter=start.counter._replace(low=word))
        whole = lanes._run_block(process, work, start, lanes.Block(10))[0]
        single = start
        for _ in range(10):
            single = lanes._run_block(process, work, single, lanes.Block(1))[0]
        assert int(whole.counter.high[0]) == 1
        np.testing.assert_array_equal(whole.state.total, single.state.total)

    @pytest.mark.parametrize(
        "arguments", [([], 1, 1), ([[0]], 1, 1), ([0], 0, 1), ([0], 1, 0)], ids=["none", "table", "every", "looks"]
    )
    def test_refuses(self, arguments):
        ids, every, looks = arguments
        with pytest.raises(ValueError, match="1 or more of each"):
            observe(memoryless(2.0), 0, ids, every, point, looks)


class TestSettled:
    @pytest.mark.parametrize("first", [1.0, np.nan, np.inf])
    def test_values_are_the_same_whatever_the_first_is(self, first):
        values = jnp.asarray([first, -2.0, 0.0, np.nan]), jnp.arange(4)
        for value, other in zip(jax.jit(materialized)(values), values, strict=True):
            np.testing.assert_array_equal(value, other)

    def test_nothing_is_compiled_into_what_comes_after(self):
        def program(x):
            return materialized(x * x) + 1

        text = jax.jit(program).lower(jnp.zeros(64)).compile().as_text()
        assert "conditional(" in text

    @pytest.mark.parametrize("rows", [1, 3, 32, 33])
    def test_total_is_the_sum(self, rows):
        values = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        np.testing.assert_array_equal(total(jnp.asarray(values)), values.sum(axis=0))


class TestDevices:
    def lowered(self, process, num_devices):
        mesh = chunks._mesh(tuple(jax.devices()[:num_devices]))
        state = chunks._start(process, chunks._work(0, 1024, 256, num_devices, 100), 128, 256, mesh)
        key = (jnp.uint32(0), jnp.uint32(0))
        return chunks._advance.lower(process, key, state, jnp.int32(4), mesh=mesh, narrower=(64,), block=lanes.Block())

    @pytest.mark.parametrize("make", [euler, jumps])
    def test_no_collectives(self, make):
        """An all-reduce in a loop whose number of rounds differs between devices would wait for ever."""
        text = self.lowered(make(SGD()), 4).compile().as_text()
        assert "while" in text
        for word in ("all-reduce", "all-gather", "all-to-all", "collective-", "reduce-scatter", "send(", "recv("):
            assert word not in text, word

    def test_bits_do_not_depend_on_the_number_of_devices(self):
        process = euler(SGD())
        reference, *others = [run(process, 1, 1500, devices=jax.devices()[:count]) for count in (1, 2, 4)]
        for other in others:
            assert_same(reference, other)

    @pytest.mark.slow
    def test_bits_on_eight_devices(self, tmp_path):
        code = (
            "import sys; sys.path.insert(0, 'tests')\n"
            "import jax, numpy as np\n"
            "from test_engine import euler, run, Adam\n"
            "assert len(jax.devices()) == 8\n"
            "np.save(sys.argv[1], run(euler(Adam()), 1, 1500).record)"
        )
        environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
        subprocess.run([sys.executable, "-c", code, tmp_path / "eight.npy"], env=environment, check=True)
        reference = run(euler(Adam()), 1, 1500, devices=jax.devices()[:1])
        np.testing.assert_array_equal(np.load(tmp_path / "eight.npy"), reference.record)

    @pytest.mark.parametrize("platform", ["tpu", "cuda"])
    @pytest.mark.parametrize("make", [euler, jumps])
    @pytest.mark.parametrize("dynamics", [SGD(), Adam()])
    def test_lowers_for_accelerators(self, platform, make, dynamics):
        process = make(dynamics)
        work = jax.tree.map(lambda leaf: leaf[0], chunks._work(0, 1024, 1024, 1, 100))
        state = lanes.idle_lanes(process, 256, 1024, 1)

        def advance(process, key, work, state, max_blocks):
            return lanes.advance(process, key, work, *state, max_blocks, (64,), lanes.Block())

        leaves, tree = jax.tree.flatten((process, (jnp.uint32(0), jnp.uint32(0)), work, state, jnp.int32(1)))
        function = jax.jit(lambda *leaves: jax.tree.leaves(advance(*jax.tree.unflatten(tree, leaves))))
        exported = jax.export.export(function, platforms=[platform])(*leaves)
        assert exported.platforms == (platform,)


class TestCompilation:
    def test_a_sweep_traces_the_step_once(self):
        traces = []

        @pytree
        class Counted:
            process: Any

            def start(self):
                return self.process.start()

            def step(self, state, counter):
                traces.append(1)
                return self.process.step(state, counter)

            def status(self, state):
                return self.process.status(state)

            def record(self, state):
                return self.process.record(state)

        def process(alpha, noise_level, learning_rate, dt):
            problem = problem_of(Adam(learning_rate, variant="corrected"), noise_level=noise_level, alpha=alpha)
            return cast(Counted(ExitProcess(problem, Euler(dt))), jnp.float32)

        run(process(1.5, 0.2, 0.1, 0.05), 0, 64, 10)
        first = len(traces)
        for alpha, level, rate, dt in (
            (1.2, 0.2, 0.1, 0.05),
            (1.5, 0.1, 0.1, 0.05),
            (1.5, 0.2, 0.2, 0.05),
            (1.9, 1, 1, 1),
        ):
            run(process(alpha, level, rate, dt), 1, 64, 10)
        assert 0 < first == len(traces)

    @pytest.mark.slow
    @pytest.mark.parametrize("make", [euler, jumps])
    def test_the_first_call_is_short(self, make):
        chunks._advance.clear_cache()
        began = time.perf_counter()
        run(make(Adam()), 0, 256)
        assert time.perf_counter() - began < 20


class TestInterruption:
    def interrupted(self, after, **options):
        def on_progress(ended):
            nonlocal after
            after -= ended
            if after < 0:
                raise KeyboardInterrupt

        return {"on_progress": on_progress, **options}

    def test_raises_unless_asked(self):
        with pytest.raises(KeyboardInterrupt):
            run(memoryless(1000.0), 0, 4096, **self.interrupted(100))

    def test_nothing_done_raises(self, monkeypatch):
        def stop(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(chunks, "_start", stop)
        with pytest.raises(KeyboardInterrupt):
            run(memoryless(1000.0), 0, 64, keep_partial=True)

    def test_what_has_ended_is_kept_and_what_runs_is_censored(self, monkeypatch):
        monkeypatch.setattr(chunks, "_cores", lambda mesh: 1)  # what is kept are then the first ids
        whole = run(memoryless(300.0), 0, 1 << 14)
        options = self.interrupted(2000, keep_partial=True)
        ends = run(memoryless(300.0), 0, 1 << 14, devices=jax.devices()[:1], **options)
        count = len(ends.code)
        exited, censored = ends.code == ExitCode.EXITED, ends.code == ExitCode.CENSORED
        assert ends.interrupted
        assert not whole.interrupted
        assert 2000 < count < 1 << 14
        assert np.all(exited | censored)
        assert 0 < censored.sum() <= 2048  # lanes
        np.testing.assert_array_equal(ends.step[exited], whole.step[:count][exited])
        np.testing.assert_array_equal(ends.record[exited], whole.record[:count][exited])
        assert np.all(ends.step[censored] < whole.step[:count][censored])
        assert np.all(ends.step[censored] > 0)

    def test_the_estimate_is_not_biased(self):
        """Interrupted early, when half of what was started still runs: dropping those would halve the mean."""
        exits, total, dropped, seeds = 0, 0, [], 60
        for seed in range(seeds):
            options = self.interrupted(60, keep_partial=True, devices=jax.devices()[:1])
            ends = run(memoryless(300.0), seed, 1 << 14, **options)
            exited = ends.code == ExitCode.EXITED
            exits, total = exits + exited.sum(), total + ends.step.sum()
            dropped.append(ends.step[exited].mean())
        assert np.mean(dropped) < 200
        assert abs(total / exits / 300 - 1) < 4 / np.sqrt(exits)

    def test_between_chunks_and_in_a_later_one(self):
        options = {"chunk_size": 256, "devices": jax.devices()[:1]}
        parts = run_chunks(memoryless(50.0), 0, 1024, **self.interrupted(600, keep_partial=True, **options))
        ends = list(parts)
        assert [part.interrupted for part in ends] == [False, False, True]
        whole = run(memoryless(50.0), 0, 1024, **options)
        np.testing.assert_array_equal(ends[1].step, whole.step[256:512])

    def test_samples_are_marked_and_estimated(self):
        problem = problem_of(SGD(), noise_level=0.02)
        plan = Plan(Euler(0.05), 4096, devices=jax.devices()[:1])
        samples = simulate(problem, plan, 0, **self.interrupted(500, keep_partial=True))
        assert samples.partial
        fit = exponential_fit(samples.exit_time, samples.exited)
        whole = simulate(problem, plan, 0)
        assert not whole.partial
        assert fit.num_censored > 0
        assert abs(fit.rate * whole.exit_time.mean() - 1) < 4 / np.sqrt(fit.num_exited)


class TestSummary:
    plan = Plan(Euler(0.05), 3000, max_time=60.0)

    def test_equals_the_samples(self):
        problem = problem_of(SGD(), noise_level=0.05)
        samples = simulate(problem, self.plan, 0)
        chunked = Plan(Euler(0.05), 3000, max_time=60.0, chunk_size=512)
        for summary in (summarize(samples), simulate_summary(problem, chunked, 0)):
            for code in ExitCode:
                assert summary.count(code) == samples.count(code)
            assert summary.total_steps == samples.exit_step.sum()
            faces = np.bincount(samples.exit_face[samples.exited], minlength=4)
            np.testing.assert_array_equal(summary.face_counts, faces)
            fit = exponential_fit(samples.exit_time, samples.exited)
            ours = summary.exponential_fit()
            assert (ours.num_exited, ours.num_censored) == (fit.num_exited, fit.num_censored)
            assert ours.rate == pytest.approx(fit.rate, rel=1e-12)
            assert ours.rate_interval == pytest.approx(fit.rate_interval, rel=1e-12)
            squares = (samples.exit_time[samples.exited] ** 2).sum()
            assert summary.total_squared_time == pytest.approx(squares, rel=1e-12)

    def test_survival_and_quantiles_are_within_a_bin(self):
        samples = simulate(problem_of(SGD(), noise_level=0.1), self.plan, 0)
        summary, curve = summarize(samples), kaplan_meier(samples.exit_time, samples.exited)
        for time_, survival in zip(edges()[1:], summary.survival(), strict=True):
            index = np.searchsorted(curve.times, time_, side="left") - 1  # exits just before the edge
            assert survival == pytest.approx(curve.survival[index], abs=0.01) or time_ > 59
        for probability in (0.1, 0.5):
            exact = curve.times[np.searchsorted(-curve.survival, probability - 1)]
            assert summary.quantile(probability) == pytest.approx(exact, rel=0.025)
        assert summary.quantile(1 - curve.survival[-1] / 2) == np.inf

    def test_merges_exactly(self):
        problem = problem_of(SGD(), noise_level=0.1)
        first, second, third = (summarize(simulate(problem, self.plan, seed)) for seed in range(3))
        for name in ("counts", "face_counts", "exit_histogram", "censored_histogram", "total_steps"):
            merged = [getattr(whole, name) for whole in ((first + second) + third, first + (second + third))]
            np.testing.assert_array_equal(*merged)
        with pytest.raises(ValueError, match="different basins"):
            first + summarize(simulate(problem_of(SGD(), 1, 0.5), self.plan, 0))

    def test_memory_does_not_grow(self):
        """Two million exits keep 16 bytes each as samples, and would show."""
        problem = problem_of(SGD(), 2, noise_level=2.0)

        def peak(count):
            summary = simulate_summary(problem, Plan(Euler(0.05), count, chunk_size=1 << 14), 0)
            assert summary.counts.sum() == count
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        before = peak(1 << 16)
        assert peak(2_000_000) < before + (20 << 10)
