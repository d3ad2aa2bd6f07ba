"""Counter-based random bits."""

from levyjax.random.streams import Counter, Stream, first_counter, run_key, words

__all__ = [
    "Counter",
    "Stream",
    "first_counter",
    "run_key",
    "words",
]
