"""Figures of exit times: survival curves, quantile plots, and paths in a basin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are used
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from levyjax.escape.statistics import SurvivalCurve, kaplan_meier
from levyjax.plots.style import BAND, BLUE, GREY, INK, legend, panel

_BAND_NAME = "95% of Exp(1)"
_JUMP = 0.1  # of a basin's narrower side: longer steps are drawn as jumps
_MOST_POINTS = 1500  # of a curve; more are thinned, far below what the eye resolves


@dataclass(frozen=True)
class Quantiles:
    """Ordered, scaled exit times against quantiles of Exp(1), with the pointwise 95% band of Exp(1); shape (m,)."""

    expected: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def survival(
    times: ArrayLike,
    exited: ArrayLike | None = None,
    rate: float | None = None,
    *,
    label: str | None = None,
    unit: str = "SDE time",
    ax: Axes | None = None,
) -> Axes:
    """The Kaplan-Meier survival curve on a log axis, with its 95% band; an exponential law is a straight line.

    Args:
        times: shape (n,), exit or censoring times.
        exited: shape (n,), bool, False = censored (marked by a tick on the curve); None: all have exited.
        rate: draws exp(-rate t) dashed, per unit of `times`.
        label: legend entry of the curve.
        unit: what `times` are measured in, for the axis.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: from `kaplan_meier`.

    Source:
        `levyjax.escape.statistics.kaplan_meier`.

    Example:
        >>> survival([1.0, 2.0, 3.0], [True, True, False], rate=0.3).get_yscale()
        'log'
    """
    curve = thinned(kaplan_meier(times, exited))
    floor = 0.5 * max(curve.survival[curve.survival > 0].min(), 1e-7)
    with panel(ax) as axes:
        bottom = min(floor, axes.get_ylim()[0]) if axes.get_yscale() == "log" else floor  # of all curves on the axes
        right = max(1.02 * curve.times[-1], axes.get_xlim()[1] if axes.get_yscale() == "log" else 0)
        shown, low, high = (np.maximum(y, 1e-3 * floor) for y in (curve.survival, curve.low, curve.high))
        (line,) = axes.step(curve.times, shown, where="post", label=label)
        axes.fill_between(curve.times, low, high, step="post", color=line.get_color(), alpha=BAND, linewidth=0)
        ends = censoring_marks(times, exited)
        axes.plot(*ends, "|", color=line.get_color(), markersize=7, markeredgewidth=1.2)
        guide = r"$e^{-\mathrm{rate}\;t}$"
        if rate is not None:
            t = np.linspace(0, curve.times[-1], 200)
            axes.plot(t, np.exp(-rate * t), "--", color=INK, linewidth=1.0, label=guide)
        axes.set(yscale="log", xlabel=f"time $t$ ({unit})", ylabel=r"$P(\Gamma > t)$")
        axes.set_xlim(0, right)
        axes.set_ylim(bottom, 1.2)
        legend(axes, last=(guide,))
    return axes


def exponential_qq(
    times: ArrayLike,
    rate: float | None = None,
    *,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Ordered exit times against the quantiles of Exp(1), with the 95% band that Exp(1) samples of this size keep.

    Args:
        times: shape (n,), exit times, all exited.
        rate: the rate that makes them dimensionless; default 1 / mean.
        label: legend entry of the points.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: times that are empty, negative or not finite, or a rate that is not positive.

    Source:
        The k-th of n ordered uniform numbers has the Beta(k, n - k + 1) law, which gives the band.

    Example:
        >>> exponential_qq([1.0, 2.0, 4.0]).get_ylabel()
        'exit time / mean'
    """
    points = exponential_quantiles(times, rate)
    with panel(ax) as axes:
        if _BAND_NAME not in axes.get_legend_handles_labels()[1]:
            axes.fill_between(
                points.expected, points.low, points.high, color=GREY, alpha=BAND, linewidth=0, label=_BAND_NAME
            )
        ends = [0, points.expected[-1]]
        axes.plot(ends, ends, "--", color=INK, linewidth=1.0)
        axes.plot(points.expected, points.observed, "o", markersize=2.6, markeredgewidth=0, label=label)
        axes.set(xlabel="quantile of Exp(1)", ylabel="exit time / mean" if rate is None else "rate × exit time")
        axes.set_xlim(0, 1.03 * points.expected[-1])
        axes.set_ylim(bottom=0)
        legend(axes, loc="upper left")
    return axes


