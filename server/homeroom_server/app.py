"""The ASGI application: routes to endpoints, errors to problems."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from homeroom.errors import HomeroomError
from homeroom_server import problems
from homeroom_server.endpoints.acknowledge import acknowledge
from homeroom_server.endpoints.get import get
from homeroom_server.endpoints.health import healthz, readyz
from homeroom_server.endpoints.hello import hello, notification_types
from homeroom_server.endpoints.is_data_available import is_data_available
from homeroom_server.endpoints.reconcile import reconcile
from homeroom_server.endpoints.snapshot import snapshot
from homeroom_server.endpoints.submit import submit
from homeroom_server.services import Services


def create_app(services: Services) -> Starlette:
    """The application over services that the caller opens and closes."""
    app = Starlette(
        routes=[
            Route("/v1/is-data-available", is_data_available, methods=["POST"]),
            Route("/v1/get/{notification_type}", get, methods=["POST"]),
            Route("/v1/submit/{notification_type}", submit, methods=["POST"]),
            Route("/v1/acknowledge/{notification_type}", acknowledge, methods=["POST"]),
            Route("/v1/snapshot/{notification_type}", snapshot),
            Route("/v1/reconcile/{notification_type}", reconcile, methods=["POST"]),
            Route("/v1/hello", hello),
            Route("/v1/notification-types", notification_types),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        exception_handlers={
            HomeroomError: problems.on_homeroom_error,
            HTTPException: _on_http_error,
            **dict.fromkeys(problems.DATABASE_AWAY, problems.on_database_away),
        },
    )
    app.state.services = services
    return app


async def _on_http_error(request: Request, failure: Exception) -> Response:
    """No such path or method: outside the protocol, so without one of its codes."""
    assert isinstance(failure, HTTPException)
    document = {
        "type": "about:blank",
        "status": failure.status_code,
        "title": failure.detail,
        "action": "fix",
    }
    return JSONResponse(document, failure.status_code, failure.headers, "application/problem+json")
