"""The basin of attraction against boundaries that are known, and the derivatives of rates that come of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from wells import SADDLES, bent, row

from levyjax.arrays import cast
from levyjax.basins import Attraction, Ball, Box, Ellipsoid, HalfSpace, Sublevel
from levyjax.config import cells, parse
from levyjax.config.build import build_problem
from levyjax.dynamics import SGD, Momentum
from levyjax.escape import EscapeProblem, Plan, exit_rate, predict, simulate
from levyjax.landscapes import AsymmetricValley, DoubleWell, MultiWell, Quadratic, WangOhRhee, from_function
from levyjax.noise import Independent, PerCoordinate, StateDependent
from levyjax.solvers import JumpAdapted


@pytest.fixture(autouse=True)
def quick_compiler():
    """Programs that are used once compile in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def edges(landscape, **options):
    """Where the basin of attraction ends below and above the minimum, on the line."""
    with jax.enable_x64(True):
        gauge = np.asarray(
            Attraction(landscape, **options).gauge(jnp.asarray(landscape.minimum), jnp.asarray([[-1.0, 1.0]]))
        )
    ways = np.divide(1, gauge, out=np.full(2, np.inf), where=gauge > 0)
    return float(landscape.minimum[0]) + np.array([-1, 1]) * ways


WANG_OH_RHEE = [
    (1, [-1.3, 0.2]),
    pytest.param(0, [-np.inf, -1.3], marks=pytest.mark.slow),
    pytest.param(2, [0.2, 0.7], marks=pytest.mark.slow),
]


class TestOnTheLine:
    @pytest.mark.parametrize("well", [0, 1, 2])
    def test_saddles_are_found_to_rounding(self, well):
        expected = [-np.inf, *SADDLES, np.inf][well : well + 2]
        np.testing.assert_allclose(edges(row(well)), expected, rtol=1e-10)

    def test_double_well(self):
        np.testing.assert_allclose(edges(DoubleWell(2.0, 0.3)), [0, np.inf], atol=1e-12)
        np.testing.assert_allclose(edges(DoubleWell(2.0, 50.0, well="left")), [-np.inf, 0], atol=1e-12)

    def test_an_asymmetric_valley_has_no_end(self):
        np.testing.assert_array_equal(edges(AsymmetricValley([1.0], [50.0])), [-np.inf, np.inf])

    @pytest.mark.parametrize(("well", "expected"), WANG_OH_RHEE)
    def test_wang_oh_rhee(self, well, expected):
        """Their sharp wells are left at the edges that the formula of F has, curvature 446 or 2."""
        np.testing.assert_allclose(edges(WangOhRhee(well)), expected, rtol=1e-10)

    def test_a_slope_that_never_comes_to_rest_is_outside(self):
        landscape = from_function(lambda x: (x**2 / 2 - x**4 / 4).sum(), [0.0])
        np.testing.assert_allclose(edges(landscape), [-1, 1], rtol=1e-10)

    def test_float32_finds_the_saddles_to_four_digits(self):
        basin = cast(Attraction(row(1)), jnp.float32)
        gauge = basin.gauge(jnp.ones(1, jnp.float32), jnp.asarray([[-1.0, 1.0]], jnp.float32))
        np.testing.assert_allclose(1 / np.asarray(gauge), [0.8, 1.0], rtol=1e-4)


