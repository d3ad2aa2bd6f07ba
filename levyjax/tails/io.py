"""Noise from a file."""

import contextlib
import importlib
import json
import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from levyjax.checks import nearest
from levyjax.input import DamagedArchive, check_unpacked, file_size, npz_members, read_member
from levyjax.tails.large import LARGE
from levyjax.tails.table_files import Columns, chosen_columns, read_parquet, read_text
from levyjax.tails.values import check_shape, check_values

_TEXT = (".csv", ".tsv", ".txt", ".dat")
_SUFFIXES = (".npy", ".npz", ".safetensors", *_TEXT, ".parquet")
_PICKLES = (".pt", ".pth", ".pkl", ".pickle")
_PREFERRED = "samples"  # the array of a file with several
_SHOWN = 12  # keys in a sentence
_MAPPED = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}  # types of .safetensors that are mapped


def load(path: str | os.PathLike[str], *, key: str | None = None, column: Columns = None) -> np.ndarray:
    """Reads noise values from a file and refuses what no tail index can be estimated from.

    Args:
        path: an .npy, .npz or .safetensors file; a .csv, .tsv, .txt or .dat file of numbers separated by commas,
            semicolons, tabs or spaces, with or without titles (lines that begin with # are skipped); or a .parquet
            file. Parquet needs pyarrow and safetensors its own library: `pip install "levyjax[io]"` brings both.
            Pickled objects are never loaded.
        key: which array of an .npz or .safetensors file, where it holds several and none is "samples".
        column: title or number of one column, or a list of them. The first has number 1. Default: all, which then must
            be numbers, and none a count of the rows.

    Returns:
        float64, (n,) or (iterations, parameters); an array of more than 8 million values in an .npy or .safetensors
        file comes as a read-only memory map in its own type, whose values are not looked at yet.

    Raises:
        ValueError: one sentence on what the file holds and what to give: it is missing, a folder, of another kind,
            empty, truncated, pickled, an archive of more than 2 GiB, has several arrays or a column of dates, or does
            not hold real, finite numbers that vary.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = "".join(f"2026-01-{day:02},{day**2}\\n" for day in range(1, 31))
        ...     _ = Path(folder, "prices.csv").write_text("date,close\\n" + rows)
        ...     load(Path(folder, "prices.csv"), column="close")[:3].tolist()
        [1.0, 4.0, 9.0]
    """
    name = _shortened(path)
    found = _found(path, name, key, column)
    return check_shape(found, name) if isinstance(found, np.memmap) else check_values(found, name)


def load_table(
    path: str | os.PathLike[str], column: str | int, weights: str | int, *, key: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads values and how often each of them occurs, two columns of a file as in `load`.

    Returns:
        Both, (n,), for the `weights` of `audit` and `estimate`, which check them.

    Raises:
        ValueError: as in `load`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "degrees.csv").write_text("degree,nodes\\n1,60\\n2,25\\n3,9\\n")
        ...     values, counts = load_table(Path(folder, "degrees.csv"), "degree", "nodes")
        >>> values.tolist(), counts.tolist()
        ([1.0, 2.0, 3.0], [60.0, 25.0, 9.0])
    """
    name = _shortened(path)
    found = check_shape(_found(path, name, key, [column, weights]), name)
    return found[:, 0], found[:, 1]


def _found(path: str | os.PathLike[str], name: str, key: str | None, column: Columns) -> np.ndarray:
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        size = file_size(path)
    except IsADirectoryError:
        raise ValueError(f"{name} is a folder. Give one file: {', '.join(_SUFFIXES)}.") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}). Give an existing file.") from None
    if suffix in _PICKLES:
        raise ValueError(
            f"{name} is a pickle, which can run code and is never loaded. Save its array with numpy.save, or with "
            "safetensors.torch.save_file."
        )
    if suffix not in _SUFFIXES:
        raise ValueError(f"{name} has no known suffix. Give one of {', '.join(_SUFFIXES)}.")
    if size == 0:
        raise ValueError(f"{name} is empty. Give a file with numbers.")
    if key is not None and suffix not in (".npz", ".safetensors"):
        raise ValueError(f"{name} has no keys, which .npz and .safetensors files have. Leave --key out.")
    try:
        found = _read(path, suffix, name, key, column)
        if found.dtype.type is np.void and found.dtype.names is None:
            raise ValueError(
                f"{name} holds {found.dtype.itemsize}-byte entries without a type, as numpy.save writes bfloat16. Save "
                "x.astype(numpy.float32)."
            )
        return found
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror or error}). Give a readable file.") from None
    except MemoryError:
        raise ValueError(f"{name} does not fit into memory. Give a part of the values.") from None


def _read(path: Path, suffix: str, name: str, key: str | None, column: Columns) -> np.ndarray:
    if suffix == ".parquet":
        return read_parquet(path, name, column)
    if suffix in _TEXT:
        return read_text(path, name, column)
    if suffix == ".npy":
        return _column_of(_read_npy(path, name), name, column)
    reader = _read_npz if suffix == ".npz" else _read_safetensors
    return _column_of(reader(path, name, key), name, column)


def _read_npy(path: Path, name: str) -> np.ndarray:
    with open(path, "rb") as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"{name} is not in NumPy's format. Write it with numpy.save.")
    with _refusing_damage(name):
        mapped = np.load(path, allow_pickle=False, mmap_mode="r")
        large = mapped.size > LARGE and mapped.ndim in (1, 2)
        return mapped if large else np.load(path, allow_pickle=False)


def _read_npz(path: Path, name: str, key: str | None) -> np.ndarray:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{name} is truncated or no .npz file. Write it again with numpy.savez.")
    with _refusing_damage(name), zipfile.ZipFile(path) as archive:
        check_unpacked(archive)
        members = npz_members(archive)
    chosen = _chosen(list(members), key, name)
    with _refusing_damage(name), zipfile.ZipFile(path) as archive:
        return read_member(archive, members[chosen])


@contextlib.contextmanager
def _refusing_damage(name: str) -> Iterator[None]:
    """Whatever NumPy raises on a damaged file (its header is parsed as Python text) becomes a ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, MemoryError):
        raise
    except DamagedArchive as error:
        raise ValueError(f"{name} {error}. Save numbers with numpy.save, or numpy.savez.") from None
    except Exception as error:
        if "allow_pickle" in str(error) or "bject" in str(error):
            raise ValueError(f"{name} holds pickled objects, which are never loaded. Save numbers.") from None
        raise ValueError(f"{name} is truncated or damaged. Write it again with numpy.save or numpy.savez.") from None


