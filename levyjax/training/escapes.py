"""How far a real network goes from its minimum: under its own algorithm, and under models of its gradient noise."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from levyjax.arrays import cast, column, pytree
from levyjax.datasets import Result, along
from levyjax.dynamics import DrivingNoise, Dynamics
from levyjax.engine import ExitCode, observe
from levyjax.landscapes import Flat
from levyjax.noise import MiniBatch, Noise
from levyjax.noise.base import noise_at
from levyjax.random import Counter
from levyjax.training.landscape import NetworkLoss

EVERY = 10  # steps between two looks at where the lanes are


@pytree
class FreeProcess:
    """An optimizer, or its SDE, on a landscape that it never leaves: what `engine.observe` runs without a basin.

    Args:
        landscape: F.
        noise: A L, or the mini-batch noise of F.
        dynamics: the optimizer.
        start_point: (d,).
        noise_level: what multiplies the noise.
        dt: step of the SDE by Euler's plain method, whatever comes of it; default the iteration.
    """

    landscape: Any
    noise: Noise
    dynamics: Dynamics
    start_point: Any
    noise_level: Any = 1.0
    dt: Any = None

    def start(self) -> Any:
        return self.dynamics.init(jnp.asarray(self.start_point)[:, None])

    def step(self, state: Any, counter: Counter) -> Any:
        noise = noise_at(self.noise, state.x, self.noise_level)
        if self.dt is None:
            driving = DrivingNoise(noise, self.noise_level, counter, 1.0)
            return self.dynamics.iterate_on(self.landscape, state, driving)
        driving = DrivingNoise(noise, self.noise_level, counter, self.dt)
        return self.dynamics.sde_step(state, self.landscape.gradient(state.x), driving)

    def status(self, state: Any) -> Int32[Array, " lanes"]:
        return jnp.full(state.x.shape[1], jnp.int32(ExitCode.RUNNING))

    def record(self, state: Any) -> Float[Array, "d lanes"]:
        return state.x


@dataclasses.dataclass(frozen=True, eq=False)
class Excursions(Result):
    """How far lanes are from the minimum at steps 10, 20, ... (`EVERY`).

    Attributes:
        distance: |x - x*|, (looks, lanes).
        excess: F(x) - F(x*) of all examples, (looks, lanes).
    """

    _dims = along({"look lane": "distance excess"})

    distance: Float[np.ndarray, "looks lanes"]
    excess: Float[np.ndarray, "looks lanes"]

    @property
    def num_nonfinite(self) -> int:
        """Lanes that were at no finite place or loss at some look (`ExitCode.NONFINITE`)."""
        return int((~(np.isfinite(self.distance) & np.isfinite(self.excess))).any(axis=0).sum())

    def _variables(self) -> dict[str, Any]:
        return super()._variables() | {"num_nonfinite": self.num_nonfinite}


@pytree
class _Away:
    """How far states are from a landscape's minimum."""

    landscape: Any

    def __call__(self, state: Any) -> tuple[Array, Array]:
        centre = column(self.landscape.minimum, state.x)
        level = self.landscape.value(jnp.asarray(self.landscape.minimum))
        return jnp.sqrt(((state.x - centre) ** 2).sum(axis=0)), self.landscape.value(state.x) - level


def excursions(
    loss: NetworkLoss, noise: Noise, optimizer: Dynamics, *, num_lanes: int, num_steps: int, seed: int
) -> Excursions:
    """Run an optimizer from a minimum, many times at once, in float32.

    Lane i is a function of the seed and of i alone, to the last bit. All lanes start at x*. Adam starts as if it had
    long been there with `initial_m` = 0 and `initial_v` = `NoiseModels.variance`, what v is on average when the
    gradients are those of mini-batches (stable noise gives v no mean).

    Args:
        loss: F, with its minimum.
        noise: of the gradient; `noise_models` makes them. `MiniBatch` of this very loss costs a mini-batch a step.
        optimizer: its iteration is run.
        num_lanes: 1 or more.
        num_steps: a multiple of 10.
        seed: of the noise.

    Returns:
        Distances and losses at every tenth step. What has overflowed is inf or nan there.

    Raises:
        ValueError: no lane, or steps that are no positive multiple of 10.
    """
    if num_lanes < 1 or num_steps < EVERY or num_steps % EVERY:
        raise ValueError(
            f"{num_lanes} lanes and {num_steps} steps: give 1 lane or more and a positive multiple of {EVERY} steps."
        )
    landscape = loss
    if isinstance(noise, MiniBatch) and noise.problem is loss and not noise.gaussian:
        # the rows' own gradient, without working out that of all rows to add it and take it off again
        landscape, noise = Flat(loss.minimum), MiniBatch(loss, noise.batch_size, centred=False)
    process, look = cast((FreeProcess(landscape, noise, optimizer, loss.minimum), _Away(loss)), jnp.float32)
    found = observe(process, seed, np.arange(num_lanes), EVERY, look, num_steps // EVERY)
    return Excursions(*found.seen)


def exit_levels(values: Float[np.ndarray, "looks lanes"], medians: Sequence[int]) -> list[float]:
    """Levels that half of the lanes have passed after so many steps.

    Args:
        values: distances or losses of `Excursions`, at steps 10, 20, ...
        medians: steps, each a multiple of 10 up to that of the last look.

    Returns:
        A level for each of the medians.

    Raises:
        ValueError: steps at which nothing was looked at, or lanes that were at no finite number by then: what the
            median of the others would be is not that of all.

    Example:
        >>> exit_levels(np.array([[1.0, 2.0, 3.0], [5.0, 0.0, 0.0]]), [10, 20])
        [2.0, 3.0]
    """
    found = np.asarray(values)
    _check_looks(found)
    levels = []
    for steps in medians:
        if steps != int(steps) or steps % EVERY or not EVERY <= steps <= EVERY * len(found):
            raise ValueError(
                f"medians has {steps} steps, and lanes were looked at every {EVERY} steps. Give multiples of {EVERY} "
                f"from {EVERY} to {EVERY * len(found)}."
            )
        highest = found[: int(steps) // EVERY].max(axis=0)  # NaN where there is one
        if not np.isfinite(highest).all():
            raise ValueError(
                f"{(~np.isfinite(highest)).sum()} of {highest.size} lanes are not finite by step {steps}: there is no "
                "median level. Take a smaller learning rate or noise, or leave those lanes out."
            )
        levels.append(float(np.median(highest)))
    return levels


def first_exits(
    values: Float[np.ndarray, "looks lanes"], level: float
) -> tuple[Float[np.ndarray, " lanes"], Bool[np.ndarray, " lanes"]]:
    """The step of the first look at which a lane was at the level or above (or at no number), and whether it was.

    A lane that becomes NaN has overflowed on its way out; `Excursions.num_nonfinite` counts such lanes.

    Raises:
        ValueError: a level that is not finite.

    Example:
        >>> times, exited = first_exits(np.array([[1.0, 2.0], [5.0, 0.0]]), 3.0)
        >>> times.tolist(), exited.tolist()
        ([20.0, 20.0], [True, False])
    """
    values = np.asarray(values)
    _check_looks(values)
    if not np.isfinite(level):
        raise ValueError(f"level must be a finite number, got {level}: no lane could be said to be below it.")
    out = ~(values < level)
    exited = out.any(axis=0)
    return EVERY * np.where(exited, out.argmax(axis=0) + 1.0, len(values)), exited


def _check_looks(values: np.ndarray) -> None:
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"values of shape {values.shape}: give (looks, lanes), with one of each or more.")
