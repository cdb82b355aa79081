"""Signing in and out."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from homeroom_merge.console.frame.forms import RefusedFormError, form_of
from homeroom_server import people
from homeroom_server.console.rendering import pages
from homeroom_server.console.visit import COOKIE, Visit, address_of, services_of, to_primary
from homeroom_server.endpoints.requests import retry_after
from homeroom_server.people import SignInRefusedError

HOME = "/console"
"""Which leads everybody to where they begin."""


async def ask(request: Request) -> Response:
    return _page(200, next=_place(request.query_params.get("next", "")), name="", refused="")


async def sign_in(request: Request) -> Response:
    """Where it leads is a place of the console's own."""
    try:
        form = await form_of(request)
    except RefusedFormError:
        return _page(403, next=HOME, name="", refused="That form was not ours: sign in here.")
    name, place = form.get("name", ""), _place(form.get("next", ""))
    try:
        async with to_primary(request).acquire() as connection:
            signed_in = await people.sign_in(connection, name, form.get("password", ""), address_of(request))
    except SignInRefusedError as refused:
        if not refused.wait_minutes:
            return _page(401, next=place, name=name[:100], refused="The name or the password is wrong.")
        said = f"Too many wrong passwords: try again in {refused.wait_minutes} minutes."
        response = _page(429, next=place, name=name[:100], refused=said)
        response.headers.update(retry_after(refused.wait_minutes * 60))
        return response
    response = RedirectResponse(place, 303)
    is_secure = services_of(request).peers.is_secure(request)
    response.set_cookie(COOKIE, signed_in.token, path="/console", secure=is_secure, httponly=True, samesite="lax")
    return response


async def sign_out(visit: Visit) -> Response:
    await visit.form()
    request = visit.request
    async with to_primary(request).acquire() as connection:
        await people.sign_out(connection, request.cookies[COOKIE], visit.session.name, address_of(request))
    response = RedirectResponse("/console/sign-in", 303)
    response.delete_cookie(COOKIE, path="/console")
    return response


def _page(status: int, next: str, name: str, refused: str) -> Response:  # noqa: A002  # as forms call it
    return pages().page("sign_in.html", None, status, next=next, name=name, refused=refused)


def _place(said: str) -> str:
    """Never another site's: `//example.org` is one."""
    return said if said.startswith("/console/") else HOME
