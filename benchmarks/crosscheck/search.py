"""Draws problems, asks all methods and images, counts what agrees, and shrinks what does not."""

import dataclasses
import itertools
import math
import multiprocessing
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from typing import Any

import numpy as np

from . import checks, draw, images, shrink
from .checks import SIGMAS, Check, outcome
from .describe import Description, Piece, snippet

PER_STRUCTURE = 10  # problems of one structure: the first compiles, the others run
SEEDS = 64  # of the problems of one structure
_TASKS = 8  # structures of one process: programs that are compiled add up in its memory


@dataclasses.dataclass
class Tally:
    """What was found so far."""

    problems: int = 0
    structures: int = 0
    pairs: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    refusals: Counter = dataclasses.field(default_factory=Counter)
    failures: list[tuple[Check, Description, str, int]] = dataclasses.field(default_factory=list)
    crashes: Counter = dataclasses.field(default_factory=Counter)

    def join(self, other: "Tally") -> None:
        """What another search found."""
        self.problems += other.problems
        self.structures += other.structures
        self.refusals += other.refusals
        self.crashes += other.crashes
        self.failures += other.failures
        for key, theirs in other.pairs.items():
            row = self.pairs.setdefault(key, dict.fromkeys(theirs, 0))
            for name, value in theirs.items():
                row[name] = max(row[name], value) if name.startswith("worst") else row[name] + value

    def add(self, check: Check, problem: Description, probe: str, seed: int) -> None:
        """One comparison."""
        new = {"compared": 0, "failed": 0, "worst_difference": 0.0, "worst_sigmas": 0.0}
        row = self.pairs.setdefault((check.pair, check.quantity), new)
        row["compared"] += 1
        row["failed"] += not check.passed
        difference = abs(check.ratio) if math.isfinite(check.ratio) else 0.0
        row["worst_difference"] = max(row["worst_difference"], difference)
        row["worst_sigmas"] = max(row["worst_sigmas"], check.sigmas)
        if not check.passed:
            self.failures.append((check, problem, probe, seed))


class Numbers:
    """The numbers of one problem, each worked out once."""

    def __init__(self, problem: Description, seed: int) -> None:
        self.problem, self.seed, self.known = problem, seed, {}

    def of(self, method: str) -> tuple[Any, str | None]:
        """What a method gives, or why not."""
        if method not in self.known:
            expected = self.expected(method)
            self.known[method] = outcome(lambda: METHODS[method](self.problem, self.seed, expected))
        return self.known[method]

    def expected(self, method: str) -> float:
        """The mean exit time of the small-noise limit, to know what a method would cost."""
        if method in ("limit", "jump_adapted", "quasi_stationary"):
            return 0.0
        found = self.of("limit")[0]
        return checks.as_found(found).mean if found else 0.0


METHODS: dict[str, Callable[[Description, int, float], Any]] = {
    "limit": lambda problem, seed, _: checks.prediction(problem),
    "jump_adapted": lambda problem, seed, _: checks.jump_adapted(problem, seed),
    "iteration": lambda problem, seed, expected: checks.iteration(problem, seed, expected),
    "quasi_stationary": lambda problem, seed, _: checks.quasi_stationary(problem, seed),
    "reference": lambda problem, seed, _: checks.reference(problem),
    "reference rate": lambda problem, seed, _: checks.reference(problem, quasi=True),
    "oracle": lambda problem, seed, expected: checks.plain(problem, seed + 1, problem.view == "sde", expected),
}


# Probes: a problem and a seed give comparisons


def predicted_images(
    problem: Description, seed: int, numbers: Numbers | None = None, share: float = 1.0
) -> Iterator[Check]:
    """The predictions of all images, or of a random share of them, and `exit_rate`."""
    numbers = numbers or Numbers(problem, seed)
    one, why = numbers.of("limit")
    if one is not None:
        yield from checks.gauge_agrees(problem, one)
    for image in images.images(problem, np.random.default_rng(seed)):
        if np.random.default_rng([seed, zlib.crc32(image.name.encode())]).random() > share:
            continue
        other, why_not = outcome(lambda image=image: checks.prediction(image.problem))
        yield from checks.images_agree(problem, one, why, image, other, why_not)


