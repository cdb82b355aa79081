"""Restoring a backup into an empty database: a new history begins, and the erased stay away."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

import asyncpg

from homeroom_server import migration
from homeroom_server.backup import files, keyring, programs
from homeroom_server.backup.blocks import Block, read_blocks
from homeroom_server.backup.files import DUMP, STUDENTS, BackupError, Manifest
from homeroom_server.backup.keyring import Keyring
from homeroom_server.backup.making import Note
from homeroom_server.backup.progress import Progress
from homeroom_server.database import DatabaseError
from homeroom_server.primary import Primary
from homeroom_server.store import history, registry, restoring, schema
from homeroom_server.store.backup import Table
from homeroom_server.store.connection import FAILURES, Conn

RESTORE_STEP = 2**45
"""A restored history begins at a multiple of it: above all that fail-overs which the backup does not know of gave out,
up to thirty of them (`history.STEP`)."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backup and the keyring that opens it, both verified."""

    folder: Path
    manifest: Manifest
    keyring: Keyring


@dataclass(frozen=True, slots=True)
class Restored:
    """`rows` speak of students and are back; `rows_erased` of `erased` students whose key is gone are not."""

    epoch: str
    rows: int
    rows_erased: int
    erased: int


def choose(folder: Path, name: str | None, keyring_path: Path | None, progress: Progress) -> Chosen:
    """The backup of that name, or the newest, every byte of it verified. Raises BackupError."""
    there = files.names(folder)
    if not there or (name is not None and name not in there):
        raise BackupError(f"there is no {f'backup {name}' if name else 'whole backup'} in {folder}")
    manifest = files.read_manifest(folder, name or there[-1])
    if manifest.schema_version > schema.SCHEMA_VERSION:
        raise BackupError(
            f"the backup {manifest.name} has schema {manifest.schema_version}, and this version of homeroom works on "
            f"{schema.SCHEMA_VERSION}: use a newer homeroom; nothing was changed"
        )
    ring = keyring.read(keyring_path or folder / keyring.NAME)
    if ring.core != manifest.core:
        raise BackupError("the keyring belongs to another Core; nothing was changed")
    if datetime.fromisoformat(ring.written_at) < datetime.fromisoformat(manifest.taken_at):
        raise BackupError(
            f"the keyring was written before the backup {manifest.name} and lacks keys of it: take the newest keyring; "
            "nothing was changed"
        )
    progress.begin(f"verifying {manifest.name}")
    files.verify(folder, manifest)
    return Chosen(folder, manifest, ring)


async def restore(chosen: Chosen, database_url: str, note: Note, progress: Progress) -> Restored:
    """Bring a database from empty to the backup's state, in a history of its own; `note` puts it into the audit.

    Raises BackupError: before anything is changed where the database is not empty, else with a database that no node
    starts on, and into which a restore may be run again.
    """
    try:
        url = await Primary(database_url).find()
        connection: asyncpg.Connection = await asyncpg.connect(url, server_settings={"application_name": "homeroom"})
    except FAILURES as failure:
        raise BackupError(f"the database cannot be reached: {failure}") from failure
    try:
        program = await _check(connection, chosen.manifest)
        await restoring.begin(connection)
        return await _fill(connection, url, program, chosen, note, progress)
    except FAILURES as failure:
        raise _half_restored(str(failure).partition("\n")[0] or type(failure).__name__) from failure
    finally:
        await connection.close(timeout=5)


async def _check(connection: Conn, manifest: Manifest) -> Path:
    """Raises BackupError unless a restore may begin; the pg_restore to use."""
    major = connection.get_server_version().major
    if major < manifest.postgres:
        raise BackupError(
            f"the backup comes from PostgreSQL {manifest.postgres}, and this server is version {major}: take one of "
            f"version {manifest.postgres} or newer; nothing was changed"
        )
    program, _ = programs.find("pg_restore", max(major, manifest.dumped_by))
    if not await restoring.is_half_restored(connection):
        if nodes := await restoring.read_nodes(connection):
            raise BackupError(
                f"a node runs on this database ({', '.join(nodes)}): restore into another, which is empty; nothing was "
                "changed"
            )
        if count := await restoring.count_relations(connection):
            raise BackupError(
                f"this database is not empty, it has {count} tables and views: restore into a new --data-dir, or"
                " into an empty database; nothing was changed"
            )
    return program


