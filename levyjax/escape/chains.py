"""Beyond one basin: the Markov chain that jumps make between wells at small noise, and where it spends its time."""

import math
from typing import Any

import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Float

from levyjax.stable import tail_constant

_JUMPS = 24  # of a Poisson law of mean 1: more have a chance of 1e-24


def transition_rates(
    minima: Any, saddles: Any, alpha: float, noise_level: float, scale: float = 1.0, longest_jump: float = math.inf
) -> Float[np.ndarray, "wells wells"]:
    """The generator of the chain of wells in one dimension at small noise.

    Args:
        minima: (wells,) positions, rising.
        saddles: (wells - 1,) positions, one between each two minima.
        alpha: tail index in (0, 2).
        noise_level: epsilon.
        scale: A, the noise's dispersion.
        longest_jump: in x, where the noise is truncated (one such jump has to be long enough); default inf.

    Returns:
        (wells, wells): from a row's well to a column's, per unit of time; rows sum to 0.

    Raises:
        ValueError: alpha outside (0, 2), a number that is not positive, positions that do not alternate.

    Source:
        Imkeller and Pavlyukevich 2008: from m_i into (a, b) a jump leads at rate
        epsilon^alpha (C_alpha/alpha) | |a - m_i|^-alpha - |b - m_i|^-alpha |, the Lévy measure of the interval.

    Example:
        >>> rates = transition_rates([-1.0, 2.0], [0.0], 1.5, 0.01)
        >>> round(float(rates[0, 1] / rates[1, 0]), 6) == round(2**1.5, 6)
        True
    """
    minima, saddles = checked_positions(minima, saddles)
    if not 0 < alpha < 2:
        raise ValueError(f"alpha must be in (0, 2), got {alpha}: without jumps there is no such chain.")
    _check_sizes(longest_jump=longest_jump, noise_level=noise_level, scale=scale)
    edges = np.concatenate([[-np.inf], saddles, [np.inf]])
    reach = np.minimum(np.abs(edges - minima[:, None]), longest_jump) ** -alpha
    rates = np.abs(np.diff(reach, axis=1))
    np.fill_diagonal(rates, 0)
    rates *= (noise_level * scale) ** alpha * float(tail_constant(alpha)) / alpha
    return rates - np.diag(rates.sum(axis=1))


def draw_transition_rates(
    minima: Any,
    saddles: Any,
    noise: Any,
    learning_rate: float,
    noise_level: float = 1.0,
    longest_step: float = math.inf,
) -> Float[np.ndarray, "wells wells"]:
    """The generator of the chain of wells of an iteration in one dimension, one draw a transition.

    A draw with an end, or a clipped step, that does not reach the next saddle leaves no way out of a wide well: its row
    is 0, and in the long run such wells hold all the time (`stationary_occupancy`, where there is one of them). What
    several draws in close succession do is of a higher order in the learning rate and not in this chain.

    Args:
        minima: (wells,) positions, rising.
        saddles: (wells - 1,) positions, one between each two minima.
        noise: of one coordinate: `Truncated`, `Tempered`, `Pareto` or `StudentT`.
        learning_rate: eta; a draw Z moves the point by eta noise_level A Z.
        noise_level: epsilon.
        longest_step: clipping bound of `ClippedSGD`; default inf.

    Returns:
        (wells, wells): from a row's well to a column's, per unit of learning_rate times iterations; rows sum to 0.

    Raises:
        ValueError: noise of several coordinates, a number that is not positive, positions that do not alternate.

    Source:
        P(m_i + eta epsilon A Z in (a, b)); with clipping a step past b ends at the bound. Wang, Oh and Rhee 2021,
        Theorem 1, for wells that one jump leaves.

    Example:
        >>> from levyjax.noise import Truncated
        >>> rates = draw_transition_rates([-1.0, 2.0], [0.0], Truncated(1.5, 150.0, [1.0]), 0.1, 0.1)
        >>> bool(rates[0, 1] > 0), float(rates[1, 0])
        (True, 0.0)
    """
    minima, saddles = checked_positions(minima, saddles)
    if np.shape(noise.scale) != (1,):
        raise ValueError(f"The chain of wells is for noise of one coordinate, got a scale of {np.shape(noise.scale)}.")
    _check_sizes(longest_step=longest_step, learning_rate=learning_rate, noise_level=noise_level)
    edges = np.concatenate([[-np.inf], saddles, [np.inf]])
    way = np.abs(edges - minima[:, None])
    reach = learning_rate * noise_level * float(noise.scale[0])
    beyond = noise.chances(way.ravel() / reach).reshape(way.shape)
    beyond = np.where(way < longest_step, beyond, 0.0)
    rates = np.abs(np.diff(beyond, axis=1)) / learning_rate
    np.fill_diagonal(rates, 0)
    return rates - np.diag(rates.sum(axis=1))


