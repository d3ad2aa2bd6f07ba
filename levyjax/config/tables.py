"""What turns a class of keys into a checked, registered table of the TOML file."""

import dataclasses
from collections.abc import Iterable
from typing import Any, dataclass_transform

from levyjax.config.checks import Check, ConfigError

TABLES = ("landscape", "basin", "dynamics", "noise", "run")
KINDS: dict[str, dict[str, type]] = {name: {} for name in TABLES if name != "run"}


def key(
    check: Check, *, default: Any = dataclasses.MISSING, coordinates: int | None = None, swept_lists: bool = False
) -> Any:
    """A key of a table.

    Args:
        check: takes the given value and its place, returns the value to keep or raises `ConfigError`.
        default: the value when the key is absent; without one the key is required.
        coordinates: set for a list or matrix with an entry for each coordinate: 0, or how many entries it lacks.
        swept_lists: the value is a list of such lists, to sweep over.
    """
    metadata = {"check": check, "coordinates": coordinates, "swept_lists": swept_lists}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(key,))
def table(name: str, kind: str | None = None):
    """Makes a class a frozen dataclass whose values are checked when it is built, and registers it under its kind.

    The class may define `check(self)` for what involves several of its keys.
    """

    def decorate(cls: type) -> type:
        cls.table, cls.kind, cls.__post_init__ = name, kind, _check_fields  # type: ignore[attr-defined]
        made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        if kind is not None:
            KINDS[name][kind] = made
        return made

    return decorate


def keys_of(cls: type) -> tuple[str, ...]:
    """The keys of a table, in order."""
    return tuple(field.name for field in dataclasses.fields(cls))


def required_keys(cls: type) -> tuple[str, ...]:
    """The keys of a table that have no default."""
    return tuple(field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING)


def to_dict(section: Any) -> dict[str, Any]:
    """One table as TOML would hold it: lists for tuples, and no keys that are absent."""
    values = {name: getattr(section, name) for name in keys_of(type(section))}
    kept = {name: _as_lists(value) for name, value in values.items() if value is not None}
    return kept if section.kind is None else {"kind": section.kind, **kept}


def sizes(section: Any) -> list[tuple[str, int]]:
    """How many coordinates each list or matrix of a table has, with its place: `("[basin] lower", 2)`."""
    found = []
    for field in dataclasses.fields(section):
        value, lacking = getattr(section, field.name), field.metadata["coordinates"]
        where_from = f"[{section.table}] {field.name}"
        if lacking is not None and isinstance(value, tuple):
            lists = [(f"{where_from}[{i}]", row) for i, row in enumerate(value)]
            for where, row in lists if field.metadata["swept_lists"] else [(where_from, value)]:
                found.append((where, len(row) + lacking))
    return found


def check_sizes(found: Iterable[tuple[str, int]]) -> None:
    """Refuses lists and matrices that do not agree in their number of coordinates, naming two that differ."""
    found = list(found)
    for where_from, size in found[1:]:
        if size != found[0][1]:
            raise ConfigError(
                f"{found[0][0]} has {_coordinates(found[0][1])} but {where_from} has {size}. "
                "Give every list one entry for each coordinate."
            )


def _coordinates(count: int) -> str:
    return f"{count} coordinate" + "s" * (count != 1)


def _check_fields(self: Any) -> None:
    for field in dataclasses.fields(self):
        value = getattr(self, field.name)
        if value is None and field.default is None:
            continue
        object.__setattr__(self, field.name, field.metadata["check"](value, f"[{self.table}] {field.name}"))
    check_sizes(sizes(self))
    if hasattr(self, "check"):
        self.check()


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value
