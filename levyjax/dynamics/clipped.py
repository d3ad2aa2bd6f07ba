"""Gradient descent whose steps are clipped."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from levyjax.arrays import pytree, total
from levyjax.checks import choice, positive, sweep
from levyjax.dynamics.base import DrivingNoise, Dynamics
from levyjax.dynamics.sgd import SGDState
from levyjax.keys import key, piece


@piece("dynamics", "clipped_sgd")
@pytree
class ClippedSGD(Dynamics):
    """x <- x - clip(eta (g + epsilon A u)): steps no longer than `bound`, the noise and the learning rate included.

    It is optax.chain(optax.sgd(eta), optax.clip_by_global_norm(bound)), or optax.clip for by = "coordinate". A wall
    that is ceil(width/bound) = l steps away needs l large jumps in close succession, so the mean number of steps to
    leave grows as eta^-(1 + l (alpha - 1)); there is no SDE with such jumps.

    Args:
        learning_rate: eta.
        bound: the longest step, positive.
        by: "norm" (the Euclidean length) or "coordinate" (each coordinate for itself).

    Raises:
        ValueError: an argument out of its range.

    Source:
        Wang, Oh and Rhee 2021 (by norm; in one dimension both are the same).

    Example:
        >>> ClippedSGD(0.1, 0.5).by
        'norm'
    """

    learning_rate: Any = key(positive, swept=sweep(positive))
    bound: Any = key(positive)
    by: str = key(choice(("norm", "coordinate")), default="norm", static=True)

    def why_no_sde(self) -> str:
        return "A clipped step bounds the jumps, and no SDE with such jumps is known for ClippedSGD"

    def init(self, x: Float[Array, "d *batch"]) -> SGDState:
        return SGDState(x)

    def iterate(self, state: SGDState, gradient: Array, driving: DrivingNoise) -> SGDState:
        noise = driving.draw()
        return SGDState(state.x - self._clip(self.learning_rate * (gradient + noise)))

    def _clip(self, step: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        if self.by == "coordinate":
            return jnp.clip(step, -self.bound, self.bound)
        largest = jnp.abs(step).max(axis=0)  # divided out, for the squares may be beyond the largest number
        unit = step / jnp.where(largest > 0, largest, 1)
        length = jnp.sqrt(total(unit**2))
        return jnp.where(largest * length > self.bound, unit * (self.bound / jnp.maximum(length, 1)), step)
