"""`GET /openapi.json`."""

from datetime import datetime

import orjson
from starlette.requests import Request
from starlette.responses import Response

from homeroom_server.openapi.document import document
from homeroom_server.services import Services


async def openapi(request: Request) -> Response:
    """The interface with this node's catalogue."""
    services: Services = request.app.state.services
    this_year = datetime.now(services.time_zone).year
    return Response(orjson.dumps(document(services.catalogue, this_year)), media_type="application/json")
