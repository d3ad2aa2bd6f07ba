"""Gradient noise as an optimizer applies it: averaged by momentum, averaged and preconditioned by Adam."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike

from levyjax.arrays import add_to
from levyjax.datasets import Result, along
from levyjax.training.batches import checked_batches, drawn_from
from levyjax.training.capture import GradientNoise, silence
from levyjax.training.gradients import Losses, batch_gradient, full_gradient

_VALUES = 1 << 22  # numbers of a chunk of recorded updates


@dataclasses.dataclass(frozen=True, eq=False)
class AppliedNoise(Result):
    """Noise of the same mini-batches before and after an optimizer, at fixed parameters.

    Attributes:
        raw: mini-batch gradient minus full gradient, of the last mini-batch before each recorded update.
        applied: the update over minus the learning rate, minus `applied.full_gradient`, which here is what was
            subtracted: the mean of all updates after the burn-in, over minus the learning rate.
    """

    _dims = along({"mini_batch parameter": "raw applied", "parameter": "full_gradient mean_update layer"})

    raw: GradientNoise
    applied: GradientNoise

    def _variables(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.raw._variables().items() if name != "samples"}
        return {
            **kept,
            "raw": self.raw.samples,
            "applied": self.applied.samples,
            "mean_update": self.applied.full_gradient,
        }


def applied_noise(
    losses: Losses,
    parameters: jax.Array,
    x: jax.Array,
    y: jax.Array,
    batches: np.ndarray,
    optimizer: optax.GradientTransformation,
    state: Any,
    learning_rate: float,
    *,
    burn_in: int = 0,
    thinning: int = 1,
    centre: ArrayLike | None = None,
    iteration: int = 0,
    slices: dict[str, tuple[int, int]] | None = None,
) -> AppliedNoise:
    """Runs an optimizer on the gradients of one mini-batch after the other while the parameters stay where they are.

    What is subtracted is the mean over the stream. For SGD and momentum, which are linear in the gradient, that is the
    update on full gradients, up to the error of a mean. For Adam only the mean is right: on full gradients alone its v
    would fall to the squares of these, and its update become their signs, which no run with mini-batches sees. Noise
    of a tail index near 1 or below has no mean to speak of: give the `centre` then.

    Args:
        losses: (parameters, x, y) -> loss of each example, (batch,). Compiled once for each function object.
        parameters: (num_parameters,), which sets the precision.
        x: all examples, (num_examples, ...).
        y: their labels, (num_examples, ...).
        batches: indices (burn_in + thinning * num_recorded, batch_size), see `draw_batches`.
        optimizer: any optax transformation of a flat vector.
        state: its state to start from: `optimizer.init(parameters)`, or that of a training run.
        learning_rate: the updates are divided by minus this.
        burn_in: updates before the first that counts. Momentum b forgets in 1/(1-b) of them, Adam's v in 1000.
        thinning: of this many updates the last is recorded.
        centre: (num_parameters,) or a number to subtract in place of the mean: for momentum b that is known, the full
            gradient / (1-b).
        iteration: kept with the result.
        slices: kept with the result.

    Returns:
        Both noises, (num_recorded, num_parameters) each, in the dtype of the parameters.

    Raises:
        ValueError: the mini-batches do not divide into recorded updates, an update is not finite, or the indices are
            no matrix of integers in range.

    Example:
        >>> x, y = jnp.arange(6.0), jnp.ones(6)
        >>> def loss(w, x, y):
        ...     return w[0] * x
        >>> batches, momentum = np.array([[0], [2], [1], [3]]), optax.sgd(0.5, momentum=0.5)
        >>> noise = applied_noise(loss, jnp.ones(1), x, y, batches, momentum, momentum.init(jnp.ones(1)), 0.5)
        >>> noise.applied.full_gradient.tolist(), noise.applied.samples.tolist()
        ([2.0], [[-2.0], [0.0], [0.0], [2.0]])
    """
    batches = checked_batches(batches, len(x))
    recorded, left = divmod(len(batches) - burn_in, max(1, thinning))
    if burn_in < 0 or thinning < 1 or left or recorded < 1:
        raise ValueError(
            f"{len(batches)} mini-batches are no burn-in of {burn_in} and a multiple of {thinning}. "
            "Give burn_in + thinning * num_recorded of them."
        )
    width = max(1, min(recorded, _VALUES // parameters.size))
    run = functools.partial(_groups, losses, optimizer, parameters, x=x, y=y)
    for group, skip in _chunks(batches[:burn_in], thinning, width):
        state = run(state=state, batches=group, skip=skip)[0]
    full = full_gradient(losses, parameters, x, y)
    total, gradients, updates = np.zeros(full.size), [], []
    middle = None if centre is None else np.broadcast_to(np.asarray(centre, np.float64), full.shape)
    for group, skip in _chunks(batches[burn_in:], thinning, width):
        state, subtotal, *found = run(state=state, batches=group, skip=skip)
        gradient, update = (np.asarray(part)[skip < thinning] for part in found)
        if not (np.isfinite(update).all() and np.isfinite(gradient).all()):
            raise ValueError(f"the updates at iteration {iteration} are not all finite. Use a smaller learning rate.")
        total += sum(np.asarray(part, np.float64) for part in subtotal)
        gradients.append((gradient.astype(np.float64) - full).astype(parameters.dtype))
        updates.append(update)
    if middle is None:
        middle = total / (-learning_rate * thinning * recorded)
    for place, update in enumerate(updates):
        updates[place] = (update.astype(np.float64) / -learning_rate - middle).astype(parameters.dtype)
    applied = np.concatenate(updates)
    kept = iteration, batches.shape[1], dict(slices or {})
    raw = np.concatenate(gradients)
    silence(raw, full)
    return AppliedNoise(
        GradientNoise(raw, full, *kept, num_examples=drawn_from(batches, len(x))), GradientNoise(applied, middle, *kept)
    )


def _chunks(batches: np.ndarray, thinning: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups (width, thinning, batch_size) of mini-batches and how many to skip at the head of each, (width,)."""
    size = width * thinning
    for end in range(len(batches) % size or size, len(batches) + 1, size):
        chunk = batches[max(0, end - size) : end]
        missing = size - len(chunk)
        chunk = np.concatenate([np.repeat(batches[:1], missing, axis=0), chunk])
        skip = np.clip(missing - thinning * np.arange(width, dtype=np.int32), 0, thinning).astype(np.int32)
        yield chunk.reshape(width, thinning, -1), skip


@functools.partial(jax.jit, static_argnums=(0, 1))
def _groups(losses: Losses, optimizer: optax.GradientTransformation, parameters, state, x, y, batches, skip):
    """The state after all groups, the sum of all updates in two parts, and each group's last gradient and update."""
    nothing = jnp.zeros_like(parameters)

    def group(carry, part):
        rows, first = part

        def step(place, carry):
            state, total, _, _ = carry
            gradient = batch_gradient(losses, parameters, x, y, rows[place])
            with jax.numpy_dtype_promotion("standard"):  # optax.adam mixes Python floats and int32 counters
                found: Any = optimizer.update(gradient, state, parameters)
            update, state = found
            return state, add_to(total[0], total[1], update), gradient, update

        *carry, gradient, update = jax.lax.fori_loop(
            first, jnp.full_like(first, len(rows)), step, (*carry, nothing, nothing)
        )
        return tuple(carry), (gradient, update)

    (state, total), found = jax.lax.scan(group, (state, (nothing, nothing)), (batches, skip))
    return state, total, *found
