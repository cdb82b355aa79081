"""The console that shows pages about merges: a Core's, or a school's own."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from homeroom_merge.console.frame.rendering import Pages
from homeroom_merge.console.frame.visiting import Visitor
from homeroom_merge.store.connection import Conn


class Host(Protocol):
    """Who signs people in, and where the state of merges is."""

    @property
    def pages(self) -> Pages:
        """With the templates of `homeroom_merge.console` among its packages."""

    async def visitor(self, request: Request) -> Visitor | Response:
        """Who is signed in; a response: nobody, and this shows where to."""

    async def database_url(self) -> str:
        """Of the database with the state and the queue."""

    def state(self) -> AbstractAsyncContextManager[Conn | None]:
        """A connection to the state with its tables and the queue's; None: no merges are hosted here."""

    async def note(self, request: Request, visitor: Visitor, what: str) -> None:
        """What somebody did, kept for good."""
