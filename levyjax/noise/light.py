"""Stable draws whose tail ends or falls off, for an optimizer's iteration: truncated and tempered."""

import functools
import math
from typing import Any

import jax
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Float

from levyjax.arrays import apply, concrete, freeze, pytree
from levyjax.checks import positive, real, scale_matrix, sweep
from levyjax.keys import key, piece
from levyjax.noise.draws import two_sides
from levyjax.noise.quantiles import Quantiles, by_quantile, tabulate
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words, logpdf, logsf

_CLOCK_NODES = 1024
_REACH, _NEGLIGIBLE = 50.0, 60.0
_VARIANCE_ERROR = 1e-4
_TRUNCATED_INDEX = real("a number from 0.3 to 2", lambda x: (x >= 0.3) & (x <= 2.0))
_TEMPERED_INDEX = real("a number from 0.3 up to, but not including, 2", lambda x: (x >= 0.3) & (x < 2.0))


def _log_stable_survival(size: np.ndarray, alpha: float) -> np.ndarray:
    """log P(|X| > size) of SaS(1)."""
    with jax.enable_x64(True):
        return math.log(2) + np.asarray(logsf(np.asarray(size, np.float64), alpha))


@functools.lru_cache(maxsize=64)
def _truncated_quantiles(alpha: float, bound: float) -> Quantiles:
    density = scipy.special.gamma(1 + 1 / alpha) / math.pi
    least = float(np.exp(_log_stable_survival(np.array([bound]), alpha))[0])
    return tabulate(functools.partial(_log_stable_survival, alpha=alpha), density, bound, least)


class _Clock:
    """T of X = sqrt(2 T) N: positive stable of index alpha/2 and tempered, as nodes with weights.

    Source:
        `stable.sample_relativistic`: T has the density exp(m^alpha - m^2 t) times that of the positive stable law.
    """

    def __init__(self, alpha: float, tempering: float) -> None:
        index = alpha / 2
        scale = math.cos(math.pi * index / 2) ** (1 / index)

        def log_weights(log_time: np.ndarray) -> np.ndarray:
            with jax.enable_x64(True):
                density = logpdf(np.exp(log_time), index, beta=1.0, scale=scale, parametrization="S1")
            return np.asarray(density) + log_time + tempering**alpha - tempering**2 * np.exp(log_time)

        log_time = np.linspace(-_REACH, _REACH, _CLOCK_NODES)
        for _ in range(2):
            weight = log_weights(log_time)
            near = log_time[weight > weight.max() - _NEGLIGIBLE]
            log_time = np.linspace(near[0], near[-1], _CLOCK_NODES)
        weight = log_weights(log_time)
        self.log_time, self.log_weight = log_time, weight - scipy.special.logsumexp(weight)

    def log_survival(self, size: np.ndarray) -> np.ndarray:
        """log P(|X| > size), a sum of positive terms."""
        given_time = scipy.special.log_ndtr(-np.asarray(size)[:, None] * np.exp(-self.log_time / 2) / math.sqrt(2))
        return math.log(2) + np.asarray(scipy.special.logsumexp(given_time + self.log_weight, axis=1))

    def density(self) -> float:
        """Of X at 0."""
        return float(np.exp(scipy.special.logsumexp(self.log_weight - self.log_time / 2)) / math.sqrt(4 * math.pi))


@functools.lru_cache(maxsize=64)
def _clock(alpha: float, tempering: float) -> _Clock:
    return _Clock(alpha, tempering)


@functools.lru_cache(maxsize=64)
def _tempered_quantiles(alpha: float, tempering: float) -> Quantiles:
    clock = _clock(alpha, tempering)
    variance = 2 * np.exp(scipy.special.logsumexp(clock.log_time + clock.log_weight))
    if not abs(variance / (alpha * tempering ** (alpha - 2)) - 1) < _VARIANCE_ERROR:
        raise ValueError(
            f"The law of alpha = {alpha:g} and tempering = {tempering:g} cannot be tabulated: it is too close to a "
            "Gaussian or to an untempered one. Take Gaussian or Independent noise."
        )
    return tabulate(clock.log_survival, clock.density(), math.inf, 0.0)


