"""Which changes each consumer has seen. What was replaced is kept just as long as somebody has still to see it."""

import sqlite3
from collections.abc import Sequence
from functools import cache

import orjson

from homeroom.answers import Json
from homeroom.replica.sqlite.file import File
from homeroom.replica.sqlite.tables import Table
from homeroom.replica.storage import Change

_table_of = cache(Table.of)


class SqliteChanges:
    """Positions of consumers in the sequence, by type: a type that is loaded later starts at its own beginning."""

    def __init__(self, file: File) -> None:
        self._file = file

    def next(self, consumer: str, limit: int) -> Sequence[Change]:
        with self._file.reading() as db:
            known = db.execute("select 1 from replica_consumer where name = ?", (consumer,)).fetchone()
        if not known:
            with self._file.transaction() as db:
                db.execute("insert or ignore into replica_consumer values (?, '', 0)", (consumer,))
        with self._file.reading() as db:
            moved = db.execute(
                "select t.name, coalesce(c.sequence, 0) from replica_type t"
                " left join replica_consumer c on c.name = ? and c.type = t.name"
                " where t.loaded and t.last_sequence > coalesce(c.sequence, 0)",
                (consumer,),
            ).fetchall()
            found = [change for name, after in moved for change in _changes_of(db, name, after, limit)]
        return sorted(found, key=lambda change: change.sequence)[:limit]

    def acknowledge(self, consumer: str, change: Change) -> None:
        with self._file.transaction() as db:
            db.execute(
                "insert or replace into replica_consumer values (?, ?, ?)", (consumer, change.type, change.sequence)
            )
            _forget_past(db, change.type)

    def forget(self, consumer: str) -> None:
        with self._file.transaction() as db:
            db.execute("delete from replica_consumer where name = ?", (consumer,))
            for (name,) in db.execute("select name from replica_type").fetchall():
                _forget_past(db, name)


def _changes_of(db: sqlite3.Connection, name: str, after: int, limit: int) -> Sequence[Change]:
    """The next changes of a type; tombstones of what this consumer never saw are passed over."""
    while True:
        rows = db.execute(_table_of(name).after, {"type": name, "after": after, "most": limit}).fetchall()
        found = [change for row in rows if (change := _change(name, *row)) is not None]
        if found or len(rows) < limit:
            return found
        after = rows[-1][0]


def _change(
    name: str,
    sequence: int,
    record_id: str,
    version: int,
    deleted: int,
    body: str | None,
    old_body: str | None,
    old_deleted: int | None,
) -> Change | None:
    old = None if old_deleted else _parsed(old_body)
    if body is None:
        return Change(sequence, name, record_id, version, "dropped", old, None)
    if deleted:
        return None if old is None else Change(sequence, name, record_id, version, "deleted", old, None)
    return Change(sequence, name, record_id, version, "changed", old, _parsed(body))


def _parsed(body: str | None) -> Json | None:
    if body is None:
        return None
    parsed: Json = orjson.loads(body)
    return parsed


def _forget_past(db: sqlite3.Connection, name: str) -> None:
    """What every consumer has seen the successor of is of no more use."""
    db.execute(
        "delete from replica_past where type = :type and next_sequence <= coalesce("
        "(select min(coalesce(c.sequence, 0)) from (select distinct name from replica_consumer) n"
        " left join replica_consumer c on c.name = n.name and c.type = :type), 9223372036854775807)",
        {"type": name},
    )
