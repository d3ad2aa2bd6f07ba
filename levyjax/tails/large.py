"""Data larger than memory: read in pieces, checked to the last value, and brought down to a part that fits."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import numpy as np

from levyjax.tails.values import check_shape

LARGE = 2**23  # values from which a part is taken
_PIECE = 2**22  # values read at a time
_PART = 2**22  # values of the part
_STRETCHES = 64  # of neighbours that the part is made of, so that their order can still be judged


Progress = Callable[[float], object]


def part_of(data: np.ndarray, on_progress: Progress | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Data as they are, or of more than 8 million values a part: stretches of neighbours, evenly spread.

    Every value is looked at once, in pieces, for NaN and exact zeros. Of data (n,) the part is 64 stretches of the
    nonzero values; of (rows, columns) it is up to 65,536 rows and 64 runs of columns, where there are nonzero values.

    Args:
        data: real numbers (n,) or (rows, columns), a NumPy array or a memory map, of which little is held at a time.
        on_progress: called now and then with the part of the reading that was done since, 1 in all.

    Returns:
        float64 of at most 4 million values, and sentences on what was done.

    Raises:
        ValueError: not real numbers, not one or two axes, not finite, or all zero.

    Example:
        >>> part, notes = part_of(np.ones(10))
        >>> part.size, notes
        (10, ())
    """
    check_shape(data)
    if data.size <= LARGE:
        return data, ()
    matrix = data.reshape(-1, 1) if data.ndim == 1 else data
    half = (lambda done: None) if on_progress is None else (lambda done: on_progress(done / 2))  # it is read twice
    by_rows, by_columns, zeros = _looked_at(matrix, half)
    if by_rows.sum() == 0:
        raise ValueError(f"data is constant: all {data.size} values are 0. Give values that vary.")
    flat = data.ndim == 1
    part = _stretches(matrix, by_rows, half) if flat else _rows_and_columns(matrix, by_rows, by_columns, half)
    what = " x ".join(str(length) for length in part.shape)
    notes = [
        f"The data hold {data.size} values, {zeros} of them exactly zero; an evenly spread part ({what}) was taken."
    ]
    return part, tuple(notes)


def _looked_at(matrix: np.ndarray, on_progress: Progress) -> tuple[np.ndarray, np.ndarray, int]:
    """Nonzero values of every piece of rows and of every bucket of columns, and the number of zeros."""
    turned = _is_turned(matrix)
    stored = matrix.T if turned else matrix
    along, across, bad = [], np.zeros(stored.shape[1], np.intp), 0
    for piece in _pieces(stored, range(math.ceil(len(stored) / _height(stored))), on_progress):
        bad += piece.size - np.count_nonzero(np.isfinite(piece))
        counts = np.count_nonzero(piece, axis=0)
        across += counts
        along.append(np.count_nonzero(piece, axis=1) if turned else counts.sum(keepdims=True))
    if bad:
        raise ValueError(f"data holds {bad} of {matrix.size} values that are NaN or infinite. Remove them first.")
    starts, height = _bucket_starts(matrix.shape[1]), _height(matrix)
    if turned:
        by_rows = np.add.reduceat(across, np.arange(0, len(matrix), height))
        by_columns = np.add.reduceat(np.concatenate(along), starts)
    else:
        by_rows, by_columns = np.concatenate(along), np.add.reduceat(across, starts)
    return by_rows, by_columns, matrix.size - int(by_rows.sum())


def _is_turned(matrix: np.ndarray) -> bool:
    """Whether its columns, not its rows, lie in a file one after the other: it is then read by columns."""
    return not matrix.flags.c_contiguous and _file_of(matrix.T)[0] is not None


