"""Many trajectories at once."""

from levyjax.engine.chunks import Ends, run
from levyjax.engine.lanes import ExitCode, Process

__all__ = ["Ends", "ExitCode", "Process", "run"]