def _read_safetensors(path: Path, name: str, key: str | None) -> np.ndarray:
    try:
        safetensors = importlib.import_module("safetensors")
    except ImportError:
        raise ValueError(
            f'{name} needs safetensors. Install it with pip install "levyjax[io]", or save an .npy.'
        ) from None
    try:
        with safetensors.safe_open(path, framework="np") as file:
            chosen = _chosen(list(file.keys()), key, name)
            about = file.get_slice(chosen)
            shape, dtype = about.get_shape(), _MAPPED.get(about.get_dtype())
            if dtype is None or math.prod(shape) <= LARGE or len(shape) not in (1, 2):
                return _tensor(file, chosen, about.get_dtype(), name)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{name} is truncated or no .safetensors file ({str(error)[:120]}). Write it again.") from None
    with open(path, "rb") as file:  # the library has found its header right
        length = int.from_bytes(file.read(8), "little")
        place = json.loads(file.read(length))[chosen]["data_offsets"][0]
    return np.memmap(path, dtype, "r", 8 + length + place, tuple(shape))


def _tensor(file: Any, key: str, dtype: str, name: str) -> np.ndarray:
    try:
        return file.get_tensor(key)
    except (AttributeError, KeyError, TypeError):  # NumPy has no such type
        raise ValueError(f"{name} holds {dtype} in {key[:60]!r}, which NumPy has not. Save float32.") from None


def _chosen(keys: list[str], key: str | None, name: str) -> str:
    """The one array that is meant."""
    if not keys:
        raise ValueError(f"{name} holds no array. Save one.")
    if key is None and len(keys) == 1:
        return keys[0]
    if key is None and _PREFERRED in keys:
        return _PREFERRED
    if key in keys:
        return str(key)
    shown = ", ".join(one[:60] for one in keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
    what = f"{len(keys)} arrays ({shown})" if len(keys) > 1 else f"one array ({shown})"
    asked = "" if key is None else f" and none is {str(key)[:60]!r}: {nearest(key, keys)}".rstrip()
    raise ValueError(f'{name} holds {what}{asked}{"" if asked.endswith("?") else "."} Name one: --key K or key="K".')


def _column_of(array: np.ndarray, name: str, column: Columns) -> np.ndarray:
    """Columns of an array, which has no titles, by their numbers."""
    if column is None:
        return array
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape} and so no columns. Leave --column out.")
    places = chosen_columns(name, [""] * array.shape[1], {}, column)
    return array[:, places[0]] if len(places) == 1 else array[:, places]


def _shortened(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not text:
        return "the empty name"
    return text if len(text) <= 80 else f"...{text[-77:]}"
