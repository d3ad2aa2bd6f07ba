"""Looks at trajectories on their way: the loop of `engine.run`, with what is seen every so many steps kept."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int32, UInt64

from levyjax.arrays import jit
from levyjax.engine.chunks import LANE_MULTIPLE, _cores, _lane_spec, _mesh, _work
from levyjax.engine.lanes import Block, ExitCode, Lanes, Process, Work, _run_block, _running
from levyjax.random import Counter, run_key
from levyjax.random.streams import MAX_STEPS, trajectory_key

Look = Callable[[Any], Any]  # of a process's state: arrays whose last axis is that of the lanes


class Seen(NamedTuple):
    """What was seen of n trajectories, and where they stand at the last look.

    seen: what `look` gives, each array with a first axis for the looks and the n trajectories along its last.
    step: steps taken.
    code: an `ExitCode`; RUNNING where a trajectory goes on.
    """

    seen: Any
    step: UInt64[np.ndarray, " n"]
    code: Int32[np.ndarray, " n"]


def observe(process: Process, key: Any, ids: Any, every: int, look: Look, looks: int, **options: Any) -> Seen:
    """The first so many looks at some trajectories; arguments as for `observe_on`.

    Example:
        >>> class Clock:  # counts its steps and leaves at the fifth
        ...     def start(self):
        ...         return jnp.zeros((1, 1), jnp.int32)
        ...     def step(self, state, counter):
        ...         return state + 1
        ...     def status(self, state):
        ...         return (state[0] >= 5).astype(jnp.int32)
        ...     def record(self, state):
        ...         return state.astype(jnp.float32)
        >>> clock = jax.tree_util.register_static(Clock)()
        >>> found = observe(clock, 0, [7, 9], 2, lambda state: state[0], looks=3)
        >>> found.seen.tolist(), found.step.tolist(), found.code.tolist()
        ([[2, 2], [4, 4], [5, 5]], [5, 5], [1, 1])
    """
    return next(observe_on(process, key, ids, every, look, looks, **options))


def observe_on(
    process: Process,
    key: Any,
    ids: Any,
    every: int,
    look: Look,
    looks: int,
    *,
    max_steps: int | None = None,
    width: int = LANE_MULTIPLE,
    devices: Sequence[Any] | None = None,
) -> Iterator[Seen]:
    """Look at some trajectories every so many steps, and go on from there, until all of them have ended.

    Trajectory i is the one of `run`, whatever the others are: blocks of `width` lanes run in one compiled program, on
    as many devices or cores as there are. What has ended stays where it ended. Memory is that of what is seen.

    Args:
        process: what a lane runs, as for `run`.
        key: an integer seed or a `jax.random.key`.
        ids: of the trajectories, (n,).
        every: steps between two looks.
        look: what is kept of a state: a function that gives arrays (..., lanes). Where it needs arrays of its own it is
            a pytree that can be called, such as a `jax.tree_util.Partial`. A new function is a new program.
        looks: how many of them make a part; the program has this length.
        max_steps: steps after which a trajectory is censored; default never (2^39 - 1).
        width: lanes of a block. The numbers are the same for all multiples of 64 where the step is made of sums in a
            fixed order, as those of this package's pieces are; products of matrices may round in another order.
        devices: default all local devices. Changes no number.

    Yields:
        Part after part of the looks.

    Raises:
        ValueError: ids that are no vector, or no trajectory, look, step or lane.
    """
    ids = np.asarray(ids, np.uint64)
    most = MAX_STEPS - 1 if max_steps is None else min(max_steps, MAX_STEPS - 1)
    if ids.ndim != 1 or min(ids.size, every, looks, width, most) < 1:
        raise ValueError(
            f"{ids.size} trajectories, {looks} looks, {every} steps apart, at most {most} steps, {width} lanes: give "
            "ids (n,) and 1 or more of each."
        )
    limit = jax.tree.map(lambda leaf: leaf[0], _work(0, 0, 1, 1, most))
    mesh = _mesh(tuple(devices or jax.local_devices())[: -(-ids.size // width)])
    blocks = np.pad(ids, (0, -ids.size % (width * mesh.size)), mode="edge").reshape(-1, width * mesh.size)
    words = tuple(np.asarray(word, np.uint32) for word in run_key(key))
    lanes = [_begin(process, words, *_halves(block), mesh=mesh) for block in blocks]
    if jax.tree_util.all_leaves([look]):
        look = jax.tree_util.Partial(look)
    x64 = jax.config.jax_enable_x64  # of this thread

    def watched(block: Lanes, count: int = looks) -> tuple[Lanes, Any]:
        with jax.enable_x64(x64):
            found = _watched(process, look, limit, block, np.int32(count), every=every, looks=looks, mesh=mesh)
            return jax.block_until_ready(found)

    if len(lanes) > 1:
        watched(lanes[0], 0)  # compiles, once for all threads
    while True:
        with ThreadPoolExecutor(min(_cores(mesh), len(lanes))) as pool:
            lanes, seen = zip(*pool.map(watched, lanes), strict=True)
        yield _seen(lanes, seen, ids.size)
        if not any(np.asarray(block.code == ExitCode.RUNNING).any() for block in lanes):
            return


def _halves(ids: UInt64[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    return (ids & np.uint64(0xFFFFFFFF)).astype(np.uint32), (ids >> np.uint64(32)).astype(np.uint32)


@partial(jax.jit, static_argnames="mesh")
def _begin(process: Process, key: Any, low: Array, high: Array, *, mesh: Mesh) -> Lanes:
    """Lanes at the start of these trajectories."""
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], low.size)), process.start())
    zero, code = jnp.zeros_like(low), jnp.full(low.size, jnp.int32(ExitCode.RUNNING))
    lanes = Lanes(state, jnp.zeros_like(code), Counter(*trajectory_key(key, low, high), zero, zero), code)
    places = jax.tree.map(lambda leaf: NamedSharding(mesh, _lane_spec(leaf)), lanes)
    return lax.with_sharding_constraint(lanes, places)


@partial(jit, static_argnames=("every", "looks", "mesh"))
def _watched(
    process: Process, look: Look, limit: Work, lanes: Lanes, count: Any, *, every: int, looks: int, mesh: Mesh
) -> tuple[Lanes, Any]:
    """The lanes after `count` of so many looks, and these; devices do not wait for each other."""

    def local(process: Process, look: Look, limit: Work, count: Array, lanes: Lanes) -> tuple[Lanes, Any]:
        rows = jax.eval_shape(look, lanes.state)
        seen = jax.tree.map(lambda row: jnp.zeros((looks, *row.shape), row.dtype), rows)

        def goes_on(carry: tuple[Array, Lanes, Any]) -> Array:
            done, lanes, _ = carry
            return (done < count) & ((done == 0) | (_running(lanes) > 0))

        def one(carry: tuple[Array, Lanes, Any]) -> tuple[Array, Lanes, Any]:
            done, lanes, seen = carry
            lanes, _ = _run_block(process, limit, lanes, Block(every))
            kept = jax.tree.map(lambda rows, row: rows.at[done].set(row), seen, look(lanes.state))
            return done + 1, lanes, kept

        done, lanes, seen = lax.while_loop(goes_on, one, (jnp.int32(0), lanes, seen))
        place = jnp.minimum(jnp.arange(looks, dtype=jnp.int32), done - 1)  # where all have ended, the last one stays
        return lanes, jax.tree.map(lambda rows: rows[place], seen)

    whole, specs = PartitionSpec(), jax.tree.map(_lane_spec, lanes)
    kept = jax.tree.map(lambda row: PartitionSpec(*[None] * row.ndim, "lanes"), jax.eval_shape(look, lanes.state))
    return jax.shard_map(
        local, mesh=mesh, in_specs=(whole, whole, whole, whole, specs), out_specs=(specs, kept), check_vma=False
    )(process, look, limit, count, lanes)


def _seen(lanes: Sequence[Lanes], seen: Sequence[Any], count: int) -> Seen:
    """The blocks side by side, without what pads them."""

    def joined(*leaves: Any) -> np.ndarray:
        return np.concatenate([np.asarray(leaf) for leaf in leaves], axis=-1)[..., :count]

    low, high, code = jax.tree.map(joined, *((*block.counter[2:], block.code) for block in lanes))
    return Seen(jax.tree.map(joined, *seen), low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32), code)