class TestInThePlane:
    RAYS = np.array([[-1.0, -1.0, -1.0, -1.0, 1.0, 0.0], [-0.7, -0.2, 0.1, 0.6, 0.2, 1.0]])

    def ways(self, landscape, tolerance):
        with jax.enable_x64(True):
            gauge = Attraction(landscape, tolerance=tolerance).gauge(
                jnp.asarray(landscape.minimum), jnp.asarray(self.RAYS)
            )
        return np.divide(1, gauge, out=np.full(6, np.inf), where=np.asarray(gauge) > 0)

    @pytest.mark.slow
    def test_the_error_is_about_the_tolerance(self):
        reference = self.ways(bent([1.0, 2.0, 0.3]), 1e-10)
        assert np.all(np.isfinite(reference[:4]))
        assert np.all(np.isinf(reference[4:]))
        ways = self.ways(bent([1.0, 2.0, 0.3]), 1e-5)
        np.testing.assert_allclose(ways, reference, rtol=2e-5)

    @pytest.mark.slow
    def test_a_turned_double_well_ends_at_a_plane(self):
        turn = np.array([[0.8, -0.6], [0.6, 0.8]])
        well = DoubleWell(1.0, 0.5, [3.0])
        landscape = from_function(lambda x: well.value(jnp.asarray(turn.T, x.dtype) @ x), turn[:, 0])
        with jax.enable_x64(True):
            basin = Attraction(landscape)
            x = jnp.asarray(np.random.default_rng(0).uniform(-3, 3, (2, 100)))
            np.testing.assert_array_equal(basin.contains(x), turn[:, 0] @ np.asarray(x) > 0)
            gauge = basin.gauge(jnp.asarray(landscape.minimum), x)
        np.testing.assert_allclose(gauge, np.maximum(-turn[:, 0] @ np.asarray(x), 0), rtol=1e-6, atol=1e-9)

    @pytest.mark.slow
    def test_derivatives_of_a_boundary_without_a_formula(self):
        with jax.enable_x64(True):
            landscape = bent([1.0, 2.0, 0.3])
            basin = cast(Attraction(landscape, tolerance=1e-9), jnp.float64)
            rays = jnp.asarray(self.RAYS[:, :4])

            @jax.jit
            def ways(parameters):
                leaves, structure = jax.tree.flatten(basin)
                made = jax.tree.unflatten(structure, [leaves[0], parameters, *leaves[2:]])
                return 1 / made.gauge(jnp.asarray(made.landscape.minimum), rays)

            at = jnp.asarray([1.0, 2.0, 0.3])
            slopes = np.asarray(jax.jit(jax.jacrev(ways))(at))
            for place in range(3):
                step = jnp.zeros(3).at[place].set(1e-4)
                np.testing.assert_allclose(
                    slopes[:, place], (ways(at + step) - ways(at - step)) / 2e-4, rtol=1e-4, atol=1e-6
                )


A, SQUARES, CROSS, OTHERS = (
    (-200.0, -100.0, -170.0, 15.0),
    (-1.0, -1.0, -6.5, 0.7),
    (0.0, 0.0, 11.0, 0.6),
    (-10.0, -10.0, -6.5, 0.7),
)
CENTERS = (1.0, 0.0, -0.5, -1.0), (0.0, 0.5, 1.5, 1.0)
MUELLER_BROWN_MINIMA = [
    [-0.5582236346340204, 1.4417258418038705],
    [-0.0500108229982061, 0.4666941048659066],
    [0.6234994049309325, 0.0280377585286857],
]


def mueller_brown_terms(x, library):
    a, b, c, d, p, q = (library.asarray(part) for part in (A, SQUARES, CROSS, OTHERS, *CENTERS))
    u, v = x[0] - p, x[1] - q
    return a * library.exp(b * u**2 + c * u * v + d * v**2), 2 * b * u + c * v, c * u + 2 * d * v


def mueller_brown(well):
    landscape = from_function(lambda x: mueller_brown_terms(x, jnp)[0].sum(), MUELLER_BROWN_MINIMA[well])
    return landscape, Attraction(landscape)


