"""Sweeps: the grid, the chunk store, the same bits for any workers and after any fault."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from levyjax.cli import main
from levyjax.config import ConfigError
from levyjax.config.build import build_plan, build_problem
from levyjax.config.grid import load_sweep, parse_sweep
from levyjax.engine import ExitCode
from levyjax.escape import simulate
from levyjax.landscapes import from_function
from levyjax.sweep import ChunkStore, collect, export, pending, replay, run_sweep, status, to_xarray
from levyjax.sweep import run as sweep_run
from levyjax.sweep.collect import cell_samples
from levyjax.sweep.run import run_distributed, run_with_processes
from levyjax.sweep.store import DamagedChunk

TOML = """
[landscape]
kind = "quadratic"
hessian = [1.0]
[basin]
kind = "box"
lower = [-1.0]
upper = [1.0]
[dynamics]
kind = "sgd"
[noise]
kind = "independent"
alpha = [1.2, 1.8]
[run]
noise_level = 0.5
dt = 0.1
num_trajectories = 250
[sweep]
chunk_size = 100
[sweep.axes]
"run.seed" = [0, 1]
"""
TABLES = {
    "landscape": {"kind": "quadratic", "hessian": [1.0]},
    "basin": {"kind": "box", "lower": [-1.0], "upper": [1.0]},
    "dynamics": {"kind": "sgd"},
    "noise": {"kind": "independent", "alpha": [1.2, 1.8]},
    "run": {"noise_level": 0.5, "dt": 0.1, "num_trajectories": 250},
    "sweep": {"chunk_size": 100, "axes": {"run.seed": [0, 1]}},
}
PROGRAM = [sys.executable, "-c", "import sys; from levyjax.cli import main; sys.exit(main())"]


def begin(folder: Path, tables=TABLES) -> ChunkStore:
    folder.mkdir()
    return ChunkStore.create(folder, parse_sweep(tables))


def contents(folder: Path) -> dict[str, bytes]:
    """Every chunk file of a sweep."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted((folder / "chunks").rglob("*.npz"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "finished"
    begin(folder)
    run_sweep(folder)
    return folder


# The grid


def test_a_file_and_its_tables_are_the_same_sweep(tmp_path):
    (tmp_path / "sweep.toml").write_text(TOML)
    config = load_sweep(tmp_path / "sweep.toml")
    assert config.cells == parse_sweep(TABLES).cells
    assert [tuple(place.coordinates.items()) for place in config.cells] == [
        (("run.seed", seed), ("alpha", alpha), ("noise_level", 0.5), ("learning_rate", None))
        for seed in (0, 1)
        for alpha in (1.2, 1.8)
    ]
    assert [config.num_chunks(index) for index in range(4)] == [3] * 4
    assert config.bounds(0, 2) == (200, 250)


def test_alternatives_cross_and_zipped_axes_go_together():
    basins = [{"kind": "box", "label": n, "lower": [-s], "upper": [s]} for n, s in (("narrow", 1.0), ("wide", 2.0))]
    sweep = {"axes": {"run.dt": [0.1, 0.2], "run": {"dtype": ["float32", "float64"]}}, "zip": [["basin", "run.dt"]]}
    config = parse_sweep({**TABLES, "basin": basins, "sweep": sweep})
    found = [(c["basin"], c["run.dt"], c["run.dtype"]) for c in (place.coordinates for place in config.cells[::2])]
    assert found == [
        ("narrow", 0.1, "float32"),
        ("narrow", 0.1, "float64"),
        ("wide", 0.2, "float32"),
        ("wide", 0.2, "float64"),
    ]
    assert [place.config.basin.upper for place in config.cells[::4]] == [(1.0,), (2.0,)]


