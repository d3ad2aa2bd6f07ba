"""Independent coordinates: L has d independent symmetric alpha-stable coordinates."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levyjax.arrays import apply, as_matrix, pytree
from levyjax.checks import scale_matrix, sweep
from levyjax.keys import key, piece
from levyjax.noise.base import STABLE_INDEX, JumpRays, JumpSplit, Reach, split_by_columns
from levyjax.noise.scaling import increment_scale
from levyjax.noise.skewness import SKEWNESS, settle_beta, side_weights, skewed_axis, skewed_increment
from levyjax.noise.spectral import SpectralMeasure
from levyjax.random import Counter, Stream, words
from levyjax.stable import draw_words, symmetric, tail_constant

ALL_RAYS = 8  # up to this many columns every one is a ray of `jump_rays`, above it one drawn at random stands for all


@piece("noise", "independent")
@pytree
class Independent:
    """A L, L with independent coordinates, each SaS(1) at time 1: E exp(i w L_1) = exp(-|w|^alpha).

    Its large jumps point along single columns of A. At alpha = 2 it is sqrt(2) times a Brownian motion: N(0, 2t).
    With beta a coordinate is skewed: its jumps up and down come at 1 + beta and 1 - beta times the symmetric rates. At
    time 1 it is `stable.sample(..., parametrization="S1")`: its mean is 0 for alpha above 1; below 1 it is the sum of
    its jumps and nothing else; at alpha = 1 E exp(i w L_t) is exp(-t |w| (1 + (2i/pi) beta sign(w) log|w|)), which no
    change of units leaves as it is. An iteration moves against this noise of its gradient, as SDEs do with -beta.

    Args:
        alpha: tail index in (0, 2].
        scale: the dispersion A, its diagonal (d,) or the matrix (d, m) for m independent coordinates of L.
        beta: skewness of each coordinate of L, a number or (m,), from -1 to 1; default symmetric.

    Raises:
        ValueError: alpha outside (0, 2]; a beta outside [-1, 1] or not one for each coordinate; a scale that is
            negative, zero, not finite or not rectangular.

    Example:
        >>> Independent(1.5, [0.5, 0.05]).scale.shape
        (2,)
        >>> Independent(1.5, [1.0], beta=0.5).spectral_measure().weights.tolist()[0] > 0.29  # of jumps up
        True
    """

    alpha: Any = key(STABLE_INDEX, swept=sweep(STABLE_INDEX))
    scale: Any = key(scale_matrix, coordinates=0, given="identity")
    beta: Any = key(SKEWNESS, default=None)

    def __post_init__(self) -> None:
        settle_beta(self)

    def increment(self, counter: Counter, dt: Any, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        if self.beta is not None:
            return apply(self.scale, skewed_increment(bits, self.alpha, self.beta, dt))
        return apply(self.scale * increment_scale(self.alpha, dt), symmetric(bits, self.alpha))

    def spectral_measure(self) -> SpectralMeasure:
        columns = as_matrix(self.scale)
        directions = jnp.concatenate([columns, -columns], axis=1)
        weight = tail_constant(self.alpha) / self.alpha
        weights = jnp.full(directions.shape[1], weight)
        if self.beta is not None:
            weights = weights * side_weights(self.beta)
        return SpectralMeasure(directions, weights, self.alpha, 0)

    def covariance_rate(self) -> Float[Array, "d d"] | None:
        return 2 * as_matrix(self.scale) @ as_matrix(self.scale).T if float(self.alpha) == 2 else None

    def split(self, rays: Reach, part: Any) -> JumpSplit:
        return split_by_columns(self, rays, part)

    def jump_rays(self, counter: Counter, stream: int) -> JumpRays:
        columns, weight = as_matrix(self.scale), tail_constant(self.alpha) / self.alpha
        if columns.shape[1] <= ALL_RAYS:
            beta = None if self.beta is None else jnp.asarray(self.beta)[:, None]
            return JumpRays(columns[:, :, None], weight, self.alpha, beta=beta)
        place = (words(counter, 1, stream)[1][0] >> jnp.uint32(8)).astype(columns.dtype) * 2.0**-24
        axis = (place * columns.shape[1]).astype(jnp.int32)[None]
        beta = None if self.beta is None else jnp.asarray(self.beta)[axis]
        return JumpRays(columns[:, axis], weight * columns.shape[1], self.alpha, axis, beta)

    def jump_direction(self, counter: Counter, axis: Int[Array, "*batch"], stream: int) -> Float[Array, "m *batch"]:
        if self.beta is not None:
            return skewed_axis(counter, axis, stream, self.scale, self.beta)
        return signed_axis(counter, axis, stream, self.scale)


def signed_axis(counter: Counter, axis: Int[Array, "*batch"], stream: int, scale: Any) -> Float[Array, "m *batch"]:
    """The unit vector along an axis, to either side with equal probability."""
    sign = jnp.where(words(counter, 1, stream)[0][0] >> jnp.uint32(31) == 0, 1.0, -1.0).astype(scale.dtype)
    index = jnp.arange(scale.shape[-1], dtype=axis.dtype).reshape((-1,) + (1,) * axis.ndim)
    return jnp.where(index == axis, sign, 0)
