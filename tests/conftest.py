"""What every test runs under: four virtual CPU devices, strict types, array annotations checked at run time."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

CHECKED = ("stable", "random", "noise", "landscapes", "basins", "dynamics", "solvers", "engine", "escape.problem")
install_import_hook([f"levyjax.{package}" for package in CHECKED], "beartype.beartype")

import jax  # noqa: E402 (the hook has to come first)

jax.config.update("jax_numpy_dtype_promotion", "strict")
