"""What a class says of its fields once: the check, the default, and the key that a run file has for it.

A field declared by `key` is checked when an object is made, and `piece` gives the class a place in the run file: there
its fields are the keys of a table. Neither jax nor NumPy is imported here.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, dataclass_transform

from levyjax.checks import Check, ConfigError, plain

T = TypeVar("T")
TABLES = ("landscape", "basin", "dynamics", "noise", "run")


class Key(NamedTuple):
    """A key of a table.

    Attributes:
        name: as the file has it.
        field: the argument of the class.
        check: takes the file's value and its place, returns the value to keep or raises `ConfigError`.
        default: where the file has none; `dataclasses.MISSING` where it must.
        coordinates: for a list or matrix with an entry for each coordinate 0, or how many entries it lacks.
        swept: whether a list of values sweeps.
        given: what the run gives where the file has none, such as "minimum".
    """

    name: str
    field: str
    check: Check
    default: Any
    coordinates: int | None
    swept: bool
    given: str | None


class Kind(NamedTuple):
    """What `kind = "..."` in a table of a run file stands for.

    Attributes:
        table: "landscape", "basin", "dynamics" or "noise".
        kind: its name there.
        cls: the class whose fields are the keys, and whose docstring says what they mean.
        make: takes them and gives the object.
        keys: those that a file may have.
        given: field -> what the run gives, for arguments that no file has, such as the landscape of a sublevel set.
    """

    table: str
    kind: str
    cls: Any
    make: Callable[..., Any]
    keys: tuple[Key, ...]
    given: dict[str, str]


KINDS: dict[str, dict[str, Kind]] = {name: {} for name in TABLES if name != "run"}


def key(
    check: Check | None = None,
    *,
    default: Any = dataclasses.MISSING,
    name: str | None = None,
    coordinates: Any = None,
    swept: Check | None = None,
    given: str | None = None,
    static: bool = False,
) -> Any:
    """A field of a dataclass: an argument of its constructor, and a key of a run file's table.

    Args:
        check: takes the given value and its name, returns the value to keep or raises `ConfigError`; without one the
            file has no such key.
        default: the value when it is not given; without one it is required.
        name: the file's key, where it is not the field's name.
        coordinates: set for a list or matrix with an entry for each coordinate: 0, or how many entries it lacks;
            "channels" for one with an entry for each column of the noise's scale.
        swept: the check in the file, where a list sweeps: `checks.sweep(check)`.
        given: what the run gives where the file has no value: "identity" (a vector of ones) or "dimension"; to a
            landscape "start", and to a basin "landscape" or its "minimum".
        static: whether the field is part of the compiled program, not an array.
    """
    metadata = {"check": check, "name": name, "coordinates": coordinates, "swept": swept, "given": given}
    return dataclasses.field(default=default, metadata=metadata | {"static": static})


def piece(
    table: str, kind: str, *, without: Iterable[str] = (), make: Callable[..., Any] | None = None, **defaults: Any
) -> Callable[[type[T]], type[T]]:
    """Gives a dataclass, most often a `pytree`, its name in run files: `kind = "..."` in one of their tables.

    Args:
        table: "landscape", "basin", "dynamics" or "noise".
        kind: the name.
        without: fields that are no keys there.
        make: takes the keys and gives the object; default the class itself.
        defaults: of keys, where they are not those of the fields.
    """

    def register(cls: type[T]) -> type[T]:
        found = [_replaced(one, defaults) for one in _keys_of_fields(cls) if one.field not in without]
        fields: Any = dataclasses.fields(cls)  # type: ignore[arg-type]
        given = {field.name: field.metadata["given"] for field in fields if field.metadata.get("given")}
        KINDS[table][kind] = Kind(table, kind, cls, make or cls, tuple(found), given)
        return cls

    return register


def _keys_of_fields(cls: Any) -> list[Key]:
    found = []
    for field in dataclasses.fields(cls):
        about = field.metadata
        if about.get("check") is not None:
            default = None if about["given"] else field.default
            check, swept = about["swept"] or about["check"], about["swept"] is not None
            name = about["name"] or field.name
            found.append(Key(name, field.name, check, default, about["coordinates"], swept, about["given"]))
    return found


def _replaced(one: Key, defaults: Mapping[str, Any]) -> Key:
    return one._replace(default=defaults[one.field]) if one.field in defaults else one


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(key,))
def table(name: str):
    """Makes a class a frozen dataclass of the keys of a table that has no kinds, checked when it is built.

    The class may define `check(self)` for what involves several of its keys.
    """

    def decorate(cls: type) -> type:
        cls.table, cls.kind, cls.__post_init__ = name, None, _check_table  # type: ignore[attr-defined]
        made: Any = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        made.keys = tuple(_keys_of_fields(made))
        return made

    return decorate


def _check_table(self: Any) -> None:
    for name, value in checked(self, vars(self)).items():
        object.__setattr__(self, name, value)
    if hasattr(self, "check"):
        self.check()


def keys_of(owner: Any) -> tuple[str, ...]:
    """The names of all keys of a kind, or of a class made by `table`, in order."""
    return tuple(one.name for one in owner.keys)


def required_keys(owner: Any) -> tuple[str, ...]:
    """The names of those that have no default."""
    return tuple(one.name for one in owner.keys if one.default is dataclasses.MISSING)


def checked(owner: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all keys, each by its check, those that are absent at their defaults; lists agree in their sizes.

    Raises:
        ConfigError: a value that its check refuses, or lists of different numbers of coordinates.
    """
    kept = {}
    for one in owner.keys:
        value = plain(values.get(one.name, one.default))
        absent = value is None and one.default is None
        kept[one.name] = value if absent else one.check(value, f"[{owner.table}] {one.name}")
    check_sizes(sizes(owner, kept))
    return kept


def to_dict(owner: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """One table as TOML would hold it: lists for tuples, and no keys that are absent."""
    kept = {name: _as_lists(values[name]) for name in keys_of(owner) if values[name] is not None}
    return kept if owner.kind is None else {"kind": owner.kind, **kept}


def sizes(owner: Any, values: Mapping[str, Any]) -> list[tuple[str, int]]:
    """How many coordinates each list or matrix of a table has, with its place: `("[basin] lower", 2)`."""
    found = []
    for one in owner.keys:
        value, where_from = values[one.name], f"[{owner.table}] {one.name}"
        if one.coordinates == "channels" and _is_matrix(values.get("scale")):
            continue  # its columns need not be as many as the coordinates: the class looks at them
        if one.coordinates is not None and isinstance(value, tuple):
            lack = 0 if one.coordinates == "channels" else one.coordinates
            lists = [(f"{where_from}[{i}]", row) for i, row in enumerate(value)] if one.swept else [(where_from, value)]
            found += [(where, len(row) + lack) for where, row in lists]
    return found


def _is_matrix(value: Any) -> bool:
    return isinstance(value, tuple) and isinstance(value[0], tuple)


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


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value
