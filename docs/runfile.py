"""The reference of the run file, from the classes that its kinds stand for and their docstrings."""

import dataclasses
import inspect
import re
from typing import Any

from levyjax.config.schema import RunSettings
from levyjax.config.tables import kinds
from levyjax.keys import Key

_INTRO = """# The run file

A run is a TOML file with the tables `[landscape]`, `[basin]`, `[dynamics]`, `[noise]` and `[run]`; `levyjax predict`
and `levyjax escape` read it. Lists of `alpha`, `noise_level` and `learning_rate` sweep, and cross. A wrong file is
refused with a sentence that says what was given, what is allowed and what to do. A number for a matrix is a matrix of
one row, or for `scale` that number times the identity; a list is its diagonal, a nested list its rows. A
[sweep file](howto/sweep.md) has `[sweep]` besides, and a training run tables of its own
([Measure the noise of a network](howto/noise.md)).
"""


def runfile_page() -> str:
    """Every table with its kinds, and every key with its meaning and default."""
    parts = [_INTRO]
    for name, owners in kinds().items():
        parts.append(f"## [{name}]")
        parts += [part for kind, one in owners.items() for part in (f'### kind = "{kind}"', _described(one, one.cls))]
    return "\n\n".join([*parts, "## [run]", _described(RunSettings, RunSettings)]) + "\n"


def _described(owner: Any, cls: Any) -> str:
    """The first paragraph of the docstring, and a table of all keys."""
    doc = inspect.getdoc(cls) or ""
    arguments = re.split(r"^Args:$", doc, maxsplit=1, flags=re.M)[1:]
    found = re.findall(r"^    (\w[\w, ]*): (.*?)(?=^    \w[\w, ]*: |^\S|\Z)", "".join(arguments), re.M | re.S)
    about = {name: meaning for names, meaning in found for name in names.split(", ")}
    rows = [f"| `{one.name}` | {_default(one)} | {_plain(_meaning(one, about))} |" for one in owner.keys]
    table = "\n".join(["| key | default | |", "| --- | --- | --- |", *rows])
    return _plain(doc.split("\n\n")[0]) + ("\n\n" + table if rows else "")


def _meaning(one: Key, about: dict[str, str]) -> str:
    sweeps = " A list sweeps." if one.swept else ""
    return about.get(one.field, "") + sweeps + (f" In Python `{one.field}`." if one.field != one.name else "")


def _default(one: Key) -> str:
    if one.default is dataclasses.MISSING:
        return "required"
    if one.default is None:
        return {"minimum": "the minimum", "identity": "the identity"}.get(one.given or "", "")
    value = str(one.default).lower() if isinstance(one.default, bool) else one.default
    value = list(value) if isinstance(value, tuple) else value
    return f'`"{value}"`' if isinstance(one.default, str) else f"`{value}`"


def _plain(text: str) -> str:
    """One line in which Markdown finds no markup but `code`."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = [re.sub(r"([\\*_|<$\[\]^~])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
