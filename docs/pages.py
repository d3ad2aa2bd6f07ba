"""Pages that are made when the documentation is built: reference, commands, claims, measurements, notebooks."""

import ast
import contextlib
import importlib
import inspect
import io
import itertools
import json
import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import levyjax


def write_all(docs: Path) -> None:
    """Writes every generated page below `docs`; git ignores them."""
    for folder in ("api", "notebooks"):
        shutil.rmtree(docs / folder, ignore_errors=True)
    for name, text in _made(docs).items():
        _write(docs / name, text)
    for notebook in sorted((docs.parent / "notebooks").glob("*.ipynb")):
        (docs / "notebooks").mkdir(exist_ok=True)
        shutil.copy(notebook, docs / "notebooks")


def _made(docs: Path) -> dict[str, str]:
    """Name -> text of every page that is made, but the notebooks."""
    import runfile

    return {**api_pages(), "command.md": command_page(), "runfile.md": runfile.runfile_page(), **result_pages(docs)}


def _write(path: Path, text: str) -> None:
    """Leaves a page that has not changed alone, so that a second build is quick."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


# Reference


def packages() -> Iterator[ModuleType]:
    """levyjax and its packages, which have names for their users; the command has a page of its own."""
    yield levyjax
    for found in pkgutil.iter_modules(levyjax.__path__):
        if found.ispkg and found.name != "cli":
            yield importlib.import_module(f"levyjax.{found.name}")


def public(package: ModuleType) -> dict[str, Any]:
    """The names of `__all__` that are no modules."""
    named = {name: getattr(package, name) for name in package.__all__ if name != "__version__"}
    return {name: thing for name, thing in named.items() if not inspect.ismodule(thing)}


def results(package: ModuleType) -> list[type]:
    """What its public functions return, where that is a class of the package without a public name."""
    if package is levyjax:  # what it names belongs to its packages
        return []
    found: dict[type, None] = {}
    for thing in public(package).values():
        made = inspect.signature(thing).return_annotation if inspect.isroutine(thing) else None
        if inspect.isclass(made) and made.__module__.startswith(f"{package.__name__}.") and not _is_public(made):
            found[made] = None
    return list(found)


def _is_public(thing: type) -> bool:
    return any(thing is named for package in packages() for named in public(package).values())


def documented(package: ModuleType, name: str) -> bool:
    """Whether a public name has a docstring, or a constant a comment."""
    thing = getattr(package, name)
    if not callable(thing):
        return bool(constant_comment(package, name))
    text = inspect.getdoc(thing) if inspect.isroutine(thing) else vars(thing).get("__doc__")
    return bool(text) and not text.startswith(f"{thing.__name__}(")  # what dataclasses write by themselves


def undocumented() -> list[str]:
    """Public names of all packages that nothing is said about."""
    return [f"{p.__name__}.{name}" for p in packages() for name in public(p) if not documented(p, name)]


def constant_comment(package: ModuleType, name: str) -> str:
    """What the source says of a constant: a comment on its line, or a string below it."""
    for module in _modules_of(package):
        source = inspect.getsource(module)
        lines = source.splitlines()
        for node in ast.parse(source).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                below = lines[node.end_lineno] if node.end_lineno < len(lines) else ""
                text = lines[node.lineno - 1].partition("  # ")[2] or below.partition('"""')[2]
                if text:
                    return text.strip('" .')
    return ""


