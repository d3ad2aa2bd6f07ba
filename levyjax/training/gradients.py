"""Gradients of mini-batches and of all examples, in bounded memory."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax.training.batches import checked_batches, draw_batches, padded
from levyjax.training.coupling import check_mean, couples
from levyjax.training.examples import Pair, as_arrays, batch_size, taken
from levyjax.training.objective import Objective, objective_of

Losses = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (parameters, x, y) -> loss of each example
_EXAMPLES = 1_000  # of the full gradient at a time
_DRAWN = 256  # mini-batches, where only their size is given
_FIRST = np.zeros(1, np.int32)  # the number of the first mini-batch


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


def full_gradient(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array) -> np.ndarray:
    """Over all examples, of a loss for each."""
    found = measured(losses, parameters, x, y, np.zeros((1, 1), np.int32)).full_gradient()
    if found is None:
        raise ValueError("the loss draws random numbers, or couples its examples: it has no gradient of all of them.")
    return found


def gradient_at(form: Any, vector: jax.Array, arrays: Any, batch: Any, number: Any) -> jax.Array:
    """The gradient (num_parameters,) of the mean loss of one mini-batch, which has a number."""

    def mean(vector: jax.Array) -> jax.Array:
        found = form(vector, arrays, batch, number)
        return found.mean() if found.ndim else found

    return jax.grad(mean)(vector)


def batch_gradient(losses: Losses, parameters: jax.Array, x: jax.Array, y: jax.Array, rows: jax.Array) -> jax.Array:
    """The gradient (num_parameters,) of the mean loss over the examples `rows`, of a flat vector."""
    return jax.grad(lambda p: losses(p, x[rows], y[rows]).mean())(parameters)


@functools.partial(jax.jit, static_argnums=0)
def compiled_gradient(form: Any, vector: jax.Array, arrays: Any, batch: Any, number: jax.Array):
    return gradient_at(form, vector, arrays, batch, number)


def check_finite(iteration: int, *arrays: np.ndarray) -> None:
    """Refuses gradients or updates that are not finite, in one sentence."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"the gradients at iteration {iteration} are not all finite. Use a smaller learning rate.")


@functools.partial(jax.jit, static_argnums=0)
def _gradients(form: Any, vector: jax.Array, arrays: Any, data: Any, batches: jax.Array, numbers: jax.Array):
    """Of mini-batches, one after the other."""
    return jax.lax.map(
        lambda part: gradient_at(form, vector, arrays, taken(data, part[0]), part[1]), (batches, numbers)
    )


@functools.partial(jax.jit, static_argnums=0)
def _gradient_sum(form: Any, vector: jax.Array, arrays: Any, data: Any, rows: jax.Array, count: jax.Array):
    weights = (jnp.arange(rows.size, dtype=count.dtype) < count).astype(vector.dtype)

    def total(vector: jax.Array) -> jax.Array:
        return jnp.vdot(weights, form(vector, arrays, taken(data, rows), np.int32(0)).astype(vector.dtype))

    return jax.grad(total)(vector)
