"""An optimizer and its SDE driven by the same noise: what their laws differ by, with little scatter."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array
from numpy.typing import ArrayLike

from levyjax.arrays import cast, jit, pytree, static
from levyjax.claims.base import Interval
from levyjax.dynamics import DrivingNoise
from levyjax.landscapes.base import Landscape
from levyjax.noise import Noise
from levyjax.random import Counter, Stream, first_counter, run_key

SUBSTEPS = 16  # Euler steps of the SDE in an iteration
_LANES = 1 << 13
_LATE = 1 << 20  # iterations after which the bias corrections have died out


class Gap(NamedTuple):
    """E cos x of the optimizer less that of its SDE, with its standard error; both of them, and that of either."""

    error: float
    standard_error: float
    optimizer: float
    sde: float
    spread: float


@pytree
class _Given:
    """Noise whose next increment is known; other streams than its own are drawn as they were."""

    noise: Any
    known: Any
    scale: Any

    def increment(self, counter: Counter, dt: Any, stream: int = Stream.NOISE) -> Array:
        return self.known if stream == Stream.NOISE else self.noise.increment(counter, dt, stream)


def drawn_noise(noise: Noise, known: Array) -> Any:
    """This noise with its next increment given."""
    return _Given(noise, known, noise.scale)


@pytree
class Pair:
    """What is run.

    Attributes:
        landscape, noise: F and A L.
        optimizer: whose iteration is run.
        model: whose SDE is run; the same learning rate.
        noise_level, sde_noise_level: of the two.
        start: (d,).
        seen_scale: (d,) the dispersion that the SDE's v is told of; sqrt(2) times A's at alpha = 2 makes its square the
            covariance.
        settled: start with the averages at rest, and not at 0.
    """

    landscape: Landscape
    noise: Any
    optimizer: Any
    model: Any
    noise_level: Any
    sde_noise_level: Any
    start: Any
    seen_scale: Any
    settled: bool = static(default=False)


@jit
def _run(pair: Pair, counter: Counter, iterations: Any) -> tuple[Array, Array]:
    """The points of both after so many iterations, (d, lanes) each."""
    eta, gradient = pair.optimizer.learning_rate, pair.landscape.gradient
    dt = eta / SUBSTEPS

    def fine(index: Array, carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        state, moved, step = carry
        at = counter._replace(low=counter.low + (step * SUBSTEPS + index).astype(jnp.uint32))
        increment = pair.noise.increment(at, dt)
        driving = DrivingNoise(_Given(pair.noise, increment, pair.seen_scale), pair.sde_noise_level, at, dt)
        return pair.model.sde_step(state, gradient(state.x), driving), moved + increment, step

    def iteration(step: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        walker, path = carry
        path, moved, _ = jax.lax.fori_loop(0, SUBSTEPS, fine, (path, jnp.zeros_like(path.x), step))
        at = counter._replace(low=counter.low + step.astype(jnp.uint32))
        unit = -moved * eta ** (-1 / pair.noise.alpha)
        driving = DrivingNoise(drawn_noise(pair.noise, unit), pair.noise_level, at, 1.0)
        return pair.optimizer.iterate(walker, gradient(walker.x), driving), path

    first = _LATE if pair.settled else 0
    walker, path = jax.lax.fori_loop(first, first + iterations, iteration, _begin(pair, counter))
    return walker.x, path.x


def _begin(pair: Pair, counter: Counter) -> tuple[Any, Any]:
    x = jnp.broadcast_to(pair.start[:, None], (pair.start.shape[0], counter.low.size))
    seen = _Given(pair.noise, x, pair.seen_scale)
    if pair.settled:
        rest = pair.model.rest(x, seen)  # for both: the optimizer itself knows of no SDE variant
        return rest, rest
    return pair.optimizer.init(x), pair.model.init(x)


def gap(pair: Pair, iterations: int, count: int, seed: int) -> Gap:
    """Both run side by side `count` times."""
    pair, key = cast(pair, jnp.float32), run_key(seed)
    parts = []
    for first in range(0, count, _LANES):
        counter = first_counter(key, jnp.arange(first, first + _LANES, dtype=jnp.uint32))
        ends = _run(pair, counter, iterations)
        parts.append([np.cos(np.asarray(x[0], np.float64)) for x in ends])
    walker, path = np.concatenate(parts, axis=1)
    difference = walker - path
    error, spread = (float(one.std() / np.sqrt(one.size)) for one in (difference, walker))
    return Gap(float(difference.mean()), error, float(walker.mean()), float(path.mean()), spread)


def columns(gaps: Sequence[Gap]) -> tuple[list[float], list[float]]:
    """Errors and their standard errors."""
    return [one.error for one in gaps], [one.standard_error for one in gaps]


def intervals(gaps: Sequence[Gap]) -> list[Interval]:
    """95% intervals of errors without their signs."""
    return [(abs(one.error) - 1.96 * one.standard_error, abs(one.error) + 1.96 * one.standard_error) for one in gaps]


@dataclasses.dataclass(frozen=True)
class Fit:
    """An error C h^order."""

    order: float
    interval: Interval


def fitted_order(steps: ArrayLike, errors: ArrayLike, standard_errors: ArrayLike) -> Fit:
    """The order of C h^p by weighted least squares in the errors themselves, which may be of either sign.

    Example:
        >>> fitted_order([0.4, 0.2, 0.1], [-0.16, -0.04, -0.01], [1e-6] * 3).order.__round__(3)
        2.0
    """
    h, e, sd = (np.asarray(values, float) for values in (steps, errors, standard_errors))
    sign = np.sign(e[0]) or 1.0
    start = (math.log(abs(e[0]) + 1e-300), 1.0)

    def model(log_h: np.ndarray, constant: float, order: float) -> np.ndarray:
        return sign * np.exp(constant + order * (log_h - math.log(h[0])))

    found, covariance = scipy.optimize.curve_fit(model, np.log(h), e, start, sd, absolute_sigma=True)
    half = 1.96 * math.sqrt(covariance[1, 1])
    return Fit(float(found[1]), (float(found[1]) - half, float(found[1]) + half))
