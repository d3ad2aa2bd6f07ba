"""The same problem seen otherwise: exact symmetries and other ways of writing it, and what they do to the numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import oracle
from .describe import Description, Piece
from .draw import DRIFTS, rotation, spread


class Image(NamedTuple):
    """A problem that has the same exits.

    time: what exit times are multiplied by.
    faces: the name of each face in the image; None where faces do not correspond.
    strict: whether kappa and validity must be the same, too.
    """

    name: str
    problem: Description
    time: float = 1.0
    faces: dict[str, str] | None = None
    strict: bool = True


ADAPTIVE = ("Adam", "RMSProp", "AdaGrad")


def adaptive(problem: Description) -> bool:
    """Whether the optimizer divides by sizes of gradients, and so singles out the axes and the unit of the gradient."""
    return problem.dynamics.kind in ADAPTIVE and problem.dynamics.parts.get("variant") != "frozen"


def by_axes(problem: Description) -> bool:
    """Whether the optimizer treats coordinates one by one."""
    return problem.dynamics.kind in ADAPTIVE or problem.dynamics.parts.get("by") == "coordinate"


def moved_landscape(piece: Piece, matrix: np.ndarray, shift: np.ndarray, factor: float) -> Piece:
    """x -> factor F(matrix^-1 (x - shift)), of the same kind where that has the form."""
    inverse, parts = np.linalg.inv(matrix), piece.parts
    center = matrix @ oracle.minimum(piece) + shift
    if piece.kind in ("Quadratic", "QuadraticFunction"):
        return piece.but(curvature=congruent(parts["curvature"], inverse) * factor, center=center)
    if piece.kind == "Flat":
        return piece.but(center=center)
    if piece.kind in DRIFTS:  # the matrix is a multiple of an orthogonal one
        size = abs(np.linalg.det(matrix)) ** (1 / len(matrix))
        cubic = {"cubic": parts["cubic"] * factor / size**4} if "cubic" in parts else {}
        return piece.but(matrix=factor * inverse.T @ parts["matrix"] @ inverse, center=center, **cubic)
    if piece.kind == "AsymmetricValley" and is_monomial(matrix):
        order, size = np.argmax(np.abs(matrix), axis=1), np.abs(matrix).sum(axis=1)
        left, right = (parts[f"curvature_{side}"][order] * factor / size**2 for side in ("left", "right"))
        flipped = matrix.sum(axis=1) < 0
        sides = {"curvature_left": np.where(flipped, right, left), "curvature_right": np.where(flipped, left, right)}
        return Piece(piece.kind, {**sides, "center": center})
    size = matrix[0, 0]
    scaled = size > 0 and np.array_equal(matrix, size * np.eye(len(matrix)))
    if piece.kind == "DoubleWell" and scaled and not shift.any():
        kept = {"width": parts["width"] * size, "barrier": parts["barrier"] * factor}
        return piece.but(**kept, curvature=parts["curvature"] * factor / size**2)
    if piece.kind == "Moved":
        both = np.asarray(parts["inverse"]) @ inverse
        whole = np.linalg.inv(inverse) @ np.asarray(parts["shift"]) + shift
        return piece.but(inverse=both, shift=whole, factor=parts["factor"] * factor)
    return Piece("Moved", {"inner": piece, "inverse": inverse, "shift": shift, "factor": float(factor)})


def is_monomial(matrix: np.ndarray) -> bool:
    """One entry in each row and column."""
    return bool(((matrix != 0).sum(axis=0) == 1).all() and ((matrix != 0).sum(axis=1) == 1).all())


def congruent(operator: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """inverse' M inverse; a diagonal stays one where it can."""
    if operator.ndim == 1 and is_monomial(inverse):
        return (inverse**2).T @ operator
    matrix = inverse.T @ (np.diag(operator) if operator.ndim == 1 else operator) @ inverse
    return (matrix + matrix.T) / 2


