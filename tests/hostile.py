"""Hostile inputs for the tests of bad input: valid trees and files with something wrong in them."""

import copy
import io
import math
import zipfile

import numpy as np
from hypothesis import strategies as st

from levyjax.config.tables import KINDS, TABLES, keys_of
from levyjax.config.training import MonitorSettings

_WELLS = {"kind": "multi_well", "minima": [-1.0, 2.0], "saddles": [0.0], "barriers": [1.0], "curvatures": [2.0, 1.0]}
LANDSCAPES = [
    {"kind": "quadratic", "hessian": [1.0, 0.1]},
    {"kind": "quadratic", "hessian": [[1.0, 0.2], [0.2, 1.0]], "center": [0.1, 0.0]},
    {"kind": "asymmetric_valley", "curvature_left": [1.0, 2.0], "curvature_right": [3.0, 4.0]},
    {"kind": "double_well", "width": 0.5, "height": 2.0, "curvature": [3.0]},
    _WELLS | {"saddle_curvatures": [1.0], "heights": [0.0, -0.5]},
    {"kind": "wang_oh_rhee"},
    {"kind": "flat"},
]
BASINS = [
    {"kind": "box", "lower": [-1.0, -1.0], "upper": [1.0, 1.0]},
    {"kind": "ball", "radius": 1.0},
    {"kind": "ellipsoid", "matrix": [2.0, 1.0], "level": 1.0},
    {"kind": "half_space", "normal": [1.0, 1.0], "offset": 2.0},
    {"kind": "sublevel", "height": 0.3},
    {"kind": "attraction"},
]
DYNAMICS = [
    {"kind": "sgd", "learning_rate": 0.1},
    {"kind": "momentum", "learning_rate": 0.1},
    {"kind": "adam", "learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8},
    {"kind": "adamw", "learning_rate": 0.1, "variant": "frozen", "preconditioner": [1.0, 2.0]},
    {"kind": "rmsprop", "learning_rate": [0.1, 0.2]},
    {"kind": "adagrad", "learning_rate": 0.1},
    {"kind": "clipped_sgd", "learning_rate": 0.1, "bound": 0.5},
]
NOISES = [
    {"kind": "independent", "alpha": [1.2, 1.8], "scale": [1.0, 0.5]},
    {"kind": "rotational", "alpha": 1.5, "scale": [[1.0, 0.2], [0.0, 1.0]]},
    {"kind": "per_coordinate", "alphas": [1.2, 1.8]},
    {"kind": "gaussian", "scale": 0.5},
    {"kind": "pareto", "index": 1.5},
    {"kind": "student_t", "nu": 3},
    {"kind": "truncated", "alpha": 1.5, "bound": 10.0},
    {"kind": "tempered", "alpha": 1.5, "tempering": 0.1},
    {"kind": "empirical", "file": "noise.npy", "coordinates": [0, 1]},
]
RUNS = [
    {"noise_level": [0.1, 0.05], "dt": 0.05, "num_trajectories": 64, "max_time": 10.0, "seed": 3},
    {"noise_level": 0.1, "method": "jump_adapted", "start": [0.1, 0.1]},
    {"noise_level": 0.1, "method": "iteration", "project": [-2.0, 2.0], "dtype": "float64"},
    {"noise_level": [0.1, 0.2], "method": "quasi_stationary", "relative_error": 0.1, "zip": True},
    {"noise_level": 0.1, "method": "tamed", "dt": 0.05, "max_time": math.inf},
]
TRAINING = {
    "training": {
        "data": "synthetic", "data_dir": "data", "network": "mlp", "widths": [8], "activation": "tanh", "bias": True,
        "loss": "cross_entropy", "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.5, "batch_size": 32,
        "iterations": 100, "record_every": 10, "capture_every": 50, "capture": "samples", "applied": False,
        "num_batches": 64, "keep_at": [50, 100], "seed": 0,
    },
    "monitors": {"tails": True, "path": True, "curvature": 2},
}  # fmt: skip

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0, 1, 2, 10**30, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**400, -(10**400), 10**4000]),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e-300, 1e-45, 1e38, 1e39, 1e154, 1e200, 1.8e308]),
    st.floats(),
    st.floats(0.01, 2.0),
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "inf", "-inf", "nan", "\0", "../../../etc/passwd", "~nobody/x", "~", "/dev/zero", "a" * 5000]),
    st.sampled_from(["sgd", "adam", "quadratic", "float32", "euler", "iteration", "1.5", "\n\x1b[31m", "x/../y"]),
)
LEAVES = st.one_of(NUMBERS, NUMBERS, st.booleans(), TEXTS, st.none(), st.dates(), st.just({}), st.just([]))
VALUES = st.one_of(
    LEAVES,
    LEAVES,
    st.lists(NUMBERS, max_size=3),
    st.lists(NUMBERS, min_size=2, max_size=2),
    st.lists(st.lists(NUMBERS, min_size=1, max_size=2), min_size=1, max_size=2),
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2)),
)
KEYS = sorted({key for kinds in KINDS.values() for cls in kinds.values() for key in keys_of(cls)} | {"kind", "label"})
KEYS += sorted({*TRAINING["training"], *keys_of(MonitorSettings), "capture_at", "axes", "chunk_size"} - set(KEYS))


