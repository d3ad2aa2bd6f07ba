"""The gauge formula: jumps that leave a basin, ray by ray, and the rate of exits as a differentiable function."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import column, concrete, matrix_of
from levyjax.basins import Attraction, Ball, HalfSpace
from levyjax.checks import require_kind
from levyjax.escape.fate import follow_jumps, slowest_at_rest
from levyjax.escape.landscape_check import why_undefined
from levyjax.escape.problem import EscapeProblem
from levyjax.escape.validity import NO_DRIFT
from levyjax.interpret import interpreted
from levyjax.noise import Rotational, StateDependent
from levyjax.noise.base import require_process
from levyjax.noise.spectral import isotropic_measure, measure_of
from levyjax.solvers.linear_motion import flow_reach, linear_motion
from levyjax.solvers.motion import Fate, gauge_along, has_way_out, jump_maps, kept_by_descent
from levyjax.stable import tail_constant
from levyjax.stable.constants import radial_tail_constant

_DESCENTS = 4096  # rays out of a basin of attraction, where each look is a descent of its own: milliseconds a ray
_SAMPLE = 1024
_ASTRAY = 1e-3  # of the jumps that leave: so many more or fewer that do not go where the straight way says
_FOLLOWED = "`predict` follows the flow after each jump."
_CARRIED = f"The noise-free flow carries jumps across the boundary after they have landed. {_FOLLOWED}"
_UNKNOWN = (
    "Where the noise-free flow leads after a jump would take too long to follow in so many dimensions; inside of "
    "jax.jit and jax.grad the formula is worked out without a look at it."
)
_INSTEAD = {
    Fate.BLOWS_UP: f"The noise-free flow takes jumps that land inside to infinity. {_FOLLOWED}",
    Fate.ELSEWHERE: f"Jumps that land inside come to rest in another well there. {_FOLLOWED}",
    Fate.UNDECIDED: f"Some jumps that land inside could not be followed to their end. {_FOLLOWED}",
}


class ExitRays(NamedTuple):
    """Jump rays after the optimizer: directions (d, rays), weights, alpha and gauges (rays,); see `SpectralMeasure`."""

    directions: Array
    weights: Array
    alpha: Any
    gauge: Array
    replicates: int
    circles: int = 0

    def contributions(self, level: Any) -> Array:
        """The rate of exits along each ray, at a noise level (one for each ray where that depends on alpha)."""
        xp: Any = np if isinstance(self.gauge, np.ndarray) else jnp
        leads_out = self.gauge > 0
        reach = level * xp.where(leads_out, self.gauge, 1)  # so that no derivative is taken of 0^alpha
        return self.weights * xp.where(leads_out, reach**self.alpha, 0)


def unit_rate(problem: EscapeProblem) -> Float[Array, ""]:
    """The gauge formula at noise level 1: sum over jump rays of weight times gauge^alpha.

    Differentiable in every parameter of the landscape, basin and noise. The exit rate at a small noise level is
    noise_level^alpha times this. Where each coordinate has its own alpha, that power goes into the sum.

    Raises:
        ValueError: as `exit_rate`.

    Source:
        A jump epsilon A y leaves a star-shaped basin from its centre iff it is longer than 1/gauge in its direction;
        integrate the Lévy measure over those. Independent coordinates: (C/alpha) sum_j [g(A_j)^alpha + g(-A_j)^alpha];
        rotation-invariant: K E[g(A U)^alpha]. Compare Imkeller and Pavlyukevich 2006, and Imkeller, Pavlyukevich and
        Wetzel 2009 in several dimensions.
    """
    require_kind(problem, EscapeProblem, "problem")
    return _own_rays(problem).contributions(1.0).sum()


def exit_rate(problem: EscapeProblem) -> Float[Array, ""]:
    """noise_level^alpha times `unit_rate`: the small-noise exit rate as a function that jax can differentiate.

    The noise level, alpha, the scales, the Hessian and the basin are its arguments; inside `jax.jit` and `jax.grad`,
    where `predict`, which also judges the limit, is not at home.

    Args:
        problem: of noise with jumps (alpha below 2), in a basin of one well that the noise-free flow does not leave.

    Returns:
        Exits per unit of the SDE's time.

    Raises:
        ValueError: noise that has no jumps, or is drawn once a step of an iteration alone; a basin that rays come back
            to; a rate that the dtype cannot hold. Outside of transformations, where the flow can be followed, also a
            landscape without a restoring drift, and jumps whose end is not told by where they land: the flow carries
            them across the boundary, to another well inside or to infinity. Inside of `jax.jit` and `jax.grad` numbers
            are not known, and the formula is worked out as it is: call it once outside.

    Example:
        >>> import jax
        >>> from levyjax.basins import Box
        >>> from levyjax.dynamics import SGD
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Independent
        >>> problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.1)
        >>> slopes = jax.grad(exit_rate)(problem)  # a problem of derivatives
        >>> round(float(slopes.noise_level * 0.1 / exit_rate(problem)), 3)
        1.5
    """
    require_kind(problem, EscapeProblem, "problem")
    rays = _own_rays(problem)
    with np.errstate(over="ignore"):  # of a level that float32 does not hold
        level = jnp.asarray(problem.noise_level)
    rate = rays.contributions(level).sum()
    if concrete(rate) and not 0 < rate < jnp.inf and bool((jnp.where(rays.weights > 0, rays.gauge, 0) > 0).any()):
        raise ValueError(
            f"The rate at noise_level = {float(problem.noise_level):.3g} is {float(rate)} in {rate.dtype}: give the "
            "problem in other units, or enable jax_enable_x64."
        )
    return rate


def _own_rays(problem: EscapeProblem) -> ExitRays:
    require_process(problem.noise)
    known = all(concrete(leaf) for leaf in jax.tree.leaves(problem))
    if known and (reason := why_no_noise_at_rest(problem)) is not None:
        raise ValueError(reason)
    if not getattr(problem.basin, "star_shaped", True):
        raise ValueError(
            "The gauge formula is for basins that rays leave once and for all; `predict` knows first passages."
        )
    rays = exit_rays(problem, jump_maps(problem))
    if known:
        with jax.enable_x64(True):
            if (reason := _why_no_formula(problem)) is not None:
                raise ValueError(f"The gauge formula is not for this problem. {reason}")
    return rays


def why_no_noise_at_rest(problem: EscapeProblem) -> str | None:
    """Why a dispersion that depends on the point starts no jumps at the minimum; None where it does."""
    if not isinstance(problem.noise, StateDependent):
        return None
    dispersion: Any = problem.noise.dispersion(jnp.asarray(problem.landscape.minimum))
    if not concrete(dispersion):  # its function holds a value that is being traced
        return None
    dispersion = np.asarray(dispersion)
    if not np.isfinite(dispersion).all():
        return f"The dispersion A(x) at the landscape's minimum is {dispersion.tolist()}: it must be finite there."
    if not dispersion.any():
        return (
            "The dispersion A(x) is 0 at the landscape's minimum, where no noise moves the point: it never leaves, and "
            "from another start there is no small-noise rate; simulate that."
        )
    return None


def _why_no_formula(problem: EscapeProblem) -> str | None:
    """Why exits are not the jumps that lie outside, or why that is not known, in a sentence; None where they are."""
    if isinstance(problem.noise, StateDependent) and problem.noise.kind == "ito":
        problem = dataclasses.replace(problem, noise=problem.noise.frozen(jnp.asarray(problem.landscape.minimum)))
    if problem.dimension == 1 and isinstance(problem.basin, Attraction) and kept_by_descent(problem):
        return None  # by its definition
    if (reason := why_undefined(problem.landscape, problem.basin)) is not None:
        return reason
    if slowest_at_rest(problem, None) == 0:
        return NO_DRIFT
    if not isinstance(problem.noise, StateDependent) and linear_motion(problem) is not None:
        return _CARRIED if not kept_by_descent(problem) and _is_carried(problem) else None
    jump_fates = follow_jumps(problem, None)
    if jump_fates.sample is not None:
        sample = jump_fates.sample
        return _UNKNOWN if sample.count == 0 else _CARRIED if sample.astray > _ASTRAY else None
    if jump_fates.plain:
        return None
    seen = jump_fates.wells[0].segments.fate
    return next((said for fate, said in _INSTEAD.items() if (seen == fate).any()), _CARRIED)


def _is_carried(problem: EscapeProblem) -> bool:
    """Whether a linear flow leaves the basin from inside, on some of the noise's rays."""
    directions = measure_of(problem.noise).directions
    some = np.asarray(directions)[:, :: -(-directions.shape[1] // _SAMPLE)]
    maps = np.asarray(jump_maps(problem))[0][:, None]
    straight = gauge_along(problem.basin, problem.landscape.minimum, maps * some)
    flowing = flow_reach(problem, some)
    return bool((np.abs(flowing - straight) > 1e-6 * straight.max()).any())


def exit_rays(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> ExitRays:
    """The rays along which jumps of A L leave, seen through each of the maps."""
    noise, origin = problem.noise, jnp.asarray(problem.landscape.minimum)
    measure: Any
    if isinstance(noise, StateDependent):
        if noise.kind == "ito":
            return exit_rays(dataclasses.replace(problem, noise=noise.frozen(origin)), maps)
        if not has_way_out(problem):
            raise ValueError(
                "Along the way of a Marcus jump, each step would have to ask a basin of attraction where it leads; "
                "`predict` follows what comes after the jump instead."
            )
        measure = noise.driver.spectral_measure()
        out, gauge = noise.way_out(problem.basin, origin, measure.directions)
        towards = (out - column(origin, out)) * jnp.where(gauge > 0, gauge, 1)  # straight to where the flow leaves
        return ExitRays(towards, measure.weights, measure.alpha, gauge, measure.replicates, measure.circles)
    if isinstance(noise, Rotational) and isinstance(problem.basin, Attraction):
        measure = isotropic_measure(noise.alpha, noise.scale, _DESCENTS)
    else:
        measure = noise.spectral_measure()
    if measure is None:
        raise ValueError(
            "Gaussian noise has no jumps, and the gauge formula is for jumps; `predict` knows Brownian laws."
        )
    directions = maps.T[:, :, None] * measure.directions[:, None, :]
    directions = directions.reshape(directions.shape[0], -1)
    gauge = problem.basin.gauge(origin, directions)
    # Samples of a random preconditioner are replicates of their own; a sphere's replicates within them then are not.
    replicates = maps.shape[0] if maps.shape[0] > 1 else measure.replicates
    weights, alpha = measure.weights / maps.shape[0], measure.alpha
    tiled = jnp.tile(alpha, maps.shape[0]) if jnp.ndim(alpha) else alpha
    return ExitRays(directions, jnp.tile(weights, maps.shape[0]), tiled, gauge, replicates, measure.circles)


@interpreted
def found_rays(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> ExitRays:
    """`exit_rays` as NumPy arrays."""
    return exit_rays(problem, maps)


def closed_form(problem: EscapeProblem, maps: Float[Array, "samples d"]) -> float | None:
    """The rate at noise level 1 of rotation-invariant noise where no integral is needed."""
    if not isinstance(problem.noise, Rotational) or maps.shape[0] > 1:
        return None
    alpha = float(problem.noise.alpha)
    spread = np.diag(np.asarray(maps)[0]) @ matrix_of(problem.noise.scale)
    minimum = np.asarray(problem.landscape.minimum)
    if isinstance(problem.basin, HalfSpace):
        normal = np.asarray(problem.basin.normal)
        slack = float(problem.basin.offset) - normal @ minimum
        return float(tail_constant(alpha) / alpha * (np.linalg.norm(normal @ spread) / slack) ** alpha)
    covariance = spread @ spread.T
    round_noise = np.allclose(covariance, covariance[0, 0] * np.eye(len(minimum)), rtol=1e-12, atol=0)
    if isinstance(problem.basin, Ball) and round_noise and np.allclose(problem.basin.center, minimum, rtol=0, atol=0):
        reach = math.sqrt(covariance[0, 0]) / float(problem.basin.radius)
        return float(radial_tail_constant(alpha, len(minimum)) * reach**alpha)
    return None
