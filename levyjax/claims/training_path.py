"""Where training goes: is there a barrier between iterates (D13), and are SGD's minima flatter than Adam's?"""

import dataclasses
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy  # its parts load when they are used
from flax import nnx

from levyjax import tails
from levyjax.claims.base import Claim, Interval, Outcome, Settings, judge_above, judge_below, judge_together, shown
from levyjax.escape.statistics import binomial_interval
from levyjax.plots import ratio_forest
from levyjax.plots.training import loss_along_path
from levyjax.training import MLP, FlatModel, draw_batches, flatten, gradient_noise, load
from levyjax.training.curvature import HessianTrace, Loss, hessian_pairs, hessian_trace, mean_loss, noise_alignment
from levyjax.training.gradients import batch_gradient
from levyjax.training.paths import LossPath, least_path, line_path

_BATCH = 32
_RISE = 0.01  # of the higher end's loss, from which a rise between the ends counts as a barrier
_TARGET = 0.3  # training loss, nats, at which SGD and Adam are compared
_RATES = {"SGD": 1e-2, "Adam": 1e-3}  # the defaults that the paper names
_DEEP, _DEEP_RATE = (20, 20, 20, 20), 0.05
_ORDER, _CAPTURE = 11, 12  # streams of random numbers beside the seed


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Several runs of one network from different starts.

    Attributes:
        model: the network.
        x: the training examples.
        y: their labels.
        iterations: (records,), updates made before each record.
        losses: (runs, records), over all examples.
        points: (runs, records, d).
    """

    model: FlatModel
    x: jax.Array
    y: jax.Array
    iterations: np.ndarray
    losses: np.ndarray
    points: np.ndarray


def runs(
    widths: tuple[int, ...], optimizer: optax.GradientTransformation, count: int, records: int, stride: int, seed: int
) -> Runs:
    """Trains a relu network on the digits `count` times, all runs abreast."""
    digits = load("digits")
    x, y = jnp.asarray(digits.train_x), jnp.asarray(digits.train_y)
    sizes = (x.shape[1], *widths, 10)
    models = [flatten(MLP(sizes, rngs=nnx.Rngs(seed * 1000 + run))) for run in range(count)]
    losses, rng = models[0].losses, np.random.default_rng([seed, _ORDER])
    epochs = -(-records * stride * _BATCH // len(y)) + 1
    orders = [np.concatenate([rng.permutation(len(y)) for _ in range(epochs)]) for _ in range(count)]
    batches = np.array([order[: records * stride * _BATCH] for order in orders], np.int32)

    def update(carry: Any, rows: jax.Array) -> tuple[Any, None]:
        parameters, state = carry
        slope = batch_gradient(losses, parameters, x, y, rows)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and int32 counters
            step, state = optimizer.update(slope, state, parameters)
        return (optax.apply_updates(parameters, step), state), None

    def record(carry: Any, rows: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        carry = jax.lax.scan(update, carry, rows)[0]
        return carry, (losses(carry[0], x, y).mean(), carry[0])

    def run(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        start, rows = part
        return jax.lax.scan(record, (start, optimizer.init(start)), rows)[1]

    starts = jnp.stack([model.parameters for model in models])
    rows = jnp.asarray(batches.reshape(count, records, stride, _BATCH))
    heights, points = jax.jit(lambda *parts: jax.vmap(run)(parts))(starts, rows)
    return Runs(
        models[0], x, y, stride * np.arange(1, records + 1), np.asarray(heights, np.float64), np.asarray(points)
    )


def _dip(found: Runs, run: int, looks: int, num_batches: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Records in the first half of a run, and the tail index there as the paper's code estimates it."""
    records = np.unique(np.geomspace(1, len(found.iterations) // 2, looks).astype(int)) - 1
    batches = draw_batches(len(found.y), _BATCH, num_batches, seed)
    alphas = []
    for record in records:
        point = jnp.asarray(found.points[run, record])
        noise = gradient_noise(found.model.losses, point, found.x, found.y, batches)
        alphas.append(tails.block_log_moment_as_published(noise.samples[:, :2_768]).alpha)
    return records, np.array(alphas, float)


def barriers(settings: Settings) -> Outcome:
    """The line, and where it rises the least path, between SGD's iterates at the dip and at twice its iterations."""
    count, records = settings.size(6, 24), settings.size(30, 60)
    found = runs(_DEEP, optax.sgd(_DEEP_RATE), count, records, settings.size(40, 50), settings.seed)
    loss = mean_loss(found.model.losses, found.x, found.y)
    lines, lows, rises, crossed = [], [], [], 0
    for run in range(count):
        at, alphas = _dip(found, run, settings.size(4, 12), settings.size(32, 128), settings.seed * 1000 + run)
        first = int(at[np.argmin(alphas)])
        last = 2 * first + 1  # twice the iterations, as 1000 and 2000 in the paper
        ends = found.points[run, first], found.points[run, last]
        line = line_path(loss, *ends, count=settings.size(21, 101))
        limit = _RISE * max(line.losses[0], line.losses[-1])
        way = line
        if line.barrier > limit:
            way = least_path(loss, *ends, images=7, steps=settings.size(100, 500))
        crossed += line.barrier > limit and way.between > limit
        lines.append((found.iterations[first], found.iterations[last], line, way))
        rises.append(line.barrier / max(line.losses[0], line.losses[-1]))
        lows.append(alphas.min())
    interval = binomial_interval(int(crossed), count)
    on_line = int((np.array(rises) > _RISE).sum())
    highest = int(np.argmax(rises))
    return Outcome(
        expected=None,
        measured=crossed / count,
        ci95=interval,
        verdict=judge_above(interval, 0.5),
        finding=f"A 64-{'-'.join(map(str, _DEEP))}-10 relu network on the digits, SGD at {_DEEP_RATE:g} with batches "
        f"of {_BATCH}, {count} starts. The estimate is lowest, {shown(float(np.median(lows)))} in the median, at "
        f"iterations {min(line[0] for line in lines)} to {max(line[0] for line in lines)}. From there to twice the "
        f"iterations the line rises by more than {_RISE:.0%} of the higher end in {on_line} of {count} runs (the "
        f"largest rise is {100 * max(rises):.2g}%), and so does the least path found in {crossed}.",
        draw=lambda: _draw_lines(lines, highest),
        alt="Loss on the lines between iterates before and after the dip: it falls from one end to the other.",
    )


def _draw_lines(lines: list[tuple[int, int, LossPath, LossPath]], highest: int) -> Any:
    first, last, line, way = lines[highest]
    shown_paths = {f"iterations {first} to {last}": (line.places, line.losses)}
    for first, last, other, _ in [parts for place, parts in enumerate(lines) if place != highest][:2]:
        shown_paths[f"{first} to {last}"] = (other.places, other.losses)
    if way is not line:
        shown_paths["least path"] = (way.places, way.losses)
    return loss_along_path(shown_paths)


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """Curvature of one point that training reached.

    Attributes:
        iteration: when.
        loss: over the training examples.
        test: accuracy on the test examples.
        top: largest Hessian eigenvalue.
        trace: of the Hessian.
        cosine: of the noise's covariance and the Hessian; None where it was not measured.
    """

    iteration: int
    loss: float
    test: float
    top: float
    trace: float
    cosine: float | None


def _cosine(found: Runs, loss: Loss, point: jax.Array, trace: HessianTrace, run: int) -> float:
    batches = draw_batches(len(found.y), _BATCH, 256, run)
    noise = gradient_noise(found.model.losses, point, found.x, found.y, batches)
    return noise_alignment(loss, point, noise.samples, trace).cosine


@lru_cache(maxsize=2)
def sharpness_of(settings: Settings) -> dict[str, list[Sharpness]]:
    """SGD and Adam from the same starts, each at its first record at the target loss."""
    count, digits = settings.size(5, 16), load("digits")
    out: dict[str, list[Sharpness]] = {}
    for name, optimizer in (("SGD", optax.sgd(_RATES["SGD"])), ("Adam", optax.adam(_RATES["Adam"]))):
        records, stride = (settings.size(64, 80), 50) if name == "SGD" else (settings.size(32, 40), 20)
        found = runs((32,), optimizer, count, records, stride, settings.seed)
        loss = mean_loss(found.model.losses, found.x, found.y)
        out[name] = []
        for run in range(count):
            reached = np.flatnonzero(found.losses[run] <= _TARGET)
            if reached.size == 0:
                raise RuntimeError(f"{name} does not reach a training loss of {_TARGET} in {found.iterations[-1]}")
            at = int(reached[0])
            point = jnp.asarray(found.points[run, at])
            trace = hessian_trace(loss, point, settings.size(16, 128), seed=run)
            right = np.asarray(found.model.apply(point, jnp.asarray(digits.test_x))).argmax(axis=1) == digits.test_y
            cosine = None if settings.quick else _cosine(found, loss, point, trace, run)
            out[name].append(
                Sharpness(
                    int(found.iterations[at]), float(found.losses[run, at]), float(right.mean()),
                    float(hessian_pairs(loss, point, 1, tolerance=1e-2).values[0]), trace.trace, cosine,
                )
            )  # fmt: skip
    return out


def _log_ratio(first: list[float], second: list[float]) -> tuple[float, Interval]:
    """Geometric mean of the ratios of pairs with its 95% interval, by Student's t on their logarithms."""
    logs = np.log(np.array(first) / np.array(second))
    half = scipy.stats.t.ppf(0.975, logs.size - 1) * logs.std(ddof=1) / np.sqrt(logs.size)
    return float(np.exp(logs.mean())), (float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half)))


