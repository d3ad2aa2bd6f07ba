"""The command: exit status, short errors, whole files, JSON without NaN, and a quick `--help`."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import levyjax
from levyjax.cli import COMMANDS, doctor, escape, main
from levyjax.output import output_directory, progress, table, to_json, write_bytes, write_json

RUN = """
[landscape]
kind = "quadratic"
hessian = [1.0, 0.1]
[basin]
kind = "box"
lower = [-1.0, -1.0]
upper = [1.0, 1.0]
[dynamics]
kind = "sgd"
[noise]
kind = "independent"
alpha = 1.5
[run]
noise_level = 0.1
dt = 0.05
"""
PROGRAM = [sys.executable, "-c", "import sys; from levyjax.cli import main; sys.exit(main())"]


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return str(path)


def refusal(argv, capsys) -> str:
    """The one error of a refused command, as a single line."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 1 <= len(captured.err.splitlines()) <= 4
    assert captured.err.startswith("levyjax: error: ")
    assert "Traceback" not in captured.err
    return " ".join(captured.err.split())


ARGUMENTS = [
    ([], "give a command"),
    (["escpe"], "did you mean `escape`?"),
    (["x" * 5000], "unknown command"),
    (["--versio"], "did you mean `--version`?"),
    (["predict"], "RUN.toml"),
    (["escape", "run.toml", "--ot", "x"], "did you mean `--out`?"),
    (["escape", "run.toml", "--out"], "--out: expected one argument"),
    (["reproduce"], "--out"),
    (["doctor", "all"], "unknown argument 'all'"),
    (["predict", "none.toml"], "none.toml: there is no such file"),
    (["predict", "."], "this is a folder"),
    (["predict", "a\nb\x1b[31m.toml"], "no such file"),
    (["predict", "y" * 5000], "cannot be read"),
]


@pytest.mark.parametrize(("argv", "expected"), ARGUMENTS, ids=[case[1] for case in ARGUMENTS])
def test_refused_arguments(argv, expected, capsys):
    error = refusal(argv, capsys)
    assert expected in error
    assert "\x1b" not in error


