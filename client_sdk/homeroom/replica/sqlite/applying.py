"""Versions that arrive and records that go: the rows of a type's table, within a transaction of the caller's."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain

import orjson

from homeroom.replica.sqlite.tables import Table, added
from homeroom.replica.storage import Arrival, takes

_ROWS_A_STATEMENT_MAX = 2048
"""SQLite takes 32,766 values a statement. Each statement waits for Python's lock once, so that few are quick beside
other threads, where one a row would take a hundred times as long; powers of two let them be prepared once."""

table_of = cache(Table.of)


def add_unseen(db: sqlite3.Connection, name: str, arrivals: Sequence[Arrival]) -> None:
    """Rows of a first load: no index yet, numbered on from the sequence."""
    if not arrivals:
        return
    last = _last_sequence(db)
    db.execute(table_of(name).add_at, (last + 1, *arrivals[0]))
    done = 1  # the rows after the first take the next numbers by themselves
    while done < len(arrivals):
        rows = min(_ROWS_A_STATEMENT_MAX, 1 << (len(arrivals) - done).bit_length() - 1)
        db.execute(added(name, rows), list(chain.from_iterable(arrivals[done : done + rows])))
        done += rows
    versions = [arrival.version for arrival in arrivals if not arrival.deleted]
    _count(db, name, last + len(arrivals), len(versions), sum(versions))


def store(db: sqlite3.Connection, name: str, arrivals: Sequence[Arrival], *, repair: bool) -> int:
    """Versions that are newer than what is held, each as the next in the sequence; how many."""
    if not arrivals:
        return 0
    table, keep = table_of(name), _has_consumers(db)
    found = db.execute(table.find, (orjson.dumps([arrival.id for arrival in arrivals]).decode(),))
    held = {record_id: (version, deleted) for record_id, version, deleted in found}
    begun = _last_sequence(db)
    last, live, version_sum = begun, 0, 0
    for arrival in arrivals:
        version, deleted = held.get(arrival.id, (None, 1))
        if takes(version, arrival.version, repair=repair):
            last += 1
            if version is not None:
                if keep:
                    db.execute(table.keep_past, (name, last, arrival.id))
                db.execute(table.remove, (arrival.id,))
            db.execute(table.add_at, (last, *arrival))
            live += deleted - arrival.deleted
            version_sum += (0 if arrival.deleted else arrival.version) - (0 if deleted else version or 0)
            held[arrival.id] = (arrival.version, int(arrival.deleted))
        elif repair:
            db.execute(table.overwrite, (*arrival[2:], arrival.id))
    if last > begun:
        _count(db, name, last, live, version_sum)
    return last - begun


def drop(db: sqlite3.Connection, name: str, ids: Sequence[str]) -> int:
    """Rows that this organization may no longer see; how many there were."""
    table, keep = table_of(name), _has_consumers(db)
    found = db.execute(table.find, (orjson.dumps(list(ids)).decode(),)).fetchall() if ids else []
    last = _last_sequence(db)
    for record_id, version, deleted in found:
        last += 1
        if keep:
            db.execute(table.keep_past, (name, last, record_id))
        if keep and not deleted:
            db.execute(
                "insert into replica_past values (?, ?, ?, ?, 0, null, ?)", (name, last, record_id, version, last)
            )
        db.execute(table.remove, (record_id,))
    live = [version for _, version, deleted in found if not deleted]
    if found:
        _count(db, name, last, -len(live), -sum(live))
    return len(found)


def _last_sequence(db: sqlite3.Connection) -> int:
    (last,) = db.execute("select last from replica_sequence").fetchone()
    return int(last)


def _count(db: sqlite3.Connection, name: str, last: int, live: int, version_sum: int) -> None:
    db.execute("update replica_sequence set last = ?", (last,))
    db.execute(
        "update replica_type set last_sequence = ?, live = live + ?, version_sum = version_sum + ? where name = ?",
        (last, live, version_sum, name),
    )


def count_anew(db: sqlite3.Connection, name: str) -> None:
    """After a repair: what stands there is what was stored."""
    live, version_sum, _ = db.execute(table_of(name).totals).fetchone()
    db.execute("update replica_type set live = ?, version_sum = ? where name = ?", (live, version_sum, name))


def _has_consumers(db: sqlite3.Connection) -> bool:
    return db.execute("select 1 from replica_consumer limit 1").fetchone() is not None
