"""Gaussian noise: the alpha = 2 member of the stable family, drawn at its own price."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levyjax.arrays import apply, as_matrix, pytree
from levyjax.checks import scale_matrix
from levyjax.keys import key, piece
from levyjax.noise.base import JumpRays, JumpSplit, Reach, split_by_columns
from levyjax.noise.scaling import increment_scale
from levyjax.noise.spectral import SpectralMeasure
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words, normal

_SQRT_2 = math.sqrt(2)


@piece("noise", "gaussian")
@pytree
class Gaussian:
    """A L at alpha = 2: A L(t) is N(0, 2 A A' t), as for `Independent(2.0, A)`.

    The factor 2 is the stable family's: E exp(i w L_1) = exp(-|w|^2). For a Brownian motion of covariance C per unit of
    time give a scale with 2 A A' = C, that is a Cholesky factor of C/2.

    Args:
        scale: the dispersion A, its diagonal (d,) or the matrix (d, m).

    Raises:
        ValueError: a scale that is negative, zero, not finite or not rectangular.

    Example:
        >>> Gaussian([0.5, 0.05]).alpha
        2.0
    """

    scale: Any = key(scale_matrix, coordinates=0, given="identity")

    @property
    def alpha(self) -> float:
        """2."""
        return 2.0

    def increment(self, counter: Counter, dt: Any, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        return apply(self.scale * (_SQRT_2 * increment_scale(self.alpha, dt)), normal(bits))

    def spectral_measure(self) -> SpectralMeasure | None:
        return None

    def covariance_rate(self) -> Float[Array, "d d"]:
        return 2 * as_matrix(self.scale) @ as_matrix(self.scale).T

    def split(self, rays: Reach, part: Any) -> JumpSplit:
        return split_by_columns(self, rays, part)

    def jump_rays(self, counter: Counter, stream: int) -> JumpRays:
        return JumpRays(as_matrix(self.scale)[:, :, None], 0.0, self.alpha)

    def jump_direction(self, counter: Counter, axis: Int[Array, "*batch"], stream: int) -> Float[Array, "m *batch"]:
        return jnp.zeros((self.scale.shape[-1], *axis.shape), self.scale.dtype)  # there are no jumps
