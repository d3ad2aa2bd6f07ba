"""Beyond one basin: the Markov chain that jumps make between wells at small noise, and where it spends its time."""

import math
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float

from levyjax.stable import tail_constant


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
    for name, value in (("noise_level", noise_level), ("scale", scale), ("longest_jump", longest_jump)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")
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
    for name, value in (("learning_rate", learning_rate), ("noise_level", noise_level), ("longest_step", longest_step)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")
    edges = np.concatenate([[-np.inf], saddles, [np.inf]])
    way = np.abs(edges - minima[:, None])
    reach = learning_rate * noise_level * float(noise.scale[0])
    beyond = noise.chances(way.ravel() / reach).reshape(way.shape)
    beyond = np.where(way < longest_step, beyond, 0.0)
    rates = np.abs(np.diff(beyond, axis=1)) / learning_rate
    np.fill_diagonal(rates, 0)
    return rates - np.diag(rates.sum(axis=1))


def stationary_occupancy(rates: Float[np.ndarray, "wells wells"]) -> Float[np.ndarray, " wells"]:
    """The part of its time that a chain spends in each state, in the long run.

    Args:
        rates: a generator whose states are all reached from each other.

    Example:
        >>> stationary_occupancy(np.array([[-2.0, 2.0], [1.0, -1.0]])).round(6).tolist()
        [0.333333, 0.666667]
    """
    null = scipy.linalg.null_space(np.asarray(rates).T / np.abs(rates).max())
    if null.shape[1] != 1:
        raise ValueError(f"The chain has {null.shape[1]} stationary laws: not all of its states are joined.")
    return null[:, 0] / null[:, 0].sum()


def expected_occupancy(
    rates: Float[np.ndarray, "wells wells"], well: int, duration: float
) -> Float[np.ndarray, " wells"]:
    """The mean part of [0, duration] that a chain spends in each state, started in one of them.

    Args:
        rates: its generator.
        well: where it starts.
        duration: of the run.

    Example:
        >>> expected_occupancy(np.array([[-2.0, 2.0], [1.0, -1.0]]), 0, 1e6).round(4).tolist()
        [0.3333, 0.6667]
    """
    size = len(rates)
    # exp of [[Q, 1], [0, 0]] t holds int_0^t exp(Q s) ds in its upper right block
    block = np.block([[np.asarray(rates), np.eye(size)], [np.zeros((size, 2 * size))]])
    return scipy.linalg.expm(block * duration)[well, size:] / duration


def mean_passage_times(rates: Float[np.ndarray, "wells wells"], targets: Any) -> Float[np.ndarray, " wells"]:
    """The mean time from each state of a chain to the first visit to any of the targets; inf where some never come.

    Args:
        rates: its generator.
        targets: indices of states, from 0.

    Raises:
        ValueError: no target, or one that is not there.

    Example:
        >>> mean_passage_times(np.array([[-2.0, 1.0, 1.0], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0]]), [2]).tolist()
        [1.0, 1.0, 0.0]
    """
    rates = np.asarray(rates, float)
    ends = np.zeros(len(rates), bool)
    for target in np.atleast_1d(targets):
        if not 0 <= target < len(rates):
            raise ValueError(f"targets must be states from 0 to {len(rates) - 1}, got {target}.")
        ends[target] = True
    if not ends.any():
        raise ValueError("targets must hold at least one state, got none.")
    leads = ((rates > 0) & ~ends[:, None]) | np.eye(len(rates), dtype=bool)  # no further than to a target
    reaches = np.linalg.matrix_power(leads.astype(int), len(rates)) > 0
    strays = ~reaches[:, ends].any(axis=1)
    unsure = reaches[:, strays].any(axis=1)
    times = np.where(unsure, np.inf, 0.0)
    sure = ~ends & ~unsure
    times[sure] = np.linalg.solve(rates[np.ix_(sure, sure)], -np.ones(sure.sum()))
    return times


def checked_positions(minima: Any, saddles: Any) -> tuple[np.ndarray, np.ndarray]:
    """Minima and saddles as arrays that alternate and rise."""
    minima, saddles = np.asarray(minima, np.float64), np.asarray(saddles, np.float64)
    alternate = minima.ndim == saddles.ndim == 1 and len(minima) == len(saddles) + 1 > 1
    if not alternate or not np.all((minima[:-1] < saddles) & (saddles < minima[1:])):
        raise ValueError(f"minima and saddles must alternate and rise, got {minima.tolist()} and {saddles.tolist()}.")
    return minima, saddles
