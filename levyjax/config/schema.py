"""A run as a tree of frozen dataclasses: every key of the TOML file, checked when the tree is built."""

import dataclasses
import math
from typing import Any, Protocol

from levyjax.config import consistency
from levyjax.config.basins import (
    AttractionConfig,
    BallConfig,
    BasinConfig,
    BoxConfig,
    EllipsoidConfig,
    HalfSpaceConfig,
    SublevelConfig,
)
from levyjax.config.checks import (
    ConfigError,
    boolean,
    box,
    choice,
    finite,
    indices,
    integer,
    positive,
    real,
    sweep,
    sweep_of_lists,
    text,
    vector,
)
from levyjax.config.dynamics import (
    AdagradConfig,
    AdamConfig,
    AdamwConfig,
    ClippedSgdConfig,
    DynamicsConfig,
    MomentumConfig,
    RmspropConfig,
    SgdConfig,
    Sweep,
)
from levyjax.config.landscapes import (
    AsymmetricValleyConfig,
    DoubleWellConfig,
    FlatConfig,
    LandscapeConfig,
    MultiWellConfig,
    Point,
    QuadraticConfig,
    WangOhRheeConfig,
)
from levyjax.config.matrices import Matrix, scale_matrix
from levyjax.config.tables import TABLES, key, table, to_dict

__all__ = [
    "METHODS",
    "AdagradConfig",
    "AdamConfig",
    "AdamwConfig",
    "AsymmetricValleyConfig",
    "AttractionConfig",
    "BallConfig",
    "BoxConfig",
    "ClippedSgdConfig",
    "DoubleWellConfig",
    "DynamicsConfig",
    "EllipsoidConfig",
    "EmpiricalConfig",
    "FlatConfig",
    "GaussianConfig",
    "HalfSpaceConfig",
    "IndependentConfig",
    "MomentumConfig",
    "MultiWellConfig",
    "NoiseConfig",
    "ParetoConfig",
    "PerCoordinateConfig",
    "QuadraticConfig",
    "RmspropConfig",
    "RotationalConfig",
    "RunConfig",
    "RunSettings",
    "SgdConfig",
    "StudentTConfig",
    "SublevelConfig",
    "TemperedConfig",
    "TruncatedConfig",
    "WangOhRheeConfig",
]

Scale = float | Matrix

METHODS = {  # method -> the key that says how long a step is; None where a step takes what time it needs
    "euler": "dt",
    "tamed": "dt",
    "iteration": "learning_rate",
    "jump_adapted": None,
    "quasi_stationary": None,
}

_index = real("a number above 0 and at most 2 (2 is Gaussian noise)", lambda x: 0.0 < x <= 2.0)
_alpha = sweep(_index)
_tabulated = sweep(real("a number from 0.3 to 2", lambda x: 0.3 <= x <= 2.0))
_tempered = sweep(real("a number from 0.3 up to, but not including, 2", lambda x: 0.3 <= x < 2.0))
_fraction = real("a number above 0 and below 1", lambda x: 0.0 < x < 1.0)
_duration = real("a number above 0, or inf", lambda x: x > 0.0)


class NoiseConfig(Protocol):
    """What the rest of the configuration asks of a noise."""

    table: str
    kind: str
    scale: Scale | None


@table("noise", "independent")
class IndependentConfig:
    """Noise A dL whose coordinates L_j are independent, with E exp(i w L_j(t)) = exp(-t |w|^alpha).

    Args:
        alpha: tail index in (0, 2]; a list sweeps.
        scale: A: a number times the identity, its diagonal or its rows; default the identity.
    """

    alpha: Sweep = key(_alpha)
    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("noise", "rotational")
class RotationalConfig:
    """Noise A dL with E exp(i w'L(t)) = exp(-t |w|^alpha), the same in every direction; keys as for "independent"."""

    alpha: Sweep = key(_alpha)
    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("noise", "per_coordinate")
class PerCoordinateConfig:
    """Noise A dL as for "independent", but each L_j has a tail index of its own.

    Args:
        alphas: a list of tail indices in (0, 2], one for each coordinate; a list of such lists sweeps.
        scale: A: a number times the identity, its diagonal or its rows; default the identity.
    """

    alphas: tuple[tuple[int | float, ...], ...] = key(sweep_of_lists(_index), coordinates=0, swept_lists=True)
    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("noise", "pareto")
class ParetoConfig:
    """Draws A u for method "iteration": u_j independent, symmetric, P(|u_j| > x) = x^-index for x > 1.

    Args:
        index: tail index, above 0; a list sweeps.
        scale: A: a number times the identity, its diagonal or its rows; default the identity.
    """

    index: Sweep = key(sweep(positive))
    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("noise", "student_t")
class StudentTConfig:
    """Draws A u for method "iteration": u_j independent, Student t with nu degrees of freedom, which is the tail index.

    Args:
        nu: degrees of freedom, above 0; a list sweeps.
        scale: A: a number times the identity, its diagonal or its rows; default the identity.
    """

    nu: Sweep = key(sweep(positive))
    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("noise", "truncated")
class TruncatedConfig:
    """Draws A u for method "iteration": u_j independent, stable as for "independent" but held to |u_j| <= bound.

    Args:
        alpha: tail index from 0.3 to 2; a list sweeps.
        bound: largest |u_j|, above 0.
        scale: A: a number times the identity, its diagonal or its rows; default the identity.
    """

    alpha: Sweep = key(_tabulated)
    bound: float = key(positive)
    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("noise", "tempered")
