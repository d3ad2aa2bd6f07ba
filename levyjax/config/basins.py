"""The kinds of `[basin]`: the open region whose first exit is the question."""

import math
from typing import TYPE_CHECKING, Protocol

from levyjax.config.checks import ConfigError, finite, positive, real, refuse, vector
from levyjax.config.landscapes import Point, difference
from levyjax.config.matrices import Matrix, positive_definite, quadratic_form
from levyjax.config.tables import key, table

if TYPE_CHECKING:
    from levyjax.config.schema import RunConfig

_lower_bound = real("a number or -inf", lambda x: x < math.inf)
_upper_bound = real("a number or inf", lambda x: x > -math.inf)


class BasinConfig(Protocol):
    """What the rest of the configuration asks of a basin."""

    table: str
    kind: str

    def outside(self, x: Point, config: "RunConfig") -> str | None:
        """Why x is not in the basin, as the end of a sentence; None where it is."""
        ...


@table("basin", "box")
class BoxConfig:
    """{x : lower_j < x_j < upper_j for every j}; bounds may be infinite, but not all of them.

    Example:
        >>> BoxConfig(lower=-1.0, upper=1.0)
        BoxConfig(lower=(-1.0,), upper=(1.0,))
    """

    lower: Point = key(vector(_lower_bound), coordinates=0)
    upper: Point = key(vector(_upper_bound), coordinates=0)

    def check(self) -> None:
        for j, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if low >= high:
                raise ConfigError(
                    f"[basin] lower[{j}] = {low} is not below upper[{j}] = {high}. Make each lower bound the smaller."
                )
        if all(map(math.isinf, self.lower + self.upper)):
            raise ConfigError("[basin] lower and upper have no finite bound, so nothing can leave. Give at least one.")

    def outside(self, x: Point, config: "RunConfig") -> str | None:
        for j, (low, y, high) in enumerate(zip(self.lower, x, self.upper, strict=True)):
            if not low < y < high:
                return f"x{j} = {y} is not between lower = {low} and upper = {high}"
        return None


@table("basin", "ball")
class BallConfig:
    """{x : |x - center| < radius}.

    Args:
        radius: above 0.
        center: default the landscape's minimum (`start` where the landscape is flat).
    """

    radius: float = key(positive)
    center: Point | None = key(vector(finite), default=None, coordinates=0)

    def outside(self, x: Point, config: "RunConfig") -> str | None:
        distance = math.hypot(*difference(x, self.center or config.minimum))
        return None if distance < self.radius else f"its distance from the center, {distance:g}, is not below radius"


@table("basin", "ellipsoid")
class EllipsoidConfig:
    """{x : (x - center)' M (x - center) < level}.

    Args:
        matrix: M, symmetric positive definite: its diagonal, its rows, or one number in one dimension.
        level: above 0.
        center: default the landscape's minimum (`start` where the landscape is flat).
    """

    matrix: Matrix = key(positive_definite, coordinates=0)
    level: float = key(positive)
    center: Point | None = key(vector(finite), default=None, coordinates=0)

    def outside(self, x: Point, config: "RunConfig") -> str | None:
        form = quadratic_form(self.matrix, difference(x, self.center or config.minimum))
        return None if form < self.level else f"its quadratic form, {form:g}, is not below level"


@table("basin", "half_space")
class HalfSpaceConfig:
    """{x : normal'x < offset}."""

    normal: Point = key(vector(finite), coordinates=0)
    offset: float = key(finite)

    def check(self) -> None:
        if not any(self.normal):
            raise refuse(list(self.normal), "[basin] normal", "a direction that is not 0 in all its entries")

    def outside(self, x: Point, config: "RunConfig") -> str | None:
        along = sum(n * y for n, y in zip(self.normal, x, strict=True))
        return None if along < self.offset else f"normal'x = {along:g} is not below offset"


@table("basin", "sublevel")
class SublevelConfig:
    """The component of {x : F(x) < F(x*) + height} around the landscape's minimum x*."""

    height: float = key(positive)

    def outside(self, x: Point, config: "RunConfig") -> str | None:
        excess = config.landscape.excess(x)
        if not excess < self.height:
            return f"there F is {excess:g} above its minimum, which is not below height"
        return None if config.landscape.same_valley(x, self.height) else "it is in another valley than the minimum"


@table("basin", "attraction")
class AttractionConfig:
    """Every point from which gradient descent's flow ends at the landscape's minimum x*."""

    def outside(self, x: Point, config: "RunConfig") -> str | None:
        """Only a descent can tell: the problem itself checks it when it is built."""
        return None
