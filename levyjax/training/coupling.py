"""Coupling of examples: whether a loss is the mean of its examples' own, by its values on a few of them."""

import functools
from typing import Any

import jax
import numpy as np

from levyjax.training.examples import batch_size, taken
from levyjax.training.objective import Objective

_DRAWS = 16  # of a loss that draws, to tell a sum from a mean
_SAME = 1e-4  # relative difference of losses that are taken for the same
_MANY, _SUM = 5.0, 0.25  # standard errors; relative difference from twice the loss


def couples(objective: Objective, examples: Any) -> bool:
    """Whether the examples of a mini-batch change each other's losses, as batch statistics make them.

    Args:
        objective: the loss.
        examples: a few, two or more.
    """
    half = batch_size(examples) // 2
    first, second = np.arange(half), np.arange(half, 2 * half)
    index = np.zeros(1, np.int32)

    def of(*rows: np.ndarray) -> np.ndarray:
        batch = taken(examples, np.concatenate(rows))
        found = _values(objective.form, objective.vector, objective.arrays, batch, index)[0]
        return np.asarray(found, np.float64)

    one = of(first, second)
    if objective.each:
        return _differ(one[:half], of(first, np.zeros_like(first))[:half], one)
    if objective.draws:  # the masks of a mini-batch have its mean alone in common
        return True
    return _differ(one, (of(first, first) + of(second, second)) / 2, one)


def check_mean(objective: Objective, examples: Any, coupled: bool) -> None:
    """Refuse a loss that is a sum over its examples: given twice, they have the same mean.

    Args:
        objective: the loss.
        examples: a few, one or more.
        coupled: whether they change each other's losses: it may then change somewhat.

    Raises:
        ValueError: it doubles, or changes without a reason.
    """
    if objective.each:
        return
    rows = np.arange(max(1, batch_size(examples) // 2))
    indices = np.arange(_DRAWS if objective.draws else 1, dtype=np.int32)
    try:
        once, twice = (
            np.asarray(_values(objective.form, objective.vector, objective.arrays, taken(examples, part), indices))
            for part in (rows, np.concatenate([rows, rows]))
        )
    except Exception:  # a model of one batch size
        return
    once, twice = once.astype(np.float64), twice.astype(np.float64)
    if not (np.isfinite(once).all() and np.isfinite(twice).all()):
        return
    more, mean = (twice - once).mean(), once.mean()
    error = (twice - once).std() / np.sqrt(len(indices))
    doubles = abs(more) > _MANY * error and abs(more - mean) < _SUM * abs(mean)
    if doubles or (not coupled and _differ(once, twice, once)):
        raise ValueError(
            f"the loss goes from {once.mean():.3g} to {twice.mean():.3g} where the examples are given twice: it is "
            "their sum. Give their mean, or the loss of each."
        )


@functools.partial(jax.jit, static_argnums=0)
def _values(form: Any, vector: jax.Array, arrays: Any, batch: Any, indices: jax.Array) -> jax.Array:
    return jax.lax.map(lambda index: form(vector, arrays, batch, index), indices)


def _differ(one: np.ndarray, other: np.ndarray, scale: np.ndarray) -> bool:
    if not np.isfinite(np.concatenate([np.ravel(part) for part in (one, other, scale)])).all():
        return False  # refused with the gradients, which are not finite either
    return bool(np.abs(one - other).max() > _SAME * np.abs(scale).max())
