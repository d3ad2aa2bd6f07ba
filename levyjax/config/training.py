"""From a TOML file to a checked training run: `[training]` has the keys of `TrainConfig`."""

import dataclasses
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levyjax.checks import Check, ConfigError, boolean, finite, integer, listing, nearest, refuse, show, text
from levyjax.config.load import bare, beside, naming, read_toml
from levyjax.keys import key, keys_of, table

if TYPE_CHECKING:
    from levyjax.training import TrainConfig

_EVERY = "capture_every"
_MOST_CAPTURES = 100_000
_TABLES = ("training", "monitors")


@table("monitors")
class MonitorSettings:
    """The table `[monitors]` of a training run: what to look at once it has ended.

    Args:
        tails: audit each capture by layer, with a calibration on Gaussian and stable noise of its shape.
        path: the loss on the line and on a minimum-energy path between the first and the last of `keep_at`.
        curvature: how many of the largest eigenvalues of the Hessian to find at the end, with its trace.
    """

    tails: bool = key(boolean, default=False)
    path: bool = key(boolean, default=False)
    curvature: int = key(integer(0, 100), default=0)


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """A training run as its file has it."""

    training: "TrainConfig"
    monitors: MonitorSettings


def load_training(path: str | os.PathLike[str], changes: Mapping[str, Any] | None = None) -> TrainingRun:
    """Reads a training run from a TOML file.

    Args:
        path: the file. A relative `data_dir` is taken from its folder.
        changes: keys of `[training]` that take the place of the file's.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or does not describe a training run.
    """
    with naming(path):
        tables = read_toml(Path(path))
        beside(path, tables.get("training"), "data_dir")
        return parse_training(tables, changes)


def parse_training(tables: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> TrainingRun:
    """Makes a training run of nested tables, as `tomllib` returns them.

    `capture_every = N` stands for `capture_at` = 0, N, 2N, ... up to `iterations`; without either, noise is captured
    at the end. The default of `record_every` is a tenth of the iterations, that of `learning_rate` 0.1 for sgd and
    0.001 for adam.

    Raises:
        ConfigError: for the first thing that is wrong, saying what was given, what is allowed and what to do.

    Example:
        >>> run = parse_training({"training": {"data": "synthetic", "iterations": 10, "capture_every": 5}})
        >>> run.training.capture_at, run.monitors.tails
        ((0, 5, 10), False)
    """
    from levyjax.training import TrainConfig  # imports jax

    if not isinstance(tables, Mapping):
        raise ConfigError(f"A training run is a mapping of tables, not {show(tables)}. Give {listing(_TABLES)}.")
    for name, value in tables.items():
        if name not in _TABLES:
            raise ConfigError(
                f"[{bare(name)}] is unknown: {nearest(name, _TABLES)}A training run has [training], [monitors]."
            )
        if not isinstance(value, Mapping):
            raise ConfigError(f"{bare(name)} = {show(value)} is not a table. Write [{name}] and its keys below it.")
    if "training" not in tables:
        raise ConfigError('[training] is missing. Add it, with for example data = "digits" below it.')
    changes = dict(changes or {})
    captures = ("capture_at", _EVERY) if {"capture_at", _EVERY} & set(changes) else ()
    kept = {name: value for name, value in tables["training"].items() if name not in captures}
    values = _typed(TrainConfig, kept | changes)
    monitors = tables.get("monitors", {})
    _check_names("monitors", monitors, keys_of(MonitorSettings))
    try:
        run = TrainingRun(TrainConfig(**values), MonitorSettings(**monitors))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"[training] {error}") from None
    _check_monitors(run)
    return run


def _typed(cls: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    _check_names("training", given, (*hints, _EVERY))
    values = {
        name: _check_of(hints[name])(value, f"[training] {name}") for name, value in given.items() if name in hints
    }
    if _EVERY in given and "capture_at" in given:
        raise ConfigError("[training] capture_at and capture_every say the same thing twice. Leave one of them out.")
    iterations = values.get("iterations", cls.iterations)
    every = integer(1, 2**31 - 1)(given[_EVERY], f"[training] {_EVERY}") if _EVERY in given else None
    if every and iterations // every > _MOST_CAPTURES:
        raise ConfigError(
            f"[training] {_EVERY} = {every} makes {iterations // every} captures, and {_MOST_CAPTURES} are allowed. "
            "Give a larger one."
        )
    defaults = {
        "capture_at": tuple(range(0, iterations + 1, every)) if every else (iterations,),
        "record_every": max(1, iterations // 10),
        "learning_rate": 0.001 if values.get("optimizer") == "adam" else cls.learning_rate,
    }
    return defaults | values


def _check_names(table_name: str, given: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in given:
        if name not in names:
            raise ConfigError(
                f"[{table_name}] {bare(name)} is unknown: {nearest(name, names)}The keys here are {listing(names)}."
            )


def _check_of(hint: Any) -> Check:
    """What takes a value of this type; `TrainConfig` itself says which of them make sense."""
    simple: dict[Any, Check] = {bool: boolean, int: _whole, float: finite, str: text}
    return simple.get(hint) or (_wholes if typing.get_origin(hint) is tuple else text)


def _whole(value: Any, where: str) -> int:
    return integer(-(2**31), 2**31 - 1)(value, where)


def _wholes(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        raise refuse(value, where, "a list of whole numbers")
    return tuple(_whole(item, f"{where}[{index}]") for index, item in enumerate(value))


def _check_monitors(run: TrainingRun) -> None:
    from levyjax.training.scales import FEWEST_BATCHES

    training = run.training
    if run.monitors.tails and (not training.capture_at or training.capture != "samples"):
        raise ConfigError(
            '[monitors] tails needs samples of noise. Give [training] capture = "samples" and capture_at or '
            "capture_every."
        )
    if run.monitors.tails and training.num_batches < FEWEST_BATCHES:
        raise ConfigError(
            f"[monitors] tails needs more than {training.num_batches} mini-batches. "
            f"Give [training] num_batches of {FEWEST_BATCHES} or more."
        )
    if run.monitors.path and len(set(training.keep_at)) < 2:
        raise ConfigError("[monitors] path needs two points to go between. Give two iterations in [training] keep_at.")
