"""Records: JSON files that carry the version of their layout, and are read by every later levyjax.

A version counts changes that a reader has to know of; a new key is none. What was written before there were versions
is version 0. Whoever changes the layout raises `SCHEMA_VERSION`, gives `_UPGRADES` the way from the version before,
and keeps a record of each version under tests/data.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from levyjax.input import read_bounded
from levyjax.output import PathLike, write_json

SCHEMA_VERSION = 1

_MAX_BYTES = 1 << 30

Record = dict[str, Any]


def write_record(path: PathLike, record: Mapping[str, Any]) -> Record:
    """Writes a record as JSON, as `output.write_bytes` does, and returns it, now with its "schema_version"."""
    versioned = {"schema_version": SCHEMA_VERSION, **record}
    write_json(path, versioned)
    return versioned


def read_record(path: PathLike, keys: Iterable[str] = ()) -> Record:
    """A record of this or any earlier version, in the layout of now.

    Args:
        path: a JSON file that levyjax has written.
        keys: what has to be in it.

    Returns:
        The record; its "schema_version" is the one of now.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no record, or of a newer version.
    """
    record, name = _load(Path(path)), Path(path).name[:60]
    version = record.get("schema_version", 0)
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise ValueError(f"{name} is damaged: its schema_version is not a whole number.")
    if version > SCHEMA_VERSION:
        raise ValueError(f"{name} was written by a newer levyjax (schema {version}). Update levyjax.")
    for step in range(version, SCHEMA_VERSION):
        record = _UPGRADES[step](record)
    missing = [key for key in keys if key not in record]
    if missing:
        raise ValueError(f"{name} is damaged, or no such record: {missing[0]} is missing.")
    return {**record, "schema_version": SCHEMA_VERSION}


def _load(path: Path) -> Record:
    try:
        record = json.loads(read_bounded(path, _MAX_BYTES))
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise ValueError(f"{path.name[:60]} is damaged: it does not hold the JSON of a record.")
    return record


def _unchanged(record: Record) -> Record:
    return record


_UPGRADES: dict[int, Callable[[Record], Record]] = {0: _unchanged}  # from this version to the next
