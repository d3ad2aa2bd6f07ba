"""What drives the SDE."""

from levyjax.noise.base import LevyNoise, Noise, PointNoise, StepNoise
from levyjax.noise.draws import Pareto, StudentT
from levyjax.noise.empirical import Empirical
from levyjax.noise.gaussian import Gaussian
from levyjax.noise.independent import Independent
from levyjax.noise.light import Tempered, Truncated
from levyjax.noise.minibatch import MiniBatch
from levyjax.noise.per_coordinate import PerCoordinate
from levyjax.noise.rotational import Rotational
from levyjax.noise.scaling import increment_scale, sde_noise_level
from levyjax.noise.spectral import SpectralMeasure
from levyjax.noise.state_dependent import StateDependent

__all__ = [
    "Empirical",
    "Gaussian",
    "Independent",
    "LevyNoise",
    "MiniBatch",
    "Noise",
    "Pareto",
    "PerCoordinate",
    "PointNoise",
    "Rotational",
    "SpectralMeasure",
    "StateDependent",
    "StepNoise",
    "StudentT",
    "Tempered",
    "Truncated",
    "increment_scale",
    "sde_noise_level",
]
