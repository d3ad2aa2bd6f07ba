"""The chunks of a sweep, computed here or by any executor, each by whoever comes first."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np

from levyjax.config import Cell, RunConfig
from levyjax.config.build import build_plan, build_problem
from levyjax.engine import ExitCode
from levyjax.environment import environment
from levyjax.escape import EscapeProblem, ExitSamples, Plan, predict, simulate
from levyjax.sweep.rows import check_work, rate_of
from levyjax.sweep.store import ChunkStore

Build = Callable[[RunConfig, Cell], EscapeProblem]

_IN_FLIGHT = 256  # chunks that wait at an executor
_LEAST = 64  # trajectories at once below which a device is too small
_LOSSES = 5  # times that a pool may break without a chunk done in between


def compute_chunk(folder: str, cell: int, chunk: int, build: Build = build_problem) -> dict[str, Any]:
    """Compute one chunk of a sweep and store it, unless it is there and whole.

    What is stored depends on nothing but the sweep, the cell and the chunk, so it does no harm to compute one twice.

    Args:
        folder: the sweep's folder, which every worker sees.
        cell: index of the cell.
        chunk: index of the chunk in the cell.
        build: makes the problem of a cell; default the one that the file describes.

    Returns:
        What the journal notes: the seconds, the trajectories that left the finite numbers, and what went wrong.

    Raises:
        ValueError: the cell would not end.
    """
    store = _store(folder)
    before = store.state(cell, chunk)
    entry: dict[str, Any] = {"cell": cell, "chunk": chunk}
    if before == "done":
        return entry | {"skipped": True}
    if before == "damaged":
        entry["redone"] = "its file was damaged"
    began = time.time()
    arrays, seconds, halved = _arrays(store, cell, chunk, build)
    store.write(cell, chunk, arrays)
    entry |= {"began": began, "seconds": seconds, "wall_seconds": time.time() - began}
    if halved:
        entry["device_out_of_memory"] = f"went on with {halved} trajectories at once"
    store.note(entry | {"environment": _environment()})
    return entry


@lru_cache(maxsize=4)
def _store(folder: str) -> ChunkStore:
    return ChunkStore.open(folder)


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    return environment()


def _arrays(store: ChunkStore, index: int, chunk: int, build: Build) -> tuple[dict[str, np.ndarray], float, int | None]:
    """The chunk, the seconds of its simulation, and the trajectories at once if memory ran out."""
    config, cell = store.config.cells[index].config, store.config.cells[index].cell
    problem, plan = build(config, cell), build_plan(config)
    _check(store, index, build)
    if config.run.method == "quasi_stationary":
        result = rate_of(problem, plan, config)
        numbers = dataclasses.asdict(result) | {"seconds": 0.0}
        return {name: np.asarray(value) for name, value in numbers.items()}, result.seconds, None
    first, last = store.config.bounds(index, chunk)
    plan = dataclasses.replace(plan, num_trajectories=last - first)
    samples, halved = _simulated(problem, plan, config.run.seed, first)
    return to_arrays(samples), samples.seconds, halved


@lru_cache(maxsize=64)
def _check(store: ChunkStore, index: int, build: Build) -> None:
    """Refuses a cell that would not end, once for all of its chunks."""
    place = store.config.cells[index]
    problem, plan = build(place.config, place.cell), build_plan(place.config)
    check_work(problem, plan, predict(problem, plan.solver), place.cell)


def _simulated(problem: EscapeProblem, plan: Plan, seed: int, first: int) -> tuple[ExitSamples, int | None]:
    """The exits; where the device's memory does not suffice, with half as many trajectories at once, and so on."""
    size = plan.num_trajectories
    while True:
        try:
            samples = simulate(problem, plan, seed, first_id=first)
            return samples, None if plan.chunk_size is None else size
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or size <= _LEAST:
                raise
        size = max(size // 2, _LEAST)
        plan = dataclasses.replace(plan, chunk_size=size)


def to_arrays(samples: ExitSamples) -> dict[str, np.ndarray]:
    """Exit samples as the arrays of a chunk: without what differs from run to run."""
    clock = {"step_time": np.asarray(samples.step_time)} if samples.clock is None else {"clock": samples.clock}
    return {
        "exit_step": samples.exit_step,
        "exit_code": samples.exit_code.astype(np.int8),
        "exit_position": samples.exit_position,
        "exit_face": samples.exit_face.astype(np.int32),
        "face_names": np.array(samples.face_names, str),
        **clock,
    }


def from_arrays(arrays: dict[str, np.ndarray], seconds: float = 0.0) -> ExitSamples:
    """The samples of a chunk."""
    return ExitSamples(
        arrays["exit_step"],
        arrays["exit_code"].astype(np.int32),
        arrays["exit_position"],
        arrays["exit_face"],
        tuple(map(str, arrays["face_names"])),
        float(arrays["step_time"]) if "step_time" in arrays else None,
        seconds,
        clock=arrays.get("clock"),
    )


def nonfinite(arrays: dict[str, np.ndarray], first: int) -> list[int]:
    """Ids of the trajectories of a chunk that left the finite numbers."""
    return [first + int(place) for place in np.flatnonzero(arrays["exit_code"] == ExitCode.NONFINITE)]


def pending(store: ChunkStore, shard: tuple[int, int] = (0, 1)) -> list[tuple[int, int]]:
    """The chunks of a shard that are missing or damaged: shard (i, n) has every n-th chunk, from the i-th on."""
    index, count = shard
    mine = [place for number, place in enumerate(store.config.chunks()) if number % count == index]
    return [place for place in mine if store.state(*place) != "done"]


def run_sweep(
    folder: str | Path,
    executor: Executor | None = None,
    *,
    shard: tuple[int, int] = (0, 1),
    build: Build = build_problem,
    on_done: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> None:
    """Compute all chunks that are not there yet.

    Args:
        folder: the sweep's folder; `ChunkStore.create` makes one.
        executor: who computes: anything like `concurrent.futures.Executor` whose workers see the folder, such as
            `dask.distributed.Client(...).get_executor()`; default this process.
        shard: (i, n): only every n-th chunk from the i-th on.
        build: makes the problem of a cell; it has to be importable where the executor's workers are.
        on_done: called with the journal's entry of each chunk.

    Raises:
        OSError: a chunk cannot be written. What is done stays.
    """
    store = ChunkStore.open(folder)
    calls = [(str(store.folder.resolve()), *place, build) for place in pending(store, shard)]
    if executor is None:
        for call in calls:
            on_done(compute_chunk(*call))
        return
    _submit(executor, calls, on_done)


def _submit(executor: Executor, calls: Iterable[tuple], on_done: Callable[[dict[str, Any]], None]) -> None:
    """Keep a bounded number of chunks in flight; the first error cancels those that have not begun."""
    waiting: set[Future] = set()
    queue = iter(calls)
    try:
        while True:
            while len(waiting) < _IN_FLIGHT and (call := next(queue, None)) is not None:
                waiting.add(executor.submit(compute_chunk, *call))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                on_done(future.result())
    except BaseException:
        for future in waiting:
            future.cancel()
        raise


def run_with_processes(
    folder: str | Path,
    workers: int,
    *,
    shard: tuple[int, int] = (0, 1),
    build: Build = build_problem,
    on_done: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> None:
    """`run_sweep` with processes of this machine; one that is killed is replaced, and its chunk computed again.

    Raises:
        RuntimeError: workers die one after the other, without a chunk done.
    """
    losses = 0

    def done(entry: dict[str, Any]) -> None:
        nonlocal losses
        losses = 0
        on_done(entry)

    while losses < _LOSSES:
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            run_sweep(folder, pool, shard=shard, build=build, on_done=done)
            return
        except BrokenExecutor:
            losses += 1
        finally:
            pool.shutdown(cancel_futures=True)
    raise RuntimeError(f"{_LOSSES} times in a row a worker died before it had finished a chunk. Is memory too small?")


def run_distributed(
    folder: str | Path,
    index: int,
    count: int,
    *,
    build: Build = build_problem,
    on_done: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> None:
    """The part of process `index` of `count`: its own shard on its own devices, and then what others have not done.

    All end within about a chunk's time of each other. A chunk that two compute at once is written twice, the same.
    """
    run_sweep(folder, shard=(index, count), build=build, on_done=on_done)
    store = ChunkStore.open(folder)
    for place in _others_last_first(pending(store), index, count):
        on_done(compute_chunk(str(store.folder.resolve()), *place, build))


def _others_last_first(places: Sequence[tuple[int, int]], index: int, count: int) -> list[tuple[int, int]]:
    """What is left, from its end, and from another place for each process."""
    shift = len(places) * index // count
    return [*places[shift:], *places[:shift]][::-1]
