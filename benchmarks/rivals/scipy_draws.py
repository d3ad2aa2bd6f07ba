"""SciPy: `levy_stable.rvs` for every step of the NumPy loop."""

import numpy as np
from scipy import stats

from . import Run, Work, numpy_loop, refuse_other_than

NAME, SHARE = "SciPy levy_stable.rvs", 1 / 32


def increments(work: Work) -> Run:
    """The work as a function; draws are float64, as SciPy makes them."""
    refuse_other_than(work, NAME, noise=("independent",), gradient=("diagonal", "matrix"))
    random, dtype = np.random.default_rng(0), np.dtype(work.dtype)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return stats.levy_stable.rvs(work.alpha, 0, size=shape, random_state=random).astype(dtype)

    return lambda: numpy_loop.steps(work, draw)
