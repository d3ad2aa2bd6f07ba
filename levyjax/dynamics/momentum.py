"""Gradient descent with momentum: Polyak's heavy ball and Nesterov's form of it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from levyjax.arrays import pytree
from levyjax.checks import boolean, part, positive, sweep
from levyjax.dynamics.base import DrivingNoise, Dynamics
from levyjax.keys import key, piece
from levyjax.noise import Noise


class MomentumState(NamedTuple):
    """Where momentum stands: the point and the trace of past gradients, each (d, *batch)."""

    x: Float[Array, "d *batch"]
    m: Float[Array, "d *batch"]


@piece("dynamics", "momentum")
@pytree
class Momentum(Dynamics):
    """Iteration, with g~ = g + epsilon A u: m <- beta m + g~; x <- x - eta m. It is optax.sgd(eta, momentum=beta).

    SDE: dm = (g - (1 - beta) m)/eta dt - (epsilon/eta) A dL; dx = -m dt. Noise enters the trace; a jump y of A L moves
    x by epsilon y/(1 - beta) in all on a flat landscape, and less where the gradient pulls back. Its Euler step of
    length eta is the iteration (with -u for u, which has the same law). Where SGD has eta, both have eta/(1 - beta).

    nesterov looks one step ahead: x <- x - eta (g~ + beta m) with the new m, optax.sgd(eta, momentum=beta,
    nesterov=True). SDE: the same dm, and dx = -(g + beta m) dt + epsilon A dL: a jump moves x by epsilon y at once and
    by epsilon y beta/(1 - beta) through m. Its Euler step of length eta is the iteration, too. Both SDEs hold at any
    eta for the law of jumps; the flow between them is the iteration's to first order in eta times curvature.

    Args:
        learning_rate: eta; the SDE needs it too, as the trace forgets at (1 - beta)/eta.
        beta: in [0, 1).
        nesterov: whether the step looks ahead, the second of the two.

    Raises:
        ValueError: a learning rate that is not positive, or a beta outside [0, 1).

    Source:
        Polyak 1964; Nesterov 1983 in the form of Sutskever et al. 2013. The SDEs are those whose Euler step of length
        eta is the iteration.

    Example:
        >>> float(Momentum(0.1, 0.75).rate())
        2.5
    """

    learning_rate: Any = key(positive, swept=sweep(positive))
    beta: Any = key(part, default=0.9)
    nesterov: bool = key(boolean, default=False, static=True)

    is_linear = True

    def rate(self) -> Any:
        """(1 - beta)/eta, at which the trace forgets."""
        return (1 - self.beta) / self.learning_rate

    def momentum_rate(self) -> Any:
        return self.rate()

    def init(self, x: Float[Array, "d *batch"]) -> MomentumState:
        return MomentumState(x, jnp.zeros_like(x))

    def sde_step(self, state: MomentumState, gradient: Array, driving: DrivingNoise) -> MomentumState:
        jump = driving.increment()
        pull = gradient - (1 - self.beta) * state.m
        m = state.m + (pull * driving.dt - jump) / self.learning_rate
        if self.nesterov:
            return MomentumState(state.x - (gradient + self.beta * m) * driving.dt + jump, m)
        return MomentumState(state.x - m * driving.dt, m)

    def iterate(self, state: MomentumState, gradient: Array, driving: DrivingNoise) -> MomentumState:
        noisy_gradient = gradient + driving.draw()
        m = self.beta * state.m + noisy_gradient
        ahead = noisy_gradient + self.beta * m if self.nesterov else m
        return MomentumState(state.x - self.learning_rate * ahead, m)

    def drift(self, state: MomentumState, gradient: Array, noise: Noise) -> MomentumState:
        velocity = -(gradient + self.beta * state.m) if self.nesterov else -state.m
        return MomentumState(velocity, (gradient - (1 - self.beta) * state.m) / self.learning_rate)

    def displace(self, state: MomentumState, amount: Array) -> MomentumState:
        moved = state.x + amount if self.nesterov else state.x
        return MomentumState(moved, state.m - amount / self.learning_rate)

    def jump_maps(self, noise: Noise) -> Float[Array, "samples d"]:
        scale = jnp.asarray(noise.scale)
        return jnp.full((1, scale.shape[0]), 1 / (1 - self.beta), scale.dtype)
