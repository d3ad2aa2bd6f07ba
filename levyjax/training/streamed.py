"""Statistics of gradient noise in a fixed amount of memory: of each coordinate, of each layer, and a sample."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.training.capture import Losses, checked_batches, full_gradient, padded

_TOGETHER, _VALUES = 16, 1 << 25  # mini-batches of a group, whose gradients are held, and numbers of that at most
_FEWEST_BLOCKS, _RATIO = 16, 4  # of a layer; of a block length to the one before
ALL = "all"  # all layers together
Layers = tuple[tuple[str, int, int], ...]  # name, start, stop


@dataclasses.dataclass(frozen=True, eq=False)
class BlockLogs:
    """Mean logs of one layer's noise and of sums of its neighbours, for the block log-moment estimator.

    Attributes:
        lengths: (m,) K1 = 1, 4, 16, ...; 1 is the noise itself.
        mean_log: (m,) of |sum of K1 neighbouring coordinates|, over blocks and mini-batches; zeros are left out.
        count: (m,) how many were not zero.
    """

    lengths: Int[np.ndarray, " m"]
    mean_log: Float[np.ndarray, " m"]
    count: Int[np.ndarray, " m"]

    def alpha(self) -> Float[np.ndarray, " blocks"]:
        """The estimate (m - 1,) at every length from 4: equal ones for stable noise, a rising row for light noise.

        Source:
            Mohammadi, Mohammadpour and Ogata 2015: 1/alpha = (E log|Y| - E log|X|)/log K1.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self.lengths[1:]) / (self.mean_log[1:] - self.mean_log[0])


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseStatistics:
    """What gradient noise at one point of a run looks like, without the noise itself.

    Attributes:
        full_gradient: (num_parameters,), over all training examples.
        second_moment: (num_parameters,) mean square of each coordinate's noise, about its mean 0.
        mean_log: (num_parameters,) mean log|noise| of each coordinate; -inf where it was always zero.
        zeros: (num_parameters,) mini-batches in which it was exactly zero.
        norms: (num_batches,) of the noise.
        layers: name of a parameter array, or "all" -> its block logs; blocks do not go from one array into another.
        sample: (about sample_size,) values of coordinates drawn at random, anew in each mini-batch.
        iteration: updates made before.
        batch_size: examples of a mini-batch.
    """

    full_gradient: Float[np.ndarray, " d"]
    second_moment: Float[np.ndarray, " d"]
    mean_log: Float[np.ndarray, " d"]
    zeros: Int[np.ndarray, " d"]
    norms: Float[np.ndarray, " num_batches"]
    layers: dict[str, BlockLogs]
    sample: Float[np.ndarray, " sampled"]
    iteration: int
    batch_size: int


