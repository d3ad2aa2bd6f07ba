"""Bad input: whatever a file or an argument holds, the answer is a result or one clear sentence."""

import contextlib
import math
import os
import time
import warnings
import zipfile

import numpy as np
import pytest
from hostile import damaged, data_files, edited, npy, npz, runs, sweeps, to_toml, trainings
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from levyjax import tails
from levyjax.config import ConfigError, cells, load, parse
from levyjax.config.grid import load_sweep, parse_sweep
from levyjax.config.training import load_training, parse_training
from levyjax.input import read_npz
from levyjax.sweep.store import ChunkStore
from levyjax.training import TrainConfig, train

SECONDS = 2.0  # for one input at most (measured: 0.02), however long it is
COUNTS = {"runs": 25_000, "sweeps": 15_000, "trainings": 10_000, "files": 20_000, "data": 30_000}  # in the slow suite


def scale(count):
    """How many examples hypothesis makes, without shrinking: what fails is a seed that can be run again."""
    return settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate], derandomize=True,
    )  # fmt: skip


class Tally:
    """What was accepted and refused, and the longest time of the processor that one input took."""

    def __init__(self):
        self.accepted = self.refused = 0
        self.slowest = 0.0

    @contextlib.contextmanager
    def one(self):
        began = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                yield
            self.accepted += 1
        except ValueError as error:
            self.refused += 1
            if not is_a_sentence(error):
                raise
        finally:
            self.slowest = max(self.slowest, time.process_time() - began)


def is_a_sentence(error):
    """Whether an error is the library's own, and can be shown as it is."""
    own = type(error) in (ValueError, ConfigError)
    return own and "\n" not in str(error) and " " in str(error) and len(str(error)) < 1000


def same(one, other):
    """Equality in which nan equals itself and 1 is not 1.0."""
    return repr(one) == repr(other)


def check_run(tables):
    config = parse(tables)
    assert parse(config.to_dict()) == config
    given = tables["run"]["noise_level"]
    echoed = dict.fromkeys(cell.noise_level for cell in cells(config))
    assert same(list(echoed), list(dict.fromkeys(given if isinstance(given, list) else [given])))


def check_sweep(tables):
    sweep = parse_sweep(tables)
    assert 1 <= len(sweep.cells) <= sum(map(sweep.num_chunks, range(len(sweep.cells))))
    first, last = sweep.bounds(0, sweep.num_chunks(0) - 1)
    assert 0 <= first < last <= 2**31


def check_training(tables):
    run = parse_training(tables)
    assert run.training.iterations >= 1
    assert all(0 <= at <= run.training.iterations for at in run.training.capture_at)


TREES = {
    "runs": (edited(runs()), check_run),
    "sweeps": (edited(sweeps()), check_sweep),
    "trainings": (edited(trainings()), check_training),
}


def through_trees(name, count):
    tally = Tally()
    strategy, check = TREES[name]

    @scale(count)
    @given(strategy)
    def test(tables):
        before = repr(tables)
        with tally.one():
            check(tables)
        assert repr(tables) == before

    test()
    return tally


def through_files(count, folder):
    """The text of run, sweep and training files, with bytes changed."""
    tally = Tally()
    path = folder / "a.toml"
    loaders = {load: runs(), load_sweep: sweeps(), load_training: trainings()}

    @scale(count)
    @given(st.sampled_from(list(loaders)).flatmap(lambda loader: st.tuples(st.just(loader), texts(loaders[loader]))))
    def test(case):
        loader, text = case
        path.write_bytes(text)
        with tally.one():
            loader(path)

    test()
    return tally


@st.composite
def texts(draw, trees):
    text = to_toml(draw(edited(trees) if draw(st.booleans()) else trees)).encode()
    return draw(damaged(text)) if draw(st.booleans()) else text


def through_data(count, folder):
    tally = Tally()

    @scale(count)
    @given(data_files())
    def test(case):
        suffix, content = case
        path = folder / f"data{suffix}"
        path.write_bytes(content)
        with tally.one():
            values = tails.load(path)
            assert values.dtype == np.float64
            assert values.ndim in (1, 2)
            assert np.isfinite(values).all()
            assert values.size >= 16

    test()
    return tally


