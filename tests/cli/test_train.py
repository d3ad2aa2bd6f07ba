"""A training run from a TOML file, and its noise in a run of exits."""

import json
import re
import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from levyjax import tails
from levyjax.cli import main
from levyjax.config import ConfigError, load
from levyjax.config.build import build_problem
from levyjax.config.sweeps import cells
from levyjax.config.training import load_training, parse_training
from levyjax.training import GradientNoise, TrainConfig, draw_batches, fisher_diagonal, gradient_noise
from levyjax.training.quadratic import quadratic_model

NETWORKS = Path(__file__).parents[2] / "benchmarks" / "networks"
TRAIN = """
[training]
data = "synthetic"
widths = [8]
iterations = 60
capture_every = 30
num_batches = 60
keep_at = [0, 60]
"""


@pytest.fixture
def train_file(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(TRAIN)
    return path


class TestParse:
    def test_the_file_is_the_dataclass(self, train_file):
        run = load_training(train_file)
        assert run.training == TrainConfig(
            data="synthetic", widths=(8,), iterations=60, capture_at=(0, 30, 60), num_batches=60, keep_at=(0, 60),
            record_every=6,
        )  # fmt: skip

    def test_defaults(self):
        run = parse_training({"training": {"optimizer": "adam"}}).training
        assert (run.learning_rate, run.record_every, run.capture_at) == (0.001, 100, (1000,))
        assert parse_training({"training": {"capture_at": []}}).training.capture_at == ()

    def test_changes_take_precedence(self, train_file):
        assert load_training(train_file, {"iterations": 90}).training.capture_at == (0, 30, 60, 90)

    def test_a_relative_folder_is_beside_the_file(self, tmp_path):
        path = tmp_path / "train.toml"
        path.write_text('[training]\ndata = "mnist"\ndata_dir = "images"\n')
        assert load_training(path).training.data_dir == str(tmp_path / "images")

    @pytest.mark.parametrize(
        ("tables", "message"),
        [
            ({}, r"\[training\] is missing"),
            ({"trainig": {}}, 'did you mean "training"'),
            ({"training": 3}, "is not a table"),
            ({"training": {"width": [3]}}, 'did you mean "widths"'),
            ({"training": {"iterations": 10.5}}, r"\[training\] iterations = 10.5 is refused"),
            ({"training": {"iterations": True}}, "whole number"),
            ({"training": {"widths": 3}}, r"\[training\] widths = 3 is refused: give a list"),
            ({"training": {"widths": [3, "a"]}}, r"\[training\] widths\[1\]"),
            ({"training": {"learning_rate": "fast"}}, "without quotes"),
            ({"training": {"learning_rate": float("nan")}}, "learning_rate = nan is refused: give a finite number"),
            ({"training": {"bias": 1}}, "true or false"),
            ({"training": {"data": ""}}, "a text in quotes"),
            ({"training": {"optimizer": "lion"}}, r"\[training\] optimizer 'lion' is unknown"),
            ({"training": {"capture_every": 0}}, r"\[training\] capture_every = 0"),
            ({"training": {"capture_every": 5, "capture_at": [5]}}, "Leave one of them out"),
            ({"training": {}, "monitors": {"tail": True}}, 'did you mean "tails"'),
            ({"training": {}, "monitors": {"curvature": -1}}, r"\[monitors\] curvature = -1"),
            ({"training": {}, "monitors": {"path": True}}, "two iterations"),
            ({"training": {"capture_at": []}, "monitors": {"tails": True}}, "needs samples of noise"),
            ({"training": {"capture": "statistics"}, "monitors": {"tails": True}}, 'capture = "samples"'),
            ({"training": {"num_batches": 49}, "monitors": {"tails": True}}, "num_batches of 50 or more"),
        ],
    )
    def test_refuses(self, tables, message):
        with pytest.raises(ConfigError, match=message):
            parse_training(tables)


def test_files_of_a_run_lead_to_exits(train_file, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", str(train_file), "--seed", "3", "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((out / "record.json").read_text())
    assert record["config"]["seed"] == 3
    captured = {"noise_0000.npy", "noise_0030.npy", "noise_0060.npy"}
    assert {path.name for path in out.iterdir()} == captured | {"record.json", "training.png", "escape.toml"}

    config = load(out / "escape.toml")
    drawn = build_problem(config, cells(config)[0]).noise.samples
    samples = tails.load(out / "noise_0060.npy")[:, list(config.noise.coordinates)]
    np.testing.assert_allclose(drawn, samples - samples.mean(axis=0), rtol=1e-12, atol=1e-12)

    assert main(["escape", str(out / "escape.toml"), "--json"]) == 0
    cell = json.loads(capsys.readouterr().out)["cells"][0]
    assert cell["exited"] == 1024
    assert cell["mean_exit_steps"] > 50


def test_statistics_and_applied_noise(train_file, tmp_path, capsys):
    out = tmp_path / "run"
    more = ["--capture", "statistics", "--applied", "--momentum", "0.5", "--capture-at", "60", "--out", str(out)]
    assert main(["train", str(train_file), *more, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["noise"] == []
    assert record["applied"][0]["file"] == "applied_0060.npy"
    assert tails.load(out / "applied_0060.npy").shape == (60, record["num_parameters"])
    (found,) = record["statistics"]
    assert set(found["layers"]) == {"all", *record["layers"]}
    with np.load(out / found["file"]) as arrays:
        assert arrays["second_moment"].shape == (record["num_parameters"],)
        assert arrays["norms"].mean() == pytest.approx(found["mean_norm"])


def test_monitors(tmp_path, capsys):
    path = tmp_path / "train.toml"
    path.write_text(
        """[training]
        data = "synthetic"
        widths = []
        iterations = 40
        capture_at = [0, 40]
        num_batches = 50
        keep_at = [0, 20, 40]
        [monitors]
        tails = true
        path = true
        curvature = 2
        """
    )
    assert main(["train", str(path), "--out", str(tmp_path / "run")]) == 0
    assert {"tails by layer:", "Hessian at the end:"} <= set(capsys.readouterr().out.splitlines())
    assert {"alpha.png", "path.png"} <= {file.name for file in (tmp_path / "run").iterdir()}
    found = json.loads((tmp_path / "run" / "record.json").read_text())["monitors"]
    assert [(tail["iteration"], tail["layer"]) for tail in found["tails"]] == [
        (at, layer) for at in (0, 40) for layer in ("all", "layers.0")
    ]
    assert (found["path"]["from"], found["path"]["to"], found["path"]["line"]["barrier"]) == (0, 40, 0.0)  # convex
    assert 0 < found["curvature"]["eigenvalues"][1] <= found["curvature"]["eigenvalues"][0]
    assert sum(found["curvature"]["noise"]["shares_of_eigenvectors"]) < 1


def test_what_a_monitor_refuses_loses_nothing(tmp_path, capsys):
    """Mini-batches of all examples have noise of rounding only, which has no tails."""
    path = tmp_path / "train.toml"
    path.write_text(
        """[training]
        data = "synthetic"
        widths = []
        iterations = 2
        batch_size = 2000
        num_batches = 50
        [monitors]
        tails = true
        """
    )
    assert main(["train", str(path), "--out", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr()
    assert "[monitors] tails:" in shown.err
    assert "train_loss" in shown.out
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert len(record["metrics"]) == 3
    assert set(record["monitors"]["tails"]) == {"error"}
    assert (tmp_path / "run" / "training.png").is_file()
    assert record["noise"][0]["alpha_if_stable"] is None
    assert tails.load(tmp_path / "run" / "noise_0002.npy").shape == (50, record["num_parameters"])


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.toml")), ids=lambda path: path.stem)
def test_ready_configurations(path):
    run = load_training(path).training
    assert run.batch_size == 100
    assert run.data in path.stem


def test_errors_name_the_file(train_file, capsys):
    train_file.write_text("[training]\nwidths = 3")
    assert main(["train", str(train_file)]) == 2
    assert "train.toml: [training] widths" in capsys.readouterr().err
    assert main(["train", "none.toml"]) == 2
    assert "none.toml: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("batch_size", [1, 10, 50, 90])
def test_fishers_diagonal_is_the_variance_of_examples_whatever_the_batch(batch_size):
    """Half of the examples a mini-batch, without repetition, halve its noise's variance once more; 4 sd of 6,000."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(100, 3)) * [1.0, 3.0, 0.1], jnp.float32)
    ways = draw_batches(100, batch_size, 6_000), rng.integers(0, 100, (6_000, batch_size))
    for batches in ways[: 1 if batch_size == 1 else 2]:
        noise = gradient_noise(lambda w, x, _: x @ w, jnp.zeros(3), x, jnp.zeros(100), batches)
        found = fisher_diagonal(noise, np.arange(3))
        np.testing.assert_allclose(found, np.asarray(x, np.float64).var(axis=0), rtol=0.08)


def test_mini_batches_of_all_examples_have_no_curvature():
    noise = GradientNoise(np.zeros((3, 2)), np.zeros(2), 0, 8, {}, num_examples=8)
    with pytest.raises(ValueError, match="all 8 examples have no noise"):
        fisher_diagonal(noise, np.arange(2))


def test_older_noise_in_the_folder_is_refused(tmp_path, capsys):
    run = [
        "train",
        "--data",
        "synthetic",
        "--widths",
        "--iterations",
        "4",
        "--num-batches",
        "50",
        "--out",
        str(tmp_path),
    ]
    assert main(run) == 0
    assert main(run) == 0  # the same files again
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for more in (["--capture-at", "2"], ["--capture", "statistics"]):
        assert main([*run, *more]) == 2
        assert "noise_0004.npy" in (said := capsys.readouterr().err)
        assert "of another run" in " ".join(said.split())
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main([*run, "--capture-at", "2", "4"]) == 0  # all that is there is written anew


def test_the_models_level_is_in_mean_energies():
    """Mean of F under the law of x <- x - eta (k x + u), by iterating it."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(4_000, 3)) * [0.5, 2.0, 1.0]
    model = quadratic_model(GradientNoise(samples, np.zeros(3), 0, 2, {}), 0.05, count=2, energies=1.0)
    assert model.coordinates.tolist() == [1, 2]
    x, energies = np.zeros((20_000, 2)), []
    for step in range(400):
        noise = samples[rng.integers(0, len(samples), len(x))][:, model.coordinates]
        x = x - 0.05 * (x * model.curvature + noise)
        if step >= 200:
            energies.append((x**2 @ model.curvature).mean() / 2)
    assert np.mean(energies) == pytest.approx(model.height, rel=0.02)


EMPIRICAL = {
    "landscape": {"kind": "quadratic", "hessian": [1.0, 0.5]},
    "basin": {"kind": "ball", "radius": 1.0},
    "dynamics": {"kind": "sgd", "learning_rate": 0.1},
    "noise": {"kind": "empirical", "file": "noise.npy"},
    "run": {"noise_level": 1.0, "method": "iteration"},
}


def write_run(folder, **noise):
    lines = []
    for name, table in (EMPIRICAL | {"noise": EMPIRICAL["noise"] | noise}).items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = folder / "run.toml"
    path.write_text("\n".join(lines))
    assert tomllib.loads(path.read_text())
    return path


class TestEmpiricalRun:
    @pytest.fixture
    def folder(self, tmp_path):
        np.save(tmp_path / "noise.npy", np.random.default_rng(0).normal(size=(50, 3)))
        return tmp_path

    def test_columns_in_the_order_given(self, folder):
        config = load(write_run(folder, coordinates=[2, 0], joint=False))
        noise = build_problem(config, cells(config)[0]).noise
        samples = np.load(folder / "noise.npy")[:, [2, 0]]
        np.testing.assert_allclose(noise.samples, samples - samples.mean(axis=0), rtol=1e-12)
        assert not noise.joint
        assert Path(config.noise.file) == folder / "noise.npy"

    @pytest.mark.parametrize(
        ("noise", "message"),
        [
            ({}, "has 3 columns, and the landscape 2 coordinates"),
            ({"coordinates": [0, 3]}, "go up to 3, and the file has columns 0 to 2"),
            ({"coordinates": [0]}, r"\[noise\] coordinates has 1"),
            ({"coordinates": [0, 0]}, "different whole numbers"),
            ({"coordinates": [0, 1], "file": "none.npy"}, "none.npy"),
            ({"coordinates": [0, 1], "alpha": 1.5}, r"\[noise\] alpha is unknown"),
        ],
    )
    def test_refuses(self, folder, noise, message, capsys):
        assert main(["escape", str(write_run(folder, **noise))]) == 2
        assert re.search(message, " ".join(capsys.readouterr().err.split()))
