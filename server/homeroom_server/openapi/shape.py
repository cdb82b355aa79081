"""JSON Schema in our own words: everything has a description."""

from collections.abc import Sequence
from typing import Any

from homeroom.protocol import CORE_VERSION_MAX

Schema = dict[str, Any]


def named(name: str) -> Schema:
    """A reference to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_with(said: str, optional: Sequence[str] = (), /, **members: Schema) -> Schema:
    """An object with just these members; those that are not optional are there."""
    return {
        "type": "object",
        "description": said,
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
        "properties": members,
    }


def any_object(said: str) -> Schema:
    return {"type": "object", "description": said}


def text(said: str, **more: Any) -> Schema:
    return {"type": "string", "description": said, **more}


def count(said: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": said}


def version(said: str) -> Schema:
    """A core version, or a number that is as large at most."""
    return {"type": "integer", "minimum": 0, "maximum": CORE_VERSION_MAX, "description": said}


def whether(said: str) -> Schema:
    return {"type": "boolean", "description": said}


def one_of(said: str, *values: object) -> Schema:
    return {"enum": list(values), "description": said}


def always(said: str, value: str) -> Schema:
    return {"const": value, "description": said}


def list_of(schema: Schema, said: str) -> Schema:
    return {"type": "array", "items": schema, "description": said}
