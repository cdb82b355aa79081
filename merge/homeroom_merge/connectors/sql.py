"""A SIS's own database, by any SQLAlchemy URL: read whole, by what has changed, or by id; written row by row.

The driver blocks, so it works in threads. SQLAlchemy builds and quotes every statement; tables are found by reflection.
A write names its row and what stood there, so that it finds nothing where somebody was faster; what it made of the row
is read back in the same transaction.
"""

import math
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import exc

from homeroom_merge.connectors.connector import Abilities, Coverage, Fetch, Outcome, SourceRow
from homeroom_merge.connectors.sql_rows import (
    delta_cursor,
    delta_since,
    details,
    key_value,
    moved_cells,
    strangers,
    unchanged,
)
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind

_BATCH = 500
_KEYS_AT_ONCE = 500
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SqlTable:
    """Where the records of an entity are. `changed`: a column that grows with each change; without one, no deltas.

    `query`: read by this statement instead of the table, with these `columns`; writes go to the table still.
    `gives_keys`: the database makes the keys of new rows.
    """

    table: str
    key: str
    schema: str | None = None
    changed: str = ""
    overlap_seconds: float = 300
    """A delta reaches back so far, for changes whose transactions ended later than others that began after them."""
    query: str = ""
    columns: tuple[str, ...] = ()
    gives_keys: bool = False


@dataclass(slots=True)
class _Place:
    """A table as the database has it, and what its records are read from."""

    told: SqlTable
    table: sa.Table
    source: sa.FromClause
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = tuple(column.name for column in self.source.columns)

    @property
    def key(self) -> sa.ColumnElement[Any]:
        return self.source.columns[self.told.key]