BAD = [
    ({"sweep": 3}, "not a table"),
    ({"swep": {}}, 'did you mean "sweep"'),
    ({"sweep": {"chunksize": 3}}, 'did you mean "chunk_size"'),
    ({"sweep": {"chunk_size": 0}}, "chunk_size"),
    ({"sweep": {"axes": [1]}}, "not a table"),
    ({"sweep": {"axes": {"seed": [1]}}}, "table.key"),
    ({"sweep": {"axes": {"run.seed": []}}}, "one or more values"),
    ({"sweep": {"axes": {"run.sed": [1]}}}, 'did you mean "seed"'),
    ({"sweep": {"axes": {"run.seed": [1, -1]}}}, "where run.seed = -1"),
    ({"sweep": {"axes": {"run.seed": [1]}, "zip": [["run.dt"]]}}, "run.dt"),
    ({"sweep": {"axes": {"run.seed": [1], "run.dt": [0.1, 0.2]}, "zip": [["run.dt", "run.seed"]]}}, "equally long"),
    ({"sweep": {"axes": {"run.seed": list(range(400)), "run.max_time": [1.0 + i for i in range(400)]}}}, "more than"),
    ({"basin": []}, "alternatives"),
    ({"basin": [TABLES["basin"], TABLES["basin"]]}, "label"),
    ({"run": [TABLES["run"]]}, "[[run]]"),
    ({"basin": [{"lower": [1.0]}]}, "label"),
]


@pytest.mark.parametrize(("change", "expected"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_a_wrong_sweep_is_refused(change, expected):
    with pytest.raises(ConfigError, match=expected.replace("[", r"\[").replace(".", r"\.")):
        parse_sweep({**TABLES, **change})


# The store


def test_a_chunk_is_what_the_whole_run_has(finished):
    store = ChunkStore.open(finished)
    for index in (0, 3):
        place = store.config.cells[index]
        problem, plan = build_problem(place.config, place.cell), build_plan(place.config)
        whole, found = simulate(problem, plan, place.config.run.seed), cell_samples(store, index)
        for name in ("exit_step", "exit_code", "exit_position", "exit_face", "exit_time"):
            assert getattr(whole, name).tobytes() == getattr(found, name).astype(getattr(whole, name).dtype).tobytes()


def test_chunks_open_with_plain_numpy(finished):
    with np.load(finished / "chunks/000001/000000.npz") as archive:
        assert archive["exit_step"].shape == (100,)
        assert set(archive["exit_code"]) == {ExitCode.EXITED}


def test_every_changed_byte_is_found(finished, tmp_path):
    store = begin(tmp_path / "sweep")
    data = (finished / "chunks/000000/000000.npz").read_bytes()
    path = store.path(0, 0)
    path.parent.mkdir(parents=True)
    for place in {*range(0, len(data), 37), len(data) - 1}:
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(DamagedChunk):
            store.read(0, 0)
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        assert store.state(0, 0) == "damaged"
    path.write_bytes(data)
    assert store.state(0, 0) == "done"
    store.path(0, 1).write_bytes(data)  # a good chunk in another's place
    assert store.state(0, 1) == "damaged"


def test_damaged_and_missing_chunks_are_done_again(finished, tmp_path):
    store = begin(tmp_path / "sweep")
    run_sweep(store.folder)
    store.path(0, 1).write_bytes(store.path(0, 1).read_bytes()[:-5])
    store.path(2, 0).unlink()
    assert pending(store) == [(0, 1), (2, 0)]
    entries = []
    run_sweep(store.folder, on_done=entries.append)
    assert [entry.get("redone") for entry in entries] == ["its file was damaged", None]
    assert contents(store.folder) == contents(finished)
    assert [note["redone"] for note in status(store.folder)["notes"]] == ["its file was damaged"]


def test_another_sweep_or_other_files_are_refused(finished, tmp_path):
    with pytest.raises(ValueError, match="another sweep"):
        ChunkStore.create(finished, parse_sweep({**TABLES, "run": {**TABLES["run"], "dt": 0.2}}))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        ChunkStore.create(tmp_path, parse_sweep(TABLES))
    with pytest.raises(ValueError, match="holds no sweep"):
        ChunkStore.open(tmp_path)


def test_processes_that_begin_together_all_find_the_sweep(tmp_path, monkeypatch):
    folder, look = tmp_path / "sweep", Path.iterdir

    def late(path):  # another process writes the plan just before this one looks
        monkeypatch.undo()
        ChunkStore.create(folder, parse_sweep(TABLES))
        return look(path)

    folder.mkdir()
    monkeypatch.setattr(Path, "iterdir", late)
    assert ChunkStore.create(folder, parse_sweep(TABLES)).config.cells == parse_sweep(TABLES).cells


def test_a_data_file_that_changed_is_refused(tmp_path):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).normal(size=(50, 1)))
    noise = {"kind": "empirical", "file": str(tmp_path / "noise.npy")}
    run = {"noise_level": 0.5, "method": "iteration", "max_time": float("inf")}
    tables = {**TABLES, "noise": noise, "run": run, "dynamics": {"kind": "sgd", "learning_rate": 0.1}}
    store = begin(tmp_path / "sweep", tables)
    assert ChunkStore.open(store.folder).config.cells[0].config.run.max_time == float("inf")
    np.save(tmp_path / "noise.npy", np.zeros((50, 1)))
    with pytest.raises(ValueError, match="has changed"):
        ChunkStore.open(store.folder)


