"""The far tail of the float32 sampler, counted: at least 1e9 draws against the law at P = 1e-3 ... 1e-8.

python benchmarks/tail_counts.py [--draws 1e9] [--alpha 1.5]
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from common import save
from scipy.special import gamma, gammaln
from scipy.stats import binomtest

from levyjax import stable

BLOCK = 1 << 22


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=float, default=1e9)
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.8, 1.2, 1.5, 1.8])
    arguments = parser.parse_args()
    probabilities = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
    rows = []
    for place, alpha in enumerate(arguments.alpha):
        levels = jnp.asarray([level(p, alpha) for p in probabilities], jnp.float32)

        @jax.jit
        def count(key, alpha, levels):
            draws = jnp.abs(stable.sample(key, alpha, (BLOCK,)))
            return (draws[None] > levels[:, None]).sum(axis=1)

        total, blocks = np.zeros(len(probabilities), np.int64), -(-int(arguments.draws) // BLOCK)
        for block in range(blocks):
            total += np.asarray(count(jax.random.fold_in(jax.random.key(place), block), jnp.float32(alpha), levels))
        for p, found in zip(probabilities, total.tolist(), strict=True):
            test = binomtest(found, blocks * BLOCK, p)
            low, high = test.proportion_ci()
            rows.append(
                {
                    "alpha": alpha,
                    "probability": p,
                    "draws": blocks * BLOCK,
                    "found": found,
                    "over_expected": found / (p * blocks * BLOCK),
                    "ci95": [low / p, high / p],
                    "pvalue": test.pvalue,
                }
            )
            print(
                f"alpha {alpha}  P {p:.0e}  found/expected {rows[-1]['over_expected']:.4f}  p-value {test.pvalue:.3f}"
            )
    print(save("tail_counts", {"rows": rows, "dtype": "float32"}))


if __name__ == "__main__":
    main()
