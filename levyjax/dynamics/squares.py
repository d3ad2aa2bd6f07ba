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
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import apply, cast, column, matrix_of
from levyjax.checks import choice
from levyjax.dynamics.base import DrivingNoise
from levyjax.noise import Noise, Rotational
from levyjax.noise.base import second_moment
from levyjax.noise.skewness import skewness
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words, normal, sf

GRADIENT_NOISE = choice(("frozen", "gaussian", "stable"))

_NUM_SAMPLES = 1 << 13
_FORGET = 14  # e-foldings after which v has forgotten its start
_MAX_DRAWS, _LARGEST = 20_000, 256


def squared_gradient(gradient: Array, driving: DrivingNoise, gradient_noise: str, learning_rate: Any) -> Array:
    """s: what v averages."""
    if gradient_noise == "frozen":
        return gradient**2 + column(second_moment(driving.noise), gradient)
    every = jnp.maximum(jnp.round(learning_rate / driving.dt), 1).astype(jnp.uint32)
    # At every 2^32nd step a new draw begins, whether or not the one before has lasted a learning rate.
    counter = driving.counter._replace(low=driving.counter.low // every)
    if gradient_noise == "gaussian":
        scale = driving.noise.scale
        noise = apply(scale, normal(draw_words(counter, scale.shape[-1], Stream.GRADIENT, scale.dtype)))
    else:
        noise = driving.noise.increment(counter, 1.0, Stream.GRADIENT)
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
    num_draws = math.ceil(_FORGET / memory)
    start = None
    if num_draws > _MAX_DRAWS:  # the last draws one by one, what came before them by its own law
        num_draws, start = _MAX_DRAWS, jnp.asarray(_long_average(noise, gradient_noise, memory), jnp.float32)
    v, last = _average_squares(cast(noise, jnp.float32), gradient_noise, math.exp(-memory), num_draws, start)
    phase = (jnp.arange(_NUM_SAMPLES, dtype=v.dtype) + 0.5) / _NUM_SAMPLES
    since = jnp.exp(-memory * phase)
    return since * v + (1 - since) * last


def _long_average(noise: Noise, gradient_noise: str, memory: float) -> Float[np.ndarray, "d samples"]:
    """Samples of an exponential average of (A u)^2 over very many draws.

    Of normal draws it is normal about its mean. Of stable ones the largest draws are taken one by one, the rest by
    its mean; products of different coordinates, which have mean 0 and far lighter tails, are left out.

    Raises:
        ValueError: coordinates that jump together, for which no such law is worked out.

    Source:
        The j-th largest of n draws has a tail probability of Gamma_j/n, Gamma_j the j-th arrival of a Poisson process
        (LePage, Woodroofe and Zinn 1981).
    """
    generator = np.random.default_rng(0)
    scale = matrix_of(noise.scale)
    alphas = np.broadcast_to(np.asarray(getattr(noise, "alpha", 2.0), float), scale.shape[1:])
    if gradient_noise == "gaussian" or (alphas == 2).all():
        covariance = scale @ scale.T * (1 if gradient_noise == "gaussian" else 2)
        spread = 2 * covariance**2 * math.tanh(memory / 2)
        draws = generator.multivariate_normal(np.diag(covariance), spread, size=_NUM_SAMPLES)
        return np.maximum(draws.T, 0.0)
    if isinstance(noise, Rotational) and scale.shape[1] > 1:
        raise ValueError(
            f"v remembers {1 / memory:.3g} draws of noise whose coordinates jump together, and no law of such an "
            "average is worked out here; take a shorter memory (a smaller beta2), or simulate."
        )
    betas = [0.0] * len(alphas) if (beta := skewness(noise)) is None else np.asarray(beta).tolist()
    pairs = zip(alphas, betas, strict=True)
    return scale**2 @ np.stack([_average_of_one(alpha, beta, memory, generator) for alpha, beta in pairs])


def _average_of_one(
    alpha: float, beta: float, memory: float, generator: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Samples of the average of squares of one stable variate."""
    with jax.enable_x64(True):
        log_size = np.linspace(math.log(1e-3), math.log(1e-3) + 40, 4001)
        size = np.exp(log_size)
        sides = (beta, -beta) if beta else (0.0,)
        ways = [np.asarray(sf(jnp.asarray(size), alpha, beta=side, parametrization="S1")) for side in sides]
        beyond = 2 * np.mean(ways, axis=0)
    # E[u^2; |u| < c], by parts from the tail
    inner = np.concatenate([[0.0], np.cumsum((2 * size**2 * beyond)[:-1] * np.diff(log_size))])
    inner = inner + size[0] ** 2 - size**2 * beyond
    arrival = np.cumsum(generator.exponential(size=(_LARGEST, _NUM_SAMPLES)), axis=0)
    log_beyond = np.log(np.maximum(beyond, 1e-300))[::-1]
    log_of_largest = np.interp(np.log(arrival * memory / _FORGET), log_beyond, log_size[::-1])
    age = generator.uniform(0, _FORGET, size=arrival.shape)
    largest = memory * np.exp(-age + 2 * log_of_largest)
    return largest.sum(axis=0) + np.interp(log_of_largest[-1], log_size, inner)


@partial(jax.jit, static_argnames="gradient_noise")
def _average_squares(
    noise: Noise, gradient_noise: str, kept: Any, num_draws: Any, start: Array | None
) -> tuple[Array, Array]:
    """v just before a draw of (A u)^2, and that draw, for each of the samples; in float32, as only a mean is wanted."""
    words = jnp.arange(_NUM_SAMPLES, dtype=jnp.uint32)
    zero = jnp.zeros_like(words)
    at_minimum, one = jnp.zeros((noise.scale.shape[0], 1), jnp.float32), jnp.float32(1)

    def draw(step: Any) -> Array:
        counter = Counter(words, zero, jnp.full_like(words, step), zero)
        return squared_gradient(at_minimum, DrivingNoise(noise, one, counter, one), gradient_noise, one)

    kept = jnp.asarray(kept, jnp.float32)
    v = jax.lax.fori_loop(
        1, num_draws, lambda step, v: kept * v + (1 - kept) * draw(step), draw(0) if start is None else start
    )
    return v, draw(num_draws)
