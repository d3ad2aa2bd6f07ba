"""A plain oracle of exit problems: Euler's steps and the optimizers' own loops in NumPy, as their definitions read.

It imports nothing of levyjax. Pieces are read by their names: anything with `kind` and `parts`. Points are (d, n).
"""

import math
from typing import Any

import numpy as np

STEEP_PART, GROWTH = 0.1, 0.02  # of a time in which the drift changes; of the time so far
OUTSIDE = 100  # Heun's steps for one of Euler's, up to which they are taken for a path that has left


class Unknown(Exception):
    """A piece that the oracle has no formula for, or paths that take too many steps."""


def symmetric(rng: Any, alpha: Any, shape: tuple[int, ...]) -> np.ndarray:
    """SaS(1) variates (Chambers, Mallows, Stuck 1976)."""
    angle, wait = math.pi * (rng.random(shape) - 0.5), rng.exponential(size=shape)
    first = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    return first * (np.cos((1 - alpha) * angle) / wait) ** ((1 - alpha) / alpha)


def skewed(rng: Any, alpha: Any, beta: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Stable variates of skewness beta as S1, alpha other than 1 (Weron 1996)."""
    slope = beta * np.tan(math.pi * alpha / 2)
    angle, wait = math.pi * (rng.random(shape) - 0.5), rng.exponential(size=shape)
    turned = alpha * angle + np.arctan(slope)
    first = (1 + slope**2) ** (1 / (2 * alpha)) * np.sin(turned) / np.cos(angle) ** (1 / alpha)
    return first * (np.cos(angle - turned) / wait) ** ((1 - alpha) / alpha)


def one_sided(rng: Any, index: float, shape: tuple[int, ...]) -> np.ndarray:
    """W > 0 with E exp(-s W) = exp(-s^index) (Kanter 1975)."""
    angle, wait = math.pi * rng.random(shape), rng.exponential(size=shape)
    first = np.sin(index * angle) / np.sin(angle) ** (1 / index)
    return first * (np.sin((1 - index) * angle) / wait) ** ((1 - index) / index) if index < 1 else np.ones(shape)


def increment(rng: Any, noise: Any, dt: float, count: int) -> np.ndarray:
    """A (L(t + dt) - L(t)), or one draw A Z of a noise that is no process."""
    parts, scale = noise.parts, np.asarray(noise.parts["scale"])
    shape = (scale.shape[-1], count)
    if noise.kind == "Rotational":
        alpha = float(parts["alpha"])
        spread = np.sqrt(2 * one_sided(rng, alpha / 2, (count,)))
        draw = dt ** (1 / alpha) * spread * rng.standard_normal(shape)
    elif noise.kind in ("Independent", "PerCoordinate"):
        alpha = np.broadcast_to(np.atleast_1d(parts.get("alpha", parts.get("alphas"))), shape[:1])[:, None]
        beta = parts.get("beta")
        unit = symmetric(rng, alpha, shape) if beta is None else skewed(rng, alpha, beta[:, None], shape)
        draw = dt ** (1 / alpha) * unit
    elif noise.kind == "Gaussian":
        draw = math.sqrt(2 * dt) * rng.standard_normal(shape)
    elif noise.kind == "Pareto":
        draw = rng.choice([-1.0, 1.0], shape) * (1 - rng.random(shape)) ** (-1 / float(parts["index"]))
    elif noise.kind == "StudentT":
        draw = rng.standard_t(float(parts["nu"]), shape)
    elif noise.kind == "Truncated":
        draw = symmetric(rng, float(parts["alpha"]), shape)
        while (far := np.abs(draw) > float(parts["bound"])).any():
            draw[far] = symmetric(rng, float(parts["alpha"]), (int(far.sum()),))
    else:
        raise Unknown(f"noise {noise.kind}")
    return scale[:, None] * draw if scale.ndim == 1 else scale @ draw


def act(operator: Any, x: np.ndarray) -> np.ndarray:
    """A diagonal or a matrix on points."""
    operator = np.asarray(operator)
    return operator[:, None] * x if operator.ndim == 1 else operator @ x


def landscape(piece: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F and its gradient."""
    parts = piece.parts
    if piece.kind in ("Quadratic", "QuadraticFunction"):
        offset = x - np.asarray(parts["center"])[:, None]
        slope = act(parts["curvature"], offset)
        return (offset * slope).sum(axis=0) / 2, slope
    if piece.kind == "CoshFunction":
        offset, k = x - np.asarray(parts["center"])[:, None], np.asarray(parts["curvature"])[:, None]
        return (k * (np.cosh(offset) - 1)).sum(axis=0), k * np.sinh(offset)
    if piece.kind == "AsymmetricValley":
        offset = x - np.asarray(parts["center"])[:, None]
        left, right = (np.asarray(parts[f"curvature_{side}"])[:, None] for side in ("left", "right"))
        slope = np.where(offset < 0, left, right) * offset
        return (offset * slope).sum(axis=0) / 2, slope
    if piece.kind == "DoubleWell":
        width, barrier, k = float(parts["width"]), float(parts["barrier"]), np.asarray(parts["curvature"])[:, None]
        u = x[0] / width
        slope = np.concatenate([(4 * barrier / width * u * (u**2 - 1))[None], k * x[1:]])
        return barrier * (u**2 - 1) ** 2 + (k * x[1:] ** 2).sum(axis=0) / 2, slope
    if piece.kind == "FlatBottom":
        u = x - np.asarray(parts["center"])[:, None]
        a, b, wall, edge = (np.asarray(parts[name])[:, None] for name in ("curvature", "quartic", "wall", "edge"))
        beyond = np.maximum(np.abs(u) - edge, 0)
        value = (a * u**2 / 2 + b * u**4 + wall * beyond**2 / 2).sum(axis=0)
        return value, a * u + 4 * b * u**3 + wall * beyond * np.sign(u)
    if piece.kind == "RadialWell":
        u, a, b = x - np.asarray(parts["center"])[:, None], float(parts["curvature"]), float(parts["quartic"])
        square = (u**2).sum(axis=0)
        return a * square / 2 + b * square**2, (a + 4 * b * square) * u
    if piece.kind == "CurvedValley":
        u, k, bend = x - np.asarray(parts["center"])[:, None], np.asarray(parts["curvature"])[:, None], parts["bend"]
        across = u[1] - bend * u[0] ** 2
        straight = np.concatenate([u[:1], across[None], u[2:]])
        slope = k * straight
        slope[0] -= 2 * bend * u[0] * slope[1]
        return (k * straight**2).sum(axis=0) / 2, slope
    if piece.kind in ("LinearDrift", "TurningField"):  # no value, and minus the drift
        u = x - np.asarray(parts["center"])[:, None]
        return np.full(u.shape[1:], np.nan), float(parts.get("cubic", 0)) * (u**2).sum(axis=0) * u - parts["matrix"] @ u
    if piece.kind == "Separable":
        ends = np.cumsum([len(minimum(part)) for part in parts["parts"]])[:-1]
        both = [landscape(part, own) for part, own in zip(parts["parts"], np.split(x, ends), strict=True)]
        return sum(value for value, _ in both), np.concatenate([slope for _, slope in both])
    if piece.kind == "Moved":
        inverse = np.asarray(parts["inverse"])
        value, slope = landscape(parts["inner"], inverse @ (x - np.asarray(parts["shift"])[:, None]))
        return parts["factor"] * value, parts["factor"] * inverse.T @ slope
    raise Unknown(f"landscape {piece.kind}")


def minimum(piece: Any) -> np.ndarray:
    """x*."""
    parts = piece.parts
    if piece.kind == "DoubleWell":
        first = float(parts["width"]) * (1 if parts["well"] == "right" else -1)
        return np.concatenate([[first], np.zeros(len(parts["curvature"]))])
    if piece.kind == "Separable":
        return np.concatenate([minimum(part) for part in parts["parts"]])
    if piece.kind == "MultiWell":
        return np.asarray(parts["minima"])[parts["well"]][None]
    if piece.kind == "Moved":
        return np.linalg.solve(np.asarray(parts["inverse"]), minimum(parts["inner"])) + np.asarray(parts["shift"])
    return np.asarray(parts["center"])


def inside(basin: Any, x: np.ndarray) -> np.ndarray:
    """Whether points are in the basin."""
    parts = basin.parts
    if basin.kind == "Box":
        low, high = (np.asarray(parts[name])[:, None] for name in ("lower", "upper"))
        return ((x > low) & (x < high)).all(axis=0)
    if basin.kind == "HalfSpace":
        return np.asarray(parts["normal"]) @ x < parts["offset"]
    if basin.kind == "Ball":
        return ((x - np.asarray(parts["center"])[:, None]) ** 2).sum(axis=0) < float(parts["radius"]) ** 2
    if basin.kind == "Ellipsoid":
        offset = x - np.asarray(parts["center"])[:, None]
        return (offset * act(parts["matrix"], offset)).sum(axis=0) < parts["level"]
    if basin.kind == "Sublevel":
        return in_sublevel(parts["landscape"], x, float(parts["height"]))
    raise Unknown(f"basin {basin.kind}")


def in_sublevel(piece: Any, x: np.ndarray, height: float) -> np.ndarray:
    """Whether points are in the component of {F < F(x*) + height} around x*, for one well or two."""
    if piece.kind == "Moved":
        moved = np.asarray(piece.parts["inverse"]) @ (x - np.asarray(piece.parts["shift"])[:, None])
        return in_sublevel(piece.parts["inner"], moved, height / float(piece.parts["factor"]))
    centre = minimum(piece)[:, None]
    below = landscape(piece, x)[0] < landscape(piece, centre)[0] + height
    if piece.kind == "DoubleWell" and height <= float(piece.parts["barrier"]):
        return below & (x[0] * centre[0] > 0)
    if piece.kind == "Separable" and any(part.kind == "DoubleWell" for part in piece.parts["parts"]):
        raise Unknown("the component of a sublevel set of several parts")
    return below


class Walker:
    """Steps of an optimizer's SDE by Euler (of length dt), or of its own loop (view "iteration")."""

    def __init__(self, problem: Any, dt: float, settled: bool, rng: Any) -> None:
        self.problem, self.rng, self.settled = problem, rng, settled
        self.iterates = problem.view == "iteration"
        self.dt = float(problem.dynamics.parts["learning_rate"]) if self.iterates else dt
        self.time = 0.0

    def start(self, count: int) -> dict[str, np.ndarray]:
        """The state of so many paths."""
        problem = self.problem
        x = np.repeat(
            np.asarray(minimum(problem.landscape) if problem.start is None else problem.start)[:, None], count, 1
        )
        return {"x": x, "m": 0 * x, "v": self.v_at_start() + 0 * x}

    def v_at_start(self) -> Any:
        parts, kind = self.problem.dynamics.parts, self.problem.dynamics.kind
        if kind == "AdaGrad":
            return float(parts["initial"])
        return self.second_moment() if self.settled else 0.0

    def second_moment(self) -> np.ndarray:
        if "scale" not in self.problem.noise.parts:
            raise Unknown(f"second moments under {self.problem.noise.kind}")
        scale = np.asarray(self.problem.noise.parts["scale"])
        moment = scale**2 if scale.ndim == 1 else (scale**2).sum(axis=1)
        return moment[:, None] * (2 if self.problem.dynamics.parts.get("variant") == "malladi" else 1)

    def step(self, state: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
        """The next state; number counts from 1."""
        problem, dt = self.problem, self.dt
        slope = landscape(problem.landscape, state["x"])[1]
        kick = self.noise_level() * increment(self.rng, problem.noise, 1.0 if self.iterates else dt, slope.shape[1])
        method = getattr(self, f"{'loop' if self.iterates else 'sde'}_{problem.dynamics.kind.lower()}", None)
        if method is None:
            raise Unknown(f"{problem.view} of {problem.dynamics.kind}")
        self.time += dt
        return method(state, slope, kick, number, problem.dynamics.parts)

    def noise_level(self) -> float:
        """At the beginning of a step."""
        start, piece = self.problem.noise_level, getattr(self.problem, "schedule", None)
        if piece is None:
            return start
        part, end = self.time / piece.parts["time"], piece.parts["end"]
        if piece.kind == "exponential":
            return end + (start - end) * math.exp(-part)
        if piece.kind == "linear":
            return start + (end - start) * min(part, 1)
        if piece.kind == "cosine":
            return end + (start - end) * (1 + math.cos(math.pi * min(part, 1))) / 2
        raise Unknown(f"schedule {piece.kind}")

    def sde_sgd(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        x, steps = s["x"] - g * self.dt, self.stiffness(s["x"], g) * self.dt / STEEP_PART
        steep = np.flatnonzero((steps > 1) & (inside(self.problem.basin, s["x"]) | (steps < OUTSIDE)))
        if steep.size:
            x[:, steep] = self.descended(s["x"][:, steep])
        return {**s, "x": x + kick}

    def stiffness(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        """How fast the drift changes: by its size over the way to the minimum, and by differences along itself."""
        size = np.linalg.norm(g, axis=0)
        way = np.linalg.norm(x - minimum(self.problem.landscape)[:, None], axis=0)
        part = 1e-4 * np.maximum(way, 1e-12) / np.maximum(size, 1e-300)
        changes = np.linalg.norm(landscape(self.problem.landscape, x - part * g)[1] - g, axis=0) / part
        return np.maximum(size / np.maximum(way, 1e-300), changes / np.maximum(size, 1e-300))

    def descended(self, x: np.ndarray) -> np.ndarray:
        """Points after a step's time of descent, by as many of Heun's steps as each needs."""
        x, left = x.copy(), np.full(x.shape[1], self.dt)
        for _ in range(20000):
            going = np.flatnonzero(left > 0)
            if not going.size:
                return x
            here = x[:, going]
            g = landscape(self.problem.landscape, here)[1]
            part = np.minimum(STEEP_PART / np.maximum(self.stiffness(here, g), 1e-300), left[going])
            ahead = landscape(self.problem.landscape, here - part * g)[1]
            x[:, going] = here - part * (g + ahead) / 2
            left[going] = np.where(part >= left[going], 0, left[going] - part)
        raise Unknown("a drift too steep for Heun's steps")

    def sde_momentum(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        eta, beta = float(p["learning_rate"]), float(p["beta"])
        m = s["m"] + ((g - (1 - beta) * s["m"]) * self.dt - kick) / eta
        moved = -(g + beta * m) * self.dt + kick if p.get("nesterov") else -m * self.dt
        return {**s, "x": s["x"] + moved, "m": m}

    def sde_adam(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        b1, b2 = float(p["beta1"]), float(p["beta2"])
        if p["variant"] in ("corrected", "malladi"):
            b1, b2 = (1 - b1) / float(p["learning_rate"]), (1 - b2) / float(p["learning_rate"])
        time = math.inf if self.settled else self.time
        mu, omega = 1 / -math.expm1(-b1 * time), 1 / -math.expm1(-b2 * time)
        malladi = p["variant"] == "malladi"
        m = s["m"] + b1 * ((g - s["m"]) * self.dt - (kick if malladi else 0))
        v = s["v"] + -math.expm1(-b2 * self.dt) * ((0 if malladi else g**2) + self.second_moment() - s["v"])
        q = np.sqrt(omega * v) + float(p["epsilon"])
        q = np.asarray(p["preconditioner"])[:, None] if p["variant"] == "frozen" else q
        return {"x": s["x"] + (-mu * m * self.dt + (0 if malladi else kick)) / q, "m": m, "v": v}

    def sde_rmsprop(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        rate = (1 - float(p["beta2"])) / float(p["learning_rate"])
        v = s["v"] + -math.expm1(-rate * self.dt) * (g**2 + self.second_moment() - s["v"])
        return {**s, "x": s["x"] + (kick - g * self.dt) / (np.sqrt(v) + float(p["epsilon"])), "v": v}

    def loop_sgd(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        return {**s, "x": s["x"] - self.dt * (g + kick)}

    def loop_clippedsgd(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        step, bound = self.dt * (g + kick), float(p["bound"])
        if p["by"] == "coordinate":
            return {**s, "x": s["x"] - np.clip(step, -bound, bound)}
        return {**s, "x": s["x"] - step * np.minimum(1, bound / np.maximum(np.linalg.norm(step, axis=0), 1e-300))}

    def loop_momentum(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        m = float(p["beta"]) * s["m"] + g + kick
        ahead = g + kick + float(p["beta"]) * m if p.get("nesterov") else m
        return {**s, "x": s["x"] - self.dt * ahead, "m": m}

    def loop_adam(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        beta1, beta2, noisy = float(p["beta1"]), float(p["beta2"]), g + kick
        m, v = beta1 * s["m"] + (1 - beta1) * noisy, beta2 * s["v"] + (1 - beta2) * noisy**2
        hat = m / (1 - beta1**number) / (np.sqrt(v / (1 - beta2**number)) + float(p["epsilon"]))
        return {"x": s["x"] - self.dt * hat, "m": m, "v": v}

    def loop_rmsprop(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        v = float(p["beta2"]) * s["v"] + (1 - float(p["beta2"])) * (g + kick) ** 2
        return {**s, "x": s["x"] - self.dt * (g + kick) / (np.sqrt(v) + float(p["epsilon"])), "v": v}

    def loop_adagrad(self, s: Any, g: Any, kick: Any, number: int, p: Any) -> dict[str, np.ndarray]:
        v = s["v"] + (g + kick) ** 2
        return {**s, "x": s["x"] - self.dt * (g + kick) / np.sqrt(v + float(p["epsilon"])), "v": v}


def exits(
    problem: Any,
    count: int,
    seed: int,
    dt: float,
    *,
    settled: bool = False,
    every: tuple[int, ...] = (1, 2, 4),
    most: float = 2e7,
    first: float = math.inf,
    longest_time: float = math.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Exit times (clocks, n) of the same paths looked at after every, every second, every fourth step, and where.

    Args:
        problem: with landscape, basin, noise, dynamics, noise_level, start and view.
        count: n.
        seed: of NumPy's generator.
        dt: Euler's step; an iteration's is its learning rate.
        settled: whether the averages of an optimizer start at their limits.
        every: after how many steps each clock looks.
        most: steps of all paths together, beyond which it gives up.
        first: length of the first step, where it is shorter; those that follow grow with the time.
        longest_time: at which those that are still inside have no exit time, nan.

    Raises:
        Unknown: no formula, or too many steps.
    """
    walker = Walker(problem, dt, settled, np.random.default_rng(seed))
    state, ids = walker.start(count), np.arange(count)
    times, places = np.full((len(every), count), np.nan), np.zeros((len(state["x"]), count))
    number, work, longest = 0, 0, walker.dt
    with np.errstate(all="ignore"):
        while ids.size and walker.time < longest_time * (1 - 1e-9):
            number, work = number + 1, work + ids.size
            if work > most:
                raise Unknown("too many steps")
            if number % max(every) == 1 % max(every):  # so that each clock's looks are equally far apart
                walker.dt = min(longest, max(first, GROWTH * walker.time))
            state = walker.step(state, number)
            out = ~inside(problem.basin, state["x"])
            if not out.any():
                continue
            fresh = out & np.isnan(times[0, ids])
            places[:, ids[fresh]] = state["x"][:, fresh]
            if not np.isfinite(state["x"][:, fresh]).all():
                raise Unknown("a drift that blows up")
            for clock, steps in enumerate(every):
                now = out & np.isnan(times[clock, ids]) & (number % steps == 0)
                times[clock, ids[now]] = walker.time
            going = np.isnan(times[:, ids]).any(axis=0)
            ids, state = ids[going], {name: part[:, going] for name, part in state.items()}
    return times, places


def continuous_mean(times: np.ndarray, alpha: float) -> tuple[float, float, float]:
    """The mean exit time for steps of length 0, its standard error and its bias, from the clocks of `exits`.

    What a clock misses between its looks falls like dt^(1/alpha); half of what that takes off is the bias allowed.
    """
    clocks = times.mean(axis=1)
    missed = (clocks[1] - clocks[0]) / (2 ** (1 / alpha) - 1) if len(clocks) > 1 else 0.0
    return clocks[0] - missed, float(times[0].std() / math.sqrt(times.shape[1])), 0.5 * missed + 0.005 * clocks[0]
