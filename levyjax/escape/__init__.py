"""The exit problem: simulated, predicted, compared."""

from levyjax.deprecation import renamed
from levyjax.engine import ExitCode
from levyjax.escape.chains import (
    draw_transition_rates,
    expected_occupancy,
    mean_passage_times,
    stationary_occupancy,
    transition_rates,
)
from levyjax.escape.columns import ColumnRate, column_rate
from levyjax.escape.exponentiality import exponentiality_test
from levyjax.escape.gauge import exit_rate, unit_rate
from levyjax.escape.laplace import laplace_transform
from levyjax.escape.passage import Complement
from levyjax.escape.paths import ExitPaths, simulate_paths
from levyjax.escape.predict import predict
from levyjax.escape.prediction import Prediction
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.profile import ExitProfile, exit_profile
from levyjax.escape.quasi_stationary import QuasiStationaryRate, quasi_stationary_rate
from levyjax.escape.reference import IntervalReference, interval_reference
from levyjax.escape.saddles import saddle_bias
from levyjax.escape.simulate import ExitSamples, Plan, simulate
from levyjax.escape.statistics import (
    ExponentialFit,
    binomial_interval,
    exponential_fit,
    kaplan_meier,
    log_log_slope,
)
from levyjax.escape.summary import ExitSummary, simulate_summary, summarize
from levyjax.escape.transitions import Visits, simulate_visits
from levyjax.escape.validity import adam_noise_level_limit, bias_constant

__all__ = [
    "ColumnRate",
    "Complement",
    "EscapeProblem",
    "ExitCode",
    "ExitPaths",
    "ExitProfile",
    "ExitSamples",
    "ExitSummary",
    "ExponentialFit",
    "IntervalReference",
    "Plan",
    "Prediction",
    "QuasiStationaryRate",
    "Visits",
    "adam_noise_level_limit",
    "bias_constant",
    "binomial_interval",
    "column_rate",
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
    "saddle_bias",
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
