"""The exit problem: simulated, predicted, compared."""

from levyjax.engine import ExitCode
from levyjax.escape.exponentiality import exponentiality_test
from levyjax.escape.predict import Prediction, predict, unit_rate
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.simulate import ExitSamples, Plan, simulate
from levyjax.escape.statistics import (
    binomial_interval,
    exponential_fit,
    kaplan_meier,
    laplace_transform,
    log_log_slope,
)
from levyjax.escape.validity import adam_noise_level_limit, bias_constant

__all__ = [
    "EscapeProblem",
    "ExitCode",
    "ExitSamples",
    "Plan",
    "Prediction",
    "adam_noise_level_limit",
    "bias_constant",
    "binomial_interval",
    "exponential_fit",
    "exponentiality_test",
    "kaplan_meier",
    "laplace_transform",
    "log_log_slope",
    "predict",
    "simulate",
    "unit_rate",
]
