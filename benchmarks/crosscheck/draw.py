"""Random exit problems: a structure first (kinds, dimension: what a program is compiled for), then its numbers."""

from typing import Any, NamedTuple

import numpy as np

from . import oracle
from .describe import Description, Piece, tail_index

DIMENSIONS = (1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 30)
SCALES = ("diagonal", "diagonal", "full", "rotated", "rank", "nearly_singular")  # and "rectangular", where asked for
KAPPAS = (0.3, 1e4)
METHODS_ALPHA = (1.2, 1.9)  # jump_adapted and quasi_stationary state their errors for these
ALPHAS = (0.6, 1.95)
STEEP = ("FlatBottom", "RadialWell", "CurvedValley")  # steeper further out, or aside, than at the minimum
DRIFTS = ("LinearDrift", "TurningField")  # without a potential
BENT = (*STEEP, "TurningField")  # whose slopes on the way out are others than at the minimum
STARTS = ("anywhere", "wall")
SKEWED = ("Independent", "PerCoordinate", "StateDependent")  # noises that may be
_RAYS = 200


class Structure(NamedTuple):
    """What a program is compiled for."""

    dimension: int
    landscape: str
    turned: bool  # whether the Hessian and an ellipsoid are full matrices
    basin: str
    noise: str
    scale: str
    dynamics: str
    view: str
    start: str = "anywhere"
    skewed: bool = False

    def __str__(self) -> str:
        return "/".join(str(part) for part in self[:-1]) + "/skewed" * self.skewed


def structure(rng: Any, **fixed: Any) -> Structure:
    """A random structure; `fixed` names what is not left to chance, and "steep" and "drift" are any of those."""
    d = int(rng.choice(np.atleast_1d(fixed.get("dimension", DIMENSIONS))))
    view = fixed.get("view") or str(rng.choice(["sde", "sde", "sde", "iteration"]))
    landscape = fixed.get("landscape") or str(rng.choice(landscapes_for(d)))
    landscape = str(rng.choice(STEEP if d > 1 else STEEP[:1])) if landscape == "steep" else landscape
    landscape = str(rng.choice(DRIFTS)) if landscape == "drift" else landscape
    basin = fixed.get("basin") or str(rng.choice(basins_for(landscape)))
    skewed = bool(fixed.get("skewed", False))
    noises = [name for name in noises_for(view) if name in SKEWED or not skewed]
    noise = fixed.get("noise") or str(rng.choice(noises))
    dynamics = fixed.get("dynamics") or str(rng.choice(dynamics_for(view)))
    scale = fixed.get("scale") or ("diagonal" if d == 1 else str(rng.choice(SCALES)))
    turned = d > 1 and landscape in ("Quadratic", "QuadraticFunction") and bool(rng.random() < 0.5)
    turned, start = bool(fixed.get("turned", turned)), fixed.get("start", STARTS[0])
    return Structure(d, landscape, turned, basin, noise, scale, dynamics, view, start, skewed)


def landscapes_for(d: int) -> list[str]:
    """Kinds of landscape in d dimensions."""
    kinds = [
        "Quadratic",
        "Quadratic",
        "Quadratic",
        "AsymmetricValley",
        "DoubleWell",
        "CoshFunction",
        "QuadraticFunction",
    ]
    return kinds + (["MultiWell", "Flat"] if d == 1 else ["Separable"])


def basins_for(landscape: str) -> list[str]:
    """Kinds of basin around a landscape's minimum."""
    kinds = ["Box", "Box", "HalfSpace", "Ball", "Ellipsoid", "Sublevel"]
    if landscape in DRIFTS:
        return kinds[:-1]
    if landscape == "Flat":
        return ["Box", "Ball"]
    return [*kinds, "Attraction"] if landscape == "DoubleWell" else kinds


def noises_for(view: str) -> list[str]:
    """Kinds of noise of an SDE or of an iteration."""
    kinds = ["Independent", "Independent", "Rotational", "Rotational", "PerCoordinate"]
    return kinds + (
        ["Gaussian", "Pareto", "StudentT", "Truncated"] if view == "iteration" else ["Gaussian", "StateDependent"]
    )


