"""Where the climb to a stable law's largest likelihood starts, and the ranges of its variables."""

import math

import numpy as np

LEAST = 0.3
"""The smallest alpha of a fit."""
STEEPEST = 5.0
"""arctanh beta from which on beta is 1."""
_GAP = 1e-4  # the largest alpha short of 2 that is told from it

LOW = np.array([math.log(_GAP), -math.inf, -math.inf, -STEEPEST])
HIGH = np.array([math.log(2 - LEAST), math.inf, math.inf, STEEPEST])
"""The ends of log(2 - alpha), log scale, loc in units and arctanh beta."""

# McCulloch's (q95 - q05)/(q75 - q25) and (q75 - q25)/scale of symmetric laws
_ALPHAS = np.arange(4, 21) / 10
_RATIOS = np.array(
    [115.037, 44.635, 23.612, 14.894, 10.479, 7.928, 6.314, 5.223, 4.451, 3.886, 3.466, 3.15, 2.914, 2.739, 2.61, 2.513,
     2.439]
)  # fmt: skip
_WIDTHS = np.array(
    [3.0179, 2.5677, 2.3242, 2.1801, 2.0911, 2.0352, 2.0, 1.9777, 1.9631, 1.9528, 1.9447, 1.9379, 1.9315, 1.9255,
     1.9195, 1.9136, 1.9077]
)  # fmt: skip


def start(
    rows: np.ndarray, held: dict[str, float | None], in_s1: bool, below_one: bool | None, gap: float
) -> tuple[np.ndarray, ...]:
    """The variables, the ends of their ranges, and the origin and unit of each row, from five quantiles.

    Args:
        rows: the data, (batch, n).
        held: the four parameters, None where one is to be found.
        in_s1: whether the variable is S1's location.
        below_one: whether to start at an alpha below or above 1, or None.
        gap: of the support's end to the data, in units.
    """
    q05, q25, q50, q75, q95 = np.quantile(rows.astype(np.float64), [0.05, 0.25, 0.5, 0.75, 0.95], axis=-1)
    quartiles = q75 - q25
    alpha = np.clip(np.interp(-(q95 - q05) / quartiles, -_RATIOS, _ALPHAS), 0.4, 1.98)
    if below_one is not None:
        alpha = np.minimum(alpha, 0.8) if below_one else np.maximum(alpha, 1.2)
    if held["alpha"] is not None:
        alpha = np.full_like(alpha, held["alpha"])
    unit = quartiles / np.interp(alpha, _ALPHAS, _WIDTHS)
    centre = q50 if held["loc"] is None else np.full_like(alpha, held["loc"])
    with np.errstate(divide="ignore"):
        skew = np.full_like(alpha, np.arctanh(held["beta"] or 0.0))
        theta = np.stack([np.log(2 - alpha), 0 * alpha, 0 * alpha, skew], axis=1)
    if held["scale"] is not None:
        theta[:, 1] = np.log(held["scale"]) - np.log(unit)
    if abs(held["beta"] or 0.0) == 1 and alpha.max() < 1:  # all data must be inside the support
        sides = (rows - centre[:, None]) * (held["beta"] / unit[:, None])
        nearest = sides.min(axis=1)
        if in_s1:
            end = nearest - gap if held["loc"] is None else np.zeros_like(nearest)
            theta[:, 2] = held["beta"] * end
            theta[:, :2] = _from_logarithms(sides - end[:, None], theta[:, :2], held)
        elif held["scale"] is None:
            theta[:, 1] = np.log(np.maximum(1, -1.5 * nearest / np.tan(np.pi / 2 * alpha)))
    low, high = np.broadcast_to(LOW, theta.shape).copy(), np.broadcast_to(HIGH, theta.shape).copy()
    for variable, name in enumerate(("alpha", "scale", "loc", "beta")):
        if held[name] is not None:
            low[:, variable] = high[:, variable] = theta[:, variable]
    return theta, low, high, centre, unit


def _from_logarithms(distances: np.ndarray, theta: np.ndarray, held: dict[str, float | None]) -> np.ndarray:
    """log(2 - alpha) and log scale of one-sided laws, by the mean and the variance of log X (Zolotarev 1986, 3.6)."""
    logs = np.log(np.maximum(distances, np.finfo(np.float64).tiny))
    alpha = 2 - np.exp(theta[:, 0])
    if held["alpha"] is None:
        alpha = np.clip(1 / np.sqrt(1 + 6 / np.pi**2 * logs.var(axis=1)), 0.35, 0.95)
    scale = logs.mean(axis=1) - np.euler_gamma * (1 / alpha - 1) + np.log(np.cos(np.pi / 2 * alpha)) / alpha
    return np.stack([np.log(2 - alpha), scale if held["scale"] is None else theta[:, 1]], axis=1)
