"""Two wells: the odds of finding a path that jumps in the one or the other."""

import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from levyjax.claims.base import Claim, Outcome, Settings, judge_value
from levyjax.dynamics import SGD
from levyjax.escape import simulate_visits, transition_rates
from levyjax.landscapes import MultiWell
from levyjax.noise import Independent
from levyjax.plots import ratio_forest
from levyjax.solvers import Tamed

_TOLERANCE = 0.1
_SADDLE = [0.0]


def odds_of_visits(alpha: float, ratio: float, settings: Settings, seed: int) -> tuple[float, float]:
    """The odds of the wider of two wells, and the standard error of their logarithm.

    They are the rate of transitions into it over that out of it, which unlike the times themselves do not depend on
    where the paths start. Given the times, numbers of transitions are Poisson.
    """
    minima, kappa = [-1.0, ratio], settings.size(400, 800 if alpha < 1.8 else 1600)
    level = kappa ** (-1 / alpha)
    rates = transition_rates(minima, _SADDLE, alpha, level)
    visits = simulate_visits(
        MultiWell(minima, _SADDLE, [1.0], [1.0, 1.0], [1.0]),
        _SADDLE,
        Independent(alpha, [1.0]),
        SGD(),
        level,
        Tamed(0.1),
        duration=settings.size(4, 8) / -float(np.diag(rates).mean()),
        num_trajectories=settings.size(640, 448),
        key=seed,
    )
    numbers, times = visits.transitions.sum(axis=0), visits.time.sum(axis=0)
    odds = (numbers[0, 1] / times[0]) / (numbers[1, 0] / times[1])
    return float(odds), math.sqrt(1 / numbers[0, 1] + 1 / numbers[1, 0])


def odds(settings: Settings) -> Outcome:
    """Odds over the ratio of widths to the power alpha."""
    cases = [(1.2, 3.0), (1.8, 2.0)] if settings.quick else [(a, r) for a in (1.2, 1.5, 1.8) for r in (1.5, 2.0, 3.0)]
    found = [odds_of_visits(*case, settings, settings.seeds("wells-odds")[index]) for index, case in enumerate(cases)]
    ratios = np.array([one / ratio**alpha for (one, _), (alpha, ratio) in zip(found, cases, strict=True)])
    errors = np.array([error for _, error in found])
    worst = int(np.argmax(np.abs(np.log(ratios))))
    widened = float(scipy.stats.norm.isf(0.025 / len(cases)))  # Bonferroni: the worst of all is judged
    intervals = [(r * math.exp(-1.96 * e), r * math.exp(1.96 * e)) for r, e in zip(ratios, errors, strict=True)]
    spread = math.exp(widened * errors[worst])
    agreement = float(scipy.stats.chi2.sf(((np.log(ratios) / errors) ** 2).sum(), len(cases)))
    labels = [f"α = {alpha}, widths 1 and {ratio:g}" for alpha, ratio in cases]

    def draw() -> Any:
        return ratio_forest(labels, ratios.tolist(), intervals, xlabel="odds / (ratio of widths)^α")

    return Outcome(
        expected=1.0,
        measured=float(ratios[worst]),
        ci95=intervals[worst],
        verdict=judge_value((ratios[worst] / spread, ratios[worst] * spread), 1.0, _TOLERANCE),
        finding=f"The odds of the wider well over (ratio of widths)^α are {', '.join(f'{r:.3f}' for r in ratios)} in "
        f"{len(cases)} cases, with errors of {errors.min():.1%} to {errors.max():.1%}; all together they agree with 1 "
        f"(p = {agreement:.2g}). Measured is the one furthest off: {labels[worst]}.",
        draw=draw,
        alt="Odds of the wider of two wells over the ratio of widths to the power alpha, one row for each case: at 1.",
    )


CLAIMS = (
    Claim(
        "wells-odds",
        "In two wells, jumps make the odds of finding SGD in the wider one (ratio of widths)^alpha.",
        "Imkeller and Pavlyukevich 2008 (the chain of wells); Simsekli, Sagun and Gürbüzbalaban 2019 draw this from it",
        f"The odds over the law's, furthest from 1 of all cases, are compared with 1, tolerance {_TOLERANCE}, by an "
        "interval widened for the number of cases.",
        odds,
    ),
)
