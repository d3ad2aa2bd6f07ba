"""Chunks of trajectories on the host: bounded memory, any number of devices, progress between calls."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int32, UInt64

from levyjax.engine import lanes as loop
from levyjax.engine.lanes import ExitCode, Lanes, Process, Slots, Work, idle_lanes
from levyjax.random import MAX_STEPS, run_key

LANE_MULTIPLE = 64  # lanes come in multiples of this, so that every one of them runs in the same vector loop
STEPS_PER_BLOCK = 32
_LANE_ENTRIES = 1 << 16  # coordinates x lanes that keep the vector units busy and stay in the cache
_LEAST_ENTRIES = 256
_CHUNK = 1 << 18
_CHUNK_ENTRIES = 1 << 25
_SECONDS_PER_CALL = 0.3


class Ends(NamedTuple):
    """How trajectories ended, in the order of their ids, and how long that took without compilation."""

    step: UInt64[np.ndarray, " n"]
    code: Int32[np.ndarray, " n"]
    x: Float[np.ndarray, "n d"]
    seconds: float


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _widths(num_trajectories: int, dimension: int, num_devices: int, chunk_size: int | None) -> tuple[int, int]:
    """Lanes a device and slots a device."""
    chunk = min(num_trajectories, chunk_size or max(min(_CHUNK, _CHUNK_ENTRIES // dimension), LANE_MULTIPLE))
    slots = _round_up(-(-chunk // num_devices), LANE_MULTIPLE)
    # Waiting for the last trajectory costs ln(lanes) mean exit times, the work itself slots/lanes of them: with few
    # trajectories narrow lanes are faster, down to the width that keeps the vector units busy.
    lanes = min(max(slots // 32, _LEAST_ENTRIES // dimension), max(_LANE_ENTRIES // dimension, 1))
    return min(_round_up(lanes, LANE_MULTIPLE), slots), slots


def _lane_spec(leaf: Any) -> PartitionSpec:
    """Every array of lanes or slots is cut along its last axis."""
    return PartitionSpec(*([None] * (leaf.ndim - 1)), "lanes")


@lru_cache(maxsize=8)
def _mesh(devices: tuple[Any, ...]) -> Mesh:
    return jax.make_mesh((len(devices),), ("lanes",), axis_types=(AxisType.Auto,), devices=devices)


@partial(jax.jit, static_argnames=("mesh", "steps_per_block"), donate_argnames=("lanes", "slots"))
def _advance(
    process: Process,
    key: Any,
    work: Work,
    lanes: Lanes,
    slots: Slots,
    max_blocks: Any,
    *,
    mesh: Mesh,
    steps_per_block: int,
):
    """`lanes.advance` on every device for its own lanes; the loops do not talk to each other."""

    def local(process: Process, key: Any, max_blocks: Any, work: Work, lanes: Lanes, slots: Slots):
        alone = jax.tree.map(lambda leaf: leaf[0], work)
        alone, lanes, slots = loop.advance(process, key, alone, lanes, slots, max_blocks, steps_per_block)
        running = (lanes.code == ExitCode.RUNNING).sum(dtype=jnp.int32)
        return jax.tree.map(lambda leaf: leaf[None], (alone, running)), lanes, slots

    whole = PartitionSpec()
    specs = jax.tree.map(_lane_spec, (work, lanes, slots))
    counts = (specs[0], PartitionSpec("lanes"))
    return jax.shard_map(
        local, mesh=mesh, in_specs=(whole, whole, whole, *specs), out_specs=(counts, *specs[1:]), check_vma=False
    )(process, key, max_blocks, work, lanes, slots)


def _work(first: int, count: int, slots: int, num_devices: int, max_steps: int) -> Work:
    """The ids first, first + 1, ... dealt to the devices in order."""
    firsts = [first + device * slots for device in range(num_devices)]
    totals = [min(max(count - device * slots, 0), slots) for device in range(num_devices)]

    def halves(values: Sequence[int]) -> tuple[jax.Array, jax.Array]:
        array = np.array(values, np.uint64)
        low, high = array & np.uint64(0xFFFFFFFF), array >> np.uint64(32)
        return jnp.asarray(low.astype(np.uint32)), jnp.asarray(high.astype(np.uint32))

    next_slot = jnp.zeros(num_devices, jnp.int32)
    return Work(*halves(firsts), jnp.asarray(totals, jnp.int32), next_slot, *halves([max_steps] * num_devices))


def run(
    process: Process,
    key: Any,
    num_trajectories: int,
    max_steps: int | None = None,
    *,
    first_id: int = 0,
    chunk_size: int | None = None,
    devices: Sequence[Any] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Ends:
    """Run trajectories to their ends.

    Args:
        process: what a lane runs; a pytree of device arrays in one floating type.
        key: an integer seed or a `jax.random.key`.
        num_trajectories: how many; their ids are first_id, first_id + 1, ...
        max_steps: steps after which a trajectory is censored; default never (2^39 - 1).
        first_id: id of the first trajectory.
        chunk_size: trajectories held on the devices at once; default by memory. Changes no number.
        devices: default all local devices. Changes no number.
        on_progress: called with the number of newly ended trajectories.

    Returns:
        Step, code and last point of every trajectory, in the order of their ids.
    """
    mesh = _mesh(tuple(devices or jax.local_devices()))
    max_steps = MAX_STEPS - 1 if max_steps is None else min(max_steps, MAX_STEPS - 1)
    dimension = process.start().x.shape[0]
    width, num_slots = _widths(num_trajectories, dimension, mesh.size, chunk_size)
    words = tuple(jnp.asarray(word, jnp.uint32) for word in run_key(key))
    parts, seconds = [], 0.0
    for first in range(0, num_trajectories, num_slots * mesh.size):
        count = min(num_trajectories - first, num_slots * mesh.size)
        work = _work(first_id + first, count, num_slots, mesh.size, max_steps)
        # Placed as the compiled loop returns them, so that its first call and the later ones are one program.
        state = (work, *idle_lanes(process, width, num_slots, mesh.size))
        specs = jax.tree.map(lambda leaf: NamedSharding(mesh, _lane_spec(leaf)), state)
        work, lanes, slots = jax.device_put(state, specs)
        advance = partial(_advance, process, words, mesh=mesh, steps_per_block=STEPS_PER_BLOCK)
        (work, _), lanes, slots = jax.block_until_ready(advance(work, lanes, slots, jnp.int32(0)))  # compiles, starts
        began = time.perf_counter()
        slots = _finish(advance, work, lanes, slots, on_progress or (lambda _: None))
        seconds += time.perf_counter() - began
        parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[..., :count], slots))
    low, high, code, x = (np.concatenate([part[i] for part in parts], axis=-1) for i in range(4))
    return Ends((high.astype(np.uint64) << np.uint64(32)) | low, code, x.T, seconds)


def _finish(advance: Callable, work: Work, lanes: Lanes, slots: Slots, on_progress: Callable[[int], None]) -> Slots:
    """Call the compiled loop, for a fraction of a second at a time, until the chunk is done."""
    blocks, ended, running = 4, 0, 1
    while running:
        began = time.perf_counter()
        (work, running_each), lanes, slots = advance(work, lanes, slots, jnp.int32(blocks))
        running = int(np.sum(running_each))
        if time.perf_counter() - began < _SECONDS_PER_CALL:
            blocks = min(2 * blocks, 1 << 30)
        ended_before, ended = ended, int(np.sum(work.next)) - running
        on_progress(ended - ended_before)
    return slots
