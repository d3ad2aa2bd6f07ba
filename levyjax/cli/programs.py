"""Compiled programs kept from one command to the next, in the user's cache folder."""

import hashlib
import os
import platform
import warnings
from pathlib import Path

_SILENT_SINCE = (0, 11)  # before, jaxlib may print lines about the features of the machine for each program it reads
_MOST = 256 << 20  # bytes
_FOLDER, _OFF = "JAX_COMPILATION_CACHE_DIR", "LEVYJAX_NO_CACHE"


def keep_programs() -> None:
    """Have jax, before it is imported, keep what takes long to compile; not where the user has said how, or not to."""
    if _FOLDER in os.environ or os.environ.get(_OFF):
        return
    from jaxlib.version import __version__ as release  # without jax itself

    if tuple(int(part) for part in release.split(".")[:2]) < _SILENT_SINCE:
        return
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(base) / "levyjax" / f"programs-{release}-{_machine()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder.parent)
    except OSError:  # no home, or one that is read only
        return
    os.environ[_FOLDER] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    # an entry that cannot be read, as another process is writing it, is compiled
    warnings.filterwarnings("ignore", "Error .* persistent compilation cache entry")


def _machine() -> str:
    """What a program is compiled for: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.node())
    except OSError:
        features = platform.node()
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:12]


def _make_room(folder: Path) -> None:
    """Delete programs that were read longest ago until they take no more than 256 MiB."""
    found = [(path.stat(), path) for path in folder.glob("programs-*/*") if path.is_file()]
    size = sum(status.st_size for status, _ in found)
    for status, path in sorted(found, key=lambda pair: max(pair[0].st_atime, pair[0].st_mtime)):
        if size <= _MOST:
            return
        path.unlink(missing_ok=True)
        size -= status.st_size
