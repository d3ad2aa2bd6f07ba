"""The kinds of `[landscape]`: the function F whose gradient drives the path."""

import itertools
import math
from collections.abc import Sequence
from typing import Protocol

from levyjax.config.checks import ConfigError, choice, finite, integer, positive, refuse, vector
from levyjax.config.matrices import Matrix, positive_definite, quadratic_form
from levyjax.config.tables import key, table

Point = tuple[float, ...]


class LandscapeConfig(Protocol):
    """What the rest of the configuration asks of a landscape."""

    table: str
    kind: str

    @property
    def minimum(self) -> Point | None:
        """The point x* of lowest F that the basin belongs to; None where there is none."""
        ...

    def excess(self, x: Point) -> float:
        """F(x) - F(x*)."""
        ...

    def same_valley(self, x: Point, height: float) -> bool:
        """Whether {F < F(x*) + height} connects x, a point of it, with x*."""
        ...


@table("landscape", "quadratic")
class QuadraticConfig:
    """F(x) = (x - c)' H (x - c) / 2.

    Args:
        hessian: H, symmetric positive definite: its diagonal, its rows, or one number in one dimension.
        center: c; default the origin.

    Example:
        >>> QuadraticConfig(hessian=[1.0, 0.1]).minimum
        (0.0, 0.0)
    """

    hessian: Matrix = key(positive_definite, coordinates=0)
    center: Point | None = key(vector(finite), default=None, coordinates=0)

    @property
    def minimum(self) -> Point:
        return self.center or (0.0,) * len(self.hessian)

    def excess(self, x: Point) -> float:
        return 0.5 * quadratic_form(self.hessian, difference(x, self.minimum))

    def same_valley(self, x: Point, height: float) -> bool:
        return True


@table("landscape", "flat")
class FlatConfig:
    """F = 0: no drift. The path has no minimum to start from, so `start` in `[run]` is required."""

    @property
    def minimum(self) -> None:
        return None

    def excess(self, x: Point) -> float:
        return 0.0

    def same_valley(self, x: Point, height: float) -> bool:
        return True


@table("landscape", "asymmetric_valley")
class AsymmetricValleyConfig:
    """F(x) = sum_j k_j (x_j - c_j)^2 / 2, with k_j = curvature_left_j below c_j and curvature_right_j above it.

    Args:
        curvature_left: k_j for x_j < c_j, above 0.
        curvature_right: k_j for x_j > c_j, above 0.
        center: c; default the origin.
    """

    curvature_left: Point = key(vector(positive), coordinates=0)
    curvature_right: Point = key(vector(positive), coordinates=0)
    center: Point | None = key(vector(finite), default=None, coordinates=0)

    @property
    def minimum(self) -> Point:
        return self.center or (0.0,) * len(self.curvature_left)

    def excess(self, x: Point) -> float:
        sides = zip(difference(x, self.minimum), self.curvature_left, self.curvature_right, strict=True)
        return 0.5 * sum((left if y < 0.0 else right) * y * y for y, left, right in sides)

    def same_valley(self, x: Point, height: float) -> bool:
        return True


@table("landscape", "double_well")
class DoubleWellConfig:
    """F(x) = height ((x_0/width)^2 - 1)^2 + sum_j curvature_j x_{j+1}^2 / 2: minima at (+-width, 0, ...).

    Args:
        width: from the barrier at x_0 = 0 to either minimum.
        height: of the barrier above the minima.
        well: the minimum that the basin belongs to, "right" (+width) or "left" (-width).
        curvature: of the further coordinates, above 0; default none.
    """

    width: float = key(positive)
    height: float = key(positive)
    well: str = key(choice(("right", "left")), default="right")
    curvature: Point = key(vector(positive, may_be_empty=True), default=(), coordinates=1)

    @property
    def minimum(self) -> Point:
        return (self.width if self.well == "right" else -self.width, *(0.0 for _ in self.curvature))

    def excess(self, x: Point) -> float:
        ratio = x[0] / self.width
        across = ratio * ratio - 1.0
        along = sum(k * y * y for k, y in zip(self.curvature, x[1:], strict=True))
        return self.height * across * across + 0.5 * along

    def same_valley(self, x: Point, height: float) -> bool:
        return height > self.height or x[0] * self.minimum[0] > 0.0


