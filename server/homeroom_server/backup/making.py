"""Making a backup: one snapshot, of which pg_dump takes what speaks of no student, and we the rest, sealed."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import asyncpg

from homeroom_server import database
from homeroom_server.backup import files, keyring, programs
from homeroom_server.backup.blocks import ROWS_BYTES_MAX, BlockWriter
from homeroom_server.backup.files import DUMP, STUDENTS, BackupError, Content, Manifest
from homeroom_server.backup.keyring import Keyring
from homeroom_server.backup.progress import Progress
from homeroom_server.primary import Primary
from homeroom_server.store import backup, history, schema, student_keys, types
from homeroom_server.store.backup import Estimate
from homeroom_server.store.connection import FAILURES, Conn
from homeroom_server.store.student_keys import TOGETHER

_KEYS_AT_ONCE = 1_000
_OF_NO_STUDENT = rb"\N"

Note = Callable[[Conn, str], Awaitable[None]]
"""Puts what was done into the audit."""


@dataclass(frozen=True, slots=True)
class Made:
    """A whole backup. `removed`: the older ones that went."""

    manifest: Manifest
    bytes: int
    removed: list[str]


async def make(folder: Path, database_url: str, keep: int | None, note: Note, progress: Progress) -> Made:
    """A backup in a folder that `files.opened` has opened. Raises BackupError, DatabaseError; then there is none."""
    url = await _find(database_url)
    async with _connected(url) as connection, _connected(url) as keys:
        core = await _check_core(folder, connection)
        await student_keys.hold(connection)
        async with backup.snapshot(connection) as (snapshot, at):
            await student_keys.ensure(keys, snapshot)
            together = await student_keys.read_page(keys, TOGETHER, 1)
            await student_keys.release(connection)
            name = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
            with files.writing(folder, name) as part:
                estimate = await backup.read_tables(connection)
                dumped_by = await _dump(url, connection, snapshot, estimate, part / DUMP, progress)
                sealed = await _seal(connection, keys, estimate, part / STUDENTS, progress)
                counter = await _write_keyring(folder, keys, core, together)
                manifest = Manifest(
                    name=name,
                    id=sealed.backup.hex(),
                    core=core,
                    epoch=await types.read_epoch(connection),
                    schema_version=await schema.read_version(connection),
                    postgres=connection.get_server_version().major,
                    dumped_by=dumped_by,
                    taken_at=at.isoformat(),
                    counter=counter,
                    tables=tuple(sealed.contents),
                    files={DUMP: files.digest_of(part / DUMP), STUDENTS: sealed.digest},
                )
                files.write_manifest(part, manifest)
                await note(keys, f"made the backup {name}")
    return Made(manifest, files.size_of(folder, name), files.remove_oldest(folder, keep) if keep else [])


async def renew_keyring(folder: Path, database_url: str, note: Note) -> None:
    """Write the keyring of a folder anew: what it no longer has cannot be read in any backup there."""
    async with _connected(await _find(database_url)) as connection:
        await _write_keyring(folder, connection, await _check_core(folder, connection), [])
        await note(connection, "wrote the keyring of the backups anew")


async def _write_keyring(folder: Path, connection: Conn, core: str, needed: Sequence[tuple[str, bytes]]) -> int:
    """From the database as it is now; the highest version that was given out. BackupError without the keys needed."""
    async with connection.transaction(isolation="repeatable_read"):
        at, counter = await backup.read_moment(connection)
        if needed and await student_keys.read_page(connection, TOGETHER, 1) != needed:
            raise _erased_meanwhile()
        rows = {}
        for table in await backup.read_keyring_tables(connection):
            pieces: list[bytes] = []
            await backup.copy_out(connection, table, _into(pieces.append))
            rows[table] = b"".join(pieces)
    keyring.write(folder / keyring.NAME, Keyring(core, at.isoformat(), counter, rows))
    return counter


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The file of students: by which id its blocks are bound to it, and what it holds."""

    backup: bytes
    contents: list[Content]
    digest: str


