"""How often the law tests cry wolf: the checks of the test suite over many seeds, at the suite's sizes.

Every check is a p-value, or several by the union bound: p = (how many) x (the least of them), which is at most uniform
if the law is right. The suite alarms at 1e-4 to 1e-9, which no number of seeds here could measure; so the shares of
seeds below 10% and 1% are measured too.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from levyjax import stable
from levyjax.arrays import cast
from levyjax.noise import Empirical, Noise, Pareto, StudentT
from levyjax.random import Counter, words

SEEDS, QUICK_SEEDS = 200, 10
LEVELS = (0.1, 0.01)
FREQUENCIES = (0.3, 1.0, 2.0)

Check = Callable[[int], list[float]]


def run(quick: bool) -> dict[str, Any]:
    """A row for each check."""
    seeds = range(1000, 1000 + (QUICK_SEEDS if quick else SEEDS))
    rows = [row(name, size, check, level, seeds) for name, (size, check, level) in CHECKS.items()]
    return {"rows": rows, "seeds": len(seeds), "levels": LEVELS, "quick": quick}


def row(name: str, size: int, check: Check, level: float, seeds: range) -> dict[str, Any]:
    """Shares of seeds below each level, with 95% intervals (Clopper and Pearson), and the least p-value found."""
    found = [check(seed) for seed in seeds]
    p = np.array([len(values) * min(values) for values in found])
    shares = [{"stated": stated, **share(int((p < stated).sum()), len(p))} for stated in (*LEVELS, level)]
    # A share whose interval at 99.9% lies above what is stated.
    too_many = any(stats.binom.sf(part["alarms"] - 1, len(p), part["stated"]) < 5e-4 for part in shares)
    numbers = {"numbers": len(found[0]), "least": float(p.min())}
    return {"check": name, "draws": size, **numbers, "level": level, "shares": shares, "too_many": too_many}


def share(alarms: int, seeds: int) -> dict[str, Any]:
    """Alarms, their share and its interval."""
    interval = stats.binomtest(alarms, seeds).proportion_ci()
    return {"alarms": alarms, "share": alarms / seeds, "ci95": (interval.low, interval.high)}


def markdown(result: dict[str, Any]) -> str:
    """The rows as the table of docs/law_tests.md."""
    lines = ["| check | draws | p-values | alarms below 10% | below 1% | the suite's level | alarms there |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for row in result["rows"]:
        *measured, own = row["shares"]
        cells = [f"{part['share']:.1%} ({part['ci95'][0]:.1%} to {part['ci95'][1]:.1%})" for part in measured]
        own = f"{own['stated']:.0e} | {own['alarms']} of {result['seeds']}"
        lines.append(f"| {row['check']} | {row['draws']:,} | {row['numbers']} | {' | '.join(cells)} | {own} |")
    return "\n".join(lines) + "\n"


def of_mean(values: np.ndarray, expected: float) -> float:
    """Two-sided p-value of a mean."""
    z = (values.mean() - expected) / values.std() * math.sqrt(values.size)
    return float(2 * stats.norm.sf(abs(z)))


def double(draws: Any) -> np.ndarray:
    return np.asarray(draws, np.float64)


def closed_form(alpha: float, cdf: Callable[..., Any]) -> Check:
    return lambda seed: [stats.kstest(double(stable.sample(seed, alpha, (100_000,))), cdf).pvalue]


def sums(seed: int) -> list[float]:
    """n draws / n^(1/alpha) have the law of one."""
    draws = double(stable.sample(seed, 1.3, (9, 40_000)))
    return [stats.ks_2samp(draws[:8].sum(axis=0) / 8 ** (1 / 1.3), draws[8]).pvalue]


def waves(alpha: float) -> Check:
    """The characteristic function of the symmetric law."""

    def check(seed: int) -> list[float]:
        draws = double(stable.sample(seed, alpha, (500_000,)))
        return [of_mean(np.cos(w * draws), math.exp(-(w**alpha))) for w in FREQUENCIES]

    return check


def skewed_waves(seed: int) -> list[float]:
    """S0 at alpha = 1.3, beta = 0.3: real and imaginary parts."""
    draws, p = double(stable.sample(seed, 1.3, (200_000,), beta=0.3)), []
    for w in FREQUENCIES:
        law = np.exp(-(w**1.3) - 0.3j * math.tan(0.65 * math.pi) * (w - w**1.3))
        p += [of_mean(np.cos(w * draws), law.real), of_mean(np.sin(w * draws), law.imag)]
    return p


def tail_counts(seed: int) -> list[float]:
    """Of Cauchy's law, beyond its quantiles at P = 1e-3 and 1e-5."""
    chances = np.array([1e-3, 1e-5])
    draws = np.abs(np.asarray(stable.sample(seed, 1.0, (1 << 22,))))
    counts = [int((draws > limit).sum()) for limit in stats.cauchy.isf(chances / 2)]
    return [stats.binomtest(count, draws.size, chance).pvalue for count, chance in zip(counts, chances, strict=True)]


def isotropic(seed: int) -> list[float]:
    """In three directions of R^3."""
    vectors = double(stable.sample_isotropic(seed, 1.5, 3, (300_000,)))
    directions = ([1.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.3, -0.5, 0.7])
    return [of_mean(np.cos(vectors @ w), math.exp(-(np.linalg.norm(w) ** 1.5))) for w in directions]


