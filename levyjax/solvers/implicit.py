"""A stiff step's linear systems by one inverse matrix: for many small ones at a time several times as fast as LU."""

import functools
from typing import Any

import jax.numpy as jnp

_ROUNDING = 1e-6  # of the Newton steps' tolerance, which is 1e-5 and more of what is looked for


@functools.cache
def implicit_solver() -> Any:
    """diffrax's stiff solver of order 5, its Newton steps by inverse matrices; imported when it is needed."""
    import diffrax  # half a second
    import lineax

    class Inverse(lineax.AbstractLinearSolver):
        def init(self, operator: Any, options: Any) -> Any:
            return jnp.linalg.inv(operator.as_matrix())

        def compute(self, state: Any, vector: Any, options: Any) -> Any:
            return state @ vector, lineax.RESULTS.successful, {}

        def transpose(self, state: Any, options: Any) -> Any:
            return state.T, options

        def conj(self, state: Any, options: Any) -> Any:
            return state, options

        def assume_full_rank(self) -> bool:
            return True

    def size(change: Any) -> Any:
        """The norm of a Newton step, in its tolerance; 0 where it is rounding, whose growth is no divergence."""
        largest = jnp.abs(change).max()
        return jnp.where(largest < _ROUNDING, 0, largest)

    newton = diffrax.VeryChord(rtol=1e-5, atol=1e-7, norm=size, linear_solver=Inverse())
    return diffrax.Kvaerno5(root_finder=newton)
