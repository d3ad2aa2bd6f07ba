"""Is Adam's gradient noise lighter-tailed than SGD's (D10): raw noise at both iterates, and noise as it is applied."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from levyjax import tails
from levyjax.claims.base import Claim, Interval, Outcome, Settings, Verdict, shown
from levyjax.claims.figures.noise import layer_moments, tail_indices
from levyjax.training import GradientNoise, TrainConfig, TrainResult, applied_noise, draw_batches, load, train
from levyjax.training.per_example import layer_means

_OPTIMIZERS = {"sgd": 0.1, "adam": 0.0015}  # learning rates that bring this network to about one training loss
_MOMENTUM = 0.9
_SHOWN = {"raw": "raw", "momentum 0.9": "after momentum 0.9", "Adam": "after Adam"}
_OURS, _THEIRS = "one scale, characteristic function", "as published, pooled as it is"


def _trained(settings: Settings) -> dict[str, TrainResult]:
    """A 64-32-10 network on scikit-learn's digits, by SGD and by Adam, from the same start."""
    iterations = settings.size(400, 3000)
    size: dict[str, Any] = {"iterations": iterations, "record_every": iterations, "seed": settings.seed}
    return {name: train(TrainConfig(optimizer=name, learning_rate=rate, **size)) for name, rate in _OPTIMIZERS.items()}


def _noises(settings: Settings, results: dict[str, TrainResult]) -> dict[str, dict[str, GradientNoise]]:
    """At each iterate the raw noise, and noise after momentum and after Adam, at rest."""
    data, model = load("digits"), results["sgd"].model
    x, y = jnp.asarray(data.train_x), jnp.asarray(data.train_y)
    kept, thinning = settings.size(128, 1024), 20
    optimizers = {
        "momentum 0.9": (optax.sgd(1.0, _MOMENTUM), 100),
        "Adam": (optax.adam(1.0), settings.size(1000, 5000)),
    }
    found: dict[str, dict[str, GradientNoise]] = {}
    for place, (name, result) in enumerate(results.items()):
        found[name] = {}
        for kind, (optimizer, burn_in) in optimizers.items():
            batches = draw_batches(len(y), 32, burn_in + thinning * kept, settings.seed + 1000 * (place + 1))
            noise = applied_noise(
                model.losses, result.parameters, x, y, batches, optimizer, optimizer.init(result.parameters), 1.0,
                burn_in=burn_in, thinning=thinning, slices=model.slices,
            )  # fmt: skip
            found[name][kind] = noise.applied
            found[name].setdefault("raw", noise.raw)
    return found


def _estimates(samples: np.ndarray, seed: int) -> dict[str, tuple[float, Interval]]:
    """Of each parameter's own law, brought to one scale; and by the paper's estimator on the values as they are."""
    pooled = tails.characteristic_function(tails.pool(samples, center=False, seed=seed).values)
    published = tails.block_log_moment_as_published(samples)
    return {
        name: (float(estimate.alpha), (float(estimate.interval[0]), float(estimate.interval[1])))
        for name, estimate in ((_OURS, pooled), (_THEIRS, published))
    }


def _verdict(samples: np.ndarray, settings: Settings) -> str:
    """The audit's; of a quick run what fits the block lengths better, since an audit takes longer than all the rest."""
    if not settings.quick:
        return tails.audit(samples, center=False, seed=settings.seed).verdict
    sweep = tails.block_length_sweep(tails.pool(samples, center=False, seed=settings.seed).values, center=False)
    return "undecided" if sweep.preferred == "neither" else sweep.preferred


def _difference(first: tuple[float, Interval], second: tuple[float, Interval]) -> tuple[float, Interval]:
    """first - second with its 95% interval, from those of both."""
    value = first[0] - second[0]
    half = math.hypot(*((high - low) / 2 for _, (low, high) in (first, second)))
    return value, (value - half, value + half)


