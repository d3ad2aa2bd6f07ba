"""A network's own loss as the basin: is its exit rate that of 2d rays (N2)?"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from levyjax.basins import Sublevel
from levyjax.claims.base import Claim, Outcome, Settings, judge_value, known, shown
from levyjax.claims.figures.network import ray_reach
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, exponential_fit, predict, simulate
from levyjax.escape.columns import column_rate
from levyjax.noise import Independent
from levyjax.plots import ratio_forest
from levyjax.solvers import Euler
from levyjax.training import (
    MLP,
    NetworkLoss,
    draw_batches,
    flatten,
    gradient_noise,
    load,
    network_landscape,
    stable_scales,
)

_ALPHA = 1.2
_HEIGHT, _WEIGHT_DECAY = 0.5, 0.03
_KAPPA = 41.0  # by the exits of all directions together: the limit's bias is below 2%
_DURATION = 0.5  # of a run, in predicted mean exit times: with all lanes abreast, longer ones would wait for the last
_TOLERANCE = 0.15
_PATCH = 2  # pixels of a side that are pooled


def examples(name: str, count: int, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a data set, pooled over patch x patch pixels, each feature of mean 0 and variance 1.

    Data that are no images stay as they are; a feature that never changes is 0.
    """
    data = load(name)
    x, y = np.asarray(data.train_x[:count], np.float64), data.train_y[:count]
    if data.image_shape is not None:
        side = data.image_shape[0] // patch
        x = x.reshape(count, side, patch, side, patch, -1).mean(axis=(2, 4)).reshape(count, -1)
    spread = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0), y


def _noise(model: MLP, landscape: NetworkLoss, y: np.ndarray, seed: int) -> Independent:
    """Stable noise with the scales of the network's own mini-batch noise at the minimum, the largest one 1."""
    parameters = jnp.asarray(landscape.minimum, jnp.float32)
    x = jnp.asarray(landscape.features, jnp.float32)
    batches = draw_batches(len(y), 10, 256, seed)
    measured = stable_scales(gradient_noise(flatten(model).losses, parameters, x, jnp.asarray(y), batches), seed=seed)
    return Independent(_ALPHA, measured.scales / measured.scales.max())


def _ways(problem: EscapeProblem) -> np.ndarray:
    """How far each parameter has to jump to leave, down and up: (2, d)."""
    with jax.enable_x64(True):
        axes = np.eye(problem.dimension)
        rays = jnp.asarray(np.concatenate([axes, -axes], axis=1))
        gauge = np.asarray(problem.basin.gauge(jnp.asarray(problem.landscape.minimum), rays))
    return (1 / gauge).reshape(2, -1)


def _rare(problem: EscapeProblem, ways: np.ndarray) -> tuple[EscapeProblem, float]:
    """The problem at the noise level of the chosen kappa, and the largest curvature."""
    with jax.enable_x64(True):
        curvatures = np.linalg.eigvalsh(np.asarray(problem.landscape.hessian()))
    reaches = ((np.asarray(problem.noise.scale) / ways) ** _ALPHA).sum()  # times C/alpha: the rate at noise level 1
    level = (2 * float(curvatures[0]) / _KAPPA / reaches) ** (1 / _ALPHA)
    return dataclasses.replace(problem, noise_level=level), float(curvatures[-1])


def network_exits(settings: Settings) -> Outcome:
    """Exit rate of simulated SGD from a network's own basin, over the predicted one."""
    x, y = examples("digits", settings.size(100, 250), _PATCH)
    hidden = settings.size(4, 8)
    model = MLP((x.shape[1], hidden, 10), rngs=nnx.Rngs(0), activation="tanh")
    landscape = network_landscape(model, x, y, _WEIGHT_DECAY)
    noise = _noise(model, landscape, y, settings.seed)
    problem = EscapeProblem(landscape, Sublevel(landscape, _HEIGHT), noise, SGD(), 1.0)
    ways = _ways(problem)
    problem, fastest = _rare(problem, ways)
    prediction = predict(problem)
    rate = known(prediction.rate)
    plan = Plan(Euler(1 / fastest), settings.size(64, 600), max_time=_DURATION / rate)
    samples = simulate(problem, plan, settings.seeds("N2")[0])
    fit = exponential_fit(samples.exit_time, samples.exited)
    ratio = 1 / (known(fit.mean) * rate)
    interval = 1 / (known(fit.mean_interval[1]) * rate), 1 / (fit.mean_interval[0] * rate)
    rough = column_rate(problem, quadratic=True).rate / rate
    slices = flatten(model).slices
    shares = list(prediction.exit_probabilities.values())
    parts = {name: sum(shares[2 * start : 2 * stop]) for name, (start, stop) in slices.items()}
    reaches = {name: ways[:, start:stop].ravel() for name, (start, stop) in slices.items()}

    def draw() -> Any:
        import matplotlib.pyplot as plt

        _, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), width_ratios=(3, 2))
        ray_reach(reaches, parts, ax=left)
        ratio_forest(
            ["simulated", "quadratic F"], [ratio, rough], [interval, None], xlabel="rate / rate of the rays", ax=right
        )
        return left

    count = int(samples.exited.sum())
    return Outcome(
        expected=1.0,
        measured=ratio,
        ci95=interval,
        verdict=judge_value(interval, 1.0, _TOLERANCE),
        finding=f"A {x.shape[1]}-{hidden}-10 tanh network on {len(y)} digits pooled to 4 x 4, trained to a "
        f"gradient of 1e-8 or less ({problem.dimension} parameters), alpha = {_ALPHA}, scales of its own mini-batch "
        f"noise: {count} exits of {len(samples.exit_code)} runs come at {shown(ratio)} times the predicted rate. The "
        f"prediction is valid: {prediction.valid}. Were F quadratic it would be {shown(rough)} times that.",
        draw=draw,
        alt="How far a jump of each parameter must go to leave, by layer, and the measured over the predicted rate.",
    )


CLAIMS = (
    Claim(
        "N2",
        "The basin of a real network's loss is left at the rate of its 2d rays along the parameters.",
        "levyjax: the gauge formula on a network's own loss, by simulated SGD on all examples with stable noise",
        f"The simulated exit rate over the predicted one is compared with 1, tolerance {_TOLERANCE}.",
        network_exits,
    ),
)