def moved_basin(piece: Piece, matrix: np.ndarray, shift: np.ndarray, factor: float) -> Piece | None:
    """The image of a basin; None where that is no basin."""
    inverse, parts = np.linalg.inv(matrix), piece.parts
    if piece.kind == "Box":
        if not is_monomial(matrix):
            return None
        order, sign = np.argmax(np.abs(matrix), axis=1), matrix.sum(axis=1)
        ends = np.sort(np.stack([sign * parts["lower"][order], sign * parts["upper"][order]]), axis=0)
        return Piece("Box", {"lower": ends[0] + shift, "upper": ends[1] + shift})
    if piece.kind == "HalfSpace":
        normal = inverse.T @ parts["normal"]
        return Piece("HalfSpace", {"normal": normal, "offset": float(parts["offset"] + normal @ shift)})
    if piece.kind == "Ball":
        size = abs(np.linalg.det(matrix)) ** (1 / len(matrix))
        return Piece("Ball", {"radius": float(parts["radius"] * size), "center": matrix @ parts["center"] + shift})
    if piece.kind == "Ellipsoid":
        return piece.but(matrix=congruent(parts["matrix"], inverse), center=matrix @ parts["center"] + shift)
    landscape = moved_landscape(parts["landscape"], matrix, shift, factor)
    height = {"height": float(parts["height"] * factor)} if "height" in parts else {}
    return piece.but(landscape=landscape, **height)


def scaled_noise(piece: Piece, factor: Any) -> Piece:
    """A times a number, or each column times its own."""
    if piece.kind == "StateDependent":
        return piece.but(driver=scaled_noise(piece.parts["driver"], factor))
    return piece.but(scale=piece.parts["scale"] * factor)


def moved_noise(piece: Piece, matrix: np.ndarray) -> Piece | None:
    """matrix A, and where both are diagonals (up to order and sign) the diagonal of the same law."""
    if piece.kind == "StateDependent":
        return None if not is_monomial(matrix) else _moved_driver(piece, matrix)
    scale = piece.parts["scale"]
    if scale.ndim == 1 and is_monomial(matrix):
        order = np.argmax(np.abs(matrix), axis=1)
        channels = by_channel(piece, order, np.sign(matrix.sum(axis=1)))
        return piece.but(scale=np.abs(matrix).sum(axis=1) * scale[order], **channels)
    return piece.but(scale=matrix @ (np.diag(scale) if scale.ndim == 1 else scale))


def by_channel(piece: Piece, order: np.ndarray, signs: np.ndarray) -> dict[str, np.ndarray]:
    """What a noise has for each channel, in another order and with other signs."""
    parts = {"alphas": piece.parts["alphas"][order]} if "alphas" in piece.parts else {}
    return parts | ({"beta": signs * piece.parts["beta"][order]} if "beta" in piece.parts else {})


def _moved_driver(piece: Piece, matrix: np.ndarray) -> Piece | None:
    driver = moved_noise(piece.parts["driver"], matrix)
    return None if driver is None else piece.but(driver=driver)


def affine(problem: Description, name: str, matrix: np.ndarray, shift: np.ndarray, time: float = 1.0) -> Image | None:
    """x' = matrix x + shift with matrix a multiple of an orthogonal one, and times multiplied by `time`."""
    size = abs(np.linalg.det(matrix)) ** (1 / len(matrix))
    factor = size**2 / time
    basin = moved_basin(problem.basin, matrix, shift, factor)
    noise = moved_noise(problem.noise, matrix)
    dynamics = moved_dynamics(problem, matrix, time, size)
    if basin is None or noise is None or dynamics is None:
        return None
    noise = scaled_noise(noise, 1 / time if problem.view == "iteration" else noise_of_time(noise, time))
    start = None if problem.start is None else matrix @ problem.start + shift
    landscape = moved_landscape(problem.landscape, matrix, shift, factor)
    image = problem.but(landscape=landscape, basin=basin, noise=noise, dynamics=dynamics, start=start)
    return Image(name, image, time, renamed_faces(problem.basin, matrix))


