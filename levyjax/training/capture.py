"""Gradient noise: mini-batch gradients minus the full gradient, at fixed parameters."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax import tails
from levyjax.datasets import Result, along
from levyjax.tails.values import middle
from levyjax.training.objective import (
    ALL_EXAMPLES,
    MINI_BATCHES,
    Objective,
    Pair,
    as_array,
    as_arrays,
    batch_size,
    check_mean,
    couples,
    objective_of,
    taken,
)

Losses = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (parameters, x, y) -> loss of each example

_EXAMPLES = 1_000  # of the full gradient at a time
_VALUES = 2**22  # numbers of a chunk of mini-batch gradients
ROUNDING = 4  # units in the last place of a gradient, up to which its noise is that of rounding: 1 was the most seen
_DRAWN = 256  # mini-batches, where only their size is given
_FIRST = np.zeros(1, np.int32)  # the number of the first mini-batch
FEWEST_BATCHES = 50  # from which a coordinate shows its scale
_ESTIMATORS = {
    "characteristic_function": tails.characteristic_function,
    "log_moment": lambda values: tails.log_moment(values, center=False),
    "block_log_moment": lambda values: tails.block_log_moment(values, center=False),
}


@dataclasses.dataclass(frozen=True, eq=False)
class GradientNoise(Result):
    """Gradient noise at one point of a training run.

    Attributes:
        samples: mini-batch gradient minus full gradient, (num_batches, num_parameters). The paper's u is its negative.
        full_gradient: float64 (num_parameters,), what was subtracted.
        iteration: updates made before.
        batch_size: examples of a mini-batch.
        slices: name of a parameter array -> (start, stop) along the last axis.
        reference: what `full_gradient` is: "all examples", "mean of the mini-batches" or "given by the user".
        num_examples: that each mini-batch was drawn from without repetition; None where examples were repeated, or
            where their number is not known.
    """

    _dims = along({"mini_batch parameter": "samples", "parameter": "full_gradient layer"})

    samples: np.ndarray
    full_gradient: np.ndarray
    iteration: int
    batch_size: int
    slices: dict[str, tuple[int, int]]
    reference: str = ALL_EXAMPLES
    num_examples: int | None = None

    def _variables(self) -> dict[str, Any]:
        layer = np.empty(self.samples.shape[1], dtype=object)
        for name, (start, stop) in self.slices.items():
            layer[start:stop] = name
        found = {name: value for name, value in super()._variables().items() if name != "slices"}
        return found | {"layer": layer.astype(str)}


@dataclasses.dataclass(frozen=True, eq=False)
class StableNoise(Result):
    """Gradient noise as the simulator takes it: one tail index and one scale for each coordinate.

    Attributes:
        alpha: in (0, 2]; an estimate above 2 becomes 2 (Gaussian), which is then a warning.
        scales: of exp(-|scale w|^alpha), (num_parameters,); 0 for a dead coordinate. At alpha = 2 the variance is
            2 scale^2.
        num_dead: coordinates whose noise was zero in every mini-batch.
        estimate: the pooled estimate that alpha is from.
        warnings: sentences, also on what was pooled.
    """

    _dims = along({"parameter": "scales"})

    alpha: float
    scales: np.ndarray
    num_dead: int
    estimate: tails.TailEstimate
    warnings: tuple[str, ...]

    def _variables(self) -> dict[str, Any]:
        found = {name: value for name, value in super()._variables().items() if name != "estimate"}
        return found | {"alpha_ci95": self.estimate.interval}


def draw_batches(num_examples: int, batch_size: int, num_batches: int, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Mini-batches for measuring noise: each without repetition in itself, and independent of the others.

    (The mini-batches of one epoch are not independent: their noises add up to zero.)

    Args:
        num_examples: to draw from.
        batch_size: from 1 to num_examples.
        num_batches: 1 or more.
        seed: of the draw.

    Returns:
        Indices int32 (num_batches, batch_size).

    Raises:
        ValueError: the sizes do not fit.

    Example:
        >>> draw_batches(10, 4, 3).shape
        (3, 4)
    """
    if not 1 <= batch_size <= num_examples or num_batches < 1:
        raise ValueError(
            f"{num_batches} mini-batches of {batch_size} do not fit {num_examples} examples. "
            f"Give a batch size from 1 to {num_examples} and one mini-batch or more."
        )
    rng = np.random.default_rng(seed)
    rows = [rng.choice(num_examples, batch_size, replace=False, shuffle=False) for _ in range(num_batches)]
    return np.array(rows, np.int32)


