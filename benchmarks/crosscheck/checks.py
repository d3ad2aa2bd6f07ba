"""Numbers of one problem by every method, and what two of them must have in common."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from levyjax.engine import ExitCode
from levyjax.escape import EscapeProblem, Plan, exit_rate, interval_reference, predict, quasi_stationary_rate, simulate
from levyjax.solvers import Euler, Iteration, JumpAdapted

from . import oracle
from .describe import Description, problem_of
from .draw import BENT, METHODS_ALPHA, curvatures, driver_of, rays_of, reach_of, slopes
from .images import Image
from .shrink import kept_to

COUNT = 2048  # trajectories of every simulation: exit times are nearly exponential, so 2.2%
SIGMAS = 5.0  # of both together: 1 false alarm in 1.7 million comparisons
PVALUE = 5.7e-7  # the same for laws
BIAS = {"jump_adapted": 0.01, "quasi_stationary": 0.005, "limit": 0.02, "reference": 1e-3, "iteration": 0.0}
SETTLED = 30.0  # kappa from which on a start at the minimum is one from the quasi-stationary law
LEAST_LEVEL = 1e-2  # of a noise level in half widths, below which the reference loses digits
SECONDS = 8.0  # of processor time that one simulation may take once it is compiled
MOST_SECONDS = 30.0  # that any number may take
MOST_STEPS = 2e7  # of all trajectories together, of the oracle and of an iteration
FINE = 3e-3  # of the way to the boundary: a step's noise, up to which Euler's steps have the law of the overshoot
SAME = 1e-6  # of two images' predictions
_NEARBY = (0.95, 1.05)  # of a noise level, by which the bias is 6% to 10% another: it is sampled itself
FOLLOWED = 1e-3  # of those that follow the flow step by step: lengths at which fates change are found to 1e-4


class Refused(Exception):
    """A method has no number for a problem, and says why."""


class Found(NamedTuple):
    """A mean exit time with its standard error and the bias that its method states, both absolute; and laws."""

    mean: float
    error: float
    bias: float
    times: Any = None
    shares: dict[str, float] | None = None
    shares_count: float = math.inf  # trajectories behind the shares; inf where they are no sample
    overshoot: Any = None
    shares_error: float = 0.0  # that is stated


class Check(NamedTuple):
    """Two numbers that had to agree: by how much they do not, in standard errors, and what was allowed."""

    pair: str
    quantity: str
    ratio: float  # less 1; a difference of shares, or of distribution functions
    sigmas: float  # beyond the bias, in combined standard errors; 0 where there are none
    passed: bool
    detail: str = ""


def reason_of(text: str) -> str:
    """A refusal's reason without its numbers."""
    words = text.split(": ")[0] if len(text) > 60 else text
    return " ".join("#" if any(c.isdigit() for c in word) else word for word in words.split())[:90]


def built(description: Description) -> EscapeProblem:
    """levyjax's problem.

    Raises:
        Refused: it does not make it.
    """
    try:
        return problem_of(description)
    except ValueError as error:
        raise Refused(reason_of(str(error))) from None


def solver_of(description: Description) -> Iteration | None:
    """What `predict` is told."""
    return Iteration() if description.view == "iteration" else None


def prediction(description: Description) -> Any:
    """levyjax's prediction, with a rate.

    Raises:
        Refused: it has none.
    """
    try:
        found = predict(built(description), solver_of(description))
    except ValueError as error:
        raise Refused(reason_of(str(error))) from None
    if found.rate is None:
        raise Refused(reason_of(found.reasons[0]))
    return found


def limited(work: Callable[[Callable[..., None]], Any]) -> Any:
    """Work that is stopped when it has taken too long.

    Raises:
        Refused: it took too long, or levyjax refuses.
    """
    began = time.process_time()

    def on_progress(*_: Any) -> None:
        if time.process_time() - began > SECONDS:
            raise KeyboardInterrupt

    try:
        return work(on_progress)
    except KeyboardInterrupt:
        if time.process_time() - began < SECONDS:
            raise  # from the keyboard
        raise Refused(TOO_LONG) from None
    except ValueError as error:
        raise Refused(reason_of(str(error))) from None


