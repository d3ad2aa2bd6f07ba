"""Gradient noise of single examples, from which that of every batch size follows: its moments and covariance."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from levyjax.datasets import Result, along
from levyjax.training.batches import checked_batches, padded
from levyjax.training.capture import GradientNoise
from levyjax.training.examples import batch_size, taken
from levyjax.training.gradients import Measured, check_finite, measured

_VALUES = 1 << 22  # numbers of a chunk of gradients


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleMoments(Result):
    """Second moments of the gradient noise of single examples.

    Drawn with replacement, a mini-batch of S has them divided by S; without, times (N - S)/(N - 1), too.

    Attributes:
        second_moment: float64 (num_parameters,), mean square of each coordinate's noise.
        layers: name of a parameter array -> the mean of these over it.
        covariance: float64 (num_parameters, num_parameters) of the noise about 0; None if not asked for.
        num_examples: measured.
    """

    _dims = along({"parameter": "second_moment", "layer": "layers", "parameter other_parameter": "covariance"})

    second_moment: np.ndarray
    layers: dict[str, float]
    covariance: np.ndarray | None
    num_examples: int


def per_example_noise(
    loss: Any,
    parameters: Any,
    x: Any,
    y: Any = None,
    examples: np.ndarray | None = None,
    *,
    iteration: int = 0,
    slices: dict[str, tuple[int, int]] | None = None,
) -> GradientNoise:
    """Gradients of single examples minus the full gradient of all of them.

    The gradients are taken for many examples at a time (`vmap`), with products of the highest precision; against one
    example at a time they are exact to rounding, without the outliers of jax-ml/jax#32001 that `gradient_noise`
    avoids.

    Args:
        loss: see `gradient_noise`, as the next three; one that neither draws random numbers nor couples examples.
        parameters: any pytree, (num_parameters,) in all.
        x: all examples.
        y: their labels, or None.
        examples: indices (n,) of those to measure; default all. All of a large set need n * num_parameters numbers:
            `per_example_moments` needs a fixed amount of memory.
        iteration: kept with the result.
        slices: kept with the result.

    Returns:
        The noise, samples (n, num_parameters), in the order of `examples`.

    Raises:
        ValueError: a gradient is not finite, the indices are no vector of integers in range, or the loss has no
            gradient of single examples.

    Example:
        >>> from jax.numpy import arange, ones
        >>> x, y = arange(4.0), ones(4)
        >>> per_example_noise(lambda w, x, y: w[0] * x, ones(1), x, y).samples.ravel().tolist()
        [-1.5, -0.5, 0.5, 1.5]
    """
    task, rows, full = _task(loss, parameters, x, y, examples)
    samples = np.empty((len(rows), full.size), task.vector.dtype)
    for start, found in _chunks(task, full, rows):
        check_finite(iteration, found)
        samples[start : start + len(found)] = found
    return GradientNoise(samples, full, iteration, 1, dict(slices or task.slices))


def per_example_moments(
    loss: Any,
    parameters: Any,
    x: Any,
    y: Any = None,
    examples: np.ndarray | None = None,
    *,
    covariance: bool = False,
    iteration: int = 0,
    slices: dict[str, tuple[int, int]] | None = None,
) -> ExampleMoments:
    """Second moments of single examples' noise, in an amount of memory that does not grow with their number.

    Args:
        loss: see `per_example_noise`; sums are made in float64.
        parameters: any pytree, (num_parameters,) in all.
        x: all examples.
        y: their labels, or None.
        examples: indices (n,) of those to measure; default all.
        covariance: whether to make the whole matrix, num_parameters^2 numbers.
        iteration: for the message of an error.
        slices: name of a parameter array -> (start, stop), see `FlatModel`; default one array.

    Returns:
        The moments.

    Raises:
        ValueError: see `per_example_noise`.

    Source:
        Zhou et al. 2020, Figure 4: the second moment of the noise, by layer.

    Example:
        >>> from jax.numpy import arange, ones
        >>> x, y = arange(4.0), ones(4)
        >>> found = per_example_moments(lambda w, x, y: x * (w[0] + 2 * w[1]), ones(2), x, y, covariance=True)
        >>> found.second_moment.tolist(), found.covariance.tolist(), found.layers
        ([1.25, 5.0], [[1.25, 2.5], [2.5, 5.0]], {'parameters': 3.125})
    """
    task, rows, full = _task(loss, parameters, x, y, examples)
    square = np.zeros(full.size)
    products = np.zeros((full.size, full.size)) if covariance else None
    for _, noise in _chunks(task, full, rows):
        check_finite(iteration, noise)
        square += np.einsum("ij,ij->j", noise, noise)
        if products is not None:
            products += noise.T @ noise
    return ExampleMoments(
        square / len(rows),
        layer_means(square / len(rows), slices or task.slices),
        None if products is None else products / len(rows),
        len(rows),
    )


def layer_means(values: np.ndarray, slices: dict[str, tuple[int, int]] | None = None) -> dict[str, float]:
    """Means over each parameter array of values (num_parameters,), such as a second moment.

    Example:
        >>> layer_means(np.array([1.0, 2.0, 4.0]), {"bias": (0, 1), "kernel": (1, 3)})
        {'bias': 1.0, 'kernel': 3.0}
    """
    ends = slices or {"parameters": (0, len(values))}
    return {name: float(np.mean(values[start:stop], dtype=np.float64)) for name, (start, stop) in ends.items()}


def _task(loss: Any, parameters: Any, x: Any, y: Any, examples: Any) -> tuple[Measured, np.ndarray, np.ndarray]:
    """The checked loss, the examples to measure, and the gradient of all of them."""
    task = measured(loss, parameters, x, y, np.zeros((1, 1), np.int32))
    full = task.full_gradient()
    if full is None:
        raise ValueError(
            "the loss draws random numbers, or the examples of a mini-batch change each other's losses (batch "
            "statistics): there is no gradient of a single one. Use gradient_noise."
        )
    count = batch_size(task.data)
    rows = np.arange(count) if examples is None else np.asarray(examples)
    if rows.ndim != 1:
        raise ValueError(f"examples of shape {rows.shape}: give a vector of indices.")
    return task, checked_batches(rows[:, None], count)[:, 0], full


def _chunks(task: Measured, full: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(start, noise float64 of some of the rows), one chunk after the other."""
    width = max(1, min(len(rows), _VALUES // full.size))
    objective = task.objective
    for start, chunk, count in padded(rows, width):
        found = _gradients(objective.form, objective.vector, objective.arrays, task.data, chunk)
        yield start, np.asarray(found[:count], np.float64) - full


@functools.partial(jax.jit, static_argnums=0)
def _gradients(form: Any, vector: jax.Array, arrays: Any, data: Any, rows: jax.Array):
    def loss(vector: jax.Array, row: jax.Array) -> jax.Array:
        return form(vector, arrays, taken(data, row[None]), np.int32(0)).reshape(())

    with jax.default_matmul_precision("highest"):
        return jax.vmap(jax.grad(loss), (None, 0))(vector, rows)
