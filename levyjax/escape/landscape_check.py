"""Whether a landscape is what it says: the gradient that of its value, at rest at the minimum, the Hessian theirs."""

import weakref
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from levyjax.arrays import bisected, cast, column
from levyjax.basins import Attraction, Basin
from levyjax.checks import why_unstable
from levyjax.interpret import interpreted
from levyjax.landscapes import (
    AsymmetricValley,
    DoubleWell,
    Flat,
    Landscape,
    LinearDrift,
    LinearRegression,
    LogisticRegression,
    MultiWell,
    Quadratic,
    Separable,
    WangOhRhee,
)
from levyjax.landscapes.base import has_potential

_DRIFT = ("minimum", "gradient", "hessian")  # of what has no potential
_METHODS = ("minimum", "value", "gradient", "hessian", "in_sublevel", "sublevel_gauge")
_POINTS, _RAYS = 16, 4  # where value and gradient are compared; along which the basin's size is found
_REACH = (-8.0, 8.0)  # decimal logarithms of the sizes looked at
_WHOLE_HESSIAN = 512  # coordinates up to which the Hessian is looked at
_WRONG = 4  # so many points of 16 that do not agree are no kinks
_AGREE, _AT_REST = 1e-2, 3e-3
_SURE = (  # what these are made of cannot break them, and tests look at each as at a user's
    AsymmetricValley, DoubleWell, Flat, LinearDrift, LinearRegression, LogisticRegression, MultiWell, Quadratic,
    WangOhRhee,
)  # fmt: skip
_checked: dict[tuple[int, int], tuple[Any, Any, int]] = {}


class _Probe(NamedTuple):
    slopes: Array  # (points,): of the value, by central differences along a direction of each point's own
    along: Array  # the gradient's parts along the same
    off: Array  # what they may differ by
    undefined: Array  # (): at how many of the points the value is not a number
    rest: Array  # (): norm of the gradient at the minimum
    pull: Array  # that of its change over the basin's size, in the same direction
    hessian: Array  # (d, d), or (0, 0) where it is not looked at
    beyond: Array  # (vectors,): how far its products are from the gradient's differences, over what they may be


def require_methods(landscape: Any) -> None:
    """Refuse what does not have all of a landscape's methods, or of a drift's."""
    needed = _METHODS if has_potential(landscape) else _DRIFT
    missing = [name for name in needed if not hasattr(landscape, name)]
    if missing:
        raise ValueError(
            f"A landscape has {', '.join(needed)}; {type(landscape).__name__} has no {' and no '.join(missing)}."
        )


def check_landscape(landscape: Any, basin: Any) -> None:
    """Refuse a landscape whose value, gradient, minimum and Hessian do not belong together; once for each pair.

    The gradient is compared with differences of the value at 16 points around the minimum, as far away as the basin's
    boundary at most; fewer than 4 that do not agree may be kinks. At the minimum it may be what a minimum 0.3% of that
    distance away would make it. Up to 512 coordinates the Hessian has to be symmetric and, along 16 directions, the
    gradient's derivative: to one side, or in between, where that has a jump. Points where the value is not a number are
    counted: see `why_undefined`. Landscapes with formulas in this package are right however they are made: they and
    separable ones of such parts, are not looked at. A drift without a potential has no value, and its Hessian,
    minus its Jacobian, need not be symmetric: the eigenvalues have to have positive real parts.

    Raises:
        ValueError: results of the wrong shape, or what does not belong together.
    """
    _undefined(landscape, basin)


def why_undefined(landscape: Landscape, basin: Basin) -> str | None:
    """Why exits from a basin cannot be foretold: a landscape without a value somewhere inside; else None."""
    count = _undefined(landscape, basin)
    if not count:
        return None
    return (
        f"The landscape's value is not a number at {count} of {_POINTS} points inside the basin: give a basin in which "
        "it has a value everywhere."
    )


def _undefined(landscape: Landscape, basin: Basin) -> int:
    """At how many points inside the value is not a number; once for each pair, with the checks of `check_landscape`."""
    if _is_sure(landscape):
        return 0
    pair = id(landscape), id(basin)
    known = _checked.get(pair)
    if known is not None and known[0]() is landscape and known[1]() is basin:
        return known[2]
    found = _probed(landscape, basin)
    _judge(found, has_potential(landscape))
    count = int(found.undefined)
    try:
        first, second = (weakref.ref(one, lambda _: _checked.pop(pair, None)) for one in (landscape, basin))
        _checked[pair] = first, second, count
    except TypeError:  # a tuple has no weak references: it is looked at each time
        pass
    return count


