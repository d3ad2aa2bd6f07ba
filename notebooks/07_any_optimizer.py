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
# # 7. Any optimizer: optax in, exit times out
#
# Every optax transformation can be run under stable noise until it leaves a basin, and any JAX function can be the
# landscape. There is no theory for most of them; there are exit times.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from levyjax import add_stable_noise, plots
from levyjax.basins import Ball
from levyjax.dynamics import SGD, from_optax
from levyjax.escape import EscapeProblem, Plan, exponential_fit, kaplan_meier, simulate, simulate_paths
from levyjax.landscapes import from_function
from levyjax.noise import Independent
from levyjax.solvers import Iteration

fast = bool(os.environ.get("LEVYJAX_FAST"))
count, longest = (256, 5_000) if fast else (4096, 50_000)

# %% [markdown]
# ## A landscape of your own
# Any function of one point; it is differentiated and vectorized for you. The second argument is the minimum to start
# from.


# %%
def bumpy(x):
    return jnp.sum(x**2 + 0.5 * (1 - jnp.cos(5 * x)))


landscape = from_function(bumpy, [0.0, 0.0])
basin = Ball(2.0, [0.0, 0.0])
rate = 0.2
optimizers = {
    "SGD": SGD(rate),
    "momentum": from_optax(optax.sgd(rate, momentum=0.9), rate),
    "clipped": from_optax(optax.chain(optax.clip_by_global_norm(4.0), optax.sgd(rate)), rate),
    "Adam": from_optax(optax.adam(rate), rate),
    "Lion": from_optax(optax.lion(rate / 2), rate),
}


def problem(optimizer, noise_level=0.5):
    return EscapeProblem(landscape, basin, Independent(1.3, [1.0, 1.0]), optimizer, noise_level)


_, panels = plt.subplots(1, len(optimizers), figsize=(2.4 * len(optimizers), 2.6), layout="constrained")
for axes, (name, optimizer) in zip(panels, optimizers.items(), strict=True):
    paths = simulate_paths(problem(optimizer), Plan(Iteration(), 3), 400, key=0)
    plots.landscape(landscape, [-3, -3], [3, 3], basin=basin, paths=paths.tracks(), ax=axes).set_title(name)

# %% [markdown]
# SGD jumps. Momentum smears a jump over ten steps. Clipping, Adam and Lion bound every step, so that they have to
# walk.
#
# ## Exit times
# The same noise, the same seed. Trajectories that have not left at the end are *censored*: counted as "longer than",
# never dropped.

# %%
axes = None
for name, optimizer in optimizers.items():
    samples = simulate(problem(optimizer), Plan(Iteration(), count, max_time=rate * longest), key=1)
    fit = exponential_fit(samples.exit_step, samples.exited)
    mean = f"mean {fit.mean:8.0f} iterations" if fit.mean else "none left"
    print(f"{name:9s} {mean}, {int((~samples.exited).sum())} of {count} still inside after {longest}")
    axes = plots.survival(samples.exit_step, samples.exited, label=name, unit="iterations", ax=axes)
axes.set_xlim(left=0)

# %% [markdown]
# Is an exponential law a fair summary? The Kaplan-Meier estimate makes no such assumption:

# %%
samples = simulate(problem(optimizers["clipped"]), Plan(Iteration(), count, max_time=rate * longest), key=1)
curve = kaplan_meier(samples.exit_step, samples.exited)
print(type(curve).__name__, "with", len(np.unique(samples.exit_step)), "different exit steps")

# %% [markdown]
# ## Stable noise in a training loop of your own
# `add_stable_noise` is an optax transformation. Its state is a counter: the noise of step $n$ is a function of the
# key and $n$, so that a run that is resumed sees the same noise.

# %%
optimizer = optax.chain(add_stable_noise(1.5, 0.02, key=0), optax.sgd(0.1))
parameters = {"w": jnp.ones(3), "b": jnp.zeros(())}
state = optimizer.init(parameters)


@jax.jit
def step(parameters, state):
    slope = jax.grad(lambda p: jnp.sum(p["w"] ** 2) + p["b"] ** 2)(parameters)
    updates, state = optimizer.update(slope, state)
    return optax.apply_updates(parameters, updates), state


track = []
for _ in range(300):
    parameters, state = step(parameters, state)
    track.append(np.asarray(parameters["w"]))
_, axes = plt.subplots(figsize=(5, 2.4), layout="constrained")
axes.plot(track, linewidth=0.8)
axes.set(xlabel="iteration", ylabel="w")

# %% [markdown]
# Write a dynamics of your own as a class with `init` and `iterate`: see the how-to page on your own landscape, noise
# or optimizer.
