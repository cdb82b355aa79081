"""Fields: absent, null and empty, lists of every kind, what is not covered, the first merge."""

from typing import Any

import pytest

from homeroom_merge.merging import UNTOUCHED
from homeroom_merge.plan import Kind
from homeroom_merge.records import Base
from homeroom_merge.values import ABSENT
from tests.merge.records import AS_HUB, AS_SIS, Json, bodies, conflicts, kinds, known, live, merged, persisted

NOTHINGS: list[object] = [ABSENT, None, "", [], {}]


def holding(value: object) -> Json:
    return {} if value is ABSENT else {"text": value}


@pytest.mark.parametrize("was", NOTHINGS)
@pytest.mark.parametrize("now", NOTHINGS)
def test_absent_null_and_empty_are_different_things(was: object, now: object) -> None:
    change = merged(known(holding(was), holding(was), holding(now)))
    assert bodies(change) == ({} if was is now else {"hub": holding(now)})
    both = merged(known({"text": "old"}, holding(was), holding(now)))
    assert conflicts(both) == ([] if was is now else ["/text"])


def test_what_the_sides_say_differently_all_along_is_no_change() -> None:
    base = Base({"text": "Jean-Luc"}, {"text": "JEAN-LUC"})
    assert merged(known(base, base.hub, base.sis)) is UNTOUCHED
    change = merged(known(base, {"text": "Jean-Luc", "more": 1}, base.sis))
    assert bodies(change) == {"sis": {"text": "JEAN-LUC", "more": 1}}
    assert change.base == Base({"text": "Jean-Luc", "more": 1}, {"text": "JEAN-LUC", "more": 1})


@pytest.mark.parametrize(
    ("hub", "sis", "by"), [("Jean", "Jean", "sis"), ("JEAN", "JEAN", "hub"), ("Lucie", "Lucie", "both")]
)
def test_what_the_sides_have_come_to_say_alike_is_told_and_not_written(hub: str, sis: str, by: str) -> None:
    change = merged(known(Base({"text": "Jean"}, {"text": "JEAN"}), {"text": hub}, {"text": sis}))
    assert [(field.pointer, field.outcome, field.decided_by, field.to) for field in change.fields] == [
        ("/text", hub, by, ())
    ]
    assert (change.writes, change.conflicts, change.base) == ((), (), Base({"text": hub}, {"text": hub}))


def test_objects_are_merged_member_by_member() -> None:
    base, hub, sis = ({"name": name} for name in ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 2}))
    both = {"name": {"a": 2, "b": 2}}
    assert bodies(merged(known(base, hub, sis))) == {"hub": both, "sis": both}


def test_an_object_removed_against_one_edited_is_a_conflict() -> None:
    base, hub, sis = {"name": {"a": 1}}, {"name": {"a": 2}}, {"name": None}
    assert conflicts(merged(known(base, hub, sis))) == ["/name"]


def phones(**numbers: str) -> Json:
    return {"phones": [{"kind": kind, "number": number} for kind, number in numbers.items()]}


def test_items_are_merged_by_their_key() -> None:
    base, hub, sis = phones(home="1", work="2"), phones(home="1", work="3", cell="4"), phones(home="5", work="2")
    both = phones(home="5", work="3", cell="4")
    change = merged(known(base, hub, sis))
    assert bodies(change) == {"hub": both, "sis": both}
    assert {field.pointer for field in change.fields} == {
        "/phones/[home]/number",
        "/phones/[work]/number",
        "/phones/[cell]",
    }


def test_an_item_deleted_against_one_edited_is_a_conflict() -> None:
    base = phones(home="1", work="2")
    record = known(base, phones(work="2"), phones(home="5", work="2"))
    assert conflicts(merged(record)) == ["/phones/[home]"]
    assert bodies(merged(record, AS_HUB)) == {"sis": phones(work="2")}
    assert bodies(merged(record, AS_SIS)) == {"hub": phones(work="2", home="5")}


