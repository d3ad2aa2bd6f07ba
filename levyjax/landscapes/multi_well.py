"""Wells in a row whose positions, heights and curvatures are set one by one."""

import dataclasses
import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import column, concrete, freeze, pytree
from levyjax.checks import finite, integer, positive, refuse, vector
from levyjax.keys import key, piece
from levyjax.landscapes.base import first_crossing


@piece("landscape", "multi_well")
@pytree
class MultiWell:
    """In one dimension, minima and saddles at given points, with given heights and curvatures: C^2, nothing else flat.

    Between a minimum and a saddle F is the quintic polynomial with their heights and curvatures and without slope at
    both; beyond the outermost minima it is quadratic. So width, height and curvature vary each alone.

    Args:
        minima: (n,) positions, rising.
        saddles: (n - 1,) positions, one between each two minima; [] for one well.
        barriers: (n - 1,) F at the saddles.
        curvatures: (n,) F'' at the minima, positive.
        saddle_curvatures: (n - 1,) -F'' at the saddles, positive.
        heights: (n,) F at the minima; default 0.
        well: which minimum is x*, counted from 0.

    Raises:
        ValueError: positions out of order, a curvature that is not positive, a barrier so low for its curvatures that F
            would not rise all the way to it, lengths that do not fit.

    Example:
        >>> landscape = MultiWell([-1.0, 2.0], [0.0], [1.0], [2.0, 1.0], [1.0], well=1)
        >>> landscape.minimum.tolist(), landscape.hessian().tolist()
        ([2.0], [[1.0]])
    """

    minima: Any = key(vector(finite))
    saddles: Any = key(vector(finite, may_be_empty=True))
    barriers: Any = key(vector(finite, may_be_empty=True))
    curvatures: Any = key(vector(positive))
    saddle_curvatures: Any = key(vector(positive, may_be_empty=True))
    heights: Any = key(vector(finite), default=None)
    well: int = key(integer(0, 2**31 - 1), default=0, static=True)

    def __post_init__(self) -> None:
        if self.heights is None and hasattr(self.minima, "shape"):
            freeze(self, heights=np.zeros(self.minima.shape[0]))
        arrays = (getattr(self, field.name) for field in dataclasses.fields(self))
        if all(concrete(value) for value in arrays):
            self._check()

    def _check(self) -> None:
        wells = len(self.minima)
        sizes = {"curvatures": wells, "heights": wells, "saddles": wells - 1}
        sizes |= {"barriers": wells - 1, "saddle_curvatures": wells - 1}
        for name, size in sizes.items():
            if len(getattr(self, name)) != size:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} entries, but {wells} minima need {size}. Give one for each "
                    f"{'minimum' if size == wells else 'saddle between two minima'}."
                )
        if not self.well < wells:
            raise refuse(self.well, "well", f"a number from 0 to {wells - 1}: which minimum, from the left")
        points = self._interleaved(np.asarray(self.minima), np.asarray(self.saddles), np)
        for low, high in itertools.pairwise(points.tolist()):
            if not low < high:
                raise ValueError(
                    f"minima and saddles do not alternate: {high} comes after {low}. Give both in rising order, with "
                    "one saddle between each two minima."
                )
        for index, (a, b, c) in enumerate(zip(*(np.asarray(part) for part in self._pieces(np)[2:]), strict=True)):
            vertex = np.clip(-b / (2 * c), 0, 1) if c else 0.0
            rising = np.sign(1 - 2 * (index % 2))
            if not rising * (a + b * vertex + c * vertex**2) > 0 or not rising * (a + b + c) > 0:
                raise ValueError(
                    f"barriers: F would not be monotone between {points[index]:g} and {points[index + 1]:g}. Raise the "
                    "barrier there or lower the curvatures."
                )

    @staticmethod
    def _interleaved(at_minima: Any, at_saddles: Any, library: Any) -> Any:
        """Minimum, saddle, minimum, ... in a row."""
        size = at_minima.shape[0] + at_saddles.shape[0]
        if size == 1:
            return at_minima
        both = library.stack([at_minima[:-1], at_saddles], axis=1).reshape(-1)
        return library.concatenate([both, at_minima[-1:]])

    def _pieces(self, library: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Start, length and a, b, c of F' = t (1 - t) (a + b t + c t^2)/length for t in [0, 1], for every piece.

        F''(0) = a, F''(1) = -(a + b + c) and the rise a/6 + b/12 + c/20, in units of the length, give a, b and c.
        """
        minima, saddles, curvatures, barriers, heights, saddle_curvatures = (
            library.asarray(getattr(self, name))
            for name in ("minima", "saddles", "curvatures", "barriers", "heights", "saddle_curvatures")
        )
        points = self._interleaved(minima, saddles, library)
        bend = self._interleaved(curvatures, -saddle_curvatures, library)
        length, rise = library.diff(points), library.diff(self._interleaved(heights, barriers, library))
        first, last = bend[:-1] * length**2, bend[1:] * length**2
        c = -30 * rise + (first - last) * 2.5
        return points[:-1], length, first, -(first + last) - c, c

    @property
    def minimum(self) -> Any:
        return self.minima[self.well : self.well + 1]

    def _parts(self, x: Array) -> tuple[Array, Array, Any]:
        """How far x is beyond the outermost minima, to either side, and t with its polynomial on every piece."""
        below = jnp.minimum(x[0] - self.minima[0], 0)
        above = jnp.maximum(x[0] - self.minima[-1], 0)
        start, length, *polynomial = (column(part, x) for part in self._pieces(jnp))
        return below, above, (jnp.clip((x - start) / length, 0, 1), length, *polynomial)

    def value(self, x: Float[Array, "1 *batch"]) -> Float[Array, "*batch"]:
        below, above, (t, _, a, b, c) = self._parts(x)
        pieces = t**2 * (a / 2 + t * ((b - a) / 3 + t * ((c - b) / 4 - t * c / 5)))
        ends = self.curvatures[0] * below**2 + self.curvatures[-1] * above**2
        return self.heights[0] + pieces.sum(axis=0) + ends / 2

    def gradient(self, x: Float[Array, "1 *batch"]) -> Float[Array, "1 *batch"]:
        below, above, (t, length, a, b, c) = self._parts(x)
        pieces = t * (1 - t) * (a + t * (b + t * c)) / length
        return (pieces.sum(axis=0) + self.curvatures[0] * below + self.curvatures[-1] * above)[None]

    def hessian(self) -> Float[Array, "1 1"]:
        return jnp.asarray(self.curvatures)[self.well, None, None]

    def in_sublevel(self, x: Float[Array, "1 *batch"], height: Any) -> Bool[Array, "*batch"]:
        level = self.heights[self.well] + height
        saddles, minimum = column(self.saddles, x), self.minima[self.well]
        between = (saddles - minimum) * (saddles - x) < 0
        return (self.value(x) < level) & ~(between & (column(self.barriers, x) >= level)).any(axis=0)

    def sublevel_gauge(self, direction: Float[Array, "1 *batch"], height: Any) -> Float[Array, "*batch"]:
        level = self.heights[self.well] + height

        def inside(x: Array) -> Array:
            return self.in_sublevel(x, height)

        return first_crossing(lambda x: self.value(x) - level, self.minimum, direction, (1e-5, 1e5), inside)
