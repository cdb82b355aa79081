"""What the Core answers, as JSON Schema (protocol 2 to 7)."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeroom.errors import MEANINGS, Code
from homeroom.protocol import CORE_VERSION_MAX

Schema = dict[str, Any]

_VERSION: Schema = {"type": "integer", "minimum": 0, "maximum": CORE_VERSION_MAX}
_TEXT: Schema = {"type": "string"}
_WHETHER: Schema = {"type": "boolean"}
_ANY_OBJECT: Schema = {"type": "object"}


def _object(optional: Sequence[str] = (), **members: Schema) -> Schema:
    """An object with just these members; those that are not optional are there."""
    return {
        "type": "object",
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
        "properties": members,
    }


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_FAULT = _object(pointer=_TEXT, detail=_TEXT)
_LISTED = _object(id=_TEXT, coreVersion=_VERSION)
_ACTION: Schema = {"enum": ["fix", "retry", "resync", "stop"]}
_OF_A_RECORD = [*(code.value for code in Code if MEANINGS[code].status == 200), Code.UNEXPECTED_YEAR.value]
"""The last one also ends a call: where the type takes no year, not where the record has another."""
_REJECTION = _object(
    ("errors", "expectedVersion", "coreVersion"),
    code={"enum": _OF_A_RECORD},
    title=_TEXT,
    detail=_TEXT,
    action=_ACTION,
    errors=_list_of(_FAULT),
    expectedVersion=_VERSION,
    coreVersion=_VERSION,
)
_SOURCE = _object(id=_TEXT, coreVersion=_VERSION, deleted=_WHETHER, body=_ANY_OBJECT)
_BORDERS: Mapping[str, Schema] = {"from": {"type": ["string", "null"]}, "to": {"type": ["string", "null"]}}


def _ranges(**members: Schema) -> Schema:
    return _object((), **_BORDERS, **members)


SCHEMAS: Mapping[str, Schema] = {
    "Problem": _object(
        type=_TEXT,
        status={"type": "integer"},
        code={"enum": [code.value for code in Code if MEANINGS[code].status != 200]},
        title=_TEXT,
        detail=_TEXT,
        action=_ACTION,
        errors=_list_of(_FAULT),
    ),
    "Availability": _object(
        types=_list_of(
            _object(
                notificationType=_TEXT,
                reason={"enum": ["newer", "mismatch", "none"]},
                maxCoreVersion=_VERSION,
                complete=_WHETHER,
                records=_list_of(_LISTED),
            )
        )
    ),
    "Records": _object(
        records=_list_of(
            _object(
                ("coreVersion", "deleted", "changedAt", "sourceVersion", "body", "source"),
                id=_TEXT,
                availability={"enum": ["Normal", "Unknown", "NoAccess"]},
                coreVersion=_VERSION,
                deleted=_WHETHER,
                changedAt={"type": "string", "format": "date-time"},
                sourceVersion=_VERSION,
                body=_ANY_OBJECT,
                source=_SOURCE,
            )
        ),
        stoppedAt={"type": ["integer", "null"], "minimum": 0},
    ),
    "Results": _object(results=_list_of(_named("Result"))),
    "Result": _object(id=_TEXT, coreVersion=_VERSION, rejections=_list_of(_REJECTION)),
    "Comparison": _object(
        ranges=_list_of(
            {
                "oneOf": [
                    _ranges(result={"const": "match"}),
                    _ranges(
                        result={"const": "split"},
                        ranges=_list_of(_ranges(count=_VERSION, fingerprint={"type": "string"})),
                    ),
                    _ranges(result={"const": "records"}, records=_list_of(_LISTED)),
                ]
            }
        )
    ),
    "Hello": _object(
        client=_TEXT,
        role=_TEXT,
        organization=_TEXT,
        organizations=_list_of(_object(code=_TEXT, name=_TEXT)),
        epoch=_TEXT,
        serverTime={"type": "string", "format": "date-time"},
    ),
    "NotificationTypes": _object(
        notificationTypes=_list_of(
            _object(
                ("source", "student", "schema"),
                name=_TEXT,
                schoolYear={"enum": ["required", "none", "optional"]},
                idFormat={"enum": ["uuid", "asn", "code"]},
                audience={"enum": ["public", "owner", "student"]},
                source=_TEXT,
                student=_TEXT,
                schema=_ANY_OBJECT,
            )
        )
    ),
}
