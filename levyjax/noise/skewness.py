"""Skewed channels: increments of a skewed stable process, its jumps to either side, and the drift that centres it."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.arrays import column, concrete, freeze
from levyjax.checks import real, vector
from levyjax.noise.scaling import increment_scale
from levyjax.random import Counter, words
from levyjax.stable import tail_constant
from levyjax.stable.skewed import skewed
from levyjax.stable.variates import Words

SKEWNESS = vector(real("a number from -1 to 1", lambda x: (x >= -1.0) & (x <= 1.0)))
EULER = 0.5772156649015329  # Euler's constant


def settle_beta(noise: Any) -> None:
    """Hold a noise's skewness as one number for each channel, or as None where all are 0.

    Raises:
        ValueError: another number of them than channels.
    """
    beta, scale = noise.beta, noise.scale
    if beta is None or not (concrete(beta) and concrete(scale)):
        return
    channels = scale.shape[-1]
    if np.size(beta) not in (1, channels):
        raise ValueError(f"beta has {np.size(beta)} entries but scale has {channels} columns.")
    freeze(noise, beta=np.broadcast_to(np.asarray(beta), (channels,)) if np.asarray(beta).any() else None)


def skewness(noise: Any) -> Any:
    """beta of each channel (m,); None where the noise is symmetric."""
    return getattr(getattr(noise, "driver", noise), "beta", None)


def mirrored(noise: Any) -> Any:
    """-L in place of L."""
    beta = skewness(noise)
    if beta is None:
        return noise
    if hasattr(noise, "driver"):
        return dataclasses.replace(noise, driver=mirrored(noise.driver))
    return dataclasses.replace(noise, beta=-beta)


def skewed_increment(bits: Words, alpha: Any, beta: Float[Array, " m"], dt: Any) -> Float[Array, "m *batch"]:
    """L(t + dt) - L(t) of skewed channels, of location 0 as S1 at time 1.

    At alpha = 1 the law of a skewed increment over dt is not dt times that over 1: it is shifted by
    (2/pi) beta dt log(dt), with which n increments over dt add up to one over n dt.
    """
    draws = skewed(bits, _along(alpha, bits[0]), column(beta, bits[0]), "S1")
    alpha, dt = jnp.asarray(alpha, draws.dtype), jnp.asarray(dt, draws.dtype)
    shift = jnp.where(alpha == 1, 2 / math.pi * dt * jnp.log(dt), 0) * jnp.asarray(beta, draws.dtype)
    return _along(increment_scale(alpha, dt), draws) * draws + column(shift, draws)


def _along(values: Any, x: Array) -> Any:
    return column(values, x) if jnp.ndim(values) else values


def side_weights(beta: Float[Array, " m"]) -> Float[Array, " sides"]:
    """What multiplies the symmetric rates of jumps along A_1, ..., A_m and along -A_1, ..., -A_m: (2 m,)."""
    beta = jnp.asarray(beta)
    return jnp.concatenate([1 + beta, 1 - beta])


def skewed_axis(
    counter: Counter, axis: Int[Array, "*batch"], stream: int, scale: Any, beta: Float[Array, " m"]
) -> Float[Array, "m *batch"]:
    """The unit vector along an axis, up with the probability (1 + beta)/2."""
    uniform = (words(counter, 1, stream)[0][0] >> jnp.uint32(8)).astype(scale.dtype) * 2.0**-24
    index = jnp.arange(scale.shape[-1], dtype=axis.dtype).reshape((-1,) + (1,) * axis.ndim)
    sign = jnp.where(2 * uniform < 1 + column(beta, uniform[None]), 1.0, -1.0).astype(scale.dtype)
    return jnp.where(index == axis, sign, 0)


def centring_drift(alpha: Any, beta: Any, threshold: Any) -> tuple[np.ndarray, np.ndarray]:
    """The drift of L besides its jumps longer than a threshold and its shorter ones less their mean.

    Returns:
        gamma and gamma', (m,) each: at s times the threshold the drift is gamma s^(1 - alpha) + gamma' log s.

    Source:
        The Lévy-Khintchine exponent of S1 (Samorodnitsky and Taqqu 1994, section 1.5) with the jumps' density
        C_alpha (1 +- beta) |y|^(-1-alpha): 2 beta C_alpha threshold^(1-alpha)/(1 - alpha), which is the mean of the
        shorter jumps below alpha = 1 and minus that of the longer ones above it; at alpha = 1, where S1 has
        -(2i/pi) beta w log|w|, (2 beta/pi)(log threshold + 0.5772 - 1).
    """
    alpha, beta = (np.asarray(one, float) for one in np.broadcast_arrays(alpha, beta))
    at_one, apart = alpha == 1, np.where(alpha == 1, 0.5, 1 - alpha)
    whole = 2 * beta * np.asarray(tail_constant(alpha)) * threshold ** (1 - alpha) / apart
    logarithmic = 2 * beta / math.pi * (np.log(threshold) + EULER - 1)
    return np.where(at_one, logarithmic, whole), np.where(at_one, 2 * beta / math.pi, 0.0)