def _is_sure(landscape: Landscape) -> bool:
    if type(landscape) is Separable:
        return all(map(_is_sure, landscape.parts))
    return type(landscape) in _SURE


def _probed(landscape: Landscape, basin: Basin) -> _Probe:
    arrays = (np.ndarray, np.generic, jax.Array, bool, int, float)
    if all(isinstance(leaf, arrays) for leaf in jax.tree.leaves((landscape, basin))):
        return jax.device_get(_compiled(*cast((landscape, basin), jnp.float64)))
    return jax.device_get(_measured(landscape, basin))  # no pytree


def _judge(found: _Probe, potential: bool = True) -> None:
    seen = np.isfinite(found.slopes) & np.isfinite(found.along)
    wrong = int(np.sum(~(np.abs(found.slopes - found.along) <= found.off)[seen]))
    if wrong >= _WRONG or not seen.any():
        raise ValueError(
            f"The landscape's gradient is not that of its value at {wrong + np.sum(~seen)} of {_POINTS} points around "
            "the minimum: give the gradient of the value, or make the landscape by from_function; a drift that is no "
            "gradient by from_drift."
        )
    if found.rest != 0 and not found.rest <= _AT_REST * found.pull:
        raise ValueError(
            f"The gradient at the landscape's minimum has norm {found.rest:.3g} where it should vanish: descend to a "
            "point where it does."
        )
    hessian = found.hessian
    symmetric = np.all(np.abs(hessian - hessian.T) <= 1e-4 * np.abs(hessian).max(initial=0))
    if not np.isfinite(hessian).all() or (potential and not symmetric):
        raise ValueError("The landscape's hessian() is not a symmetric matrix of finite numbers.")
    if not potential and hessian.size and (reason := why_unstable(-hessian)) is not None:
        raise ValueError(f"The drift comes to rest at a point that does not attract: {reason}.")
    if not np.all(found.beyond <= 1):
        raise ValueError(
            "The landscape's hessian() is not the derivative of its gradient at the minimum: give jax.jacfwd(gradient) "
            "there, or make the landscape by from_function."
        )


def _unit_rays(size: int, count: int, seed: int) -> np.ndarray:
    rays = np.random.default_rng(seed).normal(size=(size, count))
    return rays / np.linalg.norm(rays, axis=0)


