"""Cells as the columns of a SIS's database take them, and rows as conditions of a write."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from homeroom_merge.formatters.formatter import Row

TIMES_ARE_TEXTS = "times are texts"
"""Of a table: its database keeps times as texts, of which one time has several."""
_NOT_COMPARED = (sa.JSON, sa.LargeBinary)
_INTEGERS = range(-(2**63), 2**63)
_WORDS = {"true": True, "1": True, "false": False, "0": False}


class CellFault(Exception):
    """A cell that its column cannot take; the message names the column and what it takes, never the cell."""


def _whole(text: str) -> int:
    number = int(text)
    if number not in _INTEGERS:
        raise ValueError("no column is so wide")
    return number


def _none(_: str) -> object:
    raise ValueError("no text is one")


_READERS: Mapping[type[object], tuple[Callable[[str], object], str]] = {
    bool: (lambda text: _WORDS[text.lower()], "true or false"),
    int: (_whole, "whole numbers"),
    float: (float, "numbers"),
    Decimal: (Decimal, "numbers"),
    datetime: (datetime.fromisoformat, "times like 2026-09-01T08:00:00"),
    date: (date.fromisoformat, "days like 2026-09-01; leave format out of its mapping"),
    time: (time.fromisoformat, "times of day like 08:00"),
    UUID: (UUID, "UUIDs"),
    bytes: (_none, "bytes, which no mapping writes"),
}


def cell_of(column: sa.ColumnElement[Any], cell: object) -> object:
    """A cell as its column has it, texts read by its type. Raises CellFault."""
    kind = _kind(column)
    reader = _READERS.get(kind) if kind is not None and isinstance(cell, str) else None
    if reader is None:
        return cell
    read, takes = reader
    try:
        return read(str(cell))
    except (ValueError, KeyError, InvalidOperation):
        raise CellFault(f"the column {getattr(column, 'name', '')} takes {takes}") from None


def key_value(column: sa.ColumnElement[Any], key: object) -> object:
    """A key as its column has it; None where no row can have it."""
    try:
        return cell_of(column, key)
    except CellFault:
        return None


def strangers(table: sa.Table, row: Row, expected: Row | None) -> list[str]:
    """Columns that a row would change and the table does not have."""
    known = {column.name for column in table.columns}
    return sorted(name for name in row if name not in known and (expected or {}).get(name) != row[name])


def moved_cells(table: sa.Table, row: Row, expected: Row) -> dict[str, object]:
    """What a row says otherwise than the one that stands there. Raises CellFault.

    A text that is taken away from a column which must have one becomes empty.
    """
    said = {column.name: cell_of(column, row[column.name]) for column in table.columns if column.name in row}
    moved = {name: cell for name, cell in said.items() if name not in expected or expected[name] != cell}
    empty = {name: "" for name, cell in moved.items() if cell is None and name in expected and _needs_text(table, name)}
    return moved | empty


def unchanged(table: sa.Table, expected: Row) -> Iterator[sa.ColumnElement[bool]]:
    """That a row still says what is expected; of columns that a database can compare. Raises CellFault."""
    for name, value in expected.items():
        column = table.columns.get(name)
        if column is None or isinstance(column.type, _NOT_COMPARED):
            continue
        said = cell_of(column, value) if value is not None else None
        if isinstance(column.type, sa.Float) and said is not None:
            yield column == sa.cast(said, column.type)  # 0.1 of a narrow float is not the 0.1 of a wide one
        elif isinstance(column.type, sa.DateTime) and table.info.get(TIMES_ARE_TEXTS) and said is not None:
            yield sa.func.julianday(column) == sa.func.julianday(sa.literal(said, sa.DateTime()))
        else:
            yield column == said


def _needs_text(table: sa.Table, name: str) -> bool:
    column = table.columns[name]
    return not column.nullable and _kind(column) is str


def _kind(column: sa.ColumnElement[Any]) -> type[object] | None:
    try:
        return column.type.python_type
    except NotImplementedError:
        return None