def _modules_of(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.iter_modules(package.__path__):
        if not found.ispkg and found.name != "__main__":
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def api_pages() -> dict[str, str]:
    """A page for each package, and the list of them."""
    if missing := undocumented():
        raise ValueError(f"public names without a docstring: {', '.join(missing)}")
    found = list(packages())
    home: dict[int, str] = {}  # where a thing is described: in the first package that has it
    for package in found[1:]:
        for thing in public(package).values():
            home.setdefault(id(thing), package.__name__)
    pages = {f"api/{package.__name__}.md": _api_page(package, home) for package in found}
    rows = "\n".join(f"| [`{p.__name__}`]({p.__name__}.md) | {_first_line(p)} | {len(public(p))} |" for p in found)
    names = "\n".join(package.__name__ for package in found)
    pages["api/index.md"] = (
        "# Reference\n\nEvery public name, from the packages' `__all__`, and what the functions return. Names that are "
        "not here may change.\n\n"
        f"| package | | names |\n| --- | --- | --- |\n{rows}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )
    return pages


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _api_page(package: ModuleType, home: dict[int, str]) -> str:
    parts, blocks = [f"# {package.__name__}", inspect.getdoc(package) or ""], [f".. currentmodule:: {package.__name__}"]
    named: list[str] = []
    for name, thing in public(package).items():
        if not callable(thing):
            named.append(f"* `{name}`: {constant_comment(package, name)}. {_value(thing)}")
        elif (place := home[id(thing)]) != package.__name__:
            named.append(f"* `{name}`: [{place}.{name}]({place}.md)")
        else:
            blocks.append(f".. auto{'class' if inspect.isclass(thing) else 'function'}:: {name}")
    blocks += [f".. autoclass:: {one.__module__}.{one.__name__}" for one in results(package)]
    if named:
        parts.append("\n".join(named))
    if len(blocks) > 1:
        parts.append("```{eval-rst}\n" + "\n\n".join(blocks) + "\n```")
    return "\n\n".join(parts) + "\n"


def _value(thing: Any) -> str:
    """A constant's value, if it is short."""
    text = ", ".join(map(str, thing)) if isinstance(thing, tuple | dict) else str(thing)
    return f"`{text}`" if len(text) < 400 else ""


_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Source|Example):$")


def plain_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: what reStructuredText would take for markup is escaped, `code` is kept as code."""
    head = next((place for place, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    while head and not lines[head - 1].strip():
        head -= 1
    example = False
    for place, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        lines[place] = line if example else _escaped(line)
    paragraphs = "\n".join(lines[:head]).split("\n\n")
    lines[:head] = "\n\n".join(map(_as_written, paragraphs)).split("\n")


def _escaped(line: str) -> str:
    parts = line.split("`")
    if len(parts) % 2 == 0:
        return line
    parts[::2] = [re.sub(r"([\\*|]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
    parts[2::2] = [re.sub(r"^(?=[\w(])", r"\\ ", part) for part in parts[2::2]]
    return "``".join(parts)


def _as_written(paragraph: str) -> str:
    """A paragraph with lines set in keeps its lines, unless it is a list."""
    lines = paragraph.split("\n")
    if ">>>" in paragraph or re.match(r"\d\.|-|\\\*", lines[0]) or not any(line.startswith(" ") for line in lines):
        return paragraph
    joined = [lines[0]]
    for before, line in itertools.pairwise(lines):
        if _indent(before) == _indent(line) and not before.endswith((":", ";", ".")):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return "\n".join(f"| {line}" for line in joined)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def plain_signature(
    app: Any, what: str, name: str, thing: Any, options: Any, arguments: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Signatures without the annotation Any, which says nothing."""
    return (
        None
        if arguments is None
        else (re.sub(r": (~?typing\.)?Any\b", "", arguments), None if result == "Any" else result)
    )


def skip_member(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Fields of named tuples are in the docstring of their class."""
    return True if (getattr(thing, "__doc__", "") or "").startswith("Alias for field number") else None


# Commands


def command_page() -> str:
    """The help of every command, as the terminal shows it."""
    from levyjax.cli import COMMANDS, main

    parts = ["# Commands", "What `levyjax COMMAND --help` says. `--json` prints plain JSON, never NaN or Infinity."]
    for name in COMMANDS:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            main([name, "--help"])
        parts += [f"## levyjax {name}", f"```text\n{text.getvalue().strip()}\n```"]
    return "\n\n".join(parts) + "\n"


# Claims and measurements


def result_pages(docs: Path) -> dict[str, str]:
    """The pages that show stored results."""
    import results

    claims = json.loads((docs / "claims.json").read_text(encoding="utf-8"))
    return {"claims.md": results.claims_page(claims), "measured.md": results.measured_page(docs.parent / "benchmarks")}
