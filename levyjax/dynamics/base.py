"""Optimizers as dynamical systems: the interface, with the SDE and the discrete algorithm side by side.

Symbols, the same in both: x the point, g = grad F(x), A the dispersion of the noise, u one unit of noise,
epsilon the noise level, eta the learning rate.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from levyjax.noise import Noise
from levyjax.random import Counter


class Kick(NamedTuple):
    """The noise of one step: where it comes from, how strong it is, and how long the step is."""

    noise: Noise
    noise_level: Any
    counter: Counter
    dt: Any


@runtime_checkable
class Dynamics(Protocol):
    """An optimizer. A state is a NamedTuple whose field `x` is the point (d, *batch)."""

    @property
    def learning_rate(self) -> Any:
        """eta, or None where only the SDE is run."""
        ...

    @property
    def noise_in_momentum(self) -> bool:
        """Whether the SDE's noise enters a momentum, so that a jump reaches x over time."""
        ...

    def init(self, x: Float[Array, "d *batch"]) -> Any:
        """The state at the start."""
        ...

    def sde_step(self, state: Any, gradient: Float[Array, "d *batch"], kick: Kick) -> Any:
        """One step of length dt of the optimizer's Lévy-driven SDE."""
        ...

    def iterate(self, state: Any, gradient: Float[Array, "d *batch"], kick: Kick) -> Any:
        """One iteration of the optimizer itself, fed with g + epsilon A u."""
        ...

    def rest(self, x: Float[Array, "d *batch"], noise: Noise) -> Any:
        """The state of an optimizer that has long been at rest and finds itself at x: the averages at their limits."""
        ...

    def drift(self, state: Any, gradient: Float[Array, "d *batch"], noise: Noise) -> Any:
        """The time derivative of the SDE's state without noise, long after the start."""
        ...

    def displace(self, state: Any, amount: Float[Array, "d *batch"]) -> Any:
        """The state after the noise epsilon A L has moved by `amount`, long after the start."""
        ...

    def thrown(self, x: Float[Array, "d *batch"], jump: Array, noise: Noise) -> Any:
        """The state of an optimizer at rest at x, right after a jump that moves it by `jump` (through `jump_maps`)."""
        ...

    def jump_maps(self, noise: Noise) -> Float[Array, "samples d"]:
        """What multiplies a jump of A L on its way into x at rest: one diagonal, or samples of its stationary law.

        Where noise enters x through a momentum, the whole way that a jump would take it on a flat landscape.
        """
        ...


class IterationOnly:
    """What optimizers without an SDE share: each question about one is refused with the reason."""

    noise_in_momentum = False

    def why_no_sde(self) -> str:
        """A sentence without its full stop."""
        return f"No SDE is known for {type(self).__name__}"

    def _refused(self, *_: Any) -> Any:
        raise ValueError(f'{self.why_no_sde()}; run it by method "iteration" (solvers.Iteration).')

    sde_step = rest = drift = displace = thrown = jump_maps = _refused


def flow(dynamics: Dynamics, gradient: Callable[[Array], Array], noise: Noise, state: Any, dt: Any) -> Any:
    """One classical Runge-Kutta step of the SDE without noise, long after the start; to fourth order in dt."""

    def velocity(state: Any) -> Any:
        return dynamics.drift(state, gradient(state.x), noise)

    def move(rate: Any, dt: Any) -> Any:
        return jax.tree.map(lambda value, rate: value + rate * dt, state, rate)

    first = velocity(state)
    second = velocity(move(first, dt / 2))
    third = velocity(move(second, dt / 2))
    fourth = velocity(move(third, dt))
    return move(jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, first, second, third, fourth), dt)
