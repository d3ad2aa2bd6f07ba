"""JAX without levyjax: `jax.random` and the textbook formula inside `lax.scan`, and `vmap(while_loop)` for exits."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import Run, Work, numpy_loop

NAME, SHARE = "jax.random in scan", 1
_HALF_PI = 1.5707962  # just below pi/2 in float32: at the rounded pi/2 the cosine is negative and its power NaN

Sampler = Callable[..., jax.Array]


def stable(key: jax.Array, alpha: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Chambers-Mallows-Stuck as it is usually written on jax.random."""
    angle_key, exponential_key = jax.random.split(key)
    u = jax.random.uniform(angle_key, shape, dtype, minval=-_HALF_PI, maxval=_HALF_PI)
    w = jax.random.exponential(exponential_key, shape, dtype)
    return jnp.sin(alpha * u) / jnp.cos(u) ** (1 / alpha) * (jnp.cos((1 - alpha) * u) / w) ** ((1 - alpha) / alpha)


def stable_by_logarithms(key: jax.Array, alpha: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """The same formula with its two powers as one exponential of logarithms."""
    angle_key, exponential_key = jax.random.split(key)
    u = jax.random.uniform(angle_key, shape, dtype, minval=-_HALF_PI, maxval=_HALF_PI)
    radius = jnp.log(jnp.cos((1 - alpha) * u) / jax.random.exponential(exponential_key, shape, dtype))
    return jnp.sin(alpha * u) * jnp.exp((radius - jnp.log(jnp.cos(u))) / alpha - radius)


def positive(key: jax.Array, index: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Kanter's positive stable variate."""
    angle_key, exponential_key = jax.random.split(key)
    phi = jax.random.uniform(angle_key, shape, dtype, minval=1e-9, maxval=2 * _HALF_PI)
    w = jax.random.exponential(exponential_key, shape, dtype)
    return (
        jnp.sin(index * phi) / jnp.sin(phi) ** (1 / index) * (jnp.sin((1 - index) * phi) / w) ** ((1 - index) / index)
    )


def draw(
    noise: str, key: jax.Array, alpha: Any, shape: tuple[int, ...], dtype: Any, sampler: Sampler = stable
) -> jax.Array:
    """An increment of L over one unit of time, of shape (dimension, ...)."""
    if noise == "independent":
        return sampler(key, alpha, shape, dtype)
    if noise == "gaussian":
        return math.sqrt(2) * jax.random.normal(key, shape, dtype)
    radius_key, normal_key = jax.random.split(key)
    radius = jnp.sqrt(positive(radius_key, alpha / 2, (1, *shape[1:]), dtype))
    return math.sqrt(2) * radius * jax.random.normal(normal_key, shape, dtype)


def _gradient(work: Work) -> Callable[[jax.Array], jax.Array]:
    if work.gradient == "diagonal":
        return lambda x: x
    if work.gradient == "function":
        return jax.vmap(jax.grad(lambda point: 0.5 * jnp.sum(point**2)), in_axes=1, out_axes=1)
    matrix = jnp.asarray(numpy_loop.hessian(work.dimension), work.dtype)
    return lambda x: jnp.matmul(matrix, x, precision="highest")


def increments(work: Work, sampler: Sampler = stable) -> Run:
    """The work as a function; the sampler is for independent noise."""
    with jax.enable_x64(work.dtype == "float64"):
        dtype = jnp.dtype(work.dtype)
        gradient, shape = _gradient(work), (work.dimension, work.lanes)
        dt, kick, alpha = (jnp.asarray(value, dtype) for value in (work.dt, work.kick, work.alpha))

        @jax.jit
        def scan(key: jax.Array, alpha: jax.Array) -> jax.Array:
            def step(carry: tuple, key: jax.Array) -> tuple:
                x, inside = carry
                moved = x - dt * gradient(x) + kick * draw(work.noise, key, alpha, shape, dtype, sampler)
                x = jnp.where(inside, moved, x)
                return (x, inside & (jnp.abs(x) < work.bound).all(axis=0)), None

            start = jnp.zeros(shape, dtype), jnp.ones(work.lanes, bool)
            return jax.lax.scan(step, start, jax.random.split(key, work.steps))[0][0]

        compiled = scan.lower(jax.random.key(0), alpha).compile()
        return lambda: compiled(jax.random.key(0), alpha)


def exits(work: Work) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """`vmap(while_loop)`: a function of a seed that returns the steps taken and the exit points of `work.lanes` lanes.

    The usual way to write first exits in JAX; every lane waits for the slowest of its batch.
    """
    dtype = jnp.dtype(work.dtype)
    dt, kick = jnp.asarray(work.dt, dtype), jnp.asarray(work.kick, dtype)

    def trajectory(key: jax.Array, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
        def inside(carry: tuple) -> jax.Array:
            return (jnp.abs(carry[0]) < work.bound).all()

        def step(carry: tuple) -> tuple:
            x, count = carry
            noise = draw(work.noise, jax.random.fold_in(key, count), alpha, x.shape, dtype)
            return x - dt * x + kick * noise, count + 1

        x, count = jax.lax.while_loop(inside, step, (jnp.zeros(work.dimension, dtype), jnp.int32(0)))
        return count, x

    run = jax.jit(jax.vmap(trajectory, in_axes=(0, None)))
    keys = jax.jit(partial(jax.random.split, num=work.lanes))

    def batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
        count, x = run(keys(jax.random.key(seed)), jnp.asarray(work.alpha, dtype))
        return np.asarray(count), np.asarray(x)

    return batch
