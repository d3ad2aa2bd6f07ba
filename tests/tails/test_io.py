"""Noise from other people's files and libraries: what is read, and what each refusal tells its reader to type."""

import json
import re

import numpy as np
import pytest

from levyjax import stable, tails
from levyjax.cli import main
from levyjax.input import as_array
from levyjax.tails.large import part_of

VALUES = np.random.default_rng(0).normal(size=(40, 2)).round(6)
CLOSE = VALUES[:, 1]
DAYS = [f"2026-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(40)]


def written(folder, name, lines, ends="\n"):
    path = folder / name
    path.write_bytes((ends.join(lines) + ends).encode())
    return path


def rows(separator, *columns):
    return [separator.join(map(str, row)) for row in zip(*columns, strict=True)]


def refusal(path, **options):
    with pytest.raises(ValueError, match=r".") as caught:
        tails.load(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 500
    return text


class TestText:
    @pytest.mark.parametrize("separator", [",", ", ", ";", "\t", " ", "   ", " \t "])
    @pytest.mark.parametrize("suffix", [".csv", ".txt", ".dat", ".tsv"])
    @pytest.mark.parametrize("titles", [None, "open{}close", "# open{}close"])
    def test_separators_and_titles(self, tmp_path, separator, suffix, titles):
        table = rows(separator, *VALUES.T)
        if titles:
            table = [titles.format(separator), *table]
        path = written(tmp_path, f"x{suffix}", table)
        np.testing.assert_array_equal(tails.load(path), VALUES)
        np.testing.assert_array_equal(tails.load(path, column=2), CLOSE)
        np.testing.assert_array_equal(tails.load(path, column=["2", "1"]), VALUES[:, ::-1])
        if titles:
            np.testing.assert_array_equal(tails.load(path, column="close"), CLOSE)

    @pytest.mark.parametrize("ends", ["\n", "\r\n"])
    def test_a_column_beside_dates(self, tmp_path, ends):
        path = written(tmp_path, "prices.csv", ["date,open,close", *rows(",", DAYS, *VALUES.T)], ends)
        text = refusal(path)
        assert "'2026-01-01' in its column 'date' (1), which is no number" in text
        assert "--column" in text
        assert "column 'open' (2), column 'close' (3)" in text
        assert "column 'date' (1), no number" in refusal(path, column="date")
        assert "no column 'clsoe' (numbers count from 1): did you mean \"close\"?" in refusal(path, column="clsoe")
        for unknown in (0, 4, "-1", True, 1.0, ""):
            assert "has no column" in refusal(path, column=unknown)
        np.testing.assert_array_equal(tails.load(path, column="close"), CLOSE)
        np.testing.assert_array_equal(tails.load(path, column=3), CLOSE)

    def test_dates_without_titles(self, tmp_path):
        path = written(tmp_path, "x.txt", rows("\t", [f"{day} 10:00" for day in DAYS], CLOSE))
        assert "'2026-01-01 10:00' in its column 1" in refusal(path)
        np.testing.assert_array_equal(tails.load(path, column=2), CLOSE)

    def test_a_title_that_is_a_number_beside_dates(self, tmp_path):
        path = written(tmp_path, "x.csv", ["date,1,2", *rows(",", DAYS, *VALUES.T)])
        np.testing.assert_array_equal(tails.load(path, column="2"), CLOSE)
        np.testing.assert_array_equal(tails.load(path, column=3), CLOSE)

    def test_a_first_row_that_counts_the_columns_is_one_of_titles(self, tmp_path):
        """`DataFrame(array).to_csv(index=False)` writes 0,1: as data it would be a row of no noise."""
        path = written(tmp_path, "x.csv", ["0,1", *rows(",", *VALUES.T)])
        np.testing.assert_array_equal(tails.load(path), VALUES)
        whole = written(tmp_path, "whole.csv", ["0,1", *rows(",", *(100 * VALUES.T).astype(int))])
        assert tails.load(whole).shape == (41, 2)

    def test_a_count_of_the_rows_is_no_noise(self, tmp_path):
        """What `DataFrame.to_csv()` and R's `write.table` put before each row, and the times of a series."""
        pandas = written(tmp_path, "pandas.csv", [",close", *rows(",", range(40), CLOSE)])
        r = written(tmp_path, "r.txt", ['"close"', *rows(" ", [f'"{i}"' for i in range(1, 41)], CLOSE)])
        times = written(tmp_path, "times.dat", rows(" ", np.linspace(0, 3.9, 40).round(3), CLOSE))
        for path in (pandas, r, times):
            text = refusal(path)
            assert "grows evenly from" in text
            assert "--column" in text
            np.testing.assert_array_equal(tails.load(path, column=2), CLOSE)

    def test_quotes(self, tmp_path):
        table = ['"name, first";"my close"', *rows(";", ['"a; b"'] * 40, CLOSE)]
        path = written(tmp_path, "x.csv", table)
        np.testing.assert_array_equal(tails.load(path, column="my close"), CLOSE)

    @pytest.mark.parametrize(
        ("cell", "says"),
        [
            ("", "line 12 holds '' in column 'close' (2). Take the line out"),
            ("NA", "line 12 holds 'NA' in column 'close' (2). Take the line out"),
            ("#N/A", "line 12 holds '#N/A' in column 'close' (2)"),
            ("1;2", "line 12 has 3 entries, and the first has 2"),
            ("1,5", "line 12 holds '1,5' in column 'close' (2). Write decimals with a point"),
        ],
    )
    def test_a_bad_cell_is_found(self, tmp_path, cell, says):
        table = rows(";", *VALUES.T)
        table[10] = f"1;{cell}"
        assert says in refusal(written(tmp_path, "x.csv", ["open;close", *table]))

    @pytest.mark.parametrize("line", ["2026-02-13,1,1,234.5", "2026-02-13,1", '2026-02-13,"1,2"', '"2026",1,1,2'])
    @pytest.mark.parametrize("column", ["close", "open", 2, ["open", "close"]])
    def test_a_line_of_another_width_is_no_row(self, tmp_path, line, column):
        """1,234.5 between commas is two entries: the first of them was taken for the close."""
        table = ["date,open,close", *rows(",", DAYS, *VALUES.T), line]
        text = refusal(written(tmp_path, "x.csv", table), column=column)
        assert re.search(r"line 42 has [24] entries, and the first has 3", text)

    def test_quoted_commas_keep_the_width(self, tmp_path):
        table = ["name,close", *rows(",", ['"a, b"'] * 40, CLOSE)]
        np.testing.assert_array_equal(tails.load(written(tmp_path, "x.csv", table), column="close"), CLOSE)

    def test_a_column_named_twice(self, tmp_path):
        path = written(tmp_path, "x.csv", rows(",", *VALUES.T))
        assert "named twice" in refusal(path, column=["1", 1])

    def test_decimal_commas(self, tmp_path):
        path = written(tmp_path, "x.csv", [row.replace(".", ",") for row in rows(";", *VALUES.T)])
        assert "holds no numbers: its column 1 holds '0,12573'. Write decimals with a point." in refusal(path)

    @pytest.mark.parametrize(
        ("table", "says"),
        [
            (["a,b"], "has titles and no numbers ('a', 'b')"),
            (["my noise", *map(str, CLOSE)], "has 2 titles in its first line"),
            (["a,a", *rows(",", *VALUES.T)], "several columns 'a'. Give its number, from 1 to 2"),
            (["a,b", *rows(",", *VALUES.T)], "has no keys"),
        ],
    )
    def test_other_refusals(self, tmp_path, table, says):
        options = {"key": "x"} if says == "has no keys" else {"column": "a"}
        assert says in refusal(written(tmp_path, "x.txt", table), **options)


class TestArrays:
    @pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
    def test_keys(self, tmp_path, suffix):
        path = tmp_path / f"x{suffix}"
        arrays = {"layer.weight": VALUES, "layer.bias": CLOSE.astype(np.float32)}
        self._save(path, arrays)
        text = refusal(path)
        assert "2 arrays" in text
        assert "layer.weight" in text
        assert "layer.bias" in text
        assert "--key" in text
        assert "none is 'layer.bais': did you mean \"layer.bias\"?" in refusal(path, key="layer.bais")
        np.testing.assert_array_equal(tails.load(path, key="layer.weight"), VALUES)
        np.testing.assert_array_equal(tails.load(path, key="layer.weight", column=2), CLOSE)
        np.testing.assert_array_equal(tails.load(path, key="layer.bias"), arrays["layer.bias"])
        assert "so no columns" in refusal(path, key="layer.bias", column=1)
        assert "no column '3'" in refusal(path, key="layer.weight", column=3)
        self._save(path, {**arrays, "samples": VALUES[:, ::-1].copy()})
        np.testing.assert_array_equal(tails.load(path), VALUES[:, ::-1])
        self._save(path, {"one": VALUES})
        np.testing.assert_array_equal(tails.load(path), VALUES)
        assert "one array (one) and none is 'two'" in refusal(path, key="two")

    def _save(self, path, arrays):
        if path.suffix == ".npz":
            np.savez(path, **arrays)
        else:
            pytest.importorskip("safetensors.numpy").save_file(arrays, path)

    def test_bfloat16_of_safetensors_and_of_numpy(self, tmp_path):
        import jax.numpy as jnp

        noise = np.asarray(jnp.asarray(CLOSE, jnp.bfloat16))
        np.save(tmp_path / "x.npy", noise)
        assert "as numpy.save writes bfloat16. Save x.astype(numpy.float32)" in refusal(tmp_path / "x.npy")
        pytest.importorskip("safetensors.numpy").save_file({"x": noise}, tmp_path / "x.safetensors")
        np.testing.assert_array_equal(tails.load(tmp_path / "x.safetensors"), noise.astype(np.float64))

    def test_large_safetensors_are_mapped(self, tmp_path, monkeypatch):
        numpy = pytest.importorskip("safetensors.numpy")
        monkeypatch.setattr("levyjax.tails.io.LARGE", 50)
        arrays = {"a": CLOSE.astype(np.float32), "b": VALUES, "c": VALUES.astype(np.float16)}
        numpy.save_file(arrays, tmp_path / "x.safetensors")
        for key in "bc":
            found = tails.load(tmp_path / "x.safetensors", key=key)
            assert isinstance(found, np.memmap)
            np.testing.assert_array_equal(found, arrays[key])

    def test_damaged_and_missing(self, tmp_path, monkeypatch):
        safetensors = pytest.importorskip("safetensors")
        path = tmp_path / "x.safetensors"
        path.write_bytes(b"no tensors at all, and yet a file")
        assert "truncated or no .safetensors file" in refusal(path)
        safetensors.numpy = pytest.importorskip("safetensors.numpy")
        safetensors.numpy.save_file({"x": VALUES}, path)
        path.write_bytes(path.read_bytes()[:-8])
        assert "truncated or no .safetensors file" in refusal(path)
        monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
        assert 'needs safetensors. Install it with pip install "levyjax[io]"' in refusal(path)

    def test_a_type_that_numpy_has_not(self, tmp_path):
        pytest.importorskip("safetensors")
        header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [40], "data_offsets": [0, 40]}}).encode()
        (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(range(40)))
        assert "holds F8_E4M3 in 'x', which NumPy has not. Save float32" in refusal(tmp_path / "x.safetensors")

    @pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".pickle"])
    def test_pickles_are_never_loaded(self, tmp_path, suffix):
        (tmp_path / f"x{suffix}").write_bytes(b"\x80\x04.")
        assert "a pickle, which can run code and is never loaded" in refusal(tmp_path / f"x{suffix}")

    def test_columns_of_npy(self, tmp_path):
        np.save(tmp_path / "x.npy", VALUES)
        np.testing.assert_array_equal(tails.load(tmp_path / "x.npy", column=2), CLOSE)
        assert "no column 'close'" in refusal(tmp_path / "x.npy", column="close")


