"""Landscapes with several wells: their heights, curvatures and formulas, and the same objects from a run file."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from levyjax.arrays import padded_to
from levyjax.basins import Box
from levyjax.config import cells, parse
from levyjax.config.build import build_problem
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, predict
from levyjax.landscapes import (
    DoubleWell,
    LogisticRegression,
    MultiWell,
    Quadratic,
    Separable,
    WangOhRhee,
    from_function,
)
from levyjax.noise import Independent

ROW = {
    "minima": [-1.0, 1.0, 2.5],
    "saddles": [0.2, 2.0],
    "barriers": [1.0, 0.5],
    "curvatures": [2.0, 3.0, 4.0],
    "saddle_curvatures": [2.5, 2.0],
    "heights": [0.0, -0.3, 0.2],
}
TABLES = {"basin": {"kind": "ball", "radius": 0.3}, "dynamics": {"kind": "sgd"}, "noise": {"kind": "gaussian"}} | {
    "run": {"noise_level": 1, "dt": 1}
}


def row(**changes):
    return MultiWell(**(ROW | changes))


def evaluate(landscape, x):
    """F, F' and F'' on points of the line."""
    x = np.asarray(x, float)
    with jax.enable_x64(True):
        found = _evaluate(landscape, padded_to(x.reshape(1, -1), 512))
    return tuple(np.asarray(part)[: x.size].reshape(x.shape) for part in found)


@jax.jit
def _evaluate(landscape, x):
    gradient, bend = jax.jvp(landscape.gradient, (x,), (jnp.ones_like(x),))
    return landscape.value(x), gradient[0], bend[0]


@jax.jit
def in_sublevel(landscape, x, height):
    return landscape.in_sublevel(x, height)


class TestMultiWell:
    def test_heights_slopes_and_curvatures_are_those_given(self):
        for side in (-1e-9, 1e-9):
            value, slope, bend = evaluate(row(), np.array(ROW["minima"]) + side)
            np.testing.assert_allclose(value, ROW["heights"], atol=1e-12)
            np.testing.assert_allclose(slope, side * np.array(ROW["curvatures"]), atol=1e-14)
            np.testing.assert_allclose(bend, ROW["curvatures"], rtol=1e-6)
            value, slope, bend = evaluate(row(), np.array(ROW["saddles"]) + side)
            np.testing.assert_allclose(value, ROW["barriers"], atol=1e-12)
            np.testing.assert_allclose(slope, -side * np.array(ROW["saddle_curvatures"]), atol=1e-14)
            np.testing.assert_allclose(bend, -np.array(ROW["saddle_curvatures"]), rtol=1e-6)

    def test_it_rises_from_each_minimum_to_each_saddle(self):
        flat = sorted(ROW["minima"] + ROW["saddles"])
        for place, (low, high) in enumerate(itertools.pairwise([-5.0, *flat, 5.0])):
            slope = evaluate(row(), np.linspace(low, high, 500)[1:-1])[1]
            assert np.all(slope * (-1) ** place < 0)

    @pytest.mark.parametrize(
        ("name", "value", "apart"),
        [("saddles", [0.4, 2.0], 1.0), ("barriers", [3.0, 0.5], 1.0), ("curvatures", [2.0, 3.0, 9.0], 2.0)],
    )
    def test_one_thing_varies_alone(self, name, value, apart):
        """What is changed at one place leaves F as it is beyond the neighbouring points."""
        x = np.linspace(-4, 5, 1001)
        before, after = evaluate(row(), x)[0], evaluate(row(**{name: value}), x)[0]
        changed = x[np.abs(before - after) > 1e-12]
        assert changed.size > 50
        if name == "curvatures":
            assert changed.min() > ROW["saddles"][1]
        else:
            assert changed.min() > ROW["minima"][0]
            assert changed.max() < ROW["minima"][1]
        assert evaluate(row(**{name: value}), ROW["minima"])[0] == pytest.approx(np.array(ROW["heights"]), abs=1e-12)

    def test_sublevel_sets_end_at_barriers(self):
        landscape = row(well=1)
        with jax.enable_x64(True):
            x = jnp.asarray([[-1.0, 0.19, 0.21, 1.0, 1.99, 2.01, 2.5]])
            low, middle, high = (np.asarray(in_sublevel(landscape, x, height)) for height in (0.7, 0.9, 1.4))
            np.testing.assert_array_equal(low, [0, 0, 0, 1, 0, 0, 0])
            np.testing.assert_array_equal(middle, [0, 0, 0, 1, 1, 1, 1])
            np.testing.assert_array_equal(high, [1, 1, 1, 1, 1, 1, 1])
            ways = 1 / np.asarray(landscape.sublevel_gauge(jnp.asarray([[-1.0, 1.0]]), 0.8 - 1e-9))
        assert evaluate(landscape, [1 - ways[0]])[0] == pytest.approx(0.5, abs=1e-8)
        assert ways[1] == pytest.approx(1.0, abs=1e-4)

    def test_is_the_configurations(self):
        for well in range(3):
            config = parse({"landscape": {"kind": "multi_well", **ROW, "well": well}, **TABLES})
            assert_same(build_problem(config, cells(config)[0]).landscape, MultiWell(**ROW, well=well))


def assert_same(made, expected):
    assert jax.tree.structure(made) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, made, expected)