def radius(seed: int) -> list[float]:
    """Chi-squared over 20 classes of the radius in R^4, their probabilities by a Gauss rule."""
    length = np.linalg.norm(double(stable.sample_isotropic(seed, 1.4, 4, (100_000,))), axis=1)
    edges, (x, weights) = np.linspace(0.5, 10, 20), special.roots_legendre(10)
    half = np.diff(edges)[:, None] / 2
    with jax.enable_x64(True):
        density = np.asarray(stable.radial_pdf(edges[:-1, None] + half * (1 + x), 1.4, 4))
    parts = (density * weights * half).sum(axis=1)
    counts = np.histogram(length, edges)[0]
    expected = np.append(parts, 1 - parts.sum()) * length.size
    return [stats.chisquare(np.append(counts, length.size - counts.sum()), expected).pvalue]


def laplace(seed: int) -> list[float]:
    """E exp(-s X) of the positive law."""
    draws = double(stable.sample_positive(seed, 0.5, (200_000,)))
    return [of_mean(np.exp(-s * draws), math.exp(-(s**0.5))) for s in (0.2, 1.0, 3.0)]


def truncated(seed: int) -> list[float]:
    """Cauchy's law between -1.5 and 1.5."""
    draws = double(stable.sample_truncated(seed, 1.0, 1.5, (50_000,)))
    low, high = stats.cauchy.cdf([-1.5, 1.5])
    return [stats.kstest((stats.cauchy.cdf(draws) - low) / (high - low), "uniform").pvalue]


def relativistic(seed: int) -> list[float]:
    """The characteristic function under tempering."""
    draws = double(stable.sample_relativistic(seed, 1.5, 2.0, (50_000,)))
    laws = [math.exp(2.0**1.5 - (w**2 + 2.0**2) ** 0.75) for w in FREQUENCIES]
    return [of_mean(np.cos(w * draws), law) for w, law in zip(FREQUENCIES, laws, strict=True)]


def counters(seed: int, size: int) -> Counter:
    index = jnp.arange(size, dtype=jnp.uint32)
    return Counter(0 * index + jnp.uint32(seed), index, 0 * index, 0 * index)


@jax.jit
def drawn(noise: Noise, counter: Counter) -> jax.Array:
    return noise.increment(counter, 1.0)


def heavy(noise: Any, law: Callable[..., Any]) -> Check:
    """Draws of the iteration against the law of their size."""
    single = cast(noise, jnp.float32)
    return lambda seed: [stats.kstest(np.abs(double(drawn(single, counters(seed, 100_000)))[0]), law).pvalue]


def rows_of_a_file(seed: int) -> list[float]:
    """Chi-squared over 50 rows."""
    noise = cast(Empirical(np.arange(50.0)[:, None]), jnp.float32)
    draws = double(drawn(noise, counters(seed, 100_000)))[0] + 24.5
    return [stats.chisquare(np.bincount(np.rint(draws).astype(int), minlength=50)).pvalue]


def bits(seed: int) -> list[float]:
    """Each of the 64 bits of the cipher's words."""
    pair = [np.asarray(word).ravel() for word in words(counters(seed, 1 << 15), 4)]
    ones = [float(((word >> np.uint32(bit)) & np.uint32(1)).sum()) for word in pair for bit in range(32)]
    return [float(2 * stats.norm.sf(abs(count - 2.0**16) / 2**7.5)) for count in ones]


def beyond(z: float, numbers: int) -> float:
    """What the union bound states for `numbers` deviations of z standard errors."""
    return float(2 * numbers * stats.norm.sf(z))


CHECKS: dict[str, tuple[int, Check, float]] = {  # draws, check, the suite's level
    "Kolmogorov-Smirnov, alpha = 2": (100_000, closed_form(2.0, stats.norm(0, math.sqrt(2)).cdf), 1e-5),
    "Kolmogorov-Smirnov, alpha = 1": (100_000, closed_form(1.0, stats.cauchy.cdf), 1e-5),
    "sums of eight, two samples": (40_000, sums, 1e-5),
    "characteristic function, alpha = 0.8": (500_000, waves(0.8), beyond(5, 3)),
    "characteristic function, alpha = 1.5": (500_000, waves(1.5), beyond(5, 3)),
    "characteristic function, skewed": (200_000, skewed_waves, beyond(6, 6)),
    "tail counts at 1e-3 and 1e-5": (1 << 22, tail_counts, 2e-5),
    "characteristic function in R^3": (300_000, isotropic, beyond(5, 3)),
    "radius in R^4, chi-squared": (100_000, radius, 1e-5),
    "Laplace transform, positive": (200_000, laplace, beyond(6, 3)),
    "Kolmogorov-Smirnov, truncated": (50_000, truncated, 1e-5),
    "characteristic function, tempered": (50_000, relativistic, beyond(6, 3)),
    "Kolmogorov-Smirnov, Pareto": (100_000, heavy(Pareto(1.2, [1.0]), lambda x: 1 - np.maximum(x, 1) ** -1.2), 1e-4),
    "Kolmogorov-Smirnov, Student's t": (
        100_000,
        heavy(StudentT(3.0, [1.0]), lambda x: 1 - 2 * stats.t(3.0).sf(x)),
        1e-4,
    ),
    "rows of a file, chi-squared": (100_000, rows_of_a_file, 1e-4),
    "bits of the cipher": (1 << 17, bits, beyond(5, 64)),
}
