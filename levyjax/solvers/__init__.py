"""How one step is taken."""

from levyjax.solvers.jump_adapted import JumpAdapted
from levyjax.solvers.steps import Euler, Iteration, Solver, Tamed

__all__ = ["Euler", "Iteration", "JumpAdapted", "Solver", "Tamed"]