def _height(matrix: np.ndarray) -> int:
    """Rows of a piece: 4 million values, or one row."""
    return max(1, _PIECE // matrix.shape[1])


def _pieces(matrix: np.ndarray, places: Iterable[int], on_progress: Progress) -> Iterator[np.ndarray]:
    """The pieces at these places, one after the other in the same memory: what is kept of a piece has to be copied."""
    height, places = _height(matrix), list(places)
    file, place = _file_of(matrix)
    memory = None if file is None else np.empty((min(height, len(matrix)), matrix.shape[1]), matrix.dtype)
    with contextlib.nullcontext() if file is None else open(file, "rb", buffering=0) as opened:
        for index in places:
            start, stop = index * height, min((index + 1) * height, len(matrix))
            if opened is None or memory is None:
                yield np.asarray(matrix[start:stop])
            else:
                piece = memory[: stop - start]
                opened.seek(place + start * matrix.shape[1] * matrix.dtype.itemsize)
                _fill(opened, memoryview(piece).cast("B"))
                yield piece
            on_progress(1 / len(places))


def _fill(file: IO[bytes], memory: memoryview) -> None:
    """Reads until the memory is full: one call reads 2 GiB at most."""
    while memory:
        count = file.readinto(memory)  # type: ignore[attr-defined]
        if not count:
            raise ValueError("data end before their time: their file was cut while it was read. Write it again.")
        memory = memory[count:]


def _file_of(matrix: np.ndarray) -> tuple[str | None, int]:
    """The file of a memory map whose rows lie in it one after the other, and where the first begins; None for others.

    Read in pieces, what was read is let go, which pages of the map itself are not.
    """
    if not isinstance(matrix, np.memmap) or not matrix.flags.c_contiguous or matrix.mode == "c":
        return None, 0
    whole: Any = matrix  # a view has the offset of the whole, whatever part of it it is
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    return whole.filename, whole.offset + matrix.ctypes.data - whole.ctypes.data


def _bucket_starts(width: int) -> np.ndarray:
    return np.unique(np.linspace(0, width, min(width, 4096), endpoint=False).astype(np.intp))


def _evenly(counts: np.ndarray, number: int) -> np.ndarray:
    """Places spread evenly over what is counted: each count of 1 has the same chance."""
    total = np.cumsum(counts)
    return np.unique(np.searchsorted(total, (np.arange(number) + 0.5) * total[-1] / number))


def _stretches(matrix: np.ndarray, by_rows: np.ndarray, on_progress: Progress) -> np.ndarray:
    places = _evenly(by_rows, _STRETCHES)
    length = _PART // len(places)
    pieces = (piece.ravel() for piece in _pieces(matrix, places.tolist(), on_progress))
    return np.concatenate([values[values != 0][:length].astype(np.float64) for values in pieces])


def _rows_and_columns(
    matrix: np.ndarray, by_rows: np.ndarray, by_columns: np.ndarray, on_progress: Progress
) -> np.ndarray:
    height, starts = _height(matrix), _bucket_starts(matrix.shape[1])
    rows = min(len(matrix), _PART // _STRETCHES)
    places = _evenly(by_rows, min(len(by_rows), rows))
    each = max(1, rows // len(places))
    runs = _evenly(by_columns, _STRETCHES)
    width = max(1, _PART // (each * len(places) * len(runs)))
    chosen = np.unique(np.minimum(np.add.outer(starts[runs], np.arange(width)).ravel(), matrix.shape[1] - 1))
    lengths = [min(height, len(matrix) - place * height) for place in places]
    inside = [np.arange(length)[:: max(1, length // each)][:each] for length in lengths]  # rows of each piece
    if _is_turned(matrix):
        kept = np.concatenate([place * height + rows for place, rows in zip(places, inside, strict=True)])
        own = chosen // _height(matrix.T)
        pieces = _pieces(matrix.T, np.unique(own).tolist(), on_progress)
        columns = [chosen[own == place] - place * _height(matrix.T) for place in np.unique(own)]
        picked = [piece[np.ix_(some, kept)] for piece, some in zip(pieces, columns, strict=True)]
        return np.ascontiguousarray(np.concatenate(picked).T, np.float64)
    pieces = _pieces(matrix, places.tolist(), on_progress)
    picked = [piece[np.ix_(rows, chosen)] for piece, rows in zip(pieces, inside, strict=True)]
    return np.concatenate(picked).astype(np.float64)
