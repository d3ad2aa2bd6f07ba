# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. SGD against Adam
#
# Zhou et al. (NeurIPS 2020) explain why SGD generalizes better than Adam like this: both are driven by heavy-tailed
# noise, Adam's preconditioner makes its *escape set* smaller, and so it stays longer in sharp minima. Each step of
# that can be looked at. This notebook draws the escape sets, races the two, and shows what the answer hangs on.

# %%
import dataclasses
import os

import matplotlib.pyplot as plt
import numpy as np

from levyjax import plots
from levyjax.basins import Ellipsoid
from levyjax.dynamics import SGD, Adam
from levyjax.escape import EscapeProblem, Plan, exponential_fit, predict, simulate, simulate_paths
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Iteration, JumpAdapted

count = 1000 if os.environ.get("LEVYJAX_FAST") else 20_000

# %% [markdown]
# ## The escape set
# Under small stable noise one jump decides. It starts at the minimum, so all that counts is which jumps lead out of
# the basin: the escape set $W$. SGD moves by the jump $y$ itself. Adam divides every coordinate by $Q = \sqrt v$, the
# size of the gradient noise there, so that a jump along a noisy coordinate has to be longer, along a quiet one
# shorter.

# %%
curvature, scale = [1.0, 0.1], [0.5, 0.05]
landscape, basin = Quadratic(curvature), Ellipsoid(curvature, 1.0, [0.0, 0.0])
axes = plots.escape_sets(
    basin, [0.0, 0.0], {"SGD": [1.0, 1.0], "Adam": 1 / np.array(scale)}, landscape=landscape
)  # fmt: skip

# %% [markdown]
# Here the noise scales are below 1, so that $Q^{-1}$ makes every jump *longer*: Adam's escape set is the larger one.
# With other scales it is the other way round. Equal learning rates are no fair race: Adam's has another unit.

# %% [markdown]
# ## A race at equal learning rate
# The exact law of the limit against simulation. `frozen` is Adam with its preconditioner held at the noise scales.

# %%
noise = Independent(1.5, scale)
adam = Adam(variant="frozen", preconditioner=scale)
for name, dynamics in {"SGD": SGD(), "Adam": adam}.items():
    problem = EscapeProblem(landscape, basin, noise, dynamics, 0.01)
    samples = simulate(problem, Plan(JumpAdapted(), count), key=0)
    fit = exponential_fit(samples.exit_time, samples.exited)
    low, high = fit.mean_interval
    print(f"{name}: mean exit time {fit.mean:.1f} ({low:.1f} to {high:.1f}), law {predict(problem).mean_exit_time:.1f}")

# %% [markdown]
# ## The answer is a matter of units
# Multiply the noise scales by $s$ and leave all else alone. In the limit the ratio of the two exit times (SGD over
# Adam) is $s^{-\alpha}$ times its value at $s = 1$: above 1 for small noise scales, below 1 for large ones. "Adam
# escapes more slowly" cannot hold for every problem, and does not.

# %%
sizes, ratios = np.geomspace(0.1, 10, 9), []
for size in sizes:
    scaled = size * np.array(scale) / max(scale)
    pair = [SGD(), Adam(variant="frozen", preconditioner=scaled)]
    problems = [EscapeProblem(landscape, basin, Independent(1.5, scaled), dynamics, 0.001 / size) for dynamics in pair]
    sgd, frozen = (predict(problem).mean_exit_time for problem in problems)
    ratios.append(sgd / frozen)
_, axes = plt.subplots(figsize=(4.5, 3), layout="constrained")
axes.loglog(sizes, ratios, "o-", color=plots.PALETTE[0])
axes.axhline(1, color="0.6", linewidth=0.8)
axes.set(xlabel="largest noise scale", ylabel="exit time of SGD / of Adam")

# %% [markdown]
# ## Adam itself
# The algorithm is not its equation. Its second moment *sees* the jump: $v$ grows with the square of the gradient, and
# the step that a spike makes is capped, whatever its size: with the default betas a single one moves Adam by no more
# than $32\,\eta$ in all. With small learning rates Adam cannot leave in one jump, and the power law ends.

# %%
noisy = EscapeProblem(landscape, basin, Independent(1.2, [1.0, 1.0]), SGD(0.05), 0.5, [0.5, 1.0])
_, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for axes, (name, dynamics) in zip(panels, {"SGD": SGD(0.05), "Adam": Adam(0.05)}.items(), strict=True):
    problem = dataclasses.replace(noisy, dynamics=dynamics)
    paths = simulate_paths(problem, Plan(Iteration(), 3), 300, key=5)
    plots.landscape(landscape, [-4, -4], [4, 4], basin=basin, paths=paths.tracks(), ax=axes).set_title(name)

# %%
rates = np.array([0.4, 0.2, 0.1, 0.05, 0.025])
steps = {"SGD": [], "Adam": []}
for rate in rates:
    for name, dynamics in {"SGD": SGD(rate), "Adam": Adam(rate)}.items():
        problem = EscapeProblem(Quadratic([1.0]), Ellipsoid([1.0], 1.0, [0.0]), Independent(1.5, [1.0]), dynamics, 1.0)
        samples = simulate(problem, Plan(Iteration(), 512, max_time=float(rate) * 3e5), key=1)
        steps[name].append(exponential_fit(samples.exit_step, samples.exited).mean)
_, axes = plt.subplots(figsize=(4.5, 3), layout="constrained")
for place, (name, means) in enumerate(steps.items()):
    axes.loglog(
        rates, [np.nan if mean is None else mean for mean in means], "o-", color=plots.PALETTE[place], label=name
    )
axes.legend(frameon=False)
axes.set_xticks(rates, labels=[f"{rate:g}" for rate in rates])
axes.minorticks_off()
axes.set(xlabel="learning rate", ylabel="mean iterations to the exit")

# %% [markdown]
# At large rates both leave at once. Going down, SGD's time grows like a power, Adam's bends away upwards. Which of
# them is "slower to escape" at *equal progress* depends on the tail index, the condition number, and the alignment of
# noise and curvature; claims D14 and D14-algorithms of `levyjax reproduce` map it.
#
# Next: [is gradient noise stable at all?](04_tail_audit.ipynb)
