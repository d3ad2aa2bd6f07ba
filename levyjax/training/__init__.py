"""Training of small classifiers, with the gradient noise that the simulator and the tail audit take."""

from levyjax.deprecation import moved
from levyjax.training.applied import applied_noise
from levyjax.training.batches import draw_batches
from levyjax.training.capture import GradientNoise, gradient_noise
from levyjax.training.curvature import (
    hessian_pairs,
    hessian_product,
    hessian_trace,
    loss_along,
    mean_loss,
    noise_alignment,
)
from levyjax.training.data import Dataset, load
from levyjax.training.escapes import FreeProcess, excursions, exit_levels, first_exits
from levyjax.training.images import CNN, AlexNet, ResNet, Transformer
from levyjax.training.landscape import NetworkLoss, network_landscape
from levyjax.training.loop import TrainResult, train
from levyjax.training.model_exits import exits_under, model_landscape
from levyjax.training.networks import MLP, FlatModel, flatten
from levyjax.training.noise_models import noise_models
from levyjax.training.paths import least_path, line_path
from levyjax.training.per_example import per_example_moments, per_example_noise
from levyjax.training.quadratic import fisher_diagonal, noisiest, quadratic_model
from levyjax.training.recorder import NoiseRecorder, noise_of, recording
from levyjax.training.scales import stable_scales
from levyjax.training.sde import SeenNoise, law_distance, training_curves
from levyjax.training.settings import TrainConfig
from levyjax.training.streamed import BlockLogs, noise_statistics
from levyjax.training.tail_monitor import BatchSizeStudy, batch_size_study, layer_tail, tail_monitor

__all__ = [
    "CNN",
    "MLP",
    "AlexNet",
    "BatchSizeStudy",
    "BlockLogs",
    "Dataset",
    "FlatModel",
    "FreeProcess",
    "GradientNoise",
    "NetworkLoss",
    "NoiseRecorder",
    "ResNet",
    "SeenNoise",
    "TrainConfig",
    "TrainResult",
    "Transformer",
    "applied_noise",
    "batch_size_study",
    "draw_batches",
    "excursions",
    "exit_levels",
    "exits_under",
    "first_exits",
    "fisher_diagonal",
    "flatten",
    "gradient_noise",
    "hessian_pairs",
    "hessian_product",
    "hessian_trace",
    "law_distance",
    "layer_tail",
    "least_path",
    "line_path",
    "load",
    "loss_along",
    "mean_loss",
    "model_landscape",
    "network_landscape",
    "noise_alignment",
    "noise_models",
    "noise_of",
    "noise_statistics",
    "noisiest",
    "per_example_moments",
    "per_example_noise",
    "quadratic_model",
    "recording",
    "stable_scales",
    "tail_monitor",
    "train",
    "training_curves",
]

__getattr__ = moved(
    __name__,
    dict.fromkeys(["AdamQuantities", "Assumption2", "adam_quantities", "assumption2"], "levyjax.claims.adam_quantities")
    | dict.fromkeys(["adam_rate", "largest_noise_level"], "levyjax.escape.validity")
    | {"FlatLoss": "levyjax.training.landscape"},
)