def test_an_item_deleted_on_one_side_goes_on_the_other() -> None:
    base = phones(home="1", work="2")
    assert bodies(merged(known(base, base, phones(work="2")))) == {"hub": phones(work="2")}


def test_order_is_no_difference_unless_the_schema_says_so() -> None:
    base, turned = phones(home="1", work="2"), phones(work="2", home="1")
    assert merged(known(base, base, turned)).writes == ()
    assert merged(known({"tags": [1, 2]}, {"tags": [1, 2]}, {"tags": [2, 1]})).writes == ()
    assert bodies(merged(known({"ranks": [1, 2]}, {"ranks": [1, 2]}, {"ranks": [2, 1]}))) == {"hub": {"ranks": [2, 1]}}


def steps(order: str, **texts: str) -> Json:
    return {"steps": [{"id": name, "text": texts.get(name, "")} for name in order]}


@pytest.mark.parametrize(
    ("base", "hub", "sis", "both"),
    [
        ("abc", "abc", "cab", "cab"),
        ("abc", "abxc", "abc", "abxc"),
        ("abc", "xabc", "abcy", "xabcy"),
        ("abc", "cab", "ab", "ab"),
        ("abc", "ac", "abcd", "acd"),
        ("ab", "axyb", "abz", "axybz"),
    ],
)
def test_the_order_of_ordered_items_is_merged(base: str, hub: str, sis: str, both: str) -> None:
    record = known(steps(base), steps(hub), steps(sis))
    after = persisted(record, merged(record))
    assert (after.hub.body, after.sis.body) == (steps(both), steps(both))


def test_items_ordered_differently_on_both_sides_are_a_conflict() -> None:
    record = known(steps("abc"), steps("bac"), steps("acb"))
    assert conflicts(merged(record)) == ["/steps"]
    assert bodies(merged(record, AS_SIS)) == {"hub": steps("acb")}
    edited = known(steps("abc"), steps("bac", a="hub"), steps("acb"))
    assert bodies(merged(edited, AS_SIS)) == {"hub": steps("acb", a="hub"), "sis": steps("acb", a="hub")}


def test_items_added_in_one_place_on_both_sides_are_a_conflict_of_order() -> None:
    record = known(steps("ab"), steps("axb"), steps("ayb"))
    assert conflicts(merged(record)) == ["/steps"]
    assert bodies(merged(record, AS_HUB)) == {"hub": steps("ayxb"), "sis": steps("ayxb")}


def test_a_list_without_item_keys_is_taken_as_a_whole() -> None:
    base, hub, sis = {"tags": [1, 2]}, {"tags": [1, 2, 3]}, {"tags": [2]}
    assert conflicts(merged(known(base, hub, sis))) == ["/tags"]
    assert bodies(merged(known(base, hub, sis), AS_HUB)) == {"sis": hub}


def test_a_base_without_sound_item_keys_is_merged_as_a_whole() -> None:
    base = {"phones": [{"number": "1"}]}
    assert bodies(merged(known(base, base, phones(home="1")))) == {"hub": phones(home="1")}
    doubled = {"phones": phones(home="1")["phones"] * 2}
    change = merged(known(doubled, doubled, phones(home="1")))
    assert [field.pointer for field in change.fields] == ["/phones"]
    assert bodies(change) == {"hub": phones(home="1")}


COVERED = frozenset({"text"})


def test_a_member_that_the_sis_does_not_carry_does_not_travel() -> None:
    base = Base({"text": "a", "note": "n"}, {"text": "a"}, covered=COVERED)
    record = known(base, {"text": "b", "note": "m"}, live({"text": "a"}, COVERED))
    change = merged(record)
    assert bodies(change) == {"sis": {"text": "b"}}
    assert change.base == Base({"text": "b", "note": "m"}, {"text": "b"}, covered=COVERED)


