"""A sweep as one file for xarray: netCDF or Zarr, written cell by cell in the memory of one."""

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from levyjax.config.build import build_problem
from levyjax.datasets import EXTRA, describe, import_xarray, label, scalars
from levyjax.escape import ExitSamples
from levyjax.records import SCHEMA_VERSION
from levyjax.sweep.collect import collect
from levyjax.sweep.rows import DESCRIPTIONS, Build
from levyjax.sweep.store import ChunkStore

if TYPE_CHECKING:
    import xarray

_NOT_A_TRAJECTORY = -1  # code and face where a cell has fewer trajectories than the longest


def export(folder: str | os.PathLike[str], path: str | os.PathLike[str], build: Build = build_problem) -> Path:
    """Write all samples and rows of a finished sweep to one file.

    The dimensions are (cell, trajectory, coordinate); the axes of the sweep are coordinates along "cell". Where a cell
    has fewer trajectories or coordinates than the largest, exit_code is -1 and numbers are NaN.

    Args:
        folder: the sweep's folder.
        path: the file to write: *.nc or *.zarr. It must not exist.
        build: makes the problem of a cell, as for `run_sweep`.

    Returns:
        The path.

    Raises:
        ValueError: another suffix, a path that exists, a chunk that is missing, or packages that are.
    """
    path = Path(path)
    if path.suffix not in (".nc", ".zarr"):
        raise ValueError(f"{path.name} is neither *.nc (netCDF) nor *.zarr. Give one of these names.")
    if path.exists():
        raise ValueError(f"{path.name} exists. Give another name.")
    rows = collect(folder, build)["cells"]
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        cells = cell_data(ChunkStore.open(folder), rows)
        if path.suffix == ".nc":
            write_netcdf(partial, cells, len(rows))
        else:
            _write_zarr(partial, (cell.to_xarray() for cell in cells))
        os.replace(partial, path)
    except ImportError as error:
        raise ValueError(f"{path.name} needs {error.name}: {EXTRA}.") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
    return path


def to_xarray(folder: str | os.PathLike[str], build: Build = build_problem) -> "xarray.Dataset":
    """All samples and rows of a finished sweep as one `xarray.Dataset`, in memory; `export` writes it without that.

    Args:
        folder: the sweep's folder.
        build: makes the problem of a cell, as for `run_sweep`.

    Returns:
        The dataset of `export`.

    Raises:
        ImportError: xarray is missing.
        ValueError: a chunk is missing.
    """
    xarray = import_xarray()
    rows = collect(folder, build)["cells"]
    cells = cell_data(ChunkStore.open(folder), rows)
    return xarray.concat([cell.to_xarray() for cell in cells], "cell", combine_attrs="override")


class CellData(NamedTuple):
    """What a file says of one cell.

    variables: name -> dimensions, values, attributes.
    coordinates: which of them say where the values belong.
    attributes: of the whole.
    """

    variables: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]]
    coordinates: list[str]
    attributes: dict[str, Any]

    def to_xarray(self) -> "xarray.Dataset":
        """As a dataset.

        Raises:
            ImportError: xarray is missing.
        """
        return import_xarray().Dataset(self.variables, attrs=self.attributes).set_coords(self.coordinates)


def cell_data(store: ChunkStore, rows: Sequence[dict[str, Any]]) -> Iterator[CellData]:
    """One cell after the other, all of the same shape.

    Args:
        store: where the samples are.
        rows: one for each cell, or for the first of them, as `levyjax escape` prints them.
    """
    places = store.config.cells
    sampled = [place.config.run.method != "quasi_stationary" for place in places]
    sizes = [place.config.run.num_trajectories for place in itertools.compress(places, sampled)]
    dimension = max(place.config.dimension for place in places)
    attributes = {
        "title": f"levyjax {store.command}",
        "schema_version": SCHEMA_VERSION,
        "tables": json.dumps(store.tables),
        "environments": json.dumps(store.environments()),
    }
    descriptions = DESCRIPTIONS | describe(ExitSamples)
    texts = {name for row in rows for name, value in scalars(row).items() if isinstance(value, str)}
    for index, row in enumerate(rows):
        values = scalars(row)
        # Where one cell has a text or a list, numbers are texts too: a variable has one type.
        values |= {name: json.dumps(row[name]) for name in texts & set(values) if not isinstance(values[name], str)}
        variables = {name: (("cell",), np.array([value])) for name, value in values.items()}
        if sizes:
            variables |= _padded(store.ends(index, partial=True) if sampled[index] else None, max(sizes), dimension)
        variables["cell"] = (("cell",), np.array([index]))
        labelled = {
            name: (dims, value, label(name, value.dtype, descriptions)) for name, (dims, value) in variables.items()
        }
        yield CellData(
            labelled, ["cell", *(name for name in places[index].coordinates if name in variables)], attributes
        )


def write_netcdf(path: str | os.PathLike[str] | BinaryIO, cells: Iterable[CellData], num_cells: int) -> None:
    """Write single cells along "cell", each in its turn; without xarray, which takes long to import.

    Raises:
        ImportError: h5netcdf or h5py is missing.
    """
    import h5netcdf
    import h5py

    text = h5py.string_dtype()
    with h5netcdf.File(path, "w") as file:
        for index, cell in enumerate(cells):
            if index == 0:
                sizes: dict[str, int] = {}
                for dims, value, _ in cell.variables.values():
                    sizes |= zip(dims, value.shape, strict=True)
                file.dimensions = sizes | {"cell": num_cells}
                file.attrs.update(cell.attributes)
                for name, (dims, value, attributes) in cell.variables.items():
                    made = file.create_variable(name, dims, text if value.dtype.kind in "UO" else value.dtype)
                    placed = {} if name in cell.coordinates else {"coordinates": " ".join(cell.coordinates)}
                    made.attrs.update(attributes | placed)
            for name, (_, value, _) in cell.variables.items():
                file.variables[name][index : index + 1] = value


def _padded(samples: Any, num_trajectories: int, dimension: int) -> dict[str, Any]:
    """The samples of a cell at the size of the largest cell."""
    shape = (1, num_trajectories)
    time, position = np.full(shape, np.nan), np.full((*shape, dimension), np.nan)
    step, code = np.zeros(shape, np.int64), np.full(shape, _NOT_A_TRAJECTORY, np.int8)
    face = np.full(shape, _NOT_A_TRAJECTORY, np.int32)
    if samples is not None:
        n, d = samples.exit_position.shape
        time[0, :n], step[0, :n], code[0, :n] = samples.exit_time, samples.exit_step, samples.exit_code
        face[0, :n], position[0, :n, :d] = samples.exit_face, samples.exit_position
    along = ("cell", "trajectory")
    parts = {"exit_time": (along, time), "exit_step": (along, step), "exit_code": (along, code)}
    return {**parts, "exit_face": (along, face), "exit_position": ((*along, "coordinate"), position)}


def _write_zarr(path: Path, datasets: Iterable["xarray.Dataset"]) -> None:
    for index, data in enumerate(datasets):
        # The Zarr format 2 has variable-length texts, which format 3 has only as a draft.
        data = data.assign({name: v.astype(object) for name, v in data.variables.items() if v.dtype.kind == "U"})
        if index == 0:
            data.to_zarr(path, mode="w", zarr_format=2)
        else:
            data.to_zarr(path, append_dim="cell")
