"""What a schema says about merging."""

from typing import Any

import pytest

from homeroom_merge.records import Method
from homeroom_merge.shape import Shape, ShapeError
from homeroom_merge.values import path_of, pointer
from tests.merge.records import bodies, known, merged

SCHEMA: dict[str, Any] = {
    "allOf": [{"$ref": "#/$defs/person"}],
    "properties": {
        "marks": {"type": "array", "x-item-key": ["course", "term"], "items": {"$ref": "#/$defs/mark"}},
        "teachers": {"type": "array", "x-reference": "Staff"},
        "parts": {"type": "array", "items": {"$ref": "#"}},
        "core": {"x-locked": True, "properties": {"id": {"type": "string"}}},
        "office": {"x-locked": "alwaysSis"},
        "notes": {"type": "object", "additionalProperties": {"x-reference": "Note"}},
    },
    "$defs": {
        "person": {"properties": {"student": {"type": "string", "x-reference": "Student"}}},
        "mark": {"properties": {"course": {"x-reference": "Course"}, "steps": {"x-ordered": True}}},
    },
}
SHAPE = Shape.of(SCHEMA)
BODY: dict[str, Any] = {
    "student": "s1",
    "marks": [{"course": "c1", "term": 1, "steps": [2, 1]}],
    "teachers": ["t1", "t2"],
    "parts": [{"student": "s2", "parts": [{"student": "s3"}]}],
    "notes": {"first": "n1"},
    "free": {"student": "no reference"},
}


def test_references_are_found_anywhere() -> None:
    found = {(pointer(found.path), found.entity, found.key) for found in SHAPE.references(BODY)}
    assert found == {
        ("/student", "Student", "s1"),
        ("/marks/0/course", "Course", "c1"),
        ("/teachers/0", "Staff", "t1"),
        ("/teachers/1", "Staff", "t2"),
        ("/parts/0/student", "Student", "s2"),
        ("/parts/0/parts/0/student", "Student", "s3"),
        ("/notes/first", "Note", "n1"),
    }
    assert list(Shape.of({}).references(BODY)) == []


def test_references_are_turned_and_nothing_else() -> None:
    turned = SHAPE.turned(BODY, lambda entity, key: f"{entity} {key}")
    assert turned["marks"] == [{"course": "Course c1", "term": 1, "steps": [2, 1]}]
    assert turned["teachers"] == ["Staff t1", "Staff t2"]
    assert turned["free"] == BODY["free"]
    assert BODY["student"] == "s1"
    assert Shape.of({}).turned(BODY, lambda entity, key: "") is BODY


def test_places_know_their_keys_order_and_locks() -> None:
    marks = SHAPE.node(("marks",))
    assert marks.item_key == ("course", "term")
    assert SHAPE.node(path_of("/marks/$/steps")).ordered
    assert not marks.ordered
    assert SHAPE.node(path_of("/core/id")).locked is SHAPE.node(path_of("/core/else/deep")).locked is Method.ALWAYS_HUB
    assert SHAPE.node(("office",)).locked is Method.ALWAYS_SIS
    assert SHAPE.node(("student",)).locked is None
    assert SHAPE.node(path_of("/parts/$/marks")).item_key == ("course", "term")


@pytest.mark.parametrize(
    ("marks", "where"),
    [
        ([{"course": "c", "term": 1}, {"course": "c", "term": 2}], []),
        ([{"course": "c", "term": 1}, {"course": "c", "term": 1}], ["/marks/1"]),
        ([{"course": "c"}, {"course": "c", "term": None}, "text"], ["/marks/0", "/marks/1", "/marks/2"]),
        (None, []),
    ],
)
def test_item_keys_that_are_missing_or_doubled_are_faults(marks: object, where: list[str]) -> None:
    assert [fault.pointer for fault in SHAPE.faults({"marks": marks})] == where
    assert [fault.pointer for fault in SHAPE.faults({"parts": [{"marks": marks}]})] == [f"/parts/0{at}" for at in where]


def test_a_fault_of_an_item_key_tells_no_value() -> None:
    (fault,) = SHAPE.faults({"marks": [{"course": "secret", "term": 1}, {"course": "secret", "term": 1}]})
    assert "secret" not in fault.detail + fault.cure


def test_items_are_told_apart_by_several_members() -> None:
    base = {"marks": [{"course": "c", "term": term, "value": 1} for term in (1, 2)]}
    hub = {"marks": [{"course": "c", "term": 1, "value": 2}, {"course": "c", "term": 2, "value": 1}]}
    sis = {"marks": [{"course": "c", "term": 1, "value": 1}, {"course": "c", "term": 2, "value": 3}]}
    both = {"marks": [{"course": "c", "term": 1, "value": 2}, {"course": "c", "term": 2, "value": 3}]}
    change = merged(known(base, hub, sis), shape=SHAPE)
    assert bodies(change) == {"hub": both, "sis": both}
    assert {field.pointer for field in change.fields} == {"/marks/[c,1]/value", "/marks/[c,2]/value"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.org/other.json"},
        {"$ref": "#/x", "x": 1},
        {"properties": {"a": {"x-locked": "sometimes"}}},
    ],
)
def test_a_schema_that_leads_nowhere_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        Shape.of(schema)


def test_pointers_and_paths_are_each_others_inverse() -> None:
    path = ("a/b", "c~d", "[1]", "")
    assert path_of(pointer(path)) == path
    assert path_of("") == ()
