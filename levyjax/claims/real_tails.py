"""The tails of a network's noise along training, by layer and batch size (R-tails)."""

import jax.numpy as jnp
import numpy as np

from levyjax.claims.base import Claim, Outcome, Settings, Verdict, shown
from levyjax.claims.real_noise import trained
from levyjax.escape.statistics import binomial_interval
from levyjax.plots.training import alpha_along_training
from levyjax.training import TrainResult, load
from levyjax.training.tail_monitor import BatchSizeStudy, LayerTail, batch_size_study, layer_slices, tail_monitor


def _studies(settings: Settings, result: TrainResult) -> list[BatchSizeStudy]:
    """Batch sizes at the start, the middle and the end of the run."""
    digits = load("digits")
    x, y = jnp.asarray(digits.train_x), jnp.asarray(digits.train_y)
    points = list(result.kept.items())
    sizes = (16, 256) if settings.quick else (16, 64, 256, 1024)
    layers = ["all"] if settings.quick else list(layer_slices(result.model.slices))
    studies = []
    for iteration, parameters in points[-1:] if settings.quick else points:
        studies += batch_size_study(
            result.model.losses, jnp.asarray(parameters), x, y, sizes, settings.size(150, 300),
            slices=result.model.slices, layers=layers, iteration=iteration, seed=settings.seed,
        )  # fmt: skip
    return studies


def real_tails(settings: Settings) -> Outcome:
    """Audits of the noise by layer, phase and batch size, and the estimates beside Gaussian twins."""
    result = trained(settings)
    layers = ["all"] if settings.quick else list(layer_slices(result.model.slices))
    rows = tail_monitor(result.noise, layers=layers, audited=False, seed=settings.seed)
    studies = _studies(settings, result)
    verdicts = [verdict for study in studies for verdict in study.verdicts.values()]
    against = sum(verdict in ("finite_variance", "heavy_tailed") for verdict in verdicts)
    stable = verdicts.count("stable")
    verdict: Verdict = "undecided"
    if 2 * against > len(verdicts):
        verdict = "refuted"
    elif 2 * stable > len(verdicts):
        verdict = "confirmed"
    counts = ", ".join(f"{name} {verdicts.count(name)}" for name in dict.fromkeys(sorted(verdicts)))
    slopes = np.array([study.local_slopes() for study in studies])
    published = [row.alpha["as_published"] for row in rows]
    twins = [row.gaussian["as_published"] for row in rows]
    pooled = [row.alpha["characteristic_function"] for row in rows]
    return Outcome(
        expected=None,
        measured=against / len(verdicts),
        ci95=binomial_interval(against, len(verdicts)),
        verdict=verdict,
        finding=f"64-32-10 relu network on the digits, test accuracy {100 * result.test_accuracy[-1]:.1f}%. The "
        f"paper's estimator gives {shown(min(published))} to {shown(max(published))} along training, and "
        f"{shown(min(twins))} to {shown(max(twins))} on Gaussian noise with the same scales; brought to one scale, the "
        f"index is {shown(min(pooled))} to {shown(max(pooled))}. Drawn with replacement, the scale goes as the batch "
        f"size to a power of {shown(float(np.median(slopes[:, 0])))} (median) from {studies[0].batch_sizes[0]} to "
        f"{studies[0].batch_sizes[1]} and {shown(float(np.median(slopes[:, -1])))} up to "
        f"{studies[0].batch_sizes[-1]} (finite variance: -0.5 in the end; stable: one power throughout). Audits: "
        f"{counts}. Measured is the part that says not stable.",
        draw=lambda: _draw(rows, layers),
        alt="Estimated tail index along training by layer, with that of Gaussian noise of the same scales.",
    )


def _draw(rows: list[LayerTail], layers: list[str]):
    iterations = np.unique([row.iteration for row in rows])
    alpha: dict[str, list[float]] = {}
    gaussian: dict[str, list[float]] = {}
    for layer in layers:
        name = "all layers" if layer == "all" else f"layer {int(layer.rpartition('.')[2]) + 1}"
        mine = [row for row in rows if row.layer == layer]
        alpha[name] = [row.alpha["as_published"] for row in mine]
        gaussian[name] = [row.gaussian["as_published"] for row in mine]
    if len(layers) == 1:
        for found, kind in ((alpha, "alpha"), (gaussian, "gaussian")):
            found["at one scale"] = [getattr(row, kind)["characteristic_function"] for row in rows]
    return alpha_along_training(iterations, alpha, gaussian)


CLAIMS = (
    Claim(
        "R-tails",
        "Gradient noise is stable with a tail index below 2, in every phase of training and at every batch size.",
        "Zhou et al. 2020, section 5 and Figure 3 (left)",
        "Audits by layer, phase and batch size: refuted if more than half of them find the noise not stable (finite "
        "variance, or another heavy tail), confirmed if more than half find it stable.",
        real_tails,
    ),
)