def noise_of_time(piece: Piece, time: float) -> Any:
    """time^(-1/alpha) of each column."""
    if piece.kind == "StateDependent":
        return noise_of_time(piece.parts["driver"], time)
    alpha = piece.parts.get("alphas", piece.parts.get("alpha", 2.0))
    return time ** (-1 / np.asarray(alpha))


def moved_dynamics(problem: Description, matrix: np.ndarray, time: float, size: float) -> Piece | None:
    """The optimizer in other coordinates and another unit of time; None where it would be another one."""
    piece, parts = problem.dynamics, problem.dynamics.parts
    if adaptive(problem) and not (size == 1 and time == 1):
        return None
    if by_axes(problem) and not is_monomial(matrix):
        return None
    changed: dict[str, Any] = {}
    if "learning_rate" in parts:
        changed["learning_rate"] = parts["learning_rate"] * time
    if "bound" in parts:
        changed["bound"] = parts["bound"] * size
    if parts.get("variant") == "frozen":
        if time < 1:
            return None
        changed["beta1"] = parts["beta1"] / time
        changed["preconditioner"] = parts["preconditioner"][np.argmax(np.abs(matrix), axis=1)]
    if problem.view == "iteration" and parts.get("variant") == "frozen":
        return None
    return piece.but(**changed)


def renamed_faces(basin: Piece, matrix: np.ndarray) -> dict[str, str] | None:
    """Where the faces go."""
    if basin.kind == "HalfSpace":
        return {"normal": "normal"}
    if not is_monomial(matrix):
        return None
    low, high = ("<lower", ">upper") if basin.kind == "Box" else ("<center", ">center")
    faces = {}
    for row, column in enumerate(np.argmax(np.abs(matrix), axis=1)):
        ends = (low, high) if matrix[row, column] > 0 else (high, low)
        faces |= {f"x{column}{side}": f"x{row}{end}" for side, end in zip((low, high), ends, strict=True)}
    return faces


# Symmetries: each takes a problem and a generator, and gives an image or None


def shift(problem: Description, rng: Any) -> Image | None:
    """Another origin."""
    d = problem.dimension
    return affine(problem, "shift", np.eye(d), rng.normal(size=d))


def turn(problem: Description, rng: Any) -> Image | None:
    """Turned coordinates."""
    d = problem.dimension
    return None if d == 1 else affine(problem, "turn", rotation(rng, d), np.zeros(d))


def order_and_signs(problem: Description, rng: Any) -> Image | None:
    """Coordinates in another order, some with the other sign."""
    d = problem.dimension
    matrix = np.eye(d)[rng.permutation(d)] * rng.choice([-1.0, 1.0], (d, 1))
    if np.array_equal(matrix, np.eye(d)):
        matrix = -matrix
    return affine(problem, "order_and_signs", matrix, np.zeros(d))


def unit_of_length(problem: Description, rng: Any) -> Image | None:
    """Lengths in another unit."""
    d = problem.dimension
    return affine(problem, "unit_of_length", float(spread(rng, 1e-3, 1e3)) * np.eye(d), np.zeros(d))


def unit_of_time(problem: Description, rng: Any) -> Image | None:
    """Times in another unit."""
    d = problem.dimension
    return affine(problem, "unit_of_time", np.eye(d), np.zeros(d), float(spread(rng, 1, 1e3)))


def unit_of_gradient(problem: Description, rng: Any) -> Image | None:
    """Gradients in another unit, under an optimizer that divides by their size."""
    if not adaptive(problem) or problem.dynamics.kind == "AdaGrad":
        return None
    factor, d = float(spread(rng, 0.1, 10)), problem.dimension
    landscape = moved_landscape(problem.landscape, np.eye(d), np.zeros(d), factor)
    basin = (
        problem.basin
        if "landscape" not in problem.basin.parts
        else moved_basin(problem.basin, np.eye(d), np.zeros(d), factor)
    )
    dynamics = problem.dynamics.but(epsilon=problem.dynamics.parts["epsilon"] * factor)
    image = problem.but(landscape=landscape, basin=basin, noise=scaled_noise(problem.noise, factor), dynamics=dynamics)
    return Image("unit_of_gradient", image, 1.0, renamed_faces(problem.basin, np.eye(d)))


