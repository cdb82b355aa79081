"""`GET /healthz` and `GET /readyz`: for whoever starts, stops and balances nodes."""

import os

import orjson
from starlette.requests import Request
from starlette.responses import Response

from homeroom_server.services import Services


async def healthz(request: Request) -> Response:
    """200 as long as the process answers."""
    return Response(b'{"status":"alive"}', media_type="application/json")


async def readyz(request: Request) -> Response:
    """200 while this node reaches its database and does not drain, else 503 with the reason."""
    services: Services = request.app.state.services
    reasons = []
    if services.waiters.draining:
        reasons.append("draining")
    if services.reading.trouble:
        reasons.append(services.reading.trouble)
    elif not services.feed.alive:
        reasons.append("the database cannot be reached")
    body = {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "epoch": services.feed.epoch,
        "reads": services.reading.place.name,
        "held": services.waiters.held,
        "pid": os.getpid(),
    }
    return Response(orjson.dumps(body), 503 if reasons else 200, media_type="application/json")
