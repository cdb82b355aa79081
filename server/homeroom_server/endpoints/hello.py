"""`GET /v1/hello` and `GET /v1/notification-types` (protocol 7)."""

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from homeroom_server.catalogue import TypeDefinition
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.get import utc_text
from homeroom_server.services import Services


async def hello(request: Request) -> Response:
    """The cheapest authenticated call: who calls, for whom, and where the Core stands."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services)
    represented = services.directory.represented(caller)
    answer = {
        "client": caller.client_name,
        "role": caller.role.value,
        "organization": caller.organization.code,
        "organizations": [{"code": row.code, "name": row.name} for row in represented],
        "epoch": services.feed.epoch,
        "serverTime": utc_text(datetime.now(UTC)),
    }
    return requests.json_response(orjson.dumps(answer), services.feed.epoch)


async def notification_types(request: Request) -> Response:
    """The catalogue, with schemas."""
    services: Services = request.app.state.services
    await requests.authenticate(request, services)
    types = [_type_as_json(definition) for definition in services.catalogue.types.values()]
    return requests.json_response(orjson.dumps({"notificationTypes": types}), services.feed.epoch)


def _type_as_json(definition: TypeDefinition) -> dict[str, Any]:
    members: dict[str, Any] = {
        "name": definition.name,
        "schoolYear": definition.school_year.value,
        "idFormat": definition.id_format,
        "audience": definition.audience.value,
    }
    if definition.source is not None:
        members["source"] = definition.source
    if definition.student is not None:
        members["student"] = definition.student
    if definition.schema is not None:
        members["schema"] = definition.schema
    return members
