"""From the fates of jumps to the numbers of a prediction: rate, faces, mean through a chain of wells, and its bias."""

import math
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from levyjax.escape.bias import expected_changes, on_the_line, rate_changes
from levyjax.escape.fate import JumpFates, Sample, Well
from levyjax.escape.first_jumps import mean_of_shorter, usual_jumps
from levyjax.escape.problem import face_of
from levyjax.escape.tracer import MOST_WELLS
from levyjax.escape.validity import bias_constant, next_order
from levyjax.noise.skewness import skewness
from levyjax.noise.spectral import share_error, sum_error
from levyjax.solvers.limits import lost_beside_wall
from levyjax.solvers.linear_motion import LinearMotion
from levyjax.solvers.motion import Fate, at_rest, flat_of
from levyjax.solvers.steps import Iteration
from levyjax.stable import tail_constant

_CERTAIN = 0.999  # a chance, beyond which a mean of what is left over would be none
_MATTERS = 1e-3  # of all jumps that do not come back: fewer of one fate are left out
_CLEAR, _FAR = 0.004, 1.0  # a bias that need not be known any better, as it is small or large enough
_KINK = 0.2  # of the bias of a landscape with a kink: its error beside the interval solver, next to the next order
_SECOND_ORDER = 0.5  # of the square of an interval's bias, where the bias itself is smaller
_ROUGH = 0.5  # of the bias, where it is that of an interval
_RETURN = 5.0  # relaxation times that a path takes to come back
_STARTS, _LINEAR_STARTS, _TRACED_STARTS = 1 << 13, 1 << 10, 256  # of long jumps: the dearer, the fewer
_WHILE, _INSIDE = 3.0, 0.9  # relaxation times before a jump; of the shortest way out
_SHIFT, _OTHERS = 0.005, 2.0  # of a probability, that is told; for jumps besides the largest: simulated, 1.4 to 1.8
_NEVER = 1e-9  # the same, where they would end nothing


