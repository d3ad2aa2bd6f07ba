"""Results as xarray datasets: their dimensions, coordinates, units and descriptions by the house's terms.

Dimensions: trajectory, coordinate, face, step, well, start, cell (exits); value, column, num_tail, block_lengths,
estimate, law (tails); iterations, mini_batch, parameter, layer, seed (training). An interval is two variables,
`NAME_low` and `NAME_high`; a number that does not exist is NaN; sentences and mappings are attributes, as JSON where
they are not one text.
"""

import inspect
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from levyjax.output import to_json

if TYPE_CHECKING:
    import xarray

EXTRA = 'install the extra: pip install "levyjax[io]"'
UNITS = {
    "exit_time": "time of the SDE",
    "mean_exit_time": "time of the SDE",
    "clock": "time of the SDE",
    "step_time": "time of the SDE",
    "total_time": "time of the SDE",
    "bin_start": "time of the SDE",
    "bin_end": "time of the SDE",
    "exit_step": "steps",
    "mean_exit_steps": "steps",
    "total_steps": "steps",
    "steps": "steps",
    "rate": "1 / time of the SDE",
    "predicted_rate": "1 / time of the SDE",
    "rate_error": "1 / time of the SDE",
    "exit_position": "coordinates of the landscape",
    "seconds": "s",
    "seconds_updates": "s",
    "steps_per_second": "1 / s",
    "iterations_per_second": "1 / s",
    "iteration": "updates",
}
"""Units by the name of a variable; its error and the ends of its interval have them too. All else is a pure number."""

_SHOWN = 8  # numbers of an array that are printed
_COORDINATES = {"layer", "bin_start", "bin_end", "sampled"}  # variables that say what lies along a dimension
_CODES = ("running", "exited", "censored", "nonfinite")  # of `levyjax.engine.ExitCode`, from 0
_PARTS = ("_low", "_high", "_ci95", "_interval")
_SHAPE = re.compile(r"^\(\S[^)]*\),? ?|,? \([a-z_ ,0-9]+\)\.?$")  # "(n, d) the last point", "alpha_hat at each, (m,)."


class Result:
    """A result that becomes an xarray dataset. The class says along which dimensions its arrays lie."""

    _dims: ClassVar[Mapping[str, str]] = {}  # field -> its dimensions, such as "trajectory coordinate"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = Result.__repr__  # before a dataclass writes its own

    def __repr__(self) -> str:
        """The fields; of an array with more than a few numbers its type and shape."""
        fields = {name: getattr(self, name) for name in getattr(self, "__dataclass_fields__", {}) if name[0] != "_"}
        return f"{type(self).__name__}({', '.join(f'{name}={_short(value)}' for name, value in fields.items())})"

    def _repr_html_(self) -> str | None:
        """The dataset's table, in a notebook; None where xarray is missing, for the plain text."""
        try:
            return self.to_xarray()._repr_html_()
        except ImportError:
            return None

    def to_xarray(self) -> "xarray.Dataset":
        """The result as an `xarray.Dataset`, its variables named and described as the attributes here.

        A result of single numbers has a dimension "cell" of length 1, so that many can be put together by
        `xarray.concat(results, "cell")`, and `to_dataframe()` works for all.

        Returns:
            The dataset. `to_netcdf` writes it; `xarray.open_dataset` reads it as it was.

        Raises:
            ImportError: xarray is missing.
        """
        data = dataset(self._variables(), self._dims, describe(type(self)))
        return data.assign_attrs(title=f"levyjax {type(self).__name__}")

    def _variables(self) -> dict[str, Any]:
        """Name -> value; a class may add to its fields, or leave some out."""
        names = getattr(self, "__dataclass_fields__", {})
        return {name: getattr(self, name) for name in names if not name.startswith("_")}


def _short(value: Any) -> str:
    if np.ndim(value) and hasattr(value, "dtype") and np.size(value) > _SHOWN:
        return f"{value.dtype}[{', '.join(map(str, np.shape(value)))}]"
    if isinstance(value, Mapping) and len(value) > _SHOWN:
        return f"{{{len(value)} entries}}"
    return repr(value)


def dataset(
    values: Mapping[str, Any], dims: Mapping[str, str] | None = None, descriptions: Mapping[str, str] | None = None
) -> "xarray.Dataset":
    """An xarray dataset of plain values, arrays and mappings.

    Args:
        values: name -> number, text, array, interval or mapping.
        dims: name -> the dimensions of an array, parted by spaces, or the one along the keys of a mapping.
        descriptions: name -> what it is.

    Returns:
        The dataset; a name that is also its only dimension becomes the coordinate of it.

    Raises:
        ImportError: xarray is missing.

    Example:
        >>> data = dataset({"rate": 0.5, "share": {"x0<lower": 0.4, "x0>upper": 0.6}}, {"share": "face"})
        >>> float(data["share"].sel(face="x0>upper"))
        0.6
    """
    xarray = import_xarray()
    dims = dims or {}
    coordinates = _keys(values, dims)
    variables: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    for name, value in values.items():
        along_dims = dims.get(name)
        if along_dims is None and _is_text(value):
            attributes[name] = value if isinstance(value, str) else json.dumps(json.loads(to_json(value)))
        elif name not in coordinates and (value is not None or along_dims is None):
            if isinstance(value, Mapping) and along_dims is not None:
                value = [value.get(key) for key in coordinates[along_dims]]
            variables |= _arrays(name, value, along_dims)
    if not any(used for used, _ in variables.values()):
        variables = {name: (("cell",), np.atleast_1d(value)) for name, (_, value) in variables.items()}
    data = xarray.Dataset(variables, {name: (name, np.array(keys)) for name, keys in coordinates.items()}, attributes)
    for name, variable in data.variables.items():
        variable.attrs |= label(str(name), variable.dtype, descriptions)
    return data.set_coords(_COORDINATES & set(data))


