"""The roster catalogue's schemas: strict about what they name, open to what a school adds."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from homeroom_server.catalogue import TypeDefinition, load_catalogue
from homeroom_server.json_schema import schema_faults

ROSTER = load_catalogue("roster").types
SOURCES = [definition for definition in ROSTER.values() if definition.source is None]
PERSON = {"firstName": "Ada", "lastName": "Bear"}


def faults(entity: str, body: Mapping[str, object]) -> list[str]:
    validator = ROSTER[entity].validator
    assert validator is not None
    return [fault.pointer for fault in schema_faults(validator, body)]


def members(schema: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every member of a schema and of the items of its lists, with where it stands."""
    for name, member in schema.get("properties", {}).items():
        yield f"{at}/{name}", member
        yield from members(member.get("items", {}), f"{at}/{name}/$")


@pytest.mark.parametrize("definition", SOURCES, ids=lambda definition: definition.name)
class TestEverySchema:
    def test_lists_of_objects_name_their_item_key(self, definition: TypeDefinition) -> None:
        assert definition.schema is not None
        for at, member in members(definition.schema):
            if member.get("type") == "array" and member["items"].get("type") == "object":
                assert member["x-item-key"] in member["items"]["required"], at

    def test_references_name_types_of_the_catalogue(self, definition: TypeDefinition) -> None:
        assert definition.schema is not None
        found = {at: member["x-reference"] for at, member in members(definition.schema) if "x-reference" in member}
        assert set(found.values()) <= set(ROSTER)
        for at, entity in found.items():
            assert at.lower().endswith(f"{entity.removeprefix('School') or 'School'}Id".lower()) or "principal" in at

    def test_what_decides_who_sees_a_record_is_locked(self, definition: TypeDefinition) -> None:
        assert definition.schema is not None
        if definition.student not in (None, "@id"):
            assert definition.schema["properties"][definition.student]["x-locked"] is True

    def test_a_body_that_is_no_object_fails(self, definition: TypeDefinition) -> None:
        assert faults(definition.name, []) == [""]  # type: ignore[arg-type]


def test_a_schools_extra_fields_fit() -> None:
    assert faults("Student", PERSON | {"lockerNumber": "12", "house": {"name": "Raven"}}) == []


@pytest.mark.parametrize("name", ["First Name", "password", "wifiPassword", "LastSurname", ""])
def test_column_titles_and_passwords_do_not(name: str) -> None:
    assert faults("Student", PERSON | {name: "x"}) == [""]


@pytest.mark.parametrize(
    ("entity", "body", "pointer"),
    [
        ("Student", {"birthDate": "13.11.2014"}, "/birthDate"),
        ("Student", {"birthDate": "2014-02-30"}, "/birthDate"),
        ("Student", {"sex": "F"}, "/sex"),
        ("Student", {"gradeLevel": "Ninth grade"}, "/gradeLevel"),
        ("Student", {"firstName": ""}, "/firstName"),
        ("Student", {"emails": [{"type": "home", "address": "nobody"}]}, "/emails/0/address"),
        ("Student", {"phones": [{"number": "555-123-4567"}]}, "/phones/0"),
        ("Student", {"schoolId": "Maple Ridge"}, "/schoolId"),
        ("Student", {"races": ["asian", "asian"]}, "/races"),
        ("Staff", {"yearsOfTeaching": "12"}, "/yearsOfTeaching"),
        ("Contact", {"studentId": "1", "isPrimary": "true"}, "/isPrimary"),
    ],
)
def test_nonsense_fails_where_it_stands(entity: str, body: dict[str, object], pointer: str) -> None:
    assert faults(entity, PERSON | body) == [pointer]


def test_an_enrolment_may_be_without_end() -> None:
    body = {"studentId": "1", "schoolId": "2", "schoolYear": 2022, "entryDate": "2021-08-23", "exitDate": None}
    assert faults("StudentSchoolEnrolment", body) == []
    assert faults("StudentSchoolEnrolment", body | {"entryDate": None}) == ["/entryDate"]
