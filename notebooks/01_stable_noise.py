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
# # 1. Stable noise
#
# Add up many independent Gaussian numbers and the sum is Gaussian again. It is not the only law with this property:
# the
# *alpha-stable* laws have it too, with tails so heavy that no variance exists. This notebook shows what they look like,
# which conventions levyjax uses, and why sampling them in float32 takes some care.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from levyjax import plots, stable
from levyjax.noise import Independent, Rotational

fast = bool(os.environ.get("LEVYJAX_FAST"))

# %% [markdown]
# ## Three random walks
# Each is the sum of 2000 draws. At $\alpha = 2$ (Gaussian) no single step matters. Below, the largest step is as
# large as all the others together: the path moves by *jumps*.

# %%
_, panels = plt.subplots(1, 3, figsize=(9, 2.4), layout="constrained")
for axes, alpha in zip(panels, (2.0, 1.5, 1.1), strict=True):
    axes.plot(np.cumsum(np.asarray(stable.sample(3, alpha, (2000,)))), linewidth=0.8, color=plots.PALETTE[0])
    axes.set(title=f"α = {alpha}", xlabel="step")

# %% [markdown]
# ## The law
# A symmetric stable variate with index $\alpha$ and scale $\sigma$ has the characteristic function
# $E\,e^{iwX} = e^{-|\sigma w|^\alpha}$. At $\alpha = 2$ that is $N(0, 2\sigma^2)$: mind the 2. There is no elementary
# formula for the density, but `stable.pdf` has it to full precision, and `stable.sf` the tails.

# %%
x = np.linspace(-6, 6, 401)
far = np.geomspace(1, 1e4, 200)
_, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
for place, alpha in enumerate((2.0, 1.5, 1.1)):
    left.plot(x, stable.pdf(x, alpha), color=plots.PALETTE[place], label=f"α = {alpha}")
    right.loglog(far, 2 * np.asarray(stable.sf(far, alpha)), color=plots.PALETTE[place])
left.legend(frameon=False)
left.set(xlabel="x", ylabel="density")
right.set(xlabel="u", ylabel="P(|X| > u)", ylim=(1e-7, 1))

# %% [markdown]
# The tails are straight lines on logarithmic axes: $P(|X| > u) \to (2 C_\alpha/\alpha)\,(\sigma/u)^{\alpha}$. That is
# why moments of order $\alpha$ and above are infinite: no variance for any $\alpha < 2$, and no mean for $\alpha \le
# 1$. Drawn numbers follow it over as many decades as there are draws to see:

# %%
draws = stable.sample(0, 1.5, (20_000 if fast else 1_000_000,))
axes = plots.ccdf(draws, alpha=1.5, label="drawn, α = 1.5")

# %% [markdown]
# ## Sums keep the law
# $n$ draws add up to $n^{1/\alpha}$ times one draw. A sum of 100 at $\alpha = 1.5$ is 21.5 times as wide as one,
# where a Gaussian's would be 10 times. Quantiles show it; standard deviations would not exist.

# %%
many = np.asarray(stable.sample(1, 1.5, (100, 4_000 if fast else 40_000)))
levels = np.array([0.6, 0.75, 0.9, 0.99])
sums = np.quantile(many.sum(axis=0), levels) / 100 ** (1 / 1.5)
for level, measured, law in zip(levels, sums, np.asarray(stable.ppf(levels, 1.5)), strict=True):
    print(f"quantile {level}: {measured:7.3f} of the rescaled sums, {law:7.3f} of one draw")

# %% [markdown]
# ## In the plane
# Independent coordinates jump along the axes, one coordinate at a time: the picture is a cross. A rotation-invariant
# law jumps in all directions. Which of them gradient noise resembles decides where an optimizer leaves a basin.

# %%
_, panels = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
radius = 40.0
for axes, (name, noise) in zip(
    panels, {"Independent": Independent, "Rotational": Rotational}.items(), strict=True
):  # fmt: skip
    if name == "Independent":
        points = np.asarray(stable.sample(2, 1.3, (2, 20_000)))
    else:
        points = np.asarray(stable.sample_elliptical(2, 1.3, np.eye(2), (20_000,))).T
    axes.plot(*points, ",", color=plots.PALETTE[0])
    axes.set(xlim=(-radius, radius), ylim=(-radius, radius), aspect="equal", title=f"{noise.__name__}, α = 1.3")

# %% [markdown]
# ## A trap in float32
# The textbook formula (Chambers, Mallows and Stuck) needs a uniform angle $u$. A float32 uniform has $2^{23}$ values,
# so that $\cos u$ never gets close to 0, and the far tail is missing. levyjax draws the *distance* to the pole, with
# a true exponent. Below: how many of the expected draws beyond a level are there; two in three of the farthest are not.


# %%
def textbook(key, alpha, shape):
    angle, exponential = jax.random.split(jax.random.key(key))
    u = jax.random.uniform(angle, shape, minval=-jnp.pi / 2, maxval=jnp.pi / 2)
    w = jax.random.exponential(exponential, shape)
    return jnp.sin(alpha * u) / jnp.cos(u) ** (1 / alpha) * (jnp.cos((1 - alpha) * u) / w) ** ((1 - alpha) / alpha)


count, rounds, alpha = (1 << 20, 1, 1.8) if fast else (1 << 26, 8, 1.8)
levels = (3e1, 3e2, 3e3)
seen = np.zeros((2, 3), int)
for k in range(rounds):
    for row, draw in zip(seen, (textbook, stable.sample), strict=True):
        sizes = jnp.abs(draw(k, alpha, (count,)))
        row += [int((sizes > level).sum()) for level in levels]
for level, by_textbook, by_levyjax in zip(levels, *seen, strict=True):
    expected = 2 * float(stable.sf(level, alpha)) * count * rounds
    print(
        f"beyond {level:6.0f}: {expected:9.1f} expected, {by_textbook:6d} by the textbook, {by_levyjax:6d} by levyjax"
    )

# %% [markdown]
# Next: [what such noise does to gradient descent](02_first_exits.ipynb).
