"""Which model of gradient noise predicts when a real network leaves its minimum (N3)?"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from levyjax.arrays import cast
from levyjax.basins import Sublevel
from levyjax.claims.base import (
    Claim,
    Interval,
    Outcome,
    Settings,
    judge_together,
    judge_value,
    known,
    mean_ratio,
    seeds_of,
    shown,
)
from levyjax.claims.figures.ratios import grouped_ratios
from levyjax.claims.network import examples
from levyjax.dynamics import SGD, Adam, Dynamics
from levyjax.escape import EscapeProblem, exponential_fit, exponentiality_test, predict
from levyjax.escape.statistics import ExponentialFit
from levyjax.noise import Independent, sde_noise_level
from levyjax.plots import style
from levyjax.training import (
    MLP,
    NetworkLoss,
    excursions,
    exit_levels,
    first_exits,
    flatten,
    network_landscape,
    noise_models,
)
from levyjax.training.escapes import EVERY, Excursions

_FACTOR = 1.5  # within which a mean exit time counts as predicted
_WEIGHT_DECAY, _BATCH = 0.03, 10
_SGD, _ADAM_RATE = SGD(0.5), 0.005
_PILOT = 64  # lanes that set the levels
MODELS = {
    "stable": "stable, measured index",
    "elliptical": "stable, same correlations",
    "diagonal": "Gaussian, same variances",
    "gaussian": "Gaussian, same covariance",
    "captured": "captured vectors",
    "local": "Gaussian, covariance at x",
}
"""The models of the noise and what figures call them."""
SETS = ("small ball", "middle ball", "large ball", "sublevel set")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of one study.

    Attributes:
        lanes: runs of each optimizer and model.
        steps: at which a run ends.
        medians: median exit steps of the real algorithm from the three balls, which sets their radii.
        level_median: the same for the sublevel set.
        models: names of models, some of `MODELS`.
        rays: whether to predict SGD's exit from the sublevel set under stable noise by its rays.
    """

    lanes: int
    steps: int
    medians: tuple[int, int, int]
    level_median: int
    models: tuple[str, ...]
    rays: bool = True


@dataclasses.dataclass(frozen=True)
class Exits:
    """Exits of one optimizer under one model.

    Attributes:
        fits: of the exit times in steps, one for each set: three balls and the sublevel set.
        p_values: of the test that they are exponential.
        spread: root mean square of |x - x*| over the run's second half, and the mean of F - F* there.
    """

    fits: tuple[ExponentialFit, ...]
    p_values: tuple[float | None, ...]
    spread: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class OptimizerStudy:
    """One optimizer's exits.

    Attributes:
        levels: the three radii, and the height of the sublevel set.
        outside: the part of the second half of the real runs that is beyond each level.
        exits: by model, "algorithm" the real one.
    """

    levels: tuple[float, ...]
    outside: tuple[float, ...]
    exits: Mapping[str, Exits]

    def ratio(self, model: str, place: int) -> tuple[float | None, tuple[float, float | None]]:
        """The model's mean exit time over the algorithm's, with its interval; without an exit, a lower bound."""
        fit, real = self.exits[model].fits[place], self.exits["algorithm"].fits[place]
        if fit.mean is None:
            return None, (fit.mean_interval[0] / known(real.mean_interval[1]), None)
        return mean_ratio(fit, real)


@dataclasses.dataclass(frozen=True)
class Study:
    """All that one network's exits say.

    Attributes:
        name: of the network and its examples.
        dimension: number of parameters.
        alpha: the measured tail index.
        accuracy: of the minimum on its own examples.
        optimizers: by name.
        rays_steps: mean exit steps of SGD from the sublevel set that 2d rays predict; None where not looked for.
        rays_valid: whether that prediction says that it is valid.
    """

    name: str
    dimension: int
    alpha: float
    accuracy: float
    optimizers: Mapping[str, OptimizerStudy]
    rays_steps: float | None
    rays_valid: bool