def dynamics_for(view: str) -> list[str]:
    """Kinds of optimizer of an SDE or as an iteration; Adam's variants after a dot."""
    kinds = ["SGD", "SGD", "SGD", "SGD", "Momentum", "Nesterov"]
    if view == "iteration":
        return [*kinds, "Adam.paper", "RMSProp", "AdaGrad", "ClippedSGD"]
    return [*kinds, "Adam.frozen", "Adam.paper", "Adam.corrected", "Adam.malladi", "RMSProp"]


def spread(rng: Any, low: float, high: float, size: Any = None) -> Any:
    """Log-uniform numbers."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def rotation(rng: Any, d: int) -> np.ndarray:
    """A random orthogonal matrix."""
    matrix, corner = np.linalg.qr(rng.normal(size=(d, d)))
    return matrix * np.sign(np.diag(corner))


def problem(rng: Any, kind: Structure) -> Description:
    """A problem of a structure."""
    landscape = draw_landscape(rng, kind)
    basin = draw_basin(rng, kind, landscape)
    noise = draw_noise(rng, kind)
    fastest, slowest = slopes(landscape, basin) if landscape.kind in BENT else curvatures(landscape)
    dynamics = draw_dynamics(rng, kind, fastest, noise)
    level = noise_level(rng, kind, landscape, basin, noise, dynamics, slowest)
    if kind.start == "wall":
        start = draw_start(rng, landscape, basin, 1 - float(spread(rng, 1e-6, 0.1)))
    else:
        start = draw_start(rng, landscape, basin) if rng.random() < 0.25 else None
    return Description(landscape, basin, noise, dynamics, level, start, kind.view)


def condition(rng: Any, d: int) -> np.ndarray:
    """Rates of relaxation: one unit of time for all, a condition number to 1e4."""
    number = spread(rng, 1, 1e4 if rng.random() < 0.2 else 10)
    rates = spread(rng, 1, number, d)
    rates[rng.integers(d)] = 1.0
    return rates * spread(rng, 0.1, 10)


def draw_landscape(rng: Any, kind: Structure) -> Piece:
    """A landscape; its minimum anywhere within a few units, but for double wells."""
    d, name = kind.dimension, kind.landscape
    rates, center = condition(rng, d), rng.normal(size=d).round(3) * (rng.random() < 0.7)
    if name == "Flat":
        return Piece("Flat", {"center": center})
    if name == "AsymmetricValley":
        sides = {"curvature_left": rates, "curvature_right": rates * spread(rng, 0.2, 5, d)}
        return Piece(name, {**sides, "center": center})
    if name == "DoubleWell":
        return double_well(rng, rates)
    if name in STEEP:
        return steep(rng, name, rates, center)
    if name in DRIFTS:
        return drift(rng, name, rates, center)
    if name == "MultiWell":
        places, barrier = spread(rng, 0.5, 2, 2), spread(rng, 0.5, 2)
        low = 4 * barrier / places**2
        parts = {"minima": np.array([-places[0], places[1]]), "saddles": np.zeros(1), "barriers": np.array([barrier])}
        parts |= {"curvatures": low * 1.2, "saddle_curvatures": np.array([low.min()]), "well": int(rng.integers(2))}
        return Piece(name, parts)
    if name == "Separable":
        cut = int(rng.integers(1, d))
        other = Piece(
            "AsymmetricValley",
            {"curvature_left": rates[cut:], "curvature_right": 2 * rates[cut:], "center": center[cut:]},
        )
        first = double_well(rng, rates[:cut]) if rng.random() < 0.5 else quadratic(rates[:cut], center[:cut])
        return Piece(name, {"parts": (first, other)})
    turn = rotation(rng, d) if kind.turned else None
    matrix = rates if turn is None else (turn * rates) @ turn.T
    return Piece(name, {"curvature": matrix if turn is None else (matrix + matrix.T) / 2, "center": center})


def steep(rng: Any, name: str, rates: np.ndarray, center: np.ndarray) -> Piece:
    """A landscape that is flat at the bottom in most coordinates, or a valley that bends."""
    d = len(rates)
    if name == "CurvedValley":
        rates = rates.copy()
        rates[1] *= float(spread(rng, 1, 100))
        return Piece(name, {"curvature": rates, "bend": float(rng.normal()), "center": center})
    flat = np.where(rng.random(d) < 0.3, 0.0, spread(rng, 1e-3, 1, d))
    quartic = rates * spread(rng, 0.1, 10, d)
    if name == "RadialWell":
        return Piece(name, {"curvature": float(rates[0] * flat[0]), "quartic": float(quartic[0]), "center": center})
    kinds = rng.choice(["quartic", "wall", "both", "parabola"], d, p=[0.35, 0.35, 0.1, 0.2])
    curvature = rates * np.where(kinds == "parabola", 1.0, flat)
    wall = np.where((kinds == "wall") | (kinds == "both"), rates * spread(rng, 3, 1000, d), 0.0)
    quartic = np.where((kinds == "quartic") | (kinds == "both"), quartic, 0.0)
    edge = spread(rng, 0.2, 1, d)
    return Piece(name, {"curvature": curvature, "quartic": quartic, "wall": wall, "edge": edge, "center": center})


def drift(rng: Any, name: str, rates: np.ndarray, center: np.ndarray) -> Piece:
    """A drift that turns, or whose modes are far from orthogonal; of a turning field one that grows further out."""
    d = len(rates)
    turn, whirl = rotation(rng, d), float(spread(rng, 0.1, 5)) * rates.min() * rng.normal(size=(d, d))
    if name == "TurningField" or rng.random() < 0.5:
        matrix = -(turn * rates) @ turn.T + whirl - whirl.T
    else:
        matrix = turn @ (np.triu(whirl, 1) - np.diag(rates)) @ turn.T
    if name == "LinearDrift":
        return Piece(name, {"matrix": matrix, "center": center})
    return Piece(name, {"matrix": matrix, "cubic": float(rates.min() * spread(rng, 0.1, 3)), "center": center})


def quadratic(rates: np.ndarray, center: np.ndarray) -> Piece:
    """Of a diagonal Hessian."""
    return Piece("Quadratic", {"curvature": rates, "center": center})


def double_well(rng: Any, rates: np.ndarray) -> Piece:
    """Of the first rate at its minima."""
    width = float(spread(rng, 0.5, 2))
    parts = {"width": width, "barrier": float(rates[0] * width**2 / 8), "curvature": rates[1:]}
    return Piece("DoubleWell", {**parts, "well": str(rng.choice(["right", "left"]))})


def curvatures(landscape: Piece) -> tuple[float, float]:
    """The largest and the smallest rate of relaxation at the minimum, by differences of the oracle's gradient."""
    if landscape.kind == "Flat":
        return 0.0, 0.0
    if landscape.kind == "MultiWell":
        rate = float(landscape.parts["curvatures"][landscape.parts["well"]])
        return rate, rate
    if landscape.kind in DRIFTS:
        matrix = np.asarray(landscape.parts["matrix"])
        values = -np.linalg.eigvals(matrix)
        fastest = max(np.linalg.norm(matrix, 2), float((np.abs(values) ** 2 / values.real).max()))  # for Euler's steps
        return float(fastest), float(values.real.min())
    centre, step = oracle.minimum(landscape), 1e-5
    moved = step * np.eye(len(centre))
    slopes = [oracle.landscape(landscape, centre[:, None] + side * moved)[1] for side in (1, -1)]
    values = np.linalg.eigvalsh(sum(side * slope for side, slope in zip((1, -1), slopes, strict=True)) / (2 * step))
    return float(values.max()), float(max(values.min(), 1e-12))


