"""The paper's SDEs of SGD and Adam on a real network, beside the algorithms: losses and accuracies of many seeds."""

import dataclasses
import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import cast, pytree, static
from levyjax.datasets import Result, along
from levyjax.dynamics import AdamState
from levyjax.noise import Independent, sde_noise_level
from levyjax.random import Counter, Stream, first_counter, run_key
from levyjax.training.escapes import Descent
from levyjax.training.networks import FlatModel
from levyjax.training.noise_models import FlatLoss, MiniBatches


class Mover(Protocol):
    """One update of all lanes."""

    def step(self, loss: FlatLoss, state: AdamState, counter: Counter) -> AdamState:
        """The place after it; the counter's step is 0 at the first."""
        ...


@pytree
class Algorithm:
    """SGD or Adam itself, from its first step on, on mini-batches drawn with replacement."""

    optimizer: Descent
    batch_size: int = static()

    def step(self, loss: FlatLoss, state: AdamState, counter: Counter) -> AdamState:
        gradient = MiniBatches(self.batch_size).gradient(loss, state.x, counter)
        return self.optimizer.step(state, gradient, _count(counter, state.x.dtype))


@pytree
class LevySDE:
    """Equation 4 of the paper, or 5 if `adaptive`: the full gradient and stable noise in x, in steps of learning_rate.

    dx = -grad F dt + eps A dL, or dx = -mu_t Q^-1 m dt + eps Q^-1 A dL with dm = b1 (grad F - m) dt and
    dv = b2 (g^2 - v) dt, g the gradient of a mini-batch whose draw is independent of L, Q = diag(sqrt(omega_t v) + e);
    eps = learning_rate^((alpha - 1)/alpha). m and v follow their exact flow within a step.

    Args:
        learning_rate: eta, also the step of time, so that a step stands for an iteration.
        alpha: of L.
        dispersion: A's diagonal, (d,).
        rates: b1 and b2 per unit of time.
        adaptive: whether it is Adam's.
        settled: whether v starts at its mean, so that omega is 1 (give `square` to `training_curves`). From v = 0 the
            first Q is a single gradient's, next to nothing where that gradient happens to be small, and L does not
            know of it: the noise is then thrown far.
        batch_size: of the mini-batches that v sees.

    Source:
        Zhou et al. 2020, equations 4 and 5.
    """

    learning_rate: Any
    alpha: Any
    dispersion: Any
    rates: Any = (0.9, 0.999)
    adaptive: Any = False
    settled: Any = False
    epsilon: Any = 1e-8
    batch_size: int = static(default=1)

    def step(self, loss: FlatLoss, state: AdamState, counter: Counter) -> AdamState:
        dt = self.learning_rate
        full = loss.gradient(state.x)
        jump = sde_noise_level(self.alpha, dt) * Independent(self.alpha, self.dispersion).increment(counter, dt)

        def adam(state: AdamState) -> AdamState:
            b1, b2 = self.rates
            time = _count(counter, state.x.dtype) * dt
            seen = MiniBatches(self.batch_size, Stream.GRADIENT).gradient(loss, state.x, counter)
            m = state.m - jnp.expm1(-b1 * dt) * (full - state.m)
            v = state.v - jnp.expm1(-b2 * dt) * (seen**2 - state.v)
            omega = jnp.where(self.settled, 1.0, -1 / jnp.expm1(-b2 * time)).astype(v.dtype)
            root = jnp.sqrt(omega * v) + self.epsilon
            return AdamState(state.x + (dt * m / jnp.expm1(-b1 * time) + jump) / root, m, v)

        def sgd(state: AdamState) -> AdamState:
            return state._replace(x=state.x - dt * full + jump)

        return jax.lax.cond(self.adaptive, adam, sgd, state)


def _count(counter: Counter, dtype: Any) -> Float[Array, " lanes"]:
    """1 at the first step."""
    return counter.low.astype(dtype) + 1


@dataclasses.dataclass(frozen=True, eq=False)
class Curves(Result):
    """Training curves of many seeds.

    Attributes:
        iterations: updates made at each record, (records,).
        train_loss, test_loss: mean cross-entropy in nats, (records, seeds).
        train_accuracy, test_accuracy: in [0, 1], (records, seeds).
    """

    _dims = along({"iterations": "iterations", "iterations seed": "train_loss train_accuracy test_loss test_accuracy"})

    iterations: np.ndarray
    train_loss: np.ndarray
    train_accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray


def training_curves(
    model: FlatModel,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    mover: Mover,
    *,
    num_seeds: int,
    num_steps: int,
    record_every: int,
    seed: int,
    square: Any = None,
) -> Curves:
    """Train from the model's own parameters, the same for all seeds, and record losses and accuracies.

    Args:
        model: the network and its first parameters, which set the precision.
        train, test: examples (n, features) and labels (n,).
        mover: `Algorithm` or `LevySDE`.
        num_seeds: how many runs at once. The numbers are a function of the seed and of this.
        num_steps: updates, a multiple of record_every.
        record_every: updates between records; the first is at 0.
        seed: of the mini-batches or the noise.
        square: (d,), what v starts at; default 0.

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
    start, apply = model.parameters, model.apply
    sets = [(jnp.asarray(x, start.dtype), jnp.asarray(y)) for x, y in (train, test)]
    counter = first_counter(run_key(seed), jnp.arange(num_seeds, dtype=jnp.uint32))
    x = jnp.repeat(start[:, None], num_seeds, axis=1)
    v = jnp.zeros_like(x) if square is None else jnp.broadcast_to(jnp.asarray(square, x.dtype)[:, None], x.shape)
    carry, mover = (AdamState(x, jnp.zeros_like(x), v), counter), cast(mover, start.dtype)
    found = [_measures(model.losses, apply, sets, x)]
    for _ in range(num_steps // record_every):
        carry = _advanced(FlatLoss(model.losses, *sets[0]), mover, carry, record_every)
        found.append(_measures(model.losses, apply, sets, carry[0].x))
    train_loss, train_accuracy, test_loss, test_accuracy = (
        np.array(part, np.float64) for part in zip(*found, strict=True)
    )
    iterations = np.arange(0, num_steps + 1, record_every)
    return Curves(iterations, train_loss, train_accuracy, test_loss, test_accuracy)


@functools.partial(jax.jit, static_argnames="count")
def _advanced(loss: FlatLoss, mover: Any, carry: tuple[AdamState, Counter], count: int) -> tuple[AdamState, Counter]:
    def step(_: Any, carry: tuple[AdamState, Counter]) -> tuple[AdamState, Counter]:
        state, counter = carry
        return mover.step(loss, state, counter), counter._replace(low=counter.low + jnp.uint32(1))

    return jax.lax.fori_loop(0, count, step, carry)


@functools.partial(jax.jit, static_argnames=("losses", "apply"))
def _measures(losses: Any, apply: Any, sets: Any, x: Float[Array, "d seeds"]) -> Float[Array, "4 seeds"]:
    def one(x: Array) -> Array:
        parts = [(losses(x, *data).mean(), _accuracy(apply(x, data[0]), data[1])) for data in sets]
        return jnp.stack([part for pair in parts for part in pair])

    return jax.vmap(one, in_axes=1, out_axes=1)(x)


def _accuracy(logits: Float[Array, "n classes"], labels: Array) -> Float[Array, ""]:
    return (logits.argmax(axis=1).astype(labels.dtype) == labels).astype(logits.dtype).mean()


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
        first, second: a vector a row; finite.
        num_permutations: p-values are multiples of 1/(num_permutations + 1), and exact.
        seed: of the permutations.

    Source:
        Szekely and Rizzo 2004: (2 E|X - Y| - E|X - X'| - E|Y - Y'|) / (2 E|X - Y|).

    Example:
        >>> rows = np.arange(20.0)[:, None]
        >>> law_distance(rows, rows + 100).p_value, round(law_distance(rows, rows + 100).distance, 3)
        (0.001, 0.933)
    """
    values = np.concatenate([first, second])
    between = np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=2))
    rng = np.random.default_rng(seed)
    label = np.arange(len(values)) < len(first)
    ones = np.stack([label, *(rng.permutation(label) for _ in range(num_permutations))]).astype(float)
    sides = [rows / rows.sum(axis=1, keepdims=True) for rows in (ones, 1 - ones)]
    own, across, other = (((a @ between) * b).sum(axis=1) for a, b in ((sides[0],) * 2, sides, (sides[1],) * 2))
    found = 2 * across - own - other
    larger = (found[1:] >= found[0] - 1e-12 * across[0]).sum()  # what is equal up to rounding counts
    distance = found[0] / (2 * across[0]) if across[0] > 0 else 0.0
    return LawDistance(float(distance), float((1 + larger) / (1 + num_permutations)))
