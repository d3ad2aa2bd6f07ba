"""Maximum likelihood for the alpha-stable law, on its exact density.

The variables are log(2 - alpha), log scale, loc (in units of the scale at the start) and arctanh beta: they keep the
parameters inside, and near the Gaussian law the log-likelihood is smooth in log(2 - alpha). One that is held has a
range of one point. A location that is to be found is S0's, which is continuous at alpha = 1, and is moved to S1 at the
end; one that is held in S1 is moved to S0 at every step.
Every step is Levenberg and Marquardt's with the outer product of the scores for the information, so each needs one
evaluation of the density and its first derivatives, for all data sets at once; it starts at McCulloch's (1986) quantile
ratios. The information reported is the observed one, from central differences of the mean score at the maximum; where
it is negative the point is a saddle, as between two clusters, and the climb goes on from beside it.
"""

import dataclasses
import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from levyjax.arrays import padded_to
from levyjax.datasets import Result, along
from levyjax.input import as_array
from levyjax.stable.climb import Evaluate, climb
from levyjax.stable.kernel import check_parameters, logpdf_and_slopes, unit_shift
from levyjax.stable.start import HIGH, LEAST, LOW, STEEPEST, start

_GAPS = (0.1, 0.3, 1.0)  # of the end of a support to the data, in units
_NORMAL = 1.959963984540054
_DROP = _NORMAL**2 / 2


@dataclasses.dataclass(frozen=True)
class StableFit(Result):
    """Maximum likelihood estimates with 95% intervals; arrays of shape () or (batch,).

    A number that was held is itself, and its interval has no width.

    Attributes:
        alpha: tail index, in [0.3, 2].
        beta: skewness.
        loc: location, of the parametrization that was asked for.
        scale: sigma.
        alpha_ci95: low and high on a last axis of 2; at an end of the range one-sided.
        beta_ci95: as alpha_ci95; all of [-1, 1] at alpha = 2, where the law does not depend on it.
        loc_ci95: as alpha_ci95; infinite in S1, for a law that is not symmetric, if alpha may be 1.
        scale_ci95: as alpha_ci95.
        log_likelihood: of all values.
        converged: whether this is a maximum: the scores vanish to 0.001 standard errors, or push against an end of a
            range, and the log-likelihood bends down.
    """

    _dims = along({"row": "alpha beta loc scale alpha_ci95 beta_ci95 loc_ci95 scale_ci95 log_likelihood converged"})

    alpha: np.ndarray
    beta: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    alpha_ci95: np.ndarray
    beta_ci95: np.ndarray
    loc_ci95: np.ndarray
    scale_ci95: np.ndarray
    log_likelihood: np.ndarray
    converged: np.ndarray


def _decode(theta: Any) -> tuple[Any, ...]:
    return 2 - jnp.exp(theta[0]), jnp.tanh(theta[3]), theta[2], jnp.exp(theta[1])


def _shift(theta: Array, log_unit: Array) -> Array:
    """How far the location in S0 is to the right of that in S1, in units."""
    alpha, beta, _, scale = _decode(theta)
    return scale * unit_shift(alpha, beta, jnp.exp(theta[1] + log_unit))


def _scores(theta: Array, z: Array, log_unit: Array, in_s1: Array, symmetric: bool) -> tuple[Array, Array]:
    """Log densities (n,) of standardized data, and the scores (4, n) in the variables above."""
    alpha, beta, loc, scale = _decode(theta)
    shift, slopes = jax.value_and_grad(_shift)(theta, log_unit)
    y = (z - loc - jnp.where(in_s1, shift, 0)) / scale
    value, slope, by_alpha, *by_beta = logpdf_and_slopes(y, alpha, None if symmetric else beta)
    by_skew = jnp.zeros_like(y) if symmetric else by_beta[0] * (1 - beta * beta)
    rows = jnp.stack([by_alpha * (alpha - 2), -1 - y * slope, -slope / scale, by_skew])
    return value - jnp.log(scale), rows + jnp.where(in_s1, slopes, 0)[:, None] * rows[2]


