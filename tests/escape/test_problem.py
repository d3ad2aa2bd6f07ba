"""What a problem is made of, and what is no problem."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levyjax.basins import Ball, Box, HalfSpace
from levyjax.dynamics import SGD
from levyjax.escape import (
    EscapeProblem,
    Plan,
    exit_profile,
    exit_rate,
    interval_reference,
    predict,
    quasi_stationary_rate,
    simulate,
    simulate_paths,
    simulate_summary,
    unit_rate,
)
from levyjax.landscapes import Quadratic, from_function
from levyjax.noise import Independent, PerCoordinate, Rotational
from levyjax.solvers import Euler

NOISE = Independent(1.5, [1.0])
PLAN = Plan(Euler(0.05), 8)


def problem(**changed):
    parts = {"landscape": Quadratic([1.0]), "basin": Box([-1.0], [1.0]), "noise": NOISE, "dynamics": SGD()}
    return EscapeProblem(**{**parts, "noise_level": 0.1, **changed})


@pytest.mark.parametrize("given", ["x", None, Quadratic([1.0])], ids=["text", "nothing", "a part"])
@pytest.mark.parametrize(
    "method",
    [
        predict,
        exit_rate,
        unit_rate,
        interval_reference,
        quasi_stationary_rate,
        lambda given: simulate(given, PLAN, 0),
        lambda given: simulate_summary(given, PLAN, 0),
        lambda given: simulate_paths(given, PLAN, 3, 0),
        lambda given: exit_profile(given, [[0.0]], PLAN, 0),
    ],
)
def test_what_is_no_problem_is_refused(method, given):
    with pytest.raises(ValueError, match="problem must be an EscapeProblem, got "):
        method(given)


def test_a_solver_is_no_plan():
    for method in (lambda plan: simulate(problem(), plan, 0), lambda plan: simulate_paths(problem(), plan, 3, 0)):
        with pytest.raises(ValueError, match="plan must be a Plan, got an object of Euler"):
            method(Euler(0.05))


def test_trajectories_are_numbered_from_zero():
    with pytest.raises(ValueError, match="first_id must be at least 0, got -1"):
        simulate(problem(), PLAN, 0, first_id=-1)


@pytest.mark.parametrize(("part", "sentence"), [("noise", "A noise has scale"), ("basin", "A basin has contains")])
def test_a_name_is_no_part(part, sentence):
    with pytest.raises(ValueError, match=sentence):
        problem(**{part: "stable"})


@pytest.mark.parametrize(
    "make",
    [
        lambda a: Box([-a], [a]),
        lambda a: Ball(a, [a, 0.0]),
        lambda a: HalfSpace([a, 1.0], a),
        lambda a: Quadratic([[a, 0.0], [0.0, 1.0]]),
        lambda a: Independent(1.5, [a]),
        lambda a: PerCoordinate([a, 1.2], [1.0, a]),
        lambda a: from_function(lambda x: (x[0] - 1.3) ** 2, [a]).minimum,
    ],
)
def test_lists_may_hold_traced_numbers(make):
    """A piece made of them inside a transformation is the piece made outside of it."""
    with jax.enable_x64(True):
        traced = jax.jit(lambda a: jax.tree.leaves(make(a)))(1.3)
    for one, other in zip(traced, jax.tree.leaves(make(1.3)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)


def test_a_rate_is_differentiated_in_a_wall_within_a_list():
    def rate(wall):
        return exit_rate(problem(basin=Box([-wall], [wall])))

    with jax.enable_x64(True):
        slope, here = jax.grad(rate)(1.3), rate(1.3)
    assert float(slope) == pytest.approx(-1.5 * float(here) / 1.3, rel=1e-9)  # the rate goes as wall^-1.5


@pytest.mark.parametrize(
    ("value", "noise", "basin"),
    [
        (lambda x: -jnp.log(1 - x[0] ** 2), NOISE, Box([-2.0], [2.0])),
        (lambda x: x[0] ** 2 / 2 + 0 * jnp.sqrt(1.5 - x[0]), NOISE, Box([-2.0], [2.0])),
        (
            lambda x: jnp.where(jnp.sum(x**2) < 4, jnp.sum(x**2), jnp.nan),
            Rotational(1.5, [1.0, 1.0]),
            Ball(3.0, [0.0, 0.0]),
        ),
    ],
    ids=["logarithm", "root", "nan"],
)
def test_a_landscape_without_a_value_inside_the_basin_is_refused(value, noise, basin):
    """Its exits are simulated, and trajectories that become no numbers are counted; none are foretold."""
    given = problem(landscape=from_function(value, [0.0] * noise.scale.shape[0]), noise=noise, basin=basin)
    found = predict(given)
    assert found.rate is None
    assert re.match(r"The landscape's value is not a number at \d+ of 16 points inside the basin", found.reasons[0])
    with pytest.raises(ValueError, match="value is not a number"):
        exit_rate(given)


def test_a_landscape_needs_no_value_outside_the_basin():
    """-log(1 - x^2)/2 within 0.9: every jump beyond 0.9 leaves."""
    landscape = from_function(lambda x: -jnp.log(1 - x[0] ** 2) / 2, [0.0])
    level = 0.02
    found = predict(problem(landscape=landscape, basin=Box([-0.9], [0.9]), noise_level=level))
    right = predict(problem(basin=Box([-0.9], [0.9]), noise_level=level))
    assert found.valid
    assert found.rate == pytest.approx(right.rate, rel=1e-9)


@pytest.mark.parametrize("dimension", [1, 2])
def test_a_plateau_inside_is_named(dimension):
    landscape = from_function(lambda x: jnp.minimum(jnp.sum(x**2), 4.0) / 2, [0.0] * dimension)
    noise, basin = Rotational(1.5, [1.0] * dimension), Ball(3.0, [0.0] * dimension)
    found = predict(problem(landscape=landscape, noise=noise, basin=basin))
    assert not found.valid
    assert found.rate is None
    assert "on a plateau" in found.reasons[0]
