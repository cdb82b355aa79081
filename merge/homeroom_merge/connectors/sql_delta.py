"""How far a delta has come: the greatest value of a column that grows with each change."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import sqlalchemy as sa

_DAY = timedelta(days=1)
_READ: Mapping[str, Callable[[Any], Any]] = {
    "number": int,
    "text": str,
    "day": date.fromisoformat,
    "time": datetime.fromisoformat,
    "instant": datetime.fromisoformat,
}
_TYPES: Mapping[str, sa.types.TypeEngine[Any]] = {
    "number": sa.BigInteger(),
    "text": sa.String(),
    "day": sa.Date(),
    "time": sa.DateTime(),
    "instant": sa.DateTime(timezone=True),
}


class ChangedFault(Exception):
    """What a `changed` column says is nothing to go by; the message says what is."""


class Latest:
    """The latest change that has been seen. What is no cursor of such a column counts as none."""

    def __init__(self, cursor: str | None = None) -> None:
        self._kind, self._value = _parsed(cursor)

    @property
    def known(self) -> bool:
        return bool(self._kind)

    @property
    def cursor(self) -> str | None:
        if not self._kind:
            return None
        said = self._value if isinstance(self._value, int | str) else self._value.isoformat()
        return orjson.dumps([self._kind, said]).decode()

    def see(self, cell: object) -> None:
        """A row that has changed at this value. ChangedFault for one that tells nothing."""
        if cell is None:
            return
        kind, value = _told(cell)
        if kind != self._kind or value > self._value:
            self._kind, self._value = kind, value

    def since(self, column: sa.ColumnElement[Any], overlap: timedelta) -> sa.ColumnElement[bool]:
        """What has changed since, and some that had before: it does no harm to see a row twice.

        Rows that do not say when they changed are always among them.
        """
        value = self._value
        if self._kind in ("time", "instant"):
            value -= overlap
        elif self._kind == "day":
            value -= max(overlap, _DAY)
        return sa.or_(column >= sa.literal(value, _TYPES[self._kind]), column.is_(None))


def _told(cell: object) -> tuple[str, Any]:
    match cell:
        case datetime(tzinfo=None):
            return "time", cell
        case datetime():
            return "instant", cell.astimezone(UTC)
        case date():
            return "day", cell
        case int() if not isinstance(cell, bool):
            return "number", cell
        case Decimal() if cell.is_finite() and cell == cell.to_integral_value():
            return "number", int(cell)
        case str():
            return "text", cell
        case _:
            cure = "name one of times, days or whole numbers, or none"
            raise ChangedFault(f"its column changed holds {type(cell).__name__}, which does not grow; {cure}")


def _parsed(cursor: str | None) -> tuple[str, Any]:
    try:
        kind, said = orjson.loads(cursor or "")
        return kind, _READ[kind](said)
    except (ValueError, TypeError, KeyError):  # of another connector, say
        return "", None
