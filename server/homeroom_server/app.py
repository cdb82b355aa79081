"""The ASGI application: routes to endpoints, errors to problems."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from homeroom.errors import HomeroomError
from homeroom_server import problems
from homeroom_server.catalogue import Catalogue
from homeroom_server.console.routes import routes
from homeroom_server.endpoints.acknowledge import acknowledge
from homeroom_server.endpoints.get import get
from homeroom_server.endpoints.health import healthz, readyz
from homeroom_server.endpoints.hello import hello, notification_types
from homeroom_server.endpoints.is_data_available import is_data_available
from homeroom_server.endpoints.metrics import metrics
from homeroom_server.endpoints.parked import Parked
from homeroom_server.endpoints.reconcile import reconcile
from homeroom_server.endpoints.requests import said_service, service_of
from homeroom_server.endpoints.snapshot import snapshot
from homeroom_server.endpoints.submit import submit
from homeroom_server.openapi.answering import openapi
from homeroom_server.peers import REQUEST_ID, REQUEST_ID_HEADER
from homeroom_server.reference.pages import Reference
from homeroom_server.services import Services
from homeroom_server.store.connection import AWAY
from homeroom_server.tracing.spans import SPAN, Facts

Endpoint = Callable[[Request], Awaitable[Response]]

_BUSY = {"/v1/is-data-available": is_data_available}
_BUSY_OF_A_TYPE = {"/v1/get": get, "/v1/submit": submit}
"""Services with thousands of calls a second, by what stands before the type's name."""


class _Application(Starlette):
    """Starlette, spared the busy services: the layers around its routes take as long as some of our answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services: Services = self.state.services
        request = Request(scope, receive)
        scope[REQUEST_ID] = services.peers.request_id(request)
        endpoint = _busy_endpoint(scope)
        with services.traces.span("call") as scope[SPAN]:
            if endpoint is None:
                await self._call_counted(request, send)
            else:
                await self._call_busy(endpoint, request, send)

    async def _call_busy(self, endpoint: Endpoint, request: Request, send: Send) -> None:
        scope, services = request.scope, self.state.services
        scope["app"], scope["endpoint"] = self, endpoint
        fault: Exception | None = None
        try:
            response = await endpoint(request)
        except HomeroomError as failure:
            response = await problems.on_homeroom_error(request, failure)
        except AWAY as failure:
            response = await problems.on_database_away(request, failure)
        except MemoryError as failure:
            response = await problems.on_memory_error(request, failure)
        except Exception as failure:
            response, fault = problems.on_fault(request), failure
        finally:
            services.bodies.let_go(scope)
        if not isinstance(response, Parked):  # which is counted when it is answered, in bytes that many share
            self._count(scope, response.status_code)
            response.raw_headers.append((REQUEST_ID_HEADER, scope[REQUEST_ID]))
        elif scope[SPAN].is_sent:
            scope[SPAN].note(said_service(scope), {"homeroom.held": True})
        await response(scope, request.receive, send)
        if fault is not None:
            raise fault

    async def _call_counted(self, request: Request, send: Send) -> None:
        scope, status = request.scope, 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, scope[REQUEST_ID])]
            await send(message)

        try:
            await super().__call__(scope, request.receive, noting)
        except Exception:  # which Starlette has answered
            problems.on_fault(request)
            raise
        finally:
            self.state.services.bodies.let_go(scope)
            self._count(scope, status)

    def _count(self, scope: Scope, status: int) -> None:
        service, span = service_of(scope), scope[SPAN]
        self.state.services.tally.answers[service, status // 100] += 1
        if span.is_sent:
            span.note(said_service(scope), _facts(scope, self.state.services.catalogue, status))


def _facts(scope: Scope, catalogue: Catalogue, status: int) -> Facts:
    """Of a call: what it came to, and the type where the catalogue has it; a path says whatever its caller wrote."""
    facts: dict[str, str | int | bool] = {"http.response.status_code": status}
    if problems.CODE in scope:
        facts["homeroom.code"] = scope[problems.CODE]
    found = catalogue.find(scope.get("path_params", {}).get("notification_type", ""))
    return facts if isinstance(found, HomeroomError) else {**facts, "homeroom.type": str(found[0])}


def _busy_endpoint(scope: Scope) -> Endpoint | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    head, _, name = scope["path"].rpartition("/")
    if name and head in _BUSY_OF_A_TYPE:
        scope["path_params"] = {"notification_type": name}
        return _BUSY_OF_A_TYPE[head]
    return _BUSY.get(scope["path"])


def create_app(services: Services) -> Starlette:
    """The application over services that the caller opens and closes."""
    app = _Application(
        routes=[
            Route("/v1/is-data-available", is_data_available, methods=["POST"]),
            Route("/v1/get/{notification_type}", get, methods=["POST"]),
            Route("/v1/submit/{notification_type}", submit, methods=["POST"]),
            Route("/v1/acknowledge/{notification_type}", acknowledge, methods=["POST"]),
            Route("/v1/snapshot/{notification_type}", snapshot),
            Route("/v1/reconcile/{notification_type}", reconcile, methods=["POST"]),
            Route("/v1/hello", hello),
            Route("/v1/notification-types", notification_types),
            Route("/openapi.json", openapi),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *Reference(services).routes(),
            *routes(services),
        ],
        exception_handlers={
            HomeroomError: problems.on_homeroom_error,
            HTTPException: _on_http_error,
            **dict.fromkeys(AWAY, problems.on_database_away),
            MemoryError: problems.on_memory_error,
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
