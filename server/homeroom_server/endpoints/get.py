"""`POST /v1/get/{notificationType}` (protocol 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import Code, error
from homeroom.protocol import RECORDS_PER_CALL_MAX, NotificationType
from homeroom_server import audience
from homeroom_server.catalogue import TypeDefinition
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.catch_up import wait_until_seen
from homeroom_server.endpoints.requests import VERSION_SCHEMA, Faults
from homeroom_server.json_schema import compile_schema
from homeroom_server.services import Services
from homeroom_server.single_flight import SingleFlight
from homeroom_server.store import streams
from homeroom_server.store.connection import FAILURES, Conn
from homeroom_server.store.streams import RecordRow

REQUEST: Mapping[str, Any] = {
    "type": "object",
    "required": ["records"],
    "additionalProperties": False,
    "properties": {
        "records": {
            "type": "array",
            "minItems": 1,
            "maxItems": RECORDS_PER_CALL_MAX,
            "items": {
                "type": "object",
                "required": ["id"],
                "additionalProperties": False,
                "properties": {
                    "id": {"type": "string"},
                    "expectedVersion": VERSION_SCHEMA,
                    "knownSourceVersion": VERSION_SCHEMA,
                },
            },
        }
    },
}
_SCHEMA = compile_schema(REQUEST)


@dataclass(frozen=True, slots=True)
class _Item:
    id: str
    expected_version: int
    known_source_version: int | None


@dataclass(frozen=True, slots=True)
class _Page:
    """What the database says of all items, in one snapshot."""

    epoch: str
    watermark: int
    rows: Sequence[RecordRow]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The bytes for all who asked the same. `too_new`: an expected version that this node has not seen."""

    epoch: str
    too_new: int | None
    encoded: bytes
    given: str
    """Ids of the records in it, with spaces between."""


async def get(request: Request) -> Response:
    """The records asked for, in order, up to the first whose expected version is not the Core's."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services)
    notification_type, definition = services.catalogue.resolve(request.path_params["notification_type"])
    body = await requests.read_body(request, services.settings.body_bytes_max)
    items = _parse(requests.parse_json(body), services, definition)
    viewer = audience.viewer(definition, caller)

    async def look(flights: SingleFlight) -> _Answer:
        """One read for all who look with the same eyes and sent the same bytes: a change wakes thousands at once."""
        return await flights.read_then(
            ("get", notification_type, viewer, body),
            lambda connection: _read(connection, notification_type, viewer, definition, items),
            lambda page: _answer(items, page),
        )

    answer = await look(services.flights)
    if answer.too_new is not None:
        await wait_until_seen(services, notification_type, answer.too_new)
        answer = await look(services.flights)
    if answer.too_new is not None and not services.reading.place.is_primary:
        try:
            answer = await look(services.primary_flights)
        except FAILURES as failure:
            detail = "this node has not yet seen a version that was asked for, and the primary cannot be reached"
            raise error(Code.NODE_BEHIND, detail) from failure
    services.audit.read(caller, notification_type, answer.given)
    return requests.json_response(answer.encoded, answer.epoch)


async def _read(
    connection: Conn,
    notification_type: NotificationType,
    viewer: int | None,
    definition: TypeDefinition,
    items: Sequence[_Item],
) -> _Page:
    epoch, watermark, rows = await streams.read_records(
        connection,
        notification_type,
        viewer,
        [item.id for item in items],
        definition.source,
        [item.known_source_version for item in items],
    )
    return _Page(epoch, watermark, rows)


async def _answer(items: Sequence[_Item], page: _Page) -> _Answer:
    too_new = _first_too_new(items, page)
    records, stopped_at = _process(items, page)
    encoded = orjson.dumps({"records": records, "stoppedAt": stopped_at})
    given = " ".join([r["id"] for r, row in zip(records, page.rows, strict=False) if "body" in r and not row.erased])
    return _Answer(page.epoch, None if too_new is None else items[too_new].expected_version, encoded, given)


def _first_too_new(items: Sequence[_Item], page: _Page) -> int | None:
    """The first item, among those that would be processed, whose expected version this node has not seen."""
    for index, (item, row) in enumerate(zip(items, page.rows, strict=True)):
        if item.expected_version > page.watermark:
            return index
        if _stops(item, row):
            return None
    return None


def _stops(item: _Item, row: RecordRow) -> bool:
    visible = row.state in ("live", "deleted")
    return visible and item.expected_version not in (0, row.version)


def _process(items: Sequence[_Item], page: _Page) -> tuple[list[dict[str, Any]], int | None]:
    answered: list[dict[str, Any]] = []
    for index, (item, row) in enumerate(zip(items, page.rows, strict=True)):
        if _stops(item, row):
            return answered, index
        answered.append(_record_as_json(item.id, row))
    return answered, None


def _record_as_json(record_id: str, row: RecordRow) -> dict[str, Any]:
    if row.state is None:
        return {"id": record_id, "availability": "Unknown"}
    if row.state == "revoked":
        return {"id": record_id, "availability": "NoAccess"}
    members: dict[str, Any] = {
        "id": record_id,
        "availability": "Normal",
        "coreVersion": row.version,
        "deleted": row.deleted,
        "changedAt": utc_text(row.changed_at),
    }
    if row.source_version is not None:
        members["sourceVersion"] = row.source_version
    members["body"] = orjson.Fragment(row.body)
    if row.source is not None:
        members["source"] = {
            "id": record_id,
            "coreVersion": row.source.version,
            "deleted": row.source.deleted,
            "body": orjson.Fragment(row.source.body),
        }
    return members


def utc_text(moment: datetime) -> str:
    """`2026-11-22T04:10:24.123Z`; takes a moment in UTC, as the database driver gives them."""
    return moment.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


def _parse(document: object, services: Services, definition: TypeDefinition) -> list[_Item]:
    faults = Faults()
    records = requests.list_of(services, document, "records", RECORDS_PER_CALL_MAX)
    faults.check(_SCHEMA, document)
    ids = requests.check_ids(records, definition, faults)
    faults.raise_if_any()
    return [
        _Item(
            record_id or "",
            int(record.get("expectedVersion", 0)),
            _optional(record.get("knownSourceVersion")),
        )
        for record_id, record in zip(ids, records, strict=True)
    ]


def _optional(version: Any) -> int | None:
    return None if version is None else int(version)
