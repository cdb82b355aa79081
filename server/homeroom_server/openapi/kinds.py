"""The catalogue's types as the document names them: in paths, by the schemas of bodies, and one for examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeroom_server.catalogue import Audience, Catalogue, TypeDefinition, YearRule
from homeroom_server.openapi.shape import named
from homeroom_server.openapi.words import TYPE_NAME

Json = dict[str, Any]

_IDS: Mapping[str, str] = {
    "uuid": "6f9cd0bd-6ad3-4f0f-9c0c-5a8be3f7ad0a",
    "asn": "123456789",
    "code": "0982",
}
_SEEN_BY: Mapping[Audience, str] = {
    Audience.PUBLIC: "everybody",
    Audience.OWNER: "its owner, the owner's authority and the ministry",
    Audience.STUDENT: "its owner, and every organisation associated with the student",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A type for examples: its name as it is asked for, an id of its form, and a body of its schema."""

    name: str
    id: str
    body: Mapping[str, Any]


def asked_name(definition: TypeDefinition, school_year: int) -> str:
    """The type as it is asked for."""
    return definition.name if definition.school_year is YearRule.NONE else f"{definition.name}.{school_year}"


def sample(catalogue: Catalogue, school_year: int, *, is_status: bool = False) -> Sample | None:
    """A type with an example in its schema, else the first; None: there is none of that kind."""
    found = _of_kind(catalogue, is_status=is_status)
    if not found:
        return None
    best = next((each for each in found if _examples(each)), found[0])
    return Sample(asked_name(best, school_year), _IDS[best.id_format], next(iter(_examples(best)), {}))


def in_path(catalogue: Catalogue, school_year: int, *, is_status: bool | None = None) -> Json:
    """The parameter, with every type that it takes. `is_status`: None takes both kinds."""
    kinds = [is_status] if is_status is not None else [False, True]
    found = [each for kind in kinds for each in _of_kind(catalogue, is_status=kind)]
    return {
        "name": "notificationType",
        "in": "path",
        "required": True,
        "description": "A type of the catalogue, with its school year where it has one. Case does not count.",
        "schema": TYPE_NAME,
        "examples": {
            each.name: {
                "summary": f"Bodies: #/components/schemas/{body_name(each)}",
                "value": asked_name(each, school_year),
            }
            for each in found
        },
    }


def body_name(definition: TypeDefinition) -> str:
    """What the document calls the schema of its bodies."""
    return f"Body.{definition.name}"


def body_schemas(catalogue: Catalogue) -> Json:
    """By name, what bodies of each type look like."""
    return {body_name(each): _body(each) for each in catalogue.types.values()}


def _body(definition: TypeDefinition) -> Json:
    takes_year = {
        "none": "",
        "required": " Its name takes a school year.",
        "optional": " Its name may take a school year.",
    }
    said = f"A {definition.name}, seen by {_SEEN_BY[definition.audience]}. Ids: {definition.id_words}."
    said += takes_year[definition.school_year.value]
    if definition.source is not None:
        return {**named("StatusBody"), "description": f"{said} It is calculated from {definition.source}."}
    if definition.schema is None:
        return {"type": "object", "description": f"{said} Any JSON object is taken."}
    return {**_rooted(definition.schema, named(body_name(definition))["$ref"]), "description": said}


def _rooted(part: Any, root: str) -> Any:
    """A schema whose references into itself lead to where it now stands."""
    if isinstance(part, list):
        return [_rooted(each, root) for each in part]
    if not isinstance(part, Mapping):
        return part
    found = {name: _rooted(each, root) for name, each in part.items()}
    if str(part.get("$ref", "")).startswith("#"):
        found["$ref"] = root + part["$ref"][1:]
    return found


def _of_kind(catalogue: Catalogue, *, is_status: bool) -> Sequence[TypeDefinition]:
    return [each for each in catalogue.types.values() if (each.source is not None) is is_status]


def _examples(definition: TypeDefinition) -> Sequence[Mapping[str, Any]]:
    return [] if definition.schema is None else definition.schema.get("examples", [])
