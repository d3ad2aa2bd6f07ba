"""The alpha-stable law."""

from levyjax.stable.constants import tail_constant
from levyjax.stable.fit import fit
from levyjax.stable.frozen import Stable
from levyjax.stable.law import cdf, characteristic_function, logcdf, logpdf, logsf, pdf, score, sf
from levyjax.stable.mode import mode
from levyjax.stable.moments import entropy, fractional_moment, log_moment
from levyjax.stable.quantiles import isf, median, ppf
from levyjax.stable.radial import isotropic_logpdf, isotropic_pdf, radial_pdf
from levyjax.stable.sampling import sample, sample_elliptical, sample_isotropic, sample_positive
from levyjax.stable.skewed import skewed
from levyjax.stable.tempered import (
    relativistic_characteristic_function,
    sample_relativistic,
    sample_tempered,
    tempered_characteristic_function,
)
from levyjax.stable.truncated import sample_truncated
from levyjax.stable.variates import draw_words, exponential, isotropic, normal, positive, symmetric

__all__ = [
    "Stable",
    "cdf",
    "characteristic_function",
    "draw_words",
    "entropy",
    "exponential",
    "fit",
    "fractional_moment",
    "isf",
    "isotropic",
    "isotropic_logpdf",
    "isotropic_pdf",
    "log_moment",
    "logcdf",
    "logpdf",
    "logsf",
    "median",
    "mode",
    "normal",
    "pdf",
    "positive",
    "ppf",
    "radial_pdf",
    "relativistic_characteristic_function",
    "sample",
    "sample_elliptical",
    "sample_isotropic",
    "sample_positive",
    "sample_relativistic",
    "sample_tempered",
    "sample_truncated",
    "score",
    "sf",
    "skewed",
    "symmetric",
    "tail_constant",
    "tempered_characteristic_function",
]
