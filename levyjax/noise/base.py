"""What drives the SDE: the interface of a noise, and the checks that all of them share."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.arrays import matrix_of
from levyjax.checks import real
from levyjax.noise.skewness import centring_drift, skewness
from levyjax.noise.spectral import SpectralMeasure
from levyjax.random import Counter
from levyjax.stable import tail_constant
from levyjax.stable.constants import small_jump_variance


class JumpRays(NamedTuple):
    """Rays +-v that share the jumps of A L: jumps beyond t v come at rate weight t^-alpha, to either side.

    With beta at 1 + beta times that along v, and 1 - beta times that along -v.

    vectors: (d, rays, 1), or (d, rays, *batch) where they are drawn at random.
    weight: of each, a number or (rays, 1).
    alpha: tail index of each, a number or (rays, 1).
    axis: (rays, *batch), the axis of `Noise.split` that each is on; None where there is one for each axis, in order.
    beta: skewness of each, as `weight`; None where the noise is symmetric.
    """

    vectors: Array
    weight: Any
    alpha: Any
    axis: Any = None
    beta: Any = None


Reach = Callable[[Float[np.ndarray, "d rays"]], Float[np.ndarray, " rays"]]  # of displacements, 1 for one that crosses


class JumpSplit(NamedTuple):
    """L in two parts: on each axis the jumps that reach further than `part`, and all shorter ones.

    reaches: (axes,), how far a jump of length 1 on the axis reaches at most.
    rates: (axes,), long jumps per unit of time on each axis.
    variances: (m,), variance per unit of time of each coordinate of L in the rest.
    drift: (2, m), the mean of the rest per unit of time as in `skewness.centring_drift`; None where it is 0.
    """

    reaches: Float[np.ndarray, " axes"]
    rates: Float[np.ndarray, " axes"]
    variances: Float[np.ndarray, " m"]
    drift: Any = None


@runtime_checkable
class Noise(Protocol):
    """Noise in R^d, drawn by counters: what it does in a step is a pure function of (trajectory, step, stream)."""

    @property
    def scale(self) -> Any:
        """The dispersion A: its diagonal (d,) or the matrix (d, m), where L has m coordinates."""
        ...

    def increment(self, counter: Counter, dt: Any, stream: int = ...) -> Float[Array, "d *batch"]:
        """A (L(t + dt) - L(t)) at the counter's step, for counters of shape (*batch); of a `StepNoise` one draw."""
        ...


@runtime_checkable
class PointNoise(Protocol):
    """Noise that depends on where the trajectory is."""

    def at(self, x: Float[Array, "d *batch"], noise_level: Any) -> Noise:
        """The noise of a step that starts at these points."""
        ...


def noise_at(noise: Noise, x: Float[Array, "d *batch"], noise_level: Any) -> Noise:
    """The noise of a step that starts at these points."""
    return noise.at(x, noise_level) if isinstance(noise, PointNoise) else noise


@runtime_checkable
class StepNoise(Noise, Protocol):
    """A Z, one draw a step of an optimizer's iteration; no process in continuous time has such increments."""

    @property
    def tail_index(self) -> float | None:
        """The index with which P(|Z| > u) varies regularly; None where it falls faster or has an end."""
        ...

    def rays(self) -> Float[Array, "d rays"]:
        """The directions in which a single draw can go far."""
        ...

    def chances(self, lengths: Float[np.ndarray, " rays"]) -> Float[np.ndarray, " rays"]:
        """The probability that a draw lies beyond `lengths` times the ray, along each of the rays."""
        ...


