"""NumPy: one array expression a step, drawn by PCG64 in the dtype of the work."""

from collections.abc import Callable

import numpy as np

from . import Run, Unavailable, Work

NAME, SHARE = "NumPy", 1 / 8
Draw = Callable[[tuple[int, ...]], np.ndarray]


def stable(random: np.random.Generator, alpha: float, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Chambers-Mallows-Stuck as it is usually written."""
    below_pi = np.nextafter(dtype.type(np.pi), dtype.type(0))  # the rounded pi/2 may have a negative cosine
    u = (random.random(shape, dtype=dtype) - dtype.type(0.5)) * below_pi
    w = np.maximum(random.standard_exponential(shape, dtype=dtype), dtype.type(1e-30))
    alpha = dtype.type(alpha)
    return np.sin(alpha * u) / np.cos(u) ** (1 / alpha) * (np.cos((1 - alpha) * u) / w) ** ((1 - alpha) / alpha)


def positive(random: np.random.Generator, index: float, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Kanter's positive stable variate."""
    phi = np.maximum(random.random(shape, dtype=dtype) * dtype.type(3.1415925), dtype.type(1e-9))
    w = np.maximum(random.standard_exponential(shape, dtype=dtype), dtype.type(1e-30))
    a = dtype.type(index)
    return np.sin(a * phi) / np.sin(phi) ** (1 / a) * (np.sin((1 - a) * phi) / w) ** ((1 - a) / a)


def _drawer(work: Work) -> Draw:
    random, dtype = np.random.default_rng(0), np.dtype(work.dtype)
    root = dtype.type(np.sqrt(2))
    if work.noise == "independent":
        return lambda shape: stable(random, work.alpha, shape, dtype)
    if work.noise == "gaussian":
        return lambda shape: root * random.standard_normal(shape, dtype=dtype)

    def rotational(shape: tuple[int, ...]) -> np.ndarray:
        radius = np.sqrt(positive(random, work.alpha / 2, (1, shape[1]), dtype))
        return root * radius * random.standard_normal(shape, dtype=dtype)

    return rotational


def steps(work: Work, draw: Draw) -> np.ndarray:
    """All steps with the given increments, the exit test as a mask."""
    x = np.zeros((work.dimension, work.lanes), work.dtype)
    inside = np.ones(work.lanes, bool)
    kick, keep = x.dtype.type(work.kick), x.dtype.type(1 - work.dt)
    matrix = hessian(work.dimension).astype(x.dtype) * x.dtype.type(work.dt)
    for _ in range(work.steps):
        moved = keep * x if work.gradient == "diagonal" else x - matrix @ x
        moved += kick * draw(x.shape)
        x = np.where(inside, moved, x)
        inside &= (np.abs(x) < work.bound).all(axis=0)
    return x


def hessian(dimension: int) -> np.ndarray:
    """The full matrix of the gradient benchmark: symmetric, eigenvalues between 0.5 and 1.5."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(dimension, dimension)))
    matrix = rotation * np.linspace(0.5, 1.5, dimension) @ rotation.T
    return (matrix + matrix.T) / 2


def increments(work: Work) -> Run:
    """The work as a function."""
    if work.gradient == "function":
        raise Unavailable("NumPy does not differentiate a user's function.")
    draw = _drawer(work)
    return lambda: steps(work, draw)
