"""The search for silently wrong numbers: its oracle, its images, that it finds what is wrong, and a bounded part of it.

Every seed is fixed. A simulated comparison fails by chance where it is beyond the stated errors by 5 combined standard
errors, once in 1.7 million; the bounded part makes fewer than 60 of those: by chance it fails in 1 of 28,000 seeds.
Predictions are compared to 1e-6, without chance.
"""

import dataclasses
import subprocess
import sys

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
    {"landscape": "Quadratic", "basin": "Ellipsoid", "noise": "PerCoordinate", **SDE},
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


def test_validity_is_looked_at_beside_exact_means():
    validity = bench.importlib.import_module(f"{package.__name__}.validity")
    rows = validity.look(15, 1, (1,))
    assert len(rows) > 5
    assert all(row["kept"] for row in rows if row["valid"]), rows
