"""Exit times summed up chunk by chunk: as many trajectories as one likes in the memory of one chunk."""

import dataclasses
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from levyjax.datasets import Result, along
from levyjax.engine import ExitCode
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.simulate import ExitSamples, Plan, simulate_chunks
from levyjax.escape.statistics import ExponentialFit, exponential_fit_of_total

_BINS_PER_OCTAVE = 32  # a bin is 2.2% wide
_OCTAVES = 64  # below and above 1
_NUM_BINS = 2 * _OCTAVES * _BINS_PER_OCTAVE


@dataclasses.dataclass(frozen=True)
class ExitSummary(Result):
    """What remains of exit samples; summaries add up with `+`, their counts exactly.

    Attributes:
        counts: (4,) trajectories by `ExitCode`.
        face_counts: (faces,) exits by face.
        face_names: names of the basin's faces.
        total_time: sum of the times of all trajectories that stayed finite.
        total_squared_time: sum of the squared exit times.
        exit_histogram: (bins,) exits by exit time; the edges are `edges()`.
        censored_histogram: (bins,) censored trajectories by the time they reached.
        total_steps: sum of steps.
        seconds: wall-clock time of the simulation without compilation.
        partial: whether the simulation was interrupted; see `simulate`.
    """

    _dims = along(
        {"code": "counts", "face": "face_counts", "bin": "exit_histogram censored_histogram bin_start bin_end survival"}
    )

    counts: Int[np.ndarray, "4"]
    face_counts: Int[np.ndarray, " faces"]
    face_names: tuple[str, ...]
    total_time: float
    total_squared_time: float
    exit_histogram: Int[np.ndarray, " bins"]
    censored_histogram: Int[np.ndarray, " bins"]
    total_steps: int
    seconds: float
    partial: bool = False

    def __add__(self, other: "ExitSummary") -> "ExitSummary":
        if self.face_names != other.face_names:
            raise ValueError(f"Summaries of different basins: faces {self.face_names} and {other.face_names}.")
        kept = {"face_names": self.face_names, "partial": self.partial or other.partial}
        names = [field.name for field in dataclasses.fields(self) if field.name not in kept]
        return ExitSummary(**{name: getattr(self, name) + getattr(other, name) for name in names}, **kept)

    def _variables(self) -> dict[str, Any]:
        codes = {code.name.lower(): self.count(code) for code in ExitCode}
        bins = {"survival": self.survival(), "bin_start": edges()[:-1], "bin_end": edges()[1:]}
        faces = dict(zip(self.face_names, self.face_counts.tolist(), strict=True))
        return {**super()._variables(), **bins, "counts": codes, "face_counts": faces}

    def count(self, code: ExitCode) -> int:
        """How many trajectories ended so."""
        return int(self.counts[code])

    def exponential_fit(self, *, confidence: float = 0.95) -> ExponentialFit:
        """`escape.exponential_fit` of the samples, from their total time."""
        exited, censored = self.count(ExitCode.EXITED), self.count(ExitCode.CENSORED)
        return exponential_fit_of_total(self.total_time, exited, censored, confidence=confidence)

    def survival(self) -> Float[np.ndarray, " bins"]:
        """Kaplan and Meier's estimate of P(exit time > t) at the upper edge of each bin, t = `edges()[1:]`.

        In each bin exits count as earlier than censorings.
        """
        left = self.exit_histogram + self.censored_histogram
        at_risk = left[::-1].cumsum()[::-1]
        return np.cumprod(1 - self.exit_histogram / np.maximum(at_risk, 1))

    def quantile(self, probability: float) -> float:
        """The exit time of this probability, to within a bin; inf where too many were censored to tell."""
        if not 0 < probability < 1:
            raise ValueError(f"probability must be in (0, 1), got {probability}.")
        survival = self.survival()
        index = int(np.searchsorted(-survival, probability - 1))
        return float(np.sqrt(edges()[index] * edges()[index + 1])) if index < _NUM_BINS else np.inf


def edges() -> Float[np.ndarray, " edges"]:
    """The edges of the histograms' bins, in the SDE's time; the outermost bins hold what lies beyond."""
    return 2.0 ** (np.arange(_NUM_BINS + 1) / _BINS_PER_OCTAVE - _OCTAVES)


def _histogram(times: Float[np.ndarray, " n"]) -> Int[np.ndarray, " bins"]:
    with np.errstate(divide="ignore"):
        place = np.floor((np.log2(times) + _OCTAVES) * _BINS_PER_OCTAVE)
    return np.bincount(np.clip(place, 0, _NUM_BINS - 1).astype(np.int64), minlength=_NUM_BINS)


def summarize(samples: ExitSamples) -> ExitSummary:
    """The summary of samples.

    Example:
        >>> samples = ExitSamples(*map(np.array, ([4, 8], [1, 2], [[2.0], [0.0]], [1, -1])), ("down", "up"), 0.5, 0.0)
        >>> summary = summarize(samples)
        >>> summary.total_time, summary.exponential_fit().rate
        (6.0, 0.16666666666666666)
    """
    times, exited = samples.exit_time, samples.exited
    censored = samples.exit_code == ExitCode.CENSORED
    return ExitSummary(
        np.bincount(samples.exit_code, minlength=len(ExitCode)),
        np.bincount(samples.exit_face[exited], minlength=len(samples.face_names)),
        samples.face_names,
        float(times[exited | censored].sum()),
        float((times[exited] ** 2).sum()),
        _histogram(times[exited]),
        _histogram(times[censored]),
        int(samples.exit_step.sum(dtype=np.uint64)),
        samples.seconds,
        samples.partial,
    )


def simulate_summary(
    problem: EscapeProblem,
    plan: Plan,
    key: Any,
    on_progress: Callable[[int], None] | None = None,
    *,
    keep_partial: bool = False,
) -> ExitSummary:
    """What `summarize(simulate(...))` returns, in memory that does not grow with the number of trajectories.

    Arguments and errors are those of `simulate`.
    """
    chunks = simulate_chunks(problem, plan, key, on_progress, keep_partial=keep_partial)
    return reduce(ExitSummary.__add__, map(summarize, chunks))
