"""Noise levels that change with time: annealing, warm-up, ramps."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import freeze, parameter, positive, pytree, static
from levyjax.checks import choice
from levyjax.random import Counter

FIXED = (
    "The noise level is a schedule, and this needs one number: simulate it by Euler, Tamed or Iteration, take "
    "escape.annealed_survival for the law of its exit times, or give the noise level at one time, schedule(t)"
)


@pytree
class Schedule:
    """A noise level that changes with time, for `EscapeProblem`: a function of time, or of the number of steps.

    Fixed steps (`Euler`, `Tamed`, `Iteration`) take its value at their beginning. What assumes that nothing changes
    (`predict`, `quasi_stationary_rate`, `JumpAdapted`) refuses it. A number times a schedule is one.

    Args:
        function: s(t) or s(t, *parameters), a JAX function that gives one number.
        parameters: numbers and arrays handed to the function, so that changing them does not recompile.
        of: "time", the SDE's (learning_rate times the iterations), or "steps", the whole number of steps taken, as
            optax's schedules are.

    Raises:
        ValueError: something else than a function, or one that does not give a finite number above 0 at the start.

    Example:
        >>> import optax
        >>> annealed = 0.5 * Schedule(optax.exponential_decay(1.0, 100, 0.5), of="steps")
        >>> float(annealed(200))
        0.125
    """

    function: Callable[..., Array] = static()
    parameters: Any = ()
    of: str = static(default="time")

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"A schedule is a function of time, got {self.function!r}: give a JAX function s(t).")
        choice(("time", "steps"))(self.of, "of")
        freeze(self, parameters=tuple(self.parameters))
        first = self(0 if self.of == "steps" else 0.0)
        if jnp.shape(first) != () or not 0 < float(first) < np.inf:
            raise ValueError(
                f"A schedule must give one finite number above 0 at the start, got {np.asarray(first).tolist()}."
            )

    def __call__(self, at: Any) -> Float[Array, "*times"]:
        """The noise level at a time, or after so many steps."""
        kind = jnp.int32 if self.of == "steps" else jnp.result_type(float)
        return jnp.asarray(self.function(jnp.asarray(at, kind), *self.parameters), jnp.result_type(float))

    def at(self, counter: Counter, dt: Any) -> Float[Array, "*lanes"]:
        """The noise level of the step that the counter names, each of which takes dt."""
        dtype = jnp.asarray(dt).dtype
        if self.of == "steps":
            past = (counter.high > 0) | (counter.low >= jnp.uint32(2**31 - 1))
            count = jnp.where(past, jnp.int32(2**31 - 1), counter.low.astype(jnp.int32))
            return jnp.asarray(self.function(count, *self.parameters), dtype)
        steps = counter.low.astype(dtype) + counter.high.astype(dtype) * 2.0**32
        return jnp.asarray(self.function(steps * dt, *self.parameters), dtype)

    def __rmul__(self, factor: Any) -> "Schedule":
        factor = positive(parameter(factor, "The factor of a schedule", ndim=(0,)), "The factor of a schedule")
        return Schedule(_Scaled(self.function), (factor, *self.parameters), self.of)

    __array_ufunc__ = None  # NumPy's numbers leave the product to it

    def __float__(self) -> float:
        raise ValueError(f"{FIXED}.")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise ValueError(f"{FIXED}.")


class _Scaled:
    """A function times its first parameter; equal to another of the same function, so that nothing is compiled anew."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, at: Array, factor: Any, *parameters: Any) -> Array:
        value = jnp.asarray(self.function(at, *parameters))
        return jnp.asarray(factor, value.dtype) * value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Scaled) and other.function == self.function

    def __hash__(self) -> int:
        return hash((_Scaled, self.function))


def as_schedule(value: Any) -> Any:
    """A noise level that is a function of time as a schedule; anything else as it is."""
    if isinstance(value, Schedule) or not callable(value):
        return value
    function: Any = value
    return Schedule(function)


def of_steps(values: Any) -> Schedule:
    """The n-th value in the n-th step, and the last one from there on.

    Args:
        values: (n,), the first of them positive.

    Example:
        >>> float(of_steps([0.5, 0.25])(7))
        0.25
    """
    return Schedule(_looked_up, (parameter(values, "values", ndim=(1,)),), "steps")


def _looked_up(count: Array, values: Any) -> Array:
    values = jnp.asarray(values)
    return values[jnp.minimum(count, values.shape[0] - 1)]