def simulated(description: Description, plan: Plan, bias: float, seed: int) -> Found:
    """Exits by one of levyjax's solvers."""
    problem = built(description)
    samples = limited(lambda tell: simulate(problem, plan, seed, tell))
    if not samples.exited.all():
        raise Refused(CENSORED)
    times = np.asarray(samples.exit_time, float)
    names = samples.face_names
    shares = np.bincount(samples.exit_face, minlength=len(names)) / len(times)
    mean, error = moments(times)
    outside = overshoot(problem, samples.exit_position)
    return Found(mean, error, bias * mean, times, dict(zip(names, shares.tolist(), strict=True)), len(times), outside)


def moments(times: np.ndarray) -> tuple[float, float]:
    """The mean and its standard error."""
    return float(times.mean()), float(times.std() / math.sqrt(len(times)))


def overshoot(problem: EscapeProblem, positions: np.ndarray) -> np.ndarray:
    """How far beyond the boundary exits end: the gauge of the way from the minimum."""
    with jax.enable_x64(True):
        origin = jnp.asarray(problem.landscape.minimum)
        return np.asarray(_gauge(problem.basin, origin, jnp.asarray(positions.T, float) - origin[:, None]))


@jax.jit
def _gauge(basin: Any, origin: Any, rays: Any) -> Any:
    return basin.gauge(origin, rays)


def stated(description: Description) -> bool:
    """Whether jump_adapted and quasi_stationary state an error here."""
    low, high = METHODS_ALPHA
    parts = description.noise.parts
    own = parts["driver"].parts if "driver" in parts else parts
    alphas = np.asarray(own.get("alphas", own.get("alpha", 2.0)))
    return bool((alphas >= low).all() and ((alphas <= high) | (alphas == 2)).all())


def jump_adapted(description: Description, seed: int) -> Found:
    """Its mean is within 1%."""
    if description.view != "sde" or not stated(description):
        raise Refused("no stated error")
    found = simulated(description, Plan(JumpAdapted(), COUNT), BIAS["jump_adapted"], seed)
    parts, kind = description.dynamics.parts, description.dynamics.kind
    by_flow = kind == "Momentum" or parts.get("variant") in ("corrected", "malladi")
    continuous = by_flow or description.noise.kind == "Gaussian"  # no overshoot but for the rest of a step
    return found._replace(overshoot=None) if continuous else found


def iteration(description: Description, seed: int, expected: float = 0.0) -> Found:
    """The optimizer itself, which has no error but its sample's."""
    if description.view != "iteration":
        raise Refused("is an SDE")
    longest = 10 * MOST_STEPS / COUNT * description.dynamics.parts["learning_rate"]
    if 8 * expected > longest:
        raise Refused("too many steps")
    plan = Plan(Iteration(), COUNT, longest)
    return simulated(description, plan, BIAS["iteration"], seed)


def quasi_stationary(description: Description, seed: int) -> Found:
    """The mean from the quasi-stationary law, within 0.5%."""
    if description.view != "sde" or not stated(description):
        raise Refused("no stated error")
    if description.dimension > 8 and description.dynamics.kind == "Adam":
        raise Refused(TOO_LONG)  # minutes for the first batch already
    problem = built(description)
    ways = {"relative_error": 0.01, "max_seconds": SECONDS}
    rate = limited(lambda tell: quasi_stationary_rate(problem, seed, **ways, on_progress=tell))
    if not rate.converged:
        raise Refused("did not converge")
    return Found(1 / rate.rate, rate.standard_error / rate.rate**2, BIAS["quasi_stationary"] / rate.rate)


def reference(description: Description, quasi: bool = False) -> Found:
    """The boundary value problem's solution, from the start or from the quasi-stationary law.

    Coordinates that neither the landscape, the basin nor the noise join leave by themselves: their rates add up.
    """
    if description.dimension > 1 and quasi:
        found = [reference(part, True) for part in separate(description)]
        rate = sum(1 / one.mean for one in found)
        return Found(1 / rate, 0.0, BIAS["reference"] / rate)
    if description.dimension > 1 or description.view != "sde" or description.dynamics.kind != "SGD":
        raise Refused("not one-dimensional")
    problem = built(description)
    try:
        found = interval_reference(problem, relative_error=1e-4, max_degree=12)
        if found.error > BIAS["reference"]:
            raise Refused("states a large error")
        if quasi:
            return Found(1 / found.rate, 0.0, BIAS["reference"] / found.rate)
        mean, above = float(found.mean_exit_time()), float(found.exit_probability_above())
    except ValueError as error:
        raise Refused(reason_of(str(error))) from None
    names = problem.basin.face_names(1)
    shares = {names[0]: 1 - above, names[1]: above} if len(names) == 2 else None
    return Found(mean, 0.0, found.error * mean, None, shares)


