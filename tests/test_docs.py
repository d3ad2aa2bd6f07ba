"""The documentation says what is so: snippets run, run files are read, commands exist, no name is missing."""

import ast
import builtins
import doctest
import io
import re
import sys
import tokenize
import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from levyjax.cli import _parser, main
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
README = ROOT / "README.md"
RUN = [page for page in PAGES if page.parent.name != "docs" or page.name == "start.md"] + [README]
OF_READERS = {"noise": np.random.default_rng(0).standard_cauchy(600), "data": np.random.default_rng(1).normal(size=99)}

# What a comment or an output shows: a quoted text as Python prints it, a truth value, or a number.
SHOWN = re.compile(r"'[^']*'|\b(?:True|False|None)\b|(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w^])")


def fenced(page, *languages):
    """(language, code) of the fenced blocks in these languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, code) for language, code in found if language in languages]


def named(page):
    return str(page.relative_to(ROOT))


def plain(value):
    """Arrays and their scalars as Python's own lists and numbers, which print without their types."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value)) if type(value) in (tuple, list) else tuple(map(plain, value))
    return value.tolist() if hasattr(value, "tolist") else value


def within_digits(shown, found, units=0.5):  # of the last digit shown
    """Whether two texts are the same, or two numbers as far as the digits of the first go."""
    try:
        given, value = Decimal(shown.replace(",", "")), Decimal(found.replace(",", ""))
    except InvalidOperation:
        return shown == found
    return abs(given - value) <= Decimal(units) * Decimal(1).scaleb(given.as_tuple().exponent) * Decimal("1.000001")


def executed(code, names, page):
    """Runs a snippet, and compares what the comment behind an expression shows with the value of the expression."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    for node in ast.parse(code).body:
        text = ast.get_source_segment(code, node)
        comment = comments.get(node.end_lineno, "")
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), str(page), "exec"), names)
            assert not re.search(r"\d\.\d", comment), f"{text}: a number behind what shows no value, {comment}"
            continue
        value = eval(compile(ast.Expression(node.value), str(page), "eval"), names)
        shown = SHOWN.findall(comment)
        found = SHOWN.findall(repr(plain(value))) if shown else []
        same = len(shown) <= len(found) and all(map(within_digits, shown, found))
        assert same, f"{named(page)}: {text} is {plain(value)!r}, and its comment shows {shown}"


@pytest.mark.parametrize("page", [page for page in RUN if fenced(page, "python", "pycon")], ids=named)
def test_snippets_run_and_say_what_is_printed(page, tmp_path, monkeypatch, capsys):
    """Values behind `>>>`, in comments, and what the first command above a text block prints (up to a line of dots)."""
    monkeypatch.chdir(tmp_path)
    names = dict(OF_READERS) if page == README else {}
    runner, parser = doctest.DocTestRunner(verbose=False), doctest.DocTestParser()
    command = None
    written = re.findall(r"`(\w+\.toml)`[^`]*\n\n```toml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for name, code in written:
        Path(name).write_text(code, "utf-8")
    for language, code in fenced(page, "python", "pycon", "sh", "text"):
        if language == "python":
            executed(code, names, page)
        elif language == "pycon":
            test = parser.get_doctest(code, names, str(page), str(page), 0)
            report = []
            runner.run(test, out=report.append, clear_globs=False)
            assert not report, "".join(report)
            names = test.globs
        elif language == "sh":
            command = next(iter(re.findall(r"^levyjax (.*?)(?: *#.*)?$", code, re.MULTILINE)), None)
        else:
            assert command, "a text block shows what the command above it prints"
            capsys.readouterr()
            assert main(command.split()) == 0
            assert_printed(code, capsys.readouterr().out)
    plt.close("all")


def assert_printed(shown, printed):
    """The same words and numbers, wherever the lines are broken; the last digit may be rounded the other way."""
    whole = not shown.rstrip().endswith("\n...")
    shown, printed = (text.split() for text in (shown.rstrip().removesuffix("..."), printed))
    if whole:
        assert len(shown) == len(printed), " ".join(printed)
    for ours, theirs in zip(shown, printed, strict=False):
        ours_parts, their_parts = (re.split(f"({SHOWN.pattern})", word) for word in (ours, theirs))
        same = len(ours_parts) == len(their_parts) and all(
            within_digits(one, other, 1) for one, other in zip(ours_parts, their_parts, strict=True)
        )
        assert same, f"{ours!r} is shown where {theirs!r} is printed:\n{' '.join(printed)}"


@pytest.mark.parametrize(
    "code",
    [
        "1.4003  # 1.48",
        "1.4003  # 1.41",
        "(2, 3.5)  # 2, from 3.4",
        "'stable'  # 'undecided'",
        "2.0  # 2.0, not 3",
        "x = 1  # 0.5",
    ],
)
def test_a_wrong_number_in_a_comment_is_found(code):
    with pytest.raises(AssertionError):
        executed(code, {}, README)


def test_right_numbers_in_comments_pass():
    executed(
        "1.4003  # 1.40, rounded\n{'a': np.float64(3787.2)}  # {'a': 3787}\n(True, 1e-9)  # True", {"np": np}, README
    )


@pytest.mark.parametrize(
    "printed", ["- it is 1.39 [1.2, 1.5],\n  p = 0.01", "- it is 1.41 [1.2, 1.5]", "- it was 1.41 [1.2, 1.5], p = 0.01"]
)
def test_a_wrong_number_in_an_output_is_found(printed):
    assert_printed("- it is 1.41 [1.2,\n  1.5], p = 0.01\n", "- it is 1.41 [1.2, 1.5], p = 0.01\n")
    assert_printed("- it is 1.41 [1.2,\n...\n", "- it is 1.41 [1.2, 1.5], p = 0.01\n")
    with pytest.raises(AssertionError):
        assert_printed("- it is 1.41 [1.2,\n  1.5], p = 0.01\n", printed)


def test_outputs_are_on_pages_that_run():
    assert [named(page) for page in PAGES if page not in RUN and fenced(page, "pycon", "text")] == []


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