class TestWangOhRhee:
    def test_wells_end_at_the_edges(self):
        """F is 0 with slope 0 at the inner edges, crosses 0 at the outer ones, and is negative in between."""
        value, slope, _ = evaluate(WangOhRhee(), [-1.6, -1.3, 0.2, 0.7, 1.6])
        np.testing.assert_allclose(value, 0, atol=1e-12)
        np.testing.assert_allclose(slope[1:4], 0, atol=1e-12)
        assert slope[0] < -1
        assert slope[4] > 0.1
        inner = np.linspace(-1.6, 1.6, 2001)[1:-1]
        inner = inner[np.abs(inner[:, None] - [-1.3, 0.2, 0.7]).min(axis=1) > 1e-9]
        assert np.all(evaluate(WangOhRhee(), inner)[0] < 0)

    def test_minima(self):
        """Each is where a golden section ends that starts from the well's edges; sharp and flat by turns."""
        low, high = np.array([-1.6, -1.3, 0.2, 0.7]), np.array([-1.3, 0.2, 0.7, 1.6])
        with jax.enable_x64(True):
            value = jax.jit(lambda x: WangOhRhee().value(x[None]))
            for _ in range(60):
                part = (high - low) / 1.618033988749895
                left, right = high - part, low + part
                keep_low = np.asarray(value(left) < value(right))
                low, high = np.where(keep_low, low, left), np.where(keep_low, right, high)
        minima = np.concatenate([WangOhRhee(well).minimum for well in range(4)])
        np.testing.assert_allclose(minima, low, rtol=0, atol=1e-7)
        np.testing.assert_allclose(evaluate(WangOhRhee(), minima)[1], 0, atol=1e-11)
        bends = [float(np.asarray(WangOhRhee(well).hessian())[0, 0]) for well in range(4)]
        np.testing.assert_allclose(bends, [163.4, 2.178, 446.3, 7.733], rtol=1e-3)

    def test_gradient_is_that_of_the_logarithm_written_out(self):
        """F'/F as a sum of logarithmic derivatives, by hand."""
        x = np.array([-1.55, -1.4, -1.0, -0.5, 0.0, 0.3, 0.6, 0.8, 1.2, 1.5, 2.0, -2.0])
        value, slope, _ = evaluate(WangOhRhee(), x)
        expected = 1 / (x + 1.6) + 2 / (x + 1.3) + 2 / (x - 0.2) + 2 / (x - 0.7) + 1 / (x - 1.6) - 0.6 / (1.65 - x)
        for offset, floor in ((-0.5, 0.01), (1.5, 0.1)):
            spike = floor + 4 * (x + offset) ** 2
            expected -= 8 * (x + offset) / spike / (spike + 1)
        bump = np.exp(-5 * (x + 0.8) ** 2) / 4
        expected += 10 * (x + 0.8) * bump / (1 - bump)
        np.testing.assert_allclose(slope / value, expected, rtol=1e-10)

    def test_is_the_configurations(self):
        for well in range(4):
            config = parse({"landscape": {"kind": "wang_oh_rhee", "well": well}, **TABLES, "basin": TINY})
            assert_same(build_problem(config, cells(config)[0]).landscape, WangOhRhee(well))


TINY = {"kind": "ball", "radius": 0.05}


def test_a_grid_of_wells():
    grid = Separable([row(well=1), DoubleWell(1.0, 0.25), Quadratic([3.0])])
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (3, 20)))
        expected = row().value(x[:1]) + DoubleWell(1.0, 0.25).value(x[1:2]) + 1.5 * x[2] ** 2
        np.testing.assert_allclose(grid.value(x), expected, rtol=1e-14)
        np.testing.assert_allclose(np.diag(grid.hessian()), [3.0, 2.0, 3.0])
        np.testing.assert_array_equal(grid.minimum, [1.0, 1.0, 0.0])
        assert float(grid.value(jnp.asarray(grid.minimum))) == pytest.approx(-0.3)
        corners = jnp.asarray([[1.0, -1.0, 2.5, 1.0], [1.0, 1.0, 1.0, -1.0], [0.0] * 4])
        np.testing.assert_array_equal(in_sublevel(grid, corners, 0.24), [1, 0, 0, 0])
        np.testing.assert_array_equal(in_sublevel(grid, corners, 0.26), [1, 0, 0, 1])
        np.testing.assert_array_equal(in_sublevel(grid, corners, 0.9), [1, 0, 1, 1])
    assert math.isfinite(float(grid.value(jnp.zeros(3))))


def test_the_minimum_of_a_logistic_loss_is_found_to_rounding():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(60, 3)) * rng.exponential(size=3)
        labels = (features @ rng.normal(size=3) + rng.normal(size=60) > 0) * 1.0
        x = np.asarray(LogisticRegression(features, labels, 0.05).minimum)
        slope = features.T @ (expit(features @ x) - labels) / 60 + 0.05 * x
        assert np.abs(slope).max() < 2e-15 * max(1.0, np.abs(features).max())


@pytest.mark.parametrize(
    ("function", "minimum", "bends"),
    [
        (lambda x: row(well=1).value(x[:, None])[0], [1.0], [[3.0]]),  # pieces that meet at the minimum, by a clip
        (lambda x: jnp.where(x[0] > 1, 2.0, 1.0) * (x[0] - 1) ** 2 + x[1] ** 2, [1.0, 0.0], [[3.0, 0.0], [0.0, 2.0]]),
        (lambda x: jnp.clip(x - 2, -1, 1) @ (x - 2) / 2, [2.0, 2.0], [[1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_a_function_of_pieces_that_meet_at_its_minimum_has_the_hessian_of_its_sides(function, minimum, bends):
    """Their mean, where they differ; JAX's derivative at the very point is that of neither."""
    with jax.enable_x64(True):
        landscape = from_function(function, minimum)
        np.testing.assert_allclose(landscape.hessian(), bends, atol=1e-9)
    box = Box([-5.0] * len(minimum), [5.0] * len(minimum))
    problem = EscapeProblem(landscape, box, Independent(1.5, [1.0] * len(minimum)), SGD(), 0.01)
    assert predict(problem).rate > 0
