"""Noise from a file."""

import contextlib
import importlib
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from levyjax.input import MOST_BYTES, DamagedArchive, check_unpacked, file_size, npz_members, read_member
from levyjax.tails.large import LARGE
from levyjax.tails.values import check_shape, check_values

_SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
_PREFERRED = "samples"  # the array of an .npz with several


def load(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads noise values from a file and refuses what no tail index can be estimated from.

    Args:
        path: an .npy file, an .npz file with one array or one named "samples", or a .csv file of numbers separated by
            commas (lines starting with # are skipped), or a .parquet file of numbers (needs pyarrow, which
            `pip install "levyjax[io]"` brings). Pickled objects are never loaded.

    Returns:
        float64, (n,) or (iterations, parameters); an .npy file of more than 8 million values comes as a read-only
        memory map in its own type, whose values are not looked at yet.

    Raises:
        ValueError: one sentence on what was given, what is allowed and what to do: the file is missing, a folder, of
            another kind, empty, truncated, pickled, an archive of more than 2 GiB, or does not hold real, finite
            numbers that vary.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "noise.npy"), np.arange(20.0))
        ...     load(Path(folder, "noise.npy")).shape
        (20,)
    """
    name = _shortened(path)
    path = Path(path)
    try:
        size = file_size(path)
    except IsADirectoryError:
        raise ValueError(f"{name} is a folder. Give one file: {', '.join(_SUFFIXES)}.") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}). Give an existing file.") from None
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{name} has no known suffix. Give one of {', '.join(_SUFFIXES)}.")
    if size == 0:
        raise ValueError(f"{name} is empty. Give a file with numbers.")
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv, ".parquet": _read_parquet}
    try:
        found = readers[path.suffix.lower()](path, name)
        return check_shape(found, name) if isinstance(found, np.memmap) else check_values(found, name)
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror or error}). Give a readable file.") from None
    except MemoryError:
        raise ValueError(f"{name} does not fit into memory. Give a part of the values.") from None


def _read_npy(path: Path, name: str) -> np.ndarray:
    with open(path, "rb") as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"{name} is not in NumPy's format. Write it with numpy.save.")
    with _refusing_damage(name):
        mapped = np.load(path, allow_pickle=False, mmap_mode="r")
        large = mapped.size > LARGE and mapped.ndim in (1, 2)
        return mapped if large else np.load(path, allow_pickle=False)


def _read_npz(path: Path, name: str) -> np.ndarray:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{name} is truncated or no .npz file. Write it again with numpy.savez.")
    with _refusing_damage(name), zipfile.ZipFile(path) as archive:
        check_unpacked(archive)
        members = npz_members(archive)
        names = list(members)
        chosen = names[0] if len(names) == 1 else _PREFERRED
        array = read_member(archive, members[chosen]) if chosen in members else None
    if not names:
        raise ValueError(f"{name} holds no array. Save one.")
    if array is None:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f'{name} holds {len(names)} arrays ({shown}). Save one array, or name the one to read "samples".'
        )
    return array


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


def _read_csv(path: Path, name: str) -> np.ndarray:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{name} is larger than {MOST_BYTES // 2**30} GiB. Save an .npy, which is read in pieces.")
    try:
        lines = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip() and line.lstrip()[0] != "#"]
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not text. Give numbers separated by commas.") from None
    if not lines:
        raise ValueError(f"{name} is empty. Give numbers separated by commas.")
    try:
        return np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        reason = str(error).split("; use")[0].rstrip(".")[:120]
        raise ValueError(
            f"{name} is no table of numbers ({reason}, rows counted from the first with numbers). "
            "Give numbers separated by commas, the same count in every line and no titles."
        ) from None


def _read_parquet(path: Path, name: str) -> np.ndarray:
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ValueError(f'{name} needs pyarrow. Install it with pip install "levyjax[io]", or save an .npy.') from None
    try:
        about = parquet.read_metadata(path)
        if about.num_rows * about.num_columns * 8 > MOST_BYTES:
            raise ValueError(
                f"{name} holds more than {MOST_BYTES // 2**30} GiB. Save an .npy, which is read in pieces."
            )
        table = parquet.read_table(path)
        columns = [column.to_numpy() for column in table.columns]
    except pyarrow.ArrowException as error:
        raise ValueError(f"{name} cannot be read as parquet ({str(error).splitlines()[0][:120]}).") from None
    for title, column in zip(table.column_names, columns, strict=True):
        if column.dtype.kind not in "iuf":
            raise ValueError(f"{name} has a column {title[:40]!r} of {column.dtype}, no real numbers. Drop it.")
    return np.stack(columns, axis=1) if columns else np.empty(0)


def _shortened(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not text:
        return "the empty name"
    return text if len(text) <= 80 else f"...{text[-77:]}"