def _basin_size(basin: Basin, minimum: Array) -> Array:
    """The least distance of the boundary along a few rays to both sides, by bisection; 1 where none is found."""
    if isinstance(basin, Attraction):
        return jnp.asarray(basin.near, minimum.dtype)
    rays = jnp.asarray(_unit_rays(minimum.shape[0], _RAYS // 2, 0), minimum.dtype)
    rays = jnp.concatenate([rays, -rays], axis=1)

    def inside(power: Array) -> Array:
        return basin.contains(column(minimum, rays) + 10.0**power * rays)

    low, high = (jnp.full(_RAYS, end, minimum.dtype) for end in _REACH)
    endless = inside(high)
    low, _ = bisected(inside, low, high, 10)
    size = jnp.where(endless, jnp.inf, 10.0**low).min()
    return jnp.where(jnp.isfinite(size), size, 1.0)


def _norm(x: Array) -> Array:
    return jnp.sqrt((x**2).sum(axis=0))


def _largest(x: Array) -> Array:
    """Of the finite ones."""
    return jnp.where(jnp.isfinite(x), x, 0).max()


def _shaped(value: Any, shape: tuple[int, ...], name: str) -> Array:
    if jnp.shape(value) != shape:
        raise ValueError(f"The landscape's {name} should have shape {shape}, got {jnp.shape(value)}.")
    return jnp.asarray(value, jnp.float64)


def _measured(landscape: Landscape, basin: Basin) -> _Probe:
    minimum = jnp.asarray(landscape.minimum, jnp.float64)
    size, dimension = _basin_size(basin, minimum), minimum.shape[0]
    x, ways = (jnp.asarray(_unit_rays(dimension, _POINTS, seed), minimum.dtype) for seed in (1, 2))
    x = size * jnp.linspace(0.1, 1, _POINTS) * x
    potential = has_potential(landscape)
    functions = (landscape.value, landscape.gradient) if potential else (landscape.gradient,)
    kinds = [jax.eval_shape(function, x).dtype for function in functions]
    eps = max(float(jnp.finfo(kind).eps) for kind in kinds)
    h = size * eps ** (1 / 3)

    def value(offset: Array) -> Array:
        name = f"value at points of shape {offset.shape}"
        return _shaped(landscape.value(minimum[:, None] + offset), offset.shape[1:], name)

    def gradient(*offsets: Array) -> list[Array]:
        places = np.cumsum([one.shape[1] for one in offsets])[:-1].tolist()
        points = minimum[:, None] + jnp.concatenate(offsets, axis=1)
        slopes = _shaped(landscape.gradient(points), points.shape, f"gradient at points of shape {points.shape}")
        return jnp.split(slopes, places, axis=1)

    (first,) = gradient(jnp.zeros((dimension, 1)))
    rest = _norm(first)
    towards = size * jnp.where(rest > 0, first / jnp.where(rest > 0, rest, 1), jnp.ones_like(first))
    hessian, vectors = jnp.zeros((0, 0)), jnp.zeros((dimension, 0))
    if dimension <= _WHOLE_HESSIAN:
        hessian = _shaped(landscape.hessian(), (dimension, dimension), "hessian()")
        vectors = _tested(hessian)
    offsets = [x, towards, -towards, h * vectors, -h * vectors, size * vectors, -size * vectors]
    slopes, up, down, *around = gradient(*offsets)
    if potential:
        heights = value(jnp.concatenate([x + h * ways, x - h * ways, x], axis=1)).reshape(3, _POINTS)
    else:  # there is no value to compare the drift with
        heights = jnp.broadcast_to(jnp.where(jnp.isnan(slopes).any(axis=0), jnp.nan, 0.0), (3, _POINTS))
        slopes = 0 * ways
    rise, along = (heights[0] - heights[1]) / (2 * h), (slopes * ways).sum(axis=0)
    # what rounds where F is steep or large may be far larger than F and its slope on a plateau; and F may be a small
    # difference of large numbers: then its second differences are rounding
    bends = jnp.abs(heights[0] - 2 * heights[2] + heights[1])
    rounding = jnp.where(jnp.isfinite(bends), bends, 0).mean()
    floor = 1e-6 * _largest(_norm(slopes)) + (100 * eps * _largest(jnp.abs(heights)) + 4 * rounding) / h
    off = _AGREE * jnp.maximum(jnp.abs(rise), jnp.abs(along)) + 1e-4 * _norm(slopes) + floor
    pull = jnp.nanmean(jnp.abs(((jnp.concatenate([up, down], axis=1) - first) * towards).sum(axis=0))) / size
    beyond = jnp.zeros(0) if vectors.size == 0 else _hessian_off(hessian @ vectors, first, around, h, size, eps)
    return _Probe(rise, along, off, jnp.isnan(heights[2]).sum(), rest[0], pull, hessian, beyond)


_compiled = interpreted(_measured)


def _tested(hessian: Array) -> Array:
    """Directions (d, n) to look at: the outermost eigenvectors and random ones, or all eigenvectors."""
    dimension = hessian.shape[0]
    vectors = jnp.linalg.eigh(jnp.where(jnp.isfinite(hessian), (hessian + hessian.T) / 2, 0))[1]
    if dimension <= _POINTS:
        return vectors
    random = jnp.asarray(_unit_rays(dimension, 4, 3), hessian.dtype)
    return jnp.concatenate([vectors[:, :6], vectors[:, -6:], random], axis=1)


def _hessian_off(product: Array, first: Array, slopes: list[Array], h: Array, size: Array, eps: float) -> Array:
    """How far H v is from the gradient's differences over h, to one side or the other, over what rounding and h make.

    `slopes` are the gradients at x* + h v, x* - h v, x* + size v and x* - size v.
    """
    above, below, *far = (slopes[0] - first) / h, (first - slopes[1]) / h, *slopes[2:]
    over = jnp.maximum(product - jnp.maximum(above, below), jnp.minimum(above, below) - product)
    most = jnp.maximum(_norm(product), jnp.maximum(_norm(above), _norm(below)))
    secant = jnp.nan_to_num(_norm(far[0] - far[1])) / (2 * size)
    rounding = 1e3 * eps * jnp.nan_to_num(jnp.abs(jnp.stack(far))).max() / h
    off, allowed = jnp.maximum(over.max(axis=0), 0), _AGREE * most + 1e-3 * secant + rounding
    return jnp.where(off == 0, 0, off / allowed)
