"""The rules that turn fitted laws and the far tail into a verdict."""

import dataclasses
import math
from typing import Any

import numpy as np

from levyjax.tails.aggregation import SUMS_DIFFER
from levyjax.tails.far import FarTail, far_tail
from levyjax.tails.laws import LawFit, Standardized, fit_standard, in_units, tail_probability, with_held_out

_LEADS = {"finite_variance": 3.0, "stable": 1.5, "heavy_tailed": 1.5}  # over the laws of that verdict
_FITS, _MAY_FIT = 1e-2, 1e-3  # p values above which a law fits, and below which it does not
_WORTH_CROSSING = 40.0  # of score behind the best, beyond which a law foretells nothing better
_CAUCHY = 0.04
_MISSING = 4.605  # values foretold beyond the largest one: log 100
_SLOPES_DIFFER = 3.3  # standard errors
_KINDS = {
    "stable": "stable law",
    "heavy_tailed": "other law of infinite variance",
    "finite_variance": "law of finite variance",
}
_MIXED = "stable_and_gaussian"
_RIVALS = {  # law -> (verdict it stands for, shape parameters)
    "stable": ("stable", 1),
    _MIXED: ("heavy_tailed", 3),
    "student_t_heavy": ("heavy_tailed", 1),
    "generalised_t_heavy": ("heavy_tailed", 2),
    "student_t_finite": ("finite_variance", 1),
    "generalised_t_finite": ("finite_variance", 2),
    "generalised_normal": ("finite_variance", 1),
    "lognormal_scales": ("finite_variance", 1),
    "gaussian_mixture": ("finite_variance", 0),
    "gaussian": ("finite_variance", 0),
}


@dataclasses.dataclass(frozen=True)
class Rival:
    """A fitted law, the verdict it stands for, and its log-likelihood less (shape parameters/2) log n."""

    fit: LawFit
    verdict: str
    score: float


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # of values beyond 1e154, where squares are infinite
def decide(values: np.ndarray, tests: dict[str, Any], notes: list[str]) -> str:
    """The verdict on values of one law, (n,), shuffled; takes its tests and reasons along."""
    tail = far_tail(values)
    tests["far_tail"] = dataclasses.asdict(tail) | {"index": tail.says}
    rivals = _rivals(values)
    tests["laws"] = {rival.fit.name: dataclasses.asdict(rival.fit) | {"score": rival.score} for rival in rivals}
    best = max(rivals, key=lambda rival: rival.score)
    if best.fit.p_value < _MAY_FIT:
        notes.append(f"No law fits: the best is {law_text(best.fit)}, and it is rejected (p = {best.fit.p_value:.1g}).")
        return _by_tail(tail, notes)
    if (cauchy := _cauchy(rivals, best)) is not None:
        notes.append(cauchy)
        stable = next(rival.fit for rival in rivals if rival.fit.name == "stable")
        return _unless_cut(values, stable, notes)
    verdict = _compare(best, rivals, notes)
    verdict = verdict if verdict == "undecided" else _checked(verdict, best, tail, tests, notes)
    return _unless_cut(values, best.fit, notes) if verdict == "stable" else verdict


def _rivals(data: np.ndarray) -> list[Rival]:
    """All laws fitted; what they foretell is found for those that are not far behind.

    A mixture of a stable law and a Gaussian, which has the stable law in it, is fitted only where that is the best.
    """
    values = Standardized.of(data, center=False)
    names = [name for name in _RIVALS if name != _MIXED]
    fits = [fit_standard(values.z, name) for name in names]
    rivals = [_rival(in_units(values, name, fit), data.size) for name, fit in zip(names, fits, strict=True)]
    if max(rivals, key=lambda rival: rival.score).fit.name == "stable":
        fits.append(fit_standard(values.z, _MIXED))
        rivals.append(_rival(in_units(values, _MIXED, fits[-1]), data.size))
    best = max(rival.score for rival in rivals)
    return [
        dataclasses.replace(rival, fit=with_held_out(values, rival.fit, fit))
        if best - rival.score < _WORTH_CROSSING
        else rival
        for rival, fit in zip(rivals, fits, strict=True)
    ]


def _rival(fit: LawFit, n: int) -> Rival:
    verdict, count = _RIVALS[fit.name]
    count = 2 * len(fit.shape) - 1 if fit.name == "gaussian_mixture" else count
    return Rival(fit, verdict, fit.log_likelihood - count / 2 * math.log(n))


def _cauchy(rivals: list[Rival], best: Rival) -> str | None:
    """A reason for "stable" where the data are Cauchy's, which is both stable and Student t."""
    stable, student = (
        next(rival for rival in rivals if rival.fit.name == name) for name in ("stable", "student_t_heavy")
    )
    if not (abs(stable.fit.shape - 1) < _CAUCHY and abs(student.fit.shape - 1) < _CAUCHY):
        return None
    if max(best.score - stable.score, abs(student.score - stable.score)) > _LEADS["stable"]:
        return None
    return (
        f"The data are Cauchy's within {_CAUCHY:g} of the index, as {law_text(stable.fit)} (p = "
        f"{stable.fit.p_value:.2g}) and as {law_text(student.fit)}: at 1 the two are one law, which is stable."
    )


