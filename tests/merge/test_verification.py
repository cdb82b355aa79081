"""Which records may take part in a merge, and what is said of those that may not."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom_merge.formatters import Fault, Reading, Row, kit
from homeroom_merge.formatters.edfi import edfi_formatters, load_codes
from homeroom_merge.values import Json
from homeroom_merge.verification import SchemaError, Verified, Verifier, verify
from tests.merge.interchanges import ORGANIZATIONS, fetched, put, student

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


def test_records_of_one_key_are_all_at_fault_and_name_each_other() -> None:
    rows = [(reading(GOOD, key), f"Student.xml line {line}") for line, key in enumerate("1213", 3)]
    verified = verify(rows, Verifier(SCHEMA))
    assert [record.valid for record in verified] == [False, True, False, True]
    assert [fault.detail for record in verified for fault in record.faults] == [
        "its key is also that of Student.xml line 5",
        "its key is also that of Student.xml line 3",
    ]


def test_many_twins_are_counted() -> None:
    verified = verify([(reading(GOOD), f"line {line}") for line in range(1000)], Verifier(SCHEMA))
    assert {len(record.faults) for record in verified} == {1}
    assert verified[0].faults[0].detail == "its key is also that of line 1, line 2, line 3 and 996 more"


def test_records_without_a_key_are_no_twins() -> None:
    unkeyed = reading(GOOD, "", (Fault("/studentNumber", "is part of the key and is not there"),))
    verified = verify([(unkeyed, "line 1"), (unkeyed, "line 2")], Verifier(SCHEMA))
    assert [len(record.faults) for record in verified] == [1, 1]


def test_what_is_nested_too_deeply_or_no_json_is_a_fault() -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    for body in ({"lastName": "Bear", "phones": deep}, {"lastName": Path("x")}):
        assert not judged(body).valid


def test_a_schema_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(SchemaError):
        Verifier({"type": "nonsense"})


async def test_doubled_ids_in_a_feed_name_both_lines(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    put(tmp_path, "Student", student("1") + student("2") + student("1"))
    _, rows = await fetched(tmp_path, "Student")
    formatter = edfi_formatters(load_codes())["Student"]
    verified = verify([(formatter.read(row.row), row.place) for row in rows], Verifier(SCHEMA))
    assert [fault.detail for record in verified for fault in record.faults] == [
        "its key is also that of Student.xml line 5",
        "its key is also that of Student.xml line 3",
    ]


class Careless:
    """A formatter that breaks promises, as its rows ask for."""

    entity = "Student"
    fields = frozenset({"lastName"})

    def read(self, row: Row) -> Reading:
        if "raise" in row:
            raise KeyError("lastName")
        body = {str(name): value for name, value in row.items()}
        return Reading(str(row.get("key", "1")), body, frozenset(body) - {"uncovered"})

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        return {"lastName": str(body.get("lastName", "")).upper()}


class TestKit:
    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ({"raise": 1}, "read raised KeyError where it owes a fault"),
            ({"firstName": "Ada"}, "covered has what is not among the fields: firstName"),
            ({"uncovered": 1}, "the body has what is not among the fields: uncovered"),
        ],
    )
    def test_a_broken_promise_is_named(self, row: Row, said: str) -> None:
        with pytest.raises(kit.Broken, match=said):
            kit.check_reading(Careless(), row)

    def test_a_member_that_does_not_come_back_is_named(self) -> None:
        kit.check_round_trip(Careless(), "1", {"lastName": "BEAR"})
        with pytest.raises(kit.Broken, match="/lastName is read otherwise than it was written"):
            kit.check_round_trip(Careless(), "1", {"lastName": "Bear"})

    def test_secrets_are_seen(self) -> None:
        kit.check_no_secrets(Careless(), {"lastName": "Bear"}, ["P@ssword"])
        with pytest.raises(kit.Broken, match="a secret is in what was read"):
            kit.check_no_secrets(Careless(), {"lastName": "P@ssword"}, ["P@ssword"])

    def test_nonsense_finds_what_raises(self) -> None:
        with pytest.raises(kit.Broken):
            kit.check_random(Careless(), ["raise", "lastName"])

    def test_nonsense_is_the_same_for_the_same_seed(self) -> None:
        rows = [repr(list(kit.random_rows(["a", "b"], 20, seed))) for seed in (1, 1, 2)]
        assert rows[0] == rows[1] != rows[2]
