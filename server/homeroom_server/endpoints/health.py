"""`GET /healthz` and `GET /readyz`: for whoever starts, stops and balances nodes."""

import os

import orjson
from starlette.requests import Request
from starlette.responses import Response

from homeroom_server.endpoints.requests import retry_after
from homeroom_server.services import Services


async def healthz(request: Request) -> Response:
    """200 as long as the process answers."""
    return Response(b'{"status":"alive"}', media_type="application/json")


async def readyz(request: Request) -> Response:
    """200 while this node can read its database and does not drain, else 503 with the reason.

    `troubles`: what did not work of late, such as writes to a database that only reads.
    """
    services: Services = request.app.state.services
    reasons = []
    if services.waiters.draining:
        reasons.append("draining")
    if services.reading.trouble:
        reasons.append(services.reading.trouble)
    elif services.feed.trouble:
        reasons.append(services.feed.trouble)
    body = {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "troubles": services.troubles.of_late,
        "epoch": services.feed.epoch,
        "reads": services.reading.place.name,
        "held": services.waiters.held,
        "pid": os.getpid(),
    }
    headers = retry_after() if reasons else {}
    return Response(orjson.dumps(body), 503 if reasons else 200, headers, media_type="application/json")
