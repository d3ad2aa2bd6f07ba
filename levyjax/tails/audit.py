"""The audit: is this noise stable, heavy-tailed in another way, or of finite variance, and how sure is that?"""

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from levyjax.datasets import Result, along
from levyjax.tails.aggregation import aggregation, batch_size_scaling
from levyjax.tails.block import block_log_moment, per_coordinate
from levyjax.tails.decision import decide
from levyjax.tails.estimators import METHODS
from levyjax.tails.large import Progress, part_of
from levyjax.tails.order import table_warning, without_order, written_out
from levyjax.tails.pooling import LARGEST_TIE, MAXIMUM_VALUES, ROWS_TO_STANDARDIZE, Pooled, pool
from levyjax.tails.sweep import BlockLengthSweep, block_length_sweep, shuffle_test
from levyjax.tails.values import TailEstimate, check_shape, check_values, equal_values, middle

VERDICTS = ("stable", "heavy_tailed", "finite_variance", "undecided")
MINIMUM_FOR_VERDICT = 500  # below this the laws cannot be told apart
_ROWS_PER_COORDINATE = 100
_COORDINATES_SHOWN = 2_000
_SHOWN, _OF_LAWS = ("alpha", "interval", "n"), ("score", "held_out", "anderson_darling", "p_value")


@dataclasses.dataclass(frozen=True)
class TailAudit(Result):
    """A verdict on the tails of data, with everything it rests on.

    Attributes:
        estimates: name -> estimate; each is a tail index only if its own assumptions hold. Locations and scales are of
            the pooled values, which are brought to one scale.
        tests: name -> what a test found.
        verdict: "stable" (alpha < 2), "heavy_tailed" (infinite variance but not stable), "finite_variance" (Gaussian
            included) or "undecided".
        reasons: sentences with numbers, in the order of the rules.
    """

    _dims = along({"estimate": "alpha interval n", "law": "score held_out anderson_darling p_value"})

    estimates: dict[str, TailEstimate]
    tests: dict[str, dict[str, Any]]
    verdict: str
    reasons: tuple[str, ...]

    def _variables(self) -> dict[str, Any]:
        """The estimates and the laws; the other tests as an attribute."""
        columns = {key: {name: getattr(one, key) for name, one in self.estimates.items()} for key in _SHOWN}
        laws = self.tests.get("laws", {})
        if laws:
            columns |= {key: {name: law[key] for name, law in laws.items()} for key in _OF_LAWS}
        tests = _plain({name: test for name, test in self.tests.items() if name != "laws"})
        return {**columns, "verdict": self.verdict, "reasons": self.reasons, "tests": tests}

    def to_json(self) -> dict[str, Any]:
        """The audit as plain values: {"estimates", "tests", "verdict", "reasons"}; null for what does not exist."""
        return _plain(dataclasses.asdict(self))


