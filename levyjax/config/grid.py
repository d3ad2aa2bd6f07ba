"""A sweep as a TOML file: a run file with alternatives and further axes, cut into cells and chunks."""

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from levyjax.checks import ConfigError, cut, integer, listing, nearest, refuse, show
from levyjax.config.load import bare, beside, naming, parse, read_toml
from levyjax.config.schema import RunConfig
from levyjax.config.sweeps import MAX_CELLS, Cell, cells, coordinates
from levyjax.keys import TABLES

CHUNK_SIZE = 65_536
MAX_CHUNKS = 1_000_000  # each is a file
_KEYS = ("chunk_size", "axes", "zip")
_TABLES = (*TABLES, "sweep")


@dataclass(frozen=True)
class SweepCell:
    """One problem of a sweep.

    Attributes:
        coordinates: axis -> value: "alpha", "noise_level", "learning_rate" and those of the sweep, such as "dynamics"
            or "basin.radius".
        config: the run that the cell belongs to.
        cell: the cell of that run.
    """

    coordinates: dict[str, Any]
    config: RunConfig
    cell: Cell


@dataclass(frozen=True)
class SweepConfig:
    """A sweep: its cells in order, and how many trajectories a chunk of one has.

    Attributes:
        tables: the tables as the file has them; `parse_sweep` makes the same sweep of them.
        cells: every problem.
        chunk_size: trajectories a chunk.
    """

    tables: dict[str, Any]
    cells: tuple[SweepCell, ...]
    chunk_size: int

    def num_chunks(self, index: int) -> int:
        """How many chunks a cell has; a quasi-stationary rate is one piece."""
        run = self.cells[index].config.run
        return 1 if run.method == "quasi_stationary" else -(-run.num_trajectories // self.chunk_size)

    def bounds(self, index: int, chunk: int) -> tuple[int, int]:
        """The first trajectory of a chunk, and the one after its last."""
        total = self.cells[index].config.run.num_trajectories
        if self.cells[index].config.run.method == "quasi_stationary":
            return 0, total
        return chunk * self.chunk_size, min((chunk + 1) * self.chunk_size, total)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Every (cell, chunk)."""
        return ((index, chunk) for index in range(len(self.cells)) for chunk in range(self.num_chunks(index)))


def whole_cells(config: RunConfig) -> SweepConfig:
    """A run as a sweep, each cell in one chunk."""
    size = config.run.num_trajectories
    found = tuple(SweepCell(coordinates(config, cell), config, cell) for cell in cells(config))
    return SweepConfig({**config.to_dict(), "sweep": {"chunk_size": size}}, found, size)


def load_sweep(path: str | os.PathLike[str]) -> SweepConfig:
    """Reads a sweep from a TOML file.

    Args:
        path: the file. Relative paths in it are taken from its folder.

    Returns:
        The checked sweep.

    Raises:
        ConfigError: if the file cannot be read, is not TOML, or does not describe a sweep; the message names the file.
    """
    with naming(path):
        tables = read_toml(Path(path))
        noises = tables.get("noise")
        for noise in noises if isinstance(noises, list) else [noises]:
            beside(path, noise, "file")
        _files_beside(path, tables)
        return parse_sweep(tables)


def parse_sweep(tables: Mapping[str, Any]) -> SweepConfig:
    """Makes a sweep of the tables of a run file, with these additions.

    `[[basin]]` written several times (landscape, dynamics, noise alike) gives alternatives, named by their `label`, or
    else by their kind. `[sweep.axes]` has lists of values for any key: `"basin.radius" = [1.0, 2.0]`. `[sweep] zip` has
    lists of axes that go together: `[["basin", "run.dt"]]`; all others are crossed. The lists of alpha, noise_level and
    learning_rate sweep as in a run, fastest. `[sweep] chunk_size` is the number of trajectories a chunk.

    Args:
        tables: table name -> {key: value}, or a list of such tables.

    Raises:
        ConfigError: for the first thing that is wrong.

    Example:
        >>> sweep = parse_sweep({
        ...     "landscape": {"kind": "quadratic", "hessian": 1.0}, "basin": {"kind": "ball", "radius": 1.0},
        ...     "dynamics": [{"kind": "sgd"}, {"kind": "momentum", "learning_rate": 0.1, "beta": 0.9}],
        ...     "noise": {"kind": "independent", "alpha": [1.2, 1.8]}, "run": {"noise_level": 0.1, "dt": 0.05},
        ...     "sweep": {"axes": {"basin.radius": [1.0, 2.0]}},
        ... })
        >>> len(sweep.cells), sweep.cells[-1].coordinates["dynamics"], sweep.cells[-1].coordinates["basin.radius"]
        (8, 'momentum', 2.0)
    """
    if not isinstance(tables, Mapping):
        raise ConfigError(f"A sweep is a mapping of tables, not {show(tables)}. Give {listing(_TABLES)}.")
    for name in tables:
        if name not in _TABLES:
            raise ConfigError(f"[{bare(name)}] is unknown: {nearest(name, _TABLES)}The tables are {listing(_TABLES)}.")
    settings = tables.get("sweep", {})
    if not isinstance(settings, Mapping):
        raise ConfigError(f"sweep = {show(settings)} is not a table. Write [sweep] and its keys below it.")
    for name in settings:
        if name not in _KEYS:
            raise ConfigError(
                f"[sweep] {bare(name)} is unknown: {nearest(name, _KEYS)}The keys here are {listing(_KEYS)}."
            )
    chunk_size = integer(1, 2**31 - 1)(settings.get("chunk_size", CHUNK_SIZE), "[sweep] chunk_size")
    axes = {**_alternatives(tables), **_axes(settings.get("axes", {}))}
    found: list[SweepCell] = []
    for values in _combinations(axes, _groups(settings.get("zip", []), axes)):
        config = _variant(tables, values)
        named = {name: value["label"] if name in TABLES else value for name, value in values.items()}
        found += [SweepCell({**named, **coordinates(config, cell)}, config, cell) for cell in cells(config)]
        if len(found) > MAX_CELLS:
            raise ConfigError(f"[sweep] makes more than {MAX_CELLS} cells. Give shorter lists, or pair them with zip.")
    sweep = SweepConfig(dict(tables), tuple(found), chunk_size)
    chunks = sum(map(sweep.num_chunks, range(len(found))))
    if chunks > MAX_CHUNKS:
        raise ConfigError(
            f"[sweep] chunk_size = {chunk_size} makes {chunks} chunks, more than {MAX_CHUNKS}. Give a larger one."
        )
    return sweep


def _files_beside(path: str | os.PathLike[str], tables: dict[str, Any]) -> None:
    """Takes the relative paths of an axis of files from the folder of the sweep's file."""
    sweep = tables.get("sweep")
    axes = sweep.get("axes") if isinstance(sweep, dict) else None
    if not isinstance(axes, dict):
        return
    inner = axes.get("noise")
    for table, key in ((axes, "noise.file"), (inner if isinstance(inner, dict) else {}, "file")):
        if isinstance(table.get(key), list):
            items = [{"file": item} for item in table[key]]
            for item in items:
                beside(path, item, "file")
            table[key] = [item["file"] for item in items]


def _alternatives(tables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Axes of whole tables, each alternative with a label of its own."""
    axes = {}
    for name, given in tables.items():
        if name == "sweep" or not isinstance(given, list):
            continue
        if name == "run" or not given or not all(isinstance(item, Mapping) for item in given):
            raise ConfigError(f"[[{name}]] is no list of alternatives. Write [{name}] once, or sweep it by its keys.")
        labels = [item.get("label", item.get("kind")) for item in given]
        for label in labels:
            if not isinstance(label, str) or labels.count(label) > 1:
                raise ConfigError(
                    f"[[{name}]] has {labels.count(label)} alternatives called {show(label)}. "
                    'Give each a label = "..." of its own.'
                )
        axes[name] = [{**item, "label": label} for item, label in zip(given, labels, strict=True)]
    return axes


def _axes(given: Any) -> dict[str, list[Any]]:
    """Axes of single keys, by "table.key"; TOML's own dotted keys give the same."""
    if not isinstance(given, Mapping):
        raise ConfigError(f'[sweep] axes = {show(given)} is not a table. Write [sweep.axes] and "table.key" = [...].')
    axes: dict[str, list[Any]] = {}
    for name, values in given.items():
        inner = values if isinstance(values, Mapping) else None
        for full, items in (
            {f"{name}.{key}": items for key, items in inner.items()}.items() if inner else [(name, values)]
        ):
            table = full.split(".")[0]
            if table not in TABLES or full.count(".") != 1:
                raise ConfigError(f'[sweep.axes] {show(full)} is no key of a run. Name it "table.key", "basin.radius".')
            if not isinstance(items, (list, tuple)) or not items:
                raise refuse(items, f"[sweep.axes] {full}", "a list of one or more values")
            axes[full] = list(items)
    return axes


def _groups(given: Any, axes: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """The axes in groups that go together, in the order of the axes."""
    if not isinstance(given, list) or not all(isinstance(group, list) for group in given):
        raise refuse(given, "[sweep] zip", 'a list of lists of axes, such as [["basin", "run.dt"]]')
    taken: list[str] = []
    for name in itertools.chain.from_iterable(given):
        if not isinstance(name, str) or name not in axes or name in taken:
            known = f"The axes are {listing(axes)}." if axes else "There are no axes."
            raise ConfigError(f"[sweep] zip names {show(name)} {'twice' if name in taken else 'unknown'}. {known}")
        taken.append(name)
    for group in given:
        lengths = [len(axes[name]) for name in group]
        if len(set(lengths)) > 1:
            raise ConfigError(
                f"[sweep] zip pairs {listing(group)}, which have {lengths} values. Make them equally long."
            )
    groups = [group for group in given if group] + [[name] for name in axes if name not in taken]
    total = math.prod(len(axes[group[0]]) for group in groups)
    if total > MAX_CELLS:
        raise ConfigError(f"[sweep] makes {total} combinations, more than {MAX_CELLS}. Give shorter lists.")
    return sorted(groups, key=lambda group: list(axes).index(group[0]))


def _combinations(axes: Mapping[str, Sequence[Any]], groups: list[list[str]]) -> Iterator[dict[str, Any]]:
    for places in itertools.product(*(range(len(axes[group[0]])) for group in groups)):
        yield {name: axes[name][place] for group, place in zip(groups, places, strict=True) for name in group}


def _variant(tables: Mapping[str, Any], values: Mapping[str, Any]) -> RunConfig:
    """The run of one combination of values."""
    made = {name: given for name, given in tables.items() if name != "sweep"}
    for name, value in values.items():
        if name in TABLES:
            made[name] = {key: item for key, item in value.items() if key != "label"}
    for name, value in values.items():
        table, _, key = name.partition(".")
        if key and isinstance(made.get(table, {}), Mapping):
            made[table] = {**made.get(table, {}), key: value}
    try:
        return parse(made)
    except ConfigError as error:
        if not values:
            raise
        shown = ", ".join(f"{cut(k)} = {show(v['label'] if k in TABLES else v)}" for k, v in values.items())
        raise ConfigError(f"{error} (where {shown})") from None
