"""The running mean v of squared gradients: what it averages on a landscape without mini-batches, and its law at rest.

s, the squared mini-batch gradient that v sees, has to be chosen:
    "frozen": g^2 + diag(A A'); "gaussian" and "stable": (g + A u)^2, u drawn anew each learning rate of time, standard
    normal or of the noise's own law, independent of L.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levyjax.arrays import apply, cast, column, concrete, parameter
from levyjax.dynamics.base import Kick
from levyjax.noise import Noise, second_moment
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words, normal

GRADIENT_NOISES = ("frozen", "gaussian", "stable")

_NUM_SAMPLES = 1 << 13
_FORGET = 14  # e-foldings after which v has forgotten its start
_MAX_DRAWS = 20_000


def checked_gradient_noise(gradient_noise: str) -> str:
    """One of the three."""
    if gradient_noise not in GRADIENT_NOISES:
        raise ValueError(f"gradient_noise must be one of {', '.join(GRADIENT_NOISES)}, got {gradient_noise!r}.")
    return gradient_noise


def checked_part(value: Any, name: str) -> Any:
    """A number in [0, 1): the part of a running mean that an iteration keeps."""
    value = parameter(value, name, ndim=(0,))
    if concrete(value) and not 0 <= float(value) < 1:
        raise ValueError(f"{name} must be in [0, 1), got {float(value)}.")
    return value


def not_negative(value: Any, name: str) -> Any:
    """A number that is 0 or above."""
    value = parameter(value, name, ndim=(0,))
    if concrete(value) and float(value) < 0:
        raise ValueError(f"{name} must not be negative, got {float(value)}.")
    return value


def squared_gradient(gradient: Array, kick: Kick, gradient_noise: str, learning_rate: Any) -> Array:
    """s: what v averages."""
    if gradient_noise == "frozen":
        return gradient**2 + column(second_moment(kick.noise), gradient)
    every = jnp.maximum(jnp.round(learning_rate / kick.dt), 1).astype(jnp.uint32)
    # At every 2^32nd step a new draw begins, whether or not the one before has lasted a learning rate.
    counter = kick.counter._replace(low=kick.counter.low // every)
    if gradient_noise == "gaussian":
        scale = kick.noise.scale
        noise = apply(scale, normal(draw_words(counter, scale.shape[-1], Stream.GRADIENT, scale.dtype)))
    else:
        noise = kick.noise.increment(counter, 1.0, Stream.GRADIENT)
    return (gradient + noise) ** 2


def jump_maps_of(
    noise: Noise, epsilon: Any, gradient_noise: str, learning_rate: Any, rate: Any
) -> Float[Array, "samples d"]:
    """1/(sqrt(v) + epsilon) at the minimum: one diagonal, or where v is random samples from its stationary law."""
    if gradient_noise == "frozen":
        return (1 / (jnp.sqrt(jnp.asarray(second_moment(noise))) + epsilon))[None]
    v = _stationary_v(noise, gradient_noise, float(rate) * float(learning_rate))
    return (1 / (jnp.sqrt(v.astype(jnp.asarray(epsilon).dtype)) + epsilon)).T


def _stationary_v(noise: Noise, gradient_noise: str, memory: float) -> Float[Array, "d samples"]:
    """Samples of v at the minimum: it averages (A u)^2 over learning rates of time, seen at a uniform phase."""
    num_draws = min(math.ceil(_FORGET / memory), _MAX_DRAWS)
    v, last = _average_squares(cast(noise, jnp.float32), gradient_noise, math.exp(-memory), num_draws)
    phase = (jnp.arange(_NUM_SAMPLES, dtype=v.dtype) + 0.5) / _NUM_SAMPLES
    since = jnp.exp(-memory * phase)
    return since * v + (1 - since) * last


@partial(jax.jit, static_argnames="gradient_noise")
def _average_squares(noise: Noise, gradient_noise: str, kept: Any, num_draws: Any) -> tuple[Array, Array]:
    """v just before a draw of (A u)^2, and that draw, for each of the samples; in float32, as only a mean is wanted."""
    words = jnp.arange(_NUM_SAMPLES, dtype=jnp.uint32)
    zero = jnp.zeros_like(words)
    at_minimum, one = jnp.zeros((noise.scale.shape[0], 1), jnp.float32), jnp.float32(1)

    def draw(step: Any) -> Array:
        counter = Counter(words, zero, jnp.full_like(words, step), zero)
        return squared_gradient(at_minimum, Kick(noise, one, counter, one), gradient_noise, one)

    kept = jnp.asarray(kept, jnp.float32)
    v = jax.lax.fori_loop(1, num_draws, lambda step, v: kept * v + (1 - kept) * draw(step), draw(0))
    return v, draw(num_draws)