class Ends:
    """Where jumps at a noise level lead, well by well, and how long that takes.

    Args:
        jump_fates: the fates.
        level: the noise level, one for each ray or for all.
    """

    def __init__(self, jump_fates: JumpFates, level: Float[np.ndarray, " *rays"]) -> None:
        self.jump_fates, self.level = jump_fates, np.broadcast_to(np.asarray(level, float), jump_fates.rays.alpha.shape)
        self.problem = jump_fates.problem
        self._rates = [well.segments.rates(jump_fates.rays, self.level) for well in jump_fates.wells]

    def _share(self, fate: Fate) -> float:
        """The part of a fate in what does not come back to the minimum."""
        segments, rates = self.jump_fates.wells[0].segments, self._rates[0]
        away = rates[segments.fate != Fate.RETURNS].sum()
        return float(rates[segments.fate == fate].sum() / away) if away > 0 else 0.0

    @cached_property
    def chain(self) -> bool:
        """Whether jumps lead to other wells inside."""
        return self._share(Fate.ELSEWHERE) > 1e-6

    @cached_property
    def start(self) -> tuple[int, Any]:
        """The well in which the noise-free dynamics from the problem's start ends, and its state there; -1 for none."""
        if self.problem.start is None:
            return 0, None
        state = at_rest(self.problem, np.asarray(self.problem.start, float)[:, None])
        if np.allclose(self.problem.start, self.problem.landscape.minimum, rtol=0, atol=1e-12):
            return 0, None
        labels = self.jump_fates.wells[0].ends(state)[1]
        self._start_fate = Fate(int(labels[0, 0]))
        if labels[0, 0] in (Fate.RETURNS, Fate.ELSEWHERE) and labels[1, 0] < len(self.jump_fates.wells):
            return int(labels[1, 0]), state
        return -1, state

    def why_no_mean(self) -> str | None:
        """Why there is no mean exit time of this form; None where there is one."""
        jump_fates = self.jump_fates
        if not jump_fates.complete:
            return (
                f"Jumps come to rest at more than {MOST_WELLS} points inside, in wells or on a plateau: no chain is "
                "worked out; simulate it."
            )
        if self.start[0] < 0:
            return (
                "From this start the noise-free dynamics does not come to rest inside "
                f"({self._start_fate.name.lower()}), so no small-noise rate belongs to it; simulate it."
            )
        if self._share(Fate.BLOWS_UP) > _MATTERS:
            part = 100 * self._share(Fate.BLOWS_UP)
            return (
                f"{part:.2g}% of the jumps that do not come back lead to infinity inside the basin, from where there "
                "is no exit: the mean exit time is infinite. Close the basin on that side."
            )
        if self.chain and not np.isfinite(self._means(*self._chain())).all():
            return "Jumps lead to a well inside from which none leaves: no mean exit time is known; simulate it."
        return None

    def _active(self) -> list[int]:
        """Wells that jumps from the start lead to, by way of others."""
        seen, queue = {self.start[0]}, [self.start[0]]
        while queue:
            here = queue.pop()
            segments, rates = self.jump_fates.wells[here].segments, self._rates[here]
            goes = (segments.fate == Fate.ELSEWHERE) & (rates > _NEVER * rates[segments.fate != Fate.RETURNS].sum())
            for well in set(segments.well[goes].tolist()) - seen:
                seen.add(well)
                queue.append(well)
        return sorted(seen)

    def _chain(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rates between the wells, rates of exits, and the time spent on the way by all jumps of a well."""
        active = self._active()
        between, exits, late = np.zeros((len(active),) * 2), np.zeros(len(active)), np.zeros(len(active))
        for row, here in enumerate(active):
            segments, rates = self.jump_fates.wells[here].segments, self._rates[here]
            leaves = segments.fate == Fate.LEAVES
            exits[row] = rates[leaves].sum()
            away = leaves | (segments.fate == Fate.ELSEWHERE)
            late[row] = rates[away] @ segments.time[away]
            for column, there in enumerate(active):
                if there != here:
                    between[row, column] = rates[(segments.fate == Fate.ELSEWHERE) & (segments.well == there)].sum()
        return between, exits, late

    @staticmethod
    def _means(between: np.ndarray, exits: np.ndarray, late: np.ndarray) -> np.ndarray:
        """The mean exit time from every well."""
        leave = between.sum(axis=1) + exits
        matrix = np.diag(leave) - between
        scale = np.where(leave > 0, leave, 1)
        try:
            return np.linalg.solve(matrix / scale[:, None], (1 + late) / scale)
        except np.linalg.LinAlgError:
            return np.full(len(leave), np.inf)

    def _from_start(self, means: np.ndarray) -> float:
        return float(means[self._active().index(self.start[0])])

    def rate(self) -> float:
        """Exits per unit of time, over the chain of wells where there is one: one over the mean exit time."""
        between, exits, late = self._chain()
        if exits.sum() == 0:
            return 0.0
        return 1 / self._from_start(self._means(between, exits, 0 * late))

    def error(self) -> float:
        """The rate's error where rays stand for a continuum."""
        rays, segments = self.jump_fates.rays, self.jump_fates.wells[0].segments
        leaves = segments.fate != Fate.RETURNS
        parts = np.bincount(segments.ray[leaves], self._rates[0][leaves], len(rays.weights)).astype(float)
        return sum_error(parts, rays)

    def shares(self) -> dict[str, float]:
        """The probability of leaving through each face, where the flow crosses it."""
        names = self.problem.basin.face_names(self.problem.dimension)
        between, exits, _ = self._chain()
        active = self._active()
        by_face = np.zeros((len(active), len(names)))
        for row, here in enumerate(active):
            segments, rates = self.jump_fates.wells[here].segments, self._rates[here]
            leaves = segments.fate == Fate.LEAVES
            by_face[row] = np.bincount(segments.face[leaves], weights=rates[leaves], minlength=len(names))
        if exits.sum() == 0:
            return {}
        leave = between.sum(axis=1) + exits
        through = np.linalg.solve(np.diag(leave) - between, by_face)[active.index(self.start[0])]
        return dict(zip(names, (through / through.sum()).tolist(), strict=True))

    def share_error(self) -> float:
        """The largest error of these probabilities where rays stand for a continuum."""
        rays, segments = self.jump_fates.rays, self.jump_fates.wells[0].segments
        where = np.where(segments.fate == Fate.LEAVES, segments.face, segments.face.max(initial=0) + 1 + segments.well)
        parts = np.zeros((where.max(initial=0) + 1, len(rays.weights)))
        away = segments.fate != Fate.RETURNS
        np.add.at(parts, (np.maximum(where, 0)[away], segments.ray[away]), self._rates[0][away])
        return share_error(parts, rays) if parts.any() else 0.0

    def kappa(self) -> float:
        """The slowest relaxation's rate times the time scale of the shortest jumps that do not come back."""
        well, rays = self.jump_fates.wells[0], self.jump_fates.rays
        slowest = well.motion.modes.slowest()
        if slowest == 0:
            return 0.0
        rates, segments = self._rates[0], well.segments
        used = np.zeros(len(rays.weights), bool)
        used[segments.ray[(segments.fate != Fate.RETURNS) & (rates > 0)]] = True
        reach = (self.level / well.shortest(rays))[used]
        return float(slowest * (reach ** -rays.alpha[used]).min()) if used.any() else math.inf

    def bias(self) -> tuple[float, float]:
        """By what part exits come sooner than in the limit, to first order, and the error of that."""
        bound = self._bound()
        if (bound < _CLEAR and not self._skewed) or _FAR < bound < math.inf:
            return bound, 0.0
        if self.jump_fates.sample is not None:  # the ways back are not followed
            return bound, _ROUGH * bound
        between, exits, late = self._chain()
        base = self._from_start(self._means(between, exits, 0 * late))
        active, errors = self._active(), []
        for row, here in enumerate(active):
            well = self.jump_fates.wells[here]
            for (fate, there), (change, error) in rate_changes(self.jump_fates, well, self.level).items():
                leave = between[row].sum() + exits[row]
                if fate == Fate.LEAVES:
                    exits[row] += change
                elif fate == Fate.ELSEWHERE and there in active and there != here:
                    between[row, active.index(there)] += change
                errors.append(error / leave if leave > 0 else 0.0)
            exits[row] *= 1 + self._touching(well, self._rates[here])
        changed = self._from_start(self._means(np.maximum(between, 0), np.maximum(exits, 0), late))
        sooner = base / (changed * (1 - self._at_start())) - 1
        # parts of either sign may cancel at first order, and do not at the next
        usual = self._usual_bias()
        second = _SECOND_ORDER * usual * max(usual - abs(sooner), 0.0)
        alpha = float(self.jump_fates.rays.alpha[self.jump_fates.rays.weights > 0].max())
        beyond = next_order(alpha) * abs(sooner)
        if self._kinked:
            beyond = (next_order(alpha) + _KINK) * max(abs(sooner), usual)
        second = max(second, beyond) + alpha * (alpha + 1) * self._moved() ** 2
        return sooner, float(np.sqrt(np.sum(np.square(errors))) + second)

    @property
    def _skewed(self) -> bool:
        """Whether jumps to opposite sides come at rates of their own."""
        return skewness(self.problem.noise) is not None

    def _moved(self) -> float:
        """How far small jumps that do not cancel move the point of rest, as a part of the way out."""
        if not self._skewed:
            return 0.0
        well, rays = self.jump_fates.wells[0], self.jump_fates.rays
        way, slowest, total = well.shortest(rays), well.motion.modes.slowest(), 0.0
        up, down = np.split(np.arange(len(way)), 2)  # columns of A and their opposites
        for one, other in zip(up.tolist(), down.tolist(), strict=True):
            alpha, level, length = float(rays.alpha[one]), float(self.level[one]), float(min(way[one], way[other]))
            density = float(rays.weights[one] - rays.weights[other]) * level**alpha
            total += abs(mean_of_shorter(density, alpha, length, level)) / (slowest * length)
        return total

    def _bound(self) -> float:
        """About the bias, from that of an interval, good enough where it is small; inf for a chain or another start."""
        well, rays = self.jump_fates.wells[0], self.jump_fates.rays
        if self.chain or self.start[1] is not None:
            return math.inf
        if self._kinked:
            return math.inf  # at a kink the bias falls more slowly than 1/kappa
        slowest, total = well.motion.modes.slowest(), self._rates[0][well.segments.fate != Fate.RETURNS].sum()
        alpha = float(rays.alpha[rays.weights > 0].max())
        crowded = 2 * float(tail_constant(alpha)) / alpha * slowest / total
        returns = well.segments.time[well.segments.fate == Fate.RETURNS]  # those of a linear motion are not looked at
        slower = max(float(returns.max(initial=0.0)) * slowest / _RETURN, 1.0)
        return slower * bias_constant(alpha) / min(self.kappa(), crowded) + self._touching(well, self._rates[0])

    @cached_property
    def _kinked(self) -> bool:
        """Whether the landscape's slope has a kink at the minimum."""
        return bool(np.isfinite(usual_jumps(self.jump_fates.wells[0], self.jump_fates.rays, self.level)).any())

    def _usual_bias(self) -> float:
        """The bias of intervals from which jumps of each alpha that do not come back come as often as here."""
        well, alpha = self.jump_fates.wells[0], self.jump_fates.rays.alpha[self.jump_fates.wells[0].segments.ray]
        away, slowest, total = well.segments.fate != Fate.RETURNS, well.motion.modes.slowest(), 0.0
        for one in np.unique(alpha[away]).tolist():
            often = self._rates[0][away & (alpha == one)].sum()
            total += bias_constant(one) * one / (2 * float(tail_constant(one))) * often / slowest
        return total

    def _touching(self, well: Well, rates: np.ndarray) -> float:
        """How much sooner the noise leaves where the flow only touches the boundary.

        The shortest jumps that the flow carries out turn back right at the boundary: near there the path lingers, and
        the noise of a relaxation time, of size (alpha kappa)^(-1/alpha) of the way, moves its furthest point. On a line
        the flow of one field crosses the boundary where it goes out.
        """
        rays, segments = self.jump_fates.rays, well.segments
        carried = (segments.fate == Fate.LEAVES) & (segments.time > 0)
        total = rates[segments.fate == Fate.LEAVES].sum()
        slowest = well.motion.modes.slowest()
        if not carried.any() or total == 0 or slowest == 0 or on_the_line(self.jump_fates, well):
            return 0.0
        ray = segments.ray[carried]
        alpha = rays.alpha[ray]
        kappa = slowest * (self.level[ray] / well.shortest(rays)[ray]) ** -alpha
        return float((rates[carried] * alpha * (alpha * kappa) ** (-1 / alpha)).sum() / total)

    def shift(self) -> float:
        """How far the noise about the minimum moves the probability of a face: jumps do not start from the minimum.

        It matters where many of them leave near the edge between two faces. 0 below half a point.
        """
        well, problem, d = self.jump_fates.wells[0], self.problem, self.problem.dimension
        segments, rays, slowest = well.segments, self.jump_fates.rays, well.motion.modes.slowest()
        leaves = np.flatnonzero((segments.fate == Fate.LEAVES) & (self._rates[0] > 0))
        names, generator = problem.basin.face_names(d), np.random.default_rng(0)
        if d == 1 or slowest == 0 or len(names) == 1 or not leaves.size:
            return 0.0
        # where jumps from the minimum leave
        linear = isinstance(well.motion, LinearMotion)
        count = _STARTS if self.jump_fates.plain else _LINEAR_STARTS if linear else _TRACED_STARTS
        rates = self._rates[0][leaves]
        one = leaves[generator.choice(len(leaves), count, p=rates / rates.sum())]
        alpha, ray = rays.alpha[segments.ray[one]], segments.ray[one]
        part = (segments.low[one] / segments.high[one]) ** alpha
        length = segments.low[one] * (1 - generator.uniform(size=count) * (1 - part)) ** (-1 / alpha)
        states = well.jumps.states(ray, length)
        points = np.asarray(states.x) if self.jump_fates.plain else well.motion.follow(states).point
        # and how far from it they start
        starts = self._about_rest(generator, count)
        moved = np.concatenate([points, points + starts, points - starts], axis=1)
        found = face_of(problem.basin, self.jump_fates.points[0], moved)
        at_rest, *shares = (np.bincount(some, minlength=len(names)) / count for some in np.split(found, 3))
        apart = [sum(shares) / 2, *(shares if self._skewed else [])]
        shift = _OTHERS * max(float(np.abs(one - at_rest).max()) for one in apart)
        return shift if shift > _SHIFT else 0.0

    def _about_rest(self, generator: np.random.Generator, count: int) -> Float[np.ndarray, "d n"]:
        """Where long jumps start, about the minimum: what is left of the largest jump of the last while."""
        well, rays = self.jump_fates.wells[0], self.jump_fates.rays
        modes = well.motion.modes
        while_before = _WHILE / modes.slowest()
        often = np.where((rays.directions != 0).any(axis=0), rays.weights * self.level**rays.alpha, 0.0)
        ray = generator.choice(len(often), count, p=often / often.sum())
        length = (often.sum() * while_before / generator.exponential(size=count)) ** (1 / rays.alpha[ray])
        length = np.minimum(length, _INSIDE * well.shortest(rays)[ray])
        offset = np.asarray(flat_of(well.jumps.states(ray, length))) - np.asarray(flat_of(well.jumps.rest(ray)))
        time = generator.uniform(0, while_before, count)
        if modes.step is not None:
            time = np.floor(time / modes.step) * modes.step  # what comes in one step has not decayed in it
        later = np.exp(-modes.values[:, None] * time)
        return np.real(modes.from_modes[: self.problem.dimension] @ (modes.to_modes @ offset * later))

    def _at_start(self) -> float:
        """The chance of an exit before the path from the start has come to rest."""
        well, state = self.start
        if state is None:
            return 0.0
        changes = expected_changes(self.jump_fates, self.jump_fates.wells[well], state, self.level)
        of_draws = isinstance(self.jump_fates.solver, Iteration)
        chance = changes if of_draws else max(changes, lost_beside_wall(self.problem)[1])
        return min(chance, _CERTAIN)

    def undecided(self) -> float:
        """The part of the jumps that do not come back whose end was not found: the rate of exits may lack them."""
        sample = self.jump_fates.sample
        return self._share(Fate.UNDECIDED) if sample is None else sample.astray / (1 + sample.astray)

    def doubts(self) -> list[str]:
        """What makes the number uncertain beside the noise level."""
        if (sample := self.jump_fates.sample) is not None:
            return self._sample_doubts(sample)
        part = self._share(Fate.UNDECIDED)
        if part <= _MATTERS:
            return []
        return [f"{100 * part:.2g}% of the jumps that do not come back could not be followed to their end."]

    def _sample_doubts(self, sample: Sample) -> list[str]:
        where = f"In {self.problem.dimension} dimensions"
        if sample.count == 0:
            return [f"{where}, where the noise-free flow leads after a jump would take too long to follow."]
        if sample.astray > _MATTERS:
            return [
                f"{where} a sample of {sample.count} jumps was followed: {100 * sample.astray:.2g}% as many as those "
                "that leave come to rest elsewhere inside, leave by the flow or come back from outside; that is left "
                "out here."
            ]
        if self.start[1] is not None:
            return [f"{where}, exits on the way from the start to the minimum are not worked out."]
        return []

    def notes(self) -> list[str]:
        """What a reader should know."""
        sample = self.jump_fates.sample
        if sample is not None and sample.count and not sample.astray:
            return [
                f"Of the jumps, {sample.count} were followed, and all went where the straight way says: fewer than "
                f"{100 * sample.most:.2g}% as many as those that leave do not (95%)."
            ]
        if not self.chain:
            return []
        part, others = 100 * self._share(Fate.ELSEWHERE), len(self._active()) - 1
        wells = "another well" if others == 1 else f"{others} other wells"
        return [
            f"{part:.2g}% of the jumps that do not come back lead to {wells} inside: the mean is that of the chain of "
            "wells, and exit times are not exponential."
        ]
