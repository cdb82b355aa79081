"""Both sides as they are now, kept as what was seen; a fetch and its cursor move in one transaction (merge.md 2.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

import orjson

from homeroom_merge.codec import canonical
from homeroom_merge.connectors.connector import Connector
from homeroom_merge.connectors.hub import Hub, HubCursor, HubFetch, HubSeen
from homeroom_merge.formatters.formatter import Fault, Formatter, Reading
from homeroom_merge.records import State
from homeroom_merge.store import seen
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.seen import HubRow, SisRow, Subject
from homeroom_merge.terms import Terms
from homeroom_merge.verification import Verified, Verifier, verify

_FAULTS_KEPT = 20


@dataclass(slots=True)
class Fetched:
    """How a fetch went. `failure`: it cannot be used, and nothing of it was kept. `columns_missing`: known ones."""

    records: int = 0
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    complete: bool = False
    columns_missing: frozenset[str] = frozenset()


async def fetch_hub(
    connection: Conn, subject: Subject, terms: Terms, hubs: Mapping[str, Hub], verifier: Verifier
) -> Fetched:
    """Everything that has moved on the hub since the last time, as each organisation sees it. HomeroomError."""
    found = Fetched(complete=True)
    cursors = _cursors(subject.hub_cursor)
    async with connection.transaction():
        for year, notification_type in terms.types.items():
            shown: set[str] = set()
            everything = True
            for organization, hub in hubs.items():
                place = f"{notification_type} {organization}"
                fetch = await hub.fetch(notification_type, cursors.get(place, HubCursor()))
                shown |= await _keep(connection, subject, fetch, hubs, (notification_type, year), verifier, found)
                everything &= fetch.complete
                cursors[place] = fetch.cursor
            if everything:
                lost = await seen.hub_not_among(connection, subject.number, sorted(shown), year)
                now = await _best(hubs, notification_type, lost)
                await seen.store_hub(connection, subject.number, _hub_rows(now, year, verifier, found))
        await seen.move_hub_cursor(connection, subject.number, _cursor_text(cursors))
    return found


async def _keep(
    connection: Conn,
    subject: Subject,
    fetch: HubFetch,
    hubs: Mapping[str, Hub],
    of: tuple[str, int | None],
    verifier: Verifier,
    found: Fetched,
) -> set[str]:
    """Store the blocks of a fetch; the ids that were shown. What one organisation lost, another may still see."""
    notification_type, year = of
    shown: set[str] = set()
    async for block in fetch.blocks:
        shown.update(each.hub_id for each in block)
        away = [each.hub_id for each in block if each.state is State.OUT_OF_VIEW]
        kept = [each for each in block if each.state is not State.OUT_OF_VIEW]
        kept += await _best(hubs, notification_type, away) if away else []
        await seen.store_hub(connection, subject.number, _hub_rows(kept, year, verifier, found))
    return shown


async def _best(hubs: Mapping[str, Hub], notification_type: str, ids: Sequence[str]) -> list[HubSeen]:
    """Each record as the first organisation shows it that sees it at all."""
    best: dict[str, HubSeen] = {}
    for hub in hubs.values():
        asked = [each for each in ids if each not in best or best[each].state is State.OUT_OF_VIEW]
        best.update({each.hub_id: each for each in await hub.look(notification_type, asked)})
    return list(best.values())


def _hub_rows(block: Sequence[HubSeen], year: int | None, verifier: Verifier, found: Fetched) -> list[HubRow]:
    rows = []
    for each in block:
        faults = verifier.faults(each.body) if each.state is State.LIVE and each.body is not None else []
        found.records += 1
        found.faults += [(f"hub {each.hub_id}", fault) for fault in faults]
        rows.append(
            HubRow(
                each.hub_id,
                State.FAILED if faults else each.state,
                each.version,
                None if each.body is None else canonical(each.body),
                each.changed_at,
                _faults_text(faults),
                None,
                year,
            )
        )
    return rows


async def fetch_sis(
    connection: Conn, subject: Subject, terms: Terms, connector: Connector, formatter: Formatter, verifier: Verifier
) -> Fetched:
    """What the SIS shows; a feed that was cut or is empty is kept in no part. Raises what the connector raises."""
    fetch = await connector.fetch(terms.entity, subject.sis_cursor)
    read = [(formatter.read(row.row), row.place) async for row in fetch.rows]
    found = Fetched(len(read), [], fetch.notes, fetch.failure, fetch.complete)
    if fetch.failure or (not read and fetch.complete and not terms.allow_empty):
        return found
    columns = fetch.coverage.columns
    if columns is not None and subject.sis_columns is not None:
        found.columns_missing = subject.sis_columns - columns
    verified = verify(_wanted(read, terms), verifier)
    found.faults = [(each.place, fault) for each in verified for fault in each.faults]
    rows = [
        sis_row(each, terms.rules.zone)
        for each in {each.reading.key: each for each in verified if each.reading.key}.values()
    ]
    async with connection.transaction():
        await seen.store_sis(connection, subject.number, rows)
        if fetch.complete:
            pairs = None if fetch.coverage.pairs is None else sorted(fetch.coverage.pairs, key=str)
            shown, schools = [row.sis_key for row in rows], sorted(terms.schools)
            feeds = terms.feeds_before_delete
            await seen.count_absences(connection, subject.number, shown, schools, pairs, feeds)
        await seen.link_alike(connection, subject.number)
        await seen.move_sis_cursor(connection, subject.number, fetch.cursor, columns if fetch.complete else None)
    return found


def _wanted(read: Sequence[tuple[Reading, str]], terms: Terms) -> list[tuple[Reading, str]]:
    """Those of years that the settings allow: others are neither merged nor missed."""
    return [(reading, place) for reading, place in read if reading.faults or terms.type_of(reading.school_year)]


def sis_row(each: Verified, zone: tzinfo) -> SisRow:
    """What is kept of a record that the SIS shows. `zone`: of times that name none."""
    reading, at = each.reading, each.reading.changed_at
    state = State.FAILED if each.faults else State.DELETED if reading.deleted else State.LIVE
    return SisRow(
        reading.key,
        state,
        None if each.faults else canonical(reading.body),
        None if each.faults else ",".join(sorted(reading.covered)),
        reading.school,
        reading.school_year,
        reading.number,
        _faults_text(each.faults),
        at if at is None or at.tzinfo else at.replace(tzinfo=zone),
    )


def _faults_text(faults: Sequence[Fault]) -> str | None:
    said = [{"pointer": f.pointer, "detail": f.detail, "cure": f.cure} for f in faults[:_FAULTS_KEPT]]
    return canonical(said) if said else None


def _cursors(text: str | None) -> dict[str, HubCursor]:
    said = {} if text is None else orjson.loads(text)
    return {place: HubCursor(version, epoch) for place, (version, epoch) in said.items()}


def _cursor_text(cursors: Mapping[str, HubCursor]) -> str:
    return canonical({place: [cursor.version, cursor.epoch] for place, cursor in cursors.items()})
