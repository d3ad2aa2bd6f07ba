"""First passage to a set: the region to leave is what lies outside of it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int32

from levyjax.arrays import column, pytree
from levyjax.basins.base import axis_face, axis_face_names
from levyjax.dynamics import SGD
from levyjax.noise import Independent, PerCoordinate

_REACH, _POINTS, _BISECTIONS = (1e-3, 1e3), 600, 40  # of the landing points on a ray, around the nearest entry
_SCAN = (1e-5, 1e5, 1000)
_RANDOM_RAYS = 256
_STEP, _PART = 0.02, 0.02  # of the flow: of the fastest relaxation, and of the distance from the minimum
_RELAXED, _MOST_STEPS = 12.0, 20_000
_RETURNS, _ENTERS, _ELSEWHERE = 0, 1, 2


@pytree
class Outside:
    """All points but those of a target set: leaving it is the first entry into the target.

    It goes where a basin does in an `EscapeProblem`, whose minimum and start lie outside the target. Paths may jump
    over the target, so it is no star-shaped basin: `simulate` takes Euler, Tamed or Iteration, and `predict` counts the
    jumps after which the noise-free flow enters the target. As with all exits only the ends of steps are looked at: a
    path that drifts through a thin target within a step is not seen there.

    Args:
        target: any basin: `Box`, `Ball`, `Sublevel` of another well, ...

    Example:
        >>> import jax.numpy as jnp
        >>> from levyjax.basins import Box
        >>> Outside(Box([1.0], [2.0])).contains(jnp.array([[0.0, 1.5, 3.0]])).tolist()
        [True, False, True]
    """

    target: Any

    @property
    def star_shaped(self) -> bool:
        return False

    def contains(self, x: Float[Array, "d *batch"]) -> Bool[Array, "*batch"]:
        return ~self.target.contains(x) & ~jnp.isnan(x).any(axis=0)

    def gauge(self, origin: Float[Array, " d"], direction: Float[Array, "d *batch"]) -> Float[Array, "*batch"]:
        """1/t at the first entry along the ray, 0 where there is none; entries thinner than 2% may be missed."""
        length = jnp.maximum(jnp.sqrt((direction**2).sum(axis=0)), jnp.finfo(direction.dtype).tiny)
        unit, centre = direction / length, column(origin, direction)
        low, high, count = _SCAN
        ratio = (high / low) ** (1 / count)

        def inside(distance: Array) -> Array:
            return self.target.contains(centre + distance * unit)

        def scan(index: Array, found: Array) -> Array:
            distance = low * ratio ** index.astype(unit.dtype)
            return jnp.where((found == 0) & inside(distance), distance, found)

        high = lax.fori_loop(0, count + 1, scan, jnp.zeros_like(length))

        def bisect(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = (ends[0] + ends[1]) / 2
            entered = inside(middle)
            return jnp.where(entered, ends[0], middle), jnp.where(entered, middle, ends[1])

        entry = lax.fori_loop(0, _BISECTIONS, bisect, (high / ratio, high))[1]
        return jnp.where(high > 0, length / jnp.where(high > 0, entry, 1), 0)

    def face_names(self, dimension: int) -> tuple[str, ...]:
        return axis_face_names(dimension)

    def face(self, origin: Float[Array, " d"], x: Float[Array, "d *batch"]) -> Int[Array, "*batch"]:
        return axis_face(origin, x)


@dataclasses.dataclass(frozen=True)
class Passage:
    """Rates of the jumps from the minimum by what the noise-free flow makes of them.

    Attributes:
        enters: of jumps after which it enters the target.
        elsewhere: of those after which it neither does nor comes back to the minimum.
        kappa: slowest relaxation rate times the time scale of the shortest such jumps.
        alpha: tail index of the ray where kappa is that.
    """

    enters: float
    elsewhere: float
    kappa: float
    alpha: float


@jax.jit
def _fate(problem: Any, x: Float[Array, "d points"], dt: Any, num_steps: Any) -> Int32[Array, " points"]:
    """Whether gradient descent's flow from points enters the target, comes back to the minimum, or neither.

    Steps are capped to a part of the distance from the minimum, which changes the flow's speed but not its way.
    """
    landscape, target = problem.landscape, problem.basin.target
    minimum = column(jnp.asarray(landscape.minimum, x.dtype), x)

    def norm(x: Array) -> Array:
        return jnp.sqrt((x**2).sum(axis=0))

    def step(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, entered = carry
        slope = landscape.gradient(x)
        size = jnp.minimum(dt, _PART * norm(x - minimum) / jnp.maximum(norm(slope), jnp.finfo(x.dtype).tiny))
        x = x - size * landscape.gradient(x - size / 2 * slope)
        return x, entered | target.contains(x)

    end, entered = lax.fori_loop(0, num_steps, step, (x, target.contains(x)))
    back = norm(end - minimum) < 0.01 * norm(x - minimum)
    return jnp.where(entered, jnp.int32(_ENTERS), jnp.where(back, jnp.int32(_RETURNS), jnp.int32(_ELSEWHERE)))


def why_no_passage_rate(problem: Any) -> str | None:
    """Why no rate of first passage is known; None where it is."""
    if not isinstance(problem.dynamics, SGD) or not isinstance(problem.noise, Independent | PerCoordinate):
        return (
            "First passage to a set has a rate here for SGD under independent coordinates only: a jump's landing point "
            "counts, not just its reach; simulate it."
        )
    if np.linalg.eigvalsh(np.asarray(problem.landscape.hessian())).min() <= 0:
        return "First passage to a set has no small-noise rate without a drift that holds the minimum; simulate it."
    return None


def _nearest(problem: Any, rays: np.ndarray) -> float | None:
    """About how far the target is from the minimum, in units of the longest ray, by the rays and random ones."""
    origin = jnp.asarray(problem.landscape.minimum)
    random = np.random.default_rng(0).normal(size=(rays.shape[0], _RANDOM_RAYS))
    random *= np.linalg.norm(rays, axis=0).max() / np.linalg.norm(random, axis=0)
    gauge = float(problem.basin.gauge(origin, jnp.asarray(np.concatenate([rays, random], axis=1))).max())
    return 1 / gauge if gauge > 0 else None


def passage(problem: Any, level: Any) -> Passage | None:
    """The rates of jumps that lead to the target at small noise, or None where none is found.

    Args:
        problem: with an `Outside` basin, SGD, and independent coordinates of noise.
        level: the noise level of the SDE, one for each ray where alpha differs.
    """
    measure: Any = problem.noise.spectral_measure()
    origin = jnp.asarray(problem.landscape.minimum)
    rays = np.asarray(measure.directions)
    nearest = _nearest(problem, rays)
    if nearest is None:
        return None
    lengths = np.geomspace(*_REACH, _POINTS) * nearest
    spectrum = np.linalg.eigvalsh(np.asarray(problem.landscape.hessian()))
    dt = _STEP / float(spectrum.max())
    num_steps = min(int(_RELAXED / float(spectrum.min()) / dt + np.log(_REACH[1]) / _PART), _MOST_STEPS)

    def fate(which: np.ndarray, length: np.ndarray) -> np.ndarray:
        x = origin[:, None] + jnp.asarray(rays[:, which] * length)
        return np.asarray(_fate(problem, x, dt, num_steps))

    count = rays.shape[1]
    fates = fate(np.repeat(np.arange(count), _POINTS), np.tile(lengths, count)).reshape(count, _POINTS)
    ray, place = np.nonzero(np.diff(fates, axis=1))
    if not ray.size:
        return None
    low, high, before = lengths[place], lengths[place + 1], fates[ray, place]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        same = fate(ray, middle) == before
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    alpha, weights, levels = (
        np.broadcast_to(np.asarray(one, float), count) for one in (measure.alpha, measure.weights, level)
    )
    beyond = weights[ray] * (levels[ray] / high) ** alpha[ray]
    # a run of one fate from its first edge to the next: what lies beyond the one less what lies beyond the other
    rates = np.zeros(3)
    np.add.at(rates, fates[ray, place + 1], beyond)
    np.subtract.at(rates, before, beyond)
    kappas = float(spectrum.min()) * (high / levels[ray]) ** alpha[ray]
    worst = int(np.argmin(kappas))
    return Passage(float(rates[_ENTERS]), float(rates[_ELSEWHERE]), float(kappas[worst]), float(alpha[ray[worst]]))
