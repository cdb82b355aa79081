"""Pages out of templates, in the style of the console; they run no scripts and need nothing from elsewhere."""

from functools import cache
from importlib import resources
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

_SECONDS = 300
"""For which a browser may keep a page."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'none'; frame-ancestors 'none'; base-uri "
        "'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": f"public, max-age={_SECONDS}",
}
_STYLES = {"console.css": "homeroom_merge.console.frame", "reference.css": "homeroom_server.reference"}


def page(template: str, **told: Any) -> str:
    """One of `templates/`."""
    return _environment().get_template(template).render(**told)


def response(content: str | bytes, media_type: str = "text/html", status: int = 200) -> Response:
    return Response(content, status, _HEADERS, media_type)


def style(name: str) -> bytes | None:
    """A style sheet; None: there is none of this name."""
    return _style(name) if name in _STYLES else None


@cache
def _style(name: str) -> bytes:
    return resources.files(_STYLES[name]).joinpath("static", name).read_bytes()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("homeroom_server.reference"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_json"] = lambda value: orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return environment
