"""Tail indices of gradient noise by layer, beside what Gaussian and stable noise of the same shape would have shown."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from levyjax import stable, tails
from levyjax.datasets import Result, along
from levyjax.tails.aggregation import batch_size_scaling
from levyjax.training.capture import GradientNoise, gradient_noise
from levyjax.training.gradients import Losses

ALL_LAYERS = "all"
_DRAWS = 1 << 16  # stable values of one compiled call
_TIED = 0.05  # part of equal values from which a coordinate has no scale of its own
_POOLED = ("block_log_moment", "characteristic_function", "hill")
_REPLACED = 4  # stream of random numbers beside the seed


@dataclasses.dataclass(frozen=True, eq=False)
class LayerTail(Result):
    """The tails of one layer's noise at one point of a run.

    Attributes:
        iteration: updates made before.
        layer: name, or "all".
        shape: (mini-batches, coordinates).
        alpha: method -> estimate. "as_published" is the block log-moment estimator on the raw noise, coordinate after
            coordinate, as the paper's code has it; the others are on coordinates brought to one scale and thinned.
        interval: method -> its 95% interval.
        gaussian: method -> estimate for Gaussian noise of this shape, with each coordinate's own variance.
        stable: the same for stable noise of the characteristic-function index, with each coordinate's own scale.
        verdict: of `tails.audit`; "" where it was not asked for.
        reasons: its sentences.
    """

    _dims = along({"method": "alpha interval gaussian stable"})

    iteration: int
    layer: str
    shape: tuple[int, int]
    alpha: dict[str, float]
    interval: dict[str, tuple[float, float]]
    gaussian: dict[str, float]
    stable: dict[str, float]
    verdict: str
    reasons: tuple[str, ...]

    def _variables(self) -> dict[str, Any]:
        found = {name: value for name, value in super()._variables().items() if name != "shape"}
        return {**found, "num_batches": self.shape[0], "num_coordinates": self.shape[1]}


@dataclasses.dataclass(frozen=True, eq=False)
class BatchSizeStudy(Result):
    """One layer's noise at several batch sizes, at fixed parameters.

    Attributes:
        iteration: updates made before.
        layer: name, or "all".
        batch_sizes: (m,), ascending.
        scale: (m,), exp(mean log|u|) over the coordinates that vary at every batch size.
        spread: (m,), root mean square of the same. Drawn with replacement from finitely many examples it falls as
            S^-1/2 whatever the law, so that the scale is what tells.
        slope: of log scale against log batch size: -1/2 for a finite variance, 1/alpha - 1 for a stable law.
        interval: 95% of it.
        verdicts: batch size -> verdict of `tails.audit`.
        published: batch size -> the block log-moment estimate as the paper's code computes it.
        coordinate: batch size -> median over coordinates of their own block log-moment estimates.
        sweep: batch size -> which law the block-length sweep of the pooled noise prefers.
    """

    _dims = along({"batch_sizes": "batch_sizes scale spread verdicts published coordinate sweep"})

    iteration: int
    layer: str
    batch_sizes: tuple[int, ...]
    scale: Float[np.ndarray, " m"]
    spread: Float[np.ndarray, " m"]
    slope: float
    interval: tuple[float, float]
    verdicts: dict[int, str]
    published: dict[int, float]
    coordinate: dict[int, float]
    sweep: dict[int, str]

    def local_slopes(self) -> Float[np.ndarray, " steps"]:
        """Slopes from each batch size to the next, (m - 1,): equal under a stable law, falling to -1/2 if the variance
        is finite and the sums are not yet Gaussian."""
        return np.diff(np.log(self.scale)) / np.diff(np.log(self.batch_sizes))


def layer_slices(slices: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The arrays of one layer together: "layers.0.bias" and "layers.0.kernel" as "layers.0".

    Example:
        >>> layer_slices({"layers.0.bias": (0, 3), "layers.0.kernel": (3, 15), "out.kernel": (15, 20)})
        {'layers.0': (0, 15), 'out': (15, 20)}
    """
    layers: dict[str, tuple[int, int]] = {}
    for name, (start, stop) in slices.items():
        layer = name.rpartition(".")[0] or name
        layers[layer] = (layers.get(layer, (start, stop))[0], stop)
    return layers