def slopes(landscape: Piece, basin: Piece) -> tuple[float, float]:
    """The largest slope of the gradient on the way to the boundary, and what pulls back at half the way, in between."""
    centre = oracle.minimum(landscape)
    d = len(centre)
    rays = np.concatenate([np.eye(d), -np.eye(d), np.random.default_rng(0).normal(size=(d, 32))], axis=1)
    rays = rays / np.linalg.norm(rays, axis=0)
    try:
        ways = [min(1 / reach_of(basin, centre, ray[:, None]), 10.0) for ray in rays.T]
    except oracle.Unknown:
        ways = [1.0] * rays.shape[1]
    parts = np.linspace(0, 1, 9)
    points = centre[:, None, None] + rays[:, :, None] * np.array(ways)[:, None] * parts
    gradient = oracle.landscape(landscape, points.reshape(d, -1))[1].reshape(points.shape)
    changes = np.linalg.norm(np.diff(gradient, axis=2), axis=0) / (np.array(ways)[:, None] * parts[1])
    pull = (gradient[:, :, 4] * rays).sum(axis=0) / (np.array(ways) / 2)
    return float(max(changes.max(), curvatures(landscape)[0])), float(max(np.median(pull), 1e-6))


def draw_basin(rng: Any, kind: Structure, landscape: Piece) -> Piece:
    """A basin with the minimum somewhere inside, and no other well."""
    d, centre = kind.dimension, oracle.minimum(landscape)
    wide = spread(rng, 0.03, 30, d) if rng.random() < 0.2 else spread(rng, 0.5, 2, d)
    low, high = wide * rng.uniform(0.2, 1, d), wide * rng.uniform(0.2, 1, d)
    towards, room = saddle_side(landscape, centre)
    if towards is not None:
        own = room * (1.0 if rng.random() < 0.3 else rng.uniform(0.2, 0.9))
        low[0], high[0] = (own, high[0]) if towards < 0 else (low[0], own)
    if kind.basin == "Attraction":
        return Piece("Attraction", {"landscape": landscape})
    if kind.basin == "Sublevel":
        depth = landscape_depth(landscape)
        height = (
            depth * rng.uniform(0.2, 0.95)
            if np.isfinite(depth)
            else float(spread(rng, 0.1, 3) * curvatures(landscape)[1])
        )
        if landscape.kind in STEEP:
            way = rng.normal(size=d)
            there = centre + wide * way / np.linalg.norm(way)
            height = oracle.landscape(landscape, np.stack([there, centre], axis=1))[0][0]
        return Piece("Sublevel", {"landscape": landscape, "height": float(height)})
    if kind.basin == "Box":
        if rng.random() < 0.2 and d > 1:
            free = rng.integers(1, d)
            low[free], high[free] = np.inf, np.inf
        return Piece("Box", {"lower": centre - low, "upper": centre + high})
    if kind.basin == "HalfSpace":
        normal = rng.normal(size=d)
        reach = room * rng.uniform(0.2, 0.9) if towards is not None else float(spread(rng, 0.3, 3))
        return Piece("HalfSpace", {"normal": normal, "offset": float(normal @ centre + np.linalg.norm(normal) * reach)})
    radius = float(min(low.min(), high.min()) if towards is not None else spread(rng, 0.3, 3))
    offset = rng.normal(size=d)
    offset *= rng.uniform(0, 0.7) * (rng.random() < 0.6) * (towards is None) / np.linalg.norm(offset)
    if kind.basin == "Ball":
        return Piece("Ball", {"radius": radius, "center": centre + radius * offset})
    axes = spread(rng, 1, 10, d)
    turn = rotation(rng, d) if kind.turned else np.eye(d)
    matrix = (turn * axes) @ turn.T
    level = float(radius**2 * axes.min() if towards is not None else radius**2)
    offset = offset * radius / np.sqrt(axes.max())
    matrix = (matrix + matrix.T) / 2 if kind.turned else axes
    return Piece("Ellipsoid", {"matrix": matrix, "level": level, "center": centre + offset})


