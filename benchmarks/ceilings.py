"""What this processor can do at most, all threads together: the roof that `ROOFLINE.md` holds the programs against."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

from .common import seconds_of
from .rivals import Unavailable, c_program

PROGRAMS = {
    "integer_operations": "32-bit add, rotate, xor",
    "float_operations": "float32 multiply and add",
    "word_pairs": "pairs of Threefry-2x32 words",
    "variates": "stable variates of given words",
    "sines": "float32 sines (polynomial)",
    "logarithms": "float32 logarithms (polynomial)",
    "exponentials": "float32 powers of two (polynomial)",
}
ROUNDS = (20, 13)


def run(quick: bool) -> dict[str, Any]:
    """A row for each operation; the cipher with 20 and with 13 rounds."""
    rows = []
    for name, what in PROGRAMS.items():
        for rounds in ROUNDS if name == "word_pairs" else ROUNDS[:1]:
            rows.append({"name": name, "what": what, "rounds": rounds, **rate(name, rounds, 3 if quick else 9)})
    return {"rows": rows, "dtype": "float32", "quick": quick}


def rate(name: str, rounds: int, repeats: int) -> dict[str, Any]:
    """Operations a second of one program, the best of several."""
    try:
        program = c_program.library(rounds, "ceilings")
    except Unavailable as reason:
        return {"per_second": None, "threads": None, "unavailable": str(reason)}
    call = program[name]
    call.argtypes, call.restype = [ctypes.c_long], ctypes.c_double
    count = enough(call)
    best = min(seconds_of(partial(call, count)) for _ in range(repeats))
    done = call(count) * program.threads()
    return {"per_second": done / best, "threads": program.threads(), "unavailable": None}


def enough(call: Callable[[int], float], seconds: float = 0.03) -> int:
    """How often to do it so that the clock sees it."""
    count = 1 << 20
    while seconds_of(partial(call, count)) < seconds:
        count *= 2
    return count