def layer_tail(
    samples: Any, *, layer: str = ALL_LAYERS, iteration: int = 0, audited: bool = True, seed: int = 0
) -> LayerTail:
    """Tail indices of one layer's noise, with the same estimators on Gaussian and stable noise of its shape.

    A reader sees from the twins what an estimate is worth: where Gaussian noise with the same scales shows the same
    index, the estimate says nothing about tails.

    Args:
        samples: (mini-batches, coordinates), 50 mini-batches or more, of mean 0.
        layer: kept with the result.
        iteration: kept with the result.
        audited: whether to audit the noise, which takes seconds.
        seed: of the twins, the shuffling and the thinning.

    Returns:
        The estimates.

    Raises:
        ValueError: the samples are unusable.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(200, 50)) * np.geomspace(1e-3, 1, 50)
        >>> found = layer_tail(noise, audited=False)
        >>> found.alpha["as_published"] < 1.3, abs(found.alpha["as_published"] - found.gaussian["as_published"]) < 0.1
        (True, True)
    """
    values = np.asarray(samples)
    estimates = tail_estimates(values, seed)
    alpha = min(2.0, float(estimates["characteristic_function"].alpha))
    gaussian, fitted = (_indices(tail_estimates(twin, seed)) for twin in _twins(values, alpha, seed))
    audit = tails.audit(values, center=False, seed=seed) if audited else None
    return LayerTail(
        iteration,
        layer,
        (values.shape[0], values.shape[1]),
        _indices(estimates),
        {name: (float(found.interval[0]), float(found.interval[1])) for name, found in estimates.items()},
        gaussian,
        fitted,
        "" if audit is None else audit.verdict,
        () if audit is None else audit.reasons,
    )


def tail_monitor(
    noise: Iterable[GradientNoise], *, layers: Sequence[str] | None = None, audited: bool = True, seed: int = 0
) -> list[LayerTail]:
    """Tail indices by layer along training, from the captures of a run.

    Args:
        noise: such as `TrainResult.noise`.
        layers: of `layer_slices`, and "all"; default all layers and "all".
        audited: whether to audit each.
        seed: of everything random.

    Returns:
        One entry for each capture and layer, but for those whose noise is 0.

    Raises:
        ValueError: a layer that the network does not have.

    Example:
        >>> samples = np.random.default_rng(0).normal(size=(100, 40))
        >>> captured = GradientNoise(samples, np.zeros(40), 7, 32, {"a.bias": (0, 10), "a.kernel": (10, 40)})
        >>> [(found.iteration, found.layer, found.shape) for found in tail_monitor([captured], audited=False)]
        [(7, 'all', (100, 40)), (7, 'a', (100, 40))]
    """
    return [
        layer_tail(capture.samples[:, start:stop], layer=name, iteration=capture.iteration, audited=audited, seed=seed)
        for capture in noise
        for name, (start, stop) in _chosen(capture, layers).items()
        if capture.samples[:, start:stop].any()
    ]


def batch_size_study(
    losses: Losses,
    parameters: jax.Array,
    x: jax.Array,
    y: jax.Array,
    batch_sizes: Sequence[int],
    num_batches: int,
    *,
    slices: dict[str, tuple[int, int]] | None = None,
    layers: Sequence[str] | None = None,
    iteration: int = 0,
    audited: bool = True,
    seed: int = 0,
) -> list[BatchSizeStudy]:
    """How the noise of each layer changes with the batch size, at fixed parameters.

    The examples of a mini-batch are drawn *with* replacement, so that its size alone matters: without, the noise falls
    as sqrt((1 - S/n)/S), which near the size n of the data set looks like a steeper law.

    Args:
        losses: (parameters, x, y) -> loss of each example.
        parameters: (d,).
        x: all examples.
        y: their labels.
        batch_sizes: two or more.
        num_batches: of each size, 50 or more.
        slices: of `FlatModel`; default one array.
        layers: as in `tail_monitor`.
        iteration: kept with the result.
        audited: whether to audit each layer at each size.
        seed: of everything random.

    Returns:
        One study for each layer. The slope is over coordinates with at most 5% of equal values at every batch size: a
        parameter that few examples reach has the same noise in most small mini-batches.

    Raises:
        ValueError: fewer than two batch sizes, or a layer that does not exist or never varies.

    Source:
        -1/2: the variance of a mean. 1/alpha - 1: the mean of S independent stable values (Gurbuzbalaban, Simsekli and
        Zhu 2021 find other slopes than -1/2 under heavy tails).
    """
    sizes = sorted(set(batch_sizes))
    if len(sizes) < 2 or sizes[0] < 1:
        raise ValueError(f"batch sizes {list(batch_sizes)} show no trend. Give two or more, each 1 or larger.")
    captured = {}
    for size in sizes:
        rows = np.random.default_rng([seed, _REPLACED, size]).integers(0, len(y), (num_batches, size)).astype(np.int32)
        captured[size] = gradient_noise(losses, parameters, x, y, rows, iteration=iteration, slices=slices)
    return [
        _study({size: noise.samples[:, start:stop] for size, noise in captured.items()}, name, iteration, audited, seed)
        for name, (start, stop) in _chosen(captured[sizes[0]], layers).items()
    ]


