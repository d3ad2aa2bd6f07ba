"""The function F that an optimizer descends."""

from levyjax.landscapes.asymmetric_valley import AsymmetricValley
from levyjax.landscapes.base import Landscape
from levyjax.landscapes.double_well import DoubleWell
from levyjax.landscapes.function import FunctionLandscape, from_function
from levyjax.landscapes.quadratic import Flat, Quadratic
from levyjax.landscapes.regression import LinearRegression, LogisticRegression

__all__ = [
    "AsymmetricValley",
    "DoubleWell",
    "Flat",
    "FunctionLandscape",
    "Landscape",
    "LinearRegression",
    "LogisticRegression",
    "Quadratic",
    "from_function",
]
