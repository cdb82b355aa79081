"""Holding a request for two kilobytes: its connection waits alone, the task ends (architecture, "Parking")."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PARK_EXTENSION = "homeroom.park"
"""The ASGI extension: its `park` takes a `Held` and gives its `Outlet`, or None if this request cannot be parked."""


class Parked(Response):
    """Sends nothing: the parked connection answers later."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the connection alone."""