class TestParquet:
    @pytest.fixture
    def path(self, tmp_path):
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"date": DAYS, "open": VALUES[:, 0], "close": CLOSE, "row": np.arange(40)})
        parquet.write_table(table, tmp_path / "x.parquet")
        return tmp_path / "x.parquet"

    def test_columns(self, path):
        text = refusal(path)
        assert "holds string in its column 'date' (1), which is no number" in text
        assert "column 'open' (2), column 'close' (3), column 'row' (4)" in text
        np.testing.assert_array_equal(tails.load(path, column="close"), CLOSE)
        np.testing.assert_array_equal(tails.load(path, column=["open", "3"]), VALUES)

    def test_counts_and_missing_values(self, tmp_path):
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"close": CLOSE, "row": np.arange(40), "holes": [None, *range(39)]})
        parquet.write_table(table.select([0, 1]), tmp_path / "x.parquet")
        assert "column 'row' (2) that grows evenly from 0 to 39" in refusal(tmp_path / "x.parquet")
        parquet.write_table(table, tmp_path / "x.parquet")
        assert "1 of 40 values that are NaN" in refusal(tmp_path / "x.parquet", column="holes")

    def test_names_that_come_twice_and_large_whole_numbers(self, tmp_path):
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table([CLOSE, CLOSE], names=["a", "a"]), tmp_path / "x.parquet")
        assert "several columns 'a'" in refusal(tmp_path / "x.parquet")
        assert "several columns 'a'" in refusal(tmp_path / "x.parquet", column=2)
        whole = (CLOSE * 2**60).astype(np.int64)
        parquet.write_table(pyarrow.table({"a": whole}), tmp_path / "x.parquet")
        np.testing.assert_array_equal(tails.load(tmp_path / "x.parquet"), whole.astype(np.float64))


