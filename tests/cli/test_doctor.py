"""The doctor: what it computes is right here, what is wrong it finds, and a cache that cannot be read does no harm."""

import json
import re
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import levyjax
from levyjax.cli import arithmetic, doctor, main


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "levyjax" / "doctor.json"


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """One check only, which counts its runs."""
    runs: list[int] = []

    def check():
        runs.append(1)
        return "ok", "well"

    monkeypatch.setattr(arithmetic, "CHECKS", {"sum": check})
    return runs


def result_of(*arguments, capsys) -> dict:
    main(["doctor", "--json", *arguments])
    return json.loads(capsys.readouterr().out)


def test_doctor(capsys):
    status = main(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (status, result["ok"], result["cached"]) == (0, True, False), result
    names = {check["name"] for check in result["checks"]}
    assert {"python", "jax", "jaxlib", "numpy", "flax", "optax", "devices", *arithmetic.CHECKS} == names - {"scipy"}


def test_what_is_wrong_is_said_and_not_kept(monkeypatch, capsys, cache):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.10.2" if name == "jax" else "99.0")
    monkeypatch.setattr(arithmetic, "CHECKS", {"sum": lambda: 1 / 0})
    assert main(["doctor"]) == 2
    captured = capsys.readouterr()
    assert "ZeroDivisionError" in captured.out
    assert "see jax, sum in the result" in captured.err
    assert 1 <= len(captured.err.splitlines()) <= 4
    assert not cache.exists()


def test_knows_the_requirements():
    """The versions it checks are those the package asks for."""
    project = tomllib.loads((Path(levyjax.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = {re.split("[><=!]", line)[0]: line for line in project["dependencies"]}
    for name, version in doctor.MINIMUM.items():
        assert f">={version}" in asked[name].split(",")[0]
    for name in ("jax", "jaxlib"):
        assert set(re.findall(r"!=([\d.]+)", asked[name])) == set(doctor.HOLES)


class TestCache:
    def test_is_used_until_something_differs(self, counted, capsys, monkeypatch):
        first = result_of(capsys=capsys)
        again = result_of(capsys=capsys)
        assert (first["cached"], again["cached"], len(counted)) == (False, True, 1)
        assert again["checks"] == first["checks"]
        assert not result_of("--fresh", capsys=capsys)["cached"]
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
        assert not result_of(capsys=capsys)["cached"]
        assert len(counted) == 3

    def test_says_so(self, counted, capsys):
        for said in (False, True):
            assert main(["doctor"]) == 0
            assert ("--fresh" in capsys.readouterr().out) == said

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff",
            b"[]",
            b'{"schema_version": 99}',
            b'{"key": 1, "checks": [{}]}',
            b'{"key": "KEY", "checks": []}',
            b'{"key": "KEY", "checks": null}',
            b'{"key": "KEY", "checks": {"name": "sum"}}',
            b'{"key": "KEY", "checks": [{"name": "sum", "status": "bad", "detail": "worse"}]}',
        ],
    )
    def test_what_cannot_be_read_is_computed_again(self, counted, capsys, cache, content):
        cache.parent.mkdir(parents=True)
        cache.write_bytes(content.replace(b"KEY", doctor._key().encode()))
        result = result_of(capsys=capsys)
        assert (result["ok"], result["cached"], len(counted)) == (True, False, 1)
        assert result_of(capsys=capsys)["cached"]

    def test_a_folder_that_cannot_be_made_does_no_harm(self, counted, capsys, cache):
        cache.parents[1].write_text("a file")
        for _ in range(2):
            assert not result_of(capsys=capsys)["cached"]
        assert len(counted) == 2

    def test_is_the_users_by_default(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        for given in ("", "relative"):
            monkeypatch.setenv("XDG_CACHE_HOME", given)
            assert doctor._cache() == tmp_path / ".cache" / "levyjax" / "doctor.json"


@pytest.mark.parametrize(
    ("check", "owner", "name", "wrong"),
    [
        ("reductions", jnp, "argmin", lambda x, axis: jnp.zeros(x.shape[1 - axis], int)),
        ("NaN in reductions", jnp, "sum", jnp.nansum),
        ("running sums", jax.lax, "associative_scan", lambda add, x: x),
        ("running sums", jnp, "cumsum", lambda x, dtype: jnp.cumsum(x.astype("float32")).astype(dtype) // 2),
        ("sorting", jnp, "argsort", lambda x, stable: jnp.argsort(-x)),
        ("sorting", jnp, "searchsorted", lambda x, y, side: jnp.zeros(y.shape, int)),
        ("integers", arithmetic, "_high_word", lambda x, y: (x >> jnp.uint32(16)) * (y >> jnp.uint32(16))),
        ("functions", jnp, "log", lambda x: jnp.asarray(np.log(2.0), x.dtype) * jnp.log2(x) * (1 + 1e-6)),
        ("functions", jnp, "expm1", lambda x: jnp.exp(x) - 1),
        ("two-part sums", arithmetic, "add_to", lambda high, low, amount: (high + amount, low)),
        ("cipher", arithmetic, "threefry2x32", lambda k0, k1, c0, c1: (c0 ^ k0, c1 ^ k1)),
    ],
)
def test_wrong_arithmetic_is_found(monkeypatch, check, owner, name, wrong):
    kept = getattr(owner, name)
    if owner is jnp:  # the stand-ins use the real ones
        monkeypatch.setattr(arithmetic, "jnp", type("Wrong", (), {**vars(jnp), name: staticmethod(wrong)}))
    else:
        monkeypatch.setattr(owner, name, wrong)
    assert arithmetic.CHECKS[check]()[0] == "bad"
    monkeypatch.undo()
    assert getattr(owner, name) is kept


def test_matvec_with_rows_left_out_is_found(monkeypatch):
    real = jax.vmap
    monkeypatch.setattr(jax, "vmap", lambda function: lambda x: real(function)(x.at[16_384:].set(1.0)))
    assert arithmetic.matvec_then_reduce()[0] == "bad"
