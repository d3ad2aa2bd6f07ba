"""A network's mini-batch noise at a minimum, and noises that stand in for it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from levyjax.noise import Empirical, Gaussian, Independent, MiniBatch, Noise, Rotational
from levyjax.training.capture import GradientNoise, StableNoise, stable_scales
from levyjax.training.landscape import NetworkLoss


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
        captured: the noise that index, scales and captured vectors are from.
        stable: the fitted index and scales.
        variance: (d,) of a mini-batch's gradient at the minimum, exactly.
    """

    models: Mapping[str, Noise]
    captured: GradientNoise
    stable: StableNoise
    variance: Float[np.ndarray, " d"]


def noise_models(loss: NetworkLoss, batch_size: int, *, num_batches: int = 2048, seed: int = 0) -> NoiseModels:
    """Measure the gradient noise at a loss's minimum and make a noise of each kind from it.

    Args:
        loss: of the network, with its minimum.
        batch_size: examples of a mini-batch, drawn with replacement.
        num_batches: to capture, at least 50.
        seed: of the captured mini-batches.

    Returns:
        The noises. Covariances are exact, over all examples; index, scales and captured vectors are from the capture.

    Raises:
        ValueError: no noise at the minimum, fewer than 50 mini-batches, or a batch size below 1.
    """
    captured, every = captured_noise(loss, loss.minimum, batch_size, num_batches, seed)
    stable = stable_scales(captured, seed=seed)
    rows = (every - captured.full_gradient) / np.sqrt(len(every) * batch_size)
    variance = (rows**2).sum(axis=0)
    if len(rows) > rows.shape[1]:
        rows = np.linalg.qr(rows, mode="r")  # fewer rows of the same rows' rows
    # Each coordinate of A L has the scale that was measured for it, and A A' the correlations of the gradients.
    sizes = stable.scales / np.where(variance > 0, np.sqrt(variance), 1.0)
    models = {
        "algorithm": MiniBatch(loss, batch_size),
        "stable": Independent(stable.alpha, stable.scales),
        "elliptical": Rotational(stable.alpha, sizes[:, None] * _root(rows)),
        "gaussian": Gaussian(_root(rows) / np.sqrt(2)),
        "diagonal": Gaussian(np.sqrt(variance / 2)),
        "captured": Empirical(captured.samples),
        "local": MiniBatch(loss, batch_size, gaussian=True),
    }
    return NoiseModels(models, captured, stable, variance)


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
