"""Bad input through the command: status 0 or 2, at most 4 lines of error, and nothing written outside `--out`."""

import copy
import json
import math
import time
import warnings

import pytest
from hostile import DATA_FILES, damaged, data_files, edited, runs, sweeps, to_toml
from hypothesis import given
from hypothesis import strategies as st
from test_bad_input import BASE, scale

from levyjax.cli import main

SECONDS = 30.0  # for one command at most (measured: 6, of which compilation is most)
WORDS = ["", "-1", "0", "1", "x", "nan", "1e400", str(10**30), "9" * 5000, "\0", "a/b/c", "..", "run.toml", "٣", "0/0"]
WORDS += [
    "1/2",
    "2/1",
    "-1/2",
    "--out",
    "--json",
    "--seed",
    "--only",
    "--cell",
    "noise.npy",
    "é\ud800",
    "\x1b[31m",
    "=",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own, with a good run, sweep, training and data file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEVYJAX_DATA", str(tmp_path))
    (tmp_path / "run.toml").write_text(to_toml(BASE))
    (tmp_path / "noise.npy").write_bytes(DATA_FILES[".npy"][0])
    return tmp_path


def command(argv, folder, capsys):
    """One command: what it printed, and its status."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "out" not in path.parts}
    began = time.perf_counter()
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status = main(argv)
    seconds, captured = time.perf_counter() - began, capsys.readouterr()
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "out" not in path.parts}
    assert status in (0, 2), (argv, captured.err)
    assert len(captured.err.splitlines()) <= 4
    assert (status == 2) == captured.err.startswith("levyjax: error: ")
    assert "Traceback" not in captured.err
    assert after == before
    assert seconds < SECONDS
    return captured.out, status


def no_constant(name):
    raise AssertionError(f"{name} is no JSON")


def check_numbers(text, tables):
    """Finite or null, and what was swept as the file has it."""
    cells = json.loads(text, parse_constant=no_constant)["cells"]
    level = tables["run"]["noise_level"]
    levels = level if isinstance(level, list) else [level]
    assert {repr(cell["noise_level"]) for cell in cells} <= set(map(repr, levels))
    for cell in cells:
        if cell["rate"] is not None:
            assert 0 <= cell["rate"] < math.inf
        shares = [face["probability"] for face in cell["exit_probabilities"] or ()]
        assert all(0 <= share <= 1 for share in shares)
        if shares and cell["rate"]:
            assert sum(shares) == pytest.approx(1, abs=1e-6)


def small(tables):
    """Runs that are soon done: what is accepted is simulated, for a short time."""
    run = tables.get("run")
    if isinstance(run, dict):
        run |= {"num_trajectories": 16, "max_time": 1.0}
    return tables


@st.composite
def arguments(draw):
    """Words after a command, some of them its own."""
    own = {
        "tails": ["noise.npy", "--batch-size", "8=noise.npy", "--no-center"],
        "sweep": ["run.toml", "status", "collect", "--dry-run", "--shard", "--workers", "--to", "out"],
        "replay": ["out", "--trajectory", "--cell"],
        "predict": ["run.toml"],
        "escape": ["run.toml"],
        "train": ["--widths", "--iterations", "--batch-size", "--learning-rate", "--data", "--capture-at", "--network"],
        "reproduce": ["--list", "--only", "--jobs", "--out", "run.toml"],
        "bench": ["--list", "--only"],
        "": [],
    }
    name = draw(st.sampled_from(list(own)))
    words = draw(st.lists(st.sampled_from([*own[name], *own[name], *WORDS]), min_size=1, max_size=5))
    return ([name] if name else []) + words


def is_cheap(argv):
    """Not a whole report, all benchmarks or a training run: these are long, whatever is given."""
    words = set(argv[1:])
    if argv[0] in ("reproduce", "bench"):
        return "--list" in words or not words <= {
            "--out",
            "out",
            "run.toml",
            "--json",
            "--seed",
            "--jobs",
            "0",
            "1",
            "x",
        }
    return argv[0] != "train" or bool(words & {"x", "nan", "", "-1", str(10**30), "1e400", "a/b/c", ".."})


def predict_runs(folder, capsys):
    def body(tables):
        (folder / "bad.toml").write_text(to_toml(tables), "utf-8")
        text, status = command(["predict", "bad.toml", "--json"], folder, capsys)
        if status == 0:
            check_numbers(text, tables)
        return status

    return edited(runs()), body


def escape_runs(folder, capsys):
    def body(tables):
        (folder / "bad.toml").write_text(to_toml(tables), "utf-8")
        text, status = command(["escape", "bad.toml", "--json", "--out", "out"], folder, capsys)
        if status == 0:
            json.loads(text, parse_constant=no_constant)
        return status

    return edited(st.just(BASE).map(copy.deepcopy)).map(small), body


def audit_data(folder, capsys):
    def body(case):
        suffix, content = case
        (folder / f"bad{suffix}").write_bytes(content)
        text, status = command(["tails", f"bad{suffix}", "--json"], folder, capsys)
        if status == 0:
            json.loads(text, parse_constant=no_constant)
        return status

    return data_files(), body


def sweep_files(folder, capsys):
    def body(tables):
        (folder / "bad.toml").write_text(to_toml(tables), "utf-8")
        return command(["sweep", "bad.toml", "--dry-run", "--json"], folder, capsys)[1]

    return edited(sweeps()), body


def damaged_sweeps(folder, capsys):
    """A finished sweep in which one file has been changed."""
    assert main(["sweep", "run.toml", "--out", "out/sweep"]) == 0
    whole = {path: path.read_bytes() for path in (folder / "out" / "sweep").rglob("*") if path.is_file()}

    def body(case):
        place, words = case
        path = sorted(whole)[place % len(whole)]
        path.write_bytes(words)
        try:
            return max(command([*argv, "--json"], folder, capsys)[1] for argv in LOOKS)
        finally:
            path.write_bytes(whole[path])

    kinds = [damaged(content) for _, content in sorted(whole.items())]
    return st.integers(0, len(kinds) - 1).flatmap(lambda place: st.tuples(st.just(place), kinds[place])), body


LOOKS = (
    ["sweep", "status", "out/sweep"],
    ["sweep", "collect", "out/sweep"],
    ["replay", "out/sweep", "--trajectory", "3"],
)


def argument_lists(folder, capsys):
    return arguments().filter(is_cheap), lambda argv: command(argv, folder, capsys)[1]


COUNTS = {  # in the slow suite
    predict_runs: 60,
    escape_runs: 30,
    audit_data: 40,
    sweep_files: 30,
    damaged_sweeps: 20,
    argument_lists: 80,
}


def through(kind, count, folder, capsys):
    statuses = []
    strategy, body = kind(folder, capsys)

    @scale(count)
    @given(strategy)
    def test(case):
        statuses.append(body(case))

    test()
    return statuses


@pytest.mark.parametrize("kind", [predict_runs, audit_data, argument_lists, damaged_sweeps])
def test_command(kind, folder, capsys):
    assert len(through(kind, 5, folder, capsys)) == 5


def test_few_different_values(folder, capsys):
    """The regression on the characteristic function has a slope below 0 there, of which no law has a variance."""
    values = "1.5\n2\n-3e5\n" * 4 + "1.5\n2\n-1.5\n25\n" + "1.5\n2\n-3e5\n" * 4 + "1.5\n2\n-33e5\n1.5\n2\n-3e5\n"
    (folder / "few.csv").write_text(values)
    text, status = command(["tails", "few.csv", "--json"], folder, capsys)
    assert status == 0
    json.loads(text, parse_constant=no_constant)


@pytest.mark.slow
def test_command_at_scale(folder, capsys):
    """More than 200 commands."""
    began = time.perf_counter()
    found = {kind.__name__: through(kind, count, folder, capsys) for kind, count in COUNTS.items()}
    with capsys.disabled():
        for name, statuses in found.items():
            print(f"\n{name}: {statuses.count(0)} done, {statuses.count(2)} refused", end="")
        print(f"\n{sum(map(len, found.values()))} commands in {time.perf_counter() - began:.0f} s")
    assert sum(map(len, found.values())) >= 200