def descends_to(x):
    """The minimum in which SciPy's descent from x ends."""

    def back(_, x):
        heights, along, across = mueller_brown_terms(x, np)
        return -np.array([(heights * along).sum(), (heights * across).sum()])

    end = solve_ivp(back, (0, 10), x, method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    return int(np.argmin(np.linalg.norm(np.asarray(MUELLER_BROWN_MINIMA) - end, axis=1)))


class TestFarOutOfTheFloatingType:
    """Potentials that overflow: far out their value and slope are no numbers, which ends no basin and no search."""

    @pytest.mark.parametrize("well", [0, *(pytest.param(well, marks=pytest.mark.slow) for well in (1, 2))])
    def test_mueller_brown(self, well):
        """exp(0.7 r^2) overflows at r = 32. The boundary separates SciPy's descents, and no ray ends far out."""
        with jax.enable_x64(True):
            minimum = MUELLER_BROWN_MINIMA[well]
            landscape, basin = mueller_brown(well)
            angles = np.linspace(0.01, 2 * np.pi + 0.01, 16, endpoint=False)
            rays = np.array([np.cos(angles), np.sin(angles)])
            gauge = np.asarray(basin.gauge(jnp.asarray(minimum), jnp.asarray(rays)))
            closer = np.asarray(Attraction(landscape, near=0.05).gauge(jnp.asarray(minimum), jnp.asarray(rays)))
        np.testing.assert_allclose(gauge, closer, rtol=1e-6)
        leaves = np.flatnonzero(gauge > 1 / 3)
        assert len(leaves) >= 4
        for ray in leaves[::2]:
            inside, outside = (
                descends_to(np.asarray(minimum) + rays[:, ray] * part / gauge[ray]) for part in (0.999, 1.001)
            )
            assert inside == well
            assert outside != well

    @pytest.mark.parametrize("well", [0, 1, 2])
    def test_mueller_brown_attracts_a_ball(self, well):
        """Within which, and only a few times further out, SciPy's descents end in the same minimum."""
        with jax.enable_x64(True):
            near, minimum = float(mueller_brown(well)[1].near), np.asarray(MUELLER_BROWN_MINIMA[well])
        around = [np.array([np.cos(angle), np.sin(angle)]) for angle in np.linspace(0, 2 * np.pi, 12)]
        assert all(descends_to(minimum + near * way) == well for way in around)
        assert not all(descends_to(minimum + 5 * near * way) == well for way in around)

    @pytest.mark.parametrize(
        ("function", "expected"),
        [
            (lambda x: (jnp.exp(x**2) - 1).sum(), [-np.inf, np.inf]),  # overflows at 27
            (lambda x: (jnp.cosh(3 * x) - 1).sum(), [-np.inf, np.inf]),
            (lambda x: (x**2 - jnp.exp(x) / 10 + x / 10).sum(), [-np.inf, 4.513912543]),  # falls to minus infinity
            (lambda x: (x**2 * jnp.exp(-x)).sum(), [-np.inf, 2.0]),
        ],
    )
    def test_on_the_line(self, function, expected):
        with jax.enable_x64(True):
            found = edges(from_function(function, [0.0]))
        np.testing.assert_allclose(found, expected, rtol=1e-8)

    def test_a_wall_of_no_numbers_is_no_slope_down(self):
        """-log(1 - x^2) is no number beyond 1, half of which way attracts for certain."""
        with jax.enable_x64(True):
            basin = Attraction(from_function(lambda x: -jnp.log(1 - x**2).sum(), [0.0]))
        assert float(basin.near) == pytest.approx(0.5, rel=0.06)
        assert np.isfinite(float(basin.level))


class TestRates:
    def test_prediction_needs_no_formula(self):
        problems = [
            EscapeProblem(row(1), basin, Independent(1.5, [1.0]), SGD(), 0.01)
            for basin in (Attraction(row(1)), Box([SADDLES[0]], [SADDLES[1]]))
        ]
        found, expected = map(predict, problems)
        assert found.valid
        assert found.rate == pytest.approx(expected.rate, rel=1e-9)
        assert found.kappa == pytest.approx(expected.kappa, rel=1e-9)
        np.testing.assert_allclose([*found.exit_probabilities.values()], [*expected.exit_probabilities.values()])

    def test_marcus_jumps_out_of_it_are_seen_where_they_end(self):
        """To ask the basin along their way took hours; with a constant dispersion the rate is the driver's."""
        landscape = from_function(lambda x: (x[0] ** 2 - 1) ** 2 / 4 + x[1] ** 2, [-1.0, 0.0])
        driver = Independent(1.5, [1.0, 1.0])
        plain, marcus = (
            EscapeProblem(landscape, Attraction(landscape), noise, SGD(), 0.01)
            for noise in (driver, StateDependent(driver, lambda x: jnp.ones_like(x), kind="marcus"))
        )
        assert predict(marcus).rate == pytest.approx(predict(plain).rate, rel=1e-3)
        with pytest.raises(ValueError, match="`predict` follows"):
            exit_rate(marcus)

    @pytest.mark.slow
    def test_jumps_leave_it_on_the_line_as_they_leave_a_box(self):
        attraction, box = (
            simulate(
                EscapeProblem(row(1), basin, Independent(1.5, [1.0]), SGD(), 0.05), Plan(JumpAdapted(), 200), 0
            ).exit_time
            for basin in (Attraction(row(1)), Box([SADDLES[0]], [SADDLES[1]]))
        )
        assert (np.abs(attraction / box - 1) < 1e-3).mean() > 0.98

    @pytest.mark.slow
    def test_momentum_is_carried_on(self):
        noise, basin = Independent(1.5, [1.0]), Attraction(row(1))
        fast, slow = (
            predict(EscapeProblem(row(1), basin, noise, dynamics, 0.01)).rate
            for dynamics in (SGD(), Momentum(0.1, 0.9))
        )
        assert slow != fast
        assert slow > 0

    @pytest.mark.slow
    def test_a_configuration_can_ask_for_it(self):
        tables = {"landscape": {"kind": "wang_oh_rhee"}, "basin": {"kind": "attraction"}, "dynamics": {"kind": "sgd"}}
        tables |= {"noise": {"kind": "independent", "alpha": 1.2}, "run": {"noise_level": 0.01, "dt": 0.1}}
        config = parse(tables)
        problem = build_problem(config, cells(config)[0])
        box = Box([-1.3], [0.2])
        expected = predict(EscapeProblem(problem.landscape, box, problem.noise, problem.dynamics, 0.01))
        assert predict(problem).rate == pytest.approx(expected.rate, rel=1e-9)
        outside = parse(tables | {"run": tables["run"] | {"start": 0.3}})
        with pytest.raises(ValueError, match="not inside the basin"):
            build_problem(outside, cells(outside)[0])


WELL = MultiWell([-1.0, 1.0], [0.1], [1.0], [2.0, 3.0], [2.5], well=1)
SIZES = {  # name -> the problem of (noise level, scale, Hessian, size of the basin, alpha)
    "box": lambda h, s: (Quadratic(h * jnp.ones(1)), Box(-s * jnp.ones(1), 2 * s * jnp.ones(1))),
    "ball": lambda h, s: (Quadratic(h * jnp.ones(1)), Ball(s, jnp.full(1, 0.1))),
    "ellipsoid": lambda h, s: (Quadratic(h * jnp.ones(1)), Ellipsoid(h * jnp.ones(1), s, jnp.zeros(1))),
    "sublevel": lambda h, s: (Quadratic(h * jnp.ones(1)), Sublevel(Quadratic(h * jnp.ones(1)), s)),
}


@pytest.mark.parametrize("name", SIZES)
def test_rates_have_derivatives_in_all_that_sets_them(name):
    """In noise level, noise scale, Hessian, the basin's size and alpha, against central differences."""

    def rate(values):
        level, scale, hessian, size, alpha = values
        landscape, basin = SIZES[name](hessian, size)
        return exit_rate(EscapeProblem(landscape, basin, Independent(alpha, scale * jnp.ones(1)), SGD(), level))

    check_derivatives(rate, [0.1, 0.7, 1.3, 0.8, 1.5])


def test_rates_of_attraction_have_derivatives():
    """The basin's size is the saddle's position, which Attraction finds."""
    with jax.enable_x64(True):
        basin = cast(Attraction(WELL), jnp.float64)

    def rate(values):
        level, scale, saddle, alpha = values
        places = jax.tree.leaves(basin)
        names = [path[-1].name for path, _ in jax.tree_util.tree_leaves_with_path(basin)]
        places[names.index("saddles")] = saddle[None]
        made = jax.tree.unflatten(jax.tree.structure(basin), places)
        noise = Independent(alpha, scale * jnp.ones(1))
        return exit_rate(EscapeProblem(made.landscape, made, noise, SGD(), level))

    check_derivatives(rate, [0.1, 0.7, 0.1, 1.5])


def test_rates_of_a_half_space_have_derivatives_where_each_coordinate_has_its_own_alpha():
    """Half of the rays never leave, which must not make 0^alpha's derivative, infinite for alpha below 1, a NaN."""

    def rate(values):
        level, scale, offset, *alphas = values
        noise = PerCoordinate(jnp.stack(alphas), scale * jnp.ones(2))
        return exit_rate(EscapeProblem(Quadratic([1.0, 1.0]), HalfSpace([1.0, 0.5], offset), noise, SGD(), level))

    check_derivatives(rate, [0.1, 0.7, 1.0, 0.8, 1.5])


def test_exit_rate_is_the_predicted_one():
    noise = PerCoordinate([0.8, 1.5], [1.0, 0.5])
    problem = EscapeProblem(Quadratic([1.0, 1.0]), Box([-1.0, -1.0], [2.0, 1.0]), noise, SGD(), 0.01)
    with jax.enable_x64(True):
        assert float(exit_rate(problem)) == pytest.approx(predict(problem).rate, rel=1e-12)


def check_derivatives(rate, at):
    with jax.enable_x64(True):
        rate, at = jax.jit(rate), jnp.asarray(at)
        slopes = jax.grad(rate)(at)
        for place in range(len(at)):
            step = jnp.zeros(len(at)).at[place].set(1e-5)
            expected = float(rate(at + step) - rate(at - step)) / 2e-5
            assert float(slopes[place]) == pytest.approx(expected, rel=1e-5, abs=1e-9), place
    assert np.count_nonzero(np.asarray(slopes)) >= len(at) - 1  # the Hessian moves neither a box nor a ball
