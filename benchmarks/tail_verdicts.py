"""The verdict of the audit on laws whose answer is known."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import levy_stable

from levyjax import tails

Draw = Callable[[np.random.Generator, int], np.ndarray]


def _stable(alpha: float, beta: float = 0.0) -> Draw:
    return lambda rng, n: levy_stable.rvs(alpha, beta, size=n, random_state=rng)


def _pareto(index: float) -> Draw:
    return lambda rng, n: rng.choice([-1.0, 1.0], n) * rng.random(n) ** (-1 / index)


def _student(nu: float) -> Draw:
    return lambda rng, n: rng.standard_t(nu, n)


def _lognormal_scales(tau: float) -> Draw:
    return lambda rng, n: np.exp(tau * rng.normal(size=n)) * rng.normal(size=n)


def _contaminated(part: float, ratio: float) -> Draw:
    return lambda rng, n: rng.normal(size=n) * np.where(rng.random(n) < part, ratio, 1.0)


def _layers(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.geomspace(1e-3, 1, 10).repeat(n // 10) * rng.normal(size=n // 10 * 10)


def _correlated(rng: np.random.Generator, n: int) -> np.ndarray:
    noise = rng.normal(size=n)
    for j in range(1, n):
        noise[j] += 0.5 * noise[j - 1]
    return noise


LAWS: dict[str, tuple[str, Draw]] = {
    "stable 1.3": ("stable", _stable(1.3)),
    "stable 1.6": ("stable", _stable(1.6)),
    "stable 1.9": ("stable", _stable(1.9)),
    "Pareto 1.2": ("heavy_tailed", _pareto(1.2)),
    "Student t 1.5": ("heavy_tailed", _student(1.5)),
    "Student t 2.5": ("finite_variance", _student(2.5)),
    "Student t 3": ("finite_variance", _student(3.0)),
    "Student t 5": ("finite_variance", _student(5.0)),
    "Laplace": ("finite_variance", lambda rng, n: rng.laplace(size=n)),
    "lognormal scales 0.5": ("finite_variance", _lognormal_scales(0.5)),
    "lognormal scales 1": ("finite_variance", _lognormal_scales(1.0)),
    "Gaussian": ("finite_variance", lambda rng, n: rng.normal(size=n)),
    "Gaussian, 5% at five times the scale": ("finite_variance", _contaminated(0.05, 5.0)),
    "ten Gaussian layers": ("finite_variance", _layers),
    "ten Gaussian layers, shuffled": ("finite_variance", lambda rng, n: rng.permutation(_layers(rng, n))),
}
"""Law -> (verdict, sampler): the laws that the audit has to get right at n = 10,000."""

FURTHER: dict[str, tuple[str, Draw]] = {
    "stable 0.8": ("stable", _stable(0.8)),
    "stable 1.1": ("stable", _stable(1.1)),
    "Cauchy": ("stable", lambda rng, n: rng.standard_cauchy(n)),
    "stable 1.97": ("stable", _stable(1.97)),
    "stable 1.5, skewed": ("stable", _stable(1.5, 0.7)),
    "Pareto 1.8": ("heavy_tailed", _pareto(1.8)),
    "Pareto 2.5": ("finite_variance", _pareto(2.5)),
    "Student t 1.2": ("heavy_tailed", _student(1.2)),
    "Student t 2.2": ("finite_variance", _student(2.2)),
    "uniform": ("finite_variance", lambda rng, n: rng.random(n)),
    "Gaussian rounded to a tenth": ("finite_variance", lambda rng, n: np.round(rng.normal(size=n), 1)),
    "stable 1.5 rounded to a tenth": ("stable", lambda rng, n: np.round(_stable(1.5)(rng, n), 1)),
    "Poisson": ("finite_variance", lambda rng, n: rng.poisson(3.0, n).astype(float)),
    "AR(1) 0.5, Gaussian": ("finite_variance", _correlated),
    "common factor within rows": (
        "finite_variance",
        lambda rng, n: rng.normal(size=(n // 100, 100)) + 0.5 * rng.normal(size=(n // 100, 1)),
    ),
    "stable 1.5 columns of many scales": (
        "stable",
        lambda rng, n: _stable(1.5)(rng, n).reshape(-1, 100) * np.exp(rng.normal(size=100)),
    ),
    "Gaussian around 7": ("finite_variance", lambda rng, n: 7 + rng.normal(size=n)),
    "Gaussian, 60% exact zeros": ("finite_variance", lambda rng, n: rng.normal(size=n) * (rng.random(n) > 0.6)),
    "exponential": ("finite_variance", lambda rng, n: rng.exponential(size=n)),
    "lognormal": ("finite_variance", lambda rng, n: rng.lognormal(size=n)),
    "lognormal scales 2": ("finite_variance", _lognormal_scales(2.0)),
    "Gaussian, 1% at a hundred times the scale": ("finite_variance", _contaminated(0.01, 100.0)),
    "stable 1.5 clipped at 20": ("finite_variance", lambda rng, n: np.clip(_stable(1.5)(rng, n), -20, 20)),
}
"""Laws beyond those: "undecided" is no fault here, another verdict is."""


def verdicts(name: str, n: int, repeats: int) -> dict[str, Any]:
    """How often each verdict is given."""
    expected, draw = (LAWS | FURTHER)[name]
    place = list(LAWS | FURTHER).index(name)
    counts = Counter(tails.audit(draw(np.random.default_rng([place, n, j]), n)).verdict for j in range(repeats))
    wrong = repeats - counts[expected] - counts["undecided"]
    row = {"law": name, "n": n, "repeats": repeats, "expected": expected, "right": counts[expected]}
    return row | {"undecided": counts["undecided"], "wrong": wrong}


def run(quick: bool) -> dict[str, Any]:
    """A row for each law at n = 10,000; the laws that have to be right also at n = 2,000 and 100."""
    repeats, more = (2, 2) if quick else (200, 50)
    rows = [verdicts(name, 10_000, repeats) for name in LAWS]
    rows += [verdicts(name, 10_000, more) for name in FURTHER]
    rows += [verdicts(name, n, more) for n in (2_000, 100) for name in LAWS]
    return {"rows": rows, "quick": quick}
