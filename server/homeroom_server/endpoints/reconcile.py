"""`POST /v1/reconcile/{notificationType}` (protocol 7)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import Code
from homeroom.protocol import RANGES_PER_CALL_MAX
from homeroom_server import audience
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.catch_up import must_show, reach
from homeroom_server.endpoints.requests import VERSION_SCHEMA, Faults
from homeroom_server.json_schema import compile_schema
from homeroom_server.reconcile import AskedRange, compare
from homeroom_server.services import Services
from homeroom_server.store import bulk

_BORDER = {"type": ["string", "null"], "pattern": "^[A-Za-z0-9._-]{1,64}$"}
REQUEST: Mapping[str, Any] = {
    "type": "object",
    "required": ["maxCoreVersion", "ranges"],
    "additionalProperties": False,
    "properties": {
        "maxCoreVersion": VERSION_SCHEMA,
        "ranges": {
            "type": "array",
            "minItems": 1,
            "maxItems": RANGES_PER_CALL_MAX,
            "items": {
                "type": "object",
                "required": ["from", "to", "count", "fingerprint"],
                "additionalProperties": False,
                "properties": {
                    "from": _BORDER,
                    "to": _BORDER,
                    "count": VERSION_SCHEMA,
                    "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                },
            },
        },
    },
}
_SCHEMA = compile_schema(REQUEST)


async def reconcile(request: Request) -> Response:
    """Each range: `match`, `split` into smaller ones, or its `records`."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services)
    notification_type, definition = services.catalogue.resolve(request.path_params["notification_type"])
    document = requests.parse_json(await requests.read_body(request, services.settings.body_bytes_max))
    faults = Faults()
    ranges = requests.list_of(services, document, "ranges", RANGES_PER_CALL_MAX)
    faults.check(_SCHEMA, document)
    for index, (before, after) in enumerate(pairwise(ranges)):
        if not (requests.text_of(before, "to") or "~") <= (requests.text_of(after, "from") or ""):
            faults.add(Code.NOT_STRUCTURED, f"/ranges/{index + 1}/from", "ranges ascend and do not overlap")
    faults.raise_if_any()
    asked = [AskedRange(r["from"], r["to"], int(r["count"]), r["fingerprint"]) for r in ranges]
    with services.bulk_readers.admit():
        version = int(document["maxCoreVersion"])
        await reach(services, notification_type, version)
        async with services.bulk_pool.acquire() as connection:
            position = await bulk.read_type_position(connection, notification_type)
            must_show(position, version)  # the node may have begun to read elsewhere
            viewer = audience.viewer(definition, caller)
            answers = await compare(connection, position.type_number or 0, viewer, asked)
    ids = [record["id"] for answer in answers for record in answer.get("records", ())]
    services.client_streams.reconciled(caller, str(notification_type), version, ids)
    return requests.json_response(orjson.dumps({"ranges": answers}), position.epoch)
