"""From a run's configuration to the objects of one cell; the only part of the configuration layer that needs jax."""

from typing import Any

import numpy as np

from levyjax import basins, dynamics, landscapes, noise, solvers
from levyjax.config import schema
from levyjax.config.checks import show
from levyjax.config.schema import RunConfig
from levyjax.config.sweeps import Cell
from levyjax.escape import EscapeProblem, Plan

_NOISES = {
    "independent": noise.Independent,
    "rotational": noise.Rotational,
    "per_coordinate": noise.PerCoordinate,
    "pareto": noise.Pareto,
    "student_t": noise.StudentT,
}


def _landscape(config: RunConfig) -> Any:
    part: Any = config.landscape
    if isinstance(part, schema.QuadraticConfig):
        return landscapes.Quadratic(_operator(part.hessian), part.minimum)
    if isinstance(part, schema.AsymmetricValleyConfig):
        return landscapes.AsymmetricValley(part.curvature_left, part.curvature_right, part.minimum)
    if isinstance(part, schema.DoubleWellConfig):
        return landscapes.DoubleWell(part.width, part.height, part.curvature, well=part.well)
    if isinstance(part, schema.MultiWellConfig):
        tops = (part.saddles, part.barriers, part.curvatures, part.saddle_curvatures)
        return landscapes.MultiWell(part.minima, *tops, part.heights, well=part.well)
    if isinstance(part, schema.WangOhRheeConfig):
        return landscapes.WangOhRhee(part.well)
    return landscapes.Flat(config.minimum)


def _basin(config: RunConfig, landscape: Any) -> Any:
    part: Any = config.basin
    if isinstance(part, schema.BoxConfig):
        return basins.Box(part.lower, part.upper)
    if isinstance(part, schema.BallConfig):
        return basins.Ball(part.radius, part.center or config.minimum)
    if isinstance(part, schema.EllipsoidConfig):
        return basins.Ellipsoid(_operator(part.matrix), part.level, part.center or config.minimum)
    if isinstance(part, schema.HalfSpaceConfig):
        return basins.HalfSpace(part.normal, part.offset)
    if isinstance(part, schema.AttractionConfig):
        return basins.Attraction(landscape)
    return basins.Sublevel(landscape, part.height)


def _dynamics(config: RunConfig, learning_rate: float | None) -> Any:
    part: Any = config.dynamics
    if isinstance(part, schema.SgdConfig):
        return dynamics.SGD(learning_rate)
    if isinstance(part, schema.MomentumConfig):
        return dynamics.Momentum(learning_rate, part.beta, nesterov=part.nesterov)
    if isinstance(part, schema.RmspropConfig):
        return dynamics.RMSProp(learning_rate, part.beta2, part.epsilon, gradient_noise=part.gradient_noise)
    if isinstance(part, schema.AdagradConfig):
        return dynamics.AdaGrad(learning_rate, part.initial, part.epsilon)
    if isinstance(part, schema.ClippedSgdConfig):
        return dynamics.ClippedSGD(learning_rate, part.bound, by=part.by)
    return dynamics.Adam(
        learning_rate,
        part.beta1,
        part.beta2,
        part.epsilon,
        part.preconditioner,
        variant=part.variant,
        gradient_noise=part.gradient_noise,
        weight_decay=getattr(part, "weight_decay", 0.0),
    )


def _operator(value: Any) -> Any:
    """A linear map as the objects hold it: the diagonal where the file gives one, else the matrix."""
    return [float(entry) for entry in value] if not isinstance(value[0], tuple) else [list(row) for row in value]


def _captured(part: schema.EmpiricalConfig, dimension: int) -> noise.Empirical:
    from levyjax.tails import load  # with SciPy's statistics, half a second

    samples = np.asarray(load(part.file))
    if samples.ndim != 2:
        raise ValueError(f"[noise] file = {show(part.file)} has shape {samples.shape}: a noise a row is expected.")
    columns, available = part.coordinates, samples.shape[1]
    if columns is None and available != dimension:
        raise ValueError(
            f"[noise] file = {show(part.file)} has {available} columns, and the landscape {dimension} coordinates. "
            "Say which columns with coordinates."
        )
    if columns is not None and max(columns) >= available:
        raise ValueError(f"[noise] coordinates go up to {max(columns)}, and the file has columns 0 to {available - 1}.")
    return noise.Empirical(samples if columns is None else samples[:, list(columns)], joint=part.joint)


def _noise(config: RunConfig, alpha: Any) -> Any:
    part: Any = config.noise
    if isinstance(part, schema.EmpiricalConfig):
        return _captured(part, config.dimension)
    scale = 1.0 if part.scale is None else part.scale
    scale = _operator(scale) if isinstance(scale, tuple) else [float(scale)] * config.dimension
    if isinstance(part, schema.GaussianConfig):
        return noise.Gaussian(scale)
    if isinstance(part, schema.TruncatedConfig):
        return noise.Truncated(alpha, part.bound, scale)
    if isinstance(part, schema.TemperedConfig):
        return noise.Tempered(alpha, part.tempering, scale)
    return _NOISES[part.kind](alpha, scale)


def build_problem(config: RunConfig, cell: Cell) -> EscapeProblem:
    """The exit problem of one cell.

    Raises:
        ValueError: the tables do not fit together in a way that only the objects can tell.
    """
    landscape = _landscape(config)
    return EscapeProblem(
        landscape,
        _basin(config, landscape),
        _noise(config, cell.alpha),
        _dynamics(config, cell.learning_rate),
        cell.noise_level,
        config.start,
    )


def _bounds(config: RunConfig) -> list[list[float]] | None:
    """Lower and upper bounds of every coordinate; one pair of the file is for all of them."""
    project: Any = config.run.project
    if project is None:
        return None
    pairs = project if isinstance(project[0], tuple) else [project] * config.dimension
    return [[float(pair[side]) for pair in pairs] for side in (0, 1)]


def build_plan(config: RunConfig) -> Plan:
    """How the run's cells are simulated."""
    run = config.run
    project = _bounds(config)
    made = {
        "iteration": lambda: solvers.Iteration(project),
        "euler": lambda: solvers.Euler(run.dt, project),
        "tamed": lambda: solvers.Tamed(run.dt, project),
    }
    solver = made.get(run.method, solvers.JumpAdapted)()
    return Plan(solver, run.num_trajectories, run.max_time, run.dtype)
