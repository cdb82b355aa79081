"""Holding a request for two kilobytes: its connection waits alone, the task ends (architecture, "Parking")."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from homeroom_server.held.waiters import Held, Outlet

PARK_EXTENSION = "homeroom.park"
"""The ASGI extension: its `park` takes a `Held` and gives its `Outlet`, or None if this request cannot be parked."""


def parked(request: Request, held: Held) -> Outlet | None:
    """Where the answer goes from now on; None if this request, or any on this server, has to wait in its task."""
    extension = request.scope.get("extensions", {}).get(PARK_EXTENSION)
    outlet: Outlet | None = None if extension is None else extension["park"](held)
    return outlet


class Parked(Response):
    """Sends nothing: the parked connection answers later."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the connection alone."""
