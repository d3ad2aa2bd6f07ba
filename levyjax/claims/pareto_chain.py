"""Exact numbers for SGD, clipped or not, on the line under Pareto noise: its Markov chain as a matrix.

The point after a step from x is x - clip(eta F'(x) + eta scale Z), whose law is known. A function on the line is taken
as linear between nodes, so that its mean after a step is a sum over nodes with weights that are exact integrals of the
Pareto law: second differences of the integrated survival function. The error falls with the square of the spacing.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " n"]
Matrix = Float[np.ndarray, "n n"]


def survival(u: np.ndarray, index: float) -> np.ndarray:
    """P(Z > u) of the symmetric Pareto law, P(|Z| > u) = u^-index for u > 1."""
    above = 0.5 * np.maximum(np.abs(u), 1.0) ** -index
    return np.where(u > 0, above, 1 - above)


def excess(u: np.ndarray, index: float) -> np.ndarray:
    """E (Z - u)^+ of the same law, index > 1; at -u it is u more, for Z has mean 0."""
    size = np.abs(u)
    beyond = 0.5 * np.maximum(size, 1.0) ** (1 - index) / (index - 1) + 0.5 * (1 - np.minimum(size, 1.0))
    return beyond + np.maximum(-u, 0)


@dataclasses.dataclass(frozen=True)
class ParetoStep:
    """One iteration on the line: x - clip(learning_rate (F'(x) + scale Z)).

    Attributes:
        landscape: F.
        learning_rate: eta.
        bound: the longest step; inf for no clipping.
        index: of Z.
        scale: of Z.
    """

    landscape: Any
    learning_rate: float
    bound: float = math.inf
    index: float = 1.2
    scale: float = 0.1

    def _units(self, x: Vector, step: np.ndarray) -> np.ndarray:
        """Steps (n, m) from x in units of the noise about the step of descent."""
        with jax.enable_x64(True):
            slope = np.asarray(self.landscape.gradient(jnp.asarray(x)[None]))[0]
        return (step + self.learning_rate * slope[:, None]) / (self.learning_rate * self.scale)

    def above(self, x: Vector, y: Vector) -> np.ndarray:
        """P(the point after a step from x_i is above y_j)."""
        step = y[None] - x[:, None]
        chance = survival(self._units(x, step), self.index)
        return np.where(step >= self.bound, 0.0, np.where(step < -self.bound, 1.0, chance))

    def excess(self, x: Vector, y: Vector) -> np.ndarray:
        """E (the point after a step from x_i - y_j)^+."""
        step = y[None] - x[:, None]
        within = excess(self._units(x, np.clip(step, -self.bound, self.bound)), self.index)
        if math.isfinite(self.bound):
            within -= excess(self._units(x, np.full_like(step, self.bound)), self.index)
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


def mean_steps(step: ParetoStep, low: float, high: float, start: float, count: int = 1600) -> float:
    """Mean number of steps to leave (low, high): the solution of T = 1 + P T.

    Example:
        >>> from levyjax.landscapes import WangOhRhee
        >>> round(mean_steps(ParetoStep(WangOhRhee(), 0.1), -1.3, 0.2, -0.7, 400), 1)
        160.7
    """
    nodes = clustered(np.array([low, high]), count)
    times = np.linalg.solve(np.eye(len(nodes)) - step.matrix(nodes), np.ones(len(nodes)))
    return float(np.interp(start, nodes, times))


def kept_inside(step: ParetoStep, nodes: Vector) -> Matrix:
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
