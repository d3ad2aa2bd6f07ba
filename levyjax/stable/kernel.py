"""One value of the stable law from the contour integral, its derivatives, and many values of one law by a table."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from levyjax.arrays import concrete, padded_to, power_of_four
from levyjax.stable import contour, table

_PI = math.pi
_PARAMETRIZATIONS = ("S0", "S1")
_DENSITIES, _TAILS = ("pdf", "logpdf"), ("sf", "cdf", "logsf", "logcdf")
_LEAST, _PIECE, _MANY = 16, 1 << 10, 1 << 16  # points: the fewest and the most of one call, and too many for pieces


def check_parameters(alpha: Any, beta: Any = 0.0, scale: Any = 1.0, parametrization: str = "S0") -> None:
    """Refuse concrete parameters outside alpha in (0, 2], beta in [-1, 1], scale > 0."""
    if parametrization not in _PARAMETRIZATIONS:
        raise ValueError(f"parametrization must be 'S0' or 'S1', got {parametrization!r}.")
    ranges = (
        (alpha, "alpha", lambda v: (v > 0) & (v <= 2), "in (0, 2]"),
        (beta, "beta", lambda v: np.abs(v) <= 1, "in [-1, 1]"),
        (scale, "scale", lambda v: (v > 0) & (v < np.inf), "positive and finite"),
    )
    for value, name, allowed, words in ranges:
        if concrete(value) and not np.all(allowed(np.asarray(value))):
            raise ValueError(f"{name} must be {words}, got {np.asarray(value).tolist()}.")


def valid(alpha: Array, beta: Array, scale: Any) -> Array:
    """Whether traced parameters are in range; results of others are NaN."""
    return (alpha > 0) & (alpha <= 2) & (jnp.abs(beta) <= 1) & (scale > 0)


def common(*values: Any, on_device: bool = True) -> list[Any]:
    """Values as arrays of one floating type, not broadcast; those that are jax's or all of them on the device."""
    dtypes = [getattr(value, "dtype", np.dtype(np.int32)) for value in values]
    floats = [jax.dtypes.canonicalize_dtype(dtype) for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)]
    dtype = jnp.result_type(*floats) if floats else jnp.result_type(float)
    dtype = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype  # half precision is for storing
    return [
        jnp.asarray(one, dtype) if on_device or isinstance(one, jax.Array) else np.asarray(one, dtype) for one in values
    ]


def unit_shift(alpha: Array, beta: Array, scale: Array) -> Array:
    """How far the standard law in S1 is to the right of that in S0, for a location and scale of it."""
    return jnp.where(alpha == 1, 2 / _PI * beta * jnp.log(scale), beta * contour.tangent(alpha))


def _standard(
    z: Array, log_scale: Array, alpha: Array, beta: Array, parametrization: str
) -> tuple[Array, Array]:  # the point in S0 and in S1
    shift = beta * contour.tangent(alpha)
    if parametrization == "S0":
        return z, z + shift
    return jnp.where(alpha == 1, z - 2 / _PI * beta * log_scale, z - shift), z


def _direct(
    x0: Array, x1: Array, alpha: Array, beta: Array, tail: bool, coarse: bool = False
) -> tuple[Array, Array, Array]:
    """log of the density or of the nearer tail, its value, and whether the point was reflected."""
    flip = x0 < 0
    sign = jnp.where(flip, -1, 1).astype(x0.dtype)
    beta = sign * beta
    x0, x1 = sign * x0, sign * x1
    outside = (alpha < 1) & (beta == -1) & (x1 >= 0)
    infinite = jnp.isinf(x0) | outside
    x0, x1 = jnp.where(infinite, 1, x0), jnp.where(infinite, 1, x1)
    # beyond, numbers of size 1/x would underflow, and the power tail is exact
    last = 1e290 if x0.dtype == jnp.float64 else 1e31
    power = jnp.where((beta > -1) & (alpha < 2), alpha if tail else alpha + 1, 0)
    beyond = power * jnp.log(jnp.maximum(x0 / last, 1))
    x0, x1 = jnp.minimum(x0, last), jnp.minimum(x1, last)
    axis, far, ray, near = contour.parts(x0, x1, alpha, jnp.where(outside, 0, beta), tail=tail, coarse=coarse)

    def log(value: Array) -> Array:
        value = lax.stop_gradient(value)
        return jnp.where(value == 0, -jnp.inf, jnp.log(jnp.abs(jnp.where(value == 0, 1, value))))

    top = jnp.maximum(log(axis) + far, log(ray) + near)
    finite = jnp.where(jnp.isfinite(top), top, 0)
    # An axis part of 0 (no power tail at |beta| = 1) has a derivative in beta, which is the power tail's.
    most = math.log(float(jnp.finfo(x0.dtype).max)) - 1
    total = axis * jnp.exp(jnp.minimum(far - finite, most)) + ray * jnp.exp(near - finite)
    logarithm = finite + jnp.log(jnp.where(jnp.isfinite(top), total, 1)) - beyond
    logarithm = jnp.where(infinite | (top == -jnp.inf), -jnp.inf, logarithm)
    value = jnp.where(infinite, 0, (axis * jnp.exp(far) + ray * jnp.exp(near)) * jnp.exp(-beyond))
    known = valid(alpha, beta, 1) & ~jnp.isnan(x0)
    return jnp.where(known, logarithm, jnp.nan), jnp.where(known, value, jnp.nan), flip