class TemperedConfig:
    """Draws A u for method "iteration": u_j independent, stable up to about 1/tempering, and then an exponential tail.

    Args:
        alpha: tail index from 0.3 to 2, not 2 itself; a list sweeps.
        tempering: m in E exp(i w u_j) = exp(m^alpha - (w^2 + m^2)^(alpha/2)), above 0.
        scale: A: a number times the identity, its diagonal or its rows; default the identity.
    """

    alpha: Sweep = key(_tempered)
    tempering: float = key(positive)
    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("noise", "empirical")
class EmpiricalConfig:
    """Draws for method "iteration" from captured noise: a row of the file each step, centred, with replacement.

    Args:
        file: .npy, .npz, .csv or .parquet with a noise a row, (n, parameters), as `levyjax train --out` writes it;
            where the path is relative, `load` takes it from the folder of the TOML file.
        coordinates: the columns to take, counted from 0, one for each coordinate; default all.
        joint: draw whole rows, with the dependence between coordinates; otherwise each coordinate from a row of its
            own.
    """

    file: str = key(text)
    coordinates: tuple[int, ...] | None = key(indices, default=None, coordinates=0)
    joint: bool = key(boolean, default=True)

    scale = None  # samples have their own size


@table("noise", "gaussian")
class GaussianConfig:
    """Noise A dL at alpha = 2: L_j(t) is N(0, 2t), the limit of the stable laws, and not N(0, t).

    Args:
        scale: A: a number times the identity, its diagonal or its rows; default the identity.
    """

    scale: Scale | None = key(scale_matrix, default=None, coordinates=0)


@table("run")
class RunSettings:
    """The table `[run]`: how the problem is simulated.

    Args:
        noise_level: the factor epsilon of dL; a list sweeps.
        method: "euler" (steps of `dt`), "tamed" (the same with the gradient g/(1 + dt |g|), which cannot blow up),
            "jump_adapted" (from large jump to large jump, at a cost that hardly depends on the noise level),
            "quasi_stationary" (the exit rate from the quasi-stationary law, and no times) or "iteration" (the optimizer
            itself).
        dt: step in time, needed by "euler" and "tamed".
        project: a box [low, high], the same for every coordinate or one pair for each, that every step's point is put
            back into; for "euler", "tamed" and "iteration". Default none.
        dtype: "float32" or "float64".
        relative_error: a quasi-stationary run ends when its standard error is below this part of the rate.
        num_trajectories: how many paths; particles for "quasi_stationary".
        max_time: a path that has not left by then is censored; "quasi_stationary" stops then.
        seed: 0 to 2^64 - 1.
        start: default the landscape's minimum.
        zip: swept lists are paired and not crossed.
    """

    noise_level: Sweep = key(sweep(positive))
    method: str = key(choice(METHODS), default="euler")
    dt: float | None = key(positive, default=None)
    project: Point | tuple[Point, ...] | None = key(box, default=None)
    dtype: str = key(choice(("float32", "float64")), default="float32")
    relative_error: float = key(_fraction, default=0.001)
    num_trajectories: int = key(integer(1, 2**31 - 1), default=4096)
    max_time: float = key(_duration, default=math.inf)
    seed: int = key(integer(0, 2**64 - 1), default=0)
    start: Point | None = key(vector(finite), default=None, coordinates=0)
    zip: bool = key(boolean, default=False)

    def check(self) -> None:
        if METHODS[self.method] == "dt" and self.dt is None:
            raise ConfigError(
                f'[run] method = "{self.method}" needs dt, its step in time. '
                "Add for example dt = 0.05, well below 1 over the largest curvature."
            )
        if self.project is not None and METHODS[self.method] is None:
            raise ConfigError(
                f'[run] project is refused: method = "{self.method}" does not project. '
                'Take method = "euler", "tamed" or "iteration", or leave project out.'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run, consistent in itself: one table a field.

    Raises:
        ConfigError: if the tables do not fit together (coordinates, start, learning rate, sweep).

    Example:
        >>> config = RunConfig(
        ...     landscape=QuadraticConfig(hessian=[1.0, 0.1]),
        ...     basin=BoxConfig(lower=[-1, -1], upper=[1, 1]),
        ...     dynamics=SgdConfig(),
        ...     noise=IndependentConfig(alpha=1.5),
        ...     run=RunSettings(noise_level=[0.1, 0.05], dt=0.05),
        ... )
        >>> config.dimension, config.start
        (2, (0.0, 0.0))
    """

    landscape: LandscapeConfig
    basin: BasinConfig
    dynamics: DynamicsConfig
    noise: NoiseConfig
    run: RunSettings

    def __post_init__(self) -> None:
        consistency.check(self)

    @property
    def minimum(self) -> Point:
        """Where the path rests without noise: the landscape's minimum, or `start` where the landscape is flat."""
        return self.landscape.minimum or self.run.start or ()

    @property
    def start(self) -> Point:
        """Where every path begins: `start` of `[run]`, or the landscape's minimum."""
        return self.run.start or self.minimum

    @property
    def dimension(self) -> int:
        """The number of coordinates."""
        return len(self.minimum)

    @property
    def uses_learning_rate(self) -> bool:
        """Whether the learning rate enters this run at all."""
        return METHODS[self.run.method] == "learning_rate" or self.dynamics.uses_learning_rate is not None

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain tables, lists and numbers; `parse` makes the same tree of it."""
        return {name: to_dict(getattr(self, name)) for name in TABLES}