class Capsule:
    """An array of another library: it has `__dlpack__` alone, as a tensor on the CPU has."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class WithGraph:
    """A PyTorch tensor that requires grad."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


class TestLibraries:
    NOISE = np.random.default_rng(1).standard_cauchy(3_000)

    def test_columns_of_pandas(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"date": DAYS, "open": VALUES[:, 0], "close": CLOSE})
        np.testing.assert_array_equal(as_array(frame["close"]), CLOSE)
        np.testing.assert_array_equal(as_array(frame[["open", "close"]]), VALUES)
        assert tails.hill(frame["close"]).alpha == tails.hill(CLOSE).alpha
        with pytest.raises(
            ValueError, match=r"column 'date' that holds '2026-01-01', no real number\. .*'open', 'close'"
        ):
            tails.audit(frame)
        with pytest.raises(ValueError, match="1 of 21 values that are NaN"):
            tails.hill(pandas.Series([None, *range(20)], dtype="Int64").astype("Float64"))
        columns = pandas.DataFrame(np.random.default_rng(2).normal(size=(50, 3)))
        assert tails.estimate_columns(columns).alpha.shape == (3,)

    def test_columns_of_polars(self):
        polars = pytest.importorskip("polars")
        frame = polars.DataFrame({"date": DAYS, "open": VALUES[:, 0], "close": CLOSE})
        np.testing.assert_array_equal(as_array(frame["close"]), CLOSE)
        np.testing.assert_array_equal(as_array(frame[["open", "close"]]), VALUES)
        with pytest.raises(ValueError, match="column 'date' that holds '2026-01-01'"):
            tails.hill(frame)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_arrays_of_jax_and_by_dlpack(self, dtype):
        import jax.numpy as jnp

        there = jnp.asarray(self.NOISE[:500], dtype)
        values = np.asarray(there).astype(np.float64)
        for given in (there, Capsule(there), np.asarray(there)):
            np.testing.assert_array_equal(as_array(given).astype(np.float64), values)
            assert tails.log_moment(given).alpha == tails.log_moment(values).alpha
        assert tails.audit(there).to_json() == tails.audit(values).to_json()

    def test_fits_read_data_the_same_way(self):
        with pytest.raises(ValueError, match=r"x\.detach\(\)"):
            stable.fit(WithGraph())

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            (WithGraph(), r"is a WithGraph that cannot be read here \(Can't call.*x\.detach\(\)\.cpu\(\)\.float"),
            (np.ma.masked_less(np.arange(20.0), 3), r"3 masked values\. Give data\.compressed\(\)"),
            ([1.0, None] * 20, "holds 'None', no real number"),
            ([1.0, "a"] * 20, "dtype <U"),
            ([[1.0], [1.0, 2.0]], "ragged"),
            ({"a": 1}, "no real number"),
            ([10**400] * 20, "beyond the range of float64"),
        ],
    )
    def test_refusals(self, given, says):
        with pytest.raises(ValueError, match=says) as caught:
            tails.hill(given)
        assert str(caught.value).endswith(".")

    def test_numbers_of_python(self):
        import decimal
        import fractions

        for kind in (decimal.Decimal, fractions.Fraction):
            np.testing.assert_array_equal(as_array([kind(i) for i in range(20)]), np.arange(20.0))
        masked = np.ma.masked_less(np.arange(20.0), -1)
        assert not isinstance(as_array(masked), np.ma.MaskedArray)


