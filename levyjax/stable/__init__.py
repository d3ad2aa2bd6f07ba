"""The alpha-stable law."""

from levyjax.stable.constants import radial_tail_constant, tail_constant
from levyjax.stable.sampling import draw_words, isotropic, normal, positive, sample, sample_isotropic, symmetric

__all__ = [
    "draw_words",
    "isotropic",
    "normal",
    "positive",
    "radial_tail_constant",
    "sample",
    "sample_isotropic",
    "symmetric",
    "tail_constant",
]
