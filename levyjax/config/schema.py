"""A run as a tree: the settings of `[run]`, and for each other table its kind with the values of its keys."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from levyjax import keys
from levyjax.checks import (
    ConfigError,
    boolean,
    box,
    choice,
    finite,
    integer,
    nearest,
    not_negative,
    positive,
    real,
    refuse,
    show,
    sweep,
    vector,
)
from levyjax.config.sweeps import first_learning_rate
from levyjax.config.tables import Section
from levyjax.keys import key, table

__all__ = ["METHODS", "RunConfig", "RunSettings"]

Point = tuple[float, ...]
Sweep = int | float | tuple[int | float, ...]

METHODS = {  # method -> the key that says how long a step is; None where a step takes what time it needs
    "euler": "dt",
    "tamed": "dt",
    "iteration": "learning_rate",
    "jump_adapted": None,
    "quasi_stationary": None,
}

SCHEDULES = ("cosine", "exponential", "linear")  # the functions of levyjax.schedules


def _noise_schedule(value: Any, where: str) -> dict[str, Any]:
    """A table such as {schedule = "exponential", time = 100.0, end = 0.0}."""
    if not isinstance(value, Mapping):
        raise refuse(value, where, 'a table, such as {schedule = "exponential", time = 100.0, end = 0.1}')
    for name in value:
        if name not in ("schedule", "time", "end"):
            raise ConfigError(
                f"{where}: {show(name)} is unknown: {nearest(name, ('schedule', 'time', 'end'))}The keys here are "
                "schedule, time and end."
            )
    for name in ("schedule", "time"):
        if name not in value:
            raise ConfigError(f"{where}: {name} is missing. Its keys are schedule, time and end; add it.")
    return {
        "schedule": choice(SCHEDULES)(value["schedule"], f"{where}.schedule"),
        "time": positive(value["time"], f"{where}.time"),
        "end": not_negative(value.get("end", 0.0), f"{where}.end"),
    }


_fraction = real("a number above 0 and below 1", lambda x: (x > 0.0) & (x < 1.0))
_duration = real("a number above 0, or inf", lambda x: x > 0.0)


@table("run")
class RunSettings:
    """The table `[run]`: how the problem is simulated.

    Args:
        noise_level: the factor epsilon of dL.
        noise_schedule: a table {schedule = "exponential" | "linear" | "cosine", time, end} of a factor of the noise
            level that goes from 1 to `end` (0 by default) over `time`, in the SDE's time; for "euler", "tamed" and
            "iteration", with a max_time.
        method: "euler" (steps of `dt`), "tamed" (the same with the gradient g/(1 + dt |g|), which cannot blow up),
            "jump_adapted" (from large jump to large jump, at a cost that hardly depends on the noise level),
            "quasi_stationary" (the exit rate from the quasi-stationary law, and no times) or "iteration" (the optimizer
            itself). Default "euler" where dt is given, else "jump_adapted".
        dt: step in time, needed by "euler" and "tamed".
        project: a box [low, high], the same for every coordinate or one pair for each, that every step's point is put
            back into; for "euler", "tamed" and "iteration". Default none.
        dtype: "float32" or "float64".
        relative_error: a quasi-stationary run ends when its standard error is below this part of the rate.
        num_trajectories: how many paths; particles for "quasi_stationary".
        max_time: a path that has not left by then is censored; "quasi_stationary" stops then.
        seed: 0 to 2^64 - 1.
        start: default the landscape's minimum.
        zip: swept lists are paired and not crossed.
    """

    noise_level: Sweep = key(positive, swept=sweep(positive))
    noise_schedule: Any = key(_noise_schedule, default=None)
    method: str = key(choice(METHODS), default=None)
    dt: float | None = key(positive, default=None)
    project: Point | tuple[Point, ...] | None = key(box, default=None)
    dtype: str = key(choice(("float32", "float64")), default="float32")
    relative_error: float = key(_fraction, default=0.001)
    num_trajectories: int = key(integer(1, 2**31 - 1), default=4096)
    max_time: float = key(_duration, default=math.inf)
    seed: int = key(integer(0, 2**64 - 1), default=0)
    start: Point | None = key(vector(finite), default=None, coordinates=0)
    zip: bool = key(boolean, default=False)

    def check(self) -> None:
        if self.method is None:
            object.__setattr__(self, "method", "jump_adapted" if self.dt is None else "euler")
        if self.noise_schedule is not None and METHODS[self.method] is None:
            raise ConfigError(
                f'[run] noise_schedule is refused: method = "{self.method}" is for a noise level that stays. '
                'Take method = "euler", "tamed" or "iteration", or leave noise_schedule out.'
            )
        if self.noise_schedule is not None and math.isinf(self.max_time):
            raise ConfigError(
                "[run] noise_schedule needs a max_time: paths may never leave. Add for example max_time = 100.0."
            )
        if METHODS[self.method] == "dt" and self.dt is None:
            raise ConfigError(
                f'[run] method = "{self.method}" needs dt, its step in time. '
                "Add for example dt = 0.05, well below 1 over the largest curvature."
            )
        if self.project is not None and METHODS[self.method] is None:
            raise ConfigError(
                f'[run] project is refused: method = "{self.method}" does not project. '
                'Take method = "euler", "tamed" or "iteration", or leave project out.'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run, consistent in itself: one table a field.

    Raises:
        ConfigError: if the tables do not fit together (coordinates, start, learning rate, sweep).

    Example:
        >>> config = RunConfig(
        ...     landscape=Section.of("landscape", "quadratic", {"hessian": [1.0, 0.1]}),
        ...     basin=Section.of("basin", "box", {"lower": [-1, -1], "upper": [1, 1]}),
        ...     dynamics=Section.of("dynamics", "sgd", {}),
        ...     noise=Section.of("noise", "independent", {"alpha": 1.5}),
        ...     run=RunSettings(noise_level=[0.1, 0.05], dt=0.05),
        ... )
        >>> config.dimension, config.start
        (2, (0.0, 0.0))
    """

    landscape: Section
    basin: Section
    dynamics: Section
    noise: Section
    run: RunSettings

    def __post_init__(self) -> None:
        from levyjax.config import consistency  # with the objects, and so with jax

        consistency.check(self)

    @property
    def minimum(self) -> Point:
        """Where the path rests without noise: the landscape's minimum, or `start` where the landscape is flat."""
        from levyjax.config.build import make_landscape

        return tuple(make_landscape(self.landscape, self.run.start).minimum.tolist())

    @property
    def start(self) -> Point:
        """Where every path begins: `start` of `[run]`, or the landscape's minimum."""
        return self.run.start or self.minimum

    @property
    def dimension(self) -> int:
        """The number of coordinates."""
        return len(self.minimum)

    @property
    def uses_learning_rate(self) -> bool:
        """Whether the learning rate enters this run at all."""
        from levyjax.config.build import make_dynamics

        made = make_dynamics(self.dynamics, first_learning_rate(self), self.dimension)
        return METHODS[self.run.method] == "learning_rate" or made.uses_learning_rate() is not None

    def parts(self) -> list[tuple[Any, Mapping[str, Any]]]:
        """Every table: what says which keys it has, and their values."""
        sections = (self.landscape, self.basin, self.dynamics, self.noise)
        return [*((part.owner, part.values) for part in sections), (self.run, vars(self.run))]

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain tables, lists and numbers; `parse` makes the same tree of it."""
        return {owner.table: keys.to_dict(owner, values) for owner, values in self.parts()}
