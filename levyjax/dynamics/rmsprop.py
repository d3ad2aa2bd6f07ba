"""RMSProp, as the algorithm and as an SDE, and AdaGrad."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from levyjax.arrays import column, pytree
from levyjax.checks import not_negative, part, positive, sweep
from levyjax.dynamics.base import DrivingNoise, Dynamics
from levyjax.dynamics.squares import GRADIENT_NOISE, jump_maps_of, squared_gradient
from levyjax.keys import key, piece
from levyjax.noise import Noise
from levyjax.noise.base import second_moment


class SquaresState(NamedTuple):
    """Where RMSProp or AdaGrad stands: the point, and the mean or the sum of squared gradients, each (d, *batch)."""

    x: Float[Array, "d *batch"]
    v: Float[Array, "d *batch"]


@piece("dynamics", "rmsprop")
@pytree
class RMSProp(Dynamics):
    """Iteration, with g~ = g + epsilon A u: v <- beta2 v + (1 - beta2) g~^2; x <- x - eta g~/(sqrt(v) + epsilon0).

    It is optax.rmsprop(eta, decay=beta2, eps=epsilon0, eps_in_sqrt=False); v starts at 0 and is not corrected for it.
    SDE: dv = b2 (s - v) dt, b2 = (1 - beta2)/eta; dx = -Q^-1 g dt + epsilon Q^-1 A dL, Q = diag(sqrt(v) + epsilon0).
    v is advanced by its exact exponential flow with g held over the step. The SDE is not a model of its iteration where
    single gradients of the noise are large: v sees them too, and caps a step at eta/sqrt(1 - beta2).

    Args:
        learning_rate: eta; the SDE needs it too, as v forgets at (1 - beta2)/eta.
        beta2: in [0, 1); optax's decay.
        epsilon: epsilon0, not negative.
        gradient_noise: s, which v averages: "frozen", "gaussian" or "stable", see `Adam`.

    Raises:
        ValueError: an argument out of its range.

    Source:
        Tieleman and Hinton 2012. SDE: Malladi et al. 2022, definition 4.1, at time eta k (there eta^2 k), with L for
        sqrt(2) times Brownian motion and s for the gradient noise's covariance, which at alpha = 2 is 2 A A': what
        "stable" has in the mean, and "frozen" half of. Their order of approximation is for Gaussian-like noise.

    Example:
        >>> round(float(RMSProp(0.01).rate()), 6)
        10.0
    """

    learning_rate: Any = key(positive, swept=sweep(positive))
    beta2: Any = key(part, default=0.9)
    epsilon: Any = key(not_negative, default=1e-8)
    gradient_noise: str = key(GRADIENT_NOISE, default="frozen", static=True)

    _cap = "v caps"

    def rate(self) -> Any:
        """b2 = (1 - beta2)/eta, at which v forgets."""
        return (1 - self.beta2) / self.learning_rate

    def init(self, x: Float[Array, "d *batch"]) -> SquaresState:
        return SquaresState(x, jnp.zeros_like(x))

    def sde_step(self, state: SquaresState, gradient: Array, driving: DrivingNoise) -> SquaresState:
        squares = squared_gradient(gradient, driving, self.gradient_noise, self.learning_rate)
        v = state.v - jnp.expm1(-self.rate() * driving.dt) * (squares - state.v)
        jump = driving.increment()
        return SquaresState(state.x + self._inverse_q(v) * (jump - gradient * driving.dt), v)

    def iterate(self, state: SquaresState, gradient: Array, driving: DrivingNoise) -> SquaresState:
        noisy_gradient = gradient + driving.draw()
        v = self.beta2 * state.v + (1 - self.beta2) * noisy_gradient**2
        return SquaresState(state.x - self.learning_rate * self._inverse_q(v) * noisy_gradient, v)

    def rest(self, x: Float[Array, "d *batch"], noise: Noise) -> SquaresState:
        return SquaresState(x, jnp.zeros_like(x) + column(second_moment(noise), x))

    def drift(self, state: SquaresState, gradient: Array, noise: Noise) -> SquaresState:
        squares = gradient**2 + column(second_moment(noise), gradient)
        return SquaresState(-self._inverse_q(state.v) * gradient, self.rate() * (squares - state.v))

    def displace(self, state: SquaresState, amount: Array) -> SquaresState:
        return state._replace(x=state.x + self._inverse_q(state.v) * amount)

    def with_jump_map(self, state: Any, maps: Any) -> Any:
        return state._replace(v=(1 / maps - float(self.epsilon)) ** 2)

    def jump_maps(self, noise: Noise) -> Float[Array, "samples d"]:
        return jump_maps_of(noise, self.epsilon, self.gradient_noise, self.learning_rate, self.rate())

    def _inverse_q(self, v: Array) -> Array:
        return 1 / (jnp.sqrt(v) + self.epsilon)


@piece("dynamics", "adagrad")
@pytree
class AdaGrad(Dynamics):
    """Iteration, with g~ = g + epsilon A u: v <- v + g~^2; x <- x - eta g~/sqrt(v + epsilon0), no step where v = 0.

    It is optax.adagrad(eta, initial_accumulator_value=initial, eps=epsilon0). Steps shrink as time goes on, so exit
    times are not exponential, and there is no SDE here.

    Args:
        learning_rate: eta.
        initial: what v starts from, not negative.
        epsilon: epsilon0, not negative.

    Raises:
        ValueError: an argument out of its range.

    Source:
        Duchi, Hazan and Singer 2011.

    Example:
        >>> AdaGrad(0.1).init(jnp.ones((2, 1))).v.ravel().tolist()
        [0.10000000149011612, 0.10000000149011612]
    """

    learning_rate: Any = key(positive, swept=sweep(positive))
    initial: Any = key(not_negative, default=0.1)
    epsilon: Any = key(not_negative, default=1e-7)

    def why_no_sde(self) -> str:
        return "AdaGrad's steps shrink for ever, so it has no SDE that comes to rest"

    def init(self, x: Float[Array, "d *batch"]) -> SquaresState:
        return SquaresState(x, jnp.zeros_like(x) + jnp.asarray(self.initial, x.dtype))

    def iterate(self, state: SquaresState, gradient: Array, driving: DrivingNoise) -> SquaresState:
        noisy_gradient = gradient + driving.draw()
        v = state.v + noisy_gradient**2
        moved = state.x - self.learning_rate * noisy_gradient / jnp.sqrt(v + self.epsilon)
        return SquaresState(jnp.where(v > 0, moved, state.x), v)