_SEPARATE = ("FlatBottom", "CoshFunction", "AsymmetricValley", "Quadratic", "QuadraticFunction")


def separate(description: Description) -> list[Description]:
    """A problem in one dimension for each coordinate that may leave.

    Raises:
        Refused: coordinates act on each other.
    """
    scale, curvature = description.noise.parts.get("scale"), description.landscape.parts.get("curvature", np.ones(1))
    kinds = description.landscape.kind in _SEPARATE, description.noise.kind in ("Independent", "PerCoordinate")
    if description.basin.kind != "Box" or not all(kinds) or scale.ndim + curvature.ndim > 2:
        raise Refused("coordinates act on each other")
    ends = np.stack([description.basin.parts["lower"], description.basin.parts["upper"]])
    some = [j for j in range(description.dimension) if np.isfinite(ends[:, j]).any() and scale[j] > 0]
    return [part for j in some if (part := kept_to(description, [j])) is not None]


def plain(description: Description, seed: int, settled: bool, expected: float = 0.0) -> Found:
    """The oracle: an iteration as it is, an SDE by Euler's steps with clocks of three lengths.

    Raises:
        Refused: a piece that it does not know, or too many steps until the expected mean exit time.
    """
    dt, every, fine = 0.0, (1,), True
    if description.view == "sde":
        dt, every = euler_step(description), (1, 2, 4)
        fine = description.alpha < 2 and noise_of_step(description, dt) < FINE
    first = first_step(description)
    if 2 * COUNT * expected > MOST_STEPS * (dt or description.dynamics.parts["learning_rate"]):
        raise Refused("too many steps")
    try:
        times, places = oracle.exits(
            description, COUNT, seed, dt, settled=settled, every=every, most=MOST_STEPS, first=first
        )
    except oracle.Unknown as error:
        raise Refused(str(error)) from None
    mean, error, bias = oracle.continuous_mean(times, description.alpha)
    problem = built(description)
    names = problem.basin.face_names(description.dimension)
    with jax.enable_x64(True):
        origin = jnp.asarray(problem.landscape.minimum)
        face = np.asarray(problem.basin.face(origin, jnp.asarray(places)))
    shares = np.bincount(face, minlength=len(names)) / COUNT
    bias = 0.0 if description.view == "iteration" else bias
    beyond = overshoot(problem, places.T) if fine else None
    return Found(mean, error, abs(bias), times[0], dict(zip(names, shares.tolist(), strict=True)), COUNT, beyond)


SCHEDULED_STEPS = 400  # of an SDE in a mean exit time


def with_fewer_steps(description: Description, mean: float) -> tuple[Description, float]:
    """So much more noise that paths of fixed steps leave before these are too many, and their mean exit time."""
    few = MOST_STEPS / COUNT / 4 * step_under_schedule(description, mean)
    factor = max(2 * mean / few, 1.0)
    level = description.noise_level * factor ** (1 / description.alpha)
    return description.but(noise_level=level), mean / factor


def step_under_schedule(description: Description, mean: float) -> float:
    """An iteration's learning rate; of an SDE a part of the times in which it relaxes and leaves."""
    if description.view == "iteration":
        return description.dynamics.parts["learning_rate"]
    return min(0.1 / max(fastest_rate(description), 1e-12), mean / SCHEDULED_STEPS)


def horizon(description: Description, mean: float) -> tuple[float, float]:
    """The step, and the time at which paths under a changing noise level are left alone."""
    dt = step_under_schedule(description, mean)
    return dt, max(round(2 * mean / dt), 1) * dt


