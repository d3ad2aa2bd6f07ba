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
# # First exits under stable noise
#
# Gradient descent under noise leaves a basin sooner or later. With Gaussian noise it has to climb, and the time grows
# exponentially with the height. With alpha-stable noise it leaves by one large jump: the time grows like
# $\varepsilon^{-\alpha}$ and only the *width* of the basin matters. Here we see it, and compare with the exact law.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from levyjax import plots, stable
from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, exponential_fit, predict, simulate
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler

count = 500 if os.environ.get("LEVYJAX_FAST") else 4000

# %% [markdown]
# ## The noise
# A symmetric stable variate of unit scale has characteristic function $\exp(-|w|^\alpha)$. At $\alpha = 2$ it is
# $N(0, 2)$; below, it has a tail of index $\alpha$ and no variance.

# %%
for alpha in (2.0, 1.5, 1.2):
    path = np.cumsum(np.asarray(stable.sample(3, alpha, (2000,))))
    plt.plot(path / np.abs(path).max(), label=f"α = {alpha}")
plt.legend()
plt.xlabel("step")
plt.ylabel("path over its largest value")

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
# Exit times are exponential: the survival curve is a straight line on a logarithmic axis.

# %%
samples = simulate(problem(1.5, 0.02), Plan(Euler(0.1), count), key=1)
plots.survival(samples.exit_time, samples.exited, rate=predict(problem(1.5, 0.02)).rate)
