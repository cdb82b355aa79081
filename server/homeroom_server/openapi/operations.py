"""A service as OpenAPI has it: its parameters, its answers and its problems, with examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeroom.errors import MEANINGS, Code
from homeroom.protocol import ORGANIZATION_CODE
from homeroom_server.openapi.advice import ADVICE
from homeroom_server.openapi.links import LINKS
from homeroom_server.openapi.offered import Service
from homeroom_server.openapi.shape import named
from homeroom_server.openapi.words import REQUESTS, described

Json = dict[str, Any]

_HEADERS_OF: Mapping[str, Sequence[str]] = {"401": ["WWW-Authenticate"], "429": ["Retry-After"], "503": ["Retry-After"]}
_ORGANIZATION: Json = {
    "name": "Organization",
    "in": "header",
    "description": "For whom the client acts: one of those that hello lists. It may be left out by a client that is "
    "registered for one.",
    "schema": {"type": "string", "pattern": f"^(?:{ORGANIZATION_CODE.pattern})$"},
    "examples": {"school": {"value": "S.0982"}, "authority": {"value": "A.3020"}},
}


def operation(service: Service, asked: Json | None, answered: Json) -> Json:
    """The service as OpenAPI has it. `asked`, `answered`: examples by name."""
    found: Json = {
        "operationId": service.name,
        "tags": [service.tag],
        "summary": service.summary,
        "description": service.description,
        "parameters": [_ORGANIZATION, *service.more],
        "responses": {"200": _done(service, answered), **_problems(service.codes), **_REFUSALS},
    }
    if service.name in LINKS:
        found["responses"]["200"]["links"] = LINKS[service.name]
    if service.request is not None:
        schema = described(service.request, REQUESTS[service.name])
        found["requestBody"] = {
            "required": True,
            "description": "JSON. It may come with Content-Encoding: gzip or zstd; limits count inflated.",
            "content": {"application/json": {"schema": schema, "examples": asked}},
        }
    return found


def _done(service: Service, answered: Json) -> Json:
    schema = named(service.answer)
    if service.media_type != "application/json":
        schema = {"type": "string", "description": "Lines of JSON, each as x-line says.", "x-line": schema}
    return {
        "description": "Done.",
        "headers": _headers("Homeroom-Epoch"),
        "content": {service.media_type: {"schema": schema, "examples": answered}},
    }


def _problems(codes: Sequence[Code]) -> Json:
    """By status, what may go wrong, each code with its meaning and an example."""
    by_status: dict[str, list[Code]] = {}
    for code in sorted(codes):
        by_status.setdefault(str(MEANINGS[code].status), []).append(code)
    return {status: _problem(status, by_status[status]) for status in sorted(by_status)}


def _problem(status: str, codes: Sequence[Code]) -> Json:
    said = "\n".join(f"- {code.value} {MEANINGS[code].title}. {ADVICE[code].what_to_do}" for code in codes)
    just_these = {"properties": {"code": {"enum": [code.value for code in codes], "description": "One of these."}}}
    schema = {"description": "The problem.", "allOf": [named("Problem"), just_these]}
    examples = {str(code.value): {"$ref": f"#/components/examples/{code.value}"} for code in codes}
    return {
        "description": said,
        "headers": _headers("Homeroom-Epoch", *_HEADERS_OF.get(status, ())),
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    }


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def refused(status: int, title: str, detail: str, action: str) -> Json:
    """What is answered to something that is no call of the protocol."""
    value = {"type": "about:blank", "status": status, "title": title, "detail": detail, "action": action}
    media_type = {"schema": named("Refusal"), "examples": {"refused": {"summary": title, "value": value}}}
    return {"description": f"{title}.", "content": {"application/problem+json": media_type}}


_REFUSALS: Mapping[str, Json] = {
    "408": refused(
        408, "The request was not whole in time", "send its body within 60 seconds (body_seconds_max)", "retry"
    ),
    "431": refused(431, "The headers are too large", "send less than 16384 bytes of headers (header_bytes_max)", "fix"),
}
