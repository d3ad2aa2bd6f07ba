"""Exact draws of two tempered stable laws, by exponential rejection.

A positive stable A, E exp(-s A) = exp(-s^a), kept with probability exp(-q A) has the Laplace transform
exp(-((s + q)^a - q^a)), and is kept with probability exp(-q^a). Where that is small the variate is made as a sum of
n = ceil(q^a) independent pieces of time 1/n, each kept with probability exp(-q^a/n) >= 1/e.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from levyjax.random import Stream, run_key
from levyjax.random.streams import trajectory_key
from levyjax.stable.elementary import exp2, log2
from levyjax.stable.rejection import sum_of_accepted
from levyjax.stable.sampling import check_dtype, check_range, entry_words
from levyjax.stable.variates import exponential, inverse, normal, positive

_MAX_PIECES = 10_000


def _tempered_positive(key: tuple[Any, Any], index: Array, log_tempering: Array, size: int, dtype: Any) -> Array:
    """Variates with Laplace transform exp(-((s + q)^index - q^index)), q = 2^log_tempering; NaN beyond 10^4 pieces."""
    cost = exp2(index * log_tempering)
    pieces = jnp.clip(jnp.ceil(cost), 1, _MAX_PIECES)
    log_piece = -inverse(index) * log2(pieces)

    def propose(bits):
        first, second = (tuple(word[j] for word in bits) for j in (0, 1))
        log_value = log_piece + log2(positive(first, index))
        return exp2(log_value), exponential(second) > exp2(log_value + log_tempering)

    # A piece is kept with probability at least 1/e: all of n within 8 n + 100 rounds, but for 1e-20.
    rounds = 8 * pieces.max() + 100
    total = sum_of_accepted(key, size, 2, propose, pieces.astype(jnp.int32), rounds.astype(jnp.int32), dtype)
    return jnp.where(cost <= _MAX_PIECES, total, jnp.nan)


def _log2_or_minus_infinity(x: Array) -> Array:
    return jnp.where(x == 0, -jnp.inf, log2(x))


def _other_key(key: tuple[Any, Any]) -> tuple[Any, Any]:
    """The key of a trajectory that `sum_of_accepted` has not."""
    return trajectory_key(key, jnp.uint32(0), jnp.uint32(1))


@partial(jax.jit, static_argnames=("dimension", "shape", "dtype"))
def _sample_relativistic(
    key: tuple[Any, Any], alpha: Array, tempering: Array, dimension: int, shape: tuple[int, ...], dtype: Any
) -> Array:
    alpha, tempering = (jnp.broadcast_to(jnp.asarray(value, dtype), shape).reshape(-1) for value in (alpha, tempering))
    log_tempering = 2 * _log2_or_minus_infinity(tempering)
    clock = _tempered_positive(key, alpha / 2, log_tempering, alpha.size, dtype).reshape(shape)
    bits = entry_words(_other_key(key), dimension, shape, Stream.NOISE, dtype)
    return jnp.moveaxis(math.sqrt(2) * jnp.sqrt(clock) * normal(bits), 0, -1)


@partial(jax.jit, static_argnames=("shape", "dtype"))
def _sample_tempered(key: tuple[Any, Any], alpha: Array, tempering: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    alpha, tempering = (jnp.broadcast_to(jnp.asarray(value, dtype), shape).reshape(-1) for value in (alpha, tempering))
    log_scale = -inverse(alpha) * (1 + log2(_cosine(alpha)))
    log_tempering = log_scale + _log2_or_minus_infinity(tempering)
    up, down = (_tempered_positive(k, alpha, log_tempering, alpha.size, dtype) for k in (key, _other_key(key)))
    return (exp2(log_scale) * up - exp2(log_scale) * down).reshape(shape)


def _cosine(alpha: Any) -> Any:
    """cos(pi alpha/2) for alpha < 1 as a sine, exact at its zero."""
    return (jnp if isinstance(alpha, jax.Array) else np).sin(math.pi / 2 * (1 - alpha))


def _check_cost(cost: Any) -> None:
    if not np.all(np.asarray(cost) <= _MAX_PIECES):
        raise ValueError(
            f"The tempering is too strong to draw by rejection: it takes {np.max(cost):.3g} pieces and at most "
            f"{_MAX_PIECES} are allowed; the law is then close to a Gaussian one."
        )


def sample_relativistic(
    key: Any,
    alpha: Any,
    tempering: Any,
    shape: tuple[int, ...] | None = None,
    dtype: Any = jnp.float32,
    *,
    dimension: int | None = None,
) -> Array:
    """Draw relativistic stable variates exactly: characteristic function exp(-((|w|^2 + m^2)^(alpha/2) - m^alpha)).

    This tempered law exists for every alpha and dimension: a rotation-invariant stable law whose jumps longer than
    about 1/m, m the tempering, are damped like exp(-m |y|) (its Levy density is a Bessel function K, not an
    exponential times a power; for that law see `sample_tempered`). All its moments are finite.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: tail index in (0, 2], a number or an array that broadcasts to `shape`.
        tempering: m, at least 0 (0: the stable law itself), like alpha; m^alpha is at most 10^4.
        shape: of the result, or how many vectors; default that of alpha and tempering together.
        dtype: float32, or float64 where jax has it enabled.
        dimension: d for vectors of length d; default numbers.

    Returns:
        Variates of `shape`, or vectors of shape (*shape, d). A traced tempering that is too strong gives NaN.

    Raises:
        ValueError: an argument out of range, or another dtype.

    Source:
        A normal vector times sqrt(2 T), T tempered positive stable of index alpha/2 (module text); Ryznar 2002.

    Example:
        >>> x = sample_relativistic(0, 1.5, 1.0, (100_000,))
        >>> bool(abs(x.var() - 1.5) < 0.05)
        True
    """
    check_dtype(dtype)
    check_range("alpha", alpha, 0, 2, "(]")
    check_range("tempering", tempering, 0, math.inf, "[)")
    if dimension is not None and dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}.")
    if not isinstance(alpha, Tracer) and not isinstance(tempering, Tracer):
        _check_cost(np.asarray(tempering, np.float64) ** np.asarray(alpha, np.float64))
    shape = np.broadcast_shapes(() if shape is None else tuple(shape), np.shape(alpha), np.shape(tempering))
    draws = _sample_relativistic(run_key(key), alpha, tempering, dimension or 1, shape, jnp.dtype(dtype))
    return draws[..., 0] if dimension is None else draws


def sample_tempered(
    key: Any, alpha: Any, tempering: Any, shape: tuple[int, ...] | None = None, dtype: Any = jnp.float32
) -> Array:
    """Draw symmetric exponentially tempered stable variates exactly, for alpha < 1.

    The law with Levy density C_alpha |y|^(-1-alpha) exp(-tempering |y|). For alpha >= 1 no exact method is known (its
    density with respect to the stable law is unbounded); `sample_relativistic` draws the tempered law that has one.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: index in (0, 1), a number or an array that broadcasts to `shape`.
        tempering: at least 0 (0: the stable law itself), like alpha; tempering^alpha/(2 cos(pi alpha/2)) is at most
            10^4.
        shape: of the result; default that of alpha and tempering together.
        dtype: float32, or float64 where jax has it enabled.

    Returns:
        Variates of `shape`. A traced tempering that is too strong gives NaN.

    Raises:
        ValueError: an argument out of range, or another dtype.

    Source:
        The difference of two one-sided tempered variates (module text); Devroye 2009; Hofert 2011 for the pieces.

    Example:
        >>> x = sample_tempered(0, 0.5, 1.0, (100_000,))  # variance 2 C_alpha Gamma(2 - alpha) tempering^(alpha - 2)
        >>> bool(abs(x.var() - 0.3536) < 0.03)
        True
    """
    check_dtype(dtype)
    check_range("alpha", alpha, 0, 1, "()")
    check_range("tempering", tempering, 0, math.inf, "[)")
    if not isinstance(alpha, Tracer) and not isinstance(tempering, Tracer):
        index = np.asarray(alpha, np.float64)
        _check_cost(np.asarray(tempering, np.float64) ** index / (2 * _cosine(index)))
    shape = np.broadcast_shapes(() if shape is None else tuple(shape), np.shape(alpha), np.shape(tempering))
    return _sample_tempered(run_key(key), alpha, tempering, shape, jnp.dtype(dtype))


def relativistic_characteristic_function(w: Float[Array, "..."], alpha: Any, tempering: Any) -> Float[Array, "..."]:
    """E cos(w X) of `sample_relativistic`, w the length of the frequency vector.

    Example:
        >>> round(float(relativistic_characteristic_function(jnp.asarray(1.0), 1.0, 0.0)), 6)
        0.367879
    """
    alpha, tempering = jnp.asarray(alpha, w.dtype), jnp.asarray(tempering, w.dtype)
    return jnp.exp(tempering**alpha - (w**2 + tempering**2) ** (alpha / 2))


def tempered_characteristic_function(w: Float[Array, "..."], alpha: Any, tempering: Any) -> Float[Array, "..."]:
    """E cos(w X) of `sample_tempered`, for 0 < alpha < 1.

    Source:
        Integrate (1 - cos(w y)) over the Levy density: Cont and Tankov 2004, proposition 4.2.

    Example:
        >>> round(float(tempered_characteristic_function(jnp.asarray(1.0), 0.5, 0.0)), 6)
        0.367879
    """
    alpha, tempering = jnp.asarray(alpha, w.dtype), jnp.asarray(tempering, w.dtype)
    size, angle = (w**2 + tempering**2) ** (alpha / 2), jnp.arctan2(jnp.abs(w), tempering)
    return jnp.exp((tempering**alpha - size * jnp.cos(alpha * angle)) / jnp.cos(math.pi / 2 * alpha))
