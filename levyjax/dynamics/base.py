"""What an optimizer is: its algorithm and, where it has one, the Lévy-driven SDE beside it.

Symbols, the same in both: x the point, g = grad F(x), A the dispersion of the noise, u one unit of noise,
epsilon the noise level, eta the learning rate.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.landscapes import Landscape
from levyjax.noise import Noise
from levyjax.random import Counter


class DrivingNoise(NamedTuple):
    """The noise of one step: where it comes from, how strong it is, and how long the step is."""

    noise: Noise
    noise_level: Any
    counter: Counter
    dt: Any

    def increment(self) -> Float[Array, "d *batch"]:
        """epsilon A (L(t + dt) - L(t)), of the SDE."""
        return self.noise_level * self.noise.increment(self.counter, self.dt)

    def draw(self) -> Float[Array, "d *batch"]:
        """epsilon A u, of an iteration."""
        return self.noise_level * self.noise.increment(self.counter, 1.0)


class Dynamics(abc.ABC):
    """An optimizer. A state is a NamedTuple whose first field `x` is the point (d, *batch), as are its other fields.

    An algorithm needs `init` and `iterate`. Its SDE, if there is one, needs `drift` and `displace` too; everything else
    follows from these, for optimizers that treat each coordinate by itself.

    Attributes:
        learning_rate: eta, or None where only the SDE is run.
        gradient_noise: "frozen", or the law of what a preconditioner averages beside the gradient (see `Adam`).
        is_gradient_flow: whether the SDE is dx = -g dt + epsilon A dL and nothing else.
        is_linear: whether a step is a linear function of state, gradient and noise.
    """

    learning_rate: Any  # set below where a class has none: a value here would be the default of a dataclass's field
    gradient_noise = "frozen"
    is_gradient_flow = False
    is_linear = False

    def __init_subclass__(cls) -> None:
        declared = (getattr(one, "__annotations__", {}) for one in cls.__mro__ if one is not Dynamics)
        if not hasattr(cls, "learning_rate") and not any("learning_rate" in names for names in declared):
            cls.learning_rate = None

    @abc.abstractmethod
    def init(self, x: Float[Array, "d *batch"]) -> Any:
        """The state at the start."""

    @abc.abstractmethod
    def iterate(self, state: Any, gradient: Float[Array, "d *batch"], driving: DrivingNoise) -> Any:
        """One iteration of the optimizer itself, fed with g + epsilon A u (`driving.draw()`)."""

    def iterate_on(self, landscape: Landscape, state: Any, driving: DrivingNoise) -> Any:
        """The same on a landscape, for an optimizer that asks for more of it than its gradient."""
        return self.iterate(state, landscape.gradient(state.x), driving)

    def drift(self, state: Any, gradient: Float[Array, "d *batch"], noise: Noise) -> Any:
        """The time derivative of the SDE's state without noise, long after the start."""
        self._refuse_sde()

    def displace(self, state: Any, amount: Float[Array, "d *batch"]) -> Any:
        """The state after the noise epsilon A L has moved by `amount`, long after the start."""
        self._refuse_sde()

    def sde_step(self, state: Any, gradient: Float[Array, "d *batch"], driving: DrivingNoise) -> Any:
        """One step of length dt of the optimizer's Lévy-driven SDE; Euler's, if no other is given."""
        return self.displace(_moved(state, self.drift(state, gradient, driving.noise), driving.dt), driving.increment())

    def rest(self, x: Float[Array, "d *batch"], noise: Noise) -> Any:
        """The state of an optimizer that has long been at rest and finds itself at x: the averages at their limits."""
        self._refuse_sde()
        return self.init(x)

    def momentum_rate(self) -> Any:
        """At which rate the momentum that the SDE's noise enters forgets; None where the noise moves x itself."""
        return None

    @property
    def noise_in_momentum(self) -> bool:
        """Whether the SDE's noise enters a momentum, so that a jump reaches x over time."""
        return self.momentum_rate() is not None

    def jump_maps(self, noise: Noise) -> Float[Array, "samples d"]:
        """What multiplies a jump of A L on its way into x at rest: one diagonal, or samples of its stationary law.

        Where noise enters x through a momentum, the whole way that a jump would take it on a flat landscape: the
        velocity falls off at `momentum_rate`.
        """
        self._refuse_sde()
        scale = jnp.asarray(noise.scale)
        origin = jnp.zeros(scale.shape[0], scale.dtype)
        moved = self.displace(self.rest(origin, noise), jnp.ones_like(origin))
        way = moved.x - origin
        if self.noise_in_momentum:
            way = way + self.drift(moved, jnp.zeros_like(origin), noise).x / self.momentum_rate()
        return way[None]

    def with_jump_map(self, state: Any, maps: Any) -> Any:
        """The state whose averages give this one of several jump maps, (d, *batch)."""
        raise ValueError(f"{type(self).__name__} has one jump map. Give it a with_jump_map to have several.")

    def after_jump(self, x: Float[Array, "d *batch"], jump: Array, noise: Noise) -> Any:
        """The state of an optimizer at rest at x, right after a jump that moves it by `jump` (through `jump_maps`)."""
        if not self.noise_in_momentum:
            return self.rest(x + jump, noise)
        maps = self.jump_maps(noise)[0].reshape((-1,) + (1,) * (np.ndim(jump) - 1))
        return self.displace(self.rest(x + 0 * jump, noise), jump / maps)

    def why_no_sde(self) -> str | None:
        """Why it is an algorithm only, a sentence without its full stop; None where it has an SDE."""
        kind = type(self)
        whole = kind.drift is not Dynamics.drift and kind.displace is not Dynamics.displace
        return None if whole else f"No SDE is known for {kind.__name__}"

    def why_no_rate(self, of_iteration: bool, minimum: Float[np.ndarray, " d"]) -> str | None:
        """Why its exits have no rate that a formula knows, of the iteration or of the SDE; None where they have."""
        if (reason := self.why_no_sde()) is not None:
            return f"{reason}, so there is no rate to predict; simulate it."
        if of_iteration and not self.is_linear:
            return (
                f"{type(self).__name__} itself has no exit rate of this form: {self._cap} what one noise spike can do "
                "(D5). The formula belongs to its SDE (method = 'euler')."
            )
        return None

    def uses_learning_rate(self) -> str | None:
        """What makes the SDE depend on the learning rate, as the end of a sentence; None where nothing does."""
        return None if getattr(type(self), "learning_rate", 0) is None else type(self).__name__

    def paper_rates(self) -> tuple[Any, Any] | None:
        """beta1 and beta2 where the SDE is Adam's as the paper has it, for its own condition on the noise level."""
        return None

    _cap = "steps that are no linear function of the noise change"

    def _refuse_sde(self) -> None:
        if (reason := self.why_no_sde()) is not None:
            raise ValueError(f'{reason}; run it by method "iteration" (solvers.Iteration).')


def flow(dynamics: Dynamics, gradient: Callable[[Array], Array], noise: Noise, state: Any, dt: Any) -> Any:
    """One classical Runge-Kutta step of the SDE without noise, long after the start; to fourth order in dt."""

    def velocity(state: Any) -> Any:
        return dynamics.drift(state, gradient(state.x), noise)

    first = velocity(state)
    second = velocity(_moved(state, first, dt / 2))
    third = velocity(_moved(state, second, dt / 2))
    fourth = velocity(_moved(state, third, dt))
    mean = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, first, second, third, fourth)
    return _moved(state, mean, dt)


def _moved(state: Any, rate: Any, dt: Any) -> Any:
    return jax.tree.map(lambda value, rate: value + rate * dt, state, rate)
