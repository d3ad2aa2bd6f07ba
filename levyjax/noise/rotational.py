"""Rotation-invariant stable noise: jumps point in every direction alike."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.arrays import apply, as_matrix, pytree
from levyjax.checks import scale_matrix, sweep
from levyjax.keys import key, piece
from levyjax.noise.base import STABLE_INDEX, JumpRays, JumpSplit, Reach
from levyjax.noise.scaling import increment_scale
from levyjax.noise.spectral import SpectralMeasure, isotropic_measure, measure_of
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words, isotropic, normal
from levyjax.stable.constants import radial_tail_constant, small_jump_variance


@piece("noise", "rotational")
@pytree
class Rotational:
    """A L with L rotation-invariant: E exp(i w'L_1) = exp(-|w|^alpha), so each coordinate alone is SaS(1).

    Its coordinates are dependent: a large jump is large in all of them. At alpha = 2 it is `Independent`.

    Args:
        alpha: tail index in (0, 2].
        scale: the dispersion A, its diagonal (d,) or the matrix (d, m) for L in R^m; A L is elliptical where A A' is
            not a multiple of the identity, and its law depends on A A' alone.

    Raises:
        ValueError: alpha outside (0, 2]; a scale that is negative, zero, not finite or not rectangular.

    Example:
        >>> Rotational(1.5, [1.0, 1.0]).spectral_measure().directions.shape[0]
        2
    """

    alpha: Any = key(STABLE_INDEX, swept=sweep(STABLE_INDEX))
    scale: Any = key(scale_matrix, coordinates=0, given="identity")

    def increment(self, counter: Counter, dt: Any, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        radial_bits = draw_words(counter, 1, stream + Stream.RADIUS, self.scale.dtype)
        return apply(self.scale * increment_scale(self.alpha, dt), isotropic(bits, radial_bits, self.alpha))

    def spectral_measure(self) -> SpectralMeasure:
        return isotropic_measure(self.alpha, self.scale)

    def covariance_rate(self) -> Float[Array, "d d"] | None:
        return 2 * as_matrix(self.scale) @ as_matrix(self.scale).T if float(self.alpha) == 2 else None

    def split(self, rays: Reach, part: Any) -> JumpSplit:
        dimension = self.scale.shape[-1]
        reach = rays(measure_of(self).directions).max(keepdims=True)
        threshold = part / reach
        rate = radial_tail_constant(self.alpha, dimension) * threshold**-self.alpha
        variance = small_jump_variance(self.alpha, dimension) * threshold ** (2 - self.alpha)
        return JumpSplit(reach, rate, np.broadcast_to(np.asarray(variance), (dimension,)))

    def jump_rays(self, counter: Counter, stream: int) -> JumpRays:
        direction = self.jump_direction(counter, jnp.zeros(counter.low.shape, jnp.int32), stream)
        weight = radial_tail_constant(self.alpha, self.scale.shape[-1]) / 2
        return JumpRays(apply(self.scale, direction)[:, None], weight, self.alpha)

    def jump_direction(self, counter: Counter, axis: Int[Array, "*batch"], stream: int) -> Float[Array, "m *batch"]:
        vector = normal(draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype))
        return vector / jnp.sqrt((vector**2).sum(axis=0))
