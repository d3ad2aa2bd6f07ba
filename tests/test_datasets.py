"""Every result as an xarray dataset: names, units, descriptions, and a round trip through netCDF and pandas."""

import dataclasses
import importlib
import inspect
import json
import re
import sys

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import run_files
import xarray

from levyjax import EscapeProblem, Plan, escape, predict, simulate, stable, tails, training
from levyjax.basins import Box
from levyjax.claims import adam_quantities
from levyjax.claims.base import Outcome
from levyjax.cli import main
from levyjax.datasets import Result, dataset, describe
from levyjax.dynamics import SGD
from levyjax.engine import ExitCode
from levyjax.escape.annealing import AnnealedSurvival
from levyjax.escape.columns import ColumnRate
from levyjax.escape.profile import ExitProfile
from levyjax.escape.quasi_stationary import QuasiStationaryRate
from levyjax.escape.transitions import Visits
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler
from levyjax.sweep.replay import Replay, replay
from levyjax.training.applied import AppliedNoise
from levyjax.training.curvature import HessianPairs, HessianTrace, LossAlong, NoiseAlignment
from levyjax.training.escapes import Excursions
from levyjax.training.paths import line_path
from levyjax.training.per_example import ExampleMoments
from levyjax.training.quadratic import QuadraticModel
from levyjax.training.sde import Curves, LawDistance
from levyjax.training.streamed import BlockLogs, NoiseStatistics
from levyjax.training.tail_monitor import BatchSizeStudy, layer_tail

PROBLEM = EscapeProblem(Quadratic([1.0, 0.5]), Box([-1.0] * 2, [1.0] * 2), Independent(1.5, [1.0] * 2), SGD(), 0.5)
PLAN = Plan(Euler(0.1), num_trajectories=64)
NOISE = np.random.default_rng(0).standard_t(3, size=(128, 4))


def _loss(x):
    return jnp.sum(x**2 * jnp.array([1.0, 2.0, 3.0]))


def _gradient_noise(iteration=10):
    return training.GradientNoise(NOISE, np.zeros(4), iteration, 8, {"w": (0, 3), "b": (3, 4)})


def _adam_quantities():
    arrays = {field.name: np.ones(5) for field in dataclasses.fields(adam_quantities.AdamQuantities)[4:]}
    return adam_quantities.AdamQuantities(0.1, 0.9, 0.99, 1e-8, **arrays)


def _train():
    config = training.TrainConfig(widths=(4,), iterations=4, record_every=2, capture_at=(4,), num_batches=8)
    return training.train(config)


def _study():
    names = {4: "stable", 8: "undecided"}
    numbers = {4: 1.2, 8: 1.3}
    arrays = np.ones(2), np.ones(2)
    return BatchSizeStudy(3, "all", (4, 8), *arrays, -0.5, (-0.6, -0.4), names, numbers, numbers, names)