async def _fill(connection: Conn, url: str, program: Path, chosen: Chosen, note: Note, progress: Progress) -> Restored:
    manifest, ring = chosen.manifest, chosen.keyring
    how = ("--no-owner", "--no-acl", "--exit-on-error")
    dump = str(chosen.folder / manifest.name / DUMP)
    try:
        progress.begin("what speaks of no student")
        await programs.run(program, url, *how, "--section=pre-data", "--section=data", dump)
        rows, erased = await _put_students_back(connection, chosen, progress)
        await _put_keyring_back(connection, ring)
        progress.begin("indexes")
        await programs.run(program, url, *how, "--section=post-data", dump)
        await restoring.analyze(connection)
        await migration.bring_up(url, progress.begin)
    except (BackupError, DatabaseError) as fault:
        raise _half_restored(str(fault)) from fault
    epoch = await _begin_history(connection, chosen, note)
    return Restored(epoch, rows, manifest.rows - rows, erased)


async def _put_students_back(connection: Conn, chosen: Chosen, progress: Progress) -> tuple[int, int]:
    """All that the keyring opens; how many rows, and of how many students the key is gone."""
    manifest, gone, rows = chosen.manifest, set[bytes](), 0
    progress.begin("what speaks of students", manifest.rows)
    blocks = read_blocks(chosen.folder / manifest.name / STUDENTS, bytes.fromhex(manifest.id), chosen.keyring.keys())
    for number, of_table in groupby(blocks, key=lambda block: block.table):
        content = manifest.tables[number]
        table = Table(content.schema, content.name)
        rows += await restoring.copy_in(connection, table, _pieces(_texts(of_table, gone, progress)))
    return rows, len(gone)


async def _put_keyring_back(connection: Conn, ring: Keyring) -> None:
    """All of it but what is of feeds that the backup does not know yet: in merges, a row begins with its feed."""
    feeds = {str(feed).encode() for feed in await restoring.read_feeds(connection)}
    for table, text in ring.rows.items():
        rows = text.splitlines(keepends=True)
        if table.schema != "public":
            rows = [row for row in rows if row.partition(b"\t")[0] in feeds]
        if await restoring.has_table(connection, table):
            await restoring.copy_in(connection, table, _pieces(iter(rows)))


def _texts(blocks: Iterator[Block], gone: set[bytes], progress: Progress) -> Iterator[bytes]:
    for block in blocks:
        progress.advance(block.rows)
        if block.text is None:
            gone.add(block.key)
        else:
            yield block.text


async def _pieces(texts: Iterator[bytes]) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


async def _begin_history(connection: Conn, chosen: Chosen, note: Note) -> str:
    """The last act: until it is committed, the database is half restored."""
    manifest = chosen.manifest
    known = max(chosen.keyring.counter, manifest.counter, files.versions_taken(chosen.folder))
    above = (known // RESTORE_STEP + 1) * RESTORE_STEP
    files.take_versions(chosen.folder, above)
    async with connection.transaction():
        server = await history.read_server(connection)
        epoch = await history.begin(connection, f"restored from the backup {manifest.name}", server, above)
        await registry.announce_directory(connection)
        await restoring.heed_erasures(connection)
        await note(connection, f"restored the backup {manifest.name}")
        await restoring.end(connection)
    return epoch


def _half_restored(why: str) -> BackupError:
    return BackupError(
        f"{why}; the database is half restored and no node starts on it: mend that and run the restore again"
    )
