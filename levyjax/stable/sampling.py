"""Draws of the stable laws by key and shape; the formulas are in `variates` and `skewed`."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from levyjax.arrays import concrete, padded_to, power_of_four
from levyjax.random import Counter, Stream, run_key
from levyjax.stable.skewed import skewed
from levyjax.stable.variates import Words, draw_words, isotropic, positive, symmetric

_LEAST, _MANY = 16, 1 << 16  # draws of one call, and too many to draw some that nobody asked for


def check_range(name: str, value: Any, low: int | float, high: int | float, brackets: str) -> None:
    """Refuse numbers outside an interval; `brackets` such as "(]" say which of its ends belong to it.

    Raises:
        ValueError: a value outside, unless it is traced.
    """
    if isinstance(value, Tracer):
        return
    values = np.asarray(value, np.float64)
    above = values > low if brackets[0] == "(" else values >= low
    below = values < high if brackets[1] == ")" else values <= high
    if not np.all(above & below):
        raise ValueError(f"{name} must be in {brackets[0]}{low}, {high}{brackets[1]}, got {values.tolist()}.")


def check_dtype(dtype: Any) -> None:
    """Refuse what is not float32, or float64 where jax has it.

    Raises:
        ValueError: another dtype.
    """
    if jnp.dtype(dtype) not in (jnp.float32, jnp.float64):
        raise ValueError(f"dtype must be float32 or float64, got {jnp.dtype(dtype).name}.")
    if jnp.dtype(dtype) == jnp.float64 and not jax.config.read("jax_enable_x64"):
        raise ValueError("float64 variates need jax_enable_x64; set it, or draw inside `with jax.enable_x64(True):`.")


def _check(alpha: Any, dtype: Any) -> None:
    check_dtype(dtype)
    check_range("alpha", alpha, 0, 2, "(]")


def entry_words(key: tuple[Any, Any], num_coordinates: int, shape: tuple[int, ...], stream: int, dtype: Any) -> Words:
    """The words of `num_coordinates` variates for each entry of `shape`: arrays of shape (num_coordinates, *shape)."""
    size = math.prod(shape)
    index = jnp.arange(size, dtype=jnp.uint32)
    key0, key1 = (jnp.broadcast_to(jnp.asarray(word, jnp.uint32), (size,)) for word in key)
    bits = draw_words(Counter(key0, key1, index, jnp.zeros_like(index)), num_coordinates, stream, dtype)
    return tuple(word.reshape(num_coordinates, *shape) for word in bits)


def _one_variate(key: tuple[Any, Any], shape: tuple[int, ...], dtype: Any) -> Words:
    return tuple(word[0] for word in entry_words(key, 1, shape, Stream.NOISE, dtype))


@partial(jax.jit, static_argnames=("shape", "dtype"))
def _sample(key: tuple[Any, Any], alpha: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    return symmetric(_one_variate(key, shape, dtype), jnp.asarray(alpha, dtype))


@partial(jax.jit, static_argnames=("parametrization", "shape", "dtype"))
def _sample_skewed(
    key: tuple[Any, Any], alpha: Array, beta: Array, parametrization: str, shape: tuple[int, ...], dtype: Any
) -> Array:
    bits = _one_variate(key, shape, dtype)
    return skewed(bits, jnp.asarray(alpha, dtype), jnp.asarray(beta, dtype), parametrization)


@partial(jax.jit, static_argnames=("shape", "dtype"))
def _sample_positive(key: tuple[Any, Any], index: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    return positive(_one_variate(key, shape, dtype), jnp.asarray(index, dtype))


@partial(jax.jit, static_argnames=("dimension", "shape", "dtype"))
def _sample_isotropic(key: tuple[Any, Any], alpha: Array, dimension: int, shape: tuple[int, ...], dtype: Any) -> Array:
    bits = entry_words(key, dimension, shape, Stream.NOISE, dtype)
    radial = entry_words(key, 1, shape, Stream.RADIUS, dtype)
    return jnp.moveaxis(isotropic(bits, radial, jnp.asarray(alpha, dtype)), 0, -1)


def _in_bucket(draw: Callable[..., Array], key: tuple[Any, Any], shape: tuple[int, ...], *values: Any) -> Array:
    """The first draws of 4^n of them: few programs in all, and entry i is the same for any shape."""
    size = math.prod(shape)
    if not 0 < size <= _MANY or not all(map(concrete, (*key, *values))):
        return draw(key, *values, shape=shape)
    wanted = max(power_of_four(size), _LEAST)
    arrays = [np.asarray(value) for value in values]
    wide = [padded_to(np.broadcast_to(one, shape).ravel(), wanted) if one.ndim else one for one in arrays]
    with jax.ensure_compile_time_eval():
        drawn = np.asarray(draw(key, *wide, shape=(wanted,)))
        return jax.device_put(drawn[:size].reshape(shape))


def sample(
    key: Any,
    alpha: Any,
    shape: tuple[int, ...] | None = None,
    dtype: Any = jnp.float32,
    *,
    beta: Any = 0.0,
    parametrization: str = "S0",
) -> Array:
    """Draw alpha-stable variates of unit scale, symmetric unless beta is given.

    The characteristic function is exp(-|w|^alpha) where beta = 0: N(0, 2) at alpha = 2, the standard Cauchy law at
    alpha = 1. In general, with t = tan(pi alpha/2), it is exp(-|w|^alpha - i beta t sign(w) (|w| - |w|^alpha)) as "S0"
    and exp(-|w|^alpha (1 - i beta t sign(w))) as "S1"; both are exp(-|w| - (2i/pi) beta w log|w|) at alpha = 1.
    Multiply by the scale you want.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: tail index in (0, 2], a number or an array that broadcasts to `shape`; traced and batched freely.
        shape: of the result; default that of alpha and beta together.
        dtype: float32, or float64 where jax has it enabled.
        beta: skewness in [-1, 1], like alpha. P(X > x) ~ (1 + beta) (C_alpha/alpha) x^-alpha, see `tail_constant`.
        parametrization: "S0", Nolan's, continuous in alpha; or "S1", whose variates are those of S0 plus beta t:
            the one in which beta = 1, alpha < 1 is a positive law.

    Returns:
        Variates of `shape`, never inf or NaN; with beta = 0 never 0, and symmetric to the last bit (see `symmetric`).

    Raises:
        ValueError: alpha or beta out of range, another parametrization or another dtype.

    Source:
        Chambers, Mallows, Stuck 1976; Weron 1996 for the corrected constants; Nolan 2020 for the parametrizations.
        Differentiable in alpha and beta.

    Example:
        >>> import jax
        >>> x = sample(jax.random.key(0), 1.5, (10_000,))
        >>> bool(abs(jax.numpy.median(x)) < 0.05)
        True
        >>> sample(0, 0.5, (3,), beta=1.0, parametrization="S1") > 0
        Array([ True,  True,  True], dtype=bool)
    """
    _check(alpha, dtype)
    check_range("beta", beta, -1, 1, "[]")
    if parametrization not in ("S0", "S1"):
        raise ValueError(f'parametrization must be "S0" or "S1", got {parametrization!r}.')
    shape = () if shape is None else tuple(shape)
    shape = np.broadcast_shapes(shape, np.shape(alpha), np.shape(beta))
    if isinstance(beta, int | float) and beta == 0:
        return _in_bucket(partial(_sample, dtype=jnp.dtype(dtype)), run_key(key), shape, alpha)
    draw = partial(_sample_skewed, parametrization=parametrization, dtype=jnp.dtype(dtype))
    return _in_bucket(draw, run_key(key), shape, alpha, beta)


def sample_positive(key: Any, index: Any, shape: tuple[int, ...] | None = None, dtype: Any = jnp.float32) -> Array:
    """Draw positive stable variates A with Laplace transform E exp(-s A) = exp(-s^index).

    Args:
        key: a `jax.random.key`, or an integer seed.
        index: in (0, 1], a number or an array that broadcasts to `shape`; at 1 the variate is exactly 1.
        shape: of the result; default the shape of index.
        dtype: float32, or float64 where jax has it enabled.

    Returns:
        Variates of `shape`, positive and finite. Differentiable in index below 1.

    Raises:
        ValueError: index outside (0, 1], or another dtype.

    Source:
        Kanter 1975. This is S1 with beta = 1 and scale cos(pi index/2)^(1/index).

    Example:
        >>> bool((sample_positive(0, 0.7, (1000,)) > 0).all())
        True
    """
    check_dtype(dtype)
    check_range("index", index, 0, 1, "(]")
    shape = () if shape is None else tuple(shape)
    shape = np.broadcast_shapes(shape, np.shape(index))
    return _in_bucket(partial(_sample_positive, dtype=jnp.dtype(dtype)), run_key(key), shape, index)


def sample_isotropic(
    key: Any, alpha: Any, dimension: int, shape: tuple[int, ...] = (), dtype: Any = jnp.float32
) -> Array:
    """Draw rotation-invariant stable vectors: characteristic function exp(-|w|^alpha), |w| the Euclidean norm.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: tail index in (0, 2], a number or an array that broadcasts to `shape`.
        dimension: d, the length of each vector.
        shape: how many vectors.
        dtype: float32, or float64 where jax has it enabled.

    Returns:
        Vectors of shape (*shape, d); at alpha = 2 their coordinates are independent N(0, 2).

    Raises:
        ValueError: alpha outside (0, 2], dimension below 1, or another dtype.

    Source:
        Samorodnitsky and Taqqu 1994, proposition 2.5.2: a normal vector times the root of a positive alpha/2 variate.

    Example:
        >>> import jax
        >>> sample_isotropic(jax.random.key(0), 1.2, 3, (5,)).shape
        (5, 3)
    """
    _check(alpha, dtype)
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}.")
    return _sample_isotropic(run_key(key), alpha, dimension, tuple(shape), jnp.dtype(dtype))


def sample_elliptical(
    key: Any, alpha: Any, matrix: Any, shape: tuple[int, ...] = (), dtype: Any = jnp.float32
) -> Array:
    """Draw elliptical (sub-Gaussian) stable vectors: characteristic function exp(-|A'w|^alpha) for the matrix A.

    Args:
        key: a `jax.random.key`, or an integer seed.
        alpha: tail index in (0, 2], a number or an array that broadcasts to `shape`.
        matrix: A, of shape (m, d); A A' is the shape matrix Q of exp(-(w'Q w)^(alpha/2)), so for a given Q take its
            Cholesky factor.
        shape: how many vectors.
        dtype: float32, or float64 where jax has it enabled.

    Returns:
        Vectors of shape (*shape, m), A times vectors of `sample_isotropic`; at alpha = 2 they are N(0, 2 A A').

    Raises:
        ValueError: alpha outside (0, 2], a matrix that is not one, or another dtype.

    Source:
        Samorodnitsky and Taqqu 1994, section 2.5.

    Example:
        >>> sample_elliptical(0, 1.5, np.array([[2.0, 0.0], [1.0, 0.5]]), (5,)).shape
        (5, 2)
    """
    if np.ndim(matrix) != 2:
        raise ValueError(f"matrix must have shape (m, d), got {np.shape(matrix)}.")
    vectors = sample_isotropic(key, alpha, np.shape(matrix)[1], shape, dtype)
    return jnp.einsum("...d,md->...m", vectors, jnp.asarray(matrix, vectors.dtype), precision="highest")
