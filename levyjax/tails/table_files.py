"""Tables of numbers from text and parquet files: their titles, which columns are meant, and what is no number."""

import csv
import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from levyjax.checks import nearest
from levyjax.input import MOST_BYTES

Columns = str | int | Sequence[str | int] | None
_SHOWN = 8  # titles in a sentence
_QUOTED = re.compile(r'"[^"]*"')
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+([eE][-+]?\d+)?\s*")
_WHOLE = re.compile(r"\s*[-+]?\d+\s*")
_FEWEST_EVEN = 8  # rows from which evenly growing values are taken for a time or a count of the rows
_TOO_LARGE = f"is larger than {MOST_BYTES // 2**30} GiB. Save an .npy, which is read in pieces."


def read_text(path: Path, name: str, columns: Columns) -> np.ndarray:
    """The numbers of a text table, (rows, columns), separated by commas, semicolons, tabs or spaces.

    Lines that are empty or begin with # are passed over. Titles may stand in the first line, or in the last line with
    # before the numbers.

    Args:
        path: the file.
        name: what the messages call it.
        columns: title or number (from 1) of a column, or several; None takes all.

    Raises:
        ValueError: one sentence: what the file holds there, and what to give.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{name} {_TOO_LARGE}")
    lines = [line for _, line in _numbered(path, name)]
    if not lines:
        raise ValueError(f"{name} is empty. Give numbers, a row in each line.")
    separator = _separator(lines[:2])
    titles, skipped, sample = _beginning(path, name, lines, separator)
    bad = {place: repr(cell[:40]) for place, cell in enumerate(sample) if not _is_number(cell)}
    chosen = chosen_columns(name, titles, bad, columns)
    try:
        if columns is not None:  # of all columns NumPy counts the entries itself
            _check_width(lines[skipped:], separator, len(sample), name)
        found = np.loadtxt(
            lines[skipped:],
            delimiter=None if separator == " " else separator,
            comments=None,
            quotechar='"',
            ndmin=2,
            usecols=None if columns is None else chosen,
        )
    except ValueError as error:
        fault = _fault(_numbered(path, name), separator, titles, chosen, skipped)
        reason = f"{str(error).split('; use')[0].rstrip('.')[:120]}. Give the same count of numbers in every line."
        raise ValueError(f"{name} is no table of numbers: {fault or reason}") from None
    return _without_counts(found, name, titles, columns)


def _check_width(lines: list[str], separator: str, width: int, name: str) -> None:
    """Refuses a line with more or fewer entries than the first, such as 1,234.5 between commas, which is two."""
    for line in lines:
        plain = '"' not in line
        count = (len(line.split()) if separator == " " else line.count(separator) + 1) if plain else 0
        if count != width and (plain or len(_cells(line, separator, name)) != width):
            raise ValueError("a line is of another width")


def _beginning(path: Path, name: str, lines: list[str], separator: str) -> tuple[list[str], int, list[str]]:
    """Titles, empty where there are none, how many lines they take, and the cells of the first row of numbers."""
    first, *second = (_cells(line, separator, name) for line in lines[:2])
    skipped = int(_are_titles(first, second[0] if second else None))
    if len(lines) == skipped:
        raise ValueError(f"{name} has titles and no numbers ({_listed(first)}). Give numbers below them.")
    sample = [first, *second][skipped]
    titles = [title.strip() for title in first] if skipped else _commented(path, len(first), separator, name)
    if len(titles) == len(sample) - 1:  # of a table with names of its rows, as R writes it
        titles = ["", *titles]
    if len(titles) != len(sample):
        raise ValueError(
            f"{name} has {len(titles)} titles in its first line ({_listed(titles)}) and {len(sample)} entries in the "
            "next. Give one title for each column, or begin the line with #."
        )
    return titles, skipped, sample


def read_parquet(path: Path, name: str, columns: Columns) -> np.ndarray:
    """The numbers of a parquet file, (rows, columns), as `read_text` has them.

    Raises:
        ValueError: one sentence: pyarrow is missing, the file is damaged, or what it holds is no number.
    """
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ValueError(f'{name} needs pyarrow. Install it with pip install "levyjax[io]", or save an .npy.') from None
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            titles = [field.name for field in schema]
            real = (pyarrow.types.is_integer, pyarrow.types.is_floating, pyarrow.types.is_decimal)
            bad = {i: str(one.type) for i, one in enumerate(schema) if not any(test(one.type) for test in real)}
            chosen = chosen_columns(name, titles, bad, columns)
            twice = next((titles[place] for place in chosen if titles.count(titles[place]) > 1), None)
            if twice is not None:
                raise ValueError(f"{name} has several columns {twice[:40]!r}. Give them names of their own.")
            if file.metadata.num_rows * len(chosen) * 8 > MOST_BYTES:
                raise ValueError(f"{name} {_TOO_LARGE}")
            table = file.read(columns=[titles[place] for place in chosen])
            arrays = [table.column(titles[place]).cast(pyarrow.float64(), safe=False).to_numpy() for place in chosen]
    except pyarrow.ArrowException as error:
        raise ValueError(f"{name} cannot be read as parquet ({str(error).splitlines()[0][:120]}).") from None
    return _without_counts(np.stack(arrays, axis=1) if arrays else np.empty((0, 0)), name, titles, columns)


def chosen_columns(name: str, titles: Sequence[str], bad: dict[int, str], columns: Columns) -> list[int]:
    """Places, from 0, of the columns that are meant.

    Args:
        name: of the file, for the messages.
        titles: one for each column, empty where there is none.
        bad: place -> what it holds, of columns without numbers.
        columns: as `read_text` has it.

    Raises:
        ValueError: there is no such column, or it holds no numbers.
    """
    numbers = [place for place in range(len(titles)) if place not in bad]
    there = ", ".join(_label(place, titles) for place in numbers[:_SHOWN]) + ", ..." * (len(numbers) > _SHOWN)
    if not numbers:
        place = min(bad)
        give = "Write decimals with a point" if _DECIMAL_COMMA.fullmatch(bad[place].strip("'")) else "Give numbers"
        raise ValueError(f"{name} holds no numbers: its {_label(place, titles)} holds {bad[place]}. {give}.")
    if columns is None:
        if bad:
            place = min(bad)
            raise ValueError(
                f"{name} holds {bad[place]} in its {_label(place, titles)}, which is no number. {_name_one(there)}"
            )
        return numbers
    asked: list[Any] = list(columns) if isinstance(columns, list | tuple) else [columns]
    if not asked:
        raise ValueError(f"no column of {name} is named. {_name_one(there)}")
    chosen = [_place(name, titles, one, there) for one in asked]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"a column of {name} is named twice. Name each once.")
    for place in chosen:
        if place in bad:
            raise ValueError(f"{name} holds {bad[place]} in its {_label(place, titles)}, no number. {_name_one(there)}")
    return chosen


def _place(name: str, titles: Sequence[str], asked: str | int, there: str) -> int:
    if asked in titles and asked != "":
        if list(titles).count(str(asked)) > 1:
            raise ValueError(f"{name} has several columns {asked!r}. Give its number, from 1 to {len(titles)}.")
        return list(titles).index(str(asked))
    text = str(asked).strip()
    if text.isdecimal() and text.isascii() and 1 <= int(text) <= len(titles):
        return int(text) - 1
    hint = nearest(asked, [title for title in titles if title])
    raise ValueError(f"{name} has no column {str(asked)[:40]!r} (numbers count from 1): {hint}{_name_one(there)}")


def _label(place: int, titles: Sequence[str]) -> str:
    return f"column {titles[place][:40]!r} ({place + 1})" if titles[place] else f"column {place + 1}"


def _name_one(there: str) -> str:
    return f'Name what to read, --column X or column="X", of: {there}.'


def _listed(titles: Sequence[str]) -> str:
    titles = [title[:40] for title in titles]
    return ", ".join(map(repr, titles[:_SHOWN])) + ", ..." * (len(titles) > _SHOWN)


def _without_counts(found: np.ndarray, name: str, titles: Sequence[str], columns: Columns) -> np.ndarray:
    """Refuses to take a column that counts the rows, or their times, for noise, unless it was asked for."""
    if columns is not None or found.shape[1] < 2 or len(found) < _FEWEST_EVEN:
        return found
    steps = np.diff(found, axis=0)
    with np.errstate(all="ignore"):
        even = (steps[0] != 0) & (np.abs(steps - steps[0]) <= 1e-6 * np.abs(steps[0])).all(axis=0)
    if even.any():
        place = int(np.argmax(even))
        there = ", ".join(_label(other, titles) for other in np.flatnonzero(~even)[:_SHOWN])
        raise ValueError(
            f"{name} has a {_label(place, titles)} that grows evenly from {found[0, place]:g} to {found[-1, place]:g}, "
            f"as a time or a number of the row does. {_name_one(there)}"
        )
    return found


def _numbered(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Lines with something in them, and where they are."""
    try:
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
            if line.strip() and line.lstrip()[0] != "#":
                yield number, line
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not text in UTF-8. Give numbers, a row in each line.") from None