def saddle_side(landscape: Piece, centre: np.ndarray) -> tuple[float | None, float]:
    """On which side of coordinate 0 the saddle lies, and how far away."""
    kind, parts = landscape.kind, landscape.parts
    if kind == "Separable":
        return saddle_side(parts["parts"][0], centre)
    if kind in ("DoubleWell", "MultiWell"):
        return (-float(np.sign(centre[0])), abs(float(centre[0])))
    return None, np.inf


def landscape_depth(landscape: Piece) -> float:
    """F at the saddle above the minimum; inf where there is none."""
    if landscape.kind == "Separable":
        return landscape_depth(landscape.parts["parts"][0])
    if landscape.kind == "DoubleWell":
        return float(landscape.parts["barrier"])
    return float(landscape.parts["barriers"][0]) if landscape.kind == "MultiWell" else np.inf


def draw_scale(rng: Any, d: int, form: str) -> np.ndarray:
    """A diagonal, or a matrix that is full, a rotation, of less than full rank or nearly so, or not square."""
    if form == "rectangular":
        columns = int(rng.choice([m for m in range(1, d + 3) if m != d]))
        return rng.normal(size=(d, columns)) * spread(rng, 0.3, 3, columns)
    sizes = spread(rng, 0.3, 3, d)
    if form == "diagonal":
        return sizes
    if form == "rotated":
        return rotation(rng, d) * sizes.mean()
    if form == "full":
        return rng.normal(size=(d, d)) * sizes
    sizes[rng.integers(d)] = 0.0 if form == "rank" else 1e-6
    if rng.random() < 0.3:
        return np.diag(sizes)
    return (rotation(rng, d) * sizes) @ rotation(rng, d).T


