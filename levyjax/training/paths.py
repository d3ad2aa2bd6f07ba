"""The loss between two points: on the straight line, and on a path of least loss by a nudged elastic band."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from levyjax.datasets import Result, along
from levyjax.training.curvature import Loss

_PIECES = 4  # of a stretch between two images, on whose ends the loss is looked at


@dataclasses.dataclass(frozen=True, eq=False)
class LossPath(Result):
    """The loss on the way from one point to another.

    Attributes:
        points: (n, d), the ends included; empty (n, 0) for a line.
        places: (n,), part of the way's length, from 0 to 1.
        losses: (n,).
        barrier: the largest loss between the ends, less that of the higher end; 0 if none is above both ends.
        barrier_place: where that is; None without a barrier.
        between: the same as `barrier`, for a least path looked at on the straight pieces between the points, too. A
            way of that barrier exists, so that the least barrier of all ways is at most this.
        residual: length of the largest force across the band; 0 for a line.
    """

    _dims = along({"point parameter": "points", "point": "places losses"})

    points: Float[np.ndarray, "n d"]
    places: Float[np.ndarray, " n"]
    losses: Float[np.ndarray, " n"]
    barrier: float
    barrier_place: float | None
    between: float
    residual: float


def line_path(loss: Loss, start: Any, end: Any, count: int = 101) -> LossPath:
    """The loss on the straight line between two parameter vectors.

    Args:
        loss: parameters (d,) -> a number; see `mean_loss`.
        start: (d,).
        end: (d,).
        count: points on the line, the ends included; 3 or more.

    Returns:
        The losses.

    Raises:
        ValueError: the ends do not fit each other, fewer than 3 points, or a loss that is no number.

    Source:
        Goodfellow, Vinyals and Saxe 2015.

    Example:
        >>> path = line_path(lambda p: (1 - p[0] ** 2) ** 2, jnp.array([-1.0]), jnp.array([1.0]))
        >>> path.barrier, path.barrier_place
        (1.0, 0.5)
    """
    first, last = _ends(start, end, count)
    places = np.linspace(0, 1, count)
    losses = np.asarray(_on_line(loss, first, last, jnp.asarray(places, first.dtype)), np.float64)
    barrier, position = _barrier(places, losses)
    return LossPath(np.zeros((count, 0)), places, losses, barrier, position, barrier, 0.0)


def least_path(
    loss: Loss,
    start: Any,
    end: Any,
    *,
    images: int = 15,
    steps: int = 1_000,
    learning_rate: float | None = None,
    spring: float = 1.0,
) -> LossPath:
    """A path of least loss between two points, by a nudged elastic band whose highest image climbs.

    The images start on the line. Each goes down across the path, along which springs keep them apart; in the second
    half of the steps the highest one goes up along the path instead, so that it ends on a saddle of the loss. By Adam,
    at a rate that falls to 0 as a cosine.

    Args:
        loss: parameters (d,) -> a number.
        start: (d,), which stays.
        end: (d,), which stays.
        images: between the ends, 1 or more.
        steps: of the optimizer, 2 or more.
        learning_rate: of Adam; default a fifth of the way between two images, over the root of d.
        spring: force per length along the path over that of the loss across it.

    Returns:
        The path. It is one path: there may be lower ones that the line does not lead to. The bound of `between` holds
        whether or not the band has come to rest.

    Raises:
        ValueError: the ends do not fit, a size is too small, or a loss that is no number.

    Source:
        Jonsson, Mills and Jacobsen 1998; tangents and the climbing image: Henkelman and Jonsson 2000, Henkelman,
        Uberuaga and Jonsson 2000; for networks: Draxler, Veschgini, Salmhofer and Hamprecht 2018.

    Example:
        >>> def valley(p):  # a bent way over a saddle of height 1 at the origin
        ...     return (1 - p[0] ** 2) ** 2 + 4 * (p[1] - 1 + p[0] ** 2) ** 2
        >>> path = least_path(valley, jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), images=9)
        >>> round(path.barrier, 3)
        1.0
    """
    first, last = _ends(start, end, images + 2)
    if steps < 2 or not spring > 0:
        raise ValueError(f"steps {steps} and spring {spring} make no band. Give 2 steps or more and a positive spring.")
    length = float(np.linalg.norm(np.asarray(last - first)))
    rate = learning_rate or length / np.sqrt(first.size) / (5 * (images + 1))
    band, residual = _relaxed(loss, first, last, images, steps, rate, spring)
    points = np.asarray(band)
    losses, pieces = (np.asarray(found, np.float64) for found in _polygon(loss, band))
    places = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places /= places[-1]
    barrier, position = _barrier(places, losses)
    between = max(0.0, float(pieces.max() - max(losses[0], losses[-1])))
    return LossPath(points, places, losses, barrier, position, between, float(residual))


def _ends(start: Any, end: Any, count: int) -> tuple[Array, Array]:
    first, last = jnp.asarray(start), jnp.asarray(end)
    if first.ndim != 1 or first.shape != last.shape or count < 3:
        raise ValueError(
            f"ends of shape {first.shape} and {last.shape} and {count} points do not fit. Give two vectors of equal "
            "length and 3 points or more."
        )
    if bool((first == last).all()):
        raise ValueError("the two ends are one point. Give two.")
    return first, last


def _barrier(places: np.ndarray, losses: np.ndarray) -> tuple[float, float | None]:
    if np.isnan(losses).any():
        raise ValueError("the loss is no number somewhere on the way. Give other ends, or a smaller learning rate.")
    top = 1 + int(np.argmax(losses[1:-1]))
    height = float(losses[top] - max(losses[0], losses[-1]))
    return (height, float(places[top])) if height > 0 else (0.0, None)


@functools.partial(jax.jit, static_argnums=0)
def _on_line(loss: Loss, first: Array, last: Array, places: Array) -> Array:
    return jax.lax.map(lambda t: loss((1 - t) * first + t * last), places)


@functools.partial(jax.jit, static_argnums=0)
def _polygon(loss: Loss, band: Array) -> tuple[Array, Array]:
    """The loss at the points, and at points between them."""
    parts = jnp.arange(1, _PIECES, dtype=band.dtype) / _PIECES
    middles = band[:-1, None] + parts[:, None] * (band[1:] - band[:-1])[:, None]
    return jax.lax.map(loss, band), jax.lax.map(loss, jnp.concatenate([band[1:-1], middles.reshape(-1, band.shape[1])]))


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _relaxed(loss: Loss, first: Array, last: Array, images: int, steps: int, rate: Any, spring: Any):
    """The band at rest, (images + 2, d), and its largest force across."""
    parts = (jnp.arange(1, images + 1, dtype=first.dtype) / (images + 1))[:, None]
    ends = loss(first), loss(last)

    def band(inner: Array) -> Array:
        return jnp.concatenate([first[None], inner, last[None]])

    def forces(inner: Array, climbs: Array) -> tuple[Array, Array]:
        heights, slopes = jax.lax.map(jax.value_and_grad(loss), inner)
        return _band_forces(band(inner), jnp.stack([ends[0], *heights, ends[1]]), slopes, spring, climbs)

    with jax.numpy_dtype_promotion("standard"):  # optax mixes counters and rates
        optimizer = optax.adam(optax.cosine_decay_schedule(jnp.asarray(rate, first.dtype), steps))

        def step(k: Array, carry: Any) -> Any:
            inner, state = carry
            push, _ = forces(inner, k >= steps // 2)
            updates, state = optimizer.update(-push, state, inner)
            return optax.apply_updates(inner, updates), state

        start = (1 - parts) * first + parts * last
        inner, _ = jax.lax.fori_loop(0, steps, step, (start, optimizer.init(start)))
    across = forces(inner, jnp.asarray(False))[1]
    return band(inner), jnp.sqrt((across**2).sum(axis=1)).max()


def _band_forces(
    band: Float[Array, "n d"], heights: Float[Array, " n"], slopes: Float[Array, "images d"], spring: Any, climbs: Array
) -> tuple[Array, Array]:
    """The force on each image, and its part across the path.

    The tangent points to the higher neighbour; at an extremum it is a mean weighted by the heights, so that it turns
    without a jump.
    """
    ahead, behind = band[2:] - band[1:-1], band[1:-1] - band[:-2]
    up, down = (heights[2:] - heights[1:-1])[:, None], (heights[:-2] - heights[1:-1])[:, None]
    more, less = jnp.maximum(abs(up), abs(down)), jnp.minimum(abs(up), abs(down))
    higher_ahead = up > down
    mixed = jnp.where(higher_ahead, more * ahead + less * behind, less * ahead + more * behind)
    rises, falls = (up > 0) & (down <= 0), (up <= 0) & (down > 0)
    tangent = jnp.where(rises, ahead, jnp.where(falls, behind, mixed))
    tangent /= jnp.maximum(jnp.sqrt((tangent**2).sum(axis=1, keepdims=True)), jnp.finfo(band.dtype).tiny)
    slope_along = (slopes * tangent).sum(axis=1, keepdims=True)
    across = slope_along * tangent - slopes
    gaps = [jnp.sqrt((part**2).sum(axis=1, keepdims=True)) for part in (ahead, behind)]
    pull = jnp.asarray(spring, band.dtype) * (gaps[0] - gaps[1]) * tangent
    top = jnp.arange(len(slopes)) == jnp.argmax(heights[1:-1])
    climb = climbs & top[:, None] & (up < 0) & (down < 0)
    return across + jnp.where(climb, slope_along * tangent, pull), across
