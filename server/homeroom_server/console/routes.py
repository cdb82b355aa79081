"""What there is at /console."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from homeroom_merge.console.frame.rendering import static_routes
from homeroom_merge.console.routes import routes as merges_routes
from homeroom_server.console import signing_in
from homeroom_server.console.clients import clients
from homeroom_server.console.merges import CoreHost
from homeroom_server.console.record import record
from homeroom_server.console.records import records
from homeroom_server.console.visit import Visit, for_people
from homeroom_server.services import Services


async def _home(request: Request) -> Response:
    return RedirectResponse(signing_in.HOME, 303)


async def _nothing(visit: Visit) -> Response:
    return visit.not_found("There is no such page in the console.")


def routes(services: Services) -> list[Route]:
    """All of them; the last takes what is none of the others."""
    return [
        Route("/console", _home),
        Route("/console/sign-in", signing_in.ask),
        Route("/console/sign-in", signing_in.sign_in, methods=["POST"]),
        Route("/console/sign-out", for_people(signing_in.sign_out), methods=["POST"]),
        Route("/console/clients", for_people(clients)),
        Route("/console/records", for_people(records)),
        Route("/console/records/{type}", for_people(record)),
        Route("/console/records/{type}/{id}", for_people(record)),
        *static_routes(),
        *merges_routes(CoreHost(services)),
        Route("/console/{rest:path}", for_people(_nothing)),
    ]
