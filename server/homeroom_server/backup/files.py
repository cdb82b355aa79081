"""The folder of backups: one folder a backup, which has its name once it is whole, and the keyring beside them."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from homeroom_server.refusal import RefusedError

FORMAT = "homeroom-backup"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
DUMP = "dump"
STUDENTS = "students"

_NAME = re.compile(r"\d{8}T\d{6}Z")
_PART = ".part"
_GONE = ".gone"
_VERSIONS_TAKEN = "versions"
_NOTHING_CHANGED = "nothing was changed; take another copy of it, or another backup"


class BackupError(RefusedError):
    """A backup that cannot be made or used. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Content:
    """Rows of one table in the file of students."""

    schema: str
    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is and holds. `core`: the first epoch of the Core, by which one is told from others.

    `taken_at`: by the database's clock, in ISO 8601. `counter`: no version above it had been given out. `postgres`: the
    major version of the server, `dumped_by` of pg_dump. `files`: the SHA-256 of each, in hexadecimal.
    """

    name: str
    id: str
    core: str
    epoch: str
    schema_version: int
    postgres: int
    dumped_by: int
    taken_at: str
    counter: int
    tables: tuple[Content, ...]
    files: Mapping[str, str]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """The folder, made if need be, for this process alone; what others began and did not end is gone. BackupError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise BackupError(f"{folder} cannot be written to: grant access, or take a copy of it that can be")
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup or restore works in {folder}: wait until it has ended") from None
        for left in [*folder.glob(f"*{_PART}"), *folder.glob(f"*{_GONE}")]:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        os.close(handle)


@contextmanager
def writing(folder: Path, name: str) -> Iterator[Path]:
    """Where to put the files of a backup; it has its name when the block ends, or leaves nothing behind."""
    part = folder / (name + _PART)
    if (folder / name).exists():
        raise BackupError(f"there is a backup {name} in {folder} already: run it again")
    part.mkdir(mode=0o700)
    try:
        yield part
        for file in part.iterdir():
            _sync(file)
        _sync(part)
        part.rename(folder / name)
        _sync(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def write_manifest(part: Path, manifest: Manifest) -> None:
    with create(part / MANIFEST) as file:
        file.write(_said(manifest))


def names(folder: Path) -> list[str]:
    """The whole backups of a folder, the oldest first."""
    return sorted(each.name for each in folder.glob("*") if _NAME.fullmatch(each.name) and each.is_dir())


def size_of(folder: Path, name: str) -> int:
    """Bytes of a backup."""
    return sum(file.stat().st_size for file in (folder / name).iterdir())


def remove_oldest(folder: Path, keep: int) -> list[str]:
    """Remove all but so many of the newest; which."""
    gone = names(folder)[:-keep]
    for name in gone:
        (folder / name).rename(folder / (name + _GONE))
        shutil.rmtree(folder / (name + _GONE))
    return gone


def read_manifest(folder: Path, name: str) -> Manifest:
    """What a backup says of itself. BackupError if it was altered, or is not one that this version reads."""
    path = folder / name / MANIFEST
    try:
        text = path.read_bytes()
        said = orjson.loads(text)
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise BackupError(f"{path} is no manifest of a backup; {_NOTHING_CHANGED}")
        if said.get("format_version") != FORMAT_VERSION:
            raise BackupError(
                f"the backup {name} has format {said.get('format_version')}, and this version of homeroom reads "
                f"{FORMAT_VERSION}: use the homeroom that made it; nothing was changed"
            )
        manifest = _manifest(said)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise BackupError(f"the manifest {path} cannot be read ({type(fault).__name__}); {_NOTHING_CHANGED}") from fault
    if _said(manifest) != text:
        raise BackupError(f"the manifest {path} is not as it was written; {_NOTHING_CHANGED}")
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Raises BackupError unless every file is there and as it was written."""
    for name, digest in manifest.files.items():
        path = folder / manifest.name / name
        try:
            found = digest_of(path)
        except OSError as fault:
            raise BackupError(f"{path} cannot be read: {fault.strerror}; {_NOTHING_CHANGED}") from fault
        if found != digest:
            raise BackupError(f"{path} is not as it was written: its checksum differs; {_NOTHING_CHANGED}")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create(path: Path) -> BinaryIO:
    """A new file for its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for its owner alone."""
    part = path.with_name(path.name + _PART)
    with create(part) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    _sync(path.parent)


def versions_taken(folder: Path) -> int:
    """The highest version above which a restore from this folder has begun a history; 0: none has."""
    path = folder / _VERSIONS_TAKEN
    return int(path.read_text()) if path.exists() else 0


def take_versions(folder: Path, above: int) -> None:
    """No other restore begins here or below."""
    replace(folder / _VERSIONS_TAKEN, str(above).encode())


def _said(manifest: Manifest) -> bytes:
    """The manifest's text, which a change of any byte makes another. It ends with a checksum of itself."""
    told: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(manifest)}
    told["checksum"] = hashlib.sha256(orjson.dumps(told)).hexdigest()
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _manifest(said: dict[str, Any]) -> Manifest:
    rest = {name: value for name, value in said.items() if name not in ("format", "format_version", "checksum")}
    return Manifest(**{**rest, "tables": tuple(Content(**table) for table in said["tables"])})


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
