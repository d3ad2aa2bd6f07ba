"""Jumps from rest that stand for all, with their rates: the first ones, which second jumps find on their way.

Lengths are looked at where fates change, and down to a fifth of the first change. What shorter jumps do goes like their
length and like the square of it: the first cancels between a ray and the one opposite, the second is added to the
shortest that are looked at. At a kink of the landscape's slope, where both sides relax unlike, the first does not
cancel.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from levyjax.arrays import padded_to
from levyjax.escape.fate import Well
from levyjax.escape.jumps import Rays
from levyjax.interpret import interpreted
from levyjax.landscapes import Landscape
from levyjax.noise.skewness import EULER
from levyjax.solvers.linear_motion import LinearMotion
from levyjax.solvers.motion import Fate

FIRST_RAYS = 32  # of first jumps that are followed; of more a random choice
_SMALLEST = 0.2  # of the shortest jump that does not come back: below it the square law of small displacements holds
_CLOSEST, _NODES = 2e-4, 20  # how close to the next fate first jumps are placed, and how many between two fates
_APART, _SAME = 1e-6, 1e-3  # of its length: by how much a ray may miss the opposite one; of two changes that are one
_OVERLAP = 1.7  # by how much small jumps one by one move the point further than all together: solved, 1.5 to 2.2
_KINK, _UNLIKE, _FINER = 1e-4, 0.01, 1.5  # of the shortest jump; slopes of two sides; smaller jumps about a kink
_BEYOND = 6.0  # times the last change of fate: further out jumps are too rare


class FirstJumps(NamedTuple):
    """First jumps that stand for all: lengths along rays, with the rate of the jumps that each stands for."""

    ray: Int[np.ndarray, " n"]
    length: Float[np.ndarray, " n"]
    rate: Float[np.ndarray, " n"]


def first_jumps(
    well: Well,
    rays: Rays,
    level: Any,
    usual: np.ndarray,
    generator: np.random.Generator,
    in_pairs: bool,
    skewed: bool = False,
) -> FirstJumps:
    """Jumps from rest that are on their way for a time: those that come back, and those that lead on by the flow.

    usual: `usual_jumps` of all rays.
    in_pairs: whether opposite rays are looked at together, at the same lengths, so that what small jumps do like their
    length cancels. That takes shorter lengths, for which what comes of them has to be exact: a sample is too rough.
    skewed: whether jumps to both sides come at rates of their own, so that what shorter jumps do like their length,
    less what centres the noise, does not cancel.
    """
    level = np.broadcast_to(np.asarray(level, float), rays.alpha.shape)
    chosen, opposite, counts = _chosen_rays(well, rays, level, generator, in_pairs)
    often, parts = _often(rays, level), []
    for ray, other, count, least in zip(chosen, opposite, counts, usual[chosen], strict=True):
        balanced = in_pairs and np.isinf(least)
        edges, last = _changes_of_both(well, rays, ray, other) if balanced else _changes(well, rays, ray)
        nodes, bounds = _graded(edges, last, least)
        alpha = float(rays.alpha[ray])
        density = rays.weights[ray] * level[ray] ** alpha * count
        beyond = density * bounds**-alpha
        rate = beyond[:-1] - beyond[1:]
        # what shorter ones do like the square of their length
        small = nodes < 2 * nodes[0]
        rest = density * alpha * bounds[0] ** (2 - alpha) / (2 - alpha)
        square = np.where(small, rate * (1 + rest / (nodes[small] ** 2 @ rate[small])), rate)
        if np.isfinite(least):
            # at a kink, what they do like their length does not cancel: they move the point as far to one side as a
            # normal variate of their variance at rest, to which this ray adds its part of that of all rays
            variance = alpha * bounds[0] ** (2 - alpha) / (2 - alpha)
            moved = np.where(nodes < _SMALLEST * min([*edges, last]), rate / _OVERLAP, rate) @ nodes
            moved += density * math.sqrt(variance * well.motion.modes.slowest() / (math.pi * often))
            square = square + _linear_part(nodes) * (moved - square @ nodes)
        if skewed:
            square = square + _linear_part(nodes) * mean_of_shorter(density, alpha, bounds[0], level[ray])
        parts.append((np.full(len(nodes), ray), nodes, square))
    return FirstJumps(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def mean_of_shorter(density: float, alpha: float, length: float, level: float) -> float:
    """What jumps along a ray shorter than `length`, and its part in what centres the noise, move per unit of time.

    As in `skewness.centring_drift`, for one side.
    """
    if alpha == 1:
        return density * (math.log(length / level) + EULER - 1)
    return density * alpha * length ** (1 - alpha) / (1 - alpha)


def _linear_part(nodes: np.ndarray) -> np.ndarray:
    """Weights that read the coefficient a of a x + b x^2 off values at two short lengths."""
    near, far = nodes[0], nodes[(index := int(np.argmax(nodes >= 2 * nodes[0])))]
    weights = np.zeros(len(nodes))
    weights[[0, index]] = far / near / (far - near), -near / far / (far - near)
    return weights


def _chosen_rays(
    well: Well, rays: Rays, level: np.ndarray, generator: np.random.Generator, in_pairs: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rays of first jumps, the opposite of each, and how many rays each stands for; of many, some by chance."""
    total = len(rays.weights)
    moved = rays.directions if rays.maps is None else rays.maps.T * rays.directions
    if total <= 2 * FIRST_RAYS:
        moving = np.flatnonzero((rays.weights > 0) & (rays.directions != 0).any(axis=0))
        return moving, _opposite(moved, moving) if in_pairs else moving, np.ones(len(moving))
    chance = ray_chances(well, rays, level)
    picked = generator.choice(total, FIRST_RAYS // 2 if in_pairs else FIRST_RAYS, p=chance)
    if not in_pairs:
        return picked, picked, 1 / (FIRST_RAYS * chance[picked])
    opposite = _opposite(moved, picked)
    counts = 1 / (len(picked) * (chance[picked] + np.where(opposite == picked, 0.0, chance[opposite])))
    paired = opposite != picked
    return (
        np.concatenate([picked, opposite[paired]]),
        np.concatenate([opposite, picked[paired]]),
        np.concatenate([counts, counts[paired]]),
    )


def _opposite(directions: Float[np.ndarray, "d rays"], chosen: np.ndarray) -> np.ndarray:
    """The ray opposite to each of those chosen; the ray itself where there is none."""
    found = []
    for ray in chosen:
        apart = np.abs(directions + directions[:, ray : ray + 1]).max(axis=0)
        nearest = int(apart.argmin())
        found.append(nearest if apart[nearest] <= _APART * np.abs(directions[:, ray]).max() else ray)
    return np.array(found, int)


def ray_chances(well: Well, rays: Rays, level: np.ndarray) -> np.ndarray:
    """How often a ray is looked at: half of the time by its part in what does not come back, half all alike."""
    part = np.zeros(len(rays.weights))
    away = well.segments.chosen(well.segments.fate != Fate.RETURNS)
    np.add.at(part, away.ray, away.rates(rays, level))
    moves = (rays.directions != 0).any(axis=0)
    weight = np.where(moves, rays.weights * (level / well.shortest(rays)) ** rays.alpha, 0.0)
    return 0.5 * part / part.sum() + 0.5 * weight / weight.sum() if part.sum() > 0 else weight / weight.sum()


def _changes(well: Well, rays: Rays, ray: int) -> tuple[list[float], float]:
    """The lengths on a ray at which the fate changes, and from which on nothing more happens."""
    own, scale = well.segments.chosen(well.segments.ray == ray), float(well.shortest(rays)[ray])
    order = np.argsort(own.low)
    own = own.chosen(order)
    same = (own.fate[1:] == own.fate[:-1]) & (own.well[1:] == own.well[:-1]) & (own.time[1:] > 0)
    edges = [float(edge) for edge, joined in zip(own.low, [False, *same], strict=False) if not joined and edge > 0]
    at_once = own.low[(own.fate == Fate.LEAVES) & (own.time == 0)]
    stop = (
        float(at_once.min()) if at_once.size and np.all(own.fate[own.low >= at_once.min()] == Fate.LEAVES) else np.inf
    )
    edges = [edge for edge in edges if edge < stop]
    last = min(stop, _BEYOND * max([*edges, scale]))
    return edges, last


def _changes_of_both(well: Well, rays: Rays, ray: int, other: int) -> tuple[list[float], float]:
    """The changes of fate on a ray and on the opposite one, in its own numbers where they are the same."""
    own, theirs = (_changes(well, rays, one) for one in (ray, other))
    marks = [*own[0], own[1]]
    marks += [edge for edge in (*theirs[0], theirs[1]) if all(abs(edge - mark) > _SAME * mark for mark in marks)]
    *edges, last = sorted(marks)
    return edges, last


def usual_jumps(well: Well, rays: Rays, level: Any) -> Float[np.ndarray, " rays"]:
    """The largest jump of a relaxation time along rays on which the landscape has a kink at its minimum, else inf.

    Where both sides relax alike, what small jumps of both signs do to the rate cancels to the square of their length.
    At a kink it does not, and small jumps count down to this length, below which many overlap.
    """
    problem, slowest = well.jumps.problem, well.motion.modes.slowest()
    if isinstance(well.motion, LinearMotion) or slowest == 0:
        return np.full(len(rays.weights), np.inf)
    moved = rays.directions * (_KINK * well.shortest(rays))
    points = well.jumps.point[:, None] + np.concatenate([0 * moved[:, :1], moved, -moved], axis=1)
    slopes = _slopes(problem.landscape, padded_to(points, 64))[:, : points.shape[1]]
    up, down = np.split(slopes[:, 1:] - slopes[:, :1], 2, axis=1)
    kinked = np.linalg.norm(up + down, axis=0) > _UNLIKE * np.linalg.norm(up - down, axis=0)
    return np.where(kinked, (_often(rays, level) / slowest) ** (1 / rays.alpha), np.inf)


def _often(rays: Rays, level: Any) -> float:
    """Jumps of all rays longer than 1, were they all as heavy-tailed down to there."""
    return float(np.where((rays.directions != 0).any(axis=0), rays.weights * level**rays.alpha, 0.0).sum())


@interpreted
def _slopes(landscape: Landscape, points: Any) -> Any:
    return landscape.gradient(points)


def _graded(edges: list[float], last: float, least: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Lengths between changes of fate, close together near them, and the bounds of the cells they stand for.

    least: from which on they are looked at; inf for a part of the first change.
    """
    marks = [_SMALLEST * min([*edges, last]), *sorted(edges), last]
    toward = np.geomspace(_CLOSEST, 0.5, _NODES // 2)
    part = np.concatenate([toward, 1 - toward[-2::-1]])
    bounds, nodes = [], []
    for index, (low, high) in enumerate(itertools.pairwise(marks)):
        if high <= low * (1 + 1e-9):
            continue
        own = (
            np.concatenate([[0.0], part, [1.0]])
            if index
            else np.concatenate([[0.0], np.linspace(0.04, 0.5, 12), part[part > 0.5], [1.0]])
        )
        ends = low + (high - low) * own
        bounds.append(ends[:-1])
        nodes.append(np.where(own[:-1] < 0.5, ends[:-1] + 0.5 * (ends[1:] - ends[:-1]), (ends[1:] + ends[:-1]) / 2))
    if least < marks[0]:
        ends = np.geomspace(least, marks[0], math.ceil(math.log(marks[0] / least) / math.log(_FINER)) + 1)
        bounds, nodes = [ends[:-1], *bounds], [np.sqrt(ends[:-1] * ends[1:]), *nodes]
    return np.concatenate(nodes), np.concatenate([*bounds, [last]])
