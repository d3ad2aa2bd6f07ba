"""What captured statistics of gradient noise cost over the gradients, and training beside the leanest optax loop."""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from levyjax.training import MLP, FlatModel, TrainConfig, draw_batches, flatten, load, noise_statistics, train

from .common import interleaved, seconds_of

WIDTHS, BATCH = (784, 100, 100, 10), 100  # of the capture
_EXAMPLES = 2_000
SIZES = {
    "784-100-100-10": {"data": "mnist", "widths": (100, 100), "batch_size": 100},
    "64-32-10": {"data": "digits", "widths": (32,), "batch_size": 32},
}
EPOCHS = {"mnist": 2, "digits": 1000}
_PEAK = """
import importlib.util, sys, jax.numpy as jnp, numpy as np
from flax import nnx
from levyjax.training import MLP, draw_batches, flatten, load, noise_statistics
data, model = load("digits"), flatten(MLP((64, 2000, 10), rngs=nnx.Rngs(0)))
batches = draw_batches(1437, 2, int(sys.argv[1]))
noise_statistics(model.losses, model.parameters, jnp.asarray(data.train_x), jnp.asarray(data.train_y), batches)
spec = importlib.util.spec_from_file_location("memory", sys.argv[2])
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
print(module.peak_memory())
"""


def run(quick: bool) -> dict[str, Any]:
    """Rows of kinds "capture", "train" and "memory"; times are medians of runs taken in turn in one process."""
    rows = [capture(64 if quick else 256, 5 if quick else 15)]
    for name in SIZES:
        for optimizer in ("sgd", "adam"):
            rows += updates(name, optimizer, quick)
    rows += [memory(count) for count in ((64, 512) if quick else (64, 4096))]
    return {"rows": rows, "dtype": "float32", "quick": quick}


def capture(num_batches: int, repeats: int) -> dict[str, Any]:
    """Statistics against the gradients that they are of, by the same `lax.map`, on random images of MNIST's shape.

    The full gradient is in neither: it is needed for the noise, whatever is kept of it. It is timed with one mini-batch
    and subtracted; of 2000 examples, so that little is.
    """
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((_EXAMPLES, WIDTHS[0])), jnp.float32)
    y = jnp.asarray(rng.integers(0, WIDTHS[-1], _EXAMPLES), jnp.int32)
    model = flatten(MLP(WIDTHS, rngs=nnx.Rngs(0)))
    batches = draw_batches(len(y), BATCH, num_batches)

    @jax.jit
    def group(parameters: jax.Array, x: jax.Array, y: jax.Array, rows: jax.Array) -> jax.Array:
        one = lambda row: jax.grad(lambda p: model.losses(p, x[row], y[row]).mean())(parameters)  # noqa: E731
        return jax.lax.map(one, rows)

    def gradients() -> None:
        for rows in np.split(batches, len(batches) // 32):
            jax.block_until_ready(group(model.parameters, x, y, rows))

    few = draw_batches(len(y), BATCH, 1)
    runs = {
        "gradients": gradients,
        "statistics": lambda: noise_statistics(model.losses, model.parameters, x, y, batches, slices=model.slices),
        "one": lambda: noise_statistics(
            model.losses, model.parameters, x, y, few, slices=model.slices
        ),  # full gradient
    }
    seconds = interleaved(runs, repeats)
    pairs = [
        (whole - one) / plain
        for whole, one, plain in zip(*(seconds[name] for name in ("statistics", "one", "gradients")), strict=True)
    ]
    return {
        "kind": "capture",
        "name": "-".join(map(str, WIDTHS)),
        "batch_size": BATCH,
        "num_batches": num_batches,
        "milliseconds_of_a_gradient": 1e3 * statistics.median(seconds["gradients"]) / num_batches,
        "overhead": statistics.median(pairs) - 1,
        "overhead_of_the_fastest": (min(seconds["statistics"]) - min(seconds["one"])) / min(seconds["gradients"]) - 1,
        "repeats": repeats,
    }


def updates(name: str, optimizer: str, quick: bool) -> list[dict[str, Any]]:
    """Updates a second of `train` and of the lean loop, in turn; no row where the data are not there."""
    size = SIZES[name]
    try:
        data = load(size["data"])
    except ValueError:
        return []
    epochs = max(1, EPOCHS[size["data"]] // (4 if quick else 1))
    count = len(data.train_y) // size["batch_size"] * epochs
    config = TrainConfig(**size, optimizer=optimizer, learning_rate=0.01, iterations=count, record_every=count)
    kinds = {"sgd": optax.sgd(0.01), "adam": optax.adam(0.01)}
    model = flatten(MLP((data.train_x.shape[1], *size["widths"], 10), rngs=nnx.Rngs(0)))
    lean = lean_loop(
        model, kinds[optimizer], jnp.asarray(data.train_x), jnp.asarray(data.train_y), size["batch_size"], epochs
    )
    seconds_of(lean)
    pairs = [(train(config).iterations_per_second, count / seconds_of(lean)) for _ in range(3 if quick else 9)]
    ours, theirs = zip(*pairs, strict=True)
    return [
        {
            "kind": "train",
            "name": name,
            "batch_size": size["batch_size"],
            "optimizer": optimizer,
            "updates": count,
            "updates_per_second": statistics.median(ours),
            "lean_updates_per_second": statistics.median(theirs),
            "over_lean": statistics.median(a / b for a, b in pairs),
            "fastest_over_fastest": max(ours) / max(theirs),
            "repeats": len(pairs),
        }
    ]


def lean_loop(
    model: FlatModel, optimizer: optax.GradientTransformation, x: jax.Array, y: jax.Array, batch: int, epochs: int
) -> Callable[[], Any]:
    """One compiled scan over epochs, each a permutation made on the device: the rival, which records nothing."""
    per_epoch = len(y) // batch

    @jax.jit
    def run(parameters: jax.Array, state: Any, keys: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        def update(carry: Any, rows: jax.Array) -> Any:
            parameters, state = carry
            gradient = jax.grad(lambda p: model.losses(p, x[rows], y[rows]).mean())(parameters)
            change, state = optimizer.update(gradient, state, parameters)
            return (optax.apply_updates(parameters, change), state), None

        def epoch(carry: Any, key: jax.Array) -> Any:
            rows = jax.random.permutation(key, len(y))[: per_epoch * batch].reshape(per_epoch, batch)
            return jax.lax.scan(update, carry, rows)[0], None

        return jax.lax.scan(epoch, (parameters, state), keys)[0]

    keys, state = jax.random.split(jax.random.key(0), epochs), optimizer.init(model.parameters)
    return lambda: run(model.parameters, state, keys, x, y)


def memory(num_batches: int) -> dict[str, Any]:
    """Peak memory of a process that measures statistics; all of the noise would take 0.6 MB a mini-batch."""
    command = [sys.executable, "-c", _PEAK, str(num_batches), str(Path(__file__).with_name("startup.py"))]
    peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"kind": "memory", "name": "64-2000-10", "num_batches": num_batches, "mebibytes": peak}
