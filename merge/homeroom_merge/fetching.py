"""Both sides as they are now, kept as what was seen; a fetch and its cursor move in one transaction (merge.md 2.1)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from types import MappingProxyType

import orjson

from homeroom_merge.codec import canonical, faults_text
from homeroom_merge.connectors.hub import Hub, HubCursor, HubFetch, HubSeen
from homeroom_merge.formatters.formatter import Fault
from homeroom_merge.piping import piped
from homeroom_merge.records import State
from homeroom_merge.sides import Sides
from homeroom_merge.sis.side import Placed
from homeroom_merge.store import erasures, intake, seen
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.intake import SisRow
from homeroom_merge.store.seen import HubRow, Subject
from homeroom_merge.terms import Terms
from homeroom_merge.verification import Screen, Verified, twin_faults, verify

_FAULTS_KEPT = 20
_FAULTS_NAMED_MAX = 1_000
_AT_ONCE = 1_000


@dataclass(slots=True)
class Fetched:
    """How a fetch went. `failure`: it cannot be used, and nothing of it was kept. `columns_missing`: known ones."""

    records: int = 0
    invalid: int = 0
    """Records with faults: left out."""
    nameless: int = 0
    """Of these, the ones without a key: nobody can tell which record is there."""
    refused: int = 0
    """Records of erased students, of which nothing is kept."""
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    """Of the first of them, with their places."""
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    complete: bool = False
    columns_missing: frozenset[str] = frozenset()

    def name(self, place: str, faults: Sequence[Fault]) -> None:
        """Keep what is wrong with the record that stands there."""
        if len(self.faults) < _FAULTS_NAMED_MAX:
            self.faults += [(place, fault) for fault in faults]


async def fetch_hub(connection: Conn, subject: Subject, terms: Terms, sides: Sides) -> Fetched:
    """Everything that has moved on the hub since the last time, as each organisation sees it. HomeroomError."""
    found, hubs = Fetched(complete=True), sides.hubs
    screen = Screen(sides.hub_verifier, await erasures.erased(connection, terms.feed, terms.entity, terms.student))
    cursors = _cursors(subject.hub_cursor)

    async def news(listed: Mapping[str, int]) -> list[str]:
        return await seen.hub_news(connection, subject.number, listed)

    async with connection.transaction():
        for year, notification_type in terms.types.items():
            shown: set[str] = set()
            everything = True
            for organization, hub in hubs.items():
                place = f"{notification_type} {organization}"
                fetch = await hub.fetch(notification_type, cursors.get(place, HubCursor()), news)
                shown |= await _keep(connection, subject, fetch, hubs, (notification_type, year), screen, found)
                everything &= fetch.complete
                cursors[place] = fetch.cursor
            if everything:
                lost = await seen.hub_not_among(connection, subject.number, sorted(shown), year)
                now = await best(hubs, notification_type, lost)
                await seen.store_hub(connection, subject.number, hub_rows(now, year, screen, found), anew=True)
        await seen.move_hub_cursor(connection, subject.number, _cursor_text(cursors))
    return found


async def _keep(
    connection: Conn,
    subject: Subject,
    fetch: HubFetch,
    hubs: Mapping[str, Hub],
    of: tuple[str, int | None],
    screen: Screen,
    found: Fetched,
) -> set[str]:
    """Store the blocks of a fetch; the ids that were shown. What one organisation lost, another may still see."""
    notification_type, year = of
    shown: set[str] = set()
    async for block in fetch.blocks:
        shown.update(each.hub_id for each in block)
        away = [each.hub_id for each in block if each.state is State.OUT_OF_VIEW]
        kept = [each for each in block if each.state is not State.OUT_OF_VIEW]
        kept += await best(hubs, notification_type, away) if away else []
        rows = hub_rows(kept, year, screen, found)
        await seen.store_hub(connection, subject.number, rows, anew=fetch.complete)
    return shown


async def best(
    hubs: Mapping[str, Hub], notification_type: str, ids: Sequence[str], known: Mapping[str, int] = MappingProxyType({})
) -> list[HubSeen]:
    """Each record as the first organisation shows it that sees it at all. `known`: versions, as `Hub.look` has it."""
    shown: dict[str, HubSeen] = {}
    for hub in hubs.values():
        asked = [each for each in ids if each not in shown or shown[each].state is State.OUT_OF_VIEW]
        shown.update({each.hub_id: each for each in await hub.look(notification_type, asked, known)})
    return list(shown.values())


def hub_rows(block: Sequence[HubSeen], year: int | None, screen: Screen, found: Fetched) -> list[HubRow]:
    """What is kept of records that the hub shows; those with faults are counted and named, those refused counted."""
    rows = []
    for each in block:
        found.records += 1
        if screen.erased.on_hub(each.hub_id, each.body):
            found.refused += 1
            continue
        faults = screen.verifier.faults(each.body) if each.state is State.LIVE and each.body is not None else []
        found.invalid += bool(faults)
        found.name(f"hub {each.hub_id}", faults)
        rows.append(
            HubRow(
                each.hub_id,
                State.FAILED if faults else each.state,
                each.version,
                None if each.body is None else canonical(each.body),
                each.changed_at,
                _faults_text(faults, f"hub {each.hub_id}"),
                None,
                year,
            )
        )
    return rows


async def fetch_sis(connection: Conn, subject: Subject, terms: Terms, sides: Sides) -> Fetched:
    """What the SIS shows; a feed that was cut or is empty is kept in no part. Raises what the connector raises."""
    age, hours = subject.sis_whole_age, timedelta(hours=terms.complete_every_hours)
    cursor = None if age is None or age >= hours else subject.sis_cursor
    fetch = await sides.sis.fetch(cursor)
    found = Fetched()
    async with connection.transaction():
        await intake.begin(connection)
        await take_in(connection, fetch.records, sides, terms, found)
        found.failure, found.complete, found.notes = fetch.failure, fetch.complete, fetch.notes
        if fetch.failure or (not found.records and fetch.complete and not terms.allow_empty):
            return found
        await intake.take(connection, subject.number)
        columns = fetch.coverage.columns if found.records else None
        if columns is not None and subject.sis_columns is not None:
            found.columns_missing = subject.sis_columns - columns
        if found.nameless and fetch.complete:
            said = "rows of which nobody can tell which records they are, absence not counted"
            found.notes.append(f"{said}: {found.nameless}")
        elif fetch.complete:
            covered = fetch.coverage.pairs if found.records else None  # an empty feed that is allowed speaks of all
            pairs = None if covered is None else sorted(covered, key=str)
            years = None if None in terms.types else [year for year in terms.types if year is not None]
            told = sorted(terms.schools), years, pairs, terms.feeds_before_delete
            await intake.count_absences(connection, subject.number, *told)
        await seen.link_alike(connection, subject.number)
        known = columns if fetch.complete else None
        await seen.move_sis_cursor(connection, subject.number, fetch.cursor, known, whole=cursor is None)
    return found


async def take_in(connection: Conn, read: AsyncIterator[Placed], sides: Sides, terms: Terms, found: Fetched) -> None:
    """Verify records as they come, and stage them: those of one key are all left out. A transaction of the caller's.

    Those of years that the settings do not allow are neither merged nor missed, nor are those of erased students.
    """
    screen = Screen(sides.sis_verifier, await erasures.erased(connection, terms.feed, terms.entity, terms.student))
    await piped(_blocks(read), lambda block: _stage(connection, block, screen, terms, found))
    failed: list[tuple[str, str]] = []
    async for key, places in intake.twins(connection):
        faults = list(twin_faults(places))
        for place, fault in zip(places, faults, strict=True):
            found.name(place, [fault])
        failed.append((key, faults_text(faults[-1:], places[-1])))
    found.invalid = found.nameless + await intake.fail(connection, failed)


async def _blocks(read: AsyncIterator[Placed]) -> AsyncIterator[list[Placed]]:
    block: list[Placed] = []
    async for each in read:
        block.append(each)
        if len(block) == _AT_ONCE:
            yield block
            block = []
    yield block


async def _stage(connection: Conn, block: Sequence[Placed], screen: Screen, terms: Terms, found: Fetched) -> None:
    found.records += len(block)
    wanted = [(reading, place) for reading, place in block if reading.faults or terms.type_of(reading.school_year)]
    verified = verify(wanted, screen.verifier, screen.erased)
    for each in verified:
        found.name(each.place, each.faults)
        found.nameless += not each.reading.key
        found.refused += each.refused
    if other := [screen.erased.name(each.reading) for each in verified if each.refused and each.reading.key]:
        await erasures.know(connection, terms.feed, other)
    await intake.add(connection, [_sis_row(each, terms.rules.zone) for each in verified if each.reading.key])


def _sis_row(each: Verified, zone: tzinfo) -> SisRow:
    """What is kept of a record that the SIS shows. `zone`: of times that name none."""
    reading, at = each.reading, each.reading.changed_at
    if each.refused:
        return SisRow(reading.key, intake.REFUSED, None, None, None, None, None, None, None, "")
    state = State.FAILED if each.faults else State.DELETED if reading.deleted else State.LIVE
    return SisRow(
        reading.key,
        state,
        None if each.faults else canonical(reading.body),
        None if each.faults else ",".join(sorted(reading.covered)),
        reading.school,
        reading.school_year,
        reading.number,
        _faults_text(each.faults, each.place),
        at if at is None or at.tzinfo else at.replace(tzinfo=zone),
        each.place,
    )


def _faults_text(faults: Sequence[Fault], place: str) -> str | None:
    return faults_text(faults[:_FAULTS_KEPT], place) if faults else None


def _cursors(text: str | None) -> dict[str, HubCursor]:
    said = {} if text is None else orjson.loads(text)
    return {place: HubCursor(version, epoch) for place, (version, epoch) in said.items()}


def _cursor_text(cursors: Mapping[str, HubCursor]) -> str:
    return canonical({place: [cursor.version, cursor.epoch] for place, cursor in cursors.items()})
