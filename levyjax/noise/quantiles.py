"""Draws of any symmetric law by its quantiles: a table made once, and no rejection, so that a draw is its counter's."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.stable.elementary import exp2, minus_log2_uniform
from levyjax.stable.variates import Words, angle_uniform, attach_sign

_NODES = 1024
_SPAN = 64.0  # in units of log 2: no draw has a smaller probability to be exceeded
_BISECTIONS = 50


class Quantiles(NamedTuple):
    """The size |Z| of a symmetric variate as a function of t, the probability to exceed it, down to t = least.

    The values are log2(|Z|/(1 - t)) at equal steps of -log2 t from 0 to `span`: a smooth curve, which is a straight
    line where the tail is a power.
    """

    values: Any  # (nodes,)
    span: Any
    least: Any


def tabulate(log_survival: Callable[[np.ndarray], np.ndarray], density: float, bound: float, least: float) -> Quantiles:
    """The quantiles of a symmetric law, conditioned on |Z| <= bound.

    Args:
        log_survival: log P(|Z| > z) of the law without a bound, for z > 0.
        density: of Z at 0.
        bound: largest |Z|; may be infinite.
        least: P(|Z| > bound).
    """
    span = min(-math.log2(least), _SPAN) if least > 0 else _SPAN
    levels = np.linspace(0, span, _NODES)
    low = np.full(_NODES - 1, -200.0)
    high = np.full(_NODES - 1, math.log(bound) if math.isfinite(bound) else 200.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        beyond = -log_survival(np.exp(middle)) / math.log(2) > levels[1:]
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    values = high / math.log(2) - np.log2(-np.expm1(-levels[1:] * math.log(2)))
    return Quantiles(np.concatenate([[-math.log2(2 * density)], values]), np.asarray(span), np.asarray(least))


def by_quantile(bits: Words, table: Quantiles) -> Float[Array, "..."]:
    """A variate from its random words; its tail has the precision of 39 bits with a true exponent (63 in float64)."""
    part, rest = angle_uniform(bits)
    below = (1 - table.least) * rest  # 1 - t
    level = minus_log2_uniform(table.least + (1 - table.least) * part, below)
    count = table.values.shape[0]
    position = jnp.minimum(level / table.span, 1) * (count - 1)
    first = jnp.clip(position.astype(jnp.int32) - 1, 0, count - 4)
    x = position - first.astype(position.dtype) - 1  # the four nodes are at -1, 0, 1, 2
    v0, v1, v2, v3 = (table.values[first + j] for j in range(4))
    cubic = (
        -v0 * x * (x - 1) * (x - 2) / 6
        + v1 * (x + 1) * (x - 1) * (x - 2) / 2
        - v2 * (x + 1) * x * (x - 2) / 2
        + v3 * (x + 1) * x * (x - 1) / 6
    )
    return attach_sign(below * exp2(cubic), bits[0])