def _numbers(alpha: Any, other: Any, name: str) -> tuple[float, float]:
    """Both as floats; a table cannot be made of traced values."""
    if not (concrete(alpha) and concrete(other)):
        raise ValueError(f"alpha and {name} must be numbers here: the table of the law is made outside jit.")
    return float(alpha), float(other)


@piece("noise", "truncated")
@pytree
class Truncated:
    """A Z for iterations: Z_j independent SaS(1), conditioned on |Z_j| <= bound.

    Draws are made by the law's quantiles, from a table that is within 1e-6 of them for alpha >= 0.5. As the noise level
    falls, a basin wider than noise_level A bound is no longer left by one draw.

    Args:
        alpha: tail index in [0.3, 2].
        bound: largest |Z_j|, positive.
        scale: A, its diagonal (d,) or the matrix (d, m).

    Raises:
        ValueError: alpha or bound out of range or traced; a scale that is negative, zero, not finite or no matrix.

    Example:
        >>> import numpy as np
        >>> Truncated(1.0, 1.0, [1.0]).chances(np.array([0.0, 1.0])).round(6).tolist()
        [0.5, 0.0]
    """

    alpha: Any = key(_TRUNCATED_INDEX, swept=sweep(_TRUNCATED_INDEX))
    bound: Any = key(positive)
    scale: Any = key(scale_matrix, coordinates=0, given="identity")
    table: Any = None

    def __post_init__(self) -> None:
        freeze(self, table=_truncated_quantiles(*_numbers(self.alpha, self.bound, "bound")))

    @property
    def tail_index(self) -> float | None:
        return None

    def increment(self, counter: Counter, dt: Any = 1.0, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        return apply(self.scale, by_quantile(bits, self.table))

    def rays(self) -> Float[Array, "d rays"]:
        return two_sides(self.scale)

    def chances(self, lengths: Float[np.ndarray, " rays"]) -> Float[np.ndarray, " rays"]:
        least = float(self.table.least)
        inside = np.minimum(lengths, float(self.bound))
        beyond = np.exp(_log_stable_survival(inside, float(self.alpha)))
        return np.where(inside < float(self.bound), np.maximum(beyond - least, 0) / (2 * (1 - least)), 0.0)


@piece("noise", "tempered")
@pytree
class Tempered:
    """A Z for iterations: Z_j independent, E exp(i w Z_j) = exp(-((w^2 + m^2)^(alpha/2) - m^alpha)), m the tempering.

    Stable up to sizes of about 1/m, beyond that damped like exp(-m |z|); the variance is alpha m^(alpha - 2). Draws are
    made by the law's quantiles, from a table that is within 1e-6 of them.

    Args:
        alpha: tail index in [0.3, 2).
        tempering: m, positive.
        scale: A, its diagonal (d,) or the matrix (d, m).

    Raises:
        ValueError: alpha or tempering out of range or traced, or a law too close to a Gaussian one; a scale that is
            negative, zero, not finite or not rectangular.

    Source:
        The relativistic law of `stable.sample_relativistic` (Ryznar 2002), by its subordinator.

    Example:
        >>> import numpy as np
        >>> Tempered(1.5, 1.0, [1.0]).chances(np.array([0.0])).round(6).tolist()
        [0.5]
    """

    alpha: Any = key(_TEMPERED_INDEX, swept=sweep(_TEMPERED_INDEX))
    tempering: Any = key(positive)
    scale: Any = key(scale_matrix, coordinates=0, given="identity")
    table: Any = None

    def __post_init__(self) -> None:
        freeze(self, table=_tempered_quantiles(*_numbers(self.alpha, self.tempering, "tempering")))

    @property
    def tail_index(self) -> float | None:
        return None

    def increment(self, counter: Counter, dt: Any = 1.0, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        return apply(self.scale, by_quantile(bits, self.table))

    def rays(self) -> Float[Array, "d rays"]:
        return two_sides(self.scale)

    def chances(self, lengths: Float[np.ndarray, " rays"]) -> Float[np.ndarray, " rays"]:
        finite = np.minimum(lengths, 1e300)
        return np.exp(_clock(float(self.alpha), float(self.tempering)).log_survival(finite)) / 2
