"""Diffrax with a user's own stable path: `Euler`, an event at the exit, `vmap` over trajectories."""

from typing import Any

import jax
import jax.numpy as jnp

from . import Run, Unavailable, Work, jax_scan, refuse_other_than

NAME, SHARE = "Diffrax, own stable path", 1 / 4


def _path(diffrax: Any, work: Work, dtype: Any) -> Any:
    """A path whose increment over a step is drawn by folding the step's time into the key."""

    class StablePath(diffrax.AbstractPath):
        key: Any
        t0: float = -jnp.inf
        t1: float = jnp.inf

        def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
            index = jnp.round(t0 / work.dt).astype(jnp.uint32)
            noise = jax_scan.stable(jax.random.fold_in(self.key, index), work.alpha, (work.dimension,), dtype)
            return (t1 - t0) ** (1 / work.alpha) * noise

    return StablePath


def increments(work: Work) -> Run:
    """The work as a function.

    Raises:
        Unavailable: Diffrax is not installed.
    """
    refuse_other_than(work, NAME, dtype=("float32",), noise=("independent",), gradient=("diagonal",))
    try:
        import diffrax
        import lineax
    except ImportError:
        raise Unavailable("Diffrax is not installed (pip install diffrax).") from None
    dtype = jnp.dtype(work.dtype)
    path = _path(diffrax, work, dtype)

    def leaves(t: Any, y: Any, args: Any, **kwargs: Any) -> Any:
        return (jnp.abs(y) >= work.bound).any()

    @jax.jit
    @jax.vmap
    def solve(key: jax.Array) -> jax.Array:
        diagonal = lineax.DiagonalLinearOperator(jnp.full(work.dimension, work.noise_level, dtype))
        noise = diffrax.ControlTerm(lambda t, y, args: diagonal, path(key))
        terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, args: -y), noise)
        solution = diffrax.diffeqsolve(
            terms,
            diffrax.Euler(),
            0.0,
            work.dt * work.steps,
            work.dt,
            jnp.zeros(work.dimension, dtype),
            event=diffrax.Event(leaves),
            max_steps=work.steps + 1,
            throw=False,
        )
        return solution.ys[-1]

    keys = jax.random.split(jax.random.key(0), work.lanes)
    return lambda: solve(keys).T
