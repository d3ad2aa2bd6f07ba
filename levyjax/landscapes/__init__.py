"""The function F that an optimizer descends."""

from levyjax.landscapes.asymmetric_valley import AsymmetricValley
from levyjax.landscapes.base import Landscape
from levyjax.landscapes.double_well import DoubleWell
from levyjax.landscapes.drift import DriftField, LinearDrift, from_drift
from levyjax.landscapes.function import FunctionLandscape, from_function
from levyjax.landscapes.minimum import minimize
from levyjax.landscapes.multi_well import MultiWell
from levyjax.landscapes.quadratic import Flat, Quadratic
from levyjax.landscapes.regression import LinearRegression, LogisticRegression
from levyjax.landscapes.separable import Separable
from levyjax.landscapes.wang_oh_rhee import WangOhRhee

__all__ = [
    "AsymmetricValley",
    "DoubleWell",
    "DriftField",
    "Flat",
    "FunctionLandscape",
    "Landscape",
    "LinearDrift",
    "LinearRegression",
    "LogisticRegression",
    "MultiWell",
    "Quadratic",
    "Separable",
    "WangOhRhee",
    "from_drift",
    "from_function",
    "minimize",
]
