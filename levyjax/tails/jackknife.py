"""Intervals from leaving out groups of rows, and what is to be said where rows or neighbours are dependent."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.tails.block import INVERSE_BY_BLOCKS, reciprocal
from levyjax.tails.dependence import FALSE_ALARMS, Dependence, dependence
from levyjax.tails.order import without_order
from levyjax.tails.values import TailEstimate, centred

FEWEST_ROWS = 8
_GROUPS = 50  # left out in turn
_REACHES = 4  # of the dependence that a group is long at least
_AT_AN_END = "The index is at an end of what this method can say: the interval is that of independent values."
_COLUMNS = 64  # that are looked at
_ERRORS_VANISH = ("characteristic_function", "koutrouvelis", "maximum_likelihood")  # those of an index of 2
_BELOW_TWO = 1.95
_FEW_HOLDERS = 50  # rows of large values, from which on crowding is let pass


def by_groups(
    values: np.ndarray, whole: TailEstimate, function: Callable[..., TailEstimate], settings: dict[str, Any]
) -> TailEstimate:
    """The estimate with an interval from leaving out groups, and with warnings of dependence.

    Independent values (n,) keep the method's own interval.

    Args:
        values: (n,) or (rows, columns).
        whole: the method's estimate from all of them.
        function: the method.
        settings: given to it.

    Source:
        The delete-a-group jackknife: Kott 2001; of stretches of dependent values: Künsch 1989.
    """
    blocks = whole.settings.get("block_length")
    both = blocks is not None and values.ndim == 2
    found = dependence(values, tests=2 if both else 1)
    neighbours = dependence(values.ravel(), tests=2, longest=blocks) if both else found
    notes = []
    if found or values.ndim == 2:
        groups = _num_groups(len(values), found, blocks)
        whole = _jackknifed(values, whole, function, settings, groups)
        notes = [_AT_AN_END] if "interval" not in whole.settings else []
        notes += [_dependent(values, found, None if notes else groups)] if found else []
    if values.ndim == 2 and "num_tail" in whole.settings:
        notes += _clustered(values, whole.settings)
    if blocks and neighbours:
        notes.append(
            "Neighbouring values, whose sums the estimate is from, depend on each other or share a scale: it is then "
            "no tail index."
        )
    return dataclasses.replace(whole, warnings=(*whole.warnings, *notes))


def of_columns(data: Any) -> list[str]:
    """A warning if the rows of the data (n, columns), by up to 64 of these, depend on each other."""
    shown = np.unique(np.linspace(0, data.shape[1] - 1, _COLUMNS).astype(int))
    values = np.asarray(data[:, shown], dtype=np.float64)
    values, notes = without_order(values)
    found = dependence(values)
    return [*notes, *([_dependent(values, found, None)] if found else [])]


def _num_groups(n: int, found: Dependence | None, blocks: int | None) -> int:
    """So many that each is long against the dependence, and holds four rows where blocks cut rows in two."""
    length = max(_REACHES * found.reach if found else 1, _REACHES if blocks else 1)
    return max(FEWEST_ROWS, min(_GROUPS, n // length))


def _dependent(values: np.ndarray, found: Dependence, groups: int | None) -> str:
    """The warning of dependence, with what the interval is of: stretches, or independent rows (None)."""
    what = "rows" if values.ndim == 2 else "values"
    if groups is None:
        interval = f"an interval is that of independent {what}"
    else:
        interval = f"the interval is from leaving out {groups} stretches of {len(values) // groups} in turn"
        if len(values) < groups * _REACHES * found.reach:
            interval += ", which are short for that"
    return (
        f"Neighbouring {what} depend on each other (rank correlations up to a distance of {found.reach} add up to "
        f"{found.total:.2g}): {interval}."
    )


def _clustered(values: np.ndarray, settings: dict[str, Any]) -> list[str]:
    """A warning if the largest values crowd in few rows: by the dispersion of their counts n_1, n_2, ... in the rows.

    Such rows count for (sum n)^2/(sum n^2) rows (Kish 1965).
    """
    sizes = np.abs(centred(values.ravel(), settings.get("center", False))).reshape(values.shape)
    count = settings["num_tail"]
    held = (sizes >= np.partition(sizes.ravel(), -count)[-count]).sum(axis=1)
    rows = float(held.sum() ** 2 / (held**2).sum())
    p_value = scipy.stats.chi2.sf(held.var() / held.mean() * len(held), len(held) - 1)
    if rows >= _FEW_HOLDERS or p_value > FALSE_ALARMS:
        return []
    return [f"The {count} largest values crowd in rows and count for {rows:.0f} of these: the interval is rough."]


def _jackknifed(
    values: np.ndarray,
    whole: TailEstimate,
    function: Callable[..., TailEstimate],
    settings: dict[str, Any],
    groups: int,
) -> TailEstimate:
    """The estimate with an interval from the estimates without one group each, unless it is at an end of its range."""
    units, alpha_of = _units(values, whole, function, settings)
    groups = min(groups, len(units))
    place = np.arange(len(units)) * groups // len(units)
    without = np.array([alpha_of(units[place != group]) for group in range(groups)])
    there, back = _scale(whole.method, max(whole.alpha, without.max()))
    error = math.sqrt((groups - 1) * float(there(without).var()))
    if error == 0 or not math.isfinite(whole.alpha):
        return whole
    half, own = float(scipy.stats.t.ppf(0.975, groups - 1)) * error, float(there(np.float64(whole.alpha)))
    what = "rows" if values.ndim == 2 else "values"
    low, high = back(own - half), back(own + half)
    if "x_min" in whole.settings and "x_min" not in settings:  # the error of choosing it is in the method's own
        low, high = min(low, whole.interval[0]), max(high, whole.interval[1])
    settings = whole.settings | {"interval": f"jackknife over {groups} groups of {what}"}
    return dataclasses.replace(whole, interval=(low, high), settings=settings)


def _scale(method: str, largest: float) -> tuple[Callable[[Any], Any], Callable[[float], float]]:
    """On which estimates are about normal, and back: -1/alpha, or log(alpha/(2 - alpha)) where errors vanish at 2."""
    if method in _ERRORS_VANISH and largest < _BELOW_TWO:
        return lambda alpha: scipy.special.logit(alpha / 2), lambda place: 2 * float(scipy.special.expit(place))
    return lambda alpha: -1 / alpha, lambda place: -1 / place if place < 0 else math.inf


def _units(
    values: np.ndarray, whole: TailEstimate, function: Callable[..., TailEstimate], settings: dict[str, Any]
) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
    """What is left out in groups, and the index from what remains: rows or values, or the blocks of the whole.

    The middle is that of the whole. log|x - middle| is so steep near the middle that small shifts of it from group to
    group make an error of their own (measured: intervals 1.5 to 3 times too wide), which the estimate has not: the
    mean of log|x - middle| is stationary there. New blocks at each turn do the same.
    """
    center = whole.settings.get("center", False)
    if center:
        values = centred(values.ravel(), True).reshape(values.shape)
        settings = settings | {"center": False}
    if whole.method in INVERSE_BY_BLOCKS:
        length, count = whole.settings["block_length"], whole.settings["num_blocks"]
        inverse_of = INVERSE_BY_BLOCKS[whole.method]
        blocks = values.ravel()[: length * count].reshape(count, length)
        return blocks, lambda part: float(reciprocal(inverse_of(part)))
    settings = settings | {name: whole.settings[name] for name in ("x_min", "discrete") if name in whole.settings}
    return values, lambda part: function(part, **settings).alpha
