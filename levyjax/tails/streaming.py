"""Estimates from data that come in pieces, in a fixed amount of memory: start, accumulate, combine, finish."""

import dataclasses
import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails import columns
from levyjax.tails.values import TailEstimate, check_shape, log_abs

STREAMED = ("log_moment", "block_log_moment", "characteristic_function")  # methods of which a few sums are enough
_NAMES = {"log_moment": (), "block_log_moment": ("block_length",), "characteristic_function": ("scale",)}


@dataclasses.dataclass(frozen=True, eq=False)
class TailStream:
    """What a method needs to know of the values seen: a few sums.

    Attributes:
        method: one of `STREAMED`.
        settings: location; block_length; scale.
        n: values seen, zeros included.
        zeros: exact zeros, left out of log means.
        sums: float64, sums over the values or blocks seen.
        rest: values that fill no block yet, fewer than a block.
    """

    method: str
    settings: dict[str, float]
    n: int
    zeros: int
    sums: np.ndarray
    rest: np.ndarray


def start_stream(method: str, *, location: float = 0.0, **settings: float) -> TailStream:
    """An empty stream.

    Args:
        method: "log_moment", "block_log_moment" (needs block_length) or "characteristic_function" (needs scale, the
            data's own scale within a factor of two or so, in whose unit the frequencies 0.1 to 1 are).
        location: taken away from every value; gradient noise has 0 by construction.
        settings: block_length or scale.

    Returns:
        The stream.

    Raises:
        ValueError: the method or a setting is unknown, missing or does not fit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> stream = start_stream("log_moment")
        >>> for _ in range(10):
        ...     stream = accumulate(stream, rng.standard_cauchy(10_000))
        >>> bool(abs(finish(stream).alpha - 1) < 0.03)
        True
    """
    if method not in _NAMES:
        raise ValueError(f"method {method!r} cannot be streamed. Give one of {', '.join(STREAMED)}.")
    if set(settings) != set(_NAMES[method]):
        raise ValueError(
            f"settings {sorted(settings)} do not fit {method}. Give {', '.join(_NAMES[method]) or 'none'}."
        )
    length, scale = settings.get("block_length", 2), settings.get("scale", 1.0)
    if length != int(length) or length < 2 or not 0 < scale < math.inf or not math.isfinite(location):
        raise ValueError(f"block_length {length}, scale {scale} or location {location} does not fit.")
    size = {
        "log_moment": 4,
        "block_log_moment": 3,
        "characteristic_function": 2 * columns.COUNT * (1 + 2 * columns.COUNT),
    }
    return TailStream(method, {"location": location, **settings}, 0, 0, np.zeros(size[method]), np.empty(0))


