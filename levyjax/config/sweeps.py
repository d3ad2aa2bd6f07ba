"""The cells of a sweep: one problem for each combination of tail index, noise level and learning rate."""

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

from levyjax.checks import ConfigError

if TYPE_CHECKING:
    from levyjax.config.schema import RunConfig

MAX_CELLS = 100_000


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination of swept values, each exactly as the file has it; None where the file has none."""

    alpha: int | float | tuple[int | float, ...] | None
    noise_level: int | float
    learning_rate: int | float | None


def cells(config: "RunConfig") -> tuple[Cell, ...]:
    """The cells of a run: the swept lists crossed (the learning rate fastest), or paired where `zip = true`.

    Args:
        config: the run.

    Returns:
        One `Cell` for each problem, in the order in which results are reported.

    Example:
        >>> from levyjax.config import parse
        >>> config = parse({
        ...     "landscape": {"kind": "quadratic", "hessian": 1.0}, "basin": {"kind": "ball", "radius": 1.0},
        ...     "dynamics": {"kind": "sgd"}, "noise": {"kind": "independent", "alpha": 1.5},
        ...     "run": {"noise_level": [0.1, 0.05], "dt": 0.05},
        ... })
        >>> cells(config)[1]
        Cell(alpha=1.5, noise_level=0.05, learning_rate=None)
    """
    lists = [value if isinstance(value, tuple) else (value,) for _, value in _swept(config)]
    if not config.run.zip:
        return tuple(itertools.starmap(Cell, itertools.product(*lists)))
    count = max(map(len, lists))
    return tuple(itertools.starmap(Cell, zip(*(x * count if len(x) == 1 else x for x in lists), strict=True)))


def coordinates(config: "RunConfig", cell: Cell) -> dict[str, Any]:
    """What a cell is reported by; the learning rate is None where the run does not use it."""
    learning_rate = cell.learning_rate if config.uses_learning_rate else None
    return {"alpha": cell.alpha, "noise_level": cell.noise_level, "learning_rate": learning_rate}


def check_sweep(config: "RunConfig") -> None:
    """Raises `ConfigError` where lists to be paired differ in length, or where the cells are too many."""
    lengths = [(where, len(value)) for where, value in _swept(config) if isinstance(value, tuple)]
    if config.run.zip:
        for where, length in lengths[1:]:
            if length != lengths[0][1]:
                raise ConfigError(
                    f"[run] zip = true pairs lists, but {lengths[0][0]} has {lengths[0][1]} entries and {where} has "
                    f"{length}. Make them equally long, or take zip out to cross them."
                )
    elif math.prod(length for _, length in lengths) > MAX_CELLS:
        counts = " times ".join(f"{length} values of {where}" for where, length in lengths)
        raise ConfigError(
            f"{counts} make more than {MAX_CELLS} cells. Give shorter lists, or pair them with zip = true."
        )


def _swept(config: "RunConfig") -> list[tuple[str, Any]]:
    """The key of the noise whose list sweeps, noise level and learning rate, with their values."""
    key = config.noise.swept
    alpha = ("[noise] alpha", None) if key is None else (f"[noise] {key.name}", config.noise.values[key.name])
    learning_rate = config.dynamics.values.get("learning_rate")
    return [alpha, ("[run] noise_level", config.run.noise_level), ("[dynamics] learning_rate", learning_rate)]


def first_learning_rate(config: "RunConfig") -> int | float | None:
    """That of the first cell."""
    value = config.dynamics.values.get("learning_rate")
    return value[0] if isinstance(value, tuple) else value