def simulated_image(problem: Description, seed: int, numbers: Numbers | None = None) -> Iterator[Check]:
    """The simulated exits of one image, which one is up to the seed, and of the problem."""
    numbers = numbers or Numbers(problem, seed)
    found = images.images(problem, np.random.default_rng(seed))
    if not found:
        return
    image = found[seed // SEEDS % len(found)]  # the same one for all problems of a structure
    method = "jump_adapted" if problem.view == "sde" else "iteration"
    one, _ = numbers.of(method)
    if one is None:
        return
    other, why = Numbers(image.problem, seed + 2).of(method)
    if other is None:
        if why not in (checks.TOO_LONG, checks.CENSORED):
            yield Check(f"{image.name}, {method}", "refused one of two", math.nan, 0.0, not image.strict, why or "")
        return
    yield from checks.compare(f"{image.name}, {method}", one, other, image.time, image.faces)


def methods(problem: Description, seed: int, numbers: Numbers | None = None, share: float = 1.0) -> Iterator[Check]:
    """The methods beside each other, and beside the oracle, which takes longest, for a random share of problems."""
    numbers = numbers or Numbers(problem, seed)
    with_oracle = np.random.default_rng([seed, 1]).random() < share
    main = "jump_adapted" if problem.view == "sde" else "iteration"
    one, limit = numbers.of(main)[0], numbers.of("limit")[0]
    names = {name: name for name in (one.shares if one else {})}
    for method in ("oracle", "reference")[not with_oracle :]:
        other = numbers.of(method)[0]
        if one is not None and other is not None:
            yield from checks.compare(f"{main}~{method}", one, other, 1.0, names)
    settled = limit is not None and limit.kappa is not None and limit.kappa >= checks.SETTLED and problem.start is None
    exact = numbers.of("reference")[0]
    if exact is not None and limit is not None and limit.valid:
        yield checks.means("reference~limit", exact, checks.as_found(limit))
    if one is not None and limit is not None and limit.valid and problem.start is not None:
        yield checks.means(f"{main}~limit, from a start", one, checks.as_found(limit))
    if one is not None and limit is not None and limit.valid and problem.start is None:
        yield from checks.compare(f"{main}~limit", one, checks.as_found(limit), 1.0, names)
        plain = problem.dynamics.kind == "SGD" and problem.noise.kind in _ONE_ALPHA and problem.view == "sde"
        if plain and limit.kappa and not any("flow" in reason for reason in limit.reasons):
            yield checks.pareto(one, problem.alpha)
    yield from _quasi_stationary(numbers, one, limit, settled)


_ONE_ALPHA = ("Independent", "Rotational")


def _quasi_stationary(numbers: Numbers, one: Any, limit: Any, settled: bool) -> Iterator[Check]:
    exact = numbers.of("reference rate")[0]
    if exact is not None and numbers.problem.dimension > 1:
        if limit is not None and limit.valid and limit.kappa and numbers.problem.start is None:
            yield checks.means("reference rate~limit", exact, checks.as_found(limit))
        if one is not None and settled:
            yield checks.means("jump_adapted~reference rate", one, exact)
    quasi = numbers.of("quasi_stationary")[0]
    if quasi is None:
        return
    if exact is not None:
        yield checks.means("quasi_stationary~reference", quasi, exact)
    if one is not None and settled:
        yield checks.means("jump_adapted~quasi_stationary", one, quasi)
    if limit is not None and limit.valid and limit.kappa:  # no kappa: an exact law from the minimum, whatever the noise
        yield checks.means("quasi_stationary~limit", quasi, checks.as_found(limit))


def ordered(problem: Description, seed: int, numbers: Numbers | None = None) -> Iterator[Check]:
    """More noise leaves sooner, and so does a basin inside this one: by prediction, and by simulation of the latter."""
    numbers = numbers or Numbers(problem, seed)
    one, inner = numbers.of("limit")[0], inside_of(problem)
    louder = problem.but(noise_level=1.5 * problem.noise_level)
    for name, other in (("more noise", louder), ("inner basin", inner)):
        sooner = None if other is None or one is None else outcome(lambda other=other: checks.prediction(other))[0]
        if sooner is not None and one is not None:
            error = SIGMAS * math.hypot(sooner.rate_error / sooner.rate, one.rate_error / one.rate)
            ratio = sooner.rate / one.rate - 1
            yield Check(name, "predicted order", ratio, 0.0, ratio >= -1e-6 - error)
    first = numbers.of("jump_adapted")[0]
    second = None if inner is None or first is None else Numbers(inner, seed + 3).of("jump_adapted")[0]
    if second is not None and first is not None:
        check = checks.means("inner basin, jump_adapted", first, second)
        yield check._replace(quantity="order", passed=check.passed or check.ratio < 0)


def inside_of(problem: Description) -> Description | None:
    """The same with the walls nearer to the minimum; None where the start would not be inside or it is not simple."""
    piece, parts, centre = problem.basin, problem.basin.parts, problem.minimum
    if problem.start is not None:
        return None
    if piece.kind == "Box":
        ends = {name: centre + 0.8 * (parts[name] - centre) for name in ("lower", "upper")}
        return problem.but(basin=Piece("Box", ends))
    if piece.kind == "HalfSpace":
        here = parts["normal"] @ centre
        return problem.but(basin=piece.but(offset=float(here + 0.8 * (parts["offset"] - here))))
    if piece.kind == "Sublevel":
        return problem.but(basin=piece.but(height=0.7 * parts["height"]))
    return None


def scheduled(problem: Description, seed: int, numbers: Numbers | None = None, share: float = 1.0) -> Iterator[Check]:
    """The noise level as a function of time, for a random share of problems: fixed steps beside the oracle's."""
    numbers, rng = numbers or Numbers(problem, seed), np.random.default_rng([seed, 2])
    if rng.random() >= share or (limit := numbers.of("limit")[0]) is None:
        return
    mean = checks.as_found(limit).mean
    louder, _ = outcome(lambda: checks.with_fewer_steps(problem, mean))
    if louder is None:
        return
    changing, mean = louder
    kind, end = str(rng.choice(["exponential", "linear", "cosine"])), float(draw.spread(rng, 0.1, 3))
    piece = Piece(kind, {"time": mean * float(draw.spread(rng, 0.2, 2)), "end": changing.noise_level * end})
    changing = changing.but(schedule=piece)
    one, two = (outcome(lambda m=m: m(changing, seed, mean))[0] for m in (checks.fixed_steps, checks.plain_fixed_steps))
    if one is not None and two is not None:
        yield from checks.censored(f"{'Euler' if problem.view == 'sde' else 'iteration'}~oracle, scheduled", one, two)


PROBES: dict[str, Callable[..., Iterator[Check]]] = {
    "predicted_images": predicted_images,
    "some_images": partial(predicted_images, share=0.3),
    "ordered": ordered,
    "simulated_image": simulated_image,
    "methods": methods,
    "some_methods": partial(methods, share=0.3),
    "scheduled": scheduled,
    "some_scheduled": partial(scheduled, share=0.3),
}


LONG = ("some_images", "ordered", "simulated_image", "some_methods", "some_scheduled")  # of the long search


def search(
    count: int,
    seed: int = 0,
    probes: tuple[str, ...] = LONG,
    per_structure: int = PER_STRUCTURE,
    tell: Callable[[Tally], None] | None = None,
    processes: int = 1,
    seconds: float = math.inf,
    each_seconds: float = math.inf,
    **fixed: Any,
) -> Tally:
    """Draw so many problems, of as many structures as it takes, and look at them.

    Args:
        count: of problems.
        seed: of everything.
        probes: what is looked at.
        per_structure: problems of each structure.
        tell: called after each structure.
        seconds: after these no further structure is begun.
        each_seconds: after these of a process's time no further problem of a structure is begun.
        processes: in which structures are looked at; every structure has a generator of its own, so it is all the same.
        fixed: parts of the structure that are not left to chance, such as dimension=1 or noise="Independent".
    """
    each, places = min(per_structure, SEEDS), itertools.count()
    work = partial(of_structure, seed=seed, probes=probes, fixed=fixed, seconds=each_seconds)
    tally, end = Tally(), time.monotonic() + seconds

    def goes_on() -> bool:
        return tally.problems < count and time.monotonic() < end

    def add(found: Tally) -> None:
        tally.join(found)
        if tell is not None:
            tell(tally)

    if processes == 1:
        while goes_on():
            add(work(next(places), min(each, count - tally.problems)))
        return tally
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, max_tasks_per_child=_TASKS) as pool:
        jobs: set[Future[Tally]] = set()
        while goes_on() or jobs:
            while goes_on() and len(jobs) < processes:
                jobs.add(pool.submit(work, next(places), min(each, count - tally.problems)))
            done, jobs = wait(jobs, return_when=FIRST_COMPLETED)
            for job in done:
                add(job.result())
    return tally


