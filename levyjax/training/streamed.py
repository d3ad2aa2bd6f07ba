"""Statistics of gradient noise in a fixed amount of memory: of each coordinate, of each layer, and a sample."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.datasets import Result, along
from levyjax.training.batches import padded
from levyjax.training.capture import ALL_EXAMPLES, MINI_BATCHES, ROUNDING
from levyjax.training.examples import taken
from levyjax.training.gradients import Measured, check_finite, gradient_at, measured

_TOGETHER, _VALUES = 32, 1 << 25  # mini-batches of a group, whose gradients are held, and numbers of that at most
_LANES, _ONE = 256, 1 << 16  # 32 exponents of float64 add up to less than this
_EXPONENT = 100
_FEWEST_BLOCKS, _RATIO = 16, 4  # of a layer; of a block length to the one before
ALL = "all"  # all layers together
Layers = tuple[tuple[str, int, int], ...]  # name, start, stop


@dataclasses.dataclass(frozen=True, eq=False)
class BlockLogs(Result):
    """Mean logs of one layer's noise and of sums of its neighbours, for the block log-moment estimator.

    Attributes:
        lengths: (m,) K1 = 1, 4, 16, ...; 1 is the noise itself.
        mean_log: (m,) of |sum of K1 neighbouring coordinates|, over blocks and mini-batches; zeros are left out.
        count: (m,) how many were not zero.
        single_log: (m,) of |coordinate|, over the arrays that are long enough for blocks of this length.
    """

    _dims = along({"lengths": "lengths mean_log count single_log"})

    lengths: Int[np.ndarray, " m"]
    mean_log: Float[np.ndarray, " m"]
    count: Int[np.ndarray, " m"]
    single_log: Float[np.ndarray, " m"]

    def alpha(self) -> Float[np.ndarray, " blocks"]:
        """The estimate (m - 1,) at every length from 4: equal ones for stable noise, a rising row for light noise.

        Source:
            Mohammadi, Mohammadpour and Ogata 2015: 1/alpha = (E log|Y| - E log|X|)/log K1.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self.lengths[1:]) / (self.mean_log[1:] - self.single_log[1:])


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseStatistics(Result):
    """What gradient noise at one point of a run looks like, without the noise itself.

    Attributes:
        full_gradient: (num_parameters,), what was subtracted.
        second_moment: (num_parameters,) mean square of each coordinate's noise, about its mean 0.
        mean_log: (num_parameters,) mean log|noise| of each coordinate; -inf where it was always zero.
        zeros: (num_parameters,) mini-batches in which it was zero (or subnormal).
        norms: (num_batches,) of the noise.
        layers: name of a parameter array, or "all" -> its block logs; blocks do not go from one array into another.
        sample: (about sample_size,) values of coordinates drawn at random, anew in each mini-batch.
        sampled: (about sample_size,) which coordinates.
        iteration: updates made before.
        batch_size: examples of a mini-batch; 0 where that is not known.
        reference: what `full_gradient` is, as in `GradientNoise`.
    """

    _dims = along(
        {"parameter": "full_gradient second_moment mean_log zeros", "mini_batch": "norms", "drawn": "sample sampled"}
    )

    full_gradient: Float[np.ndarray, " d"]
    second_moment: Float[np.ndarray, " d"]
    mean_log: Float[np.ndarray, " d"]
    zeros: Int[np.ndarray, " d"]
    norms: Float[np.ndarray, " num_batches"]
    layers: dict[str, BlockLogs]
    sample: Float[np.ndarray, " sampled"]
    sampled: Int[np.ndarray, " sampled"]
    iteration: int
    batch_size: int
    reference: str = ALL_EXAMPLES

    def _variables(self) -> dict[str, Any]:
        return {name: value for name, value in super()._variables().items() if name != "layers"}  # they have their own

    def sample_of_one_scale(self) -> Float[np.ndarray, " living"]:
        """The sample over exp(mean_log) of its coordinates, without those that were ever zero.

        It feeds the estimators of `levyjax.tails` that take values of one law, such as `characteristic_function`.
        """
        living = self.zeros[self.sampled] == 0
        return self.sample[living] / np.exp(self.mean_log[self.sampled[living]])


