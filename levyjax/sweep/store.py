"""The chunks of a sweep on disk: each written once, whole, with a checksum.

A chunk is an .npz archive that NumPy opens as it is. Its comment, at the end of the file, is the SHA-256 of all bytes
before it. What is in it is a pure function of (sweep, cell, chunk): no time, no host. Those go to the journal, one
file a process.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from levyjax.config.grid import SweepConfig, parse_sweep
from levyjax.input import DamagedArchive, file_size, read_npz
from levyjax.output import to_json, write_bytes
from levyjax.records import read_record, write_record

_DIGEST = 64  # hexadecimal digits of SHA-256
_PLAN = "sweep.json"
_LEFT_BEHIND = 3600.0  # seconds
_TEXTS = ("label", "file", "noise.file")  # keys whose values are never numbers
_NUMBERS = ("cell", "chunk", "seconds", "wall_seconds")  # of the journal


class DamagedChunk(ValueError):
    """A chunk file is truncated, was changed, or belongs elsewhere."""


class ChunkStore:
    """A folder with the chunks of one sweep.

    Attributes:
        folder: where it lies.
        config: the sweep.
        digest: SHA-256 of the sweep's tables and of the data files that it names; every chunk carries it.
    """

    def __init__(self, folder: Path, config: SweepConfig, digest: str) -> None:
        self.folder, self.config, self.digest = folder, config, digest
        self._journal = folder / "journal" / f"{platform.node()[:60] or 'host'}-{os.getpid()}.jsonl"

    @classmethod
    def create(cls, folder: Path, config: SweepConfig) -> "ChunkStore":
        """Begin a sweep in a folder, or go on with the same one.

        Raises:
            ValueError: the folder holds another sweep, or other files.
        """
        tables = _without_infinity(config.tables, True)
        plan = {"digest": _digest(tables, config), "tables": tables}
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
    def open(cls, folder: str | os.PathLike[str]) -> "ChunkStore":
        """The sweep of a folder.

        Raises:
            ValueError: there is none, it is of a newer version, or the data files that it names have changed.
        """
        folder = Path(folder)
        try:
            plan = read_record(folder / _PLAN, ("tables", "digest"))
        except OSError:
            raise ValueError(f"{_short(folder)} holds no sweep: there is no {_PLAN} in it.") from None
        except ValueError as error:
            raise ValueError(f"{_short(folder)} holds no sweep that can be read: {error}") from None
        tables, digest = plan["tables"], plan["digest"]
        config = parse_sweep(_without_infinity(tables, False))
        if _digest(tables, config) != digest:
            raise ValueError(
                f"{_short(folder)}: {_PLAN}, or a data file that the sweep names, has changed since it began."
            )
        return cls(folder, config, digest)

    def path(self, cell: int, chunk: int) -> Path:
        """The file of a chunk."""
        return self.folder / "chunks" / f"{cell:06d}" / f"{chunk:06d}.npz"

    def write(self, cell: int, chunk: int, arrays: dict[str, np.ndarray]) -> None:
        """Write a chunk, whole or not at all; two that write the same one write the same bytes."""
        path = self.path(cell, chunk)
        if not self.folder.is_dir():
            raise FileNotFoundError(2, "the folder of the sweep has gone", str(self.folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, _packed({"identity": np.array(self._identity(cell, chunk)), **arrays}))

    def read(self, cell: int, chunk: int) -> dict[str, np.ndarray]:
        """The arrays of a chunk.

        Raises:
            FileNotFoundError: it has not been written.
            DamagedChunk: it is not what was written.
        """
        path = self.path(cell, chunk)
        file_size(path)
        data = path.read_bytes()
        if len(data) < 2 * _DIGEST or hashlib.sha256(data[:-_DIGEST]).hexdigest().encode() != data[-_DIGEST:]:
            raise DamagedChunk(f"{path.name} of cell {cell} is damaged: its checksum differs.")
        try:
            arrays = read_npz(io.BytesIO(data))
        except DamagedArchive as error:
            raise DamagedChunk(f"{path.name} of cell {cell} {error}.") from None
        if str(arrays.pop("identity", None)) != self._identity(cell, chunk):
            raise DamagedChunk(f"{path.name} of cell {cell} belongs to another sweep or place.")
        return arrays

    def state(self, cell: int, chunk: int) -> str:
        """ "done", "missing" or "damaged", by the checksum."""
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
        for path in sorted((self.folder / "journal").glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and all(_is_number(entry.get(name, 0)) for name in _NUMBERS):
                        yield entry

    def tidy(self) -> None:
        """Remove what killed processes have left half written, once it is an hour old."""
        for path in (self.folder / "chunks").glob("*/.*.partial"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFT_BEHIND:
                    path.unlink()

    def _identity(self, cell: int, chunk: int) -> str:
        return f"{self.digest}/{cell}/{chunk}"


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    head = buffer.getvalue()[:-2] + _DIGEST.to_bytes(2, "little")  # the length of the comment ends the archive
    return head + hashlib.sha256(head).hexdigest().encode()


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
