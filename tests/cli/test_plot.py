"""`levyjax plot`: every kind through the command, and the numbers of the figures without pixels."""

import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from run_files import RUN

from levyjax.cli import main
from levyjax.escape import Plan, simulate, simulate_paths
from levyjax.plots.results import KINDS, Choice, open_result
from levyjax.plots.results import exits as exit_figures
from levyjax.plots.results import training as training_figures
from levyjax.solvers import Euler
from levyjax.sweep import collect

mpl.use("Agg")

SWEEP = RUN.replace('[dynamics]\nkind = "sgd"', '[[dynamics]]\nkind = "sgd"\n[[dynamics]]\nkind = "adam"').replace(
    "num_trajectories = 40", "num_trajectories = 40\nmax_time = 40.0"
)
TRAINED = {
    "config": {},
    "metrics": [
        {"iteration": k, **dict.fromkeys(("train_loss", "test_loss", "train_accuracy", "test_accuracy"), 0.5)}
        for k in (0, 10)
    ],
    "noise": [{"iteration": 10, "file": "noise_0010.npy"}],
    "monitors": {
        "tails": [
            {"iteration": k, "layer": "w", "alpha": {"as_published": 1.0 + k}, "gaussian": {"as_published": 1.5}}
            for k in (0, 1)
        ],
        "path": {name: {"places": [0.0, 0.5, 1.0], "losses": [1.0, 2.0, 0.5]} for name in ("line", "least_path")},
    },
}  # fmt: skip
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A result of each command: source -> folder."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "run.toml").write_text(RUN)
    (folder / "sweep.toml").write_text(SWEEP)
    np.save(folder / "noise.npy", np.random.default_rng(0).standard_t(3, size=2000))
    (folder / "train").mkdir()
    (folder / "train" / "record.json").write_text(json.dumps(TRAINED))
    np.save(folder / "train" / "noise_0010.npy", np.random.default_rng(1).normal(size=(20, 3)))
    for name, target in (("escape", "run.toml"), ("sweep", "sweep.toml"), ("tails", "noise.npy")):
        assert main([name, str(folder / target), "--out", str(folder / name), "--json"]) == 0
    return {name: folder / name for name in ("escape", "sweep", "tails", "train")} | {"bench": BENCHMARKS}


EXPECTED = {
    "escape": set(exit_figures.KINDS) - {"phase-optimizers"},
    "sweep": set(exit_figures.KINDS) - {"exponential-qq"},
    "tails": set(KINDS["levyjax tails --out, or its JSON (estimates, block-length and aggregation alone)"]),
    "train": set(training_figures.KINDS),
    "bench": set(KINDS["levyjax bench --out"]),
}


