"""Figures of an audit of tails: fitted laws against the data, and estimates against what they should not depend on."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from levyjax.plots.style import BAND, BLUE, GREEN, GREY, INK, ORANGE, PALETTE, legend, panel
from levyjax.plots.tails import empirical_tail

_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MOST_POINTS = 400
_LARGEST_ALPHA = 6.0


def ccdf_with_laws(
    samples: ArrayLike, laws: Mapping[str, tuple[ArrayLike, ArrayLike]], *, ax: Axes | None = None
) -> Axes:
    """P(|X| > u) of a sample, log-log, with its 95% band and the curves of fitted laws.

    Args:
        samples: any shape, centred values.
        laws: legend entry -> (sizes u, P(|X| > u)).
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: no finite sample that is not zero.

    Example:
        >>> ccdf_with_laws([-3.0, 1.0, 0.5], {"Pareto": ([1.0, 10.0], [1.0, 0.1])}).get_yscale()
        'log'
    """
    tail = empirical_tail(samples)
    with panel(ax) as axes:
        axes.fill_between(tail.size, tail.low, tail.high, color=GREY, alpha=BAND, linewidth=0)
        axes.plot(tail.size, tail.probability, "o", color=INK, markersize=2.2, markeredgewidth=0, label="data")
        for j, (name, (sizes, probability)) in enumerate(laws.items()):
            axes.plot(sizes, probability, linestyle=_DASHES[j % 5], color=PALETTE[j % len(PALETTE)], label=name)
        axes.set(xscale="log", yscale="log", xlabel="$u$", ylabel="$P(|X| > u)$")
        axes.set_xlim(0.8 * tail.size[0], 2.0 * tail.size[-1])
        axes.set_ylim(0.3 * tail.probability[-1], 1.6)
        legend(axes, loc="lower left")
    return axes


def hill_plot(
    num_tail: ArrayLike,
    alpha: ArrayLike,
    interval: ArrayLike | None = None,
    moment: ArrayLike | None = None,
    *,
    chosen: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Hill's index against k, how many of the largest values it is from: flat where the tail is a power law.

    Args:
        num_tail: shape (m,), k.
        alpha: shape (m,), Hill's index.
        interval: shape (m, 2), its 95% intervals.
        moment: shape (m,), the moment estimate, drawn where it is finite.
        chosen: a k to mark.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: lengths that differ.

    Source:
        Hill (1975); Dekkers, Einmahl and de Haan (1989); the plot: Drees, de Haan and Resnick (2000).

    Example:
        >>> hill_plot([10, 100, 1000], [1.4, 1.5, 1.5]).get_xscale()
        'log'
    """
    k, index = _pair(num_tail, alpha)
    with panel(ax) as axes:
        axes.axhline(2.0, color=INK, linewidth=0.7)
        axes.annotate(r"$\alpha = 2$", (k[-1], 2.0), (0, 2), textcoords="offset points", fontsize="small", ha="right")
        axes.plot(k, index, color=BLUE, label="Hill")
        if interval is not None:
            low, high = np.asarray(interval, dtype=np.float64).T
            axes.fill_between(k, low, high, color=BLUE, alpha=BAND, linewidth=0)
        if moment is not None:
            values = np.asarray(moment, dtype=np.float64)
            axes.plot(k, np.where(np.isfinite(values), values, np.nan), "--", color=ORANGE, label="moment")
        if chosen:
            axes.axvline(chosen, color=GREY, linewidth=0.8, linestyle=":", label=f"$k = {chosen}$")
        top = min(_LARGEST_ALPHA, max(2.5, 1.3 * float(np.quantile(index, 0.9))))
        axes.set(xscale="log", ylim=(0, top), xlabel="largest values used, $k$")
        axes.set_ylabel(r"estimated tail index $\hat\alpha$")
        legend(axes, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, columnspacing=1.2)
    return axes