RESULTS = {
    "AnnealedSurvival": lambda: AnnealedSurvival(np.arange(3.0), np.ones(3), np.ones(3), True, ("Slow.",)),
    "AdamQuantities": _adam_quantities,
    "AppliedNoise": lambda: AppliedNoise(_gradient_noise(), _gradient_noise()),
    "Assumption2": lambda: adam_quantities.assumption2(_adam_quantities()),
    "BatchSizeStudy": _study,
    "BlockLengthSweep": lambda: tails.block_length_sweep(NOISE),
    "BlockLogs": lambda: BlockLogs(*np.ones((4, 3))),
    "ColumnRate": lambda: ColumnRate(0.5, 0.1, 4),
    "Curves": lambda: Curves(np.arange(3), *np.ones((4, 3, 2))),
    "ExampleMoments": lambda: ExampleMoments(np.ones(3), {"w": 1.0, "b": 2.0}, None, 7),
    "Excursions": lambda: Excursions(np.ones((3, 2)), np.ones((3, 2))),
    "ExitPaths": lambda: escape.simulate_paths(PROBLEM, PLAN, 20, 0),
    "ExitProfile": lambda: ExitProfile(np.zeros((2, 1)), *np.ones((3, 2))),
    "ExitSamples": lambda: simulate(PROBLEM, PLAN, 0),
    "ExitSummary": lambda: escape.simulate_summary(PROBLEM, PLAN, 0),
    "ExponentialFit": lambda: escape.exponential_fit([1.0, 2.0], [False, False]),
    "ExponentialityTest": lambda: escape.exponentiality_test([1.0, 2.0]),
    "GradientNoise": _gradient_noise,
    "HessianPairs": lambda: HessianPairs(np.ones(2), np.ones((3, 2)), np.ones(2)),
    "HessianTrace": lambda: HessianTrace(1.0, 0.1, 1.0, 0.1, 3),
    "HillPlot": lambda: tails.hill_plot(NOISE),
    "IntervalReference": lambda: escape.interval_reference(
        EscapeProblem(Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.5)
    ),
    "LaplaceEstimate": lambda: escape.laplace_transform([1.0, 2.0, 3.0], 0.5, 1.0),
    "LawDistance": lambda: LawDistance(0.1, 0.5),
    "LawFit": lambda: tails.fit_law(NOISE, "gaussian"),
    "LayerTail": lambda: layer_tail(NOISE, layer="w", iteration=3),
    "LossAlong": lambda: LossAlong(np.ones(3), 0.0, np.ones((2, 3)), np.ones((2, 3))),
    "LossPath": lambda: line_path(_loss, jnp.zeros(3), jnp.ones(3)),
    "NoiseAlignment": lambda: NoiseAlignment(1.0, 0.1, 1.0, 0.5, 2.0, np.ones(2)),
    "NoiseStatistics": lambda: NoiseStatistics(*np.ones((4, 3)), np.ones(5), {}, np.ones(6), np.ones(6), 3, 8),
    "Outcome": lambda: Outcome(None, 1.2, (1.0, 1.4), "confirmed", "It is 1.2.", print, "A line."),
    "Pooled": lambda: tails.pool(NOISE),
    "Prediction": lambda: predict(PROBLEM),
    "QuadraticModel": lambda: QuadraticModel(np.arange(2), np.ones(2), 0.1),
    "QuasiStationaryRate": lambda: QuasiStationaryRate(1.0, 0.1, True, 9, 0, 4, 2.0, 100, 0.1),
    "Replay": lambda: replay(PROBLEM, PLAN, 0, 3),
    "ShuffleTest": lambda: tails.shuffle_test(NOISE, num_shuffles=20),
    "SlopeFit": lambda: escape.log_log_slope([0.1, 0.2], [1.0, 3.0], [0.1, 0.1]),
    "StableFit": lambda: stable.fit(NOISE[:, :2].T, beta=0.0),
    "StableNoise": lambda: training.stable_scales(_gradient_noise()),
    "SurvivalCurve": lambda: escape.kaplan_meier([1.0, 2.0, 3.0]),
    "TailAudit": lambda: tails.audit(NOISE),
    "TailEstimate": lambda: tails.estimate(NOISE, "log_moment"),
    "TrainResult": _train,
    "Visits": lambda: Visits(np.ones((3, 2)), np.ones((3, 2, 2), int), np.full(3, 2)),
}
# What is given, carried or part of a result, and what is a set of functions.
NO_RESULTS = {
    "Complement", "Dataset", "EscapeProblem", "FlatModel", "FreeProcess", "NetworkLoss", "NoiseModels", "Plan",
    "SeenNoise", "Stable", "TailStream", "TrainConfig",
}  # fmt: skip

# What a function of a module gives that its package does not name.
OF_MODULES = {
    "AdamQuantities", "Assumption2", "BatchSizeStudy", "BlockLogs", "ColumnRate", "Curves", "ExampleMoments",
    "LawDistance", "LayerTail", "LossAlong", "LossPath", "NoiseAlignment", "Outcome", "QuadraticModel", "Replay",
    "SlopeFit",
}  # fmt: skip


def test_every_public_result_is_here():
    """A new dataclass that is public, or that a public function returns, has a dataset, or is named above."""
    public = [getattr(module, name) for module in (escape, tails, training, stable) for name in module.__all__]
    public += [inspect.signature(one).return_annotation for one in public if inspect.isroutine(one)]
    found = {kind.__name__ for kind in public if isinstance(kind, type) and dataclasses.is_dataclass(kind)}
    assert found - NO_RESULTS == set(RESULTS) - OF_MODULES
    assert {kind.__name__ for kind in Result.__subclasses__()} == set(RESULTS)
    assert Replay in Result.__subclasses__()


def test_a_result_is_printed_in_a_few_lines():
    """An array of many numbers is its type and shape; in a notebook the dataset is shown."""
    samples = simulate(PROBLEM, PLAN, 0)
    shown = re.fullmatch(
        r"ExitSamples\(64 trajectories: (\d+) exited; exit times from [\d.]+ to [\d.]+\)", repr(samples)
    )
    assert int(shown[1]) == samples.exited.sum() == 64
    assert "exit_time" in samples._repr_html_()
    assert "float64[20]" in repr(escape.kaplan_meier(np.arange(1.0, 20.0)))
    assert repr(predict(PROBLEM)).startswith("Prediction(rate=")


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_round_trips_with_units_and_descriptions(name, tmp_path):
    data = RESULTS[name]().to_xarray()
    assert data.attrs["title"] == f"levyjax {name}"
    for key, variable in data.variables.items():
        assert variable.attrs["long_name"], key
        assert variable.dtype.kind in "USb" or variable.attrs["units"], key
    data.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "result.nc") as back:
        assert set(back.variables) == set(data.variables)
        assert set(back.coords) == set(data.coords)
        for key, variable in data.variables.items():
            assert back[key].dims == variable.dims
            np.testing.assert_array_equal(back[key].values, variable.values)
            assert back[key].attrs["long_name"] == variable.attrs["long_name"]
    table = data.to_dataframe()
    assert isinstance(table, pd.DataFrame)
    assert len(table) == np.prod(list(data.sizes.values()))


