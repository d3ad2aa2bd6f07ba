"""JAX without levyjax, a little cleverer: the scan with the formula's powers as one exponential of logarithms."""

from . import Run, Work, jax_scan, refuse_other_than

NAME, SHARE = "jax.random in scan, by logarithms", 1


def increments(work: Work) -> Run:
    """The work as a function; other noises and gradients are those of `jax_scan`."""
    refuse_other_than(work, NAME, noise=("independent",), gradient=("diagonal",))
    return jax_scan.increments(work, jax_scan.stable_by_logarithms)
