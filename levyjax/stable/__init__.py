"""The alpha-stable law."""

from levyjax.stable.constants import radial_tail_constant, small_jump_variance, tail_constant
from levyjax.stable.sampling import sample, sample_elliptical, sample_isotropic, sample_positive
from levyjax.stable.skewed import skewed
from levyjax.stable.variates import draw_words, exponential, isotropic, normal, positive, symmetric

__all__ = [
    "draw_words",
    "exponential",
    "isotropic",
    "normal",
    "positive",
    "radial_tail_constant",
    "sample",
    "sample_elliptical",
    "sample_isotropic",
    "sample_positive",
    "skewed",
    "small_jump_variance",
    "symmetric",
    "tail_constant",
]