def _described(points: list[Sharpness]) -> str:
    top, trace, test = (np.mean([getattr(point, name) for point in points]) for name in ("top", "trace", "test"))
    cosines = [point.cosine for point in points if point.cosine is not None]
    aligned = f", cosine of noise and Hessian {shown(float(np.mean(cosines)))}" if cosines else ""
    return (
        f"largest eigenvalue {shown(float(top))}, trace {shown(float(trace))}{aligned}, test accuracy {test:.1%}, "
        f"reached by iteration {max(point.iteration for point in points)}"
    )


def flatter(settings: Settings) -> Outcome:
    """Largest eigenvalue and trace of the Hessian, SGD over Adam, at equal training loss."""
    found = sharpness_of(settings)
    pairs = {
        "largest eigenvalue": [[point.top for point in found[name]] for name in _RATES],
        "trace": [[point.trace for point in found[name]] for name in _RATES],
    }
    ratios = {name: _log_ratio(*values) for name, values in pairs.items()}
    verdict = judge_together(judge_below(interval, 1.0) for _, interval in ratios.values())
    described = "; ".join(f"{name} (rate {_RATES[name]:g}): {_described(points)}" for name, points in found.items())
    ratio, interval = ratios["largest eigenvalue"]
    return Outcome(
        expected=None,
        measured=ratio,
        ci95=interval,
        verdict=verdict,
        finding=f"64-32-10 relu network on the digits, {len(found['SGD'])} starts, batches of {_BATCH}, at the first "
        f"record with a training loss of {_TARGET} or less. Means: {described}. Ratio of the traces: "
        f"{shown(ratios['trace'][0])} [{shown(ratios['trace'][1][0])}, {shown(ratios['trace'][1][1])}]. These are "
        "points of equal loss on the way down, and the learning rates are the defaults that the paper names.",
        draw=lambda: ratio_forest(
            list(ratios),
            [ratio for ratio, _ in ratios.values()],
            [interval for _, interval in ratios.values()],
            xlabel="SGD / Adam",
        ),
        alt="Ratios of SGD's to Adam's largest Hessian eigenvalue and trace at equal training loss, with intervals.",
    )


CLAIMS = (
    Claim(
        "D13",
        "At the dip of the estimated tail index SGD jumps over a barrier into another basin.",
        "Zhou et al. 2020, section 5 and Figure 3 (right)",
        "Between the iterate of the lowest estimate and that of twice as many updates: a barrier is a rise of 1% above "
        "the higher end on the line and on the least path found. Refuted if the 95% interval of the share of runs with "
        "one is below 1/2, confirmed if above.",
        barriers,
    ),
    Claim(
        "R-sharpness",
        "SGD's minima are flatter than Adam's.",
        "Zhou et al. 2020, sections 4.2 and 5, of minima in the sense of curvature",
        "At equal training loss from the same starts: the ratio (SGD/Adam) of the largest Hessian eigenvalue and of "
        "the trace. Refuted if the 95% interval of either is above 1, confirmed if both are below.",
        flatter,
    ),
)