def escape_study(
    name: str, hidden: Sequence[int], x: np.ndarray, y: np.ndarray, plan: Plan, seed: int, batch_size: int = _BATCH
) -> Study:
    """Train a tanh network to its minimum and time its exits under the algorithm and under models of its noise."""
    model = MLP((x.shape[1], *hidden, 10), rngs=nnx.Rngs(0), activation="tanh")
    landscape = network_landscape(model, x, y, _WEIGHT_DECAY)
    answers = np.asarray(flatten(model).apply(jnp.asarray(landscape.minimum), jnp.asarray(x))).argmax(axis=1)
    loss = cast(landscape, jnp.float32)
    measured = noise_models(loss, batch_size, seed=seed)
    adam = Adam(_ADAM_RATE, initial_m=np.zeros(landscape.minimum.size), initial_v=measured.variance)

    def run(model: str, optimizer: Dynamics, lanes: int, seed: int) -> Excursions:
        noise = measured.models[model]
        return excursions(loss, noise, optimizer, num_lanes=lanes, num_steps=plan.steps, seed=seed)

    optimizers = {}
    for place, (title, optimizer) in enumerate({"SGD": _SGD, "Adam": adam}.items()):
        seeds = seeds_of(seed, "N3")[20 * place : 20 * place + 20]
        pilot = run("algorithm", optimizer, _PILOT, seeds[0])
        levels = (*exit_levels(pilot.distance, plan.medians), *exit_levels(pilot.excess, [plan.level_median]))
        real = run("algorithm", optimizer, plan.lanes, seeds[1])
        exits = {"algorithm": _exits(real, levels)}
        for number, model in enumerate(plan.models):
            exits[model] = _exits(run(model, optimizer, plan.lanes, seeds[2 + number]), levels)
        optimizers[title] = OptimizerStudy(levels, _outside(real, levels), exits)
    rays = (None, False)
    if plan.rays and measured.stable.alpha < 2:
        noise = Independent(measured.stable.alpha, measured.stable.scales)
        rays = _by_rays(landscape, noise, optimizers["SGD"].levels[-1])
    accuracy = float((answers == y).mean())
    return Study(name, landscape.minimum.size, measured.stable.alpha, accuracy, optimizers, *rays)


def _values(found: Excursions) -> tuple[np.ndarray, ...]:
    return found.distance, found.distance, found.distance, found.excess


def _exits(found: Excursions, levels: Sequence[float]) -> Exits:
    times = [first_exits(values, level) for values, level in zip(_values(found), levels, strict=True)]
    half = len(found.distance) // 2
    return Exits(
        tuple(exponential_fit(*both) for both in times),
        tuple(exponentiality_test(*both, resolution=EVERY).pvalue for both in times),
        (float(np.sqrt((found.distance[half:] ** 2).mean())), float(found.excess[half:].mean())),
    )


def _outside(found: Excursions, levels: Sequence[float]) -> tuple[float, ...]:
    half = len(found.distance) // 2
    return tuple(float((values[half:] >= level).mean()) for values, level in zip(_values(found), levels, strict=True))


def _by_rays(landscape: NetworkLoss, noise: Independent, height: float) -> tuple[float, bool]:
    """Mean exit steps of SGD from the sublevel set, by the small-noise law, and whether that law says it is valid."""
    rate = float(_SGD.learning_rate)
    level = sde_noise_level(noise.alpha, rate)
    prediction = predict(EscapeProblem(landscape, Sublevel(landscape, height), noise, SGD(), level))
    return 1 / (rate * known(prediction.rate)), prediction.valid


