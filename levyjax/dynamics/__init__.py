"""Optimizers as dynamical systems."""

from levyjax.deprecation import renamed
from levyjax.dynamics.adam import Adam, AdamState
from levyjax.dynamics.base import DrivingNoise, Dynamics, flow
from levyjax.dynamics.clipped import ClippedSGD
from levyjax.dynamics.from_optax import FromOptax, OptaxState, from_optax
from levyjax.dynamics.momentum import Momentum, MomentumState
from levyjax.dynamics.rmsprop import AdaGrad, RMSProp, SquaresState
from levyjax.dynamics.sgd import SGD, SGDState
from levyjax.dynamics.stable_noise import AddStableNoiseState, add_stable_noise

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamState",
    "AddStableNoiseState",
    "ClippedSGD",
    "DrivingNoise",
    "Dynamics",
    "FromOptax",
    "Momentum",
    "MomentumState",
    "OptaxState",
    "RMSProp",
    "SGDState",
    "SquaresState",
    "add_stable_noise",
    "flow",
    "from_optax",
]

__getattr__ = renamed(__name__, {"Kick": "DrivingNoise", "IterationOnly": "Dynamics"})
