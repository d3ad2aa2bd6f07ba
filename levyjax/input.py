"""What is read: real files, arrays without pickle, honest archives, and other libraries' arrays."""

import math
import os
import stat
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 2**31
"""An archive may unpack to this much, or to its own size where that is more."""

PathLike = str | os.PathLike[str]


class DamagedArchive(ValueError):
    """An .npz file is not what NumPy writes, or unpacks to more than is allowed."""


def file_size(path: PathLike) -> int:
    """Bytes of a file; a pipe or a device, which may never end, is refused like a folder.

    Raises:
        OSError: there is no such file, or it is none.
    """
    try:
        found = os.stat(path)
    except ValueError as error:  # a zero byte in the name
        raise OSError(22, str(error), os.fspath(path)) from None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "it is a folder", os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(22, "it is no regular file", os.fspath(path))
    return found.st_size


def read_npz(source: PathLike | IO[bytes], names: Iterable[str] | None = None) -> dict[str, Any]:
    """The arrays of an .npz file.

    Args:
        source: the file, or its open stream.
        names: the arrays to read, where they are there; default all.

    Returns:
        Name -> array, in the order of the archive, or of the names.

    Raises:
        DamagedArchive: it is damaged, holds pickled objects, or is too large; the message begins with a verb.
        OSError: it cannot be read.
    """
    if not hasattr(source, "read"):
        file_size(source)  # type: ignore[arg-type]
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(source) as archive:  # type: ignore[arg-type]
            warnings.simplefilter("ignore")  # NumPy's about odd headers, zipfile's about names that come twice
            members = npz_members(archive)
            check_unpacked(archive)
            return {name: read_member(archive, members[name]) for name in names or members if name in members}
    except (OSError, MemoryError, DamagedArchive):
        raise
    except Exception:  # zipfile, zlib and NumPy's header parser each have their own
        raise DamagedArchive("is truncated, damaged or no .npz file") from None


def npz_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an open archive by their names."""
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def check_unpacked(archive: zipfile.ZipFile) -> None:
    """Refuses what would fill the memory: an archive that unpacks to more than 2 GiB and to more than it takes itself.

    Raises:
        DamagedArchive: with the size.
    """
    size = sum(info.file_size for info in archive.infolist())
    packed = sum(info.compress_size for info in archive.infolist())
    if size > max(MOST_BYTES, packed):
        raise DamagedArchive(f"unpacks to {size / 2**30:.3g} GiB, and {MOST_BYTES // 2**30} are allowed")


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    """One array of an open archive; its header is compared with its size before any memory is taken.

    Raises:
        DamagedArchive: its header promises another number of bytes than there are, or pickled objects.
        Exception: whatever zipfile, zlib and NumPy raise on damage.
    """
    import numpy as np

    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = readers[version](file)
        if dtype.hasobject:
            raise DamagedArchive("holds pickled objects, which are never loaded")
        if info.file_size - file.tell() != math.prod(shape) * dtype.itemsize:
            raise DamagedArchive("is truncated or damaged: a header promises another size")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def read_bounded(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is larger.
    """
    size = file_size(path)
    if size > most:
        raise ValueError(f"{path} has {size} bytes, and at most {most} are read. Give a smaller file.")
    return path.read_bytes()


def as_array(data: Any, name: str = "data") -> Any:
    """The numbers of a NumPy, JAX or CPU array of another library, of a column of a table, or of lists.

    Args:
        data: whatever has `__array__` or `__dlpack__` (pandas, polars, PyTorch on the CPU, JAX, xarray), or lists.
        name: what the message calls them.

    Returns:
        A NumPy array, a memory map as it is. Types narrower than float32 that NumPy has not (bfloat16, float8, int4)
        become float32, which holds each of their numbers; what is no number at all comes as it is.

    Raises:
        ValueError: one sentence: ragged lists, masked or missing values, a tensor on another device or with a graph.

    Example:
        >>> import jax.numpy as jnp
        >>> as_array(jnp.asarray([0.5, 2.0], jnp.bfloat16))
        array([0.5, 2. ], dtype=float32)
    """
    import numpy as np

    if isinstance(data, np.memmap):
        return data
    if isinstance(data, np.ma.MaskedArray) and np.ma.count_masked(data):
        raise ValueError(f"{name} has {np.ma.count_masked(data)} masked values. Give {name}.compressed().")
    array = _converted(data, name)
    if array.dtype.type.__module__ == "ml_dtypes" and np.can_cast(array.dtype, np.float32):
        return array.astype(np.float32)
    return _of_objects(data, array, name) if array.dtype.kind == "O" else array


def _converted(data: Any, name: str) -> Any:
    import numpy as np

    try:
        if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
            return np.from_dlpack(data)
        return np.asarray(data)
    except Exception as error:  # each library has its own
        if isinstance(data, (list, tuple)):
            raise ValueError(f"{name} is ragged. Give an array (n,) or (iterations, parameters).") from None
        array = _by_jax(data)
        if array is None:
            kind, reason = type(data).__name__, " ".join(str(error).split()).rstrip(".")[:120]
            raise ValueError(
                f"{name} is a {kind} that cannot be read here ({reason}). Give a NumPy array; of a PyTorch tensor "
                "that is x.detach().cpu().float().numpy()."
            ) from None
        return array


def _by_jax(data: Any) -> Any:
    """What JAX reads of an array whose type NumPy has not, such as bfloat16; None if it does not either."""
    import jax
    import numpy as np

    try:
        return np.asarray(jax.dlpack.from_dlpack(data))
    except Exception:  # as above
        return None


def _of_objects(data: Any, array: Any, name: str) -> Any:
    """An array of Python's own numbers as float64; anything else in it is refused by its name."""
    import decimal
    import numbers

    def odd_of(items: Any) -> list[Any]:
        real = (numbers.Real, decimal.Decimal)
        return [item for item in items.flat if isinstance(item, bool) or not isinstance(item, real)][:1]

    odd = odd_of(array)
    if not odd:
        try:
            return array.astype(float)
        except OverflowError:
            raise ValueError(f"{name} holds whole numbers beyond the range of float64. Divide them first.") from None
    titles = getattr(data, "columns", None)
    if titles is not None and array.ndim == 2:
        bad = [bool(odd_of(column)) for column in array.T]
        good = [repr(str(title)) for title, is_bad in zip(titles, bad, strict=True) if not is_bad]
        title = titles[bad.index(True)]
        give = f"Give columns of numbers: {', '.join(good[:5])}" if good else "Give columns of numbers"
        raise ValueError(f"{name} has a column {str(title)!r} that holds {str(odd[0])[:40]!r}, no real number. {give}.")
    raise ValueError(
        f"{name} has dtype object and holds {str(odd[0])[:40]!r}, no real number. Give floating-point numbers."
    )
