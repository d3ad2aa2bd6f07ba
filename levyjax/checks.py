"""Checkers of single values, for the arguments of objects and the keys of run files alike.

A checker takes a value and its name (`"alpha"`, or `"[noise] alpha"` in a file), and returns the value to keep or
raises `ConfigError` with one sentence: what was given, what is allowed, what to do. Lists become tuples; arrays that
are right stay as they are, and are looked at as a whole. Neither jax nor NumPy is imported here before an array comes.
"""

import difflib
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

Check = Callable[[Any, str], Any]

_ITEMS_SHOWN = 4
_CHARACTERS_SHOWN = 60


class ConfigError(ValueError):
    """A value was refused; the message says what was given, what is allowed and what to do."""


def show(value: Any, depth: int = 2) -> str:
    """Writes a value as a TOML file would have it, cut short, and never fails whatever the value is.

    Example:
        >>> show([1.0, True, "a"])
        '[1.0, true, "a"]'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(cut(value), ensure_ascii=False)
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, (list, tuple)):
        return _show_list(value, depth)
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    return f"a value of type {type(value).__name__}"


def _show_list(value: list | tuple, depth: int) -> str:
    if depth == 0:
        return "[...]"
    shown = [show(item, depth - 1) for item in value[:_ITEMS_SHOWN]]
    return "[" + ", ".join(shown + ["..."] * (len(value) > _ITEMS_SHOWN)) + "]"


def cut(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= _CHARACTERS_SHOWN else text[: _CHARACTERS_SHOWN - 3] + "..."


def nearest(name: Any, names: Iterable[str]) -> str:
    """The valid name closest to a wrong one as a question, `did you mean "alpha"? `, or nothing."""
    close = difflib.get_close_matches(name[:100].lower(), list(names), n=1, cutoff=0.5) if isinstance(name, str) else ()
    return f'did you mean "{close[0]}"? ' if close else ""


def listing(names: Iterable[str]) -> str:
    """The names in a row: `"a", "b", "c"`."""
    return ", ".join(map(show, names))


def refuse(value: Any, where: str, give: str) -> ConfigError:
    """The error for a value that is not allowed; `give` says what is."""
    return ConfigError(f"{where} = {show(value)} is refused: give {give}.")


def plain(value: Any) -> Any:
    """Arrays and array scalars (NumPy, JAX) as the lists and numbers a file would have; other values as they are."""
    return value.tolist() if hasattr(value, "tolist") else value


def real(give: str, allowed: Callable[[Any], Any]) -> Check:
    """A checker of one number, kept as a float; a bool or a string is no number.

    Args:
        give: what to give, as the end of a sentence.
        allowed: whether a number is, or which numbers of an array are: comparisons joined by `&`.
    """

    def check(value: Any, where: str) -> float:
        value = plain(value)
        if isinstance(value, str):
            raise refuse(value, where, f"{give}, without quotes")
        try:
            number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
        except OverflowError:
            number = math.nan
        if not allowed(number):
            raise refuse(value, where, give)
        return number

    check.allowed = allowed  # type: ignore[attr-defined]
    return check


def integer(low: int, high: int) -> Check:
    """A checker of an integer in [low, high]."""

    def check(value: Any, where: str) -> int:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refuse(value, where, f"a whole number from {low} to {high}, without a decimal point")
        return value

    return check


def require_whole(value: Any, name: str, least: int = 1) -> None:
    """Refuse what is no whole number, or one that is too small."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{name} must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")


def require_dtype(value: Any) -> None:
    """Refuse what is no precision of a simulation."""
    if value not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {value!r}.")


def require_object(value: Any, name: str) -> None:
    """Refuse a class where one of its objects is expected, and nothing."""
    if value is None or isinstance(value, type):
        given = "missing" if value is None else f"the class {value.__name__}"
        raise ValueError(f"{name} is {given}: give an object{'' if value is None else f', {value.__name__}(...)'}.")


def require_kind(value: Any, kind: type, name: str) -> None:
    """Refuse what is no object of a class, such as its name."""
    if not isinstance(value, kind):
        given = (
            repr(value)
            if isinstance(value, str | int | float) or value is None
            else f"an object of {type(value).__name__}"
        )
        raise ValueError(f"{name} must be {'an' if kind.__name__[0] in 'AEIO' else 'a'} {kind.__name__}, got {given}.")


def boolean(value: Any, where: str) -> bool:
    """A checker of true or false."""
    if not isinstance(value, bool):
        raise refuse(value, where, "true or false")
    return value


def text(value: Any, where: str) -> str:
    """A checker of a text that is not empty."""
    if isinstance(value, str) and value:
        return value
    raise refuse(value, where, "a text in quotes")


