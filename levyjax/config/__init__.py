"""A run as a TOML file or as the same tree of Python dataclasses; this layer imports neither jax nor NumPy.

`load` reads a file, `parse` takes the tables themselves, `cells` lists the problems of a sweep. Every value is checked
when the tree is built; what is wrong is a `ConfigError` that says what was given, what is allowed and what to do.
"""

from levyjax.config import schema
from levyjax.config.checks import ConfigError
from levyjax.config.load import load, parse
from levyjax.config.schema import RunConfig
from levyjax.config.sweeps import Cell, cells
from levyjax.deprecation import moved

__all__ = ["Cell", "ConfigError", "RunConfig", "cells", "load", "parse"]

_TABLES = [name for name in vars(schema) if name.endswith(("Config", "Settings"))]
__getattr__ = moved(__name__, dict.fromkeys(_TABLES, "levyjax.config.schema"))
