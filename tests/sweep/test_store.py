"""One store: a folder of any command and version, through one reader; runs that are killed, interrupted or replaced."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from run_files import RUN

from levyjax.cli import main
from levyjax.config import load
from levyjax.config.build import build_plan, build_problem
from levyjax.escape import simulate
from levyjax.plots.results import open_result
from levyjax.sweep import ChunkStore, collect, export, status
from levyjax.sweep import run as sweep_run
from levyjax.sweep.collect import cell_samples
from levyjax.sweep.store import DamagedChunk

DATA = Path(__file__).parents[1] / "data"
FOLDERS = ["escape_v0", "escape_v1", "sweep_v1", "now"]
SAMPLES = ("exit_step", "exit_time", "exit_code", "exit_position", "exit_face")


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    """What `levyjax escape --out` writes today, beside the file of the run."""
    folder = tmp_path_factory.mktemp("now")
    (folder / "run.toml").write_text(RUN)
    assert main(["escape", str(folder / "run.toml"), "--out", str(folder / "out"), "--json"]) == 0
    return folder / "out"


@pytest.fixture(params=FOLDERS)
def stored(request, now, tmp_path):
    return shutil.copytree(now if request.param == "now" else DATA / request.param, tmp_path / request.param)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestEveryFolder:
    def test_has_a_state_samples_and_rows(self, stored):
        found = status(stored)
        assert (found["complete"], found["damaged"], found["missing"]) == (True, 0, 0)
        assert len(found["environments"]) == 1
        store, before = ChunkStore.open(stored), files(stored)
        assert store.command == stored.name.split("_")[0].replace("now", "escape")
        record = store.record
        assert record is not None
        for index, (row, written) in enumerate(zip(collect(stored)["cells"], record["cells"], strict=True)):
            samples = cell_samples(store, index)
            assert samples.exit_time.mean() == pytest.approx(written["mean_exit_time"], rel=1e-12)
            assert len(samples.exit_code) == written["num_trajectories"]
            assert {name: row[name] for name in written} == {name: pytest.approx(written[name]) for name in written}
        assert store.command == "sweep" or files(stored) == before

    def test_has_figures(self, stored):
        figures = open_result(stored)
        assert figures.source == f"levyjax {ChunkStore.open(stored).command}"
        assert "survival" in figures.kinds
        figures.draw("survival")

    def test_has_trajectories_to_replay(self, stored, capsys):
        """The stored numbers may be those of another JAX, up to what it rounds otherwise."""
        assert main(["replay", str(stored), "--trajectory", "7", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["stored"]["exit_code"] == found["exit_code"]
        assert found["stored"]["exit_position"] == pytest.approx(found["exit_position"], rel=1e-3)

    def test_becomes_a_dataset(self, stored):
        xarray = pytest.importorskip("xarray")
        with xarray.open_dataset(export(stored, stored / "all.nc"), engine="h5netcdf") as data:
            samples = cell_samples(ChunkStore.open(stored), 0)
            np.testing.assert_array_equal(data["exit_time"][0], samples.exit_time)
            np.testing.assert_array_equal(data["exit_position"][0], samples.exit_position)

    def test_says_what_is_damaged_and_what_is_missing(self, stored):
        path = ChunkStore.open(stored).path(0, 0)
        path.write_bytes(path.read_bytes()[:-300])
        assert status(stored)["damaged"] == 1
        with pytest.raises(DamagedChunk, match=f"{path.name} is damaged"):
            cell_samples(ChunkStore.open(stored), 0)
        path.unlink()
        assert status(stored)["missing"] == 1
        with pytest.raises(ValueError, match="Chunk 0 of cell 0 is not there"):
            cell_samples(ChunkStore.open(stored), 0)


def test_a_run_has_what_its_simulation_has(now):
    config, store = load(now.parent / "run.toml"), ChunkStore.open(now)
    for index, place in enumerate(store.config.cells):
        samples = simulate(build_problem(config, place.cell), build_plan(config), config.run.seed)
        with np.load(now / f"samples_{index:04d}.npz", allow_pickle=False) as archive:
            for name in SAMPLES:
                np.testing.assert_array_equal(archive[name], getattr(samples, name))


def test_a_sweep_of_one_worker_has_the_same_samples(now, tmp_path, capsys):
    (tmp_path / "sweep.toml").write_text(RUN + "[sweep]\nchunk_size = 40\n")
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["cells"]
    for index, (row, other) in enumerate(
        zip(rows, json.loads((now / "record.json").read_text())["cells"], strict=True)
    ):
        with (
            np.load(tmp_path / f"out/samples_{index:04d}.npz") as one,
            np.load(now / f"samples_{index:04d}.npz") as two,
        ):
            assert one.files == two.files
            assert all(one[name].tobytes() == two[name].tobytes() for name in one.files if name != "identity")
        for name in set(other) - {"seconds", "steps_per_second"}:
            assert row[name] == other[name]


def again(folder):
    return main(["escape", str(folder.parent / "run.toml"), "--out", str(folder), "--json"])


class TestTheSameRunAgain:
    def test_is_done_anew_once_it_was_finished(self, now, tmp_path):
        folder = shutil.copytree(now.parent, tmp_path / "copy") / "out"
        before = (folder / "samples_0000.npz").stat().st_mtime_ns
        assert again(folder) == 0
        assert (folder / "samples_0000.npz").stat().st_mtime_ns > before
        assert files(folder)["samples_0000.npz"] == files(now)["samples_0000.npz"]

    def test_goes_on_where_it_was_killed(self, now, tmp_path, capsys):
        folder = shutil.copytree(now.parent, tmp_path / "copy") / "out"
        for name in ("record.json", "results.nc", "samples_0002.npz"):  # killed in the third cell
            (folder / name).unlink(missing_ok=True)
        (folder / "samples_0001.npz").write_bytes(b"damaged")
        before = {path.name: path.stat().st_mtime_ns for path in folder.glob("samples_*.npz")}
        capsys.readouterr()
        assert again(folder) == 0
        after = {path.name: path.stat().st_mtime_ns for path in folder.glob("samples_*.npz")}
        assert {name for name in before if before[name] == after[name]} == {"samples_0000.npz", "samples_0003.npz"}
        assert {name: files(folder)[name] for name in after} == {name: files(now)[name] for name in after}
        old, new = (json.loads((place / "record.json").read_text())["cells"] for place in (now, folder))
        assert json.loads(capsys.readouterr().out)["cells"] == new
        for one, two in zip(old, new, strict=True):
            assert all(one[name] == two[name] for name in set(one) - {"seconds", "steps_per_second"})
        assert old[0]["seconds"] == new[0]["seconds"]

    def test_is_done_anew_where_the_record_is_damaged(self, now, tmp_path):
        folder = shutil.copytree(now.parent, tmp_path / "copy") / "out"
        (folder / "record.json").write_text("{")
        before = (folder / "samples_0000.npz").stat().st_mtime_ns
        assert status(folder)["complete"]
        assert again(folder) == 0
        assert (folder / "samples_0000.npz").stat().st_mtime_ns > before

    def test_is_done_anew_with_other_versions(self, now, tmp_path):
        folder = shutil.copytree(now.parent, tmp_path / "copy") / "out"
        (folder / "record.json").unlink()
        (journal,) = (folder / "journal").iterdir()
        journal.write_text(journal.read_text().replace('"python": "3', '"python": "2'))
        before = (folder / "samples_0000.npz").stat().st_mtime_ns
        assert again(folder) == 0
        assert (folder / "samples_0000.npz").stat().st_mtime_ns > before
        assert len(status(folder)["environments"]) == 1


def test_an_interrupted_cell_is_kept_and_then_made_whole(now, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "out"
    (tmp_path / "run.toml").write_text(RUN)
    calls = []

    def interrupted(problem, plan, key, **options):
        calls.append(plan)
        samples = simulate(problem, plan, key, **options)
        if len(calls) < 2:
            return samples
        kept = {name: getattr(samples, name)[:25] for name in ("exit_step", "exit_code", "exit_position", "exit_face")}
        return sweep_run.dataclasses.replace(samples, **kept, partial=True)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_run, "simulate", interrupted)
        assert again(folder) == 130
    result = json.loads(capsys.readouterr().out)
    assert (result["interrupted"], [row["num_trajectories"] for row in result["cells"]]) == (True, [40, 25])
    found = status(folder)
    assert (found["done"], found["missing"], found["damaged"]) == (1, 3, 0)
    assert len(ChunkStore.open(folder).ends(1, partial=True).exit_code) == 25
    open_result(folder).draw("survival")
    with pytest.raises(ValueError, match="Chunk 0 of cell 1 is not there"):
        collect(folder)
    first = (folder / "samples_0000.npz").stat().st_mtime_ns
    assert again(folder) == 0
    assert (folder / "samples_0000.npz").stat().st_mtime_ns == first
    assert {f"samples_{k:04d}.npz": files(folder)[f"samples_{k:04d}.npz"] for k in range(4)} == {
        f"samples_{k:04d}.npz": files(now)[f"samples_{k:04d}.npz"] for k in range(4)
    }
    assert "interrupted" not in json.loads((folder / "record.json").read_text())


def test_a_folder_with_a_sweep_is_refused_and_one_with_other_files_is_not(tmp_path, capsys):
    sweep = shutil.copytree(DATA / "sweep_v1", tmp_path / "sweep")
    (tmp_path / "run.toml").write_text(RUN)
    before = files(sweep)
    assert main(["escape", str(tmp_path / "run.toml"), "--out", str(sweep)]) == 2
    assert "holds a sweep. Give another folder." in " ".join(capsys.readouterr().err.split())
    assert files(sweep) == before
    mine = {name: tmp_path / "mine" / name for name in ("notes.txt", "chunks/a", "journal/b")}
    for path in mine.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for _ in range(2):
        assert main(["escape", str(tmp_path / "run.toml"), "--out", str(tmp_path / "mine")]) == 0
    assert mine["notes.txt"].read_text() == "mine"
    assert main(["sweep", str(tmp_path / "run.toml"), "--out", str(tmp_path / "mine")]) == 2
    assert "holds another sweep" in " ".join(capsys.readouterr().err.split())


def test_a_sweep_with_damaged_rows_is_collected_again(tmp_path):
    folder = shutil.copytree(DATA / "sweep_v1", tmp_path / "sweep")
    (folder / "cells.json").write_text("{")
    assert status(folder)["complete"]
    collect(folder)
    assert open_result(folder).source == "levyjax sweep"


def test_a_folder_of_the_version_before_is_replaced(tmp_path):
    folder = shutil.copytree(DATA / "escape_v1", tmp_path / "out")
    (tmp_path / "run.toml").write_text(RUN)
    assert again(folder) == 0
    assert len(collect(folder)["cells"]) == 4


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_finished(tmp_path):
    (tmp_path / "run.toml").write_text(RUN.replace("num_trajectories = 40", "num_trajectories = 20000"))
    folder, program = tmp_path / "out", "import sys; from levyjax.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "escape", str(tmp_path / "run.toml"), "--out", str(folder)]
    seen = 0
    for seconds in (4.0, 6.0, 8.0, 10.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        done = status(folder)["done"] if (folder / "sweep.json").exists() else 0
        assert done >= seen or (folder / "record.json").exists()
        seen = done
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    assert status(folder)["complete"]
