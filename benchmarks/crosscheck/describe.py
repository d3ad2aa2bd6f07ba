"""An exit problem as plain data: NumPy arrays and the names of its pieces, built into levyjax's or printed."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from levyjax import basins, dynamics, landscapes, noise, schedules
from levyjax.escape import EscapeProblem

from . import oracle


class Piece(NamedTuple):
    """A class's name and its arguments; a piece may be an argument of another, and so may a tuple of them."""

    kind: str
    parts: dict[str, Any]

    def but(self, **parts: Any) -> "Piece":
        """With some arguments replaced."""
        return Piece(self.kind, self.parts | parts)


@dataclasses.dataclass(frozen=True)
class Description:
    """An exit problem, and whether its SDE ("sde") or the optimizer's own loop ("iteration") is looked at."""

    landscape: Piece
    basin: Piece
    noise: Piece
    dynamics: Piece
    noise_level: float
    start: Any = None
    view: str = "sde"
    schedule: Piece | None = None  # what the noise level goes over to, by whose name, and the time that it takes

    def but(self, **parts: Any) -> "Description":
        """With some parts replaced."""
        return dataclasses.replace(self, **parts)

    @property
    def minimum(self) -> np.ndarray:
        """x*."""
        return oracle.minimum(self.landscape)

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.minimum)

    @property
    def alpha(self) -> float:
        """The smallest tail index of the noise."""
        return tail_index(self.noise)


def tail_index(piece: Piece) -> float:
    """The smallest tail index of a noise; 2 where it has none below."""
    if piece.kind == "StateDependent":
        return tail_index(piece.parts["driver"])
    names = ("alpha", "alphas", "index", "nu")
    return float(min([2.0, *(np.min(piece.parts[name]) for name in names if name in piece.parts)]))


def quadratic_function(x: Any, parameters: Any) -> Any:
    """(x - c)' H (x - c)/2, as a user would write it."""
    curvature, center = parameters
    offset = x - center
    return (offset * (curvature * offset if curvature.ndim == 1 else curvature @ offset)).sum() / 2


def cosh_function(x: Any, parameters: Any) -> Any:
    """sum_j k_j (cosh(x_j - c_j) - 1)."""
    curvature, center = parameters
    return (curvature * (jnp.cosh(x - center) - 1)).sum()


def flat_bottom(x: Any, parameters: Any) -> Any:
    """sum_j a_j u_j^2/2 + b_j u_j^4 + w_j max(|u_j| - e_j, 0)^2/2, u = x - c."""
    curvature, quartic, wall, edge, center = parameters
    u = x - center
    return (curvature * u**2 / 2 + quartic * u**4 + wall * jnp.maximum(jnp.abs(u) - edge, 0) ** 2 / 2).sum()


def radial_well(x: Any, parameters: Any) -> Any:
    """a r^2/2 + b r^4, r the way from the minimum."""
    curvature, quartic, center = parameters
    square = ((x - center) ** 2).sum()
    return curvature * square / 2 + quartic * square**2


def curved_valley(x: Any, parameters: Any) -> Any:
    """A parabola of (u_1, u_2 - bend u_1^2, u_3, ...), after Rosenbrock."""
    curvature, bend, center = parameters
    u = x - center
    u = u.at[1].add(-bend * u[0] ** 2)
    return (curvature * u**2).sum() / 2


def moved_function(x: Any, parameters: Any) -> Any:
    """factor F(inverse (x - shift)) for a landscape F."""
    inner, inverse, shift, factor = parameters
    offset = x - shift
    return factor * inner.value((inverse * offset[None, :]).sum(axis=1))


def turning_field(x: Any, parameters: Any) -> Any:
    """M u - cubic |u|^2 u, u = x - c."""
    matrix, cubic, center = parameters
    u = x - center
    return matrix @ u - cubic * (u**2).sum() * u


def constant_dispersion(x: Any, parameters: Any) -> Any:
    """1 everywhere."""
    return jnp.ones_like(x)


