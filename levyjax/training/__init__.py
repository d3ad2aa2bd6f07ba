"""Training of small classifiers, with the gradient noise that the simulator and the tail audit take."""

from levyjax.training.applied import AppliedNoise, applied_noise
from levyjax.training.capture import (
    FEWEST_BATCHES,
    GradientNoise,
    StableNoise,
    draw_batches,
    gradient_noise,
    stable_scales,
)
from levyjax.training.data import Dataset, load
from levyjax.training.images import CNN, AlexNet, ResNet, Transformer
from levyjax.training.landscape import NetworkLoss, network_landscape
from levyjax.training.loop import TrainConfig, TrainResult, train
from levyjax.training.networks import MLP, FlatModel, flatten
from levyjax.training.per_example import ExampleMoments, layer_means, per_example_moments, per_example_noise
from levyjax.training.quadratic import QuadraticModel, fisher_diagonal, noisiest, quadratic_model
from levyjax.training.streamed import BlockLogs, NoiseStatistics, noise_statistics

__all__ = [
    "CNN",
    "FEWEST_BATCHES",
    "MLP",
    "AlexNet",
    "AppliedNoise",
    "BlockLogs",
    "Dataset",
    "ExampleMoments",
    "FlatModel",
    "GradientNoise",
    "NetworkLoss",
    "NoiseStatistics",
    "QuadraticModel",
    "ResNet",
    "StableNoise",
    "TrainConfig",
    "TrainResult",
    "Transformer",
    "applied_noise",
    "draw_batches",
    "fisher_diagonal",
    "flatten",
    "gradient_noise",
    "layer_means",
    "load",
    "network_landscape",
    "noise_statistics",
    "noisiest",
    "per_example_moments",
    "per_example_noise",
    "quadratic_model",
    "stable_scales",
    "train",
]
