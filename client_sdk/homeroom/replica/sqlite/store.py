"""A replica in a SQLite file: see schema.sql and records.sql for what is in it."""

import hashlib
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib import resources
from pathlib import Path

import orjson

from homeroom.replica.arrivals import checksum
from homeroom.replica.machine import TypeState, opened
from homeroom.replica.sqlite import applying
from homeroom.replica.sqlite.applying import table_of
from homeroom.replica.sqlite.changes import SqliteChanges
from homeroom.replica.sqlite.file import File, connect_to_read, translated
from homeroom.replica.sqlite.tables import Table, view_statements
from homeroom.replica.sqlite.writes import SqliteWrites
from homeroom.replica.storage import (
    DIFFERENCES_KEPT,
    Batch,
    Change,
    Damage,
    Difference,
    Inspection,
    Kind,
    Record,
    StorageError,
    TypeSummary,
    now,
)

_SCHEMA_VERSION = "1"
_ROWS_AT_ONCE = 10_000


class SqliteStorage:
    """A storage in a file, made if it is not there; StorageError for one that is no replica of this version.

    `read_only`: nothing is made or written, so it does not get in the way of the process that keeps the file in step.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        if not read_only and path.exists():
            _refuse_foreign(path)
        self._file = File(path, read_only=read_only)
        self.writes = SqliteWrites(self._file, self._held_version)
        self._changes = SqliteChanges(self._file)
        if not read_only:
            with self._file.transaction() as db:
                if not _has_schema(db):
                    for statement in _statements():
                        db.execute(statement)
                    db.execute("insert into replica_setting values ('schema_version', ?)", (_SCHEMA_VERSION,))
        with self._file.reading() as db:
            ours = _has_schema(db)
        if not ours:
            self.close()
            raise StorageError(f"{path} is not a replica")
        if self.setting("schema_version") != _SCHEMA_VERSION:
            self.close()
            raise StorageError(f"{path} was made by another version of the SDK; move it away and sync anew")

    def close(self) -> None:
        self._file.db.close()

    def setting(self, name: str, value: str | None = None) -> str:
        if value is not None:
            with self._file.transaction() as db:
                db.execute("insert or replace into replica_setting values (?, ?)", (name, value))
        with self._file.reading() as db:
            row = db.execute("select value from replica_setting where name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def subscribe(self, kinds: Sequence[Kind]) -> None:
        with self._file.transaction() as db:
            db.execute("update replica_type set followed = 0")
            for kind in kinds:
                known = db.execute("select 1 from replica_type where name = ?", (kind.name,)).fetchone()
                if not known:
                    db.execute(table_of(kind.name).create)
                members = orjson.dumps(kind.members).decode()
                db.execute(
                    "insert into replica_type (name, source, followed, members) values (?, ?, ?, ?)"
                    " on conflict (name) do update set source = excluded.source, followed = excluded.followed,"
                    " members = excluded.members",
                    (kind.name, kind.source, kind.followed, members),
                )
                for statement in view_statements(kind.name, kind.members):
                    db.execute(statement)

    def summaries(self) -> Sequence[TypeSummary]:
        with self._file.reading() as db:
            rows = db.execute(
                "select name, source, followed, members, in_step_at, asked_at, trouble from replica_type order by name"
            ).fetchall()
            found = []
            for name, source, followed, members, in_step_at, asked_at, trouble in rows:
                kind = Kind(name, source, bool(followed), tuple(orjson.loads(members)))
                live, _, _ = db.execute(table_of(name).totals).fetchone()
                (deleted,) = db.execute(table_of(name).tombstones).fetchone()
                state = replace(self.state(name), trouble=trouble)
                found.append(TypeSummary(kind, state, live, deleted, in_step_at, asked_at))
            return found

    def state(self, name: str) -> TypeState:
        with self._file.reading() as db:
            query = "select loaded, cursor, until, epoch from replica_type where name = ?"
            loaded, cursor, until, epoch = db.execute(query, (name,)).fetchone()
        return opened(loaded=bool(loaded), cursor=cursor, until=until, epoch=epoch)

    def remember(self, name: str, state: TypeState, *, in_step: bool) -> None:
        at = now()
        with self._file.transaction() as db:
            db.execute(
                "update replica_type set cursor = ?, until = ?, epoch = ?, trouble = ?, asked_at = ?,"
                " in_step_at = iif(?, ?, in_step_at) where name = ?",
                (state.cursor, state.until, state.epoch, state.trouble, at, in_step, at, name),
            )

    def load(self, name: str, batch: Batch, state: TypeState) -> None:
        with self._file.transaction() as db:
            applying.add_unseen(db, name, batch.records)
            source = _source(db, name)
            if source is not None and _is_loaded(db, source):
                applying.store(db, source, batch.sources, repair=False)
            elif source is not None:
                applying.add_unseen(db, source, batch.sources)
            db.execute(
                "update replica_type set cursor = ?, until = ?, epoch = ?, trouble = ?, asked_at = ? where name = ?",
                (state.cursor, state.until, state.epoch, state.trouble, now(), name),
            )

    def finish_load(self, name: str, state: TypeState) -> None:
        with self._file.transaction() as db:
            for kind in filter(None, (name, _source(db, name))):
                for statement in table_of(kind).index:
                    db.execute(statement)
                db.execute("update replica_type set loaded = 1, until = 0 where name = ?", (kind,))
            db.execute("update replica_type set cursor = ? where name = ?", (state.cursor, name))

    def forget_load(self, name: str) -> None:
        with self._file.transaction() as db:
            for kind in filter(None, (name, _source(db, name))):
                if not _is_loaded(db, kind):
                    db.execute(table_of(kind).drop)
                    db.execute(table_of(kind).create)
                    db.execute(
                        "update replica_type set cursor = 0, until = 0, last_sequence = 0, live = 0, version_sum = 0"
                        " where name = ?",
                        (kind,),
                    )

    def apply(self, name: str, batch: Batch) -> int:
        with self._file.transaction() as db:
            source = _source(db, name)
            applied = 0
            if source is not None:
                applied += applying.store(db, source, batch.sources, repair=batch.repair)
            applied += applying.store(db, name, batch.records, repair=batch.repair)
            applied += applying.drop(db, name, batch.dropped)
            if source is not None and not _is_followed(db, source):
                applied += applying.drop(db, source, batch.dropped)
            if batch.repair:
                for kind in filter(None, (name, source)):
                    applying.count_anew(db, kind)
            if batch.cursor:
                db.execute("update replica_type set cursor = max(cursor, ?) where name = ?", (batch.cursor, name))
        return applied

    def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        with self._file.reading() as db:
            rows = db.execute(table_of(name).find, (orjson.dumps(list(ids)).decode(),))
            return {record_id: version for record_id, version, _ in rows}

    def live(self, name: str) -> Iterator[tuple[str, int]]:
        with self._file.reading() as db:
            yield from db.execute(table_of(name).live)

    def highest_version(self, name: str) -> int:
        with self._file.reading() as db:
            _, _, highest = db.execute(table_of(name).totals).fetchone()
        return int(highest)

    def version_hash(self, name: str) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        with self._file.reading() as db, closing(db.execute(table_of(name).versions)) as rows:
            while some := rows.fetchmany(_ROWS_AT_ONCE):
                digest.update(struct.pack(f">{len(some)}q", *(version for (version,) in some)))
        return digest.hexdigest()

    def stamp(self) -> object:
        with self._file.reading() as db:
            return db.execute("pragma data_version").fetchone()[0], db.total_changes

    def damage(self, name: str) -> Damage:
        with self._file.reading() as db:
            query = "select live, version_sum from replica_type where name = ?"
            stored_live, stored_sum = db.execute(query, (name,)).fetchone()
            live, version_sum, _ = db.execute(table_of(name).totals).fetchone()
            altered = [
                record_id
                for record_id, version, deleted, body, stored in db.execute(table_of(name).rows)
                if checksum(record_id, version, bool(deleted), body.encode()) != stored
            ]
        if live == stored_live and version_sum != stored_sum and not altered:
            return Damage((), 1, 1)  # at least: as many rows went as came
        return Damage(tuple(altered), max(0, stored_live - live), max(0, live - stored_live))

    def sources_missing(self, name: str) -> Sequence[str]:
        with self._file.reading() as db:
            source = _source(db, name)
            if source is None:
                return []
            return [record_id for (record_id,) in db.execute(Table.of(name, source).statuses_ahead)]

    def sources_beyond(self, name: str) -> Sequence[str]:
        with self._file.reading() as db:
            source = _source(db, name)
            if source is None:
                return []
            return [record_id for (record_id,) in db.execute(Table.of(name, source).statuses_behind)]

    def strays(self, name: str) -> Sequence[str]:
        with self._file.reading() as db:
            source = _source(db, name)
            if source is None or _is_followed(db, source):
                return []
            return [record_id for (record_id,) in db.execute(Table.of(name, source).strays)]

    def inspect(self, name: str) -> Inspection:
        with self._file.reading() as db, self._file.one_moment():
            source = _source(db, name)
            source_damage = Damage() if source is None else self.damage(source)
            missing = self.sources_missing(name)
            return Inspection(self.state(name), self.version_hash(name), self.damage(name), source_damage, missing)

    def record(self, name: str, record_id: str) -> Record | None:
        with self._file.reading() as db:
            row = db.execute(table_of(name).record, (record_id,)).fetchone() if _is_loaded(db, name) else None
        if row is None:
            return None
        found_id, version, changed_at, deleted, source_version, body = row
        return Record(name, found_id, version, changed_at, bool(deleted), source_version, orjson.loads(body))

    def changes(self, consumer: str, limit: int) -> Sequence[Change]:
        return self._changes.next(consumer, limit)

    def acknowledge(self, consumer: str, change: Change) -> None:
        self._changes.acknowledge(consumer, change)

    def forget_consumer(self, consumer: str) -> None:
        self._changes.forget(consumer)

    def note_differences(self, differences: Sequence[Difference]) -> None:
        at = now()
        with self._file.transaction() as db:
            db.executemany(
                "insert into replica_difference (found_at, type, id, held_version, core_version, cause)"
                " values (?, ?, ?, ?, ?, ?)",
                [(at, d.type, d.id, d.held_version, d.core_version, d.cause) for d in differences],
            )
            db.execute(
                "delete from replica_difference where number <= (select max(number) from replica_difference) - ?",
                (DIFFERENCES_KEPT,),
            )

    def differences(self, limit: int) -> Sequence[Difference]:
        with self._file.reading() as db:
            query = "select type, id, held_version, core_version, cause, found_at from replica_difference"
            return [Difference(*row) for row in db.execute(f"{query} order by number desc limit ?", (limit,))]

    def _held_version(self, name: str, record_id: str) -> int:
        kept = self._file.db.execute("select 1 from replica_type where name = ?", (name,)).fetchone()
        return self.versions(name, [record_id]).get(record_id, 0) if kept else 0


def _refuse_foreign(path: Path) -> None:
    """Nothing is added to a file that is another program's. One without any table was left by a crash at its making."""
    with closing(connect_to_read(path)) as db, translated(path):
        if db.execute("select 1 from sqlite_master").fetchone() and not _has_schema(db):
            raise StorageError(f"{path} is not a replica")


def _has_schema(db: sqlite3.Connection) -> bool:
    return db.execute("select 1 from sqlite_master where name = 'replica_setting'").fetchone() is not None


def _source(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("select source from replica_type where name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _is_loaded(db: sqlite3.Connection, name: str) -> bool:
    return bool(db.execute("select loaded from replica_type where name = ?", (name,)).fetchone()[0])


def _is_followed(db: sqlite3.Connection, name: str) -> bool:
    return bool(db.execute("select followed from replica_type where name = ?", (name,)).fetchone()[0])


def _statements() -> Sequence[str]:
    """The statements of schema.sql: `executescript` would commit what is under way."""
    text = resources.files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.strip().startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]