# Workers


def test_shards_and_threads_give_the_same_bits(finished, tmp_path):
    store = begin(tmp_path / "shards")
    for index in (2, 0, 1):
        with ThreadPoolExecutor(2) as pool:
            run_sweep(store.folder, pool, shard=(index, 3))
    assert contents(store.folder) == contents(finished)


def test_two_workers_on_the_same_chunks_do_no_harm(finished, tmp_path):
    store = begin(tmp_path / "sweep")
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(run_sweep, store.folder) for _ in range(2)]
        for one in both:
            one.result()
    assert contents(store.folder) == contents(finished)


def test_a_process_takes_over_what_others_have_left(finished, tmp_path):
    store = begin(tmp_path / "sweep")
    run_distributed(store.folder, 1, 4)  # three of the four never come
    assert contents(store.folder) == contents(finished)


def test_dask_gives_the_same_bits(finished, tmp_path):
    distributed = pytest.importorskip("distributed")
    store = begin(tmp_path / "sweep")
    cluster = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.Client(**cluster) as client:
        run_sweep(store.folder, client.get_executor(retries=3))
    assert contents(store.folder) == contents(finished)


# Faults


def test_a_device_out_of_memory_takes_fewer_at_once(finished, tmp_path, monkeypatch):
    def small(problem, plan, key, **options):
        if (plan.chunk_size or plan.num_trajectories) > 64:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte.")
        return simulate(problem, plan, key, **options)

    monkeypatch.setattr(sweep_run, "simulate", small)
    store = begin(tmp_path / "sweep")
    run_sweep(store.folder)
    assert contents(store.folder) == contents(finished)
    notes = collect(store.folder)["notes"]
    assert {note["device_out_of_memory"] for note in notes} == {"went on with 64 trajectories at once"}
    assert len(notes) == 8  # the chunks of 100, not those of 50


def test_another_device_error_is_raised(tmp_path, monkeypatch):
    def broken(*args, **options):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    monkeypatch.setattr(sweep_run, "simulate", broken)
    store = begin(tmp_path / "sweep")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        run_sweep(store.folder)


def test_a_full_disk_loses_nothing(finished, tmp_path, monkeypatch, capsys):
    (tmp_path / "sweep.toml").write_text(TOML)
    folder = tmp_path / "sweep"
    real, calls = os.fsync, []

    def full_after_five(descriptor):
        calls.append(descriptor)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_five)
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(folder)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    assert len(contents(folder)) == 4  # and the plan
    assert not list(folder.rglob("*.partial"))
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(folder), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 4
    assert contents(folder) == contents(finished)


