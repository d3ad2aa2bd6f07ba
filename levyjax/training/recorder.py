"""Gradient noise of a loop of one's own: gradients of any make, kept, or summed up in a fixed amount of memory."""

import itertools
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.experimental import io_callback

from levyjax.arrays import concrete
from levyjax.training.capture import GIVEN, MINI_BATCHES, GradientNoise
from levyjax.training.examples import as_array, widened
from levyjax.training.leaves import names_of
from levyjax.training.scales import FEWEST_BATCHES
from levyjax.training.streamed import NoiseStatistics, Sums, block_lengths, no_sums, statistics_of

KEPT = ("samples", "statistics")
_PER_GRADIENT = 512  # coordinates of one gradient that may come into the sample
_RATIO = 4  # of a block length to the one before
_DRIFT = 4.0  # standard errors of the von Neumann ratio that are let pass


class NoiseRecorder:
    """Takes one gradient after the other from any loop, and gives their noise.

    What is subtracted is the full gradient, where `add` is given it, and otherwise the mean of all gradients. Gradients
    of parameters that move have no one mean: neighbours are then more alike than others, and a warning says so.

    Streamed ("statistics"), the noise of gradient t is sqrt((t - 1)/t) times its difference from the mean of those
    before it. For independent gradients of one finite variance these are uncorrelated, all of that variance, and their
    squares add up to those about the mean of all. Memory is a few numbers for each parameter. Under heavy tails a mean
    is uncertain, that of few gradients most, by about t^(1/alpha - 1) scales: one early jump moves the noise of all
    that follow. Give the full gradient there, or keep samples.

    Args:
        batch_size: examples of a mini-batch, kept with the result.
        keep: "samples", every gradient, or "statistics".
        iteration: kept with the result.
        sample_size: of the sample of "statistics".
        seed: of that sample.

    Raises:
        ValueError: another word, or a batch size below 1.

    Source:
        Recursive residuals: Brown, Durbin and Evans 1975; Welford 1962 for their squares.

    Example:
        >>> recorder = NoiseRecorder(batch_size=32)
        >>> for value in (1.0, 2.0, 6.0):
        ...     recorder.add({"w": np.array([value, 0.0])})
        >>> noise = recorder.noise()
        >>> noise.samples.tolist(), noise.slices
        ([[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]], {'w': (0, 2)})
    """

    def __init__(
        self,
        batch_size: int,
        *,
        keep: str = "samples",
        iteration: int = 0,
        sample_size: int = 1 << 16,
        seed: int = 0,
    ):
        if keep not in KEPT:
            raise ValueError(f"keep {keep!r} is unknown. Give one of {', '.join(KEPT)}.")
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size} is no number of examples. Give 1 or more.")
        self.keep, self.iteration, self.batch_size = keep, iteration, batch_size
        self._rows: list[np.ndarray] = []
        self._streamed = _Streamed(sample_size, np.random.default_rng(seed))
        self._given: bool | None = None
        self._total = np.zeros(0)  # of full gradients, where they are given
        self._drift, self._previous = _Drift(), None
        self._slices: dict[str, tuple[int, int]] | None = None
        self._count, self._shapes = 0, ()
        self._failure: ValueError | None = None

    def __len__(self) -> int:
        """Gradients recorded."""
        jax.effects_barrier()
        return self._count

    def add(self, gradient: Any, full_gradient: Any = None) -> None:
        """Record the gradient of one mini-batch; within a compiled program, too, which hands it over in order.

        Args:
            gradient: a pytree of arrays: NumPy, JAX, or anything with `__array__` or `__dlpack__`, such as tensors of
                PyTorch on the CPU; halves are taken as float32. The same shapes every time.
            full_gradient: likewise, what is subtracted here; every time or never.

        Raises:
            ValueError: no numbers, other shapes than before, numbers that are not finite, or a full gradient now and
                then. Within a compiled program that is said when the noise is asked for.
        """
        if not all(map(concrete, jax.tree.leaves((gradient, full_gradient)))):
            io_callback(self._from_program, None, gradient, full_gradient, ordered=True)
            return
        row = self._row(gradient)
        if self._given is None:
            self._given = full_gradient is not None
            self._total = np.zeros(row.size if self._given else 0)
        if self._given != (full_gradient is not None):
            raise ValueError("full_gradient was given for some gradients only: give it with every one, or with none.")
        if self._given:
            full = self._row(full_gradient)
            self._total += full
            row = row.astype(np.float64) - full
        elif self._previous is not None:
            self._drift.add(row, self._previous)
        self._previous = None if self._given else row
        self._count += 1
        if self.keep == "samples":
            self._rows.append(row.astype(np.float32) if row.dtype != self._dtype else row)
        else:
            self._streamed.add(row, self._slices or {}, self._given)

    def noise(self) -> GradientNoise:
        """The noise of all gradients so far, (num_gradients, num_parameters).

        Raises:
            ValueError: fewer than two gradients, or statistics were kept.
        """
        self._check("samples")
        if self._given:
            full = self._total / self._count
            return GradientNoise(np.stack(self._rows), full, self.iteration, self.batch_size, self.slices, GIVEN)
        rows = np.stack(self._rows)
        noise = noise_of(rows, batch_size=self.batch_size, slices=self._slices, iteration=self.iteration)
        self._drift.warn(self._count, sum(float(np.square(row, dtype=np.float64).sum()) for row in noise.samples))
        return noise

    def statistics(self) -> NoiseStatistics:
        """Statistics of the noise of all gradients so far.

        Raises:
            ValueError: fewer than two gradients, or samples were kept.
        """
        self._check("statistics")
        found = self._streamed
        if not self._given:
            self._drift.warn(self._count, float(found.sums.square.sum()))
        full = self._total / self._count if self._given else found.mean.copy()
        kept = {"iteration": self.iteration, "batch_size": self.batch_size}
        return found.statistics(full, GIVEN if self._given else MINI_BATCHES, **kept)

    @property
    def slices(self) -> dict[str, tuple[int, int]]:
        """Name of an array of the gradients -> (start, stop)."""
        return dict(self._slices or {})

    def _row(self, tree: Any) -> np.ndarray:
        row, slices, shapes = _flat(tree)
        if self._slices is None:
            self._slices, self._shapes, self._dtype = slices, shapes, row.dtype
        if shapes != self._shapes:
            raise ValueError(
                f"gradient {self._count} has arrays {_shown(shapes)} where the first has {_shown(self._shapes)}."
            )
        bad = row.size - int(np.isfinite(row).sum())
        if bad:
            raise ValueError(f"gradient {self._count} holds {bad} of {row.size} values that are not finite.")
        return row.astype(self._dtype)

    def _check(self, wanted: str) -> None:
        jax.effects_barrier()  # what compiled programs still have to hand over
        if self._failure is not None:
            raise self._failure
        if self.keep != wanted:
            raise ValueError(f"{self.keep} were kept: give NoiseRecorder keep={wanted!r}, or take {self.keep}.")
        if self._count < 2:
            raise ValueError(f"{self._count} gradients show no noise: add two or more, {FEWEST_BATCHES} for an index.")

    def _from_program(self, gradient: Any, full_gradient: Any) -> None:
        try:
            if self._failure is None:
                self.add(gradient, full_gradient)
        except ValueError as error:
            self._failure = error