def level_or_scale(problem: Description, rng: Any) -> Image | None:
    """The noise level times a number and the scale divided by it; an SDE's second moments see the scale alone."""
    if adaptive(problem) and problem.view == "sde":
        return None
    factor = float(spread(rng, 0.1, 10))
    image = problem.but(noise=scaled_noise(problem.noise, 1 / factor), noise_level=problem.noise_level * factor)
    return same("level_or_scale", problem, image)


def same(name: str, problem: Description, image: Description, strict: bool = True) -> Image:
    """An image with the same times and the same names of faces."""
    return Image(name, image, 1.0, renamed_faces(problem.basin, np.eye(problem.dimension)), strict)


def same_law(problem: Description, rng: Any) -> Image | None:
    """Another dispersion A' with the same law of A L."""
    piece = problem.noise
    if piece.kind == "StateDependent" or piece.parts["scale"].size == 1:
        return None
    scale = piece.parts["scale"]
    scale = np.diag(scale) if scale.ndim == 1 else scale
    d = scale.shape[1]
    if piece.kind in ("Rotational", "Gaussian"):
        return same("same_law", problem, problem.but(noise=piece.but(scale=scale @ rotation(rng, d))))
    order, signs = rng.permutation(d), rng.choice([-1.0, 1.0], d)
    noise = piece.but(scale=scale[:, order] * signs, **by_channel(piece, order, signs))
    return same("same_law", problem, problem.but(noise=noise))


def split_column(problem: Description, rng: Any) -> Image | None:
    """A silent column of A takes over a part of another one: of the same law for independent coordinates."""
    piece = problem.noise
    if piece.kind != "Independent" or piece.parts["scale"].ndim == 1 or adaptive(problem):
        return None
    scale, alpha = piece.parts["scale"].copy(), piece.parts["alpha"]
    silent = np.flatnonzero(~scale.any(axis=0))
    if not silent.size:
        return None
    loud = int(np.argmax(np.abs(scale).sum(axis=0)))
    part = rng.uniform(0.2, 0.8)
    scale[:, silent[0]], scale[:, loud] = (
        part ** (1 / alpha) * scale[:, loud],
        (1 - part) ** (1 / alpha) * scale[:, loud],
    )
    channels = {}
    if "beta" in piece.parts:
        channels["beta"] = piece.parts["beta"].copy()
        channels["beta"][silent[0]] = channels["beta"][loud]
    return same("split_column", problem, problem.but(noise=piece.but(scale=scale, **channels)), strict=False)


def silent_coordinate(problem: Description, rng: Any) -> Image | None:
    """One coordinate more, which stays at its minimum."""
    return _wider(problem, "silent_coordinate", 0.0, rng)


def idle_coordinate(problem: Description, rng: Any) -> Image | None:
    """One coordinate more, which moves and does not matter."""
    if problem.basin.kind not in ("Box", "HalfSpace") or problem.dynamics.parts.get("by") == "norm":
        return None
    if problem.dynamics.kind == "ClippedSGD":
        return None
    return _wider(problem, "idle_coordinate", float(spread(rng, 0.3, 3)), rng)


def _wider(problem: Description, name: str, size: float, rng: Any) -> Image | None:
    if problem.landscape.kind == "Flat" or problem.noise.kind == "StateDependent" or problem.basin.kind == "Attraction":
        return None
    rate = np.array([float(spread(rng, 0.3, 3)) * 1.0])
    landscape, basin = wider_landscape(problem.landscape, rate), wider_basin(problem, rate)
    changed: dict[str, Any] = {}
    if "preconditioner" in problem.dynamics.parts:
        changed["preconditioner"] = np.append(problem.dynamics.parts["preconditioner"], 1.0)
    start = None if problem.start is None else np.append(problem.start, 0.0)
    noise = wider_noise(problem.noise, size)
    image = problem.but(
        landscape=landscape, basin=basin, noise=noise, dynamics=problem.dynamics.but(**changed), start=start
    )
    return Image(name, image, 1.0, renamed_faces(problem.basin, np.eye(problem.dimension)), strict=False)


