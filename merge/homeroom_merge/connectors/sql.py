"""A SIS's own database, by any SQLAlchemy URL: read whole, by what has changed, or by id; written row by row.

The driver blocks, so it works in threads, and gives rows in batches. SQLAlchemy builds and quotes every statement;
tables are found by reflection. A write names its row and what stood there, so that it finds nothing where somebody was
faster; what it made of the row is read back in the same transaction.
"""

from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import exc

from homeroom_merge.connectors.connector import Abilities, Coverage, Fetch, Outcome, SourceRow
from homeroom_merge.connectors.sql_delta import ChangedFault, Latest
from homeroom_merge.connectors.sql_engine import Engine, passes
from homeroom_merge.connectors.sql_rows import CellFault, cell_of, key_value, moved_cells, strangers, unchanged
from homeroom_merge.connectors.sql_tables import NotThereError, Place, SqlTable, place_of
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.keys import is_shortened
from homeroom_merge.plan import Kind

_BATCH = 500
_KEYS_AT_ONCE = 500


class SqlDatabase:
    """One database; `tables` by entity. `close` gives its connections back."""

    def __init__(
        self,
        url: str | sa.URL,
        tables: Mapping[str, SqlTable],
        *,
        password: str = "",
        timeout_seconds: float = 60,
        writes: bool = True,
    ) -> None:
        """Nothing is connected yet. Raises NoDriverError."""
        self.abilities = Abilities(
            delta=any(each.changed for each in tables.values()),
            by_id=True,
            write=writes,
            conditional_write=writes,
            read_back=True,
            gives_keys=any(each.gives_keys for each in tables.values()),
        )
        self._tables = tables
        self._engine = Engine(url, password, timeout_seconds)
        self._places: dict[str, Place] = {}

    async def close(self) -> None:
        """Give back what is open."""
        await to_thread.run_sync(self._engine.engine.dispose)

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All of an entity, or with a cursor what has changed since. Raises OSError."""
        place, failure = await self._place(entity)
        if place is None:
            return Fetch(_nothing(), failure=failure)
        told, select, latest = place.told, place.select, Latest(cursor)
        is_delta = bool(told.changed) and latest.known
        if is_delta:
            overlap = timedelta(seconds=told.overlap_seconds)
            select = select.where(latest.since(place.source.columns[told.changed], overlap))
        fetch = Fetch(_nothing(), coverage=Coverage(columns=frozenset(place.columns)))
        if place.lacking:
            fetch.notes.append(f"{place.name}: not covered, as there is no such column: {', '.join(place.lacking)}")
        fetch.rows = self._rows(place, [select], fetch, latest, complete=told.complete and not is_delta)
        return fetch

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """These records; all of them, if of some only a short form of the key is known. Raises OSError."""
        place, failure = await self._place(entity)
        if place is None:
            return Fetch(_nothing(), failure=failure)
        fetch, column = Fetch(_nothing()), place.key
        values = [value for key in keys if (value := key_value(column, key)) is not None]
        pages = [values[start : start + _KEYS_AT_ONCE] for start in range(0, len(values), _KEYS_AT_ONCE)]
        selects = [place.select.where(column.in_(page)) for page in pages]
        if any(map(is_shortened, keys)):
            selects = [place.select]
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
        if (table := place.table) is None:
            return Outcome("refused", f"{entity} is read by a query alone; name the table that is written, too")
        if unheard := strangers(table, row or {}, expected):
            return Outcome("refused", f"the table {table.name} has no column {', '.join(unheard)}")
        try:
            return await self._engine.in_thread(lambda: self._write(place, table, key, row, expected))
        except TimeoutError as fault:
            return Outcome("unknown", str(fault))

    def _write(self, place: Place, table: sa.Table, key: str, row: Row | None, expected: Row | None) -> Outcome:
        try:
            with self._engine.engine.connect() as connection:
                if expected is None:
                    outcome = self._inserted(connection, place, table, key, row)
                else:
                    outcome = _updated(connection, place, table, row, expected)
                return self._committed(connection, outcome) if outcome.result == "done" else outcome
        except CellFault as fault:
            return Outcome("refused", str(fault))
        except exc.SQLAlchemyError as fault:
            return Outcome("transient" if passes(fault) else "refused", self._engine.details(fault, row))

    def _inserted(self, connection: sa.Connection, place: Place, table: sa.Table, key: str, row: Row | None) -> Outcome:
        if row is None:
            return Outcome("done")
        told = place.told
        if told.gives_keys:
            cells = moved_cells(table, {name: cell for name, cell in row.items() if name != told.key}, {})
            given = connection.execute(sa.insert(table).values(cells)).inserted_primary_key
            is_key = [column.name for column in table.primary_key] == [told.key]
            return Outcome("done", shown=_read(connection, place, given[0]) if is_key and given else None)
        value = cell_of(table.columns[told.key], row.get(told.key, key))
        if (stands := _read(connection, place, value)) is not None:
            return Outcome("moved", "there is one with this key", shown=stands)
        try:
            connection.execute(sa.insert(table).values(moved_cells(table, row, {})))
        except exc.IntegrityError:
            connection.rollback()
            if (stands := _read(connection, place, value)) is None:
                raise
            return Outcome("moved", "there is one with this key by now", shown=stands)
        return Outcome("done", shown=_read(connection, place, value))

    def _committed(self, connection: sa.Connection, outcome: Outcome) -> Outcome:
        try:
            connection.commit()
        except exc.IntegrityError:  # a constraint that is looked at last: nothing was kept
            raise
        except exc.DBAPIError as fault:
            said = self._engine.details(fault)
            return Outcome("unknown", f"the transaction may or may not have ended: {said}")
        return outcome

    async def _place(self, entity: str) -> tuple[Place | None, str]:
        """Where an entity is, or why it is nowhere. Raises OSError."""
        if entity in self._places:
            return self._places[entity], ""
        if entity not in self._tables:
            return None, f"the settings name no table of {entity}"
        try:
            place = await self._engine.in_thread(lambda: place_of(self._engine.engine, self._tables[entity]))
        except NotThereError as fault:
            return None, str(fault)
        except exc.SQLAlchemyError as fault:
            return None, self._unreadable(fault)
        self._places[entity] = place
        return place, ""

    async def _rows(
        self, place: Place, selects: Sequence[sa.Select[Any]], fetch: Fetch, latest: Latest | None, *, complete: bool
    ) -> AsyncIterator[SourceRow]:
        """Rows batch by batch; then what else is known of the fetch is set."""
        told, pairs = place.told, set[tuple[str, int | None] | None]()
        batches = self._batches(place, selects)
        try:
            while batch := await self._engine.in_thread(lambda: next(batches, None)):
                for row in batch:
                    if latest is not None and told.changed:
                        latest.see(row[told.changed])
                    if told.pair is not None:
                        pairs.add(told.pair(row))
                    yield SourceRow(row, f"{place.name} {row[told.key]}")
            fetch.complete, fetch.cursor = complete, None if latest is None else latest.cursor
            spoken = None if told.pair is None else frozenset(filter(None, pairs))
            fetch.coverage = Coverage(spoken, fetch.coverage.columns)
        except exc.SQLAlchemyError as fault:
            fetch.failure = self._unreadable(fault)
        except ValueError:  # of the driver, which repeats the cell
            fetch.failure = f"a cell of {place.name} is not of its column's type; read it by a query that casts it"
        except (ChangedFault, OSError) as fault:
            fetch.failure = f"{place.name}: {fault}"
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(_close, batches)

    def _batches(self, place: Place, selects: Sequence[sa.Select[Any]]) -> Generator[list[Row], None, None]:
        with self._engine.engine.connect() as connection:
            for select in selects:
                with connection.execution_options(yield_per=_BATCH).execute(select) as found:
                    for batch in found.mappings().partitions():
                        yield [place.cells(dict(row)) for row in batch]

    def _unreadable(self, fault: exc.SQLAlchemyError) -> str:
        return f"the database could not be read: {self._engine.details(fault)}"


def _updated(connection: sa.Connection, place: Place, table: sa.Table, row: Row | None, expected: Row) -> Outcome:
    """What an update or a delete comes to, not committed yet. Its row is the one that was read.

    A cell that was read and that the row lacks says nothing any more.
    """
    column, value = table.columns[place.told.key], expected[place.told.key]
    where = sa.and_(column == value, *unchanged(table, expected))
    kept = {place.told.key, place.told.changed}
    lacking = [] if row is None else [name for name in expected if name not in row and name not in kept]
    moved = moved_cells(table, {**(row or {}), **dict.fromkeys(lacking)}, expected)
    if row is not None and not moved:
        return Outcome("done", shown=row)
    statement = sa.delete(table).where(where) if row is None else sa.update(table).where(where).values(moved)
    count = connection.execute(statement).rowcount
    if count > 1:
        return Outcome("refused", f"{count} rows have this key")
    now = _read(connection, place, moved.get(place.told.key, value))
    if count or now:
        return Outcome("done" if count else "moved", shown=now)
    return Outcome("done") if row is None else Outcome("moved", "it is not there any more")


def _read(connection: sa.Connection, place: Place, value: object) -> Row | None:
    found = connection.execute(place.select.where(place.key == value)).mappings().first()
    return None if found is None else place.cells(dict(found))


def _close(batches: Generator[list[Row], None, None]) -> None:
    with suppress(ValueError):  # it still waits for the database, in a thread that was given up
        batches.close()


async def _nothing() -> AsyncIterator[SourceRow]:
    nothing: tuple[SourceRow, ...] = ()
    for row in nothing:
        yield row
