"""Tail-index estimators on stable samples: bias, error, coverage and time, beside the Cramér-Rao bound."""

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import binomtest, levy_stable

from levyjax import tails

ALPHAS = (1.1, 1.2, 1.5, 1.8, 1.9, 1.95, 2.0)
SIZES = (1_000, 10_000)
BOUND = {1.0: 1.103, 1.2: 1.325, 1.5: 1.535, 1.8: 1.383, 1.9: 1.127, 1.95: 0.884}
"""sqrt(n) times the standard deviation of an efficient estimator of alpha, location and scale unknown."""
TIMED = 5  # samples of which the median time is taken


def samples(alpha: float, n: int, repeats: int) -> Iterator[np.ndarray]:
    """Independent samples of the symmetric stable law, the same for every method."""
    for repeat in range(repeats):
        seed = np.random.default_rng([round(1000 * alpha), n, repeat])
        yield levy_stable.rvs(alpha, 0.0, size=n, random_state=seed)


def study(method: str, alpha: float, n: int, repeats: int) -> dict[str, Any]:
    """One method on many samples."""
    found, ends, seconds = [], [], []
    for values in samples(alpha, n, repeats):
        began = time.perf_counter()
        estimate = tails.estimate(values, method)
        seconds.append(time.perf_counter() - began)
        found.append(estimate.alpha)
        ends.append(estimate.interval)
    low, high = np.array(ends).T
    errors = np.array(found) - alpha
    covered = int(((low <= alpha) & (alpha <= high)).sum())
    finite = np.isfinite(errors)
    error = math.sqrt(float((errors[finite] ** 2).mean())) if finite.any() else math.inf
    return {
        "method": method,
        "alpha": alpha,
        "n": n,
        "repeats": repeats,
        "bias": float(errors[finite].mean()) if finite.any() else math.inf,
        "rms_error": error,
        "sqrt_n_error": math.sqrt(n) * error,
        "bound": BOUND.get(alpha),
        "coverage": covered / repeats,
        "coverage95": list(binomtest(covered, repeats).proportion_ci(method="wilson")),
        "infinite": int((~finite).sum()),
        "milliseconds": 1e3 * float(np.median(seconds)),
    }


def run(quick: bool) -> dict[str, Any]:
    """A row for each method, index and size; maximum likelihood at n = 10,000 on twice as many samples."""
    alphas, sizes, repeats = ((1.5,), (1_000,), 50) if quick else (ALPHAS, SIZES, 1_000)
    rows = []
    for method in tails.METHODS:
        for n in sizes:
            count = 2 * repeats if method == "maximum_likelihood" and n == max(SIZES) else repeats
            rows += [study(method, alpha, n, count) for alpha in alphas]
    return {"rows": rows, "quick": quick}