@st.composite
def runs(draw):
    """A run file's tables, most often one that is accepted."""
    parts = zip(TABLES, (LANDSCAPES, BASINS, DYNAMICS, NOISES, RUNS), strict=True)
    chosen = {name: draw(st.sampled_from(part) if draw(st.booleans()) else st.just(part[0])) for name, part in parts}
    return copy.deepcopy(chosen)


@st.composite
def sweeps(draw):
    """A sweep file's tables."""
    tables = draw(runs())
    if draw(st.booleans()):
        tables["basin"] = [{"kind": "ball", "radius": 1.0}, {"kind": "ball", "radius": 2.0, "label": "wide"}]
    tables["sweep"] = {
        "chunk_size": 32, "axes": {"run.dt": [0.1, 0.05], "dynamics.learning_rate": [0.1, 0.2]},
        "zip": [["run.dt", "dynamics.learning_rate"]],
    }  # fmt: skip
    return tables


def trainings():
    """A training file's tables."""
    return st.builds(lambda: copy.deepcopy(TRAINING))


def _places(tables):
    """(container, key) of everything in a tree."""
    found, waiting = [], [tables]
    while waiting:
        inner = waiting.pop()
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)):
            found.append((inner, key))
            if isinstance(inner[key], (dict, list)):
                waiting.append(inner[key])
    return found


@st.composite
def edited(draw, trees):
    """A tree with a few values replaced, taken out, added, put into a list, or exchanged."""
    tables = draw(trees)
    for _ in range(draw(st.integers(0, 4))):
        places = _places(tables)
        if not places:
            break
        inner, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace"] * 5 + ["delete", "add", "add", "wrap", "copy", "repeat"]))
        if how == "replace":
            inner[key] = draw(VALUES)
        elif how == "delete":
            del inner[key]
        elif how == "add" and isinstance(inner, dict):
            inner[draw(st.sampled_from(KEYS) | TEXTS)] = draw(VALUES)
        elif how == "wrap":
            inner[key] = [inner[key]]
        elif how == "copy":
            other, name = draw(st.sampled_from(places))
            if name in other if isinstance(other, dict) else name < len(other):
                inner[key] = copy.deepcopy(other[name])
        elif how == "repeat":
            inner[key] = [copy.deepcopy(inner[key])] * draw(st.sampled_from([2, 3, 400]))
    return tables


def to_toml(value, name=""):
    """A tree as TOML text: tables at the top, everything else inline."""
    head = {key: item for key, item in value.items() if not isinstance(item, dict)}
    lines = [f"[{name}]"] if name else []
    lines += [f"{_key(key)} = {_inline(item)}" for key, item in head.items() if item is not None]
    rest = [
        to_toml(item, f"{name}.{_key(key)}" if name else _key(key)) for key, item in value.items() if key not in head
    ]
    return "\n".join(lines + rest)


def _key(key):
    return _inline(str(key))


def _inline(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"'
            + "".join(c if (c.isalnum() and c.isascii()) or c in " ._/-~" else f"\\U{ord(c):08X}" for c in value)
            + '"'
        )
    if isinstance(value, int) and abs(value) > 10**4000:
        return hex(value) if value > 0 else "0"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items() if item is not None) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value if item is not None) + "]"
    return str(value)


