"""Scales of gradient noise: one tail index and a scale for each coordinate, as the simulator takes them."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from levyjax import tails
from levyjax.datasets import Result, along
from levyjax.tails.values import middle
from levyjax.training.capture import GradientNoise
from levyjax.training.examples import as_array

_VALUES = 2**22  # numbers of a chunk of samples
FEWEST_BATCHES = 50  # from which a coordinate shows its scale
_ESTIMATORS = {
    "characteristic_function": tails.characteristic_function,
    "log_moment": lambda values: tails.log_moment(values, center=False),
    "block_log_moment": lambda values: tails.block_log_moment(values, center=False),
}


@dataclasses.dataclass(frozen=True, eq=False)
class StableNoise(Result):
    """Gradient noise as the simulator takes it: one tail index and one scale for each coordinate.

    Attributes:
        alpha: in (0, 2]; an estimate above 2 becomes 2 (Gaussian), which is then a warning.
        scales: of exp(-|scale w|^alpha), (num_parameters,); 0 for a dead coordinate. At alpha = 2 the variance is
            2 scale^2.
        num_dead: coordinates whose noise was zero in every mini-batch.
        estimate: the pooled estimate that alpha is from.
        warnings: sentences, also on what was pooled.
    """

    _dims = along({"parameter": "scales"})

    alpha: float
    scales: np.ndarray
    num_dead: int
    estimate: tails.TailEstimate
    warnings: tuple[str, ...]

    def _variables(self) -> dict[str, Any]:
        found = {name: value for name, value in super()._variables().items() if name != "estimate"}
        return found | {"alpha_ci95": self.estimate.interval}


def stable_scales(
    noise: Any, *, method: str = "characteristic_function", seed: int = 0, audit: tails.TailAudit | None = None
) -> StableNoise:
    """Fits u_j = scale_j Z_j to gradient noise, with Z_j symmetric stable of one common index.

    alpha is from the coordinates brought to one scale, pooled, thinned where a mini-batch's values are dependent, and
    shuffled (`levyjax.tails.pool`); each coordinate's scale then follows from its mean log and alpha. Measured noise is
    not centred: its mean is zero by construction. This fits a stable law whether or not the noise is stable;
    `levyjax.tails.audit(noise.samples, center=False)` says whether it is.

    Args:
        noise: of 50 mini-batches or more: a `GradientNoise`; a `NoiseStatistics`, whose sample gives alpha; or an array
            (iterations, parameters) of gradients or of noise, of which the middle of each column is taken away.
        method: "characteristic_function", "log_moment" or "block_log_moment" (the paper's).
        seed: of the shuffling and thinning.
        audit: of the same noise; where its verdict is not "stable", a warning says so, with its reason.

    Returns:
        The index and the scales.

    Raises:
        ValueError: the method is unknown, there are fewer than 50 mini-batches, no coordinate lives, or an array holds
            no finite real numbers.

    Source:
        `levyjax.tails.stable_scale` for the scales.

    Example:
        >>> samples = np.random.default_rng(0).standard_cauchy((2_000, 3)) * [1.0, 0.01, 0.0]
        >>> fit = stable_scales(GradientNoise(samples, np.zeros(3), 0, 1, {}))
        >>> round(fit.alpha, 1), fit.scales.round(3).tolist()[1:], fit.num_dead
        (1.0, [0.01, 0.0], 1)
    """
    if method not in _ESTIMATORS:
        raise ValueError(f"method {method!r} is unknown. Give one of {', '.join(_ESTIMATORS)}.")
    if hasattr(noise, "sample_of_one_scale"):
        values, notes, sizes = _of_statistics(noise)
    else:
        values, notes, sizes = _of_samples(noise, seed)
    estimate = _ESTIMATORS[method](values)
    alpha = min(float(estimate.alpha), 2.0)
    scales = sizes * np.exp(-np.euler_gamma * (1 / alpha - 1))
    doubts = [] if audit is None or audit.verdict == "stable" else [_doubt(audit, alpha)]
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=2)
    return StableNoise(alpha, scales, int((sizes == 0).sum()), estimate, (*notes, *estimate.warnings, *doubts))


def _doubt(audit: tails.TailAudit, alpha: float) -> str:
    reason = audit.reasons[-1] if audit.reasons else ""
    effect = "its exits may be far too soon" if alpha < 2 else "which here is Gaussian"
    return f"Stable noise is made of noise that the audit calls {audit.verdict}: {effect}. {reason}".rstrip()


def _of_samples(noise: Any, seed: int) -> tuple[np.ndarray, Sequence[str], np.ndarray]:
    """Values of one scale, what was done, and exp(mean log|u|) of each coordinate: its scale at alpha = 1."""
    samples = noise.samples if isinstance(noise, GradientNoise) else _gradients_less_their_middle(noise)
    _check_count(len(samples))
    width = max(1, _VALUES // len(samples))
    pieces = [tails.stable_scale(samples[:, i : i + width], 1.0) for i in range(0, samples.shape[1], width)]
    sizes = np.concatenate(pieces)
    _check_alive(sizes)
    pooled = tails.pool(samples, center=False, seed=seed)
    return pooled.values, pooled.notes, sizes


def _of_statistics(noise: Any) -> tuple[np.ndarray, Sequence[str], np.ndarray]:
    _check_count(len(noise.norms))
    sizes = np.exp(noise.mean_log)
    _check_alive(sizes)
    return noise.sample_of_one_scale(), (), sizes


def _gradients_less_their_middle(given: Any) -> np.ndarray:
    array = as_array(given, "noise")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"noise has shape {array.shape}: give (iterations, parameters), or what was captured.")
    kept = np.asarray(array).astype(np.float64)
    bad = kept.size - int(np.isfinite(kept).sum())
    if bad:
        raise ValueError(f"noise holds {bad} of {kept.size} values that are NaN or infinite. Remove them first.")
    return kept - middle(kept)


def _check_count(count: int) -> None:
    if count < FEWEST_BATCHES:
        raise ValueError(f"{count} mini-batches show no scales. Capture {FEWEST_BATCHES} or more.")


def _check_alive(sizes: np.ndarray) -> None:
    if not sizes.any():
        raise ValueError(f"all {sizes.size} coordinates are dead: every mini-batch gradient equals the full gradient.")