def of_structure(
    place: int, count: int, seed: int, probes: tuple[str, ...], fixed: dict[str, Any], seconds: float = math.inf
) -> Tally:
    """What so many problems of one structure have to say, or as many as there is time for."""
    end = time.process_time() + seconds
    tally, rng = Tally(structures=1), np.random.default_rng([seed, place])
    structure, own = draw.structure(rng, **fixed), SEEDS * int(rng.integers(1 << 24))
    for one in range(count):
        examine(draw.problem(rng, structure), own + one, probes, tally)
        tally.problems += 1
        if time.process_time() > end:
            break
    return tally


def examine(problem: Description, seed: int, probes: tuple[str, ...], tally: Tally) -> None:
    """All comparisons of one problem; an error that is no refusal is a finding of its own."""
    numbers = Numbers(problem, seed)
    for probe in probes:
        try:
            for check in PROBES[probe](problem, seed, numbers):
                tally.add(check, problem, probe, seed)
        except Exception as error:
            what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            tally.crashes[what] += 1
            tally.failures.append(
                (Check(probe, type(error).__name__, math.nan, 0.0, False, what), problem, probe, seed)
            )
    for method, (_, why) in numbers.known.items():
        if why is not None:
            tally.refusals[method, why] += 1


def fails(problem: Description, check: Check, probe: str, seed: int) -> bool:
    """Whether the same comparison fails for this problem too."""
    try:
        return any(
            not one.passed and (one.pair, one.quantity) == (check.pair, check.quantity)
            for one in PROBES[probe](problem, seed)
        )
    except Exception as error:
        return type(error).__name__ == check.quantity


