"""Independent coordinates, each with a tail index of its own."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levyjax.arrays import apply, as_matrix, column, concrete, pytree
from levyjax.checks import scale_matrix, sweep_of_lists, vector
from levyjax.keys import key, piece
from levyjax.noise.base import STABLE_INDEX, JumpRays, JumpSplit, Reach, has_jumps, split_by_columns
from levyjax.noise.independent import signed_axis
from levyjax.noise.scaling import increment_scale
from levyjax.noise.skewness import SKEWNESS, settle_beta, side_weights, skewed_axis, skewed_increment
from levyjax.noise.spectral import SpectralMeasure
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words, symmetric, tail_constant


@piece("noise", "per_coordinate")
@pytree
class PerCoordinate:
    """A L with independent coordinates L_j that are SaS(1) of index alphas[j]: E exp(i w L_j(1)) = exp(-|w|^alphas[j]).

    With one index for all it is `Independent`. The time scales differ: over dt, L_j has the scale dt^(1/alphas[j]). As
    the noise level falls, the coordinate of the smallest index makes the exits.

    Args:
        alphas: tail indices (m,), each in (0, 2]; m is d where A is a diagonal.
        scale: the dispersion A, its diagonal (d,) or the matrix (d, m), whose column j has the index alphas[j].
        beta: skewness of each L_j, a number or (m,), from -1 to 1, as for `Independent`; default symmetric.

    Raises:
        ValueError: an index outside (0, 2]; a beta outside [-1, 1] or not one for each index; a scale that is negative,
            zero, not finite, no matrix or not of m columns.

    Example:
        >>> PerCoordinate([1.2, 1.8], [1.0, 1.0]).alpha.tolist()
        [1.2, 1.8]
    """

    alphas: Any = key(vector(STABLE_INDEX), coordinates="channels", swept=sweep_of_lists(STABLE_INDEX))
    scale: Any = key(scale_matrix, coordinates=0, given="identity")
    beta: Any = key(SKEWNESS, default=None)

    def __post_init__(self) -> None:
        alphas, scale = self.alphas, self.scale
        if concrete(alphas) and concrete(scale) and scale.shape[-1] != alphas.size:
            raise ValueError(f"alphas has {alphas.size} entries but scale has {scale.shape[-1]} columns.")
        settle_beta(self)

    @property
    def alpha(self) -> Any:
        """The tail indices (m,)."""
        return self.alphas

    def increment(self, counter: Counter, dt: Any, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        bits = draw_words(counter, self.scale.shape[-1], stream, self.scale.dtype)
        if self.beta is not None:
            return apply(self.scale, skewed_increment(bits, self.alphas, self.beta, dt))
        scale = self.scale * increment_scale(self.alphas, dt)
        return apply(scale, symmetric(bits, column(self.alphas, bits[0])))

    def spectral_measure(self) -> SpectralMeasure:
        columns, alphas = as_matrix(self.scale), jnp.tile(self.alphas, 2)
        directions = jnp.concatenate([columns, -columns], axis=1)
        weights = tail_constant(alphas) / alphas
        if self.beta is not None:
            weights = weights * side_weights(self.beta)
        return SpectralMeasure(directions, weights, alphas, 0)

    def covariance_rate(self) -> Float[Array, "d d"] | None:
        return None if has_jumps(self) else 2 * as_matrix(self.scale) @ as_matrix(self.scale).T

    def split(self, rays: Reach, part: Any) -> JumpSplit:
        return split_by_columns(self, rays, part)

    def jump_rays(self, counter: Counter, stream: int) -> JumpRays:
        alphas = jnp.asarray(self.alphas)[:, None]
        beta = None if self.beta is None else jnp.asarray(self.beta)[:, None]
        return JumpRays(as_matrix(self.scale)[:, :, None], tail_constant(alphas) / alphas, alphas, beta=beta)

    def jump_direction(self, counter: Counter, axis: Int[Array, "*batch"], stream: int) -> Float[Array, "m *batch"]:
        if self.beta is not None:
            return skewed_axis(counter, axis, stream, self.scale, self.beta)
        return signed_axis(counter, axis, stream, self.scale)