class SqlDatabase:
    """One database; `tables` by entity. `close` gives its connections back."""

    def __init__(
        self, url: str | sa.URL, tables: Mapping[str, SqlTable], *, timeout_seconds: float = 60, writes: bool = True
    ) -> None:
        self.abilities = Abilities(
            delta=any(each.changed for each in tables.values()),
            by_id=True,
            write=writes,
            conditional_write=writes,
            read_back=True,
            gives_keys=any(each.gives_keys for each in tables.values()),
        )
        self._tables = tables
        self._timeout_seconds = timeout_seconds
        self._engine = sa.create_engine(url, pool_pre_ping=True, hide_parameters=True)
        self._places: dict[str, _Place] = {}

    async def close(self) -> None:
        """Give back what is open."""
        await to_thread.run_sync(self._engine.dispose)

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All of an entity, or with a cursor what has changed since. Raises OSError."""
        place, failure = await self._place(entity)
        if place is None:
            return Fetch(_nothing(), failure=failure)
        select = sa.select(place.source)
        is_delta = cursor is not None and bool(place.told.changed)
        fetch = Fetch(_nothing(), coverage=Coverage(columns=frozenset(place.columns)))
        if is_delta and cursor is not None:
            overlap = timedelta(seconds=place.told.overlap_seconds)
            select = select.where(delta_since(place.source.columns[place.told.changed], cursor, overlap))
        fetch.rows = self._rows(place, [select], fetch, cursor, complete=not is_delta)
        return fetch

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """Just these records. Raises OSError."""
        place, failure = await self._place(entity)
        if place is None:
            return Fetch(_nothing(), failure=failure)
        fetch = Fetch(_nothing())
        values = [value for key in keys if (value := key_value(place.key, key)) is not None]
        pages = [values[start : start + _KEYS_AT_ONCE] for start in range(0, len(values), _KEYS_AT_ONCE)]
        selects = [sa.select(place.source).where(place.key.in_(page)) for page in pages]
        fetch.rows = self._rows(place, selects, fetch, None, complete=False)
        return fetch

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """One row in one transaction, if it still is what `expected` says."""
        try:
            place, failure = await self._place(entity)
        except OSError as fault:
            return Outcome("transient", str(fault))
        if place is None:
            return Outcome("refused", failure)
        if unheard := strangers(place.table, row or {}, expected):
            return Outcome("refused", f"the table has no column {', '.join(unheard)}")
        try:
            return await self._in_thread(lambda: self._write(place, key, row, expected))
        except TimeoutError:
            return Outcome("unknown", f"the database did not answer within {self._timeout_seconds:g} seconds")

    def _write(self, place: _Place, key: str, row: Row | None, expected: Row | None) -> Outcome:
        try:
            with self._engine.connect() as connection:
                outcome = self._written(connection, place, key, row, expected)
                if outcome.result == "done":
                    return _committed(connection, outcome)
                return outcome
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as fault:
            return Outcome("transient", details(fault, row))
        except exc.SQLAlchemyError as fault:
            return Outcome("refused", details(fault, row))

    def _written(
        self, connection: sa.Connection, place: _Place, key: str, row: Row | None, expected: Row | None
    ) -> Outcome:
        """What a statement comes to, not committed yet."""
        table, column = place.table, place.table.columns[place.told.key]
        value = key_value(column, key)
        if expected is None:
            return self._inserted(connection, place, value, row)
        where = sa.and_(column == value, *unchanged(table, expected))
        moved = moved_cells(table, row or {}, expected)
        if row is not None and not moved:
            return Outcome("done", shown=row)
        statement = sa.delete(table).where(where) if row is None else sa.update(table).where(where).values(moved)
        count = connection.execute(statement).rowcount
        if count > 1:
            return Outcome("refused", f"{count} rows have this key")
        now = _read(connection, place, value if row is None else row.get(place.told.key, value))
        return Outcome("done" if count else "moved", shown=now) if count or now else _gone(row)

    def _inserted(self, connection: sa.Connection, place: _Place, value: object, row: Row | None) -> Outcome:
        if row is None:
            return Outcome("done")
        if not place.told.gives_keys and (stands := _read(connection, place, value)) is not None:
            return Outcome("moved", "there is one with this key", shown=stands)
        cells = moved_cells(place.table, row, {})
        if place.told.gives_keys:
            cells.pop(place.told.key, None)
        made = connection.execute(sa.insert(place.table).values(cells))
        given = made.inserted_primary_key
        is_key = [column.name for column in place.table.primary_key] == [place.told.key]
        if place.told.gives_keys and given is not None and is_key:
            value = given[0]
        return Outcome("done", shown=_read(connection, place, value))

    async def _place(self, entity: str) -> tuple[_Place | None, str]:
        """Where an entity is, or why it is nowhere."""
        if entity in self._places:
            return self._places[entity], ""
        if entity not in self._tables:
            return None, f"the settings name no table of {entity}"
        try:
            place = await self._in_thread(lambda: _reflected(self._engine, self._tables[entity]))
        except exc.NoSuchTableError:
            return None, f"the database has no table {self._tables[entity].table}"
        except KeyError as fault:
            return None, f"the table {self._tables[entity].table} has no column {fault.args[0]}"
        self._places[entity] = place
        return place, ""

    async def _rows(
        self, place: _Place, selects: Sequence[sa.Select[Any]], fetch: Fetch, cursor: str | None, *, complete: bool
    ) -> AsyncIterator[SourceRow]:
        """Rows batch by batch; then what else is known of the fetch is set."""
        changed, last = place.told.changed, cursor
        batches = self._batches(selects)
        try:
            while batch := await self._in_thread(lambda: next(batches, None)):
                for row in batch:
                    if changed:
                        last = delta_cursor(last, row[changed])
                    yield SourceRow(row, f"{place.told.table} {row[place.told.key]}")
            fetch.complete, fetch.cursor = complete, last
        except (exc.DatabaseError, ValueError) as fault:
            fetch.failure = f"the database could not be read: {details(fault, None)}"
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(_close, batches)

    def _batches(self, selects: Sequence[sa.Select[Any]]) -> Generator[list[Row], None, None]:
        with self._engine.connect() as connection:
            for select in selects:
                found = connection.execution_options(yield_per=_BATCH).execute(select).mappings()
                for batch in found.partitions():
                    yield [dict(row) for row in batch]

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Within the time, or TimeoutError; a lost connection is a ConnectionError."""
        try:
            with anyio.fail_after(self._timeout_seconds or math.inf):
                return await to_thread.run_sync(call, abandon_on_cancel=True)
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as fault:
            raise ConnectionError(f"the database cannot be reached: {details(fault, None)}") from fault


def _reflected(engine: sa.Engine, told: SqlTable) -> _Place:
    """Raises NoSuchTableError, and KeyError for a column that is not there."""
    table = sa.Table(told.table, sa.MetaData(), schema=told.schema, autoload_with=engine)
    source: sa.FromClause = table
    if told.query:
        source = sa.text(told.query).columns(*(sa.column(name) for name in told.columns)).subquery()
    for name in filter(None, (told.key, told.changed)):
        if name not in source.columns or name not in table.columns:
            raise KeyError(name)
    return _Place(told, table, source)


def _close(batches: Generator[list[Row], None, None]) -> None:
    with suppress(ValueError):  # it still waits for the database, in a thread that was given up
        batches.close()


def _read(connection: sa.Connection, place: _Place, value: object) -> Row | None:
    found = connection.execute(sa.select(place.source).where(place.key == value)).mappings().first()
    return None if found is None else dict(found)


def _gone(row: Row | None) -> Outcome:
    """What was to be changed is not there."""
    return Outcome("done") if row is None else Outcome("moved", "it is not there any more")


def _committed(connection: sa.Connection, outcome: Outcome) -> Outcome:
    try:
        connection.commit()
    except exc.DBAPIError as fault:
        return Outcome("unknown", f"the transaction may or may not have ended: {details(fault, None)}")
    return outcome


async def _nothing() -> AsyncIterator[SourceRow]:
    nothing: tuple[SourceRow, ...] = ()
    for row in nothing:
        yield row
