"""The test potential of Wang, Oh and Rhee."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from levyjax.arrays import pytree
from levyjax.checks import integer
from levyjax.keys import key, piece
from levyjax.landscapes.base import first_crossing

EDGES = (-1.6, -1.3, 0.2, 0.7, 1.6)  # of the wells: F is 0 there, and below 0 in between
# Where F' is 0 in each well, by root finding with 40 digits.
MINIMA = (-1.5114836478324735, -0.6992730551356217, 0.49624453836305575, 1.322093745167914)


@piece("landscape", "wang_oh_rhee")
@pytree
class WangOhRhee:
    """In one dimension, four wells between the edges -1.6, -1.3, 0.2, 0.7, 1.6, sharp and flat by turns.

    F(x) = (x + 1.6) (x + 1.3)^2 (x - 0.2)^2 (x - 0.7)^2 (x - 1.6) (0.05 |1.65 - x|)^0.6
    (1 + 1/(0.01 + 4 (x - 0.5)^2)) (1 + 1/(0.1 + 4 (x + 1.5)^2)) (1 - exp(-5 (x + 0.8)^2)/4).

    Far out it grows like |x|^8.6, and at 1.65 its slope is infinite: its authors project to [-1.6, 1.6] (the solvers'
    `project`).

    Args:
        well: which minimum is x*, counted from 0: at -1.511, -0.699, 0.496 and 1.322. In their experiment 1, started at
            -0.7.

    Raises:
        ValueError: another well.

    Source:
        Wang, Oh, Rhee, "Eliminating sharp minima from SGD with truncated heavy-tailed noise", ICLR 2022, appendix A.1
        (which prints -0.66 for the minimum at -0.699).

    Example:
        >>> WangOhRhee().minimum.tolist()
        [-0.6992730551356217]
    """

    well: int = key(integer(0, len(MINIMA) - 1), default=1, static=True)

    @property
    def minimum(self) -> Any:
        return np.array([MINIMA[self.well]])

    def value(self, x: Float[Array, "1 *batch"]) -> Float[Array, "*batch"]:
        x = x[0]
        wells = (x + 1.6) * ((x + 1.3) * (x - 0.2) * (x - 0.7)) ** 2 * (x - 1.6)
        slant = (0.05 * jnp.abs(1.65 - x)) ** 0.6
        sharp = (1 + 1 / (0.01 + 4 * (x - 0.5) ** 2)) * (1 + 1 / (0.1 + 4 * (x + 1.5) ** 2))
        return wells * slant * sharp * (1 - jnp.exp(-5 * (x + 0.8) ** 2) / 4)

    def gradient(self, x: Float[Array, "1 *batch"]) -> Float[Array, "1 *batch"]:
        return jax.grad(lambda x: self.value(x).sum())(x)

    def hessian(self) -> Float[Array, "1 1"]:
        return jax.hessian(self.value)(jnp.asarray(self.minimum))

    def in_sublevel(self, x: Float[Array, "1 *batch"], height: Any) -> Bool[Array, "*batch"]:
        """The edges between the wells are all at F = 0."""
        level = self._level(x, height)
        same_well = (x[0] > EDGES[self.well]) & (x[0] < EDGES[self.well + 1])
        return (self.value(x) < level) & (same_well | (level > 0))

    def _level(self, x: Array, height: Any) -> Array:
        return self.value(jnp.asarray(self.minimum, x.dtype)) + height

    def sublevel_gauge(self, direction: Float[Array, "1 *batch"], height: Any) -> Float[Array, "*batch"]:
        level = self._level(direction, height)

        def inside(x: Array) -> Array:
            return self.in_sublevel(x, height)

        minimum = jnp.asarray(self.minimum, direction.dtype)
        return first_crossing(lambda x: self.value(x) - level, minimum, direction, (1e-5, 1e5), inside)
