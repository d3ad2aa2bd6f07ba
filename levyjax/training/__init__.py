"""Training of small classifiers, with the gradient noise that the simulator and the tail audit take."""

from levyjax.training.capture import (
    FEWEST_BATCHES,
    GradientNoise,
    StableNoise,
    draw_batches,
    gradient_noise,
    stable_scales,
)
from levyjax.training.data import Dataset, load
from levyjax.training.escapes import EVERY, Descent, Excursions, Place, excursions, exit_levels, first_exits
from levyjax.training.images import CNN, AlexNet, ResNet, Transformer
from levyjax.training.landscape import NetworkLoss, network_landscape
from levyjax.training.loop import TrainConfig, TrainResult, train
from levyjax.training.networks import MLP, FlatModel, flatten
from levyjax.training.noise_models import (
    FlatLoss,
    GaussianRows,
    LocalGaussian,
    MiniBatches,
    NoiseModels,
    SameEverywhere,
    captured_noise,
    noise_models,
)
from levyjax.training.sde import Algorithm, Curves, LawDistance, LevySDE, law_distance, training_curves
from levyjax.training.streamed import BlockLogs, NoiseStatistics, noise_statistics

__all__ = [
    "CNN",
    "EVERY",
    "FEWEST_BATCHES",
    "MLP",
    "AlexNet",
    "Algorithm",
    "BlockLogs",
    "Curves",
    "Dataset",
    "Descent",
    "Excursions",
    "FlatLoss",
    "FlatModel",
    "GaussianRows",
    "GradientNoise",
    "LawDistance",
    "LevySDE",
    "LocalGaussian",
    "MiniBatches",
    "NetworkLoss",
    "NoiseModels",
    "NoiseStatistics",
    "Place",
    "ResNet",
    "SameEverywhere",
    "StableNoise",
    "TrainConfig",
    "TrainResult",
    "Transformer",
    "captured_noise",
    "draw_batches",
    "excursions",
    "exit_levels",
    "first_exits",
    "flatten",
    "gradient_noise",
    "law_distance",
    "load",
    "network_landscape",
    "noise_models",
    "noise_statistics",
    "stable_scales",
    "train",
    "training_curves",
]