@runtime_checkable
class LevyNoise(Noise, Protocol):
    """A Lévy process A L: noise in continuous time, whose increments can be taken over any dt."""

    @property
    def alpha(self) -> Any:
        """Tail index, 2 for Gaussian noise; (m,) where each column of A has its own."""
        ...

    def spectral_measure(self) -> SpectralMeasure | None:
        """Where the jumps go; None where there are none (Gaussian)."""
        ...

    def covariance_rate(self) -> Float[Array, "d d"] | None:
        """Covariance per unit of time of a Gaussian noise; None where the variance is infinite."""
        ...

    def split(self, rays: Reach, part: Any) -> JumpSplit:
        """L cut into jumps long enough to matter, drawn one by one, and the rest as Brownian motion.

        Args:
            rays: for displacements A y (d, rays), how far they reach: 1 for one that crosses the region of interest.
            part: jumps that reach further than this are long.
        """
        ...

    def jump_direction(self, counter: Counter, axis: Int[Array, "*batch"], stream: int) -> Float[Array, "m *batch"]:
        """The direction of a jump of L, a unit vector, on the axis that was drawn for it."""
        ...

    def jump_rays(self, counter: Counter, stream: int) -> JumpRays:
        """Rays over which a mean of jump rates is the Lévy measure's, random where the directions are a continuum."""
        ...


STABLE_INDEX = real("a number above 0 and at most 2 (2 is Gaussian noise)", lambda x: (x > 0.0) & (x <= 2.0))


def is_process(kind: Any) -> bool:
    """Whether a class of noise, or a noise, is a process in continuous time and no draw for each step."""
    return hasattr(kind, "spectral_measure")


def second_moment(noise: Noise) -> Float[Array, " d"]:
    """diag(A A'): the dispersion of each coordinate, squared and summed."""
    scale = jnp.asarray(noise.scale)
    return scale**2 if scale.ndim == 1 else (scale**2).sum(axis=1)


def line_scale(noise: LevyNoise) -> float:
    """The scale of A L where it has one coordinate and one tail index: it is a stable process on the line.

    Raises:
        ValueError: coordinates of L with tail indices of their own.
    """
    if np.size(noise.scale) == 1:
        return abs(float(np.ravel(noise.scale)[0]))
    measure = noise.spectral_measure() if has_jumps(noise) else None
    if measure is None:
        return float(np.sqrt(np.square(np.asarray(noise.scale)).sum()))
    alphas = np.unique(np.asarray(noise.alpha))
    if alphas.size > 1:
        raise ValueError(f"The noise on this line has several tail indices, {alphas.tolist()}; this is for one.")
    alpha = float(alphas[0])
    total = (np.asarray(measure.weights) * np.abs(np.asarray(measure.directions[0])) ** alpha).sum()
    return float((total * alpha / (2 * tail_constant(alpha))) ** (1 / alpha))


def require_process(noise: Noise, everywhere_alike: bool = False) -> None:
    """Refuse noise that an iteration alone can have.

    Args:
        noise: what is looked at.
        everywhere_alike: refuse noise that depends on the point too.

    Raises:
        ValueError: it is no Lévy process.
    """
    if everywhere_alike and isinstance(noise, PointNoise):
        raise ValueError(
            f"{type(noise).__name__} noise depends on the point, which this method cannot follow; take Euler's or "
            "the iteration."
        )
    if not isinstance(getattr(noise, "driver", noise), LevyNoise):
        raise ValueError(
            f"{type(noise).__name__} noise is a draw for each step of the optimizer's iteration and no process in "
            "continuous time; take method = 'iteration', `solvers.Iteration()`."
        )


def has_jumps(noise: LevyNoise) -> bool:
    """Whether any part of the noise has a tail index below 2."""
    return bool((np.asarray(noise.alpha) < 2).any())


def split_by_columns(noise: LevyNoise, rays: Reach, part: Any) -> JumpSplit:
    """`Noise.split` for independent coordinates: each column of A is an axis, with the two directions +-A_j."""
    columns = matrix_of(noise.scale)
    reach = rays(np.concatenate([columns, -columns], axis=1)).reshape(2, -1).max(axis=0)
    reach = np.where(reach > 0, reach, reach.max())  # a direction that leads nowhere: the others' scale
    threshold = part / reach
    alpha = np.asarray(noise.alpha, threshold.dtype)
    rates = 2 * tail_constant(alpha) / alpha * threshold**-alpha
    beta = skewness(noise)
    drift = None if beta is None else np.stack(centring_drift(alpha, beta, threshold))
    return JumpSplit(reach, rates, small_jump_variance(alpha) * threshold ** (2 - alpha), drift)
