"""The configuration: what is accepted, what it means, and that everything else is a `ConfigError` that says why."""

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from levyjax.config import Cell, ConfigError, RunConfig, cells, load, parse
from levyjax.config.tables import KINDS, TABLES, Section, keys_of

BASE = {
    "landscape": {"kind": "quadratic", "hessian": [1.0, 0.1]},
    "basin": {"kind": "box", "lower": [-1.0, -1.0], "upper": [1.0, 1.0]},
    "dynamics": {"kind": "sgd", "learning_rate": 0.1},
    "noise": {"kind": "independent", "alpha": 1.5, "scale": [1.0, 1.0]},
    "run": {"noise_level": [0.1, 0.05], "dt": 0.05},
}
ADAM = {"kind": "adam"}
ADAMW = {"kind": "adamw"}
RMSPROP = {"kind": "rmsprop", "learning_rate": 0.1}
ADAGRAD = {"kind": "adagrad", "learning_rate": 0.1}
CLIPPED = {"kind": "clipped_sgd", "learning_rate": 0.1, "bound": 0.5}
ITERATION = {"noise_level": 0.1, "method": "iteration"}
ROW = {"kind": "multi_well", "minima": [-1, 2], "saddles": [0], "barriers": [1], "curvatures": [2, 1]} | {
    "saddle_curvatures": [1],
    "heights": [0, -0.5],
}
ONE_WELL = {"kind": "double_well", "width": 1, "height": 2}


def with_edits(**edits):
    """The base run; `table__key=value` sets a key (None takes it out), `table={...}` a table."""
    tables = copy.deepcopy(BASE)
    for place, value in edits.items():
        name, _, key = place.partition("__")
        if not key:
            tables[name] = value
        elif value is None:
            del tables[name][key]
        else:
            tables[name][key] = value
    return tables


def made(**edits) -> RunConfig:
    return parse(with_edits(**edits))


def test_defaults():
    config = made(noise__scale=None)
    assert (config.dimension, config.start, config.minimum) == (2, (0.0, 0.0), (0.0, 0.0))
    run = config.run
    assert (run.method, run.dtype, run.relative_error, run.num_trajectories) == ("euler", "float32", 0.001, 4096)
    assert (run.max_time, run.seed, run.start, run.zip) == (math.inf, 0, None, False)
    assert config.noise.scale is None
    adam = made(dynamics=ADAM).dynamics
    assert (adam.beta1, adam.beta2, adam.epsilon, adam.learning_rate) == (0.9, 0.999, 1e-8, None)
    assert (adam.gradient_noise, adam.variant, adam.preconditioner) == ("frozen", "paper", None)


def test_the_method_follows_from_dt():
    """A step's length asks for Euler's steps; without one a run takes none, and a prediction needs none."""
    assert parse(BASE).run.method == "euler"
    without = {name: value for name, value in BASE["run"].items() if name not in ("dt", "method")}
    assert parse(BASE | {"run": without}).run.method == "jump_adapted"


def test_defaults_of_required_keys():
    """Every key of [run] has a default but noise_level; dt is needed by Euler only."""
    assert made(run={"noise_level": 0.1, "method": "iteration"}).run.dt is None


