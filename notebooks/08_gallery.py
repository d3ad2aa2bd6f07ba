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
# # Gallery
#
# One picture each of the landscapes, basins, noises and optimizers: what there is, and what it looks like.

# %%
import os

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from levyjax import plots
from levyjax.basins import Attraction, Ball, Box, Ellipsoid, HalfSpace, Sublevel
from levyjax.dynamics import SGD, AdaGrad, Adam, ClippedSGD, Momentum, RMSProp, from_optax
from levyjax.escape import EscapeProblem, Plan, simulate_paths, simulate_visits, stationary_occupancy, transition_rates
from levyjax.landscapes import (
    AsymmetricValley,
    DoubleWell,
    LinearRegression,
    LogisticRegression,
    MultiWell,
    Quadratic,
    Separable,
    WangOhRhee,
    from_function,
)
from levyjax.noise import (
    Empirical,
    Gaussian,
    Independent,
    MiniBatch,
    Pareto,
    PerCoordinate,
    Rotational,
    StateDependent,
    StudentT,
    Tempered,
    Truncated,
)
from levyjax.solvers import Iteration, Tamed

fast = bool(os.environ.get("LEVYJAX_FAST"))
rng = np.random.default_rng(0)


def grid(count, columns=4, height=2.2):
    rows = -(-count // columns)
    _, panels = plt.subplots(rows, columns, figsize=(2.7 * columns, height * rows), layout="constrained")
    for axes in panels.ravel()[count:]:
        axes.set_axis_off()
    return panels.ravel()[:count]


# %% [markdown]
# ## Landscapes
# On the line the graph above the minimum, with the shaded part below the next saddle or a height; in the plane the
# contour lines. `from_function` takes any JAX function $f(x)$, a network's loss too.

# %%
features = rng.normal(size=(60, 2)) * [1.0, 0.4]
labels = (features @ [1.0, -2.0] + rng.normal(size=60) > 0).astype(float)
linear = LinearRegression(features, features @ [1.0, 0.5] + 0.3 * rng.normal(size=60))
logistic = LogisticRegression(features, labels, 0.05)
wells = MultiWell([-1.5, 0.0, 2.0], [-0.5, 0.8], [0.5, 1.0], [4.0, 6.0, 1.0], [4.0, 6.0], well=1)
two_by_two = Separable([DoubleWell(1.0, 0.5), DoubleWell(1.5, 0.3)])
rosenbrock = from_function(lambda x: (1 - x[0]) ** 2 + 5 * (x[1] - x[0] ** 2) ** 2, [1.0, 1.0])
line = {
    "AsymmetricValley": (AsymmetricValley([1.0], [8.0]), -2, 1),
    "DoubleWell": (DoubleWell(1.0, 0.25), -1.6, 1.6),
    "MultiWell": (wells, -2.2, 3.3),
    "WangOhRhee": (WangOhRhee(), -1.55, 1.5),
}
plane = {
    "Quadratic": (Quadratic([[1.0, 0.6], [0.6, 1.0]]), [-2, -2], [2, 2], 3.0),
    "Separable": (two_by_two, [-1.7, -2.4], [1.7, 2.4], 1.2),
    "LinearRegression": (linear, [-1, -2], [3, 3], 0.6),
    "LogisticRegression": (logistic, [-1, -4], [5, 2], 0.6),
    "from_function": (rosenbrock, [-2, -1], [2, 3], 12.0),
}
panels = grid(len(line) + len(plane))
for axes, (name, (function, low, high)) in zip(panels, line.items(), strict=False):
    plots.landscape(function, [low], [high], ax=axes).set_title(name)
for axes, (name, (function, low, high, top)) in zip(panels[len(line) :], plane.items(), strict=True):
    plots.landscape(function, low, high, height=top, ax=axes).set_title(name)

# %% [markdown]
# ## Basins
# What is left is a basin: a shape, a sublevel set of the landscape, or all points whose descent ends at the minimum.

# %%
quadratic, plain = Quadratic([1.0, 0.3]), ([-3, -3], [3, 3])
basins = {
    "Box": (quadratic, Box([-1.0, -2.0], [2.0, 1.5]), *plain),
    "Ball": (quadratic, Ball(2.0, [0.0, 0.0]), *plain),
    "Ellipsoid": (quadratic, Ellipsoid([[1.0, 0.4], [0.4, 0.5]], 1.5, [0.0, 0.0]), *plain),
    "HalfSpace": (quadratic, HalfSpace([1.0, 0.7], 1.5), *plain),
    "Sublevel": (two_by_two, Sublevel(two_by_two, 0.2), [-1.7, -2.4], [1.7, 2.4]),
    "Attraction": (two_by_two, Attraction(two_by_two), [-1.7, -2.4], [1.7, 2.4]),
}
for axes, (name, (function, basin, low, high)) in zip(grid(len(basins), 3, 2.6), basins.items(), strict=True):
    plots.landscape(function, low, high, basin=basin, height=6.0, ax=axes).set_title(name)

# %% [markdown]
# ## Noise
# What one noise does to gradient descent on a round bowl: the points of one long path. Noise that belongs to an
# iteration (Pareto, Student t, mini-batches, resampled data) runs there; the others are processes in continuous time.

# %%
scale, regression = [1.0, 0.5], LinearRegression(features, features @ [1.0, 0.5] + 0.3 * rng.normal(size=60))
bowl = Quadratic([1.0, 1.0])
noises = {
    "Gaussian": Gaussian(scale),
    "Independent, 1.5": Independent(1.5, scale),
    "Independent, 1.1": Independent(1.1, scale),
    "Rotational, 1.1": Rotational(1.1, scale),
    "PerCoordinate, 1.1 and 1.9": PerCoordinate([1.1, 1.9], scale),
    "Truncated at 5": Truncated(1.1, 5.0, scale),
    "Tempered": Tempered(1.1, 0.2, scale),
    "Pareto, 1.1": Pareto(1.1, scale),
    "StudentT, 1.1": StudentT(1.1, scale),
    "Empirical": Empirical(rng.standard_t(2.0, size=(500, 1)) * scale + 0.3 * rng.normal(size=(500, 2))),
    "MiniBatch of 2": MiniBatch(regression, 2),
    "StateDependent": StateDependent(Independent(1.5, scale), lambda x: 0.1 + jnp.abs(x)),
}
for axes, (name, noise) in zip(grid(len(noises), 4), noises.items(), strict=True):
    function = regression if name.startswith("MiniBatch") else bowl
    problem = EscapeProblem(function, Ball(1e6, np.asarray(function.minimum)), noise, SGD(0.1), 1.0)
    points = simulate_paths(problem, Plan(Iteration(), 1), 500 if fast else 3000, key=1).x[0]
    axes.plot(*points, ",", color=plots.PALETTE[0])
    reach = np.quantile(np.abs(points - np.asarray(function.minimum)[:, None]), 0.999)
    centre = np.asarray(function.minimum)
    axes.set(xlim=centre[0] + [-reach, reach], ylim=centre[1] + [-reach, reach], title=name)

# %% [markdown]
# ## Optimizers
# The same stable noise, the same start, the same number of iterations; each as `optax` has it. Any other optax
# transformation runs through `from_optax`.

# %%
optimizers = {
    "SGD": SGD(0.1),
    "Momentum": Momentum(0.02, 0.9),
    "Nesterov": Momentum(0.02, 0.9, nesterov=True),
    "ClippedSGD": ClippedSGD(0.1, 0.1),
    "RMSProp": RMSProp(0.02),
    "AdaGrad": AdaGrad(0.2),
    "Adam": Adam(0.05),
    "AdamW": Adam(0.05, weight_decay=0.5),
    "from_optax: Lion": from_optax(optax.lion(0.02), 0.02),
}
valley, wall = Quadratic([1.0, 0.1]), Ball(1e6, [0.0, 0.0])
for axes, (name, optimizer) in zip(grid(len(optimizers), 3), optimizers.items(), strict=True):
    problem = EscapeProblem(valley, wall, Independent(1.3, [1.0, 1.0]), optimizer, 0.1, [-2.0, 2.5])
    path = simulate_paths(problem, Plan(Iteration(), 1), 150, key=4).x[0]
    plots.landscape(valley, [-3, -2], [2, 3], ax=axes)
    axes.plot(*path, ".-", markersize=2, linewidth=0.6, color=plots.PALETTE[1])
    axes.set(title=name, xlim=(-3, 2), ylim=(-2, 3))

# %% [markdown]
# ## Exits
# Paths that leave a basin: by one jump, dotted, under stable noise.

# %%
problem = EscapeProblem(valley, Sublevel(valley, 0.5), Independent(1.3, [1.0, 1.0]), SGD(0.05), 0.8)
paths = simulate_paths(problem, Plan(Iteration(), 4), 2000, key=2)
axes = plots.landscape(valley, [-2.5, -5.5], [2.5, 5.5], basin=problem.basin, paths=paths.tracks())

# %% [markdown]
# ## Beyond one basin
# Among several wells the share of time in each follows a Markov chain whose rates depend on widths, not on heights.

# %%
visits = simulate_visits(
    wells, [-0.5, 0.8], Independent(1.5, [1.0]), SGD(), 0.02, Tamed(0.02),
    duration=4000.0 if fast else 100000.0, num_trajectories=64, key=0, well=1,
)  # fmt: skip
share = visits.time.sum(axis=0) / visits.time.sum()
law = stationary_occupancy(transition_rates([-1.5, 0.0, 2.0], [-0.5, 0.8], 1.5, 0.02))
axes = plots.landscape(wells, [-2.2], [3.3])
for x, measured, expected in zip([-1.5, 0.0, 2.0], share, law, strict=True):
    axes.text(x, 2.5, f"{measured:.2f}\n(law {expected:.2f})", ha="center")
axes.set_ylim(-0.2, 4)
axes.set_title("share of time in each well")