@functools.partial(jax.jit, static_argnums=5)
def _evaluate(
    theta: Array, z: Array, log_unit: Array, count: Array, in_s1: Array, symmetric: bool
) -> tuple[Array, Array, Array]:
    """Of every data set, its first `count` values: the mean log density and scores, the mean of their products."""
    weight = (jnp.arange(z.shape[1], dtype=jnp.int32) < count).astype(z.dtype) / count.astype(z.dtype)

    def one(row: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        value, rows = _scores(*row, in_s1, symmetric)
        return value @ weight, rows @ weight, (rows * weight) @ rows.T

    rows = (theta, z, log_unit)
    return jax.vmap(lambda *row: one(row))(*rows) if symmetric else lax.map(one, rows)


def _gaussian(rows: np.ndarray, held: dict[str, float | None]) -> StableFit:
    """The law N(loc, 2 scale^2), which does not depend on beta, in closed form."""
    centre = rows.astype(np.float64).mean(axis=1) if held["loc"] is None else np.full(len(rows), held["loc"])
    unit = np.abs(rows - centre[:, None]).max(axis=1)
    squares = (((rows - centre[:, None]) / unit[:, None]) ** 2).mean(axis=1)
    scale = unit * np.sqrt(squares / 2) if held["scale"] is None else np.full(len(rows), held["scale"])
    n, one = rows.shape[1], np.ones((len(rows), 2))
    loc_half = _NORMAL * math.sqrt(2 / n) * scale * (held["loc"] is None)
    factor = math.exp(_NORMAL / math.sqrt(2 * n)) if held["scale"] is None else 1.0
    beta, beta_ends = (0.0, [-1.0, 1.0]) if held["beta"] is None else (held["beta"], held["beta"])
    return StableFit(
        alpha=2 * one[:, 0],
        beta=beta * one[:, 0],
        loc=centre,
        scale=scale,
        alpha_ci95=2 * one,
        beta_ci95=beta_ends * one,
        loc_ci95=np.stack([centre - loc_half, centre + loc_half], axis=1),
        scale_ci95=np.stack([scale / factor, scale * factor], axis=1),
        log_likelihood=-n * (np.log(scale) + math.log(4 * math.pi) / 2 + squares * (unit / scale) ** 2 / 4),
        converged=one[:, 0] > 0,
    )


def _at_end(theta: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which variables have no standard deviation: those held, at an end, and beta at alpha = 2."""
    result = (theta <= low) | (theta >= high)
    result[:, 3] |= theta[:, 0] <= LOW[0]
    return result


def _evaluated(
    theta: np.ndarray, constants: tuple[Any, ...], symmetric: bool, fixed: np.ndarray
) -> tuple[np.ndarray, ...]:
    """What `climb` asks for: nothing of the variables that are held, -inf where the support does not have all data."""
    wanted = padded_to(theta.astype(constants[0].dtype), axis=0)
    parts = _evaluate(wanted, *constants, symmetric)
    value, score, products = (np.asarray(part, np.float64)[: len(theta)] for part in parts)
    known, free = np.isfinite(value), ~fixed
    free = free & known[:, None]
    pairs = free[:, :, None] & free[:, None, :]
    return np.where(known, value, -np.inf), np.where(free, score, 0), np.where(pairs, products, 0)


def _covariance(information: np.ndarray, at_end: np.ndarray) -> np.ndarray:
    """Of the variables; 0 for those without a standard deviation, and the others' given them."""
    result = np.zeros_like(information)
    for row, (matrix, end) in enumerate(zip(information, at_end, strict=True)):
        kept = np.ix_(~end, ~end)
        result[row][kept] = np.linalg.pinv(matrix[kept])
    return result


def _deviation(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.where(variance >= 0, variance, np.nan))


def _check(data: Any) -> np.ndarray:
    array = as_array(data)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"data must be real numbers, got dtype {array.dtype}.")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"data must be (n,) or (batch, n) and not empty, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("data has NaN or infinite values. Leave them out.")
    if array.shape[-1] < 10:
        raise ValueError(f"data needs at least 10 values a set, got {array.shape[-1]}.")
    rows = np.atleast_2d(array)
    if (np.quantile(rows, 0.75, axis=1) == np.quantile(rows, 0.25, axis=1)).any():
        raise ValueError("data has half of its values equal, so no density fits it. Leave the repeated values out.")
    return array


def _check_held(name: str, value: Any, low: float, high: float, allowed: str) -> float | None:
    if value is None:
        return None
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "fiu" or not low <= number <= high:
        raise ValueError(f"{name} must be {allowed}, or None to estimate it, got {value!r}.")
    return float(number)


def fit(
    data: Any, *, alpha: Any = None, beta: Any = 0.0, loc: Any = None, scale: Any = None, parametrization: str = "S0"
) -> StableFit:
    """Fits a stable law by maximum likelihood, any of its parameters held, many data sets at once.

    Args:
        data: real numbers (n,), or (batch, n): a fit each.
        alpha: a number in [0.3, 2] holds the tail index there; None estimates it.
        beta: a number in [-1, 1] holds the skewness there; None estimates it (slower: no table serves the skewed law).
        loc: a number holds the location there, None estimates it.
        scale: a positive number holds the scale there, None estimates it.
        parametrization: "S0" or "S1", of the location that is given and of the one that is found.

    Returns:
        Estimates and 95% intervals from the observed information. They are symmetric in log(2 - alpha), log scale, loc
        and arctanh beta. At an end of a range (alpha = 2 or 0.3, beta = 1 or -1) the interval is one-sided: as far as
        the log-likelihood, the others fixed, is within 1.92 of its maximum, to a 40th of the variable's range.

    Raises:
        ValueError: data are empty, not finite, fewer than 10, or half equal; a number is out of range; all four are
            held; or values lie outside the support of every law that has the numbers held.

    Source:
        DuMouchel 1973; Nolan 2001, "Maximum likelihood estimation and diagnostics for stable distributions".

    Example:
        >>> rng = np.random.default_rng(0)
        >>> result = fit(rng.standard_cauchy(2000), loc=0.0)
        >>> bool(result.alpha_ci95[0] < 1 < result.alpha_ci95[1]), result.loc_ci95.tolist()
        (True, [0.0, 0.0])
    """
    check_parameters(1.0, parametrization=parametrization)
    largest = np.finfo(np.float64).max
    held = {
        "alpha": _check_held("alpha", alpha, LEAST, 2, f"in [{LEAST}, 2]"),
        "beta": _check_held("beta", beta, -1, 1, "in [-1, 1]"),
        "loc": _check_held("loc", loc, -largest, largest, "a finite number"),
        "scale": _check_held("scale", scale, np.finfo(np.float64).tiny, largest, "positive and finite"),
    }
    if None not in held.values():
        raise ValueError(
            "alpha, beta, loc and scale are all held, so nothing is left to fit. Give None for one of them."
        )
    array = _check(data)
    rows = np.atleast_2d(array)
    with jax.enable_x64(array.dtype == np.float64):
        result = _fit(rows, held, parametrization == "S1")
    return result if array.ndim == 2 else StableFit(**{key: np.asarray(part[0]) for key, part in vars(result).items()})


def _fit(rows: np.ndarray, held: dict[str, float | None], s1: bool) -> StableFit:
    if held["alpha"] == 2:
        return _gaussian(rows, held)
    symmetric, n, wide = held["beta"] == 0, np.int32(rows.shape[1]), rows.dtype == np.float64
    one_sided, fixed = abs(held["beta"] or 0.0) == 1, held["loc"] is not None
    below = None if held["alpha"] is None else held["alpha"] < 1
    split = below is None and (one_sided or (s1 and fixed and not symmetric))  # at a pole, or an end of the support
    found: Any = None
    for side, gap in itertools.product((False, True) if split else (below,), _GAPS):
        # a location that is held is as it was given, and one next to the end of a support is S1's
        in_s1 = not symmetric and (s1 if fixed else one_sided and bool(side))
        if gap != _GAPS[0] and (fixed or not in_s1):
            continue  # only a location next to the end of a support needs several starts
        theta, low, high, centre, unit = start(rows, held, in_s1, side if split else None, gap)
        z = ((rows - centre[:, None]) / unit[:, None]).astype(rows.dtype)
        log_unit = np.log(unit).astype(z.dtype)
        constants = padded_to(padded_to(z), axis=0), padded_to(log_unit, axis=0), n, np.bool_(in_s1)  # few programs

        evaluate = functools.partial(_evaluated, constants=constants, symmetric=symmetric, fixed=low == high)
        step, without = 1e-4 if wide else 1e-2, functools.partial(_at_end, low=low, high=high)
        climbed = climb(theta, evaluate, low, high, int(n), step, without)
        result = _summary(climbed, evaluate, low, high, held, s1 - in_s1, centre, unit, int(n))
        if found is None:
            found = result
        better = result.log_likelihood > found.log_likelihood
        pairs = ((name, getattr(result, name), part) for name, part in vars(found).items())
        found = StableFit(
            **{name: np.where(better if new.ndim == 1 else better[:, None], new, old) for name, new, old in pairs}
        )
    if (found.log_likelihood == -np.inf).any():
        numbers = ", ".join(f"{name} = {value:g}" for name, value in held.items() if value is not None)
        raise ValueError(f"data has values outside the support of every law with {numbers}. Hold fewer of them.")
    return found


def _dropped(theta: np.ndarray, variable: int, level: np.ndarray, evaluate: Evaluate) -> np.ndarray:
    """How far a variable may go from its end before the mean log density, the others fixed, is below a level."""
    low, high = LOW[variable], HIGH[variable]
    down = theta[:, variable] >= high
    found, going = theta[:, variable].copy(), np.ones(len(theta), bool)
    for part in np.linspace(0, 1, 41)[1:]:
        moved = theta.copy()
        moved[:, variable] = np.where(down, high + part * (low - high), low + part * (high - low))
        found = np.where(going, moved[:, variable], found)
        going &= evaluate(moved)[0] > level
        if not going.any():
            break
    return found


def _summary(
    climbed: tuple[np.ndarray, ...],
    evaluate: Evaluate,
    low: np.ndarray,
    high: np.ndarray,
    held: dict[str, float | None],
    to_s1: int,
    centre: np.ndarray,
    unit: np.ndarray,
    n: int,
) -> StableFit:
    theta, value, information, done = climbed
    at_end = _at_end(theta, low, high)
    covariance = _covariance(information * n, at_end)
    half = _NORMAL * _deviation(np.einsum("bii->bi", covariance))
    ends = np.stack([theta - half, theta + half], axis=2)
    for variable in (variable for variable, name in ((0, "alpha"), (3, "beta")) if held[name] is None):
        stopped = (theta[:, variable] <= LOW[variable]) | (theta[:, variable] >= HIGH[variable])
        if stopped.any():
            dropped = _dropped(theta, variable, value - _DROP / n, evaluate)
            at_low = theta[:, variable] <= LOW[variable]
            ends[stopped, variable, 0] = np.where(at_low, -math.inf, dropped)[stopped]
            ends[stopped, variable, 1] = np.where(at_low, dropped, math.inf)[stopped]
    gaussian = theta[:, 0] <= LOW[0]
    alpha = np.where(gaussian, 2.0, 2 - np.exp(theta[:, 0]))
    alpha_ends = np.clip(2 - np.exp(ends[:, 0, ::-1]), 0, 2)
    loc, loc_half = theta[:, 2], half[:, 2]
    if to_s1 and held["loc"] is None:  # 1 from S0 to S1, -1 back
        shift, slopes = (np.asarray(part) for part in jax.vmap(jax.value_and_grad(_shift))(theta, np.log(unit)))
        along_loc = np.array([0.0, 0.0, 1.0, 0.0]) - to_s1 * np.where(at_end, 0, slopes)
        pole = (alpha_ends <= 1).any(1) & (alpha_ends >= 1).any(1) & (held["alpha"] is None) & (held["beta"] != 0)
        loc = loc - to_s1 * shift
        loc_half = _NORMAL * _deviation(np.einsum("bi,bij,bj->b", along_loc, covariance, along_loc))
        loc_half = np.where(pole & (to_s1 == 1), np.inf, loc_half)
    stopped = np.abs(theta[:, 3]) >= STEEPEST
    beta, beta_ends = np.where(stopped, np.sign(theta[:, 3]), np.tanh(theta[:, 3])), np.tanh(ends[:, 3])
    beta_ends = np.where(gaussian[:, None], [-1.0, 1.0], beta_ends)
    loc, loc_ends = centre + loc * unit, centre[:, None] + (loc[:, None] + [-1, 1] * loc_half[:, None]) * unit[:, None]
    scale, scale_ends = np.exp(theta[:, 1]) * unit, np.exp(ends[:, 1]) * unit[:, None]
    found = {
        "alpha": (alpha, alpha_ends),
        "beta": (beta, beta_ends),
        "loc": (loc, loc_ends),
        "scale": (scale, scale_ends),
    }
    for name, number in held.items():
        if number is not None:
            found[name] = np.full_like(alpha, number), np.full_like(alpha_ends, number)
    return StableFit(
        **{name: estimate for name, (estimate, _) in found.items()},
        **{f"{name}_ci95": interval for name, (_, interval) in found.items()},
        log_likelihood=(value - np.log(unit)) * n,
        converged=done,
    )
