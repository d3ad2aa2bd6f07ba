"""A network's mini-batch noise at a minimum, and noises that stand in for it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from levyjax.noise import Empirical, Gaussian, Independent, MiniBatch, Noise, Rotational
from levyjax.tails import TailAudit, audit
from levyjax.tails.values import MINIMUM_VALUES
from levyjax.training.capture import GradientNoise
from levyjax.training.landscape import NetworkLoss
from levyjax.training.scales import FEWEST_BATCHES, StableNoise, stable_scales
from levyjax.training.tail_monitor import ALL_LAYERS, layer_slices

_FULL = 2_000  # coordinates up to which there is a covariance matrix


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseModels:
    """The noise of mini-batches, and noises that stand in for it: what an `EscapeProblem` on the loss takes.

    Attributes:
        models: by name:
            "algorithm": mini-batches;
            "stable": independent stable coordinates of the measured index and scales;
            "elliptical": stable too, with the correlations of the gradients;
            "diagonal": independent Gaussian coordinates of the same variances;
            "gaussian": of the same covariance;
            "captured": captured noise vectors, drawn again;
            "local": Gaussian of the covariance at each point that is visited.
            Of noise without its loss there are neither "algorithm" nor "local", and of more than 2000 coordinates
            neither "elliptical" nor "gaussian".
        captured: the noise that index, scales and captured vectors are from.
        stable: the fitted index and scales.
        variance: (d,) of a mini-batch's gradient: at the minimum, exactly, or of the captured noise.
        audits: layer, or "all" -> what the audit says of its noise; {} where the noise is a loss's own.
    """

    models: Mapping[str, Noise]
    captured: GradientNoise
    stable: StableNoise
    variance: Float[np.ndarray, " d"]
    audits: Mapping[str, TailAudit] = dataclasses.field(default_factory=dict)


def noise_models(loss: Any, batch_size: int = 0, *, num_batches: int = 2048, seed: int = 0) -> NoiseModels:
    """Make a noise of each kind from captured gradient noise, or from that at a loss's minimum.

    Captured noise is audited, by layer and as a whole; where the verdict on the whole is not "stable", a warning says
    why the stable noises are doubtful.

    Args:
        loss: a `GradientNoise`; or a `NetworkLoss` with its minimum, at which the noise is measured.
        batch_size: examples of a mini-batch, drawn with replacement, of a loss.
        num_batches: to capture of a loss, at least 50.
        seed: of the captured mini-batches, and of the audits.

    Returns:
        The noises. Of a loss, covariances are exact, over all examples; index, scales and captured vectors are from the
        capture, as everything is of captured noise.

    Raises:
        ValueError: no noise, fewer than 50 mini-batches, or a batch size below 1.

    Example:
        >>> import warnings
        >>> from levyjax.training import noise_of
        >>> rng = np.random.default_rng(0)
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     found = noise_models(noise_of(rng.normal(size=(200, 20)), batch_size=8))
        >>> found.audits["all"].verdict, list(found.models), "finite_variance" in str(caught[0].message)
        ('finite_variance', ['stable', 'elliptical', 'gaussian', 'diagonal', 'captured'], True)
    """
    if isinstance(loss, GradientNoise):
        return _of_captured(loss, seed)
    captured, every = captured_noise(loss, loss.minimum, batch_size, num_batches, seed)
    stable = stable_scales(captured, seed=seed)
    rows = (every - captured.full_gradient) / np.sqrt(len(every) * batch_size)
    models = {
        "algorithm": MiniBatch(loss, batch_size),
        **_stand_ins(captured, stable, rows),
        "local": MiniBatch(loss, batch_size, gaussian=True),
    }
    return NoiseModels(models, captured, stable, (rows**2).sum(axis=0))


def _of_captured(noise: GradientNoise, seed: int) -> NoiseModels:
    layers = {ALL_LAYERS: (0, noise.samples.shape[1]), **layer_slices(noise.slices)}
    parts = {name: noise.samples[:, start:stop] for name, (start, stop) in layers.items()}
    if len(noise.samples) < FEWEST_BATCHES:
        raise ValueError(f"{len(noise.samples)} mini-batches show no scales. Capture {FEWEST_BATCHES} or more.")
    if not noise.samples.any():
        raise ValueError("the noise is zero in every mini-batch: there is nothing to model.")
    audits = {name: audit(part, center=False, seed=seed) for name, part in parts.items() if _varies(part)}
    stable = stable_scales(noise, seed=seed, audit=audits.get(ALL_LAYERS))
    rows = noise.samples.astype(np.float64) / np.sqrt(len(noise.samples))
    return NoiseModels(_stand_ins(noise, stable, rows), noise, stable, (rows**2).sum(axis=0), audits)


def _varies(values: np.ndarray) -> bool:
    """Whether there is something to audit."""
    return int(np.count_nonzero(values)) >= MINIMUM_VALUES and bool((values != values.flat[0]).any())


def _stand_ins(captured: GradientNoise, stable: StableNoise, rows: Float[np.ndarray, "n d"]) -> dict[str, Noise]:
    """Noises of the scales and index of `stable` and of the covariance rows' rows."""
    variance, full = (rows**2).sum(axis=0), {}
    if rows.shape[1] <= _FULL:
        if len(rows) > rows.shape[1]:
            rows = np.linalg.qr(rows, mode="r")  # fewer rows of the same rows' rows
        # Each coordinate of A L has the scale that was measured for it, and A A' the correlations of the gradients.
        sizes = stable.scales / np.where(variance > 0, np.sqrt(variance), 1.0)
        full = {
            "elliptical": Rotational(stable.alpha, sizes[:, None] * _root(rows)),
            "gaussian": Gaussian(_root(rows) / np.sqrt(2)),
        }
    return {
        "stable": Independent(stable.alpha, stable.scales),
        **full,
        "diagonal": Gaussian(np.sqrt(variance / 2)),
        "captured": Empirical(captured.samples),
    }


def captured_noise(
    loss: NetworkLoss, x: Any, batch_size: int, num_batches: int, seed: int
) -> tuple[GradientNoise, Float[np.ndarray, "n d"]]:
    """The noise of mini-batches drawn with replacement at one point (d,), and the gradient of each example there.

    A mini-batch's gradient is the mean of its examples' gradients, so that these are worked out once. Without the
    penalty, which is no noise.

    Raises:
        ValueError: a batch size or a number of mini-batches below 1.
    """
    if batch_size < 1 or num_batches < 1:
        raise ValueError(f"{num_batches} mini-batches of {batch_size}: give 1 or more of 1 example or more.")
    every = loss.sample_gradients(x) - np.asarray(loss.weight_decay) * np.asarray(x, np.float64)
    batches = np.random.default_rng(seed).integers(0, len(every), (num_batches, batch_size), dtype=np.int32)
    middle = every.mean(axis=0)
    samples = np.stack([every[batch].mean(axis=0) for batch in batches]) - middle
    return GradientNoise(samples, middle, 0, batch_size, {}), every


def _root(rows: Float[np.ndarray, "r d"]) -> Float[np.ndarray, "d d"]:
    """The symmetric root of rows' rows."""
    sizes, axes = np.linalg.eigh(rows.T @ rows)
    return (axes * np.sqrt(sizes.clip(0))) @ axes.T
