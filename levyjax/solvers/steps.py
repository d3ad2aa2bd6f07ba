"""Solvers that move every trajectory by one fixed step."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column, concrete, freeze, parameter, positive, pytree, total
from levyjax.basins import Basin
from levyjax.dynamics import DrivingNoise, Dynamics
from levyjax.landscapes import Landscape
from levyjax.landscapes.base import has_potential
from levyjax.landscapes.drift import LINEAR
from levyjax.noise import LevyNoise, Noise, PointNoise
from levyjax.noise.base import noise_at, require_process
from levyjax.random import Counter
from levyjax.schedules import Schedule

_UNSTABLE = 2.0  # dt times the curvature along the gradient above which explicit steps grow
# a factor of a step's drift, where it turns; the second order beside it, up to which that says how much it does
_GROWS, _TELLS = 1.02, 0.1
_WILD = 4.0  # at this product of a step's response and the curvature no averages keep it stable


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
class ExitProblem(Forces, Protocol):
    """What moves a point, and what it leaves: the parts of a problem whose paths are followed to its boundary."""

    @property
    def basin(self) -> Basin: ...
    @property
    def noise(self) -> LevyNoise: ...
    @property
    def dimension(self) -> int: ...
    @property
    def start(self) -> Any: ...


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


def require_steps(forces: Forces) -> None:
    """Refuse noise that Euler's steps of these dynamics cannot follow.

    Raises:
        ValueError: noise that is no process, or that depends on the point where the optimizer does not allow for it.
    """
    require_process(forces.noise)
    if not isinstance(forces.noise, PointNoise):
        return
    if not forces.dynamics.is_linear:
        raise ValueError("The SDE under noise that depends on the point is for SGD and Momentum only.")
    if getattr(forces.noise, "kind", "ito") == "marcus" and not forces.dynamics.is_gradient_flow:
        raise ValueError("Marcus noise is for SGD, where it moves the point itself; take kind = 'ito'.")


@pytree
class Euler:
    """Explicit Euler for the SDE, the exit tested at the ends of steps.

    With dt = learning_rate it *is* SGD. At small noise its mean exit times are within 2% of continuous time up to
    dt k of about 1 (k the curvature); at large noise it misses excursions between steps (4% at alpha = 1.8,
    dt k = 0.002, kappa about 1).

    Steps with which descent at the minimum does not end (dt k of 2 and more; momentum and Adam have limits of their
    own) are refused when a simulation starts, unlike those of an `Iteration`.

    Where a landscape is so steep that a step of dt would overshoot further than it came, which one long jump away from
    the wall can reach, the drift of gradient descent is cut down to Newton's along the gradient: explicit steps would
    throw the point back through the wall. With averages (momentum, a preconditioner that is fixed) a point travels by
    what it has gathered and no cut is right: the trajectory ends as NONFINITE; take a smaller dt or `Tamed`. So it does
    under a drift without a potential that turns so fast that a step would spiral outward where the drift does not.

    Args:
        dt: step length in the SDE's time, positive.
        project: (2, d) lower and upper bounds that each step's point is put back between; default none.

    Raises:
        ValueError: dt is not positive; a lower bound not below its upper one.
    """

    dt: Any
    project: Any = None

    def __post_init__(self) -> None:
        freeze(self, dt=positive(parameter(self.dt, "dt", ndim=(0,)), "dt"), project=checked_box(self.project))

    def prepare(self, forces: Forces, max_time: Any) -> "Euler":
        require_steps(forces)
        return self

    def init(self, forces: Forces, x: Array) -> Any:
        return forces.dynamics.init(x)

    def clock(self, state: Any) -> tuple[Array, ...]:
        return ()

    def expired(self, state: Any) -> Array:
        return jnp.bool_(False)

    def step(self, forces: Forces, state: Any, counter: Counter) -> Any:
        level = level_of(forces, counter, self.dt)
        driving = DrivingNoise(noise_at(forces.noise, state.x, level), level, counter, self.dt)
        if isinstance(forces.landscape, LINEAR):
            moved = forces.dynamics.sde_step(state, forces.landscape.gradient(state.x), driving)
        elif forces.dynamics.is_gradient_flow:
            gradient = limited(forces.landscape, state.x, self.dt)
            if not has_potential(forces.landscape):
                gradient = jnp.where(spirals(forces.landscape, state.x, self.dt), jnp.nan, gradient)
            moved = forces.dynamics.sde_step(state, gradient, driving)
        else:
            moved = watched(forces, state, driving)
        return projected(moved, self.project)

    def step_time(self, forces: Forces) -> Any:
        return self.dt


@pytree
class Tamed:
    """Euler with the gradient tamed, g/(1 + dt |g|): no step drifts further than 1, and none blows up.

    Where dt |g| is small it is Euler's step. On a landscape that grows faster than quadratically explicit Euler leaves
    the finite numbers after one long jump; this one comes back at unit speed. An optimizer with averages (momentum,
    Adam) is given the tamed gradient in place of the gradient.

    Args:
        dt: step length in the SDE's time, positive.
        project: as for `Euler`.

    Raises:
        ValueError: as for `Euler`.

    Source:
        Hutzenthaler, Jentzen, Kloeden, "Strong convergence of an explicit numerical method for SDEs with nonglobally
        Lipschitz continuous coefficients", Annals of Applied Probability 22 (2012).
    """

    dt: Any
    project: Any = None

    def __post_init__(self) -> None:
        freeze(self, dt=positive(parameter(self.dt, "dt", ndim=(0,)), "dt"), project=checked_box(self.project))

    def prepare(self, forces: Forces, max_time: Any) -> "Tamed":
        require_steps(forces)
        return self

    def init(self, forces: Forces, x: Array) -> Any:
        return forces.dynamics.init(x)

    def clock(self, state: Any) -> tuple[Array, ...]:
        return ()

    def expired(self, state: Any) -> Array:
        return jnp.bool_(False)

    def step(self, forces: Forces, state: Any, counter: Counter) -> Any:
        level = level_of(forces, counter, self.dt)
        driving = DrivingNoise(noise_at(forces.noise, state.x, level), level, counter, self.dt)
        gradient = tamed(forces.landscape.gradient(state.x), self.dt)
        return projected(forces.dynamics.sde_step(state, gradient, driving), self.project)

    def step_time(self, forces: Forces) -> Any:
        return self.dt


@pytree
class Iteration:
    """The optimizer itself: one step is one iteration, and takes learning_rate of time.

    Args:
        project: as for `Euler`.

    Raises:
        ValueError: a lower bound not below its upper one.
    """

    project: Any = None

    def __post_init__(self) -> None:
        freeze(self, project=checked_box(self.project))

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
        level = level_of(forces, counter, forces.dynamics.learning_rate)
        driving = DrivingNoise(noise_at(forces.noise, state.x, level), level, counter, 1.0)
        return projected(forces.dynamics.iterate_on(forces.landscape, state, driving), self.project)

    def step_time(self, forces: Forces) -> Any:
        return forces.dynamics.learning_rate


def level_of(forces: Forces, counter: Counter, dt: Any) -> Any:
    """The noise level of a step: the problem's, or what its schedule gives at the step's beginning."""
    level = forces.noise_level
    return level.at(counter, dt) if isinstance(level, Schedule) else level


def limited(landscape: Landscape, x: Float[Array, "d lanes"], dt: Any) -> Float[Array, "d lanes"]:
    """The gradient g, cut down to g/(dt L) where explicit steps along it are unstable: L = g'Hg/g'g, dt L above 2.

    What is left of the step is Newton's along g. Elsewhere it is the gradient itself, to the bit.
    """
    gradient = landscape.gradient(x)
    largest = jnp.abs(gradient).max(axis=0)
    unit = gradient / jnp.where(largest > 0, largest, 1)
    bend = jax.jvp(landscape.gradient, (x,), (unit,))[1]
    stiffness = dt * total(unit * bend) / jnp.where(largest > 0, total(unit**2), 1)
    return jnp.where(stiffness > _UNSTABLE, gradient / jnp.maximum(stiffness, _UNSTABLE), gradient)


def spirals(landscape: Landscape, x: Float[Array, "d lanes"], dt: Any) -> Bool[Array, " lanes"]:
    """Whether an explicit step makes a drift grow by more than the drift itself does: one that turns too fast for it.

    With J the Jacobian and g the drift, g + dt Jg is 2% longer than g, and than g + dt Jg + dt^2 JJg/2 where the last
    part is small enough to tell.
    """
    gradient = landscape.gradient(x)
    largest = jnp.abs(gradient).max(axis=0)
    unit = gradient / jnp.where(largest > 0, largest, 1)
    first = jax.jvp(landscape.gradient, (x,), (unit,))[1]
    second = jax.jvp(landscape.gradient, (x,), (first,))[1]
    stepped = unit - dt * first
    size, beyond = total(unit**2), dt**2 / 2 * second
    exact = jnp.where(total(beyond**2) < _TELLS**2 * size, total((stepped + beyond) ** 2), 0)
    return total(stepped**2) > _GROWS**2 * jnp.maximum(size, exact)


def watched(forces: Forces, state: Any, driving: DrivingNoise) -> Any:
    """A step of dynamics with averages; its point is NaN where no step of this length follows the gradient there.

    That is where the gradient, by the step that it has caused, changes by more than four times its size: whatever the
    averages hold, such steps overshoot further each time.
    """
    gradient, x = forces.landscape.gradient(state.x), state.x
    change = jax.jvp(lambda g: forces.dynamics.sde_step(state, g, driving).x, (gradient,), (gradient,))[1]
    moved = forces.dynamics.sde_step(state, gradient, driving)
    largest = jnp.abs(gradient).max(axis=0)
    scale = jnp.where(largest > 0, largest, 1)
    bend = jax.jvp(forces.landscape.gradient, (x,), (change / scale,))[1]
    wild = total(bend**2) > _WILD**2 * total((gradient / scale) ** 2)
    return moved._replace(x=jnp.where(wild, jnp.nan, moved.x))


def tamed(gradient: Float[Array, "d lanes"], dt: Any) -> Float[Array, "d lanes"]:
    """g/(1 + dt |g|); the squares in |g| cannot overflow."""
    largest = jnp.abs(gradient).max(axis=0)
    unit = gradient / jnp.where(largest > 0, largest, 1)
    return gradient / (1 + dt * largest * jnp.sqrt(total(unit**2)))


def projected(state: Any, bounds: Any) -> Any:
    """The state with its point put back between bounds (2, d); NaN stays NaN."""
    if bounds is None:
        return state
    x, lower, upper = state.x, column(bounds[0], state.x), column(bounds[1], state.x)
    # The same as jnp.clip, with which XLA compiles AdaGrad in float64 for minutes (measured with jaxlib 0.12).
    return state._replace(x=jnp.where(x < lower, lower, jnp.where(x > upper, upper, x)))


def checked_box(bounds: Any) -> Any:
    """Lower and upper bounds (2, d), or None."""
    if bounds is None or not concrete(bounds):
        return bounds
    if np.ndim(bounds) != 2 or len(bounds) != 2:
        raise ValueError(f"project must be the lower and the upper bounds, (2, d), got shape {np.shape(bounds)}.")
    lower, upper = (parameter(side, "project", ndim=(1,), infinite=True) for side in bounds)
    if not np.all(np.asarray(lower) < np.asarray(upper)):
        raise ValueError(
            f"project must have lower bounds below the upper ones, got {np.asarray(lower)} and {np.asarray(upper)}."
        )
    return bounds if isinstance(bounds, jax.Array) else np.stack([lower, upper])