def noise_statistics(
    losses: Losses,
    parameters: jax.Array,
    x: jax.Array,
    y: jax.Array,
    batches: np.ndarray,
    *,
    slices: dict[str, tuple[int, int]] | None = None,
    iteration: int = 0,
    sample_size: int = 1 << 16,
    seed: int = 0,
) -> NoiseStatistics:
    """Measures gradient noise at fixed parameters and keeps statistics only: memory does not grow with `batches`.

    The same noise as `gradient_noise`, of the same mini-batches; where that fits in memory, `levyjax.tails` can say
    more about it.

    Args:
        losses: (parameters, x, y) -> loss of each example, (batch,). Compiled once for each function object.
        parameters: (num_parameters,), which sets the precision.
        x: all examples, (num_examples, ...).
        y: their labels, (num_examples, ...).
        batches: indices (num_batches, batch_size), see `draw_batches`.
        slices: name of a parameter array -> (start, stop), see `FlatModel`; default one array.
        iteration: kept with the result.
        sample_size: of the sample.
        seed: of the sample.

    Returns:
        The statistics.

    Raises:
        ValueError: a gradient is not finite, or the indices are no matrix of integers in range.

    Example:
        >>> x, y = jnp.arange(6.0), jnp.ones(6)
        >>> def loss(w, x, y):
        ...     return (w[0] * x - y) ** 2
        >>> found = noise_statistics(loss, jnp.ones(1), x, y, np.array([[0, 1], [4, 5]]))
        >>> found.norms.round().tolist(), found.second_moment.round(1).tolist()
        ([13.0, 19.0], [263.1])
    """
    batches = checked_batches(batches, len(x))
    full = full_gradient(losses, parameters, x, y)
    layers = tuple((name, *ends) for name, ends in (slices or {"parameters": (0, full.size)}).items())
    per_batch = max(1, -(-sample_size // len(batches)))
    picked = np.random.default_rng(seed).integers(0, full.size, (len(batches), per_batch)).astype(np.int32)
    sums, norms = _no_sums(full.size, layers), np.empty(len(batches))
    sample, centre = np.empty(picked.shape, parameters.dtype), jnp.asarray(full, parameters.dtype)
    width = max(1, min(_TOGETHER, _VALUES // full.size, len(batches)))
    for start, rows, count in padded(np.arange(len(batches), dtype=np.int32), width):
        found = _group(losses, layers, parameters, centre, x, y, batches[rows], picked[rows], np.int32(count))
        sums = _Sums(*(a + np.asarray(b, a.dtype) for a, b in zip(sums, found.sums, strict=True)))
        norms[start : start + count] = np.asarray(found.norms)[:count]
        sample[start : start + count] = np.asarray(found.sample)[:count]
    if not (np.isfinite(full).all() and np.isfinite(norms).all()):
        raise ValueError(f"the gradients at iteration {iteration} are not all finite. Use a smaller learning rate.")
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_log = np.where(sums.seen > 0, sums.log / sums.seen, -np.inf)
    return NoiseStatistics(
        full, sums.square / len(batches), mean_log, len(batches) - sums.seen, norms,
        _named(layers, sums), sample.ravel(), iteration, batches.shape[1],
    )  # fmt: skip


class _Sums(NamedTuple):
    """Sums over mini-batches: in float64 and int64, or as the device makes them for one group."""

    square: Any  # (d,)
    log: Any  # (d,)
    seen: Any  # (d,) where it was not zero
    block_log: Any  # of every layer's every length from 4
    block_seen: Any


class _Found(NamedTuple):
    """Of one group of mini-batches."""

    sums: _Sums
    norms: Array
    sample: Array


def _no_sums(size: int, layers: Layers) -> _Sums:
    blocks = sum(len(_lengths(stop - start)) - 1 for _, start, stop in layers)
    whole = functools.partial(np.zeros, dtype=np.int64)
    return _Sums(np.zeros(size), np.zeros(size), whole(size), np.zeros(blocks), whole(blocks))


def _lengths(size: int) -> list[int]:
    """1, 4, 16, ... as long as there are enough blocks."""
    lengths = [1]
    while size // (lengths[-1] * _RATIO) >= _FEWEST_BLOCKS:
        lengths.append(lengths[-1] * _RATIO)
    return lengths


@functools.partial(jax.jit, static_argnums=(0, 1))
def _group(
    losses: Losses,
    layers: Layers,
    parameters: Array,
    full: Array,
    x: Array,
    y: Array,
    batches: Array,
    picked: Array,
    count: Array,
) -> _Found:
    """Sums over the first `count` mini-batches, whose gradients are taken one by one (see `gradient_noise`)."""

    def of(place: Array) -> Array:
        rows = batches[place]
        noise = jax.grad(lambda p: losses(p, x[rows], y[rows]).mean())(parameters) - full
        return jnp.where(place < count, noise, jnp.zeros_like(noise))

    noise = jax.lax.map(of, jnp.arange(len(batches), dtype=count.dtype))
    sums, seen = [], []
    for _, start, stop in layers:
        for blocks in _ladder(noise[:, start:stop]):
            logs, there = _log(blocks)
            sums.append(logs.sum())
            seen.append(there.sum(dtype=jnp.int32))
    totals = _Sums(*_over_rows(noise), sums, seen)
    return _Found(totals, jnp.sqrt((noise**2).sum(axis=1)), jnp.take_along_axis(noise, picked, axis=1))


def _over_rows(noise: Array) -> tuple[Array, Array, Array]:
    """Sums of squares, of logs and of what is not zero; row by row is four times as fast as XLA's reduction."""
    square = log = jnp.zeros_like(noise[0])
    seen = jnp.zeros(noise.shape[1], jnp.int32)
    for row in noise:
        logs, present = _log(row)
        square, log, seen = square + row**2, log + logs, seen + present.astype(jnp.int32)
    return square, log, seen


def _log(values: Array) -> tuple[Array, Array]:
    """log|values|, 0 where they are 0, and where they are not."""
    present = values != 0
    return jnp.log(jnp.where(present, jnp.abs(values), jnp.ones_like(values))), present


def _ladder(values: Array) -> Iterator[Array]:
    """Sums of 4, 16, ... neighbours along the last axis."""
    for _ in _lengths(values.shape[-1])[1:]:
        whole = values.shape[-1] // _RATIO * _RATIO
        first, *others = (values[:, place:whole:_RATIO] for place in range(_RATIO))
        values = jax.lax.optimization_barrier(sum(others, first))  # or each length is made anew from the noise
        yield values


def _named(layers: Layers, sums: _Sums) -> dict[str, BlockLogs]:
    """The block logs of each layer, and of all together: the longer a block, the fewer layers have it."""
    found, total, place = {}, {}, 0
    for name, start, stop in layers:
        lengths = _lengths(stop - start)
        these, place = slice(place, place + len(lengths) - 1), place + len(lengths) - 1
        logs = np.array([sums.log[start:stop].sum(), *sums.block_log[these]])
        counts = np.array([sums.seen[start:stop].sum(), *sums.block_seen[these]])
        found[name] = _block_logs_of(lengths, logs, counts)
        for length, log, count in zip(lengths, logs, counts, strict=True):
            before = total.get(length, (0.0, 0))
            total[length] = before[0] + log, before[1] + count
    logs, counts = (np.array(column) for column in zip(*total.values(), strict=True))
    return {ALL: _block_logs_of(list(total), logs, counts), **found}


def _block_logs_of(lengths: list[int], log: np.ndarray, count: np.ndarray) -> BlockLogs:
    with np.errstate(divide="ignore", invalid="ignore"):
        return BlockLogs(np.array(lengths), np.where(count > 0, log / count, -np.inf), count)
