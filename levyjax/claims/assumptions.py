"""What Theorem 1 asks of Adam, measured along its training (D9, D4)."""

import dataclasses
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from levyjax.claims.adam_quantities import (
    AdamQuantities,
    Assumption2,
    adam_quantities,
    assumption2,
)
from levyjax.claims.base import Claim, Outcome, Settings, judge_below, shown
from levyjax.claims.figures.assumptions import assumption_quantities
from levyjax.claims.figures.curves import points_on_curve
from levyjax.escape.validity import adam_rate, largest_noise_level
from levyjax.training import MLP, flatten, load
from levyjax.training.curvature import hessian_pairs, mean_loss

_WIDTHS = (20, 20, 20, 20)
_LEARNING_RATE = 1e-3
_BATCH, _SKIP = 32, 20  # iterations left out at the start, where the averages still grow
_FLOOR = 1e-5  # of the largest eigenvalue, from which on an eigenvalue counts as positive
_PRINTED_MAX, _PRINTED_TAU = 329.0, 1.0  # the bounds in the legend of their Figure 2


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """One run of Adam and what Theorem 1 makes of it.

    Attributes:
        quantities: along the run.
        constants: of Assumption 2.
        smallest: eigenvalue of the Hessian at the end.
        largest: eigenvalue there.
        gap: loss at the start less the least of the run.
    """

    quantities: AdamQuantities
    constants: Assumption2
    smallest: float
    largest: float
    gap: float

    def level(self, strong_convexity: float) -> float:
        """The largest noise level that Theorem 1 admits, were the loss that strongly convex."""
        rate = adam_rate(strong_convexity, self.constants.tau, self.constants.v_max)
        return largest_noise_level(rate, strong_convexity, self.gap)


@lru_cache(maxsize=2)
def measure(settings: Settings) -> Measured:
    """Adam on a network of four hidden layers of width 20 on the digits, with Figure 2's quantities."""
    digits = load("digits")
    count = settings.size(300, len(digits.train_y))
    x, y = jnp.asarray(digits.train_x[:count]), jnp.asarray(digits.train_y[:count])
    model = flatten(MLP((x.shape[1], *_WIDTHS, 10), rngs=nnx.Rngs(settings.seed)))
    found = adam_quantities(
        model.losses, model.parameters, x, y, iterations=settings.size(600, 3_000), learning_rate=_LEARNING_RATE,
        batch_size=_BATCH, seed=settings.seed,
    )  # fmt: skip
    loss, end = mean_loss(model.losses, x, y), jnp.asarray(found.parameters)
    smallest, largest = (
        float(hessian_pairs(loss, end, 1, end=side, tolerance=1e-3).values[0]) for side in ("smallest", "largest")
    )
    gap = float(found.loss[0] - min(found.loss.min(), found.free_loss.min()))
    return Measured(found, assumption2(found, skip=_SKIP), smallest, largest, gap)


def condition(settings: Settings) -> Outcome:
    """The largest noise level that Theorem 1 admits, against that of the learning rate."""
    found = measure(settings)
    constants, needed = found.constants, float(np.sqrt(_LEARNING_RATE))
    convexity = found.smallest if found.smallest > _FLOOR * found.largest else 0.0
    level = found.level(convexity)
    printed = largest_noise_level(adam_rate(1.0, _PRINTED_TAU, _PRINTED_MAX), 1.0, 1.0)
    wanted = _least_convexity(found, needed)
    return Outcome(
        expected=None,
        measured=level,
        ci95=(level, level),
        verdict=judge_below((needed, needed), level),
        finding=f"A 64-20-20-20-20-10 relu network on {settings.size(300, 1437)} digits, Adam at {_LEARNING_RATE:g} "
        f"for {len(found.quantities.loss)} iterations, the first {_SKIP} left out: tau = {shown(constants.tau)}, tau_m "
        f"= {shown(constants.tau_m)} per iteration, sqrt(v) from {shown(constants.v_min)} to {shown(constants.v_max)}, "
        f"the integral {'never' if constants.descends else 'sometimes'} negative. The Hessian's eigenvalues at the end "
        f"go from {shown(found.smallest)} to {shown(found.largest)}, so that {shown(level)} is the largest noise level "
        f"admitted. mu would have to be {shown(wanted)} for the {shown(needed)} of this learning rate "
        f"(alpha = 2; more below). With the bounds printed in Figure 2, v_max = 329 and tau = 1, and mu = Delta = 1, "
        f"{shown(printed)} is the largest; its tau_m = 1 makes kappa_1 infinite and rho_0 zero.",
        draw=lambda: _draw(found),
        alt="The quantities of the paper's Figure 2 along a run of Adam: ratios of norms of averaged gradients, the "
        "range of sqrt(v), and the running mean of the descent.",
    )


