"""The paper's SDEs of SGD and Adam on a real network, beside the algorithms: losses and accuracies of many seeds."""

import dataclasses
import math
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import cast, pytree, static
from levyjax.checks import require_whole
from levyjax.datasets import Result, along
from levyjax.engine import observe
from levyjax.noise import Noise
from levyjax.noise.base import noise_at
from levyjax.random import Counter, Stream
from levyjax.training.escapes import FreeProcess
from levyjax.training.gradients import Losses
from levyjax.training.networks import FlatModel

_LANES = 8  # of one compiled run: a step costs what its lanes cost


@pytree
class SeenNoise:
    """Noise of an SDE whose squared gradients are those of other noise: `seen` is drawn for stream GRADIENT.

    With `seen` a `MiniBatch`, `Adam(gradient_noise="stable")` averages the squares of mini-batch gradients, drawn
    independently of the noise that moves the point.

    Args:
        driving: what drives the SDE.
        seen: what v sees beside the gradient.
    """

    driving: Noise
    seen: Noise

    @property
    def scale(self) -> Any:
        """Of what drives the SDE."""
        return self.driving.scale

    def at(self, x: Float[Array, "d *batch"], noise_level: Any) -> Noise:
        """The noise of a step that starts at these points."""
        return SeenNoise(noise_at(self.driving, x, noise_level), noise_at(self.seen, x, noise_level))

    def increment(self, counter: Counter, dt: Any, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        return (self.seen if stream == Stream.GRADIENT else self.driving).increment(counter, dt, stream)


@dataclasses.dataclass(frozen=True, eq=False)
class Curves(Result):
    """Training curves of many seeds.

    Attributes:
        iterations: updates made at each record, (records,).
        train_loss, test_loss: mean cross-entropy in nats, (records, seeds).
        train_accuracy, test_accuracy: in [0, 1], (records, seeds); nan where the network's outputs are not finite.
    """

    _dims = along({"iterations": "iterations", "iterations seed": "train_loss train_accuracy test_loss test_accuracy"})

    iterations: np.ndarray
    train_loss: np.ndarray
    train_accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray


def training_curves(
    model: FlatModel,
    process: FreeProcess,
    test: tuple[Any, Any],
    *,
    num_seeds: int,
    num_steps: int,
    record_every: int,
    seed: int,
) -> Curves:
    """Train from one point for all seeds, and record losses and accuracies; a seed's run does not depend on the others.

    Args:
        model: the network; the precision is that of its parameters.
        process: on its `NetworkLoss`, whose examples are those of training.
        test: other examples (n, features) and labels (n,).
        num_seeds: how many runs.
        num_steps: updates, a multiple of record_every.
        record_every: updates between records; the first is at 0.
        seed: of the mini-batches or the noise.

    Returns:
        The curves; what has overflowed is inf or nan there.

    Raises:
        ValueError: no seed, or steps that are no positive multiple of record_every.
    """
    if num_seeds < 1 or record_every < 1 or num_steps < record_every or num_steps % record_every:
        raise ValueError(
            f"{num_seeds} seeds and {num_steps} steps recorded every {record_every}: give 1 seed or more and a "
            "positive multiple of record_every."
        )
    loss = process.landscape
    sets = [(jnp.asarray(x), jnp.asarray(y)) for x, y in ((loss.features, loss.targets), test)]
    process, look = cast((process, _Measures(model.losses, model.apply, sets)), model.parameters.dtype)
    found = observe(process, seed, np.arange(num_seeds), record_every, look, num_steps // record_every, width=_LANES)
    first = np.asarray(jax.jit(_Measures.of_points)(look, process.start().x))  # the same for all
    rows = np.concatenate([np.repeat(first, num_seeds, axis=1)[None], found.seen]).astype(np.float64)
    return Curves(np.arange(0, num_steps + 1, record_every), *(rows[:, part] for part in (0, 1, 2, 3)))


@pytree
class _Measures:
    """Loss and accuracy on the examples of training, then of the test, (4, lanes)."""

    losses: Losses = static()
    apply: Callable[[Any, Any], Any] = static()
    sets: Any = None

    def __call__(self, state: Any) -> Float[Array, "4 lanes"]:
        return self.of_points(state.x)

    def of_points(self, x: Float[Array, "d lanes"]) -> Float[Array, "4 lanes"]:
        def one(x: Array) -> Array:
            parts = [(self.losses(x, *data).mean(), _accuracy(self.apply(x, data[0]), data[1])) for data in self.sets]
            return jnp.stack([part for pair in parts for part in pair])

        return jax.vmap(one, in_axes=1, out_axes=1)(x)


def _accuracy(logits: Float[Array, "n classes"], labels: Array) -> Float[Array, ""]:
    """The share of right answers; none where an output is not finite."""
    right = (logits.argmax(axis=1).astype(labels.dtype) == labels).astype(logits.dtype).mean()
    return jnp.where(jnp.isfinite(logits).all(), right, jnp.full_like(right, jnp.nan))


@dataclasses.dataclass(frozen=True)
class LawDistance(Result):
    """How far two samples' laws are apart.

    Attributes:
        distance: the energy distance over twice the mean distance of one sample to the other, 0 for equal laws, at
            most 1.
        p_value: of the permutation test that the laws are equal.
    """

    distance: float
    p_value: float


def law_distance(
    first: Float[np.ndarray, "n k"], second: Float[np.ndarray, "m k"], *, num_permutations: int = 999, seed: int = 0
) -> LawDistance:
    """The energy distance of two samples of vectors, with a permutation test.

    Args:
        first, second: a vector a row, as many numbers in each; one row of each or more.
        num_permutations: p-values are multiples of 1/(num_permutations + 1), and exact.
        seed: of the permutations.

    Raises:
        ValueError: samples that do not fit each other, are empty or not finite, or so large that distances overflow.

    Source:
        Szekely and Rizzo 2004: (2 E|X - Y| - E|X - X'| - E|Y - Y'|) / (2 E|X - Y|).

    Example:
        >>> rows = np.arange(20.0)[:, None]
        >>> law_distance(rows, rows + 100).p_value, round(law_distance(rows, rows + 100).distance, 3)
        (0.001, 0.933)
    """
    require_whole(num_permutations, "num_permutations")
    samples = {name: _sample(rows, name) for name, rows in (("first", first), ("second", second))}
    shapes = [rows.shape for rows in samples.values()]
    if shapes[0][1] != shapes[1][1]:
        raise ValueError(f"the samples have rows of {shapes[0][1]} and {shapes[1][1]} numbers. Give equal lengths.")
    values = np.concatenate(list(samples.values()))
    size = float(np.abs(values).max())
    if size > math.sqrt(sys.float_info.max / (4 * values.shape[1])):
        raise ValueError(f"distances between values of up to {size:.3g} overflow. Give them in a larger unit.")
    values = values / size if size > 0 else values  # squares of small ones would be 0
    between = np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=2))
    rng = np.random.default_rng(seed)
    label = np.arange(len(values)) < shapes[0][0]
    ones = np.stack([label, *(rng.permutation(label) for _ in range(num_permutations))]).astype(float)
    sides = [rows / rows.sum(axis=1, keepdims=True) for rows in (ones, 1 - ones)]
    own, across, other = (((a @ between) * b).sum(axis=1) for a, b in ((sides[0],) * 2, sides, (sides[1],) * 2))
    found = 2 * across - own - other
    larger = (found[1:] >= found[0] - 1e-12 * across[0]).sum()  # what is equal up to rounding counts
    distance = found[0] / (2 * across[0]) if across[0] > 0 else 0.0
    return LawDistance(float(distance), float((1 + larger) / (1 + num_permutations)))


def _sample(rows: Any, name: str) -> np.ndarray:
    """One sample of vectors as float64, or what is wrong with it."""
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"{name} has shape {values.shape}. Give a vector a row, (n, k), with one row or more.")
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} has {(~np.isfinite(values)).any(axis=1).sum()} of {len(values)} rows that are not finite: a law "
            "has no distance there. Leave them out and count them, or clip them."
        )
    return values
