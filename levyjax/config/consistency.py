"""What must hold between the tables of a run: coordinates, geometry, learning rate, ranges of numbers, sweep."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from levyjax.config.checks import ConfigError, show
from levyjax.config.dynamics import ITERATION_ONLY
from levyjax.config.sweeps import check_sweep
from levyjax.config.tables import TABLES, check_sizes, keys_of, sizes

if TYPE_CHECKING:
    from levyjax.config.schema import RunConfig

# The smallest and the largest normal number: below the first, accelerators and XLA's CPU code read 0.
_RANGES = {"float32": (2.0**-126, (2.0 - 2.0**-23) * 2.0**127), "float64": (2.0**-1022, math.inf)}
_DRAWS = ("pareto", "student_t", "truncated", "tempered", "empirical")
_NOT_ON_THE_DEVICE = ("relative_error", "num_trajectories", "max_time", "seed", "zip", "coordinates")


def check(config: "RunConfig") -> None:
    """Raises `ConfigError` for the first thing that does not fit."""
    _check_flat(config)
    lists = [size for name in TABLES for size in sizes(getattr(config, name))]
    check_sizes([*_landscape_size(config), *lists, *_project_size(config)])
    _check_iteration_only(config)
    _check_draws(config)
    _check_learning_rate(config)
    _check_memory(config)
    _check_inside(config)
    _check_ranges(config)
    check_sweep(config)


def _landscape_size(config: "RunConfig") -> list[tuple[str, int]]:
    """The dimension of a landscape that no list of coordinates gives."""
    landscape = config.landscape
    if landscape.minimum is None or sizes(landscape):
        return []
    return [(f'[landscape] kind = "{landscape.kind}"', len(landscape.minimum))]


def _project_size(config: "RunConfig") -> list[tuple[str, int]]:
    project = config.run.project
    return [("[run] project", len(project))] if project and isinstance(project[0], tuple) else []


def _check_flat(config: "RunConfig") -> None:
    if config.landscape.kind != "flat":
        return
    if config.run.start is None:
        raise ConfigError(
            '[run] start is missing: [landscape] kind = "flat" has no minimum to start from. '
            "Add for example start = [0.0, 0.0], one number for each coordinate."
        )
    if config.basin.kind in ("sublevel", "attraction"):
        raise ConfigError(
            f'[basin] kind = "{config.basin.kind}" is refused: [landscape] kind = "flat" has no levels and no slopes. '
            'Take kind = "box", "ball", "ellipsoid" or "half_space".'
        )


def _check_iteration_only(config: "RunConfig") -> None:
    kind, method = config.dynamics.kind, config.run.method
    if kind in ITERATION_ONLY and method != "iteration":
        raise ConfigError(
            f'[run] method = "{method}" is refused: [dynamics] kind = "{kind}" has no SDE. Give method = "iteration".'
        )


def _check_draws(config: "RunConfig") -> None:
    """Noise that is no Lévy process has no increments over other times than a step of the optimizer."""
    if config.noise.kind in _DRAWS and config.run.method != "iteration":
        raise ConfigError(
            f'[noise] kind = "{config.noise.kind}" is one draw for each step of the optimizer itself, and [run] method '
            f'= "{config.run.method}" needs a process in continuous time. Set method = "iteration".'
        )


def _check_learning_rate(config: "RunConfig") -> None:
    if not config.uses_learning_rate or config.dynamics.learning_rate is not None:
        return
    reason = config.dynamics.uses_learning_rate or f'[run] method = "{config.run.method}"'
    raise ConfigError(f"[dynamics] learning_rate is missing: {reason} uses it. Add for example learning_rate = 0.1.")


def _check_memory(config: "RunConfig") -> None:
    """Where Adam's betas are rates (not in an iteration, nor corrected), m or v would never move at a rate of 0."""
    variant = getattr(config.dynamics, "variant", None)
    rates = {"paper": ("beta1", "beta2"), "frozen": ("beta1",)}.get(variant or "", ())
    for name in rates if config.run.method != "iteration" else ():
        if getattr(config.dynamics, name) == 0.0:
            raise ConfigError(
                f'[dynamics] {name} = 0.0 is refused: variant = "{variant}" takes it as a rate, and the mean it drives '
                'would never move. Give a number above 0, or variant = "corrected".'
            )


def _check_inside(config: "RunConfig") -> None:
    landscape = f'the minimum of [landscape] kind = "{config.landscape.kind}"'
    for name, point in ((landscape, config.landscape.minimum), ("[run] start", config.run.start)):
        reason = point and config.basin.outside(point, config)
        if reason:
            raise ConfigError(
                f"{name} = {show(point)} is outside the basin: {reason}. Move it, or give a basin that holds it."
            )


def _check_ranges(config: "RunConfig") -> None:
    low, high = _RANGES[config.run.dtype]
    for where, number in _device_numbers(config):
        if number and not low <= abs(number) <= high and not math.isinf(number):
            hint = 'set dtype = "float64" in [run] or ' if config.run.dtype == "float32" else ""
            raise ConfigError(
                f"{where} = {number} is refused: {config.run.dtype} holds {low:.2g} to {high:.2g}. "
                f"To keep it, {hint}choose other units."
            )


def _device_numbers(config: "RunConfig") -> Iterator[tuple[str, float]]:
    for section in (getattr(config, name) for name in TABLES):
        for name in keys_of(type(section)):
            if name not in _NOT_ON_THE_DEVICE:
                for number in _flat(getattr(section, name)):
                    yield f"[{section.table}] {name}", number


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, (int, float)):
        yield value
