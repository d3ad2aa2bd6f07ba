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
# # 9. Your network
#
# How long would *your* network stay in its minimum, under its own gradient noise and under models of it? Five calls
# answer that for any model: here a flax CNN with batch statistics and dropout.

# %%
import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from levyjax import plots, training

fast = bool(os.environ.get("LEVYJAX_FAST"))
digits = load_digits(n_class=4)
x = np.asarray(digits.images[:96, ::2, ::2, None] / 16, np.float32)
y = np.asarray(digits.target[:96], np.int32)


class CNN(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, x):
        units = nnx.tanh(self.norm(self.conv(x)))
        return self.out(self.dropout(units.reshape(len(x), -1)))


def loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y)


@nnx.jit
def step(model, optimizer, x, y):
    optimizer.update(model, nnx.grad(lambda model: loss(model, x, y).mean())(model))


model = CNN(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.2, 0.9)), wrt=nnx.Param)
for rows in training.draw_batches(96, 32, 200):
    step(model, optimizer, x[rows], y[rows])

# %% [markdown]
# ## Its noise
# Dropout is drawn anew for each mini-batch. Under batch statistics an example has no gradient of its own, so that the
# mean over the mini-batches is taken away: `reference` says so.

# %%
noise = training.gradient_noise(loss, model, x, y, 16)
print(noise.samples.shape, "|", noise.reference)

# %% [markdown]
# ## The audit, and models of the noise
# `noise_models` audits the noise by layer, and makes noises for the simulator. Where the audit does not call the noise
# stable, it warns that the stable models are doubtful.

# %%
with warnings.catch_warnings(record=True) as doubts:
    warnings.simplefilter("always")
    models = training.noise_models(noise)
for layer, audit in models.audits.items():
    print(f"{layer}: {audit.verdict}")
print(doubts[0].message)

# %% [markdown]
# ## A minimum, and exits from a ball around it

# %%
model.eval()
landscape = training.model_landscape(loss, model, x, y, weight_decay=0.01)
exits = training.exits_under(landscape, models, 0.1, 0.3, num_trajectories=64 if fast else 512, max_steps=400)

# %%
_, axes = plt.subplots(figsize=(4.5, 3.0), layout="constrained")
for name, found in exits.items():
    plots.survival(found.exit_step, found.exited, label=name, unit="steps", ax=axes)
    print(f"{name}: half have left after {np.median(found.exit_step):.0f} steps")

# %% [markdown]
# The captured rows, which have the true correlations, and the Gaussian of the same covariance are close; independent
# stable coordinates leave too soon, as the audit warned. What changes for equinox, linen, PyTorch or a loop of your own
# is in "From your network to exit times" in the documentation.
