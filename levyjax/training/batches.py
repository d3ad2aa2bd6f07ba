"""Mini-batches as indices of examples: drawn, checked, and in chunks of one shape."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def draw_batches(num_examples: int, batch_size: int, num_batches: int, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Mini-batches for measuring noise: each without repetition in itself, and independent of the others.

    (The mini-batches of one epoch are not independent: their noises add up to zero.)

    Args:
        num_examples: to draw from.
        batch_size: from 1 to num_examples.
        num_batches: 1 or more.
        seed: of the draw.

    Returns:
        Indices int32 (num_batches, batch_size).

    Raises:
        ValueError: the sizes do not fit.

    Example:
        >>> draw_batches(10, 4, 3).shape
        (3, 4)
    """
    if not 1 <= batch_size <= num_examples or num_batches < 1:
        raise ValueError(
            f"{num_batches} mini-batches of {batch_size} do not fit {num_examples} examples. "
            f"Give a batch size from 1 to {num_examples} and one mini-batch or more."
        )
    rng = np.random.default_rng(seed)
    rows = [rng.choice(num_examples, batch_size, replace=False, shuffle=False) for _ in range(num_batches)]
    return np.array(rows, np.int32)


def checked_batches(batches: Any, num_examples: int) -> np.ndarray:
    """Indices of mini-batches as int32, or one sentence on what is wrong with them."""
    batches = np.asarray(batches)
    if batches.ndim != 2 or batches.size == 0 or batches.dtype.kind not in "iu":
        raise ValueError(
            f"batches of shape {batches.shape} and dtype {batches.dtype}: give integers (num, batch_size)."
        )
    if batches.min() < 0 or batches.max() >= num_examples:
        raise ValueError(
            f"batches hold indices from {batches.min()} to {batches.max()}. Give indices from 0 to {num_examples - 1}."
        )
    return batches.astype(np.int32)


def drawn_from(batches: np.ndarray, count: int) -> int | None:
    """The number of examples, where no mini-batch repeats one."""
    ordered = np.sort(batches, axis=1)
    return None if (ordered[:, 1:] == ordered[:, :-1]).any() else count


def padded(rows: np.ndarray, width: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """(start, `width` rows, how many of them count), so that every chunk has one shape and compiles once."""
    for start in range(0, len(rows), width):
        chunk = rows[start : start + width]
        yield start, np.concatenate([chunk, np.repeat(chunk[:1], width - len(chunk), axis=0)]), len(chunk)