@st.composite
def damaged(draw, data):
    """Bytes with some changed, taken out, put in, doubled or cut off."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["flip", "set", "cut", "insert", "remove", "double"]))
        if how == "cut":
            del data[place:]
        elif how == "insert":
            data[place:place] = draw(st.binary(max_size=8) | st.sampled_from(SNIPPETS))
        elif how == "remove":
            del data[place : place + draw(st.integers(1, 16))]
        elif how == "double":
            data[place:place] = data[place : place + draw(st.integers(1, 64))]
        elif data:
            data[place] = data[place] ^ (1 << draw(st.integers(0, 7))) if how == "flip" else draw(st.integers(0, 255))
    return bytes(data)


SNIPPETS = [
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b"nan",
    b"inf",
    b"1e999",
    b"[",
    b"]",
    b'"""',
    b"''",
    b"[[",
    b"= ",
    b"\n",
]
SNIPPETS += [
    b"[" * 300,
    b"9" * 5000,
    b"0x" + b"f" * 5000,
    b"a." * 400,
    b"{" * 50,
    b"1979-05-27",
    b",",
    b"#",
    b"-",
    b"e",
]


def npy(array, **header):
    """An .npy file, its header changed."""
    buffer = io.BytesIO()
    fields = np.lib.format.header_data_from_array_1_0(array) | header
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue() + array.tobytes()


def npz(members, method=zipfile.ZIP_STORED):
    """An .npz file of raw members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


VALUES_OF_NOISE = np.linspace(-1.0, 1.0, 40) ** 3
_NPY = npy(VALUES_OF_NOISE)
DATA_FILES = {
    ".npy": [_NPY, npy(VALUES_OF_NOISE.reshape(20, 2).astype(np.float32)), npy(VALUES_OF_NOISE.astype(np.float16))],
    ".npz": [npz({"samples.npy": _NPY}), npz({"a.npy": _NPY, "samples.npy": _NPY}, zipfile.ZIP_DEFLATED)],
    ".csv": [
        b"\n".join(b"%.3f,%d" % (x, i) for i, x in enumerate(VALUES_OF_NOISE)),
        b"# noise\n" + b"1.5\n2\n-3e5\n" * 9,
        b"date;close\n" + b"2026-01-02;1.5\n2026-01-03;-2\n" * 9,
        b'"my ""title"""\n' + b"1.5\n2\n-3e5\n" * 9,
    ],
    ".txt": [b"open\tclose\n" + b"1.5\t2\n1 \t-3e5\n" * 9, b'"x"\n' + b'"1" 0.5\n"2" 1.5\n' * 9],
}
DTYPES = (
    "<f8",
    ">f4",
    "<f2",
    "<i8",
    "|b1",
    "<c16",
    "<U4",
    "|S3",
    "|O",
    "<M8[s]",
    "|V8",
    "<f16",
    "|u1",
    "<f8,<i4",
    "(2,)<f8",
)
SHAPES = (
    (0,),
    (),
    (40,),
    (4, 10),
    (2, 2, 10),
    (0, 5),
    (10**13,),
    (2**62, 4),
    (-1,),
    (1, 40),
    (40, 1),
    (2**63,),
    (True,),
)


@st.composite
def headers(draw):
    """An .npy file whose header says something else than its data."""
    descr = draw(st.sampled_from(DTYPES) | st.sampled_from([3, None, "x", [("a", "<f8")], "<f8" * 100, ["<f8"]]))
    shape = draw(st.sampled_from(SHAPES) | st.tuples(st.integers(0, 50)) | st.just("no shape"))
    return npy(VALUES_OF_NOISE, descr=descr, shape=shape, fortran_order=draw(st.booleans()))


@st.composite
def data_files(draw):
    """(suffix, bytes) of a data file."""
    suffix = draw(st.sampled_from(sorted(DATA_FILES)))
    whole = draw(st.sampled_from(DATA_FILES[suffix]))
    if suffix == ".npy" and draw(st.booleans()):
        return suffix, draw(headers())
    if suffix == ".npz" and draw(st.booleans()):
        inner = draw(headers() | damaged(_NPY))
        name = draw(st.sampled_from(["samples.npy", "samples", "a.npy", "../../x.npy", "/etc/x.npy"]))
        return suffix, npz({name: inner}, draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    return suffix, draw(damaged(whole) | st.just(whole) | st.binary(max_size=100))