@pytest.mark.parametrize(
    ("edits", "dimension"),
    [
        ({}, 2),
        ({"landscape__hessian": [[1.0, 0.2], [0.2, 1.0]]}, 2),
        ({"landscape__hessian": np.diag([1.0, 0.1]), "noise__scale": np.float64(2.0)}, 2),
        ({"landscape__hessian": 2.0, "basin": {"kind": "ball", "radius": 1}, "noise__scale": 0.5}, 1),
        ({"landscape": {"kind": "flat"}, "run__start": [0.5, 0]}, 2),
        ({"landscape": {"kind": "asymmetric_valley", "curvature_left": [1, 2], "curvature_right": [3, 4]}}, 2),
        ({"landscape": ONE_WELL, "basin": {"kind": "sublevel", "height": 1}, "noise__scale": 1}, 1),
        ({"landscape": ONE_WELL | {"curvature": [3]}, "basin": {"kind": "sublevel", "height": 1}}, 2),
        (
            {
                "landscape": ONE_WELL | {"well": "left", "curvature": 3},
                "basin": {"kind": "half_space", "normal": [1, 0], "offset": 0},
            },
            2,
        ),
        ({"landscape": ROW | {"well": 1}, "basin": {"kind": "sublevel", "height": 1.4}, "noise__scale": 1}, 1),
        ({"landscape": {"kind": "wang_oh_rhee"}, "basin__lower": -1.3, "basin__upper": 0.2, "noise__scale": 0.1}, 1),
        ({"run__method": "tamed", "run__project": [-1.6, 1.6]}, 2),
        ({"run__method": "iteration", "run__project": [[-1.6, 1.6], [-2, 3]]}, 2),
        ({"landscape": ROW, "basin": {"kind": "attraction"}, "noise__scale": 1}, 1),
        ({"basin": {"kind": "half_space", "normal": [1, 1], "offset": 0.5}}, 2),
        ({"basin": {"kind": "ellipsoid", "matrix": [[2, 1], [1, 2]], "level": 1, "center": [0.1, 0]}}, 2),
        ({"basin__lower": [-math.inf, -1]}, 2),
        ({"noise": {"kind": "gaussian"}}, 2),
        ({"noise": {"kind": "rotational", "alpha": 2, "scale": [[0, 1], [0, 0]]}}, 2),
        ({"dynamics": ADAM | {"variant": "frozen", "preconditioner": [1, 2]}}, 2),
        ({"dynamics": ADAM | {"variant": "corrected", "learning_rate": 1e-3, "beta1": 0}}, 2),
        ({"dynamics": ADAM | {"gradient_noise": "stable", "learning_rate": [1e-3, 1e-2]}}, 2),
        ({"dynamics": ADAM | {"variant": "malladi", "learning_rate": 1e-3}}, 2),
        ({"dynamics": ADAMW | {"weight_decay": 0.1, "variant": "frozen", "preconditioner": [1, 2]}}, 2),
        ({"dynamics": ADAMW | {"learning_rate": 0.1, "weight_decay": 0}, "run": ITERATION}, 2),
        ({"dynamics": {"kind": "momentum", "learning_rate": 0.1, "nesterov": True}}, 2),
        ({"dynamics": RMSPROP | {"beta2": 0.99, "gradient_noise": "gaussian"}}, 2),
        ({"dynamics": ADAGRAD | {"initial": 0}, "run": ITERATION}, 2),
        ({"dynamics": CLIPPED | {"by": "coordinate", "learning_rate": [0.1, 0.2]}, "run": ITERATION}, 2),
    ],
)
def test_accepted(edits, dimension):
    config = made(**edits)
    assert config.dimension == len(config.start) == dimension
    assert parse(config.to_dict()) == config
    assert hash(config) == hash(parse(config.to_dict()))


def test_starts():
    assert made(landscape__center=[0.5, 0.5]).start == (0.5, 0.5)
    assert made(run__start=[0.5, -0.5]).start == (0.5, -0.5)
    flat = made(landscape={"kind": "flat"}, run__start=[0.5, 0])
    assert flat.minimum == flat.start == (0.5, 0.0)
    left = made(landscape=ONE_WELL | {"well": "left"}, basin={"kind": "ball", "radius": 1}, noise__scale=1)
    assert left.minimum == (-1.0,)


def test_cells_cross_and_echo():
    config = made(noise__alpha=[1, 1.5], dynamics__learning_rate=[0.1, 1])
    assert len(cells(config)) == 8
    assert cells(config)[:3] == (Cell(1, 0.1, 0.1), Cell(1, 0.1, 1), Cell(1, 0.05, 0.1))
    assert [type(cell.alpha) for cell in cells(config)[3:5]] == [int, float]
    assert cells(made(noise={"kind": "gaussian"}, dynamics={"kind": "sgd"}))[0] == Cell(None, 0.1, None)


def test_cells_paired():
    config = made(noise__alpha=[1.2, 1.5], run__zip=True)
    assert cells(config) == (Cell(1.2, 0.1, 0.1), Cell(1.5, 0.05, 0.1))
    assert cells(made(run__noise_level=0.1, run__zip=True)) == (Cell(1.5, 0.1, 0.1),)


