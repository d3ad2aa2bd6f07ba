"""What drives the SDE."""

from levyjax.noise.base import (
    JumpRays,
    JumpSplit,
    LevyNoise,
    Noise,
    PointNoise,
    StepNoise,
    has_jumps,
    noise_at,
    require_process,
    second_moment,
)
from levyjax.noise.draws import Pareto, StudentT
from levyjax.noise.empirical import Empirical
from levyjax.noise.gaussian import Gaussian
from levyjax.noise.independent import ALL_RAYS, Independent
from levyjax.noise.light import Tempered, Truncated
from levyjax.noise.minibatch import FiniteSum, MiniBatch
from levyjax.noise.per_coordinate import PerCoordinate
from levyjax.noise.rotational import Rotational
from levyjax.noise.scaling import increment_scale, sde_noise_level
from levyjax.noise.spectral import SpectralMeasure, isotropic_measure
from levyjax.noise.state_dependent import StateDependent

__all__ = [
    "ALL_RAYS",
    "Empirical",
    "FiniteSum",
    "Gaussian",
    "Independent",
    "JumpRays",
    "JumpSplit",
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
    "has_jumps",
    "increment_scale",
    "isotropic_measure",
    "noise_at",
    "require_process",
    "sde_noise_level",
    "second_moment",
]
