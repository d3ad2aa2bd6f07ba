"""What every test runs under: four virtual CPU devices, strict types, array annotations checked at run time."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from jaxtyping import install_import_hook

CHECKED = ("stable", "random", "noise", "landscapes", "basins", "dynamics", "solvers", "engine", "escape.problem")
install_import_hook([f"levyjax.{package}" for package in CHECKED], "beartype.beartype")

import jax  # noqa: E402 (the hook has to come first)

jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(params=[1, pytest.param(100, marks=pytest.mark.slow)], ids="{}x".format)
def many(request) -> int:
    """How many times its usual number of draws a law test takes; its bounds follow from that number.

    What a law test allows is stated in standard errors or as a p-value, so that at 100 times the draws it sees errors
    ten times smaller, with the same chance of a false alarm.
    """
    return request.param
