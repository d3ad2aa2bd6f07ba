"""The alpha-stable law."""

from levyjax.stable.constants import radial_tail_constant, small_jump_variance, tail_constant
from levyjax.stable.fit import StableFit, fit
from levyjax.stable.law import cdf, characteristic_function, logpdf, logsf, pdf, score, sf
from levyjax.stable.moments import entropy, fractional_moment, log_moment
from levyjax.stable.quantiles import isf, ppf
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
    "StableFit",
    "cdf",
    "characteristic_function",
    "draw_words",
    "entropy",
    "exponential",
    "fit",
    "fractional_moment",
    "isf",
    "isotropic",
    "log_moment",
    "logpdf",
    "logsf",
    "normal",
    "pdf",
    "positive",
    "ppf",
    "radial_tail_constant",
    "sample",
    "sample_isotropic",
    "score",
    "sf",
    "small_jump_variance",
    "symmetric",
    "tail_constant",
]
