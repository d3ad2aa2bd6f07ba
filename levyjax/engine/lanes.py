"""The compiled loop: lanes of trajectories that take the next one when theirs ends.

A lane steps its trajectory until it exits, is censored, or leaves the finite numbers. That is tested at every step;
every few steps the loop counts the lanes that stand idle, and once they have cost as much as a refill does it writes
finished trajectories to their slots and starts the next ids in their place. When none are left, those that still run
move together into narrower and narrower lanes. Random numbers are functions of (run key, trajectory id, step), so which
lane runs a trajectory, how wide the lanes are and how many devices there are change nothing in it.
"""

from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32, UInt32

from levyjax.random import Counter
from levyjax.random.streams import trajectory_key

REFILL_STEPS = 2  # what a refill costs, in steps of all lanes


class Block(NamedTuple):
    """How many steps lanes take between two looks at them, and how many of them are compiled side by side.

    An accelerator starts a program for every step of a loop, and asks the host whether a loop goes on; both take about
    10 microseconds. Steps compiled side by side need neither, and their compilation takes that many times as long.
    """

    steps: int = 8
    unroll: int = 1


class ExitCode(IntEnum):
    """How a trajectory ended."""

    RUNNING = 0
    EXITED = 1
    CENSORED = 2
    NONFINITE = 3


@runtime_checkable
class Process(Protocol):
    """What a lane runs. States are pytrees of arrays (rows, lanes)."""

    def start(self) -> Any:
        """The state at time 0, one lane wide: arrays (rows, 1)."""
        ...

    def step(self, state: Any, counter: Counter) -> Any:
        """The state one step later."""
        ...

    def status(self, state: Any) -> Int32[Array, " lanes"]:
        """An `ExitCode` for each lane: RUNNING, EXITED or CENSORED; not RUNNING at NaN."""
        ...

    def record(self, state: Any) -> Float[Array, "rows lanes"]:
        """What is kept of a trajectory that has ended; it counts as NONFINITE where that is not finite."""
        ...


class Lanes(NamedTuple):
    """One trajectory a lane; a lane without one has a slot past the end."""

    state: Any
    slot: Int32[Array, " lanes"]
    counter: Counter  # low and high: steps taken
    code: Int32[Array, " lanes"]


class Slots(NamedTuple):
    """Where trajectories of this chunk end up, in the order of their ids."""

    low: UInt32[Array, " slots"]
    high: UInt32[Array, " slots"]
    code: Int32[Array, " slots"]
    record: Float[Array, "rows slots"]


class Work(NamedTuple):
    """What is left to do in a chunk: the first id, the number of trajectories, the next slot, the step limit."""

    first_low: UInt32[Array, ""]
    first_high: UInt32[Array, ""]
    total: Int32[Array, ""]
    next: Int32[Array, ""]
    limit_low: UInt32[Array, ""]
    limit_high: UInt32[Array, ""]


def _add(low: Array, high: Array, amount: Array) -> tuple[Array, Array]:
    """64-bit addition in two words."""
    total = low + amount.astype(jnp.uint32)
    return total, high + (total < low).astype(jnp.uint32)


def _steps_left(work: Work, counter: Counter, at_most: int) -> Int32[Array, " lanes"]:
    """min(limit - steps taken, at_most)."""
    difference = work.limit_low - counter.low
    borrow = (work.limit_low < counter.low).astype(jnp.uint32)
    high = work.limit_high - counter.high - borrow
    return jnp.where(high > 0, at_most, jnp.minimum(difference, jnp.uint32(at_most)).astype(jnp.int32))


