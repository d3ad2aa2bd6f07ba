"""The rules that turn fitted laws and the Hill index into a verdict."""

import dataclasses
import math
from typing import Any

import numpy as np

from levyjax.tails.laws import LawFit, fit_law
from levyjax.tails.moments import hill
from levyjax.tails.sweep import BlockLengthSweep
from levyjax.tails.values import TailEstimate

_ENOUGH_FOR_CAUCHY = 5_000  # the index is then known to 0.06
_NO_WORSE = 3.0  # a Gaussian within this of the best law is kept, as the simpler one
_LEAD = 2.0  # in log-likelihood, a likelihood ratio of 7
_FITS = 1e-3  # smallest p value of a law that fits
_KINDS = {
    "stable": "stable law",
    "heavy_tailed": "other law of infinite variance",
    "finite_variance": "law of finite variance",
}
_FITTED = ("stable", "student_t", "gaussian_scale_mixture", "generalised_normal", "gaussian")


def compare_laws(values: np.ndarray, tests: dict[str, Any], notes: list[str]) -> str | None:
    """The verdict of the law that fits best (rules 2 and 3 of `audit`); None if no law fits.

    Args:
        values: centred, shuffled, (n,).
        tests: takes the fits, as "laws".
        notes: takes the reason.
    """
    fits = {name: fit_law(values, name) for name in _FITTED}
    at_two = fit_law(values, "student_t", shape=2.0)
    tests["laws"] = {name: dataclasses.asdict(fit) for name, fit in fits.items()}
    best = max(fits.values(), key=lambda fit: fit.log_likelihood)
    gaussian = fits["gaussian"]
    if best.log_likelihood - gaussian.log_likelihood < _NO_WORSE and gaussian.p_value >= _FITS:
        notes.append(
            f"A Gaussian fits (p = {gaussian.p_value:.2g}), and no other law is better by {_NO_WORSE:g} in "
            f"log-likelihood (the best, {_law(best)}, by {best.log_likelihood - gaussian.log_likelihood:.1f})."
        )
        return "finite_variance"
    cauchy = fit_law(values, "student_t", shape=1.0)
    behind_best = best.log_likelihood - cauchy.log_likelihood
    if values.size >= _ENOUGH_FOR_CAUCHY and behind_best < _LEAD and cauchy.p_value >= _FITS:
        notes.append(
            f"A Cauchy law, which is stable with alpha = 1, fits (p = {cauchy.p_value:.2g}), and no other law is "
            f"better by {_LEAD:g} in log-likelihood (the best, {_law(best)}, by {behind_best:.1f})."
        )
        return "stable"
    rivals = _best_of_each_verdict(fits, at_two)
    verdict = max(rivals, key=lambda name: rivals[name].log_likelihood)
    leads = {name: best.log_likelihood - rival.log_likelihood for name, rival in rivals.items() if name != verdict}
    behind = " and ".join(
        f"{_law(rivals[name])}, the best {_KINDS[name]}, by {lead:.1f}" for name, lead in leads.items()
    )
    if best.p_value < _FITS:
        p_value = max(best.p_value, 1e-300)
        notes.append(f"No law fits: the best is {_law(best)}, and it is rejected (p = {p_value:.1g}).")
        return None
    if min(leads.values()) < _LEAD:
        notes.append(
            f"The best fit is {_law(best)} (p = {best.p_value:.2g}), but the data do not tell it from a law of another "
            f"verdict: in log-likelihood it leads {behind}, and {_LEAD:g} is needed."
        )
        return "undecided"
    notes.append(f"The best fit is {_law(best)} (p = {best.p_value:.2g}); in log-likelihood it leads {behind}.")
    return verdict


def _best_of_each_verdict(fits: dict[str, LawFit], at_two: LawFit) -> dict[str, LawFit]:
    """The likeliest law of each verdict; Student t with nu = 2 is the nearest where the fitted nu is beyond."""
    student = fits["student_t"]
    finite = [fits["gaussian_scale_mixture"], fits["generalised_normal"], student if student.shape > 2 else at_two]
    return {
        "stable": fits["stable"],
        "heavy_tailed": student if student.shape < 2 else at_two,
        "finite_variance": max(finite, key=lambda fit: fit.log_likelihood),
    }


def _law(fit: LawFit) -> str:
    return {
        "stable": f"a stable law of alpha = {fit.shape:.3f}",
        "student_t": f"Student t of nu = {fit.shape:.2f}",
        "gaussian_scale_mixture": f"a Gaussian with lognormal scales of tau = {fit.shape:.2f}",
        "generalised_normal": f"a generalised normal law of exponent {fit.shape:.2f}",
        "gaussian": "a Gaussian",
    }[fit.name]


def by_hill(values: np.ndarray, estimates: dict[str, TailEstimate], sweep: BlockLengthSweep, notes: list[str]) -> str:
    """The verdict of the Hill index (rule 4): `far` uses n/200 values, `near` as many as still agree with it."""
    far = hill(values, num_tail=max(15, values.size // 200), center=False)
    error = far.alpha / math.sqrt(far.settings["num_tail"])
    for part in (10, 20, 50):
        near = hill(values, num_tail=max(30, values.size // part), center=False)
        if agree := abs(near.alpha - far.alpha) < 2 * error:
            break
    estimates["hill"], estimates["hill_far"] = near, far
    notes.append(f"The Hill index is {_hill_text(near)} and {_hill_text(far)}.")
    if near.interval[0] > 2 and far.alpha > 2:
        return "finite_variance"
    if far.alpha > near.alpha and not agree and sweep.preferred == "finite_variance":
        notes.append("It rises outwards: the tail is lighter than any power, and the block estimates say so too.")
        return "finite_variance"
    if near.interval[1] < 2 and far.alpha < 2 and agree:
        return "heavy_tailed"
    notes.append("That is not clearly on one side of 2.")
    return "undecided"


def _hill_text(estimate: TailEstimate) -> str:
    low, high = estimate.interval
    return f"{estimate.alpha:.2f} [{low:.2f}, {high:.2f}] from the largest {estimate.settings['num_tail']} values"
