"""Bad input: whatever a file or an argument holds, the answer is a result or one clear sentence."""

import contextlib
import time
import warnings

import numpy as np
import pytest
from hostile import damaged, data_files, edited, runs, sweeps, to_toml, trainings
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from levyjax import tails
from levyjax.config import ConfigError, cells, load, parse
from levyjax.config.grid import load_sweep, parse_sweep
from levyjax.config.training import load_training, parse_training

SECONDS = 2.0  # for one input at most (measured: 0.02), however long it is
COUNTS = {"runs": 25_000, "sweeps": 15_000, "trainings": 10_000, "files": 20_000, "data": 30_000}  # in the slow suite


def scale(count):
    """How many examples hypothesis makes, without shrinking: what fails is a seed that can be run again."""
    return settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate], derandomize=True,
    )  # fmt: skip


class Tally:
    """What was accepted and refused, and the longest time that one input took."""

    def __init__(self):
        self.accepted = self.refused = 0
        self.slowest = 0.0

    @contextlib.contextmanager
    def one(self):
        began = time.perf_counter()
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
            self.slowest = max(self.slowest, time.perf_counter() - began)


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
        inner = folder / "inner"
        inner.mkdir()
        tally = {"files": through_files, "data": through_data}[name](count, inner)
        assert all(item.name in ("a.toml", "data.npy", "data.npz", "data.csv") for item in inner.iterdir())
        before.append(inner)
    assert sorted(folder.iterdir()) == before
    assert tally.slowest < SECONDS
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
