"""The cells of a run or a sweep as figures need them: rows, axes, exits, and how cells are named."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from levyjax.config import Cell, RunConfig
from levyjax.escape import ExitSamples

SYMBOLS = {"alpha": "α", "noise_level": "ε", "learning_rate": "η"}
NAMES = {"alpha": "tail index α", "noise_level": "noise level ε", "learning_rate": "learning rate η"}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class ExitResult:
    """The cells of a run or a sweep.

    Attributes:
        rows: of all cells; one that has not been run has its axes alone.
        axes: the names of a row that say which cell it is.
        exits: the exits of a cell; None for rates without times.
        places: the run and the cell of each row.
    """

    rows: Sequence[Row]
    axes: tuple[str, ...]
    exits: Callable[[int], ExitSamples] | None
    places: Sequence[tuple[RunConfig, Cell]]

    @property
    def varying(self) -> tuple[str, ...]:
        """The axes that have several values."""
        return tuple(name for name in self.axes if len({repr(row[name]) for row in self.rows}) > 1)

    def done(self) -> list[int]:
        """The cells that were run."""
        return [index for index, row in enumerate(self.rows) if "rate" in row]

    def timed(self) -> list[int]:
        """The cells that were run and have exit times: a sweep may have quasi-stationary cells beside them."""
        if self.exits is None:
            return []
        methods = [config.run.method for config, _ in self.places]
        return [index for index in self.done() if not methods or methods[index] != "quasi_stationary"]


def cell_label(row: Row, names: Sequence[str]) -> str:
    parts = [(name, row[name]) for name in names if row.get(name) is not None]
    return ", ".join(axis_part(name, value) for name, value in parts)


def axis_part(axis: str, value: Any) -> str:
    """A text, such as an optimizer's name, says itself what it is."""
    return value if isinstance(value, str) else f"{SYMBOLS.get(axis, axis.split('.')[-1])} = {shown_value(value)}"


def axis_name(axis: str) -> str:
    return NAMES.get(axis, axis.replace("_", " "))


def shown_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(shown_value, value))})"
    return f"{value:g}" if isinstance(value, (int, float)) and math.isfinite(value) else str(value)