def noise_statistics(
    loss: Any,
    parameters: Any,
    x: Any,
    y: Any = None,
    batches: Any = None,
    *,
    key: Any = None,
    state: Any = None,
    slices: dict[str, tuple[int, int]] | None = None,
    iteration: int = 0,
    sample_size: int = 1 << 16,
    seed: int = 0,
) -> NoiseStatistics:
    """Measures gradient noise at fixed parameters and keeps statistics only: memory does not grow with `batches`.

    The same noise as `gradient_noise`, of the same mini-batches; where that fits in memory, `levyjax.tails` can say
    more about it. Where the reference is the mean over the mini-batches, their gradients are taken twice.

    Args:
        loss: see `gradient_noise`, as all up to `state`.
        parameters: any pytree, (num_parameters,) in all.
        x: all examples.
        y: their labels, or None.
        batches: indices (num_batches, batch_size), see `draw_batches`.
        key: for a loss that draws random numbers.
        state: what else the model needs.
        slices: name of a parameter array -> (start, stop); default the arrays of `parameters`.
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
    task = measured(loss, parameters, x, y, batches, key=key, state=state)
    full, reference = task.full_gradient(), ALL_EXAMPLES
    if full is None:
        full, reference = _mean_gradient(task), MINI_BATCHES
    batches, objective = task.batches, task.objective
    layers = tuple((name, *ends) for name, ends in (slices or task.slices or {"parameters": (0, full.size)}).items())
    per_batch = max(1, -(-sample_size // len(batches)))
    picked = np.random.default_rng(seed).integers(0, full.size, (len(batches), per_batch)).astype(np.int32)
    sums, norms = no_sums(full.size, layers), np.empty(len(batches))
    sample, centre = np.empty(picked.shape, task.vector.dtype), jnp.asarray(full, task.vector.dtype)
    for start, rows, count in padded(np.arange(len(batches), dtype=np.int32), _width(task)):
        found = _group(
            objective.form, layers, task.vector, objective.arrays, centre, task.data, batches[rows], rows, picked[rows],
            np.int32(count),
        )  # fmt: skip
        found = found.in_units()
        for total, part in zip(sums, found.sums, strict=True):
            total += np.asarray(part)
        norms[start : start + count] = np.asarray(found.norms)[:count]
        sample[start : start + count] = np.asarray(found.sample)[:count]
    check_finite(iteration, full, norms)
    return statistics_of(
        sums, layers, norms, full_gradient=full, sample=sample.ravel(), sampled=picked.ravel(), iteration=iteration,
        batch_size=batches.shape[1], reference=reference,
    )  # fmt: skip


def statistics_of(sums: "Sums", layers: Layers, norms: np.ndarray, **kept: Any) -> NoiseStatistics:
    """The statistics from sums over mini-batches, with all that is kept as it is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_log = np.where(sums.seen > 0, sums.log / sums.seen, -np.inf)
    return NoiseStatistics(
        second_moment=sums.square / len(norms), mean_log=mean_log, zeros=len(norms) - sums.seen, norms=norms,
        layers=_named(layers, sums), **kept,
    )  # fmt: skip


