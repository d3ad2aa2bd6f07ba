"""A training run along its iterations."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from levyjax.plots.style import BLUE, ORANGE, legend, panel


def learning_curves(
    iterations: ArrayLike,
    train: ArrayLike,
    test: ArrayLike,
    *,
    ylabel: str = "loss",
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """A measure over the training and the test examples against the updates made.

    Args:
        iterations: (n,).
        train: (n,) over the training examples.
        test: (n,) over the test examples.
        ylabel: what is measured.
        log: logarithmic in the measure; where it is 0 or less somewhere, it is not.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Example:
        >>> learning_curves([0, 100], [2.3, 0.1], [2.3, 0.2]).get_ylabel()
        'loss'
    """
    with panel(ax) as axes:
        values = np.array([train, test], float)
        for row, label, look in zip(values, ("training", "test"), ((BLUE, "-"), (ORANGE, "--")), strict=True):
            axes.plot(np.asarray(iterations), row, label=label, color=look[0], linestyle=look[1])
        if log and values.min() > 0:
            axes.set_yscale("log")
        axes.set_xlabel("iteration")
        axes.set_ylabel(ylabel)
        legend(axes)
    return axes
