"""`levyjax doctor`: whether the installed packages and this machine compute what levyjax relies on."""

import argparse
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

HELP = "check the installed packages and this machine's arithmetic"

MINIMUM = {"jax": "0.10", "jaxlib": "0.10", "numpy": "2.0", "scipy": "1.14", "optax": "0.2.4", "flax": "0.12"}
_WRONG = "silently wrong numbers on the CPU in jit(vmap(matvec then reduce)), jax-ml/jax#39103"
_SLOW = "the cost of a loop grows with the square of its body, jax-ml/jax#40101"
HOLES = {"0.10.2": _WRONG, "0.11.0": _SLOW, "0.11.1": _SLOW}  # of jax and of jaxlib, which holds the compiler

_THREEFRY = (  # Random123's known answers for Threefry-2x32 with 20 rounds: key, counter, result
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
)

Check = dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs every check; one that cannot run is bad."""
    checks = [_python(), *map(_package, MINIMUM)]
    checks += [_guarded(name, check) for name, check in _NUMERIC.items()]
    return {"checks": checks, "ok": all(check["status"] != "bad" for check in checks)}


def render(result: dict[str, Any]) -> str:
    """The checks as a table."""
    from levyjax.output import table

    return table(result["checks"])


def failure(result: dict[str, Any]) -> str | None:
    """Which checks failed, as a sentence; None where all is well."""
    bad = [check for check in result["checks"] if check["status"] == "bad"]
    if not bad:
        return None
    names = ", ".join(check["name"] for check in bad)
    return f"this installation is not fit for use, see {names} in the result; the first is {bad[0]['detail']}"


def _check(name: str, status: str, detail: str) -> Check:
    return {"name": name, "status": status, "detail": detail}


def _guarded(name: str, check: Callable[[], tuple[str, str]]) -> Check:
    try:
        return _check(name, *check())
    except Exception as error:
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


def _matvec_reduce() -> tuple[str, str]:
    """The sizes from which jax 0.10.2 goes wrong, in float64 and in float32."""
    import jax

    errors = []
    for rows, dtype in ((16_385, "float64"), (32_769, "float32")):
        with jax.enable_x64(dtype == "float64"):
            errors.append(_matvec_reduce_error(rows, dtype))
    worst = max(errors)
    return "ok" if worst < 1e-5 else "bad", f"largest relative error {worst:.1e} against NumPy (jax-ml/jax#39103)"


def _matvec_reduce_error(rows: int, dtype: str) -> float:
    import jax
    import numpy as np

    matrix = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.25], [0.0, 0.25, 3.0]], dtype)
    x = np.linspace(1.0, 2.0, 3 * rows, dtype=dtype).reshape(rows, 3)
    compiled = jax.jit(jax.vmap(lambda row: ((matrix @ row) ** 2).sum()))
    expected = ((x.astype("float64") @ matrix.T.astype("float64")) ** 2).sum(axis=1)
    return float(np.max(np.abs(np.asarray(compiled(jax.numpy.asarray(x)), "float64") / expected - 1)))


def _denormals() -> tuple[str, str]:
    import jax
    import numpy as np

    halved = np.asarray(jax.jit(lambda x: x * 0.25)(jax.numpy.asarray([2.0**-126], "float32")))[0]
    if halved not in (0.0, np.float32(2.0**-128)):
        return "bad", f"2^-126 / 4 gave {halved}"
    return "ok", "flushed to 0: float32 numbers below 1.2e-38 vanish" if halved == 0.0 else "kept"


def _cipher() -> tuple[str, str]:
    import jax.numpy as jnp

    from levyjax.random import threefry2x32

    for key, counter, expected in _THREEFRY:
        k0, k1, c0, c1 = (jnp.uint32(word) for word in key + counter)
        found = tuple(int(word) for word in threefry2x32(k0, k1, c0, c1))
        if found != expected:
            return "bad", f"Threefry-2x32 gave {found[0]:08x} {found[1]:08x}, not {expected[0]:08x} {expected[1]:08x}"
    return "ok", f"Threefry-2x32 gives the {len(_THREEFRY)} known answers of Random123"


def _sampler() -> tuple[str, str]:
    """Counts of a fixed sample of the Cauchy law, within five standard deviations near the median and far out."""
    import math

    import numpy as np

    from levyjax.stable import sample

    draws = 2**18
    x = np.abs(np.asarray(sample(0, 1.0, (draws,)), "float64"))
    if not np.isfinite(x).all():
        return "bad", "a draw is not finite"
    worst = 0.0
    for threshold in (1.0, 10.0, 1e3, 1e4):
        p = 2.0 / math.pi * math.atan(1.0 / threshold)
        worst = max(worst, abs(float((x > threshold).sum()) - draws * p) / math.sqrt(draws * p * (1.0 - p)))
    return "ok" if worst < 5.0 else "bad", f"tail counts at alpha = 1 within {worst:.1f} standard deviations"


_NUMERIC: dict[str, Callable[[], tuple[str, str]]] = {
    "devices": _devices,
    "matvec then reduce": _matvec_reduce,
    "denormals": _denormals,
    "cipher": _cipher,
    "sampler": _sampler,
}
