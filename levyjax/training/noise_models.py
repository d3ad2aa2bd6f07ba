"""A network's noisy gradient at many points at once: that of its mini-batches, and models that stand in for it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from levyjax.arrays import cast, pytree, static
from levyjax.noise import Empirical, Gaussian, Independent, Rotational
from levyjax.noise.empirical import uniform_index
from levyjax.random import Counter, Stream, words
from levyjax.stable import draw_words, normal
from levyjax.training.capture import GradientNoise, Losses, StableNoise, stable_scales


@pytree
class FlatLoss:
    """F(x) = mean of the losses of some examples + weight_decay |x|^2/2, at many points (d, lanes).

    Args:
        losses: (parameters (d,), x, y) -> loss of each example, as `FlatModel.losses`.
        features: the examples, (n, ...).
        labels: (n, ...).
        weight_decay: at least 0.

    Example:
        >>> loss = FlatLoss(lambda p, x, y: (x @ p - y) ** 2 / 2, np.eye(2, dtype="f"), np.ones(2, "f"), 0.0)
        >>> loss.value(jnp.zeros((2, 3))).tolist()
        [0.5, 0.5, 0.5]
    """

    losses: Losses = static()
    features: Any = None
    labels: Any = None
    weight_decay: Any = 0.0

    def _penalty(self, x: Float[Array, " d"]) -> Array:
        return jnp.asarray(self.weight_decay, x.dtype) / 2 * (x**2).sum()

    def value(self, x: Float[Array, "d lanes"]) -> Float[Array, " lanes"]:
        def one(x: Array) -> Array:
            return self.losses(x, self.features, self.labels).mean() + self._penalty(x)

        return jax.vmap(one, in_axes=1)(x)

    def gradient(self, x: Float[Array, "d lanes"]) -> Float[Array, "d lanes"]:
        count = len(self.features)
        return self.weighted_gradient(x, jnp.full((count, x.shape[1]), 1 / count, x.dtype))

    def weighted_gradient(
        self, x: Float[Array, "d lanes"], weights: Float[Array, "n lanes"]
    ) -> Float[Array, "d lanes"]:
        """Of sum_i weights_i loss_i + the penalty, a row of weights for each lane."""

        def one(x: Array, weights: Array) -> Array:
            return jnp.vdot(weights, self.losses(x, self.features, self.labels)) + self._penalty(x)

        return jax.vmap(jax.grad(one), in_axes=1, out_axes=1)(x, weights)

    def batch_gradient(self, x: Float[Array, "d lanes"], index: Int[Array, "b lanes"]) -> Float[Array, "d lanes"]:
        """Of the mean over the examples `index`, + the penalty."""

        def one(x: Array, index: Array) -> Array:
            features, labels = jnp.asarray(self.features)[index], jnp.asarray(self.labels)[index]
            return self.losses(x, features, labels).mean() + self._penalty(x)

        return jax.vmap(jax.grad(one), in_axes=1, out_axes=1)(x, index)

    def example_gradients(self, x: Float[Array, " d"]) -> Float[Array, "n d"]:
        """Of each example's loss at one point, one after the other."""

        def one(example: tuple[Array, Array]) -> Array:
            return jax.grad(lambda p: self.losses(p, example[0][None], example[1][None])[0])(x)

        return jax.lax.map(one, (self.features, self.labels))


class NoisyGradient(Protocol):
    """What an optimizer is given in place of the full gradient."""

    def gradient(self, loss: FlatLoss, x: Float[Array, "d lanes"], counter: Counter) -> Float[Array, "d lanes"]:
        """At the points of all lanes; a pure function of the point and the counter."""
        ...


@pytree
class MiniBatches:
    """The real thing: gradients of mini-batches, their examples drawn independently of each other, with replacement.

    Args:
        batch_size: examples of a mini-batch.
        stream: of the random numbers that draw them.
    """

    batch_size: int = static()
    stream: int = static(default=Stream.NOISE)

    def gradient(self, loss: FlatLoss, x: Float[Array, "d lanes"], counter: Counter) -> Float[Array, "d lanes"]:
        bits = words(counter, self.batch_size, self.stream)
        return loss.batch_gradient(x, uniform_index(bits, len(loss.features)).astype(jnp.int32))


@pytree
class LocalGaussian:
    """The full gradient + Gaussian noise of the mini-batches' exact covariance at each point that is visited.

    With standard normal xi_i the weights 1/n + (xi_i - mean xi)/sqrt(n b) make the gradient's noise
    sum_i xi_i (g_i - mean g)/sqrt(n b), whose covariance is that of the mean of b examples drawn with replacement.
    """

    batch_size: int = static()

    def gradient(self, loss: FlatLoss, x: Float[Array, "d lanes"], counter: Counter) -> Float[Array, "d lanes"]:
        count = len(loss.features)
        drawn = normal(draw_words(counter, count, Stream.NOISE, x.dtype))
        return loss.weighted_gradient(x, 1 / count + (drawn - drawn.mean(axis=0)) / (count * self.batch_size) ** 0.5)


