"""The documentation says what is so: snippets run, run files are read, commands exist, no name is missing."""

import ast
import builtins
import doctest
import re
import sys
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from levyjax.cli import _parser
from levyjax.config import parse
from levyjax.config.grid import parse_sweep
from levyjax.config.training import parse_training

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "concepts/*.md", "howto/*.md")
    for page in (ROOT / "docs").glob(pattern)
    if page.name not in ("claims.md", "measured.md", "command.md", "runfile.md")
)
RUN = [page for page in PAGES if page.parent.name != "docs" or page.name == "start.md"]


def fenced(page, *languages):
    """(language, code) of the fenced blocks in these languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, code) for language, code in found if language in languages]


def named(page):
    return str(page.relative_to(ROOT / "docs"))


@pytest.mark.parametrize("page", [page for page in RUN if fenced(page, "python", "pycon")], ids=named)
def test_snippets_run_and_say_what_is_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    runner, parser = doctest.DocTestRunner(verbose=False), doctest.DocTestParser()
    for language, code in fenced(page, "python", "pycon"):
        if language == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            test = parser.get_doctest(code, names, str(page), str(page), 0)
            report = []
            runner.run(test, out=report.append, clear_globs=False)
            assert not report, "".join(report)
            names = test.globs
    plt.close("all")


def test_the_readme_imports_what_it_uses():
    """One snippet after the other; the reader's own data are `x`, `data` and `noise`."""
    known = {"x", "data", "noise", *dir(builtins)}
    code = "\n".join(code for _, code in fenced(ROOT / "README.md", "python"))
    for node in ast.parse(code).body:
        names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
        made = {part.id for part in names if isinstance(part.ctx, ast.Store)}
        made |= {(part.asname or part.name).split(".")[0] for part in ast.walk(node) if isinstance(part, ast.alias)}
        made |= {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
        assert {part.id for part in names} <= known | made, ast.unparse(node)
        known |= made


@pytest.mark.parametrize("page", [page for page in PAGES if fenced(page, "toml")], ids=named)
def test_run_files_are_read(page):
    for _, code in fenced(page, "toml"):
        tables = tomllib.loads(code)
        if "training" in tables:
            parse_training(tables)
        elif "run" in tables:
            (parse_sweep if "sweep" in tables else parse)(tables)


@pytest.mark.parametrize("page", [page for page in PAGES if fenced(page, "sh", "bash")], ids=named)
def test_commands_are_understood(page):
    parser, _ = _parser()
    for _, code in fenced(page, "sh", "bash"):
        for line in re.findall(r"^(?:srun )?levyjax (.*?)(?: *#.*)?$", code, re.MULTILINE):
            parser.parse_args(line.replace('"', "").split())


def test_every_public_name_has_a_docstring_or_a_comment():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import pages
    finally:
        sys.path.pop(0)
    assert pages.undocumented() == []
    assert not pages.documented(re, "A")  # a constant without a word
