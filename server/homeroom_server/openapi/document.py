"""The document: every service, with schemas and examples of this node's catalogue."""

from collections.abc import Mapping
from typing import Any

from homeroom.errors import Code
from homeroom_server.catalogue import Catalogue
from homeroom_server.openapi import examples, offered
from homeroom_server.openapi.advice import problem_examples
from homeroom_server.openapi.answers import SCHEMAS
from homeroom_server.openapi.kinds import body_schemas, in_path, sample
from homeroom_server.openapi.offered import RUN, TAGS, Service
from homeroom_server.openapi.operations import operation, refused
from homeroom_server.openapi.shape import named

Json = dict[str, Any]

_ABOUT = """\
One live, shared view of student records: what has changed, the records, and changes of them.

Every call of the protocol carries `Authorization: Bearer <key>`; the operator of the Core hands out keys.
`Organization` says for whom a client acts. Every answer carries `Homeroom-Epoch`. What is refused says in `action` what
to do: `fix`, `retry`, `resync` or `stop`.

The same as pages, with programs in three languages, is at `/docs`.
"""
_HEADERS: Mapping[str, Json] = {
    "Homeroom-Epoch": {
        "description": "Names one history of the Core's database. If it differs from the answer before, ask again "
        "with the version hash: the Core was restored, and what it holds may differ.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the same call is made again; there is chance in it, so that clients do "
        "not come back in step.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {"description": "Always Bearer: send an API key.", "schema": {"type": "string"}},
}


def document(catalogue: Catalogue, school_year: int) -> Json:
    """The interface of a Core with this catalogue; `school_year`: one that is open, for the names of types."""
    record = sample(catalogue, school_year)
    assert record is not None, "a catalogue names at least one type"
    status = sample(catalogue, school_year, is_status=True)
    asked, answered = examples.requests(record, status), examples.answers(record, status)

    def said(service: Service) -> Json:
        return operation(service, asked.get(service.name), answered[service.name])

    any_type, status_type = in_path(catalogue, school_year), in_path(catalogue, school_year, is_status=True)
    source_type = in_path(catalogue, school_year, is_status=False)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "homeroom",
            "version": "1",
            "summary": "One live, shared view of student records.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The Core that this was asked of."}],
        "tags": [{"name": name, "description": words} for name, words in TAGS.items()],
        "security": [{"key": []}],
        "paths": {
            "/v1/hello": {"get": said(offered.HELLO)},
            "/v1/notification-types": {"get": said(offered.NOTIFICATION_TYPES)},
            "/v1/snapshot/{notificationType}": {"parameters": [any_type], "get": said(offered.SNAPSHOT)},
            "/v1/is-data-available": {"post": said(offered.IS_DATA_AVAILABLE)},
            "/v1/get/{notificationType}": {"parameters": [any_type], "post": said(offered.GET)},
            "/v1/submit/{notificationType}": {"parameters": [source_type], "post": said(offered.SUBMIT)},
            "/v1/acknowledge/{notificationType}": {"parameters": [status_type], "post": said(offered.ACKNOWLEDGE)},
            "/v1/reconcile/{notificationType}": {"parameters": [any_type], "post": said(offered.RECONCILE)},
            "/healthz": {"get": _probe("healthz", "Whether the process answers", "Liveness", answered)},
            "/readyz": {"get": _readyz(answered)},
            "/metrics": {"get": _metrics(answered)},
        },
        "components": {
            "schemas": {**SCHEMAS, **body_schemas(catalogue)},
            "headers": dict(_HEADERS),
            "examples": problem_examples(Code),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The API key of a client, as the operator handed it out.",
                }
            },
        },
    }


def _probe(name: str, summary: str, answer: str, answered: Mapping[str, Json]) -> Json:
    media_type = {"schema": named(answer), "examples": answered[name]}
    return {
        "operationId": name,
        "tags": [RUN],
        "summary": summary,
        "description": "It takes no key and asks for nothing.",
        "security": [],
        "responses": {"200": {"description": "Yes.", "content": {"application/json": media_type}}},
    }


def _readyz(answered: Mapping[str, Json]) -> Json:
    found = _probe("readyz", "Whether this node takes calls", "Readiness", answered)
    not_ready = {"summary": "It drains", "value": examples.readiness("not ready", "draining")}
    found["responses"]["503"] = {
        "description": "Not now: it drains, or cannot read its database. A balancer sends calls elsewhere.",
        "headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}},
        "content": {"application/json": {"schema": named("Readiness"), "examples": {"draining": not_ready}}},
    }
    return found


def _metrics(answered: Mapping[str, Json]) -> Json:
    found = _probe("metrics", "What the node has done, for Prometheus", "Liveness", answered)
    found["description"] = "It takes no key, and answers to networks that the operator names (metrics_networks) alone."
    text = {"type": "string", "description": "The text format of Prometheus."}
    found["responses"]["200"]["content"] = {"text/plain": {"schema": text, "examples": answered["metrics"]}}
    found["responses"]["404"] = refused(404, "Not Found", "it answers to other networks", "fix")
    return found
