"""What there is at /console."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from homeroom_server.console import signing_in
from homeroom_server.console.clients import clients
from homeroom_server.console.rendering import asset
from homeroom_server.console.visit import for_people


async def _home(request: Request) -> Response:
    return RedirectResponse("/console/clients", 303)


async def _style(request: Request) -> Response:
    return asset("console.css", "text/css")


ROUTES = [
    Route("/console", _home),
    Route("/console/sign-in", signing_in.ask),
    Route("/console/sign-in", signing_in.sign_in, methods=["POST"]),
    Route("/console/sign-out", for_people(signing_in.sign_out), methods=["POST"]),
    Route("/console/clients", for_people(clients)),
    Route("/console/static/console.css", _style),
]
