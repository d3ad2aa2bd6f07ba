"""Data larger than memory: read in pieces, checked to the last value, and brought down to a part that fits."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from levyjax.tails.values import check_shape

LARGE = 2**23  # values from which a part is taken
_PIECE = 2**22  # values read at a time
_PART = 2**22  # values of the part
_STRETCHES = 64  # of neighbours that the part is made of, so that their order can still be judged


def part_of(data: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Data as they are, or of more than 8 million values a part: stretches of neighbours, evenly spread.

    Every value is looked at once, in pieces, for NaN and exact zeros. Of data (n,) the part is 64 stretches of the
    nonzero values; of (rows, columns) it is up to 65,536 rows and 64 runs of columns, where there are nonzero values.

    Args:
        data: real numbers (n,) or (rows, columns), a NumPy array or a memory map, of which little is held at a time.

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
    by_rows, by_columns, zeros = _looked_at(matrix)
    if by_rows.sum() == 0:
        raise ValueError(f"data is constant: all {data.size} values are 0. Give values that vary.")
    part = _stretches(matrix, by_rows) if data.ndim == 1 else _rows_and_columns(matrix, by_rows, by_columns)
    what = " x ".join(str(length) for length in part.shape)
    notes = [
        f"The data hold {data.size} values, {zeros} of them exactly zero; an evenly spread part ({what}) was taken."
    ]
    return part, tuple(notes)


def _looked_at(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Nonzero values of every piece of rows and of every bucket of columns, and the number of zeros."""
    by_rows, by_columns, bad = [], 0, 0
    starts = _bucket_starts(matrix.shape[1])
    for piece in _pieces(matrix):
        bad += piece.size - int(np.isfinite(piece).sum())
        buckets = np.add.reduceat(np.count_nonzero(piece, axis=0), starts)
        by_rows.append(int(buckets.sum()))
        by_columns = by_columns + buckets
    if bad:
        raise ValueError(f"data holds {bad} of {matrix.size} values that are NaN or infinite. Remove them first.")
    return np.array(by_rows), np.asarray(by_columns), matrix.size - sum(by_rows)


def _pieces(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in pieces of 4 million values or one row. Each maps the file anew, so that what was read is let go."""
    height = _height(matrix)
    for start in range(0, len(matrix), height):
        yield _read(matrix, start, height)


def _height(matrix: np.ndarray) -> int:
    return max(1, _PIECE // matrix.shape[1])


def _read(matrix: np.ndarray, start: int, height: int) -> np.ndarray:
    stop = min(start + height, len(matrix))
    if not isinstance(matrix, np.memmap) or not matrix.flags.c_contiguous or matrix.mode == "c":
        return np.asarray(matrix[start:stop])
    whole: Any = matrix  # a view has the offset of the whole, whatever part of it it is
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    if whole.filename is None:
        return np.asarray(matrix[start:stop])
    width, place = matrix.shape[1], whole.offset + matrix.ctypes.data - whole.ctypes.data
    with open(whole.filename, "rb") as file:
        file.seek(place + start * width * matrix.dtype.itemsize)
        return np.fromfile(file, matrix.dtype, (stop - start) * width).reshape(-1, width)


def _bucket_starts(width: int) -> np.ndarray:
    return np.unique(np.linspace(0, width, min(width, 4096), endpoint=False).astype(np.intp))


def _evenly(counts: np.ndarray, number: int) -> np.ndarray:
    """Places spread evenly over what is counted: each count of 1 has the same chance."""
    total = np.cumsum(counts)
    return np.unique(np.searchsorted(total, (np.arange(number) + 0.5) * total[-1] / number))


def _stretches(matrix: np.ndarray, by_rows: np.ndarray) -> np.ndarray:
    places = _evenly(by_rows, _STRETCHES)
    length, height, stretches = _PART // len(places), _height(matrix), []
    for row in places:
        values = _read(matrix, int(row) * height, height).ravel()
        stretches.append(values[values != 0][:length].astype(np.float64))
    return np.concatenate(stretches)


def _rows_and_columns(matrix: np.ndarray, by_rows: np.ndarray, by_columns: np.ndarray) -> np.ndarray:
    height, starts = _height(matrix), _bucket_starts(matrix.shape[1])
    rows = min(len(matrix), _PART // _STRETCHES)
    places = _evenly(by_rows, min(len(by_rows), rows))
    each = max(1, rows // len(places))
    runs = _evenly(by_columns, _STRETCHES)
    width = max(1, _PART // (each * len(places) * len(runs)))
    chosen = np.unique(np.minimum(np.add.outer(starts[runs], np.arange(width)).ravel(), matrix.shape[1] - 1))
    picked = [_read(matrix, int(row) * height, height) for row in places]
    return np.concatenate([piece[:: max(1, len(piece) // each)][:each][:, chosen] for piece in picked]).astype(
        np.float64
    )
