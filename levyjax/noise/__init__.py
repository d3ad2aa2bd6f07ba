"""What drives the SDE."""

from levyjax.noise.base import JumpRays, JumpSplit, Noise, second_moment
from levyjax.noise.gaussian import Gaussian
from levyjax.noise.independent import ALL_RAYS, Independent
from levyjax.noise.rotational import Rotational
from levyjax.noise.scaling import increment_scale, sde_noise_level
from levyjax.noise.spectral import SpectralMeasure, isotropic_measure

__all__ = [
    "ALL_RAYS",
    "Gaussian",
    "Independent",
    "JumpRays",
    "JumpSplit",
    "Noise",
    "Rotational",
    "SpectralMeasure",
    "increment_scale",
    "isotropic_measure",
    "sde_noise_level",
    "second_moment",
]
