"""Chunks of trajectories on the host: bounded memory, any number of devices and cores, progress between calls."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int32, UInt64

from levyjax.arrays import jit, power_of_four
from levyjax.engine import lanes as loop
from levyjax.engine.lanes import Block, ExitCode, Lanes, Process, Slots, Work, idle_lanes
from levyjax.random import run_key
from levyjax.random.streams import MAX_STEPS

LANE_MULTIPLE = 64  # lanes come in multiples of this, so that every one of them runs in the same vector loop
_TRAJECTORIES_PER_LANE = 16  # the end of a chunk then costs a third of it
_TRAJECTORIES_PER_NARROWING_LANE, _NARROWING = 8, 16  # and here a quarter
_SECONDS_PER_CALL, _QUICKER = 0.3, 16  # how much more than before a call may take on, where it was quick


class _Limits(NamedTuple):
    """Rows times lanes that fill a device and that keep it filled, and trajectories a chunk."""

    least: int
    most: int
    chunk: int
    block: Block  # where trajectories have many steps
    lanes: int | None = None  # of any run; None: more lanes for more trajectories


# One core: its vector units are full with few lanes, its cache is small. With 64 to 256 lanes 512 to 262,144
# trajectories take the same time within 20%, so that all of them can run one program.
_CPU = _Limits(1, 1 << 13, 1 << 18, Block(), lanes=256)
_ACCELERATOR = _Limits(1 << 17, 1 << 20, 1 << 22, Block(8, 8))
_CHUNK_ENTRIES = 1 << 25
_ROUNDS = 2  # trajectories a lane, from which on another core is worth its lanes
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of all cores together in a period, and the period
_SLOTS, _SLOT_ENTRIES = 1 << 14, 1 << 20  # slots of small chunks on a CPU; rows times slots that cost next to no time


class Ends(NamedTuple):
    """How trajectories ended, in the order of their ids, and what that took without compilation."""

    step: UInt64[np.ndarray, " n"]
    code: Int32[np.ndarray, " n"]
    record: Float[np.ndarray, "n rows"]
    seconds: float
    lane_steps: int  # steps times lanes, idle ones included
    interrupted: bool


class State(NamedTuple):
    """A chunk, or a core's part of it, between two calls."""

    work: Work
    lanes: Lanes
    slots: Slots


def _limits(mesh: Mesh) -> _Limits:
    return _CPU if mesh.devices.flat[0].platform == "cpu" else _ACCELERATOR