def _compare(best: Rival, rivals: list[Rival], notes: list[str]) -> str:
    """The best law's verdict if it leads the laws of every other verdict, and foretells unseen values as well."""
    others = [_leader(rivals, verdict) for verdict in _KINDS if verdict != best.verdict]
    leads = {other.verdict: best.score - other.score for other in others}
    behind = " and ".join(
        f"{law_text(other.fit)}, the best {_KINDS[other.verdict]}, by {leads[other.verdict]:.1f}" for other in others
    )
    fitted = f"The best law is {law_text(best.fit)} (p = {best.fit.p_value:.2g})"
    score = "log-likelihood less half of log n for each shape parameter"
    if any(lead < _LEADS[verdict] for verdict, lead in leads.items()):
        notes.append(
            f"{fitted}, but the data do not tell it from a law of another verdict: in {score} it leads {behind}; "
            f"{_LEADS['finite_variance']:g} is needed over a finite variance, {_LEADS['stable']:g} over others."
        )
        return "undecided"
    if best.fit.p_value < _FITS:
        notes.append(f"{fitted}, and leads {behind}, but p is below {_FITS:g}.")
        return "undecided"
    foreteller = max(
        (rival for rival in rivals if not math.isnan(rival.fit.held_out)), key=lambda rival: rival.fit.held_out
    )
    ahead = foreteller.fit.held_out - best.fit.held_out
    if foreteller.verdict != best.verdict and ahead > _LEADS["finite_variance"]:
        notes.append(
            f"{fitted}; in {score} it leads {behind}. But {law_text(foreteller.fit)} foretells held-out values better, "
            f"by {ahead:.1f}."
        )
        return "undecided"
    notes.append(f"{fitted}; in {score} it leads {behind}. No law of another verdict foretells held-out values better.")
    return best.verdict


def _leader(rivals: list[Rival], verdict: str) -> Rival:
    return max((rival for rival in rivals if rival.verdict == verdict), key=lambda rival: rival.score)


def _checked(verdict: str, best: Rival, tail: FarTail, tests: dict[str, Any], notes: list[str]) -> str:
    """The verdict unless the far tail, or for a stable law the index of sums, speaks clearly against it."""
    notes.append(tail_text(tail))
    if verdict == "heavy_tailed" and tail.says == "above":
        notes.append("That speaks against the best law's verdict.")
        return "undecided"
    if best.fit.name == "gaussian_mixture" and tail.says != "above":
        notes.append("That does not bear out a finite variance, and a mixture of Gaussians fits many laws.")
        return "undecided"
    slope, interval = (tests.get("batch_size", {}).get(name) for name in ("slope", "interval"))
    if verdict == "stable" and slope is not None:
        error = (interval[1] - interval[0]) / 3.92
        if abs(slope - (1 / best.fit.shape - 1)) > _SLOPES_DIFFER * error + 0.02:
            notes.append("The noise falls with the batch size otherwise than under a stable law of this index.")
            return "undecided"
    if verdict == "stable" and abs(tests.get("aggregation", {}).get("z", 0.0)) > SUMS_DIFFER:
        notes.append("The index of sums differs from that of the values, which no stable law allows.")
        return "undecided"
    return verdict


def _unless_cut(values: np.ndarray, fit: LawFit, notes: list[str]) -> str:
    """ "stable" with where the values end, or "undecided" where a stable law would go on.

    How many values the law foretells beyond the largest one is exponential of mean 1: 4.6 is exceeded once in a
    hundred samples. Of a law with a density no two values are the largest: if they are, the values were clipped.
    """
    sizes = np.abs(values - fit.location)
    largest = float(sizes.max())
    expected = values.size * float(tail_probability(fit, largest))
    end = f"No value lies farther out than {largest / fit.scale:.3g} times the scale"
    if (clipped := int((sizes == largest).sum())) > 1:
        notes.append(
            f"{end}, and {clipped} lie exactly there: the values were clipped, as those of a stable law are not."
        )
        return "undecided"
    if expected > _MISSING:
        notes.append(f"{end}, where the stable law foretells {expected:.1f} values: the tail looks cut off there.")
        return "undecided"
    notes.append(f"{end}: a law cut off there, or farther out, looks the same.")
    return "stable"


def _by_tail(tail: FarTail, notes: list[str]) -> str:
    notes.append(tail_text(tail))
    if tail.says is None:
        notes.append("That is not clearly on one side of 2.")
        return "undecided"
    return "finite_variance" if tail.says == "above" else "heavy_tailed"


def tail_text(tail: FarTail) -> str:
    """The far tail as a sentence."""
    low, high = tail.interval
    part = f"{tail.num_tail} largest values are straight on log axes" if tail.num_tail else "tail is nowhere straight"
    trend = ", and it rises outwards, as that of a tail lighter than a power law" if tail.rising else ""
    return f"The {part}: Hill's index is {tail.alpha:.2f} [{low:.2f}, {high:.2f}], outermost {tail.outer:.2f}{trend}."


def law_text(fit: LawFit) -> str:
    """The law as a phrase."""
    name = fit.name.removesuffix("_heavy").removesuffix("_finite")
    if name == "generalised_t":
        return f"a generalised t law of tail index {fit.shape[1]:.2f} and centre exponent {fit.shape[0]:.2f}"
    if name == _MIXED:
        return (
            f"a stable law of alpha = {fit.shape[0]:.3f} for {fit.shape[1]:.0%} of the values and a Gaussian for others"
        )
    if name == "gaussian_mixture":
        return f"a mixture of {len(fit.shape)} Gaussians"
    return {
        "stable": f"a stable law of alpha = {fit.shape:.3f}",
        "student_t": f"Student t of nu = {fit.shape:.2f}",
        "lognormal_scales": f"a Gaussian with lognormal scales of tau = {fit.shape:.2f}",
        "generalised_normal": f"a generalised normal law of exponent {fit.shape:.2f}",
        "gaussian": "a Gaussian",
    }[name]