def _judged(interval: Interval, verdicts: tuple[str, str]) -> Verdict:
    low, high = interval
    if high < 0:
        return "refuted"
    if low <= 0:
        return "undecided"
    if set(verdicts) == {"finite_variance"}:
        return "holds_within_limits"
    return "confirmed" if all(verdict in ("stable", "heavy_tailed") for verdict in verdicts) else "undecided"


def lighter_tails(settings: Settings) -> Outcome:
    """Tail indices of raw and applied noise at SGD's and at Adam's iterate."""
    results = _trained(settings)
    noises = _noises(settings, results)
    rows = [(where, kind) for where in results for kind in _SHOWN]
    found = {row: _estimates(noises[row[0]][row[1]].samples, settings.seed) for row in rows}
    pair = (("adam", "Adam"), ("sgd", "raw"))
    verdicts = {row: _verdict(noises[row[0]][row[1]].samples, settings) for row in pair}
    difference, interval = _difference(*(found[row][_OURS] for row in pair))
    raw, _ = _difference(*(found[where, "raw"][_OURS] for where in ("adam", "sgd")))
    theirs = {row: found[row][_THEIRS][0] for row in rows}
    names = [f"{'SGD' if where == 'sgd' else 'Adam'}'s iterate, {_SHOWN[kind]}" for where, kind in rows]
    moments = {
        name: layer_means(
            (np.asarray(noises[row[0]][row[1]].samples, np.float64) ** 2).mean(axis=0), results["sgd"].model.slices
        )
        for name, row in zip(names, rows, strict=True)
    }

    def draw() -> Any:
        import matplotlib.pyplot as plt

        _, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
        tail_indices(names, {name: [found[row][name] for row in rows] for name in (_OURS, _THEIRS)}, ax=left)
        layer_moments({name: moments[name] for name in (names[0], names[3], names[5])}, ax=right)
        return left

    losses = " and ".join(shown(float(result.train_loss[-1])) for result in results.values())
    return Outcome(
        expected=None,
        measured=difference,
        ci95=interval,
        verdict=_judged(interval, (verdicts[pair[0]], verdicts[pair[1]])),
        finding=f"64-32-10 nets on the digits at training losses {losses} (SGD, Adam). With each parameter at one "
        f"scale the index is {shown(found[pair[1]][_OURS][0])} for SGD's raw noise ({verdicts[pair[1]]}), "
        f"{shown(found['adam', 'raw'][_OURS][0])} for raw noise at Adam's iterate (difference {shown(raw)}) and "
        f"{shown(found[pair[0]][_OURS][0])} for noise as Adam applies it ({verdicts[pair[0]]}); momentum 0.9 at SGD's "
        f"iterate gives {shown(found['sgd', 'momentum 0.9'][_OURS][0])}. The published estimator has "
        f"{shown(theirs[pair[1]])}, {shown(theirs['adam', 'raw'])}, {shown(theirs[pair[0]])} and "
        f"{shown(theirs['sgd', 'momentum 0.9'])} for these: scales that differ between parameters move it.",
        draw=draw,
        alt="Left, estimated tail indices of raw, momentum-averaged and Adam-applied noise at both iterates, by two "
        "estimators; right, second moments of the noise by layer.",
    )


CLAIMS = (
    Claim(
        "D10",
        "The gradient noise of Adam is lighter-tailed than that of SGD, because Adam averages gradients.",
        "Zhou et al. 2020, Figures 1, 3 and 4; its released code measures raw noise at Adam's iterates",
        "Noise as Adam applies it at its iterate against raw noise at SGD's, by the difference of estimated indices "
        "with each parameter at one scale: refuted if its interval is below 0, undecided if that has 0 in it. If it is "
        "above 0: confirmed if the audit finds infinite variance in both, holds within limits (as a distance from the "
        "Gaussian that is no tail) if it finds a finite variance in both, else undecided. A quick run has the "
        "block-length sweep in place of the audit.",
        lighter_tails,
    ),
)
