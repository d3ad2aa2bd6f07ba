"""The files of data sets: where they are looked for, and their formats. Nothing is downloaded, nothing read in part."""

import gzip
import io
import math
import os
import pickletools
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from levyjax.input import DamagedArchive, read_bounded
from levyjax.input import read_npz as read_arrays

DATA_VARIABLE = "LEVYJAX_DATA"
_SYSTEM = Path("/usr/share/datasets")
_IMAGES, _LABELS = 2051, 2049  # the magic numbers of IDX files of bytes with 3 and with 1 axes
IDX_FILES = (
    ("train-images-idx3-ubyte", _IMAGES),
    ("train-labels-idx1-ubyte", _LABELS),
    ("t10k-images-idx3-ubyte", _IMAGES),
    ("t10k-labels-idx1-ubyte", _LABELS),
)
_NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test")
_CHANNELS = (1, 3, 4)
_CIFAR_SIDE, _CIFAR_BATCHES = 32, 5
_CIFAR_PIXELS = 3 * _CIFAR_SIDE**2
_MOST_BYTES = 2**30  # of an IDX file, and of a batch of CIFAR-10


class Parts(NamedTuple):
    """Bytes of images (n, height, width) or (n, height, width, channels) and labels (n,), as the files have them."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    notes: tuple[str, ...] = ()


def search_path(root: str | os.PathLike[str] | None) -> list[Path]:
    """The given folder; or without one $LEVYJAX_DATA, the user's cache and the system's data sets."""
    if root is not None:
        return [Path(root)]
    given = os.environ.get(DATA_VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "levyjax"
    return [*([Path(given)] if given else []), cache, _SYSTEM]


def places(name: str, parents: list[Path]) -> list[Path]:
    """Folders in which the files of a data set may be, in the order of the search."""
    spellings = ["", name, name.replace("_", "-")]
    spellings += ["cifar-10-batches-bin", "cifar-10-batches-py"] if name == "cifar10" else []
    return [parent / spelling for parent in parents for spelling in dict.fromkeys(spellings)]


def read_npz(folder: Path, name: str) -> Parts | None:
    """The arrays x_train, y_train, x_test and y_test of `name`.npz; None where the folder has no such file.

    Raises:
        ValueError: it is damaged, or its arrays are not those.
    """
    path = folder / f"{name}.npz"
    if not _is_file(path):
        return None
    try:
        arrays = read_arrays(path, _NPZ_NAMES)
    except (DamagedArchive, OSError) as error:
        raise ValueError(f"{path} is truncated or no npz file ({error}). Fetch it again.") from None
    if len(arrays) < len(_NPZ_NAMES):
        missing = next(key for key in _NPZ_NAMES if key not in arrays)
        raise ValueError(f"{path} has no array {missing}; {', '.join(_NPZ_NAMES)} are expected.")
    train_x, train_y, test_x, test_y = arrays.values()
    for part, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
        if x.dtype != np.uint8 or y.dtype.kind not in "ui":
            raise ValueError(
                f"{path} holds {x.dtype} in x_{part} and {y.dtype} in y_{part} where bytes of images and whole labels "
                "are expected."
            )
        if not (x.ndim == 3 or (x.ndim == 4 and x.shape[3] in _CHANNELS)):
            raise ValueError(
                f"{path}: x_{part} has shape {x.shape}. Give images (n, height, width), or (n, height, width, "
                "channels) with 1, 3 or 4 channels last; NumPy's reshape and transpose make them."
            )
        if not (y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)):
            raise ValueError(f"{path}: y_{part} has shape {y.shape}. Give one whole label an image, (n,).")
    return Parts(train_x, train_y.ravel(), test_x, test_y.ravel())


def read_idx_files(folder: Path) -> Parts | None:
    """The four IDX files of MNIST and its relatives, raw or .gz; None where the folder has none of them.

    Raises:
        ValueError: some are missing, or one is damaged.
    """
    if not any(_candidates(folder, file) for file, _ in IDX_FILES):
        return None
    train_x, train_y, test_x, test_y = (read_idx(_file(folder, file), magic) for file, magic in IDX_FILES)
    return Parts(train_x, train_y, test_x, test_y)


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The bytes of an IDX file, raw or .gz, as an array.

    Raises:
        ValueError: it is no such file, or truncated.
    """
    try:
        data = _unpacked(_bytes(path)) if path.suffix == ".gz" else _bytes(path)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise ValueError(f"{path} is truncated or no gzip file. Fetch it again.") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{path} unpacks to more than {_MOST_BYTES // 2**20} MiB, which no such file does.")
    num_axes = magic % 256
    header = 4 * (1 + num_axes)
    if len(data) < header or int.from_bytes(data[:4], "big") != magic:
        raise ValueError(f"{path} does not begin as an IDX file of {num_axes} axes does. Fetch it again.")
    shape = tuple(int.from_bytes(data[4 * i : 4 * i + 4], "big") for i in range(1, num_axes + 1))
    if len(data) - header != math.prod(shape):
        raise ValueError(
            f"{path} holds {len(data) - header} bytes, and its header promises {math.prod(shape)}: it is truncated or "
            "damaged. Fetch it again."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _unpacked(data: bytes) -> bytes:
    """What a gzip file holds, or a little more than is allowed of it."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(_MOST_BYTES + 1)


def read_cifar(folder: Path) -> Parts | None:
    """CIFAR-10 as its makers have it, in the binary or the Python version; None where the folder has neither.

    All files of the makers have 10,000 images. Files with fewer, but as many each, are taken as they are; a training
    file with fewer than another has been cut.

    Raises:
        ValueError: a file is missing or damaged.
    """
    for suffix, read in ((".bin", _binary_batch), ("", _python_batch)):
        paths = [folder / f"data_batch_{i}{suffix}" for i in range(1, _CIFAR_BATCHES + 1)]
        found = [path for path in paths if _is_file(path)]
        if not found:
            continue
        test = folder / f"test_batch{suffix}"
        absent = [path for path in (*paths[: len(found)], test) if not _is_file(path)]
        if absent:
            raise ValueError(f"{folder} has no {absent[0].name}. Put it there.")
        images, labels = zip(*(read(path) for path in found), strict=True)
        most = max(map(len, labels))
        for path, answers in zip(found, labels, strict=True):
            if len(answers) < most:
                raise ValueError(
                    f"{path} holds {len(answers)} images where another training file holds {most}: it is cut. Fetch it "
                    "again."
                )
        test_images, test_labels = read(test)
        notes = [] if len(found) == _CIFAR_BATCHES else [f"{len(found)} of the {_CIFAR_BATCHES} training files"]
        if len(test_labels) < most:
            notes.append(f"{len(test_labels)} test images, where the training files have {most} each")
        return Parts(np.concatenate(images), np.concatenate(labels), test_images, test_labels, tuple(notes))
    return None


def _binary_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = _bytes(path)
    if len(data) == 0 or len(data) % (1 + _CIFAR_PIXELS):
        raise ValueError(
            f"{path} holds {len(data)} bytes, which is no number of records of {1 + _CIFAR_PIXELS}: it is truncated or "
            "damaged. Fetch it again."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _CIFAR_PIXELS)
    return _upright(records[:, 1:]), records[:, 0]


def _python_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The Python version is a pickle, which could run any program; so its parts are read off, and nothing is run."""
    try:
        pixels, labels = _pickled_parts(_bytes(path))
    except Exception:  # the parser's own, on damage
        raise ValueError(f"{path} is damaged or no CIFAR-10 batch. Fetch it again.") from None
    if len(pixels) == 0 or len(pixels) % _CIFAR_PIXELS or len(labels) * _CIFAR_PIXELS != len(pixels):
        raise ValueError(f"{path} holds no images of {_CIFAR_PIXELS} bytes, a label for each. Fetch it again.")
    return _upright(np.frombuffer(pixels, np.uint8).reshape(-1, _CIFAR_PIXELS)), np.array(labels, np.int64)


def _pickled_parts(data: bytes) -> tuple[bytes, list[int]]:
    """The longest string of bytes of a pickle, and the whole numbers that come between "labels" and the next text."""
    pixels, labels, reading = b"", [], False
    for code, value, _ in pickletools.genops(data):
        if isinstance(value, (str, bytes)) and "GLOBAL" not in code.name:
            found = value.encode("latin-1") if isinstance(value, str) else value
            pixels = max(pixels, found, key=len)
            reading = found == b"labels" or (reading and found == b"latin1")  # the name of an encoding is no key
        elif code.name in ("BININT", "BININT1", "BININT2") and reading:
            labels.append(value)
    return pixels, labels


def _upright(pixels: np.ndarray) -> np.ndarray:
    """Rows of three planes as images (n, height, width, channels)."""
    return pixels.reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE).transpose(0, 2, 3, 1)


def _bytes(path: Path) -> bytes:
    try:
        return read_bounded(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}). Give a readable file.") from None


def _file(folder: Path, file: str) -> Path:
    found = _candidates(folder, file)
    if not found:
        raise ValueError(f"{folder} has no {file} (or {file}.gz). Put it there.")
    return found[0]


def _candidates(folder: Path, file: str) -> list[Path]:
    """The file under the names in use: with a hyphen or a dot before "idx", raw or compressed."""
    names = (file, file.replace("-idx", ".idx"))
    return [path for name in names for suffix in ("", ".gz") if _is_file(path := folder / f"{name}{suffix}")]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
