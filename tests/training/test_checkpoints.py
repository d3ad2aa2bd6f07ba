"""A training run that is killed and goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from levyjax.training import TrainConfig, train


class Stopped(Exception):
    pass


def stop_after(count):
    made = 0

    def on_updates(number):
        nonlocal made
        made += number
        if made >= count:
            raise Stopped

    return on_updates


def same(first, second):
    np.testing.assert_array_equal(first.parameters, second.parameters)
    for name in ("iterations", "train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert [noise.iteration for noise in first.noise] == [noise.iteration for noise in second.noise]
    for one, other in zip(first.noise, second.noise, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_array_equal(one.full_gradient, other.full_gradient)
        assert one.slices == other.slices
    for one, other in zip(first.applied, second.applied, strict=True):
        for part in ("raw", "applied"):
            np.testing.assert_array_equal(getattr(one, part).samples, getattr(other, part).samples)
            np.testing.assert_array_equal(getattr(one, part).full_gradient, getattr(other, part).full_gradient)
    for one, other in zip(first.statistics, second.statistics, strict=True):
        assert list(one.layers) == list(other.layers)
        for logs, others in zip(one.layers.values(), other.layers.values(), strict=True):
            for name, value in vars(logs).items():
                np.testing.assert_array_equal(value, getattr(others, name))
        for name, value in vars(one).items():
            if name != "layers":
                np.testing.assert_array_equal(value, getattr(other, name))
    assert list(first.kept) == list(second.kept)
    for iteration, parameters in first.kept.items():
        np.testing.assert_array_equal(parameters, second.kept[iteration])


@pytest.mark.parametrize("optimizer", ["adam", pytest.param("sgd", marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, optimizer):
    config = TrainConfig(
        data="synthetic", optimizer=optimizer, learning_rate=0.01, momentum=0.9 * (optimizer == "sgd"),
        iterations=300, record_every=60, capture_at=(30, 300), num_batches=20, keep_at=(300, 45),
    )  # fmt: skip
    whole = train(config)
    for count in (1, 250):
        with pytest.raises(Stopped):
            train(config, checkpoint_dir=tmp_path, on_updates=stop_after(count))
    same(train(config, checkpoint_dir=tmp_path), whole)
    assert list(whole.kept) == [45, 300]
    same(train(config, checkpoint_dir=tmp_path), whole)  # which has nothing left to do
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 60, 120, 180, 240, 300]
    assert lines[-1]["test_loss"] == whole.test_loss[-1]


def test_a_folder_of_another_run_is_refused(tmp_path):
    small = TrainConfig(data="synthetic", iterations=5, widths=())
    train(small, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="holds a run of another configuration"):
        train(TrainConfig(data="synthetic", iterations=6, widths=()), checkpoint_dir=tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run with five lines of metrics, and its configuration."""
    folder = tmp_path_factory.mktemp("run")
    config = TrainConfig(data="synthetic", iterations=40, record_every=10, widths=(), num_batches=20)
    train(config, checkpoint_dir=folder)
    return folder, config


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda lines: None, "metrics.jsonl has 0 of the 5 lines"),
        (lambda lines: [], "metrics.jsonl has 0 of the 5 lines"),
        (lambda lines: lines[:2], "metrics.jsonl has 2 of the 5 lines"),
        (lambda lines: lines[1:], "metrics.jsonl has 4 of the 5 lines"),
        (lambda lines: [*lines[:2], *lines[3:]], "metrics.jsonl has 4 of the 5 lines"),
        (lambda lines: [*lines[:4], lines[4][:20]], "metrics.jsonl is missing or damaged"),
        (lambda lines: [*lines[:4], "{}"], "metrics.jsonl is missing or damaged"),
    ],
)
def test_metrics_that_were_lost_or_cut_are_refused_and_nothing_is_lost(finished, tmp_path, damage, words):
    folder, config = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    metrics = tmp_path / "metrics.jsonl"
    lines = damage(metrics.read_text().splitlines())
    metrics.unlink() if lines is None else metrics.write_text("".join(line + "\n" for line in lines))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=words):
        train(config, checkpoint_dir=tmp_path)
    assert contents(tmp_path) == before
    shutil.copy(folder / "metrics.jsonl", metrics)  # the whole file again
    assert train(config, checkpoint_dir=tmp_path).iterations.tolist() == [0, 10, 20, 30, 40]


def test_states_that_were_lost_are_refused_and_nothing_is_lost(finished, tmp_path):
    folder, config = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "states")
    metrics = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match="goes to iteration 40, and there are no states"):
        train(config, checkpoint_dir=tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == metrics


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path):
    arguments = ["train", "--data", "synthetic", "--iterations", "40000", "--record-every", "500", "--json"]
    command = [sys.executable, "-c", "import sys; from levyjax.cli import main; sys.exit(main())", *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen([*command, "--checkpoint", str(tmp_path)], env=environment, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") > 5):
        time.sleep(0.02)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    again, whole = (
        json.loads(subprocess.run([*command, *more], env=environment, capture_output=True, check=True).stdout)
        for more in (["--checkpoint", str(tmp_path)], [])
    )
    assert again["metrics"] == whole["metrics"]
    assert again["noise"] == whole["noise"]


def test_statistics_and_applied_noise_are_kept_too(tmp_path):
    config = TrainConfig(
        data="synthetic", momentum=0.9, learning_rate=0.01, iterations=40, record_every=40, widths=(),
        capture_at=(10, 40), capture="statistics", applied=True, num_batches=20,
    )  # fmt: skip
    whole = train(config)
    with pytest.raises(Stopped):
        train(config, checkpoint_dir=tmp_path, on_updates=stop_after(30))
    same(train(config, checkpoint_dir=tmp_path), whole)
    assert [noise.raw.iteration for noise in whole.applied] == [10, 40]
    assert [statistics.iteration for statistics in whole.statistics] == [10, 40]
