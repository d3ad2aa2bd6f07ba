"""Exact numbers for an iteration on the line under noise of a known law: its Markov chain as a matrix.

The point after a step from x is x - clip(eta F'(x) + eta scale Z), whose law is known. A function on the line is taken
as linear between nodes, so that its mean after a step is a sum over nodes with weights that are exact integrals of the
law of Z: second differences of the integrated survival function. The error falls with the square of the spacing.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from levyjax.landscapes import Landscape
from levyjax.stable import logsf

Vector = Float[np.ndarray, " n"]
Matrix = Float[np.ndarray, "n n"]
_FAR, _TABLE = 1e8, 4001


class Law(NamedTuple):
    """A symmetric law with a mean: P(Z > u) and E (Z - u)^+."""

    survival: Callable[[np.ndarray], np.ndarray]
    excess: Callable[[np.ndarray], np.ndarray]


def _both_sides(survival: Callable[[np.ndarray], np.ndarray], excess: Callable[[np.ndarray], np.ndarray]) -> Law:
    """The law from its functions for u >= 0: at -u the survival is 1 less its value, the excess u more."""

    def whole_survival(u: np.ndarray) -> np.ndarray:
        above = survival(np.abs(u))
        return np.where(u > 0, above, 1 - above)

    return Law(whole_survival, lambda u: excess(np.abs(u)) + np.maximum(-u, 0))


def pareto_law(index: float) -> Law:
    """P(|Z| > u) = u^-index for u > 1, index > 1."""

    def survival(u: np.ndarray) -> np.ndarray:
        return 0.5 * np.maximum(u, 1.0) ** -index

    def excess(u: np.ndarray) -> np.ndarray:
        return 0.5 * np.maximum(u, 1.0) ** (1 - index) / (index - 1) + 0.5 * (1 - np.minimum(u, 1.0))

    return _both_sides(survival, excess)


def stable_law(alpha: float) -> Law:
    """SaS(1), alpha in (1, 2]: at 2 in closed form, below by splines of the logarithms."""
    if alpha == 2:
        root = math.sqrt(2)

        def gaussian(u: np.ndarray) -> np.ndarray:
            return root * np.exp(-(u**2) / 4) / math.sqrt(2 * math.pi) - u * ndtr(-u / root)

        return _both_sides(lambda u: ndtr(-u / root), gaussian)
    place = np.linspace(0, math.asinh(_FAR), _TABLE)
    u = np.sinh(place)
    with jax.enable_x64(True):
        log_survival = np.asarray(logsf(jnp.asarray(u), alpha))
    # from far out, where the survival is a power, inwards by the spline of survival times du/dplace
    inner = CubicSpline(place, np.exp(log_survival) * np.cosh(place)).antiderivative()(place)
    log_excess = np.log(inner[-1] - inner + _FAR * math.exp(log_survival[-1]) / (alpha - 1))
    by_place = [CubicSpline(place, log_survival), CubicSpline(place, log_excess)]
    survival, excess = (lambda u, spline=spline: np.exp(spline(np.arcsinh(u))) for spline in by_place)
    return _both_sides(survival, excess)


@jax.jit
def _gradient(landscape: Landscape, x: Float[Array, "1 n"]) -> Float[Array, "1 n"]:
    return landscape.gradient(x)


@dataclasses.dataclass(frozen=True)
class LineStep:
    """One iteration on the line: x - clip(learning_rate (F'(x) + scale Z)).

    Attributes:
        landscape: F.
        law: of Z.
        scale: of Z.
        learning_rate: eta.
        bound: the longest step; inf for no clipping.
    """

    landscape: Landscape
    law: Law
    scale: float
    learning_rate: float
    bound: float = math.inf

    def _units(self, x: Vector, step: np.ndarray) -> np.ndarray:
        """Steps (n, m) from x in units of the noise about the step of descent."""
        with jax.enable_x64(True):
            slope = np.asarray(_gradient(self.landscape, jnp.asarray(x)[None]))[0]
        return (step + self.learning_rate * slope[:, None]) / (self.learning_rate * self.scale)

    def above(self, x: Vector, y: Vector) -> np.ndarray:
        """P(the point after a step from x_i is above y_j)."""
        step = y[None] - x[:, None]
        chance = self.law.survival(self._units(x, step))
        return np.where(step >= self.bound, 0.0, np.where(step < -self.bound, 1.0, chance))

    def excess(self, x: Vector, y: Vector) -> np.ndarray:
        """E (the point after a step from x_i - y_j)^+."""
        step = y[None] - x[:, None]
        within = self.law.excess(self._units(x, np.clip(step, -self.bound, self.bound)))
        if math.isfinite(self.bound):
            within -= self.law.excess(self._units(x, np.full_like(step, self.bound)))
        shorter = np.maximum(-self.bound - step, 0)
        return np.where(step >= self.bound, 0.0, within * self.learning_rate * self.scale + shorter)

    def matrix(self, nodes: Vector) -> Matrix:
        """Weights of the nodes' values in the mean after a step from each node; steps that end outside count as 0."""
        ends = self.above(nodes, nodes[[0, -1]])
        in_cell = -np.diff(self.excess(nodes, nodes), axis=1) / np.diff(nodes)
        return -np.diff(np.concatenate([ends[:, :1] * 0, in_cell, ends[:, 1:]], axis=1), axis=1) + np.pad(
            ends[:, :1], ((0, 0), (0, len(nodes) - 1))
        )


def clustered(points: Vector, count: int) -> Vector:
    """Nodes on the intervals between points, `count` in each, close to each other near the points."""
    part = (1 - np.cos(np.linspace(0, np.pi, count + 1))) / 2
    inner = points[:-1, None] + np.diff(points)[:, None] * part[None, :-1]
    return np.append(inner.ravel(), points[-1])


def mean_steps(step: LineStep, low: float, high: float, start: float, count: int = 1600) -> float:
    """Mean number of steps to leave (low, high): the solution of T = 1 + P T.

    Example:
        >>> from levyjax.landscapes import WangOhRhee
        >>> round(mean_steps(LineStep(WangOhRhee(), pareto_law(1.2), 0.1, 0.1), -1.3, 0.2, -0.7, 400), 1)
        160.7
    """
    nodes = clustered(np.array([low, high]), count)
    times = np.linalg.solve(np.eye(len(nodes)) - step.matrix(nodes), np.ones(len(nodes)))
    return float(np.interp(start, nodes, times))


def kept_inside(step: LineStep, nodes: Vector) -> Matrix:
    """The chain's matrix where each step's point is put back between the first and the last node; rows add up to 1."""
    chances, ends = step.matrix(nodes), step.above(nodes, nodes[[0, -1]])
    chances[:, 0] += 1 - ends[:, 0]
    chances[:, -1] += ends[:, 1]
    return chances


def stationary_law(chances: Matrix) -> Vector:
    """The nodes' probabilities in the long run.

    Example:
        >>> stationary_law(np.array([[0.8, 0.2], [0.1, 0.9]])).round(6).tolist()
        [0.333333, 0.666667]
    """
    balance = np.eye(len(chances)) - chances.T
    balance[-1] = 1  # the probabilities add up to 1
    return np.linalg.solve(balance, np.eye(len(chances))[-1])


def laws(chances: Matrix, law: Vector, every: int, snapshots: int) -> Float[np.ndarray, "snapshots n"]:
    """The nodes' probabilities after every so many steps from a first law."""
    leap = np.linalg.matrix_power(chances, every)
    rows = [law]
    for _ in range(snapshots):
        rows.append(rows[-1] @ leap)
    return np.array(rows[1:])
