"""What must hold between the tables of a run: coordinates, geometry, learning rate, ranges of numbers, sweep."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from levyjax.checks import ConfigError, listing, show
from levyjax.config.build import make_basin, make_dynamics, make_landscape
from levyjax.config.schema import METHODS, RunConfig
from levyjax.config.sweeps import check_sweep, first_learning_rate
from levyjax.config.tables import Section, kinds
from levyjax.escape.problem import contains, why_outside
from levyjax.keys import check_sizes, sizes
from levyjax.noise.base import is_process

# The smallest and the largest normal number: below the first, accelerators and XLA's CPU code read 0.
_RANGES = {"float32": (2.0**-126, (2.0 - 2.0**-23) * 2.0**127), "float64": (2.0**-1022, math.inf)}
_NOT_ON_THE_DEVICE = ("relative_error", "num_trajectories", "max_time", "seed", "zip")


def check(config: RunConfig) -> None:
    """Raises `ConfigError` for the first thing that does not fit."""
    flat = _check_flat(config)
    make_landscape(config.landscape, config.run.start)
    check_sizes([*_landscape_size(config, flat), *_all_sizes(config), *_project_size(config)])
    _check_method(config)
    _check_learning_rate(config)
    _check_inside(config.landscape, config.basin, config.run.start, flat)
    _check_ranges(config)
    check_sweep(config)


def _check_flat(config: RunConfig) -> bool:
    """Whether the landscape has no minimum of its own, and paths start where the run says."""
    landscape, basin = config.landscape, config.basin
    if "start" not in landscape.owner.given.values():
        return False
    if config.run.start is None:
        raise ConfigError(
            f'[run] start is missing: [landscape] kind = "{landscape.kind}" has no minimum to start from. '
            "Add for example start = [0.0, 0.0], one number for each coordinate."
        )
    if "landscape" in basin.owner.given.values():
        others = [kind for kind, one in kinds()["basin"].items() if "landscape" not in one.given.values()]
        raise ConfigError(
            f'[basin] kind = "{basin.kind}" is refused: [landscape] kind = "{landscape.kind}" has no levels and no '
            f"slopes. Take one of {listing(others)}."
        )
    return True


def _all_sizes(config: RunConfig) -> list[tuple[str, int]]:
    return [size for owner, values in config.parts() for size in sizes(owner, values)]


def _landscape_size(config: RunConfig, flat: bool) -> list[tuple[str, int]]:
    """The dimension of a landscape that no list of coordinates gives."""
    landscape = config.landscape
    if flat or sizes(landscape.owner, landscape.values):
        return []
    return [(f'[landscape] kind = "{landscape.kind}"', config.dimension)]


def _project_size(config: RunConfig) -> list[tuple[str, int]]:
    project = config.run.project
    return [("[run] project", len(project))] if project and isinstance(project[0], tuple) else []


def _check_method(config: RunConfig) -> None:
    """An optimizer without an SDE, and noise that is no process in continuous time, have an iteration alone."""
    method, dynamics, noise = config.run.method, config.dynamics, config.noise
    if METHODS[method] == "learning_rate":
        return
    if not is_process(noise.owner.cls):
        raise ConfigError(
            f'[noise] kind = "{noise.kind}" is one draw for each step of the optimizer itself, and [run] method '
            f'= "{method}" needs a process in continuous time. Set method = "iteration".'
        )
    reason = make_dynamics(dynamics, first_learning_rate(config), config.dimension).why_no_sde()
    if reason is not None:
        raise ConfigError(
            f'[run] method = "{method}" is refused: [dynamics] kind = "{dynamics.kind}" has no SDE. {reason}. '
            'Give method = "iteration".'
        )


def _check_learning_rate(config: RunConfig) -> None:
    if config.uses_learning_rate and first_learning_rate(config) is None:
        raise ConfigError(
            f'[dynamics] learning_rate is missing: [run] method = "{config.run.method}" uses it. '
            "Add for example learning_rate = 0.1."
        )


@functools.lru_cache
def _check_inside(landscape: Section, basin: Section, start: tuple[float, ...] | None, flat: bool) -> None:
    if getattr(basin.owner.cls, "contains_is_slow", False):
        return  # the problem itself checks it when it is built
    region, minimum = make_basin(basin, landscape, start), np.asarray(make_landscape(landscape, start).minimum)
    points = [] if flat else [(f'the minimum of [landscape] kind = "{landscape.kind}"', minimum)]
    points += [] if start is None else [("[run] start", np.asarray(start))]
    for name, point in points:
        with jax.enable_x64(True):
            if not contains(region, point):
                raise ConfigError(
                    f'{name} = {show(point.tolist())} is outside the basin (kind = "{basin.kind}")'
                    f"{why_outside(region, minimum, point)}. Move it, or give a basin that holds it."
                )


def _check_ranges(config: RunConfig) -> None:
    low, high = _RANGES[config.run.dtype]
    for where, number in _device_numbers(config):
        if number and not low <= abs(number) <= high and not math.isinf(number):
            hint = 'set dtype = "float64" in [run] or ' if config.run.dtype == "float32" else ""
            raise ConfigError(
                f"{where} = {number} is refused: {config.run.dtype} holds {low:.2g} to {high:.2g}. "
                f"To keep it, {hint}choose other units."
            )


def _device_numbers(config: RunConfig) -> Iterator[tuple[str, float]]:
    for owner, values in config.parts():
        for name, value in values.items():
            if name not in _NOT_ON_THE_DEVICE:
                for number in _flat(value):
                    yield f"[{owner.table}] {name}", number


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, (int, float)):
        yield value
