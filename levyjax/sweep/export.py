"""A sweep as one file for xarray: netCDF or Zarr, written cell by cell in the memory of one."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from levyjax.config.build import build_problem
from levyjax.output import to_json
from levyjax.sweep.collect import cell_samples, collect
from levyjax.sweep.run import Build
from levyjax.sweep.store import ChunkStore

_EXTRA = 'install the extra: pip install "levyjax[io]"'
_UNITS = {"exit_time": "time of the SDE", "exit_step": "steps", "exit_position": "coordinates of the landscape"}
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
    store, result = ChunkStore.open(folder), collect(folder, build)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        (_netcdf if path.suffix == ".nc" else _zarr)(partial, store, result)
        os.replace(partial, path)
    except ImportError as error:
        raise ValueError(f"{path.name} needs {error.name}: {_EXTRA}.") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
    return path


def _datasets(store: ChunkStore, result: dict[str, Any]) -> Iterator[Any]:
    """A dataset of one cell after the other, all of the same shape."""
    import xarray

    configs = [place.config for place in store.config.cells]
    sampled = [config for config in configs if config.run.method != "quasi_stationary"]
    num_trajectories = max((config.run.num_trajectories for config in sampled), default=0)
    dimension = max(config.dimension for config in configs)
    attributes = {
        "title": "levyjax sweep",
        "schema_version": result["schema_version"],
        "tables": json.dumps(json.loads((store.folder / "sweep.json").read_bytes())["tables"]),
        "environments": json.dumps(json.loads(to_json(result["environments"]))),
    }
    for index, row in enumerate(result["cells"]):
        variables = {name: (("cell",), np.array([value])) for name, value in _scalars(row).items()}
        if configs[index].run.method != "quasi_stationary":
            variables |= _padded(cell_samples(store, index), num_trajectories, dimension)
        elif sampled:
            variables |= _padded(None, num_trajectories, dimension)
        data = xarray.Dataset(variables, {"cell": [index]}, attributes)
        for name in _UNITS.keys() & set(data):
            data[name].attrs["units"] = _UNITS[name]
        yield data.set_coords([name for name in store.config.cells[index].coordinates if name in data])


def _scalars(row: dict[str, Any]) -> dict[str, Any]:
    """A row as numbers and texts: an interval is two variables, a missing number NaN."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_ci95"):
            low, high = value or (None, None)
            found[f"{name}_low"], found[f"{name}_high"] = _number(low), _number(high)
        elif name == "nonfinite_ids":
            found[name] = json.dumps(value)
        elif isinstance(value, str):
            found[name] = value
        elif isinstance(value, (list, tuple)):
            found[name] = json.dumps(value)
        else:
            found[name] = _number(value)
    return found


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


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


def _zarr(path: Path, store: ChunkStore, result: dict[str, Any]) -> None:
    for index, data in enumerate(_datasets(store, result)):
        # The Zarr format 2 has variable-length texts, which format 3 has only as a draft.
        data = data.map(lambda variable: variable.astype(object) if variable.dtype.kind == "U" else variable)
        if index == 0:
            data.to_zarr(path, mode="w", zarr_format=2)
        else:
            data.to_zarr(path, append_dim="cell")


def _netcdf(path: Path, store: ChunkStore, result: dict[str, Any]) -> None:
    import h5netcdf
    import h5py

    text = h5py.string_dtype()
    with h5netcdf.File(path, "w") as file:
        for index, data in enumerate(_datasets(store, result)):
            if index == 0:
                file.dimensions = {**dict(data.sizes), "cell": len(store.config.cells)}
                file.attrs.update(data.attrs)
                for name, variable in data.variables.items():
                    kind = text if variable.dtype.kind in "UO" else variable.dtype
                    made = file.create_variable(str(name), variable.dims, kind)
                    made.attrs.update(variable.attrs)
                    made.attrs.update({"coordinates": " ".join(map(str, data.coords))} if name in data else {})
            for name, variable in data.variables.items():
                file.variables[str(name)][index : index + 1] = variable.values
