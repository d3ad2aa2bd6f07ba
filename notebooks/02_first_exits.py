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
# # 2. First exits and the $\varepsilon^{-\alpha}$ law
#
# Gradient descent under noise leaves a basin sooner or later. With Gaussian noise it has to climb, and the time grows
# exponentially with the height. With alpha-stable noise it leaves by one large jump: the time grows like
# $\varepsilon^{-\alpha}$ and only the *width* of the basin matters. Here we see it, and compare with the exact law.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from levyjax import plots
from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, exponential_fit, predict, simulate, simulate_paths
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler, JumpAdapted

count = 500 if os.environ.get("LEVYJAX_FAST") else 4000

# %% [markdown]
# ## Two ways out
# A parabola cut off at 1. Gaussian noise creeps up the wall; stable noise is over it at once, from the bottom. (The
# Gaussian noise here is six times as strong: at the level of the stable one it would never be seen to leave.)

# %%
_, panels = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
for axes, alpha, level, seed in zip(panels, (2.0, 1.5), (0.3, 0.05), (0, 2), strict=True):
    one = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(alpha, [1.0]), SGD(), level)
    track = simulate_paths(one, Plan(Euler(0.02), 1), 40_000, key=seed).tracks()[0][0]
    axes.plot(0.02 * np.arange(track.size)[-3000:], track[-3000:], linewidth=0.7, color=plots.PALETTE[0])
    axes.axhspan(-1, 1, color="0.95")
    axes.set(title=f"α = {alpha}: the time before the exit", xlabel="SDE time", ylabel="x")

# %% [markdown]
# ## One exit problem
# $dX = -X\,dt + \varepsilon\,dL$ on $(-1, 1)$, from the minimum. `predict` gives the rate of the small-noise law and
# says whether it may be believed here: `kappa` compares the relaxation with the waiting time for a large jump.


# %%
def problem(alpha, noise_level):
    return EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(alpha, [1.0]), SGD(), noise_level)


for level in (0.1, 0.01):
    prediction = predict(problem(1.5, level))
    print(f"noise level {level}: mean exit time {prediction.mean_exit_time:.1f}, kappa {prediction.kappa:.0f}")
    print("   valid" if prediction.valid else f"   {prediction.reasons[0]}")

# %% [markdown]
# ## Simulation against the law

# %%
axes = None
for alpha in (1.2, 1.5, 1.8):
    levels = [0.1, 0.05, 0.02]
    fits, predicted = [], []
    for level in levels:
        samples = simulate(problem(alpha, level), Plan(Euler(0.1), count), key=0)
        fits.append(exponential_fit(samples.exit_time, samples.exited))
        predicted.append(predict(problem(alpha, level)).mean_exit_time)
    means, intervals = [fit.mean for fit in fits], [fit.mean_interval for fit in fits]
    axes = plots.exit_time_scaling(levels, means, intervals, predicted, label=f"α = {alpha}", ax=axes)

# %% [markdown]
# ## Exit times are exponential
# The survival curve is a straight line on a logarithmic axis, and the quantiles lie on those of an exponential law.

# %%
samples = simulate(problem(1.5, 0.02), Plan(Euler(0.1), count), key=1)
_, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
plots.survival(samples.exit_time, samples.exited, rate=predict(problem(1.5, 0.02)).rate, ax=left)
axes = plots.exponential_qq(samples.exit_time, ax=right)

# %% [markdown]
# ## Width decides, not height
# Twice the curvature is twice the barrier height at the same width. A Gaussian exit becomes rarer by an exponential
# factor; a stable one does not care. Twice the width at the same height costs $2^\alpha$.

# %%
steeper = EscapeProblem(Quadratic([2.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.02)
wider = EscapeProblem(Quadratic([0.25]), Box([-2.0], [2.0]), Independent(1.5, [1.0]), SGD(), 0.02)
base = predict(problem(1.5, 0.02)).mean_exit_time
for name, one in {"base": problem(1.5, 0.02), "twice as high": steeper, "twice as wide": wider}.items():
    samples = simulate(one, Plan(JumpAdapted(), count), key=3)
    fit = exponential_fit(samples.exit_time, samples.exited)
    print(f"{name:14s} law {predict(one).mean_exit_time / base:.3f}   simulated {fit.mean / base:.3f}", end="   ")
    print(f"(95%: {fit.mean_interval[0] / base:.3f} to {fit.mean_interval[1] / base:.3f})")

# %% [markdown]
# `JumpAdapted` draws the large jumps one by one and follows the flow between them, so that its cost does not grow as
# the noise shrinks; `Euler` takes the same small steps all along. Next: [Adam against
# SGD](03_sgd_against_adam.ipynb).
