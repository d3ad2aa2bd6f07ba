"""Data sets for small classifiers, from what is installed or in a folder; nothing is downloaded."""

import dataclasses
import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

DATA_VARIABLE = "LEVYJAX_DATA"
_SYSTEM = Path("/usr/share/datasets")
_IMAGES, _LABELS = 2051, 2049  # the magic numbers of IDX files of bytes with 3 and with 1 axes
_FILES = {
    "train_x": ("train-images-idx3-ubyte", _IMAGES),
    "train_y": ("train-labels-idx1-ubyte", _LABELS),
    "test_x": ("t10k-images-idx3-ubyte", _IMAGES),
    "test_y": ("t10k-labels-idx1-ubyte", _LABELS),
}
_TEST_PART = 5  # every fifth example of the digits
_CLASSES = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Examples in rows, with labels from 0.

    Attributes:
        name: of the data set.
        train_x: float32 (num_train, num_features); images lie in [0, 1].
        train_y: int32 (num_train,).
        test_x: float32 (num_test, num_features).
        test_y: int32 (num_test,).
        num_classes: labels are below this.
    """

    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    num_classes: int


def load(name: str, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Loads a data set by name.

    Args:
        name: "digits" (1797 images of 8 x 8, comes with scikit-learn); "mnist" or "fashion_mnist" (the four IDX files
            of their makers, raw or .gz); "synthetic" (ten Gaussian clouds in 20 dimensions that overlap).
        root: folder of the IDX files, or one that holds a folder named like the data set. Default: $LEVYJAX_DATA, then
            /usr/share/datasets.

    Returns:
        The data set. digits has every fifth image as its test set, 1437 are for training.

    Raises:
        ValueError: the name is unknown, a file is missing (it says which to put where), or a file is damaged.

    Source:
        digits: Alpaydin and Kaynak 1998 (UCI). mnist: LeCun, Cortes and Burges 1998, with the IDX format.
        fashion_mnist: Xiao, Rasul and Vollgraf 2017.

    Example:
        >>> digits = load("digits")
        >>> digits.train_x.shape, digits.test_y.shape, digits.num_classes
        ((1437, 64), (360,), 10)
    """
    if name not in NAMES:
        raise ValueError(f"data set {name!r} is unknown. Give one of {', '.join(NAMES)}.")
    return _LOADERS[name]() if name in _LOADERS else _idx_dataset(name, root)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split("digits", (x / 16).astype(np.float32), y.astype(np.int32), _CLASSES)


def _synthetic() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(2_500, dtype=np.int32) % _CLASSES
    x = rng.normal(size=(_CLASSES, 20))[y] + rng.normal(size=(y.size, 20))
    return _split("synthetic", x.astype(np.float32), y, _CLASSES)


def _split(name: str, x: np.ndarray, y: np.ndarray, num_classes: int) -> Dataset:
    """A fixed random order, then every fifth example for the test (neighbours in the file may be one writer's)."""
    order = np.random.default_rng(0).permutation(len(y))
    x, y, test = x[order], y[order], np.arange(len(y)) % _TEST_PART == 0
    return Dataset(name, x[~test], y[~test], x[test], y[test], num_classes)


def _idx_dataset(name: str, root: str | os.PathLike[str] | None) -> Dataset:
    folder = _folder(name, root)
    arrays = {key: read_idx(_file(folder, file), magic) for key, (file, magic) in _FILES.items()}
    for part in ("train", "test"):
        x, y = arrays[f"{part}_x"], arrays[f"{part}_y"]
        if len(x) != len(y) or len(x) == 0 or y.max() >= _CLASSES:
            raise ValueError(
                f"{folder} has {len(x)} {part} images and {len(y)} labels up to {y.max(initial=0)}, and as many labels "
                f"as images, below {_CLASSES}, are expected. Fetch the files of {name} again."
            )
        arrays[f"{part}_x"] = x.reshape(len(x), -1).astype(np.float32) / np.float32(255)
        arrays[f"{part}_y"] = y.astype(np.int32)
    if arrays["train_x"].shape[1] != arrays["test_x"].shape[1]:
        raise ValueError(f"{folder} has training and test images of different sizes. Fetch the files again.")
    return Dataset(name, num_classes=_CLASSES, **arrays)


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The bytes of an IDX file, raw or .gz, as an array.

    Raises:
        ValueError: it is no such file, or truncated.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise ValueError(f"{path} is truncated or no gzip file. Fetch it again.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}). Give a readable file.") from None
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


def _folder(name: str, root: str | os.PathLike[str] | None) -> Path:
    """The first folder that holds at least one of the files."""
    given = os.environ.get(DATA_VARIABLE) if root is None else root
    parents = [Path(given)] if given else []
    parents += [] if root is not None else [_SYSTEM]
    spellings = ("", name, name.replace("_", "-"))
    places = [parent / spelling if spelling else parent for parent in parents for spelling in spellings]
    for place in places:
        if any(_candidates(place, file) for file, _ in _FILES.values()):
            return place
    files = ", ".join(file for file, _ in _FILES.values())
    raise ValueError(
        f"{name} is not in {' or '.join(str(parent) for parent in parents)}. Put the files {files} (or .gz) into a "
        f"folder and give it with --data-dir or {DATA_VARIABLE}."
    )


def _file(folder: Path, file: str) -> Path:
    found = _candidates(folder, file)
    if not found:
        raise ValueError(f"{folder} has no {file} (or {file}.gz). Put it there.")
    return found[0]


def _candidates(folder: Path, file: str) -> list[Path]:
    """The file under the names in use: with a hyphen or a dot before "idx", raw or compressed."""
    names = (file, file.replace("-idx", ".idx"))
    paths = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    try:
        return [path for path in paths if path.is_file()]
    except (OSError, ValueError):  # a name that no file can have
        return []


_LOADERS: dict[str, Callable[[], Dataset]] = {"digits": _digits, "synthetic": _synthetic}
NAMES = (*_LOADERS, "mnist", "fashion_mnist")
