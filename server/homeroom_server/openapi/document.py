"""The document: every service with its question, its answers and its problems."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeroom.errors import MEANINGS, Code
from homeroom.protocol import (
    CORE_VERSION_MAX,
    NOTIFICATION_TYPE,
    ORGANIZATION_CODE,
    WAIT_SECONDS_DEFAULT,
    WAIT_SECONDS_MAX,
)
from homeroom_server.catalogue import Catalogue
from homeroom_server.endpoints import acknowledge, get, is_data_available, reconcile, submit
from homeroom_server.openapi.answers import SCHEMAS
from homeroom_server.openapi.links import EVERYTHING, LINKS
from homeroom_server.rule_set import ANY_ID

Json = dict[str, Any]

_EPOCH: Json = {
    "Homeroom-Epoch": {"description": "The history of the database (protocol 1).", "schema": {"type": "string"}}
}
_ALL_CALLS = (
    *(Code.NO_SUCH_KEY, Code.KEY_DISABLED, Code.CLIENT_DISABLED, Code.SERVICE_NOT_OPEN),
    *(Code.ORGANIZATION_NOT_REPRESENTED, Code.CORE_NOT_AVAILABLE, Code.CLIENT_LIMIT),
)
_WITH_BODY = (Code.NOT_OF_SCHEMA, Code.NOT_STRUCTURED, Code.TOO_LARGE)
_OF_A_TYPE = (Code.UNKNOWN_TYPE, Code.UNEXPECTED_YEAR, Code.YEAR_MISSING)
_OF_A_VERSION = (Code.NODE_BEHIND, Code.OTHER_HISTORY)
_VERSION: Json = {"type": "integer", "minimum": 0, "maximum": CORE_VERSION_MAX}
_FORMS: Mapping[str, Json] = {
    "id": {
        "type": "string",
        "pattern": f"^{ANY_ID.pattern}$",
        "description": "A code of this form, an ASN (nine digits) or a UUID, as the type has it.",
    },
    "notificationType": {"type": "string", "pattern": f"^(?:{NOTIFICATION_TYPE.pattern})$"},
}
"""What requests are held against only once their type is known: the form that all types have in common."""


def document(catalogue: Catalogue, school_year: int) -> Json:
    """The interface of a Core with this catalogue; `school_year`: one that is open, for the names of types."""
    names = _names(catalogue, school_year)
    of_type = {
        "name": "notificationType",
        "in": "path",
        "required": True,
        "description": "A type of the catalogue, with its school year where it has one: CourseEnrolment.2027.",
        "schema": {**_FORMS["notificationType"], "examples": names},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "homeroom",
            "version": "1",
            "description": "One live, shared view of student records: what has changed, records, and changes of them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": {
            "/v1/is-data-available": {"post": _is_data_available(names)},
            "/v1/get/{notificationType}": {"parameters": [of_type], "post": _get()},
            "/v1/submit/{notificationType}": {"parameters": [of_type], "post": _submit()},
            "/v1/acknowledge/{notificationType}": {"parameters": [of_type], "post": _acknowledge()},
            "/v1/reconcile/{notificationType}": {"parameters": [of_type], "post": _reconcile()},
            "/v1/snapshot/{notificationType}": {"parameters": [of_type], "get": _snapshot()},
            "/v1/hello": {"get": _operation("hello", "Who calls, for whom", "Hello", _ALL_CALLS)},
            "/v1/notification-types": {
                "get": _operation("notificationTypes", "The catalogue", "NotificationTypes", _ALL_CALLS)
            },
        },
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "The API key of a client."}},
        },
    }


def _names(catalogue: Catalogue, school_year: int) -> list[str]:
    """The types as they are asked for."""
    return [
        name if definition.school_year.value == "none" else f"{name}.{school_year}"
        for name, definition in catalogue.types.items()
    ]


def _is_data_available(names: Sequence[str]) -> Json:
    asked = {"waitSeconds": 0, "types": [{"notificationType": names[0], "maxCoreVersion": 0}]}
    codes = (*_ALL_CALLS, *_WITH_BODY, *_OF_A_TYPE, *_OF_A_VERSION, Code.INVALID_WAIT)
    words = "What has changed; held until something has, or the wait ends"
    wait = {"type": "integer", "minimum": 0, "maximum": WAIT_SECONDS_MAX, "default": WAIT_SECONDS_DEFAULT}
    members = {**is_data_available.REQUEST["properties"], "waitSeconds": wait}  # beyond it: 3007, not 3001
    request = {**is_data_available.REQUEST, "properties": members}
    return _operation("isDataAvailable", words, "Availability", codes, request, asked)


def _get() -> Json:
    codes = (*_ALL_CALLS, *_WITH_BODY, *_OF_A_TYPE, Code.NODE_BEHIND)
    asked = {"records": [{"id": "123456789", "expectedVersion": 0}]}
    words = "Records, in order, up to the first that is at another version than expected"
    return _operation("get", words, "Records", codes, get.REQUEST, asked)


def _submit() -> Json:
    codes = (*_ALL_CALLS, *_WITH_BODY, *_OF_A_TYPE)
    asked = {"records": [{"id": "123456789", "expectedVersion": 0, "body": {"firstName": "Ada"}}]}
    words = "Adds, updates, deletes and undeletes; each record accepted or rejected by itself"
    operation = _operation("submit", words, "Results", codes, submit.REQUEST, asked)
    operation["parameters"].append(
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A call that is repeated with the same key and body gets the first answer.",
            "schema": {"type": "string", "format": "uuid"},
        }
    )
    return operation


def _acknowledge() -> Json:
    asked = {"id": "123456789", "alertCode": 1, "arguments": {}, "state": "Acknowledged"}
    words = "An alert of a status into another state"
    codes = (*_ALL_CALLS, *_WITH_BODY, *_OF_A_TYPE)
    return _operation("acknowledge", words, "Result", codes, acknowledge.REQUEST, asked)


def _reconcile() -> Json:
    codes = (*_ALL_CALLS, *_WITH_BODY, *_OF_A_TYPE, *_OF_A_VERSION)
    asked = {"maxCoreVersion": 0, "ranges": [EVERYTHING]}
    return _operation("reconcile", "Repair, by ranges of ids", "Comparison", codes, reconcile.REQUEST, asked)


def _snapshot() -> Json:
    codes = (*_ALL_CALLS, Code.NOT_OF_SCHEMA, *_OF_A_TYPE, *_OF_A_VERSION)
    operation = _operation("snapshot", "Every live record, as lines of JSON", "Hello", codes)
    operation["parameters"] += [
        {"name": name, "in": "query", "description": words, "schema": _VERSION}
        for name, words in (
            ("after", "Go on above this."),
            ("until", "The window's end, as it was given."),
        )
    ]
    operation["responses"]["200"]["content"] = {"application/x-ndjson": {"schema": {"type": "string"}}}
    return operation


def _operation(
    name: str,
    words: str,
    answer: str,
    codes: Sequence[Code],
    request: Mapping[str, Any] | None = None,
    asked: Any = None,
) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": words,
        "parameters": [
            {
                "name": "Organization",
                "in": "header",
                "description": "For whom the client acts; needed where it represents several.",
                "schema": {"type": "string", "pattern": f"^(?:{ORGANIZATION_CODE.pattern})$"},
            }
        ],
        "responses": {
            "200": {
                "description": "Done.",
                "headers": _EPOCH,
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}},
            },
            **_problems(codes),
        },
    }
    if name in LINKS:
        operation["responses"]["200"]["links"] = LINKS[name]
    if request is not None:
        content = {"application/json": {"schema": _with_forms(request), "examples": {"usual": {"value": asked}}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _with_forms(schema: Any) -> Any:
    """The schema, with the forms of ids and of types' names wherever it takes one."""
    if isinstance(schema, list | tuple):
        return [_with_forms(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: _FORMS[name] if name in _FORMS and part == {"type": "string"} else _with_forms(part)
        for name, part in schema.items()
    }


def _problems(codes: Sequence[Code]) -> Json:
    """By status, what may go wrong, each code with its meaning."""
    found: dict[str, list[str]] = {}
    for code in codes:
        meaning = MEANINGS[code]
        found.setdefault(str(meaning.status), []).append(f"{code.value} {meaning.title}")
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": "; ".join(said), "content": {"application/problem+json": {"schema": schema}}}
        for status, said in sorted(found.items())
    }