def _width(task: Measured) -> int:
    """Mini-batches of a group: equal groups leave little to fill up."""
    count = len(task.batches)
    return -(-count // -(-count // max(1, min(_TOGETHER, _VALUES // task.vector.size))))


def _mean_gradient(task: Measured) -> np.ndarray:
    total = np.zeros(task.vector.size)
    for _, found in task.gradients(_width(task)):
        total += found.sum(axis=0)
    return total / len(task.batches)


class Sums(NamedTuple):
    """Sums over mini-batches: in float64 and int64, or as the device makes them for one group."""

    square: Any  # (d,)
    log: Any  # (d,)
    seen: Any  # (d,) where it was not zero
    block_log: Any  # of every layer's every length from 4
    block_seen: Any


class Found(NamedTuple):
    """Of one group of mini-batches."""

    sums: Sums  # the squares over those of `units`
    norms: Any
    sample: Array
    units: Any  # (d,) of the squares

    def in_units(self) -> "Found":
        """The squares as they are, in float64: those of noise below 1e-19 or above 1e19 do not fit float32."""
        square = np.asarray(self.sums.square, np.float64) * np.asarray(self.units, np.float64) ** 2
        return self._replace(sums=self.sums._replace(square=square), units=None)


def no_sums(size: int, layers: Layers) -> Sums:
    blocks = sum(len(block_lengths(stop - start)) - 1 for _, start, stop in layers)
    whole = functools.partial(np.zeros, dtype=np.int64)
    return Sums(np.zeros(size), np.zeros(size), whole(size), np.zeros(blocks), whole(blocks))


def block_lengths(size: int) -> list[int]:
    """1, 4, 16, ... as long as there are enough blocks."""
    lengths = [1]
    while size // (lengths[-1] * _RATIO) >= _FEWEST_BLOCKS:
        lengths.append(lengths[-1] * _RATIO)
    return lengths


@functools.partial(jax.jit, static_argnums=(0, 1))
def _group(
    form: Any,
    layers: Layers,
    vector: Array,
    arrays: Any,
    full: Array,
    data: Any,
    batches: Array,
    numbers: Array,
    picked: Array,
    count: Array,
) -> Found:
    """Sums over the first `count` mini-batches, whose gradients are taken one by one (see `gradient_noise`)."""
    gradients = jax.lax.map(
        lambda part: gradient_at(form, vector, arrays, taken(data, part[0]), part[1]), (batches, numbers)
    )
    return folded(layers, gradients, full, picked, count)


def folded(layers: Layers, gradients: Array, full: Array, picked: Array, count: Array) -> Found:
    """Sums over the first `count` of some gradients (m, d) minus the full one, with a sample (m, k) of `picked`."""

    def add(index: Array, carry: tuple) -> tuple:
        square, logs, block_logs, norms, sample = carry
        noise = gradients[index] - full
        noise = jax.lax.optimization_barrier(jnp.where(jnp.abs(noise) > least, noise, jnp.zeros_like(noise)))
        blocks = [block for _, start, stop in layers for block in _ladder(noise[start:stop])]
        block_logs = block_logs.add(jax.lax.optimization_barrier(jnp.concatenate([*blocks, noise[:0]])))
        norms = norms.at[index].set(_norm(noise / unit) * unit)
        sample = sample.at[index].set(noise[picked[index]])
        return square + (noise / units) ** 2, logs.add(noise), block_logs, norms, sample

    least = ROUNDING * jnp.finfo(full.dtype).eps * jnp.abs(full)  # what is no more than rounding counts as 0
    sizes = jnp.abs(gradients - full).max(axis=0)
    units, unit = _power_of_two(sizes), _power_of_two(sizes.max())
    places = np.cumsum([0, *_rungs(layers)])
    logs = _Logs.none(full.size, full.dtype), _Logs.none(int(places[-1]), full.dtype)
    nothing = jnp.zeros(len(gradients), full.dtype), jnp.zeros(picked.shape, full.dtype)
    square, logs, block_logs, norms, sample = jax.lax.fori_loop(
        jnp.zeros_like(count), count, add, (jnp.zeros_like(full), *logs, *nothing)
    )
    log, seen = block_logs.sums()
    rungs = [slice(*ends) for ends in itertools.pairwise(places)]
    by_rung = (jnp.array([values[rung].sum() for rung in rungs], values.dtype) for values in (log, seen))
    return Found(Sums(square, *logs.sums(), *by_rung), norms, sample, units)


def _power_of_two(sizes: Array) -> Array:
    """Next to the sizes, to divide by without rounding; up to 2^100, whose inverse float32 has."""
    exponents = jnp.clip(jnp.frexp(sizes)[1], -_EXPONENT, _EXPONENT)
    return jnp.where(jnp.isfinite(sizes), jnp.ldexp(jnp.ones_like(sizes), exponents), jnp.ones_like(sizes))


def _norm(values: Array) -> Array:
    """Along vectors of the processor: XLA's sum of one row takes twice as long."""
    whole = values.size // _LANES * _LANES
    across = (values[:whole].reshape(-1, _LANES) ** 2).sum(axis=0)
    return jnp.sqrt(across.sum() + (values[whole:] ** 2).sum())


class _Logs(NamedTuple):
    """Sums of log|values| over a group of mini-batches, with one logarithm for all.

    It is that of the product of mantissas, which are below 2; exponents are added up as the format has them, in the
    lower half of an integer whose upper half counts the values that are not zero.
    """

    mantissa: Array
    exponent: Array

    @staticmethod
    def none(size: int, dtype: Any) -> "_Logs":
        return _Logs(jnp.ones(size, dtype), jnp.zeros(size, jnp.int32))

    def add(self, values: Array) -> "_Logs":
        kind = jnp.finfo(values.dtype)
        whole = jnp.dtype(f"uint{kind.bits}").type
        bits = jax.lax.bitcast_convert_type(jnp.abs(values), whole)
        exponent = (bits >> whole(kind.nmant)).astype(jnp.int32)
        one = whole((int(kind.maxexp) - 1) << kind.nmant)  # the bits of 1.0
        mantissa = jax.lax.bitcast_convert_type(bits & whole((1 << kind.nmant) - 1) | one, values.dtype)
        present = exponent > 0
        return _Logs(
            self.mantissa * jnp.where(present, mantissa, jnp.ones_like(mantissa)),
            self.exponent + jnp.where(present, exponent + _ONE, 0),
        )

    def sums(self) -> tuple[Array, Array]:
        """The sums of logs, and of how many values."""
        dtype = self.mantissa.dtype
        seen = self.exponent // _ONE
        exponent = (self.exponent % _ONE - int(jnp.finfo(dtype).maxexp - 1) * seen).astype(dtype)
        return jnp.log(self.mantissa) + exponent * dtype.type(math.log(2)), seen


def _rungs(layers: Layers) -> list[int]:
    """How many blocks there are, of each length from 4 of each layer."""
    return [(stop - start) // length for _, start, stop in layers for length in block_lengths(stop - start)[1:]]


def _ladder(values: Array) -> Iterator[Array]:
    """Sums of 4, 16, ... neighbours."""
    for _ in block_lengths(values.size)[1:]:
        whole = values.size // _RATIO * _RATIO
        first, *others = (values[index:whole:_RATIO] for index in range(_RATIO))
        values = jax.lax.optimization_barrier(sum(others, first))  # or each length is made anew from the noise
        yield values


def _named(layers: Layers, sums: Sums) -> dict[str, BlockLogs]:
    """The block logs of each layer, and of all together: the longer a block, the fewer layers have it."""
    found, total, first = {}, {}, 0
    for name, start, stop in layers:
        lengths = block_lengths(stop - start)
        these, first = slice(first, first + len(lengths) - 1), first + len(lengths) - 1
        logs = np.array([sums.log[start:stop].sum(), *sums.block_log[these]])
        counts = np.array([sums.seen[start:stop].sum(), *sums.block_seen[these]])
        rows = np.stack([logs, counts, np.full(len(lengths), logs[0]), np.full(len(lengths), counts[0])], axis=1)
        found[name] = _block_logs_of(lengths, rows)
        for length, row in zip(lengths, rows, strict=True):
            total[length] = total.get(length, 0.0) + row
    return {ALL: _block_logs_of(list(total), np.array(list(total.values()))), **found}


def _block_logs_of(lengths: list[int], rows: np.ndarray) -> BlockLogs:
    """From sums of logs and their numbers, of blocks and of single coordinates, (m, 4)."""
    log, count, single, singles = rows.T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, mean_single = (
            np.where(number > 0, total / number, -np.inf) for total, number in ((log, count), (single, singles))
        )
    return BlockLogs(np.array(lengths), mean, count.astype(np.int64), mean_single)
