"""Optimizers as dynamical systems."""

from levyjax.deprecation import renamed
from levyjax.dynamics.adam import Adam
from levyjax.dynamics.base import DrivingNoise, Dynamics, flow
from levyjax.dynamics.clipped import ClippedSGD
from levyjax.dynamics.from_optax import from_optax
from levyjax.dynamics.momentum import Momentum
from levyjax.dynamics.rmsprop import AdaGrad, RMSProp
from levyjax.dynamics.sgd import SGD, SGDState
from levyjax.dynamics.stable_noise import add_stable_noise

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "ClippedSGD",
    "DrivingNoise",
    "Dynamics",
    "Momentum",
    "RMSProp",
    "SGDState",
    "add_stable_noise",
    "flow",
    "from_optax",
]

__getattr__ = renamed(__name__, {"Kick": "DrivingNoise", "IterationOnly": "Dynamics"})