def _commented(path: Path, width: int, separator: str, name: str) -> list[str]:
    """Titles from the last line before the numbers, if it begins with # and has as many: NumPy writes them so."""
    last = ""
    with open(path, encoding="utf-8-sig") as file:
        for line in file:
            if line.strip() and line.lstrip()[0] != "#":
                break
            last = line if line.strip() else last
    titles = [title.strip() for title in _cells(last.strip().lstrip("#"), separator, name)]
    return titles if len(titles) == width and not any(map(_is_number, titles)) else [""] * width


def _separator(lines: list[str]) -> str:
    """The sign between the entries of the second line, or of a first line of numbers if the second has one entry."""
    first, last = _sign(lines[0]), _sign(lines[-1])
    alone = last == " " and len(lines[-1].split()) == 1
    return first if alone and all(map(_is_number, lines[0].replace(first, " ").split())) else last


def _sign(line: str) -> str:
    plain = _QUOTED.sub("0", line)
    if "\t\t" not in plain and all(map(_is_number, plain.split())):
        return " "
    return next((sign for sign in ";,\t" if sign in plain), " ")


def _cells(line: str, separator: str, name: str) -> list[str]:
    text = line.replace("\t", " ").strip() if separator == " " else line
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise ValueError(
            f"{name} is no table of numbers ({str(error)[:120]}). Give numbers, a row in a line."
        ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _are_titles(first: list[str], second: list[str] | None) -> bool:
    """Whether the first line has titles: no numbers, or numbers that only count the columns, as pandas writes them.

    A line with both is one of titles if its words stand over figures, and its numbers are whole.
    """
    if not any(_is_number(cell) or _DECIMAL_COMMA.fullmatch(cell) for cell in first):
        return any(cell.strip() for cell in first)
    if second is None or len(second) != len(first):
        return False
    counted = first[1:] if first[0] == "" else first
    if counted == [str(place) for place in range(len(counted))] and (len(counted) > 1 or first[0] == ""):
        return first[0] == "" or not all(map(_WHOLE.fullmatch, second))
    words = [place for place, cell in enumerate(first) if not _is_number(cell)]
    over = all(first[i].strip() and not re.search(r"\d", first[i]) and re.search(r"\d", second[i]) for i in words)
    whole = all(_WHOLE.fullmatch(cell) for place, cell in enumerate(first) if place not in words)
    return bool(words) and over and whole and not all(map(_is_number, second))


def _fault(
    lines: Iterable[tuple[int, str]], separator: str, titles: list[str], chosen: list[int], skipped: int
) -> str | None:
    """The first line that is no row of numbers, what it holds, and what to do."""
    for number, line in list(lines)[skipped:]:
        cells = _cells(line, separator, "it")
        if len(cells) != len(titles):
            return (
                f"line {number} has {len(cells)} entries, and the first has {len(titles)}. Give the same in every line."
            )
        for place in chosen:
            if not _is_number(cells[place]):
                comma = _DECIMAL_COMMA.fullmatch(cells[place])
                give = "Write decimals with a point" if comma else "Take the line out, or give its number"
                return f"line {number} holds {cells[place][:40]!r} in {_label(place, titles)}. {give}."
    return None
