"""The names of `levyjax` itself: what a first notebook needs, loaded when it is asked for."""

import importlib
import subprocess
import sys

import pytest

import levyjax
from levyjax import training


def test_every_name_is_that_of_its_package():
    for name, package in levyjax._PUBLIC.items():
        module = importlib.import_module(f"levyjax.{package}")
        assert getattr(levyjax, name) is getattr(module, name)
        assert name in module.__all__
        assert name in dir(levyjax)


def test_a_name_loads_its_own_package_alone():
    source = "import levyjax, sys; levyjax.Box; print([m for m in ('levyjax.tails', 'flax') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True).stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'quadratic'"):
        levyjax.quadratic  # noqa: B018


def test_names_that_moved_to_their_modules_warn():
    with pytest.warns(
        DeprecationWarning, match=r"levyjax\.training\.line_path is now levyjax\.training\.paths\.line_path"
    ):
        moved = training.line_path
    assert moved is importlib.import_module("levyjax.training.paths").line_path
