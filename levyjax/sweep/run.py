"""The chunks of a sweep, computed here or by any executor, each by whoever comes first."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np

from levyjax.config.build import build_problem
from levyjax.config.grid import SweepConfig
from levyjax.environment import environment
from levyjax.escape import EscapeProblem, ExitSamples, Plan, quasi_stationary_rate, simulate
from levyjax.escape.quasi_stationary import QuasiStationaryRate
from levyjax.sweep.rows import Build, CellProblem, checked_problem, row
from levyjax.sweep.store import ChunkStore, Ends, to_arrays

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
    return compute(store.config, store, cell, chunk, _problem(store, cell, build))[0]


@lru_cache(maxsize=4)
def _store(folder: str) -> ChunkStore:
    return ChunkStore.open(folder)


@lru_cache(maxsize=64)
def _problem(store: ChunkStore, index: int, build: Build) -> CellProblem:
    """The objects of a cell, for all of its chunks; refuses one that would not end."""
    return checked_problem(store.config.cells[index], build)


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    return environment()


def compute(
    config: SweepConfig, store: ChunkStore | None, index: int, chunk: int, made: CellProblem, **options: Any
) -> tuple[dict[str, Any], Ends | None]:
    """Compute one chunk, unless it is stored and whole, and store it where there is a store.

    Args:
        config: the sweep.
        store: its folder; None keeps nothing.
        index: of the cell.
        chunk: index of the chunk in the cell.
        made: the objects of the cell.
        options: `on_progress` and `keep_partial` of `simulate`.

    Returns:
        What the journal notes, and the exits or the rate; None if they were there.
    """
    entry: dict[str, Any] = {"cell": index, "chunk": chunk}
    before = "missing" if store is None else store.state(index, chunk)
    if before == "done":
        return entry | {"skipped": True}, None
    if before == "damaged":
        entry["redone"] = "its file was damaged"
    began, run = time.time(), config.cells[index].config.run
    first, last = config.bounds(index, chunk)
    plan = dataclasses.replace(made.plan, num_trajectories=last - first)
    ends = _rate(made.problem, plan, run) if run.method == "quasi_stationary" else None
    while ends is None:
        try:
            ends = simulate(made.problem, plan, run.seed, first_id=first, **options)
        except jax.errors.JaxRuntimeError as error:
            plan = _halved(plan, error)
            entry["device_out_of_memory"] = f"went on with {plan.chunk_size} trajectories at once"
    if store is not None:
        partial = isinstance(ends, ExitSamples) and ends.partial
        store.write(index, chunk, to_arrays(ends), partial)
        entry |= {"began": began, "seconds": ends.seconds, "wall_seconds": time.time() - began}
        entry |= {"partial": True} if partial else {}
        store.note(entry | {"environment": _environment()})
    return entry, ends


def _halved(plan: Plan, error: RuntimeError) -> Plan:
    """With half as many trajectories at once, where the device's memory did not suffice; else the error."""
    size = plan.chunk_size or plan.num_trajectories
    if "RESOURCE_EXHAUSTED" not in str(error) or size <= _LEAST:
        raise error
    return dataclasses.replace(plan, chunk_size=max(size // 2, _LEAST))


def _rate(problem: EscapeProblem, plan: Plan, run: Any) -> QuasiStationaryRate:
    """The rate of a cell by the table [run]."""
    return quasi_stationary_rate(
        problem,
        run.seed,
        relative_error=run.relative_error,
        num_particles=plan.num_trajectories,
        max_time=plan.max_time,
        max_seconds=np.inf,  # rows are the same to the last bit on a slow machine, too
        dtype=plan.dtype,
    )


def run_cells(
    config: SweepConfig, made: Sequence[CellProblem], store: ChunkStore | None, on_progress: Callable[[int], None]
) -> Iterator[tuple[dict[str, Any], bool]]:
    """The rows of a sweep of whole cells, one after the other, in this process.

    An interrupted cell is the last one, with the trajectories that there are; see `simulate`.

    Args:
        config: the sweep.
        made: the objects of each cell.
        store: where the samples are kept, and those that are there taken from; None keeps nothing.
        on_progress: called with the number of newly ended trajectories.

    Yields:
        The row of a cell, and whether the cell was interrupted.
    """
    seconds = {} if store is None else store.seconds()
    for index, place in enumerate(config.cells):
        _, ends = compute(config, store, index, 0, made[index], on_progress=on_progress, keep_partial=True)
        stored = ends is None
        if ends is None:
            assert store is not None
            ends = store.ends(index, seconds[index])
        found = row(ends, made[index])
        if stored or isinstance(ends, QuasiStationaryRate):
            on_progress(found["exited"])
        partial = isinstance(ends, ExitSamples) and ends.partial
        yield {**place.coordinates, **found}, partial
        if partial:
            return


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