def label(name: str, dtype: np.dtype, descriptions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The attributes of a variable: what it is, its units, and what codes mean."""
    base = _base(name)
    text = (descriptions or {}).get(name) or (descriptions or {}).get(base)
    attributes: dict[str, Any] = {"long_name": text or name.replace("_", " ")}
    if dtype.kind in "fiuc":
        attributes["units"] = UNITS.get(name) or UNITS.get(base, "1")
    if base == "exit_code":
        attributes |= {"flag_values": list(range(len(_CODES))), "flag_meanings": " ".join(_CODES)}
    return attributes


def along(groups: Mapping[str, str]) -> dict[str, str]:
    """Name -> dimensions, from dimensions -> names.

    Example:
        >>> along({"trajectory": "exit_time exit_code"})
        {'exit_time': 'trajectory', 'exit_code': 'trajectory'}
    """
    return {name: dims for dims, names in groups.items() for name in names.split()}


def describe(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each of its attributes.

    Example:
        >>> from levyjax.escape import ExitSamples
        >>> describe(ExitSamples)["exit_step"]
        'number of steps taken'
    """
    text = inspect.getdoc(kind) or ""
    found: dict[str, str] = {}
    section = text.partition("Attributes:\n")[2].split("\n\n")[0]
    for names, description in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
        plain = _SHAPE.sub("", " ".join(description.split())).rstrip(".")
        found |= dict.fromkeys(names.split(", "), plain)
    return found


def import_xarray() -> Any:
    """xarray, or one sentence on how to get it.

    Raises:
        ImportError: it is missing.
    """
    try:
        import xarray
    except ImportError:
        raise ImportError(f"a dataset needs xarray: {EXTRA}.", name="xarray") from None
    return xarray


def number(value: Any) -> float:
    """A number, NaN for one that does not exist."""
    return float("nan") if value is None else float(value)


def scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table as numbers and texts: an interval is two entries, a missing number NaN, a list JSON.

    Example:
        >>> scalars({"rate": None, "rate_ci95": (0.0, 2.0), "nonfinite_ids": [3]})
        {'rate': nan, 'rate_ci95_low': 0.0, 'rate_ci95_high': 2.0, 'nonfinite_ids': '[3]'}
    """
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_ci95"):
            low, high = value or (None, None)
            found |= {f"{name}_low": number(low), f"{name}_high": number(high)}
        elif isinstance(value, str):
            found[name] = value
        elif isinstance(value, (list, tuple)):
            found[name] = json.dumps(value)
        else:
            found[name] = number(value)
    return found


def _keys(values: Mapping[str, Any], dims: Mapping[str, str]) -> dict[str, list[Any]]:
    """Dimension -> the keys of all mappings along it."""
    found: dict[str, dict[Any, None]] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name in dims:
            found.setdefault(dims[name], {}).update(dict.fromkeys(value))
    return {along_dims: list(keys) for along_dims, keys in found.items()}


def _arrays(name: str, value: Any, along_dims: str | None) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """The variables of one value; two where it is an interval, or an array of intervals."""
    array = _stacked(value)
    dims = () if along_dims is None or array.ndim == 0 else tuple(along_dims.split())
    if _is_interval(name) and array.shape[-1:] == (2,):
        return {f"{name}_{end}": (dims[: array.ndim - 1], array[..., j]) for j, end in enumerate(("low", "high"))}
    if array.ndim != len(dims):
        raise ValueError(f"{name} has shape {array.shape} and the dimensions {dims}: give one for each axis")
    return {name: (dims, array)}


def _stacked(value: Any) -> np.ndarray:
    """An array; None becomes NaN, and texts and numbers keep their kind."""
    if isinstance(value, (list, tuple)):
        value = [_stacked(item) for item in value]
    return np.asarray(np.nan if value is None else value)


def _is_interval(name: str) -> bool:
    return name in ("interval", "ci95") or name.endswith(("_ci95", "_interval"))


def _is_text(value: Any) -> bool:
    """Whether a value is a text with blanks, a list of texts, or a mapping: what is no variable."""
    if isinstance(value, str):
        return " " in value
    return isinstance(value, Mapping) or (
        isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    )


def _base(name: str) -> str:
    """The name of what a variable is an error or an end of."""
    for part in _PARTS:
        name = name.removesuffix(part)
    return name
