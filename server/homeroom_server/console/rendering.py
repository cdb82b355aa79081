"""Pages out of templates, with the headers that keep other sites out of them."""

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ASSET_SECONDS = 3_600


def page(template: str, status: int = 200, /, **told: Any) -> Response:
    """A page of `templates/`."""
    return HTMLResponse(_environment().get_template(template).render(now=datetime.now(UTC), **told), status, _HEADERS)


def asset(name: str, media_type: str) -> Response:
    """A file of `static/`."""
    headers = {**_HEADERS, "Cache-Control": f"public, max-age={_ASSET_SECONDS}"}
    return Response(_static(name), media_type=media_type, headers=headers)


@cache
def _static(name: str) -> bytes:
    return resources.files("homeroom_server.console").joinpath("static", name).read_bytes()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("homeroom_server.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ago"] = ago
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment


def ago(at: datetime, now: datetime) -> str:
    """How long ago, as people say it."""
    past = max(now - at, timedelta())
    for size, word in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if count := past // size:
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"
