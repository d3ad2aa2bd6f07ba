"""A run as a TOML file or as the same tree of Python dataclasses; this layer imports neither jax nor NumPy.

`load` reads a file, `parse` takes the tables themselves, `cells` lists the problems of a sweep. Every value is checked
when the tree is built; what is wrong is a `ConfigError` that says what was given, what is allowed and what to do.
"""

from levyjax.config.checks import ConfigError
from levyjax.config.load import load, parse
from levyjax.config.schema import (
    AdamConfig,
    AsymmetricValleyConfig,
    AttractionConfig,
    BallConfig,
    BoxConfig,
    DoubleWellConfig,
    EllipsoidConfig,
    FlatConfig,
    GaussianConfig,
    HalfSpaceConfig,
    IndependentConfig,
    MomentumConfig,
    MultiWellConfig,
    ParetoConfig,
    PerCoordinateConfig,
    QuadraticConfig,
    RotationalConfig,
    RunConfig,
    RunSettings,
    SgdConfig,
    StudentTConfig,
    SublevelConfig,
    TemperedConfig,
    TruncatedConfig,
    WangOhRheeConfig,
)
from levyjax.config.sweeps import Cell, cells

__all__ = [
    "AdamConfig",
    "AsymmetricValleyConfig",
    "AttractionConfig",
    "BallConfig",
    "BoxConfig",
    "Cell",
    "ConfigError",
    "DoubleWellConfig",
    "EllipsoidConfig",
    "FlatConfig",
    "GaussianConfig",
    "HalfSpaceConfig",
    "IndependentConfig",
    "MomentumConfig",
    "MultiWellConfig",
    "ParetoConfig",
    "PerCoordinateConfig",
    "QuadraticConfig",
    "RotationalConfig",
    "RunConfig",
    "RunSettings",
    "SgdConfig",
    "StudentTConfig",
    "SublevelConfig",
    "TemperedConfig",
    "TruncatedConfig",
    "WangOhRheeConfig",
    "cells",
    "load",
    "parse",
]
