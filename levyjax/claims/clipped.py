"""Wang, Oh and Rhee: how clipping changes the time to leave a well, and which wells are visited."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jaxtyping import Array, Float

from levyjax.arrays import cast
from levyjax.basins import Box
from levyjax.claims.base import Claim, Interval, Outcome, Settings, Verdict, judge_value, known, shown
from levyjax.claims.figures.wells import position_density
from levyjax.dynamics import SGD, ClippedSGD
from levyjax.engine import observe
from levyjax.escape import EscapeProblem, Plan, exponential_fit, log_log_slope, predict, simulate
from levyjax.escape.line_chain import LineStep, clustered, kept_inside, laws, mean_steps, pareto_law, stationary_law
from levyjax.escape.problem import ExitProcess
from levyjax.escape.statistics import ExponentialFit, SlopeFit
from levyjax.landscapes import WangOhRhee
from levyjax.landscapes.wang_oh_rhee import EDGES, MINIMA
from levyjax.noise import Pareto
from levyjax.plots import exit_time_scaling
from levyjax.solvers import Iteration

_BOUNDS = {math.inf: 1.2, 0.5: 1.4, 0.28: 1.6}  # clipping bounds with the exponents 1 + l (alpha - 1), l = 1, 2, 3
_WELL, _START, _WALL = (-1.3, 0.2), -0.7, 1.6
_TOLERANCE = 0.05
_SOLVER = Iteration(project=[[-_WALL], [_WALL]])
_NARROW, _NEGLIGIBLE = (0, 2), 0.01
_RATE, _FROM = 0.001, 0.3  # of the second experiment


def _problem(learning_rate: float, bound: float, basin: Box, start: float) -> EscapeProblem:
    dynamics = SGD(learning_rate) if math.isinf(bound) else ClippedSGD(learning_rate, bound)
    return EscapeProblem(WangOhRhee(), basin, Pareto(1.2, [0.1]), dynamics, 1.0, start=[start])


def _step(learning_rate: float, bound: float) -> LineStep:
    return LineStep(WangOhRhee(), pareto_law(1.2), 0.1, learning_rate, bound)


def _steepest() -> float:
    """The largest |F''| in the well, by differences of F'."""
    x = np.linspace(*_WELL, 4001)
    with jax.enable_x64(True):
        slope = np.asarray(WangOhRhee().gradient(jnp.asarray(x)[None])[0])
    return float(np.abs(np.diff(slope)).max() / (x[1] - x[0]))


def _exits(learning_rate: float, bound: float, plan: Plan, seed: int) -> ExponentialFit:
    """Mean number of steps."""
    samples = simulate(_problem(learning_rate, bound, Box(_WELL[:1], _WELL[1:]), _START), plan, seed)
    return exponential_fit(samples.exit_step.astype(np.float64), samples.exited)


def _label(bound: float) -> str:
    return "no clipping" if math.isinf(bound) else f"b = {bound:g}"


def _series(bound: float, rates: Float[np.ndarray, " n"], settings: Settings, place: int) -> dict[str, Any]:
    """Exact and simulated mean steps at every learning rate."""
    nodes = settings.size(600, 1200)
    exact = np.array([mean_steps(_step(rate, bound), *_WELL, _START, nodes) for rate in rates])
    most, step_limit = settings.size(1000, 2000), settings.size(50_000_000, 900_000_000)
    counts = np.clip(step_limit / exact, 128, most).astype(int)
    horizon = 0.4 if settings.quick else math.inf  # of the mean: an exponential law needs no more
    fits = [
        _exits(
            rate, bound, Plan(_SOLVER, count, horizon * mean * rate), settings.seeds("WOR-slopes")[10 * place + index]
        )
        for index, (rate, count, mean) in enumerate(zip(rates.tolist(), counts.tolist(), exact.tolist(), strict=True))
    ]
    errors = np.array([fit.num_exited for fit in fits]) ** -0.5
    return {"exact": exact, "means": np.array([known(fit.mean) for fit in fits]), "fits": fits, "errors": errors}


def judge_slopes(exact: Sequence[float], simulated: Sequence[Interval], claimed: Sequence[float], p: float) -> Verdict:
    """The verdict by the exact slopes, which simulated means must not contradict (p of their agreement)."""
    worst = max(abs(slope - value) for slope, value in zip(exact, claimed, strict=True))
    verdict = judge_value((worst, worst), 0.0, _TOLERANCE)
    apart = [judge_value(ends, value, _TOLERANCE) for ends, value in zip(simulated, claimed, strict=True)]
    return "undecided" if p < 1e-3 or (verdict == "confirmed" and "refuted" in apart) else verdict


