"""`levyjax doctor`: whether the installed packages and this machine compute what levyjax relies on.

What has been computed and found good is kept in the user's cache, by the versions, the devices and the code checked.
"""

import argparse
import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

HELP = "check the installed packages and this machine's arithmetic"

MINIMUM = {"jax": "0.10", "jaxlib": "0.10", "numpy": "2.0", "scipy": "1.14", "optax": "0.2.4", "flax": "0.12"}
_WRONG = "silently wrong numbers on the CPU in jit(vmap(matvec then reduce)), jax-ml/jax#39103"
_SLOW = "the cost of a loop grows with the square of its body, jax-ml/jax#40101"
HOLES = {"0.10.2": _WRONG, "0.11.0": _SLOW, "0.11.1": _SLOW}  # of jax and of jaxlib, which holds the compiler

Check = dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("--fresh", action="store_true", help="compute everything again, whatever the cache has")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs every check, or takes what the cache has of them; one that cannot run is bad."""
    checks = [_python(), *map(_package, MINIMUM), _guarded("devices", _devices)]
    kept = None if args.fresh else _kept()
    computed = _computed() if kept is None else kept
    checks += computed
    return {"checks": checks, "ok": not _bad(checks), "cached": kept is not None}


def _computed() -> list[Check]:
    """The arithmetic, computed now, and kept if it is good."""
    try:
        from levyjax.cli.arithmetic import CHECKS
    except Exception as error:
        return [_failed("arithmetic", error)]
    checks = [_guarded(name, check) for name, check in CHECKS.items()]
    if not _bad(checks):
        _keep(checks)
    return checks


def render(result: dict[str, Any]) -> str:
    """The checks as a table."""
    from levyjax.output import table

    note = "\n\nThe arithmetic is from the cache; --fresh computes it again." if result.get("cached") else ""
    return table(result["checks"]) + note


def failure(result: dict[str, Any]) -> str | None:
    """Which checks failed, as a sentence; None where all is well."""
    bad = _bad(result["checks"])
    if not bad:
        return None
    names = ", ".join(check["name"] for check in bad)
    return f"this installation is not fit for use, see {names} in the result; the first is {bad[0]['detail']}"


def _check(name: str, status: str, detail: str) -> Check:
    return {"name": name, "status": status, "detail": detail}


def _bad(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check["status"] == "bad"]


def _guarded(name: str, check: Callable[[], tuple[str, str]]) -> Check:
    try:
        return _check(name, *check())
    except Exception as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Check:
    return _check(name, "bad", f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return _check("python", "ok" if sys.version_info >= (3, 11) else "bad", f"{version} (3.11 or later)")


def _package(name: str) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return _check(name, "bad", f"not installed; {MINIMUM[name]} or later is needed")
    if name in ("jax", "jaxlib") and version in HOLES:
        return _check(name, "bad", f"{version}: {HOLES[version]}; install another version")
    if _numbers(version) < _numbers(MINIMUM[name]):
        return _check(name, "bad", f"{version} is too old; {MINIMUM[name]} or later is needed")
    return _check(name, "ok", version)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "0.10.1.dev3" is (0, 10, 1)."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _devices() -> tuple[str, str]:
    import jax

    kinds = [f"{device.platform} ({device.device_kind})" for device in jax.devices()]
    return "ok", ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))


def _key() -> str:
    """What the computed checks depend on: versions, devices, the compiler's flags, and the code that they check."""
    import levyjax
    from levyjax.environment import environment

    root = Path(levyjax.__file__).parent
    parts = ("cli/arithmetic.py", "random/*.py", "stable/*.py")
    code = [path.read_bytes() for part in parts for path in sorted(root.glob(part))]
    flags = {name: value for name, value in sorted(os.environ.items()) if name.startswith(("XLA_", "JAX_"))}
    text = repr((environment(), flags)).encode()
    return hashlib.sha256(text + b"".join(code)).hexdigest()


def _cache() -> Path:
    """The file of the cache; the user's cache folder is XDG_CACHE_HOME, by default ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    return folder / "levyjax" / "doctor.json"


def _kept() -> list[Check] | None:
    """What the cache has of these versions and devices; None where it has nothing, or nothing that can be read."""
    from levyjax.records import read_record

    try:
        record = read_record(_cache(), ("key", "checks"))
        checks = [_check(str(check["name"]), check["status"], str(check["detail"])) for check in record["checks"]]
        good = record["key"] == _key() and bool(checks) and all(check["status"] == "ok" for check in checks)
    except Exception:  # no home, no permission, another's file: as good as none
        return None
    return checks if good else None


def _keep(checks: list[Check]) -> None:
    """Write the cache, where that can be done."""
    from levyjax.records import write_record

    with contextlib.suppress(Exception):
        path = _cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, {"key": _key(), "checks": checks})