def quantile_plot(samples: ArrayLike, laws: Mapping[str, ArrayLike], *, ax: Axes | None = None) -> Axes:
    """Sample quantiles against those of fitted laws, both axes linear in the centre and logarithmic outside.

    Args:
        samples: any shape.
        laws: legend entry -> quantiles of the law at the levels of `plotted_levels(number of samples)`.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes. A law that fits lies on the diagonal.

    Raises:
        ValueError: quantiles of another length.

    Example:
        >>> levels = plotted_levels(100)
        >>> quantile_plot(np.arange(100.0), {"uniform": 100 * levels}).get_xscale()
        'symlog'
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    own = np.quantile(values, plotted_levels(values.size))
    linear = float(np.quantile(np.abs(values), 0.75)) or 1.0
    reach = 1.5 * float(np.abs(values).max())
    with panel(ax) as axes:
        axes.plot([-reach, reach], [-reach, reach], color=INK, linewidth=0.7)
        for j, (name, quantiles) in enumerate(laws.items()):
            theirs, mine = _pair(quantiles, own)
            look = {"color": PALETTE[j % len(PALETTE)], "markersize": 2.4, "markeredgewidth": 0}
            axes.plot(theirs, mine, "o^sDv"[j % 5], label=name, **look)
        axes.set_xscale("symlog", linthresh=linear)
        axes.set_yscale("symlog", linthresh=linear)
        ticks = _symmetric_ticks(linear, reach)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=ticks, yticks=ticks)
        axes.minorticks_off()
        axes.set(xlabel="quantile of the fitted law", ylabel="quantile of the data")
        legend(axes, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.2)
    return axes


def plotted_levels(n: int) -> NDArray[np.float64]:
    """Probabilities at which quantiles of n values are compared: dense in both tails, from 1/(2n) on."""
    tail = np.geomspace(0.5 / n, 0.5, min(_MOST_POINTS, max(2, n)) // 2)
    return np.concatenate([tail, 1 - tail[::-1]])


def characteristic_plot(
    samples: ArrayLike, alpha: float | None = None, scale: float = 1.0, *, ax: Axes | None = None
) -> Axes:
    """-log|E exp(itX)| against t, log-log: a straight line of slope alpha under a stable law.

    Args:
        samples: any shape.
        alpha: index of the line; no line by default.
        scale: of exp(-|scale t|^alpha), the unit of 1/t.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes, with the pointwise 95% band of the empirical function, and the line of slope 2 for comparison.

    Raises:
        ValueError: a scale that is not positive.

    Source:
        Koutrouvelis (1980).

    Example:
        >>> characteristic_plot(np.random.default_rng(0).normal(size=1000), 2.0, 0.7).get_xscale()
        'log'
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, not {scale}")
    x = np.asarray(samples, dtype=np.float64).ravel() / scale
    t = np.geomspace(0.03, 1.7, 40)
    size, error = _modulus(x, t)
    with np.errstate(divide="ignore"):
        middle, low, high = (-np.log(np.clip(size + shift * error, 1e-12, 1 - 1e-12)) for shift in (0, 1.96, -1.96))
    with panel(ax) as axes:
        axes.fill_between(t, np.maximum(low, 1e-6), high, color=BLUE, alpha=BAND, linewidth=0)
        axes.plot(t, middle, "o", color=BLUE, markersize=2.6, markeredgewidth=0, label="data")
        if alpha is not None:
            axes.plot(t, t**alpha, "-", color=ORANGE, label=rf"$t^\alpha$, $\alpha = {alpha:.3g}$")
        axes.plot(t, t**2, ":", color=GREY, label="$t^2$, Gaussian")
        axes.set(xscale="log", yscale="log", xlabel="$t$ times the scale", ylabel=r"$-\log\,|E\,e^{itX}|$")
        axes.set_ylim(0.5 * float(t[0] ** 2), 2 * float(middle.max()))
        legend(axes, loc="upper left")
    return axes


def aggregation_plot(
    num_summed: ArrayLike,
    alpha: ArrayLike,
    interval: Sequence[tuple[float, float]] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """The index of sums of m values against m: a stable law keeps it, a finite variance climbs to 2.

    Args:
        num_summed: shape (k,), m.
        alpha: shape (k,), the estimates.
        interval: k pairs (low, high).
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: lengths that differ.

    Example:
        >>> aggregation_plot([1, 2, 4], [1.5, 1.5, 1.5]).get_xscale()
        'log'
    """
    m, index = _pair(num_summed, alpha)
    with panel(ax) as axes:
        axes.axhline(2.0, color=INK, linewidth=0.7)
        axes.annotate(r"$\alpha = 2$", (m[0], 2.0), (2, 2), textcoords="offset points", fontsize="small")
        axes.axhline(index[0], color=ORANGE, linestyle="--", linewidth=1.0, label="stable: keeps the index")
        errors = None if interval is None else np.abs(np.asarray(interval, dtype=np.float64).T - index)
        axes.errorbar(m, index, errors, fmt="o", color=BLUE, capsize=2, elinewidth=1.0, label="estimate")
        axes.plot(m, index, color=GREEN, linewidth=0.6, alpha=0.7)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="values summed, $m$", ylabel=r"estimated tail index $\hat\alpha$")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        legend(axes, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.2)
    return axes


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"{first.size} and {second.size} numbers do not pair: give two lists of one length")
    return first, second


def _modulus(x: NDArray[np.float64], t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """|mean exp(itx)| and its standard error."""
    size, error = np.empty_like(t), np.empty_like(t)
    for j, frequency in enumerate(t):
        waves = np.exp(1j * frequency * x)
        mean = waves.mean()
        size[j] = abs(mean)
        error[j] = (waves * np.conj(mean) / max(abs(mean), 1e-300)).real.std() / math.sqrt(x.size)
    return size, error


def _symmetric_ticks(linear: float, reach: float) -> list[float]:
    """0 and powers of ten on both sides, at most two a side."""
    first, last = math.ceil(math.log10(linear)), math.floor(math.log10(reach))
    powers = range(first, last + 1, max(1, math.ceil((last - first + 1) / 2)))
    sides = [10.0**power for power in powers]
    return [-side for side in reversed(sides)] + [0.0, *sides]
