"""Optimizers as dynamical systems."""

from levyjax.dynamics.adam import Adam, AdamState
from levyjax.dynamics.base import Dynamics, Kick, flow
from levyjax.dynamics.momentum import Momentum, MomentumState
from levyjax.dynamics.sgd import SGD, SGDState

__all__ = ["SGD", "Adam", "AdamState", "Dynamics", "Kick", "Momentum", "MomentumState", "SGDState", "flow"]
