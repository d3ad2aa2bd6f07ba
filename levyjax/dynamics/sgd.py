"""Stochastic gradient descent."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

from levyjax.arrays import pytree
from levyjax.checks import positive, sweep
from levyjax.dynamics.base import DrivingNoise, Dynamics
from levyjax.keys import key, piece
from levyjax.noise import Noise


class SGDState(NamedTuple):
    """Where SGD stands: the point (d, *batch)."""

    x: Float[Array, "d *batch"]


@piece("dynamics", "sgd")
@pytree
class SGD(Dynamics):
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

    learning_rate: Any = key(positive, default=None, swept=sweep(positive))

    is_gradient_flow = is_linear = True

    def init(self, x: Float[Array, "d *batch"]) -> SGDState:
        return SGDState(x)

    def sde_step(self, state: SGDState, gradient: Array, driving: DrivingNoise) -> SGDState:
        jump = driving.increment()
        return SGDState(state.x - gradient * driving.dt + jump)

    def iterate(self, state: SGDState, gradient: Array, driving: DrivingNoise) -> SGDState:
        noisy_gradient = gradient + driving.draw()
        return SGDState(state.x - self.learning_rate * noisy_gradient)

    def drift(self, state: SGDState, gradient: Array, noise: Noise) -> SGDState:
        return SGDState(-gradient)

    def displace(self, state: SGDState, amount: Array) -> SGDState:
        return SGDState(state.x + amount)
