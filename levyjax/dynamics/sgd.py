"""Stochastic gradient descent."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from levyjax.arrays import freeze, parameter, positive, pytree
from levyjax.dynamics.base import Kick
from levyjax.noise import Noise


class SGDState(NamedTuple):
    """Where SGD stands: the point (d, *batch)."""

    x: Float[Array, "d *batch"]


@pytree
class SGD:
    """SDE: dx = -g dt + epsilon A dL. Iteration: x <- x - eta (g + epsilon A u).

    Args:
        learning_rate: eta; needed by the iteration only.

    Raises:
        ValueError: a learning rate that is not positive.

    Source:
        Zhou et al. 2020, equation 4, with epsilon given instead of eta^((alpha-1)/alpha) (`noise.sde_noise_level`)
        and A the dispersion, A A' = Sigma (there Sigma itself multiplies dL).

    Example:
        >>> SGD(0.1).learning_rate.item()
        0.1
    """

    learning_rate: Any = None

    def __post_init__(self) -> None:
        freeze(self, learning_rate=checked_learning_rate(self.learning_rate))

    @property
    def noise_in_momentum(self) -> bool:
        return False

    def init(self, x: Float[Array, "d *batch"]) -> SGDState:
        return SGDState(x)

    def sde_step(self, state: SGDState, gradient: Array, kick: Kick) -> SGDState:
        jump = kick.noise_level * kick.noise.increment(kick.counter, kick.dt)
        return SGDState(state.x - gradient * kick.dt + jump)

    def iterate(self, state: SGDState, gradient: Array, kick: Kick) -> SGDState:
        noisy_gradient = gradient + kick.noise_level * kick.noise.increment(kick.counter, 1.0)
        return SGDState(state.x - self.learning_rate * noisy_gradient)

    def rest(self, x: Float[Array, "d *batch"], noise: Noise) -> SGDState:
        return SGDState(x)

    def drift(self, state: SGDState, gradient: Array, noise: Noise) -> SGDState:
        return SGDState(-gradient)

    def displace(self, state: SGDState, amount: Array) -> SGDState:
        return SGDState(state.x + amount)

    def thrown(self, x: Float[Array, "d *batch"], jump: Array, noise: Noise) -> SGDState:
        return SGDState(x + jump)

    def jump_maps(self, noise: Noise) -> Float[Array, "samples d"]:
        return jnp.ones((1, noise.scale.shape[0]), jnp.asarray(noise.scale).dtype)


def checked_learning_rate(learning_rate: Any) -> Any:
    """A positive number, or None."""
    if learning_rate is None:
        return None
    return positive(parameter(learning_rate, "learning_rate", ndim=(0,)), "learning_rate")
