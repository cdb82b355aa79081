"""A SIS whose connector and formatter run in this process."""

from collections.abc import AsyncIterator, Mapping, Sequence

from homeroom_merge.connectors.connector import Connector, Fetch
from homeroom_merge.formatters.formatter import Formatter, Reading, Row
from homeroom_merge.plan import Kind
from homeroom_merge.sis.side import Draft, Outcome, Placed, Shown, Standing
from homeroom_merge.values import Json

_AT_ONCE = 1_000


class LocalSis:
    """One entity of a connector's, read and written by its formatter."""

    def __init__(self, connector: Connector, formatter: Formatter) -> None:
        self._connector = connector
        self._formatter = formatter
        self.abilities = connector.abilities
        self.fields = formatter.fields

    async def fetch(self, cursor: str | None) -> Shown:
        """As `Sis.fetch`."""
        fetch = await self._connector.fetch(self._formatter.entity, cursor)
        shown = Shown(_nothing(), notes=fetch.notes)
        shown.records = self._read(fetch, shown)
        return shown

    async def _read(self, fetch: Fetch, shown: Shown) -> AsyncIterator[Placed]:
        async for row in fetch.rows:
            yield self._formatter.read(row.row), row.place
        shown.complete, shown.failure, shown.notes = fetch.complete, fetch.failure, fetch.notes
        shown.coverage, shown.cursor = fetch.coverage, fetch.cursor

    async def look(self, keys: Sequence[str]) -> list[Standing]:
        """As `Sis.look`: by id where the connector can, else out of everything."""
        entity, by_id = self._formatter.entity, self.abilities.by_id
        wanted, found = sorted(set(keys)), list[Standing]()
        pages = [wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)] if by_id else [wanted]
        for page in pages:
            fetch = await (self._connector.fetch_by_id(entity, page) if by_id else self._connector.fetch(entity))
            among = frozenset(page)
            async for row in fetch.rows:
                reading = self._formatter.read(row.row)
                if reading.key in among:
                    found.append(Standing(reading, row.place, row.row))
            if fetch.failure:
                raise ConnectionError(fetch.failure)
        return found

    async def anticipated(self, hub_id: str, body: Json) -> Reading:
        """As `Sis.anticipated`."""
        return self._formatter.read(self._formatter.write(hub_id, body, None))

    async def draft(self, kind: Kind, key: str, body: Json | None, standing: Standing | None) -> Draft | str:
        """As `Sis.draft`: the row that stands there with what the hub says, readable again."""
        expected = None if standing is None else _row(standing.row)
        if body is None:
            return Draft(kind, key, None, expected, None)
        row = self._formatter.write(key, body, expected)
        reading = self._formatter.read(row)
        if reading.faults:
            return f"the SIS could not show it: {reading.faults[0].pointer} {reading.faults[0].detail}"
        return Draft(kind, key, row, expected, reading)

    async def write(self, draft: Draft) -> Outcome:
        """As `Sis.write`."""
        row, expected = (None if handle is None else _row(handle) for handle in (draft.row, draft.expected))
        done = await self._connector.write(self._formatter.entity, draft.kind, draft.key, row, expected)
        shown = None if done.shown is None else self._formatter.read(done.shown)
        return Outcome(done.result, done.detail, shown, done.retry_after_seconds)

    def printed(self) -> str:
        """Nothing: it went where this process prints."""
        return ""


def _row(handle: object) -> Row:
    assert isinstance(handle, Mapping), "rows come from `look` and `draft`"
    return handle


async def _nothing() -> AsyncIterator[Placed]:
    nothing: tuple[Placed, ...] = ()
    for each in nothing:
        yield each
