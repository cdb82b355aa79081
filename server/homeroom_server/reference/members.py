"""JSON Schemas as people read them: one line a member."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from homeroom.protocol import CORE_VERSION_MAX

Json = Mapping[str, Any]
_OURS = "#/components/schemas/"
_VALUES_SHOWN_MAX = 12


@dataclass(frozen=True, slots=True)
class Member:
    """`place`: as `types[].maxCoreVersion`; empty where an alternative begins, which `description` tells apart."""

    place: str
    kind: str
    is_required: bool
    description: str


def members_of(schema: Json, schemas: Mapping[str, Json], at: str = "") -> Iterator[Member]:
    """Every member, outer ones first; references to `schemas` are followed."""
    schema = _resolved(schema, schemas)
    for number, alternative in enumerate(schema.get("oneOf", ())):
        found = _resolved(alternative, schemas)
        yield Member("", "or" if number else "either", is_required=False, description=found.get("description", ""))
        yield from members_of(found, schemas, at)
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        place = f"{at}.{name}" if at else name
        found = _resolved(part, schemas)
        yield Member(place, kind_of(found), name in required, found.get("description", ""))
        yield from members_of(found, schemas, place)
    if "items" in schema:
        yield from members_of(schema["items"], schemas, f"{at}[]")


def kind_of(schema: Json) -> str:
    """What values may be, in a few words."""
    if "enum" in schema:
        return _listed([str(value) for value in schema["enum"]])
    if "const" in schema:
        return str(schema["const"])
    named = schema.get("type") or str(schema.get("$ref", "")).rpartition("/")[2] or "any value"
    words = " or ".join(named) if isinstance(named, list) else str(named)
    if words == "array":
        is_plain = schema.get("items", {}).keys() & {"enum", "type"} and "properties" not in schema["items"]
        words = f"list of {kind_of(schema['items'])}" if is_plain else "list"
    return ", ".join([words, *_limits(schema)])


def _listed(values: list[str]) -> str:
    more = len(values) - _VALUES_SHOWN_MAX
    return " | ".join(values[:_VALUES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _limits(schema: Json) -> Iterator[str]:
    if "format" in schema:
        yield str(schema["format"])
    for lowest, highest, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
    ):
        if schema.get(highest) == CORE_VERSION_MAX:
            yield "below 2^53"
        elif highest in schema:
            yield f"{schema.get(lowest, 0)} to {schema[highest]:,}{unit}"
        elif schema.get(lowest):
            yield f"at least {schema[lowest]}{unit}"


def _resolved(schema: Json, schemas: Mapping[str, Json]) -> Json:
    """What a reference means, in the words of where it stands."""
    name = str(schema.get("$ref", "")).removeprefix(_OURS)
    return {**schemas[name], **schema} if name in schemas else schema
