"""Where noise-free dynamics goes when it is followed: by an adaptive ODE solver, or iteration by iteration."""

from copy import copy
from typing import Any

import numpy as np
from jaxtyping import Float

from levyjax.arrays import padded_to
from levyjax.basins import Attraction
from levyjax.solvers.motion import (
    Ends,
    Fate,
    at_rest,
    drift_of,
    flat_of,
    gauge_along,
    kept_by_descent,
    like,
    linearised,
    modes_of,
    real_and_imaginary,
    step_length,
)
from levyjax.solvers.steps import Euler, ExitProblem, Iteration, Solver, Tamed
from levyjax.solvers.traced_paths import NEAR, Watch, iterate, trace

_SMALL = 0.003  # of where a path comes from
_STIFF = 300.0  # ratio of relaxation rates from which the solver is implicit
_RTOL, _ROUGH_RTOL = 1e-7, 1e-5  # of a step; of one whose path tells its fate and little else
_PARTS = (1.0, 0.3, 0.1, 0.03)  # of the way to the boundary, where the drift is looked at for sizes
_LANES = 256  # followed at a time


class TracedMotion:
    """The motion followed step by step: any optimizer, any landscape, any basin."""

    def __init__(self, problem: ExitProblem, solver: Solver | None, size: float = 1.0, point: Any = None) -> None:
        self.problem, self.solver = problem, solver
        self.origin = np.asarray(problem.landscape.minimum if point is None else point)
        self.modes = modes_of(linearised(problem, solver, self.origin), step_length(problem, solver))
        self.rest = at_rest(problem, self.origin)
        self.kept = kept_by_descent(problem)  # what starts inside stays inside
        basin = problem.basin
        # where it rests tells whether it started inside; how near to the minimum that is
        self.near = float(basin.near) if self.kept and isinstance(basin, Attraction) else None
        self.reach, self.sizes = self._reach(size), self._sizes(size)

    def _reach(self, size: float) -> np.ndarray:
        """How far each mode of amplitude 1 can ever reach, as a part of the way to the boundary, or of its size."""
        vectors = self.modes.from_modes[: len(self.origin)]
        parts = np.concatenate([np.real(vectors), np.imag(vectors)], axis=1)
        reach = np.linalg.norm(parts, axis=0) / size
        if self.near is not None:
            reach = np.linalg.norm(parts, axis=0) / self.near
        elif getattr(self.problem.basin, "star_shaped", True):
            both = np.concatenate([parts, -parts], axis=1)
            gauge = gauge_along(self.problem.basin, self.origin, both)
            reach = np.maximum(reach, gauge.reshape(2, -1).max(axis=0))
        return reach.reshape(2, -1).sum(axis=0)

    def closer(self, shortest: float) -> "TracedMotion":
        """The same, with paths followed until they are small beside this part of the way to the boundary."""
        closer = copy(self)
        closer.reach = self.reach * max(NEAR / (_SMALL * shortest), 1.0)
        return closer

    def follow(self, state: Any, stop: Any = None, stiff: bool | None = None, rough: bool = False) -> Ends:
        """Where these states lead; or where they are at the times `stop`, had they not ended before.

        `stiff` says whether the solver is implicit, default where the rates at rest say so, and for what could not be
        followed to its end without; `rough` whether 1e-5 will do.
        """
        moving = self.modes.rates[self.modes.rates > 0]
        stiff_at_rest = bool(self.modes.fastest() > _STIFF * moving.min(initial=np.inf))
        stop = np.full(state.x.shape[1], np.inf) if stop is None else np.asarray(stop, float)
        tolerance = np.asarray(_ROUGH_RTOL if rough else _RTOL)
        leaves = [np.asarray(leaf) for leaf in state]
        found = self._all(leaves, stop, stiff_at_rest if stiff is None else stiff, tolerance)
        if stiff is None and not stiff_at_rest and self.modes.step is None:
            self._again(found, leaves, stop, tolerance)
        fate, time, point, flat = found
        averages = flat[len(self.origin) :]
        averages[np.abs(averages) < 1e-100] = 0  # what `off_zero` has made of 0
        return Ends(fate, time, point, like(self.rest, flat))

    def _again(self, found: tuple[np.ndarray, ...], leaves: list[np.ndarray], stop: np.ndarray, tolerance: Any) -> None:
        """Follow what was not followed to its end by an implicit solver: the motion may be stiff further out."""
        lost = np.flatnonzero(found[0] == Fate.UNDECIDED)
        for first in range(0, len(lost), _LANES):
            some = lost[first : first + _LANES]
            more = self._some([leaf[:, some] for leaf in leaves], stop[some], True, tolerance)
            for whole, part in zip(found, more, strict=True):
                whole[..., some] = part
            if (more[0] == Fate.UNDECIDED).mean() > 0.5:
                return

    def _all(
        self, leaves: list[np.ndarray], stop: np.ndarray, stiff: bool, tolerance: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        # lanes go on until the last of them ends: those that take about as long are followed together
        away = np.linalg.norm(leaves[0] - self.origin[:, None], axis=0)
        order, parts = np.lexsort((away, stop)), []
        for first in range(0, len(stop), _LANES):
            some = order[first : first + _LANES]
            parts.append(self._some([leaf[:, some] for leaf in leaves], stop[some], stiff, tolerance))
        back = np.argsort(order)
        return tuple(np.concatenate(columns, axis=-1)[..., back] for columns in zip(*parts, strict=True))

    def _some(
        self, leaves: list[np.ndarray], stop: np.ndarray, stiff: bool, tolerance: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        width = stop.shape[0]
        leaves, stop = [padded_to(leaf, _LANES) for leaf in leaves], padded_to(stop, _LANES)  # one program
        watched = Watch(
            self.origin,
            np.concatenate([np.asarray(leaf) for leaf in self.rest]),
            real_and_imaginary(self.modes.to_modes),
            self.reach,
            self.sizes,
            np.asarray(max(self.modes.slowest(), 1e-6 * self.modes.fastest(), 1e-300)),
            np.asarray(self.modes.fastest()),
        )
        state = type(self.rest)(*leaves)
        if isinstance(self.solver, Euler | Tamed | Iteration):
            found = iterate(self.problem, self.solver, watched, state, stop, np.asarray(self.modes.step))
        else:
            way = stiff, not self.kept, self.near is None
            found = trace(self.problem, watched, state, stop, tolerance, *way)
        fate, time, point, flat = (np.asarray(part)[..., :width] for part in found)
        if self.near is not None:  # what comes to rest elsewhere was outside from the start
            away = np.isin(fate, (Fate.ELSEWHERE, Fate.BLOWS_UP)) & ~self._comes_back(point)
            fate, time = np.where(away, Fate.LEAVES, fate), np.where(away, 0.0, time)
            point = np.where(away, leaves[0][:, :width], point)
        return fate, time, point, flat

    def _comes_back(self, point: np.ndarray) -> np.ndarray:
        """Whether points at rest are the minimum, as closely as it is known."""
        return np.linalg.norm(point - self.origin[:, None], axis=0) < 0.5 * (self.near or 0.0)

    def _sizes(self, size: float) -> np.ndarray:
        """How large each entry of the state becomes, for tolerances: the point as far as the basin reaches.

        An average of slopes is as large as they are at a distance where they are least beside it: further out they may
        be any size, and tolerances are relative there.
        """
        draws = np.random.default_rng(0).normal(size=(len(self.origin), 16))
        away = size * draws / np.linalg.norm(draws, axis=0)
        points = self.origin[:, None, None] + away[:, None] * np.array(_PARTS)[:, None]
        moved = drift_of(self.problem, at_rest(self.problem, points.reshape(len(self.origin), -1)))
        sizes = [np.full(self.origin.shape, size)]
        for leaf, rate in zip(self.rest[1:], moved[1:], strict=True):
            made = np.abs(np.asarray(rate)).reshape(len(leaf), len(_PARTS), -1).max(axis=(0, 2)) / _PARTS
            made = made[made > 0].min(initial=np.inf) / self.modes.fastest()
            made = made if np.isfinite(made) else 0.0
            sizes.append(np.full(leaf.shape, max(float(np.abs(np.asarray(leaf)).max()), float(made), 1e-300)))
        return np.concatenate(sizes)

    def state_at(self, state: Any, times: Float[np.ndarray, " n"]) -> Any:
        """The states after these times, one for each: ended ones where they ended, but on to rest if they came back."""
        ends = self.follow(state, times)
        back = np.flatnonzero(ends.fate == Fate.RETURNS)
        if not len(back):
            return ends.state
        flat, rest = np.array(flat_of(ends.state)), np.asarray(flat_of(self.rest))[:, None]
        flat[:, back] = rest + self.modes.later(flat[:, back] - rest, (times - ends.time)[back])
        return like(self.rest, flat)
