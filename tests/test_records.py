"""Records: those of every version are read, those of a newer one and damaged ones are refused in a sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from levyjax.cli import main
from levyjax.config import cells, parse
from levyjax.records import SCHEMA_VERSION, read_record, write_record
from levyjax.sweep import ChunkStore, collect

DATA = Path(__file__).with_name("data")
RESULTS = sorted((Path(__file__).parents[1] / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("version", range(SCHEMA_VERSION + 1))
def test_an_escape_of_each_version_is_read(version):
    folder = DATA / f"escape_v{version}"
    assert json.loads((folder / "record.json").read_bytes()).get("schema_version", 0) == version
    record = read_record(folder / "record.json", ("config", "environment", "cells", "slopes", "face_names"))
    assert record["schema_version"] == SCHEMA_VERSION
    config = parse(record["config"])
    assert [cell.noise_level for cell in cells(config)] == [row["noise_level"] for row in record["cells"]]
    for index, row in enumerate(record["cells"]):
        with np.load(folder / f"samples_{index:04d}.npz", allow_pickle=False) as samples:
            assert samples["exit_time"].mean() == pytest.approx(row["mean_exit_time"], rel=1e-12)


def test_a_run_can_be_repeated_from_its_record(tmp_path):
    """The same numbers as when it was written, up to what another JAX rounds otherwise."""
    record = read_record(DATA / "escape_v0" / "record.json")
    rows = [f"[{name}]\n" + "".join(_line(*item) for item in table.items()) for name, table in record["config"].items()]
    (tmp_path / "run.toml").write_text("\n".join(rows))
    assert main(["escape", str(tmp_path / "run.toml"), "--out", str(tmp_path / "out")]) == 0
    again = read_record(tmp_path / "out" / "record.json")
    for row, old in zip(again["cells"], record["cells"], strict=True):
        assert row["mean_exit_time"] == pytest.approx(old["mean_exit_time"], rel=1e-3)


def _line(name, value):
    return "" if value is None else f"{name} = {json.dumps(value)}\n"


def test_a_sweep_of_each_version_is_collected(tmp_path):
    for version in range(1, SCHEMA_VERSION + 1):
        stored = DATA / f"sweep_v{version}"
        folder = shutil.copytree(stored, tmp_path / stored.name)
        expected = read_record(stored / "cells.json", ("cells", "slopes", "notes", "environments"))
        for row, stored_row in zip(collect(folder)["cells"], expected["cells"], strict=True):
            assert row.keys() == stored_row.keys()
            for name, value in stored_row.items():
                assert row[name] == pytest.approx(value), name
        assert read_record(folder / "cells.json").keys() == expected.keys()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_stored_benchmarks_are_read(path):
    record = read_record(path, ("environment",))
    assert record["schema_version"] == SCHEMA_VERSION


def test_written_is_read(tmp_path):
    written = write_record(tmp_path / "record.json", {"rate": float("nan")})
    assert written["schema_version"] == SCHEMA_VERSION
    assert read_record(tmp_path / "record.json") == {"schema_version": SCHEMA_VERSION, "rate": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not hold the JSON"),
        (b'{"schema_version": 1, "ce', "does not hold the JSON"),
        (b"\xff\xfe{}", "does not hold the JSON"),
        (b"[1, 2]", "does not hold the JSON"),
        (b"[" * 100_000, "does not hold the JSON"),
        (b'{"schema_version": "1"}', "not a whole number"),
        (b'{"schema_version": true}', "not a whole number"),
        (b'{"schema_version": -1}', "not a whole number"),
        (b'{"schema_version": 1.0}', "not a whole number"),
        (b'{"schema_version": 1}', "cells is missing"),
        (b'{"schema_version": 99, "cells": []}', r"newer levyjax \(schema 99\). Update levyjax"),
    ],
)
def test_damage_and_newer_versions_are_refused(tmp_path, content, message):
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_record(tmp_path / "record.json", ("cells",))
    assert len(str(refusal.value)) < 200
    (tmp_path / "sweep.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no sweep that can be read: sweep.json"):
        ChunkStore.open(tmp_path)


def test_a_missing_record_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "record.json")