def test_a_missing_column_changes_nothing_and_what_the_hub_changed_travels_when_it_is_back() -> None:
    both = COVERED | {"note"}
    base = Base({"text": "a", "note": "n"}, {"text": "a", "note": "n"}, covered=both)
    record = known(base, {"text": "a", "note": "m"}, live({"text": "b"}, COVERED))
    change = merged(record)
    assert bodies(change) == {"hub": {"text": "b", "note": "m"}}
    assert change.base == Base({"text": "b", "note": "n"}, {"text": "b", "note": "n"}, covered=both)
    back = known(change.base, {"text": "b", "note": "m"}, live({"text": "b", "note": "n"}, both))
    assert bodies(merged(back)) == {"sis": {"text": "b", "note": "m"}}


def test_a_column_that_is_new_has_no_base() -> None:
    base = Base({"text": "a", "note": "n"}, {"text": "a"}, covered=COVERED)
    record = known(base, dict(base.hub), live({"text": "a", "note": "m"}, COVERED | {"note"}))
    assert conflicts(merged(record)) == ["/note"]
    agreeing = known(base, dict(base.hub), live(dict(base.hub), COVERED | {"note"}))
    change = merged(agreeing)
    assert change.writes == ()
    assert change.base == Base(base.hub, base.hub, covered=COVERED | {"note"})


def test_a_first_merge_adopts_what_is_equal_and_asks_about_the_rest() -> None:
    hub, sis = {"text": "a", "more": 1, **phones(home="1")}, {"text": "a", "less": 2, **phones(home="2")}
    record = known(None, hub, sis)
    assert sorted(conflicts(merged(record))) == ["/less", "/more", "/phones/[home]/number"]
    change = merged(record, AS_SIS)
    assert bodies(change) == {"hub": sis}
    assert {field.pointer for field in change.fields} == {"/less", "/more", "/phones/[home]/number"}
    alike = merged(known(None, hub, dict(hub)))
    assert (alike.writes, alike.fields, alike.base) == ((), (), Base(hub, hub))


def test_a_first_merge_notes_of_what_the_sis_speaks() -> None:
    change = merged(known(None, {"text": "a", "note": "n"}, live({"text": "a"}, COVERED)))
    assert (change.writes, change.conflicts) == ((), ())
    assert change.base == Base({"text": "a", "note": "n"}, {"text": "a"}, covered=COVERED)


def test_a_value_that_an_undo_took_back_counts_only_once_the_sis_says_something_else() -> None:
    base = Base({"text": "old"}, {"text": "old"}, refused={"/text": "wrong"})
    change = merged(known(base, {"text": "old"}, {"text": "wrong"}))
    assert (change.writes, change.base) == ((), Base({"text": "old"}, {"text": "wrong"}))
    again = known(change.base, {"text": "old"}, {"text": "wrong"})
    assert merged(again) is UNTOUCHED
    assert bodies(merged(known(base, {"text": "old"}, {"text": "newer"}))) == {"hub": {"text": "newer"}}
    edited: Any = merged(known(base, {"text": "hub"}, {"text": "wrong"}))
    assert (bodies(edited), kinds(edited)) == ({"sis": {"text": "hub"}}, {"sis": Kind.UPDATE})


def test_what_was_refused_is_not_overwritten_by_other_writes() -> None:
    base = Base({"text": "old", "more": 1}, {"text": "old", "more": 1}, refused={"/text": "wrong"})
    change = merged(known(base, {"text": "old", "more": 2}, {"text": "wrong", "more": 1}))
    assert bodies(change) == {"sis": {"text": "wrong", "more": 2}}


def test_nothing_given_is_changed() -> None:
    base, hub, sis = phones(home="1"), phones(home="2"), phones(home="1", work="3")
    record = known(base, hub, sis)
    merged(record)
    assert (base, hub, sis) == (phones(home="1"), phones(home="2"), phones(home="1", work="3"))


def test_a_refusal_outlasts_a_column_that_is_missing() -> None:
    both = frozenset({"text", "more"})
    whole = {"text": "old", "more": 1}
    base = Base(whole, whole, refused={"/text": "wrong", "": {}}, covered=both)
    change = merged(known(base, whole, live({"more": 2}, frozenset({"more"}))))
    assert change.base is not None
    assert change.base.refused == {"/text": "wrong"}
