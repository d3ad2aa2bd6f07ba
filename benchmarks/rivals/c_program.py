"""The C program, compiled for this processor into the cache folder and called through ctypes."""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import Run, Unavailable, Work, refuse_other_than

NAME, SHARE = "C program (gcc -O3, OpenMP, widest SIMD)", 1
SOURCES = Path(__file__).parent / "c"
FLAGS = ("-O3", "-ffast-math", "-fopenmp", "-fPIC", "-c")
WIDEST, AVX2 = ("-march=native", "-mprefer-vector-width=512"), ("-mavx2", "-mfma", "-mprefer-vector-width=256")
MAX_DIMENSION = 64


def _folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()
    folder = Path(root) / "levyjax-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _known(compiler: str, flag: str) -> bool:
    """Whether this compiler has the flag; vector widths are x86's."""
    return subprocess.run([compiler, flag, "-E", "-x", "c", os.devnull], capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise Unavailable(f"gcc refused the C program: {' '.join(made.stderr.split())[:200]}")


@functools.cache
def library(rounds: int = 20, name: str = "stable_steps", vectors: tuple[str, ...] = WIDEST) -> ctypes.CDLL:
    """Compile a program of this folder if need be, and load it.

    Raises:
        Unavailable: there is no gcc, or it fails.
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        raise Unavailable("There is no gcc, so that the C program cannot be compiled.")
    source = SOURCES / f"{name}.c"
    text = source.read_bytes() + (SOURCES / "stable.h").read_bytes() + repr((FLAGS, vectors, rounds)).encode()
    path = _folder() / f"{name}_{hashlib.sha256(text).hexdigest()[:16]}.so"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}.partial")
        flags = [flag for flag in FLAGS + vectors if _known(compiler, flag)]
        made = partial.with_suffix(".o")
        _run([compiler, *flags, f"-DROUNDS={rounds}", str(source), "-o", str(made)])
        # Linked without -ffast-math, which would have the library flush denormal numbers in the whole process.
        _run([compiler, "-shared", "-fopenmp", str(made), "-o", str(partial), "-lm"])
        made.unlink()
        partial.replace(path)
    return ctypes.CDLL(str(path))


def words(key: tuple[int, int], counter: tuple[int, int], rounds: int = 20) -> tuple[int, int]:
    """Threefry-2x32 as the program computes it."""
    out = np.zeros(2, np.uint32)
    library(rounds).threefry_words(*map(ctypes.c_uint32, (*key, *counter)), out.ctypes.data_as(ctypes.c_void_p))
    return int(out[0]), int(out[1])


def increments(work: Work, *, seed: int = 0, rounds: int = 20, vectors: tuple[str, ...] = WIDEST) -> Run:
    """The work as a function; its points are levyjax's for the same seed, to rounding, if rounds is 20."""
    refuse_other_than(work, NAME, dtype=("float32",), noise=("independent",), gradient=("diagonal",))
    if work.dimension > MAX_DIMENSION:
        raise Unavailable(f"The C program is written for at most {MAX_DIMENSION} dimensions.")
    program = library(rounds, vectors=vectors)
    points = np.zeros((work.dimension, work.lanes), np.float32)
    taken = np.zeros(work.lanes, np.int32)
    numbers = (work.alpha, work.dt, work.kick, work.bound)

    def run() -> np.ndarray:
        program.stable_steps(
            ctypes.c_uint32(seed >> 32),
            ctypes.c_uint32(seed & 0xFFFFFFFF),
            *map(ctypes.c_int, (work.lanes, work.dimension, work.steps)),
            *map(ctypes.c_float, numbers),
            points.ctypes.data_as(ctypes.c_void_p),
            taken.ctypes.data_as(ctypes.c_void_p),
        )
        return points

    return run
