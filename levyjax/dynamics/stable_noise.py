"""Lévy noise in anybody's training loop: an optax transformation beside `optax.add_noise`."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from levyjax.stable import sample, sample_truncated
from levyjax.stable.sampling import check_range

if TYPE_CHECKING:
    import optax


class AddStableNoiseState(NamedTuple):
    """Updates so far, and the key of the next ones."""

    count: Any
    key: Any


def add_stable_noise(alpha: Any, scale: Any, key: Any, *, bound: Any = None) -> "optax.GradientTransformation":
    """Adds independent symmetric stable noise to every entry of the updates: E exp(i w noise) = exp(-|scale w|^alpha).

    At alpha = 2 that is N(0, 2 scale^2). Placed before the optimizer it is noise in the gradient, and plain gradient
    descent then is the iteration of `dynamics.SGD` with noise level `scale`. The updates keep their types, their tree
    and their sharding; noise for float16 and bfloat16 is drawn in float32 and rounded, and what float16 does not hold
    (beyond 65504) becomes infinite: give a bound. alpha and scale may be schedules by `optax.inject_hyperparams`, with
    static_args = "key".

    Args:
        alpha: tail index in (0, 2].
        scale: not negative.
        key: a `jax.random.key` or an integer seed.
        bound: positive; the noise is conditioned on not being larger than that in any entry, exactly. Default none.

    Returns:
        A GradientTransformation with an `AddStableNoiseState`.

    Raises:
        ValueError: a number out of its range; updates that are not real floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> optimizer = optax.chain(add_stable_noise(1.5, 1e-3, key=0, bound=1.0), optax.sgd(0.1))
        >>> def loss(w):
        ...     return jnp.sum((w - 3.0) ** 2)
        >>> w = jnp.zeros(4)
        >>> state = optimizer.init(w)
        >>> for _ in range(200):
        ...     updates, state = optimizer.update(jax.grad(loss)(w), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> bool(loss(w) < 0.1)
        True
    """
    import optax  # of the parts of this library only this one and `from_optax` need it

    check_range("alpha", alpha, 0, 2, "(]")
    check_range("scale", scale, 0, jnp.inf, "[)")
    if bound is not None:
        check_range("bound", bound, 0, jnp.inf, "(]")

    def init(params: Any) -> Any:
        del params
        return AddStableNoiseState(jnp.zeros([], jnp.int32), _as_key(key))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        kept, used = jax.random.split(state.key)
        leaves, tree = jax.tree.flatten(updates)
        keys = jax.random.split(used, max(len(leaves), 1))
        noisy = [leaf + _noise(keys[i], leaf, alpha, scale, bound) for i, leaf in enumerate(leaves)]
        count = optax.safe_increment(state.count)
        return jax.tree.unflatten(tree, noisy), AddStableNoiseState(count, kept)

    return optax.GradientTransformation(init, update)


def _as_key(key: Any) -> Array:
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.key(key)


def _noise(key: Array, leaf: Array, alpha: Any, scale: Any, bound: Any) -> Array:
    """Noise of a leaf's shape and type."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ValueError(f"add_stable_noise needs real floating-point updates, got {leaf.dtype.name}.")
    dtype = jnp.float64 if leaf.dtype == jnp.float64 else jnp.float32
    alpha, scale = (jnp.asarray(value).astype(dtype) for value in (alpha, scale))
    if bound is None:
        unit = sample(key, alpha, leaf.shape, dtype)
    else:
        unit = sample_truncated(key, alpha, jnp.asarray(bound).astype(dtype) / scale, leaf.shape, dtype)
    return (scale * unit).astype(leaf.dtype)
