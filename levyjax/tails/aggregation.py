"""Two tests of a stable law: sums keep its index, and noise falls with the batch size as S^(1/alpha - 1)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from levyjax.tails.moments import characteristic_function
from levyjax.tails.pooling import LARGEST_TIE, largest_tie
from levyjax.tails.values import check_values, log_abs, middle

_DECIDING = 16  # summed for the test, or fewer where that would leave fewer than 500 sums
_FEWEST_DECIDING = 500
_FEWEST_SUMS = 100
_LARGEST = 256
_Z = 1.959964
SUMS_DIFFER = 5.0


def aggregation(values: np.ndarray, notes: list[str]) -> dict[str, Any]:
    """The characteristic-function index of sums of 1, 2, 4, ...: a stable law keeps it, a finite variance climbs to 2.

    Args:
        values: (n,), centred, in random order.
        notes: takes a sentence.

    Returns:
        {"num_summed", "alpha", "interval", "deciding", "z"}: lists over the number summed, and by how many standard
        errors the index of sums of 16 (fewer for small n) is above that of the values; empty if the values are few or
        mostly equal. Of stable data of index 1.2 to 1.9 one in a thousand has z above 4 to 6 (300 samples each).
    """
    counts = [2**j for j in range(9) if 2**j <= _LARGEST and values.size // 2**j >= _FEWEST_SUMS]
    sums = {m: values[: values.size // m * m].reshape(-1, m).sum(axis=1) for m in counts}
    if any(largest_tie(part) > LARGEST_TIE for part in sums.values()):
        return {}
    estimates = {m: characteristic_function(part) for m, part in sums.items()}
    intervals = [estimate.interval for estimate in estimates.values()]
    found = {"num_summed": counts, "alpha": [estimate.alpha for estimate in estimates.values()], "interval": intervals}
    deciding = max(m for m in counts if m <= _DECIDING and (m == 1 or values.size // m >= _FEWEST_DECIDING))
    single, summed = estimates[1], estimates[deciding]
    errors = [(estimate.interval[1] - estimate.interval[0]) / (2 * _Z) for estimate in (single, summed)]
    score = (summed.alpha - single.alpha) / math.hypot(*errors)
    moved = "rises" if score > SUMS_DIFFER else "falls" if score < -SUMS_DIFFER else None
    finding = f"{moved}, as it cannot under a stable law" if moved else "stays, as under a stable law"
    notes.append(
        f"The characteristic-function index is {single.alpha:.3f} for single values and {summed.alpha:.3f} for sums of "
        f"{deciding}: it {finding} (z = {score:.1f})."
    )
    return found | {"deciding": deciding, "z": score}


def batch_size_scaling(by_batch_size: Mapping[int, Any], notes: list[str]) -> dict[str, Any]:
    """How the scale of gradient noise falls with the batch size: S^(-1/2) if the variance is finite, else slower.

    The scale of a batch size is exp(mean log|x|) of its centred values; the slope of its logarithm against log S is
    fitted by least squares, weighted by the errors from the scatter of the rows' means (of data (n,): of the values).

    Args:
        by_batch_size: batch size -> noise (n,) or (mini-batches, parameters), of one network and point.
        notes: takes a sentence.

    Returns:
        {"batch_sizes", "scale", "slope", "interval", "alpha"}; alpha = 1/(1 + slope), what the slope says of a stable
        law.

    Raises:
        ValueError: fewer than two batch sizes, or one that is not positive, or the data are unusable.
    """
    sizes = sorted(by_batch_size)
    if len(sizes) < 2 or sizes[0] < 1:
        raise ValueError(f"batch sizes {sizes} show no trend. Give noise of two or more, each 1 or larger.")
    means, errors = zip(*(_mean_log(by_batch_size[size]) for size in sizes), strict=True)
    logs, means, weights = np.log(sizes), np.array(means), np.array(errors) ** -2.0
    centred_logs = logs - np.average(logs, weights=weights)
    slope = float((weights * centred_logs * means).sum() / (weights * centred_logs**2).sum())
    half = _Z / math.sqrt(float((weights * centred_logs**2).sum()))
    alpha = 1 / (1 + slope) if slope > -1 else math.inf
    notes.append(
        f"The scale of the noise goes as S^{slope:.3f} [{slope - half:.3f}, {slope + half:.3f}] with the batch size S: "
        f"-0.5 is a finite variance's, and a stable law of alpha = {alpha:.2f} would give this."
    )
    interval = (slope - half, slope + half)
    return {"batch_sizes": sizes, "scale": np.exp(means).tolist(), "slope": slope, "interval": interval, "alpha": alpha}


def _mean_log(data: Any) -> tuple[float, float]:
    """Mean of log|x| and its standard error, rows being the independent unit."""
    raw = check_values(data)
    size = float(np.abs(raw).max())
    logs, alive = log_abs(np.where(raw != 0, raw / size - middle(raw / size), 0.0))
    rows = logs.mean(axis=1) if raw.ndim == 2 else logs[alive]
    mean = float(logs[alive].mean()) + math.log(size)
    return mean, float(rows.std(ddof=1) / math.sqrt(rows.size)) + 1e-12
