"""Training of small classifiers, with the gradient noise that the simulator and the tail audit take."""

from levyjax.training.assumptions import (
    AdamQuantities,
    Assumption2,
    adam_quantities,
    adam_rate,
    assumption2,
    largest_noise_level,
)
from levyjax.training.capture import (
    FEWEST_BATCHES,
    GradientNoise,
    StableNoise,
    draw_batches,
    gradient_noise,
    stable_scales,
)
from levyjax.training.curvature import (
    HessianPairs,
    HessianTrace,
    LossAlong,
    NoiseAlignment,
    hessian_pairs,
    hessian_product,
    hessian_trace,
    loss_along,
    mean_loss,
    noise_alignment,
)
from levyjax.training.data import Dataset, load
from levyjax.training.images import CNN, AlexNet, ResNet, Transformer
from levyjax.training.landscape import NetworkLoss, network_landscape
from levyjax.training.loop import TrainConfig, TrainResult, train
from levyjax.training.networks import MLP, FlatModel, flatten
from levyjax.training.paths import LossPath, least_path, line_path
from levyjax.training.quadratic import QuadraticModel, fisher_diagonal, noisiest, quadratic_model
from levyjax.training.streamed import BlockLogs, NoiseStatistics, noise_statistics
from levyjax.training.tail_monitor import (
    BatchSizeStudy,
    LayerTail,
    batch_size_study,
    layer_slices,
    layer_tail,
    tail_monitor,
)

__all__ = [
    "CNN",
    "FEWEST_BATCHES",
    "MLP",
    "AdamQuantities",
    "AlexNet",
    "Assumption2",
    "BatchSizeStudy",
    "BlockLogs",
    "Dataset",
    "FlatModel",
    "GradientNoise",
    "HessianPairs",
    "HessianTrace",
    "LayerTail",
    "LossAlong",
    "LossPath",
    "NetworkLoss",
    "NoiseAlignment",
    "NoiseStatistics",
    "QuadraticModel",
    "ResNet",
    "StableNoise",
    "TrainConfig",
    "TrainResult",
    "Transformer",
    "adam_quantities",
    "adam_rate",
    "assumption2",
    "batch_size_study",
    "draw_batches",
    "fisher_diagonal",
    "flatten",
    "gradient_noise",
    "hessian_pairs",
    "hessian_product",
    "hessian_trace",
    "largest_noise_level",
    "layer_slices",
    "layer_tail",
    "least_path",
    "line_path",
    "load",
    "loss_along",
    "mean_loss",
    "network_landscape",
    "noise_alignment",
    "noise_statistics",
    "noisiest",
    "quadratic_model",
    "stable_scales",
    "tail_monitor",
    "train",
]
