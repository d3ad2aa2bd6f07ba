"""What a claim is, what came of testing it, and the rules that turn numbers into a verdict."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import scipy  # its parts load when they are used

from levyjax.datasets import Result
from levyjax.escape.statistics import ExponentialFit

T = TypeVar("T")

Verdict = Literal["confirmed", "refuted", "holds_within_limits", "undecided", "not_testable"]
Interval = tuple[float, float]

# The seeds of the simulations of each claim, in a report whose own seed is 0; those of seed s are 10,000 s above.
# Claims about one trained network share it, and take the report's seed for it.
_SEEDS = {
    "T1-scaling": range(0, 10), "D3": range(10, 20), "D1": range(20, 30), "D8": range(30, 40),
    "WOR-slopes": range(40, 70), "WOR-occupancy": range(70, 80), "SDE-sgd": range(90, 95),
    "SDE-malladi": range(95, 100), "SDE-adam": range(100, 110), "X-regression": range(110, 130),
    "D5-exit": range(130, 150), "wells-odds": range(180, 200), "valley-side": range(200, 300), "T2": range(300, 310),
    "D2": range(310, 320), "D7": range(320, 340), "N3": range(600, 700), "F5": range(700, 800),
    "wells-control": range(800, 900), "W-overshoot": range(900, 940), "D6": range(940, 950), "N2": range(950, 960),
    "N1": range(960, 970), "T1-exponential": range(970, 980), "D14": range(2000, 5000),
    "D14-algorithms": range(5000, 9000),
}  # fmt: skip
_REPORT = 10_000  # from one report's seeds to the next one's

_FULL = 16  # the statistical error is then a quarter


def seeds_of(seed: int, claim: str) -> range:
    """The seeds of a claim's simulations in the report of that seed."""
    own = _SEEDS[claim]
    return range(own.start + _REPORT * seed, own.stop + _REPORT * seed)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large the experiments are.

    Attributes:
        quick: small experiments, for a few minutes on two cores.
        seed: of the whole report; each claim has seeds of its own (`seeds`), which no other has.
        full: 16 times as many independent trajectories as by default, for an accelerator.

    Raises:
        ValueError: quick and full at once.
    """

    quick: bool = False
    seed: int = 0
    full: bool = False

    def __post_init__(self) -> None:
        if self.quick and self.full:
            raise ValueError("quick and full exclude each other.")

    def seeds(self, claim: str) -> range:
        """The seeds of a claim's simulations."""
        return seeds_of(self.seed, claim)

    def size(self, quick: int, default: int) -> int:
        """How large a part is that does not grow beyond its default size: a network, a grid, a training."""
        return quick if self.quick else default

    def trials(self, quick: int, default: int) -> int:
        """A number of independent trajectories."""
        return default * _FULL if self.full else self.size(quick, default)


@dataclasses.dataclass(frozen=True)
class Outcome(Result):
    """What an experiment found.

    Attributes:
        expected: the value that levyjax's exact laws give for what was measured; None where there is no law.
        measured: the measured value.
        ci95: its 95% interval.
        verdict: on the statement as its authors make it, by the claim's rule.
        finding: one or two sentences with the numbers.
        draw: makes the figure: a function of no arguments that returns matplotlib axes.
        alt: what the figure shows, for a reader who cannot see it.
    """

    expected: float | None
    measured: float
    ci95: Interval
    verdict: Verdict
    finding: str
    draw: Callable[[], Any]
    alt: str

    def _variables(self) -> dict[str, Any]:
        return {name: value for name, value in super()._variables().items() if name != "draw"}


@dataclasses.dataclass(frozen=True)
class Claim:
    """One statement put to the test.

    Attributes:
        id: short name.
        statement: what its authors say, or what their text implies.
        source: where they say it.
        rule: how the verdict follows from the numbers.
        run: the experiment.
    """

    id: str
    statement: str
    source: str
    rule: str
    run: Callable[[Settings], Outcome]


def judge_value(interval: Interval, claimed: float, tolerance: float) -> Verdict:
    """A claim that a quantity equals `claimed`: refuted where the interval stays further off than the tolerance,
    confirmed where it lies within twice the tolerance of the claimed value and reaches within the tolerance of it."""
    low, high = interval
    if low > claimed + tolerance or high < claimed - tolerance:
        return "refuted"
    return "confirmed" if max(high - claimed, claimed - low) <= 2 * tolerance else "undecided"


def judge_below(interval: Interval, bound: float) -> Verdict:
    """A claim that a quantity is below `bound`."""
    low, high = interval
    if high < bound:
        return "confirmed"
    return "refuted" if low > bound else "undecided"


def judge_above(interval: Interval, bound: float) -> Verdict:
    """A claim that a quantity is above `bound`."""
    return judge_below((-interval[1], -interval[0]), -bound)


def judge_together(verdicts: Iterable[Verdict]) -> Verdict:
    """A claim of several parts, by the worst of them: refuted if any is, confirmed if all are."""
    found = set(verdicts)
    if "refuted" in found:
        return "refuted"
    if found == {"confirmed"}:
        return "confirmed"
    return "holds_within_limits" if found and found <= {"confirmed", "holds_within_limits"} else "undecided"


def mean_ratio(first: ExponentialFit, second: ExponentialFit) -> tuple[float, Interval]:
    """Ratio of two mean exit times with its exact 95% interval for exponential times (an F law)."""
    ratio = known(first.mean) / known(second.mean)
    low, high = scipy.stats.f.ppf([0.025, 0.975], 2 * first.num_exited, 2 * second.num_exited)
    return ratio, (ratio / float(high), ratio / float(low))


def known(value: T | None) -> T:
    """The value; an error where the experiment has none."""
    if value is None:
        raise RuntimeError("the experiment gave no number where it has to give one")
    return value


def shown(value: float) -> str:
    """A number for a sentence."""
    return f"{value:.4g}" if math.isfinite(value) else "infinite"
