"""Where a training run stands, kept on disk, so that a killed one goes on and ends with the same bits."""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from levyjax.input import read_bounded, read_npz
from levyjax.output import output_directory, to_json, write_arrays, write_text
from levyjax.training.applied import AppliedNoise
from levyjax.training.capture import ALL_EXAMPLES, GradientNoise
from levyjax.training.streamed import BlockLogs, NoiseStatistics

_CONFIG, _METRICS, _KEPT = "config.json", "metrics.jsonl", 2


class Checkpoints:
    """A folder with the state of one run: orbax checkpoints, a line of metrics for each record, captured noise.

    A checkpoint is written last at each stop, so that what lies beside it is there up to its iteration; whatever is
    there beyond is written again.

    Args:
        folder: made if need be.
        config: of the run, a dataclass of plain values.

    Raises:
        ValueError: the folder holds a run of another configuration; here and when it is read: something is damaged.
    """

    def __init__(self, folder: Path, config: Any):
        self.folder = output_directory(folder, "--checkpoint").resolve()
        text = to_json(dataclasses.asdict(config)) + "\n"
        path = self.folder / _CONFIG
        if path.is_file() and read_bounded(path) != text.encode("utf-8"):
            raise ValueError(f"{folder} holds a run of another configuration. Give it an empty folder, or that one.")
        write_text(path, text)
        with self._refusing_damage("states"):
            self.manager = _manager(self.folder / "states")

    def restore(self, tree: Any) -> tuple[int, Any]:
        """The iteration of the last checkpoint and its tree; (-1, tree) where there is none."""
        from orbax.checkpoint import args

        with self._refusing_damage("states"):
            step = self.manager.latest_step()
            if step is None:
                return -1, tree
            abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
            return step, self.manager.restore(step, args=args.StandardRestore(abstract))

    def save(self, iteration: int, tree: Any) -> None:
        """Writes a checkpoint; the one before the last is dropped."""
        from orbax.checkpoint import args

        self.manager.save(iteration, args=args.StandardSave(tree))

    def metrics(self, up_to: int, names: Sequence[str], expected: Sequence[int]) -> list[tuple[Any, ...]]:
        """What was measured at the iterations up to a checkpoint; lines beyond it are dropped, to be written again.

        Args:
            up_to: iteration of the checkpoint; -1 where there is none.
            names: of the values of a line, the first "iteration".
            expected: iterations that have a line.

        Raises:
            ValueError: the lines are not those of a run that came so far; the folder is as it was.
        """
        path = self.folder / _METRICS
        with self._refusing_damage(_METRICS):
            lines = read_bounded(path).decode("utf-8").splitlines() if path.is_file() else []
            rows = [tuple(json.loads(line)[name] for name in names) for line in lines]
            there = [row[0] for row in rows]
            kept = [row for row in rows if row[0] <= up_to]
        if [row[0] for row in kept] != list(expected):
            raise ValueError(
                f"--checkpoint {self.folder}: the states go to iteration {up_to}, and {_METRICS} has {len(kept)} of "
                f"the {len(expected)} lines up to there. Put the file back, or take the folder away to begin anew."
            )
        if up_to < 0 < max(there, default=0):
            raise ValueError(
                f"--checkpoint {self.folder}: {_METRICS} goes to iteration {there[-1]}, and there are no states. Put "
                "the folder states back, or take the whole folder away to begin anew."
            )
        if len(kept) < len(rows) or not path.is_file():
            write_text(path, "".join(line + "\n" for line in lines[: len(kept)]))
        return kept

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line, as JSON."""
        path = self.folder / _METRICS
        write_text(path, path.read_text(encoding="utf-8") + json.dumps(row) + "\n")

    def save_noise(self, noise: GradientNoise) -> None:
        """Writes a capture."""
        write_arrays(self._noise(noise.iteration), samples=noise.samples, full_gradient=noise.full_gradient)

    def noise(
        self, iteration: int, batch_size: int, slices: dict[str, tuple[int, int]], num_examples: int
    ) -> GradientNoise:
        """Reads a capture, of mini-batches drawn from so many examples without repetition."""
        path = self._noise(iteration)
        with self._refusing_damage(path.name):
            arrays = read_npz(path)
            about = iteration, batch_size, slices
            return GradientNoise(arrays["samples"], arrays["full_gradient"], *about, num_examples=num_examples)

    def save_applied(self, noise: AppliedNoise) -> None:
        """Writes noise as the optimizer applied it, beside the raw one."""
        parts = {"raw": noise.raw, "applied": noise.applied}
        arrays = {f"{name}_samples": part.samples for name, part in parts.items()}
        arrays |= {f"{name}_full_gradient": part.full_gradient for name, part in parts.items()}
        write_arrays(self._applied(noise.raw.iteration), **arrays)

    def applied(
        self, iteration: int, batch_size: int, slices: dict[str, tuple[int, int]], num_examples: int
    ) -> AppliedNoise:
        """Reads it."""
        path = self._applied(iteration)
        with self._refusing_damage(path.name):
            arrays = read_npz(path)
            raw, applied = (
                GradientNoise(arrays[f"{name}_samples"], arrays[f"{name}_full_gradient"], iteration, batch_size, slices)
                for name in ("raw", "applied")
            )
            return AppliedNoise(dataclasses.replace(raw, num_examples=num_examples), applied)

    def save_statistics(self, statistics: NoiseStatistics) -> None:
        """Writes statistics of noise."""
        arrays = {name: value for name, value in vars(statistics).items() if name != "layers"}
        for index, (name, logs) in enumerate(statistics.layers.items()):
            arrays |= {f"layer_{index}_name": name} | {f"layer_{index}_{key}": part for key, part in vars(logs).items()}
        write_arrays(self._statistics(statistics.iteration), **arrays)

    def statistics(self, iteration: int) -> NoiseStatistics:
        """Reads them."""
        path = self._statistics(iteration)
        with self._refusing_damage(path.name):
            arrays = read_npz(path)
            layers = {}
            while (prefix := f"layer_{len(layers)}") + "_name" in arrays:
                name = str(arrays.pop(f"{prefix}_name"))
                parts = {
                    part: arrays.pop(f"{prefix}_{part}") for part in ("lengths", "mean_log", "count", "single_log")
                }
                layers[name] = BlockLogs(**parts)
            for name in ("iteration", "batch_size"):
                arrays[name] = int(arrays[name])
            arrays["reference"] = str(arrays.get("reference", ALL_EXAMPLES))
            return NoiseStatistics(**arrays, layers=layers)

    def save_parameters(self, iteration: int, parameters: np.ndarray) -> None:
        """Writes the parameters of an iteration to keep."""
        write_arrays(self._parameters(iteration), parameters=parameters)

    def parameters(self, iteration: int) -> np.ndarray:
        """Reads them."""
        path = self._parameters(iteration)
        with self._refusing_damage(path.name):
            return read_npz(path)["parameters"]

    @contextlib.contextmanager
    def _refusing_damage(self, name: str) -> Iterator[None]:
        """Whatever is wrong in the folder is one sentence; nothing there is changed."""
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # orbax, tensorstore, zipfile and JSON each have their own
            raise ValueError(
                f"--checkpoint {self.folder}: {name} is missing or damaged ({type(error).__name__}). Take the folder "
                "away to begin anew."
            ) from error

    def _noise(self, iteration: int) -> Path:
        return self.folder / f"noise_{iteration:06d}.npz"

    def _applied(self, iteration: int) -> Path:
        return self.folder / f"applied_{iteration:06d}.npz"

    def _statistics(self, iteration: int) -> Path:
        return self.folder / f"statistics_{iteration:06d}.npz"

    def _parameters(self, iteration: int) -> Path:
        return self.folder / f"parameters_{iteration:06d}.npz"


def _manager(folder: Path) -> Any:
    import orbax.checkpoint as ocp  # a second of imports

    logging.getLogger("absl").setLevel(logging.ERROR)
    options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder, options=options)
