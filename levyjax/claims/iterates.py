"""Linear regression on a stream of Gaussian data: the step size gives the iterates a tail index of their own."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import brentq

from levyjax.arrays import materialized
from levyjax.claims.base import Claim, Interval, Outcome, Settings, Verdict, judge_value, shown
from levyjax.claims.figures.curves import points_on_curve
from levyjax.random import Counter, Stream, first_counter, run_key
from levyjax.stable import draw_words, normal
from levyjax.tails import critical_learning_rate, hill, iterate_tail_index

_SIZES = ((1, 1), (2, 5), (4, 1))  # batch size and dimension
_INDICES = (3.0, 2.0, 1.5, 1.2)  # the tail indices at whose learning rates it is run
_STEPS, _LANES = 400, 1 << 13
_LARGEST_PART = 100  # one in so many iterates counts as far out
_TOLERANCE, _OUTLIER = 0.05, 0.15


def learning_rate_of(alpha: float, batch_size: int, dimension: int) -> float:
    """The learning rate at which the iterates have this tail index: the inverse of `iterate_tail_index`.

    Example:
        >>> round(learning_rate_of(2.0, 2, 5), 6)
        0.5
    """
    middle = critical_learning_rate(batch_size, dimension)
    far = 0.3 * middle if alpha > 2 else 3 * middle
    if alpha == 2:
        return middle

    def off(learning_rate: float) -> float:
        try:
            return iterate_tail_index(learning_rate, batch_size, dimension) - alpha
        except ValueError:  # no stationary law
            return -alpha

    found: Any = brentq(off, *sorted((middle, far)), xtol=1e-5)
    return float(found)


@partial(jax.jit, static_argnames=("batch_size", "dimension"))
def _stream(counter: Counter, learning_rate: Any, batch_size: int, dimension: int) -> Float[Array, "d lanes"]:
    """x after the steps of x <- x - (eta/b) sum_i a_i (a_i'x - y_i), from 0, each lane with data of its own."""

    def step(index: Array, x: Array) -> Array:
        def datum(row: Array, pull: Array) -> Array:
            low = counter.low + (index * batch_size + row).astype(jnp.uint32)
            drawn = materialized(normal(draw_words(counter._replace(low=low), dimension + 1, Stream.NOISE, x.dtype)))
            residual = sum(drawn[j] * x[j] for j in range(dimension)) - drawn[dimension]
            return pull + drawn[:dimension] * residual

        pull = jax.lax.fori_loop(0, batch_size, datum, jnp.zeros_like(x))
        return x - learning_rate / batch_size * pull

    return jax.lax.fori_loop(0, _STEPS, step, jnp.zeros((dimension, counter.low.size), jnp.float32))


def distances(learning_rate: float, batch_size: int, dimension: int, count: int, seed: int) -> Float[np.ndarray, " n"]:
    """|x| of independent runs long after the start; y is independent of a, so that the regression's solution is 0."""
    parts = []
    for first in range(0, count, _LANES):
        counter = first_counter(run_key(seed), jnp.arange(first, first + _LANES, dtype=jnp.uint32))
        x = _stream(counter, jnp.float32(learning_rate), batch_size, dimension)
        parts.append(np.linalg.norm(np.asarray(x, np.float64), axis=0))
    return np.concatenate(parts)


def judge(ratio: Interval, each: list[Interval]) -> Verdict:
    """By the mean ratio, but undecided where a single one is clearly off."""
    outlier = any(low > 1 + _OUTLIER or high < 1 - _OUTLIER for low, high in each)
    verdict = judge_value(ratio, 1.0, _TOLERANCE)
    return "undecided" if outlier and verdict == "confirmed" else verdict


def tail_of_iterates(settings: Settings) -> Outcome:
    """Hill's index of |x| over independent runs against the root of E|(I - (eta/b) H) e_1|^alpha = 1."""
    count = settings.size(3 * _LANES, 64 * _LANES)
    kept = count // _LARGEST_PART if settings.quick else count // (4 * _LARGEST_PART)
    rows = []
    for b, d in _SIZES:
        for alpha in _INDICES:
            eta = learning_rate_of(alpha, b, d)
            seed = settings.seeds("X-regression")[len(rows)]
            rows.append((b, d, eta, alpha, hill(distances(eta, b, d, count, seed), num_tail=kept, center=False)))
    ratios = [found.alpha / alpha for *_, alpha, found in rows]
    each = [(found.interval[0] / alpha, found.interval[1] / alpha) for *_, alpha, found in rows]
    half = 1.96 / math.sqrt(kept * len(rows))
    mean = float(np.mean(ratios))
    at_two = {f"b = {b}, d = {d}": found.alpha for b, d, _, alpha, found in rows if alpha == 2}
    return Outcome(
        expected=1.0,
        measured=mean,
        ci95=(mean - half, mean + half),
        verdict=judge((mean - half, mean + half), each),
        finding=f"Over {len(rows)} settings with predicted indices from {min(_INDICES):g} to {max(_INDICES):g} Hill's "
        f"index of |x| is {shown(mean)} times the predicted one, each from {min(ratios):.3f} to {max(ratios):.3f}. At "
        f"eta = 2b/(b + d + 1), where it is 2 exactly, it is {', '.join(f'{v:.3f} ({n})' for n, v in at_two.items())}.",
        draw=lambda: _figure(rows),
        alt="Tail index of the iterates against the learning rate for three batch sizes and dimensions: points on the "
        "three falling curves of theory, which cross 2 at their critical learning rates.",
    )


def _figure(rows: list[tuple[int, int, float, float, Any]]) -> Any:
    axes: Any = None
    for b, d in _SIZES:
        mine = [row for row in rows if row[:2] == (b, d)]
        etas = [eta for _, _, eta, *_ in mine]
        curve = np.linspace(min(etas) * 0.93, max(etas) * 1.03, 25)
        law = [iterate_tail_index(float(eta), b, d) for eta in curve]
        found = [row[-1] for row in mine]
        axes = points_on_curve(
            etas, [one.alpha for one in found], [one.interval for one in found], (curve, law),
            label=f"b = {b}, d = {d}", ax=axes,
        )  # fmt: skip
    axes.axhline(2, color="0.5", linewidth=0.8, zorder=0)
    axes.set(xlabel=r"learning rate $\eta$", ylabel=r"tail index of $|x|$", ylim=(0.8, 4.0))
    return axes


CLAIMS = (
    Claim(
        "X-regression",
        "On Gaussian data SGD's iterates have a power tail, of the index that solves E|(I - (eta/b) H) e_1|^alpha = 1.",
        "Gürbüzbalaban, Simsekli and Zhu 2021, theorem 2 and proposition 5",
        f"The mean ratio of Hill's index to the predicted one over twelve settings is compared with 1, tolerance "
        f"{_TOLERANCE}; undecided instead of confirmed if a single ratio's interval is {_OUTLIER} off.",
        tail_of_iterates,
    ),
)
