"""One door to all estimators of the tail index: one sample, rows that are the independent unit, or every column."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from levyjax.tails import columns
from levyjax.tails.block import block_log_moment, block_log_moment_as_published, per_coordinate
from levyjax.tails.choice import Choice, choose
from levyjax.tails.cutoff import truncated_power_law
from levyjax.tails.extremes import hill, moment
from levyjax.tails.jackknife import FEWEST_ROWS, by_groups, of_columns
from levyjax.tails.likelihood import maximum_likelihood
from levyjax.tails.moments import characteristic_function, fractional_moment, koutrouvelis, log_moment, mcculloch
from levyjax.tails.order import table_warning, without_order, written_out
from levyjax.tails.power_law import power_law
from levyjax.tails.values import TailEstimate, centred, check_shape, check_values

METHODS: dict[str, Callable[..., TailEstimate]] = {  # what `estimate` can be asked for
    "block_log_moment": block_log_moment,
    "block_log_moment_as_published": block_log_moment_as_published,
    "log_moment": log_moment,
    "fractional_moment": fractional_moment,
    "mcculloch": mcculloch,
    "characteristic_function": characteristic_function,
    "koutrouvelis": koutrouvelis,
    "maximum_likelihood": maximum_likelihood,
    "hill": hill,
    "moment": moment,
    "power_law": power_law,
    "truncated_power_law": truncated_power_law,
}
_BY_COLUMN = {  # method -> its formula over columns
    "log_moment": "log_moment",
    "fractional_moment": "fractional_moment",
    "mcculloch": "mcculloch",
    "characteristic_function": "kogon_williams",
    "hill": "hill",
    "moment": "moment",
}
COLUMN_METHODS = ("block_log_moment", *_BY_COLUMN)  # what `estimate_columns` can be asked for
_CHUNK = 2**22  # values handled at a time by JAX


def estimate(
    data: Any, method: str | None = None, *, unit: int | None = None, weights: Any = None, **settings: Any
) -> TailEstimate:
    """Tail index of the pooled values by any method, with an interval that allows for dependence within rows.

    Neighbouring rows (or values, of data with one axis) are tested for dependence. Where it is significant a warning
    says so, and the interval is from leaving out stretches that are four times as long as the dependence reaches. About
    1% of independent data at most are warned of; of autoregressive data of coefficient 0.9, 99% from 50 rows on. Data
    that were sorted before they were stored carry no order: they are shuffled, and a warning says so.

    Args:
        data: real numbers (n,); or (rows, columns), pooled, whose rows (the mini-batches) are the independent unit.
        method: one of `METHODS`. None looks at the data first: maximum likelihood under the symmetric stable law if
            they are symmetric (by the audit's test), the power law if they are one-sided, and the characteristic
            function, which takes any skew, if they are neither. `settings["reason"]` says why; a warning, where the law
            fits badly or the data are too few to tell.
        weights: how often each of the values (n,) occurs, whole numbers: for tables of values and counts.
        unit: for data (n,), the length of a stretch that may be dependent in itself; the stretches are then the rows.
        settings: of the method: block_length, power, num_tail, center, x_min, discrete.

    Returns:
        The estimate. With rows, the interval is from leaving out one of up to 50 groups of rows in turn (the
        jackknife), through Student's t; the middle is taken away once, and blocks are left out whole. Of a power law
        that was not asked for, the interval also takes in that of a power law of x - c for any c.

    Raises:
        ValueError: the method, a setting or the unit is unknown or does not fit, or the data are unusable. Without a
            method: one-sided data look normal in their logarithms, exponential, or of a lighter tail than a power, or
            no stable law fits skewed ones.

    Source:
        The methods' own; the delete-a-group jackknife: Kott 2001; of stretches: Künsch 1989.

    Example:
        >>> shared = np.random.default_rng(0).lognormal(sigma=0.5, size=(500, 1))
        >>> noise = shared * np.random.default_rng(1).standard_cauchy((500, 20))
        >>> by_rows, as_if_independent = estimate(noise, "log_moment"), log_moment(noise)
        >>> by_rows.interval[0] < as_if_independent.interval[0]
        True
        >>> estimate(np.random.default_rng(0).pareto(1.5, 5_000) + 1).method
        'power_law'
    """
    if method is None and settings:
        raise ValueError(f"{', '.join(settings)} are settings of a method. Name one of {', '.join(METHODS)}.")
    if method is not None and method not in METHODS:
        raise ValueError(f"method {method!r} is unknown. Give one of {', '.join(METHODS)}.")
    if method is not None:
        _check_settings(method, METHODS[method], settings)
    if weights is not None:
        data, _ = written_out(check_shape(data), weights)
    values, notes = without_order(check_values(data))
    if weights is None and (table := table_warning(values)):
        notes = (*notes, table)
    if unit is not None:
        values = _stretches(values, unit)
    chosen = choose(values) if method is None else Choice(METHODS[method])
    function, notes = chosen.function, (*chosen.warnings, *notes)
    whole = function(values, **settings)
    why = {} if method else {"reason": chosen.reason}
    whole = dataclasses.replace(whole, settings=whole.settings | why, warnings=(*whole.warnings, *notes))
    if values.ndim == 2 and len(values) < FEWEST_ROWS:
        note = f"Only {len(values)} rows: the interval is that of independent values."
        return dataclasses.replace(whole, warnings=(*whole.warnings, note))
    return by_groups(values, whole, function, settings)


def estimate_columns(data: Any, method: str = "log_moment", **settings: Any) -> TailEstimate:
    """Tail index of every column on its own, in chunks, compiled: for millions of coordinates.

    Args:
        data: (iterations, parameters), an array or a table; a memory map is read in pieces.
        method: one of `COLUMN_METHODS`.
        settings: block_length; power; num_tail (default n/10, at least 10); center (default True).

    Returns:
        The estimate with alpha (parameters,) and interval (parameters, 2); nan for a column that never varies, counted
        as `settings["dead"]`. The intervals are those of independent iterations: where the iterations of up to 64
        columns depend on each other, a warning says so. Where jax has 64-bit types switched off the formulas run in
        float32, with errors of about 1e-5.

    Raises:
        ValueError: the method or a setting is unknown or does not fit, or the data are unusable.

    Example:
        >>> noise = np.random.default_rng(0).standard_cauchy((1_000, 300))
        >>> estimate = estimate_columns(noise, "characteristic_function")
        >>> estimate.alpha.shape, bool(abs(np.median(estimate.alpha) - 1) < 0.02)
        ((300,), True)
    """
    if method == "block_log_moment":
        _check_settings(method, per_coordinate, settings)
        found = per_coordinate(data, **settings)
        return dataclasses.replace(found, warnings=(*found.warnings, *of_columns(check_shape(data))))
    if method not in _BY_COLUMN:
        raise ValueError(f"method {method!r} has no form for columns. Give one of {', '.join(COLUMN_METHODS)}.")
    _check_settings(method, METHODS[method], settings)
    data = check_shape(data)
    if data.ndim != 2 or len(data) < 16:
        raise ValueError(f"data has shape {np.shape(data)}. Give (iterations, parameters), 16 iterations or more.")
    center = settings.pop("center", True)
    if method in ("hill", "moment"):
        settings.setdefault("num_tail", max(10, len(data) // 10))
        if not 2 <= settings["num_tail"] < len(data):
            raise ValueError(f"num_tail {settings['num_tail']} does not fit {len(data)} values. Give 2 to below it.")
    parts = [_of_columns(piece, method, settings, center) for piece in _pieces(data)]
    alpha, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    dead = int(np.isnan(alpha).sum())
    if dead == alpha.size:
        raise ValueError(f"data is constant: none of {dead} columns varies. Give values that vary.")
    dead_note = [f"{dead} of {alpha.size} coordinates never vary and have no index (nan)."] if dead else []
    warnings = (*dead_note, *of_columns(data))
    settings |= {"center": center, "dead": dead}
    return TailEstimate(alpha, np.stack([low, high], axis=1), method, settings, len(data), warnings)


def _pieces(data: Any) -> Any:
    """Columns in pieces of about 4 million values, the last one filled up so that all have one shape."""
    width = max(1, min(_CHUNK // len(data), data.shape[1]))
    for start in range(0, data.shape[1], width):
        piece = np.asarray(data[:, start : start + width], dtype=np.float64)
        if not np.isfinite(piece).all():
            raise ValueError("data holds values that are NaN or infinite. Remove them first.")
        yield piece, np.pad(piece, ((0, 0), (0, width - piece.shape[1])))


def _of_columns(piece: tuple[np.ndarray, np.ndarray], method: str, settings: dict[str, Any], center: bool) -> Any:
    import jax.numpy as jnp

    own, padded = piece
    x = jnp.asarray(centred(padded, center), dtype=jnp.result_type(float))
    alpha, low, high = columns.compiled(_BY_COLUMN[method], tuple(settings.items()))(x)[:3]
    varies = np.ptp(own, axis=0) > 0
    count = own.shape[1]
    return [np.where(varies, np.asarray(part, dtype=np.float64)[:count], np.nan) for part in (alpha, low, high)]


def _check_settings(method: str, function: Callable[..., TailEstimate], settings: dict[str, Any]) -> None:
    allowed = [name for name in inspect.signature(function).parameters if name != "data"]
    for name in settings:
        if name not in allowed:
            raise ValueError(f"{method} has no setting {name!r}. It has {', '.join(allowed) or 'none'}.")


def _stretches(values: np.ndarray, unit: int) -> np.ndarray:
    if values.ndim != 1 or unit != int(unit) or not 1 < unit <= values.size // FEWEST_ROWS:
        raise ValueError(f"unit {unit} does not fit data {values.shape}. Give (n,) and an integer from 2 to n/8.")
    return values[: values.size // unit * unit].reshape(-1, unit)
