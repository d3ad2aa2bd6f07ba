"""A run as a TOML file or as the same tables in Python.

`load` reads a file, `parse` takes the tables themselves, `cells` lists the problems of a sweep. What a table may hold
the classes of its kinds say (`keys.piece`); what is wrong is a `ConfigError` that says what was given, what is allowed
and what to do. jax is imported when the first table with a kind is read.
"""

from levyjax.checks import ConfigError
from levyjax.config import schema
from levyjax.config.load import load, parse
from levyjax.config.schema import RunConfig
from levyjax.config.sweeps import Cell, cells
from levyjax.deprecation import moved

__all__ = ["Cell", "ConfigError", "RunConfig", "cells", "load", "parse"]

_TABLES = [name for name in vars(schema) if name.endswith(("Config", "Settings"))]
__getattr__ = moved(__name__, dict.fromkeys(_TABLES, "levyjax.config.schema"))