def wider_landscape(piece: Piece, rate: np.ndarray) -> Piece:
    """With a parabola of its own in one coordinate more."""
    if piece.kind in ("Quadratic", "QuadraticFunction"):
        curvature = piece.parts["curvature"]
        if curvature.ndim == 1:
            return piece.but(curvature=np.append(curvature, rate), center=np.append(piece.parts["center"], 0.0))
        wide = np.zeros((len(curvature) + 1,) * 2)
        wide[:-1, :-1], wide[-1, -1] = curvature, rate[0]
        return piece.but(curvature=wide, center=np.append(piece.parts["center"], 0.0))
    if piece.kind == "LinearDrift":
        wide = np.pad(piece.parts["matrix"], ((0, 1), (0, 1)))
        wide[-1, -1] = -rate[0]
        return piece.but(matrix=wide, center=np.append(piece.parts["center"], 0.0))
    return Piece("Separable", {"parts": (piece, Piece("Quadratic", {"curvature": rate, "center": np.zeros(1)}))})


def wider_basin(problem: Description, rate: np.ndarray) -> Piece:
    """The basin in one coordinate more."""
    piece, parts = problem.basin, problem.basin.parts
    if piece.kind == "Box":
        return piece.but(lower=np.append(parts["lower"], -np.inf), upper=np.append(parts["upper"], np.inf))
    if piece.kind == "HalfSpace":
        return piece.but(normal=np.append(parts["normal"], 0.0))
    if piece.kind == "Ball":
        return piece.but(center=np.append(parts["center"], 0.0))
    if piece.kind == "Ellipsoid":
        matrix = parts["matrix"]
        wide = np.append(matrix, 1.0) if matrix.ndim == 1 else np.pad(matrix, ((0, 1), (0, 1)))
        if matrix.ndim == 2:
            wide[-1, -1] = matrix.trace() / len(matrix)
        return piece.but(matrix=wide, center=np.append(parts["center"], 0.0))
    return piece.but(landscape=wider_landscape(parts["landscape"], rate))


def wider_noise(piece: Piece, size: float) -> Piece:
    """One independent coordinate of L more (for rotation-invariant L one of the same radius)."""
    scale = piece.parts["scale"]
    wide = np.append(scale, size) if scale.ndim == 1 else np.pad(scale, ((0, 1), (0, 1)))
    if scale.ndim == 2:
        wide[-1, -1] = size
    new = {"alphas": 1.5, "beta": 0.5}
    channels = {name: np.append(piece.parts[name], one) for name, one in new.items() if name in piece.parts}
    return piece.but(scale=wide, **channels)


# The same thing written another way


def as_matrices(problem: Description, rng: Any) -> Image | None:
    """Diagonals as matrices."""

    def full(piece: Piece, name: str) -> Piece:
        value = piece.parts.get(name)
        return piece.but(**{name: np.diag(value)}) if isinstance(value, np.ndarray) and value.ndim == 1 else piece

    landscape = full(problem.landscape, "curvature") if problem.landscape.kind == "Quadratic" else problem.landscape
    noise = full(problem.noise, "scale") if problem.noise.kind != "StateDependent" else problem.noise
    image = problem.but(landscape=landscape, basin=full(problem.basin, "matrix"), noise=noise)
    unchanged = image.landscape is problem.landscape and image.basin is problem.basin and image.noise is problem.noise
    return None if unchanged else same("as_matrices", problem, image)