def stationary_occupancy(rates: Float[np.ndarray, "wells wells"]) -> Float[np.ndarray, " wells"]:
    """The part of its time that a chain spends in each state, in the long run: each to rounding, however rare.

    Args:
        rates: a generator, of whose states some are reached from all others; rates may differ by any factor.

    Raises:
        ValueError: no generator, or several sets of states that are not left.

    Source:
        Grassmann, Taksar and Heyman 1985: states are taken out one by one, without a subtraction.

    Example:
        >>> stationary_occupancy(np.array([[-2.0, 2.0], [1.0, -1.0]])).round(6).tolist()
        [0.333333, 0.666667]
    """
    rates = checked_generator(rates)
    kept = _lasting(rates)
    if len(kept) != 1:
        raise ValueError(f"The chain has {len(kept)} stationary laws: not all of its states are joined.")
    law = np.zeros(len(rates))
    law[kept[0]] = _joined_law(rates[np.ix_(kept[0], kept[0])])
    return law


def expected_occupancy(
    rates: Float[np.ndarray, "wells wells"], well: int, duration: float
) -> Float[np.ndarray, " wells"]:
    """The mean part of [0, duration] that a chain spends in each state, started in one of them.

    Args:
        rates: its generator; states that are never left, or never reached, may be among them.
        well: where it starts.
        duration: of the run, finite.

    Raises:
        ValueError: no generator, a state that is not there, a duration that is not positive and finite.

    Source:
        exp(Q h) and its mean over [0, h] as sums of powers of I + Q/rate with Poisson weights for h of half a jump,
        then doubled: P(2 h) = P(h)^2 and M(2 h) = (M(h) + P(h) M(h))/2. Nothing is subtracted and rows are kept at a
        sum of 1, so that slow transitions keep their digits beside fast ones, for any duration.

    Example:
        >>> expected_occupancy(np.array([[-2.0, 2.0], [1.0, -1.0]]), 0, 1e6).round(4).tolist()
        [0.3333, 0.6667]
    """
    rates = checked_generator(rates)
    if not (np.ndim(well) == 0 and 0 <= well < len(rates) and well == int(well)):
        raise ValueError(f"well must be a state from 0 to {len(rates) - 1}, got {well}.")
    if not 0 < duration < math.inf:
        raise ValueError(f"duration must be positive and finite, got {duration}.")
    fastest = 2 * -np.diag(rates).min()
    doublings = 0 if fastest == 0 else max(0, math.ceil(math.log2(fastest) + math.log2(duration)))
    jumps = fastest * math.ldexp(duration, -doublings)  # in the first h: 1 at most
    after, mean = _first_stretch(rates, fastest, jumps)
    for _ in range(doublings):
        after, mean = _as_parts(after @ after), _as_parts(mean + after @ mean)
    return mean[int(well)]


def mean_passage_times(rates: Float[np.ndarray, "wells wells"], targets: Any) -> Float[np.ndarray, " wells"]:
    """The mean time from each state of a chain to the first visit to any of the targets; inf where some never come.

    Each time is right to rounding, however different the rates are.

    Args:
        rates: its generator.
        targets: indices of states, from 0.

    Raises:
        ValueError: no generator, no target, or one that is not there.

    Source:
        As `stationary_occupancy`: states are taken out one by one, without a subtraction.

    Example:
        >>> mean_passage_times(np.array([[-2.0, 1.0, 1.0], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0]]), [2]).tolist()
        [1.0, 1.0, 0.0]
    """
    rates = checked_generator(rates)
    ends = np.zeros(len(rates), bool)
    for target in np.atleast_1d(targets):
        if not (0 <= target < len(rates) and target == int(target)):
            raise ValueError(f"targets must be states from 0 to {len(rates) - 1}, got {target}.")
        ends[int(target)] = True
    if not ends.any():
        raise ValueError("targets must hold at least one state, got none.")
    reaches = _reached((rates > 0) & ~ends[:, None])  # no further than to a target
    strays = ~reaches[:, ends].any(axis=1)
    unsure = reaches[:, strays].any(axis=1)
    times = np.where(unsure, np.inf, 0.0)
    sure = ~ends & ~unsure
    times[sure] = _times_out(rates[np.ix_(sure, sure)], rates[np.ix_(sure, ends)].sum(axis=1))
    return times


