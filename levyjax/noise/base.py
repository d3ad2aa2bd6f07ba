"""What drives the SDE: the interface of a noise, and the checks that all of them share."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import concrete, parameter
from levyjax.noise.spectral import SpectralMeasure
from levyjax.random import Counter


@runtime_checkable
class Noise(Protocol):
    """A Lévy process A L in R^d, drawn by counters: an increment is a pure function of (trajectory, step, stream)."""

    @property
    def alpha(self) -> Any:
        """Tail index, 2 for Gaussian noise."""
        ...

    @property
    def scale(self) -> Any:
        """The dispersion A: its diagonal (d,) or the matrix (d, d)."""
        ...

    def increment(self, counter: Counter, dt: Any, stream: int = ...) -> Float[Array, "d *batch"]:
        """A (L(t + dt) - L(t)) at the counter's step, for counters of shape (*batch)."""
        ...

    def spectral_measure(self) -> SpectralMeasure | None:
        """Where the jumps go; None where there are none (Gaussian)."""
        ...

    def covariance_rate(self) -> Float[Array, "d d"] | None:
        """Covariance per unit of time of a Gaussian noise; None where the variance is infinite."""
        ...


def check_alpha(alpha: Any) -> Any:
    """Hold alpha as float64 after checking that it is in (0, 2]."""
    alpha = parameter(alpha, "alpha", ndim=(0,))
    if concrete(alpha) and not 0 < float(alpha) <= 2:
        raise ValueError(f"alpha must be in (0, 2], got {float(alpha)}.")
    return alpha


def check_scale(scale: Any) -> Any:
    """Hold a dispersion as float64 after checking that it is a non-negative diagonal or a matrix, and not zero."""
    scale = parameter(scale, "scale", ndim=(1, 2))
    if concrete(scale):
        values = np.asarray(scale)
        if values.ndim == 1 and (values < 0).any():
            raise ValueError(f"scale must not be negative, got {values.tolist()}.")
        if not values.any():
            raise ValueError("scale is zero: there would be no noise.")
    return scale


def second_moment(noise: Noise) -> Float[Array, " d"]:
    """diag(A A'): the dispersion of each coordinate, squared and summed."""
    scale = jnp.asarray(noise.scale)
    return scale**2 if scale.ndim == 1 else (scale**2).sum(axis=1)
