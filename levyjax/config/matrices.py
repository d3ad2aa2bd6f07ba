"""Checkers of matrices: a list is the diagonal, a nested list the matrix, a bare number a 1 x 1 matrix or a factor."""

from typing import Any

from levyjax.config.checks import Check, ConfigError, finite, not_negative, plain, positive, refuse, vector

Matrix = tuple[float, ...] | tuple[tuple[float, ...], ...]

_SYMMETRY = 1e-10  # of the largest entry: rounding of printed decimals, not a real difference


def positive_definite(value: Any, where: str) -> Matrix:
    """A checker of a symmetric positive definite matrix, kept as its diagonal or its rows."""
    value = plain(value)
    if not _is_nested(value):
        return vector(positive)(value, where)
    rows = _square(value, where)
    _check_symmetric(rows, where)
    if not _has_cholesky(rows):
        raise refuse(value, where, "a positive definite matrix (all eigenvalues above 0)")
    return rows


def scale_matrix(value: Any, where: str) -> float | Matrix:
    """A checker of the noise's matrix A: a number (times the identity), a diagonal >= 0 or any square matrix, not 0."""
    value = plain(value)
    if not isinstance(value, (list, tuple)):
        return positive(value, where)
    kept = _square(value, where) if _is_nested(value) else vector(not_negative)(value, where)
    if not any(map(any, kept) if _is_nested(value) else kept):
        raise refuse(value, where, "a scale that is not 0 in all its entries (without noise nothing leaves a basin)")
    return kept


def quadratic_form(matrix: Any, point: tuple[float, ...]) -> float:
    """y' M y, with M a `Matrix`: its diagonal or its rows.

    Example:
        >>> quadratic_form((2.0, 3.0), (1.0, 1.0)), quadratic_form(((2.0, 1.0), (1.0, 3.0)), (1.0, 1.0))
        (5.0, 7.0)
    """
    if not _is_nested(matrix):
        return sum(m * y * y for m, y in zip(matrix, point, strict=True))
    return sum(y * sum(m * z for m, z in zip(row, point, strict=True)) for row, y in zip(matrix, point, strict=True))


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(row, (list, tuple)) for row in value)


def _square(value: Any, where: str) -> tuple[tuple[float, ...], ...]:
    row_check: Check = vector(finite)
    for index, row in enumerate(value):
        if not isinstance(row, (list, tuple)) or len(row) != len(value):
            size = f"has {len(row)} entries" if isinstance(row, (list, tuple)) else "is no list"
            raise ConfigError(
                f"{where}: row {index} {size}, but there are {len(value)} rows. Give a square matrix as a list of rows."
            )
    return tuple(row_check(row, f"{where}[{index}]") for index, row in enumerate(value))


def _check_symmetric(rows: tuple[tuple[float, ...], ...], where: str) -> None:
    tolerance = _SYMMETRY * max(abs(entry) for row in rows for entry in row)
    for i, row in enumerate(rows):
        for j, entry in enumerate(row[:i]):
            if abs(entry - rows[j][i]) > tolerance:
                raise ConfigError(
                    f"{where} is not symmetric: entry [{i}][{j}] is {entry} but entry [{j}][{i}] is {rows[j][i]}. "
                    "Make them equal."
                )


def _has_cholesky(rows: tuple[tuple[float, ...], ...]) -> bool:
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            return bool(np.isfinite(np.linalg.cholesky(np.array(rows))).all())
    except np.linalg.LinAlgError:
        return False