def test_what_a_killed_process_left_is_removed_when_it_is_old(finished):
    old, new = (finished / "chunks" / "000000" / f".000000.npz.{name}.partial" for name in ("old", "new"))
    for path, age in ((old, 7200), (new, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    collect(finished)
    assert (old.exists(), new.exists()) == (False, True)
    new.unlink()


def test_a_folder_that_goes_away_is_said(tmp_path):
    store = begin(tmp_path / "sweep")
    with pytest.raises(FileNotFoundError, match="folder of the sweep has gone"):
        run_sweep(store.folder, on_done=lambda entry: store.folder.rename(tmp_path / "elsewhere"))
    assert len(contents(tmp_path / "elsewhere")) == 1


def test_not_a_number_is_counted_located_and_replayed(tmp_path):
    def loss(x):
        return x[0] ** 2 / 2 + 0.0 * jax.numpy.sqrt(0.8 - x[0])  # no number beyond 0.8, nor a slope

    def build(config, cell):
        problem = build_problem(config, cell)
        return replace(problem, landscape=from_function(loss, [0.0]))

    store = begin(tmp_path / "sweep")
    run_sweep(store.folder, build=build)
    row = collect(store.folder, build)["cells"][0]
    lost = row["nonfinite_ids"]
    assert row["nonfinite"] == len(lost) > 0
    place = store.config.cells[0]
    found = replay(build(place.config, place.cell), build_plan(place.config), place.config.run.seed, lost[0])
    assert found.exit_code == ExitCode.NONFINITE
    assert found.last_points[-2, 0] > 0.8  # one step before
    assert np.isnan(found.exit_position).all()


# The command


def test_replay_finds_the_same_end(finished, capsys):
    for trajectory in (0, 249):
        assert main(["replay", str(finished), "--trajectory", str(trajectory), "--cell", "3", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["same_bits"] is True
    for wrong in (["--trajectory", "250"], ["--trajectory", "-1"], ["--trajectory", "0", "--cell", "4"]):
        assert main(["replay", str(finished), *wrong]) == 2
    capsys.readouterr()


def test_dry_run_and_status(finished, tmp_path, capsys):
    (tmp_path / "sweep.toml").write_text(TOML)
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--dry-run", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert (cost["cells"], cost["chunks"], cost["trajectories"]) == (4, 12, 1000)
    assert cost["seconds"] > 0
    assert not (tmp_path / "out").exists()
    assert main(["sweep", "status", str(finished), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["done"], found["missing"], found["damaged"], found["complete"]) == (12, 0, 0, True)


@pytest.mark.parametrize("way", ["dry run", "start", "chunk"])
def test_a_sweep_that_would_not_end_is_refused(way, tmp_path, capsys):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(TOML.replace("noise_level = 0.5", "noise_level = [0.5, 1e-12]").replace("[1.2, 1.8]", "1.8"))
    if way == "chunk":  # as if it had begun
        out.mkdir()
        ChunkStore.create(out, load_sweep(file))
    assert main(["sweep", str(file), *(["--dry-run"] if way == "dry run" else ["--out", str(out)])]) == 2
    assert "would not end" in " ".join(capsys.readouterr().err.split())
    assert len(contents(out)) == (3 if way == "chunk" else 0)  # those of the cell before it


def test_a_dry_run_shows_four_digits(tmp_path, capsys):
    (tmp_path / "sweep.toml").write_text(TOML)
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--dry-run"]) == 0
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert lines["cells"] == "4"
    assert len(lines["seconds"].lstrip("0.").partition("e")[0].replace(".", "")) <= 4


def test_the_text_has_only_slopes_that_there_are(finished, capsys):
    assert main(["sweep", "collect", str(finished)]) == 0
    assert "slope" not in capsys.readouterr().out  # one noise level


REFUSED = [
    (["sweep"], "the following arguments are required"),
    (["sweep", "status", "nowhere"], "holds no sweep"),
    (["sweep", "FILE"], "--out DIR is missing"),
    (["sweep", "FILE", "--out", "OUT", "--shard", "3/3"], "--shard '3/3'"),
    (["sweep", "FILE", "--out", "OUT", "--shard", "x"], "--shard 'x'"),
    (["sweep", "FILE", "--out", "OUT", "--workers", "0"], "--workers 0"),
    (["sweep", "FILE", "--out", "OUT", "--shard", "0/2", "--distributed"], "do not go together"),
    (["sweep", "FILE", "--to", "x.nc"], "--to goes with"),
    (["sweep", "a", "b", "c"], "not understood"),
]


@pytest.mark.parametrize(("argv", "expected"), REFUSED, ids=[expected for _, expected in REFUSED])
def test_refused_arguments(argv, expected, tmp_path, capsys):
    (tmp_path / "sweep.toml").write_text(TOML)
    places = {"FILE": str(tmp_path / "sweep.toml"), "OUT": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in argv]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_axes_of_texts_and_of_numbers_beside_lists_are_written(tmp_path, suffix):
    xarray = pytest.importorskip("xarray")
    dynamics = [{"kind": "sgd"}, {"kind": "momentum", "learning_rate": 0.1, "beta": 0.9}]
    run, axes = {"noise_level": 1.0, "dt": 0.1, "num_trajectories": 5}, {"landscape.hessian": [1.0, [2.0]]}
    tables = {**TABLES, "dynamics": dynamics, "run": run, "noise": {"kind": "independent", "alpha": 1.5}}
    store = begin(tmp_path / "sweep", {**tables, "sweep": {"axes": axes}})
    run_sweep(store.folder)
    path = export(store.folder, tmp_path / f"all.{suffix}")
    data = xarray.open_dataset(path, engine={"nc": "h5netcdf", "zarr": "zarr"}[suffix])
    assert [str(name) for name in data["dynamics"].values] == ["sgd", "sgd", "momentum", "momentum"]
    assert [json.loads(str(text)) for text in data["landscape.hessian"].values] == [1.0, [2.0], 1.0, [2.0]]
    assert data["learning_rate"].isnull().values.tolist() == [True, True, False, False]
    data.close()


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_results_open_with_xarray(finished, tmp_path, suffix):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf" if suffix == "nc" else "zarr")
    path = export(finished, tmp_path / f"all.{suffix}")
    engine = {"engine": "h5netcdf"} if suffix == "nc" else {"engine": "zarr", "consolidated": False}
    with xarray.open_dataset(path, **engine) as data:
        assert dict(data.sizes) == {"cell": 4, "trajectory": 250, "coordinate": 1}
        samples = cell_samples(ChunkStore.open(finished), 2)
        np.testing.assert_array_equal(data["exit_time"][2], samples.exit_time)
        np.testing.assert_array_equal(data["exit_position"][2], samples.exit_position)
        assert [float(value) for value in data["alpha"]] == [1.2, 1.8, 1.2, 1.8]
        assert "alpha" in data.coords
        assert json.loads(data.attrs["tables"])["sweep"]["chunk_size"] == 100
        whole = to_xarray(finished)
        assert dict(whole.sizes) == dict(data.sizes)
        assert set(whole.coords) == set(data.coords)
        for name in data.variables:
            np.testing.assert_array_equal(whole[name].values, data[name].values)
    with pytest.raises(ValueError, match="exists"):
        export(finished, path)
    with pytest.raises(ValueError, match="neither"):
        export(finished, tmp_path / "all.csv")


# Slow: processes


def command(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen:
    variables = {**os.environ, "JAX_PLATFORMS": "cpu", **(environment or {})}
    argv = [*PROGRAM, "sweep", str(folder.parent / "sweep.toml"), "--out", str(folder), *arguments]
    return subprocess.Popen(argv, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_processes_give_the_same_bits_and_a_killed_one_is_replaced(finished, tmp_path):
    store = begin(tmp_path / "sweep")
    killed = []

    def kill_one(entry):
        if not killed:
            children = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split()
            names = {
                child: Path(f"/proc/{child}/cmdline").read_text()
                for child in children
                if Path(f"/proc/{child}").exists()
            }
            workers = [child for child, name in names.items() if "spawn_main" in name]
            os.kill(int(workers[0]), signal.SIGKILL)
            killed.append(workers[0])

    run_with_processes(store.folder, 2, on_done=kill_one)
    assert killed
    assert contents(store.folder) == contents(finished)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_distributed_processes_give_the_same_bits(finished, tmp_path, count):
    (tmp_path / "sweep.toml").write_text(TOML)
    port = str(41_000 + os.getpid() % 20_000)
    slurm = {"SLURM_JOB_ID": port, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": str(count)}
    processes = [
        command(
            tmp_path / "sweep", "--distributed", environment={**slurm, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)}
        )
        for i in range(count)
    ]
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error.decode()[-2000:]
    assert contents(tmp_path / "sweep") == contents(finished)


@pytest.mark.slow
def test_fifty_kills_lose_and_invent_nothing(finished, tmp_path):
    (tmp_path / "sweep.toml").write_text(TOML)
    random, kills = np.random.default_rng(0), 0
    while kills < 50:
        process = command(tmp_path / "sweep")
        time.sleep(random.uniform(0.5, 12.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        elif (tmp_path / "sweep").exists():  # done before the signal: take some chunks away again
            done = sorted((tmp_path / "sweep" / "chunks").rglob("*.npz"))
            for path in random.choice(done, size=9, replace=False):
                path.unlink()
        process.communicate()
    process = command(tmp_path / "sweep")
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert contents(tmp_path / "sweep") == contents(finished)


@pytest.mark.slow
def test_a_dask_worker_lost_mid_chunk_is_made_good(finished, tmp_path):
    distributed = pytest.importorskip("distributed")
    store = begin(tmp_path / "sweep")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    killed = []

    def kill_one(entry):
        if not killed:
            killed.append(cluster.workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    with cluster, distributed.Client(cluster) as client:
        run_sweep(store.folder, client.get_executor(retries=3), on_done=kill_one)
    assert killed
    assert contents(store.folder) == contents(finished)