EDITS = [
    ("alpha = 1.5", "alpha = 2.5", "[noise] alpha = 2.5"),
    ("alpha = 1.5", "alpha = -1", "[noise] alpha = -1"),
    ("alpha = 1.5", "alpha = true", "[noise] alpha = true"),
    ("alpha = 1.5", 'alpha = "1.5"', '[noise] alpha = "1.5"'),
    ("alpha = 1.5", "alpha = []", "[noise] alpha = []"),
    ("alpha = 1.5", "alpha = [1.5, nan]", "[noise] alpha[1] = nan"),
    ("alpha = 1.5", "alpha = 1979-05-27", "[noise] alpha = a value of type date"),
    ("alpha = 1.5", "alpha = 1" + "0" * 400, "[noise] alpha = an integer"),
    ("alpha = 1.5", "alpha = 1" + "0" * 5000, "too many digits"),
    ("alpha = 1.5", "alpha = 0x1" + "0" * 5000, "[noise] alpha = an integer"),
    ("alpha = 1.5", "alpha = " + "[" * 300 + "1" + "]" * 300, "[noise] alpha[0] = [[[...]]] is refused"),
    ("alpha = 1.5", "alhpa = 1.5", 'did you mean "alpha"?'),
    ("alpha = 1.5", "", "[noise] alpha is missing"),
    ("alpha = 1.5", "alpha = 1.5\nalpha = 1.5", "Cannot overwrite a value"),
    ("alpha = 1.5", "alpha == 1.5", "not valid TOML"),
    ("alpha = 1.5", "alpha = 1.5\ndt = 0.05", '[noise] dt is unknown (kind = "independent"): It belongs under [run].'),
    ("alpha = 1.5", f'alpha = 1.5\n"{"k" * 3000}" = 1', "is unknown"),
    ("alpha = 1.5", "alpha = 1.5\nscale = [[1.0, 2.0]]", "[noise] scale has 1"),
    ("alpha = 1.5", "alpha = 1.5\nscale = [1.0, 1.0, 1.0]", "[noise] scale has 3"),
    ('"quadratic"', '"quartic"', "[landscape] kind"),
    ('"quadratic"', "[]", "[landscape] kind = [] is unknown"),
    ("[1.0, 0.1]", "[1.0, -0.1]", "[landscape] hessian[1] = -0.1"),
    ("[1.0, 0.1]", "[[1.0, 2.0], [2.0, 1.0]]", "[landscape] hessian"),
    ("[1.0, 0.1]", "{ a = 1 }", "[landscape] hessian = {...}"),
    ("lower = [-1.0, -1.0]", "lower = [1.0, -1.0]", "[basin] lower[0] = 1.0"),
    ("lower = [-1.0, -1.0]", "lower = [0.5, -1.0]", "the minimum"),
    ("upper = [1.0, 1.0]", "upper = [1.0]", "[basin] upper has 1"),
    ('"sgd"', '"clipped_sgd"\nlearning_rate = 0.1', "[dynamics] bound is missing"),
    (
        '"sgd"',
        '"adagrad"\nlearning_rate = 0.1',
        '[run] method = "euler" is refused: [dynamics] kind = "adagrad" has no SDE',
    ),
    ("noise_level = 0.1", "noise_level = 0", "[run] noise_level = 0"),
    ("noise_level = 0.1", "", "[run] noise_level is missing"),
    ("dt = 0.05", 'method = "euler"', '[run] method = "euler" needs dt'),
    ("dt = 0.05", 'method = "tamed"', '[run] method = "tamed" needs dt'),
    ("dt = 0.05", 'method = "iteration"', "[dynamics] learning_rate is missing"),
    ("dt = 0.05", "dt = 0.05\nseed = -1", "[run] seed = -1"),
    ("dt = 0.05", "dt = 0.05\nstart = [2.0, 0.0]", "[run] start"),
    ("[run]", "[[run]]", "run = [{...}] is not a table"),
    ("[run]", "[runs]", 'did you mean "run"?'),
    ("[noise]", "[noise", "line"),
]  # fmt: skip


@pytest.mark.parametrize("command", ["predict", "escape"])
@pytest.mark.parametrize(("old", "new", "expected"), EDITS, ids=[case[2][:40] for case in EDITS])
def test_refused_runs(command, old, new, expected, run_file, capsys):
    text = RUN.replace(old, new)
    assert text != RUN
    Path(run_file).write_text(text)
    assert expected in refusal([command, run_file], capsys)


