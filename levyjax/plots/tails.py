"""Figures of tails: the distribution of large values, and the tail index that the block estimator gives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are used
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from levyjax.plots.comparisons import numbers
from levyjax.plots.style import BAND, BLUE, GREEN, INK, ORANGE, legend, legend_above, panel
from levyjax.stable import tail_constant

_MOST_POINTS = 300


@dataclass(frozen=True)
class Tail:
    """Sizes u in increasing order, the part of the sample that is at least u, and its pointwise 95% band."""

    size: NDArray[np.float64]
    probability: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class BlockLaws:
    """What the two laws say about alpha_hat at block length K1: stable, a constant; finite variance, 1/2 + D/log K1."""

    alpha: float
    deficit: float


def ccdf(
    samples: ArrayLike,
    alpha: float | None = None,
    scale: float | None = None,
    *,
    label: str | None = None,
    unit: str = "",
    ax: Axes | None = None,
) -> Axes:
    """P(|X| > u) of a sample, log-log, with its 95% band and the straight line of a stable tail.

    Args:
        samples: any shape, centred values.
        alpha: tail index in (0, 2) of the line (2 C_alpha / alpha) (scale / u)^alpha; no line by default.
        scale: the stable law's scale, in the unit of the samples; default 1.
        label: legend entry of the sample.
        unit: of the samples, for the axis.
        ax: axes to draw on; new ones by default. Repeated calls overlay.

    Returns:
        The axes.

    Raises:
        ValueError: no finite sample that is not zero, alpha outside (0, 2), or a scale that is not positive.

    Source:
        Samorodnitsky and Taqqu (1994), property 1.2.15, by `levyjax.stable.tail_constant`.

    Example:
        >>> ccdf([-3.0, 1.0, 0.5, 12.0], alpha=1.0).get_xscale()
        'log'
    """
    tail = empirical_tail(samples)
    line = None if alpha is None else stable_tail(tail.size, alpha, 1.0 if scale is None else scale)
    with panel(ax) as axes:
        draw_tail(axes, tail, unit, label=label)
        if line is not None:
            axes.plot(*line, "--", color=INK, linewidth=1.0, label=rf"stable tail, $\alpha = {alpha:.3g}$")
        legend(axes, loc="lower left")
    return axes


def block_length_sweep(
    block_lengths: ArrayLike,
    alphas: ArrayLike,
    intervals: Sequence[tuple[float, float]] | None = None,
    *,
    alpha: float | None = None,
    deficit: float | None = None,
    label: str = "estimate",
    ax: Axes | None = None,
) -> Axes:
    """The block estimator's alpha_hat against the block length K1, with what a stable law and a finite variance say.

    Stable data give the same alpha_hat at every K1, a flat line. Pooled data of finite variance give
    1/alpha_hat = 1/2 + D / log K1, a curve that climbs to 2: an alpha_hat below 2 that climbs is no tail index.

    Args:
        block_lengths: shape (m,), K1, 2 and more.
        alphas: shape (m,), the estimates.
        intervals: m pairs (low, high) of the estimates; they also weight the two fits.
        alpha: height of the flat line; default fitted.
        deficit: D of the curve; default fitted.
        label: legend entry of the points.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: lengths that differ, fewer than 2 points, block lengths below 2, or estimates not positive.

    Source:
        Mohammadi, Mohammadpour and Ogata (2015) for the estimator. The curve: a block sum of K1 terms of variance
        s^2 is nearly N(0, K1 s^2), so that 1/alpha_hat = (E log|Y| - E log|X|) / log K1 = 1/2 + D / log K1 with
        D = E log|N(0, 1)| - E log(|X|/s).

    Example:
        >>> axes = block_length_sweep([10, 100, 1000], [1.4, 1.65, 1.75])
        >>> axes.get_ylabel()
        'estimated tail index $\\\\hat\\\\alpha$'
    """
    laws = block_length_laws(block_lengths, alphas, intervals)
    lengths, alphas = numbers(block_lengths), numbers(alphas)
    alpha, deficit = laws.alpha if alpha is None else alpha, laws.deficit if deficit is None else deficit
    with panel(ax) as axes:
        along = np.geomspace(lengths.min() / 1.3, lengths.max() * 1.3, 200)
        index_axis(axes)
        axes.plot(along, np.full(200, alpha), "--", color=ORANGE, label=rf"stable, $\alpha = {alpha:.3g}$")
        curve = finite_variance_alpha(along, deficit)
        axes.plot(along, curve, "-", color=GREEN, label=rf"finite variance, $D = {deficit:.3g}$")
        index_points(axes, lengths, alphas, intervals, label)
        axes.set(xscale="log", xlabel="block length $K_1$")
        axes.set_xlim(along[0], along[-1])
        axes.set_xticks(lengths, [f"{length:g}" for length in lengths])
        axes.minorticks_off()
        legend_above(axes, columns=2)
    return axes


def draw_tail(axes: Axes, tail: Tail, unit: str = "", **look) -> None:
    """The points of a tail with their band, on logarithmic axes that show them; `look` is of the points."""
    (points,) = axes.plot(tail.size, tail.probability, "o", markersize=2.2, markeredgewidth=0, **look)
    axes.fill_between(tail.size, tail.low, tail.high, color=points.get_color(), alpha=BAND, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel=f"$u$ ({unit})" if unit else "$u$", ylabel=r"$P(|X| > u)$")
    axes.set_ylim(0.3 * tail.probability[-1], 1.6)


def index_axis(axes: Axes) -> None:
    """The name of the axis of estimated indices, and the line at 2, named at its right end outside the axes."""
    axes.axhline(2.0, color=INK, linewidth=0.7)
    place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(r"$\alpha = 2$", (1.0, 2.0), (2, 0), va="center", fontsize="small", **place)
    axes.set_ylabel(r"estimated tail index $\hat\alpha$")


def index_points(
    axes: Axes, x: NDArray[np.float64], alpha: NDArray[np.float64], intervals: ArrayLike | None, label: str
) -> None:
    """Estimates with bars to the ends of their intervals, (m, 2), if there are any."""
    errors = None if intervals is None else np.abs(np.asarray(intervals, dtype=np.float64).T - alpha)
    axes.errorbar(x, alpha, errors, fmt="o", color=BLUE, capsize=2, elinewidth=1.0, zorder=3, label=label)


def empirical_tail(samples: ArrayLike, most: int = _MOST_POINTS) -> Tail:
    """|X| at about `most` ranks, every one of the largest ones, with exact (Beta) bands of the probability there.

    At the k-th largest of n values the probability P(|X| > u) has the Beta(k, n - k + 1) law about k / (n + 1); the
    point is put at (k - 1/2) / n.
    """
    sizes = np.abs(np.asarray(samples, dtype=np.float64).ravel())
    if not np.isfinite(sizes).all():
        raise ValueError("samples must be finite")
    sizes, n = np.sort(sizes[sizes > 0]), sizes.size
    if sizes.size == 0:
        raise ValueError("a tail needs at least one sample that is not zero")
    lowest = max(1, round(0.9 * sizes.size))  # the smallest tenth would stretch a log axis by decades
    rank = np.unique(np.geomspace(1, lowest, most).astype(int))[::-1]  # 1 is the largest
    low, high = (scipy.stats.beta.ppf(q, rank, n - rank + 1) for q in (0.025, 0.975))
    return Tail(sizes[sizes.size - rank], (rank - 0.5) / n, low, high)


def stable_tail(
    sizes: NDArray[np.float64], alpha: float, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The line (2 C_alpha / alpha) (scale / u)^alpha by its ends, from 1/2 (or the first size) to the last size."""
    if not 0 < alpha < 2:
        raise ValueError(f"a stable tail is a power law for alpha in (0, 2), not {alpha}")
    if not scale > 0:
        raise ValueError(f"scale must be positive, not {scale}")
    constant = float(2 * tail_constant(alpha) / alpha)
    start = max(sizes[0], scale * (2 * constant) ** (1 / alpha))
    u = np.array([start, max(sizes[-1], 2 * start)])
    return u, constant * (scale / u) ** alpha


