"""The exit problem: simulated, predicted, compared."""

from levyjax.deprecation import renamed
from levyjax.engine import ExitCode
from levyjax.escape.annealing import AnnealedSurvival, annealed_survival
from levyjax.escape.chains import (
    draw_transition_rates,
    expected_occupancy,
    mean_passage_times,
    stationary_occupancy,
    transition_rates,
)
from levyjax.escape.exponentiality import exponentiality_test
from levyjax.escape.gauge import exit_rate, unit_rate
from levyjax.escape.laplace import laplace_transform
from levyjax.escape.passage import Complement
from levyjax.escape.paths import simulate_paths
from levyjax.escape.predict import predict
from levyjax.escape.prediction import Prediction
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.profile import exit_profile
from levyjax.escape.quasi_stationary import quasi_stationary_rate
from levyjax.escape.reference import interval_reference
from levyjax.escape.simulate import ExitSamples, Plan, simulate
from levyjax.escape.statistics import exponential_fit, kaplan_meier, log_log_slope
from levyjax.escape.summary import simulate_summary, summarize
from levyjax.escape.transitions import simulate_visits
from levyjax.escape.validity import bias_constant

__all__ = [
    "AnnealedSurvival",
    "Complement",
    "EscapeProblem",
    "ExitCode",
    "ExitSamples",
    "Plan",
    "Prediction",
    "annealed_survival",
    "bias_constant",
    "draw_transition_rates",
    "exit_profile",
    "exit_rate",
    "expected_occupancy",
    "exponential_fit",
    "exponentiality_test",
    "interval_reference",
    "kaplan_meier",
    "laplace_transform",
    "log_log_slope",
    "mean_passage_times",
    "predict",
    "quasi_stationary_rate",
    "simulate",
    "simulate_paths",
    "simulate_summary",
    "simulate_visits",
    "stationary_occupancy",
    "summarize",
    "transition_rates",
    "unit_rate",
]

__getattr__ = renamed(__name__, {"Outside": "Complement"})
