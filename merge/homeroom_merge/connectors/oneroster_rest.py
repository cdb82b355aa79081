"""A OneRoster 1.2 REST service, read as its CSV files are: whole, by what has changed, or by id.

It is only read: in the standard's rostering service every operation is a GET.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

from homeroom_merge.connectors.connector import Abilities, Fetch, Outcome, SourceRow
from homeroom_merge.connectors.csv_sheet import SheetFault
from homeroom_merge.connectors.csv_tables import FileSet, Source, Tables
from homeroom_merge.connectors.oneroster_cursor import Cursor
from homeroom_merge.connectors.oneroster_reading import Reading
from homeroom_merge.connectors.oneroster_service import Service
from homeroom_merge.connectors.rest_request import ServiceFault
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind


class OneRosterRest:
    """One service. `file_set`: how its objects are joined, as rows of the files that they would be."""

    def __init__(
        self, service: Service, file_set: FileSet, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.abilities = Abilities(delta=True, by_id=True)
        self._service, self._file_set, self._clock = service, file_set, clock

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All of an entity, or what has changed since. Raises ConnectionError while rows are taken.

        A delta is no longer trusted after a day, nor once something has changed that is joined to many rows, nor where
        the service does not filter: then all comes.
        """
        return self._fetch(entity, lambda reading: reading.rows(Cursor.read(cursor)))

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """These records, and others where they cannot be asked for alone. ConnectionError while rows are taken."""
        return self._fetch(entity, lambda reading: reading.rows_of(keys))

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """Not among the abilities."""
        return Outcome("refused", "a OneRoster service is only read")

    def _fetch(self, entity: str, rows: Callable[[Reading], AsyncIterator[SourceRow]]) -> Fetch:
        fetch = Fetch(_nothing())
        source = self._file_set.sources.get(entity)
        if source is None:
            fetch.failure = f"a OneRoster service carries no {entity}"
        else:
            fetch.rows = self._guarded(source, fetch, rows)
        return fetch

    async def _guarded(
        self, source: Source, fetch: Fetch, rows: Callable[[Reading], AsyncIterator[SourceRow]]
    ) -> AsyncIterator[SourceRow]:
        try:
            async with self._service.session() as session:
                reading = Reading(session, source, fetch, Tables({}, self._file_set.codes), self._clock())
                async for row in rows(reading):
                    yield row
                fetch.notes += reading.notes()
        except (ServiceFault, SheetFault) as fault:
            fetch.failure, fetch.complete = str(fault), False


async def _nothing() -> AsyncIterator[SourceRow]:
    nothing: tuple[SourceRow, ...] = ()
    for row in nothing:
        yield row
