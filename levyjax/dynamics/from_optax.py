"""Any optax transformation as an optimizer of this library: one of its states for every trajectory."""

import inspect
import math
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
from levyjax.landscapes import Landscape
from levyjax.landscapes.base import has_potential
from levyjax.random import Counter

_BLOCK = 32  # lanes: half of what the engine has at least, for XLA takes a loop of one round apart


class OptaxState(NamedTuple):
    """Where an optax optimizer stands: the point (d, *batch) and optax's own state, its arrays (..., *batch).

    `slow` is None, or the slow parameters (d, *batch) of optax.lookahead; the point is the fast ones.
    """

    x: Float[Array, "d *batch"]
    inner: Any
    slow: Any = None


class _Form(NamedTuple):
    """Parameters as a pytree, and as the vector of all their numbers, leaf after leaf."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]

    def tree(self, x: Float[Array, " d"]) -> Any:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = jnp.split(x, ends[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)

    def flat(self, tree: Any) -> Float[Array, " d"]:
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


@pytree
class FromOptax(Dynamics):
    """What `from_optax` makes."""

    transformation: Any = static()
    learning_rate: Any = key(positive, default=None)
    hyperparameters: Any = None
    choices: tuple[tuple[str, Any], ...] = static(default=())
    form: _Form | None = static(default=None)

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
            names = sorted([*given, *dict(self.choices)])
            raise ValueError(
                "transformation must be an optax GradientTransformation, or a function that makes one of the "
                f"hyperparameters {names}: {error}."
            ) from None
        import optax  # of the parts of this library only this one and `add_stable_noise` need it

        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(
                f"transformation must be an optax GradientTransformation or make one, got {self.transformation!r}."
            )

    def _made(self) -> Any:
        """The transformation itself, made of its hyperparameters where these are given."""
        made: Any = self.transformation
        if callable(made):
            try:
                made = made(**self.hyperparameters, **dict(self.choices))
            except jax.errors.ConcretizationTypeError:
                raise ValueError(
                    f"Not all of the hyperparameters {sorted(self.hyperparameters)} can be numbers that change from "
                    "run to run, as optax decides by the value of one: bind that one to the function, "
                    "functools.partial(make, name=value)."
                ) from None
        return made.gradient_transformation() if hasattr(made, "gradient_transformation") else made

    def why_no_sde(self) -> str:
        return "An optax transformation is an algorithm, and no SDE is known for it"

    def init(self, x: Float[Array, "d *batch"]) -> OptaxState:
        if self.form is not None and (size := sum(map(math.prod, self.form.shapes))) != x.shape[0]:
            raise ValueError(f"parameters hold {size} numbers, and points have {x.shape[0]} coordinates.")
        transformation = self._made()
        slow = x if _is_lookahead(transformation, self._tree(jnp.zeros(x.shape[:1], x.dtype))) else None

        def start(x: Array) -> Any:
            return transformation.init(self._parameters(x, None if slow is None else x))

        with jax.numpy_dtype_promotion("standard"):
            try:
                return OptaxState(x, _over_batch(start, x.ndim - 1)(x), slow)
            except Exception as error:
                raise self._refusal(error) from error

    def iterate(self, state: OptaxState, gradient: Array, driving: DrivingNoise) -> OptaxState:
        return self._iterated(state, gradient, driving, None)

    def iterate_on(self, landscape: Landscape, state: OptaxState, driving: DrivingNoise) -> OptaxState:
        value = landscape.value if has_potential(landscape) else None
        return self._iterated(state, landscape.gradient(state.x), driving, value)

    def _iterated(self, state: OptaxState, gradient: Array, driving: DrivingNoise, value: Any) -> OptaxState:
        import optax

        noise = driving.draw()
        transformation = self._made()
        takes = inspect.signature(transformation.update).parameters
        takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())

        def step(x: Array, slow: Any, inner: Any, gradient: Array, noise: Array, counter: Counter) -> Any:
            parameters, updates = self._parameters(x, slow), self._tree(gradient + noise)
            more = self._extra(x, noise, value, updates)
            more = {name: one for name, one in more.items() if takes_all or name in takes}
            updates, after = transformation.update(updates, _own_keys(inner, counter), parameters, **more)
            if [*map(jnp.shape, jax.tree.leaves(updates))] != [*map(jnp.shape, jax.tree.leaves(parameters))]:
                raise ValueError("its updates have another shape than the parameters")  # they would broadcast
            moved: Any = optax.apply_updates(parameters, updates)
            if slow is None:
                return self._flat(moved), _typed_like(inner, after), None
            return self._flat(moved.fast), _typed_like(inner, after), self._flat(moved.slow)

        with jax.numpy_dtype_promotion("standard"):
            every = _in_blocks(_over_batch(step, state.x.ndim - 1))
            try:
                return OptaxState(*every(state.x, state.slow, state.inner, gradient, noise, driving.counter))
            except Exception as error:
                raise self._refusal(error) from error

    def _tree(self, x: Float[Array, " d"]) -> Any:
        return x if self.form is None else self.form.tree(x)

    def _flat(self, tree: Any) -> Float[Array, " d"]:
        return tree if self.form is None else self.form.flat(tree)

    def _parameters(self, x: Float[Array, " d"], slow: Any) -> Any:
        """The parameters as the transformation has them."""
        import optax

        return self._tree(x) if slow is None else optax.LookaheadParams(self._tree(x), self._tree(slow))

    def _extra(self, x: Float[Array, " d"], noise: Float[Array, " d"], value: Any, updates: Any) -> dict[str, Any]:
        """What a transformation may ask for beside gradient and parameters."""
        if value is None:
            return {"grad": updates}

        def noisy_value(parameters: Any) -> Array:
            point = self._flat(parameters)
            return value(point) + (noise * (point - x)).sum()

        return {"value": value(x), "grad": updates, "value_fn": noisy_value}

    def _refusal(self, error: Exception) -> ValueError:
        what = str(error).partition("\n")[0].rstrip(".")
        if isinstance(error, TypeError) and "missing" in what:
            return ValueError(
                f"The transformation asks for more than there is ({what}): it is given gradient, parameters and, of a "
                "landscape with a potential, value, grad and value_fn. Take one that goes without."
            )
        if self.form is None:
            return ValueError(
                f"The transformation does not take the vector of all coordinates ({what}): if it needs parameters in "
                "parts or of some shape, give from_optax(..., parameters=...), a pytree of arrays like them."
            )
        return ValueError(f"The transformation does not take parameters of this form ({what}): give others.")


def from_optax(
    transformation: Any, learning_rate: Any = None, hyperparameters: Any = None, parameters: Any = None
) -> FromOptax:
    """Any optax optimizer, run on many trajectories at once: x <- x + update(g + epsilon A u).

    Every trajectory has its own optimizer state, counts and schedules too; a random key in that state (optax.add_noise
    has one) is told apart by trajectory at its first step. There is no SDE: simulate it with method "iteration"
    (`solvers.Iteration`). Each GradientTransformation is a program of its own; a function and its numbers,
    `from_optax(optax.adam, hyperparameters={"learning_rate": 0.01})`, is compiled once for all their values.

    A transformation that asks for more is given value = F(x), grad = g + epsilon A u and value_fn, the loss
    y -> F(y) + epsilon A u . (y - x), whose gradient at x that is: polyak_sgd, reduce_on_plateau and line searches run.
    Under optax.lookahead the point is the fast parameters, where the gradient is taken; the slow ones are in the state.
    Under optax.contrib.schedule_free it is those that are trained, not its average.

    Args:
        transformation: a GradientTransformation, or MultiSteps, which maps gradients (d,) to updates (d,), parameters
            given; or a function that makes one of `hyperparameters`, such as optax.adam.
        learning_rate: how much time a step counts for; default 1, so that times are numbers of steps. The step's size
            is the transformation's own.
        hyperparameters: for such a function its arguments by name. Floats and 0-d arrays are traced; whole numbers,
            booleans, None and functions (schedules) are part of the program.
        parameters: a pytree of floating arrays (or their shapes) that the transformation is given in place of the
            vector (d,), its numbers leaf after leaf as in jax.flatten_util.ravel_pytree: with it masks, labels and
            rules that look at an array's shape work. A leaf for each coordinate treats them one by one.

    Returns:
        Dynamics with `init`, `iterate` and `iterate_on`.

    Raises:
        ValueError: no GradientTransformation nor a function that makes one of these hyperparameters, parameters that
            are no floating arrays, or a learning rate that is not positive; and when it runs, a transformation that
            does not take these parameters, or asks for more than there is.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> dynamics = from_optax(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)))
        >>> state = dynamics.init(jnp.ones((2, 5)))  # five trajectories in the plane
        >>> state.inner[1][0].count.shape
        (5,)
        >>> parts = optax.partition({"fast": optax.adam(0.1), "slow": optax.sgd(0.01)}, {"a": "fast", "b": "slow"})
        >>> by_part = from_optax(parts, parameters={"a": jnp.zeros(()), "b": jnp.zeros((2, 2))})  # d = 5
    """
    numbers, choices = {}, []
    for name, value in (hyperparameters or {}).items():
        if isinstance(value, bool | int | np.integer | None) or callable(value):
            choices.append((name, value))
        else:
            numbers[name] = value
    return FromOptax(transformation, learning_rate, numbers, tuple(sorted(choices)), _form_of(parameters))


def _form_of(parameters: Any) -> _Form | None:
    if parameters is None:
        return None
    leaves, structure = jax.tree.flatten(parameters)
    for leaf in leaves:
        if not jnp.issubdtype(getattr(leaf, "dtype", np.result_type(type(leaf))), jnp.floating):
            raise ValueError(f"parameters must be a pytree of floating arrays, got a leaf {leaf!r}.")
    if not leaves:
        raise ValueError("parameters is a pytree without arrays: give one array at least.")
    return _Form(structure, tuple(getattr(leaf, "shape", ()) for leaf in leaves))


def _is_lookahead(transformation: Any, parameters: Any) -> bool:
    """Whether it moves fast and slow parameters, optax.LookaheadParams."""
    import optax

    try:
        state = jax.eval_shape(transformation.init, optax.LookaheadParams.init_synced(parameters))
    except Exception:  # masks and labels of the parameters themselves fit no pair of them
        return False

    def found(node: Any) -> bool:
        return isinstance(node, optax.LookaheadState)

    return any(map(found, jax.tree.leaves(state, is_leaf=found)))


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
