"""Tail indices of noise: estimators with intervals, checks of what they assume, and an audit with a verdict."""

from levyjax.tails.audit import TailAudit, audit
from levyjax.tails.block import block_log_moment, block_log_moment_as_published, per_coordinate
from levyjax.tails.cutoff import truncated_power_law
from levyjax.tails.estimators import METHODS, estimate, estimate_columns
from levyjax.tails.extremes import hill, hill_plot, moment
from levyjax.tails.io import load
from levyjax.tails.iterates import critical_learning_rate, iterate_tail_index
from levyjax.tails.laws import fit_law, tail_probability
from levyjax.tails.likelihood import maximum_likelihood
from levyjax.tails.moments import (
    characteristic_function,
    fractional_moment,
    koutrouvelis,
    log_moment,
    mcculloch,
    stable_scale,
)
from levyjax.tails.pooling import pool
from levyjax.tails.power_law import power_law
from levyjax.tails.streaming import accumulate, combine, finish, start_stream
from levyjax.tails.sweep import block_length_sweep, extrapolate_alpha, shuffle_test
from levyjax.tails.values import TailEstimate

__all__ = [
    "METHODS",
    "TailAudit",
    "TailEstimate",
    "accumulate",
    "audit",
    "block_length_sweep",
    "block_log_moment",
    "block_log_moment_as_published",
    "characteristic_function",
    "combine",
    "critical_learning_rate",
    "estimate",
    "estimate_columns",
    "extrapolate_alpha",
    "finish",
    "fit_law",
    "fractional_moment",
    "hill",
    "hill_plot",
    "iterate_tail_index",
    "koutrouvelis",
    "load",
    "log_moment",
    "maximum_likelihood",
    "mcculloch",
    "moment",
    "per_coordinate",
    "pool",
    "power_law",
    "shuffle_test",
    "stable_scale",
    "start_stream",
    "tail_probability",
    "truncated_power_law",
]
