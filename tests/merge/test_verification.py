"""Which records may take part in a merge, and what is said of those that may not."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom_merge.formatters import Fault, Reading
from homeroom_merge.values import Json
from homeroom_merge.verification import SchemaError, Verified, Verifier, twin_faults, verify

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["lastName"],
    "properties": {
        "lastName": {"type": "string", "maxLength": 20},
        "birthDate": {"type": "string", "format": "date"},
        "sex": {"enum": ["female", "male"]},
        "phones": {
            "type": "array",
            "x-item-key": "type",
            "items": {"type": "object", "properties": {"number": {"type": "string"}}},
        },
    },
}
GOOD: Json = {"lastName": "Bear", "phones": [{"type": "home"}, {"type": "work"}]}


def reading(body: Json, key: str = "1", faults: tuple[Fault, ...] = ()) -> Reading:
    return Reading(key, body, frozenset(body), faults=faults)


def judged(body: Json, faults: tuple[Fault, ...] = ()) -> Verified:
    (verified,) = verify([(reading(body, faults=faults), "Student.xml line 3")], Verifier(SCHEMA))
    return verified


def test_a_record_that_matches_is_valid() -> None:
    verified = judged(GOOD)
    assert (verified.valid, verified.faults, verified.place) == (True, (), "Student.xml line 3")


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        ({"lastName": 7}, "/lastName", 'the value is not of type "string"'),
        ({"birthDate": "1.2.2010"}, "/birthDate", 'the value is not a "date"'),
        ({"sex": "Ada"}, "/sex", 'the value is not one of "female" or "male"'),
        ({"phones": [{"number": "1"}]}, "/phones/0", "has no item key (type)"),
        (
            {"phones": [{"type": "home"}, {"type": "work"}, {"type": "home"}]},
            "/phones/2",
            "has the same item key (type) as another item",
        ),
    ],
)
def test_what_does_not_match_is_a_fault_where_it_stands_with_a_cure(change: Json, pointer: str, detail: str) -> None:
    verified = judged(GOOD | change)
    assert not verified.valid
    (fault,) = verified.faults
    assert (fault.pointer, fault.detail) == (pointer, detail)
    assert fault.cure


@given(st.text(min_size=4), st.integers(10_000), st.lists(st.text(min_size=4), min_size=1))
def test_messages_never_repeat_a_value(text: str, number: int, texts: list[str]) -> None:
    secret = f"<{text}>"
    bodies: list[Json] = [
        {"lastName": secret * 20, "sex": secret, "birthDate": secret, "phones": secret},
        {"lastName": number, "phones": [{"type": secret}, {"type": secret, "number": [secret, *texts]}]},
    ]
    for verified in map(judged, bodies):
        assert verified.faults
        assert secret not in repr(verified.faults)
        assert str(number) not in repr(verified.faults)


def test_the_formatters_faults_count_and_are_not_said_twice() -> None:
    unread = Fault("/lastName", "is said more than once, and differently")
    assert judged({}, (unread,)).faults == (unread,)
    assert [fault.pointer for fault in judged({"sex": 1}, (unread,)).faults] == ["/lastName", "/sex"]


def test_a_required_member_that_the_feed_does_not_carry_is_no_fault() -> None:
    record = (reading({"sex": "female"}), "Student.csv row 2")
    assert verify([record], Verifier(SCHEMA, frozenset({"sex"})))[0].valid
    assert not verify([record], Verifier(SCHEMA, frozenset({"sex", "lastName"})))[0].valid


def test_records_of_one_key_name_each_other() -> None:
    assert [fault.detail for fault in twin_faults(["Student.xml line 3", "Student.xml line 5"])] == [
        "its key is also that of Student.xml line 5",
        "its key is also that of Student.xml line 3",
    ]


def test_many_twins_are_counted() -> None:
    faults = list(twin_faults([f"line {line}" for line in range(1000)]))
    assert len(faults) == 1000
    assert faults[0].detail == "its key is also that of line 1, line 2, line 3 and 996 more"
    assert faults[999].detail == "its key is also that of line 0, line 1, line 2 and 996 more"


def test_what_is_nested_too_deeply_or_no_json_is_a_fault() -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    for body in ({"lastName": "Bear", "phones": deep}, {"lastName": Path("x")}):
        assert not judged(body).valid


def test_a_schema_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(SchemaError):
        Verifier({"type": "nonsense"})
