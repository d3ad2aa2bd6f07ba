"""What `levyjax doctor` computes with the installed JAX and with NumPy: patterns that compilers have got wrong before.

A check returns its status, "ok" or "bad", and a detail. The operations are those that levyjax rests on.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from levyjax.arrays import add_to
from levyjax.random.threefry import threefry2x32

Verdict = tuple[str, str]

_THREEFRY = (  # Random123's known answers for Threefry-2x32 with 20 rounds: key, counter, result
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
)
_SIZES = (7, 129, 16_385, 65_537)  # no multiples of a vector's width
_FEW_ULPS = 4.0


def matvec_then_reduce() -> Verdict:
    """The sizes from which jax 0.10.2 goes wrong, in float64 and in float32."""
    errors = []
    for rows, dtype in ((16_385, "float64"), (32_769, "float32")):
        with jax.enable_x64(dtype == "float64"):
            errors.append(_matvec_then_reduce_error(rows, dtype))
    worst = max(errors)
    return _judged(worst < 1e-5, f"largest relative error {worst:.1e} against NumPy (jax-ml/jax#39103)")


def _matvec_then_reduce_error(rows: int, dtype: str) -> float:
    matrix = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.25], [0.0, 0.25, 3.0]], dtype)
    x = np.linspace(1.0, 2.0, 3 * rows, dtype=dtype).reshape(rows, 3)
    product = functools.partial(jnp.matmul, matrix, precision=lax.Precision.HIGHEST)
    compiled = jax.jit(jax.vmap(lambda row: (product(row) ** 2).sum()))
    expected = ((x.astype("float64") @ matrix.T.astype("float64")) ** 2).sum(axis=1)
    return float(np.max(np.abs(np.asarray(compiled(jnp.asarray(x)), "float64") / expected - 1)))


def reductions() -> Verdict:
    """Sums, extremes and their places, ties included, in both directions of a matrix."""
    wrong = []
    for size in _SIZES:
        x = np.random.default_rng(size).integers(-50, 50, (3, size)).astype("float32")
        for name in ("sum", "min", "max", "argmin", "argmax"):
            for axis in (0, 1):
                found = jax.jit(functools.partial(getattr(jnp, name), axis=axis))(x)
                wrong += [name] * (not np.array_equal(found, getattr(np, name)(x, axis=axis)))
    return _listed(wrong, "sums, extremes and their places")


def nan_in_reductions() -> Verdict:
    """Sums have to keep it; no result of levyjax rests on extremes that do."""
    lost = []
    for size in _SIZES:
        x = np.ones(size, "float32")
        x[size // 2] = np.nan
        lost += [name for name in ("sum", "min", "max") if not np.isnan(jax.jit(getattr(jnp, name))(x))]
    if "sum" in lost:
        return "bad", "a sum of numbers and NaN is no NaN"
    names = " and ".join(dict.fromkeys(lost))
    return "ok", f"lost by {names} of many numbers, on which levyjax does not rest" if lost else "kept"


def running_sums() -> Verdict:
    """By cumsum, by scan, by an associative scan and by a loop; of integers, so that they are exact."""
    wrong = []
    for size in _SIZES:
        x = np.random.default_rng(size).integers(-1000, 1000, size).astype("int32")
        expected = np.cumsum(x, dtype="int32")
        ways: dict[str, Callable[..., Any]] = {
            "cumsum": functools.partial(jnp.cumsum, dtype=jnp.int32),
            "scan": lambda x: lax.scan(lambda total, item: (total + item,) * 2, jnp.int32(0), x)[1],
            "associative_scan": functools.partial(lax.associative_scan, jnp.add),
            "fori_loop": lambda x: lax.fori_loop(1, len(x), lambda i, sums: sums.at[i].add(sums[i - 1]), x),
        }
        wrong += [name for name, way in ways.items() if not np.array_equal(jax.jit(way)(x), expected)]
    return _listed(wrong, "cumsum, scan, associative_scan and fori_loop")


def sorting() -> Verdict:
    """NaN last, ties in their order, and places found by bisection."""
    wrong = []
    for size in _SIZES:
        x = np.random.default_rng(size).integers(-50, 50, size).astype("float32")
        sorted_x = np.sort(x)
        found = jax.jit(lambda sums, x: jnp.searchsorted(sums, x, side="right"))(sorted_x, x)
        wrong += ["searchsorted"] * (not np.array_equal(found, np.searchsorted(sorted_x, x, side="right")))
        x[:: max(size // 5, 1)] = np.nan
        x[1::3] = -np.inf
        wrong += ["sort"] * (not np.array_equal(jax.jit(jnp.sort)(x), np.sort(x), equal_nan=True))
        places = jax.jit(functools.partial(jnp.argsort, stable=True))(x)
        wrong += ["argsort"] * (not np.array_equal(places, np.argsort(x, stable=True)))
    return _listed(wrong, "sort and argsort with NaN, searchsorted")


def scattering() -> Verdict:
    """Writing to places, of which those past the end are dropped, and reading them back."""
    wrong = []
    for size in _SIZES:
        index = np.random.default_rng(size).permutation(2 * size)[:size].astype("int32")
        values = np.arange(size, dtype="float32")
        expected = np.full(size, -1, "float32")
        expected[index[index < size]] = values[index < size]
        found = jax.jit(lambda places, x: jnp.full_like(x, -1).at[places].set(x, mode="drop"))(index, values)
        wrong += ["set"] * (not np.array_equal(found, expected))
        inside = index % size
        wrong += ["take"] * (not np.array_equal(jax.jit(lambda x, i: x[i])(values, inside), values[inside]))
    return _listed(wrong, "scatter with places past the end, gather")


def integers() -> Verdict:
    """Products of 32-bit words, low and high half, shifts, comparisons as unsigned, and words as floats."""
    rng = np.random.default_rng(0)
    edges = [0, 1, 2, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0x80000080, 0xFFFFFF7F, 0xFFFFFF80, 0xFFFFFFFF]
    x, y = (part.ravel() for part in np.meshgrid(edges, edges + rng.integers(0, 1 << 32, 1000).tolist()))
    x, y = x.astype("uint32"), y.astype("uint32")
    product = x.astype("uint64") * y
    low, high = product.astype("uint32"), (product >> np.uint64(32)).astype("uint32")
    shift = y % np.uint32(32)
    cases: dict[str, tuple[Callable[..., Any], Any]] = {
        "low word": (lambda x, y: x * y, low),
        "high word": (_high_word, high),
        "sum": (lambda x, y: x + y, x + y),
        "carry": (lambda x, y: x + y < x, x + y < x),
        "shift": (lambda x, y: (x << (y % jnp.uint32(32))) | (x >> (y % jnp.uint32(32))), (x << shift) | (x >> shift)),
        "to float32": (lambda x, y: x.astype("float32"), x.astype("float32")),
    }
    wrong = [name for name, (way, right) in cases.items() if not np.array_equal(jax.jit(way)(x, y), right)]
    return _listed(wrong, "32-bit products, carries, shifts and conversions")


def _high_word(x: jax.Array, y: jax.Array) -> jax.Array:
    """By halves of 16 bits."""
    half, mask = jnp.uint32(16), jnp.uint32(0xFFFF)
    low, cross = (x & mask) * (y & mask), (x >> half) * (y & mask)
    middle = (x & mask) * (y >> half) + (cross & mask) + (low >> half)
    return (x >> half) * (y >> half) + (cross >> half) + (middle >> half)


def functions() -> Verdict:
    """Logarithms next to 1, and log1p, expm1, exp and square roots, in units of the last place of the result."""
    worst, where = 0.0, ""
    for dtype in ("float32", "float64"):
        eps, wide = np.finfo(dtype).eps, np.longdouble if dtype == "float64" else np.float64
        near = np.concatenate([1 + eps * np.arange(1, 200), 1 - eps / 2 * np.arange(1, 200), [0.5, 2.0, 1e-30, 1e30]])
        small = np.concatenate([eps * np.arange(1, 50), -eps * np.arange(1, 50), [1e-3, -1e-3, 0.5, -0.5]])
        cases = (("log", near), ("sqrt", near), ("log1p", small), ("expm1", small), ("exp", 60 * small))
        with jax.enable_x64(dtype == "float64"):
            for name, x in cases:
                x = x.astype(dtype)
                exact = getattr(np, name)(x.astype(wide))
                found = np.asarray(jax.jit(getattr(jnp, name))(jnp.asarray(x))).astype(wide)
                error = float(np.max(np.abs(found - exact) / np.spacing(np.abs(exact).astype(dtype))))
                worst, where = max((worst, where), (error, f"{name} in {dtype}"))
    detail = f"log, log1p, expm1, exp and sqrt: at most {worst:.1f} units in the last place, of {where}"
    return _judged(worst < _FEW_ULPS, detail)


def two_part_sums() -> Verdict:
    """That nothing takes (a + b) - a for b: the clocks of levyjax keep in a second number what rounding takes away."""
    amounts = np.random.default_rng(0).exponential(size=(4096, 64)).astype("float32")
    start = np.full(64, 2.0**26, "float32")

    def total(start: jax.Array, amounts: jax.Array) -> Any:
        return lax.scan(lambda parts, amount: (add_to(*parts, amount), None), (start, 0 * start), amounts)[0]

    found = sum(np.asarray(part, "float64") for part in jax.jit(total)(start, amounts)) - start
    error = float(np.max(np.abs(found / amounts.sum(axis=0, dtype="float64") - 1)))
    return _judged(error < 1e-6, f"waits added to a time of 2^26 in float32: largest relative error {error:.1e}")


def denormals() -> Verdict:
    """Whether they are kept."""
    halved = np.asarray(jax.jit(lambda x: x * 0.25)(jnp.asarray([2.0**-126], "float32")))[0]
    if halved not in (0.0, np.float32(2.0**-128)):
        return "bad", f"2^-126 / 4 gave {halved}"
    return "ok", "flushed to 0: float32 numbers below 1.2e-38 vanish" if halved == 0.0 else "kept"


def cipher() -> Verdict:
    """Alone, and fused into a loop over many counters, where it must be its own self of one counter at a time."""
    for key, counter, expected in _THREEFRY:
        k0, k1, c0, c1 = (jnp.uint32(word) for word in key + counter)
        found = tuple(int(word) for word in threefry2x32(k0, k1, c0, c1))
        if found != expected:
            return "bad", f"Threefry-2x32 gave {found[0]:08x} {found[1]:08x}, not {expected[0]:08x} {expected[1]:08x}"
    k0, k1 = jnp.uint32(1), jnp.uint32(2)
    counters = np.arange(1000, dtype="uint32")
    together = jax.jit(lambda c: threefry2x32(k0, k1, c, c))(counters)
    in_turn = jax.jit(lambda c: lax.map(lambda word: jnp.stack(threefry2x32(k0, k1, word, word)), c))(counters)
    if not np.array_equal(np.stack(together), np.asarray(in_turn).T):
        return "bad", "Threefry-2x32 differs between many counters at once and one after the other"
    return "ok", f"Threefry-2x32 gives the {len(_THREEFRY)} known answers of Random123"


def sampler() -> Verdict:
    """Fixed samples of two stable laws: tail counts of Cauchy's, the characteristic function at alpha = 1.5."""
    from levyjax.stable import sample

    draws, worst = 2**18, 0.0
    x = np.abs(np.asarray(sample(0, 1.0, (draws,)), "float64"))
    y = np.asarray(sample(1, 1.5, (draws,)), "float64")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return "bad", "a draw is not finite"
    for threshold in (1.0, 10.0, 1e3, 1e4):
        p = 2.0 / math.pi * math.atan(1.0 / threshold)
        worst = max(worst, abs(float((x > threshold).sum()) - draws * p) / math.sqrt(draws * p * (1.0 - p)))
    for w in (0.3, 1.0, 2.0):
        waves = np.cos(w * y)
        worst = max(worst, abs(waves.mean() - math.exp(-(w**1.5))) / waves.std() * math.sqrt(draws))
    detail = f"tail counts at alpha = 1, waves at alpha = 1.5: within {worst:.1f} standard deviations"
    return _judged(worst < 5.0, detail)


def _judged(good: bool, detail: str) -> Verdict:
    return "ok" if good else "bad", detail


def _listed(wrong: list[str], what: str) -> Verdict:
    if wrong:
        return "bad", f"{', '.join(dict.fromkeys(wrong))} differ from NumPy"
    return "ok", f"{what}: as NumPy"


CHECKS: dict[str, Callable[[], Verdict]] = {
    "matvec then reduce": matvec_then_reduce,
    "reductions": reductions,
    "NaN in reductions": nan_in_reductions,
    "running sums": running_sums,
    "sorting": sorting,
    "scattering": scattering,
    "integers": integers,
    "functions": functions,
    "two-part sums": two_part_sums,
    "denormals": denormals,
    "cipher": cipher,
    "sampler": sampler,
}
