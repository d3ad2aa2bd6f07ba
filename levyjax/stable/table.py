"""Many points of one symmetric law: its logarithms as Chebyshev series in log|x| on panels, from the exact integral.

log f, log P(X > x) and their derivatives in alpha are computed by `levyjax.stable.contour` at the Chebyshev nodes of
each panel and interpolated there. What limits a panel's width is how near the logarithm's singularities are:
* the law is analytic for |arg x| < pi/2 (the integral turns with x up to pi/(2 alpha)), so panels of width 1 in log x
  have their nearest singularity pi/2 off: an interval of half-width 1/2 with rho = 6, and 6^-17 = 6e-14;
* near alpha = 2 the density is exp(-x^2/4) plus a small power of x, which cancel at complex x with Im x^2/4 = pi, so
  panels have width 6 in x^2 (rho = 8) up to x^2 = 304, where even 2 - alpha = 1e-16 has made the tail a power;
* beyond, panels reach from log x to 1.4 log x: log f is linear in log x up to powers of x^-alpha.
Below x = 1e-13 the law is constant to 1e-16 for alpha >= 0.3.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_SIZES = {  # nodes a panel, log x of the first edge, width in x^2 of the core's panels and ratio of the far ones
    "float32": (9, -16.0, 6.0, 1.4),
    "float64": (17, -30.0, 6.0, 1.4),
}
_COARSE = (9, -9.0, 12.0, 2.0)  # to 1e-6, for fits
_FEW = 4096  # points for which the panels' own nodes would cost as much as the points


@functools.cache
def _panels(dtype: str, n: int, start: float, width: float, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges in log x, the nodes (panels, n) and the matrix from values there to Chebyshev coefficients."""
    last = math.log(float(np.finfo(dtype).max))
    inner = np.linspace(start, math.log(0.35), math.ceil(-start))
    middle = np.linspace(math.log(0.35), math.log(2.0), 4)[1:]
    core = np.log(np.arange(4.0, 306.0, width)[1:]) / 2
    outer = core[-1] + np.cumsum([0.1, 0.2, 0.4, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8])
    far = outer[-1] * ratio ** np.arange(1, math.ceil(math.log(last / outer[-1], ratio)) + 1)
    edges = np.concatenate([inner, middle, core, outer, np.minimum(far, last)])
    s = np.cos(math.pi * (np.arange(n) + 0.5) / n)
    nodes = (edges[1:, None] + edges[:-1, None]) / 2 + (edges[1:, None] - edges[:-1, None]) / 2 * s
    to_chebyshev = np.cos(math.pi / n * np.outer(np.arange(n), np.arange(n) + 0.5)) * 2 / n
    to_chebyshev[0] /= 2
    return edges, nodes, to_chebyshev


def worthwhile(number: int) -> bool:
    """Whether so many points of one law are made faster by a table."""
    return number >= _FEW


def _bend(log_size: Any) -> Any:
    """log(1 + x^2)/2."""
    return jnp.maximum(log_size, 0) + jnp.log1p(jnp.exp(-2 * jnp.abs(log_size))) / 2


def interpolate(logarithm: Callable[[Array], Any], size: Array, power: Any) -> tuple[Array, Array]:
    """A function of the law and its logarithm at many sizes |x|, from logarithms at a table's nodes.

    Args:
        logarithm: takes positive points, gives the values there.
        size: |x|, any shape.
        power: of the tail; (1 + x^2)^(-power/2) is taken out, so that rounding does not grow with the logarithm.

    Returns:
        Logarithms at `size`, and their exponentials, without the rounding that a large logarithm would bring.
    """
    dtype = size.dtype
    edges, nodes, matrix = _panels(str(dtype), *_SIZES[str(dtype)])
    values = logarithm(jnp.asarray(np.exp(nodes), dtype))
    values = jnp.maximum(values, -math.sqrt(float(jnp.finfo(dtype).max)))
    values = values + power * _bend(jnp.asarray(nodes, dtype))
    rows = jnp.dot(values, jnp.asarray(matrix.T, dtype), precision="highest").T
    u, index, s, _ = _place(size, edges)
    rest = _clenshaw(rows, index, s)[0]
    bounded = rest - power * jnp.log1p(jnp.exp(-2 * jnp.abs(u))) / 2
    return rest - power * _bend(u), jnp.exp(bounded) * jnp.maximum(size, 1) ** -power


def _place(size: Array, edges: np.ndarray) -> tuple[Array, Array, Array, Array]:
    """log x, the panel's number, the place in (-1, 1) there and the panel's half-width."""
    dtype = size.dtype
    u = jnp.log(jnp.clip(size, math.exp(edges[0]), float(np.finfo(dtype).max)))
    ends = jnp.asarray(edges, dtype)
    index = jnp.clip(jnp.searchsorted(ends, u, side="right") - 1, 0, len(edges) - 2)
    low, high = ends[index], ends[index + 1]
    return u, index, jnp.clip((2 * u - low - high) / (high - low), -1, 1), (high - low) / 2


def _clenshaw(rows: Array, index: Array, s: Array) -> tuple[Array, Array]:
    """A Chebyshev series and its derivative in s, each point with its own panel's coefficients."""
    b1 = b2 = d1 = d2 = jnp.zeros_like(s)
    for row in rows[:0:-1]:
        d1, d2 = 2 * s * d1 - d2 + 2 * b1, d1
        b1, b2 = 2 * s * b1 - b2 + row[index], b1
    return s * b1 - b2 + rows[0][index], s * d1 - d2 + b1


def with_slopes(
    logarithm: Callable[[Array], tuple[Array, Array]], size: Array, power: Any
) -> tuple[Array, Array, Array]:
    """A logarithm of the law and its derivatives in |x| and in a parameter, from both at the nodes of a coarse table.

    Args:
        logarithm: takes positive points, gives the values there and their derivatives in the parameter.
        size: |x|, any shape.
        power: as for `interpolate`.

    Returns:
        Values, derivatives in |x|, derivatives in the parameter.
    """
    dtype = size.dtype
    edges, nodes, matrix = _panels(str(dtype), *_COARSE)
    values, changes = logarithm(jnp.asarray(np.exp(nodes), dtype))
    values = jnp.maximum(values, -1e6) + power * _bend(jnp.asarray(nodes, dtype))
    to_rows = jnp.asarray(matrix.T, dtype)
    u, index, s, half = _place(size, edges)
    value, slope = _clenshaw(jnp.dot(values, to_rows, precision="highest").T, index, s)
    change, _ = _clenshaw(jnp.dot(jnp.clip(changes, -1e6, 1e6), to_rows, precision="highest").T, index, s)
    share = jax.nn.sigmoid(2 * u)  # x^2/(1 + x^2)
    return value - power * _bend(u), (slope / half - power * share) * jnp.exp(-u), change
