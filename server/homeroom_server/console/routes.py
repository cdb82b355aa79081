"""What there is at /console."""

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from homeroom_merge.console.frame.rendering import static_routes
from homeroom_merge.console.routes import routes as merges_routes
from homeroom_server.console import signing_in
from homeroom_server.console.client import client
from homeroom_server.console.clients import clients
from homeroom_server.console.merges import CoreHost
from homeroom_server.console.now import Now
from homeroom_server.console.record import record
from homeroom_server.console.records import records
from homeroom_server.console.visit import Visit, for_people
from homeroom_server.services import Services


async def _home(visit: Visit) -> Response:
    return RedirectResponse("/console/now" if visit.visitor.organizations is None else "/console/clients", 303)


async def _nothing(visit: Visit) -> Response:
    return visit.nothing()


def routes(services: Services) -> list[Route]:
    """All of them; the last takes what is none of the others."""
    now = Now(services)
    return [
        Route("/console", for_people(_home)),
        Route("/console/sign-in", signing_in.ask),
        Route("/console/sign-in", signing_in.sign_in, methods=["POST"]),
        Route("/console/sign-out", for_people(signing_in.sign_out), methods=["POST"]),
        Route("/console/now", for_people(now.page)),
        Route("/console/now/next", for_people(now.next)),
        Route("/console/clients", for_people(clients)),
        Route("/console/clients/{client:path}", for_people(client)),
        Route("/console/records", for_people(records)),
        Route("/console/records/{type}", for_people(record)),
        Route("/console/records/{type}/{id}", for_people(record)),
        *static_routes(),
        *merges_routes(CoreHost(services)),
        Route("/console/{rest:path}", for_people(_nothing)),
    ]