def network_escapes(settings: Settings) -> Outcome:
    """Mean exit times of the network under each model of its noise, over those of its own SGD and Adam."""
    x, y = examples("digits", settings.size(60, 100), 2)
    if settings.quick:
        plan = Plan(64, 300, (50, 100, 200), 100, ("stable", "captured"), rays=False)
    else:
        plan = Plan(128, 600, (100, 250, 500), 250, tuple(MODELS))
    hidden = settings.size(4, 8)
    study = escape_study(f"16-{hidden}-10 tanh network on {len(y)} digits", (hidden,), x, y, plan, settings.seed)
    cells = [(title, place) for title in study.optimizers for place in range(len(SETS))]
    parts = [study.optimizers[title].ratio("stable", place) for title, place in cells]
    worst = max(range(len(parts)), key=lambda part: abs(math.log(parts[part][0] or math.inf)))
    ratio, (low, high) = parts[worst]
    measured = low if ratio is None else ratio
    return Outcome(
        expected=1.0,
        measured=measured,
        ci95=(low, measured if high is None else high),
        verdict=judge_together(judge_value(_logs(interval), 0.0, math.log(_FACTOR)) for _, interval in parts),
        finding=_finding(study, cells[worst]),
        draw=lambda: draw_study(study),
        alt="Mean exit time under each model of the noise over that of the real algorithm, for four sets, in two "
        "panels: SGD and Adam.",
    )


def _logs(interval: tuple[float, float | None]) -> Interval:
    return math.log(interval[0]), math.inf if interval[1] is None else math.log(interval[1])


def _finding(study: Study, worst: tuple[str, int]) -> str:
    ranges = []
    for model in study.optimizers["SGD"].exits:
        if model != "algorithm":
            ranges.append(f"{MODELS[model]}: {', '.join(_range(study, title, model) for title in study.optimizers)}")
    sgd = study.optimizers["SGD"]
    if study.rays_steps is not None:
        real, model = (known(sgd.exits[name].fits[3].mean) for name in ("algorithm", "stable"))
        ranges.append(
            f"rays for SGD out of the sublevel set: {shown(study.rays_steps / real)} times the real mean, "
            f"{shown(study.rays_steps / model)} times the stable model's (valid: {study.rays_valid})"
        )
    return (
        f"A {study.name} ({study.dimension} parameters), at a minimum with accuracy {study.accuracy:.2f}; mini-batches "
        f"of {_BATCH} with replacement, measured index {study.alpha:.2f}. Radii are "
        f"{_list(level / sgd.exits['algorithm'].spread[0] for level in sgd.levels[:3])} times the root mean square "
        f"distance of SGD, which is beyond them {_list(100 * part for part in sgd.outside[:3])} % of the time. Mean "
        f"exit time over the real one, least and largest over the sets: {'; '.join(ranges)}. Measured is the stable "
        f"ratio furthest from 1, of {worst[0]} out of the {SETS[worst[1]]}."
    )


def _list(values: Any) -> str:
    return ", ".join(f"{value:.2g}" for value in values)


def _range(study: Study, title: str, model: str) -> str:
    found = [study.optimizers[title].ratio(model, place) for place in range(len(SETS))]
    ratios = [ratio for ratio, _ in found if ratio is not None]
    never = len(found) - len(ratios)
    spread = f"{min(ratios):.2g} to {max(ratios):.2g}" if ratios else "no exit"
    return f"{title} {spread}" + (f" and {never} without exit" if never and ratios else "")


def draw_study(study: Study) -> Any:
    """Two panels of ratios, SGD's and Adam's."""
    import matplotlib.pyplot as plt

    names = [name for name in study.optimizers["SGD"].exits if name != "algorithm"]
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(7, 1.3 + 0.09 * 4 * max(len(names), 4)), sharey=True)
    for axes, (title, found) in zip(panels, study.optimizers.items(), strict=True):
        series = {MODELS[name]: [found.ratio(name, place) for place in range(len(SETS))] for name in names}
        grouped_ratios(SETS, series, band=(1 / _FACTOR, _FACTOR), xlabel="mean exit time / real one", ax=axes)
        axes.set_title(f"{title}, {study.dimension} parameters")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    return panels[0]


CLAIMS = (
    Claim(
        "N3",
        "Exits of a real network from its minimum are predicted by stable noise of the measured index.",
        "The premise of Zhou et al. 2020 and Simsekli et al. 2019",
        "For SGD and for Adam, out of three balls and a sublevel set of the loss: the mean exit time under full "
        "gradients with independent stable noise of the measured index and scales, over that of the algorithm itself. "
        f"Each ratio is compared with 1, tolerance a factor of {_FACTOR}; refuted if any is refuted, confirmed if all "
        "are confirmed.",
        network_escapes,
    ),
)