@pytest.mark.parametrize(
    ("edits", "used"),
    [
        ({}, False),
        ({"run__method": "iteration"}, True),
        ({"dynamics": ADAM}, False),
        ({"dynamics": ADAM | {"variant": "corrected", "learning_rate": 0.1}}, True),
        ({"dynamics": ADAM | {"gradient_noise": "gaussian", "learning_rate": 0.1}}, True),
    ],
)
def test_learning_rate_used(edits, used):
    assert made(**edits).uses_learning_rate is used


REFUSED = [
    # tables, kinds and keys
    ({"landscape": 3}, "landscape = 3 is not a table"),
    ({"landscape": {}}, "[landscape] kind is missing"),
    ({"landscape__kind": "quadratc"}, 'did you mean "quadratic"?'),
    ({"landscape__kind": 3}, "[landscape] kind = 3 is unknown"),
    ({"basin__kind": "torus"}, '"half_space"'),
    ({"dynamics__kind": "SGD"}, 'did you mean "sgd"?'),
    ({"noise__kind": "students_t"}, 'did you mean "student_t"?'),
    ({"nose": {}}, "did you mean"),
    ({"alpha": 1.5}, "It belongs under [noise]"),
    ({"noise__alhpa": 1.5}, 'did you mean "alpha"?'),
    ({"noise__noise_level": 1.5}, "It belongs under [run]"),
    ({"dynamics__preconditioner": [1, 1]}, '[dynamics] with kind = "adam"'),
    ({"run__kind": "euler"}, "[run] kind is unknown"),
    ({"noise__alpha": None}, "[noise] alpha is missing"),
    ({"run__noise_level": None}, "[run] noise_level is missing"),
    ({"basin": {"kind": "ball"}}, "[basin] radius is missing"),
    # numbers
    ({"noise__alpha": 2.5}, "[noise] alpha = 2.5"),
    ({"noise__alpha": 0}, "[noise] alpha = 0"),
    ({"noise__alpha": math.nan}, "[noise] alpha = nan"),
    ({"noise__alpha": True}, "[noise] alpha = true"),
    ({"noise__alpha": "1.5"}, "without quotes"),
    ({"noise__alpha": []}, "[noise] alpha = []"),
    ({"noise__alpha": [1.5, 3]}, "[noise] alpha[1] = 3"),
    ({"noise__alpha": [[1.2, 1.8]]}, "[noise] alpha[0] = [1.2, 1.8]"),
    ({"noise__alpha": 10**400}, "an integer of 1329 bits"),
    ({"run__noise_level": 0}, "[run] noise_level = 0"),
    ({"run__noise_level": -0.1}, "[run] noise_level = -0.1"),
    ({"run__noise_level": math.inf}, "[run] noise_level = inf"),
    ({"run__noise_level": 1e-60}, 'set dtype = "float64"'),
    ({"run__noise_level": {"a": 1}}, "[run] noise_level = {...}"),
    ({"run__dt": 0}, "[run] dt = 0"),
    ({"run__method": "euler", "run__dt": None}, "needs dt"),
    ({"run__dtype": "float16"}, '"float64"'),
    ({"run__dtype": 32}, "[run] dtype = 32"),
    ({"run__method": "tamed", "run__dt": None}, 'method = "tamed" needs dt'),
    ({"run__project": [1, 1]}, "[run] project = [1, 1]"),
    ({"run__project": [[-1, 1], 3]}, "[run] project = [[-1, 1], 3]"),
    ({"run__project": [[-1, 1]]}, "[landscape] hessian has 2 coordinates but [run] project has 1"),
    ({"run__project": [-1, math.inf]}, "[run] project = inf"),
    ({"run__project": [-1, 1], "run__method": "jump_adapted"}, 'method = "jump_adapted" does not project'),
    ({"run__method": "eulr"}, 'did you mean "euler"?'),
    ({"run__relative_error": 0}, "[run] relative_error = 0"),
    ({"run__num_trajectories": 0}, "[run] num_trajectories = 0"),
    ({"run__num_trajectories": 10.0}, "[run] num_trajectories = 10.0"),
    ({"run__num_trajectories": True}, "[run] num_trajectories = true"),
    ({"run__num_trajectories": 10**400}, "[run] num_trajectories = an integer of 1329 bits"),
    ({"run__seed": -1}, "[run] seed = -1"),
    ({"run__seed": 2**64}, "[run] seed = 18446744073709551616"),
    ({"run__seed": 0.5}, "[run] seed = 0.5"),
    ({"run__max_time": 0}, "[run] max_time = 0"),
    ({"run__max_time": math.nan}, "[run] max_time = nan"),
    ({"run__zip": 1}, "[run] zip = 1"),
    ({"run__start": "origin"}, "[run] start"),
    ({"run__start": []}, "[run] start = []"),
    ({"run__start": [math.inf, 0]}, "[run] start[0] = inf"),
    # learning rate and Adam
    ({"dynamics__learning_rate": 0}, "[dynamics] learning_rate = 0"),
    ({"dynamics__learning_rate": None, "run__method": "iteration"}, '[run] method = "iteration" uses it'),
    (
        {"dynamics": ADAM | {"variant": "corrected"}},
        '[dynamics] learning_rate is missing: variant = "corrected" uses it',
    ),
    (
        {"dynamics": ADAM | {"gradient_noise": "stable"}},
        '[dynamics] learning_rate is missing: gradient_noise = "stable" uses it',
    ),
    ({"dynamics": ADAM | {"beta1": 1}}, "[dynamics] beta1 = 1"),
    ({"dynamics": ADAM | {"beta2": -0.1}}, "[dynamics] beta2 = -0.1"),
    ({"dynamics": ADAM | {"beta1": 0}}, '[dynamics] kind = "adam" has no SDE. beta1 = 0.0 is a rate'),
    ({"dynamics": ADAM | {"epsilon": -1}}, "[dynamics] epsilon = -1"),
    ({"dynamics": ADAM | {"variant": "frozen"}}, "needs preconditioner"),
    ({"dynamics": ADAM | {"preconditioner": [1, 1]}}, "[dynamics] preconditioner = [1.0, 1.0]"),
    ({"dynamics": ADAM | {"variant": "frozen", "preconditioner": [1, 0]}}, "[dynamics] preconditioner[1] = 0"),
    ({"dynamics": ADAM | {"variant": "frozen", "preconditioner": [1]}}, "[dynamics] preconditioner has 1"),
    # matrices
    ({"landscape__hessian": [1, -1]}, "[landscape] hessian[1] = -1"),
    ({"landscape__hessian": []}, "[landscape] hessian = []"),
    ({"landscape__hessian": [[1, 0], [0]]}, "[landscape] hessian: row 1 has 1 entries"),
    ({"landscape__hessian": [[1, 0], 2]}, "[landscape] hessian: row 1 is no list"),
    ({"landscape__hessian": [[1, 0.5], [0, 1]]}, "[landscape] hessian is not symmetric"),
    ({"landscape__hessian": [[1, 2], [2, 1]]}, "positive definite"),
    ({"landscape__hessian": [[1, 1], [1, 1]]}, "positive definite"),
    ({"landscape__hessian": [[0, 0], [0, 0]]}, "positive definite"),
    ({"landscape__hessian": [[[1]]]}, "[landscape] hessian[0][0] = [1]"),
    ({"landscape__hessian": None}, "[landscape] hessian is missing"),
    ({"noise__scale": 0}, "[noise] scale = 0"),
    ({"noise__scale": [0, 0]}, "[noise] scale = [0, 0]"),
    ({"noise__scale": [1, -1]}, "[noise] scale[1] = -1"),
    ({"noise__scale": [[0, 0], [0, 0]]}, "not 0 in all its entries"),
    ({"basin": {"kind": "ellipsoid", "matrix": [[1, 2], [2, 1]], "level": 1}}, "[basin] matrix"),
    # basins, landscapes and how they fit
    ({"basin__lower": [1, 1]}, "[basin] lower[0] = 1.0 is not below"),
    ({"basin__lower": [math.inf, 0]}, "[basin] lower[0] = inf"),
    ({"basin__upper": [math.nan, 1]}, "[basin] upper[0] = nan"),
    ({"basin": {"kind": "box", "lower": [-math.inf] * 2, "upper": [math.inf] * 2}}, "no finite bound"),
    ({"basin": {"kind": "ball", "radius": 0}}, "[basin] radius = 0"),
    ({"basin": {"kind": "ellipsoid", "matrix": [1, 1], "level": -1}}, "[basin] level = -1"),
    ({"basin": {"kind": "sublevel", "height": 0}}, "[basin] height = 0"),
    ({"basin": {"kind": "half_space", "normal": [0, 0], "offset": 1}}, "[basin] normal = [0.0, 0.0]"),
    ({"landscape": ONE_WELL | {"width": -1}}, "[landscape] width = -1"),
    ({"landscape": ONE_WELL | {"well": "middle"}}, "[landscape] well"),
    ({"landscape": ROW | {"saddles": [3]}}, "do not alternate: 2.0 comes after 3.0"),
    ({"landscape": ROW | {"saddles": []}}, "[landscape] saddles has 0 entries, but 2 minima need 1"),
    ({"landscape": ROW | {"barriers": [0.01]}}, "[landscape] barriers: F would not be monotone"),
    ({"landscape": ROW | {"well": 2}}, "[landscape] well = 2"),
    ({"landscape": ROW}, '[landscape] kind = "multi_well" has 1 coordinate but [basin] lower has 2'),
    ({"landscape": {"kind": "wang_oh_rhee", "well": 4}}, "[landscape] well = 4"),
    (
        {"landscape": {"kind": "asymmetric_valley", "curvature_left": [1, 1], "curvature_right": [1, 0]}},
        "curvature_right[1] = 0",
    ),
    ({"landscape": {"kind": "flat"}}, "[run] start is missing"),
    ({"landscape": {"kind": "flat"}, "basin": {"kind": "sublevel", "height": 1}, "run__start": [0]}, "no levels"),
    ({"basin__lower": [-1, -1, -1]}, "[basin] lower has 3 coordinates but [basin] upper has 2"),
    ({"landscape__hessian": [1, 1, 1]}, "[landscape] hessian has 3 coordinates but [basin] lower has 2"),
    ({"noise__scale": [1]}, "[landscape] hessian has 2 coordinates but [noise] scale has 1"),
    ({"run__start": 0.5}, "but [run] start has 1"),
    ({"landscape__center": [0, 0, 0]}, "but [landscape] center has 3"),
    ({"landscape": ONE_WELL}, "[landscape] curvature has 1 coordinate but"),
    (
        {"run__start": [0, 2]},
        '[0.0, 2.0] is outside the basin (kind = "box"): the way there from the minimum leaves it after 0.5',
    ),
    ({"run__start": [0, 1]}, "outside the basin"),
    ({"landscape__center": [3, 0]}, "the minimum of [landscape]"),
    (
        {"basin": {"kind": "ball", "radius": 1, "center": [2, 0]}},
        'minimum of [landscape] kind = "quadratic" = [0.0, 0.0] is outside the basin (kind = "ball")',
    ),
    (
        {"basin": {"kind": "ellipsoid", "matrix": [1, 1], "level": 1, "center": [2, 0]}},
        '[0.0, 0.0] is outside the basin (kind = "ellipsoid")',
    ),
    (
        {"basin": {"kind": "half_space", "normal": [1, 0], "offset": -1}},
        '[0.0, 0.0] is outside the basin (kind = "half_space")',
    ),
    (
        {"basin": {"kind": "sublevel", "height": 1}, "run__start": [2, 0]},
        "leaves it after 0.707 of its length, through x0>center",
    ),
    (
        {"landscape": ONE_WELL, "basin": {"kind": "sublevel", "height": 1}, "noise__scale": 1, "run__start": -1},
        "leaves it after 0.229 of its length, through x0<center",
    ),
    # optimizers
    ({"dynamics": {"kind": "rmsprop"}}, '[dynamics] learning_rate is missing (kind = "rmsprop")'),
    ({"dynamics": RMSPROP | {"beta2": 1}}, "[dynamics] beta2 = 1"),
    ({"dynamics": RMSPROP | {"gradient_noise": "pareto"}}, "[dynamics] gradient_noise"),
    ({"dynamics": ADAGRAD}, '[run] method = "euler" is refused: [dynamics] kind = "adagrad" has no SDE'),
    ({"dynamics": CLIPPED, "run__method": "quasi_stationary"}, 'kind = "clipped_sgd" has no SDE'),
    ({"dynamics": {"kind": "adagrad"}, "run": ITERATION}, "[dynamics] learning_rate is missing"),
    ({"dynamics": ADAGRAD | {"initial": -1}, "run": ITERATION}, "[dynamics] initial = -1"),
    ({"dynamics": {"kind": "clipped_sgd", "learning_rate": 1}, "run": ITERATION}, "[dynamics] bound is missing"),
    ({"dynamics": CLIPPED | {"bound": 0}, "run": ITERATION}, "[dynamics] bound = 0"),
    ({"dynamics": CLIPPED | {"by": "size"}, "run": ITERATION}, "[dynamics] by"),
    ({"dynamics": ADAMW | {"weight_decay": -1}}, "[dynamics] weight_decay = -1"),
    ({"dynamics": ADAM | {"weight_decay": 1}}, '[dynamics] with kind = "adamw"'),
    ({"dynamics": ADAM | {"variant": "malladi"}}, '[dynamics] learning_rate is missing: variant = "malladi" uses it'),
    (
        {"dynamics": ADAM | {"variant": "malladi", "learning_rate": 1, "gradient_noise": "stable"}},
        '[dynamics] gradient_noise = "stable" is refused',
    ),
    ({"dynamics": {"kind": "momentum", "learning_rate": 0.1, "nesterov": 1}}, "[dynamics] nesterov = 1"),
    # sweeps
    ({"noise__alpha": [1, 1.5, 1.8], "run__zip": True}, "[noise] alpha has 3 entries and [run] noise_level has 2"),
    ({"noise__alpha": [1.5] * 1000, "run__noise_level": [0.1] * 1000}, "more than 100000 cells"),
]


