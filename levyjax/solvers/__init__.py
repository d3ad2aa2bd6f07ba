"""How one step is taken."""

from levyjax.solvers.steps import Euler, Iteration, Solver

__all__ = ["Euler", "Iteration", "Solver"]