def _one_draw(rate: float) -> float:
    """Mean steps by the law of one draw that leaves."""
    problem = _problem(rate, math.inf, Box(_WELL[:1], _WELL[1:]), _START)
    return known(predict(problem, _SOLVER).mean_exit_steps)


def _draw_slopes(rates: np.ndarray, series: dict[float, Any], lines: list[SlopeFit], edge: float) -> Any:
    axes = None
    for (bound, one), line in zip(series.items(), lines, strict=True):
        intervals = [fit.mean_interval for fit in one["fits"]]
        label = f"{_label(bound)}: slope {line.slope:.2f}"
        axes = exit_time_scaling(rates, list(one["means"]), intervals, list(one["exact"]), label=label, ax=axes)
    assert axes is not None
    ends = rates.min() / 1.15, rates.max() * 1.15
    axes.axvspan(ends[0], edge, color="0.93", zorder=0)
    axes.set(xlabel=r"learning rate $\eta$", ylabel="mean steps to leave", xlim=ends)
    axes.set_xticks([tick for tick in (0.005, 0.01, 0.02, 0.03, 0.05, 0.1) if ends[0] < tick < ends[1]])
    axes.set_ylim(top=axes.get_ylim()[1] * 4)  # room for the legend
    return axes


def slopes(settings: Settings) -> Outcome:
    """Slopes of the log mean number of steps against log(1/eta), for three clippings."""
    rates = np.geomspace(0.1, 0.005, 8)[[0, 3, 5] if settings.quick else slice(None)]
    edge = 1 / _steepest()
    seen = rates < edge
    series = {bound: _series(bound, rates, settings, place) for place, bound in enumerate(_BOUNDS)}
    lines = [known(log_log_slope(1 / rates[seen], one["means"][seen], one["errors"][seen])) for one in series.values()]
    exact = [
        known(log_log_slope(1 / rates[seen], one["exact"][seen], one["errors"][seen])).slope for one in series.values()
    ]
    claimed = list(_BOUNDS.values())
    worst = int(np.argmax(np.abs(np.subtract(exact, claimed))))
    z = np.concatenate([np.log(one["means"] / one["exact"]) / one["errors"] for one in series.values()])
    agreement = float(scipy.stats.chi2.sf((z**2).sum(), z.size))
    parts = [
        f"{line.slope:.3f} [{line.slope_interval[0]:.3f}, {line.slope_interval[1]:.3f}] for {_label(bound)} "
        f"(exact {value:.3f}, claimed {_BOUNDS[bound]})"
        for line, value, bound in zip(lines, exact, _BOUNDS, strict=True)
    ]
    plain, one_draw = series[math.inf], _one_draw(float(rates[-1]))
    low, high = (end - claimed[worst] for end in lines[worst].slope_interval)
    return Outcome(
        expected=exact[worst] - claimed[worst],
        measured=lines[worst].slope - claimed[worst],
        ci95=(low, high),
        verdict=judge_slopes(exact, [line.slope_interval for line in lines], claimed, agreement),
        finding=f"Slopes {'; '.join(parts)}, on the {seen.sum()} learning rates from {rates.min():.3g} to "
        f"{rates[seen].max():.3g}. The chain's exact means agree with the simulated ones at all {z.size} points "
        f"(p = {agreement:.2g}). Without clipping the mean is {shown(plain['means'][-1] / one_draw)} of 1/P(one draw "
        f"leaves) at {rates[-1]:.3g} (exact: {shown(plain['exact'][-1] / one_draw)}). Measured is the slope for "
        f"{_label(list(_BOUNDS)[worst])} minus the claimed one.",
        draw=lambda: _draw_slopes(rates, series, lines, edge),
        alt="Mean numbers of steps against the learning rate on logarithmic axes: three falling lines for no clipping "
        "and two bounds, points on the dashed exact curves; the asymptotic part is shaded.",
    )


def _position(state: Any) -> Array:
    return state.x[0]


def _in_narrow(x: np.ndarray) -> np.ndarray:
    """Whether points are in one of the narrow wells."""
    return np.isin(np.searchsorted(EDGES[1:-1], x), _NARROW)