def indices(value: Any, where: str) -> tuple[int, ...]:
    """A checker of a list of whole numbers from 0, none of them twice."""
    value = plain(value)
    if not isinstance(value, (list, tuple)) or not value or len(set(map(str, value))) < len(value):
        raise refuse(value, where, "a list of different whole numbers, counted from 0")
    return tuple(integer(0, 2**31 - 1)(item, f"{where}[{place}]") for place, item in enumerate(value))


def choice(names: Iterable[str]) -> Check:
    """A checker of a name."""
    names = tuple(names)

    def check(value: Any, where: str) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise ConfigError(f"{where} = {show(value)} is unknown: {nearest(value, names)}Allowed are {listing(names)}.")

    return check


def sweep(check: Check) -> Check:
    """A checker of one number or a non-empty list to sweep over; the numbers are kept exactly as they are written."""

    def run(value: Any, where: str) -> Any:
        value = plain(value)
        if not isinstance(value, (list, tuple)):
            check(value, where)
            return value
        if not value:
            raise refuse(value, where, "a number, or a list of one or more numbers to sweep over")
        for index, item in enumerate(value):
            check(item, f"{where}[{index}]")
        return tuple(value)

    return run


def sweep_of_lists(entry: Check) -> Check:
    """A checker of a list with one number a coordinate, or a list of such lists to sweep over; kept as the latter."""

    def run(value: Any, where: str) -> Any:
        value = plain(value)
        if not isinstance(value, (list, tuple)) or not value:
            raise refuse(value, where, "a list with one number for each coordinate, or a list of such lists to sweep")
        if not any(isinstance(row, (list, tuple)) for row in value):
            value = [value]
        for index, row in enumerate(value):
            if not isinstance(row, (list, tuple)) or not row:
                raise refuse(row, f"{where}[{index}]", "a list with one number for each coordinate")
            for place, item in enumerate(row):
                entry(item, f"{where}[{index}][{place}]")
        return tuple(map(tuple, value))

    return run


def vector(entry: Check, may_be_empty: bool = False) -> Check:
    """A checker of a list with one number a coordinate; a bare number is a list of one.

    Example:
        >>> vector(positive)([1, 2.0], "lower"), vector(positive)(3, "lower")
        ((1.0, 2.0), (3.0,))
    """

    def check(value: Any, where: str) -> Any:
        if _is_array(value, 1) and value.size and all_allowed(entry, value):
            return value
        value = plain(value)
        if not isinstance(value, (list, tuple)):
            return (entry(value, where),)
        if not value and not may_be_empty:
            raise refuse(value, where, "a list with one number for each coordinate")
        return tuple(entry(item, f"{where}[{index}]") for index, item in enumerate(value))

    return check


def box(value: Any, where: str) -> tuple[tuple[float, ...], ...]:
    """A checker of a pair [low, high], or of a list with one pair a coordinate."""
    value = plain(value)
    give = "[low, high] with low below high, or one such pair for each coordinate"
    if not isinstance(value, (list, tuple)) or not value:
        raise refuse(value, where, give)
    pairs = value if isinstance(value[0], (list, tuple)) else [value]
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise refuse(value, where, give)
    made = tuple(tuple(finite(entry, where) for entry in pair) for pair in pairs)
    if not all(low < high for low, high in made):
        raise refuse(value, where, give)
    return made if pairs is value else made[0]


positive = real("a finite number above 0", lambda x: (x > 0.0) & (x < math.inf))
not_negative = real("a finite number, 0 or above", lambda x: (x >= 0.0) & (x < math.inf))
finite = real("a finite number", lambda x: (-math.inf < x) & (x < math.inf))
part = real("a number from 0 up to, but not including, 1", lambda x: (x >= 0.0) & (x < 1.0))

_ROUNDED = 1e-12  # of the largest eigenvalue: a real part that is rounding
_SYMMETRY = 1e-6  # of an entry, and 1e-9 of the largest: what single precision rounds, not a real difference
Matrix = tuple[float, ...] | tuple[tuple[float, ...], ...]