def recording(recorder: NoiseRecorder) -> optax.GradientTransformation:
    """An optax transformation that changes nothing and records what passes through it, compiled or not.

    First in a chain it sees the gradients, last the updates. Leaves come in the order of the tree.

    Args:
        recorder: what records.

    Returns:
        The transformation; its state is empty.

    Example:
        >>> recorder = NoiseRecorder(batch_size=1)
        >>> optimizer = optax.chain(recording(recorder), optax.sgd(0.1))
        >>> state = optimizer.init(np.zeros(2, np.float32))
        >>> for gradient in ([1.0, 1.0], [3.0, 3.0]):
        ...     _, state = jax.jit(optimizer.update)(jax.numpy.array(gradient), state)
        >>> recorder.noise().samples.tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        recorder.add(updates)
        return updates, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def noise_of(
    gradients: Any,
    *,
    batch_size: int,
    full_gradient: Any = None,
    slices: dict[str, tuple[int, int]] | None = None,
    iteration: int = 0,
) -> GradientNoise:
    """Gradient noise from gradients that are there already, such as a file of another framework.

    Args:
        gradients: (iterations, parameters), or a pytree of arrays (iterations, ...), such as the arrays of an .npz.
        batch_size: examples of a mini-batch, kept with the result.
        full_gradient: what is subtracted, (parameters,) or a pytree likewise; default the mean over the iterations.
        slices: name -> (start, stop) of the columns; default the arrays of a pytree.
        iteration: kept with the result.

    Returns:
        The noise, in float32 unless the gradients are wider.

    Raises:
        ValueError: no numbers, not finite, or fewer than two iterations.

    Example:
        >>> noise = noise_of({"bias": np.array([1.0, 3.0]), "kernel": np.array([[0.0, 2.0], [4.0, 2.0]])}, batch_size=8)
        >>> noise.samples.tolist(), noise.slices, noise.reference
        ([[-1.0, -2.0, 0.0], [1.0, 2.0, 0.0]], {'bias': (0, 1), 'kernel': (1, 3)}, 'mean of the mini-batches')
    """
    leaves = [as_array(leaf, "gradients") for leaf in jax.tree.leaves(gradients)]
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in leaves}
    if len(counts) != 1 or min(counts) < 2:
        raise ValueError(
            f"gradients have arrays {_shown(tuple(np.shape(leaf) for leaf in leaves))}: give (iterations, parameters), "
            "or arrays (iterations, ...) of one length, 2 or more."
        )
    rows = [np.asarray(widened(leaf)).reshape(len(leaf), -1) for leaf in leaves]
    samples = np.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
    samples = samples.astype(np.result_type(samples.dtype, np.float32))
    bad = samples.size - int(np.isfinite(samples).sum())
    if bad:
        raise ValueError(f"gradients hold {bad} of {samples.size} values that are not finite. Leave them out.")
    full, reference = samples.mean(axis=0, dtype=np.float64), MINI_BATCHES
    if full_gradient is not None:
        full, reference = _flat(full_gradient)[0].astype(np.float64), GIVEN
    if full.shape != samples.shape[1:]:
        raise ValueError(f"full_gradient has {full.size} numbers where the gradients have {samples.shape[1]}.")
    kept = slices or _slices(gradients, [row.shape[1] for row in rows])
    noise = (samples - full).astype(samples.dtype)
    return GradientNoise(noise, full, iteration, batch_size, dict(kept), reference)


def _flat(tree: Any) -> tuple[np.ndarray, dict[str, tuple[int, int]], tuple[tuple[int, ...], ...]]:
    """One vector of all leaves, where each is, and their shapes."""
    leaves = [np.asarray(widened(as_array(leaf, "gradient"))) for leaf in jax.tree.leaves(tree)]
    if sum(leaf.size for leaf in leaves) == 0 or any(leaf.dtype.kind not in "fiu" for leaf in leaves):
        raise ValueError(f"the gradient ({type(tree).__name__}) holds no real numbers: give arrays of them.")
    row = np.concatenate([leaf.ravel() for leaf in leaves])
    row = row.astype(np.result_type(row.dtype, np.float32))
    return row, _slices(tree, [leaf.size for leaf in leaves]), tuple(leaf.shape for leaf in leaves)


def _slices(tree: Any, sizes: list[int]) -> dict[str, tuple[int, int]]:
    """Name -> (start, stop); {} for a single array without a name."""
    if jax.tree.structure(tree) == jax.tree.structure(0):
        return {}
    ends = np.cumsum([0, *sizes]).tolist()
    return dict(zip(names_of(tree), itertools.pairwise(ends), strict=True))


def _shown(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join(map(str, shapes[:4])) + (", ..." if len(shapes) > 4 else "")


class _Drift:
    """Whether the mean moves: by von Neumann's ratio of the squares of neighbours' differences, of all coordinates."""

    def __init__(self) -> None:
        self.squares = 0.0

    def add(self, row: np.ndarray, previous: np.ndarray) -> None:
        self.squares += float(np.square(row.astype(np.float64) - previous).sum())

    def warn(self, count: int, spread: float) -> None:
        ratio = self.squares / (2 * spread) if spread > 0 else 1.0
        if ratio < 1 - _DRIFT / np.sqrt(count):
            warnings.warn(
                f"the gradients drift: neighbours have {ratio:.0%} of the squared distance of others, so that the "
                "mean that is taken away is not that of one point. Record at fixed parameters, or give add() the "
                "full gradient of each point.",
                stacklevel=3,
            )


class _Sample(NamedTuple):
    values: np.ndarray
    places: np.ndarray


class _Streamed:
    """Running mean and sums of the noise, and a sample of it by a reservoir (Vitter 1985)."""

    def __init__(self, sample_size: int, rng: np.random.Generator):
        self.rng, self.size, self.seen, self.count = rng, sample_size, 0, 0
        self.mean, self.norms = np.zeros(0), []
        self.layers: Any = ()
        self.sums: Any = None
        self.sample: Any = None

    def add(self, row: np.ndarray, slices: dict[str, tuple[int, int]], given: bool) -> None:
        if self.sums is None:
            self.mean = np.zeros(row.size)
            self.layers = tuple((name, *ends) for name, ends in slices.items()) or (("parameters", 0, row.size),)
            self.sums = no_sums(row.size, self.layers)
            self.sample = _Sample(np.zeros(self.size, row.dtype), np.zeros(self.size, np.int32))
        self.count += 1
        noise = row
        if not given:
            noise = row - self.mean
            self.mean += noise / self.count
            noise *= np.sqrt((self.count - 1) / self.count)
        if given or self.count > 1:
            self._fold(noise)

    def _fold(self, noise: np.ndarray) -> None:
        square, sums = noise * noise, self.sums
        sums.square[:] += square
        self.norms.append(float(np.sqrt(square.sum())))
        present, logs = _logs(noise)
        sums.log[:] += logs
        sums.seen[:] += present
        place = 0
        for _, start, stop in self.layers:
            blocks = noise[start:stop]
            for _ in block_lengths(stop - start)[1:]:
                blocks = blocks[: blocks.size // _RATIO * _RATIO].reshape(-1, _RATIO).sum(axis=1)
                present, logs = _logs(blocks)
                sums.block_log[place] += logs.sum()
                sums.block_seen[place] += present.sum()
                place += 1
        self._draw(noise)

    def _draw(self, noise: np.ndarray) -> None:
        """Every value offered has the same chance to be in the sample."""
        places = self.rng.integers(0, noise.size, _PER_GRADIENT)
        seats = self.rng.integers(0, self.seen + 1 + np.arange(places.size))
        filling = np.arange(self.seen, self.seen + places.size) < self.size
        seats = np.where(filling, self.seen + np.arange(places.size), seats)
        taken = seats < self.size
        self.sample.values[seats[taken]] = noise[places[taken]]
        self.sample.places[seats[taken]] = places[taken]
        self.seen += places.size

    def statistics(self, full: np.ndarray, reference: str, **kept: Any) -> NoiseStatistics:
        filled = min(self.seen, self.size)
        sums = Sums(*(part.copy() for part in self.sums))
        return statistics_of(
            sums, self.layers, np.array(self.norms), full_gradient=full, sample=self.sample.values[:filled].copy(),
            sampled=self.sample.places[:filled].copy(), reference=reference, **kept,
        )  # fmt: skip


def _logs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where values are not zero, and log|values| there, 0 elsewhere."""
    present = values != 0
    return present, np.log(np.abs(values), out=np.zeros_like(values), where=present)
