"""The search for silently wrong numbers: its oracle, its images, that it finds what is wrong, and a bounded part of it.

Every seed is fixed. A simulated comparison fails by chance where it is beyond the stated errors by 5 combined standard
errors, once in 1.7 million; the bounded part makes fewer than 60 of those: by chance it fails in 1 of 28,000 seeds.
Predictions are compared to 1e-6, without chance.
"""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levyjax.cli import bench

package = bench.benchmarks()


def part(name: str):
    """A module of the search."""
    return bench.importlib.import_module(f"{package.__name__}.crosscheck.{name}")


oracle, describe, draw, images, checks, search = map(part, ("oracle", "describe", "draw", "images", "checks", "search"))
Piece = describe.Piece

SDE = {"dynamics": "SGD", "view": "sde"}
PREDICTED = [
    {"landscape": "Quadratic", "basin": "Box", "noise": "Independent", **SDE},
    {"landscape": "Quadratic", "basin": "Ellipsoid", "noise": "PerCoordinate", "skewed": True, **SDE},
]
SIMULATED = [
    {"landscape": "Quadratic", "basin": "Box", "noise": "Independent", "scale": "diagonal", "dimension": 1, **SDE},
]


def interval(**changed):
    """A problem on (-1, 2)."""
    parts = {
        "landscape": Piece("Quadratic", {"curvature": np.ones(1), "center": np.zeros(1)}),
        "basin": Piece("Box", {"lower": -np.ones(1), "upper": 2 * np.ones(1)}),
        "noise": Piece("Independent", {"alpha": 1.5, "scale": np.ones(1)}),
        "dynamics": Piece("SGD", {}),
        "noise_level": 0.01,
    }
    return describe.Description(**(parts | changed))


class TestOracle:
    """What everything is held against."""

    def test_it_imports_nothing_of_levyjax(self):
        source = f"import runpy, sys; runpy.run_path({oracle.__file__!r}); print(any('jax' in m for m in sys.modules))"
        assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True).stdout.strip() == "False"

    @pytest.mark.parametrize("alpha", [0.7, 1.0, 1.5, 2.0])
    @pytest.mark.parametrize("kind", ["Independent", "Rotational"])
    def test_characteristic_function_of_its_noise(self, kind, alpha):
        """E cos(w'X) = exp(-dt |w|^alpha) in a direction w of both coordinates; N = 100,000, 5 standard errors."""
        noise = Piece(kind, {"alpha": alpha, "scale": np.array([[0.6, -0.8], [0.8, 0.6]])})
        draw = oracle.increment(np.random.default_rng(1), noise, 0.5, 100_000)
        w = np.array([0.6, 0.8])  # the first row and column of the rotation: (1, 0) as L sees it
        assert np.cos(w @ draw).mean() == pytest.approx(np.exp(-0.5), abs=5 * np.sqrt(0.5 / 100_000))

    @pytest.mark.parametrize("alpha", [0.7, 1.5])
    def test_characteristic_function_of_skewed_noise(self, alpha):
        """E exp(iwX) = exp(-dt |w|^alpha (1 - i beta sign(w) tan(pi alpha/2))); N = 100,000, 5 standard errors."""
        noise = Piece("Independent", {"alpha": alpha, "scale": np.ones(2), "beta": np.array([0.6, -1.0])})
        draw = oracle.increment(np.random.default_rng(1), noise, 0.5, 100_000)
        for row, beta in zip(draw, noise.parts["beta"], strict=True):
            law = np.exp(-0.5 * (1 - 1j * beta * np.tan(np.pi * alpha / 2)))
            assert abs(np.exp(1j * row).mean() - law) < 5 / np.sqrt(100_000)

    def test_brownian_mean_on_an_interval(self):
        """(1 - x^2)/2 without drift, at 2 dt a step: the clocks' extrapolation is within the bias that it states."""
        flat = Piece("Flat", {"center": np.zeros(1)})
        box = Piece("Box", {"lower": -np.ones(1), "upper": np.ones(1)})
        noise = Piece("Gaussian", {"scale": np.ones(1)})
        with pytest.raises(oracle.Unknown):
            oracle.exits(interval(landscape=flat, basin=box), 4, 0, 0.01)
        still = Piece("Quadratic", {"curvature": np.full(1, 1e-9), "center": np.zeros(1)})
        times, _ = oracle.exits(interval(landscape=still, basin=box, noise=noise, noise_level=1.0), 4096, 0, 1e-3)
        mean, error, bias = oracle.continuous_mean(times, 2.0)
        assert abs(mean - 0.5) < 5 * error + abs(bias)
        assert abs(times[2].mean() - 0.5) > 5 * error  # the coarsest clock is not

    @pytest.mark.parametrize(
        ("kind", "d"), [("FlatBottom", 1), ("FlatBottom", 3), ("RadialWell", 2), ("CurvedValley", 3)]
    )
    def test_steep_landscapes_are_those_that_levyjax_is_given(self, kind, d):
        """Values beside the function, and gradients beside jax.grad's; rounding."""
        rng = np.random.default_rng(4)
        piece, x = draw.steep(rng, kind, np.ones(d), np.zeros(d)), rng.normal(size=(d, 5))
        value, slope = oracle.landscape(piece, x)
        with jax.enable_x64(True):
            parameters = tuple(jnp.asarray(part) for part in describe.parameters_of(piece))
            both = [jax.value_and_grad(describe.FUNCTIONS[kind])(jnp.asarray(point), parameters) for point in x.T]
        assert value == pytest.approx([float(one) for one, _ in both])
        assert slope == pytest.approx(np.stack([np.asarray(one) for _, one in both], axis=1))

    def test_a_drift_too_steep_for_euler_is_followed_by_shorter_steps(self):
        """x' = -4 b x^3 from 30: x(t) = x_0/sqrt(1 + 8 b x_0^2 t)."""
        zero = np.zeros(1)
        parts = {"curvature": zero, "quartic": np.ones(1), "wall": zero, "edge": np.ones(1), "center": zero}
        box = Piece("Box", {"lower": -np.full(1, 50.0), "upper": np.full(1, 50.0)})
        walker = oracle.Walker(interval(landscape=Piece("FlatBottom", parts), basin=box), 0.1, True, None)
        assert walker.descended(np.array([[30.0]]))[0, 0] == pytest.approx(30 / np.sqrt(1 + 0.8 * 900), rel=1e-2)

    def test_steps_that_grow_from_a_start_beside_the_wall(self):
        """What is lost at once, beside the boundary value problem."""
        problem = interval(start=np.array([2 - 1e-4]), noise_level=0.5)
        times, _ = oracle.exits(problem, 2048, 1, 1e-2, first=checks.first_step(problem))
        mean, error, bias = oracle.continuous_mean(times, 1.5)
        assert abs(mean - checks.reference(problem).mean) < 5 * error + abs(bias)


