"""Solvers that move every trajectory by one fixed step."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from levyjax.arrays import freeze, parameter, positive, pytree
from levyjax.dynamics import SGD, Dynamics, Kick, Momentum
from levyjax.landscapes import Landscape
from levyjax.noise import Noise, PointNoise, noise_at, require_process
from levyjax.random import Counter


@runtime_checkable
class Forces(Protocol):
    """What moves a point: the parts of a problem that a solver reads."""

    @property
    def landscape(self) -> Landscape: ...
    @property
    def dynamics(self) -> Dynamics: ...
    @property
    def noise(self) -> Noise: ...
    @property
    def noise_level(self) -> Any: ...


@runtime_checkable
class Solver(Protocol):
    """How a trajectory moves on."""

    def prepare(self, forces: Forces, max_time: Any) -> "Solver":
        """The solver with what it works out once for a problem; called under `jax.enable_x64(True)`."""
        ...

    def init(self, forces: Forces, x: Float[Array, "d lanes"]) -> Any:
        """The state at the start, with the point in its field `x`."""
        ...

    def step(self, forces: Forces, state: Any, counter: Counter) -> Any:
        """The state after the step that the counter names."""
        ...

    def step_time(self, forces: Forces) -> Any:
        """How much time a step takes; None where that differs from step to step."""
        ...

    def clock(self, state: Any) -> tuple[Array, ...]:
        """Where steps differ, the time in two parts that add up to it, (1, lanes) each."""
        ...

    def expired(self, state: Any) -> Bool[Array, "*lanes"]:
        """Whether max_time is over; always False where steps are counted."""
        ...


@pytree
class Euler:
    """Explicit Euler for the SDE, the exit tested at the ends of steps.

    With dt = learning_rate it *is* SGD. At small noise its mean exit times are within 2% of continuous time up to
    dt k of about 1 (k the curvature); at large noise it misses excursions between steps (4% at alpha = 1.8,
    dt k = 0.002, kappa about 1), and under drift that grows faster than linearly it can blow up on unbounded basins:
    such trajectories end as NONFINITE.

    Args:
        dt: step length in the SDE's time, positive.

    Raises:
        ValueError: dt is not positive.
    """

    dt: Any

    def __post_init__(self) -> None:
        freeze(self, dt=positive(parameter(self.dt, "dt", ndim=(0,)), "dt"))

    def prepare(self, forces: Forces, max_time: Any) -> "Euler":
        require_process(forces.noise)
        if isinstance(forces.noise, PointNoise):
            moves_x = isinstance(forces.dynamics, SGD)
            if not (moves_x or isinstance(forces.dynamics, Momentum)):
                raise ValueError("The SDE under noise that depends on the point is for SGD and Momentum only.")
            if getattr(forces.noise, "kind", "ito") == "marcus" and not moves_x:
                raise ValueError("Marcus noise is for SGD, where it moves the point itself; take kind = 'ito'.")
        return self

    def init(self, forces: Forces, x: Array) -> Any:
        return forces.dynamics.init(x)

    def clock(self, state: Any) -> tuple[Array, ...]:
        return ()

    def expired(self, state: Any) -> Array:
        return jnp.bool_(False)

    def step(self, forces: Forces, state: Any, counter: Counter) -> Any:
        noise = noise_at(forces.noise, state.x, forces.noise_level)
        kick = Kick(noise, forces.noise_level, counter, self.dt)
        return forces.dynamics.sde_step(state, forces.landscape.gradient(state.x), kick)

    def step_time(self, forces: Forces) -> Any:
        return self.dt


@pytree
class Iteration:
    """The optimizer itself: one step is one iteration, and takes learning_rate of time."""

    def prepare(self, forces: Forces, max_time: Any) -> "Iteration":
        if getattr(forces.noise, "kind", "ito") == "marcus":
            raise ValueError("Marcus noise belongs to an SDE; an iteration takes kind = 'ito'.")
        return self

    def init(self, forces: Forces, x: Array) -> Any:
        return forces.dynamics.init(x)

    def clock(self, state: Any) -> tuple[Array, ...]:
        return ()

    def expired(self, state: Any) -> Array:
        return jnp.bool_(False)

    def step(self, forces: Forces, state: Any, counter: Counter) -> Any:
        noise = noise_at(forces.noise, state.x, forces.noise_level)
        kick = Kick(noise, forces.noise_level, counter, 1.0)
        return forces.dynamics.iterate(state, forces.landscape.gradient(state.x), kick)

    def step_time(self, forces: Forces) -> Any:
        return forces.dynamics.learning_rate