@pytree
class SameEverywhere:
    """The full gradient + noise whose law does not depend on the point: any noise of `levyjax.noise`."""

    noise: Any

    def gradient(self, loss: FlatLoss, x: Float[Array, "d lanes"], counter: Counter) -> Float[Array, "d lanes"]:
        return loss.gradient(x) + self.noise.increment(counter, 1.0)


@pytree
class GaussianRows:
    """Gaussian draws of covariance rows' rows: sum_i xi_i rows_i, with no d x d matrix where there are fewer rows.

    Args:
        rows: (r, d).
    """

    rows: Any

    def increment(self, counter: Counter, dt: Any = 1.0, stream: int = Stream.NOISE) -> Float[Array, "d *batch"]:
        drawn = normal(draw_words(counter, self.rows.shape[0], stream, self.rows.dtype))
        return jnp.tensordot(self.rows.T, drawn, axes=1, precision=jax.lax.Precision.HIGHEST)


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseModels:
    """Mini-batch gradients at a minimum, and the models that stand in for them.

    Attributes:
        models: by name:
            "algorithm": mini-batches;
            "stable": independent stable coordinates of the measured index and scales;
            "elliptical": stable too, with the correlations of the gradients;
            "diagonal": independent Gaussian coordinates of the same variances;
            "gaussian": of the same covariance;
            "captured": captured noise vectors, drawn again;
            "local": Gaussian of the covariance at each point that is visited.
        captured: the noise that index, scales and captured vectors are from.
        stable: the fitted index and scales.
        variance: (d,) of a mini-batch's gradient at the minimum, exactly.
    """

    models: Mapping[str, NoisyGradient]
    captured: GradientNoise
    stable: StableNoise
    variance: Float[np.ndarray, " d"]


def noise_models(
    loss: FlatLoss, minimum: Float[Array, " d"], batch_size: int, *, num_batches: int = 2048, seed: int = 0
) -> NoiseModels:
    """Measure the gradient noise at a minimum and make a model of each kind from it.

    Args:
        loss: of the network, in the precision of the minimum.
        minimum: x*.
        batch_size: examples of a mini-batch, drawn with replacement.
        num_batches: to capture, at least 50.
        seed: of the captured mini-batches.

    Returns:
        The models. Covariances are exact, over all examples; index, scales and captured vectors are from the capture.

    Raises:
        ValueError: no noise at the minimum, fewer than 50 mini-batches, or a batch size below 1.
    """
    captured, every = captured_noise(loss, minimum, batch_size, num_batches, seed)
    stable = stable_scales(captured, seed=seed)
    rows = (every - captured.full_gradient) / np.sqrt(len(every) * batch_size)
    variance = (rows**2).sum(axis=0)
    if len(rows) > rows.shape[1]:
        rows = np.linalg.qr(rows, mode="r")  # fewer rows of the same rows' rows
    # Each coordinate of A L has the scale that was measured for it, and A A' the correlations of the gradients.
    sizes = stable.scales / np.where(variance > 0, np.sqrt(variance), 1.0)
    elliptical = sizes[:, None] * _root(rows)
    models: dict[str, Any] = {
        "algorithm": MiniBatches(batch_size),
        "stable": SameEverywhere(Independent(stable.alpha, stable.scales)),
        "elliptical": SameEverywhere(Rotational(stable.alpha, elliptical)),
        "gaussian": SameEverywhere(GaussianRows(rows)),
        "diagonal": SameEverywhere(Gaussian(np.sqrt(variance / 2))),
        "captured": SameEverywhere(Empirical(captured.samples)),
        "local": LocalGaussian(batch_size),
    }
    return NoiseModels(cast(models, minimum.dtype), captured, stable, variance)


def captured_noise(
    loss: FlatLoss, x: Float[Array, " d"], batch_size: int, num_batches: int, seed: int
) -> tuple[GradientNoise, Float[np.ndarray, "n d"]]:
    """The noise of mini-batches drawn with replacement at one point, and the gradient of each example there.

    A mini-batch's gradient is the mean of its examples' gradients, so that these are worked out once. Without the
    penalty, which is no noise.

    Raises:
        ValueError: a batch size or a number of mini-batches below 1.
    """
    if batch_size < 1 or num_batches < 1:
        raise ValueError(f"{num_batches} mini-batches of {batch_size}: give 1 or more of 1 example or more.")
    every = np.asarray(_example_gradients(loss, x), np.float64)
    batches = np.random.default_rng(seed).integers(0, len(every), (num_batches, batch_size), dtype=np.int32)
    middle = every.mean(axis=0)
    samples = np.stack([every[batch].mean(axis=0) for batch in batches]) - middle
    return GradientNoise(samples, middle, 0, batch_size, {}), every


_example_gradients = jax.jit(FlatLoss.example_gradients)


def _root(rows: Float[np.ndarray, "r d"]) -> Float[np.ndarray, "d d"]:
    """The symmetric root of rows' rows."""
    sizes, axes = np.linalg.eigh(rows.T @ rows)
    return (axes * np.sqrt(sizes.clip(0))) @ axes.T