def audit(
    data: Any,
    *,
    weights: Any = None,
    center: bool = True,
    seed: int = 0,
    by_batch_size: Mapping[int, Any] | None = None,
    on_progress: Progress | None = None,
) -> TailAudit:
    """Decides between a stable law, other heavy tails and a finite variance, and says why, or that it cannot.

    The values are pooled and shuffled, exact zeros left out. Data that were stored sorted carry no order and are
    shuffled before all else. Columns of (iterations, parameters) with 50 iterations or more are first brought to the
    same scale, since different scales alone make a finite variance look heavy-tailed; columns with 5% of equal values
    are set aside; where the values of a row, or neighbours, or the sizes of neighbours, are dependent, fewer are taken;
    rounded values are spread over the gaps between them; and where the two sides differ, differences of random pairs
    take the place of the values. Then, in this order:

    1. Fewer than 500 values, or 5% of them equal: undecided.
    2. Nine laws are fitted (those of `fit_law`; the two t laws on either side of a tail index of 2), and the mixture of
       a stable law with a Gaussian where a stable one is the best. The best is the one of the largest log-likelihood
       less (log n)/2 for each shape parameter. If it does not fit (p below 0.001 by Anderson and Darling's distance
       and the number of values far out), the far tail decides: Hill's index over the longest straight stretch of the
       tail, if it is clearly on one side of 2.
    3. If it fits (p of 0.01 or more), leads every stable or heavy-tailed law of another verdict by 1.5 and every law
       of finite variance by 3, and none of them foretells held-out values better by 3, its verdict is taken,
    4. unless the far tail clearly says otherwise, or, for a stable law, the index of sums of 16 is above that of the
       values by 5 standard errors or below it, the values end where the law goes on or come in bursts, or the noise of
       other batch sizes scales otherwise.

    Args:
        data: real numbers, (n,) or (iterations, parameters).
        weights: how often each of the values (n,) occurs, whole numbers: for tables of values and counts.
        center: take the middle (of each column, where columns are standardized) away first.
        seed: of the shuffling.
        by_batch_size: noise of the same network at other batch sizes, batch size -> data, for a test of how the scale
            falls with the batch size.
        on_progress: called with the part of large data that was read since the last call, 1 in all.

    Returns:
        The audit.

    Raises:
        ValueError: the data are unusable.

    Source:
        Derived here; how often it is right and wrong: docs/tail_estimators.md.

    Example:
        >>> laplace = np.random.default_rng(0).laplace(size=5_000)
        >>> audit(laplace).verdict
        'finite_variance'
    """
    written: tuple[str, ...] = ()
    if weights is not None:
        data, written = written_out(check_shape(data), weights, seed)
    part, taken = part_of(check_shape(data), on_progress)
    data, sorted_notes = without_order(check_values(part), seed)
    table = table_warning(data) if weights is None else None
    pooled = pool(data, center=center, seed=seed)
    values, notes, tests = pooled.values, [*written, *taken, *sorted_notes, *pooled.notes], {}
    if pooled.row_variance_ratio is not None:
        tests["rows"] = {"variance_ratio": pooled.row_variance_ratio}
    tests["data"] = _counted(data)
    estimates = _estimates(pooled, data, center)
    if table is not None:
        return TailAudit(estimates, tests, "undecided", (*notes, table))
    if pooled.largest_tie > LARGEST_TIE:
        notes.append(equal_values(data, pooled.largest_tie))
        return TailAudit(estimates, tests, "undecided", tuple(notes))
    if values.size < MINIMUM_FOR_VERDICT:
        notes.append(f"Only {values.size} values: at least {MINIMUM_FOR_VERDICT} are needed to tell the laws apart.")
        return TailAudit(estimates, tests, "undecided", tuple(notes))
    if data.ndim == 2 and pooled.every > 1 and (left := len(data) // pooled.every) < ROWS_TO_STANDARDIZE:
        notes.append(f"Only {left} rows were left of {len(data)}, too few to bring the columns to one scale.")
        return TailAudit(estimates, tests, "undecided", tuple(notes))
    alive = data[data != 0][:MAXIMUM_VALUES]  # in storage order
    tests["shuffle"] = dataclasses.asdict(shuffle_test(alive, center=center, seed=seed))
    tests["shuffle"].pop("shuffled")
    notes.append(tests["shuffle"]["statement"])
    sweep = block_length_sweep(values, center=False)
    tests["block_length_sweep"] = dataclasses.asdict(sweep)
    notes.append(_sweep_sentence(sweep))
    tests["aggregation"] = aggregation(values, notes)
    if by_batch_size:
        tests["batch_size"] = batch_size_scaling(by_batch_size, notes)
    verdict = decide(values, tests, notes)
    if verdict == "stable" and pooled.every > 1:
        notes.append("Large values come in bursts, as those of independent stable noise do not.")
        verdict = "undecided"
    return TailAudit(estimates, tests, verdict, tuple(notes))


def _counted(data: np.ndarray) -> dict[str, Any]:
    """Shape, exact zeros, and how far the middle lies from 0."""
    spread = float(np.subtract(*np.quantile(data, [0.75, 0.25])))
    offset = float(middle(data.ravel())) / spread if spread > 0 else None
    return {"shape": list(data.shape), "zeros": int((data == 0).sum()), "middle_over_interquartile_range": offset}


def _estimates(pooled: Pooled, data: np.ndarray, center: bool) -> dict[str, TailEstimate]:
    """All of the shuffled pooled values but the first and the published one: in storage order and not standardized."""
    values, columns = pooled.values, pooled.columns
    estimates = {}
    with contextlib.suppress(ValueError):  # of many equal values
        estimates["block_log_moment_storage_order"] = block_log_moment(data, center=center)
    for method, function in METHODS.items():
        if method in (
            "power_law",
            "truncated_power_law",
        ):  # pooled values are spread and have no smallest one of their own
            continue
        takes_center = "center" in inspect.signature(function).parameters
        with contextlib.suppress(ValueError):  # of a prime number of values, or many equal ones
            given = data if method == "block_log_moment_as_published" else values
            estimates[method] = function(given, **({"center": False} if takes_center else {}))
    if columns is not None and columns.size > 1 and len(data) >= _ROWS_PER_COORDINATE:
        shown = columns[np.linspace(0, columns.size - 1, min(_COORDINATES_SHOWN, columns.size)).astype(int)]
        estimates["per_coordinate"] = _median_coordinate(per_coordinate(data[:, shown], center=center))
    return estimates


def _median_coordinate(estimate: TailEstimate) -> TailEstimate:
    """The median over coordinates, with the range that holds 95% of them in place of an interval."""
    alpha = estimate.alpha[np.isfinite(estimate.alpha)]
    if alpha.size == 0:
        return dataclasses.replace(estimate, alpha=math.inf, interval=(math.inf, math.inf))
    low, high = np.quantile(alpha, [0.025, 0.975])
    settings = estimate.settings | {"coordinates": estimate.alpha.size, "interval": "of 95% of the coordinates"}
    return dataclasses.replace(
        estimate, alpha=float(np.median(alpha)), interval=(float(low), float(high)), settings=settings
    )


def _sweep_sentence(sweep: BlockLengthSweep) -> str:
    ends = (
        f"{sweep.alpha[0]:.3f} at K1 = {sweep.block_lengths[0]} and {sweep.alpha[-1]:.3f} at {sweep.block_lengths[-1]}"
    )
    finding = {
        "stable": "a flat line, as a stable law predicts, fits better",
        "finite_variance": "1/alpha = 1/2 + D/log K1, as a finite variance predicts, fits better",
        "neither": "neither a flat line (stable) nor 1/2 + D/log K1 (finite variance) is clearly better",
    }[sweep.preferred]
    return (
        f"Shuffled, the block estimate is {ends}: {finding} (residual sums {sweep.stable_residual:.1f} and "
        f"{sweep.finite_variance_residual:.1f}; D is {sweep.log_excess:.2f} fitted and {sweep.direct_log_excess:.2f} "
        "from the data)."
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