def _least_convexity(found: Measured, level: float) -> float:
    """The least mu that admits a noise level, all else as measured."""
    candidates = np.geomspace(1e-8, 1e4, 1_201)
    admitted = [mu for mu in candidates if found.level(float(mu)) >= level]
    return float(admitted[0]) if admitted else float("inf")


def _draw(found: Measured) -> Any:
    parts, updates = found.quantities, np.arange(1, len(found.quantities.loss) + 1)
    kept = np.unique(np.geomspace(1, updates.size, 300).astype(int)) - 1
    running = np.cumsum(parts.descent) / updates
    lines = {
        r"$\tau'$": parts.free_momentum / parts.free_gradient,
        r"$\tau_m'$": parts.gap / np.maximum(parts.gap_sum, 1e-300),
        r"$v_{\max}$": parts.largest_root,
        r"$v_{\min}$": parts.smallest_root,
        r"$\rho_t/10$": running,
    }
    return assumption_quantities(updates[kept], {name: line[kept] for name, line in lines.items()})


def rates(settings: Settings) -> Outcome:
    """The rate at which Adam's average of squares forgets, over that of its average of gradients."""
    steps = settings.size(200, 2_000)
    time = _LEARNING_RATE * np.arange(1, steps + 1)
    left = _step_answers(steps)
    seen = [part > 1e-9 for part in left]
    found = [-np.polyfit(time[use], np.log(part[use]), 1)[0] for part, use in zip(left, seen, strict=True)]
    ratio = float(found[1] / found[0])
    return Outcome(
        expected=float(np.log(0.999) / np.log(0.9)),
        measured=ratio,
        ci95=(ratio, ratio),
        verdict="confirmed" if 1 <= ratio <= 2 else "refuted",
        finding=f"At a learning rate of {_LEARNING_RATE:g} the averages of optax's default Adam forget a single "
        f"gradient at the rates {shown(float(found[0]))} and {shown(float(found[1]))} per unit of SDE time ((1 - "
        "beta)/learning_rate is 100 and 1). The betas themselves, 0.9 and 0.999, are in the order that is asked; read "
        "as rates they make averages that forget within about one unit of SDE time, 1000 iterations.",
        draw=lambda: _draw_rates(time, left),
        alt="What is left of one gradient in Adam's two averages against SDE time, and exponentials at the rates beta.",
    )


def _step_answers(steps: int) -> list[np.ndarray]:
    """Adam's two averages after one gradient of 1 and then none, each over its first value."""
    adam = optax.scale_by_adam()
    state, averages = adam.init(jnp.zeros(1)), []
    with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and int32 counters
        update = jax.jit(lambda gradient, state: adam.update(gradient, state)[1])
        for step in range(steps):
            state = update(jnp.full(1, float(step == 0)), state)
            moments: Any = state
            averages.append((float(moments.mu[0]), float(moments.nu[0])))
    return [part / part[0] for part in np.array(averages).T]


def _draw_rates(time: np.ndarray, left: list[np.ndarray]) -> Any:
    axes = None
    for name, beta, part in zip(("m", "v"), (0.9, 0.999), left, strict=True):
        every = slice(0, 60, 3) if name == "m" else slice(0, time.size, max(1, time.size // 25))
        axes = points_on_curve(
            time[every], part[every].tolist(), curve=(time, np.exp(-beta * time)), label=f"Adam's {name}",
            curve_label="at rate β", xlabel="SDE time", ylabel="left of one gradient", log="x", ax=axes,
        )  # fmt: skip
    return axes


CLAIMS = (
    Claim(
        "D9",
        "Theorem 1 covers Adam as it trains a network: its noise level meets the theorem's condition.",
        "Zhou et al. 2020, Assumptions 1 and 2, Theorem 1 and Figure 2",
        "The largest admitted noise level, with tau and v_max of the run, Delta its fall of the loss and mu the "
        f"smallest Hessian eigenvalue at its end (0 if below {_FLOOR:g} of the largest), is to reach that of the "
        "learning rate, eta^((alpha-1)/alpha), at alpha = 2, where it is least. (Some pixels of the digits are 0 in "
        "all images, and the weights behind them are flat directions: mu > 0 is out of reach there by construction.)",
        condition,
    ),
    Claim(
        "D4",
        "Adam's averages have rates b1 <= b2 <= 2 b1, as in the default setting.",
        "Zhou et al. 2020, Assumption 2 and the text after it",
        "Arithmetic, not an experiment. Rates in SDE time t = eta k, by the averages' answers to a single gradient: "
        "refuted if b2/b1 lies outside [1, 2], confirmed if inside.",
        rates,
    ),
)
