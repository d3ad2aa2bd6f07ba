"""The Eyring-Kramers law of Brownian exits: beside exact means on the line, and the backward equation in the plane."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.sparse
import scipy.sparse.linalg

from levyjax.basins import Attraction, Ball, Box, HalfSpace, Sublevel
from levyjax.dynamics import SGD, Momentum
from levyjax.escape import EscapeProblem, Plan, predict, simulate
from levyjax.escape.brownian import brownian_interval
from levyjax.escape.kramers import ways_out
from levyjax.landscapes import AsymmetricValley, DoubleWell, Quadratic, from_function
from levyjax.noise import Gaussian, Independent
from levyjax.solvers import Euler

WELL = DoubleWell(1.0, 0.25, well="left")


def left_of(wall, level, landscape=WELL, d=1):
    """Exits from {x_0 < wall}; D is the square of the noise level."""
    return EscapeProblem(landscape, HalfSpace([1.0] + [0.0] * (d - 1), wall), Gaussian([1.0] * d), SGD(), level)


@pytest.mark.parametrize("diffusion", [0.02, 0.01, 0.005])
@pytest.mark.parametrize("wall", [-0.5, -0.3, 0.0, 0.1, 0.5])
def test_on_the_line_it_is_within_its_bias_of_the_exact_mean(wall, diffusion):
    """Walls before a saddle, on it and beyond it; the exact mean is by quadrature."""
    level = np.sqrt(diffusion)
    box = EscapeProblem(WELL, Box([-4.0], [wall]), Gaussian([1.0]), SGD(), level)
    with jax.enable_x64(True):
        exact = brownian_interval(box, level)[0]
        ways = ways_out(left_of(wall, level))
        rate, bias = ways.rates(level).sum(), ways.bias(level)
    assert abs(rate * exact - 1) < bias
    assert bias < 40 * diffusion  # and the bias says something


def plane(x, y):
    """A double well whose valley bends, widens, and is neither symmetric nor separable."""
    return (x**2 - 1) ** 2 / 4 + (1 + 0.3 * x) * y**2 + y**3 / 6 + 0.3 * y**4 + 0.4 * x * y * (x**2 - 1)


def backward_equation(wall, diffusion, shape, start):
    """E T from a start, exits at x = wall: D Delta u - grad F grad u = -1 by rates between the points of a grid."""
    x, y = np.linspace(-2.6, wall, shape[0]), np.linspace(-2.0, 2.0, shape[1])
    height, index = plane(*np.meshgrid(x, y, indexing="ij")), np.arange(shape[0] * shape[1]).reshape(shape)
    generator = scipy.sparse.csr_matrix((index.size, index.size))
    for axis, step in enumerate((x[1] - x[0], y[1] - y[0])):
        here, there = (np.take(index, range(i, shape[axis] - 1 + i), axis).ravel() for i in (0, 1))
        for a, b in ((here, there), (there, here)):
            rate = diffusion / step**2 * np.exp(-(height.ravel()[b] - height.ravel()[a]) / (2 * diffusion))
            generator += scipy.sparse.csr_matrix((rate, (a, b)), (index.size, index.size))
            generator -= scipy.sparse.csr_matrix((rate, (a, a)), (index.size, index.size))
    inner = index[:-1].ravel()  # the last line is the wall
    mean = np.zeros(index.size)
    mean[inner] = scipy.sparse.linalg.spsolve(generator[inner][:, inner].tocsc(), -np.ones(inner.size))
    return float(scipy.interpolate.RegularGridInterpolator((x, y), mean.reshape(shape))(start)[0])


@pytest.mark.parametrize("diffusion", [0.04, 0.025])
def test_across_a_saddle_in_the_plane_it_is_right_to_the_second_order(diffusion):
    """Terms of the first order in D are 5% and 3% here, of which 1% and 0.5% are left; the grid has 0.1%."""
    landscape = from_function(lambda z, _: plane(z[0], z[1]), np.array([-1.0, 0.0]), ())
    level = np.sqrt(diffusion)
    with jax.enable_x64(True):
        ways = ways_out(left_of(0.6, level, landscape, 2))
        rate, bias = ways.rates(level).sum(), ways.bias(level)
        first = sum(way.rate(diffusion, 0.0) for way in ways.ways)
    exact = backward_equation(0.6, diffusion, (241, 161), np.array([-1.0, 0.0]))
    assert abs(rate * exact - 1) < bias + 0.002
    assert abs(rate * exact - 1) < abs(first * exact - 1) / 3


def test_rates_of_walls_add_up():
    """A box around a parabola in three dimensions: each coordinate leaves by itself."""
    sides = [(-1.0, 1.5), (-0.8, 1.0), (-0.7, 1.0)]
    box = Box(*(list(side) for side in zip(*sides, strict=True)))
    found = predict(EscapeProblem(Quadratic([1.0, 2.0, 3.0]), box, Gaussian([1.0] * 3), SGD(), 0.22))
    rates = [
        predict(EscapeProblem(Quadratic([k]), Box([low], [high]), Gaussian([1.0]), SGD(), 0.22)).rate
        for k, (low, high) in zip([1.0, 2.0, 3.0], sides, strict=True)
    ]
    assert found.valid
    assert found.rate == pytest.approx(sum(rates), rel=0.02)
    shares = found.exit_probabilities
    assert shares["x1<lower"] == pytest.approx(rates[1] / sum(rates), abs=0.01)


def test_the_separatrix_is_reached_twice_as_soon_as_the_other_side():
    landscape = DoubleWell(1.0, 0.25, [2.0], well="left")
    own = predict(EscapeProblem(landscape, Attraction(landscape), Gaussian([1.0, 1.0]), SGD(), 0.14))
    beyond = predict(left_of(0.6, 0.14, landscape, 2))
    assert beyond.valid
    assert own.rate / beyond.rate == pytest.approx(2, rel=0.01)


def test_alpha_2_is_gaussian_noise():
    landscape = DoubleWell(1.0, 0.25, [2.0], well="left")
    stable = EscapeProblem(landscape, HalfSpace([1.0, 0.0], 0.6), Independent(2.0, [1.0, 1.0]), SGD(), 0.14)
    assert predict(stable).rate == pytest.approx(predict(left_of(0.6, 0.14, landscape, 2)).rate, rel=1e-12)


def bumpy(x, _):
    """Wells at -1, 1 in x_0, and a third beyond."""
    return -jnp.cos(jnp.pi * (x[0] - 1)) + x[1] ** 2 / 2


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (
            lambda: EscapeProblem(Quadratic([1.0, 1.0]), HalfSpace([1.0, 1.0], 1.0), Gaussian([1.0, 2.0]), SGD(), 0.1),
            "not equally strong in all directions",
        ),
        (
            lambda: EscapeProblem(
                AsymmetricValley([1.0, 1.0], [2.0, 1.0]), HalfSpace([1.0, 1.0], 1.0), Gaussian([1.0] * 2), SGD(), 0.1
            ),
            "the curvature jumps at the minimum",
        ),
        (
            lambda: EscapeProblem(
                Quadratic([1.0, 2.0]), Sublevel(Quadratic([1.0, 2.0]), 0.5), Gaussian([1.0] * 2), SGD(), 0.1
            ),
            "no saddle and no wall",
        ),
        (
            lambda: EscapeProblem(Quadratic([1.0, 1.0]), Ball(1.0, [0.0, 0.0]), Gaussian([1.0] * 2), SGD(), 0.1),
            "no saddle and no wall",
        ),
        (
            lambda: EscapeProblem(Quadratic([1.0] * 11), HalfSpace([1.0] * 11, 1.0), Gaussian([1.0] * 11), SGD(), 0.1),
            "in up to 10 dimensions",
        ),
        (
            lambda: EscapeProblem(
                Quadratic([1.0, 1.0]), HalfSpace([1.0, 1.0], 1.0), Gaussian([1.0] * 2), SGD(), 0.1, [0.1, 0.0]
            ),
            "the start is not the minimum",
        ),
        (
            lambda: EscapeProblem(
                Quadratic([1.0, 1.0]), HalfSpace([1.0, 1.0], 1.0), Gaussian([1.0] * 2), Momentum(0.1, 0.9), 0.1
            ),
            "no formula is known for Momentum",
        ),
        (lambda: left_of(0.6, 0.6, DoubleWell(1.0, 0.25, [2.0], well="left"), 2), "the barrier is too low"),
    ],
)
def test_what_it_does_not_know_it_refuses(problem, reason):
    found = predict(problem())
    assert found.rate is None
    assert reason in found.reasons[0]


def test_another_well_inside_is_no_way_out():
    landscape = from_function(bumpy, np.array([1.0, 0.0]), ())
    found = predict(EscapeProblem(landscape, Box([-1.4, -9.0], [2.2, 9.0]), Gaussian([1.0] * 2), SGD(), 0.3))
    assert not found.valid
    assert any("Another well inside" in reason for reason in found.reasons)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 5])
def test_beside_euler(d):
    """Two wells under Brownian noise: within 5%, of which 1.5% are Euler's step and 4 standard errors 5.6%."""
    landscape = DoubleWell(1.0, 0.25, [2.0] * (d - 1), well="left")
    problem = left_of(0.6, 0.19, landscape, d)
    found = predict(problem)
    assert found.valid
    times = simulate(problem, Plan(Euler(0.02), 5120), 0).exit_time
    assert abs(times.mean() * found.rate - 1) < 0.05
