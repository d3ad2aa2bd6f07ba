"""Numba: the scalar loop compiled with fastmath, trajectories dealt to threads, its own generator a thread."""

import math
import random

import numpy as np

from . import Run, Unavailable, Work, refuse_other_than

NAME, SHARE = "Numba (parallel, fastmath)", 1 / 4


def increments(work: Work) -> Run:
    """The work as a function.

    Raises:
        Unavailable: Numba is not installed.
    """
    refuse_other_than(work, NAME, noise=("independent",), gradient=("diagonal",))
    try:
        import numba
    except ImportError:
        raise Unavailable("Numba is not installed (pip install numba).") from None
    real = np.dtype(work.dtype).type

    half, pi, one, tiny = real(0.5), real(math.pi), real(1), real(1e-30)

    @numba.njit(parallel=True, fastmath=True)
    def loop(lanes, dimension, steps, alpha, inverse, keep, kick, bound, x):
        for lane in numba.prange(lanes):
            inside = True
            for _ in range(steps):
                if not inside:
                    break
                for row in range(dimension):
                    u = (real(random.random()) - half) * pi
                    w = -math.log(max(one - real(random.random()), tiny))
                    radius = math.log(math.cos((one - alpha) * u) / max(w, tiny))
                    pole = math.log(max(math.cos(u), tiny))
                    size = math.sin(alpha * u) * math.exp(inverse * (radius - pole) - radius)
                    x[lane, row] = keep * x[lane, row] + kick * size
                    inside = inside and abs(x[lane, row]) < bound

    x = np.zeros((work.lanes, work.dimension), work.dtype)
    numbers = tuple(map(real, (work.alpha, 1 / work.alpha, 1 - work.dt, work.kick, work.bound)))

    def run() -> np.ndarray:
        x[:] = 0
        loop(work.lanes, work.dimension, work.steps, *numbers, x)
        return x.T

    return run
