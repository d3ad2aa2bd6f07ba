"""One look for all figures: small, plain, readable in black and white, the same to colour-blind readers."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes

from levyjax.output import write_bytes

BLUE, ORANGE, GREEN, PINK, SKY, BROWN, INK, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8C5A00", "#1A1A1A", "#7A7A7A",
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, BROWN)
"""Line colours in the order of use: Okabe and Ito's, without the yellow that white paper swallows (brown for it)."""

MARKERS = "osD^vP"
"""Markers of series in the order of use."""

BAND = 0.18
"""Opacity of confidence bands."""

_GRID = "#E3E3E3"
_RC = {
    "figure.figsize": (3.5, 2.7),
    "figure.dpi": 200,
    "figure.constrained_layout.use": True,
    "savefig.dpi": "figure",
    "font.family": "sans-serif",
    "font.size": 8.0,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.labelspacing": 0.35,
    "pdf.fonttype": 42,  # text stays text in PDF and SVG
    "svg.fonttype": "none",
}


@contextmanager
def style(**overrides) -> Iterator[None]:
    """The look of levyjax's figures inside a `with` block; nothing is changed outside it.

    A plot function that makes its own axes uses it by itself. For several panels, open it around the whole figure.

    Args:
        **overrides: matplotlib settings by their names with `_` for `.`, for instance `figure_figsize=(7, 3)`.

    Raises:
        ValueError: a name that is no matplotlib setting.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> before = matplotlib.rcParams["font.size"]
        >>> with style(font_size=6):
        ...     inside = matplotlib.rcParams["font.size"]
        >>> inside, matplotlib.rcParams["font.size"] == before
        (6.0, True)
    """
    settings: dict[Any, Any] = dict(_RC)
    for name, value in overrides.items():
        matching = [key for key in mpl.rcParams if key.replace(".", "_") == name]
        if not matching:
            raise ValueError(f"{name} is no matplotlib setting: write figure.figsize as figure_figsize")
        settings[matching[0]] = value
    interactive = mpl.is_interactive()
    try:
        with mpl.rc_context(settings):
            try:
                yield
            finally:
                interactive = mpl.is_interactive()
    finally:
        # The first figure may load a notebook's backend, which turns this on; turned off again it would show no more.
        mpl.interactive(interactive)


@contextmanager
def panel(ax: Axes | None, height: float | None = None) -> Iterator[Axes]:
    """The axes to draw on: those given, as they are, or new ones in the house style, `height` inches high.

    Ticks and grid lines are made when the figure is drawn, after the style has been left, so that they are given
    their looks by value here.
    """
    if ax is not None:
        yield ax
        return
    with style(**({} if height is None else {"figure_figsize": (_RC["figure.figsize"][0], height)})):
        axes = plt.figure().add_subplot()
        yield axes
        for which, length, width in (("major", 3.0, 0.7), ("minor", 1.6, 0.5)):
            axes.tick_params(which=which, length=length, width=width, color=INK, labelcolor=INK, labelsize=7.5)
        axes.grid(True, which="major", color=_GRID, linewidth=0.6)


def legend(axes: Axes, last: tuple[str, ...] = (), **place) -> None:
    """A plain legend a little smaller than the axis labels, if anything has a label; the entries named `last` go last.

    Sizes are given by value, for a second call on the same axes is made outside the style.
    """
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        entries = dict(zip(reversed(labels), reversed(handles), strict=True))  # the first of equal labels
        names = sorted(dict.fromkeys(labels), key=lambda name: last.index(name) if name in last else -1)
        axes.legend(
            [entries[name] for name in names], names, fontsize=0.88 * float(axes.xaxis.label.get_fontsize()),
            frameon=False, handlelength=1.8, labelspacing=0.35, borderpad=0.2, **place,
        )  # fmt: skip


def legend_above(axes: Axes, columns: int) -> None:
    """The same legend above the axes, where it covers nothing."""
    legend(axes, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, columnspacing=1.2)


def write_figure(path: Path, axes: Any) -> None:
    """Write the figure that holds the axes as PNG, SVG or PDF, by the name; whole or not at all, and close it."""
    buffer = io.BytesIO()
    # A file without the time of day and with fixed ids: the same result makes the same bytes.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:])
    with plt.rc_context({"svg.hashsalt": "levyjax"}):
        axes.figure.savefig(buffer, format=path.suffix[1:], dpi=150, bbox_inches="tight", metadata=metadata)
    plt.close(axes.figure)
    write_bytes(path, buffer.getvalue())
