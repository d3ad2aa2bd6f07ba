"""Training a small classifier with SGD or Adam, measuring its gradient noise on the way."""

import dataclasses
import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from levyjax.datasets import Result, along
from levyjax.training import data as datasets
from levyjax.training.applied import AppliedNoise, applied_noise
from levyjax.training.batches import draw_batches, padded
from levyjax.training.capture import GradientNoise, gradient_noise
from levyjax.training.checkpoints import Checkpoints
from levyjax.training.gradients import batch_gradient
from levyjax.training.images import IMAGE_NETWORKS
from levyjax.training.networks import MLP, FlatModel, flatten
from levyjax.training.settings import TrainConfig
from levyjax.training.streamed import NoiseStatistics, noise_statistics

_FIRST_STEPS, _STEPS = 64, 1_024  # updates of the first compiled call, and of one at most
_CALL_SECONDS = 0.2  # calls grow until they take this long, so that progress is seen and Ctrl-C heard
_EXAMPLES = 1_000  # evaluated at a time
_SHUFFLE, _CAPTURE, _APPLIED = 1, 2, 3  # streams of random numbers beside the seed
_FORGOTTEN, _APART = 10, 2  # memories 1/(1-b) of momentum b until the way here is forgotten, and between two updates
_ADAM_BURN_IN = 3_000  # mini-batches, three memories of v
_MEASURES = ("iteration", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclasses.dataclass(frozen=True, eq=False)
class TrainResult(Result):
    """A training run.

    Attributes:
        config: what was run.
        iterations: updates made at each record, (num_records,).
        train_loss: mean loss over all training examples at each record (cross-entropy in nats).
        train_accuracy: in [0, 1].
        test_loss: as train_loss, over the test examples.
        test_accuracy: in [0, 1].
        parameters: at the end, (num_parameters,).
        model: the network as a function of such a vector; `model.unravel` gives the nnx state.
        noise: one capture for each of `config.capture_at`, in increasing order; () where `config.capture` has
            "statistics".
        statistics: these, likewise; () otherwise.
        applied: noise as the optimizer applies it, likewise; () unless `config.applied`.
        kept: iteration -> the parameters there, (num_parameters,), for each of `config.keep_at`, in increasing order.
        seconds: of everything after loading the data, with compilation.
        seconds_updates: of the updates alone, without the first compiled call.
        iterations_per_second: of the updates alone; nan if there was one call only.
    """

    _dims = along(
        {"iterations": "iterations train_loss train_accuracy test_loss test_accuracy", "parameter": "parameters"}
    )

    config: TrainConfig
    iterations: np.ndarray
    train_loss: np.ndarray
    train_accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray
    parameters: jax.Array
    model: FlatModel
    noise: tuple[GradientNoise, ...]
    statistics: tuple[NoiseStatistics, ...]
    applied: tuple[AppliedNoise, ...]
    kept: dict[int, np.ndarray]
    seconds: float
    seconds_updates: float
    iterations_per_second: float

    def _variables(self) -> dict[str, Any]:
        """Without what has a dataset of its own: the captures of noise."""
        apart = ("config", "model", "noise", "statistics", "applied", "kept")
        found = {name: value for name, value in super()._variables().items() if name not in apart}
        return {**found, "parameters": np.asarray(self.parameters), "config": dataclasses.asdict(self.config)}


def train(
    config: TrainConfig,
    *,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    on_updates: Callable[[int], Any] = lambda count: None,
) -> TrainResult:
    """Trains a classifier on mini-batches that are shuffled anew each epoch, and measures its gradient noise.

    The examples that do not fill a mini-batch are left out, others in each epoch.

    Args:
        config: the run.
        checkpoint_dir: a folder in which the run's state is kept at every record and capture, with metrics.jsonl. A
            run that was killed goes on from there and gives the same numbers, to the last bit.
        on_updates: called with the number of updates made since the last call (or before, by a run that goes on).

    Returns:
        Losses, accuracies, the parameters and the captured noise.

    Raises:
        ValueError: the data are not there, the batch size exceeds them, the training diverged, or checkpoint_dir holds
            a run of another configuration.

    Example:
        >>> result = train(TrainConfig(data="synthetic", widths=(16,), iterations=200))
        >>> bool(result.train_loss[-1] < result.train_loss[0]), result.iterations.tolist()
        (True, [0, 100, 200])
    """
    dataset = datasets.load(config.data, config.data_dir)
    if config.batch_size > len(dataset.train_y):
        raise ValueError(
            f"batch_size {config.batch_size} exceeds the {len(dataset.train_y)} training examples of {config.data}. "
            "Give a smaller one."
        )
    kept = None if checkpoint_dir is None else Checkpoints(Path(checkpoint_dir), config)
    return _Run(config, dataset, kept, on_updates).result()


class _Run:
    """What one run holds on to: data on the device, compiled functions, records, noise and time."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: datasets.Dataset,
        kept: Checkpoints | None,
        on_updates: Callable[[int], Any],
    ):
        self.start = time.perf_counter()
        self.config, self.kept, self.on_updates = config, kept, on_updates
        self.model = flatten(_network(config, dataset), config.loss)
        self.optimizer = _optimizer(config)
        self.train_set = jnp.asarray(dataset.train_x), jnp.asarray(dataset.train_y)
        self.test_set = jnp.asarray(dataset.test_x), jnp.asarray(dataset.test_y)
        self.advance = jax.jit(self._advance)
        self.evaluate = jax.jit(self._evaluate)
        self.records: list[tuple[int, float, float, float, float]] = []
        self.noise: list[GradientNoise] = []
        self.statistics: list[NoiseStatistics] = []
        self.applied: list[AppliedNoise] = []
        self.points: dict[int, np.ndarray] = {}
        self.calls: list[tuple[int, float]] = []
        self.steps = _FIRST_STEPS
        self.ahead: deque[np.ndarray] = deque()

    def result(self) -> TrainResult:
        config = self.config
        records = {*range(0, config.iterations, config.record_every), config.iterations}
        captures, points = set(config.capture_at), set(config.keep_at)
        stopped, (parameters, state) = self._resumed(records, captures, points)
        done = max(stopped, 0)
        self.batches = _batches(len(self.train_set[1]), config, done)
        for stop in sorted(stop for stop in records | captures | points if stop > stopped):
            while done < stop:
                count = min(self.steps, stop - done)
                parameters, state = self._timed_advance(parameters, state, count)
                done += count
            if stop in records:
                self._record(done, parameters)
            if stop in captures:
                self._capture(done, parameters)
                if config.applied:
                    self._apply(done, parameters, state)
            if stop in points:
                self._keep(done, parameters)
            if self.kept is not None:
                self.kept.save(done, (parameters, state))
        return self._result(parameters)

    def _resumed(self, records: set[int], captures: set[int], points: set[int]) -> tuple[int, tuple[Any, Any]]:
        """The last stop that was made, -1 for none, with what was measured up to there."""
        start = self.model.parameters, self.optimizer.init(self.model.parameters)
        if self.kept is None:
            return -1, start
        stopped, tree = self.kept.restore(start)
        self.records = self.kept.metrics(stopped, _MEASURES, [at for at in sorted(records) if at <= stopped])
        captured = [at for at in sorted(captures) if at <= stopped]
        about = self.config.batch_size, self.model.slices, len(self.train_set[1])
        if self.config.capture == "samples":
            self.noise = [self.kept.noise(at, *about) for at in captured]
        else:
            self.statistics = [self.kept.statistics(at) for at in captured]
        self.applied = [self.kept.applied(at, *about) for at in captured if self.config.applied]
        self.points = {at: self.kept.parameters(at) for at in sorted(points) if at <= stopped}
        self.on_updates(max(stopped, 0))
        return stopped, tree

    def _timed_advance(self, parameters, state, count: int):
        """`count` updates in one call; while the device makes them, later mini-batches are drawn."""
        start = time.perf_counter()
        self._draw_ahead(count)
        indices = np.zeros((_STEPS, self.config.batch_size), np.int32)
        indices[:count] = [self.ahead.popleft() for _ in range(count)]
        out = self.advance(parameters, state, *self.train_set, indices, np.int32(count))
        self._draw_ahead(_STEPS)
        jax.block_until_ready(out)
        elapsed = time.perf_counter() - start
        if count == self.steps and elapsed < _CALL_SECONDS:
            self.steps = min(2 * self.steps, _STEPS)
        self.calls.append((count, elapsed))
        self.on_updates(count)
        return out

    def _draw_ahead(self, count: int) -> None:
        self.ahead.extend(itertools.islice(self.batches, max(0, count - len(self.ahead))))

    def _advance(self, parameters, state, x, y, indices, count):
        """`count` updates, at most as many as there are rows of indices; one compilation for every count."""

        def update(i, carry):
            parameters, state = carry
            gradient = batch_gradient(self.model.losses, parameters, x, y, indices[i])
            with jax.numpy_dtype_promotion("standard"):  # optax.adam mixes Python floats and int32 counters
                updates, state = self.optimizer.update(gradient, state, parameters)
            return optax.apply_updates(parameters, updates), state

        return jax.lax.fori_loop(jnp.zeros_like(count), count, update, (parameters, state))

    def _evaluate(self, parameters, x, y, rows, count):
        """Sum of the losses and number of right answers over the first `count` rows."""
        losses, answers = self.model.losses(parameters, x[rows], y[rows]), self.model.apply(parameters, x[rows])
        counts = jnp.arange(rows.size, dtype=count.dtype) < count
        right = answers.argmax(axis=1).astype(y.dtype) == y[rows]
        return jnp.where(counts, losses, jnp.zeros_like(losses)).sum(), (counts & right).sum()

    def _measures(self, parameters, x, y) -> tuple[float, float]:
        parts = padded(np.arange(len(y), dtype=np.int32), min(_EXAMPLES, len(y)))
        sums = [self.evaluate(parameters, x, y, rows, np.int32(count)) for _, rows, count in parts]
        loss, right = np.sum([(float(loss), int(right)) for loss, right in sums], axis=0) / len(y)
        return float(loss), float(right)

    def _record(self, done: int, parameters) -> None:
        row = (*self._measures(parameters, *self.train_set), *self._measures(parameters, *self.test_set))
        if not np.isfinite(row).all():
            raise ValueError(
                f"the training diverged before iteration {done}: learning_rate {self.config.learning_rate:g} is too "
                f"large for {self.config.optimizer}. Give a smaller one."
            )
        self.records.append((done, *row))
        if self.kept is not None:
            self.kept.add_metrics(dict(zip(_MEASURES, self.records[-1], strict=True)))

    def _draw(self, stream: int, done: int, count: int) -> np.ndarray:
        """Mini-batches for a measurement at this iteration, the same whatever else is measured."""
        seed = np.random.SeedSequence([self.config.seed, stream, done]).generate_state(1)[0]
        return draw_batches(len(self.train_set[1]), self.config.batch_size, count, int(seed))

    def _capture(self, done: int, parameters) -> None:
        what = self.model.losses, parameters, *self.train_set, self._draw(_CAPTURE, done, self.config.num_batches)
        about: dict[str, Any] = {"iteration": done, "slices": self.model.slices}
        if self.config.capture == "samples":
            self.noise.append(gradient_noise(*what, **about))
            if self.kept is not None:
                self.kept.save_noise(self.noise[-1])
        else:
            self.statistics.append(noise_statistics(*what, **about))
            if self.kept is not None:
                self.kept.save_statistics(self.statistics[-1])

    def _apply(self, done: int, parameters, state) -> None:
        config = self.config
        pace = _pace(config)
        batches = self._draw(_APPLIED, done, pace["burn_in"] + pace["thinning"] * config.num_batches)
        self.applied.append(
            applied_noise(
                self.model.losses, parameters, *self.train_set, batches, self.optimizer, state, config.learning_rate,
                iteration=done, slices=self.model.slices, **pace,
            )
        )  # fmt: skip
        if self.kept is not None:
            self.kept.save_applied(self.applied[-1])

    def _keep(self, done: int, parameters) -> None:
        self.points[done] = np.asarray(parameters)
        if self.kept is not None:
            self.kept.save_parameters(done, self.points[done])

    def _result(self, parameters) -> TrainResult:
        iterations, *measures = (np.array(column) for column in zip(*self.records, strict=True))
        later = self.calls[1:]
        updates, seconds = sum(count for count, _ in later), sum(elapsed for _, elapsed in later)
        return TrainResult(
            self.config,
            iterations,
            *measures,
            parameters=parameters,
            model=self.model,
            noise=tuple(self.noise),
            statistics=tuple(self.statistics),
            applied=tuple(self.applied),
            kept=self.points,
            seconds=time.perf_counter() - self.start,
            seconds_updates=seconds,
            iterations_per_second=updates / seconds if later else math.nan,
        )


def _pace(config: TrainConfig) -> dict[str, int]:
    """Mini-batches before the first recorded update and between two of them, which share e^-2 of their averages."""
    memory = 1 / (1 - (0.9 if config.optimizer == "adam" else config.momentum))
    if memory == 1:
        return {"burn_in": 0, "thinning": 1}
    forgotten, apart = (math.ceil(round(times * memory, 6)) for times in (_FORGOTTEN, _APART))
    return {"burn_in": _ADAM_BURN_IN if config.optimizer == "adam" else forgotten, "thinning": apart}


def _network(config: TrainConfig, dataset: datasets.Dataset) -> nnx.Module:
    rngs = nnx.Rngs(config.seed)
    if config.network in IMAGE_NETWORKS:
        if dataset.image_shape is None:
            raise ValueError(f"network {config.network!r} is for images, and {config.data} has none. Give 'mlp'.")
        return IMAGE_NETWORKS[config.network](dataset.image_shape, dataset.num_classes, rngs=rngs)
    widths = (dataset.train_x.shape[1], *config.widths, dataset.num_classes)
    return MLP(widths, rngs=rngs, activation=config.activation, bias=config.bias)


def _optimizer(config: TrainConfig) -> optax.GradientTransformation:
    if config.optimizer == "adam":
        return optax.adam(config.learning_rate)
    return optax.sgd(config.learning_rate, momentum=config.momentum or None)


def _batches(num_examples: int, config: TrainConfig, first: int) -> Iterator[np.ndarray]:
    """Indices of one mini-batch after the other from update `first` on; the order of an epoch depends on its seed."""
    per_epoch = num_examples // config.batch_size
    epoch, skipped = divmod(first, per_epoch)
    while True:
        order = np.random.default_rng([config.seed, _SHUFFLE, epoch]).permutation(num_examples)
        rows = order[: per_epoch * config.batch_size].astype(np.int32).reshape(per_epoch, config.batch_size)
        yield from rows[skipped:]
        epoch, skipped = epoch + 1, 0
