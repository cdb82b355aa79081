"""Forms: what they said, and that they come from a page of ours."""

import secrets
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from homeroom_merge.console.frame.visiting import Visitor

_BYTES_MAX = 65_536
_FIELDS_MAX = 1_000

Form = ImmutableMultiDict[str, str]


class RefusedFormError(Exception):
    """A form that is none of ours."""


async def form_of(request: Request) -> Form:
    """The fields of a form. RefusedFormError: it is too large, is none, or comes from another site."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        raise RefusedFormError
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BYTES_MAX:
            raise RefusedFormError
    try:
        said = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as fault:
        raise RefusedFormError from fault
    return Form([(name, value.replace("\0", "")) for name, value in said])  # which PostgreSQL keeps in no text


async def our_form_of(request: Request, visitor: Visitor) -> Form:
    """The same, of a page that this person was shown. RefusedFormError."""
    form = await form_of(request)
    if not secrets.compare_digest(form.get("form_token", "").encode(), visitor.form_token.encode()):
        raise RefusedFormError
    return form
