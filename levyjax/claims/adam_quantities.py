"""Assumption 2 of Zhou et al. along a run of Adam, and the condition of their Theorem 1 on the noise level.

Two times are about. Adam's own unit is the iteration; the SDE's is t = learning_rate x iterations, in which the
averages forget at the rates (1 - beta)/learning_rate, and not at beta as the SDE is written.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.datasets import Result, along
from levyjax.training.batches import draw_batches
from levyjax.training.curvature import mean_loss
from levyjax.training.gradients import Losses, batch_gradient

_SETTINGS = ("learning_rate", "beta1", "beta2", "epsilon")
_BATCHES = 3  # stream of random numbers beside the seed


@dataclasses.dataclass(frozen=True, eq=False)
class AdamQuantities(Result):
    """What Assumption 2 speaks of, after each update of Adam; "noise-free" is the run on full gradients (the hat).

    Attributes:
        learning_rate: of the run.
        beta1: of the averaged gradient.
        beta2: of the averaged square.
        epsilon: in the denominator.
        loss: (n,), over all examples.
        gradient: (n,), |grad F| at Adam's own iterates.
        free_gradient: (n,), |grad F| at the noise-free ones.
        free_loss: (n,), their loss.
        momentum: (n,), |m|, m the average of full gradients at Adam's iterates, as in the SDE.
        free_momentum: (n,), |m hat|.
        gap: (n,), |m - m hat|.
        gap_sum: (n,), |sum of (m - m hat) over iterations|.
        descent: (n,), <grad F/(1 + F), mu Q^-1 m>.
        smallest_root: (n,), the least sqrt(v_i).
        largest_root: (n,), the largest sqrt(v_i).
        parameters: (d,), at the end.
        free_parameters: (d,), of the noise-free run at its end.
    """

    _dims = along(
        {
            "iteration": "loss gradient free_gradient free_loss momentum free_momentum gap gap_sum descent "
            "smallest_root largest_root",
            "parameter": "parameters free_parameters",
        }
    )

    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    loss: Float[np.ndarray, " n"]
    gradient: Float[np.ndarray, " n"]
    free_gradient: Float[np.ndarray, " n"]
    free_loss: Float[np.ndarray, " n"]
    momentum: Float[np.ndarray, " n"]
    free_momentum: Float[np.ndarray, " n"]
    gap: Float[np.ndarray, " n"]
    gap_sum: Float[np.ndarray, " n"]
    descent: Float[np.ndarray, " n"]
    smallest_root: Float[np.ndarray, " n"]
    largest_root: Float[np.ndarray, " n"]
    parameters: Float[np.ndarray, " d"]
    free_parameters: Float[np.ndarray, " d"]


@dataclasses.dataclass(frozen=True)
class Assumption2(Result):
    """The constants that a run allows, and which parts of the assumption it meets.

    Attributes:
        tau: the least |m hat|/|grad F| of the noise-free run.
        tau_m: the largest |m - m hat|/|sum of (m - m hat)|, per iteration; 1/learning_rate times this in SDE time.
        v_min: the least sqrt(v_i); 0 where a coordinate is dead.
        v_max: the largest sqrt(v_i).
        least_descent: the least running mean of <grad F/(1 + F), mu Q^-1 m>.
        descends: whether the integral of that is never negative.
        betas_ordered: whether beta1 <= beta2 <= 2 beta1, the betas being taken for the rates, as in the paper.
        rates: (1 - beta)/learning_rate of both, the rates that Adam has in SDE time.
        rates_ordered: whether the first <= the second <= 2 x the first.
    """

    _dims = along({"beta": "rates"})

    tau: float
    tau_m: float
    v_min: float
    v_max: float
    least_descent: float
    descends: bool
    betas_ordered: bool
    rates: tuple[float, float]
    rates_ordered: bool


def adam_quantities(
    losses: Losses,
    parameters: Any,
    x: Any,
    y: Any,
    *,
    iterations: int,
    learning_rate: float = 1e-3,
    batch_size: int = 32,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    seed: int = 0,
) -> AdamQuantities:
    """Runs Adam on mini-batches, and beside it from the same start without noise, and keeps Assumption 2's quantities.

    The noise-free run is Adam on full gradients. (The supplement's Eq. 9 puts mini-batch gradients into its v and full
    ones into its m: a parameter that the first mini-batch does not reach has v = 0 there, and its first step is of
    the size of its gradient over epsilon.) Two full gradients are taken an iteration, in one compiled loop.

    Args:
        losses: (parameters, x, y) -> loss of each example, such as `FlatModel.losses`.
        parameters: the start, (d,).
        x: all examples.
        y: their labels.
        iterations: updates.
        learning_rate: of Adam.
        batch_size: at most the number of examples; mini-batches are drawn without repetition in themselves.
        beta1: of the averaged gradient.
        beta2: of the averaged square.
        epsilon: in the denominator.
        seed: of the mini-batches.

    Returns:
        The quantities.

    Raises:
        ValueError: no iteration, a batch size that does not fit, or a run that diverges.

    Source:
        Zhou et al. 2020, Assumption 2 and Figure 2.

    Example:
        >>> def losses(w, x, y):
        ...     return (x @ w - y) ** 2
        >>> x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
        >>> found = adam_quantities(losses, jnp.zeros(2), x, x @ np.ones(2, np.float32), iterations=100, batch_size=5)
        >>> found.loss.shape, assumption2(found).betas_ordered, assumption2(found).rates_ordered
        ((100,), True, False)
    """
    if iterations < 1 or not 1 <= batch_size <= len(y):
        raise ValueError(
            f"{iterations} iterations with mini-batches of {batch_size} of {len(y)} examples do not fit. Give 1 or "
            f"more, of 1 to {len(y)}."
        )
    point, x, y = jnp.asarray(parameters), jnp.asarray(x), jnp.asarray(y)
    batches = draw_batches(len(y), batch_size, iterations, [seed, _BATCHES])
    settings: tuple[Any, ...] = tuple(float(value) for value in (learning_rate, beta1, beta2, epsilon))
    rows, (end, free_end) = _run(losses, settings, point, x, y, jnp.asarray(batches))
    columns: dict[str, Any] = {name: np.asarray(values, np.float64) for name, values in rows.items()}
    if not all(np.isfinite(column).all() for column in columns.values()):
        raise ValueError(f"Adam at learning rate {learning_rate:g} leaves the finite numbers. Give a smaller one.")
    ends: dict[str, Any] = {"parameters": np.asarray(end), "free_parameters": np.asarray(free_end)}
    return AdamQuantities(**dict(zip(_SETTINGS, settings, strict=True)), **columns, **ends)


def assumption2(quantities: AdamQuantities, skip: int = 0) -> Assumption2:
    """The constants of Assumption 2 that a run allows.

    Args:
        quantities: of `adam_quantities`.
        skip: iterations to leave out at the beginning, when both averages still grow from 0; the integrals are over
            the whole run all the same.

    Returns:
        The constants, each the worst over the run.

    Raises:
        ValueError: nothing is left.

    Source:
        Zhou et al. 2020, Assumption 2.
    """
    count = len(quantities.loss)
    if not 0 <= skip < count:
        raise ValueError(f"skip {skip} leaves nothing of {count} iterations. Give from 0 to {count - 1}.")
    kept = slice(skip, None)
    ratio = _ratio(quantities.gap, quantities.gap_sum)[kept]
    descent = np.cumsum(quantities.descent) / np.arange(1, count + 1)
    rates = tuple((1 - beta) / quantities.learning_rate for beta in (quantities.beta1, quantities.beta2))
    return Assumption2(
        tau=float(_ratio(quantities.free_momentum, quantities.free_gradient)[kept].min()),
        tau_m=float(ratio[np.isfinite(ratio)].max(initial=0.0)),
        v_min=float(quantities.smallest_root[kept].min()),
        v_max=float(quantities.largest_root[kept].max()),
        least_descent=float(descent[kept].min()),
        descends=bool((descent[kept] >= 0).all()),
        betas_ordered=quantities.beta1 <= quantities.beta2 <= 2 * quantities.beta1,
        rates=(rates[0], rates[1]),
        rates_ordered=rates[0] <= rates[1] <= 2 * rates[0],
    )


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """inf where there is something above and nothing below, 1 where there is nothing at all."""
    fallback = np.where(above > 0, np.inf, 1.0)
    return np.divide(above, below, out=fallback, where=below > 0)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(losses: Losses, settings: tuple[float, ...], start: Array, x: Array, y: Array, batches: Array):
    rate, beta1, beta2, epsilon = settings
    full = jax.value_and_grad(mean_loss(losses, x, y))

    def averaged(old: Array, new: Array, beta: float) -> Array:
        return beta * old + (1 - beta) * new

    def update(carry: Any, step: tuple[Array, Array]) -> tuple[Any, dict[str, Array]]:
        (point, used, m, v), (free, free_m, free_v), gap_sum = carry
        rows, k = step
        own = batch_gradient(losses, point, x, y, rows)
        (height, slope), (free_height, free_slope) = full(point), full(free)
        used, m, v = averaged(used, own, beta1), averaged(m, slope, beta1), averaged(v, own**2, beta2)
        free_m, free_v = averaged(free_m, free_slope, beta1), averaged(free_v, free_slope**2, beta2)
        mu, omega = 1 / (1 - beta1 ** (k + 1)), 1 / (1 - beta2 ** (k + 1))
        scale, free_scale = (jnp.sqrt(omega * square) + epsilon for square in (v, free_v))
        gap_sum = gap_sum + (m - free_m)
        row = {
            "loss": height,
            "gradient": _norm(slope),
            "free_gradient": _norm(free_slope),
            "free_loss": free_height,
            "momentum": _norm(m),
            "free_momentum": _norm(free_m),
            "gap": _norm(m - free_m),
            "gap_sum": _norm(gap_sum),
            "descent": mu * jnp.vdot(slope, m / scale) / (1 + height),
            "smallest_root": jnp.sqrt(v.min()),
            "largest_root": jnp.sqrt(v.max()),
        }
        point, free = point - rate * mu * used / scale, free - rate * mu * free_m / free_scale
        return ((point, used, m, v), (free, free_m, free_v), gap_sum), row

    zero = jnp.zeros_like(start)
    carry = (start, zero, zero, zero), (start, zero, zero), zero
    steps = jnp.arange(len(batches), dtype=start.dtype)
    ((point, *_), (free, *_), _), rows = jax.lax.scan(update, carry, (batches, steps))
    return rows, (point, free)


def _norm(vector: Array) -> Array:
    return jnp.sqrt(jnp.vdot(vector, vector))