def positive_definite(value: Any, where: str) -> Any:
    """A checker of a symmetric positive definite matrix, kept as its diagonal or its rows.

    Example:
        >>> positive_definite([1, 2], "hessian"), positive_definite([[2, 1], [1, 2]], "hessian")
        ((1.0, 2.0), ((2.0, 1.0), (1.0, 2.0)))
    """
    import numpy as np

    kept = _square(value, where) if _is_matrix(value) else vector(positive)(value, where)
    if not _is_matrix(kept):
        return kept
    with np.errstate(all="ignore"):
        rows = np.asarray(kept, np.float64)
        close = np.abs(rows - rows.T) <= np.maximum(_SYMMETRY * np.abs(rows.T), 1e-9 * np.abs(rows).max())
        if not (close & close.T).all():
            i, j = max(np.argwhere(~(close & close.T)).tolist())
            raise ConfigError(
                f"{where} is not symmetric: entry [{i}][{j}] is {rows[i, j]} but entry [{j}][{i}] is {rows[j, i]}. "
                "Make them equal."
            )
        try:
            definite = bool(np.isfinite(np.linalg.cholesky(rows)).all())
        except np.linalg.LinAlgError:
            definite = False
        if not definite:
            smallest = f"; its smallest eigenvalue is {np.linalg.eigvalsh(rows)[0]:.6g}"
            raise refuse(plain(value), where, f"a positive definite matrix{smallest}")
    return kept


def stable_matrix(value: Any, where: str) -> Any:
    """A checker of a matrix whose eigenvalues all have a negative real part, kept as its diagonal or its rows.

    Example:
        >>> stable_matrix([-1, -2], "matrix"), stable_matrix([[-1, 3], [-3, -1]], "matrix")
        ((-1.0, -2.0), ((-1.0, 3.0), (-3.0, -1.0)))
    """
    import numpy as np

    kept = _square(value, where) if _is_matrix(value) else vector(finite)(value, where)
    rows = np.asarray(kept, np.float64)
    if (reason := why_unstable(np.diag(rows) if rows.ndim == 1 else rows)) is not None:
        raise ConfigError(f"{where} is no matrix of a drift that comes to rest: {reason}.")
    return kept


def why_unstable(jacobian: Any) -> str | None:
    """Why a drift of this Jacobian (d, d) leads away from its point of rest, as the end of a sentence; None if not."""
    import numpy as np

    if not np.isfinite(jacobian).all():
        return "its entries are not finite"
    values = np.linalg.eigvals(jacobian)
    worst = complex(values[np.argmax(np.real(values))])
    if worst.real < -_ROUNDED * np.abs(values).max():
        return None
    shown = f"{worst.real:.6g}" if worst.imag == 0 else f"{worst.real:.6g} +- {abs(worst.imag):.6g}i"
    return f"an eigenvalue of the Jacobian is {shown}, and all of them must have a negative real part"


def scale_matrix(value: Any, where: str) -> Any:
    """A checker of A, the noise's matrix, not 0: a number (times the identity), a diagonal >= 0, or equal rows."""
    if not (isinstance(value, (list, tuple)) or getattr(value, "ndim", 0)):
        return positive(value, where)
    kept = _rows(value, where) if _is_matrix(value) else vector(not_negative)(value, where)
    rows = kept if _is_matrix(kept) else [kept]
    if not (kept.any() if hasattr(kept, "any") else any(map(any, rows))):
        raise refuse(
            plain(value), where, "a scale that is not 0 in all its entries (without noise nothing leaves a basin)"
        )
    return kept


def all_allowed(entry: Check, array: Any) -> bool:
    """Whether a checker of one number takes every entry of an array of numbers."""
    import numpy as np

    allowed = getattr(entry, "allowed", None)
    return allowed is not None and bool(np.all(allowed(np.asarray(array))))


def _is_array(value: Any, ndim: int) -> bool:
    return getattr(value, "ndim", None) == ndim and getattr(getattr(value, "dtype", None), "kind", "") in "fiu"


def _is_matrix(value: Any) -> bool:
    if hasattr(value, "ndim"):
        return value.ndim > 1
    return isinstance(value, (list, tuple)) and any(isinstance(row, (list, tuple)) for row in map(plain, value))


def _square(value: Any, where: str) -> Any:
    return _rows(value, where, square=True)


def _rows(value: Any, where: str, square: bool = False) -> Any:
    """A matrix, as its array or its rows."""
    fits = _is_array(value, 2) and value.size and (value.shape[0] == value.shape[1] or not square)
    if fits and all_allowed(finite, value):
        return value
    row_check, value = vector(finite), [plain(row) for row in plain(value)]
    columns = len(value) if square or not isinstance(value[0], (list, tuple)) else max(len(value[0]), 1)
    for index, row in enumerate(value):
        if not isinstance(row, (list, tuple)) or len(row) != columns:
            size = f"has {len(row)} entries" if isinstance(row, (list, tuple)) else "is no list"
            wanted = f"there are {len(value)} rows" if square else f"row 0 has {columns}"
            give = "a square matrix as a list of rows" if square else "a list of rows of one length, one a coordinate"
            raise ConfigError(f"{where}: row {index} {size}, but {wanted}. Give {give}.")
    return tuple(row_check(row, f"{where}[{index}]") for index, row in enumerate(value))
