"""Tail indices of noise: estimators with intervals, checks of what they assume, and an audit with a verdict."""

from levyjax.tails.audit import TailAudit, audit
from levyjax.tails.block import block_log_moment, per_coordinate
from levyjax.tails.io import load
from levyjax.tails.laws import LawFit, fit_law
from levyjax.tails.moments import characteristic_function, hill, log_moment, stable_scale
from levyjax.tails.pooling import Pooled, pool
from levyjax.tails.sweep import BlockLengthSweep, ShuffleTest, block_length_sweep, extrapolate_alpha, shuffle_test
from levyjax.tails.values import TailEstimate

__all__ = [
    "BlockLengthSweep",
    "LawFit",
    "Pooled",
    "ShuffleTest",
    "TailAudit",
    "TailEstimate",
    "audit",
    "block_length_sweep",
    "block_log_moment",
    "characteristic_function",
    "extrapolate_alpha",
    "fit_law",
    "hill",
    "load",
    "log_moment",
    "per_coordinate",
    "pool",
    "shuffle_test",
    "stable_scale",
]