def _run_block(process: Process, work: Work, lanes: Lanes, block: Block) -> tuple[Lanes, Int32[Array, ""]]:
    """Take up to a block of steps in every running lane, and count the steps that lanes stood idle."""
    left = _steps_left(work, lanes.counter, block.steps + 1)

    def step(index: Array, carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        state, code, taken = carry
        low, high = lanes.counter.low + index.astype(jnp.uint32), lanes.counter.high
        if block.steps & (block.steps - 1):  # else a block, of which a running lane has taken whole ones, ends with it
            high += (low < lanes.counter.low).astype(jnp.uint32)
        counter = lanes.counter._replace(low=low, high=high)
        running = code == ExitCode.RUNNING
        moved = process.step(state, counter)
        state = jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, state)
        taken = jnp.where(running, index + 1, taken)
        status = process.status(state)
        at_limit = jnp.where(taken >= left, jnp.int32(ExitCode.CENSORED), status)
        code = jnp.where(running, jnp.where(status == ExitCode.RUNNING, at_limit, status), code)
        return state, code, taken

    start = (lanes.state, lanes.code, jnp.zeros_like(lanes.code))
    state, code, taken = lax.fori_loop(0, block.steps, step, start, unroll=block.unroll)
    finite = jnp.isfinite(process.record(state)).all(axis=0)
    code = jnp.where((lanes.code == ExitCode.RUNNING) & ~finite, jnp.int32(ExitCode.NONFINITE), code)
    low, high = _add(lanes.counter.low, lanes.counter.high, taken)
    idle = (block.steps - taken).sum(dtype=jnp.int32)
    return Lanes(state, lanes.slot, lanes.counter._replace(low=low, high=high), code), idle


def _refill(process: Process, key: Any, work: Work, lanes: Lanes, slots: Slots) -> tuple[Work, Lanes, Slots]:
    """Write finished trajectories to their slots and start the next ones in their lanes."""
    past_end = slots.code.shape[0]
    free = lanes.code != ExitCode.RUNNING
    target = jnp.where(free, lanes.slot, past_end)
    slots = Slots(
        slots.low.at[target].set(lanes.counter.low, mode="drop"),
        slots.high.at[target].set(lanes.counter.high, mode="drop"),
        slots.code.at[target].set(lanes.code, mode="drop"),
        slots.record.at[:, target].set(process.record(lanes.state), mode="drop"),
    )
    taken = work.next + jnp.cumsum(free.astype(jnp.int32)) - 1
    starts = free & (taken < work.total)
    slot = jnp.where(starts, taken, jnp.where(free, past_end, lanes.slot))
    id_low, id_high = _add(
        jnp.broadcast_to(work.first_low, slot.shape), jnp.broadcast_to(work.first_high, slot.shape), slot
    )
    key0, key1 = trajectory_key(key, id_low, id_high)
    zero = jnp.uint32(0)
    counter = Counter(
        jnp.where(starts, key0, lanes.counter.key0),
        jnp.where(starts, key1, lanes.counter.key1),
        jnp.where(starts, zero, lanes.counter.low),
        jnp.where(starts, zero, lanes.counter.high),
    )
    state = jax.tree.map(lambda new, old: jnp.where(starts, new, old), process.start(), lanes.state)
    code = jnp.where(starts, jnp.int32(ExitCode.RUNNING), lanes.code)
    work = work._replace(next=work.next + starts.sum(dtype=jnp.int32))
    return work, Lanes(state, slot, counter, code), slots


def _running(lanes: Lanes) -> Int32[Array, ""]:
    return (lanes.code == ExitCode.RUNNING).sum(dtype=jnp.int32)


