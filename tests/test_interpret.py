"""Small programs worked out by NumPy are what compiled ones are, and setting up a problem compiles next to nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from levyjax import stable
from levyjax.basins import Attraction, Ball, Box, Ellipsoid, HalfSpace, Sublevel
from levyjax.dynamics import SGD, Adam, Momentum, RMSProp
from levyjax.escape import EscapeProblem, Plan, predict, quasi_stationary_rate, simulate
from levyjax.interpret import interpreted
from levyjax.landscapes import DoubleWell, Quadratic, from_function
from levyjax.noise import Independent, PerCoordinate, Rotational
from levyjax.solvers import Euler, Iteration, JumpAdapted

X = np.random.default_rng(0).normal(size=(3, 5))
WHOLE = np.arange(15).reshape(3, 5) - 7


def newton(x):
    return lax.while_loop(lambda y: jnp.abs(y * y / x - 1).max() > 1e-4, lambda y: (y + x / y) / 2, x + 1)


def switched(x):
    return lax.switch(jnp.int32(2), [lambda y: y, lambda y: -y, lambda y: 2 * y], x)


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 3 * primals[0] ** 2 * tangents[0]))

FUNCTIONS = {
    "elementary": lambda x: jnp.stack([jnp.exp(x), jnp.expm1(x), jnp.log1p(x**2), jnp.sin(x), jnp.cos(x), jnp.tan(x)]),
    "hyperbolic": lambda x: (jnp.sinh(x), jnp.cosh(x), jnp.tanh(x), jnp.arctan(x), jnp.arctan2(x, x + 1), jnp.cbrt(x)),
    "special": lambda x: (jax.scipy.special.gammaln(x**2 + 1), jax.scipy.special.erf(x), jax.nn.sigmoid(x)),
    "powers": lambda x: (x**3, x**-2, jnp.abs(x) ** 1.5, lax.rsqrt(jnp.abs(x)), jnp.sqrt(x), 1 / x, x % 0.7),
    "no numbers": lambda x: (jnp.log(x), jnp.isfinite(jnp.log(x)), jnp.nanmax(jnp.log(x)), jnp.maximum(x, jnp.log(x))),
    "choices": lambda x: (jnp.where(x > 0, x, -x), jnp.clip(x, -0.5, 0.5), jnp.sign(x), ~(x > 0) & (x < 1) | (x == 0)),
    "rounding": lambda x: (jnp.floor(x), jnp.ceil(x), x.astype(jnp.float32), (5 * x).astype(jnp.int32)),
    "sums": lambda x: (x.sum(), x.mean(axis=0), x.prod(axis=1), x.max(axis=(0, 1)), x.min(), (x > 0).any(axis=0)),
    "running": lambda x: (jnp.cumsum(x, axis=1), jnp.cumprod(x, axis=0), lax.cummax(x, reverse=True), jnp.diff(x)),
    "places": lambda x: (jnp.argmax(x, axis=0), jnp.argmin(x, axis=1), jnp.flip(x, 1), jnp.roll(x, 2, axis=1)),
    "shapes": lambda x: (x.T, x[:, None], x.reshape(5, 3), jnp.tile(x, (2, 1)), jnp.pad(x, 1), jnp.split(x, [1], 1)[1]),
    "products": lambda x: (x @ x.T, jnp.einsum("ij,ik->ijk", x, x), jnp.einsum("ij,ij->j", x, x), jnp.dot(x[0], x[1])),
    "slices": lambda x: (x[1], x[:, 1:4:2], x[::-1], lax.dynamic_slice(x, (1, 2), (2, 2)), x[-1, -1]),
    "gathers": lambda x: (
        x[:, jnp.array([0, 4, 2])],
        x[jnp.array([[0, 2]]), 1],
        jnp.take(x, jnp.array([1, 9]), axis=1),
    ),
    "along": lambda x: jnp.take_along_axis(x, jnp.argsort(x, axis=1), axis=1),
    "updates": lambda x: (lax.dynamic_update_slice(x, x[:1, :2], (2, 3)), x.at[0, 1].set(3.0), jnp.eye(3)[1]),
    "sorted": lambda x: (jnp.sort(x, axis=1), jnp.median(x), jnp.linalg.norm(x, axis=0), jnp.linspace(0, 1, 7)),
    "loop": lambda x: newton(jnp.abs(x) + 0.1),
    "scan": lambda x: lax.scan(lambda total, row: (total + row, total * row), x[0], x),
    "scan backwards": lambda x: lax.scan(lambda total, row: (total + row, total), x[0], x, reverse=True),
    "steps": lambda x: lax.fori_loop(0, 4, lambda place, y: y * x + place, x),
    "map": lambda x: lax.map(lambda row: row.sum(), x),
    "switch": switched,
    "branch": lambda x: lax.cond(x[0, 0] > 9, lambda y: y, lambda y: -y, x),
    "inner programs": lambda x: jax.jit(jnp.sin)(cube(x)),
    "Jacobian": lambda x: jax.jacfwd(lambda y: (jnp.tanh(y) ** 2).sum(axis=0))(x),
    "gradient": lambda x: jax.grad(lambda y: (jnp.cos(y) * y**3).sum() + jnp.tanh(y[0] @ y[1]))(x),
    "reshape in another order": lambda x: lax.reshape(x, (x.size,), dimensions=(1, 0)),
    "vmap": lambda x: jax.vmap(lambda row: jnp.outer(row, row) @ row)(x),
}


def same(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert isinstance(one, np.ndarray)
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        tolerance = 2e-6 if one.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(one, np.asarray(other), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operation_is_that_of_the_compiled_program(name, wide):
    with jax.enable_x64(wide):
        same(interpreted(FUNCTIONS[name])(X), jax.jit(FUNCTIONS[name])(X))


def test_whole_numbers_and_bits():
    def function(x):
        return x // 2, x % 3, lax.div(x, 3), x << 1, x >> 1, x & 5, x ^ 3, lax.bitcast_convert_type(x, jnp.uint32)

    with jax.enable_x64(False):
        same(interpreted(function)(WHOLE), jax.jit(function)(WHOLE))
    with jax.enable_x64(True):  # beyond what a float64 can tell apart
        large = np.array([2**62 + 1, -(2**62) - 1, 2**53 + 1])
        same(interpreted(lambda x: lax.div(x, 3))(large), jax.jit(lambda x: lax.div(x, 3))(large))


def test_pytrees_transformations_and_errors():
    with jax.enable_x64(True):
        basin = interpreted(lambda basin, x: {"inside": basin.contains(x), "none": None})
        assert basin(Ball(1.0, [0.0]), X[:1])["none"] is None
        assert float(jax.grad(interpreted(lambda x: (x**2).sum()))(3.0)) == 6
        with pytest.raises(TypeError, match="dot_general"):
            interpreted(lambda x: x @ x)(X)


def test_what_would_take_long_is_compiled(programs):
    slow = interpreted(lambda x: lax.fori_loop(0, 100_000, lambda _, y: y * 0.999, x))
    quick = interpreted(lambda x: lax.fori_loop(0, 10, lambda _, y: y * 0.999, x))
    assert quick(X[0]) == pytest.approx(X[0] * 0.999**10, rel=1e-6)
    assert not programs
    assert slow(X[0]) == pytest.approx(X[0] * 0, abs=1e-6)
    assert len(programs) == 1
    slow(X[0])
    assert len(programs) == 1


LINE, PLANE = Independent(1.5, [1.0]), Independent(1.5, [1.0, 0.5])
WELL, BOWL = DoubleWell(1.0, 0.25), Quadratic([1.0, 0.1])
TURNED = from_function(lambda x: x[0] ** 2 + x[0] * x[1] / 2 + x[1] ** 2, [0.0, 0.0])
BOX = Box([-1.0, -1.0], [1.0, 2.0])
PROBLEMS = {  # and how many programs a prediction compiles
    "sgd, box": (EscapeProblem(BOWL, BOX, PLANE, SGD(), 0.01), JumpAdapted(), 0),
    "sgd, ball, two indices": (
        EscapeProblem(BOWL, Ball(1.0, [0.0, 0.0]), PerCoordinate([1.2, 1.7], [1.0, 1.0]), SGD(), 0.01), Euler(0.1), 0,
    ),
    "sgd, ellipsoid, rotational": (
        EscapeProblem(BOWL, Ellipsoid([1.0, 2.0], 1.0, [0.0, 0.0]), Rotational(1.5, [1.0, 1.0]), SGD(), 0.01),
        JumpAdapted(), 3,
    ),
    "momentum, half-space": (
        EscapeProblem(BOWL, HalfSpace([1.0, 0.5], 1.0), PLANE, Momentum(0.1), 0.01), JumpAdapted(), 2,
    ),
    "adam, box": (EscapeProblem(BOWL, BOX, PLANE, Adam(0.1), 0.01), Euler(0.1), 3),
    "rmsprop, box": (EscapeProblem(BOWL, BOX, PLANE, RMSProp(0.1), 0.01), Euler(0.1), 3),
    "a well's height": (EscapeProblem(WELL, Sublevel(WELL, 0.2), LINE, SGD(), 0.01), JumpAdapted(), 3),
    "a well": (EscapeProblem(WELL, Attraction(WELL), LINE, SGD(), 0.01), Euler(0.05), 7),
    "a function": (EscapeProblem(TURNED, BOX, PLANE, SGD(), 0.01), Euler(0.1), 3),
    "an iteration": (EscapeProblem(BOWL, BOX, PLANE, SGD(0.1), 0.01), Iteration(), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_prediction_compiles_few_programs_and_a_simulation_two(name, programs):
    problem, solver, most = PROBLEMS[name]
    predict(problem, solver if isinstance(solver, Iteration) else None)
    assert len(programs) <= most, programs
    programs.clear()
    simulate(problem, Plan(solver, 64, max_time=50.0), 0)
    assert len(programs) <= 2, programs


def test_a_quasi_stationary_rate_compiles_two(programs):
    quasi_stationary_rate(PROBLEMS["sgd, box"][0], key=0, relative_error=0.1)
    assert len(programs) <= 2, programs


def test_other_numbers_of_trajectories_run_the_same_program(programs):
    problem, solver, _ = PROBLEMS["sgd, box"]
    samples = {300: simulate(problem, Plan(solver, 300), 0)}
    programs.clear()
    samples |= {count: simulate(problem, Plan(solver, count), 0) for count in (257, 400, 512)}
    assert not programs
    for found in samples.values():
        np.testing.assert_array_equal(found.exit_step[:257], samples[257].exit_step)
        np.testing.assert_array_equal(found.exit_position[:257], samples[257].exit_position)


def test_other_numbers_of_data_and_points_run_the_same_program(programs):
    data = np.random.default_rng(0).standard_cauchy(1000)
    stable.fit(data)
    law = np.asarray(stable.pdf(np.linspace(-3, 3, 20), 1.5, 0.5))
    quantiles = np.asarray(stable.ppf(np.linspace(0.1, 0.9, 17), 1.5))
    programs.clear()
    shorter = stable.fit(data[:600])
    assert not programs
    assert shorter.alpha_ci95[0] < 1 < shorter.alpha_ci95[1]
    assert shorter.log_likelihood == pytest.approx(
        float(stable.logpdf(data[:600], shorter.alpha, loc=shorter.loc, scale=shorter.scale).sum()), rel=1e-4
    )
    programs.clear()
    np.testing.assert_allclose(stable.pdf(np.linspace(-3, 3, 20)[:18], 1.5, 0.5), law[:18], rtol=1e-5)
    np.testing.assert_allclose(stable.ppf(np.linspace(0.1, 0.9, 17)[None], 1.5), quantiles[None], rtol=1e-5)
    assert not programs


def test_functions_of_one_kind_and_draws_of_any_number_run_one_program(programs):
    stable.pdf(1.0, 1.5), stable.cdf(1.0, 1.5), stable.ppf(0.3, 1.5)
    many = [np.asarray(stable.sample(3, 1.5, (200,), beta=beta)) for beta in (0.0, 0.4)]
    programs.clear()
    stable.logpdf([[1.0], [2.0]], [1.2, 1.5, 1.7], 0.3, scale=2.0, parametrization="S1")
    assert float(stable.sf(0.2, 1.5)) + float(stable.cdf(0.2, 1.5)) == pytest.approx(1, rel=1e-6)
    assert float(stable.logsf(0.2, 1.5, -0.3)) < 0
    assert float(stable.isf(0.3, 1.5)) == -float(stable.ppf(0.3, 1.5))
    for first, beta in zip(many, (0.0, 0.4), strict=True):
        np.testing.assert_array_equal(np.ravel(np.asarray(stable.sample(3, 1.5, (9, 11), beta=beta))), first[:99])
    assert not programs


def test_numbers_that_are_known_stay_so_in_a_compiled_function():
    @jax.jit
    def scaled(x):
        return x * jnp.stack(
            [stable.pdf(1.0, 1.0), stable.ppf(jnp.array([0.75]), 1.0)[0], stable.sample(3, 1.5, (2,))[1]]
        )

    expected = [1 / (2 * np.pi), 1.0, stable.sample(3, 1.5, (2,))[1]]
    np.testing.assert_allclose(scaled(2.0) / 2, expected, rtol=1e-6)
