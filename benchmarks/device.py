"""What the other topics ran on: devices, vector units, compilers and the versions of the rivals. Names no machine."""

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

_RIVALS = ("numpy", "scipy", "numba", "diffrax", "equinox", "lineax")
_VECTOR_UNITS = ("sse4_2", "avx2", "fma", "avx512f", "avx512dq", "neon", "asimd", "sve")


def run(quick: bool) -> dict[str, Any]:
    """One row for each fact."""
    rows = [{"name": name, "value": value} for name, value in facts().items()]
    return {"rows": rows, "quick": quick}


def facts() -> dict[str, Any]:
    """Everything that a rate depends on, besides the code."""
    devices = jax.local_devices()
    return {
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "device_memory_bytes": (devices[0].memory_stats() or {}).get("bytes_limit"),
        "logical_processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "vector_units": vector_units(),
        "gcc": compiler(),
        **{name: version(name) for name in _RIVALS},
    }


def vector_units() -> list[str] | None:
    """Those of the processor that matter here, as the system names them."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return None
    return [name for name in _VECTOR_UNITS if name in words]


def compiler() -> str | None:
    """gcc's version."""
    path = shutil.which("gcc")
    return subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True).stdout.strip() if path else None


def version(name: str) -> str | None:
    """The installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