def gradient_noise(
    loss: Any,
    parameters: Any,
    x: Any,
    y: Any = None,
    batches: Any = None,
    *,
    key: Any = None,
    state: Any = None,
    iteration: int = 0,
    slices: dict[str, tuple[int, int]] | None = None,
) -> GradientNoise:
    """Measures gradient noise at fixed parameters of any model, in bounded memory beside the result.

    The gradients are taken one mini-batch after the other (`lax.map`): batched by `vmap`, XLA's float32 products have
    outliers that look like heavy tails (jax-ml/jax#32001). The full gradient is summed in float64.

    The reference that is subtracted is the gradient over all examples, wherever it exists. A loss that draws random
    numbers (dropout), or in which the examples of a mini-batch change each other (batch statistics), has no gradient of
    an example; and an iterable of mini-batches shows no others: the reference then is the mean over the mini-batches,
    and `reference` says so.

    A coordinate whose noise stays within 4 units in the last place of its gradient is dead, and its samples are 0: with
    weight decay in the loss, parameters that no example reaches have a gradient, of which rounding would be the noise.

    Args:
        loss: (parameters, x, y) -> the loss of each example, (batch,), or their mean, (); (parameters, x) where there
            is no y. Which of both is seen from the shape; a sum is refused. A tuple (loss, anything) is taken by its
            first part. Compiled once for each function object.
        parameters: any pytree of floating-point arrays, (num_parameters,) in all: a flat vector, dicts (linen, Haiku),
            an equinox module, an nnx state, or an nnx module itself, of which `nnx.Param` is trained; whole numbers,
            keys and functions in it are handed over as they are. It sets the precision; halves are computed in float32.
        x: all examples, any pytree of arrays (num_examples, ...), for the indices in `batches`. Without `batches` an
            iterable (a list, a generator, a loader) of mini-batches of one size, each a pytree: a tuple (x, y) for
            loss(parameters, x, y), or whatever loss(parameters, batch) takes.
        y: their labels, likewise, or None.
        batches: indices (num_batches, batch_size), see `draw_batches`; or a batch size, of which it draws 256.
        key: a random key, for a loss that takes `key=`: mini-batch i is given `jax.random.fold_in(key, i)`. The random
            streams of an nnx module are folded in with i, too, and begin at `key` where it is given.
        state: what else the model needs, such as running averages, for a loss that takes `state=`; it stays as it is.
        iteration: kept with the result.
        slices: name -> (start, stop), kept with the result; default the arrays of `parameters`.

    Returns:
        The noise; samples have the dtype of the parameters.

    Raises:
        ValueError: a gradient is not finite, the indices are no matrix of integers in range, or what was given does not
            fit together; but for the first, and for a sum, before anything is compiled.

    Source:
        Zhou et al. 2020, section 3: u = grad F - grad f_S, of the opposite sign.

    Example:
        >>> x, y = jnp.arange(6.0), jnp.ones(6)
        >>> noise = gradient_noise(lambda w, x, y: (w[0] * x - y) ** 2, jnp.ones(1), x, y, np.array([[0, 1], [4, 5]]))
        >>> noise.samples.round().tolist(), noise.full_gradient.round(2).tolist()
        ([[-13.0], [19.0]], [13.33])

        A mean over mini-batches of a loader, of a model whose parameters are a dict:

        >>> loader = [(x[:2], y[:2]), (x[4:], y[4:])]
        >>> noise = gradient_noise(lambda w, x, y: jnp.mean((w["w"] * x - y) ** 2), {"w": jnp.ones(1)}, loader)
        >>> noise.samples.tolist(), noise.slices, noise.reference
        ([[-16.0], [16.0]], {'w': (0, 1)}, 'mean of the mini-batches')
    """
    if batches is None:
        return _of_loader(loss, parameters, _loader(x, y), key, state, iteration, slices)
    task = measured(loss, parameters, x, y, batches, key=key, state=state)
    full = task.full_gradient()
    samples = np.empty((len(task.batches), task.vector.size), task.vector.dtype)
    width = int(max(1, min(len(samples), _VALUES // task.vector.size)))
    for start, found in task.gradients(width):
        check_finite(iteration, found)
        samples[start : start + len(found)] = found if full is None else found - full
    reference = ALL_EXAMPLES
    if full is None:
        full, reference = _centred(samples), MINI_BATCHES
    check_finite(iteration, full)
    silence(samples, full)
    kept = (
        task.batches.shape[1],
        dict(slices or task.slices),
        reference,
        drawn_from(task.batches, batch_size(task.data)),
    )
    return GradientNoise(samples, full, iteration, *kept)


def silence(samples: np.ndarray, full: np.ndarray) -> None:
    """Columns that hold no more than the rounding of their gradient become 0, in place."""
    least = ROUNDING * np.finfo(samples.dtype).eps * np.abs(full)
    samples[:, np.maximum(samples.max(axis=0), -samples.min(axis=0)) <= least] = 0


def drawn_from(batches: np.ndarray, count: int) -> int | None:
    """The number of examples, where no mini-batch repeats one."""
    ordered = np.sort(batches, axis=1)
    return None if (ordered[:, 1:] == ordered[:, :-1]).any() else count


def _centred(samples: np.ndarray) -> np.ndarray:
    """The mean over rows, which is taken away in place, some of them at a time."""
    mean = samples.mean(axis=0, dtype=np.float64)
    for start in range(0, len(samples), max(1, _VALUES // samples.shape[1])):
        part = samples[start : start + max(1, _VALUES // samples.shape[1])]
        part[...] = part.astype(np.float64) - mean
    return mean


def _loader(x: Any, y: Any) -> Any:
    """Mini-batches one after the other, or a sentence on what was given in their place."""
    missing = "batches are missing: give batches=draw_batches(num_examples, batch_size, num_batches), or in place of x"
    if y is not None or isinstance(x, dict | tuple | str) or hasattr(x, "shape") or not isinstance(x, Iterable):
        what = f"shape {np.shape(x)}" if hasattr(x, "shape") else type(x).__name__
        raise ValueError(f"{missing} ({what}) an iterable of mini-batches: a list, a generator or a loader.")
    return x


def _of_loader(
    loss: Any, parameters: Any, loader: Iterable[Any], key: Any, state: Any, iteration: int, slices: Any
) -> GradientNoise:
    objective, found, first = None, [], []
    for index, batch in enumerate(loader):
        batch = as_arrays(list(batch) if isinstance(batch, tuple) else batch, f"mini-batch {index}")
        shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(batch)]
        if objective is None:
            objective, first = objective_of(loss, parameters, batch, key=key, state=state), shapes
            check_mean(objective, batch, True)
        if shapes != first:
            raise ValueError(
                f"mini-batch {index} has arrays {[shape for shape, _ in shapes]} where the first has "
                f"{[shape for shape, _ in first]}: give mini-batches of one size (leave the last, smaller one out)."
            )
        one = _batch_gradient(objective.form, objective.vector, objective.arrays, batch, np.int32(index))
        found.append(np.asarray(one))
        check_finite(iteration, found[-1])
    if objective is None or len(found) < 2:
        raise ValueError(f"{len(found)} mini-batches show no noise: give two or more, 50 for a tail index.")
    samples = np.stack(found)
    full = _centred(samples)
    silence(samples, full)
    return GradientNoise(samples, full, iteration, batch_size(batch), dict(slices or objective.slices), MINI_BATCHES)


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A loss, checked on its examples, and the mini-batches whose gradients are wanted.

    Attributes:
        objective: the loss at its parameters.
        data: all examples.
        batches: indices int32 (num_batches, batch_size).
        coupled: whether the examples of a mini-batch change each other's losses.
    """

    objective: Objective
    data: Pair
    batches: np.ndarray
    coupled: bool

    @property
    def vector(self) -> jax.Array:
        return self.objective.vector

    @property
    def slices(self) -> dict[str, tuple[int, int]]:
        return self.objective.slices

    def full_gradient(self) -> np.ndarray | None:
        """The gradient over all examples, float64; None where there is none."""
        if self.coupled or self.objective.draws:
            return None
        objective, count, total = self.objective, batch_size(self.data), np.zeros(self.vector.size)
        width = min(_EXAMPLES, count)
        if objective.each:  # the last chunk is filled up with examples of weight 0
            for _, rows, number in padded(np.arange(count, dtype=np.int32), width):
                part = _gradient_sum(
                    objective.form, objective.vector, objective.arrays, self.data, rows, np.int32(number)
                )
                total += np.asarray(part, np.float64)
            return total / count
        for start in range(0, count, width):
            rows = np.arange(start, min(start + width, count), dtype=np.int32)
            part = _gradients(objective.form, objective.vector, objective.arrays, self.data, rows[None], _FIRST)[0]
            total += len(rows) * np.asarray(part, np.float64)
        return total / count

    def gradients(self, width: int) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first, gradients float64) of `width` mini-batches after the other."""
        numbers = np.arange(len(self.batches), dtype=np.int32)
        for start, rows, count in padded(numbers, width):
            found = _gradients(
                self.objective.form, self.vector, self.objective.arrays, self.data, self.batches[rows], rows
            )
            yield start, np.asarray(found, np.float64)[:count]


def measured(
    loss: Any, parameters: Any, x: Any, y: Any, batches: Any, *, key: Any = None, state: Any = None
) -> Measured:
    """Check what `gradient_noise` takes, on shapes before anything is compiled, then on a few examples.

    Raises:
        ValueError: one sentence on what does not fit.
    """
    data = Pair(as_arrays(x, "x"), as_arrays(y, "y"))
    count = batch_size(data)
    if isinstance(batches, int | np.integer) and not isinstance(batches, bool):
        batches = draw_batches(count, int(batches), _DRAWN)
    batches = checked_batches(batches, count)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batches.shape[1], *leaf.shape[1:]), leaf.dtype), data)
    objective = objective_of(loss, parameters, shapes, key=key, state=state)
    few = batches[0] if batches.shape[1] > 1 else np.arange(min(2, count), dtype=np.int32)
    examples = taken(data, few)
    coupled = len(few) > 1 and not (objective.draws and not objective.each) and couples(objective, examples)
    check_mean(objective, examples, coupled or objective.draws)
    return Measured(objective, data, batches, coupled)


def stable_scales(
    noise: Any, *, method: str = "characteristic_function", seed: int = 0, audit: tails.TailAudit | None = None
) -> StableNoise:
    """Fits u_j = scale_j Z_j to gradient noise, with Z_j symmetric stable of one common index.

    alpha is from the coordinates brought to one scale, pooled, thinned where a mini-batch's values are dependent, and
    shuffled (`levyjax.tails.pool`); each coordinate's scale then follows from its mean log and alpha. Measured noise is
    not centred: its mean is zero by construction. This fits a stable law whether or not the noise is stable;
    `levyjax.tails.audit(noise.samples, center=False)` says whether it is.

    Args:
        noise: of 50 mini-batches or more: a `GradientNoise`; a `NoiseStatistics`, whose sample gives alpha; or an array
            (iterations, parameters) of gradients or of noise, of which the middle of each column is taken away.
        method: "characteristic_function", "log_moment" or "block_log_moment" (the paper's).
        seed: of the shuffling and thinning.
        audit: of the same noise; where its verdict is not "stable", a warning says so, with its reason.

    Returns:
        The index and the scales.

    Raises:
        ValueError: the method is unknown, there are fewer than 50 mini-batches, no coordinate lives, or an array holds
            no finite real numbers.

    Source:
        `levyjax.tails.stable_scale` for the scales.

    Example:
        >>> samples = np.random.default_rng(0).standard_cauchy((2_000, 3)) * [1.0, 0.01, 0.0]
        >>> fit = stable_scales(GradientNoise(samples, np.zeros(3), 0, 1, {}))
        >>> round(fit.alpha, 1), fit.scales.round(3).tolist()[1:], fit.num_dead
        (1.0, [0.01, 0.0], 1)
    """
    if method not in _ESTIMATORS:
        raise ValueError(f"method {method!r} is unknown. Give one of {', '.join(_ESTIMATORS)}.")
    if hasattr(noise, "sample_of_one_scale"):
        values, notes, sizes = _of_statistics(noise)
    else:
        values, notes, sizes = _of_samples(noise, seed)
    estimate = _ESTIMATORS[method](values)
    alpha = min(float(estimate.alpha), 2.0)
    scales = sizes * np.exp(-np.euler_gamma * (1 / alpha - 1))
    doubts = [] if audit is None or audit.verdict == "stable" else [_doubt(audit, alpha)]
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=2)
    return StableNoise(alpha, scales, int((sizes == 0).sum()), estimate, (*notes, *estimate.warnings, *doubts))


def _doubt(audit: tails.TailAudit, alpha: float) -> str:
    reason = audit.reasons[-1] if audit.reasons else ""
    effect = "its exits may be far too soon" if alpha < 2 else "which here is Gaussian"
    return f"Stable noise is made of noise that the audit calls {audit.verdict}: {effect}. {reason}".rstrip()


def _of_samples(noise: Any, seed: int) -> tuple[np.ndarray, Sequence[str], np.ndarray]:
    """Values of one scale, what was done, and exp(mean log|u|) of each coordinate: its scale at alpha = 1."""
    samples = noise.samples if isinstance(noise, GradientNoise) else _gradients_less_their_middle(noise)
    _check_count(len(samples))
    width = max(1, _VALUES // len(samples))
    pieces = [tails.stable_scale(samples[:, i : i + width], 1.0) for i in range(0, samples.shape[1], width)]
    sizes = np.concatenate(pieces)
    _check_alive(sizes)
    pooled = tails.pool(samples, center=False, seed=seed)
    return pooled.values, pooled.notes, sizes


def _of_statistics(noise: Any) -> tuple[np.ndarray, Sequence[str], np.ndarray]:
    _check_count(len(noise.norms))
    sizes = np.exp(noise.mean_log)
    _check_alive(sizes)
    return noise.sample_of_one_scale(), (), sizes


def _gradients_less_their_middle(given: Any) -> np.ndarray:
    array = as_array(given, "noise")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"noise has shape {array.shape}: give (iterations, parameters), or what was captured.")
    kept = np.asarray(array).astype(np.float64)
    bad = kept.size - int(np.isfinite(kept).sum())
    if bad:
        raise ValueError(f"noise holds {bad} of {kept.size} values that are NaN or infinite. Remove them first.")
    return kept - middle(kept)


def _check_count(count: int) -> None:
    if count < FEWEST_BATCHES:
        raise ValueError(f"{count} mini-batches show no scales. Capture {FEWEST_BATCHES} or more.")


def _check_alive(sizes: np.ndarray) -> None:
    if not sizes.any():
        raise ValueError(f"all {sizes.size} coordinates are dead: every mini-batch gradient equals the full gradient.")


@functools.partial(jax.jit, static_argnums=0)
def _gradients(form: Any, vector: jax.Array, arrays: Any, data: Any, batches: jax.Array, numbers: jax.Array):
    """Of mini-batches, one after the other."""
    return jax.lax.map(
        lambda part: gradient_at(form, vector, arrays, taken(data, part[0]), part[1]), (batches, numbers)
    )


@functools.partial(jax.jit, static_argnums=0)
def _batch_gradient(form: Any, vector: jax.Array, arrays: Any, batch: Any, number: jax.Array):
    return gradient_at(form, vector, arrays, batch, number)


def gradient_at(form: Any, vector: jax.Array, arrays: Any, batch: Any, number: Any) -> jax.Array:
    """The gradient (num_parameters,) of the mean loss of one mini-batch, which has a number."""

    def mean(vector: jax.Array) -> jax.Array:
        found = form(vector, arrays, batch, number)
        return found.mean() if found.ndim else found

    return jax.grad(mean)(vector)


def batch_gradient(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array, rows: jax.Array) -> jax.Array:
    """The gradient (num_parameters,) of the mean loss over the examples `rows`, of a flat vector."""
    return jax.grad(lambda p: losses(p, x[rows], y[rows]).mean())(parameters)


def check_finite(iteration: int, *arrays: np.ndarray) -> None:
    """Refuses gradients or updates that are not finite, in one sentence."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"the gradients at iteration {iteration} are not all finite. Use a smaller learning rate.")


@functools.partial(jax.jit, static_argnums=0)
def _gradient_sum(form: Any, vector: jax.Array, arrays: Any, data: Any, rows: jax.Array, count: jax.Array):
    weights = (jnp.arange(rows.size, dtype=count.dtype) < count).astype(vector.dtype)

    def total(vector: jax.Array) -> jax.Array:
        return jnp.vdot(weights, form(vector, arrays, taken(data, rows), np.int32(0)).astype(vector.dtype))

    return jax.grad(total)(vector)


def full_gradient(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array) -> np.ndarray:
    """Over all examples, of a loss for each."""
    found = measured(losses, parameters, x, y, np.zeros((1, 1), np.int32)).full_gradient()
    if found is None:
        raise ValueError("the loss draws random numbers, or couples its examples: it has no gradient of all of them.")
    return found


def padded(rows: np.ndarray, width: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """(start, `width` rows, how many of them count), so that every chunk has one shape and compiles once."""
    for start in range(0, len(rows), width):
        chunk = rows[start : start + width]
        yield start, np.concatenate([chunk, np.repeat(chunk[:1], width - len(chunk), axis=0)]), len(chunk)


def checked_batches(batches: Any, num_examples: int) -> np.ndarray:
    """Indices of mini-batches as int32, or one sentence on what is wrong with them."""
    batches = np.asarray(batches)
    if batches.ndim != 2 or batches.size == 0 or batches.dtype.kind not in "iu":
        raise ValueError(
            f"batches of shape {batches.shape} and dtype {batches.dtype}: give integers (num, batch_size)."
        )
    if batches.min() < 0 or batches.max() >= num_examples:
        raise ValueError(
            f"batches hold indices from {batches.min()} to {batches.max()}. Give indices from 0 to {num_examples - 1}."
        )
    return batches.astype(np.int32)
