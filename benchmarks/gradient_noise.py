"""Tails of a real network's gradient noise: phases of training x batch sizes x layers, with Gaussian twins.

Run it with `python -m benchmarks.gradient_noise [data] [file]`; LEVYJAX_DATA says where the data set lies.
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from levyjax.environment import environment
from levyjax.records import write_record
from levyjax.training import TrainConfig, TrainResult, draw_batches, gradient_noise, load, train
from levyjax.training.tail_monitor import batch_size_study, layer_slices, tail_monitor

BATCH_SIZES = (16, 64, 256, 1024)
PHASES = {"start": 0, "middle": 500, "end": 6_000}
NUM_BATCHES = 400
BATCH = 64


def measure(data: str, out: Path) -> dict[str, Any]:
    """Trains, studies the noise at three points, and writes what is there after each."""
    began = time.perf_counter()
    config = TrainConfig(
        data=data, widths=(100, 100), batch_size=BATCH, iterations=PHASES["end"], record_every=500,
        keep_at=tuple(PHASES.values()),
    )  # fmt: skip
    result, dataset = train(config), load(data)
    losses = dict(zip(result.iterations.tolist(), result.train_loss.tolist(), strict=True))
    found: dict[str, Any] = {
        "data": data,
        "network": "784-100-100-10 relu",
        "optimizer": f"sgd {config.learning_rate:g}, batches of {BATCH}",
        "num_batches": NUM_BATCHES,
        "test_accuracy": float(result.test_accuracy[-1]),
        "train_loss": {phase: losses[iteration] for phase, iteration in PHASES.items()},
        "rows": [],
        "twins": [],
    }
    x, y = jnp.asarray(dataset.train_x), jnp.asarray(dataset.train_y)
    for phase, iteration in PHASES.items():
        rows, twins = studied(result, x, y, iteration)
        found["rows"] += [{"phase": phase} | row for row in rows]
        found["twins"] += [{"phase": phase} | row for row in twins]
        found["seconds"] = time.perf_counter() - began
        write_record(out, found | {"environment": environment()})
        print(f"{phase}: {found['seconds']:.0f} s", file=sys.stderr, flush=True)
    return found


def studied(
    result: TrainResult, x: jax.Array, y: jax.Array, iteration: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The batch-size study of every layer, and its estimates beside those of Gaussian and stable noise."""
    model, point = result.model, jnp.asarray(result.kept[iteration])
    layers = list(layer_slices(model.slices))
    studies = batch_size_study(
        model.losses, point, x, y, BATCH_SIZES, NUM_BATCHES, slices=model.slices, layers=layers, iteration=iteration
    )
    rows = [dataclasses.asdict(study) | {"local_slopes": study.local_slopes().tolist()} for study in studies]
    for row in rows:
        row |= {name: row[name].tolist() for name in ("scale", "spread")}
    batches = draw_batches(len(y), BATCH, NUM_BATCHES)
    noise = gradient_noise(model.losses, point, x, y, batches, iteration=iteration, slices=model.slices)
    return rows, [dataclasses.asdict(row) for row in tail_monitor([noise], layers=layers, audited=False)]


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "mnist"
    folder = Path(__file__).parent / "results"
    measure(name, Path(sys.argv[2]) if len(sys.argv) > 2 else folder / f"gradient_noise_{name}_cpu.json")
