"""Results on disk: the samples of a run or a sweep in chunks, each written once, whole, with a checksum.

    sweep.json                  what was asked: the tables, and their digest, which every chunk carries
    samples_0003.npz            all trajectories of cell 3
    chunks/000003/000001.npz    the second chunk of cell 3 instead, where a cell is cut; and a rate without samples
    journal/HOST-PID.jsonl      who computed what, when, and with which versions
    cells.json                  the rows of a sweep, once all is there; `record.json` of `levyjax escape`

A chunk is an .npz archive that NumPy opens as it is. Its comment, at the end of the file, is the SHA-256 of all bytes
before it. What is in it is a pure function of (tables, cell, chunk): no time, no host. Those go to the journal.

Earlier versions of `levyjax escape` wrote `record.json` and `samples_0003.npz` alone, without checksums.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import platform
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from levyjax.config import parse
from levyjax.config.grid import SweepConfig, parse_sweep, whole_cells
from levyjax.environment import environment
from levyjax.escape import ExitSamples
from levyjax.escape.quasi_stationary import QuasiStationaryRate
from levyjax.escape.simulate import joined
from levyjax.input import DamagedArchive, file_size, read_npz
from levyjax.output import to_json, write_bytes
from levyjax.records import read_record, write_record

Ends = ExitSamples | QuasiStationaryRate

_DIGEST = 64  # hexadecimal digits of SHA-256
_PLAN, _RECORD, _ROWS = "sweep.json", "record.json", "cells.json"
_FIGURES = ("results.nc", "survival.png", "exit_time_scaling.png")  # what `levyjax escape` makes of the samples
_LEFT_BEHIND = 3600.0  # seconds
_TEXTS = ("label", "file", "noise.file")  # keys whose values are never numbers
_NUMBERS = ("cell", "chunk", "seconds", "wall_seconds")  # of the journal
_ARRAYS = ("exit_step", "exit_time", "exit_code", "exit_position", "exit_face")  # of an archive without checksum
_PARTIAL = "/partial"


class DamagedChunk(ValueError):
    """A chunk file is truncated, was changed, or belongs elsewhere."""


class ChunkStore:
    """A folder with the results of one run or sweep.

    Attributes:
        folder: where it lies.
        config: the sweep; that of `levyjax escape` is one of whole cells.
        digest: SHA-256 of the tables and of the data files that they name; every chunk carries it. None for a run
            of an earlier version, which has no checksums.
        command: who began it, "escape" or "sweep".
    """

    def __init__(
        self, folder: Path, config: SweepConfig, digest: str | None, command: str, record: dict[str, Any] | None = None
    ) -> None:
        self.folder, self.config, self.digest, self.command, self._record = folder, config, digest, command, record
        self._journal = folder / "journal" / f"{platform.node()[:60] or 'host'}-{os.getpid()}.jsonl"

    @classmethod
    def create(cls, folder: Path, config: SweepConfig) -> "ChunkStore":
        """Begin a sweep in a folder, or go on with the same one.

        Raises:
            ValueError: the folder holds another sweep, or other files.
        """
        plan = _plan(config, "sweep")
        # Looked at before the plan: of many processes that begin together one may write it in between.
        holds_files = any(not item.name.startswith(".") for item in folder.iterdir())
        if (folder / _PLAN).exists():
            store = cls.open(folder)
            if store.digest != plan["digest"]:
                raise ValueError(
                    f"{_short(folder)} holds another sweep. Give an empty folder, or the file it began with."
                )
            return store
        if holds_files:
            raise ValueError(f"{_short(folder)} is not empty and holds no sweep. Give an empty folder.")
        write_record(folder / _PLAN, plan)
        return cls.open(folder)

    @classmethod
    def create_run(cls, folder: Path, config: SweepConfig) -> "ChunkStore":
        """Begin a run of `levyjax escape` in a folder: go on with the same one if it is unfinished and of this
        environment, and replace any other one.

        Raises:
            ValueError: the folder holds a sweep.
        """
        plan = _plan(config, "escape")
        if (folder / _PLAN).exists():
            found = _read_plan(folder)
            if found.get("command") != "escape":
                raise ValueError(f"{_short(folder)} holds a sweep. Give another folder.")
            same = found["digest"] == plan["digest"]
            if same and cls(folder, config, plan["digest"], "escape")._unfinished_here():
                (folder / _RECORD).unlink(missing_ok=True)  # of an interrupted cell
                return cls(folder, config, plan["digest"], "escape")
        _clear_run(folder)
        write_record(folder / _PLAN, plan)
        return cls(folder, config, plan["digest"], "escape")

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "ChunkStore":
        """The results of a folder that any version has written.

        Raises:
            ValueError: there are none, they are of a newer version, or the data files that they name have changed.
        """
        folder = Path(folder)
        if not (folder / _PLAN).exists() and (folder / _RECORD).is_file():
            return cls.of_record(folder / _RECORD, read_record(folder / _RECORD, ("config", "cells")))
        plan = _read_plan(folder)
        tables, digest, command = plan["tables"], plan["digest"], plan.get("command", "sweep")
        config = parse_sweep(_without_infinity(tables, False))
        if _digest(tables, config) != digest:
            raise ValueError(
                f"{_short(folder)}: {_PLAN}, or a data file that the sweep names, has changed since it began."
            )
        return cls(folder, config, digest, command)

    @classmethod
    def of_record(cls, path: Path, record: dict[str, Any]) -> "ChunkStore":
        """A run of an earlier version by its record, which lies at `path`."""
        return cls(path.parent, whole_cells(parse(record["config"])), None, "escape", record)

    def finish(self, record: dict[str, Any]) -> dict[str, Any]:
        """Write the record with the rows, and return it with the version of its layout."""
        self._record = write_record(self.folder / (_RECORD if self.command == "escape" else _ROWS), record)
        return self._record

    @property
    def record(self) -> dict[str, Any] | None:
        """The record with the rows, once it is written.

        Raises:
            ValueError: it is damaged, or of a newer version.
        """
        path = self.folder / (_RECORD if self.command == "escape" else _ROWS)
        if self._record is None and path.is_file():
            self._record = read_record(path, ("cells",))
        return self._record

    @property
    def tables(self) -> dict[str, Any]:
        """The tables as JSON can hold them: an infinity is a text."""
        return _without_infinity(self.config.tables, True)

    def path(self, cell: int, chunk: int) -> Path:
        """The file of a chunk."""
        cut = self.folder / "chunks" / f"{cell:06d}" / f"{chunk:06d}.npz"
        # Earlier versions had all of them there.
        if self.config.num_chunks(cell) > 1 or self._is_rate(cell) or cut.exists():
            return cut
        return self.folder / f"samples_{cell:04d}.npz"

    def write(self, cell: int, chunk: int, arrays: dict[str, np.ndarray], partial: bool = False) -> None:
        """Write a chunk, whole or not at all; two that write the same one write the same bytes.

        One that was interrupted is `partial`: it can be read as such, and counts as missing.
        """
        path = self.path(cell, chunk)
        if not self.folder.is_dir():
            raise FileNotFoundError(2, "the folder of the sweep has gone", str(self.folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        identity = self._identity(cell, chunk) + _PARTIAL * partial
        write_bytes(path, _packed({"identity": np.array(identity), **arrays}))

    def read(self, cell: int, chunk: int, partial: bool = False) -> dict[str, np.ndarray]:
        """The arrays of a chunk; with `partial` also of one that was interrupted.

        Raises:
            FileNotFoundError: it has not been written, or only in part.
            DamagedChunk: it is not what was written.
        """
        path = self.path(cell, chunk)
        name = path.relative_to(self.folder)
        size = file_size(path)
        if self.digest is None:
            arrays, identity = self._read_unsealed(path, cell)
        else:
            data = path.read_bytes()
            if size < 2 * _DIGEST or hashlib.sha256(data[:-_DIGEST]).hexdigest().encode() != data[-_DIGEST:]:
                raise DamagedChunk(f"{name} is damaged: its checksum differs.")
            arrays = _unpacked(io.BytesIO(data), name)
            identity = str(arrays.pop("identity", None))
        if identity == self._identity(cell, chunk) + _PARTIAL and not partial:
            raise FileNotFoundError(2, "it was interrupted", str(path))
        if identity.removesuffix(_PARTIAL) != self._identity(cell, chunk):
            raise DamagedChunk(f"{name} belongs to another sweep or place.")
        return arrays

    def _read_unsealed(self, path: Path, cell: int) -> tuple[dict[str, np.ndarray], str]:
        """The arrays of a cell of an earlier version, and whose they are."""
        arrays, record = _unpacked(path, path.name), self._record or {}
        if not set(_ARRAYS) <= set(arrays):
            raise DamagedChunk(f"{path.name} is damaged: an array is missing.")
        whole = len(arrays["exit_step"]) == self.config.cells[cell].config.run.num_trajectories
        arrays["face_names"] = np.array(record.get("face_names") or [], str)
        return arrays, self._identity(cell, 0) + _PARTIAL * (not whole)

    def ends(self, cell: int, seconds: float = 0.0, partial: bool = False) -> Ends:
        """The exits of a cell in the order of their ids, or its rate; with `partial` also interrupted ones.

        Chunks do not say what they took: `seconds` does.

        Raises:
            ValueError: a chunk is missing or damaged.
        """
        parts = []
        for chunk in range(self.config.num_chunks(cell)):
            try:
                parts.append(self.read(cell, chunk, partial))
            except FileNotFoundError:
                raise ValueError(f"Chunk {chunk} of cell {cell} is not there. Give the same command again.") from None
        if self._is_rate(cell):
            numbers: dict[str, Any] = {name: value.item() for name, value in parts[0].items()}
            return QuasiStationaryRate(**{**numbers, "seconds": seconds})
        first, *rest = map(from_arrays, parts)
        return joined([dataclasses.replace(first, seconds=seconds), *rest])

    def state(self, cell: int, chunk: int) -> str:
        """ "done", "missing" or "damaged", by the checksum."""
        if self.digest is None and self._is_rate(cell):  # the record alone has it
            return "done" if self._record and cell < len(self._record["cells"]) else "missing"
        try:
            self.read(cell, chunk)
        except FileNotFoundError:
            return "missing"
        except DamagedChunk:
            return "damaged"
        return "done"

    def note(self, entry: dict[str, Any]) -> None:
        """Append an entry to this process's journal."""
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        with open(self._journal, "a", encoding="utf-8") as file:
            file.write(json.dumps(json.loads(to_json(entry))) + "\n")

    def journal(self) -> Iterator[dict[str, Any]]:
        """What all processes have noted; a line that was cut off or is no entry is left out."""
        if self.digest is None and self._record is not None:
            for cell, row in enumerate(self._record["cells"]):
                seconds, environment = row.get("seconds"), self._record.get("environment")
                yield {"cell": cell, "chunk": 0, "seconds": seconds, "environment": environment}
        for path in sorted((self.folder / "journal").glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and all(_is_number(entry.get(name, 0)) for name in _NUMBERS):
                        yield entry

    def environments(self) -> list[dict[str, Any]]:
        """With which versions and devices it was computed; more than one may mean different last bits."""
        found = {repr(one): one for entry in self.journal() if (one := entry.get("environment"))}
        return list(found.values())

    def seconds(self) -> dict[int, float]:
        """What the simulation of each cell took, without compilation, as the journal has it."""
        whole = (entry for entry in self.journal() if not entry.get("partial"))
        taken = {(entry.get("cell", -1), entry.get("chunk")): entry.get("seconds") or 0.0 for entry in whole}
        found: dict[int, float] = defaultdict(float)
        for (cell, _), seconds in taken.items():
            found[cell] += seconds
        return found

    def tidy(self) -> None:
        """Remove what killed processes have left half written, once it is an hour old."""
        for path in (*self.folder.glob(".*.partial"), *(self.folder / "chunks").glob("*/.*.partial")):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFT_BEHIND:
                    path.unlink()

    def _is_rate(self, cell: int) -> bool:
        return self.config.cells[cell].config.run.method == "quasi_stationary"

    def _identity(self, cell: int, chunk: int) -> str:
        return f"{self.digest}/{cell}/{chunk}"

    def _unfinished_here(self) -> bool:
        """Whether the run was killed or interrupted, and begun by the same versions on the same devices."""
        try:
            finished = self.record is not None and not self.record.get("interrupted")
        except ValueError:  # a damaged record
            return False
        return not finished and self.environments() in ([], [environment()])


def to_arrays(ends: Ends) -> dict[str, np.ndarray]:
    """Exits or a rate as the arrays of a chunk: without what differs from run to run."""
    if isinstance(ends, QuasiStationaryRate):
        return {name: np.asarray(value) for name, value in (dataclasses.asdict(ends) | {"seconds": 0.0}).items()}
    return {
        "exit_step": ends.exit_step,
        "exit_time": ends.exit_time,
        "exit_code": ends.exit_code.astype(np.int8),
        "exit_position": ends.exit_position,
        "exit_face": ends.exit_face.astype(np.int32),
        "face_names": np.array(ends.face_names, str),
        **({} if ends.step_time is None else {"step_time": np.asarray(ends.step_time)}),
    }


def from_arrays(arrays: dict[str, np.ndarray]) -> ExitSamples:
    """The exits of a chunk of any version."""
    step_time = float(arrays["step_time"]) if "step_time" in arrays else None
    return ExitSamples(
        arrays["exit_step"],
        arrays["exit_code"].astype(np.int32),
        arrays["exit_position"],
        arrays["exit_face"],
        tuple(map(str, arrays["face_names"])),
        step_time,
        0.0,
        clock=None if step_time is not None else arrays["exit_time" if "exit_time" in arrays else "clock"],
    )


def _unpacked(source: Any, name: Any) -> dict[str, np.ndarray]:
    try:
        return read_npz(source)
    except DamagedArchive as error:
        raise DamagedChunk(f"{name} is damaged: it {error}.") from None


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    head = buffer.getvalue()[:-2] + _DIGEST.to_bytes(2, "little")  # the length of the comment ends the archive
    return head + hashlib.sha256(head).hexdigest().encode()


def _plan(config: SweepConfig, command: str) -> dict[str, Any]:
    """What `sweep.json` has: everything that the samples follow from."""
    tables = _without_infinity(config.tables, True)
    return {"command": command, "digest": _digest(tables, config), "tables": tables}


def _read_plan(folder: Path) -> dict[str, Any]:
    try:
        return read_record(folder / _PLAN, ("tables", "digest"))
    except OSError:
        raise ValueError(f"{_short(folder)} holds no sweep: there is no {_PLAN} in it.") from None
    except ValueError as error:
        raise ValueError(f"{_short(folder)} holds no sweep that can be read: {error}") from None


def _clear_run(folder: Path) -> None:
    """Remove a run of `levyjax escape`: its record first, so that none stands beside the samples of another."""
    (folder / _RECORD).unlink(missing_ok=True)
    for path in (*folder.glob("samples_[0-9]*.npz"), *(folder / name for name in _FIGURES)):
        path.unlink(missing_ok=True)
    if (folder / _PLAN).exists():  # else folders of these names are not ours
        shutil.rmtree(folder / "chunks", ignore_errors=True)
        shutil.rmtree(folder / "journal", ignore_errors=True)
    (folder / _PLAN).unlink(missing_ok=True)


def _digest(tables: Any, config: SweepConfig) -> str:
    text = json.dumps(tables, sort_keys=True)
    files = sorted({cell.config.noise.file for cell in config.cells if hasattr(cell.config.noise, "file")})  # type: ignore[attr-defined]
    for file in files:
        file_size(file)
        with open(file, "rb") as content:
            text += hashlib.file_digest(content, "sha256").hexdigest()
    return hashlib.sha256(text.encode()).hexdigest()


def _without_infinity(value: Any, writing: bool) -> Any:
    """Tables with infinity as a text, which JSON can hold, or back; labels and files are texts and stay so."""
    if isinstance(value, dict):
        return {name: item if name in _TEXTS else _without_infinity(item, writing) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_infinity(item, writing) for item in value]
    if writing:
        return str(value) if isinstance(value, float) and math.isinf(value) else value
    return float(value) if value in ("inf", "-inf") else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < 2**53


def _short(path: Path) -> str:
    return text if len(text := str(path)) <= 63 else f"...{text[-60:]}"