def draw_noise(rng: Any, kind: Structure) -> Piece:
    """A noise; half of the SDEs' alphas are where all methods state an error."""
    noise = draw_symmetric_noise(rng, kind)
    return skewed_noise(rng, noise) if kind.skewed else noise


def skewed_noise(rng: Any, noise: Piece) -> Piece:
    """A skewness for each channel, some all to one side; no alpha of 1, where a unit of length is a drift."""
    if noise.kind == "StateDependent":
        return noise.but(driver=skewed_noise(rng, noise.parts["driver"]))
    channels = noise.parts["scale"].shape[-1]
    beta = np.where(
        rng.random(channels) < 0.2, rng.choice([-1.0, 1.0], channels), rng.uniform(-1, 1, channels).round(2)
    )
    name = "alphas" if "alphas" in noise.parts else "alpha"
    alpha = noise.parts[name]
    return noise.but(beta=beta, **{name: alpha + 0.01 * (alpha == 1)})


def draw_symmetric_noise(rng: Any, kind: Structure) -> Piece:
    """Before it is skewed."""
    scale = draw_scale(rng, kind.dimension, kind.scale)
    if kind.scale in ("rank", "nearly_singular") and scale.ndim == 1:
        scale = np.diag(scale)
    low, high = METHODS_ALPHA if rng.random() < 0.75 else ALPHAS
    alpha = round(float(rng.uniform(low, high)), 2)
    if kind.noise == "PerCoordinate":
        return Piece(kind.noise, {"alphas": rng.uniform(low, high, scale.shape[-1]).round(2), "scale": scale})
    if kind.noise == "Gaussian":
        return Piece(kind.noise, {"scale": scale})
    if kind.noise in ("Pareto", "StudentT"):
        return Piece(kind.noise, {{"Pareto": "index", "StudentT": "nu"}[kind.noise]: alpha, "scale": scale})
    if kind.noise == "Truncated":
        return Piece(kind.noise, {"alpha": alpha, "bound": float(rng.choice([10.0, 100.0])), "scale": scale})
    if kind.noise == "StateDependent":
        driver = Piece("Independent", {"alpha": alpha, "scale": scale})
        return Piece(kind.noise, {"driver": driver, "sense": str(rng.choice(["ito", "marcus"]))})
    return Piece(kind.noise, {"alpha": alpha, "scale": scale})


def draw_dynamics(rng: Any, kind: Structure, fastest: float, noise: Piece) -> Piece:
    """An optimizer; its learning rate is a part of the fastest relaxation time."""
    name, _, variant = kind.dynamics.partition(".")
    eta = float(rng.uniform(0.02, 0.5) / max(fastest, 1e-3))
    if name == "SGD":
        return Piece("SGD", {"learning_rate": eta} if kind.view == "iteration" else {})
    if name in ("Momentum", "Nesterov"):
        beta = float(rng.choice([0.0, 0.5, 0.8, 0.9]))
        return Piece("Momentum", {"learning_rate": eta, "beta": beta, "nesterov": name == "Nesterov"})
    if name == "ClippedSGD":
        bound = float(spread(rng, 0.3, 30))
        return Piece(name, {"learning_rate": eta, "bound": bound, "by": str(rng.choice(["norm", "coordinate"]))})
    if name == "AdaGrad":
        return Piece(name, {"learning_rate": eta, "initial": 0.1, "epsilon": 1e-7})
    if name == "RMSProp":
        return Piece(name, {"learning_rate": eta, "beta2": float(rng.choice([0.9, 0.99])), "epsilon": 1e-8})
    parts: dict[str, Any] = {"beta1": float(rng.choice([0.5, 0.9])), "beta2": float(rng.choice([0.9, 0.99]))}
    parts |= {"epsilon": 1e-8, "variant": variant, "learning_rate": eta}
    if variant == "frozen":
        parts["preconditioner"] = spread(rng, 0.3, 3, kind.dimension)
    return Piece("Adam", parts)


