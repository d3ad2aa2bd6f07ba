"""Noise from a file of a run: rows of captured gradient noise."""

from typing import Any

import numpy as np

from levyjax.arrays import pytree
from levyjax.checks import boolean, indices, show, text
from levyjax.keys import key, piece
from levyjax.noise import Empirical


def read_captured(file: str, coordinates: tuple[int, ...] | None, joint: bool, dimension: int) -> Empirical:
    """The noise of a file's rows.

    Raises:
        ValueError: the file cannot be read, or does not have the columns.
    """
    from levyjax.tails import load  # with SciPy's statistics, half a second

    samples = np.asarray(load(file))
    if samples.ndim != 2:
        raise ValueError(f"[noise] file = {show(file)} has shape {samples.shape}: a noise a row is expected.")
    available = samples.shape[1]
    if coordinates is None and available != dimension:
        raise ValueError(
            f"[noise] file = {show(file)} has {available} columns, and the landscape {dimension} coordinates. "
            "Say which columns with coordinates."
        )
    if coordinates is not None and max(coordinates) >= available:
        raise ValueError(
            f"[noise] coordinates go up to {max(coordinates)}, and the file has columns 0 to {available - 1}."
        )
    return Empirical(samples if coordinates is None else samples[:, list(coordinates)], joint=joint)


@piece("noise", "empirical", make=read_captured)
@pytree
class Captured:
    """Draws for method "iteration" from captured noise: a row of the file each step, centred, with replacement.

    Args:
        file: .npy, .npz, .csv or .parquet with a noise a row, (n, parameters), as `levyjax train --out` writes it;
            where the path is relative, `load` takes it from the folder of the TOML file.
        coordinates: the columns to take, counted from 0, one for each coordinate; default all.
        joint: draw whole rows, with the dependence between coordinates; otherwise each coordinate from a row of its
            own.
    """

    file: str = key(text, static=True)
    coordinates: Any = key(indices, default=None, coordinates=0, static=True)
    joint: bool = key(boolean, default=True, static=True)
    dimension: int = key(default=0, given="dimension", static=True)
