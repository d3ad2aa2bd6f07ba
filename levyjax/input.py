"""What is read: real files, arrays without pickle, and archives of a bounded size whose headers tell the truth."""

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
