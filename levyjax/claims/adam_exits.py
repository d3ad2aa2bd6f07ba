"""How long Adam itself stays in an interval, and what equation 5 says about it (D5)."""

from typing import Any

import numpy as np

from levyjax.basins import Box
from levyjax.claims.averaging import spike_cap
from levyjax.claims.base import Claim, Outcome, Settings, judge_value, known, shown
from levyjax.claims.figures.curves import points_on_curve
from levyjax.dynamics import Adam
from levyjax.escape import EscapeProblem, Plan, exponential_fit, log_log_slope, predict, simulate
from levyjax.escape.statistics import ExponentialFit, SlopeFit
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent, sde_noise_level
from levyjax.solvers import Euler, Iteration

_ALPHA, _TOLERANCE = 1.5, 0.3
_LEARNING_RATES = (0.1, 0.07, 0.05, 0.035, 0.027)
_SUBSTEPS = 2  # of Euler's in an iteration


def problem(learning_rate: float, sde: bool) -> EscapeProblem:
    """Adam on F = x^2/2 from 0 out of (-1, 1), its gradients' noise SaS(1.5) of unit scale; or equation 5.

    With b_i = (1 - beta_i)/eta and v an average of squares of gradients as noisy as Adam's: the reading of equation 5
    that is closest to Adam.
    """
    dynamics, level = Adam(learning_rate), 1.0
    if sde:
        dynamics = Adam(learning_rate, variant="corrected", gradient_noise="stable")
        level = sde_noise_level(_ALPHA, learning_rate)
    return EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(_ALPHA, [1.0]), dynamics, level)


def mean_steps(learning_rate: float, sde: bool, count: int, seed: int) -> ExponentialFit:
    """The mean number of iterations to an exit, of learning_rate each of the SDE's time."""
    solver = Euler(learning_rate / _SUBSTEPS) if sde else Iteration()
    samples = simulate(problem(learning_rate, sde), Plan(solver, count), seed)
    return exponential_fit(samples.exit_time / learning_rate, samples.exited)


def exit_steps(settings: Settings) -> Outcome:
    """Mean exit steps of Adam and of equation 5 against the learning rate."""
    count, rates = settings.trials(256, 4096), np.array(_LEARNING_RATES)
    fits = [
        [
            mean_steps(eta, model, count, settings.seeds("D5-exit")[10 * model + index])
            for index, eta in enumerate(rates)
        ]
        for model in (False, True)
    ]
    predicted = [known(predict(problem(eta, True)).mean_exit_time) / eta for eta in rates]
    last, sde = _slope(rates[-2:], fits[0][-2:], count), _slope(rates, fits[1], count)
    low, high = last.slope_interval
    reach = rates[-1] * spike_cap(0.9, 0.999)
    return Outcome(
        expected=-_ALPHA,
        measured=last.slope,
        ci95=(low, high),
        verdict=judge_value((low, high), -_ALPHA, _TOLERANCE),
        finding=f"Adam takes {', '.join(shown(known(fit.mean)) for fit in fits[0])} iterations to leave at learning "
        f"rates {', '.join(f'{eta:g}' for eta in rates)}: not a power law, with a slope of {shown(last.slope)} between "
        f"the last two, where no single spike moves it further than {shown(reach)}. Simulated, equation 5 takes "
        f"{', '.join(shown(known(fit.mean)) for fit in fits[1])}, a slope of {shown(sde.slope)} (limit -alpha).",
        draw=lambda: _figure(rates, fits, predicted),
        alt="Mean exit steps against the learning rate on logarithmic axes: equation 5 nears its line of slope "
        "-alpha, Adam itself bends away upwards.",
    )


def _slope(rates: np.ndarray, fits: list[ExponentialFit], count: int) -> SlopeFit:
    return known(log_log_slope(rates, [known(fit.mean) for fit in fits], count**-0.5))


def _figure(rates: np.ndarray, fits: list[list[ExponentialFit]], predicted: list[float]) -> Any:
    axes: Any = None
    for label, found, curve in (("Adam", fits[0], None), ("Eq. 5", fits[1], (rates, predicted))):
        means, ends = [known(fit.mean) for fit in found], [fit.mean_interval for fit in found]
        axes = points_on_curve(rates, means, ends, curve, label=label, log="xy", ax=axes)
    axes.set(xlabel=r"learning rate $\eta$", ylabel="mean exit step")
    return axes


CLAIMS = (
    Claim(
        "D5-exit",
        "Adam's mean exit time follows from equation 5: eta^-alpha iterations.",
        "Zhou et al. 2020, Theorem 1 for equation 5",
        "The slope of Adam's log mean exit step against log eta between the two smallest learning rates is compared "
        f"with -alpha, tolerance {_TOLERANCE}.",
        exit_steps,
    ),
)
