"""The console of a school that runs its own merges: for whoever has the link that it prints, on their own machine."""

import getpass
import ipaddress
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from urllib.parse import urlsplit

import asyncpg
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from homeroom_merge.console.frame.forms import RefusedFormError, our_form_of
from homeroom_merge.console.frame.rendering import Pages, Section, static_routes
from homeroom_merge.console.frame.visiting import Visitor
from homeroom_merge.console.routes import routes
from homeroom_merge.store.connection import Conn

COOKIE = "homeroom_merge_console"
SESSION_HOURS = 12
_HOW = (
    "This console is open to whoever has the link that it printed, once. "
    "Start homeroom-merge console again for another link."
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    form_token: str
    ends_at: float
    """By the clock of `monotonic`."""


class OwnHost:
    """A console of its own (homeroom_merge.console.host.Host). `state_pool`: connections to the state, whose tables
    are there."""

    def __init__(self, database_url: str, state_pool: asyncpg.Pool) -> None:
        self._database_url = database_url
        self._pool = state_pool
        self._link: str | None = secrets.token_urlsafe(32)
        self._session: _Session | None = None

    @property
    def link(self) -> str:
        """Where somebody gets in, once."""
        return f"/console/sign-in?token={self._link}"

    @cached_property
    def pages(self) -> Pages:
        return Pages([Section("merges", "Merges", "/console/merges")], ["homeroom_merge.console"])

    async def visitor(self, request: Request) -> Visitor | Response:
        session = self._session
        if session is None or not _same(request.cookies.get(COOKIE, ""), session.token):
            return self._outside()
        if monotonic() > session.ends_at:
            return self._outside()
        return Visitor(getpass.getuser(), "this machine", session.form_token, may_act=True, organizations=None)

    async def database_url(self) -> str:
        return self._database_url

    @asynccontextmanager
    async def state(self) -> AsyncIterator[Conn | None]:
        async with self._pool.acquire() as connection:
            yield connection

    async def note(self, request: Request, visitor: Visitor, what: str) -> None:
        log.info("console", person=visitor.name, what=what)

    async def sign_in(self, request: Request) -> Response:
        """By the link, which is used up."""
        if self._link is None or not _same(request.query_params.get("token", ""), self._link):
            return self._outside()
        self._link = None
        ends_at = monotonic() + SESSION_HOURS * 3600
        self._session = _Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), ends_at)
        response = RedirectResponse("/console/merges", 303)
        told = {"path": "/console", "max_age": SESSION_HOURS * 3600}
        response.set_cookie(COOKIE, self._session.token, **told, httponly=True, samesite="lax")  # type: ignore[arg-type]
        return response

    async def sign_out(self, request: Request) -> Response:
        visitor = await self.visitor(request)
        if isinstance(visitor, Response):
            return visitor
        try:
            await our_form_of(request, visitor)
        except RefusedFormError:
            text = "Nothing was done. Go back, load the page again, and try once more."
            return self.pages.message(visitor, 403, "That form was not ours", text)
        self._session = None
        return self.pages.message(None, 200, "Signed out", _HOW)

    def _outside(self) -> Response:
        return self.pages.message(None, 401, "You are not signed in", _HOW)


def app_of(host: OwnHost) -> Starlette:
    """Its pages, for browsers of this machine alone."""

    async def home(request: Request) -> Response:
        return RedirectResponse("/console/merges", 303)

    async def nothing(request: Request) -> Response:
        visitor = await host.visitor(request)
        if isinstance(visitor, Response):
            return visitor
        return host.pages.message(visitor, 404, "Not found", "There is no such page in the console.")

    return Starlette(
        routes=[
            Route("/", home),
            Route("/console", home),
            Route("/console/sign-in", host.sign_in),
            Route("/console/sign-out", host.sign_out, methods=["POST"]),
            *static_routes(),
            *routes(host),
            Route("/console/{rest:path}", nothing),
        ],
        middleware=[Middleware(_OnlyHere)],
    )


def is_of_this_machine(name: str) -> bool:
    """Whether a host is this machine by a name that nobody else can give out."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _OnlyHere:
    """A site whose name somebody lets lead to this machine gets nothing: its pages would read ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_of_this_machine(_name_in(Request(scope).headers.get("Host", ""))):
            await PlainTextResponse("This console is reached by the link that it printed.", 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same(said: str, kept: str) -> bool:
    return secrets.compare_digest(said.encode(), kept.encode())
