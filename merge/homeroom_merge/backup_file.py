"""The file of a backup: lines of JSON, compressed, in any place that fsspec knows. All of this blocks.

The first line says whose records these are, the last how many came between, with the SHA-256 of all lines before it. It
is written under another name and moved once it is whole, so that half a backup is never taken for one.
"""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import fsspec  # type: ignore[import-untyped]
import orjson
import zstandard
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from homeroom_merge.refusal import RefusedError

FORMAT = "homeroom-merge-backup"
FORMAT_VERSION = 2
_PLAIN_VERSION = 1
"""Its lines are read as they stand, also those of students."""
_LINE_BYTES_MAX = 64 * 1024 * 1024
_PART = ".part"
_WRITING = "name another place under [backup] in the settings, or make room or grant access there, and run again"
_READING = "nothing was changed; name a copy of it with --from, or another run"


class BackupError(RefusedError):
    """A backup that cannot be made or used. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Header:
    """Whose records a backup holds. `run`: the one before whose writes they were kept."""

    feed: str
    entity: str
    run: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A whole backup. `checksum`: of its lines before the last, in hexadecimal."""

    records: int
    bytes: int
    checksum: str


class Writer:
    """Writes one backup: lines as they come, then the seal. Raises BackupError."""

    def __init__(self, place: str, header: Header) -> None:
        self.header = header
        self._place = place
        self._records = 0
        self._digest = hashlib.sha256()
        with _told("cannot write the backup", place, _WRITING):
            self._system, self._path = fsspec.core.url_to_fs(place)
            self._is_local = isinstance(self._system, LocalFileSystem)
            self._file = self._opened()
            self._packed: Any = zstandard.ZstdCompressor(write_checksum=True).stream_writer(self._file, closefd=False)
        self._put(orjson.dumps({"format": FORMAT, "version": FORMAT_VERSION, **asdict(header)}))

    def add(self, lines: Sequence[bytes]) -> None:
        """One line a record."""
        for line in lines:
            self._put(line)
        self._records += len(lines)

    def seal(self) -> Sealed:
        """The last line; then the file gets its name."""
        checksum = self._digest.hexdigest()
        self._put(orjson.dumps({"records": self._records, "sha256": checksum}))
        with _told("cannot write the backup", self._place, _WRITING):
            self._packed.close()
            if self._is_local:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            size = int(self._system.size(self._path + _PART) or 0)
            self._system.mv(self._path + _PART, self._path)
            if self._is_local:
                _sync_folder(self._path)
        return Sealed(self._records, size, checksum)

    def abandon(self) -> None:
        """Leave nothing behind, as far as the place allows."""
        with suppress(Exception):  # it has failed already, and that is what is told
            self._file.close()
        with suppress(Exception):
            self._system.rm_file(self._path + _PART)

    def _put(self, line: bytes) -> None:
        self._digest.update(line + b"\n")
        with _told("cannot write the backup", self._place, _WRITING):
            self._packed.write(line + b"\n")

    def _opened(self) -> Any:
        """Children's data: where access is the file system's, nobody else has any."""
        folder = self._system._parent(self._path)
        if not self._is_local:
            self._system.makedirs(folder, exist_ok=True)
            return self._system.open(self._path + _PART, "wb")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.fdopen(os.open(self._path + _PART, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


class Reader:
    """Reads one backup, page by page; what is not as it was sealed raises BackupError before its last page comes.

    `is_plain`: it was made before students had keys, and whoever has it can read all of it.
    """

    def __init__(self, place: str, checksum: str | None = None) -> None:
        """`checksum`: what it has to be, besides what the file says itself."""
        self._place = place
        self._wanted = checksum
        self._digest = hashlib.sha256()
        self._records = 0
        self._ended = False
        with _told("cannot read the backup", place, _READING):
            system, path = fsspec.core.url_to_fs(place)
            self._file = system.open(path, "rb")
            unpacked = zstandard.ZstdDecompressor().stream_reader(self._file, closefd=False)
            self._lines = io.BufferedReader(unpacked)
        self.header = self._header()

    def page(self, limit: int) -> list[Any]:
        """The next records, as they were written; none once all have come."""
        return list(islice(self._rest(), limit))

    def close(self) -> None:
        """Nothing is read after this."""
        self._file.close()

    def _header(self) -> Header:
        said = self._said(self._line())
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise self._refused("this is no backup of a merge")
        if said.get("version") not in (FORMAT_VERSION, _PLAIN_VERSION):
            known = f"{_PLAIN_VERSION} and {FORMAT_VERSION}"
            raise self._refused(f"it has format {said.get('version')}, and this version reads {known}")
        self.is_plain = said["version"] == _PLAIN_VERSION
        return Header(*(str(said.get(name, "")) for name in ("feed", "entity", "run")))

    def _rest(self) -> Iterator[Any]:
        while not self._ended:
            before = self._digest.hexdigest()
            said = self._said(self._line())
            if isinstance(said, dict) and "sha256" in said:
                self._judge(said, before)
            else:
                self._records += 1
                yield said

    def _judge(self, seal: dict[str, Any], checksum: str) -> None:
        if seal != {"records": self._records, "sha256": checksum} or self._lines.read(1):
            raise self._refused("its checksum does not match what it holds")
        if self._wanted not in (None, checksum):
            raise self._refused("its checksum is not the one that was noted when it was made")
        self._ended = True

    def _line(self) -> bytes:
        with _told("cannot read the backup", self._place, _READING):
            line = self._lines.readline(_LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise self._refused("it is cut off" if len(line) < _LINE_BYTES_MAX else "a line of it is too long")
        self._digest.update(line)
        return line

    def _said(self, line: bytes) -> Any:
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError:
            raise self._refused("a line of it is no JSON") from None

    def _refused(self, why: str) -> BackupError:
        return BackupError(f"cannot use the backup {self._place}: {why}; {_READING}")


def remove(place: str) -> None:
    """Remove a backup, or what was begun of it; one that is gone is gone. Raises BackupError."""
    with _told("cannot remove the backup", place, "remove it by hand, or grant access; the next run tries again"):
        system, path = fsspec.core.url_to_fs(place)
        for each in (path, path + _PART):
            with suppress(FileNotFoundError, NotADirectoryError):
                system.rm_file(each)


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _told(doing: str, place: str, cure: str) -> Iterator[None]:
    try:
        yield
    except Exception as fault:  # each driver of fsspec has errors of its own
        reason = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
        raise BackupError(f"{doing} {place}: {reason}; {cure}") from fault
