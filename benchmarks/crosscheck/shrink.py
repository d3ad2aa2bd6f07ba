"""Makes a problem smaller while something still goes wrong with it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .describe import Description, Piece, text


def size(problem: Description) -> tuple[int, int]:
    """How large a problem is: its dimension, and the length of what is printed."""
    parts = (problem.landscape, problem.basin, problem.noise, problem.dynamics, problem.start)
    return problem.dimension, len(text(parts))


def shrunk(problem: Description, fails: Callable[[Description], bool], tries: int) -> Description:
    """The smallest problem found that fails, trying so many."""
    left, progress = tries, True
    while progress and left > 0:
        progress = False
        for candidate in candidates(problem):
            if size(candidate) >= size(problem):
                continue
            if left <= 0:
                break
            left -= 1
            if fails(candidate):
                problem, progress = candidate, True
                break
    return problem


def candidates(problem: Description) -> Iterator[Description]:
    """Simpler problems, the simplest first."""
    for axis in reversed(range(problem.dimension if problem.dimension > 1 else 0)):
        dropped = without(problem, axis)
        if dropped is not None:
            yield dropped
    if problem.start is not None:
        yield problem.but(start=None)
    simple = Piece("SGD", {"learning_rate": 0.1} if problem.view == "iteration" else {})
    if problem.dynamics.kind != "SGD":
        yield problem.but(dynamics=simple)
    d = problem.dimension
    alpha = problem.alpha
    if "beta" in problem.noise.parts:
        yield problem.but(
            noise=Piece(problem.noise.kind, {k: v for k, v in problem.noise.parts.items() if k != "beta"})
        )
    if problem.noise.kind not in ("Independent", "Rotational"):
        yield problem.but(noise=Piece("Independent", {"alpha": alpha, "scale": np.ones(d)}))
    if problem.noise.parts.get("scale") is not None and problem.noise.parts["scale"].ndim == 2:
        yield problem.but(noise=problem.noise.but(scale=np.ones(d)))
        if len(set(problem.noise.parts["scale"].shape)) == 1:
            yield problem.but(noise=problem.noise.but(scale=np.diag(problem.noise.parts["scale"])))
    if problem.landscape.kind != "Quadratic" and "landscape" not in problem.basin.parts:
        yield problem.but(landscape=Piece("Quadratic", {"curvature": np.ones(d), "center": problem.minimum}))
    if np.ndim(problem.landscape.parts.get("curvature")) == 2 and "landscape" not in problem.basin.parts:
        yield problem.but(landscape=problem.landscape.but(curvature=np.ones(d)))
    for digits in (1, 2, 3):
        yield rounded(problem, digits)


def rounded(problem: Description, digits: int) -> Description:
    """With so many digits."""
    names = ("landscape", "basin", "noise", "dynamics", "start", "noise_level")
    return problem.but(**{name: _rounded(getattr(problem, name), digits) for name in names})


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, Piece):
        return Piece(value.kind, {name: _rounded(part, digits) for name, part in value.parts.items()})
    if isinstance(value, tuple):
        return tuple(_rounded(part, digits) for part in value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        shown = [float(f"{entry:.{digits}g}") for entry in value.ravel()]
        return np.array(shown).reshape(value.shape)
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


_BY_AXIS = ("center", "lower", "upper", "normal", "alphas", "beta", "preconditioner", "curvature_left",
            "curvature_right", "quartic", "wall", "edge")  # fmt: skip
_BOTH = ("scale", "matrix", "curvature")


def without(problem: Description, axis: int) -> Description | None:
    """Without one coordinate; None where a piece cannot lose it."""
    return kept_to(problem, [j for j in range(problem.dimension) if j != axis])


def kept_to(problem: Description, kept: list[int]) -> Description | None:
    """In some coordinates alone; None where a piece has no such part."""
    pieces = {}
    for name in ("landscape", "basin", "noise", "dynamics"):
        piece = _without(getattr(problem, name), kept)
        if piece is None:
            return None
        pieces[name] = piece
    start = None if problem.start is None else problem.start[kept]
    return problem.but(**pieces, start=start)


def _without(piece: Piece, kept: list[int]) -> Piece | None:
    parts: dict[str, Any] = {}
    for name, value in piece.parts.items():
        if isinstance(value, Piece):
            inner = _without(value, kept)
            if inner is None:
                return None
            parts[name] = inner
        elif piece.kind == "DoubleWell" and name == "curvature":
            if kept[:1] != [0]:
                return None
            parts[name] = value[[j - 1 for j in kept[1:]]]
        elif np.ndim(value) == 0:
            parts[name] = value
        elif name in ("alphas", "beta") and np.ndim(piece.parts["scale"]) == 2 and not _is_square(piece.parts["scale"]):
            parts[name] = value  # of channels, which stay
        elif name in _BY_AXIS:
            parts[name] = value[kept]
        elif name in _BOTH:
            parts[name] = value[np.ix_(kept, kept)] if _is_square(value) else value[kept]
        else:
            parts[name] = value
    whole = piece.kind not in ("Separable", "Moved", "MultiWell", "CurvedValley")
    return Piece(piece.kind, parts) if whole else None


def _is_square(value: np.ndarray) -> bool:
    return value.ndim == 2 and value.shape[0] == value.shape[1]
