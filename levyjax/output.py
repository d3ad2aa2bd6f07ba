"""What the command writes: JSON without NaN, files that are whole or absent, tables, and progress on a terminal."""

import contextlib
import dataclasses
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


def to_json(obj: Any) -> str:
    """Writes plain values, arrays, dataclasses and mappings as JSON; a number that does not exist is null.

    Args:
        obj: anything made of mappings, sequences, dataclasses, arrays, numbers, strings, paths, bools and None.

    Returns:
        ASCII text, indented, without NaN or Infinity.

    Raises:
        TypeError: for an object of another type.

    Example:
        >>> to_json({"rate": float("nan"), "ci95": (1.0, float("inf"))}).split()
        ['{', '"rate":', 'null,', '"ci95":', '[', '1.0,', 'null', ']', '}']
    """
    return json.dumps(_plain(obj), indent=2, allow_nan=False)


def write_json(path: PathLike, obj: Any) -> None:
    """Writes `to_json(obj)` to a file, as `write_bytes` does."""
    write_text(path, to_json(obj) + "\n")


def write_text(path: PathLike, text: str) -> None:
    """Writes UTF-8 text to a file, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: PathLike, data: bytes) -> None:
    """Writes a file at once: whoever looks sees the old file or the whole new one.

    The data go to a file `.NAME.*.partial` in the same folder, which then takes the name; it is removed on failure.

    Args:
        path: the file to write or to replace.
        data: its content.

    Raises:
        OSError: if the disk is full, the folder is missing or may not be written, and the like.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:100]}.{os.urandom(6).hex()}.partial")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_arrays(path: PathLike, **arrays: Any) -> None:
    """Writes arrays to an .npz file by their names, as `write_bytes` does."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def write_array(path: PathLike, array: Any) -> None:
    """Writes an array to an .npy file, as `write_bytes` does."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())


def output_directory(path: PathLike, option: str = "--out") -> Path:
    """Makes a folder for results, if need be, and tries that it can be written, before any work is done.

    Args:
        path: the folder; its parents are made too.
        option: what gave it, for the message.

    Returns:
        The folder.

    Raises:
        ValueError: if it is empty or a file, cannot be made or cannot be written.
    """
    if not os.fspath(path):
        raise ValueError(f'{option} is empty. Give a folder; "." is the current one.')
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{option} {_shortened(path)} is a file or lies below one. Give a folder.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{option} {_shortened(path)} cannot be written ({reason}). Give another folder.") from None
    return folder


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as aligned text, one line each below a line of titles.

    Args:
        rows: mappings from column to value.
        columns: which columns and in which order; default those of the first row.

    Returns:
        The text; numbers with six digits, a dash for None.

    Example:
        >>> print(table([{"alpha": 1.5, "rate": None}]))
        alpha  rate
        1.5    -
    """
    names = list(columns or (rows[0] if rows else ()))
    lines = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[j]) for line in lines) for j in range(len(names))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def progress(total: int | None, desc: str) -> Any:
    """A tqdm bar on stderr, which shows nothing where stderr is no terminal; use it as a context manager."""
    from tqdm import tqdm

    return tqdm(total=total, desc=desc, file=sys.stderr, disable=None, leave=False)


def _plain(obj: Any) -> Any:
    if hasattr(obj, "tolist"):  # arrays and their scalars
        obj = obj.tolist()
    if obj is None or isinstance(obj, (bool, int, str)):
        return obj
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, Mapping):
        return {str(name): _plain(value) for name, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_plain(item) for item in obj]
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {field.name: _plain(getattr(obj, field.name)) for field in dataclasses.fields(obj)}
    raise TypeError(f"a value of type {type(obj).__name__} has no JSON form")


def _cell(value: Any) -> str:
    value = _plain(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_cell, value))}]" if value else "-"
    return str(value)


def _shortened(path: PathLike) -> str:
    return text if len(text := repr(str(path))) <= 80 else f"...{text[-77:]}"
