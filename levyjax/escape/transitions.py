"""Beyond one basin: simulated visits to wells, to hold against the chain that jumps make between them."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from levyjax.arrays import cast, column, pytree
from levyjax.datasets import Result, along
from levyjax.engine import ExitCode, run_chunks
from levyjax.escape.chains import checked_positions
from levyjax.noise import Noise
from levyjax.random import Counter
from levyjax.solvers import Solver

_CORE = 0.5  # of the way from a minimum to its nearest saddle: a visit begins within it


@dataclasses.dataclass(frozen=True)
class Visits(Result):
    """What n trajectories did among the wells.

    Attributes:
        time: (n, wells) time in each well, counted from the first step into its core to that into another's.
        transitions: (n, wells, wells) how often each went from a row's well to a column's.
        exit_code: (n,) CENSORED for those that ran to the end, NONFINITE for those that blew up.
    """

    _dims = along({"trajectory well": "time", "trajectory from_well well": "transitions", "trajectory": "exit_code"})

    time: Float[np.ndarray, "n wells"]
    transitions: Int[np.ndarray, "n wells wells"]
    exit_code: Int[np.ndarray, " n"]


class _VisitState(NamedTuple):
    """A trajectory and its log; one row for each well and each pair of wells."""

    inner: Any
    well: Int32[Array, "1 lanes"]
    steps: Int32[Array, "wells lanes"]
    transitions: Int32[Array, "pairs lanes"]


@pytree
class _VisitProcess:
    """What the engine's lanes run."""

    landscape: Any
    dynamics: Any
    noise: Any
    noise_level: Any
    solver: Any
    minima: Any
    core: Any
    first: Any

    def start(self) -> _VisitState:
        wells = self.minima.shape[0]
        x = self.minima[self.first][None, None]
        first = jnp.full((1, 1), self.first, jnp.int32)
        return _VisitState(
            self.solver.init(self, x), first, jnp.zeros((wells, 1), jnp.int32), jnp.zeros((wells**2, 1), jnp.int32)
        )

    def step(self, state: _VisitState, counter: Counter) -> _VisitState:
        inner = self.solver.step(self, state.inner, counter)
        wells = self.minima.shape[0]
        index = jnp.arange(wells, dtype=jnp.int32)[:, None]
        inside = jnp.abs(inner.x - column(self.minima, inner.x)) < column(self.core, inner.x)
        well = jnp.where(inside.any(axis=0), jnp.where(inside, index, 0).sum(axis=0, dtype=jnp.int32), state.well[0])[
            None
        ]
        pair = jnp.arange(wells**2, dtype=jnp.int32)[:, None] == state.well * wells + well
        moved = pair & (well != state.well)
        return _VisitState(
            inner,
            well,
            state.steps + (index == state.well).astype(jnp.int32),
            state.transitions + moved.astype(jnp.int32),
        )

    def status(self, state: _VisitState) -> Int32[Array, " lanes"]:
        finite = jnp.isfinite(state.inner.x[0])
        return jnp.where(finite, jnp.int32(ExitCode.RUNNING), jnp.int32(ExitCode.EXITED))

    def record(self, state: _VisitState) -> Float[Array, "rows lanes"]:
        x = state.inner.x
        return jnp.concatenate([x, state.steps.astype(x.dtype), state.transitions.astype(x.dtype)])


def simulate_visits(
    landscape: Any,
    saddles: Any,
    noise: Noise,
    dynamics: Any,
    noise_level: float,
    solver: Solver,
    *,
    minima: Any = None,
    duration: float,
    num_trajectories: int,
    key: Any,
    well: int = 0,
    dtype: str = "float32",
) -> Visits:
    """Run trajectories among the wells of a landscape on the line, and book where they are.

    A trajectory is in the well whose core, half of the way from its minimum to the nearest saddle, it was in last: so
    it is booked once for each visit, however often it crosses a saddle on its way.

    Args:
        landscape: F in one dimension.
        saddles: (wells - 1,) positions.
        noise, dynamics, noise_level: as in `EscapeProblem`.
        solver: `Euler(dt)`, `Tamed(dt)` or `Iteration()`: steps of one length, at most 2^24 of them in float32. (The
            jump-adapted solver knows one basin.)
        minima: (wells,) positions; default the landscape's own `minima`.
        duration: of each run, in the SDE's time.
        num_trajectories: how many.
        key: an integer seed or a `jax.random.key`.
        well: in whose minimum all start, counted from 0.
        dtype: "float32" or "float64".

    Raises:
        ValueError: positions that do not alternate, a well that is not there, a solver without a step length or for
            other noise, a duration shorter than a step or of more steps than can be counted.

    Example:
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import MultiWell
        >>> from levyjax.noise import Independent
        >>> from levyjax.solvers import Tamed
        >>> landscape = MultiWell([-1.0, 1.0], [0.0], [1.0], [1.0, 1.0], [1.0])
        >>> options = {"duration": 50.0, "num_trajectories": 64, "key": 0}
        >>> visits = simulate_visits(landscape, [0.0], Independent(1.5, [1.0]), SGD(), 0.1, Tamed(0.1), **options)
        >>> float(visits.time.sum(axis=1).min().round(3))
        50.0
    """
    minima, saddles = checked_positions(getattr(landscape, "minima", None) if minima is None else minima, saddles)
    if not 0 <= well < len(minima):
        raise ValueError(f"well must be from 0 to {len(minima) - 1}, got {well}.")
    edges = np.concatenate([[-np.inf], saddles, [np.inf]])
    core = _CORE * np.minimum(minima - edges[:-1], edges[1:] - minima)
    parts = (landscape, dynamics, noise, noise_level, solver, minima, core, np.int32(well))
    process = _VisitProcess(*parts)
    step_time = solver.step_time(process)
    if step_time is None:
        raise ValueError("Visits are counted in steps of one length: take Euler, Tamed, or Iteration.")
    process = dataclasses.replace(process, solver=solver.prepare(process, duration))
    num_steps = int(duration / float(step_time) + 1e-9)
    if not 1 <= num_steps <= 1 << 24:
        raise ValueError(f"duration must be 1 to 2^24 steps of {float(step_time):g}, got {duration}.")
    with jax.enable_x64(dtype == "float64"):
        made = list(run_chunks(cast(process, jnp.dtype(dtype)), key, num_trajectories, num_steps))
    record, code = (np.concatenate([getattr(part, name) for part in made]) for name in ("record", "code"))
    code = np.where(code == ExitCode.EXITED, ExitCode.NONFINITE, code)
    steps, transitions = np.split(record[:, 1:], [len(minima)], axis=1)
    pairs = transitions.astype(np.int64).reshape(-1, len(minima), len(minima))
    return Visits(steps.astype(np.float64) * float(step_time), pairs, code)
