"""Increments and trajectory-steps a second: levyjax, jax.random with the textbook formula inside scan, and SciPy.

    python benchmarks/increments.py [--repeats 5]

One process, the rivals in turn; the work is 4096 trajectories of SGD in d = 10, float32, noise too weak to exit.
The error column is the number of draws beyond P = 1e-6 over the number expected, in draws of each sampler's own.
"""

import argparse
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from common import interleaved, save
from scipy import stats

from levyjax import stable
from levyjax.arrays import cast
from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.engine import run
from levyjax.escape import EscapeProblem
from levyjax.escape.problem import ExitProcess
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler

LANES, DIMENSION, STEPS, ALPHA = 4096, 10, 256, 1.5
TAIL_DRAWS, TAIL_PROBABILITY = 1 << 24, 1e-6


def levyjax_steps() -> np.ndarray:
    """The engine: bits, transform, gradient, update and exit test in one loop."""
    ones = [1.0] * DIMENSION
    problem = EscapeProblem(Quadratic(ones), Box([-1.0] * DIMENSION, ones), Independent(ALPHA, ones), SGD(), 1e-6)
    process = cast(ExitProcess(problem, Euler(0.05)), jnp.float32)
    return run(process, 0, LANES, STEPS).x


def textbook(key: jax.Array, alpha: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Chambers-Mallows-Stuck as it is usually written on jax.random."""
    angle_key, exponential_key = jax.random.split(key)
    u = jax.random.uniform(angle_key, shape, minval=-math.pi / 2, maxval=math.pi / 2)
    w = jax.random.exponential(exponential_key, shape)
    return jnp.sin(alpha * u) / jnp.cos(u) ** (1 / alpha) * (jnp.cos((1 - alpha) * u) / w) ** ((1 - alpha) / alpha)


@jax.jit
def scan_steps(key: jax.Array, alpha: jax.Array) -> jax.Array:
    """The same trajectories by jax.random inside scan, the exit test as a mask."""

    def step(carry, key):
        x, inside = carry
        moved = x - 0.05 * x + 1e-6 * 0.05 ** (1 / alpha) * textbook(key, alpha, x.shape)
        x = jnp.where(inside[:, None], moved, x)
        return (x, inside & (jnp.abs(x) < 1).all(axis=1)), None

    start = jnp.zeros((LANES, DIMENSION)), jnp.ones(LANES, bool)
    return jax.lax.scan(step, start, jax.random.split(key, STEPS))[0][0]


@partial(jax.jit, static_argnames="count")
def textbook_draws(key: jax.Array, alpha: jax.Array, count: int) -> jax.Array:
    return textbook(key, alpha, (count,))


def tail_ratio(draws: np.ndarray) -> float:
    """Draws beyond the level of probability 1e-6, over their expected number."""
    level = (2 * float(stable.tail_constant(ALPHA)) / ALPHA / TAIL_PROBABILITY) ** (1 / ALPHA)
    return float((np.abs(np.asarray(draws)) > level).mean() / TAIL_PROBABILITY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    key, alpha = jax.random.key(0), jnp.float32(ALPHA)
    scipy_draws = 1 << 18
    seconds = interleaved(
        {
            "levyjax": levyjax_steps,
            "jax.random in scan": lambda: scan_steps(key, alpha),
            "scipy.stats.levy_stable.rvs": lambda: stats.levy_stable.rvs(ALPHA, 0, size=scipy_draws, random_state=0),
        },
        arguments.repeats,
    )
    work = LANES * DIMENSION * STEPS
    increments = {"levyjax": work, "jax.random in scan": work, "scipy.stats.levy_stable.rvs": scipy_draws}
    errors = {
        "levyjax": tail_ratio(stable.sample(key, ALPHA, (TAIL_DRAWS,))),
        "jax.random in scan": tail_ratio(textbook_draws(key, alpha, TAIL_DRAWS)),
        "scipy.stats.levy_stable.rvs": None,
    }
    rows = []
    for name, times in seconds.items():
        rate = increments[name] / min(times)
        rows.append(
            {
                "name": name,
                "increments_per_second": rate,
                "trajectory_steps_per_second": rate / DIMENSION if "scipy" not in name else None,
                "seconds": times,
                "levyjax_over_this": float(np.median(np.array(times) / np.array(seconds["levyjax"])))
                * work
                / increments[name],
                "draws_beyond_1e-6_over_expected": errors[name],
            }
        )
        print(f"{name:30s} {rate / 1e6:8.1f} M increments/s   levyjax is {rows[-1]['levyjax_over_this']:.1f}x as fast")
    shape = {"lanes": LANES, "dimension": DIMENSION, "steps": STEPS, "alpha": ALPHA, "dtype": "float32"}
    print(save("increments", {"rows": rows, "shape": shape, "tail_draws": TAIL_DRAWS}))


if __name__ == "__main__":
    main()