@pytest.mark.parametrize(("edits", "expected"), REFUSED, ids=[f"{i}-{case[1][:30]}" for i, case in enumerate(REFUSED)])
def test_refused(edits, expected):
    with pytest.raises(ConfigError) as caught:
        made(**edits)
    message = str(caught.value)
    assert expected in message
    assert len(message) < 450
    assert "\n" not in message


def test_missing_table():
    for name in TABLES:
        tables = {other: BASE[other] for other in TABLES if other != name}
        with pytest.raises(ConfigError, match=rf"\[{name}\] is missing"):
            parse(tables)


def test_a_table_alone_is_checked_too():
    with pytest.raises(ConfigError, match="hessian"):
        Section.of("landscape", "quadratic", {"hessian": [-1.0]})


@pytest.mark.parametrize("table", sorted(KINDS))
def test_every_kind_is_documented(table):
    for kind, owner in KINDS[table].items():
        assert (owner.table, owner.kind) == (table, kind)
        assert owner.cls.__doc__
        assert not owner.cls.__doc__.startswith(f"{owner.cls.__name__}(")


FILES = [
    (b"", "empty"),
    (b"  \n", "empty"),
    (b"[landscape\nkind = 1", "line 1"),
    (b"[run]\nseed = \xff", "not UTF-8"),
    (b"a = " + b"[" * 100_000, "nested too deeply"),
    (b"a = " + b"9" * 5000, "too many digits"),
    (b"a = 1\na = 2", "Cannot overwrite"),
    (b"# nothing\n", "There is nothing here"),
    (b"#" * (16 * 2**20 + 1), "larger than 16 MiB"),
]


