"""One record: what it is, its status, who sees it and why, and who was told."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from starlette.responses import Response

from homeroom.errors import HomeroomError
from homeroom.protocol import STATUS_SUFFIX
from homeroom_merge.console.frame.files import asked_for, file_headers
from homeroom_server.access import verdict
from homeroom_server.access.seers import Seers, read_seers
from homeroom_server.catalogue import Audience, TypeDefinition
from homeroom_server.console.records import place_of, public_types, type_of
from homeroom_server.console.visit import Visit
from homeroom_server.status.alerts import parse_alerts
from homeroom_server.store import found_records
from homeroom_server.store.connection import Conn
from homeroom_server.store.found_records import RecordSeen, StudentEvent, Told

BODY_SHOWN_MAX = 20_000
"""Characters of a body on its page."""
_BODY_READ_MAX = 100_000
"""Larger ones are not taken apart to be shown: indented, a hostile one would grow a hundredfold."""
ROWS_MAX = 200
"""Organisations, and clients, on one page."""
EVENTS_MAX = 50
_NOT_FOUND = "There is no such record, or none that you may see."


@dataclass(frozen=True, slots=True)
class _Known:
    """All that a page says of a record, from one snapshot. `other`: the status of it, or the source of a status."""

    seers: Seers
    other: RecordSeen | None
    told: Sequence[Told]
    events: Sequence[StudentEvent]


async def record(visit: Visit) -> Response:
    """The page of `Type` or `Type.YYYY` and an id; `?as=json`: its body, whole, as a file. Each look is noted."""
    said_id = visit.request.path_params.get("id") or asked_for(visit.request, "id")
    try:
        asked, definition = visit.services.catalogue.resolve_in_any_year(visit.request.path_params["type"])
    except HomeroomError:
        return visit.not_found(_NOT_FOUND)
    record_id = definition.canonical_id(said_id)
    if record_id is None:
        return visit.not_found(_NOT_FOUND)
    is_file = visit.request.query_params.get("as") == "json"
    async with (
        visit.services.console_pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        seen = await _read(connection, visit, definition, record_id, whole=is_file)
        if seen is not None and asked.school_year not in (None, seen.school_year):
            seen = None
        known = None if seen is None or is_file else await _known(connection, visit, definition, seen)
    if seen is None:
        await visit.note(f"looked in vain for {asked} {record_id}")
        return visit.not_found(_NOT_FOUND)
    await visit.note(f"{'downloaded' if known is None else 'looked at'} {asked} {record_id}")
    if known is None:
        headers = file_headers(f"{definition.name}-{record_id}.json")
        return Response(seen.body, media_type="application/json", headers=headers)
    return _page(visit, definition, seen, known)


async def _read(
    connection: Conn, visit: Visit, definition: TypeDefinition, record_id: str, *, whole: bool = False
) -> RecordSeen | None:
    """The bodies of statuses are small, and taken apart."""
    public = public_types(visit.services.catalogue)
    characters = None if whole or definition.source is not None else _BODY_READ_MAX
    return await found_records.read(connection, visit.scope, public, definition.name, record_id, characters)


async def _known(connection: Conn, visit: Visit, definition: TypeDefinition, seen: RecordSeen) -> _Known:
    services, scope = visit.services, visit.scope
    seers = await read_seers(connection, scope, definition, seen.id, services.catalogue, services.settings, ROWS_MAX)
    other = services.catalogue.types.get(definition.source or definition.name + STATUS_SUFFIX)
    is_public = definition.audience is Audience.PUBLIC
    name = str(type_of(seen.type_name, seen.school_year))
    return _Known(
        seers,
        None if other is None else await _read(connection, visit, other, seen.id),
        await found_records.who_was_told(connection, scope, seen, name, ROWS_MAX, public=is_public),
        await found_records.events(connection, scope, seers.student, EVENTS_MAX) if seers.student else [],
    )


def _page(visit: Visit, definition: TypeDefinition, seen: RecordSeen, known: _Known) -> Response:
    is_status = definition.source is not None
    status = seen if is_status else known.other
    alerts = [] if status is None else parse_alerts(status.body)
    body, is_cut = _readable(seen)
    return visit.page(
        "record.html",
        seen=seen,
        notification_type=type_of(seen.type_name, seen.school_year),
        is_status=is_status,
        status=status,
        other_place=None if known.other is None else _place(known.other),
        alerts=alerts[:ROWS_MAX],
        alerts_count=len(alerts),
        body=body,
        is_cut=is_cut,
        rule=known.seers.rule,
        seers=[(each.name, verdict.as_json(each.explained)) for each in known.seers.seers],
        among=known.seers.among,
        told=known.told,
        student=known.seers.student,
        events=known.events,
        sees_all=visit.scope is None,
        rows_max=ROWS_MAX,
        events_max=EVENTS_MAX,
    )


def _place(seen: RecordSeen) -> str:
    return place_of(type_of(seen.type_name, seen.school_year), seen.id)


def _readable(seen: RecordSeen) -> tuple[str, bool]:
    """The body, indented and in whole or cut; whether it is."""
    text = seen.body
    if seen.body_characters <= _BODY_READ_MAX:
        text = orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    return text[:BODY_SHOWN_MAX], len(text) > BODY_SHOWN_MAX