def _evaluate(what: str, parametrization: str, z: Array, log_scale: Array, alpha: Array, beta: Array) -> Array:
    x0, x1 = _standard(z, log_scale, alpha, beta, parametrization)
    return _read(what, *_direct(x0, x1, alpha, beta, tail=what not in _DENSITIES))


def _read(what: str, logarithm: Array, value: Array, flip: Array) -> Array:
    """One of the functions from what `_direct` gives."""
    if what in _DENSITIES:
        return value if what == "pdf" else logarithm
    other = flip if what in ("sf", "logsf") else ~flip
    if what in ("sf", "cdf"):
        return jnp.where(other, 1 - value, value)
    return jnp.where(other, jnp.log1p(-jnp.where(other, value, 0)), logarithm)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def kernel(what: str, parametrization: str, z: Array, log_scale: Array, alpha: Array, beta: Array) -> Array:
    return _evaluate(what, parametrization, z, log_scale, alpha, beta)


def _kernel_jvp(what: str, parametrization: str, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """Derivatives by forward mode at once, so that reverse mode stores a number a point and not its nodes."""
    out = total = None
    most = math.sqrt(float(jnp.finfo(primals[0].dtype).max))
    for index, tangent in enumerate(tangents):
        if isinstance(tangent, SymbolicZero):
            continue

        def along(value: Array, index: int = index) -> Array:
            return _evaluate(what, parametrization, *[*primals[:index], value, *primals[index + 1 :]])

        out, slope = jax.jvp(along, (primals[index],), (jnp.ones_like(primals[index]),))
        slope = jnp.clip(slope, -most, most)  # an infinite one, of a far tail in alpha at 2, times 0 would be no number
        total = slope * tangent if total is None else total + slope * tangent
    out = kernel(what, parametrization, *primals) if out is None else out
    return out, jnp.zeros_like(out) if total is None else jnp.broadcast_to(total, out.shape)


kernel.defjvp(_kernel_jvp, symbolic_zeros=True)


@functools.partial(jax.jit, static_argnums=(0, 1))
def jitted(what: str, parametrization: str, x: Array, alpha: Array, beta: Array, loc: Array, scale: Array) -> Array:
    scale = jnp.where(scale > 0, scale, jnp.nan)
    value = kernel(what, parametrization, (x - loc) / scale, jnp.log(scale), alpha, beta)
    return _scaled(what, value, scale)


def _scaled(what: str, value: Array, scale: Array) -> Array:
    if what == "pdf":
        return value / scale
    return value - jnp.log(scale) if what == "logpdf" else value


@functools.partial(jax.jit, static_argnums=0)
def _together(
    kind: tuple[str, ...], in_s1: Array, x: Array, alpha: Array, beta: Array, loc: Array, scale: Array
) -> dict[str, Array]:
    """All functions of one kind, in either parametrization: one program, as each takes seconds to compile."""
    scale = jnp.where(scale > 0, scale, jnp.nan)
    z, log_scale = (x - loc) / scale, jnp.log(scale)
    s0, s1 = (_standard(z, log_scale, alpha, beta, name) for name in _PARAMETRIZATIONS)
    x0, x1 = jnp.where(in_s1, s1[0], s0[0]), jnp.where(in_s1, s1[1], s0[1])
    found = _direct(x0, x1, alpha, beta, tail=kind == _TAILS)
    return {what: _scaled(what, _read(what, *found), scale) for what in kind}


def _far_gaussian(z: Array, density: bool) -> Array:
    """Of N(0, 2) beyond 40, where it is too steep for the table's wide panels."""
    far = jnp.maximum(jnp.abs(z), 40)
    w = 0.5 / (far / 2) ** 2
    series = jnp.log1p(-w * (1 - 3 * w * (1 - 5 * w * (1 - 7 * w)))) - jnp.log(far / 2)
    return -((far / 2) ** 2) - (math.log(4 * _PI) / 2 if density else math.log(4 * _PI) / 2 - series)


@functools.partial(jax.jit, static_argnums=0)
def _symmetric(kind: tuple[str, ...], x: Array, alpha: Array, loc: Array, scale: Array) -> dict[str, Array]:
    """All functions of one kind of the symmetric law at many points, one alpha: through a table."""
    z = (x - loc) / jnp.where(scale > 0, scale, jnp.nan)
    density = kind == _DENSITIES
    zero = jnp.zeros_like(alpha)

    def logarithm(points: Array) -> Array:
        return kernel("logpdf" if density else "logsf", "S0", points, zero, alpha, zero)

    logs, values = table.interpolate(logarithm, jnp.abs(z), alpha + 1 if density else alpha)
    gaussian, bad = (alpha == 2) & (jnp.abs(z) > 40), jnp.isnan(z)
    logs = jnp.where(gaussian, _far_gaussian(z, density), jnp.where(jnp.isinf(z), -jnp.inf, logs))
    values = jnp.where(bad, jnp.nan, jnp.where(gaussian | jnp.isinf(z), jnp.exp(logs), values))
    logs = jnp.where(bad, jnp.nan, logs)
    return {what: _scaled(what, _read(what, logs, values, z < 0), scale) for what in kind}


def logpdf_and_slopes(y: Array, alpha: Array, beta: Array | None) -> tuple[Array, ...]:
    """log f(y) of the standard law in S0, with its derivatives in y, alpha and (unless beta is None) beta, to 1e-6.

    None is the symmetric law, through one table.
    """
    if beta is None:

        def at(points: Array) -> tuple[Array, Array]:
            def log(alpha: Array) -> Array:
                return _direct(points, points, alpha, jnp.zeros_like(alpha), tail=False, coarse=True)[0]

            return jax.jvp(log, (alpha,), (jnp.ones_like(alpha),))

        value, slope, by_alpha = table.with_slopes(at, jnp.abs(y), alpha + 1)
        return value, jnp.sign(y) * slope, by_alpha

    def log(y: Array, alpha: Array, beta: Array) -> Array:
        x0, x1 = _standard(y, jnp.zeros_like(y), alpha, beta, "S0")
        return _direct(x0, x1, alpha, beta, tail=False, coarse=True)[0]

    def along(direction: Array) -> tuple[Array, Array]:
        tangents = (direction[0] + jnp.zeros_like(y), direction[1], direction[2])
        return jax.jvp(log, (y, alpha, beta), tangents)

    value, slopes = jax.vmap(along, out_axes=(None, 0))(jnp.eye(3, dtype=y.dtype))
    return value, *slopes


def evaluate(what: str, x: Any, alpha: Any, beta: Any, loc: Any, scale: Any, parametrization: str) -> Array:
    """One of the functions below by its name."""
    check_parameters(alpha, beta, scale, parametrization)
    symmetric = isinstance(beta, int | float) and beta == 0
    values = common(x, alpha, beta, loc, scale, on_device=False)
    kind = _DENSITIES if what in _DENSITIES else _TAILS
    if symmetric and values[1].ndim == 0:
        x, alpha, _, loc, scale = values
        if table.worthwhile(math.prod(np.broadcast_shapes(x.shape, loc.shape, scale.shape))):
            points = (x, alpha, loc, scale)
            return in_bucket(lambda *values: _symmetric(kind, *values)[what], *points, least=_MANY, piece=_MANY)
    if not all(map(concrete, values)):
        return jitted(what, parametrization, *values)
    return in_bucket(lambda *values: _together(kind, parametrization == "S1", *values)[what], *values)


def in_bucket(function: Callable[..., Array], *values: Any, least: int = _LEAST, piece: int = _PIECE) -> Array:
    """An elementwise function of values that broadcast, at 4^n points or piece by piece: few programs in all.

    A few points all run the program of `_LEAST` of them, in which no parameter is a single number.
    """
    shape = np.broadcast_shapes(*map(np.shape, values))
    size = math.prod(shape)
    if not 0 < size <= _MANY or not all(map(concrete, values)):
        return function(*values)
    arrays = [np.asarray(value) for value in values]
    few = size <= least == _LEAST
    wide = [np.broadcast_to(array, shape).ravel() if array.ndim or few else array for array in arrays]
    wanted = max(power_of_four(min(size, piece)), least)
    with jax.ensure_compile_time_eval():  # numbers that are known stay so while something else is traced
        parts = [
            function(*(padded_to(array[first : first + piece], wanted) if array.ndim else array for array in wide))
            for first in range(0, size, piece)
        ]
        return jax.device_put(np.concatenate([np.asarray(part) for part in parts])[:size].reshape(shape))
