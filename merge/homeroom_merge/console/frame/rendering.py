"""Pages out of templates, with the headers that keep other sites out of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, partial
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from homeroom_merge.console.frame.visiting import Visitor

_FRAME = "homeroom_merge.console.frame"
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
_MEDIA_TYPES = {"console.css": "text/css", "living.js": "text/javascript"}


@dataclass(frozen=True, slots=True)
class Section:
    """What the bar atop every page leads to; a page says `here` to be one of it.

    `of_all`: it is about everything, and led to for those who may see all organisations.
    """

    here: str
    title: str
    path: str
    of_all: bool = False


class Pages:
    """A console's pages: templates of some packages, in a frame with these sections."""

    def __init__(self, sections: Sequence[Section], packages: Sequence[str]) -> None:
        self.sections = sections
        self._packages = packages

    def page(self, template: str, visitor: Visitor | None, status: int = 200, /, **told: Any) -> Response:
        """A page of one of the packages' `templates/`; None: nobody is signed in."""
        rendered = self._environment.get_template(template).render(
            now=datetime.now(UTC), visitor=visitor, sections=self.sections, **told
        )
        return HTMLResponse(rendered, status, _HEADERS)

    def message(self, visitor: Visitor | None, status: int, title: str, text: str) -> Response:
        """A page that says why there is nothing else to see."""
        return self.page("message.html", visitor, status, title=title, text=text)

    @cached_property
    def _environment(self) -> Environment:
        environment = Environment(
            loader=ChoiceLoader([PackageLoader(package) for package in (*self._packages, _FRAME)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["ago"] = ago
        environment.filters["number"] = lambda value: f"{value:,}"
        environment.filters["in_path"] = lambda text: quote(text, safe="")
        return environment


def static_routes() -> list[Route]:
    """Where pages find their style and their script."""
    return [Route(f"/console/static/{name}", partial(_asset, name)) for name in _MEDIA_TYPES]


async def _asset(name: str, request: Request) -> Response:
    headers = {**_HEADERS, "Cache-Control": f"public, max-age={_ASSET_SECONDS}"}
    return Response(_static(name), media_type=_MEDIA_TYPES[name], headers=headers)


@cache
def _static(name: str) -> bytes:
    return resources.files(_FRAME).joinpath("static", name).read_bytes()


def ago(at: datetime, now: datetime) -> str:
    """How long ago, as people say it."""
    past = max(now - at, timedelta())
    for size, word in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if count := past // size:
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"
