"""What a training run is: every choice in one place, checked when it is made."""

import dataclasses
import math
import os

from levyjax.training import data as datasets
from levyjax.training.images import IMAGE_NETWORKS
from levyjax.training.networks import ACTIVATIONS, LOSSES

OPTIMIZERS = ("sgd", "adam")
NETWORKS = ("mlp", *IMAGE_NETWORKS)
CAPTURES = ("samples", "statistics")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run; the same configuration gives the same run on the same machine and versions.

    Attributes:
        data: name of a data set, see `levyjax.training.load`.
        data_dir: its folder, if it needs one.
        network: "mlp", or on images "cnn", "alexnet", "resnet" or "transformer", in the default sizes of
            `levyjax.training`'s classes of those names.
        widths: of the hidden layers of an mlp; () is logistic regression.
        activation: "relu" or "tanh", of an mlp.
        bias: whether an mlp's linear maps have one.
        loss: "cross_entropy" or "linear_hinge".
        optimizer: "sgd" or "adam" (beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8).
        learning_rate: constant.
        momentum: of sgd, in [0, 1).
        batch_size: of an update and of a captured mini-batch.
        iterations: updates.
        record_every: losses and accuracies are measured at 0, at every multiple of this, and at the end.
        capture_at: iterations (updates made) at which to measure gradient noise, from 0 to `iterations`.
        capture: "samples" for the noise itself, "statistics" for `noise_statistics` in a fixed amount of memory.
        applied: whether to measure there, too, the noise as the run's optimizer applies it (`applied_noise`), from its
            state at that iteration on: with momentum b 2/(1-b) mini-batches for each recorded one, after 10/(1-b) of
            them; with Adam 20, after 3000.
        num_batches: mini-batches of a capture.
        keep_at: iterations whose parameters to keep, from 0 to `iterations`.
        seed: of the first parameters, of the shuffling and of the captures.

    Raises:
        ValueError: a value is out of its range.
    """

    data: str = "digits"
    data_dir: str | os.PathLike[str] | None = None
    network: str = "mlp"
    widths: tuple[int, ...] = (32,)
    activation: str = "relu"
    bias: bool = True
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    batch_size: int = 32
    iterations: int = 1_000
    record_every: int = 100
    capture_at: tuple[int, ...] = ()
    capture: str = "samples"
    applied: bool = False
    num_batches: int = 256
    keep_at: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {"data": datasets.NAMES, "network": NETWORKS, "activation": ACTIVATIONS, "loss": LOSSES}
        for name, allowed in (choices | {"optimizer": OPTIMIZERS, "capture": CAPTURES}).items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {_short(getattr(self, name))} is unknown. Give one of {', '.join(allowed)}.")
        for name in ("batch_size", "iterations", "record_every", "num_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is too small. Give 1 or more.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate {self.learning_rate} is no step size. Give a positive number.")
        if not 0 <= self.momentum < 1 or (self.momentum and self.optimizer != "sgd"):
            raise ValueError(f"momentum {self.momentum} does not fit {self.optimizer}. Give one in [0, 1), with sgd.")
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths {_short(self.widths)} make no network. Give hidden layers of width 1 or more.")
        for name in ("capture_at", "keep_at"):
            if any(not 0 <= iteration <= self.iterations for iteration in getattr(self, name)):
                raise ValueError(
                    f"{name} {_short(getattr(self, name))} leaves the run. Give iterations in [0, {self.iterations}]."
                )
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative. Give 0 or more.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
