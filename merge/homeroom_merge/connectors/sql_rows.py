"""Rows and columns of a SIS's database as statements and cursors need them."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import exc

from homeroom_merge.formatters.formatter import Row

_NOT_COMPARED = (sa.JSON, sa.LargeBinary)
_DETAILS_MAX = 300


def key_value(column: sa.ColumnElement[Any], key: str) -> object:
    """A key as its column has it; None where no row can have it."""
    kind = _kind(column)
    try:
        return kind(key) if kind in (int, float) else key
    except ValueError:
        return None


def strangers(table: sa.Table, row: Row, expected: Row | None) -> list[str]:
    """Columns that a row would change and the table does not have."""
    known = {column.name for column in table.columns}
    return sorted(name for name in row if name not in known and (expected or {}).get(name) != row[name])


def moved_cells(table: sa.Table, row: Row, expected: Row) -> dict[str, object]:
    """What a row says otherwise than the one that stands there."""
    known = {column.name for column in table.columns}
    said = {name: cell for name, cell in row.items() if name in known}
    return {name: cell for name, cell in said.items() if name not in expected or expected[name] != cell}


def unchanged(table: sa.Table, expected: Row) -> Iterator[sa.ColumnElement[bool]]:
    """That a row still says what is expected; of columns that a database can compare."""
    for name, value in expected.items():
        column = table.columns.get(name)
        if column is not None and not isinstance(column.type, _NOT_COMPARED):
            yield column == value


def delta_cursor(last: str | None, value: object) -> str | None:
    """The cursor behind a row that has changed at this value."""
    if value is None:
        return last
    told = value.isoformat() if isinstance(value, date) else value
    if last is None:
        return orjson.dumps(told).decode()
    return max(last, orjson.dumps(told).decode(), key=orjson.loads)


def delta_since(column: sa.ColumnElement[Any], cursor: str, overlap: timedelta) -> sa.ColumnElement[bool]:
    """What has changed since, and some that had before: it does no harm to see a row twice."""
    value = orjson.loads(cursor)
    if _kind(column) is datetime:
        value = datetime.fromisoformat(value) - overlap
    since: sa.ColumnElement[bool] = column >= value
    return since


def details(fault: Exception, row: Row | None) -> str:
    """What a database says of its failure, in one line and without what a row says: that is children's data."""
    said = str(getattr(fault, "orig", None) or fault).partition("\n")[0]
    for value in sorted((str(each) for each in (row or {}).values() if each is not None), key=len, reverse=True):
        said = said.replace(value, "…") if value else said
    kind = type(getattr(fault, "orig", None) or fault).__name__
    return f"{kind}: {said}"[:_DETAILS_MAX] if isinstance(fault, exc.SQLAlchemyError) else kind


def _kind(column: sa.ColumnElement[Any]) -> type[object] | None:
    try:
        return column.type.python_type
    except NotImplementedError:
        return None