class TestDraw:
    """Kinds that are drawn where they are asked for, and leave the sequences of the others as they were."""

    def test_starts_are_as_near_to_the_wall_as_was_asked(self):
        rng, rooms = np.random.default_rng(2), []
        for _ in range(30):
            problem = draw.problem(rng, draw.structure(rng, start="wall", basin="Ball", dimension=2, **SDE))
            basin = problem.basin.parts
            rooms.append(1 - np.linalg.norm(problem.start - basin["center"]) / basin["radius"])
        assert min(rooms) > 0
        assert max(rooms) < 0.2
        assert min(rooms) < 1e-4

    def test_a_seed_gives_the_problems_that_it_gave_before(self):
        rng = np.random.default_rng([2026, 0])
        structure = draw.structure(rng)
        assert str(structure) == "8/Quadratic/True/Ball/Rotational/diagonal/Nesterov/sde/anywhere"
        assert draw.problem(rng, structure).noise_level == pytest.approx(0.008198250613088197, rel=1e-12)

    def test_rates_of_coordinates_that_do_not_act_on_each_other_add_up(self):
        twice = interval(
            landscape=Piece("Quadratic", {"curvature": np.ones(2), "center": np.zeros(2)}),
            basin=Piece("Box", {"lower": -np.ones(2), "upper": 2 * np.ones(2)}),
            noise=Piece("Independent", {"alpha": 1.5, "scale": np.ones(2)}),
            noise_level=0.3,
        )
        one = checks.reference(interval(noise_level=0.3), quasi=True)
        assert checks.reference(twice, quasi=True).mean == pytest.approx(one.mean / 2)


class TestImages:
    """Images are the same problem."""

    def test_each_symmetry_is_met(self):
        """Of 150 random problems."""
        rng, met = np.random.default_rng(0), set()
        for _ in range(150):
            problem = draw.problem(rng, draw.structure(rng))
            met |= {image.name for image in images.images(problem, rng)}
        assert len(met) >= 24

    def test_gradient_of_a_moved_landscape(self):
        rng = np.random.default_rng(1)
        valley = Piece("DoubleWell", {"width": 1.0, "barrier": 0.5, "curvature": np.ones(1), "well": "left"})
        matrix = 2.0 * draw.rotation(rng, 2)
        moved = images.moved_landscape(valley, matrix, np.ones(2), 3.0)
        x, step = rng.normal(size=(2, 1)), 1e-6
        value, slope = oracle.landscape(moved, matrix @ x + 1)
        assert value == pytest.approx(3 * oracle.landscape(valley, x)[0])
        ahead = oracle.landscape(moved, matrix @ x + 1 + step * slope)[0]
        assert (ahead - value)[0] / step == pytest.approx((slope**2).sum(), rel=1e-4)

    def test_faces_are_renamed(self):
        image = images.affine(interval(), "mirror", -np.eye(1), np.zeros(1))
        assert image.faces == {"x0<lower": "x0>upper", "x0>upper": "x0<lower"}
        assert image.problem.basin.parts["lower"].tolist() == [-2.0]