def basin_with_paths(
    paths: Sequence[ArrayLike],
    boundary: ArrayLike,
    *,
    loss: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    minimum: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Paths in a two-dimensional basin, their jumps dashed chords; the last point of each, out of it, is a ring.

    Args:
        paths: arrays of shape (2, number of steps + 1), coordinates first.
        boundary: shape (2, m), the basin's boundary, closed or not.
        loss: (x, y, values) of shapes (p,), (q,), (q, p): draws grey contour lines of it.
        minimum: shape (2,), marked by a cross.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes, with equal scales.

    Raises:
        ValueError: a path or a boundary that is not of shape (2, m).

    Example:
        >>> axes = basin_with_paths([[[0.0, 0.1, 1.4], [0.0, 0.2, 0.3]]], [[-1, 1, 1, -1], [-1, -1, 1, 1]])
        >>> axes.get_aspect()
        1.0
    """
    outline, tracks = planar(boundary), [planar(path) for path in paths]
    with panel(ax) as axes:
        if loss is not None:
            axes.contour(*(np.asarray(a) for a in loss), levels=8, colors=GREY, linewidths=0.5, alpha=0.6)
        axes.fill(*outline, facecolor=BLUE, alpha=0.07, edgecolor="none")
        axes.plot(*np.c_[outline, outline[:, :1]], color=BLUE, linewidth=1.2)
        longest = jump_length(outline)
        for track in tracks:
            walked, jumped = split_jumps(track, longest)
            (line,) = axes.plot(*walked, linewidth=0.7, alpha=0.9)
            axes.plot(*jumped, linestyle=(0, (3, 1.6)), color=line.get_color(), linewidth=0.9)
            axes.plot(*track[:, -1], "o", color=line.get_color(), markerfacecolor="white", markersize=4)
        if minimum is not None:
            axes.plot(*np.asarray(minimum, dtype=float), "+", color=INK, markersize=7)
        axes.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return axes


def thinned(curve: SurvivalCurve, most: int = _MOST_POINTS) -> SurvivalCurve:
    """The same curve on at most about `most` of its steps, even in time and in log survival; its last one is kept."""
    if curve.times.size <= most:
        return curve
    depth = -np.log(np.maximum(curve.survival, 0.5 * curve.survival[curve.survival > 0].min()))
    kept = [np.searchsorted(along, np.linspace(along[0], along[-1], most // 2)) for along in (curve.times, depth)]
    index = np.unique(np.r_[0, np.concatenate(kept), curve.times.size - 1])
    return SurvivalCurve(curve.times[index], curve.survival[index], curve.low[index], curve.high[index])


def censoring_marks(times: ArrayLike, exited: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the curve is marked for censored trajectories: at most 40 of their distinct times, and survival there."""
    times = np.asarray(times, dtype=np.float64)
    if exited is None or np.all(exited):
        return np.empty(0), np.empty(0)
    marks = np.unique(times[~np.asarray(exited)])
    marks = marks[np.unique(np.linspace(0, marks.size - 1, min(marks.size, 40)).astype(int))]
    curve = kaplan_meier(times, exited)
    return marks, curve.survival[np.searchsorted(curve.times, marks, side="right") - 1]


def exponential_quantiles(times: ArrayLike, rate: float | None = None) -> Quantiles:
    """The points and the band of `exponential_qq`; large samples are thinned in the middle, never in the tail."""
    ordered = np.sort(np.asarray(times, dtype=np.float64).ravel())
    if ordered.size == 0 or not np.isfinite(ordered).all() or ordered[0] < 0 or ordered[-1] == 0:
        raise ValueError("exit times must be finite and not negative, and not all 0; leave censored ones out")
    scale = 1 / ordered.mean() if rate is None else rate
    if not 0 < scale < np.inf:
        raise ValueError(f"rate must be a positive number, not {rate}")
    n = ordered.size
    from_top = np.unique(np.geomspace(1, n, min(n, 400)).astype(int)) if n > 400 else np.arange(1, n + 1)
    rank = n + 1 - from_top[::-1]  # 1 is the smallest time
    low, high = (scipy.stats.expon.ppf(scipy.stats.beta.ppf(q, rank, n + 1 - rank)) for q in (0.025, 0.975))
    return Quantiles(scipy.stats.expon.isf((n - rank + 0.5) / n), scale * ordered[rank - 1], low, high)


def jump_length(boundary: NDArray[np.float64]) -> float:
    """What counts as a jump in a basin: a step longer than a tenth of its narrower side."""
    return _JUMP * float(np.ptp(boundary, axis=1).min())


def split_jumps(track: NDArray[np.float64], longest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A path (2, m) without its jumps, and its jumps alone; NaN parts the pieces, so that each is drawn as one line."""
    jumps = np.linalg.norm(np.diff(track, axis=1), axis=0) > longest
    walked = np.insert(track, np.flatnonzero(jumps) + 1, np.nan, axis=1)
    chords = [np.c_[track[:, at : at + 2], [np.nan, np.nan]] for at in np.flatnonzero(jumps)]
    return walked, np.concatenate(chords, axis=1) if chords else np.full((2, 1), np.nan)


def planar(points: ArrayLike) -> NDArray[np.float64]:
    """Points of the plane as an array of shape (2, m), checked."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != 2 or array.shape[1] < 1:
        raise ValueError(f"points of the plane must have shape (2, m), coordinates first, not {array.shape}")
    return array
