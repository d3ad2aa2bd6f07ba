"""The kinds of `[landscape]`: the function F whose gradient drives the path."""

from collections.abc import Sequence
from typing import Protocol

from levyjax.config.checks import choice, finite, positive, vector
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


def difference(x: Sequence[float], y: Sequence[float]) -> Point:
    """x - y, coordinate by coordinate."""
    return tuple(a - b for a, b in zip(x, y, strict=True))
