"""Schedules by their names, from a noise level at the start to one in the end."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from levyjax.arrays import parameter, positive
from levyjax.schedules.base import Schedule


def exponential(start: Any, time: Any, end: Any = 0.0) -> Schedule:
    """end + (start - end) exp(-t/time).

    Args:
        start: the noise level at t = 0, positive.
        time: in which what is left falls to 1/e, positive, in the SDE's time.
        end: the noise level in the end.

    Example:
        >>> round(float(exponential(0.5, 5.0)(5.0)), 4)
        0.1839
    """
    return _named(_exponential, start, time, end)


def linear(start: Any, time: Any, end: Any = 0.0) -> Schedule:
    """From start to end in a straight line, over `time`; then it stays.

    Args:
        start: the noise level at t = 0, positive.
        time: that it takes, positive, in the SDE's time.
        end: the noise level in the end.

    Example:
        >>> round(float(linear(0.5, 10.0, 0.1)(5.0)), 4), round(float(linear(0.5, 10.0, 0.1)(50.0)), 4)
        (0.3, 0.1)
    """
    return _named(_linear, start, time, end)


def cosine(start: Any, time: Any, end: Any = 0.0) -> Schedule:
    """From start to end over `time` along half a cosine; then it stays.

    Args:
        start: the noise level at t = 0, positive.
        time: that it takes, positive, in the SDE's time.
        end: the noise level in the end.

    Source:
        Loshchilov and Hutter 2017, without restarts.

    Example:
        >>> round(float(cosine(0.5, 10.0)(5.0)), 4)
        0.25
    """
    return _named(_cosine, start, time, end)


NAMED = {"exponential": exponential, "linear": linear, "cosine": cosine}


def _named(function: Callable[..., Array], start: Any, time: Any, end: Any) -> Schedule:
    start, end = parameter(start, "start", ndim=(0,)), parameter(end, "end", ndim=(0,))
    return Schedule(function, (start, positive(parameter(time, "time", ndim=(0,)), "time"), end))


def _exponential(t: Array, start: Any, time: Any, end: Any) -> Array:
    start, time, end = _like(t, start, time, end)
    return end + (start - end) * jnp.exp(-t / time)


def _linear(t: Array, start: Any, time: Any, end: Any) -> Array:
    start, time, end = _like(t, start, time, end)
    return start + (end - start) * jnp.minimum(t / time, 1)


def _cosine(t: Array, start: Any, time: Any, end: Any) -> Array:
    start, time, end = _like(t, start, time, end)
    return end + (start - end) * (1 + jnp.cos(jnp.pi * jnp.minimum(t / time, 1))) / 2


def _like(t: Array, *numbers: Any) -> list[Array]:
    return [jnp.asarray(number, t.dtype) for number in numbers]
