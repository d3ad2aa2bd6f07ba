"""From a run's configuration to its objects; with what they refuse in the words of the file."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from levyjax import solvers
from levyjax.checks import ConfigError
from levyjax.config.schema import RunConfig
from levyjax.config.sweeps import Cell
from levyjax.config.tables import Section
from levyjax.escape import EscapeProblem, Plan
from levyjax.schedules.named import NAMED

_KEPT = 64  # objects of the last tables: a sweep has many runs of the same ones


@contextlib.contextmanager
def _of_table(table: str) -> Iterator[None]:
    """What an object refuses, as a refusal of its table."""
    try:
        with np.errstate(all="ignore"):
            yield
    except ValueError as error:
        raise ConfigError(f"[{table}] {error}") from None


@functools.lru_cache(_KEPT)
def make_landscape(section: Section, start: tuple[float, ...] | None) -> Any:
    """The landscape of a table; `start` stands for the minimum of one that has none."""
    with _of_table("landscape"):
        return section.make(start=start)


@functools.lru_cache(_KEPT)
def make_basin(section: Section, landscape: Section, start: tuple[float, ...] | None) -> Any:
    """The basin of a table, in the landscape of another."""
    made = make_landscape(landscape, start)
    with _of_table("basin"):
        return section.make(landscape=made, minimum=made.minimum, **_sizes(len(made.minimum)))


@functools.lru_cache(_KEPT)
def make_dynamics(section: Section, learning_rate: float | None, dimension: int) -> Any:
    """The optimizer of a table, at one of its learning rates."""
    with _of_table("dynamics"):
        return section.make(learning_rate=learning_rate, **_sizes(dimension))


def make_noise(section: Section, alpha: Any, dimension: int) -> Any:
    """The noise of a table, at one of its tail indices."""
    swept = {section.swept.name: alpha} if section.swept else {}
    return section.make(**swept, **_sizes(dimension))


def _sizes(dimension: int) -> dict[str, Any]:
    """What the number of coordinates gives."""
    return {"identity": np.ones(dimension), "dimension": dimension}


def build_problem(config: RunConfig, cell: Cell) -> EscapeProblem:
    """The exit problem of one cell.

    Raises:
        ValueError: the tables do not fit together in a way that only the objects can tell.
    """
    start, changes = config.run.start, config.run.noise_schedule
    level: Any = cell.noise_level
    if changes is not None:
        level = level * NAMED[changes["schedule"]](1.0, changes["time"], changes["end"])
    return EscapeProblem(
        make_landscape(config.landscape, start),
        make_basin(config.basin, config.landscape, start),
        make_noise(config.noise, cell.alpha, config.dimension),
        make_dynamics(config.dynamics, cell.learning_rate, config.dimension),
        level,
        config.start,
    )


def _bounds(config: RunConfig) -> list[list[float]] | None:
    """Lower and upper bounds of every coordinate; one pair of the file is for all of them."""
    project: Any = config.run.project
    if project is None:
        return None
    pairs = project if isinstance(project[0], tuple) else [project] * config.dimension
    return [[float(pair[side]) for pair in pairs] for side in (0, 1)]


def build_plan(config: RunConfig) -> Plan:
    """How the run's cells are simulated."""
    run = config.run
    project = _bounds(config)
    made = {
        "iteration": lambda: solvers.Iteration(project),
        "euler": lambda: solvers.Euler(run.dt, project),
        "tamed": lambda: solvers.Tamed(run.dt, project),
    }
    solver = made.get(run.method, solvers.JumpAdapted)()
    return Plan(solver, run.num_trajectories, run.max_time, run.dtype)