@pytest.mark.parametrize(
    ("source", "kind"), [(source, kind) for source in EXPECTED for kind in sorted(EXPECTED[source])]
)
def test_every_kind_is_drawn_by_the_command(results, source, kind, tmp_path, capsys):
    figure = tmp_path / "figure.png"
    assert main(["plot", str(results[source]), "--kind", kind, "--out", str(figure), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": str(figure), "kind": kind, "result": f"levyjax {source}"}
    assert figure.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("source", EXPECTED)
def test_only_what_a_result_contains_is_offered(results, source, capsys):
    assert main(["plot", str(results[source]), "--list", "--json"]) == 0
    kinds = json.loads(capsys.readouterr().out)["kinds"]
    assert {row["kind"] for row in kinds} >= EXPECTED[source]
    assert all(row["shows"] for row in kinds)


def test_the_list_of_all_kinds(capsys):
    assert main(["plot", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(kind in text for kinds in KINDS.values() for kind in kinds)


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_vector_files_are_the_same_bytes_each_time(results, suffix, start, tmp_path):
    files = [tmp_path / f"{k}.{suffix}" for k in (0, 1)]
    for file in files:
        assert main(["plot", str(results["escape"]), "--kind", "ratio", "--out", str(file)]) == 0
    assert files[0].read_bytes().startswith(start)
    assert files[0].read_bytes() == files[1].read_bytes()


REFUSED = [
    (["escape", "--kind", "hill"], "kind 'hill' is not in this result of levyjax escape. It has scaling, survival"),
    (["escape"], "--kind is missing. This result of levyjax escape has scaling"),
    (["escape", "--kind", "ratio", "--out", "a.gif"], "ends in .png, .svg or .pdf"),
    (["escape", "--kind", "ratio", "--out", "none/a.png"], "its folder does not exist"),
    (["escape", "--kind", "survival", "--cell", "9"], "--cell 9 cannot be drawn so"),
    (["escape", "--kind", "phase", "--x", "beta"], "axis 'beta' is not among those that vary: alpha, noise_level"),
    (["escape", "--kind", "phase", "--x", "alpha", "--y", "alpha"], "over two axes, and both are alpha"),
    (["escape", "--kind", "phase", "--where", "alpha"], "give AXIS=VALUE"),
    (["sweep", "--kind", "phase", "--where", "dynamics=lion"], "there are dynamics = sgd, adam"),
    (["nowhere", "--kind", "ratio"], "is no file or folder"),
    (["empty", "--kind", "ratio"], "holds no result"),
    (["damaged", "--kind", "ratio"], "record.json is damaged"),
    (["cut", "--kind", "ratio"], "record.json is damaged: a part of the record is missing"),
    (["lost", "--kind", "survival"], "samples_0000.npz is damaged"),
    (["other.json", "--kind", "ratio"], "is no result that has figures"),
    (["claims", "--list"], "in report.html"),
    (["samples.npz", "--list"], "Give its folder"),
    ([], "give a RESULT"),
]


@pytest.fixture(scope="module")
def places(results, tmp_path_factory):
    """Folders that are no good results."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("empty", "damaged", "cut", "claims"):
        (folder / name).mkdir()
    (folder / "damaged" / "record.json").write_text('{"cells": [')
    (folder / "claims" / "results.json").write_text('{"claims": [], "environment": {}}')
    (folder / "cut" / "record.json").write_text('{"cells": [{"alpha": 1.5}]}')
    shutil.copytree(results["escape"], folder / "lost")
    (folder / "lost" / "samples_0000.npz").write_bytes(b"PK")
    (folder / "other.json").write_text('{"this": 1}')
    (folder / "samples.npz").write_bytes(b"PK")
    return {place.name: str(place) for place in folder.iterdir()} | {k: str(path) for k, path in results.items()}


@pytest.mark.parametrize(("argv", "expected"), REFUSED, ids=[expected[:40] for _, expected in REFUSED])
def test_refused_in_one_sentence(argv, expected, places, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *(places.get(word, word) for word in argv)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert expected in error
    assert not list(tmp_path.iterdir())


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{tmp_path.name} holds no result"):
        open_result(".")


def test_help_needs_no_jax():
    code = "import sys, levyjax.cli as c; c.main(['plot', '--help']); sys.exit('jax' in sys.modules)"
    began = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
    assert time.perf_counter() - began < 5  # half a second on a free machine


def exit_result(rows, axes=("alpha", "noise_level")):
    full = {"predicted_rate": 0.1, "mean_exit_time": None, "exited": 1, "censored": 0, "nonfinite": 0, "ratio": 1.0}
    return exit_figures.ExitResult([{**full, **row} if "rate" in row else row for row in rows], axes, None, ())


def test_scaling_has_means_bounds_and_theory():
    result = exit_result(
        [
            {"alpha": 1.5, "noise_level": 0.2, "rate": 0.5, "rate_ci95": [0.4, 0.8]},
            {"alpha": 1.5, "noise_level": 0.1, "rate": None, "rate_ci95": [0.0, 0.01], "exited": 0},
            {"alpha": 1.8, "noise_level": 0.1, "rate": 1.0, "rate_ci95": [0.5, 2.0]},
            {"alpha": 1.8, "noise_level": 0.2},
        ]
    )
    (line,) = exit_figures.scaling_series(result)  # the other index has one noise level only
    assert line.label == "α = 1.5"
    assert line.means == [2.0, None]
    assert line.intervals == [(1.25, 2.5), (100.0, None)]
    assert line.predicted == [10.0, 10.0]
    axes = exit_figures.scaling(result)
    assert "no exit: lower bound" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_ratios_are_of_times_and_of_rates_where_there_are_no_times():
    times = {
        "alpha": 1.2,
        "noise_level": 0.1,
        "rate": 0.2,
        "rate_ci95": [0.1, 0.4],
        "mean_exit_time": 5.0,
        "ratio": 0.5,
    }
    rates = {"alpha": 1.8, "noise_level": 0.1, "rate": 0.2, "rate_ci95": [0.1, 0.4], "ratio": 2.0}
    labels, ratios, intervals = exit_figures.ratio_rows(exit_result([times, rates]), [0, 1])
    assert (labels, ratios) == (["α = 1.2", "α = 1.8"], [0.5, 0.5])  # side by side all are of times
    assert intervals[0] == pytest.approx((0.25, 1.0))
    assert intervals[1] == pytest.approx((0.25, 1.0))
    _, ratios, intervals = exit_figures.ratio_rows(exit_result([rates]), [0])
    assert ratios == [2.0]
    assert intervals[0] == pytest.approx((1.0, 4.0))


MIXED = """
[landscape]
kind = "quadratic"
hessian = [1.0, 0.5]
[basin]
kind = "ball"
radius = 1.0
[dynamics]
kind = "sgd"
[noise]
kind = "independent"
alpha = 1.5
[run]
noise_level = [0.5, 0.25]
num_trajectories = 1000
relative_error = 0.1
[sweep.axes]
"run.method" = ["quasi_stationary", "jump_adapted"]
"""


def test_rates_beside_times_are_no_samples(tmp_path, capsys):
    (tmp_path / "sweep.toml").write_text(MIXED)
    folder = tmp_path / "out"
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(folder)]) == 0
    figures = open_result(folder)
    for kind in sorted(figures.kinds):
        figures.draw(kind)
    for kind in ("survival", "exponential-qq", "paths"):
        with pytest.raises(ValueError, match="the cells that can are 2, 3"):
            figures.draw(kind, Choice(cells=(0,)))
    assert figures.draw("ratio").get_xlabel() == "mean exit time / predicted"
    capsys.readouterr()
    for name in ("cells.json", "sweep.json"):  # the files of a sweep stand for their folder
        assert open_result(folder / name).source == "levyjax sweep"


def test_axes_that_follow_from_others_are_not_held():
    noises = [("stable", 1.2), ("stable", 1.5), ("gaussian", None)]
    rows = [
        {"noise": noise, "alpha": alpha, "noise_level": level, "rate": None, "dt": dt}
        for (noise, alpha), level, dt in itertools.product(noises, (0.1, 0.2), (0.5, 1.0))
    ]
    result = exit_result(rows, ("noise", "alpha", "noise_level", "dt"))
    held, label = exit_figures._held(result, ["noise_level", "dt"], Choice(where={"noise": "gaussian"}))
    assert (len(held), label) == (4, "gaussian")  # and no alpha, which is None there
    held, label = exit_figures._held(result, ["alpha", "dt"], Choice())
    assert (len(held), label) == (6, "ε = 0.1")  # alpha says the noise
    with pytest.raises(ValueError, match=r"No cell has all of noise=gaussian, alpha=1\.5"):
        exit_figures._held(result, ["noise_level", "dt"], Choice(where={"noise": "gaussian", "alpha": "1.5"}))


def test_a_second_run_leaves_nothing_of_the_first(tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "run.toml").write_text(RUN)
    assert main(["escape", str(tmp_path / "run.toml"), "--out", str(out)]) == 0
    assert len(list(out.glob("samples_*.npz"))) == 4
    rates = MIXED.partition("[sweep")[0].replace("[0.5, 0.25]", '0.5\nmethod = "quasi_stationary"')
    (tmp_path / "run.toml").write_text(rates)
    assert main(["escape", str(tmp_path / "run.toml"), "--out", str(out)]) == 0
    assert not [*out.glob("samples_*.npz"), *out.glob("*.png")]
    assert "survival" not in open_result(out).kinds


def test_a_run_killed_while_it_writes_leaves_no_record_of_another(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    (tmp_path / "run.toml").write_text(RUN)
    assert main(["escape", str(tmp_path / "run.toml"), "--out", str(out)]) == 0
    (tmp_path / "run.toml").write_text(RUN.replace("alpha = [1.2, 1.8]", "alpha = [1.4, 1.6]"))
    with monkeypatch.context() as patch:
        patch.setattr("levyjax.sweep.ChunkStore.finish", lambda *given: 1 / 0)
        assert main(["escape", str(tmp_path / "run.toml"), "--out", str(out)]) == 1
    assert not (out / "record.json").exists()
    assert [row["alpha"] for row in collect(out)["cells"]] == [1.4, 1.4, 1.6, 1.6]
    assert main(["plot", str(out), "--list"]) == 0  # of the samples that there are


def test_lines_of_layers_have_gaps_where_nothing_was_looked_at():
    rows = [
        *TRAINED["monitors"]["tails"],
        {"iteration": 1, "layer": "b", "alpha": {}, "gaussian": {"as_published": 1.9}},
    ]
    iterations, alpha, gaussian = training_figures.alpha_by_layer(rows)
    assert iterations == [0, 1]
    assert alpha["w"] == [1.0, 2.0]
    assert np.isnan(alpha["b"]).all()
    assert (np.isnan(gaussian["b"][0]), gaussian["b"][1]) == (True, 1.9)


def test_cells_that_were_not_run_are_hatched(results, tmp_path):
    shutil.copytree(results["sweep"], tmp_path / "sweep")
    (tmp_path / "sweep" / "cells.json").unlink()
    (tmp_path / "sweep" / "samples_0003.npz").unlink()
    axes = open_result(tmp_path / "sweep").draw("phase", Choice(where={"dynamics": "sgd"}))
    assert len(axes.texts) == 3
    assert [patch.get_hatch() for patch in axes.patches] == ["////"]
    assert axes.get_title(loc="right") == "sgd"


def test_the_view_of_a_basin_holds_it_and_is_no_strip():
    problem = _problem()
    low, high = exit_figures.basin_view(problem)
    assert (low < -1).all()
    assert (high > 1).all()
    assert high - low == pytest.approx([3.6, 3.6], rel=1e-6)


def test_maps_are_those_of_the_optimizers():
    """With A = diag(1, 0.5) and frozen gradient noise v is diag(A A') at the minimum, so that Q = A."""
    maps = exit_figures.optimizer_maps(_problem(scale=[1.0, 0.5]))
    assert maps["SGD"].tolist() == [1.0, 1.0]
    assert maps["Adam"] == pytest.approx([1.0, 2.0], rel=1e-6)


def test_paths_of_chosen_trajectories_end_as_their_samples():
    problem, plan = _problem(), Plan(Euler(0.1), num_trajectories=40)
    samples = simulate(problem, plan, 3)
    soon = np.flatnonzero(samples.exit_step <= 100)[-3:]
    paths = simulate_paths(problem, plan, 100, 3, trajectories=soon.tolist())
    assert paths.exit_step.tolist() == samples.exit_step[soon].tolist()
    ends = [track[:, -1] for track in paths.tracks()]
    np.testing.assert_allclose(ends, samples.exit_position[soon], rtol=1e-4, atol=1e-5)


def _problem(scale=(1.0, 1.0)):
    from levyjax import EscapeProblem
    from levyjax.basins import Box
    from levyjax.dynamics import SGD
    from levyjax.landscapes import Quadratic
    from levyjax.noise import Independent

    return EscapeProblem(Quadratic([1.0, 0.5]), Box([-1.0] * 2, [1.0] * 2), Independent(1.5, list(scale)), SGD(), 0.5)
