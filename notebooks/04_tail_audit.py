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
# # 4. Is it really stable? The tail audit
#
# "We pooled the gradient noise of a layer, estimated a tail index of 1.4, so the noise is alpha-stable." This
# notebook shows how noise of *finite variance* gives the same number, and what `tails.audit` looks at to tell them
# apart.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from levyjax import plots, stable, tails

fast = bool(os.environ.get("LEVYJAX_FAST"))
rng = np.random.default_rng(0)
count = 20_000 if fast else 100_000

# %% [markdown]
# ## Three samples
# The first is stable with $\alpha = 1.5$. The second is Gaussian noise in which every coordinate has its own scale,
# as the parameters of a network have: each one as harmless as can be. The third has a Student t law with 3 degrees of
# freedom: a tail of index 3, so that its variance is finite.

# %%
samples = {
    "stable, α = 1.5": np.asarray(stable.sample(0, 1.5, (count,)), float),
    "Gaussian of many scales": rng.normal(size=count) * np.exp(rng.normal(size=count)),
    "Student t, 3 degrees": rng.standard_t(3, size=count),
}
_, panels = plt.subplots(1, 3, figsize=(9, 2.2), layout="constrained")
for axes, (name, data) in zip(panels, samples.items(), strict=True):
    axes.plot(data[:2000], linewidth=0.5, color=plots.PALETTE[0])
    axes.set_title(name, fontsize=9)

# %% [markdown]
# ## One estimator, one number each
# The block log-moment estimator (Mohammadi et al. 2015) is the one of the literature on gradient noise. It assumes
# that the data *are* stable, and then answers a question about them. It does not say when they are not.

# %%
for name, data in samples.items():
    found = tails.estimate(data, "block_log_moment")
    low, high = found.interval
    print(f"{name:24s} alpha {found.alpha:.2f}  (95%: {low:.2f} to {high:.2f})")

# %% [markdown]
# All three look stable. What gives the impostors away is a change of scale: sums of stable noise are stable of the
# *same* index, sums of anything with a variance become Gaussian. So let the estimator's block length grow. A stable
# sample stays where it is; the others rise towards 2.

# %%
for name, data in samples.items():
    sweep = tails.block_length_sweep(data)
    plots.block_length_sweep(sweep.block_lengths, sweep.alpha, sweep.interval, label=name)

# %% [markdown]
# ## Look at the tail itself
# A power law is a straight line in the far tail. The Hill plot takes the largest $k$ values and gives the slope
# there: it should be flat over a stretch of $k$.

# %%
_, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for place, (name, data) in enumerate(samples.items()):
    plots.ccdf(data / np.median(np.abs(data)), label=name, ax=left)
    hill = tails.hill_plot(data)
    right.semilogx(hill.num_tail, hill.alpha, color=plots.PALETTE[place], label=name)
right.axhline(2, color="0.6", linewidth=0.8, linestyle=":")
right.set(xlabel="number of tail values", ylabel="Hill's index", ylim=(0, 5))

# %% [markdown]
# ## The audit
# `tails.audit` brings columns to one scale, fits nine laws, tests the fits, looks at the far tail and at sums, and
# decides only if these agree. Its reasons are sentences with the numbers in them. "undecided" is an answer too.

# %%
for name, data in samples.items():
    verdict = tails.audit(data[:20_000])
    print(f"{name}: {verdict.verdict}")
    for reason in verdict.reasons:
        print(f"    {reason}")

# %% [markdown]
# ## Columns
# Give the audit the noise as (iterations, parameters) and it standardizes every column first. The same Gaussian
# numbers as above, now as 400 iterations of 250 parameters: nothing heavy is left.

# %%
columns = rng.normal(size=(400, 250)) * np.exp(rng.normal(size=250))
print(tails.audit(columns).verdict, "| pooled:", f"{tails.estimate(columns.ravel(), 'block_log_moment').alpha:.2f}")

# %% [markdown]
# How often the verdict is right, on laws whose answer is known, is measured in the documentation (tail estimators).
# Next: [the noise of a real network](05_real_training.ipynb).
