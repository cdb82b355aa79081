"""Errors as `application/problem+json` (RFC 9457): the one place where an exception becomes an answer."""

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from homeroom.errors import Code, HomeroomError, error
from homeroom_server.endpoints.requests import CLIENT, retry_after, said_service
from homeroom_server.peers import request_id_of
from homeroom_server.services import Services

_FAULTS_SHOWN_MAX = 1_000
CODE = "homeroom.code"
"""In a request's scope: the code of the problem that was its answer."""
DATABASE_AWAY = "the database cannot be reached, or did not do in time what was asked; try again"

log = structlog.get_logger()


def problem_response(failure: HomeroomError, epoch: str) -> Response:
    """The answer for an error of the tree; 429 and 503 carry a jittered Retry-After."""
    document = {
        "type": f"urn:homeroom:problem:{failure.code.value}",
        "status": failure.status,
        "code": failure.code.value,
        "title": failure.title,
        "detail": failure.detail,
        "action": failure.action,
        "errors": [{"pointer": f.pointer, "detail": f.detail} for f in failure.errors[:_FAULTS_SHOWN_MAX]],
    }
    headers = {"Homeroom-Epoch": epoch} if epoch else {}
    if failure.status in (429, 503):
        headers |= retry_after()
    if failure.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(document), failure.status, headers, "application/problem+json")


async def on_homeroom_error(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, HomeroomError)
    services: Services = request.app.state.services
    request.scope[CODE] = failure.code.value
    client = request.scope.get(CLIENT)
    if client is not None:
        services.client_traffic.refused(client, failure.code)
    return problem_response(failure, services.feed.epoch)


async def on_database_away(request: Request, failure: Exception) -> Response:
    services: Services = request.app.state.services
    advice = services.troubles.met(failure)
    log.warning("the database is away", kind=type(failure).__name__, reason=advice, **_named(request))
    return problem_response(error(Code.CORE_NOT_AVAILABLE, DATABASE_AWAY), services.feed.epoch)


async def on_memory_error(request: Request, failure: Exception) -> Response:
    """What the call had taken is free again by now."""
    log.error("out of memory", **_named(request))
    scarce = error(Code.CORE_NOT_AVAILABLE, "this node is short of memory; try again, with less at once")
    return problem_response(scarce, request.app.state.services.feed.epoch)


def on_fault(request: Request) -> Response:
    """Our own mistake, which is being handled; its answer says no more than by what name the log tells of it."""
    log.exception("a call failed", **_named(request))
    return PlainTextResponse("Internal Server Error", 500)


def _named(request: Request) -> dict[str, str]:
    """Which call it was. Not its path: that of a page may name a student."""
    return {"service": said_service(request.scope), "request_id": request_id_of(request.scope)}
