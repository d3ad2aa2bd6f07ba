"""Training of small classifiers, with the gradient noise that the simulator and the tail audit take."""

from levyjax.deprecation import moved
from levyjax.training.applied import applied_noise
from levyjax.training.batches import draw_batches
from levyjax.training.capture import GradientNoise, gradient_noise
from levyjax.training.curvature import hessian_pairs, hessian_trace, mean_loss
from levyjax.training.data import Dataset, load
from levyjax.training.escapes import excursions, exit_levels, first_exits
from levyjax.training.images import CNN, AlexNet, ResNet, Transformer
from levyjax.training.landscape import NetworkLoss, network_landscape
from levyjax.training.loop import TrainResult, train
from levyjax.training.model_exits import exits_under, model_landscape
from levyjax.training.networks import MLP, FlatModel, flatten
from levyjax.training.noise_models import noise_models
from levyjax.training.per_example import per_example_noise
from levyjax.training.quadratic import fisher_diagonal, noisiest
from levyjax.training.recorder import NoiseRecorder, noise_of, recording
from levyjax.training.scales import stable_scales
from levyjax.training.settings import TrainConfig
from levyjax.training.streamed import noise_statistics
from levyjax.training.tail_monitor import tail_monitor

__all__ = [
    "CNN",
    "MLP",
    "AlexNet",
    "Dataset",
    "FlatModel",
    "GradientNoise",
    "NetworkLoss",
    "NoiseRecorder",
    "ResNet",
    "TrainConfig",
    "TrainResult",
    "Transformer",
    "applied_noise",
    "draw_batches",
    "excursions",
    "exit_levels",
    "exits_under",
    "first_exits",
    "fisher_diagonal",
    "flatten",
    "gradient_noise",
    "hessian_pairs",
    "hessian_trace",
    "load",
    "mean_loss",
    "model_landscape",
    "network_landscape",
    "noise_models",
    "noise_of",
    "noise_statistics",
    "noisiest",
    "per_example_noise",
    "recording",
    "stable_scales",
    "tail_monitor",
    "train",
]

_MOVED = {
    "levyjax.claims.adam_quantities": ["AdamQuantities", "Assumption2", "adam_quantities", "assumption2"],
    "levyjax.escape.validity": ["adam_rate", "largest_noise_level"],
    "levyjax.training.curvature": ["hessian_product", "loss_along", "noise_alignment"],
    "levyjax.training.escapes": ["FreeProcess"],
    "levyjax.training.landscape": ["FlatLoss"],
    "levyjax.training.paths": ["least_path", "line_path"],
    "levyjax.training.per_example": ["per_example_moments"],
    "levyjax.training.quadratic": ["quadratic_model"],
    "levyjax.training.sde": ["SeenNoise", "law_distance", "training_curves"],
    "levyjax.training.streamed": ["BlockLogs"],
    "levyjax.training.tail_monitor": ["BatchSizeStudy", "batch_size_study", "layer_tail"],
}
__getattr__ = moved(__name__, {name: module for module, names in _MOVED.items() for name in names})
