"""`POST /v1/submit/{notificationType}` (protocol 6)."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import Code, error
from homeroom.protocol import ORGANIZATION_CODE, RECORDS_PER_CALL_MAX, NotificationType
from homeroom_server.auth import Caller
from homeroom_server.catalogue import TypeDefinition
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.depth import check_depth
from homeroom_server.endpoints.requests import VERSION_SCHEMA, Faults
from homeroom_server.json_schema import compile_schema, schema_faults
from homeroom_server.peers import request_id_of
from homeroom_server.services import Services
from homeroom_server.store.calls import CallKey
from homeroom_server.submission import Rejection, Submission, SubmittedRecord
from homeroom_server.tracing.spans import span_of

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
                "required": ["id", "expectedVersion"],
                "additionalProperties": False,
                "properties": {
                    "id": {"type": "string"},
                    "expectedVersion": VERSION_SCHEMA,
                    "deleted": {"type": "boolean"},
                    "organization": {"type": "string", "pattern": f"^(?:{ORGANIZATION_CODE.pattern})$"},
                    "body": {"type": "object"},
                },
                "if": {"properties": {"deleted": {"const": True}}, "required": ["deleted"]},
                "else": {"required": ["body"]},
            },
        }
    },
}
_SCHEMA = compile_schema(REQUEST)


async def submit(request: Request) -> Response:
    """Each record accepted or rejected by itself; the accepted ones durable before the answer."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services, writes=True)
    notification_type, definition = services.catalogue.resolve(request.path_params["notification_type"])
    if definition.source is not None:
        detail = f"{definition.name} is calculated from {definition.source} and cannot be submitted"
        raise error(Code.UNKNOWN_TYPE, detail)
    body = await requests.read_body(request, services.settings.body_bytes_max)
    submission = _submission(request, services, caller, notification_type, definition, body)
    del body  # large ones are not kept for as long as the commit takes
    scope = request.scope
    committed = await services.committer.commit(submission, request_id_of(scope), span_of(scope))
    return requests.json_response(*committed)


def _submission(
    request: Request,
    services: Services,
    caller: Caller,
    notification_type: NotificationType,
    definition: TypeDefinition,
    body: bytes,
) -> Submission:
    """What was submitted; raises FixRequest."""
    call = _call_key(requests.header(request, b"idempotency-key"), caller, notification_type, body)
    document = requests.parse_json(body)
    check_depth(services.tally, body, document)
    return _parse(document, services, caller, notification_type, definition, call)


def _call_key(header: str | None, caller: Caller, notification_type: NotificationType, body: bytes) -> CallKey | None:
    if header is None:
        return None
    try:
        key = UUID(header)
    except ValueError as fault:
        raise error(Code.NOT_STRUCTURED, "the Idempotency-Key header takes a UUID") from fault
    request_hash = hashlib.sha256(str(notification_type).encode() + b"\0" + body).digest()
    return CallKey(caller.client, caller.organization.number, key, request_hash)


def _parse(
    document: object,
    services: Services,
    caller: Caller,
    notification_type: NotificationType,
    definition: TypeDefinition,
    call: CallKey | None,
) -> Submission:
    """The submission; raises FixRequest with every fault of the request's form."""
    faults = Faults()
    records = requests.list_of(services, document, "records", RECORDS_PER_CALL_MAX)
    faults.check(_SCHEMA, document)
    ids = requests.check_ids(records, definition, faults)
    faults.raise_if_any()
    this_year = datetime.now(services.time_zone).year
    closed = () if services.catalogue.year_is_open(notification_type.school_year, this_year) else (_year_closed(),)
    submitted = []
    for index, (record_id, record) in enumerate(zip(ids, records, strict=True)):
        assert record_id is not None, "faults have been raised"
        submitted.append(_record(record_id, record, f"/records/{index}", services, caller, definition, closed, faults))
    faults.raise_if_any()
    return Submission(notification_type, caller, submitted, call)


def _year_closed() -> Rejection:
    return Rejection(Code.YEAR_NOT_OPEN, "this school year is not open for writing")


def _record(
    record_id: str,
    record: Mapping[str, Any],
    pointer: str,
    services: Services,
    caller: Caller,
    definition: TypeDefinition,
    closed: tuple[Rejection, ...],
    faults: Faults,
) -> SubmittedRecord:
    organization = record.get("organization")
    body = record.get("body")
    text: str | None = None
    rejections = list(closed)
    if body is not None:
        try:
            text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
        except orjson.JSONEncodeError as fault:
            faults.add(Code.NOT_OF_SCHEMA, f"{pointer}/body", f"cannot be stored: {fault}")
        if definition.validator is not None:
            wrong = schema_faults(definition.validator, body)
            if wrong:
                detail = f"the body fails the schema of {definition.name} in {len(wrong)} places"
                rejections.append(Rejection(Code.BODY_FAILS_SCHEMA, detail, wrong))
    return SubmittedRecord(
        id=record_id,
        expected_version=int(record["expectedVersion"]),
        deleted=record.get("deleted", False),
        organization=organization,
        owner=caller.organization if organization is None else services.directory.organization(organization),
        student=None if body is None else definition.student_of(record_id, body),
        body=text,
        rejections=rejections,
    )
