"""The deterministic reference for exits in one dimension: the boundary value problem, solved to a stated error."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax.checks import require_kind
from levyjax.datasets import Result
from levyjax.escape.brownian import interval, start_point
from levyjax.escape.interval_solver import Drifted, Solution, TooLarge, galerkin, green_function
from levyjax.escape.problem import EscapeProblem
from levyjax.noise.base import has_jumps, line_scale, require_process
from levyjax.noise.skewness import skewness

_DEGREES = (8, 12, 16, 20, 24)
_LEAST_KNOWN = 0.5  # error above which no number is given
_ROUNDING = 1e-12  # no smaller error is claimed
_POINTS = 4096  # drift evaluations at once


@dataclasses.dataclass(frozen=True)
class IntervalReference(Result):
    """The exit of a one-dimensional problem, from the equations of its generator; made by `interval_reference`.

    Attributes:
        lower, upper: ends of the interval.
        alpha: tail index.
        noise_level: of the SDE, times the noise's scale.
        start: where trajectories start, unless a start is given.
        rate: principal eigenvalue: exits per unit of time from the quasi-stationary law.
        error: largest change between the two finest resolutions: relative, of the rate and of the mean exit times
            from the start and from the quarters of the interval; absolute, of the exit probabilities from there.
            Right at the ends, where strong drift and noise meet in a thin layer, single values may be worse.
        unknowns: of the finest resolution.
    """

    lower: float
    upper: float
    alpha: float
    noise_level: float
    start: float
    rate: float
    error: float
    unknowns: int
    _solution: Solution = dataclasses.field(repr=False)

    @property
    def _half_width(self) -> float:
        return (self.upper - self.lower) / 2

    def _evaluate(self, coefficients: np.ndarray, start: Any) -> np.ndarray:
        x = self._points(start)
        low, high = (x - self.lower) / self._half_width, (self.upper - x) / self._half_width
        return np.where(np.isnan(x), np.nan, self._solution.evaluate(coefficients, low, high))

    def _points(self, start: Any) -> np.ndarray:
        x = np.asarray(self.start if start is None else start)
        if x.dtype.kind not in "biuf":
            raise ValueError(f"Points must be real numbers, got an array of {x.dtype}.")
        return x.astype(float)

    def mean_exit_time(self, start: Any = None) -> np.ndarray:
        """Mean exit time from any points; default the start. 0 outside.

        Args:
            start: points of any shape; NaN where one is NaN.

        Returns:
            An array of the same shape.
        """
        unit = (self._half_width / self.noise_level) ** self.alpha
        return unit * self._evaluate(self._solution.time, start)

    def exit_probability_above(self, start: Any = None) -> np.ndarray:
        """Probability of leaving to the upper side, jumps beyond the end included; default from the start.

        Args:
            start: points of any shape; 0 below the interval and 1 above it, NaN where one is NaN.

        Returns:
            An array of the same shape.
        """
        x = self._points(start)
        return np.where(x >= self.upper, 1.0, self._evaluate(self._solution.above, x))

    def quasi_stationary_density(self, x: Any) -> np.ndarray:
        """Density of the law that survivors tend to, from which the exit is exactly exponential. 0 outside.

        Args:
            x: points of any shape; NaN where one is NaN.

        Returns:
            An array of the same shape.
        """
        return self._evaluate(self._solution.density, x) / self._half_width

    @property
    def quasi_stationary_mean_exit_time(self) -> float:
        """1/rate."""
        return 1 / self.rate

    @property
    def quasi_stationary_exit_probability_above(self) -> float:
        """Probability of leaving to the upper side from the quasi-stationary law."""
        sizes, degrees = self._solution.sizes, np.arange(self._solution.above.shape[1])
        products = self._solution.density * self._solution.above / (2 * degrees + 1)
        return float(sizes @ products.sum(axis=1))


def _check(problem: EscapeProblem) -> None:
    require_process(problem.noise, everywhere_alike=True)
    if skewness(problem.noise) is not None and has_jumps(problem.noise):
        raise ValueError("The reference is for symmetric noise: take quasi_stationary_rate, or simulate skewed noise.")
    if problem.dimension != 1:
        raise ValueError(f"The reference is for one dimension; this problem has {problem.dimension}.")
    if not problem.dynamics.is_gradient_flow:
        raise ValueError(f"The reference is for SGD's SDE; these dynamics are {type(problem.dynamics).__name__}.")


def _drifted(problem: EscapeProblem, ends: tuple[float, float], noise_level: float) -> Drifted:
    alpha, half_width = float(np.max(problem.noise.alpha)), (ends[1] - ends[0]) / 2
    unit = (half_width / noise_level) ** alpha
    minimum = float(np.asarray(problem.landscape.minimum)[0])

    def at(function: Callable[[jax.Array], jax.Array], position: np.ndarray) -> np.ndarray:
        padded = np.resize(position, -(-position.size // _POINTS) * _POINTS)  # few shapes: few compilations
        return np.asarray(function(jnp.asarray(ends[0] + half_width * padded)[None])).ravel()[: position.size]

    def drift(position: np.ndarray) -> np.ndarray:
        return -unit / half_width * at(problem.landscape.gradient, position)

    def potential(position: np.ndarray) -> np.ndarray:
        heights = at(problem.landscape.value, np.append(position, (minimum - ends[0]) / half_width))
        return (heights[:-1] - heights[-1]) / noise_level**2

    return Drifted(alpha, drift, potential, (minimum - ends[0]) / half_width)


def _change(coarse: Solution, fine: Solution, start: float) -> float:
    """Largest change of the rate, and of mean exit times and probabilities from the start and the quarters."""
    low = np.array([start, 0.5, 1.0, 1.5])
    times, above = ([s.evaluate(getattr(s, name), low, 2 - low) for s in (coarse, fine)] for name in ("time", "above"))
    changes = [abs(coarse.rate / fine.rate - 1), *np.abs(times[0] / times[1] - 1), *np.abs(above[0] - above[1])]
    return float(max(*changes, _ROUNDING))


def interval_reference(
    problem: EscapeProblem, *, relative_error: float = 1e-8, max_degree: int = 24
) -> IntervalReference:
    """Mean exit time, exit side, exit rate and quasi-stationary law of a one-dimensional problem, to a stated error.

    Args:
        problem: SGD's SDE dx = -F' dt + noise_level A dL on a bounded interval, at any noise level.
        relative_error: raise the resolution until the error is below it.
        max_degree: highest degree of the elements (8, 12, 16, 20, 24); if it does not suffice, the error that was
            reached is stated all the same.

    Returns:
        The reference; its `error` is the change between the two finest resolutions.

    Raises:
        ValueError: another dimension, other dynamics, a basin that is not bounded, fewer than two resolutions, a
            relative error below 0, an error above 0.5 at the finest resolution, more unknowns than memory holds, or
            (at alpha = 2) a mean exit time too long for a float.

    Source:
        With A u = noise_level^alpha |A|^alpha (-(-Laplacian)^(alpha/2)) u - F' u': the mean exit time solves
        A u = -1, the exit probability A u = 0, u = 0 outside (1 above), and the rate is the smallest eigenvalue of
        -A, its left eigenvector the quasi-stationary density. Galerkin's method in the form
        c integral integral |x - y|^(1 - alpha) u'(x) v'(y), c = -1/(2 Gamma(2 - alpha) cos(pi alpha/2)) (Ervin and
        Roop 2006), on elements that shrink geometrically towards the ends and the zeros of the drift, which converges
        exponentially whatever the powers of the distance to the ends are (Babuska and Guo 1996). alpha = 2: Green's
        function by quadrature (Gardiner 2009, section 5.5).

    Example:
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.5)
        >>> reference = interval_reference(problem)
        >>> round(float(reference.mean_exit_time()), 6), round(reference.rate, 6), reference.error < 1e-8
        (3.82717, 0.272343, True)
    """
    require_kind(problem, EscapeProblem, "problem")
    _check(problem)
    if not relative_error >= 0:
        raise ValueError(f"relative_error must be 0 or more, got {relative_error}.")
    degrees = [degree for degree in _DEGREES if degree <= max_degree]
    if len(degrees) < 2:
        raise ValueError(f"max_degree must be at least {_DEGREES[1]} for two resolutions, got {max_degree}.")
    with jax.enable_x64(True):
        ends = interval(problem)
        if not np.isfinite(ends).all():
            raise ValueError(f"The basin must be a bounded interval, got {ends}.")
        noise_level = float(problem.noise_level) * line_scale(problem.noise)
        drifted, start = _drifted(problem, ends, noise_level), float(start_point(problem)[0])
        solve = green_function if drifted.alpha == 2 else galerkin
        fine, error, half_width = solve(drifted, degrees[0]), math.inf, (ends[1] - ends[0]) / 2
        for degree in degrees[1:]:
            try:
                coarse, fine = fine, solve(drifted, degree)
            except TooLarge:
                if error < math.inf:
                    break  # what was reached is stated
                raise
            error = _change(coarse, fine, (start - ends[0]) / half_width)
            if error <= relative_error:
                break
    if not error < _LEAST_KNOWN:
        raise ValueError(
            f"The finest resolution, degree {degree}, changes the numbers by {error:.2g} of themselves: they are not "
            "known. Give a larger noise level, an alpha that is not so small, or simulate."
        )
    rate = float(fine.rate) * (noise_level / half_width) ** drifted.alpha
    return IntervalReference(*ends, drifted.alpha, noise_level, start, rate, error, fine.time.size, fine)
