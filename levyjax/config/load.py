"""From a TOML file to a checked `RunConfig`."""

import contextlib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from levyjax.checks import ConfigError, listing, nearest, show
from levyjax.config.schema import RunConfig, RunSettings
from levyjax.config.tables import Section, kinds
from levyjax.keys import TABLES, keys_of, required_keys

MAX_BYTES = 16 * 2**20


def load(path: str | os.PathLike[str]) -> RunConfig:
    """Reads a run from a TOML file.

    Args:
        path: the file.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: if the file cannot be read, is not TOML, or does not describe a run; the message names the file.
    """
    with naming(path):
        mapping = read_toml(Path(path))
        beside(path, mapping.get("noise"), "file")
        return parse(mapping)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    name = f"...{str(path)[-60:]}" if len(str(path)) > 63 else str(path)
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def beside(path: str | os.PathLike[str], table: Any, key: str) -> None:
    """Takes a relative path in a table from the folder of its file; the whole path holds from everywhere."""
    if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
        try:
            table[key] = str(Path(path).absolute().parent / Path(table[key]).expanduser())
        except RuntimeError:
            raise ConfigError(f"{key} = {show(table[key])} names a user without a home. Give the whole path.") from None


def parse(mapping: Mapping[str, Any]) -> RunConfig:
    """Makes a run of nested tables, as `tomllib` returns them; None stands for an absent key.

    Args:
        mapping: table name -> {key: value}.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: for the first thing that is wrong, saying what was given, what is allowed and what to do.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"A run is a mapping of tables, not {show(mapping)}. Give the tables {_tables(TABLES)}.")
    if not mapping:
        raise ConfigError(f"There is nothing here. A run needs the tables {_tables(TABLES)}.")
    for name in mapping:
        _check_table_name(name, mapping[name])
    missing = [name for name in TABLES if name not in mapping]
    if missing:
        raise ConfigError(f"[{missing[0]}] is missing. A run needs the tables {_tables(TABLES)}; add it.")
    return RunConfig(**{name: _section(name, mapping[name]) for name in TABLES})


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, or a `ConfigError` that says why there are none."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file. Check the path.") from None
    except IsADirectoryError:
        raise ConfigError("this is a folder. Give the TOML file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"the file cannot be read ({reason}). Check the path and its permissions.") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES // 2**20} MiB. Give a short TOML file.")
    return _decode(data)


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file; a pipe that nobody writes to is empty, where `open` would wait for ever."""
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(file, True)
    return file


def _decode(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8. Save the file as UTF-8 text.") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not valid TOML: {str(error)[:160]}. Correct it there.") from None
    except RecursionError:
        raise ConfigError("the lists or tables are nested too deeply. A matrix is a list of lists.") from None
    except ValueError:  # an integer with more digits than Python converts
        raise ConfigError("a number in the file has too many digits. Write it like 1e-3.") from None


def _check_table_name(name: Any, value: Any) -> None:
    if name not in TABLES and not isinstance(value, Mapping):
        raise ConfigError(f"{show(name)} = {show(value)} stands outside the tables. {_home(name)}")
    if name not in TABLES:
        raise ConfigError(f"[{bare(name)}] is unknown: {nearest(name, TABLES)}The tables are {_tables(TABLES)}.")
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} = {show(value)} is not a table. Write [{name}] and its keys below it.")


def _section(name: str, given: Mapping[Any, Any]) -> Any:
    values = {key: value for key, value in given.items() if value is not None}
    owner: Any = RunSettings if name == "run" else kinds()[name][_kind_of(name, values)]
    for key in values:
        if key not in keys_of(owner):
            raise _unknown_key(name, key, owner)
    for key in required_keys(owner):
        if key not in values:
            raise ConfigError(
                f"[{name}] {key} is missing{_of_kind(owner)}. Its keys are {listing(keys_of(owner))}; add it."
            )
    return RunSettings(**values) if name == "run" else Section.of(name, owner.kind, values)


def _kind_of(name: str, values: dict[Any, Any]) -> str:
    """Takes the kind out of the values."""
    known = kinds()[name]
    if "kind" not in values:
        raise ConfigError(f"[{name}] kind is missing. Add one of {listing(known)}.")
    kind = values.pop("kind")
    if isinstance(kind, str) and kind in known:
        return kind
    raise ConfigError(f"[{name}] kind = {show(kind)} is unknown: {nearest(kind, known)}Allowed are {listing(known)}.")


def _unknown_key(name: str, key: Any, owner: Any) -> ConfigError:
    names = keys_of(owner)
    meant = next((f'did you mean "{one.name}"? ' for one in owner.keys if one.field == key), "")
    return ConfigError(
        f"[{name}] {bare(key)} is unknown{_of_kind(owner)}: {meant or nearest(key, names) or _home(key) + ' '}"
        f"The keys here are {listing(names) or 'none but kind'}."
    )


def _home(key: Any) -> str:
    """Where a misplaced key belongs, as a sentence."""
    if key in keys_of(RunSettings):
        return "It belongs under [run]."
    for name, known in kinds().items():
        found = [kind for kind, owner in known.items() if key in keys_of(owner)]
        if found:
            return f"It belongs under [{name}] with kind = {listing(found)}."
    return "Take it out."


def _of_kind(owner: Any) -> str:
    kind = getattr(owner, "kind", None)
    return f' (kind = "{kind}")' if kind else ""


def bare(name: Any) -> str:
    """A key or table name, quoted only where TOML would need it."""
    return name if isinstance(name, str) and name.replace("_", "").isalnum() and len(name) <= 60 else show(name)


def _tables(names: Iterable[str]) -> str:
    return ", ".join(f"[{name}]" for name in names)
