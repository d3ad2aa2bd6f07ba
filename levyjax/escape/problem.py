"""The exit problem: which landscape, basin, noise, optimizer and noise level, and from where."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from levyjax.arrays import concrete, freeze, parameter, positive, pytree
from levyjax.basins import Basin
from levyjax.checks import require_object
from levyjax.dynamics import Dynamics
from levyjax.engine import ExitCode
from levyjax.escape.landscape_check import check_landscape, require_methods
from levyjax.interpret import interpreted
from levyjax.random import Counter
from levyjax.schedules import Schedule
from levyjax.schedules.base import as_schedule
from levyjax.solvers.motion import at_rest, displaced_at_once


def _shape_of(piece: Any, names: tuple[str, ...]) -> list[tuple[str, int]]:
    values = {name: getattr(piece, name, None) for name in names}
    return [(name, np.shape(value)[0]) for name, value in values.items() if value is not None and np.ndim(value) > 0]


@pytree
class EscapeProblem:
    """First exit of an optimizer from a basin: dx = -grad F dt + noise_level A dL and its relatives.

    Args:
        landscape: F with its minimum x*.
        basin: the open set to leave; it contains the minimum and the start.
        noise: A L.
        dynamics: the optimizer.
        noise_level: epsilon, which multiplies A dL (and A u in an iteration); positive, never derived silently.
            One that changes is any function of time, or a `schedules.Schedule`.
        start: (d,); default the minimum.

    Raises:
        ValueError: parts of different dimensions, a noise level that is not positive, a minimum or start outside the
            basin, a landscape that lacks a method, whose gradient is not that of its value or does not vanish at its
            minimum, or whose Hessian (looked at in up to 512 coordinates) is not the gradient's derivative there.

    Example:
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.05)
        >>> problem.dimension
        1
    """

    landscape: Any  # what does not have their methods is refused by a sentence below
    basin: Any
    noise: Any
    dynamics: Any
    noise_level: Any
    start: Any = None

    def __post_init__(self) -> None:
        if not concrete(self.noise_level):
            return  # inside a transformation: the parts were checked when the problem was made
        noise_level = as_schedule(self.noise_level)
        if not isinstance(noise_level, Schedule):
            if getattr(noise_level, "ndim", 0) == 1 or isinstance(noise_level, list | tuple):
                raise ValueError(
                    "noise_level is one number or a schedule: if this array has a value for each step, give "
                    "schedules.of_steps(values)."
                )
            noise_level = positive(parameter(noise_level, "noise_level", ndim=(0,)), "noise_level")
        start = None if self.start is None else parameter(self.start, "start", ndim=(1,))
        freeze(self, noise_level=noise_level, start=start)
        if all(concrete(leaf) for leaf in jax.tree.leaves(self)):
            self._check()

    def _check(self) -> None:
        for name in ("landscape", "basin", "noise", "dynamics"):
            require_object(getattr(self, name), name)
        require_methods(self.landscape)
        for name, methods in (("basin", ("contains", "gauge", "face", "face_names")), ("noise", ("scale",))):
            if missing := [one for one in methods if not hasattr(getattr(self, name), one)]:
                given = type(getattr(self, name)).__name__
                raise ValueError(f"A {name} has {', '.join(methods)}; {given} has no {' and no '.join(missing)}.")
        if not isinstance(self.dynamics, Dynamics):
            raise ValueError(
                f"dynamics must be an optimizer: derive {type(self.dynamics).__name__} from levyjax.dynamics.Dynamics."
            )
        sizes = [("the minimum", np.shape(self.landscape.minimum)[0])]
        sizes += [("scale", np.shape(self.noise.scale)[0])]
        sizes += _shape_of(getattr(self.basin, "target", self.basin), ("lower", "center", "matrix", "normal"))
        sizes += _shape_of(self.dynamics, ("preconditioner", "initial_m", "initial_v"))
        sizes += [] if self.start is None else [("start", self.start.shape[0])]
        for name, size in sizes[1:]:
            if size != sizes[0][1]:
                raise ValueError(f"{sizes[0][0]} has {sizes[0][1]} coordinates but {name} has {size}.")
        with jax.enable_x64(True):
            for name, point in (("minimum", self.landscape.minimum), ("start", self.start)):
                if point is not None and not bool(contains(self.basin, point)):
                    raise ValueError(f"The {name} {np.asarray(point).tolist()} is not inside the basin.")
            check_landscape(self.landscape, self.basin)
            if self.dimension > 1 and self.dynamics.why_no_sde() is None and not _keeps_coordinates_apart(self):
                raise ValueError(
                    f"{type(self.dynamics).__name__}'s displace lets the noise on one coordinate move another; an "
                    "optimizer here treats each coordinate by itself, and what mixes them belongs to the noise's scale."
                )

    @property
    def dimension(self) -> int:
        """d."""
        return np.shape(self.noise.scale)[0]


def _keeps_coordinates_apart(problem: EscapeProblem) -> bool:
    """Whether noise on one coordinate moves that coordinate alone: noise on every second one, and on all."""
    if type(problem.dynamics).__module__.startswith("levyjax."):
        return True  # tests look at each
    size = 1.0 + np.arange(problem.dimension) % 7
    some = np.arange(problem.dimension) % 2 == 0
    at = np.repeat(np.asarray(problem.landscape.minimum)[:, None], 2, axis=1)
    moved = displaced_at_once(problem, at_rest(problem, at), np.stack([size, size * some], axis=1))
    return all(np.allclose(leaf[some, 0], leaf[some, 1], rtol=1e-9) for leaf in map(np.asarray, jax.tree.leaves(moved)))


@interpreted
def contains(basin: Basin, x: Float[Array, "d *batch"]) -> Any:
    """Whether points are inside, (*batch,)."""
    return basin.contains(x)


@interpreted
def _gauge_and_face(basin: Basin, origin: Float[Array, " d"], x: Float[Array, " d"]) -> Any:
    return basin.gauge(origin, x - origin), basin.face(origin, x)


def why_outside(basin: Basin, origin: Float[np.ndarray, " d"], x: Float[np.ndarray, " d"]) -> str:
    """Where the way from a point inside to one outside leaves, as the end of a sentence; empty where unknown."""
    if not contains(basin, origin):
        return ""
    gauge, face = _gauge_and_face(basin, origin, x)
    if not 1 <= float(gauge) < np.inf:
        return ""
    name = basin.face_names(x.shape[0])[int(face)]
    return f": the way there from the minimum leaves it after {1 / float(gauge):.3g} of its length, through {name}"


@pytree
class ExitProcess:
    """An exit problem and the solver that steps it: what the engine's lanes run."""

    problem: Any
    solver: Any

    def start(self) -> Any:
        problem = self.problem
        start = problem.landscape.minimum if problem.start is None else problem.start
        return self.solver.init(problem, jnp.asarray(start, problem.noise.scale.dtype)[:, None])

    def step(self, state: Any, counter: Counter) -> Any:
        return self.solver.step(self.problem, state, counter)

    def status(self, state: Any) -> Int32[Array, " lanes"]:
        inside = self.problem.basin.contains(state.x)
        code = jnp.where(self.solver.expired(state), jnp.int32(ExitCode.CENSORED), jnp.int32(ExitCode.RUNNING))
        return jnp.where(inside, code, jnp.int32(ExitCode.EXITED))

    def record(self, state: Any) -> Float[Array, "rows lanes"]:
        """The point and the parts of the solver's clock."""
        return jnp.concatenate([state.x, *self.solver.clock(state)])


def faces(problem: EscapeProblem, x: Float[np.ndarray, "n d"]) -> np.ndarray:
    """Index of the face through which each exit point left, as seen from the minimum."""
    origin = np.asarray(problem.landscape.minimum, jnp.result_type(float))
    return face_of(problem.basin, origin, np.asarray(x, origin.dtype).T)


@interpreted
def face_of(basin: Basin, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Any:
    """The index of the face that points outside belong to, (*batch,)."""
    return basin.face(origin, x)