FUNCTIONS = {
    "QuadraticFunction": quadratic_function,
    "CoshFunction": cosh_function,
    "FlatBottom": flat_bottom,
    "RadialWell": radial_well,
    "CurvedValley": curved_valley,
    "Moved": moved_function,
}
FIELDS = {"TurningField": turning_field}  # drifts without a potential
_PARAMETERS = {
    "TurningField": ("matrix", "cubic", "center"),
    "FlatBottom": ("curvature", "quartic", "wall", "edge", "center"),
    "RadialWell": ("curvature", "quartic", "center"),
    "CurvedValley": ("curvature", "bend", "center"),
    "Moved": ("inner", "inverse", "shift", "factor"),
}
MODULES = (landscapes, basins, noise, dynamics)


def parameters_of(piece: Piece) -> tuple[Any, ...]:
    """The arguments of a function."""
    return tuple(piece.parts[name] for name in _PARAMETERS.get(piece.kind, ("curvature", "center")))


def build(value: Any) -> Any:
    """levyjax's object for a piece; other values as they are.

    Raises:
        ValueError: levyjax refuses it.
    """
    if isinstance(value, tuple) and not isinstance(value, Piece):
        return tuple(build(item) for item in value)
    if not isinstance(value, Piece):
        return value
    if value.kind in FUNCTIONS:
        return from_function(value)
    if value.kind in FIELDS:
        arrays = tuple(np.asarray(part, float) for part in parameters_of(value))
        return landscapes.from_drift(FIELDS[value.kind], oracle.minimum(value), arrays)
    if value.kind == "StateDependent":
        return noise.StateDependent(build(value.parts["driver"]), constant_dispersion, (), value.parts["sense"])
    module = next(module for module in MODULES if hasattr(module, value.kind))
    return getattr(module, value.kind)(**{name: build(part) for name, part in value.parts.items()})


def from_function(piece: Piece) -> Any:
    """A function as a landscape, its gradient at the minimum looked at in double precision."""
    arrays = [np.asarray(part, float) if not isinstance(part, Piece) else build(part) for part in parameters_of(piece)]
    with jax.enable_x64(True):
        return landscapes.from_function(FUNCTIONS[piece.kind], oracle.minimum(piece), tuple(arrays))


def problem_of(description: Description) -> EscapeProblem:
    """The exit problem.

    Raises:
        ValueError: levyjax refuses it.
    """
    pieces = [build(getattr(description, name)) for name in ("landscape", "basin", "noise", "dynamics")]
    return EscapeProblem(*pieces, noise_level_of(description), description.start)


def noise_level_of(description: Description) -> Any:
    """A number, or a function of time."""
    level, piece = description.noise_level, description.schedule
    return level if piece is None else getattr(schedules, piece.kind)(level, piece.parts["time"], piece.parts["end"])


class _Source(str):
    """Python source already."""


def text(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, _Source):
        return value
    if isinstance(value, Piece):
        if value.kind in FUNCTIONS or value.kind in FIELDS:
            inner = ", ".join(text(part) for part in parameters_of(value))
            maker, made = ("from_drift", FIELDS) if value.kind in FIELDS else ("from_function", FUNCTIONS)
            return f"{maker}({made[value.kind].__name__}, {text(oracle.minimum(value))}, ({inner}))"
        if value.kind == "StateDependent":
            return f"StateDependent({text(value.parts['driver'])}, constant_dispersion, (), {value.parts['sense']!r})"
        return f"{value.kind}({', '.join(f'{name}={text(part)}' for name, part in value.parts.items())})"
    if isinstance(value, tuple):
        return f"({', '.join(map(text, value))},)"
    if isinstance(value, np.ndarray):
        inner = repr(value.tolist())
        shown = f"np.array({inner})" if value.ndim else inner
        return shown.replace("inf", "np.inf")
    return repr(float(value)) if isinstance(value, np.floating) else repr(value)


def snippet(description: Description) -> str:
    """The problem as source that a person can paste."""
    parts = [getattr(description, name) for name in ("landscape", "basin", "noise", "dynamics")]
    shown = description.schedule
    level = (
        f"{shown.kind}({description.noise_level!r}, {shown.parts['time']!r}, {shown.parts['end']!r})" if shown else None
    )
    parts += [description.noise_level if level is None else _Source(level), description.start]
    solver = ", Iteration()" if description.view == "iteration" else ""
    return f"predict(EscapeProblem({', '.join(map(text, parts))}){solver})"
