"""Writes on their way to the Core, in the replica's file."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import orjson

from homeroom.answers import Json, Result
from homeroom.replica.sqlite.file import File
from homeroom.replica.storage import StorageError, now
from homeroom.replica.writes import (
    ACCEPTED_KEPT,
    CALL_RECORDS_MAX,
    QUEUED_WRITES_MAX,
    Call,
    RejectedWrite,
    Write,
    by_number,
    goes_again,
    next_writes,
    rejected_before,
)

_COLUMNS = "number, type, id, expected_version, deleted, organization, body, queued_at, follows, alone, call"


class SqliteWrites:
    """The queue of a file. `held` tells which version of a record (type, id) is held; 0 for none."""

    def __init__(self, file: File, held: Callable[[str, str], int]) -> None:
        self._file = file
        self._held = held

    def queue(self, write: Write, *, as_held: bool) -> int:
        with self._file.transaction(durable=True) as db:
            if as_held:
                version = max(self._held(write.type, write.id), _accepted_version(db, write))
                write = replace(write, expected_version=version)
            return _append(db, write)

    def next_call(self, key: UUID) -> Call | None:
        query = f"select {_COLUMNS} from replica_write where rejections is null"
        with self._file.transaction(durable=True) as db:
            begun = [_write(row) for row in db.execute(f"{query} and call is not null order by number")]
            if begun:
                assert begun[0].call is not None, "selected so"
                return Call(begun[0].call, begun[0].type, begun)
            rows = db.execute(f"{query} order by number limit ?", (CALL_RECORDS_MAX,))
            chosen = [replace(write, call=key) for write in next_writes([_write(row) for row in rows])]
            numbers = [(str(key), write.number) for write in chosen]
            db.executemany("update replica_write set call = ? where number = ?", numbers)
        return Call(key, chosen[0].type, chosen) if chosen else None

    def settle(self, call: Call, results: Sequence[Result]) -> None:
        with self._file.transaction(durable=True) as db:
            _forget_accepted(db)
            for number, result in by_number(call, results).items():
                if goes_again(result):
                    db.execute("update replica_write set call = null where number = ?", (number,))
                elif result["rejections"]:
                    _reject(db, number, result["rejections"])
                else:
                    db.execute("delete from replica_write where number = ?", (number,))
                    accepted = (call.type, result["id"], result["coreVersion"])
                    db.execute("insert or replace into replica_accepted values (?, ?, ?)", accepted)
                    db.execute(
                        "update replica_write set expected_version = ?, follows = null where follows = ?",
                        (result["coreVersion"], number),
                    )

    def send_alone(self, call: Call) -> None:
        with self._file.transaction(durable=True) as db:
            db.execute("update replica_write set call = null, alone = 1 where call = ?", (str(call.key),))

    def waiting(self) -> int:
        with self._file.reading() as db:
            return _waiting(db)

    def rejected(self) -> Sequence[RejectedWrite]:
        query = f"select {_COLUMNS}, rejections from replica_write where rejections is not null order by number"
        with self._file.reading() as db:
            return [RejectedWrite(_write(row[:-1]), orjson.loads(row[-1])) for row in db.execute(query)]

    def discard(self, number: int) -> None:
        with self._file.transaction(durable=True) as db:
            done = db.execute("delete from replica_write where number = ? and rejections is not null", (number,))
            _must_be(done.rowcount == 1, number)

    def requeue(self, number: int, expected_version: int, body: Json | None) -> int:
        query = f"select {_COLUMNS} from replica_write where rejections is not null and number = ?"
        with self._file.transaction(durable=True) as db:
            row = db.execute(query, (number,)).fetchone()
            _must_be(row is not None, number)
            write = _write(row)
            db.execute("delete from replica_write where number = ?", (number,))
            return _append(db, replace(write, expected_version=expected_version, body=body or write.body))


def _append(db: sqlite3.Connection, write: Write) -> int:
    """Put a write behind all others; its number."""
    if _waiting(db) >= QUEUED_WRITES_MAX:
        raise StorageError(f"{QUEUED_WRITES_MAX:,} writes wait already; is the Core reachable?")
    (earlier,) = db.execute(
        "select max(number) from replica_write where type = ? and id = ? and rejections is null",
        (write.type, write.id),
    ).fetchone()
    body = None if write.body is None else orjson.dumps(write.body).decode()
    done = db.execute(
        "insert into replica_write (type, id, expected_version, deleted, organization, body, queued_at, follows)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)",
        (write.type, write.id, write.expected_version, write.deleted, write.organization, body, now(), earlier),
    )
    assert done.lastrowid is not None, "an insert"
    return done.lastrowid


def _waiting(db: sqlite3.Connection) -> int:
    (waiting,) = db.execute("select count(*) from replica_write where rejections is null").fetchone()
    return int(waiting)


def _reject(db: sqlite3.Connection, number: int, rejections: Sequence[object]) -> None:
    """Keep a write for review, and with it all that build upon it."""
    rejected = orjson.dumps(rejections).decode()
    db.execute("update replica_write set rejections = ?, call = null where number = ?", (rejected, number))
    for (later,) in db.execute("select number from replica_write where follows = ?", (number,)).fetchall():
        _reject(db, later, [rejected_before(number)])


def _accepted_version(db: sqlite3.Connection, write: Write) -> int:
    query = "select version from replica_accepted where type = ? and id = ?"
    row = db.execute(query, (write.type, write.id)).fetchone()
    return row[0] if row else 0


def _forget_accepted(db: sqlite3.Connection) -> None:
    """What the cursor has passed is held."""
    db.execute("delete from replica_accepted where version <= (select cursor from replica_type where name = type)")
    db.execute(
        "delete from replica_accepted where (type, id) not in"
        " (select type, id from replica_accepted order by version desc limit ?)",
        (ACCEPTED_KEPT,),
    )


def _must_be(found: bool, number: int) -> None:
    if not found:
        raise KeyError(f"no rejected write has the number {number}")


def _write(row: Sequence[object]) -> Write:
    number, kind, record_id, expected, deleted, organization, body, queued_at, follows, alone, call = row
    assert isinstance(number, int), "columns of the schema"
    assert isinstance(expected, int), "columns of the schema"
    assert body is None or isinstance(body, str), "columns of the schema"
    return Write(
        number,
        str(kind),
        str(record_id),
        expected,
        bool(deleted),
        None if organization is None else str(organization),
        None if body is None else orjson.loads(body),
        str(queued_at),
        follows if isinstance(follows, int) else None,
        bool(alone),
        None if call is None else UUID(str(call)),
        len(body or "") + 200,
    )
