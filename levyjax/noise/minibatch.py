"""The mini-batch noise of a finite sum: exact, and different at every point."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.arrays import pytree, static
from levyjax.noise.base import Noise
from levyjax.noise.empirical import uniform_index
from levyjax.noise.gaussian import Gaussian
from levyjax.noise.state_dependent import StateDependent
from levyjax.random import Counter, Stream, words
from levyjax.stable import draw_words, normal


@runtime_checkable
class FiniteSum(Protocol):
    """A loss that is a mean over rows of data: `landscapes.LinearRegression`, `training.NetworkLoss`."""

    features: Any
    minimum: Any

    def gradient(self, x: Float[Array, "d *batch"]) -> Float[Array, "d *batch"]:
        """Of the mean over all rows."""
        ...

    def batch_gradient(self, x: Float[Array, "d *batch"], index: Int[Array, "b *batch"]) -> Float[Array, "d *batch"]:
        """Of the mean over the rows `index`."""
        ...

    def sample_gradients(self, x: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n d"]:
        """Of every row at one point."""
        ...


def _root(x: Float[Array, " d"], noise: "MiniBatch") -> Float[Array, "d d"]:
    """The symmetric A with 2 A A' = the covariance at x."""
    every = jnp.arange(noise.problem.features.shape[0], dtype=jnp.int32)
    gradients = noise.problem.batch_gradient(jnp.broadcast_to(x[:, None], (x.shape[0], every.size)), every[None])
    centred = gradients - noise.problem.gradient(x)[:, None]
    covariance = jnp.matmul(centred, centred.T, precision="highest") / (2.0 * every.size * noise.batch_size)
    sizes, axes = jnp.linalg.eigh(covariance)
    return jnp.matmul(axes * jnp.sqrt(jnp.maximum(sizes, 0)), axes.T, precision="highest")


@pytree
class MiniBatch:
    """What an iteration's gradient has too much: that of `batch_size` rows, drawn with replacement, less the full one.

    With noise_level = 1 on the same problem as landscape, the iteration is stochastic gradient descent to the letter.
    The noise depends on the point: a solver takes `at(x)`.

    Args:
        problem: the finite sum, such as `landscapes.LinearRegression` or `training.NetworkLoss`.
        batch_size: rows a step, at least 1.
        gaussian: draw a Gaussian vector of the same covariance instead, by a normal for each row; of a finite sum with
            `weighted_gradient(x, weights)`, weights (n, *batch), as `NetworkLoss`.
        centred: False gives the rows' whole gradient, not less the full one: on `landscapes.Flat` the same iteration,
            at the price of a mini-batch instead of all rows.

    Raises:
        ValueError: a problem that is no finite sum, or a batch size below 1.

    Example:
        >>> from levyjax.landscapes import LinearRegression
        >>> noise = MiniBatch(LinearRegression([[1.0], [2.0]], [0.0, 1.0]), batch_size=1)
        >>> noise.covariance([0.0]).tolist()  # of the gradients 0 and -2
        [[1.0]]
    """

    problem: Any
    batch_size: int = static(default=1)
    point: Any = None
    gaussian: bool = static(default=False)
    centred: bool = static(default=True)

    def __post_init__(self) -> None:
        if not isinstance(self.problem, FiniteSum):
            raise ValueError(
                f"problem must be a finite sum, such as LinearRegression, got {type(self.problem).__name__}."
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")
        if self.gaussian and not hasattr(self.problem, "weighted_gradient"):
            raise ValueError(
                f"gaussian = True takes a problem with weighted_gradient, which {type(self.problem).__name__} has not."
            )
        if self.gaussian and not self.centred:
            raise ValueError("gaussian = True draws noise alone: leave centred as it is.")

    @property
    def scale(self) -> Any:
        """The identity: gradients have their own size."""
        return np.ones(self.problem.minimum.shape[0], self.problem.minimum.dtype)

    def at(self, x: Float[Array, "d *batch"], noise_level: Any) -> Noise:
        """The noise at these points."""
        return MiniBatch(self.problem, self.batch_size, x, self.gaussian, self.centred)

    def increment(self, counter: Counter, dt: Any = 1.0, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        if self.point is None:
            raise ValueError("Mini-batch noise depends on the point: take `at(x, noise_level)` first.")
        count = self.problem.features.shape[0]
        if self.gaussian:
            # Of normal xi_i, the sum of (xi_i - mean xi)/(n b)^(1/2) g_i has the covariance of a mean of b rows.
            drawn = normal(draw_words(counter, count, stream, self.point.dtype))
            weights = (drawn - drawn.mean(axis=0)) / (count * self.batch_size) ** 0.5
            return self.problem.weighted_gradient(self.point, weights)
        index = uniform_index(words(counter, self.batch_size, stream), count).astype(jnp.int32)
        gradient = self.problem.batch_gradient(self.point, index)
        return gradient - self.problem.gradient(self.point) if self.centred else gradient

    def diffusion(self) -> StateDependent:
        """Gaussian noise (Itô) of the same covariance at every point, for the SDE of the same problem.

        With noise_level = learning_rate^(1/2), Euler's step of one learning rate has the mean and the covariance of an
        iteration.
        """
        dimension = self.problem.minimum.shape[0]
        return StateDependent(Gaussian(np.ones(dimension)), _root, MiniBatch(self.problem, self.batch_size))

    def covariance(self, x: Any) -> Float[np.ndarray, "d d"]:
        """Of the noise at one point, exactly."""
        gradients = self.problem.sample_gradients(np.asarray(x, np.float64))
        centred = gradients - gradients.mean(axis=0)
        return centred.T @ centred / len(gradients) / self.batch_size