class TestSearch:
    """It finds what is wrong, shrinks it, and counts what is refused."""

    def test_a_wrong_rate_is_found_and_shrunk(self, monkeypatch):
        """A prediction that depends on where the center of an ellipsoid is, not only relative to the minimum."""
        right = checks.predict

        def wrong(problem, solver):
            found = right(problem, solver)
            return dataclasses.replace(found, rate=found.rate * (1 + 1e-3 * np.tanh(problem.basin.center[0])))

        monkeypatch.setattr(checks, "predict", wrong)
        kinds = {"landscape": "Quadratic", "basin": "Ellipsoid", "noise": "Independent", "scale": "diagonal"}
        tally = search.search(1, 0, ("predicted_images",), 1, dimension=1, **kinds, **SDE)
        rows = search.exceptions(tally, tries=3)
        shifted = next(row for row in rows if row["pair"] == "shift")
        assert shifted["quantity"] == "predicted rate"
        assert 1e-5 < abs(shifted["difference"]) < 2e-3
        assert len(shifted["snippet"]) < len(describe.snippet(tally.failures[0][1]))
        assert "same_law" not in {row["pair"] for row in rows}  # which leaves the center alone

    def test_refusals_are_counted_by_reason(self):
        kinds = {"dimension": 2, "landscape": "Quadratic", "basin": "Box", "noise": "Pareto", "scale": "diagonal"}
        tally = search.search(1, 0, ("predicted_images",), 1, dynamics="AdaGrad", view="iteration", **kinds)
        assert any(method == "limit" and "AdaGrad" in why for method, why in tally.refusals)

    def test_an_error_that_is_no_refusal_is_a_finding(self, monkeypatch):
        def broken(problem, solver):
            raise ZeroDivisionError("a crash")

        monkeypatch.setattr(checks, "predict", broken)
        tally = search.search(1, 0, ("predicted_images",), dimension=1, **SDE)
        assert tally.crashes["ZeroDivisionError: a crash"] == 1

    def test_the_table_shows_what_was_counted(self):
        tally = search.Tally(problems=3, structures=1)
        tally.add(checks.Check("shift", "predicted rate", 0.5, 0.0, False), interval(), "predicted_images", 0)
        module = bench.importlib.import_module(f"{package.__name__}.crosscheck")
        shown = module.markdown(module.result_of(tally, tries=0)).splitlines()
        assert shown[0] == "3 random problems, 1 comparisons, 1 failed."
        assert "| shift | predicted rate | 1 | 1 | 0.5 | 0 |" in shown
        assert "Quadratic(curvature=np.array([1.0])" in shown[-1]

    def test_a_snippet_makes_the_problem_again(self):
        from levyjax import basins, dynamics, escape, landscapes, noise

        names = {"np": np} | {
            name: getattr(m, name) for m in (basins, dynamics, escape, landscapes, noise) for name in m.__all__
        }
        problem = interval()
        assert eval(describe.snippet(problem), names).rate == checks.prediction(problem).rate


class TestBoundedPart:
    """What runs by default; `levyjax bench --only crosscheck` runs thousands of problems of all kinds."""

    @pytest.mark.parametrize("kinds", PREDICTED, ids=lambda kinds: f"{kinds['basin']}-{kinds['noise']}")
    def test_predictions(self, kinds):
        tally = search.search(3, 5, ("predicted_images", "ordered"), 3, scale="full", dimension=2, **kinds)
        assert [failure[0] for failure in tally.failures] == []
        assert sum(row["compared"] for row in tally.pairs.values()) > 30

    @pytest.mark.parametrize("kinds", SIMULATED, ids=lambda kinds: f"{kinds['noise']}-{kinds['view']}")
    def test_simulations(self, kinds):
        tally = search.search(3, 6, ("methods", "simulated_image"), 3, **kinds)
        assert [failure[0] for failure in tally.failures] == []
        assert sum(row["compared"] for row in tally.pairs.values()) > 6

    def test_noise_levels_that_change(self):
        kinds = {"landscape": "Quadratic", "basin": "Box", "noise": "Independent", "dimension": 1, **SDE}
        tally = search.search(3, 7, ("scheduled",), 3, scale="diagonal", **kinds)
        assert [failure[0] for failure in tally.failures] == []
        assert sum(row["compared"] for row in tally.pairs.values()) == 6


def test_validity_is_looked_at_beside_exact_means():
    validity = bench.importlib.import_module(f"{package.__name__}.validity")
    rows = validity.look(15, 1, (1,))
    assert len(rows) > 5
    assert all(row["kept"] for row in rows if row["valid"]), rows
