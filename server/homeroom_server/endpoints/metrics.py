"""`GET /metrics`: for Prometheus, and for nobody from elsewhere."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from homeroom_server.metrics import told
from homeroom_server.peers import is_within, networks
from homeroom_server.services import Services


async def metrics(request: Request) -> Response:
    """Of this node, so of the worker that the connection reached; for others than `metrics_networks` there is none."""
    services: Services = request.app.state.services
    address = services.peers.address(request)
    if not address or not is_within(address, networks(services.settings.metrics_networks)):
        raise HTTPException(404)
    return Response(told(services), media_type=CONTENT_TYPE_LATEST)