def other_basin(problem: Description, rng: Any) -> Image | None:
    """A box of one wall as a half-space, a ball as an ellipsoid, a sublevel set of a parabola as an ellipsoid."""
    piece, parts, d = problem.basin, problem.basin.parts, problem.dimension
    if piece.kind == "Box" and np.isfinite(parts["lower"]).sum() + np.isfinite(parts["upper"]).sum() == 1:
        side = "lower" if np.isfinite(parts["lower"]).any() else "upper"
        axis, sign = int(np.argmax(np.isfinite(parts[side]))), -1.0 if side == "lower" else 1.0
        half = Piece("HalfSpace", {"normal": sign * np.eye(d)[axis] * 2, "offset": float(2 * sign * parts[side][axis])})
        name = f"x{axis}{'<lower' if side == 'lower' else '>upper'}"
        return Image("box_as_half_space", problem.but(basin=half), 1.0, {name: "normal"})
    if piece.kind == "HalfSpace":
        return same(
            "other_normal",
            problem,
            problem.but(basin=piece.but(normal=3 * parts["normal"], offset=3 * parts["offset"])),
        )
    if piece.kind == "Ball":
        size = float(spread(rng, 0.1, 10))
        wide = {"matrix": np.full(d, size), "level": float(size * parts["radius"] ** 2), "center": parts["center"]}
        return same("ball_as_ellipsoid", problem, problem.but(basin=Piece("Ellipsoid", wide)))
    if piece.kind == "Sublevel" and parts["landscape"].kind in ("Quadratic", "QuadraticFunction"):
        inner = parts["landscape"].parts
        other = {"matrix": inner["curvature"], "level": 2 * parts["height"], "center": inner["center"]}
        return same("sublevel_as_ellipsoid", problem, problem.but(basin=Piece("Ellipsoid", other)))
    if piece.kind == "Attraction" and parts["landscape"].kind == "DoubleWell":
        normal = -np.sign(problem.minimum[0]) * np.eye(d)[0]
        half = Piece("HalfSpace", {"normal": normal, "offset": 0.0})
        return Image("attraction_as_half_space", problem.but(basin=half), 1.0, None)
    return None


def box_of_one_wall(problem: Description, rng: Any) -> Image | None:
    """In one dimension a half-space as a box, a ball as a box."""
    piece, parts = problem.basin, problem.basin.parts
    if problem.dimension > 1 or piece.kind not in ("HalfSpace", "Ball"):
        return None
    if piece.kind == "Ball":
        ends = {"lower": parts["center"] - parts["radius"], "upper": parts["center"] + parts["radius"]}
        return Image(
            "ball_as_box",
            problem.but(basin=Piece("Box", ends)),
            1.0,
            {"x0<center": "x0<lower", "x0>center": "x0>upper"},
        )
    wall, above = parts["offset"] / parts["normal"], parts["normal"][0] > 0
    ends = {"lower": np.array([-np.inf]) if above else wall, "upper": wall if above else np.array([np.inf])}
    return Image(
        "half_space_as_box", problem.but(basin=Piece("Box", ends)), 1.0, {"normal": "x0>upper" if above else "x0<lower"}
    )


def other_landscape(problem: Description, rng: Any) -> Image | None:
    """A parabola as a function, a valley of equal sides, a drift or side by side; a linear drift as a function."""
    piece, parts = problem.landscape, problem.landscape.parts
    if piece.kind == "LinearDrift":
        return _replaced(problem, "linear_drift_as_field", Piece("TurningField", {**parts, "cubic": 0.0}))
    if piece.kind == "QuadraticFunction":
        return _replaced(problem, "function_as_quadratic", Piece("Quadratic", parts))
    if piece.kind != "Quadratic":
        return None
    ways = ["function"] + (["valley", "separable"] if parts["curvature"].ndim == 1 else [])
    jumps = problem.noise.kind != "Gaussian" and problem.alpha < 2
    if jumps and "landscape" not in problem.basin.parts:
        ways.append("drift")
    way = str(rng.choice(ways))
    if way == "drift":
        matrix = -np.diag(parts["curvature"]) if parts["curvature"].ndim == 1 else -parts["curvature"]
        return _replaced(
            problem, "quadratic_as_drift", Piece("LinearDrift", {"matrix": matrix, "center": parts["center"]})
        )
    if way == "function":
        return _replaced(problem, "quadratic_as_function", Piece("QuadraticFunction", parts))
    if way == "valley":
        sides = {"curvature_left": parts["curvature"], "curvature_right": parts["curvature"], "center": parts["center"]}
        return _replaced(problem, "quadratic_as_valley", Piece("AsymmetricValley", sides))
    rows = zip(parts["curvature"], parts["center"], strict=True)
    pieces = tuple(Piece("Quadratic", {"curvature": np.array([k]), "center": np.array([c])}) for k, c in rows)
    return _replaced(problem, "quadratic_as_separable", Piece("Separable", {"parts": pieces}))


