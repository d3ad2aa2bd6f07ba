"""The far tail of the float32 sampler, counted: 1e9 draws against the law at P = 1e-3 ... 1e-8."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gamma, gammaln
from scipy.stats import binomtest

from levyjax import stable

BLOCK = 1 << 22
ALPHAS = (0.8, 1.2, 1.5, 1.8)
PROBABILITIES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def tail_probability(x: np.ndarray, alpha: float) -> np.ndarray:
    """P(|X| > x) by the tail series; its terms shrink fast where x^alpha is large."""
    k = np.arange(1, 30)[:, None]
    signs = (-1.0) ** (k + 1) * np.sin(k * np.pi * alpha / 2)
    return 2 / np.pi * (signs * np.exp(gammaln(k * alpha) - gammaln(k + 1)) * x ** (-k * alpha))[:12].sum(axis=0)


def level(probability: float, alpha: float) -> float:
    """x with P(|X| > x) = probability, to rounding."""
    x = (2 * gamma(alpha) * np.sin(np.pi * alpha / 2) / np.pi / probability) ** (1 / alpha)
    for _ in range(60):
        x *= float((tail_probability(np.array([x]), alpha)[0] / probability) ** (1 / alpha))
    return x


@jax.jit
def beyond(key: jax.Array, alpha: jax.Array, levels: jax.Array) -> jax.Array:
    """How many of a block of draws lie beyond each level."""
    draws = jnp.abs(stable.sample(key, alpha, (BLOCK,)))
    return (draws[None] > levels[:, None]).sum(axis=1)


def counts(place: int, alpha: float, blocks: int) -> np.ndarray:
    """The same for many blocks; the place in the list of alphas is the seed."""
    levels = jnp.asarray([level(p, alpha) for p in PROBABILITIES], jnp.float32)
    total = np.zeros(len(PROBABILITIES), np.int64)
    for block in range(blocks):
        total += np.asarray(beyond(jax.random.fold_in(jax.random.key(place), block), jnp.float32(alpha), levels))
    return total


def run(quick: bool, draws: float = 1e9) -> dict[str, Any]:
    """A row for each alpha and probability, with the exact 95% interval of the ratio."""
    blocks = 4 if quick else -(-int(draws) // BLOCK)
    rows = []
    for place, alpha in enumerate(ALPHAS[::2] if quick else ALPHAS):
        for p, found in zip(PROBABILITIES, counts(place, alpha, blocks).tolist(), strict=True):
            test = binomtest(found, blocks * BLOCK, p)
            low, high = test.proportion_ci()
            size = {"alpha": alpha, "probability": p, "draws": blocks * BLOCK, "found": found}
            ratio = {"over_expected": found / (p * blocks * BLOCK), "ci95": [low / p, high / p]}
            rows.append({**size, **ratio, "pvalue": float(test.pvalue)})
    return {"rows": rows, "dtype": "float32", "quick": quick}