def through(name, count, folder):
    before = sorted(folder.iterdir())
    if name in TREES:
        tally = through_trees(name, count)
    else:
        inner = folder / name
        inner.mkdir()
        tally = {"files": through_files, "data": through_data}[name](count, inner)
        assert all(item.name in ("a.toml", "data.npy", "data.npz", "data.csv", "data.txt") for item in inner.iterdir())
        before.append(inner)
    assert sorted(folder.iterdir()) == sorted(before)
    assert tally.slowest < SECONDS, name
    return tally


@pytest.mark.parametrize("name", COUNTS)
def test_parse_and_check(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tally = through(name, COUNTS[name] // 100, tmp_path)
    assert min(tally.accepted, tally.refused) > COUNTS[name] // 3000


@pytest.mark.slow
def test_parse_and_check_at_scale(tmp_path, monkeypatch, capsys):
    """100,000 inputs in this one process."""
    monkeypatch.chdir(tmp_path)
    began = time.perf_counter()
    found = {name: through(name, count, tmp_path) for name, count in COUNTS.items()}
    seconds = time.perf_counter() - began
    total = sum(tally.accepted + tally.refused for tally in found.values())
    with capsys.disabled():
        for name, tally in found.items():
            print(
                f"\n{name}: {tally.accepted} accepted, {tally.refused} refused, slowest {tally.slowest:.3f} s", end=""
            )
        print(f"\n{total} inputs in {seconds:.0f} s")
    assert total >= 100_000
    assert seconds < 3600


# The cases that were found, one by one.

BASE = {
    "landscape": {"kind": "quadratic", "hessian": [1.0, 0.1]},
    "basin": {"kind": "box", "lower": [-1.0, -1.0], "upper": [1.0, 1.0]},
    "dynamics": {"kind": "sgd", "learning_rate": 0.1},
    "noise": {"kind": "independent", "alpha": 1.5},
    "run": {"noise_level": 0.5, "dt": 0.05, "num_trajectories": 64, "max_time": 10.0},
}
ROW = {"kind": "multi_well", "minima": [-1e300, 1e300], "saddles": [0], "barriers": [1], "curvatures": [1, 1]}
CASES = [
    (parse, {"landscape": ROW | {"saddle_curvatures": [1]}, "basin": {"kind": "attraction"}}, "not be monotone"),
    (
        parse,
        {"landscape": {"kind": "wang_oh_rhee"}, "basin": {"kind": "sublevel", "height": 1}}
        | {"run": {"noise_level": 0.1, "dt": 0.1, "start": [1e300]}},
        "outside the basin",
    ),
    (parse_sweep, {"sweep": {"zip": [[["run.dt"]]]}}, "unknown"),
    (parse_sweep, {"sweep": {"zip": [[{"a": 1}]]}}, "unknown"),
    (
        parse_sweep,
        {"sweep": {"chunk_size": 1}, "run": BASE["run"] | {"num_trajectories": 2**31 - 1}},
        "2147483647 chunks",
    ),
    (parse_training, {"training": {"iterations": 2**31 - 1, "capture_every": 1}}, "2147483647 captures"),
    (parse_training, {"training": {"activation": "a" * 5000}}, "is unknown"),
    (parse_training, {"training": {"learning_rate": 10**400}}, "an integer of 1329 bits"),
]


@pytest.mark.parametrize(("read", "edits", "expected"), CASES, ids=range(len(CASES)))
def test_refused_trees(read, edits, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        read(edits if read is parse_training else BASE | edits)
    assert len(str(caught.value)) < 450


@pytest.mark.parametrize("read", [parse, parse_sweep, parse_training])
@pytest.mark.parametrize("tables", [5, None, "text", [], [[]], {5: 1}])
def test_refused_wholes(read, tables):
    with pytest.raises(ConfigError):
        read(tables)


def test_a_user_without_a_home(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(to_toml(BASE | {"noise": {"kind": "empirical", "file": "~no-such-user/noise.npy"}}))
    with pytest.raises(ConfigError, match="without a home"):
        load(path)


def test_files_of_an_axis_are_beside_the_sweep(tmp_path):
    axes = {"axes": {"noise.file": ["a.npy", "/b.npy"]}}
    tables = BASE | {"noise": {"kind": "empirical", "file": "c.npy"}, "sweep": axes}
    tables["run"] = {"noise_level": 0.1, "method": "iteration"}
    path = tmp_path / "sweep.toml"
    path.write_text(to_toml(tables))
    files = [cell.config.noise.file for cell in load_sweep(path).cells]
    assert files == [str(tmp_path / "a.npy"), "/b.npy"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_do_not_hang(tmp_path):
    for name in ("run.toml", "noise.npy", "noise.npz", "noise.csv"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match="There is nothing here"):
        load(tmp_path / "run.toml")
    for name in ("noise.npy", "noise.npz", "noise.csv"):
        with pytest.raises(ValueError, match="no regular file"):
            tails.load(tmp_path / name)
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="no regular file"):
        tails.load(tmp_path / "zero.npy")


def test_archives_are_bounded(tmp_path, monkeypatch):
    """A few kilobytes that unpack to much more, and a header that promises 80 TB, take no memory."""
    monkeypatch.setattr("levyjax.input.MOST_BYTES", 2**20)
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        file.write(bytes(2**25))
    assert path.stat().st_size < 2**16
    began = time.perf_counter()
    for read in (tails.load, read_npz):
        with pytest.raises(ValueError, match=r"unpacks to 0\.0312 GiB"):
            read(path)
    path.write_bytes(npz({"a.npy": npy(np.arange(40.0), shape=(10**13,))}))
    for read in (tails.load, read_npz):
        with pytest.raises(ValueError, match="a header promises another size"):
            read(path)
    assert time.perf_counter() - began < SECONDS


def test_infinite_bounds_and_labels_survive_the_store(tmp_path):
    """Minus infinity became null in sweep.json, and a label "inf" a number, so that the sweep could not be opened."""
    box = {"kind": "box", "lower": [-math.inf, -1.0], "upper": [1.0, math.inf]}
    config = parse_sweep(BASE | {"basin": [{**box, "label": "inf"}, {"kind": "ball", "radius": 2.0}]})
    store = ChunkStore.create(tmp_path, config)
    assert store.config.cells[0].config.basin.lower == (-math.inf, -1.0)
    assert store.config.cells[0].coordinates["basin"] == "inf"


@pytest.mark.parametrize(
    "line", ['{"wall_seconds": "x"}', '{"cell": [1], "seconds": 2}', '{"seconds": null}', "[" * 100_000, "\xff", "1"]
)
def test_lines_that_are_no_entries_are_left_out(tmp_path, line):
    store = ChunkStore.create(tmp_path, parse_sweep(BASE))
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "a.jsonl").write_text(f'{line}\n{{"cell": 0, "chunk": 0, "wall_seconds": 2}}\n', "latin-1")
    assert [entry["wall_seconds"] for entry in store.journal()] == [2]


@pytest.mark.parametrize(
    "damage", ["config.json", "metrics.jsonl", "noise_000003.npz", "parameters_000003.npz", "states"]
)
def test_damaged_checkpoints_are_one_sentence(tmp_path, damage):
    config = TrainConfig(
        data="synthetic", iterations=6, record_every=3, widths=(), num_batches=4, capture_at=(3,), keep_at=(3,)
    )
    train(config, checkpoint_dir=tmp_path)
    for path in sorted((tmp_path / damage).rglob("*")) if damage == "states" else [tmp_path / damage]:
        if path.is_file():
            path.write_bytes(path.read_bytes()[:7] + b"\xff\0{")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"is missing or damaged|another configuration") as caught:
        train(config, checkpoint_dir=tmp_path)
    assert is_a_sentence(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_long_name_of_an_axis_is_cut_in_the_message():
    tables = {
        "landscape": {"kind": "quadratic", "hessian": 1.0},
        "basin": {"kind": "ball", "radius": 1.0},
        "dynamics": {"kind": "sgd"},
        "noise": {"kind": "independent", "alpha": 1.5},
        "run": {"noise_level": 0.1, "dt": 0.1},
        "sweep": {"axes": {"run." + "x" * 5000: [1, 2]}, "zip": [["run.dt", "basin.radius"]]},
    }
    with pytest.raises(ConfigError, match="zip names") as refused:
        parse_sweep(tables)
    assert len(str(refused.value)) < 1000


def test_long_doubles_that_are_no_numbers(tmp_path):
    """Bit patterns that the processor calls invalid: counted as not finite, without a warning."""
    (tmp_path / "noise.npy").write_bytes(npy(np.arange(1.0, 41.0), descr="<f16", shape=(20,)))
    with pytest.raises(ValueError, match=r"NaN or infinite|constant|dtype|damaged"):
        tails.load(tmp_path / "noise.npy")