def _replaced(problem: Description, name: str, landscape: Piece) -> Image:
    basin = problem.basin.but(landscape=landscape) if "landscape" in problem.basin.parts else problem.basin
    return same(name, problem, problem.but(landscape=landscape, basin=basin))


def other_noise(problem: Description, rng: Any) -> Image | None:
    """Equal alphas, one dimension, alpha = 2, a constant dispersion, Student's t of nu = 1: by their other names."""
    piece, parts, d = problem.noise, problem.noise.parts, problem.dimension
    if piece.kind == "Independent":
        alphas = np.full(parts["scale"].shape[-1], parts["alpha"])
        kept = {name: part for name, part in parts.items() if name != "alpha"}
        ways = [Piece("PerCoordinate", {"alphas": alphas, **kept})]
        if d == 1 and parts["scale"].ndim == 1 and "beta" not in parts:
            ways.append(Piece("Rotational", parts))
        if problem.dynamics.kind == "SGD" and problem.view == "sde":
            ways.append(Piece("StateDependent", {"driver": piece, "sense": "ito"}))
        chosen = ways[rng.integers(len(ways))]
        return same(
            f"independent_as_{chosen.kind}", problem, problem.but(noise=chosen), strict=chosen.kind != "StateDependent"
        )
    if piece.kind == "Gaussian":
        chosen = Piece(str(rng.choice(["Independent", "Rotational"])), {"alpha": 2.0, "scale": parts["scale"]})
        return same(f"gaussian_as_{chosen.kind}", problem, problem.but(noise=chosen))
    if piece.kind == "StateDependent":
        return same("constant_dispersion_as_independent", problem, problem.but(noise=parts["driver"]), strict=False)
    if piece.kind == "Rotational" and parts["scale"].size == 1:
        return same("rotational_as_independent", problem, problem.but(noise=Piece("Independent", parts)))
    return None


def other_optimizer(problem: Description, rng: Any) -> Image | None:
    """The loop of SGD as momentum with beta = 0, or clipped nowhere; momentum with beta = 0 as Nesterov's."""
    piece, parts = problem.dynamics, problem.dynamics.parts
    if piece.kind == "SGD" and problem.view == "iteration":
        eta = parts["learning_rate"]
        chosen = Piece("Momentum", {"learning_rate": eta, "beta": 0.0, "nesterov": bool(rng.random() < 0.5)})
        return same("sgd_as_momentum", problem, problem.but(dynamics=chosen), strict=False)
    if piece.kind == "Momentum" and parts["beta"] == 0 and problem.view == "iteration":
        sgd = Piece("SGD", {"learning_rate": parts["learning_rate"]})
        return same("momentum_0_as_sgd", problem, problem.but(dynamics=sgd), strict=False)
    return None


SYMMETRIES: tuple[Callable[[Description, Any], Image | None], ...] = (
    shift, turn, order_and_signs, unit_of_length, unit_of_time, unit_of_gradient, level_or_scale, same_law,
    split_column, silent_coordinate, idle_coordinate, as_matrices, other_basin, box_of_one_wall, other_landscape,
    other_noise, other_optimizer,
)  # fmt: skip


def images(problem: Description, rng: Any) -> list[Image]:
    """Every image that this problem has."""
    found = [symmetry(problem, rng) for symmetry in SYMMETRIES]
    return [image for image in found if image is not None]