def finite_variance_alpha(block_lengths: ArrayLike, deficit: float) -> NDArray[np.float64]:
    """alpha_hat = 1 / (1/2 + D / log K1), what the block estimator gives for data of finite variance."""
    return 1 / (0.5 + deficit / np.log(np.asarray(block_lengths, dtype=np.float64)))


def block_length_laws(
    block_lengths: ArrayLike, alphas: ArrayLike, intervals: Sequence[tuple[float, float]] | None = None
) -> BlockLaws:
    """The flat line and the curve through a sweep, both fitted by least squares in 1/alpha_hat, linear in both laws.

    Without intervals the weights are those of the estimator on a sample of fixed size, sd(1/alpha_hat) ~
    sqrt(K1) / log K1.
    """
    lengths, inverse = numbers(block_lengths), 1 / numbers(alphas)
    if lengths.size < 2 or lengths.shape != inverse.shape:
        raise ValueError(f"{lengths.size} block lengths and {inverse.size} estimates: give two or more of both")
    if not (lengths >= 2).all() or not ((inverse > 0) & np.isfinite(inverse)).all():
        raise ValueError("block lengths must be 2 or more and estimates positive")
    log = np.log(lengths)
    sd = np.sqrt(lengths) / log
    if intervals is not None:
        ends = 1 / np.asarray(intervals, dtype=np.float64)
        if ends.shape != (lengths.size, 2) or not (ends[:, 0] > ends[:, 1]).all():
            raise ValueError(f"intervals must be {lengths.size} rows [low, high] with low below high")
        sd = ends[:, 0] - ends[:, 1]
    weight = sd**-2
    flat = np.sum(weight * inverse) / np.sum(weight)
    deficit = np.sum(weight * (inverse - 0.5) / log) / np.sum(weight / log**2)
    return BlockLaws(float(1 / flat), float(deficit))
