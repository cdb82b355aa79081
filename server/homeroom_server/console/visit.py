"""Who visits: the session behind a request, and what its person may see."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from homeroom_merge.console.frame.forms import Form, RefusedFormError, our_form_of
from homeroom_merge.console.frame.visiting import Visitor
from homeroom_server import people
from homeroom_server.console.rendering import pages
from homeroom_server.endpoints.requests import retry_after
from homeroom_server.people import PersonRole
from homeroom_server.reading import Connections
from homeroom_server.services import Services
from homeroom_server.store.connection import AWAY
from homeroom_server.store.people import SessionRow

COOKIE = "homeroom_console"
_LIVING = "X-Living"
"""Said by a page that asks for its next state by itself: nobody uses it by that."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is signed in, and what they ask for."""

    request: Request
    session: SessionRow

    @property
    def services(self) -> Services:
        return services_of(self.request)

    @property
    def scope(self) -> list[int] | None:
        """The organizations that they see, with those below; None: all."""
        return None if self.visitor.organizations is None else list(self.session.scope)

    @property
    def visitor(self) -> Visitor:
        return visitor_of(self.request, self.session)

    def page(self, template: str, status: int = 200, /, **told: Any) -> Response:
        """A page for them."""
        return pages().page(template, self.visitor, status, **told)

    def not_found(self, text: str) -> Response:
        """What there is not, and what they may not see: nobody can tell which."""
        return pages().message(self.visitor, 404, "Not found", text)

    def nothing(self) -> Response:
        """Where the console has no page, or none for them."""
        return self.not_found("There is no such page in the console.")

    async def form(self) -> Form:
        """The form that they sent. RefusedFormError."""
        return await our_form_of(self.request, self.visitor)

    async def note(self, what: str) -> None:
        """What they did or looked at, kept for good."""
        async with to_primary(self.request).acquire() as connection:
            await people.note(connection, self.session.name, address_of(self.request), what)


Shown = Callable[[Visit], Awaitable[Response]]


def for_people(shown: Shown) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for whoever is signed in; others are shown where to."""

    async def endpoint(request: Request) -> Response:
        try:
            session = await session_of(request)
            if session is None:
                return to_sign_in(request)
            return await shown(Visit(request, session))
        except AWAY as failure:
            services_of(request).troubles.met(failure)
            text = "The database cannot be reached or is too slow at the moment. Try again soon; nothing was changed."
            response = pages().message(None, 503, "The database is away", text)
            response.headers.update(retry_after())
            return response
        except RefusedFormError:
            text = "Nothing was done. Go back, load the page again, and try once more."
            return pages().message(None, 403, "That form was not ours", text)

    return endpoint


async def session_of(request: Request) -> SessionRow | None:
    """Who is signed in there; None: nobody."""
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None
    async with to_primary(request).acquire() as connection:
        return await people.signed_in(connection, token, is_use=_LIVING not in request.headers)


def to_sign_in(request: Request) -> Response:
    """Where they sign in, and come back from."""
    return RedirectResponse(f"/console/sign-in?next={quote(request.url.path)}", 303)


def visitor_of(request: Request, session: SessionRow) -> Visitor:
    """The person of a session, as pages know them."""
    is_operator = session.role == PersonRole.OPERATOR
    seen = None if is_operator else services_of(request).directory.codes_below(session.scope)
    may_act = session.role != PersonRole.VIEWER
    return Visitor(session.name, session.role, session.form_token, may_act, seen)


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def to_primary(request: Request) -> Connections:
    """Where accounts and sessions are; no herd of clients stands before people."""
    return services_of(request).reading.connections_to_primary("console")


def address_of(request: Request) -> str:
    """From which they come."""
    return services_of(request).peers.address(request)