@pytest.mark.parametrize(("data", "expected"), FILES, ids=[case[1] + str(i) for i, case in enumerate(FILES)])
def test_refused_files(tmp_path, data, expected):
    path = tmp_path / "run.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert expected in str(caught.value)
    assert "run.toml" in str(caught.value)


@pytest.mark.parametrize(("name", "expected"), [("none.toml", "no such file"), (".", "folder"), ("a\0b", "null byte")])
def test_refused_paths(tmp_path, name, expected):
    with pytest.raises(ConfigError, match=expected):
        load(f"{tmp_path}/{name}")


def test_load_accepts_byte_order_mark_and_windows_lines(tmp_path):
    text = """[landscape]\nkind = "quadratic"\nhessian = 1\n[basin]\nkind = "ball"\nradius = 1\n[dynamics]
kind = "sgd"\n[noise]\nkind = "rotational"\nalpha = 1.5\n[run]\nnoise_level = 0.1\ndt = 0.1\nmax_time = inf\n"""
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load(path).dimension == 1


def test_imports_neither_jax_nor_numpy():
    code = "import sys, levyjax.cli, levyjax.config; print({'jax', 'numpy', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([10**400, -(10**30), 2**64, 1e300, 1e-300, 5e-324, math.inf, -math.inf, math.nan, 0.5, 0.1]),
    st.floats(),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5))
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2))
every_key = sorted({key for kinds in KINDS.values() for cls in kinds.values() for key in keys_of(cls)} | {"kind"})