@pytest.mark.parametrize("argv", [["escape", "RUN", "--out"], ["reproduce", "--out"]])
def test_refused_output(argv, run_file, capsys):
    argv = [run_file if argument == "RUN" else argument for argument in argv]
    assert "Give a folder" in refusal([*argv, run_file], capsys)
    assert "Give a folder" in refusal([*argv, f"{run_file}/below"], capsys)
    assert "cannot be written" in refusal([*argv, "z" * 5000], capsys)


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (ValueError("no"), 2, "no"),
        (ValueError("long " * 1000), 2, "long ..."),
        (OSError(28, "No space left on device", "x.npz"), 2, "No space left on device: 'x.npz'"),
        (PermissionError(13, "Permission denied", "x"), 2, "Permission denied"),
        (RuntimeError("inner"), 1, "run with LEVYJAX_TRACEBACK=1"),
        (MemoryError(), 1, "MemoryError"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_status_of_errors(error, status, expected, monkeypatch, capsys):
    def fails(args):
        raise error

    monkeypatch.delenv("LEVYJAX_TRACEBACK", raising=False)
    monkeypatch.setattr(doctor, "run", fails)
    assert main(["doctor"]) == status
    captured = capsys.readouterr()
    assert expected in captured.err
    assert len(captured.err.splitlines()) <= 4
    assert "Traceback" not in captured.err
    monkeypatch.setenv("LEVYJAX_TRACEBACK", "1")
    assert main(["doctor"]) == status
    assert ("Traceback" in capsys.readouterr().err) == (status != 130)


def test_reader_that_leaves(monkeypatch, capsys):
    def fails(args):
        raise BrokenPipeError

    monkeypatch.setattr(doctor, "run", fails)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == ""


def test_result_on_stdout(monkeypatch, capsys):
    result = {"checks": [{"name": "a", "status": "ok", "detail": "b"}], "ok": True}
    monkeypatch.setattr(doctor, "run", lambda args: result)
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "name  status  detail\na     ok      b\n"


def test_tables_of_results():
    cell = {"alpha": 1.5, "noise_level": 0.1, "learning_rate": None, "mean_exit_time_ci95": [1.0, 2.0]}
    text = escape.render({"cells": [cell], "slopes": [{"alpha": 1.5, "slope": -1.5, "slope_ci95": [-1.6, -1.4]}]})
    assert "[1, 2]" in text
    assert "slope_ci95" in text


PRESENT = [command for command in COMMANDS if importlib.util.find_spec(f"levyjax.cli.{command}")]


@pytest.mark.parametrize("argv", [["--help"], *([command, "--help"] for command in PRESENT)])
def test_help(argv, capsys):
    assert main(argv) == 0
    assert "usage: levyjax" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"levyjax {levyjax.__version__}\n"


def test_help_is_quick():
    def seconds() -> float:
        before = time.perf_counter()
        subprocess.run([*PROGRAM, "escape", "--help"], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - before

    assert min(seconds() for _ in range(3)) < 0.5


@pytest.mark.parametrize("command", PRESENT)
def test_help_imports_nothing_heavy(command):
    code = f"""
import contextlib, io, sys
from levyjax.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    status = main([{command!r}, "--help"])
print(status, sorted({{"jax", "numpy", "scipy", "matplotlib", "tqdm"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 []"


def test_as_a_process(run_file):
    Path(run_file).write_text(RUN.replace("alpha = 1.5", "alpha = 3"))
    done = subprocess.run([*PROGRAM, "predict", run_file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "[noise] alpha = 3 is refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "levyjax: error: No space left on device\n")


def test_json():
    @dataclasses.dataclass
    class Point:
        x: float

    value = {
        "array": np.array([1.0, np.nan, -np.inf]), "scalar": np.float32(0.5), "count": np.int64(3), 1: None,
        "flag": np.bool_(True), "point": Point(float("inf")), "path": Path("a"), "name": "é",
    }  # fmt: skip
    text = to_json(value)
    assert text.isascii()
    assert json.loads(text) == {
        "array": [1.0, None, None], "scalar": 0.5, "count": 3, "1": None,
        "flag": True, "point": {"x": None}, "path": "a", "name": "é",
    }  # fmt: skip
    with pytest.raises(TypeError, match="complex"):
        to_json([1j])


def test_files_are_whole_or_absent(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None}
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_bytes(tmp_path / "folder", b"x")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "b", "text")  # pyright: ignore
    assert sorted(os.listdir(tmp_path)) == ["a.json", "folder"]


def test_files_get_the_usual_permissions(tmp_path):
    write_bytes(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_output_directory(tmp_path):
    assert output_directory(tmp_path / "a" / "b").is_dir()
    assert os.listdir(tmp_path / "a" / "b") == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_output_directory_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"):
        output_directory(tmp_path)


def test_table_and_progress(capsys):
    assert table([]) == ""
    assert table([{"a": 1 / 3, "b": [1, None]}, {"a": True}]) == "a         b\n0.333333  [1, -]\nyes       -"
    with progress(3, "steps") as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


def _cells(capsys, argv, status=0):
    assert main([*argv, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_methods_whose_cost_does_not_grow(tmp_path, capsys):
    """The same keys from a sampler of exits and from one of rates, whose times are null."""
    path = tmp_path / "run.toml"
    swept = RUN.replace("noise_level = 0.1\ndt = 0.05", 'noise_level = [1e-2, 1e-4]\nmethod = "METHOD"')
    rows = {}
    for method in ("jump_adapted", "quasi_stationary"):
        path.write_text(swept.replace("METHOD", method) + "num_trajectories = 1024\nrelative_error = 0.01\n")
        result = _cells(capsys, ["escape", str(path), "--out", str(tmp_path / method)])
        rows[method] = result["cells"]
        assert result["slopes"][0]["slope"] == pytest.approx(-1.5, abs=0.05)
        assert (tmp_path / method / "exit_time_scaling.png").stat().st_size > 0
    times, rates = rows["jump_adapted"], rows["quasi_stationary"]
    for time_row, rate_row in zip(times, rates, strict=True):
        assert set(time_row) == set(rate_row)
        assert rate_row["mean_exit_time"] is rate_row["ks_pvalue"] is rate_row["mean_exit_steps"] is None
        assert rate_row["rate_ci95"][0] < rate_row["rate"] < rate_row["rate_ci95"][1]
        assert rate_row["ratio"] == pytest.approx(rate_row["rate"] / rate_row["predicted_rate"])
        assert time_row["mean_exit_steps"] < 100
        assert abs(time_row["rate"] / rate_row["rate"] - 1) < 5 / 1024**0.5
    assert rates[1]["ratio"] == pytest.approx(1, abs=0.03)


def test_interrupted_run_keeps_what_it_has(tmp_path, capsys, monkeypatch):
    import levyjax.cli.escape as command

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return False

        def update(self, ended):
            if ended > 100:
                raise KeyboardInterrupt

    monkeypatch.setattr(command, "progress", lambda total, desc: Bar())
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace("noise_level = 0.1", "noise_level = [0.05, 0.04]") + "num_trajectories = 20000\n")
    result = _cells(capsys, ["escape", str(path), "--out", str(tmp_path / "out")], status=130)
    assert result["interrupted"]
    assert len(result["cells"]) == 1
    row = result["cells"][0]
    assert row["exited"] > 100
    assert row["censored"] > 0
    assert row["num_trajectories"] == row["exited"] + row["censored"] < 20_000
    assert np.load(tmp_path / "out" / "samples_0000.npz")["exit_time"].shape == (row["num_trajectories"],)


class TestKeptPrograms:
    @pytest.fixture
    def command(self, tmp_path):
        """Runs a command without the tests' own cache, on a version of jaxlib."""

        def run(release="0.12.0", **variables):
            names = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "LEVYJAX_NO_CACHE")
            environment = {name: value for name, value in os.environ.items() if name not in names}
            code = (
                "import os, jaxlib.version, levyjax.cli.programs as programs\n"
                f"jaxlib.version.__version__ = {release!r}\n"
                "programs.keep_programs()\n"
                "print(os.environ.get('JAX_COMPILATION_CACHE_DIR', ''))"
            )
            environment |= {"XDG_CACHE_HOME": str(tmp_path), **variables}
            return subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            ).stdout.strip()

        return run

    def test_are_in_the_users_folder_by_version_and_machine(self, command, tmp_path):
        folder = Path(command())
        assert folder.is_dir()
        assert folder.parent == tmp_path / "levyjax"
        assert folder.name.startswith("programs-0.12.0-")
        assert command("0.13.0") != command()

    def test_are_not_kept_where_that_is_loud_or_unwanted(self, command, tmp_path):
        assert command("0.10.1") == command(LEVYJAX_NO_CACHE="1") == ""
        assert command(JAX_COMPILATION_CACHE_DIR="mine") == "mine"
        (tmp_path / "file").touch()
        assert command(XDG_CACHE_HOME=str(tmp_path / "file")) == ""
        assert not (tmp_path / "levyjax").exists()

    def test_take_no_more_room_than_they_may(self, command, tmp_path, monkeypatch):
        from levyjax.cli import programs

        folder = Path(command())
        for age, name in ((300, "old"), (200, "middle"), (100, "new")):
            (folder / name).write_bytes(bytes(1000))
            os.utime(folder / name, (time.time() - age,) * 2)
        monkeypatch.setattr(programs, "_MOST", 2500)
        programs._make_room(folder.parent)
        assert sorted(path.name for path in folder.iterdir()) == ["middle", "new"]
