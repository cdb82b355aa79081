"""Pages about merges whose state is in the Core's database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response

from homeroom_merge.console.frame.rendering import Pages
from homeroom_merge.console.frame.visiting import Visitor
from homeroom_merge.store import place
from homeroom_merge.store.connection import Conn
from homeroom_server import people
from homeroom_server.console.rendering import pages
from homeroom_server.console.visit import address_of, session_of, to_primary, to_sign_in, visitor_of
from homeroom_server.services import Services


class CoreHost:
    """A Core that hosts merges (homeroom_merge.console.host.Host)."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._is_complete = False

    @property
    def pages(self) -> Pages:
        return pages()

    async def visitor(self, request: Request) -> Visitor | Response:
        session = await session_of(request)
        return to_sign_in(request) if session is None else visitor_of(request, session)

    async def database_url(self) -> str:
        return await self._services.primary.find()

    @asynccontextmanager
    async def state(self) -> AsyncIterator[Conn | None]:
        async with self._services.merges_pool.acquire() as connection:
            if not self._is_complete:
                self._is_complete = await place.completed(connection)
            yield connection if self._is_complete else None

    async def note(self, request: Request, visitor: Visitor, what: str) -> None:
        async with to_primary(request).acquire() as connection:
            await people.note(connection, visitor.name, address_of(request), what)