def fixed_steps(description: Description, seed: int, mean: float) -> np.ndarray:
    """levyjax's exit times with fixed steps, inf for those still inside in the end."""
    dt, end = horizon(description, mean)
    solver = Iteration() if description.view == "iteration" else Euler(dt)
    problem = built(description)
    samples = limited(lambda tell: simulate(problem, Plan(solver, COUNT, end, "float64"), seed, tell))
    if (samples.exit_code == ExitCode.NONFINITE).any():
        raise Refused(CENSORED)
    return np.where(samples.exited, np.asarray(samples.exit_time, float), np.inf)


def plain_fixed_steps(description: Description, seed: int, mean: float) -> np.ndarray:
    """The oracle's."""
    dt, end = horizon(description, mean)
    try:
        times, _ = oracle.exits(description, COUNT, seed + 1, dt, every=(1,), most=MOST_STEPS, longest_time=end)
    except oracle.Unknown as error:
        raise Refused(str(error)) from None
    return np.where(np.isnan(times[0]), np.inf, times[0])


def censored(pair: str, one: np.ndarray, other: np.ndarray) -> list[Check]:
    """The share that leaves and the law of the times, of two samples with infinite times."""
    shares = [float(np.isfinite(times).mean()) for times in (one, other)]
    middle = min(max(sum(shares) / 2, 1 / COUNT), 1 - 1 / COUNT)
    sigmas = abs(shares[0] - shares[1]) / math.sqrt(2 * middle * (1 - middle) / COUNT)
    left = Check(pair, "share that leaves", shares[1] - shares[0], sigmas, sigmas <= SIGMAS, f"{shares}")
    finite = [np.where(np.isfinite(times), times, 1e300) for times in (one, other)]
    return [left, laws(pair, "law of times", *finite, 0.0)]


def first_step(description: Description) -> float:
    """In which the noise crosses a fiftieth of the way from a start to the boundary; inf where that is no matter."""
    if description.start is None or description.view != "sde" or description.dynamics.kind != "SGD":
        return math.inf
    rays = description.noise_level * rays_of(driver_of(description.noise), description.dynamics)
    try:
        return (50 * nearest(description.basin, np.asarray(description.start), rays)) ** -description.alpha
    except oracle.Unknown as error:
        raise Refused(str(error)) from None


def nearest(basin: Any, start: np.ndarray, rays: np.ndarray) -> float:
    """1/t at the first point of any ray (d, n) that is outside, by bisection of each."""
    low, high = np.zeros(rays.shape[1]), np.full(rays.shape[1], reach_of(basin, start, rays)) ** -1.0
    if not (out := ~oracle.inside(basin, start[:, None] + rays * high)).any():
        return float(1 / high[0])
    for _ in range(50):
        middle = (low + high) / 2
        stays = oracle.inside(basin, start[:, None] + rays * middle)
        low, high = np.where(stays, middle, low), np.where(stays, high, middle)
    return float(1 / high[out].min())


def fastest_rate(description: Description) -> float:
    """Of the drift and of the optimizer's averages; without drift, of the noise's way through the basin."""
    parts, fastest = description.dynamics.parts, curvatures(description.landscape)[0]
    if description.landscape.kind in BENT and description.dynamics.kind != "SGD":  # whose steps heed it themselves
        fastest = slopes(description.landscape, description.basin)[0]
    if "preconditioner" in parts:
        fastest /= float(parts["preconditioner"].min())
    if description.dynamics.kind == "Momentum":
        fastest = max(fastest, (1 - parts["beta"]) / parts["learning_rate"])
    if parts.get("variant") in ("corrected", "malladi"):
        fastest = max(fastest, (1 - parts["beta1"]) / parts["learning_rate"])
    return fastest


def euler_step(description: Description) -> float:
    """The oracle's step: a small part of the times in which the drift and the noise cross the basin."""
    crossing = widest(description) ** -description.alpha
    return min(0.02 / max(fastest_rate(description), 1e-12), 1e-3 * crossing)


def noise_of_step(description: Description, dt: float) -> float:
    """How far a step's noise goes, as a part of the way to the boundary."""
    return widest(description) * dt ** (1 / description.alpha)


