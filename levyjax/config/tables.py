"""The tables of a run: which kinds each may name, and what a file has in one of them."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from levyjax import keys
from levyjax.keys import TABLES, Key, Kind, keys_of

__all__ = ["TABLES", "Section", "keys_of", "kinds"]


@functools.cache
def kinds() -> dict[str, dict[str, Kind]]:
    """Every kind of each table; the packages that define them import jax."""
    from levyjax import basins, dynamics, landscapes, noise  # noqa: F401
    from levyjax.config import captured  # noqa: F401

    return keys.KINDS


@dataclasses.dataclass(frozen=True)
class Section:
    """What a run has in a table: its kind, and the checked values of all its keys as attributes.

    Example:
        >>> section = Section.of("basin", "ball", {"radius": 1})
        >>> section.kind, section.radius, section.center
        ('ball', 1.0, None)
    """

    table: str
    kind: str
    values: dict[str, Any]

    @classmethod
    def of(cls, table: str, kind: str, values: Mapping[str, Any]) -> "Section":
        """Checks the values of a table."""
        return cls(table, kind, keys.checked(kinds()[table][kind], values))

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"[{vars(self).get('table')}] has no key {name!r}")

    def __hash__(self) -> int:
        return hash((self.table, self.kind, tuple(self.values.items())))

    @property
    def owner(self) -> Kind:
        """What the kind stands for."""
        return kinds()[self.table][self.kind]

    @property
    def swept(self) -> Key | None:
        """The first key whose list sweeps."""
        return next((one for one in self.owner.keys if one.swept), None)

    def make(self, **given: Any) -> Any:
        """The object; `given` is what the run gives (see `keys.key`), and values that take the place of swept ones."""
        arguments = {field: given[name] for field, name in self.owner.given.items()}
        for one in self.owner.keys:
            value = given.get(one.name, self.values[one.name]) if one.swept else self.values[one.name]
            if value is not None or one.given is None:
                arguments[one.field] = value * given["identity"] if _times_identity(one, value) else value
        return self.owner.make(**arguments)


def _times_identity(one: Key, value: Any) -> bool:
    return one.given == "identity" and isinstance(value, (int, float))


def __getattr__(name: str) -> Any:
    if name == "KINDS":
        return kinds()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