def _fill(
    process: Process, key: Any, work: Work, lanes: Lanes, slots: Slots, max_blocks: Array, floor: int, block: Block
) -> tuple[Array, Work, Lanes, Slots]:
    """Run blocks and refill until no trajectory is left to start and at most `floor` still run."""
    dear = REFILL_STEPS * lanes.code.shape[0]

    def goes_on(carry: tuple[Array, Work, Lanes, Slots]) -> Array:
        done, work, lanes, _ = carry
        return (done < max_blocks) & ((work.next < work.total) | (_running(lanes) > floor))

    def until_dear(carry: tuple[Array, Work, Lanes, Slots]) -> tuple[Array, Work, Lanes, Slots]:
        done, work, lanes, slots = carry
        waiting = work.next < work.total

        def goes_on(carry: tuple[Array, Array, Lanes]) -> Array:
            done, idle, lanes = carry
            return (done < max_blocks) & jnp.where(waiting, idle < dear, _running(lanes) > floor)

        def block_of(carry: tuple[Array, Array, Lanes]) -> tuple[Array, Array, Lanes]:
            done, idle, lanes = carry
            lanes, more = _run_block(process, work, lanes, block)
            return done + 1, jnp.where(waiting, idle + more, 0), lanes

        done, _, lanes = lax.while_loop(goes_on, block_of, (done, jnp.int32(0), lanes))
        return done, *_refill(process, key, work, lanes, slots)

    return lax.while_loop(goes_on, until_dear, (jnp.int32(0), work, lanes, slots))


def _drain(
    process: Process,
    work: Work,
    lanes: Lanes,
    spent: tuple[Array, Array],
    max_blocks: Array,
    widths: tuple[int, ...],
    block: Block,
) -> tuple[tuple[Array, Array], Lanes]:
    """Run what still runs, moved together into `widths[0]` lanes, then into `widths[1]`, ...

    `spent` counts blocks, and blocks times lanes. More than `widths[0]` lanes run only where all blocks are spent.
    """
    if not widths:
        return spent, lanes
    width, floor = widths[0], (*widths, 0)[1]
    order = jnp.argsort(lanes.code != ExitCode.RUNNING, stable=True)
    lanes = jax.tree.map(lambda leaf: leaf[..., order], lanes)
    part, rest = (
        jax.tree.map(lambda leaf, cut=cut: leaf[..., cut], lanes) for cut in (slice(width), slice(width, None))
    )

    def goes_on(carry: tuple[Array, Lanes]) -> Array:
        return (carry[0] < max_blocks) & (_running(carry[1]) > floor)

    done, part = lax.while_loop(
        goes_on, lambda carry: (carry[0] + 1, _run_block(process, work, carry[1], block)[0]), (spent[0], part)
    )
    spent = done, spent[1] + (done - spent[0]) * width
    spent, part = _drain(process, work, part, spent, max_blocks, widths[1:], block)
    return spent, jax.tree.map(lambda *both: jnp.concatenate(both, axis=-1), part, rest)


def advance(
    process: Process,
    key: Any,
    work: Work,
    lanes: Lanes,
    slots: Slots,
    max_blocks: Array,
    narrower: tuple[int, ...],
    block: Block,
) -> tuple[Array, Work, Lanes, Slots]:
    """Run blocks until every trajectory of the chunk has ended or `max_blocks` are done; then write and start others.

    Returns blocks times lanes, and what is left to do.
    """
    floor = (*narrower, 0)[0]
    done, work, lanes, slots = _fill(process, key, work, lanes, slots, max_blocks, floor, block)
    spent = done, done * lanes.code.shape[0]
    spent, lanes = _drain(process, work, lanes, spent, max_blocks, narrower, block)
    return spent[1], *_refill(process, key, work, lanes, slots)


@partial(jax.jit, static_argnames=("width", "num_slots", "num_devices"))
def idle_lanes(process: Process, width: int, num_slots: int, num_devices: int) -> tuple[Lanes, Slots]:
    """Lanes without trajectories, and empty slots: `width` and `num_slots` for each device, side by side."""
    start = process.start()
    total = width * num_devices
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], total)), start)

    def words() -> Array:
        return jnp.zeros(total, jnp.uint32)

    code = jnp.full(total, jnp.int32(ExitCode.CENSORED))
    lanes = Lanes(state, jnp.full(total, num_slots, jnp.int32), Counter(words(), words(), words(), words()), code)
    total = num_slots * num_devices
    row = process.record(start)
    record = jnp.zeros((row.shape[0], total), row.dtype)
    return lanes, Slots(jnp.zeros(total, jnp.uint32), jnp.zeros(total, jnp.uint32), jnp.zeros(total, jnp.int32), record)
