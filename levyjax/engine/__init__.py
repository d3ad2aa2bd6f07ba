"""Many trajectories at once."""

from levyjax.engine.chunks import Ends, run, run_chunks
from levyjax.engine.lanes import ExitCode, Process
from levyjax.engine.looks import Seen, observe, observe_on

__all__ = ["Ends", "ExitCode", "Process", "Seen", "observe", "observe_on", "run", "run_chunks"]