def accumulate(stream: TailStream, values: Any) -> TailStream:
    """The stream with more values, of any shape up to two axes, in their order.

    Raises:
        ValueError: not real numbers, or not finite.
    """
    array = np.asarray(check_shape(values, "values"), dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        raise ValueError("values holds NaN or infinite ones. Remove them first.")
    zeros = int((array == 0).sum())
    moved = np.where(array != 0, array - stream.settings["location"], 0.0)
    sums, rest = _sums(stream, np.concatenate([stream.rest, moved]))
    return dataclasses.replace(
        stream, n=stream.n + array.size, zeros=stream.zeros + zeros, sums=stream.sums + sums, rest=rest
    )


def combine(first: TailStream, second: TailStream) -> TailStream:
    """The stream of the values of both; blocks are formed from what both had left.

    Raises:
        ValueError: the streams have different methods or settings.
    """
    if (first.method, first.settings) != (second.method, second.settings):
        raise ValueError(
            f"streams of {first.method} {first.settings} and {second.method} {second.settings} do not combine."
        )
    sums, rest = _sums(first, np.concatenate([first.rest, second.rest]))
    return dataclasses.replace(
        first,
        n=first.n + second.n,
        zeros=first.zeros + second.zeros,
        sums=first.sums + second.sums + sums,
        rest=rest,
    )


def finish(stream: TailStream) -> TailEstimate:
    """The estimate from all values seen, as the method gives it on the whole.

    Raises:
        ValueError: fewer than 16 values, or two blocks.
    """
    if stream.n - stream.zeros < 16:
        raise ValueError(f"the stream holds {stream.n - stream.zeros} values, and at least 16 are needed. Give more.")
    alpha, low, high = {"log_moment": _log_moment, "block_log_moment": _block, "characteristic_function": _regression}[
        stream.method
    ](stream)
    settings = {**stream.settings, "zeros": stream.zeros, "streamed": True}
    warnings = (f"{stream.zeros} of {stream.n} values are exactly zero.",) if stream.zeros else ()
    return TailEstimate(alpha, (low, high), stream.method, settings, stream.n, warnings)


def _sums(stream: TailStream, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of further values, and those that fill no block."""
    if stream.method == "block_log_moment":
        return _block_sums(values, int(stream.settings["block_length"]))
    if stream.method == "log_moment":
        logs, alive = log_abs(values)
        return np.array([(logs[alive] ** power).sum() for power in range(1, 5)]), np.empty(0)
    waves = _waves(values / stream.settings["scale"])
    return np.concatenate([waves.sum(axis=1), (waves @ waves.T).ravel()]), np.empty(0)


def _waves(x: np.ndarray) -> np.ndarray:
    """cos(t x) and sin(t x) at the ten frequencies, (20, n)."""
    angles = columns.STEP * np.outer(np.arange(1, columns.COUNT + 1), x)
    return np.concatenate([np.cos(angles), np.sin(angles)])


def _block_sums(values: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The number, sum and sum of squares of log|block sum| - mean log|x| over the blocks that have both."""
    count = values.size // length
    blocks, rest = values[: count * length].reshape(count, length), values[count * length :].copy()
    (total, whole), (logs, alive) = log_abs(blocks.sum(axis=1)), log_abs(blocks)
    useful = whole & alive.any(axis=1)
    growth = (total - logs.sum(axis=1) / np.maximum(alive.sum(axis=1), 1))[useful]
    return np.array([growth.size, growth.sum(), (growth**2).sum()]), rest


def _block(stream: TailStream) -> tuple[float, float, float]:
    count, total, squares = stream.sums
    if count < 2:
        raise ValueError(f"the stream holds {count:.0f} whole blocks, and at least 2 are needed. Give more values.")
    mean = total / count
    error = math.sqrt(max(squares / count - mean**2, 0.0) / (count - 1))
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * error
    factor = math.log(stream.settings["block_length"])
    alpha, low, high = (factor / value if value > 0 else math.inf for value in (mean, mean + half, mean - half))
    return alpha, low, high


def _log_moment(stream: TailStream) -> tuple[float, float, float]:
    count = stream.n - stream.zeros
    m1, m2, m3, m4 = stream.sums / count
    variance = m2 - m1**2
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    half = 6 / math.pi**2 * columns.Z * math.sqrt(max(fourth - variance**2, 0.0) / count)
    value = 6 * variance / math.pi**2 - 0.5
    alpha, low, high = (end**-0.5 if end > 0 else math.inf for end in (value, value + half, value - half))
    return alpha, low, high


def _regression(stream: TailStream) -> tuple[float, float, float]:
    count = columns.COUNT
    mean = stream.sums[: 2 * count] / stream.n
    covariance = stream.sums[2 * count :].reshape(2 * count, 2 * count) / stream.n - np.outer(mean, mean)
    power = np.clip(mean[:count] ** 2 + mean[count:] ** 2, 1e-12, 1 - 1e-6)
    _, weights = columns.regression_weights(columns.STEP, count)
    alpha = float(weights @ np.log(-np.log(power)))
    slope = 2 * np.tile(np.array(weights) / (power * np.log(power)), 2) * mean
    by_law = columns.slope_variance(np.array([alpha]), np, columns.STEP, weights)[0]
    variance = max(float(slope @ covariance @ slope), float(by_law))
    half = columns.Z * math.sqrt(variance / stream.n)
    return alpha, alpha - half, alpha + half
