"""What a prediction says, and the parts of it that every kind of noise shares."""

import dataclasses

import numpy as np

from levyjax.datasets import Result, along
from levyjax.escape.gauge import ExitRays
from levyjax.escape.problem import EscapeProblem, face_of
from levyjax.landscapes.drift import is_symmetric
from levyjax.noise.spectral import share_error
from levyjax.solvers import Solver
from levyjax.solvers.motion import has_way_out, hessian_of, linearised, modes_of

_CROSSED = "The noise-free flow crosses this basin's boundary from inside"


@dataclasses.dataclass(frozen=True)
class Prediction(Result):
    """What the small-noise theory says about an exit problem. A number that theory does not give is None.

    Attributes:
        rate: exits per unit of the SDE's time (learning_rate times iterations for an iteration).
        rate_error: the rate's error where jumps in a continuum of directions were sampled or followed, and what jumps
            that could not be followed to their end may add; else 0.
        mean_exit_time: 1/rate, or the exact mean where one is known.
        mean_exit_steps: mean_exit_time in steps of the solver.
        exit_probabilities: probability of leaving through each face.
        kappa: relaxation rate times the time scale of jumps as long as the basin is wide, the worst direction's.
        valid: whether the limit's bias is known to be below 2% here.
        reasons: why not, and what else a reader should know.
        exit_probability_error: the largest error of an exit probability: of a continuum of directions that was sampled
            or followed, and of many jumps that end near the edge of two faces at this noise level; else 0.
    """

    _dims = along({"face": "exit_probabilities"})

    rate: float | None
    rate_error: float
    mean_exit_time: float | None
    mean_exit_steps: float | None
    exit_probabilities: dict[str, float]
    kappa: float | None
    valid: bool
    reasons: tuple[str, ...]
    exit_probability_error: float = 0.0


def refused(reason: str) -> Prediction:
    """No number, and why."""
    return Prediction(None, 0.0, None, None, {}, None, False, (reason,))


def in_steps(mean: float | None, problem: EscapeProblem, solver: Solver | None) -> float | None:
    """A mean exit time in steps of the solver; None where those have no fixed length."""
    step_time = None if solver is None else solver.step_time(problem)
    return None if mean is None or step_time is None else mean / float(step_time)


def step_reasons(problem: EscapeProblem, solver: Solver | None) -> list[str]:
    """Why steps of this length come to rest nowhere; nothing where they do, or where time is continuous."""
    step_time = None if solver is None else solver.step_time(problem)
    if step_time is None:
        return []
    if problem.dynamics.is_gradient_flow and is_symmetric(problem.landscape):
        product = float(np.linalg.eigvalsh(hessian_of(problem.landscape)).max()) * float(step_time)
        if product >= 2:
            return [f"The step times the largest curvature is {product:.3g}: at 2 and above descent itself diverges."]
        return []
    modes = modes_of(linearised(problem, solver, np.asarray(problem.landscape.minimum)), float(step_time))
    growth = float(np.exp(-np.real(modes.values).min() * float(step_time)))
    return [f"Without noise the steps diverge: each is {growth:.3g} times the one before."] if growth > 1 + 1e-9 else []


def crossing_reason(problem: EscapeProblem) -> str:
    """Why the way out is not the gauge's: the beginning of a reason."""
    if not has_way_out(problem):
        return "A basin of attraction is asked where a Marcus jump ends, not along its way"
    return "Noise enters the momentum" if problem.dynamics.noise_in_momentum else _CROSSED


def face_shares(problem: EscapeProblem, rays: ExitRays, parts: np.ndarray) -> tuple[dict[str, float], float]:
    """The probability of leaving through each face, from the rate along each ray, and the error of these."""
    names, leaving = problem.basin.face_names(problem.dimension), np.asarray(rays.gauge) > 0
    origin, directions = np.asarray(problem.landscape.minimum)[:, None], np.asarray(rays.directions)
    with np.errstate(divide="ignore"):
        beyond = origin + directions * np.where(leaving, 1.001 / np.asarray(rays.gauge), 0)
    face = face_of(problem.basin, origin[:, 0], beyond)
    by_face = np.zeros((len(names), len(parts)))
    by_face[face, np.arange(len(parts))] = np.where(leaving, parts, 0.0)
    shares = by_face.sum(axis=1)
    return dict(zip(names, (shares / shares.sum()).tolist(), strict=True)), share_error(by_face, rays)