def _cores(mesh: Mesh) -> int:
    """Cores of a CPU that is one device, which runs a program on one of them; in a pool of processes each has one."""
    if mesh.size > 1 or _limits(mesh).lanes is None or multiprocessing.parent_process() is not None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # a container's share of the machine, where it has one
        quota, period = _QUOTA.read_text(encoding="utf-8").split()
        cores = min(cores, max(int(quota) // int(period), 1))
    return cores


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _widths(
    num_trajectories: int, rows: int, mesh: Mesh, chunk_size: int | None, narrowing: bool
) -> tuple[list[int], int, int]:
    """Lanes a device or core, in the order in which the end of a chunk narrows them, its slots, trajectories a chunk.

    Slots are a power of two, on a CPU one of few, so that other numbers of trajectories run the same program.
    """
    limits = _limits(mesh)
    chunk = min(num_trajectories, chunk_size or max(min(limits.chunk, _CHUNK_ENTRIES // rows), LANE_MULTIPLE))
    least, most = (_round_up(max(entries // rows, 1), LANE_MULTIPLE) for entries in (limits.least, limits.most))
    own = -(-chunk // mesh.size)
    if limits.lanes is not None:
        width = min(limits.lanes, most)
        own = min(own, max(-(-own // _cores(mesh)), _ROUNDS * width))  # of a core: `_share` is no more
    slots = max(1 << (own - 1).bit_length(), LANE_MULTIPLE)
    if limits.lanes is not None:
        few = 1 << (_SLOTS // _cores(mesh)).bit_length() - 1
        coarse = few if own <= few else power_of_four(own)
        slots = coarse if rows * coarse <= _SLOT_ENTRIES else slots
        return [min(width, slots)], slots, chunk
    share = _TRAJECTORIES_PER_NARROWING_LANE if narrowing else _TRAJECTORIES_PER_LANE
    width = min(max(_round_up(slots // share, LANE_MULTIPLE), least), most, slots)
    narrow = max(_round_up(width // _NARROWING, LANE_MULTIPLE), least)
    return [width, narrow] if narrowing and narrow <= width // 4 else [width], slots, chunk


def _share(count: int, width: int, cores: int) -> int:
    """Trajectories of each core, of this many."""
    return -(-count // min(cores, -(-count // (_ROUNDS * width))))


def _lane_spec(leaf: Any) -> PartitionSpec:
    """Every array of lanes or slots is cut along its last axis."""
    return PartitionSpec(*([None] * (leaf.ndim - 1)), "lanes")


@lru_cache(maxsize=8)
def _mesh(devices: tuple[Any, ...]) -> Mesh:
    return jax.make_mesh((len(devices),), ("lanes",), axis_types=(AxisType.Auto,), devices=devices)


@partial(jit, static_argnames=("mesh", "narrower", "block"))
def _advance(
    process: Process,
    key: Any,
    state: State,
    max_blocks: Any,
    *,
    mesh: Mesh,
    narrower: tuple[int, ...],
    block: Block,
):
    """`lanes.advance` on every device for its own lanes; the loops do not talk to each other.

    Returns blocks times lanes and the trajectories that run, for each device, and the state. The state that came in
    stays valid, so that an interrupted call has done no harm.
    """

    def local(process: Process, key: Any, max_blocks: Any, state: State):
        alone = jax.tree.map(lambda leaf: leaf[0], state.work)
        spent, work, lanes, slots = loop.advance(
            process, key, alone, state.lanes, state.slots, max_blocks, narrower, block
        )
        running = (lanes.code == ExitCode.RUNNING).sum(dtype=jnp.int32)
        spent, running, work = jax.tree.map(lambda leaf: leaf[None], (spent, running, work))
        return spent, running, State(work, lanes, slots)

    whole, each = PartitionSpec(), PartitionSpec("lanes")
    specs = jax.tree.map(_lane_spec, state)
    return jax.shard_map(
        local, mesh=mesh, in_specs=(whole, whole, whole, specs), out_specs=(each, each, specs), check_vma=False
    )(process, key, max_blocks, state)


def _work(first: int, count: int, slots: int, num_devices: int, max_steps: int) -> Work:
    """The ids first, first + 1, ... dealt to the devices in order, to each the same number."""
    share = min(-(-count // num_devices), slots)
    firsts = [first + device * share for device in range(num_devices)]
    totals = [min(max(count - device * share, 0), share) for device in range(num_devices)]

    def halves(values: Sequence[int]) -> tuple[Any, Any]:
        array = np.array(values, np.uint64)
        low, high = array & np.uint64(0xFFFFFFFF), array >> np.uint64(32)
        return low.astype(np.uint32), high.astype(np.uint32)

    counts: Any = np.array([totals, [0] * num_devices], np.int32)
    return Work(*halves(firsts), counts[0], counts[1], *halves([max_steps] * num_devices))


def run(process: Process, key: Any, num_trajectories: int, max_steps: int | None = None, **options: Any) -> Ends:
    """Run trajectories to their ends; arguments as for `run_chunks`.

    Returns:
        Step, code and record of every trajectory, in the order of their ids.
    """
    parts = list(run_chunks(process, key, num_trajectories, max_steps, **options))
    step, code, record = (np.concatenate([part[i] for part in parts]) for i in range(3))
    seconds, lane_steps = sum(part.seconds for part in parts), sum(part.lane_steps for part in parts)
    return Ends(step, code, record, seconds, lane_steps, parts[-1].interrupted)


def run_chunks(
    process: Process,
    key: Any,
    num_trajectories: int,
    max_steps: int | None = None,
    *,
    first_id: int = 0,
    chunk_size: int | None = None,
    devices: Sequence[Any] | None = None,
    narrowing: bool = True,
    on_progress: Callable[[int], None] | None = None,
    keep_partial: bool = False,
) -> Iterator[Ends]:
    """Run trajectories to their ends, chunk by chunk, in memory that does not grow with their number.

    A CPU's only device runs a program on one core: there a chunk is dealt to as many threads as the process may
    use cores (`taskset` says which), but in one of a pool of processes to one.

    Args:
        process: what a lane runs; a pytree of device arrays in one floating type.
        key: an integer seed or a `jax.random.key`.
        num_trajectories: how many; their ids are first_id, first_id + 1, ...
        max_steps: steps after which a trajectory is censored; default never (2^39 - 1).
        first_id: id of the first trajectory.
        chunk_size: trajectories held on the devices at once; default by memory. Changes no number.
        devices: default all local devices. Changes no number.
        narrowing: whether on an accelerator the last trajectories of a chunk run in fewer lanes, by a second copy of
            the step, which has to be compiled; it pays where a trajectory has many steps. Changes no number.
        on_progress: called with the number of newly ended trajectories.
        keep_partial: on KeyboardInterrupt end with what there is: trajectories that run are censored where they
            stand, and those that have taken no step are left out.

    Yields:
        Step, code and record of every trajectory of a chunk, in the order of their ids.
    """
    mesh = _mesh(tuple(devices or jax.local_devices()))
    max_steps = MAX_STEPS - 1 if max_steps is None else min(max_steps, MAX_STEPS - 1)
    rows = jax.eval_shape(lambda process: process.record(process.start()), process).shape[0]
    widths, num_slots, chunk = _widths(num_trajectories, rows, mesh, chunk_size, narrowing)
    words = tuple(np.asarray(word, np.uint32) for word in run_key(key))
    block = _limits(mesh).block if narrowing else Block()
    advance = partial(_advance, process, words, mesh=mesh, narrower=tuple(widths[1:]), block=block)
    on_progress, ends, cores = on_progress or (lambda _: None), None, _cores(mesh)
    for first in range(0, num_trajectories, chunk):
        count = min(num_trajectories - first, chunk)
        share = _share(count, widths[0], cores)
        works = [
            _work(first_id + begin, min(share, first + count - begin), num_slots, mesh.size, max_steps)
            for begin in range(first, first + count, share)
        ]
        try:
            states = [_start(process, work, widths[0], num_slots, mesh) for work in works]
            ends = _run_chunk(process, advance, states, count, block.steps, on_progress, keep_partial)
        except KeyboardInterrupt:
            if ends is None or not keep_partial:
                raise
            ends = Ends(ends.step[:0], ends.code[:0], ends.record[:0], 0.0, 0, True)  # between two chunks
        yield ends
        if ends.interrupted:
            return


@partial(jax.jit, static_argnames=("width", "num_slots", "mesh"))
def _start(process: Process, work: Work, width: int, num_slots: int, mesh: Mesh) -> State:
    """A chunk at its start, placed as the compiled loop returns it, so that all calls run one program."""
    state = State(work, *idle_lanes(process, width, num_slots, mesh.size))
    places = jax.tree.map(lambda leaf: NamedSharding(mesh, _lane_spec(leaf)), state)
    return jax.lax.with_sharding_constraint(state, places)


def _run_chunk(
    process: Process,
    advance: Callable,
    states: list[State],
    count: int,
    block_steps: int,
    on_progress: Callable[[int], None],
    keep_partial: bool,
) -> Ends:
    states = [jax.block_until_ready(advance(states[0], np.int32(0))[2]), *states[1:]]  # compiles, starts
    began = time.perf_counter()
    states, lane_blocks, interrupted = _finish(advance, states, count, on_progress, keep_partial)
    seconds = time.perf_counter() - began
    parts = [_ended(_censor(process, state) if interrupted else state.slots) for state in states]
    step, code, record = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if len(code) == 0:
        raise KeyboardInterrupt
    return Ends(step, code, record, seconds, lane_blocks * block_steps, interrupted)


def _finish(
    advance: Callable, states: list[State], count: int, on_progress: Callable[[int], None], keep_partial: bool
) -> tuple[list[State], int, bool]:
    """Call the compiled loop, a fraction of a second at a time, until the chunk is done; counts blocks times lanes."""
    blocks, ended, lane_blocks = 4, 0, 0
    most = (1 << 31) // states[0].lanes.code.shape[0] - 1  # the loop counts blocks times lanes in 32 bits
    x64 = jax.config.jax_enable_x64  # of this thread

    def called(state: State) -> Any:
        with jax.enable_x64(x64):
            return jax.block_until_ready(advance(state, np.int32(min(blocks, most))))

    with ThreadPoolExecutor(len(states)) as pool:
        each = pool.map if len(states) > 1 else map
        try:
            while ended < count:
                began = time.perf_counter()
                found = list(each(called, states))
                states = [moved for _, _, moved in found]
                lane_blocks += sum(int(np.asarray(spent).sum(dtype=np.int64)) for spent, _, _ in found)
                calls = _SECONDS_PER_CALL / max(time.perf_counter() - began, 1e-6)
                if calls > 1:
                    blocks = min(blocks * min(max(int(calls / 4), 2), _QUICKER), most)
                begun = sum(int(np.asarray(moved.work.next).sum()) for moved in states)
                ended_before, ended = ended, begun - sum(int(np.asarray(running).sum()) for _, running, _ in found)
                on_progress(ended - ended_before)
        except KeyboardInterrupt:
            if not keep_partial:
                raise
            return states, lane_blocks, True
    return states, lane_blocks, False


def _censor(process: Process, state: State) -> Slots:
    """The slots, with those that run censored where they stand; a trajectory without a step stays out."""
    num_devices = len(state.work.next)
    lanes, slots = state.lanes, jax.tree.map(np.array, state.slots)
    device = np.arange(len(lanes.slot)) // (len(lanes.slot) // num_devices)
    steps = np.asarray(lanes.counter.low) | np.asarray(lanes.counter.high)
    runs = (np.asarray(lanes.code) == ExitCode.RUNNING) & (steps > 0)
    target = (device * (len(slots.code) // num_devices) + np.asarray(lanes.slot))[runs]
    slots.low[target], slots.high[target] = np.asarray(lanes.counter.low)[runs], np.asarray(lanes.counter.high)[runs]
    slots.code[target] = ExitCode.CENSORED
    slots.record[:, target] = np.asarray(process.record(lanes.state))[:, runs]
    return slots


def _ended(slots: Slots) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step, code and record of the slots that hold a trajectory, without those that pad."""
    low, high, code, record = map(np.asarray, slots)
    kept = code != ExitCode.RUNNING
    if not kept.all():
        low, high, code, record = (leaf[..., kept] for leaf in (low, high, code, record))
    step = low.astype(np.uint64)
    if high.any():
        step |= high.astype(np.uint64) << np.uint64(32)
    return step, code, record.T
