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
# # 6. A sweep on many devices
#
# A grid of exit problems, cut into chunks that are pure functions of (configuration, cell, chunk). Any number of
# workers computes them; a killed sweep goes on where it was; the bits are the same for every number of devices.

# %%
import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_force_host_platform_device_count=4"
)  # four virtual devices, before jax starts

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray

from levyjax import plots
from levyjax.basins import Box
from levyjax.config.grid import parse_sweep
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, simulate
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import JumpAdapted
from levyjax.sweep import ChunkStore, collect, cost, export, pending, run_sweep

count = 512 if os.environ.get("LEVYJAX_FAST") else 8192

# %% [markdown]
# ## The same bits on one device and on four
# Trajectory $i$ is a function of the seed and $i$. How trajectories are dealt to devices changes nothing in them.

# %%
problem = EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.02)
on = {
    n: simulate(problem, Plan(JumpAdapted(), count, devices=jax.devices()[:n]), key=0) for n in (1, len(jax.devices()))
}
one, many = on.values()
print(f"{len(jax.devices())} devices;", "same bits:", np.array_equal(one.exit_position, many.exit_position))

# %% [markdown]
# ## A grid
# The tables are those of a run file (`levyjax sweep sweep.toml --out DIR` takes the same as TOML). Lists cross;
# `[[dynamics]]` written twice gives alternatives; `[sweep.axes]` sweeps any key. `cost` says what it will take before
# it starts.

# %%
sweep = parse_sweep(
    {
        "landscape": {"kind": "quadratic", "hessian": [1.0, 0.1]},
        "basin": {"kind": "ellipsoid", "matrix": [1.0, 0.1], "level": 1.0},
        "dynamics": [
            {"kind": "sgd"},
            {"kind": "adam", "variant": "frozen", "preconditioner": [0.5, 0.05]},
        ],
        "noise": {"kind": "independent", "alpha": [1.2, 1.4, 1.6, 1.8], "scale": [0.5, 0.05]},
        "run": {"noise_level": [0.05, 0.02, 0.01], "method": "jump_adapted", "num_trajectories": count},
        "sweep": {"chunk_size": count // 2},
    }
)
expected = cost(sweep)
for name, value in expected.items():
    print(f"{name:24s} {value:,.0f}")

# %% [markdown]
# ## Killed, and gone on
# The first worker is stopped after five chunks. What it has written stays, each chunk with a checksum; a pool of
# workers does the rest. Any executor will do: threads here; `dask.distributed.Client(...).get_executor()` on a
# cluster.

# %%
folder = Path(tempfile.mkdtemp())
store = ChunkStore.create(folder, sweep)
done = []


def stop_after_five(entry):
    done.append(entry)
    if len(done) == 5:
        raise KeyboardInterrupt


try:
    run_sweep(folder, on_done=stop_after_five)
except KeyboardInterrupt:
    print(f"stopped: {len(pending(store))} chunks are missing")
with ThreadPoolExecutor(2) as pool:
    run_sweep(folder, pool)
print(f"done: {len(pending(store))} chunks are missing")

# %% [markdown]
# ## What came of it
# `collect` gives a row for each cell, simulation beside prediction, and the slopes over the noise level.

# %%
table = collect(folder)
axes = plots.phase_diagram(
    plots.contest_grid(table["cells"], "alpha", "noise_level"), xlabel="α", ylabel="noise level",
    label="exit time of Adam / of SGD",
)  # fmt: skip

# %% [markdown]
# Everything goes into one netCDF or Zarr file that plain xarray opens, with the configuration and the versions in it.

# %%
path = export(folder, folder / "sweep.nc")
with xarray.open_dataset(path, engine="h5netcdf") as data:
    print(data.sizes)
    ratio = np.asarray(data["ratio"]) if "ratio" in data else np.array([row["ratio"] for row in table["cells"]])
_, axes = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
axes.plot(ratio.ravel(), "o", color=plots.PALETTE[0])
axes.axhline(1, color="0.6", linewidth=0.8)
axes.set(xlabel="cell", ylabel="simulated / predicted")

# %% [markdown]
# On a cluster: `levyjax sweep sweep.toml --out DIR --shard 3/8` in a SLURM array, `--scheduler ADDRESS` for Dask, and
# `--distributed` where the machines talk to each other. Next: [any optimizer](07_any_optimizer.ipynb).
