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
# # 5. Real training
#
# Train a small network, capture its gradient noise on the way, ask whether it is stable, and put the noise back into
# the simulator to ask how long the network would stay in its minimum.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from levyjax import plots, tails
from levyjax.plots.results.training import alpha_by_layer
from levyjax.training import TrainConfig, stable_scales, tail_monitor, train

fast = bool(os.environ.get("LEVYJAX_FAST"))
iterations = 300 if fast else 2000

# %% [markdown]
# ## A run
# `TrainConfig` is the whole configuration: the same one gives the same run. Noise is captured at fixed parameters:
# gradients of independent mini-batches minus the full gradient.

# %%
config = TrainConfig(
    data="digits", widths=(32,), learning_rate=0.1, batch_size=32, iterations=iterations, record_every=iterations // 10,
    capture_at=(0, iterations // 4, iterations), num_batches=128 if fast else 512,
)  # fmt: skip
result = train(config)
print(f"test accuracy {result.test_accuracy[-1]:.3f}, {result.parameters.size} parameters")
_, axes = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
axes.semilogy(result.iterations, result.train_loss, color=plots.PALETTE[0], label="training")
axes.semilogy(result.iterations, result.test_loss, color=plots.PALETTE[1], label="test")
axes.legend(frameon=False)
axes.set(xlabel="iteration", ylabel="loss")

# %% [markdown]
# ## The tail index along training
# By layer, by the estimator of the literature; and, dashed, the same estimator on *Gaussian* noise in which every
# coordinate has the variance measured here. Where the two lines coincide the estimate says nothing about tails.

# %%
monitored = tail_monitor(result.noise, audited=not fast)
lines = alpha_by_layer(
    [{name: getattr(one, name) for name in ("iteration", "layer", "alpha", "gaussian")} for one in monitored]
)
axes = plots.alpha_along_training(*lines)

# %% [markdown]
# ## The audit of the last capture

# %%
noise = result.noise[-1]
audit = tails.audit(noise.samples)
print(audit.verdict)
for reason in audit.reasons:
    print("   ", reason)

# %% [markdown]
# ## Back into the simulator
# `stable_scales` makes of the capture what the simulator takes: one index and a scale for each coordinate, with
# warnings about what was pooled. The scales differ by orders of magnitude between parameters, which is what makes
# pooled noise look heavy-tailed.

# %%
found = stable_scales(noise)
print(f"alpha {found.alpha:.2f}; {found.num_dead} coordinates without noise")
for warning in found.warnings:
    print("   ", warning)
_, axes = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
axes.hist(np.log10(found.scales[found.scales > 0]), bins=60, color=plots.PALETTE[0])
axes.set(xlabel="log10 of the scale", ylabel="coordinates")

# %% [markdown]
# From here `levyjax train` goes on: `run/escape.toml` drives SGD with this very noise (`[noise] kind = "empirical"`).
# When networks leave their minima is decided by the correlations of the noise and how it changes with the point, not
# by its tail index: see "exits of real networks" in the documentation. Next: [many runs at
# once](06_sweep_on_many_devices.ipynb).