@pytest.mark.parametrize("part", [np.s_[30_000:], np.s_[5_000:9_000], np.s_[100:20_000]])
def test_a_part_of_a_memory_map_is_that_part(tmp_path, monkeypatch, part):
    """A slice knows the offset of the whole map only: the values read were those at the beginning of the file."""
    monkeypatch.setattr("levyjax.tails.large.LARGE", 1_000)
    monkeypatch.setattr("levyjax.tails.large._PIECE", 512)
    np.save(tmp_path / "x.npy", np.arange(1.0, 40_001.0))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.isin(part_of(mapped[part])[0], mapped[part]).all()
    matrix = mapped.reshape(-1, 4)
    assert np.isin(part_of(matrix[500:])[0], matrix[500:]).all()
    assert np.isin(part_of(matrix[:, 1])[0], matrix[:, 1]).all()


def test_the_command_takes_keys_and_columns(tmp_path, capsys):
    noise = np.random.default_rng(3).normal(size=(700, 2))
    np.savez(tmp_path / "x.npz", a=noise, b=noise[:, 0])
    assert main(["tails", str(tmp_path / "x.npz"), "--key", "a", "--column", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == tails.audit(noise[:, 1]).to_json()
    assert main(["tails", str(tmp_path / "x.npz")]) == 2
    assert "2 arrays (a, b)" in " ".join(capsys.readouterr().err.split())
    table = ["date,open,close", *rows(",", DAYS, *VALUES.T)]
    path = written(tmp_path, "prices.csv", table)
    assert main(["tails", str(path), "--column", "open", "--column", "close", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tests"]["data"]["shape"] == [40, 2]


class TestCounts:
    def test_a_table_is_the_data_that_it_counts(self, tmp_path, capsys):
        values, counts = np.unique(np.floor(np.random.default_rng(3).pareto(1.5, 3000)), return_counts=True)
        path = written(tmp_path, "degrees.csv", ["degree,nodes", *rows(",", values, counts)])
        assert main(["tails", str(path), "--column", "degree", "--weights", "nodes", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        expected = json.loads(json.dumps(tails.audit(values, weights=counts).to_json()))
        assert found == expected
        assert "occur 3000 times in all" in found["reasons"][0]

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--weights", "2"], "--weights goes with one --column"),
            (["--weights", "2", "--column", "1", "--column", "2"], "--weights goes with one --column"),
            (["--weights", "3", "--column", "1"], "no column '3'"),
            (["--weights", "1", "--column", "2"], "weights hold values that are no counts"),
        ],
    )
    def test_what_is_no_table_of_counts_is_refused(self, tmp_path, capsys, options, sentence):
        path = written(tmp_path, "x.csv", rows(",", VALUES[:, 0], range(40)))
        assert main(["tails", str(path), *options]) == 2
        assert sentence in capsys.readouterr().err
