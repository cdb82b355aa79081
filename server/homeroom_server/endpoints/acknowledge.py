"""`POST /v1/acknowledge/{StatusType}` (protocol 6)."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import Code, error
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.requests import Faults
from homeroom_server.json_schema import compile_schema
from homeroom_server.peers import request_id_of
from homeroom_server.services import Services
from homeroom_server.status.acknowledgement import Acknowledgement
from homeroom_server.status.alerts import AcknowledgementState
from homeroom_server.tracing.spans import span_of

REQUEST: Mapping[str, Any] = {
    "type": "object",
    "required": ["id", "alertCode", "arguments", "state"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "alertCode": {"type": "integer"},
        "arguments": {"type": "object", "additionalProperties": {"type": "string"}},
        "state": {"enum": list(AcknowledgementState)},
    },
}
_SCHEMA = compile_schema(REQUEST)


async def acknowledge(request: Request) -> Response:
    """One alert of one status into another state; the status takes a new version."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services, writes=True)
    notification_type, definition = services.catalogue.resolve(request.path_params["notification_type"])
    if definition.source is None:
        raise error(Code.UNKNOWN_TYPE, f"{definition.name} is no status type")
    document = requests.parse_json(await requests.read_body(request, services.settings.body_bytes_max))
    faults = Faults()
    faults.check(_SCHEMA, document)
    faults.raise_if_any()
    record_id = definition.canonical_id(document["id"])
    if record_id is None:
        faults.add(Code.NOT_OF_SCHEMA, "/id", f"is not {definition.id_words}")
    faults.raise_if_any()
    assert record_id is not None, "faults have been raised"
    committed = await services.committer.commit(
        Acknowledgement(
            notification_type,
            caller,
            record_id,
            int(document["alertCode"]),
            document["arguments"],
            AcknowledgementState(document["state"]),
        ),
        request_id_of(request.scope),
        span_of(request.scope),
    )
    return requests.json_response(*committed)
