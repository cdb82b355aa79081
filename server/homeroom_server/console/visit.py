"""Who visits: the session behind a request, and that a form comes from a page of ours."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from homeroom_server import people
from homeroom_server.console.rendering import page
from homeroom_server.people import PersonRole
from homeroom_server.services import Services
from homeroom_server.store.people import SessionRow

COOKIE = "homeroom_console"
_FORM_BYTES_MAX = 65_536
_FIELDS_MAX = 100


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
        return None if self.session.role == PersonRole.OPERATOR else list(self.session.scope)


class RefusedFormError(Exception):
    """A form that is none of ours."""


Shown = Callable[[Visit], Awaitable[Response]]


def for_people(shown: Shown) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for whoever is signed in; others are shown where to."""

    async def endpoint(request: Request) -> Response:
        token = request.cookies.get(COOKIE, "")
        async with services_of(request).reading.connections_to_primary("usual").acquire() as connection:
            session = await people.signed_in(connection, token) if token else None
        if session is None:
            return RedirectResponse(f"/console/sign-in?next={quote(request.url.path)}", 303)
        try:
            return await shown(Visit(request, session))
        except RefusedFormError:
            return page("refused.html", 403, session=session)

    return endpoint


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form. RefusedFormError: it is too large, is none, or comes from another site."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        raise RefusedFormError
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES_MAX:
            raise RefusedFormError
    try:
        said = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as fault:
        raise RefusedFormError from fault
    return {name: values[0].replace("\0", "") for name, values in said.items()}  # which PostgreSQL keeps in no text


async def our_form_of(visit: Visit) -> dict[str, str]:
    """The same, of a page that this person was shown. RefusedFormError."""
    form = await form_of(visit.request)
    if not secrets.compare_digest(form.get("form_token", "").encode(), visit.session.form_token.encode()):
        raise RefusedFormError
    return form


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def address_of(request: Request) -> str:
    return request.client.host if request.client is not None else ""