def exceptions(tally: Tally, tries: int = 30, most: int = 40) -> list[dict[str, Any]]:
    """A row for each kind of failure, with its smallest problem."""
    kinds: dict[tuple[str, str], list[tuple[Check, Description, str, int]]] = {}
    for failure in tally.failures:
        kinds.setdefault((failure[0].pair, failure[0].quantity), []).append(failure)
    rows = []
    for (pair, quantity), found in sorted(kinds.items())[:most]:
        check, problem, probe, seed = min(found, key=lambda failure: shrink.size(failure[1]))
        small = shrink.shrunk(problem, lambda one, c=check, p=probe, s=seed: fails(one, c, p, s), tries)
        rerun = [] if small is problem else _again(small, probe, seed)
        again = [one for one in rerun if (one.pair, one.quantity) == (pair, quantity)]
        shown = next((one for one in again if not one.passed), check)
        row = {"pair": pair, "quantity": quantity, "failures": len(found), "difference": finite(shown.ratio)}
        row |= {"sigmas": finite(shown.sigmas), "detail": shown.detail, "probe": probe, "seed": seed}
        rows.append({**row, "snippet": snippet(small)})
    return rows


def _again(problem: Description, probe: str, seed: int) -> list[Check]:
    try:
        return list(PROBES[probe](problem, seed))
    except Exception:
        return []


def finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    return float(value) if math.isfinite(value) else None
