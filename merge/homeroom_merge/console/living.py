"""Parts of a page that live: asked for again and again, each time held until there is news."""

import hashlib
from collections.abc import Awaitable, Callable

import anyio
from starlette.requests import Request
from starlette.responses import Response

from homeroom_merge.console.host import Host
from homeroom_merge.console.visit import FeedVisit, for_feed

HELD_SECONDS = 25.0
"""An ask is answered by then, news or none: proxies cut what is silent for longer."""
LOOK_SECONDS = 1.0
WATCHERS_MAX = 200
"""Asks that are held at once; whoever comes beyond them asks again after a pause."""

NOTHING_NEW = 204
Look = Callable[[FeedVisit], Awaitable[Response | None]]
"""What a part shows now; None: just what whoever asks has already (`?after=`, a stamp)."""


class Watching:
    """The asks of one console that are held."""

    def __init__(self) -> None:
        self._held = 0

    def part(self, host: Host, look: Look) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint. Each look is a visit of its own: by a session that holds still, with a connection for it."""

        async def shown(visit: FeedVisit) -> Response:
            return await look(visit) or Response(status_code=NOTHING_NEW, headers={"Cache-Control": "no-store"})

        looking = for_feed(host, shown)

        async def endpoint(request: Request) -> Response:
            if self._held >= WATCHERS_MAX:
                return Response("Too many are watching.", 503, {"Retry-After": "30"}, "text/plain")
            self._held += 1
            try:
                ends_at = anyio.current_time() + HELD_SECONDS
                while (response := await looking(request)).status_code == NOTHING_NEW:
                    if anyio.current_time() + LOOK_SECONDS > ends_at or await request.is_disconnected():
                        break
                    await anyio.sleep(LOOK_SECONDS)
                return response
            finally:
                self._held -= 1

        return endpoint


def stamp_of(shown: object) -> str:
    """By which two states of a part are told apart."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
