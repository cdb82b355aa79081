"""Rows of a database for formatters of texts: each cell as a CSV file would have it, and back.

A null is an empty cell. A cell that says the same as before stays as it was; others are texts, which whoever knows the
column's type turns into it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from homeroom_merge.formatters.formatter import Formatter, Reading, Row
from homeroom_merge.values import Json


class TypedCells:
    """`formatter` for rows of a database. `changed`: the column that says when a row has changed, if it is a time."""

    def __init__(self, formatter: Formatter, changed: str = "") -> None:
        self.entity = formatter.entity
        self.fields = formatter.fields
        self._formatter = formatter
        self._changed = changed

    def read(self, row: Row) -> Reading:
        reading, at = self._formatter.read(texts(row)), row.get(self._changed)
        return replace(reading, changed_at=at) if isinstance(at, datetime) else reading

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        """A cell that says nothing any more is None."""
        if row is None:
            return self._formatter.write(key, body, None)
        stood = texts(row)
        written = self._formatter.write(key, body, stood)
        kept = {name: row[name] if name in row and stood[name] == cell else cell for name, cell in written.items()}
        return {**dict.fromkeys(row.keys() - written.keys()), **kept}


def texts(row: Row) -> Mapping[str, object]:
    """A row with its cells as texts; what has no text of its own stays what it is."""
    return {name: _text(cell) for name, cell in row.items()}


def _text(cell: object) -> object:
    match cell:
        case None:
            return ""
        case bool():
            return str(cell).lower()
        case float() if cell.is_integer():
            return str(int(cell))
        case Decimal():
            return format(cell, "f")
        case date() | time():
            return cell.isoformat()
        case int() | float() | UUID():
            return str(cell)
        case _:
            return cell
