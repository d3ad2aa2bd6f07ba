"""The reference of the run file, from the docstrings of the classes that check it."""

import dataclasses
import inspect
import re
from typing import Any

from levyjax.config.schema import RunSettings
from levyjax.config.tables import KINDS

_INTRO = """# The run file

A run is a TOML file with the tables `[landscape]`, `[basin]`, `[dynamics]`, `[noise]` and `[run]`; `levyjax predict`
and `levyjax escape` read it. Lists of `alpha`, `noise_level` and `learning_rate` sweep, and cross. A wrong file is
refused with a sentence that says what was given, what is allowed and what to do. A [sweep file](howto/sweep.md) has
`[sweep]` besides, and a training run tables of its own ([Measure the noise of a network](howto/noise.md)).
"""


def runfile_page() -> str:
    """Every table with its kinds, and every key with its meaning and default."""
    parts = [_INTRO]
    for name, kinds in KINDS.items():
        parts.append(f"## [{name}]")
        parts += [part for kind, cls in kinds.items() for part in (f'### kind = "{kind}"', _described(cls))]
    return "\n\n".join([*parts, "## [run]", _described(RunSettings)]) + "\n"


def _described(cls: Any) -> str:
    """The docstring's claim, and a table of all keys."""
    doc = inspect.getdoc(cls) or ""
    text = re.split(r"^(?:Args|Example):$", doc, maxsplit=1, flags=re.M)[0]
    arguments = re.split(r"^Args:$", doc, maxsplit=1, flags=re.M)[1:]
    found = re.findall(r"^    (\w[\w, ]*): (.*?)(?=^    \w[\w, ]*: |^\S|\Z)", "".join(arguments), re.M | re.S)
    about = {name: meaning for names, meaning in found for name in names.split(", ")}
    rows = [
        f"| `{field.name}` | {_default(field)} | {_plain(about.get(field.name, ''))} |"
        for field in dataclasses.fields(cls)
    ]
    return _plain(text) + ("\n\n" + "\n".join(["| key | default | |", "| --- | --- | --- |", *rows]) if rows else "")


def _default(field: Any) -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None:
        return ""
    value = str(field.default).lower() if isinstance(field.default, bool) else field.default
    return f'`"{value}"`' if isinstance(field.default, str) else f"`{value}`"


def _plain(text: str) -> str:
    """One line in which Markdown finds no markup but `code`."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = [re.sub(r"([\\*_|<$\[\]^~])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
