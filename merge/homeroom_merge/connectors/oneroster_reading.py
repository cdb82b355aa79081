"""One fetch from a OneRoster service: which collections it needs, and its objects as joined rows of the CSV files."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from homeroom_merge.connectors.connector import Coverage, Fetch, SourceRow
from homeroom_merge.connectors.csv_people import ORGS, ROLES
from homeroom_merge.connectors.csv_sheet import Line
from homeroom_merge.connectors.csv_tables import Source, Tables, pair_of
from homeroom_merge.connectors.oneroster_cursor import Cursor, changed_at, digest
from homeroom_merge.connectors.oneroster_json import cells, roles, secrets
from homeroom_merge.connectors.oneroster_service import Item, Listing, Session
from homeroom_merge.connectors.rest_request import ServiceFault
from homeroom_merge.formatters.formatter import DELETED
from homeroom_merge.formatters.keys import is_shortened

_DEMOGRAPHICS = "demographics"
_SINGLES_MAX = 200
"""So many objects are asked for one by one; beyond, all of their collection comes sooner."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Objects as rows of the file that they would be."""

    rows: Sequence[Line]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(title for line in self.rows for title in line.cells))

    def lines(self) -> Iterator[Line]:
        return iter(self.rows)


@dataclass(slots=True)
class Reading:
    """One fetch as it goes on."""

    session: Session
    source: Source
    fetch: Fetch
    tables: Tables
    now: datetime
    columns: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    moved: list[str] = field(default_factory=list)
    latest: datetime | None = None

    @property
    def own(self) -> str:
        """The collection that holds the entity's records: roles stand within users."""
        return "users" if self.source.file == ROLES else self.source.file

    async def rows(self, cursor: Cursor | None) -> AsyncIterator[SourceRow]:
        """All rows, or those since the cursor; then what else is known of the fetch is set."""
        beside = await self._hold_beside()
        is_fresh = cursor is not None and cursor.holds(self.now, beside) and not self.source.joins_itself
        changed = await self._changed(cursor) if is_fresh and cursor is not None else None
        if changed is not None and cursor is not None:
            for row in self._joined(changed):
                yield row
            self.fetch.cursor = cursor.moved(self.latest, self.session.began).text
            return
        await self._hold_demographics()
        pairs: set[tuple[str, int | None]] = set()
        async for items in self._parts():
            for row in self._joined(items):
                pairs.update(pair_of(row.row))
                yield row
        self.fetch.coverage = Coverage(frozenset(pairs), frozenset(self.columns))
        self.fetch.complete = not self.moved and not self.tables.unknown
        self.fetch.cursor = Cursor.begun(self.latest, self.session.began, self.now, beside)

    async def rows_of(self, keys: Sequence[str]) -> AsyncIterator[SourceRow]:
        """The rows of some records."""
        await self._hold_beside()
        if self.source.joins_itself or len(keys) > _SINGLES_MAX or any(is_shortened(key) for key in keys):
            await self._hold_demographics()
            async for items in self._parts():
                for row in self._joined(items):
                    yield row
            return
        ids = dict.fromkeys(key.partition(".")[0] if self.source.file == ROLES else key for key in keys)
        found = [item for each in ids if (item := await self.session.one(self.own, each)) is not None]
        if _DEMOGRAPHICS in self.source.files:
            self._hold(_DEMOGRAPHICS, [item for each in ids if (item := await self._demographics_of(each)) is not None])
        for row in self._joined(found):
            yield row

    def notes(self) -> list[str]:
        """What was noticed and handled."""
        return [
            *(f"{place} was dropped: it holds secrets" for place in sorted(self.dropped)),
            *(f"{collection}: it moved while it was read, absence not counted" for collection in self.moved),
            *self.tables.notes(),
        ]

    async def _hold_beside(self) -> str:
        """Read what is joined to many rows; the digest by which it is known again."""
        parts = {}
        for file in dict.fromkeys((*self.source.needs, *self.source.also)):
            if file not in (ROLES, _DEMOGRAPHICS, self.own):
                parts[file] = self._hold(file, await self._all(file))
        return digest(parts)

    async def _hold_demographics(self) -> None:
        if _DEMOGRAPHICS not in self.source.files:
            return
        try:
            self._hold(_DEMOGRAPHICS, await self._all(_DEMOGRAPHICS))
        except ServiceFault as fault:
            if not _is_closed(fault):
                raise
            self.fetch.notes.append(f"not covered: {fault}")

    async def _demographics_of(self, user: str) -> Item | None:
        try:
            return await self.session.one(_DEMOGRAPHICS, user)
        except ServiceFault as fault:
            if not _is_closed(fault):
                raise
            return None

    def _hold(self, file: str, items: Iterable[Item]) -> list[dict[str, str]]:
        rows = [self._cells(file, item) for item in items]
        self.tables.replace(file, _Part([Line(row, 0) for row in rows]))
        return rows

    async def _all(self, collection: str, since: datetime | None = None) -> list[Item]:
        return [item async for items in self._pages(collection, since) for item in items]

    async def _pages(self, collection: str, since: datetime | None = None) -> AsyncIterator[list[Item]]:
        listing = Listing()
        async for items in self.session.pages(collection, listing, since):
            yield items
        if listing.moved:
            self.moved.append(collection)

    async def _parts(self) -> AsyncIterator[list[Item]]:
        """All of the own collection, in as many parts as its rows can be joined by."""
        if self.source.joins_itself:
            yield await self._all(self.own)
            return
        async for items in self._pages(self.own):
            yield items

    async def _changed(self, cursor: Cursor) -> list[Item] | None:
        """What has changed, itself or in its demographics; None if it is better to read all."""
        try:
            own = {str(item.get("sourcedId")): item for item in await self._all(self.own, cursor.since)}
            if _DEMOGRAPHICS not in self.source.files:
                return list(own.values())
            beside = {str(i.get("sourcedId")): i for i in await self._all(_DEMOGRAPHICS, cursor.since)}
        except ServiceFault as fault:
            if fault.status == 400 or _is_closed(fault):  # it cannot filter, or shows no demographics
                return None
            raise
        if len(own.keys() ^ beside.keys()) > _SINGLES_MAX:
            return None
        for user in beside.keys() - own.keys():
            if (item := await self.session.one(self.own, user)) is not None:
                own[user] = item
        for user in own.keys() - beside.keys():
            if (item := await self._demographics_of(user)) is not None:
                beside[user] = item
        self._hold(_DEMOGRAPHICS, beside.values())
        return list(own.values())

    def _joined(self, items: Sequence[Item]) -> Iterator[SourceRow]:
        """Rows with what is joined to each, as if these objects were all there is of their file."""
        self._hold(self.own, items)
        if self.own == "users":
            self._hold_roles(items)
        for row, line in self.tables.rows(self.source.file):
            place = (
                f"{self.own} {line.cells.get('userSourcedId') if self.source.file == ROLES else row.get('sourcedId')}"
            )
            joined = list(self.source.join(self.tables, row))
            if not joined and self._is_bare(row):
                joined = [row]
            for one in joined:
                yield SourceRow(one, place)

    def _hold_roles(self, users: Sequence[Item]) -> None:
        """Roles go with their user where they are records; else they still say of what entity the user was."""
        lines = []
        for user in users:
            status = str(user.get("status", "")) if self.source.file == ROLES else ""
            lines += [Line({**role, "status": status}, 0) for role in roles(user)]
        self._tell_columns(ROLES, (line.cells for line in lines))
        self.tables.replace(ROLES, _Part(lines))

    def _is_bare(self, row: Mapping[str, object]) -> bool:
        """Whether all that is told of a record is that it is gone, not even of what entity it was.

        Organisations go by a number, which is not told then; as all of them come each time, absence tells it.
        """
        if self.own == ORGS.file:
            return False
        told = row.get("role") or row.get("type") or self.tables.many(ROLES, "userSourcedId", row.get("sourcedId"))
        return row.get(DELETED) is True and not told

    def _cells(self, file: str, item: Item) -> dict[str, str]:
        self.dropped.update(f"{file}: the member {name}" for name in secrets(item))
        found = cells(item)
        self._tell_columns(file, [found])
        if file in (self.own, _DEMOGRAPHICS) and (at := changed_at(found)) is not None:
            self.latest = at if self.latest is None else max(self.latest, at)
        return found

    def _tell_columns(self, file: str, rows: Iterable[Mapping[str, str]]) -> None:
        self.columns.update(f"{file}/{title}" for row in rows for title in row)


def _is_closed(fault: ServiceFault) -> bool:
    """Whether a collection is not there, or not for this client."""
    return fault.status in (403, 404)
