"""The quantities of Adam's assumptions against the iterations."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from levyjax.plots.style import PALETTE, legend_above, panel
from levyjax.plots.training import DASHES, index_lines


def assumption_quantities(
    iterations: ArrayLike, quantities: Mapping[str, ArrayLike], *, ax: Axes | None = None
) -> Axes:
    """Positive quantities against the iterations, both axes logarithmic; a line stops where its quantity is 0 or less.

    Args:
        iterations: (m,), positive.
        quantities: legend entry -> (m,).
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: no quantity, or lengths that differ.

    Source:
        Zhou et al. 2020, Figure 2, which has them on one linear axis, each scaled.

    Example:
        >>> assumption_quantities([1, 10, 100], {"v_max": [0.1, 0.2, 0.1]}).get_xscale()
        'log'
    """
    at, lines = index_lines(iterations, quantities)
    with panel(ax, height=3.0) as axes:
        for place, (name, line) in enumerate(lines.items()):
            shown, label = np.where(line > 0, line, np.nan), name if (line > 0).any() else f"{name} (never above 0)"
            axes.plot(at, shown, linestyle=DASHES[place % 5], color=PALETTE[place % len(PALETTE)], label=label)
        axes.set(xscale="log", yscale="log", xlabel="iteration", ylabel="value")
        legend_above(axes, columns=2)
    return axes
