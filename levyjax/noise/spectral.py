"""The spectral measure of a stable law: where its jumps point and how often, as rays with weights."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Float

from levyjax.arrays import apply
from levyjax.interpret import interpreted
from levyjax.stable.constants import radial_tail_constant

_CIRCLE_NODES = 65_532
_POLAR_NODES, _AZIMUTH_NODES = 384, 768
_TURNS = 12  # that rays on a circle are a multiple of: for its symmetries, and for a third of them
_REPLICATES = 16
_REPLICATE_NODES = 1 << 14
_MAX_ENTRIES = 1 << 25


class SpectralMeasure(NamedTuple):
    """Jumps longer than r along `directions[:, i]` (in units of its length) come at rate `weights[i] r^-alpha`.

    alpha: the tail index, a number or one for each ray, (rays,).
    replicates: 0 where the rays are exact or a quadrature rule; else they are this many equal, independently
    randomised groups, whose spread gives the standard error of a sum.
    circles: of a quadrature rule, how many closed circles the rays lie on, one after the other; else 0.
    """

    directions: Float[Array, "d rays"]
    weights: Float[Array, " rays"]
    alpha: Any
    replicates: int
    circles: int = 0


def sum_error(parts: Float[np.ndarray, " rays"], rays: Any) -> float:
    """The error of a sum over rays: by the spread of replicates, or of a part of the rays against all.

    On a circle every third ray: every second one errs as all do where a mirror image comes out the same.
    """
    if rays.replicates:
        groups = parts.reshape(int(rays.replicates), -1).sum(axis=1) * int(rays.replicates)
        return float(groups.std(ddof=1) / math.sqrt(rays.replicates))
    if not rays.circles:
        return 0.0
    thirds, by_circle = parts.reshape(-1, 3).sum(axis=0), parts.reshape(int(rays.circles), -1)
    along = max(float(np.abs(3 * thirds - thirds.sum()).max()) / 3, _at_edges(by_circle))
    return along + _across(by_circle.sum(axis=1)) if rays.circles > 1 else along


def _at_edges(parts: Float[np.ndarray, "circles rays"]) -> float:
    """The error of a sum whose terms stop short between two rays, at a place as likely as any between them."""
    after = np.roll(parts, 1, axis=1)
    stops = np.minimum(parts, after) < 0.5 * np.maximum(parts, after)
    return math.sqrt(float(np.square(parts - after)[stops].sum()) / 12)


def _across(sums: Float[np.ndarray, " circles"]) -> float:
    """The error of a sum over circles of a sphere: against splines through every second one."""
    from scipy.interpolate import CubicSpline

    height, weight = _heights(len(sums))
    halves = [CubicSpline(height[first::2], (sums / weight)[first::2]).integrate(-1, 1) for first in (0, 1)]
    return float(np.abs(halves - sums.sum()).max())


def share_error(parts: Float[np.ndarray, "shares rays"], rays: Any) -> float:
    """The largest error of shares in a sum over rays: of a quadrature rule, as if each ray might do as the next one."""
    total, error = float(parts.sum()), 0.0
    if rays.replicates:
        apart = parts - parts.sum(axis=1, keepdims=True) / total * parts.sum(axis=0)
        error = max(sum_error(row, rays) for row in apart) / total
    if rays.circles:
        replicated = parts.reshape(len(parts), max(int(rays.replicates), 1), -1).sum(axis=1)
        grid = replicated.reshape(len(parts), int(rays.circles), -1)
        along = np.abs(grid - np.roll(grid, 1, axis=2)).sum(axis=2) / 2
        across = np.abs(np.diff(grid, axis=1)).sum(axis=1) / 2
        chance = 1 if rays.circles == 1 else 2  # on several circles neighbours' errors are taken as independent: twice
        error += chance * float(np.sqrt((along**2).sum(axis=1) + (across**2).sum(axis=1)).max()) / total
    return error


@functools.lru_cache(maxsize=4)
def _heights(circles: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the circles of a sphere lie, and their weights."""
    return np.polynomial.legendre.leggauss(circles)


def _multiple(count: int) -> int:
    return -(-count // _TURNS) * _TURNS


@functools.lru_cache(maxsize=4)
def _sphere(dimension: int, most: int | None = None) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Nodes (d, n) and weights (n,), of sum 1, for the mean over the unit sphere; about `most` of them, if given.

    With the numbers of replicates and of circles.
    """
    if dimension == 1:
        return np.array([[1.0, -1.0]]), np.full(2, 0.5), 0, 0
    if dimension == 2:
        count = _multiple(min(most or _CIRCLE_NODES, _CIRCLE_NODES))
        angle = 2 * math.pi * (np.arange(count) + 0.5) / count
        return np.stack([np.cos(angle), np.sin(angle)]), np.full(count, 1 / count), 0, 1
    if dimension == 3:
        polar = min(_POLAR_NODES, math.isqrt(most // 2) if most else _POLAR_NODES)
        azimuth = _multiple(min(_AZIMUTH_NODES, 2 * polar))
        height, weight = _heights(polar)
        angle = 2 * math.pi * (np.arange(azimuth) + 0.5) / azimuth
        radius = np.sqrt(1 - height**2)
        nodes = np.stack(
            [np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle)), np.outer(height, np.ones_like(angle))]
        )
        return nodes.reshape(3, -1), np.repeat(weight / 2 / azimuth, azimuth), 0, polar
    from scipy.stats import qmc  # half a second, for spheres of four dimensions and more

    nodes_each = min(_REPLICATE_NODES, 1 << max(6, int(math.log2(_MAX_ENTRIES / _REPLICATES / dimension))))
    if most is not None:
        nodes_each = min(nodes_each, 1 << max(4, int(math.log2(most / _REPLICATES))))
    groups = []
    for replicate in range(_REPLICATES):
        points = qmc.Sobol(dimension, rng=replicate).random(nodes_each)
        gaussian = scipy.special.ndtri(np.clip(points, 1e-12, 1 - 1e-12))
        groups.append(gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True))
    nodes = np.concatenate(groups).T
    return nodes, np.full(nodes.shape[1], 1 / nodes.shape[1]), _REPLICATES, 0


def isotropic_measure(alpha: Any, scale: Any, most: int | None = None) -> SpectralMeasure:
    """Rays of a rotation-invariant law seen through the map A: exact for m = 1 column, quadrature to 3, else Sobol.

    Fewer of them, about `most`, are the first points of each of Sobol's sequences: every n-th point would be no sample.
    """
    scale = jnp.asarray(scale)
    nodes, weights, replicates, circles = _sphere(scale.shape[-1], most)
    constant = radial_tail_constant(alpha, scale.shape[-1])
    directions = apply(scale, jnp.asarray(nodes, scale.dtype))
    return SpectralMeasure(directions, constant * jnp.asarray(weights, scale.dtype), alpha, replicates, circles)


@interpreted
def measure_of(noise: Any) -> SpectralMeasure | None:
    """A noise's spectral measure in NumPy."""
    return noise.spectral_measure()


@functools.cache
def isotropic_measure_of(most: int) -> Callable[..., SpectralMeasure]:
    """`isotropic_measure` of about so many rays, in NumPy."""
    return interpreted(functools.partial(isotropic_measure, most=most))
