"""Curvature of a loss of one flat vector: by Hessian-vector products, never as a d x d matrix.

Where a network has relu units the loss has kinks, and its Hessian exists almost everywhere only: what is found is the
curvature between the kinks, which says nothing about the kinks themselves.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.datasets import Result, along
from levyjax.landscapes.minimum import outermost
from levyjax.training.gradients import Losses

Loss = Callable[[jax.Array], jax.Array]  # parameters (d,) -> a number

_EXAMPLES = 1_000  # whose losses are held at a time
_KNOWN = 3.0  # standard errors from 0, from which on a trace is divided by
_SIGNS = {"largest": 1, "smallest": -1}
_ROUGH, _ABOVE = 1e-2, 1.05  # accuracy of the largest eigenvalue by size, and times it what is above all of them


@dataclasses.dataclass(frozen=True, eq=False)
class HessianPairs(Result):
    """Eigenvalues at one end of a Hessian's spectrum.

    Attributes:
        values: (k,), the outermost first.
        vectors: (d, k), of length 1.
        residuals: (k,), |H v - value v|, within which of each value there is an eigenvalue.
        next_value: the outermost eigenvalue that a last search found apart from these; about equal to the last of them
            where that occurs more often than it is counted here.
        error: by which the values, compared in order and each counted as often as it occurs, are off at most: the root
            of the sum of the squared residuals (Kahan 1967), with how far out the last search still found something.
    """

    _dims = along({"eigenvalue": "values residuals", "parameter eigenvalue": "vectors"})

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "d k"]
    residuals: Float[np.ndarray, " k"]
    next_value: float = math.nan
    error: float = math.inf


@dataclasses.dataclass(frozen=True, eq=False)
class HessianTrace(Result):
    """Hutchinson's estimates, each with its standard error.

    Attributes:
        trace: of the Hessian.
        trace_error: its standard error.
        square: trace of the squared Hessian, its Frobenius norm squared.
        square_error: its standard error.
        dimension: number of parameters.
    """

    trace: float
    trace_error: float
    square: float
    square_error: float
    dimension: int


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseAlignment(Result):
    """How gradient noise of covariance C lies to a Hessian H.

    Attributes:
        curvature: tr(C H), the mean of u' H u over the noise u.
        curvature_error: its standard error over the mini-batches.
        power: tr C, the mean of |u|^2.
        cosine: tr(C H)/(|C| |H|), Frobenius norms; 1 for C proportional to H; nan where H or C is seen as 0.
        isotropic_ratio: tr(C H) d/(tr C tr H): 1 for noise that knows nothing of the Hessian, as isotropic noise; nan
            where tr H is within 3 standard errors of 0.
        shares: (k,), part of the noise's power along each given direction.
    """

    _dims = along({"direction": "shares"})

    curvature: float
    curvature_error: float
    power: float
    cosine: float
    isotropic_ratio: float
    shares: Float[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True, eq=False)
class LossAlong(Result):
    """Losses on both sides of a point.

    Attributes:
        distances: (m,).
        centre: the loss at the point.
        ahead: (k, m), the loss at distance t along each direction.
        behind: (k, m), the same against it.
    """

    _dims = along({"distances": "distances", "direction distances": "ahead behind"})

    distances: Float[np.ndarray, " m"]
    centre: float
    ahead: Float[np.ndarray, "k m"]
    behind: Float[np.ndarray, "k m"]

    def sharpness(self) -> Float[np.ndarray, "k m"]:
        """Mean rise of the two sides; t^2/2 times the curvature for small t."""
        return (self.ahead + self.behind) / 2 - self.centre

    def asymmetry(self) -> Float[np.ndarray, "k m"]:
        """(rise ahead - rise behind)/(their sizes together): 0 for a symmetric valley, 1 or -1 for a one-sided one.

        Source:
            He, Huang and Yuan 2019 (asymmetric valleys), who compare the slopes of the two sides.
        """
        ahead, behind = self.ahead - self.centre, self.behind - self.centre
        sizes = np.abs(ahead) + np.abs(behind)
        return np.divide(ahead - behind, sizes, out=np.zeros_like(sizes), where=sizes > 0)


def mean_loss(losses: Losses, x: Any, y: Any) -> Loss:
    """The mean loss over all examples as a function of the parameters, a thousand examples at a time.

    Args:
        losses: (parameters, x, y) -> loss of each example, such as `FlatModel.losses`.
        x: all examples, (n, ...).
        y: their labels, (n, ...).

    Returns:
        A function of (d,), which may be differentiated twice. Functions of this module compile once for each.

    Example:
        >>> loss = mean_loss(lambda w, x, y: (w[0] * x - y) ** 2, jnp.arange(3.0), jnp.ones(3))
        >>> round(float(loss(jnp.array([2.0]))), 3)
        3.667
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    count = len(y)
    chunks = -(-count // _EXAMPLES)
    rows = np.resize(np.arange(count, dtype=np.int32), (chunks, -(-count // chunks)))
    weights = (np.arange(rows.size) < count).reshape(rows.shape)

    @jax.checkpoint
    def part(parameters: jax.Array, rows: jax.Array, weights: jax.Array) -> jax.Array:
        found = losses(parameters, x[rows], y[rows])
        return jnp.where(weights, found, jnp.zeros_like(found)).sum()

    def loss(parameters: jax.Array) -> jax.Array:
        parts = jax.lax.map(lambda chunk: part(parameters, *chunk), (jnp.asarray(rows), jnp.asarray(weights)))
        return parts.sum() / jnp.asarray(count, parts.dtype)

    return loss


@functools.partial(jax.jit, static_argnums=0)
def hessian_product(loss: Loss, parameters: Float[Array, " d"], vector: Float[Array, " d"]) -> Float[Array, " d"]:
    """H v, by forward differentiation of the gradient; compiled once for each function object.

    Args:
        loss: parameters (d,) -> a number.
        parameters: where.
        vector: v, of the same dtype.

    Returns:
        The product, (d,).

    Source:
        Pearlmutter 1994.

    Example:
        >>> hessian_product(lambda p: (p**3).sum(), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).tolist()
        [6.0, 12.0]
    """
    return jax.jvp(jax.grad(loss), (parameters,), (vector,))[1]


def hessian_pairs(
    loss: Loss, parameters: Any, count: int = 5, *, end: str = "largest", tolerance: float = 1e-4, seed: int = 0
) -> HessianPairs:
    """The outermost eigenvalues and eigenvectors of the Hessian, each as often as it occurs, by Lanczos' method.

    From one start vector Lanczos' method sees one vector of each eigenspace. So it starts anew (ARPACK through SciPy)
    from another vector, with what has been found taken out, until nothing lies further out than the pairs that are
    there. What comes next is kept as `next_value`.

    Args:
        loss: parameters (d,) -> a number; see `mean_loss`.
        parameters: (d,), which sets the precision.
        count: how many, from 1 to d - 1.
        end: "largest" or "smallest", by value and not by size: the smallest may be negative.
        tolerance: of the residuals, a part of the largest eigenvalue by size. An eigenvalue that is apart from the
            others is off by about the square of that.
        seed: of the first vectors.

    Returns:
        The pairs.

    Raises:
        ValueError: count or end does not fit, the eigenvalues lie too close together for the precision, or the Hessian
            is 0 or not finite.

    Source:
        Lehoucq, Sorensen and Yang 1998 (implicitly restarted Lanczos); Parlett 1998, section 13.5 (restarting for what
        one start vector cannot see).

    Example:
        >>> pairs = hessian_pairs(lambda p: (jnp.array([1.0, 2.0, 4.0, 4.0, 4.0]) * p**2).sum(), jnp.zeros(5), 3)
        >>> pairs.values.round(3).tolist(), round(pairs.next_value, 3)
        ([8.0, 8.0, 8.0], 4.0)
    """
    point = jnp.asarray(parameters)
    if end not in _SIGNS or not 1 <= count < point.size:
        raise ValueError(
            f"{count} pairs of the end {end!r} of {point.size} do not fit. Give from 1 to {point.size - 1} pairs, and "
            "'largest' or 'smallest'."
        )
    dtype, sign = np.dtype(point.dtype), _SIGNS[end]

    def product(vector: np.ndarray) -> np.ndarray:
        found = sign * np.asarray(hessian_product(loss, point, jnp.asarray(vector.ravel(), dtype)))
        if not np.isfinite(found).all():
            raise ValueError("the Hessian is not finite at these parameters. Give others, or another loss.")
        return found

    search = functools.partial(outermost, np.random.default_rng(seed), point.size, dtype)
    size = _ABOVE * float(np.abs(search(product, 1, "LM", _ROUGH)[0][0]))
    values, vectors = np.zeros(0), np.zeros((point.size, 0), dtype)

    def rest(vector: np.ndarray) -> np.ndarray:
        """All eigenvalues shifted above 0, but those of the pairs that are there to 0."""
        vector = vector.ravel() - vectors @ (vectors.T @ vector.ravel())
        moved = product(vector) + dtype.type(size) * vector
        return moved - vectors @ (vectors.T @ moved)

    while True:
        found, further = search(rest, min(count, point.size - len(values)), "LA", tolerance / 2)
        found = found.astype(np.float64) - size
        if len(values) == count and found[-1] <= values[-1] + tolerance * size:
            break
        values, vectors = np.concatenate([values, found]), np.concatenate([vectors, further], axis=1)
        order = np.argsort(-values)[:count]
        values, vectors = values[order], vectors[:, order]
    vectors = np.linalg.qr(vectors)[0]
    images = np.stack([product(vector) for vector in vectors.T], axis=1)
    values, turn = np.linalg.eigh(vectors.T @ images)
    values, vectors, images = values[::-1], vectors @ turn[:, ::-1], images @ turn[:, ::-1]
    residuals = np.linalg.norm(images - values * vectors, axis=0)
    beyond = float(found[-1])
    missed = np.linalg.norm(rest(further[:, -1]) - (beyond + size) * further[:, -1]) + max(0.0, beyond - values[-1])
    error = float(np.linalg.norm(residuals) + missed)
    return HessianPairs(sign * values, vectors, residuals, sign * beyond, error)


def hessian_trace(loss: Loss, parameters: Any, probes: int = 64, *, seed: int = 0) -> HessianTrace:
    """The traces of the Hessian and of its square from products with random signs.

    Args:
        loss: parameters (d,) -> a number.
        parameters: (d,).
        probes: how many products, 2 or more.
        seed: of the signs.

    Returns:
        The estimates; unbiased.

    Raises:
        ValueError: fewer than 2 probes.

    Source:
        Hutchinson 1990: E z' H z = tr H, and E |H z|^2 = tr H^2.

    Example:
        >>> found = hessian_trace(lambda p: (jnp.arange(4.0) * p**2).sum(), jnp.zeros(4), 8)
        >>> found.trace, found.trace_error, found.square  # exact for a diagonal Hessian
        (12.0, 0.0, 56.0)
    """
    if probes < 2:
        raise ValueError(f"{probes} probes show no error. Give 2 or more.")
    point = jnp.asarray(parameters)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (probes, point.size))
    forms, squares = _forms(loss, point, jnp.asarray(signs, point.dtype))
    (trace, trace_error), (square, square_error) = _mean(forms), _mean(squares)
    return HessianTrace(trace, trace_error, square, square_error, point.size)


def noise_alignment(
    loss: Loss, parameters: Any, samples: Any, trace: HessianTrace, directions: Any | None = None
) -> NoiseAlignment:
    """Whether gradient noise goes where the loss is curved, from samples of the noise.

    Args:
        loss: parameters (d,) -> a number.
        parameters: (d,).
        samples: noise of mean 0, (n, d), such as `GradientNoise.samples`; n products with the Hessian are taken.
        trace: of `hessian_trace` at the same point.
        directions: (d, k) of length 1, such as `HessianPairs.vectors`; default none.

    Returns:
        The alignment. |C| is estimated without the bias of few samples, from pairs of different mini-batches.

    Raises:
        ValueError: the samples do not fit the parameters, or there are fewer than 2.

    Source:
        Zhu, Wu, Yu, Wu and Ma 2019, who compare tr(H C) with that of isotropic noise.

    Example:
        >>> loss, point = lambda p: (jnp.array([3.0, 1.0]) * p**2).sum() / 2, jnp.zeros(2)
        >>> noise = np.random.default_rng(0).normal(size=(400, 2)) * np.sqrt([3.0, 1.0])
        >>> found = noise_alignment(loss, point, noise, hessian_trace(loss, point))
        >>> round(found.cosine, 1), found.isotropic_ratio > 1.1
        (1.0, True)
    """
    point, values = jnp.asarray(parameters), np.asarray(samples)
    if values.ndim != 2 or values.shape[1] != point.size or len(values) < 2:
        raise ValueError(f"samples of shape {values.shape}: give (n, {point.size}) of 2 mini-batches or more.")
    size = float(np.abs(values).max())
    if size == 0:
        raise ValueError("the samples are all 0. Give noise.")
    unit = jnp.asarray(values / size, point.dtype)  # squares of small noise would leave float32
    curvature, error = _mean(_forms(loss, point, unit)[0])
    gram = np.asarray(unit @ unit.T, np.float64)
    power, count = float(np.trace(gram)) / len(gram), len(gram)
    square = float((gram**2).sum() - (np.diag(gram) ** 2).sum()) / (count * (count - 1))
    known = abs(trace.trace) > _KNOWN * trace.trace_error
    along = np.zeros(0) if directions is None else (np.asarray(unit @ jnp.asarray(directions, point.dtype)) ** 2)
    return NoiseAlignment(
        curvature * size**2,
        error * size**2,
        power * size**2,
        curvature / math.sqrt(square * trace.square) if square * trace.square > 0 else math.nan,
        curvature * trace.dimension / (power * trace.trace) if known else math.nan,
        along.mean(axis=0) / power if along.size else along,
    )


def loss_along(loss: Loss, parameters: Any, directions: Any, distances: Any) -> LossAlong:
    """The loss at +t and -t along given directions, for the sharpness and the asymmetry of a valley.

    Args:
        loss: parameters (d,) -> a number.
        parameters: (d,).
        directions: (d, k), taken as they are: of length 1 if distances are to be lengths.
        distances: (m,), positive.

    Returns:
        The losses.

    Raises:
        ValueError: a distance that is not positive, or directions of another length.

    Example:
        >>> along = loss_along(lambda p: jnp.where(p > 0, p, -3 * p).sum(), jnp.zeros(1), jnp.ones((1, 1)), [1.0])
        >>> along.asymmetry().tolist(), along.sharpness().tolist()
        ([[-0.5]], [[2.0]])
    """
    point, steps = jnp.asarray(parameters), np.asarray(distances, np.float64)
    ways = jnp.asarray(directions, point.dtype)
    if ways.ndim != 2 or len(ways) != point.size or steps.ndim != 1 or not (steps > 0).all():
        raise ValueError(
            f"directions {ways.shape} and distances {steps.shape} do not fit {point.size} parameters. Give "
            f"({point.size}, k) and (m,) positive numbers."
        )
    ahead, behind = (
        np.asarray(_along(loss, point, ways.T, jnp.asarray(sign * steps, point.dtype))) for sign in (1, -1)
    )
    return LossAlong(steps, float(loss(point)), ahead, behind)


@functools.partial(jax.jit, static_argnums=0)
def _along(loss: Loss, point: Array, ways: Array, steps: Array) -> Array:
    return jax.lax.map(lambda way: jax.lax.map(lambda step: loss(point + step * way), steps), ways)


def _forms(loss: Loss, point: Array, vectors: Array) -> tuple[np.ndarray, np.ndarray]:
    """v' H v and |H v|^2 of each row, with the one compiled product of this module."""
    products = np.array([hessian_product(loss, point, vector) for vector in vectors], np.float64)
    return (np.asarray(vectors, np.float64) * products).sum(axis=1), (products**2).sum(axis=1)


def _mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))