@table("landscape", "multi_well")
class MultiWellConfig:
    """In one dimension, minima and saddles in a row, joined by quintic polynomials; quadratic beyond the outermost.

    Args:
        minima: positions, rising.
        saddles: positions, one between each two minima.
        barriers: F at the saddles.
        curvatures: F'' at the minima, above 0.
        saddle_curvatures: -F'' at the saddles, above 0.
        heights: F at the minima; default 0.
        well: which minimum the basin belongs to, counted from 0.

    Example:
        >>> MultiWellConfig(minima=[-1, 2], saddles=0, barriers=1, curvatures=[2, 1], saddle_curvatures=1).minimum
        (-1.0,)
    """

    minima: Point = key(vector(finite))
    saddles: Point = key(vector(finite, may_be_empty=True))
    barriers: Point = key(vector(finite, may_be_empty=True))
    curvatures: Point = key(vector(positive))
    saddle_curvatures: Point = key(vector(positive, may_be_empty=True))
    heights: Point | None = key(vector(finite), default=None)
    well: int = key(integer(0, 2**31 - 1), default=0)

    def check(self) -> None:
        wells = len(self.minima)
        sizes = {"curvatures": wells, "heights": wells, "saddles": wells - 1}
        sizes |= {"barriers": wells - 1, "saddle_curvatures": wells - 1}
        for name, size in sizes.items():
            given = getattr(self, name)
            if given is not None and len(given) != size:
                raise ConfigError(
                    f"[landscape] {name} has {len(given)} entries, but {wells} minima need {size}. Give one for each "
                    f"{'minimum' if size == wells else 'saddle between two minima'}."
                )
        if self.well >= wells:
            raise refuse(self.well, "[landscape] well", f"a number from 0 to {wells - 1}: which minimum, from the left")
        points = [point for piece in self._pieces() for point in piece[:1]] + [self.minima[-1]]
        for low, high in itertools.pairwise(points):
            if not low < high:
                raise ConfigError(
                    f"[landscape] minima and saddles do not alternate: {high} comes after {low}. Give both in rising "
                    "order, with one saddle between each two minima."
                )
        for index, (start, _, _, a, b, c) in enumerate(self._pieces()):
            vertex = min(max(-b / (2 * c), 0.0), 1.0) if c else 0.0
            rising = 1 - 2 * (index % 2)
            if not (rising * (a + b * vertex + c * vertex * vertex) > 0.0 and rising * (a + b + c) > 0.0):
                raise ConfigError(
                    f"[landscape] barriers: F would not be monotone on the piece that starts at {start}. "
                    "Raise the barrier there or lower the curvatures."
                )

    def _pieces(self) -> list[tuple[float, float, float, float, float, float]]:
        """Start, length, F at the start, and a, b, c of F' = t (1 - t) (a + b t + c t^2)/length, t in [0, 1]."""
        heights = self.heights or (0.0,) * len(self.minima)
        wells = list(zip(self.minima, heights, self.curvatures, strict=True))
        tops = [(s, f, -k) for s, f, k in zip(self.saddles, self.barriers, self.saddle_curvatures, strict=True)]
        row = [point for pair in zip(wells, tops, strict=False) for point in pair] + wells[-1:]
        pieces = []
        for (x0, f0, k0), (x1, f1, k1) in itertools.pairwise(row):
            first, last = k0 * _square(x1 - x0), k1 * _square(x1 - x0)
            c = -30.0 * (f1 - f0) + 2.5 * (first - last)
            pieces.append((x0, x1 - x0, f0, first, -(first + last) - c, c))
        return pieces

    @property
    def minimum(self) -> Point:
        return (self.minima[self.well],)

    def excess(self, x: Point) -> float:
        heights = self.heights or (0.0,) * len(self.minima)
        (y,), base = x, heights[self.well]
        if y <= self.minima[0]:
            return heights[0] - base + 0.5 * self.curvatures[0] * _square(y - self.minima[0])
        for start, length, height, a, b, c in self._pieces():
            if y <= start + length:
                t = (y - start) / length
                return height - base + t * t * (a / 2 + t * ((b - a) / 3 + t * ((c - b) / 4 - t * c / 5)))
        return heights[-1] - base + 0.5 * self.curvatures[-1] * _square(y - self.minima[-1])

    def same_valley(self, x: Point, height: float) -> bool:
        level = (self.heights or (0.0,) * len(self.minima))[self.well] + height
        (y,), (z,) = x, self.minimum
        row = zip(self.saddles, self.barriers, strict=True)
        return all(barrier < level for saddle, barrier in row if min(y, z) < saddle < max(y, z))


@table("landscape", "wang_oh_rhee")
class WangOhRheeConfig:
    """The test potential of Wang, Oh and Rhee (ICLR 2022): one dimension, wells between -1.6, -1.3, 0.2, 0.7 and 1.6.

    Args:
        well: which minimum the basin belongs to, counted from 0.
    """

    well: int = key(integer(0, 3), default=1)

    @property
    def minimum(self) -> Point:
        return ((-1.5114836478324735, -0.6992730551356217, 0.49624453836305575, 1.322093745167914)[self.well],)

    def excess(self, x: Point) -> float:
        return _wang_oh_rhee(x[0]) - _wang_oh_rhee(self.minimum[0])

    def same_valley(self, x: Point, height: float) -> bool:
        edges = (-1.6, -1.3, 0.2, 0.7, 1.6)
        over_the_edges = _wang_oh_rhee(self.minimum[0]) + height > 0.0
        return over_the_edges or edges[self.well] < x[0] < edges[self.well + 1]


def _wang_oh_rhee(x: float) -> float:
    wells = (x + 1.6) * _square((x + 1.3) * (x - 0.2) * (x - 0.7)) * (x - 1.6) * (0.05 * abs(1.65 - x)) ** 0.6
    sharp = (1 + 1 / (0.01 + 4 * _square(x - 0.5))) * (1 + 1 / (0.1 + 4 * _square(x + 1.5)))
    return wells * sharp * (1 - math.exp(-5 * _square(x + 0.8)) / 4)


def _square(y: float) -> float:
    """y y, which is inf where y ** 2 would raise OverflowError."""
    return y * y


def difference(x: Sequence[float], y: Sequence[float]) -> Point:
    """x - y, coordinate by coordinate."""
    return tuple(a - b for a, b in zip(x, y, strict=True))
