"""A basin for captured noise: the quadratic one of the network's own curvature, in its noisiest coordinates."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from levyjax.datasets import Result, along
from levyjax.training.capture import GradientNoise


@dataclasses.dataclass(frozen=True, eq=False)
class QuadraticModel(Result):
    """F(x) = sum_j curvature_j x_j^2/2 in some coordinates of a network, and a level around the minimum.

    Attributes:
        coordinates: (k,) which parameters, in increasing order.
        curvature: (k,) of each.
        height: of the level, over F at the minimum.
    """

    _dims = along({"coordinates": "coordinates curvature"})

    coordinates: Int[np.ndarray, " k"]
    curvature: Float[np.ndarray, " k"]
    height: float


def noisiest(sizes: Float[np.ndarray, " d"], count: int) -> Int[np.ndarray, " k"]:
    """The coordinates of the largest sizes, at most `count` of those that are not 0, in increasing order.

    Example:
        >>> noisiest(np.array([0.1, 3.0, 0.0, 2.0]), 2).tolist()
        [1, 3]
    """
    largest = np.argsort(sizes)[-count:]
    return np.sort(largest[sizes[largest] > 0])


def fisher_diagonal(noise: GradientNoise, coordinates: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Curvatures from the noise itself: the variance of the gradients of single examples, in each coordinate.

    That is the batch size b times the variance of the noise; where mini-batches were drawn without repetition from n
    examples (`noise.num_examples`), over what is left of the variance then, (n - b)/(n - 1).

    Raises:
        ValueError: mini-batches of all examples, which have no noise.

    Source:
        Fisher's identity: at the minimum of a log-likelihood that fits its data, the Hessian is the covariance of the
        gradients of single examples. Cochran 1977, theorem 2.2, for the variance of a mean without repetition.

    Example:
        >>> gradients = np.random.default_rng(0).normal(size=(20, 1))
        >>> batches = np.array([np.random.default_rng(i).permutation(20)[:10] for i in range(4_000)])
        >>> samples = gradients[batches].mean(axis=1) - gradients.mean(axis=0)
        >>> noise = GradientNoise(samples, np.zeros(1), 0, 10, {}, num_examples=20)
        >>> bool(abs(fisher_diagonal(noise, np.array([0]))[0] / gradients.var() - 1) < 0.1)
        True
    """
    left, size = 1.0, noise.batch_size
    if noise.num_examples is not None and size > 1:
        left = (noise.num_examples - size) / (noise.num_examples - 1)
    if left <= 0:
        raise ValueError(f"mini-batches of all {size} examples have no noise. Give smaller ones.")
    return size / left * np.asarray(noise.samples[:, coordinates], np.float64).var(axis=0)


def quadratic_model(
    noise: GradientNoise, learning_rate: float, *, count: int = 16, energies: float = 4.0
) -> QuadraticModel:
    """A quadratic basin in which SGD, driven by the captured noise, stays for a while and then leaves.

    Args:
        noise: two mini-batches or more.
        learning_rate: of SGD; a curvature above 1/learning_rate is taken as that, so that its steps do not overshoot.
        count: how many coordinates, those of the largest noise.
        energies: the level, in mean values of F under SGD's stationary law.

    Returns:
        The model.

    Raises:
        ValueError: noise that is 0 everywhere, or a single mini-batch.

    Example:
        >>> samples = np.random.default_rng(0).normal(size=(1_000, 3)) * [1.0, 0.0, 2.0]
        >>> model = quadratic_model(GradientNoise(samples, np.zeros(3), 0, 1, {}), 0.01)
        >>> model.coordinates.tolist(), model.curvature.round(0).tolist(), round(model.height, 2)
        ([0, 2], [1.0, 4.0], 0.05)
    """
    variance = np.asarray(noise.samples, np.float64).var(axis=0)
    coordinates = noisiest(variance, count)
    if coordinates.size == 0:
        raise ValueError(f"the noise of {len(noise.samples)} mini-batches does not vary: there is nothing to drive.")
    curvature = np.minimum(fisher_diagonal(noise, coordinates), 1 / learning_rate)
    # x <- (1 - eta k) x - eta u has the stationary variance eta var(u)/(k (2 - eta k)).
    mean = (learning_rate * variance[coordinates] / (2 * (2 - learning_rate * curvature))).sum()
    return QuadraticModel(coordinates, curvature, float(energies * mean))
