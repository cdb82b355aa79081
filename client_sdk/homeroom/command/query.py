"""`homeroom-replica query`: SQL that only reads, on the file."""

import csv
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import orjson

from homeroom.command.arguments import Arguments
from homeroom.command.endings import Ending, WrongUse
from homeroom.command.tables import Cell, laid_out, shown
from homeroom.command.wording import counted
from homeroom.replica.sqlite import connect_to_read
from homeroom.replica.sqlite.file import translated
from homeroom.replica.storage import StorageError

_WIDTH = 120
"""Of a table that is not shown on a terminal."""
_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_PRAGMAS = ("table_info", "table_list")
_WRONG = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)

Row = Sequence[Cell]


def query(file: Path, arguments: Arguments) -> Ending:
    """Write what the statement finds on stdout. Raises WrongUse for one that is not SQL or would write."""
    if not file.exists():
        raise StorageError(f"{file} does not exist; `homeroom-replica sync` makes it")
    with translated(file), closing(connect_to_read(file)) as db:
        views = _views(db)
        db.set_authorizer(_only_reading)
        try:
            rows = db.execute(arguments.sql)
            if rows.description is None:
                raise WrongUse("there is no statement")
            head = distinct([column[0] for column in rows.description])
            count = _write(head, rows, arguments)
        except (sqlite3.ProgrammingError, sqlite3.Warning) as fault:
            raise WrongUse(f"the statement cannot be run: {fault}") from fault
        except sqlite3.DatabaseError as fault:
            raise _wrong(fault, views) from fault
        db.set_authorizer(None)
        if not count:
            _explain_nothing(db)
    return Ending.FINE


def distinct(names: Iterable[str]) -> list[str]:
    """Column names, later ones of the same name numbered."""
    found: list[str] = []
    for name in names:
        number, tried = 1, name
        while tried in found:
            number += 1
            tried = f"{name}_{number}"
        found.append(tried)
    return found


def _only_reading(action: int, first: str | None, *_: str | None) -> int:
    """A file opened to be read could still be copied elsewhere, or another one be attached."""
    if action in _READS or (action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _write(head: Sequence[str], rows: sqlite3.Cursor, arguments: Arguments) -> int:
    """How many rows there were."""
    if arguments.csv:
        return _write_csv(head, rows)
    if arguments.json:
        return _write_json(head, rows)
    return _write_table(head, rows, max(0, arguments.rows), wide=arguments.wide)


def _write_csv(head: Sequence[str], rows: Iterable[Row]) -> int:
    count = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        count += 1
        writer.writerow([cell.hex() if isinstance(cell, bytes) else cell for cell in row])
    return count


def _write_json(head: Sequence[str], rows: Iterable[Row]) -> int:
    count = 0
    for row in rows:
        count += 1
        cells = [cell.hex() if isinstance(cell, bytes) else cell for cell in row]
        sys.stdout.write(orjson.dumps(dict(zip(head, cells, strict=True))).decode() + "\n")
    return count


def _write_table(head: Sequence[str], rows: sqlite3.Cursor, most: int, *, wide: bool) -> int:
    first: list[Row] = list(islice(rows, most))
    width = None if wide else shutil.get_terminal_size((_WIDTH, 0)).columns
    for line in laid_out(head, first, width):
        sys.stdout.write(line + "\n")
    more = sum(1 for _ in rows)
    said = counted(len(first), "row")
    sys.stdout.write(f"({said}, {more:,} more: --rows, --csv or --json shows them)\n" if more else f"({said})\n")
    return len(first) + more


def _wrong(fault: sqlite3.DatabaseError, views: Sequence[str]) -> Exception:
    """What is the statement's fault, as WrongUse; anything else as it is."""
    code = fault.sqlite_errorcode & 0xFF if hasattr(fault, "sqlite_errorcode") else sqlite3.SQLITE_ERROR
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
        return WrongUse("only statements that read are run here: the file is written to by `sync` alone")
    if code not in _WRONG:
        return fault
    if "no such table" in str(fault) or "no such column" in str(fault):
        listed = ", ".join(views) or "none, for nothing has been synced yet"
        return WrongUse(f"{shown(str(fault))}; there are these views: {listed}")
    return WrongUse(f"the statement cannot be run: {shown(str(fault))}")


def _views(db: sqlite3.Connection) -> Sequence[str]:
    return [name for (name,) in db.execute("select name from sqlite_master where type = 'view' order by name")]


def _explain_nothing(db: sqlite3.Connection) -> None:
    """A type that is being loaded shows nothing yet: say so rather than let it look empty."""
    if not db.execute("select 1 from sqlite_master where name = 'replica_type'").fetchone():
        return
    names = [name for (name,) in db.execute("select name from replica_type where not loaded order by name")]
    if names:
        sys.stderr.write(f"homeroom-replica: shown only once they are loaded: {', '.join(names)}\n")