def widest(description: Description) -> float:
    """What a unit of L moves at most, as a part of the way to the boundary."""
    own = driver_of(description.noise)
    try:
        return description.noise_level * reach_of(
            description.basin, description.minimum, rays_of(own, description.dynamics)
        )
    except oracle.Unknown as error:
        raise Refused(str(error)) from None


# What two numbers must have in common


def compare(pair: str, one: Found, other: Found, time: float = 1.0, faces: dict[str, str] | None = None) -> list[Check]:
    """Means, faces, times and overshoot of two, the other's times in another unit and its faces renamed."""
    checks = [means(pair, one, other, time)]
    if one.shares is not None and other.shares is not None and faces is not None:
        checks.append(faces_agree(pair, one, other, faces))
    if one.times is not None and other.times is not None:
        bias = 0.01 + (one.bias + other.bias / time) / one.mean
        checks.append(laws(pair, "law of times", one.times, other.times / time, bias))
    if one.overshoot is not None and other.overshoot is not None:
        checks.append(laws(pair, "overshoot", one.overshoot, other.overshoot, 0.02))
    return checks


def means(pair: str, one: Found, other: Found, time: float = 1.0) -> Check:
    """Within the stated errors of both and 5 combined standard errors."""
    ratio = other.mean / time / one.mean - 1
    error = math.hypot(one.error / one.mean, other.error / other.mean)
    beyond = max(abs(ratio) - (one.bias / one.mean + other.bias / other.mean), 0.0)
    sigmas = beyond / error if error else 0.0
    passed = sigmas <= SIGMAS if error else beyond == 0
    return Check(pair, "mean", ratio, sigmas, bool(passed), f"{one.mean:.6g} and {other.mean / time:.6g}")


def faces_agree(pair: str, one: Found, other: Found, faces: dict[str, str]) -> Check:
    """The face whose two shares are furthest apart."""
    worst, bias = (0.0, 0.0, ""), 0.0 if math.isinf(one.shares_count + other.shares_count) else 0.02
    bias += one.shares_error + other.shares_error
    for name, share in (one.shares or {}).items():
        if name not in faces:
            continue
        image = (other.shares or {}).get(faces[name], 0.0)
        counts = [found.shares_count for found in (one, other)]
        middle = min(max((share + image) / 2, 1 / COUNT), 1 - 1 / COUNT)
        error = math.sqrt(middle * (1 - middle) * sum(1 / count for count in counts))
        sigmas = (
            max(abs(share - image) - bias, 0.0) / error if error else (math.inf if abs(share - image) > SAME else 0.0)
        )
        worst = max(worst, (sigmas, share - image, name), key=lambda item: item[0])
    return Check(pair, "faces", worst[1], worst[0] if math.isfinite(worst[0]) else 0.0, worst[0] <= SIGMAS, worst[2])


def laws(pair: str, quantity: str, one: np.ndarray, other: np.ndarray, bias: float) -> Check:
    """Two samples' distribution functions, by Kolmogorov and Smirnov; equal steps in two units count as equal."""
    one, other = np.sort(one), np.sort(other)
    distance = max(_ahead(one, other), _ahead(other, one))
    size = len(one) * len(other) / (len(one) + len(other))
    limit = math.sqrt(-math.log(PVALUE / 2) / 2 / size) + bias
    return Check(pair, quantity, distance, SIGMAS * distance / limit, distance <= limit)


def _ahead(one: np.ndarray, other: np.ndarray) -> float:
    """How far the first distribution function lies above the second."""
    reached = np.searchsorted(other, one + 1e-6 * np.abs(one), side="right") / len(other)
    return float((np.arange(1, len(one) + 1) / len(one) - reached).max())


def pareto(found: Found, alpha: float) -> Check:
    """At small noise the overshoot is beyond u with probability u^-alpha, on every ray alike."""
    distance = float(stats.kstest(found.overshoot, lambda u: 1 - np.maximum(u, 1.0) ** -alpha).statistic)
    limit = math.sqrt(-math.log(PVALUE / 2) / 2 / len(found.overshoot)) + 0.02
    return Check("jump_adapted~limit", "overshoot", distance, SIGMAS * distance / limit, distance <= limit)