def jump_map(dynamics: Piece, noise: Piece, d: int) -> np.ndarray:
    """What multiplies a jump of A L on its way into x at rest, about."""
    parts = dynamics.parts
    if dynamics.kind == "Momentum":
        return np.full(d, 1 / (1 - parts["beta"]))
    if parts.get("variant") == "frozen":
        return 1 / parts["preconditioner"]
    if dynamics.kind in ("Adam", "RMSProp"):
        scale = np.asarray(noise.parts.get("scale", np.ones(d)))
        moment = scale**2 if scale.ndim == 1 else (scale**2).sum(axis=1)
        return 1 / np.maximum(np.sqrt(moment), 1e-3)
    return np.ones(d)


def driver_of(noise: Piece) -> Piece:
    """L, without a dispersion of the point."""
    return noise.parts["driver"] if noise.kind == "StateDependent" else noise


def rays_of(noise: Piece, dynamics: Piece) -> np.ndarray:
    """Where jumps of A L take x, about: the columns to both sides, or random directions."""
    scale = np.asarray(noise.parts["scale"])
    columns = np.diag(scale) if scale.ndim == 1 else scale
    d = len(columns)
    if noise.kind == "Rotational":
        rays = np.random.default_rng(0).normal(size=(columns.shape[1], _RAYS))
        columns = columns @ (rays / np.linalg.norm(rays, axis=0))
    return jump_map(dynamics, noise, d)[:, None] * np.concatenate([columns, -columns], axis=1)


def reach_of(basin: Piece, centre: np.ndarray, rays: np.ndarray) -> float:
    """The largest gauge of rays (d, n): 1/t at the first point outside, by a scan."""
    ways = np.geomspace(1e-6, 1e6, 241)
    points = centre[:, None, None] + rays[:, :, None] * ways
    with np.errstate(all="ignore"):
        stays = oracle.inside(basin, points.reshape(len(centre), -1)).reshape(rays.shape[1], -1)
    first = np.where(stays.all(axis=1), len(ways) - 1, np.argmin(stays, axis=1))
    return float((1 / ways[first]).max())


def boundary_of(basin: Piece, centre: np.ndarray, ray: np.ndarray, beyond: float) -> float:
    """The way along a ray to the boundary, which lies within an eighth before `beyond`."""
    low, high = beyond / 1.2, beyond
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if oracle.inside(basin, centre[:, None] + middle * ray)[0] else (low, middle)
    return low


def noise_level(
    rng: Any, kind: Structure, landscape: Piece, basin: Piece, noise: Piece, dynamics: Piece, slowest: float
) -> float:
    """The noise level at which kappa is log-uniform on KAPPAS; without drift, of the order of the basin's width."""
    centre, own = oracle.minimum(landscape), driver_of(noise)
    alpha, stand_in = tail_index(own), _saddle_box(landscape, centre) if basin.kind == "Attraction" else basin
    try:
        reach = reach_of(stand_in, centre, rays_of(own, dynamics))
    except oracle.Unknown:
        reach = 1.0
    kappa = float(spread(rng, *KAPPAS))
    kappa = min(kappa, 10.0) if own.kind in ("Gaussian", "Truncated") or alpha == 2 else kappa
    level = (max(slowest, 1e-3) / kappa) ** (1 / alpha) / reach if slowest else float(spread(rng, 0.1, 1)) / reach
    if kind.view == "iteration":
        level /= dynamics.parts["learning_rate"] ** ((alpha - 1) / alpha)
    return float(level)


def _saddle_box(landscape: Piece, centre: np.ndarray) -> Piece:
    """The half-space on this side of a double well's saddle."""
    normal = np.zeros(len(centre))
    normal[0] = -np.sign(centre[0])
    return Piece("HalfSpace", {"normal": normal, "offset": 0.0})


def draw_start(rng: Any, landscape: Piece, basin: Piece, part: float | None = None) -> np.ndarray | None:
    """A start this part of the way out in a random direction; else half of the time within a tenth of the wall."""
    centre = oracle.minimum(landscape)
    ray = rng.normal(size=(len(centre), 1))
    if basin.kind == "Attraction":
        return None
    try:
        way = 1 / reach_of(basin, centre, ray)
    except oracle.Unknown:
        return None
    if part is None:
        part = rng.uniform(0.9, 0.99) / 1.13 if rng.random() < 0.5 else rng.uniform(0, 0.8)
    else:
        way = boundary_of(basin, centre, ray, way)
    if way > 1e3:
        return None
    start = centre + part * way * ray[:, 0]
    return start if bool(oracle.inside(basin, start[:, None])[0]) else None
