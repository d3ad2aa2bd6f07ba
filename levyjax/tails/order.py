"""The order and the form in which data were stored, where these say nothing of how the values came."""

from typing import Any

import numpy as np

_OUT_OF_PLACE = 0.02  # part of the falls (or rises) of a random order that sorted data may have
_FEWEST_FALLS = 5.0  # of a random order, from which their absence says something
_MOST_TESTED = 64  # columns or rows
_MOST_VALUES = 2**23  # that a table is written out to
_SORTED_BY = ("in rising order", "in falling order", "in rising order of size", "in falling order of size")


def without_order(data: np.ndarray, seed: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
    """Shuffles data that were sorted before they were stored, as degrees, losses and eigenvalues are.

    Sorted are values that rise (or fall) all the way, themselves or their sizes |x| or |x - median|, but for 2% of the
    falls that a random order has: so also parts that are each sorted, or a few values appended. Of (rows, columns)
    every column, every row, or the whole may be sorted; each is shuffled in itself.

    Args:
        data: real numbers (n,) or (rows, columns).
        seed: of the shuffling.

    Returns:
        The data, and a sentence if they were shuffled.

    Example:
        >>> without_order(np.arange(100.0))[1]
        ('The values are stored in rising order, which says nothing of how they came: they were shuffled.',)
    """
    rng = np.random.default_rng(seed)
    if data.ndim == 1:
        return _told(rng.permutation(data), "The values are", found) if (found := _sorted_by(data)) else (data, ())
    for order in ("C", "F"):
        if (found := _sorted_by(data.ravel(order), out_of_place=0.0)) and np.ptp(data, axis=0).any():
            return _told(rng.permutation(data.ravel()).reshape(data.shape), "The values are", found)
    for what, lines, axis in (("column", data.T, 0), ("row", data, 1)):
        if found := _most_sorted_by(lines):
            return _told(rng.permuted(data, axis=axis), f"The values of each {what} are", found)
    return data, ()


def _told(data: np.ndarray, what: str, found: str) -> tuple[np.ndarray, tuple[str, ...]]:
    each = "each " if "each" in what else ""
    text = f"{what} stored {found}, which says nothing of how they came: they were {each}shuffled."
    return data, (text.replace("were each shuffled", "were shuffled in it"),)


def _most_sorted_by(lines: np.ndarray) -> str | None:
    """What most of the lines that vary (up to 64 of them) are sorted by, None if most are not."""
    if lines.shape[1] < 8:
        return None
    shown = lines[np.unique(np.linspace(0, len(lines) - 1, _MOST_TESTED).astype(int))]
    found = [_sorted_by(line) for line in shown if np.ptp(line) > 0]
    most = max(found, key=found.count, default=None)
    return most if found.count(most) > 0.9 * len(found) else None


def _sorted_by(values: np.ndarray, out_of_place: float = _OUT_OF_PLACE) -> str | None:
    for sizes, names in ((values, _SORTED_BY[:2]), (np.abs(values), _SORTED_BY[2:])):
        if found := _direction(sizes, names, out_of_place):
            return found
    return _direction(np.abs(values - np.median(values)), _SORTED_BY[2:], out_of_place)


def _direction(values: np.ndarray, names: tuple[str, ...], out_of_place: float) -> str | None:
    """The name of rising or falling order, if the values have next to none of the falls or rises of a random order."""
    falls, rises = int((values[1:] < values[:-1]).sum()), int((values[1:] > values[:-1]).sum())
    if min(falls, rises) > out_of_place * values.size / 2:  # a random order has no more than n/2 of each
        return None
    counts = np.unique(values, return_counts=True)[1] / values.size
    expected = (values.size - 1) / 2 * (1 - float((counts**2).sum()))
    if expected < _FEWEST_FALLS or min(falls, rises) > out_of_place * expected:
        return None
    return names[0] if falls < rises else names[1]


def written_out(values: Any, weights: Any, seed: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values of a table, each as often as its weight says, in random order.

    Args:
        values: real numbers (n,).
        weights: how often each occurs, whole numbers (n,) of 0 or more.
        seed: of the order.

    Returns:
        The values; of counts that sum to more than 8 million a random part of so many; and a sentence.

    Raises:
        ValueError: weights do not fit the values or are no counts.

    Example:
        >>> np.sort(written_out([1.0, 2.0, 5.0], [2, 0, 1])[0]).tolist()
        [1.0, 1.0, 5.0]
    """
    values, weights = np.asanyarray(values), np.asarray(weights)
    if values.ndim != 1 or weights.shape != values.shape:
        raise ValueError(f"weights have shape {weights.shape} and data {values.shape}. Give (n,) of both.")
    if weights.dtype.kind not in "iuf" or not (np.isfinite(weights) & (weights >= 0) & (weights % 1 == 0)).all():
        raise ValueError("weights hold values that are no counts. Give whole numbers of 0 or more.")
    total, rng = float(weights.sum(dtype=np.float64)), np.random.default_rng(seed)
    note = f"A table of {values.size} values that occur {total:.0f} times in all."
    if total > _MOST_VALUES:
        counts = rng.multinomial(_MOST_VALUES, weights / total)
        note += f" A random part of {_MOST_VALUES} was taken."
    else:
        counts = weights.astype(np.int64)
    return rng.permutation(np.repeat(values, counts)), (note,)


def table_warning(data: np.ndarray) -> str | None:
    """A sentence if two columns look like values and how often each of them occurs."""
    if data.ndim != 2 or data.shape[1] != 2:
        return None
    for value, count in ((0, 1), (1, 0)):
        values, counts = data[:, value], data[:, count]
        whole = bool(((counts >= 0) & (counts % 1 == 0)).all())
        if whole and np.ptp(counts) > 0 and np.unique(values).size == len(data) and _ordered(data):
            return (
                f"Column {value} holds {len(data)} different values and column {count} whole numbers: if it says how "
                f"often each occurs, give data[:, {value}] with weights=data[:, {count}]."
            )
    return None


def _ordered(data: np.ndarray) -> bool:
    """Whether a column of a table is in order, as tables are stored: by value, or by count."""
    steps = np.diff(data, axis=0)
    return bool(((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0)).any())
