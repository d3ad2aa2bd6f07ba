"""Gradient noise: mini-batch gradients minus the full gradient, at fixed parameters."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax import tails
from levyjax.datasets import Result, along

Losses = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (parameters, x, y) -> loss of each example

_EXAMPLES = 1_000  # of the full gradient at a time
_VALUES = 2**22  # numbers of a chunk of mini-batch gradients
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
        full_gradient: float64 (num_parameters,), over all training examples.
        iteration: updates made before.
        batch_size: examples of a mini-batch.
        slices: name of a parameter array -> (start, stop) along the last axis.
    """

    _dims = along({"mini_batch parameter": "samples", "parameter": "full_gradient layer"})

    samples: np.ndarray
    full_gradient: np.ndarray
    iteration: int
    batch_size: int
    slices: dict[str, tuple[int, int]]

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
    losses: Losses,
    parameters: jax.Array,
    x: jax.Array,
    y: jax.Array,
    batches: np.ndarray,
    *,
    iteration: int = 0,
    slices: dict[str, tuple[int, int]] | None = None,
) -> GradientNoise:
    """Measures gradient noise at fixed parameters, in bounded memory beside the result.

    The gradients are taken one mini-batch after the other (`lax.map`): batched by `vmap`, XLA's float32 products have
    outliers that look like heavy tails (jax-ml/jax#32001). The full gradient is summed in float64.

    Args:
        losses: (parameters, x, y) -> loss of each example, (batch,). Compiled once for each function object.
        parameters: (num_parameters,), which sets the precision.
        x: all examples, (num_examples, ...).
        y: their labels, (num_examples, ...).
        batches: indices (num_batches, batch_size), see `draw_batches`.
        iteration: kept with the result.
        slices: kept with the result.

    Returns:
        The noise; samples have the dtype of the parameters.

    Raises:
        ValueError: a gradient is not finite, or the indices are no matrix of integers in range.

    Source:
        Zhou et al. 2020, section 3: u = grad F - grad f_S, of the opposite sign.

    Example:
        >>> x, y = jnp.arange(6.0), jnp.ones(6)
        >>> noise = gradient_noise(lambda w, x, y: (w[0] * x - y) ** 2, jnp.ones(1), x, y, np.array([[0, 1], [4, 5]]))
        >>> noise.samples.round().tolist(), noise.full_gradient.round(2).tolist()
        ([[-13.0], [19.0]], [13.33])
    """
    batches = checked_batches(batches, len(x))
    full = full_gradient(losses, parameters, x, y)
    samples = np.empty((len(batches), full.size), parameters.dtype)
    width = int(max(1, min(len(batches), _VALUES // full.size)))
    check_finite(iteration, full)
    for start, chunk, count in padded(batches, width):
        found = np.asarray(_batch_gradients(losses, parameters, x, y, chunk), np.float64)[:count]
        check_finite(iteration, found)
        samples[start : start + count] = found - full
    return GradientNoise(samples, full, iteration, batches.shape[1], dict(slices or {}))


def stable_scales(noise: GradientNoise, *, method: str = "characteristic_function", seed: int = 0) -> StableNoise:
    """Fits u_j = scale_j Z_j to gradient noise, with Z_j symmetric stable of one common index.

    alpha is from the coordinates brought to one scale, pooled, thinned where a mini-batch's values are dependent, and
    shuffled (`levyjax.tails.pool`); each coordinate's scale then follows from its mean log and alpha. The noise is not
    centred: its mean is zero by construction. This fits a stable law whether or not the noise is stable;
    `levyjax.tails.audit(noise.samples, center=False)` says whether it is.

    Args:
        noise: the measured noise, 50 mini-batches or more.
        method: "characteristic_function", "log_moment" or "block_log_moment" (the paper's).
        seed: of the shuffling and thinning.

    Returns:
        The index and the scales.

    Raises:
        ValueError: the method is unknown, there are fewer than 50 mini-batches, or no coordinate lives.

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
    samples = noise.samples
    if len(samples) < FEWEST_BATCHES:
        raise ValueError(f"{len(samples)} mini-batches show no scales. Capture {FEWEST_BATCHES} or more.")
    width = max(1, _VALUES // len(samples))
    pieces = [tails.stable_scale(samples[:, i : i + width], 1.0) for i in range(0, samples.shape[1], width)]
    sizes = np.concatenate(pieces)  # at alpha = 1 the scale is exp(mean log|u|)
    dead = int((sizes == 0).sum())
    if dead == sizes.size:
        raise ValueError(f"all {sizes.size} coordinates are dead: every mini-batch gradient equals the full gradient.")
    pooled = tails.pool(samples, center=False, seed=seed)
    estimate = _ESTIMATORS[method](pooled.values)
    alpha = min(float(estimate.alpha), 2.0)
    scales = sizes * np.exp(-np.euler_gamma * (1 / alpha - 1))
    return StableNoise(alpha, scales, dead, estimate, (*pooled.notes, *estimate.warnings))


@functools.partial(jax.jit, static_argnums=0)
def _batch_gradients(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array, batches: jax.Array):
    return jax.lax.map(lambda rows: batch_gradient(losses, parameters, x, y, rows), batches)


def batch_gradient(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array, rows: jax.Array) -> jax.Array:
    """The gradient (num_parameters,) of the mean loss over the examples `rows`."""
    return jax.grad(lambda p: losses(p, x[rows], y[rows]).mean())(parameters)


def check_finite(iteration: int, *arrays: np.ndarray) -> None:
    """Refuses gradients or updates that are not finite, in one sentence."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"the gradients at iteration {iteration} are not all finite. Use a smaller learning rate.")


@functools.partial(jax.jit, static_argnums=0)
def _gradient_sum(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array, rows: jax.Array, count: jax.Array):
    weights = (jnp.arange(rows.size, dtype=count.dtype) < count).astype(parameters.dtype)
    return jax.grad(lambda p: jnp.vdot(weights, losses(p, x[rows], y[rows])))(parameters)


def full_gradient(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array) -> np.ndarray:
    """Sums over chunks of examples; the last chunk is filled up with examples of weight 0."""
    total = np.zeros(parameters.size)
    for _, rows, count in padded(np.arange(len(x), dtype=np.int32), min(_EXAMPLES, len(x))):
        total += np.asarray(_gradient_sum(losses, parameters, x, y, rows, np.int32(count)), np.float64)
    return total / len(x)


def padded(rows: np.ndarray, width: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """(start, `width` rows, how many of them count), so that every chunk has one shape and compiles once."""
    for start in range(0, len(rows), width):
        chunk = rows[start : start + width]
        yield start, np.concatenate([chunk, np.repeat(chunk[:1], width - len(chunk), axis=0)]), len(chunk)


def checked_batches(batches: np.ndarray, num_examples: int) -> np.ndarray:
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
