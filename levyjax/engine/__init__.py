"""Many trajectories at once."""

from levyjax.engine.chunks import Ends, run, run_chunks
from levyjax.engine.lanes import ExitCode, Process

__all__ = ["Ends", "ExitCode", "Process", "run", "run_chunks"]
