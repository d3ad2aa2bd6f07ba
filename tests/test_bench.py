"""The benchmarks: the rivals do the same work, the command runs one topic, the figures draw a stored result."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from levyjax import stable
from levyjax.cli import bench, main
from levyjax.plots import benchmarks as figures
from levyjax.random.threefry import threefry2x32

package = bench.benchmarks()
rivals = bench.importlib.import_module(f"{package.__name__}.rivals")
common = bench.importlib.import_module(f"{package.__name__}.common")
NAMES = [name for name in rivals.MODULES if name not in ("levyjax_engine", "diffrax_path", "numba_loop")]
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")

SIZE = {"dimension": 2, "trajectories": 64, "trajectory_steps_per_second": 1e6, "increments_per_second": 2e6}
RESULTS = {
    "increments": [
        {"case": "float32", "name": "levyjax", "increments_per_second": 1e8},
        {"case": "float32", "name": "NumPy", "increments_per_second": 5e7},
        {"case": "float32", "name": "Numba", "unavailable": "Numba is not installed."},
    ],
    "scaling": [{"name": "levyjax", "sweep": sweep, **SIZE} for sweep in ("dimension", "trajectories")],
    "exits": [
        {"name": "levyjax", "exits_per_second": 1e5, "efficiency": 0.8},
        {"name": "vmap(while_loop)", "exits_per_second": 3e3, "efficiency": 0.1},
    ],
    "cost": [
        {"name": "euler", "noise_level": 0.1, "seconds": 0.5, "steps": 1e7, "measured": True},
        {"name": "euler", "noise_level": 1e-3, "seconds": 500.0, "steps": 1e10, "measured": False},
        {"name": "jump_adapted", "noise_level": 0.1, "seconds": 0.4, "steps": 1e6, "measured": True},
        {"name": "quasi_stationary", "noise_level": 1e-3, "seconds": None, "steps": 1e6, "measured": True},
    ],
    "work_precision": [
        {"name": name, "kappa": kappa, "seconds": seconds, "error": -0.01, "standard_error": 0.002}
        for name in ("euler", "jump_adapted")
        for kappa in (0.0, 10.0)
        for seconds in (0.1, 1.0)
    ],
}


def points(name: str, work) -> np.ndarray:
    """The last points of a rival, or a skip."""
    module = bench.importlib.import_module(f"{rivals.__name__}.{name}")
    try:
        return np.asarray(module.increments(work)())
    except rivals.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", NAMES)
def test_rival_follows_the_exact_law(name):
    work = rivals.Work(lanes=1024, dimension=4, steps=8)
    found = points(name, work)
    assert found.shape == (4, 1024)
    assert common.law_error(work, found) < 4.5


@needs_gcc
def test_c_program_makes_the_same_words_and_points():
    c_program, engine = (
        bench.importlib.import_module(f"{rivals.__name__}.{n}") for n in ("c_program", "levyjax_engine")
    )
    key, counter = (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)
    assert c_program.words(key, counter) == tuple(int(w) for w in threefry2x32(*map(jnp.uint32, (*key, *counter))))
    assert c_program.words((0, 0), (0, 0), rounds=13) == (0x9D1C5EC6, 0x8BD50731)  # Random123's known answer
    work = rivals.Work(lanes=300, dimension=3, steps=40, noise_level=0.1)  # some of them exit
    c = c_program.increments(work, seed=5)()
    ours = np.asarray(engine.increments(work, seed=5)())
    assert np.median(np.abs(c / ours - 1)) < 1e-6
    assert (np.abs(c / ours - 1) < 1e-3).mean() > 0.99
    assert 0 < (np.abs(ours) > 1).any(axis=0).sum() < 300


@needs_gcc
def test_c_program_draws_the_law_of_levyjax():
    work = rivals.Work(lanes=1 << 15, dimension=2, steps=1, dt=1.0, noise_level=1.0, bound=1e30)
    draws = points("c_program", work).ravel()  # one step of dt = 1 from anywhere is one draw
    ours = np.asarray(stable.sample(1, work.alpha, (draws.size,)))
    assert stats.ks_2samp(draws, ours).pvalue > 1e-4


def test_list_and_unknown_topics(capsys):
    assert main(["bench", "--list", "--json"]) == 0
    assert {row["topic"] for row in json.loads(capsys.readouterr().out)["topics"]} == set(package.TOPICS)
    assert main(["bench", "--only", "nothing"]) == 2
    assert "unknown topic 'nothing'" in capsys.readouterr().err


def test_without_a_checkout_it_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.delitem(bench.sys.modules, package.__name__)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "levyjax" / "cli" / "bench.py"))
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--list"]) == 2
    assert "no benchmarks here" in capsys.readouterr().err


def test_one_topic_writes_its_file(tmp_path, capsys):
    assert main(["bench", "--quick", "--only", "device", "--out", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["topics"]
    assert row["error"] is None
    result = json.loads((tmp_path / row["file"]).read_text())
    assert {"topic", "rows", "quick", "environment"} <= result.keys()
    assert {"backend", "vector_units", "gcc"} <= {fact["name"] for fact in result["rows"]}


def test_a_topic_that_fails_is_reported(tmp_path, monkeypatch, capsys):
    device = bench.importlib.import_module(f"{package.__name__}.device")
    monkeypatch.setattr(device, "facts", lambda: 1 / 0)
    assert main(["bench", "--only", "device", "--out", str(tmp_path)]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_topic_with_a_figure_is_stored_here():
    assert set(RESULTS) == set(figures.FIGURES)
    assert set(RESULTS) <= set(package.TOPICS)


@pytest.mark.parametrize("topic", RESULTS)
def test_figure_is_drawn(topic):
    axes = figures.FIGURES[topic]({"rows": RESULTS[topic]})
    axes.figure.canvas.draw()
    assert axes.get_xlabel()


def test_figure_of_cost_marks_what_was_not_measured():
    axes = figures.cost({"rows": RESULTS["cost"]})
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata().tolist() for line in dotted] == [[1e-3, 0.1]]


def test_figure_refuses_a_result_without_its_rows():
    for draw in (figures.increments, figures.scaling, figures.work_precision):
        with pytest.raises(ValueError, match=r"no rival|no sweep|no problem"):
            draw({"rows": []})


def test_a_long_run_in_short(monkeypatch):
    """A row at every tenth of the steps, in which the mean exit time is the same within 4 standard errors."""
    long_run = bench.importlib.import_module(f"{package.__name__}.long_run")
    monkeypatch.setattr(long_run, "QUICK_STEPS", 10**7)
    monkeypatch.setattr(long_run, "CHUNK", 512)
    result = long_run.run(quick=True)
    assert [row["steps"] >= 10**6 * (i + 1) for i, row in enumerate(result["rows"])] == [True] * 10
    assert result["rows"][-1]["exits"] % 512 == 0
    assert abs(result["last_tenth_less_first_in_standard_errors"]) < 4
    assert result["growth_mib_after_the_first_tenth"] < 20


def test_false_alarms_are_counted(monkeypatch):
    """A right law is not found to alarm too often, a wrong one is; both are rows of the documentation's table."""
    module = bench.importlib.import_module(f"{package.__name__}.false_alarms")
    right = module.closed_form(1.0, stats.cauchy.cdf)
    wrong = module.closed_form(1.0, stats.cauchy(scale=1.1).cdf)
    monkeypatch.setattr(module, "QUICK_SEEDS", 4)
    monkeypatch.setattr(module, "CHECKS", {"right": (100_000, right, 1e-5), "wrong": (100_000, wrong, 1e-5)})
    result = module.run(quick=True)
    assert [row["too_many"] for row in result["rows"]] == [False, True]
    assert [part["alarms"] for part in result["rows"][1]["shares"]] == [4, 4, 4]
    table = module.markdown(result).splitlines()
    assert len(table) == 4
    assert table[3].endswith("| 1e-05 | 4 of 4 |")
    assert all(line.count("|") == 8 for line in table)