async def _seal(connection: Conn, keys: Conn, estimate: Estimate, path: Path, progress: Progress) -> _Sealed:
    """Write what speaks of students, table by table."""
    progress.begin("what speaks of students", estimate.rows)
    backup_id, contents = os.urandom(16), []
    with files.create(path) as file:
        writer = BlockWriter(file, backup_id)
        for number, table in enumerate(estimate.tables):
            rows = _Rows(writer, number, _Keys(keys), progress, is_mixed=not table.query)
            await backup.copy_out(connection, table, rows.take)
            await rows.flush()
            contents.append(Content(table.schema, table.name, rows.count))
    return _Sealed(backup_id, contents, writer.digest.hexdigest())


class _Rows:
    """Cuts what COPY sends into rows, and these into blocks of one student each."""

    def __init__(self, writer: BlockWriter, table: int, keys: "_Keys", progress: Progress, *, is_mixed: bool) -> None:
        self.count = 0
        self._writer, self._table, self._keys, self._progress = writer, table, keys, progress
        self._is_mixed = is_mixed
        self._rest = b""
        self._student = b""
        self._rows: list[bytes] = []
        self._bytes = 0

    async def take(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            student, _, row = (b"", b"", line) if self._is_mixed else line.partition(b"\t")
            if student != self._student or self._bytes > ROWS_BYTES_MAX:
                await self.flush()
                self._student = student
            self._rows.append(row)
            self._bytes += len(row) + 1

    async def flush(self) -> None:
        """What was taken is written."""
        if self._rows:
            key = None if self._student == _OF_NO_STUDENT else await self._keys.of(self._student.decode())
            self._writer.write(self._table, key, self._rows)
            self.count += len(self._rows)
            self._progress.advance(len(self._rows))
        self._rows, self._bytes = [], 0


class _Keys:
    """Keys of students who are asked for in bytewise order, a page at a time."""

    def __init__(self, connection: Conn) -> None:
        self._connection = connection
        self._page: dict[str, bytes] = {}

    async def of(self, student: str) -> bytes:
        """BackupError if there is none: every student of the snapshot had one."""
        if student not in self._page:
            self._page = dict(await student_keys.read_page(self._connection, student, _KEYS_AT_ONCE))
            if student not in self._page:
                raise _erased_meanwhile()
        return self._page[student]


def _erased_meanwhile() -> BackupError:
    return BackupError("a student was erased while the backup was made, and there is none: run it again")


async def _dump(url: str, connection: Conn, snapshot: str, estimate: Estimate, path: Path, progress: Progress) -> int:
    """What speaks of no student; the version of pg_dump that wrote it."""
    progress.begin("what speaks of no student")
    program, version = programs.find("pg_dump", connection.get_server_version().major)
    left = [*(f"{table.schema}.{table.name}" for table in estimate.tables), *(f"public.{n}" for n in backup.LEFT_OUT)]
    without = [f"--exclude-table-data={name}" for name in [*left, *(f"*.{name}" for name in backup.KEYRING)]]
    await programs.run(program, url, "--format=custom", f"--snapshot={snapshot}", f"--file={path}", *without)
    return version


async def _check_core(folder: Path, connection: Conn) -> str:
    """The first epoch of this Core. BackupError if the folder has backups of another: their keyring would be lost."""
    core = (await history.read_histories(connection))[0].epoch
    path = folder / keyring.NAME
    if path.exists() and keyring.read(path).core != core:
        raise BackupError(f"{folder} has the backups and the keyring of another Core: name another folder")
    return core


async def _find(database_url: str) -> str:
    """The URL of the primary alone. DatabaseError."""
    await database.apply_schema(database_url)
    try:
        return await Primary(database_url).find()
    except OSError as failure:
        raise database.DatabaseError(f"the database cannot be reached: {failure}") from failure


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """For one backup; what goes wrong on it is a BackupError."""
    connection = await database.connect_to_primary(url)
    try:
        yield connection
    except FAILURES as failure:
        connection.terminate()
        said = str(failure).partition("\n")[0] or type(failure).__name__  # what follows may be of a row
        raise BackupError(f"the backup was given up, and nothing is left of it: {said}; run it again") from failure
    finally:
        await connection.close(timeout=5)


def _into(add: Callable[[bytes], None]) -> backup.Take:
    async def take(piece: bytes) -> None:
        add(piece)

    return take