def test_descriptions_come_from_the_docstrings():
    """Every attribute of every result has a sentence in its class; "(n,)" and the like are no part of it."""
    for kind in Result.__subclasses__():
        described = describe(kind)
        for field in dataclasses.fields(kind):
            assert field.name.startswith("_") or field.name in described, (kind.__name__, field.name)
        assert not [text for text in described.values() if text.startswith("(")], kind.__name__


def test_samples_have_the_numbers_and_the_codes():
    samples = simulate(PROBLEM, PLAN, 0)
    data = samples.to_xarray()
    assert dict(data.sizes) == {"trajectory": 64, "coordinate": 2}
    np.testing.assert_array_equal(data["exit_time"], samples.exit_time)
    assert data["exit_time"].attrs["units"] == "time of the SDE"
    meanings = data["exit_code"].attrs["flag_meanings"].split()
    assert meanings == [code.name.lower() for code in ExitCode]
    assert data["exit_code"].attrs["flag_values"] == [int(code) for code in ExitCode]
    assert json.loads(data.attrs["face_names"]) == list(samples.face_names)


def test_single_numbers_are_put_together_by_cell():
    fits = [escape.exponential_fit([1.0, 2.0], [True, last]) for last in (True, False)]
    data = xarray.concat([fit.to_xarray() for fit in fits], "cell")
    assert data["num_censored"].values.tolist() == [0, 1]
    assert data["rate_interval_low"].shape == (2,)
    assert np.isnan(escape.exponential_fit([1.0], [False]).to_xarray()["mean"].item())


def test_layers_of_noise_are_a_coordinate():
    data = _gradient_noise().to_xarray()
    assert data["layer"].values.tolist() == ["w", "w", "w", "b"]
    assert data["samples"].groupby("layer").std(...).sizes == {"layer": 2}


def test_mappings_lie_along_their_keys():
    data = dataset({"share": {"a": 1.0}, "other": {"b": 2.0, "a": 3.0}}, {"share": "face", "other": "face"})
    assert data["face"].values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(data["share"], [1.0, np.nan])
    np.testing.assert_array_equal(data["other"], [3.0, 2.0])


def test_a_wrong_number_of_dimensions_is_refused():
    with pytest.raises(ValueError, match="one for each axis"):
        dataset({"x": np.ones((2, 2))}, {"x": "trajectory"})


def test_without_xarray_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r'xarray: install the extra: pip install "levyjax\[io\]"'):
        escape.exponential_fit([1.0]).to_xarray()
    importlib.import_module("levyjax.datasets")


def test_results_load_without_xarray():
    assert "xarray" not in vars(importlib.import_module("levyjax.datasets"))


RUN = run_files.RUN + "max_time = 100.0\n"


@pytest.fixture(scope="module")
def escaped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("escape")
    (folder / "run.toml").write_text(RUN)
    assert main(["escape", str(folder / "run.toml"), "--out", str(folder / "out"), "--json"]) == 0
    return folder / "out"


def test_what_escape_writes_opens_with_numpy_pandas_and_xarray(escaped):
    record = json.loads((escaped / "record.json").read_text())
    rows = pd.DataFrame(record["cells"])
    assert rows["alpha"].tolist() == [1.2, 1.2, 1.8, 1.8]
    with np.load(escaped / "samples_0002.npz") as samples, xarray.open_dataset(escaped / "results.nc") as data:
        assert dict(data.sizes) == {"cell": 4, "trajectory": 40, "coordinate": 2}
        assert data["noise_level"].dims == ("cell",)
        assert {"alpha", "noise_level", "learning_rate"} < set(data.coords)
        np.testing.assert_array_equal(data["exit_time"][2], samples["exit_time"])
        np.testing.assert_array_equal(data["exit_code"][2], samples["exit_code"])
        np.testing.assert_allclose(data["rate"], rows["rate"])
        np.testing.assert_allclose(data["rate_ci95_low"], [low for low, _ in rows["rate_ci95"]])
        assert np.isnan(data["learning_rate"]).all()
        assert data["rate"].attrs == {"units": "1 / time of the SDE", "long_name": "exits per unit of time"}
        assert len(data.to_dataframe()) == 4 * 40 * 2
        assert json.loads(data.attrs["tables"])["run"]["num_trajectories"] == 40


def test_a_rate_without_times_has_no_trajectories(tmp_path):
    text = RUN.replace("dt = 0.1", 'method = "quasi_stationary"\nrelative_error = 0.2').replace("[1.2, 1.8]", "1.5")
    (tmp_path / "run.toml").write_text(text)
    assert main(["escape", str(tmp_path / "run.toml"), "--out", str(tmp_path / "out"), "--json"]) == 0
    with xarray.open_dataset(tmp_path / "out" / "results.nc") as data:
        assert dict(data.sizes) == {"cell": 2}
        assert np.isnan(data["mean_exit_time"]).all()
        assert (data["rate_ci95_low"] < data["rate"]).all()
