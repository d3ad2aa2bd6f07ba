"""Counter-based random bits."""

from levyjax.random.streams import (
    MAX_COORDINATES,
    MAX_STEPS,
    Counter,
    Stream,
    first_counter,
    low_words,
    run_key,
    trajectory_key,
    words,
)
from levyjax.random.threefry import threefry2x32

__all__ = [
    "MAX_COORDINATES",
    "MAX_STEPS",
    "Counter",
    "Stream",
    "first_counter",
    "low_words",
    "run_key",
    "threefry2x32",
    "trajectory_key",
    "words",
]