def _exact_share(step: LineStep, every: int, kept: slice, count: int) -> tuple[float, float]:
    """Expected part of the snapshots in the narrow wells, for paths from the start, and in the long run."""
    nodes = clustered(np.sort(EDGES + MINIMA), count)
    chances = kept_inside(step, nodes)
    first = (np.arange(len(nodes)) == np.abs(nodes - _FROM).argmin()).astype(float)
    narrow = _in_narrow(nodes)
    expected = laws(chances, first, every, kept.stop)[kept] @ narrow
    return float(expected.mean()), float(stationary_law(chances) @ narrow)


def _narrow_time(bound: float, place: int, settings: Settings) -> dict[str, Any]:
    """The part of their time that paths spend in the narrow wells, simulated and exact."""
    paths, snapshots, every = settings.size(256, 512), settings.size(60, 400), 5000
    kept = slice(snapshots // 3, snapshots)
    process = cast(ExitProcess(_problem(_RATE, bound, Box([-2.0], [2.0]), _FROM), _SOLVER), jnp.float32)
    seed = settings.seeds("WOR-occupancy")[place]
    x = observe(process, seed, np.arange(paths), every, _position, snapshots, width=paths).seen[kept]
    shares = _in_narrow(x).mean(axis=0)
    exact, long_run = _exact_share(_step(_RATE, bound), every, kept, settings.size(60, 200))
    half = 1.96 * float(shares.std(ddof=1)) / paths**0.5
    mean = float(shares.mean())
    return {"x": x, "share": mean, "interval": (mean - half, mean + half), "exact": exact, "long_run": long_run}


def judge_occupancy(plain: float, clipped: Interval) -> Verdict:
    """The verdict on the part of the time in the narrow wells without clipping, and with it."""
    low, high = clipped
    if low > plain / 2:
        return "refuted"
    if high < _NEGLIGIBLE < plain:
        return "confirmed"
    return "holds_within_limits" if low > _NEGLIGIBLE and high < plain / 2 else "undecided"


def occupancy(settings: Settings) -> Outcome:
    """Part of the time in the two narrow wells, without clipping and with b = 0.5."""
    bounds = (math.inf, 0.5)
    plain, clipped = (_narrow_time(bound, place, settings) for place, bound in enumerate(bounds))
    return Outcome(
        expected=clipped["exact"],
        measured=clipped["share"],
        ci95=clipped["interval"],
        verdict=judge_occupancy(plain["share"], clipped["interval"]),
        finding=f"With clipping at 0.5 the two narrow wells hold {100 * clipped['share']:.2f}% of the time (exact "
        f"chain: {100 * clipped['exact']:.2f}%, in the long run {100 * clipped['long_run']:.2f}%), without it "
        f"{100 * plain['share']:.1f}% (exact: {100 * plain['exact']:.1f}%, {100 * plain['long_run']:.1f}%), "
        f"at learning rate {_RATE:g}. In theory the clipped part falls like its power 0.2, very slowly.",
        draw=lambda: position_density(
            {_label(bound): row["x"].ravel() for bound, row in zip(bounds, (plain, clipped), strict=True)},
            np.linspace(-_WALL, _WALL, 129),
            MINIMA,
        ),
        alt="Density of the iterates on a logarithmic axis, without and with clipping, the four minima marked: with "
        "clipping the peaks at the two sharp minima are about ten times lower.",
    )


CLAIMS = (
    Claim(
        "WOR-slopes",
        "With steps clipped at b the mean number of steps to leave a well grows like (1/eta)^(1 + l (alpha - 1)), "
        "l = ceil(width/b): on their test potential the exponents are 1.2, 1.4 and 1.6 for none, b = 0.5 and b = 0.28.",
        "Wang, Oh and Rhee 2021, Theorem 1 and section 3.1, figure 1 (right)",
        "The asymptotic part is where the learning rate times the largest |F''| in the well is below 1, so that a step "
        "follows the flow that the theorem is about. There the slopes of the exact mean steps of the chain (a linear "
        f"system) are compared with the claimed ones, tolerance {_TOLERANCE}; undecided if the simulated means differ "
        "from the exact ones (p < 0.001), or if a simulated slope is refuted by its own interval.",
        slopes,
    ),
    Claim(
        "WOR-occupancy",
        "With clipping (b = 0.5) the time spent at the sharp minima is almost completely eliminated, while without it "
        "they are visited.",
        "Wang, Oh and Rhee 2021, section 3.1, figure 1 (left, a and b); their learning rate is not stated, 0.001 here",
        "The part of the time in the two narrow wells with clipping: confirmed if below 1% while it is above without "
        "clipping, refuted if above half of that without clipping, holds within limits if in between.",
        occupancy,
    ),
)