def checked_generator(rates: Any) -> np.ndarray:
    """Rates between states, square and not negative, with the diagonal that makes rows sum to 0 to rounding."""
    rates = np.array(rates, np.float64)
    if rates.ndim != 2 or rates.shape[0] != rates.shape[1] or rates.size == 0:
        raise ValueError(f"rates must be a square matrix, got shape {rates.shape}.")
    leaving = -np.diag(rates)
    np.fill_diagonal(rates, 0)
    out = rates.sum(axis=1)
    if not (np.isfinite(out).all() and (rates >= 0).all()):
        raise ValueError("rates must be finite and, off the diagonal, not negative.")
    if not np.allclose(leaving, out, rtol=1e-9, atol=1e-15 * out.max()):
        raise ValueError("Each row of rates must sum to 0: the diagonal holds minus the rates of leaving.")
    return rates - np.diag(out)


def _reached(leads: np.ndarray) -> np.ndarray:
    """(from, to): whether a chain comes from one state to another, or is there."""
    reaches = leads | np.eye(len(leads), dtype=bool)
    for _ in range(len(leads).bit_length()):
        reaches = reaches.astype(float) @ reaches > 0
    return reaches


def _lasting(rates: np.ndarray) -> list[np.ndarray]:
    """The sets of states that are joined with each other and never left, as indices."""
    reaches = _reached(rates > 0)
    stays = ~(reaches & ~reaches.T).any(axis=1)
    return [np.flatnonzero(row) for row in np.unique(reaches[stays], axis=0)]


def _joined_law(rates: np.ndarray) -> np.ndarray:
    """The stationary law of states that are all reached from each other."""
    rates, size = rates.copy(), len(rates)
    for last in range(size - 1, 0, -1):
        rates[:last, last] /= rates[last, :last].sum()
        rates[:last, :last] += np.outer(rates[:last, last], rates[last, :last])
    law = np.zeros(size)
    law[0] = 1.0
    for place in range(1, size):
        law[place] = law[:place] @ rates[:place, place]
        law /= law.max()
    return law / law.sum()


def _times_out(rates: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Mean times until the end, from rates between states and from each of them to the end, which is sure to come."""
    rates, ends, times = rates.copy(), ends.copy(), np.ones(len(rates))
    out = np.zeros(len(rates))
    for last in range(len(rates) - 1, -1, -1):
        out[last] = rates[last, :last].sum() + ends[last]
        share = rates[:last, last] / out[last]
        rates[:last, :last] += np.outer(share, rates[last, :last])
        ends[:last] += share * ends[last]
        times[:last] += share * times[last]
    for place in range(len(rates)):
        times[place] = (times[place] + rates[place, :place] @ times[:place]) / out[place]
    return times


def _first_stretch(rates: np.ndarray, fastest: float, jumps: float) -> tuple[np.ndarray, np.ndarray]:
    """exp(Q h) and its mean over [0, h], h of at most one jump at the rate `fastest` of twice the fastest state."""
    size = len(rates)
    if jumps == 0:
        return np.eye(size), np.eye(size)
    jump, power = np.eye(size) + rates / fastest, np.eye(size)
    after, mean = np.zeros((size, size)), np.zeros((size, size))
    for count in range(_JUMPS):
        after += power * np.exp(scipy.special.xlogy(count, jumps) - jumps - scipy.special.gammaln(count + 1))
        mean += power * scipy.special.gammainc(count + 1, jumps)
        power = power @ jump
    return _as_parts(after), _as_parts(mean)


def _as_parts(rows: np.ndarray) -> np.ndarray:
    return rows / rows.sum(axis=1, keepdims=True)


def _check_sizes(**sizes: float) -> None:
    """The first may be infinite."""
    for place, (name, value) in enumerate(sizes.items()):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")
        if place > 0 and value == math.inf:
            raise ValueError(f"{name} must be finite, got {value}.")


def checked_positions(minima: Any, saddles: Any) -> tuple[np.ndarray, np.ndarray]:
    """Minima and saddles as arrays that alternate and rise."""
    minima, saddles = np.asarray(minima, np.float64), np.asarray(saddles, np.float64)
    alternate = minima.ndim == saddles.ndim == 1 and len(minima) == len(saddles) + 1 > 1
    if not alternate or not np.all((minima[:-1] < saddles) & (saddles < minima[1:])):
        raise ValueError(f"minima and saddles must alternate and rise, got {minima.tolist()} and {saddles.tolist()}.")
    if not (np.isfinite(minima).all() and np.isfinite(saddles).all()):
        raise ValueError(f"minima and saddles must be finite, got {minima.tolist()} and {saddles.tolist()}.")
    return minima, saddles
