"""Array conventions shared by the pieces of a problem.

Coordinates come first and trajectories last: a point is `x` of shape (d,), many points are (d, *batch). The trajectory
axis is then the contiguous one, which is what vector units want (measured: 2 to 4 times faster than (batch, d)).
Parameters are NumPy float64 arrays until they enter a computation, so that one problem serves float32 and float64.
"""

import dataclasses
import functools
import platform
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from levyjax.checks import refuse
from levyjax.keys import key

T = TypeVar("T")
Numbers = Array | np.ndarray  # worked out once in NumPy, or on a device
_UNROLL = 32  # up to this many columns a matrix product is a sum in a fixed order, the same for every batch width


def static(*, default: Any = dataclasses.MISSING) -> Any:
    """Declare a dataclass field that is part of the compiled program, not an array."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, key))
def pytree(cls: type[T]) -> type[T]:
    """Make a frozen dataclass whose fields are pytree leaves (or static, by `static()`).

    Fields declared by `key` are checked, and numbers held as float64; then `__post_init__` looks at the whole. Checks
    run when it is made, not when it is rebuilt from leaves: these may be tracers, placeholders or gradients.
    """
    further = getattr(cls, "__post_init__", None)

    def check(self: Any) -> None:
        for field in dataclasses.fields(self):
            if field.metadata.get("check") is not None:
                freeze(self, **{field.name: _checked(self, field)})
        if further is not None:
            further(self)

    cls.__post_init__ = check  # type: ignore[attr-defined]
    made: Any = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(made)
    fixed = [field.name for field in fields if field.metadata.get("static")]
    names = [field.name for field in fields if not field.metadata.get("static")]

    def flatten(instance: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(instance, name) for name in names), tuple(getattr(instance, name) for name in fixed)

    def flatten_with_keys(instance: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        leaves, statics = flatten(instance)
        return tuple(zip(map(jax.tree_util.GetAttrKey, names), leaves, strict=True)), statics

    def unflatten(statics: tuple[Any, ...], leaves: Iterable[Any]) -> Any:
        instance = object.__new__(made)
        freeze(instance, **dict(zip(names, leaves, strict=True)), **dict(zip(fixed, statics, strict=True)))
        return instance

    jax.tree_util.register_pytree_with_keys(made, flatten_with_keys, unflatten, flatten)
    return made


def _checked(instance: Any, field: Any) -> Any:
    """The value of a field by its check: tracers and right device arrays as they are, other numbers as float64."""
    name, test = field.name, field.metadata["check"]
    value = joined(getattr(instance, name))
    if (value is None and field.default is None) or not concrete(value):
        return value
    if value is None:
        raise ValueError(f"{type(instance).__name__} needs a {name}.")
    if callable(value) and hasattr(instance, "iterate"):  # of an optimizer
        raise ValueError(
            f"{name} of {type(instance).__name__} is a number, no function of time: optax takes schedules, "
            'from_optax(optax.inject_hyperparams(optax.sgd)(schedule, momentum=schedule)) by method "iteration".'
        )
    kept = test(value, name)
    if field.metadata["static"]:
        return kept
    array = np.asarray(kept, np.float64)
    if field.metadata["coordinates"] is not None and array.ndim == 0:
        raise refuse(value, name, "its diagonal, a list with one number for each coordinate, or its rows")
    # What came as a device array keeps its type: it may be an output of a transformation.
    return value if isinstance(value, jax.Array) and value.ndim == array.ndim else array


def freeze(instance: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass inside its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def concrete(value: Any) -> bool:
    """Whether a value can be checked now: it is no tracer."""
    return not isinstance(value, Tracer)


def joined(value: Any) -> Any:
    """A list of numbers of which some are traced as one array; all else as it is."""
    if isinstance(value, list | tuple) and any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value)
    return value


def parameter(value: Any, name: str, *, ndim: tuple[int, ...], infinite: bool = False) -> Any:
    """Check a parameter and hold it as float64; tracers pass through untouched.

    Raises:
        ValueError: it is not numeric, has the wrong number of axes, is empty, or is not finite.
    """
    value = joined(value)
    if not concrete(value):
        return value
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numeric and rectangular, got {value!r}.") from None
    if array.ndim not in ndim:
        shapes = " or ".join({0: "a number", 1: "a vector", 2: "a matrix"}[n] for n in ndim)
        raise ValueError(f"{name} must be {shapes}, got shape {array.shape}.")
    if array.ndim == 2 and array.shape[0] != array.shape[1]:
        raise ValueError(f"{name} must be square, got shape {array.shape}.")
    if array.size == 0:
        raise ValueError(f"{name} is empty.")
    if np.isnan(array).any() or (not infinite and np.isinf(array).any()):
        raise ValueError(f"{name} must be finite, got {value!r}.")
    # What came as a device array keeps its type: it may be an output of a transformation.
    return value if isinstance(value, jax.Array) else array


def positive(value: Any, name: str) -> Any:
    """Check that every entry is above zero."""
    if concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"{name} must be positive, got {np.asarray(value).tolist()}.")
    return value


def column(vector: Any, x: Array) -> Array:
    """Reshape a vector (d,) or matrix (d, d) to broadcast against points of shape (d, *batch)."""
    vector = jnp.asarray(vector)
    return vector.reshape(vector.shape + (1,) * (x.ndim - 1))


def apply(operator: Any, x: Array) -> Array:
    """Apply a linear map, held as its diagonal (d,) or as a matrix (d, d), to points of shape (d, *batch)."""
    if operator.ndim == 1:
        return column(operator, x) * x
    if operator.shape[1] <= _UNROLL:
        columns = column(operator, x)
        total = columns[:, 0] * x[0]
        for j in range(1, operator.shape[1]):
            total = total + columns[:, j] * x[j]
        return total
    return jnp.tensordot(operator, x, axes=1, precision=jax.lax.Precision.HIGHEST)


def total(rows: Float[Array, "rows *batch"]) -> Float[Array, "*batch"]:
    """The sum over rows, up to 32 of them in their order: a reduction's order may change with the batch's width."""
    return sum(rows[1:], rows[0]) if rows.shape[0] <= _UNROLL else rows.sum(axis=0)


def components(linked: np.ndarray) -> np.ndarray:
    """Which component each of n nodes belongs to, (n,), given which pairs (n, n) are linked, in either direction.

    Example:
        >>> components(np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]]))
        array([0, 1, 0])
    """
    reached = (linked != 0) | (linked.T != 0) | np.eye(len(linked), dtype=bool)
    while True:  # twice as far
        further = reached.astype(np.float32) @ reached > 0
        if np.array_equal(further, reached):
            return np.unique(reached.argmax(axis=1), return_inverse=True)[1]
        reached = further


def power_of_four(size: int) -> int:
    """The least that holds so many: arrays of these sizes alone run few programs."""
    bits = (size - 1).bit_length()
    return 1 << bits + bits % 2


def padded_to(values: np.ndarray, least: int = 1, axis: int = -1) -> np.ndarray:
    """The last entry repeated until their number is a power of two: other numbers then run the same program."""
    size = values.shape[axis]
    wanted = max(least, 1 << (size - 1).bit_length())
    last = np.moveaxis(np.moveaxis(values, axis, -1)[..., -1:], -1, axis)
    return values if wanted == size else np.concatenate([values, np.repeat(last, wanted - size, axis=axis)], axis=axis)


def add_to(high: Array, low: Array, amount: Array) -> tuple[Array, Array]:
    """A running sum in two parts, `high` being the whole sum as rounded: small amounts add up beside a large sum.

    In float32 a sum of n equal amounts drifts by a part of about n/10^8 with one part, and stands still from n = 2^24.

    Source:
        Knuth's two-sum for what rounding takes away, Dekker's fast two-sum for the parts; Dekker 1971.
    """
    total = high + amount
    part = total - high
    low = low + ((high - (total - part)) + (amount - part))
    high = total + low
    return high, low - (high - total)


def as_matrix(operator: Any) -> Array:
    """The matrix (d, d) of a linear map held as its diagonal or as a matrix."""
    return jnp.diag(jnp.asarray(operator)) if operator.ndim == 1 else jnp.asarray(operator)


def matrix_of(operator: Any) -> np.ndarray:
    """`as_matrix` in NumPy, for what is worked out once."""
    operator = np.asarray(operator)
    return np.diag(operator) if operator.ndim == 1 else operator


def cast(tree: T, dtype: Any) -> T:
    """Turn every floating leaf into a device array of one dtype."""

    def leaf(value: Any) -> Any:
        floating = isinstance(value, float) or jnp.issubdtype(getattr(value, "dtype", np.int32), jnp.floating)
        if isinstance(value, jax.Array):
            return jnp.asarray(value, dtype) if floating else value
        array = np.asarray(value, dtype if floating else None)
        return jax.device_put(array.astype(jax.dtypes.canonicalize_dtype(array.dtype)))

    return jax.tree.map(leaf, tree)


def bisected(stays: Callable[[Array], Array], low: Array, high: Array, count: int) -> tuple[Array, Array]:
    """Both ends of brackets halved so many times: `stays` holds at the low end and not at the high one."""

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        below = stays(middle)
        return jnp.where(below, middle, ends[0]), jnp.where(below, ends[1], middle)

    return jax.lax.fori_loop(0, count, halve, (low, high))


def materialized(tree: T) -> T:
    """The same arrays, worked out here and once.

    XLA compiles a chain of array expressions into loops that may work a value out again in each place that uses it, and
    differently (with or without fused multiply-add) from one program to the next. What passes through a branch that is
    chosen at run time is not compiled into what comes after it; an optimization barrier does not do that on the CPU.
    Elsewhere it does, and a branch would wait for the host.
    """

    def chosen(tree: T) -> T:
        first = jax.tree.leaves(tree)[0]
        return jax.lax.cond(jnp.isnan(first.ravel()[0]), jax.lax.optimization_barrier, lambda tree: tree, tree)

    return jax.lax.platform_dependent(tree, cpu=chosen, default=jax.lax.optimization_barrier)


class jit:
    """`jax.jit` for a program of its own, on the CPU with vectors as wide as the machine has.

    XLA stops at 256 bits; with AVX-512 the wider ones make a loop of stable increments up to 1.9 times as fast. The
    numbers are the same.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options

    @functools.cached_property
    def _compiled(self) -> Any:
        wide = jax.default_backend() == "cpu" and platform.machine() in ("x86_64", "AMD64")
        options = {"xla_cpu_prefer_vector_width": 512} if wide else None
        return jax.jit(self._function, compiler_options=options, **self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)
