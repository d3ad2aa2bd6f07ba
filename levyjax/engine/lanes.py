"""The compiled loop: lanes of trajectories that take the next one when theirs ends.

A lane steps its trajectory until it exits, is censored, or leaves the finite numbers. Exits are tested at every step;
the loop looks at its lanes every block of steps, writes finished trajectories to their slots and starts the next ids
in their place. Random numbers are functions of (run key, trajectory id, step), so which lane runs a trajectory, how
wide the lanes are and how many devices there are change nothing in it.
"""

from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt32

from levyjax.random import Counter, trajectory_key


class ExitCode(IntEnum):
    """How a trajectory ended."""

    RUNNING = 0
    EXITED = 1
    CENSORED = 2
    NONFINITE = 3


@runtime_checkable
class Process(Protocol):
    """What a lane runs. States are NamedTuples of arrays (coordinates, lanes) with the point in the field `x`."""

    def start(self) -> Any:
        """The state at time 0, one lane wide: arrays (d, 1)."""
        ...

    def step(self, state: Any, counter: Counter) -> Any:
        """The state one step later."""
        ...

    def inside(self, state: Any) -> Bool[Array, " lanes"]:
        """Whether the trajectory goes on; False at NaN."""
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
    x: Array  # (d, slots)


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


def _run_block(process: Process, work: Work, lanes: Lanes, num_steps: int) -> Lanes:
    """Take up to `num_steps` steps in every running lane."""
    left = _steps_left(work, lanes.counter, num_steps + 1)

    def step(index: Array, carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        state, code, taken = carry
        counter = lanes.counter._replace(low=lanes.counter.low + index.astype(jnp.uint32))
        running = code == ExitCode.RUNNING
        moved = process.step(state, counter)
        state = jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, state)
        taken = jnp.where(running, index + 1, taken)
        code = jnp.where(running & (taken >= left), jnp.int32(ExitCode.CENSORED), code)
        code = jnp.where(running & ~process.inside(state), jnp.int32(ExitCode.EXITED), code)
        return state, code, taken

    state, code, taken = lax.fori_loop(0, num_steps, step, (lanes.state, lanes.code, jnp.zeros_like(lanes.code)))
    finite = jnp.isfinite(state.x).all(axis=0)
    code = jnp.where((lanes.code == ExitCode.RUNNING) & ~finite, jnp.int32(ExitCode.NONFINITE), code)
    low, high = _add(lanes.counter.low, lanes.counter.high, taken)
    return Lanes(state, lanes.slot, lanes.counter._replace(low=low, high=high), code)


def _refill(process: Process, key: Any, work: Work, lanes: Lanes, slots: Slots) -> tuple[Work, Lanes, Slots]:
    """Write finished trajectories to their slots and start the next ones in their lanes."""
    past_end = slots.code.shape[0]
    free = lanes.code != ExitCode.RUNNING
    target = jnp.where(free, lanes.slot, past_end)
    slots = Slots(
        slots.low.at[target].set(lanes.counter.low, mode="drop"),
        slots.high.at[target].set(lanes.counter.high, mode="drop"),
        slots.code.at[target].set(lanes.code, mode="drop"),
        slots.x.at[:, target].set(lanes.state.x, mode="drop"),
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


def advance(
    process: Process, key: Any, work: Work, lanes: Lanes, slots: Slots, max_blocks: Array, steps_per_block: int
) -> tuple[Work, Lanes, Slots]:
    """Run blocks until every trajectory of the chunk has ended or `max_blocks` are done."""
    past_end = slots.code.shape[0]
    refill = partial(_refill, process, key)

    def pending(lanes: Lanes) -> Array:
        return ((lanes.code != ExitCode.RUNNING) & (lanes.slot < past_end)).any()

    def goes_on(carry: tuple[Array, Work, Lanes, Slots]) -> Array:
        block, _, lanes, _ = carry
        return (block < max_blocks) & (lanes.code == ExitCode.RUNNING).any()

    def block(carry: tuple[Array, Work, Lanes, Slots]) -> tuple[Array, Work, Lanes, Slots]:
        block, work, lanes, slots = carry
        lanes = _run_block(process, work, lanes, steps_per_block)
        work, lanes, slots = lax.cond(pending(lanes), refill, lambda *unchanged: unchanged, work, lanes, slots)
        return block + 1, work, lanes, slots

    work, lanes, slots = lax.cond(work.next == 0, refill, lambda *unchanged: unchanged, work, lanes, slots)
    return lax.while_loop(goes_on, block, (jnp.int32(0), work, lanes, slots))[1:]


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
    x = jnp.zeros((*start.x.shape[:-1], total), start.x.dtype)
    return lanes, Slots(jnp.zeros(total, jnp.uint32), jnp.zeros(total, jnp.uint32), jnp.zeros(total, jnp.int32), x)
