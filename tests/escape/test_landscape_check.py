"""What an exit problem asks of a landscape: that its value, gradient, minimum and Hessian belong together."""

import dataclasses
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from levyjax.basins import Attraction, Ball, Box, HalfSpace, Sublevel
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, exit_rate
from levyjax.escape.landscape_check import _judge, _probed, check_landscape
from levyjax.landscapes import (
    AsymmetricValley,
    DoubleWell,
    Flat,
    Landscape,
    LinearRegression,
    LogisticRegression,
    MultiWell,
    Quadratic,
    Separable,
    WangOhRhee,
    from_function,
)
from levyjax.noise import Independent
from levyjax.training import MLP, network_landscape

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(50, 3)) * [1.0, 0.5, 2.0]
EDGES = [-1.6, -1.3, 0.2, 0.7, 1.6]


@pytest.fixture(autouse=True)
def quick_compiler():
    """Programs that are used once compile in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def problem(landscape, basin=None):
    minimum = np.asarray(landscape.minimum)
    basin = Ball(1.0, minimum) if basin is None else basin
    return EscapeProblem(landscape, basin, Independent(1.5, np.ones(len(minimum))), SGD(), 0.05)


OWN = {
    "quadratic": (Quadratic([[2.0, 0.3], [0.3, 1.0]], [1.0, 0.0]), None),
    "stiff": (Quadratic([1e6, 1.0, 1e-4]), None),
    "far from 0": (Quadratic([1.0, 2.0], [1e6, 1e6]), None),
    "flat": (Flat([0.0, 1.0]), None),
    "double well": (DoubleWell(1.0, 0.25, [2.0]), None),
    "half of a double well": (DoubleWell(1.0, 0.25), HalfSpace([-1.0], 0.0)),
    "a component": (DoubleWell(1.0, 0.25), Sublevel(DoubleWell(1.0, 0.25), 0.2)),
    "attraction": (DoubleWell(1.0, 0.25), Attraction(DoubleWell(1.0, 0.25))),
    "kinks at the minimum": (AsymmetricValley([1.0, 5.0], [50.0, 3.0]), None),
    "wells": (MultiWell([-1.0, 1.0], [0.1], [1.0], [2.0, 3.0], [2.5], well=1), None),
    "separable": (Separable([DoubleWell(1.0, 0.25), AsymmetricValley([1.0], [4.0])]), None),
    "linear": (LinearRegression(ROWS, ROWS @ [1.0, -2.0, 0.5] + RNG.standard_t(3, 50), ridge=0.05), None),
    "logistic": (LogisticRegression(ROWS, (ROWS[:, 0] + RNG.normal(size=50) > 0) * 1.0, ridge=0.02), None),
    "flat to third order": (from_function(lambda x: (x**4).sum(), [0.0, 0.0]), None),
    "high up": (from_function(lambda x: (x**2).sum() + 1e6, [0.0]), None),
    "bumps": (from_function(lambda x: (x**2 + 1 - jnp.cos(5 * x)).sum(), [0.0, 0.0]), None),
    "nothing outside": (from_function(lambda x: -jnp.log(1 - x**2).sum(), [0.0]), Box([-0.9], [0.9])),
} | {
    f"Wang, Oh, Rhee {well}": (WangOhRhee(well), Box(EDGES[well : well + 1], EDGES[well + 1 : well + 2]))
    for well in range(4)
}


@pytest.mark.parametrize("name", OWN)
def test_landscapes_of_the_package_are_what_they_say(name):
    """By the same look as at a user's, though the check itself knows them by their classes."""
    landscape, basin = OWN[name]
    with jax.enable_x64(True):
        _judge(_probed(landscape, basin or Ball(1.0, np.asarray(landscape.minimum))))
    problem(landscape, basin)


def test_the_loss_of_a_network_is_what_it_says():
    x = RNG.normal(size=(12, 3))
    model = MLP((3, 4, 2), rngs=nnx.Rngs(0), activation="tanh")
    landscape = network_landscape(model, x, (x[:, 0] > 0) * 1, 0.1)
    problem(landscape, Sublevel(landscape, 0.1))
    with pytest.raises(ValueError, match="where it should vanish"):
        problem(dataclasses.replace(landscape, minimum=landscape.minimum + 0.1))


class Bowl(NamedTuple):
    """The documented methods and no more: F = k'x^2/2."""

    k: Any

    @property
    def minimum(self):
        return np.zeros(2)

    def _columns(self, x):
        return jnp.asarray(self.k, x.dtype).reshape((-1,) + (1,) * (x.ndim - 1))

    def value(self, x):
        return (self._columns(x) * x**2).sum(axis=0) / 2

    def gradient(self, x):
        return self._columns(x) * x

    def hessian(self):
        return jnp.diag(jnp.asarray(self.k))

    def in_sublevel(self, x, height):
        return self.value(x) < height

    def sublevel_gauge(self, direction, height):
        return jnp.sqrt(self.value(direction) / height)


class Rotating(Bowl):
    def gradient(self, x):
        return Bowl.gradient(self, x) + jnp.stack([x[1], -x[0]])


