"""The alpha-stable law."""

from levyjax.stable.constants import radial_tail_constant, small_jump_variance, tail_constant
from levyjax.stable.sampling import (
    draw_words,
    exponential,
    isotropic,
    normal,
    positive,
    sample,
    sample_isotropic,
    symmetric,
)

__all__ = [
    "draw_words",
    "exponential",
    "isotropic",
    "normal",
    "positive",
    "radial_tail_constant",
    "sample",
    "sample_isotropic",
    "small_jump_variance",
    "symmetric",
    "tail_constant",
]
