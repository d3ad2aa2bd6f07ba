"""Any optax transformation as an optimizer of this library: one of its states for every trajectory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import concrete, freeze, parameter, pytree, static
from levyjax.checks import positive
from levyjax.dynamics.base import DrivingNoise, Dynamics
from levyjax.keys import key
from levyjax.random import Counter

_BLOCK = 32  # lanes: half of what the engine has at least, for XLA takes a loop of one round apart


class OptaxState(NamedTuple):
    """Where an optax optimizer stands: the point (d, *batch) and optax's own state, its arrays (..., *batch)."""

    x: Float[Array, "d *batch"]
    inner: Any


@pytree
class FromOptax(Dynamics):
    """What `from_optax` makes."""

    transformation: Any = static()
    learning_rate: Any = key(positive, default=None)
    hyperparameters: Any = None

    def __post_init__(self) -> None:
        given = dict(self.hyperparameters or {})
        for name, value in given.items():
            given[name] = parameter(value, f"hyperparameters[{name!r}]", ndim=(0,))
        learning_rate = np.asarray(1.0) if self.learning_rate is None else self.learning_rate
        freeze(self, learning_rate=learning_rate, hyperparameters=given)
        if not all(map(concrete, given.values())):
            return
        try:
            made = self._made()
        except TypeError as error:  # no such hyperparameter, or none that it needs
            raise ValueError(
                "transformation must be an optax GradientTransformation, or a function that makes one of the "
                f"hyperparameters {sorted(given)}: {error}."
            ) from None
        import optax  # of the parts of this library only this one and `add_stable_noise` need it

        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(
                f"transformation must be an optax GradientTransformation or make one, got {self.transformation!r}."
            )
        if (reason := _what_else(made)) is not None:
            raise ValueError(
                f"The transformation needs more than gradient and parameters ({reason}), and a noisy gradient has no "
                "loss beside it: take one that goes without."
            )

    def _made(self) -> Any:
        """The transformation itself, made of its hyperparameters where these are given."""
        if not self.hyperparameters and not callable(self.transformation):
            return self.transformation
        return self.transformation(**self.hyperparameters)

    def why_no_sde(self) -> str:
        return "An optax transformation is an algorithm, and no SDE is known for it"

    def init(self, x: Float[Array, "d *batch"]) -> OptaxState:
        with jax.numpy_dtype_promotion("standard"):
            return OptaxState(x, _over_batch(self._made().init, x.ndim - 1)(x))

    def iterate(self, state: OptaxState, gradient: Array, driving: DrivingNoise) -> OptaxState:
        import optax

        noisy_gradient = gradient + driving.draw()
        transformation = self._made()

        def step(x: Array, inner: Any, gradient: Array, counter: Counter) -> tuple[Array, Any]:
            updates, after = transformation.update(gradient, _own_keys(inner, counter), x)
            moved: Any = optax.apply_updates(x, updates)
            return moved, _typed_like(inner, after)

        with jax.numpy_dtype_promotion("standard"):
            every = _in_blocks(_over_batch(step, state.x.ndim - 1))
            return OptaxState(*every(state.x, state.inner, noisy_gradient, driving.counter))


def from_optax(transformation: Any, learning_rate: Any = None, hyperparameters: Any = None) -> FromOptax:
    """Any optax optimizer, run on many trajectories at once: x <- x + update(g + epsilon A u).

    Every trajectory has its own optimizer state, counts and schedules too; a random key in that state (optax.add_noise
    has one) is told apart by trajectory at its first step. There is no SDE: simulate it with method "iteration"
    (`solvers.Iteration`). A transformation that needs more than gradient and parameters (the loss, as a line search
    does) is refused. Each GradientTransformation is a program of its own; a function and its numbers,
    `from_optax(optax.adam, hyperparameters={"learning_rate": 0.01})`, is compiled once for all their values.

    Args:
        transformation: a GradientTransformation, which maps gradients (d,) to updates (d,), parameters given; or a
            function that makes one of `hyperparameters`, such as optax.adam.
        learning_rate: how much time a step counts for; default 1, so that times are numbers of steps. The step's size
            is the transformation's own.
        hyperparameters: numbers by name, for such a function.

    Returns:
        Dynamics with `init` and `iterate`.

    Raises:
        ValueError: no GradientTransformation nor a function that makes one of these hyperparameters, one that needs
            more than gradient and parameters, or a learning rate that is not positive.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> dynamics = from_optax(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)))
        >>> state = dynamics.init(jnp.ones((2, 5)))  # five trajectories in the plane
        >>> state.inner[1][0].count.shape
        (5,)
    """
    return FromOptax(transformation, learning_rate, hyperparameters)


def _what_else(transformation: Any) -> str | None:
    """What a transformation misses where it is given gradient and parameters; None where that is enough."""
    x = jnp.zeros(2)
    try:
        with jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(lambda x: transformation.update(x, transformation.init(x), x), x)
    except TypeError as error:
        return str(error) if "missing" in str(error) else None
    except Exception:  # it may be made for another number of coordinates
        return None
    return None


def _over_batch(function: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """The function on each column of arrays whose last axes are the batch."""
    for _ in range(axes):
        function = jax.vmap(function, in_axes=-1, out_axes=-1)
    return function


def _in_blocks(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, on the CPU a block of lanes at a time.

    A transformation may sum over coordinates (a norm to clip), and XLA's order of summing changes with the width. The
    engine's lanes come in multiples of a block. This costs no speed, and saves some where the state is large.
    """

    def cut(array: Array) -> Array:
        return jnp.moveaxis(array.reshape(*array.shape[:-1], -1, _BLOCK), -2, 0)

    def join(array: Array) -> Array:
        array = jnp.moveaxis(array, 0, -2)
        return array.reshape(*array.shape[:-2], -1)

    def run(x: Array, *rest: Any) -> Any:
        if x.ndim != 2 or x.shape[1] % _BLOCK or jax.default_backend() != "cpu":
            return function(x, *rest)
        blocks = jax.lax.map(lambda arguments: function(*arguments), jax.tree.map(cut, (x, *rest)))
        return jax.tree.map(join, blocks)

    return run


def _own_keys(inner: Any, counter: Counter) -> Any:
    """At a trajectory's first step the state's random keys, which are the same for all, become its own."""
    first = (counter.low == 0) & (counter.high == 0)

    def own(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return jnp.where(first, jax.random.fold_in(jax.random.fold_in(leaf, counter.key0), counter.key1), leaf)

    return jax.tree.map(own, inner)


def _typed_like(before: Any, after: Any) -> Any:
    """A state with the types that it had, as a loop needs it."""

    def typed(old: Array, new: Array) -> Array:
        return new if jnp.issubdtype(old.dtype, jax.dtypes.prng_key) else new.astype(old.dtype)

    return jax.tree.map(typed, before, after)
