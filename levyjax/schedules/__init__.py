"""Noise levels that change with time: annealing, warm-up, ramps."""

from levyjax.schedules.base import Schedule, of_steps
from levyjax.schedules.named import cosine, exponential, linear

__all__ = ["Schedule", "cosine", "exponential", "linear", "of_steps"]