def tail_estimates(samples: np.ndarray, seed: int = 0) -> dict[str, tails.TailEstimate]:
    """The estimates of `LayerTail.alpha`, with their intervals."""
    whole = np.asarray(samples)
    pooled = tails.pool(whole, center=False, seed=seed).values
    even = whole.ravel()[: whole.size // 16 * 16]  # a prime number of values has no blocks
    found = {"as_published": tails.block_log_moment_as_published(even)}
    for method in _POOLED:
        found[method] = tails.METHODS[method](pooled, **({"center": False} if method == "block_log_moment" else {}))
    return found


def _indices(estimates: Mapping[str, tails.TailEstimate]) -> dict[str, float]:
    return {name: float(found.alpha) for name, found in estimates.items()}


def _twins(samples: np.ndarray, alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian and stable noise of the same shape and the same scales of the coordinates."""
    spread = np.sqrt((np.asarray(samples, np.float64) ** 2).mean(axis=0))
    scales = np.asarray(tails.stable_scale(samples, alpha), np.float64)
    gaussian = np.random.default_rng([seed, 1]).normal(size=samples.shape) * spread
    pieces = [np.asarray(stable.sample(seed + j, alpha, (_DRAWS,))) for j in range(-(-samples.size // _DRAWS))]
    draws = np.concatenate(pieces)[: samples.size].reshape(samples.shape)
    return gaussian, draws.astype(np.float64) * scales


def _chosen(noise: GradientNoise, layers: Sequence[str] | None) -> dict[str, tuple[int, int]]:
    there = {ALL_LAYERS: (0, noise.samples.shape[1]), **layer_slices(noise.slices)}
    missing = [name for name in layers or () if name not in there]
    if missing:
        raise ValueError(f"layer {missing[0]!r} is not in the network. Give some of {', '.join(there)}.")
    return there if layers is None else {name: there[name] for name in layers}


def _study(samples: Mapping[int, np.ndarray], layer: str, iteration: int, audited: bool, seed: int) -> BatchSizeStudy:
    varied = np.all([_varied(values) for values in samples.values()], axis=0)
    if not varied.any():
        raise ValueError(f"no coordinate of layer {layer!r} varies at every batch size. Give larger batch sizes.")
    scaling = batch_size_scaling({size: values[:, varied] for size, values in samples.items()}, [])
    spread = [np.sqrt((values[:, varied].astype(np.float64) ** 2).mean()) for values in samples.values()]
    verdicts, published, coordinate, sweep = {}, {}, {}, {}
    for size, values in samples.items():
        found = tail_estimates(values, seed)
        published[size] = float(found["as_published"].alpha)
        coordinate[size] = float(np.nanmedian(tails.per_coordinate(values[:, varied], center=False).alpha))
        sweep[size] = _sweep(values, seed)
        verdicts[size] = tails.audit(values, center=False, seed=seed).verdict if audited else ""
    return BatchSizeStudy(
        iteration, layer, tuple(samples), np.array(scaling["scale"]), np.array(spread), scaling["slope"],
        scaling["interval"], verdicts, published, coordinate, sweep,
    )  # fmt: skip


def _varied(samples: np.ndarray) -> np.ndarray:
    """Coordinates with few equal values."""
    return (np.diff(np.sort(samples, axis=0), axis=0) == 0).mean(axis=0) <= _TIED


def _sweep(samples: np.ndarray, seed: int) -> str:
    pooled = tails.pool(samples, center=False, seed=seed).values
    return tails.block_length_sweep(pooled, center=False).preferred if pooled.size > 500 else "neither"