@st.composite
def edited(draw):
    """A valid run with a few values replaced, or kinds exchanged."""
    tables = copy.deepcopy(BASE)
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(TABLES))
        keys = st.sampled_from(sorted(tables[name])) | st.sampled_from(every_key)
        tables[name][draw(keys)] = draw(values | st.lists(numbers, min_size=2, max_size=2))
        if draw(st.booleans()) and name in KINDS:
            tables[name]["kind"] = draw(st.sampled_from(sorted(KINDS[name])))
    return tables


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(edited() | st.dictionaries(st.sampled_from(TABLES) | st.text(), values, max_size=6) | values)
def test_only_config_errors(mapping):
    message = ""
    try:
        config = parse(mapping)
    except ConfigError as error:
        message = str(error)
    else:
        assert parse(config.to_dict()) == config
        assert cells(config)
    assert "\n" not in message
    assert len(message) < 600


def test_nesting_without_end():
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    for place in ("landscape__hessian", "noise__alpha", "run__start", "run__dtype", "noise__kind"):
        with pytest.raises(ConfigError):
            made(**{place: nested})
    while nested:  # without recursion in the deallocator
        nested = nested[0]


OPTIMIZERS = [
    ({"kind": "momentum", "learning_rate": 0.1, "nesterov": True}, "Momentum", {"nesterov": True, "beta": 0.9}),
    (RMSPROP | {"beta2": 0.8, "epsilon": 1e-3}, "RMSProp", {"beta2": 0.8, "epsilon": 1e-3}),
    (ADAGRAD | {"initial": 0.5, "learning_rate": 1.0}, "AdaGrad", {"initial": 0.5, "epsilon": 1e-7}),
    (CLIPPED | {"by": "coordinate"}, "ClippedSGD", {"bound": 0.5, "by": "coordinate"}),
    (ADAM | {"learning_rate": 0.1}, "Adam", {"weight_decay": 0.0, "variant": "paper"}),
    (ADAMW | {"learning_rate": 0.1, "variant": "malladi"}, "Adam", {"weight_decay": 1e-4, "variant": "malladi"}),
]


@pytest.mark.parametrize(("table", "name", "values"), OPTIMIZERS, ids=[case[0]["kind"] for case in OPTIMIZERS])
def test_optimizers_are_built_and_escape(table, name, values):
    """From the file's keys to the object, and from there to exits of the algorithm itself."""
    from levyjax.config.build import build_plan, build_problem
    from levyjax.escape import simulate

    run = {"noise_level": 3.0, "method": "iteration", "num_trajectories": 64, "max_time": 20}
    config = made(dynamics=table, run=run)
    problem = build_problem(config, cells(config)[0])
    assert type(problem.dynamics).__name__ == name
    assert {key: getattr(problem.dynamics, key) for key in values} == values
    samples = simulate(problem, build_plan(config), 0)
    assert samples.step_time == table["learning_rate"]
    assert samples.exited.any()
