"""How far a real network goes from its minimum: under its own algorithm, and under models of its gradient noise."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import cast, positive, pytree
from levyjax.datasets import Result, along
from levyjax.dynamics import AdamState
from levyjax.random import Counter, first_counter, run_key
from levyjax.training.noise_models import FlatLoss, NoisyGradient

EVERY = 10  # steps between two looks at where the lanes are
_BLOCK = 64  # lanes of one compiled run


@pytree
class Descent:
    """SGD, or Adam if `adaptive`, at a constant learning rate; one compiled program serves both.

    Args:
        learning_rate: positive.
        adaptive: whether it is Adam.
        beta1, beta2, epsilon: of Adam.

    Raises:
        ValueError: a learning rate that is not positive.

    Example:
        >>> place = AdamState(*jnp.zeros((3, 1, 1)))
        >>> Descent(0.5).step(place, jnp.ones((1, 1))).x.tolist()
        [[-0.5]]
    """

    learning_rate: Any
    adaptive: Any = False
    beta1: Any = 0.9
    beta2: Any = 0.999
    epsilon: Any = 1e-8

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate")

    def step(self, state: AdamState, gradient: Float[Array, "d lanes"], count: Any = jnp.inf) -> AdamState:
        """Step number `count`, 1 for the first; default long after the start, where Adam's corrections are 1."""

        def adam(state: AdamState) -> AdamState:
            m = self.beta1 * state.m + (1 - self.beta1) * gradient
            v = self.beta2 * state.v + (1 - self.beta2) * gradient**2
            root = jnp.sqrt(v / (1 - self.beta2**count)) + self.epsilon
            return AdamState(state.x - self.learning_rate * m / (1 - self.beta1**count) / root, m, v)

        def sgd(state: AdamState) -> AdamState:
            return state._replace(x=state.x - self.learning_rate * gradient)

        return jax.lax.cond(self.adaptive, adam, sgd, state)


@dataclasses.dataclass(frozen=True, eq=False)
class Excursions(Result):
    """How far lanes are from the minimum at steps 10, 20, ... (`EVERY`).

    Attributes:
        distance: |x - x*|, (looks, lanes).
        excess: F(x) - F(x*) of all examples, (looks, lanes).
    """

    _dims = along({"look lane": "distance excess"})

    distance: Float[np.ndarray, "looks lanes"]
    excess: Float[np.ndarray, "looks lanes"]


def excursions(
    loss: FlatLoss,
    minimum: Float[Array, " d"],
    model: NoisyGradient,
    optimizer: Descent,
    variance: Float[np.ndarray, " d"],
    *,
    num_lanes: int,
    num_steps: int,
    seed: int,
) -> Excursions:
    """Run an optimizer from a minimum, many times at once.

    Lane i is a function of the seed and of i alone, to the last bit: lanes are run in blocks of 64 by one compiled
    program, whatever their number. All lanes start at x*; Adam with m = 0 and v = `variance`, what v is on average
    when the gradients there are those of mini-batches (stable noise gives v no mean: it starts there too).

    Args:
        loss: F, in the precision of the minimum.
        minimum: x*.
        model: of the noisy gradient; `noise_models` makes them.
        optimizer: SGD or Adam.
        variance: (d,).
        num_lanes: 1 or more.
        num_steps: a multiple of 10.
        seed: of the noise.

    Returns:
        Distances and losses at every tenth step. What has overflowed is inf or nan there.

    Raises:
        ValueError: no lane, or steps that are no positive multiple of 10.
    """
    if num_lanes < 1 or num_steps < EVERY or num_steps % EVERY:
        raise ValueError(
            f"{num_lanes} lanes and {num_steps} steps: give 1 lane or more and a positive multiple of {EVERY} steps."
        )
    minimum = jnp.asarray(minimum)
    start = minimum, jnp.asarray(variance, minimum.dtype)
    parts, optimizer = [], cast(optimizer, minimum.dtype)
    for first in range(0, num_lanes, _BLOCK):
        counter = first_counter(run_key(seed), jnp.arange(first, first + _BLOCK, dtype=jnp.uint32))
        parts.append(np.asarray(_looks(loss, model, optimizer, start, counter, num_steps // EVERY)))
    distance, excess = np.concatenate(parts, axis=2)[..., :num_lanes].swapaxes(0, 1)
    return Excursions(distance, excess)


@functools.partial(jax.jit, static_argnames="num_looks")
def _looks(
    loss: FlatLoss, model: Any, optimizer: Descent, start: tuple[Array, Array], counter: Counter, num_looks: int
) -> Float[Array, "looks 2 lanes"]:
    lanes = counter.low.size
    center, v = (jnp.repeat(part[:, None], lanes, axis=1) for part in start)
    level = loss.value(center)

    def step(_: Any, carry: tuple[AdamState, Counter]) -> tuple[AdamState, Counter]:
        state, counter = carry
        state = optimizer.step(state, model.gradient(loss, state.x, counter))
        return state, counter._replace(low=counter.low + jnp.uint32(1))

    def look(carry: tuple[AdamState, Counter], _: None) -> tuple[tuple[AdamState, Counter], Array]:
        carry = jax.lax.fori_loop(0, EVERY, step, carry)
        x = carry[0].x
        return carry, jnp.stack([jnp.sqrt(((x - center) ** 2).sum(axis=0)), loss.value(x) - level])

    state = AdamState(center, jnp.zeros_like(center), v)
    return jax.lax.scan(look, (state, counter), length=num_looks)[1]


def exit_levels(values: Float[np.ndarray, "looks lanes"], medians: Sequence[int]) -> list[float]:
    """Levels that half of the lanes have passed after so many steps.

    Example:
        >>> exit_levels(np.array([[1.0, 2.0, 3.0], [5.0, 0.0, 0.0]]), [10, 20])
        [2.0, 3.0]
    """
    highest = np.maximum.accumulate(values, axis=0)
    return [float(np.median(highest[steps // EVERY - 1])) for steps in medians]


def first_exits(
    values: Float[np.ndarray, "looks lanes"], level: float
) -> tuple[Float[np.ndarray, " lanes"], Bool[np.ndarray, " lanes"]]:
    """The step of the first look at which a lane was at the level or above (or at no number), and whether it was.

    Example:
        >>> times, exited = first_exits(np.array([[1.0, 2.0], [5.0, 0.0]]), 3.0)
        >>> times.tolist(), exited.tolist()
        ([20.0, 20.0], [True, False])
    """
    out = ~(values < level)
    exited = out.any(axis=0)
    return EVERY * np.where(exited, out.argmax(axis=0) + 1.0, len(values)), exited