def as_found(prediction: Any) -> Found:
    """A prediction's numbers, with the error of a limit that is called valid."""
    rate, mean = prediction.rate, prediction.mean_exit_time or 1 / prediction.rate
    error, shares = prediction.rate_error / rate**2, prediction.exit_probabilities or None
    return Found(mean, error, BIAS["limit"] * mean, None, shares, shares_error=prediction.exit_probability_error)


TOO_LONG, CENSORED = "took too long", "some paths are censored or not finite"


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Stops what takes too much processor time, where signals are at hand: in a process's main thread."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise Refused(TOO_LONG)

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(work: Callable[[], Any]) -> tuple[Any, str | None]:
    """What a method gives, or why it gives nothing."""
    try:
        with time_limit():
            return work(), None
    except Refused as error:
        return None, str(error)


def images_agree(
    description: Description, one: Any, why: str | None, image: Image, other: Any, why_not: str | None
) -> list[Check]:
    """The predictions of a problem and of its image: both or neither, and the same numbers."""
    if TOO_LONG in (why, why_not):
        return []
    if (one is None) != (other is None):
        reason = why or why_not or ""
        allowed = not image.strict or "can't be followed" in reason  # where one is a formula, and one is followed
        return [Check(image.name, "refused one of two", math.nan, 0.0, allowed, reason)]
    if one is None:
        return []
    ratio = one.rate / (other.rate * image.time) - 1
    error = math.hypot(one.rate_error / one.rate, other.rate_error / other.rate)
    followed = any("flow" in why or "chain of wells" in why for why in (*one.reasons, *other.reasons))
    passed = abs(ratio) <= (FOLLOWED if followed else SAME) + SIGMAS * error
    sigmas = abs(ratio) / error if error else 0.0
    checks = [
        Check(image.name, "predicted rate", ratio, sigmas, passed, f"{one.rate:.8g} and {other.rate * image.time:.8g}")
    ]
    if image.faces and one.exit_probabilities and other.exit_probabilities:
        apart = {
            name: share - other.exit_probabilities.get(image.faces.get(name, ""), 0.0)
            for name, share in one.exit_probabilities.items()
            if name in image.faces
        }
        worst = max(apart, key=lambda name: abs(apart[name])) if apart else ""
        stated = [found.exit_probability_error for found in (one, other)]
        allowed = (FOLLOWED if followed else 1e-5) + max(SIGMAS * math.hypot(*stated) if error else 0.0, sum(stated))
        checks.append(
            Check(
                image.name, "predicted faces", apart.get(worst, 0.0), 0.0, abs(apart.get(worst, 0.0)) <= allowed, worst
            )
        )
    if image.strict:
        refuses = any(found.valid < knows.valid and _sampled(found) for found, knows in ((one, other), (other, one)))
        passed = one.valid == other.valid or refuses or _at_an_edge(description)
        checks.append(Check(image.name, "valid", 0.0, 0.0, passed, f"{one.valid} and {other.valid}"))
    return checks


def _sampled(found: Any) -> bool:
    """Whether a sample of jumps is all that there is, and not enough to be valid."""
    words = ("were followed", "too long to follow", "is sampled", "by a sample")
    return any(word in why for word in words for why in found.reasons)


def _at_an_edge(description: Description) -> bool:
    """Whether 5% more or less noise decides if the prediction is valid."""
    level = description.noise_level
    nearby = [outcome(lambda part=part: prediction(description.but(noise_level=part * level)))[0] for part in _NEARBY]
    return None not in nearby and nearby[0].valid != nearby[1].valid


def gauge_agrees(description: Description, found: Any) -> list[Check]:
    """`exit_rate` is `predict`'s rate where the noise-free flow stays inside, and in one well."""
    if description.view != "sde" or description.dynamics.kind != "SGD" or not found.kappa or found.rate_error:
        return []
    if any("flow" in reason or "drift" in reason or "chain of wells" in reason for reason in found.reasons):
        return []
    try:
        with jax.enable_x64(True):
            rate = float(exit_rate(built(description)))
    except (ValueError, Refused):
        return []
    ratio = rate / found.rate - 1
    return [Check("limit~exit_rate", "rate", ratio, 0.0, abs(ratio) <= 1e-4, f"{found.rate:.8g} and {rate:.8g}")]