class Triple(Bowl):
    def gradient(self, x):
        return 3 * Bowl.gradient(self, x)


class OneSided(Bowl):
    def gradient(self, x):
        return Bowl.gradient(self, x) * jnp.where(x > 0, 1.5, 1.0)


class Beside(Bowl):
    @property
    def minimum(self):
        return np.array([0.01, 0.0])


class Steeper(Bowl):
    def hessian(self):
        return jnp.diag(jnp.asarray(self.k) * np.array([1.0, 1.5]))


class Skew(Bowl):
    def hessian(self):
        return Bowl.hessian(self) + jnp.asarray([[0.0, 0.1], [-0.1, 0.0]])


class Unknown(Bowl):
    def hessian(self):
        return Bowl.hessian(self) * np.nan


class OneNumber(Bowl):
    def value(self, x):
        return (x**2).sum()


REFUSED = {
    Rotating: "gradient is not that of its value at 16 of 16 points",
    Triple: "gradient is not that of its value at 16 of 16 points",
    OneSided: "gradient is not that of its value at",
    Beside: "The gradient at the landscape's minimum has norm 0.01 where it should vanish",
    Steeper: "hessian() is not the derivative of its gradient",
    Skew: "hessian() is not a symmetric matrix",
    Unknown: "hessian() is not a symmetric matrix of finite numbers",
    OneNumber: "value at points of shape (2, 48) should have shape (48,), got ()",
}


class TestUsers:
    @pytest.mark.parametrize("k", [[1.0, 2.0], [1e6, 1.0]])
    def test_documented_methods_are_enough(self, k):
        landscape = Bowl(np.asarray(k))
        assert isinstance(landscape, Landscape)
        assert float(exit_rate(problem(landscape))) == pytest.approx(float(exit_rate(problem(Quadratic(k)))), rel=1e-6)

    @pytest.mark.parametrize("kind", REFUSED)
    def test_what_does_not_belong_together_is_refused_in_one_sentence(self, kind):
        with pytest.raises(ValueError, match=re.escape(REFUSED[kind])) as caught:
            problem(kind(np.array([1.0, 2.0])))
        assert "\n" not in str(caught.value)

    def test_the_soft_direction_of_a_stiff_landscape_is_looked_at(self):
        """There a fault is small beside the other direction's curvature, and as large for the rate."""
        stiff = np.array([1e6, 1.0])
        with pytest.raises(ValueError, match="not the derivative of its gradient"):
            problem(Steeper(stiff))
        with pytest.raises(ValueError, match="where it should vanish"):
            problem(
                from_function(
                    lambda x: (x - jnp.asarray([0.0, 0.01], x.dtype)) ** 2 @ jnp.asarray(stiff, x.dtype), [0.0, 0.0]
                )
            )

    def test_a_missing_method_is_named(self):
        class Bare:
            minimum = np.zeros(1)

            def gradient(self, x):
                return x

        with pytest.raises(ValueError, match=r"Bare has no value and no hessian and no in_sublevel and no sublevel_"):
            problem(Bare())

    def test_float32_inside_is_enough(self):
        class Single(Bowl):
            def value(self, x):
                return Bowl.value(self, x.astype(jnp.float32))

            def gradient(self, x):
                return Bowl.gradient(self, x.astype(jnp.float32))

        problem(Single(np.array([1.0, 2.0])))

    def test_a_value_that_rounds_is_no_wrong_gradient(self):
        """As a network's loss far out, a difference of numbers near 100 where it is 1e-10 itself."""

        class Lofty(Bowl):
            def value(self, x):
                large = 100.0 + x.sum(axis=0)
                return (Bowl.value(self, x) + large) - large

        class Tilted(Lofty):
            def gradient(self, x):
                return 1.05 * Bowl.gradient(self, x)

        problem(Lofty(np.array([1e-10, 2e-10])))
        with pytest.raises(ValueError, match="gradient is not that of its value"):
            problem(Tilted(np.array([1.0, 2.0])))

    def test_parameters_that_move_the_minimum_are_seen(self):
        landscape = from_function(lambda x, p: ((x - p) ** 2).sum(), [1.0], jnp.ones(1))
        with pytest.raises(ValueError, match="where it should vanish"):
            problem(dataclasses.replace(landscape, parameters=jnp.full(1, 1.1)))

    def test_it_looks_once_at_what_stays_the_same(self):
        calls = []

        class Counted:  # no pytree: its methods are called, not compiled
            minimum = np.zeros(1)

            def value(self, x):
                calls.append(x)
                return (x**2).sum(axis=0) / 2

            def gradient(self, x):
                return x

            def hessian(self):
                return jnp.eye(1)

            def in_sublevel(self, x, height):
                return self.value(x) < height

            def sublevel_gauge(self, direction, height):
                return jnp.sqrt((direction**2).sum(axis=0) / (2 * height))

        first = problem(Counted())
        looks = len(calls)
        assert looks > 0
        for level in (0.1, 0.2):
            dataclasses.replace(first, noise_level=level)
        assert len(calls) == looks
        with jax.enable_x64(True):
            check_landscape(first.landscape, Ball(2.0, [0.0]))
        assert len(calls) > looks
