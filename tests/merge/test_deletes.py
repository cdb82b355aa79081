"""Creates, deletes, undeletes: who has a record, who had it, and what the other side then does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeroom_merge.merging import UNTOUCHED, DeletePolicy, OnDelete
from homeroom_merge.plan import Change, Kind
from homeroom_merge.records import Base, Known, Method, Side, State
from homeroom_merge.rules import Rules
from tests.merge.records import AS_HUB, AS_SIS, DELETE, MANUAL, NOW, bodies, conflicts, kinds, known, live, persisted
from tests.merge.records import merged as merged_by

GONE, NOT_SHOWN = Side(State.DELETED), Side(State.ABSENT)
BASE, EDITED = {"text": "old", "isActive": True}, {"text": "new", "isActive": True}
DEACTIVATE = DeletePolicy(OnDelete.DEACTIVATE, "isActive", False)
IGNORE = DeletePolicy()
TOMBSTONE = Base(BASE, BASE, deleted=True)


def merged(record: Known, policy: DeletePolicy = DELETE, rules: Rules = MANUAL) -> Change:
    return merged_by(record, rules, policy)


def test_a_record_that_is_new_on_one_side_is_created_on_the_other() -> None:
    on_hub = merged(known(None, live(BASE, version=3), live(None, frozenset({"text"}))))
    assert (kinds(on_hub), bodies(on_hub)) == ({"sis": Kind.CREATE}, {"sis": {"text": "old"}})
    assert on_hub.base == Base(BASE, {"text": "old"}, covered=frozenset({"text"}))
    in_sis = merged(known(None, None, BASE))
    assert (kinds(in_sis), bodies(in_sis)) == ({"hub": Kind.CREATE}, {"hub": BASE})


def test_a_delete_on_one_side_deletes_on_the_other() -> None:
    for record, side in ((known(BASE, BASE, GONE), "hub"), (known(BASE, GONE, BASE), "sis")):
        change = merged(record)
        assert (kinds(change), bodies(change)) == ({side: Kind.DELETE}, {side: None})
        assert change.base == TOMBSTONE
        assert merged(persisted(record, change)) is UNTOUCHED


def test_a_write_is_held_against_what_was_fetched() -> None:
    (to_hub,) = merged(known(BASE, live(BASE, version=7), GONE)).writes
    assert (to_hub.expected_version, to_hub.token) == (7, None)
    (to_sis,) = merged(known(BASE, GONE, live(BASE, token="W/1"))).writes
    assert (to_sis.expected_version, to_sis.token) == (0, "W/1")
    (to_sis,) = merged(known(BASE, live(EDITED, version=7), live(BASE, token="W/1"))).writes
    assert to_sis.token == "W/1"


def test_a_record_deleted_on_both_sides_becomes_a_tombstone() -> None:
    change = merged(known(BASE, GONE, GONE))
    assert (change.writes, change.base) == ((), TOMBSTONE)


def test_delete_against_edit_is_a_conflict() -> None:
    for record in (known(BASE, EDITED, GONE), known(BASE, GONE, EDITED)):
        assert conflicts(merged(record)) == [""]
        assert merged(record).writes == ()


def test_the_rule_settles_delete_against_edit() -> None:
    record = known(BASE, EDITED, GONE)
    kept = merged(record, rules=AS_HUB)
    assert (kinds(kept), bodies(kept)) == ({"sis": Kind.UNDELETE}, {"sis": EDITED})
    assert kept.fields[0].decided_by == "entity resolveAsHub"
    assert merged(persisted(record, kept), rules=AS_HUB) is UNTOUCHED
    assert kinds(merged(record, rules=AS_SIS)) == {"hub": Kind.DELETE}
    assert kinds(merged(known(BASE, GONE, EDITED), rules=AS_SIS)) == {"hub": Kind.UNDELETE}
    newest = Rules("Note", Method.NEWEST)
    late = known(BASE, replace(GONE, changed_at=NOW), live(EDITED, changed_at=NOW - timedelta(hours=1)))
    assert kinds(merged(late, rules=newest)) == {"sis": Kind.DELETE}
    assert conflicts(merged(record, rules=newest)) == [""]


def test_a_relisted_record_is_an_undelete() -> None:
    base = Base({"text": "old", "note": "kept"}, {"text": "old"}, deleted=True, covered=frozenset({"text"}))
    record = known(base, GONE, live({"text": "new"}, frozenset({"text"})))
    change = merged(record)
    assert kinds(change) == {"hub": Kind.UNDELETE}
    assert bodies(change) == {"hub": {"text": "new", "note": "kept"}}
    assert merged(persisted(record, change)) is UNTOUCHED
    assert kinds(merged(known(TOMBSTONE, EDITED, NOT_SHOWN))) == {"sis": Kind.UNDELETE}
    assert bodies(merged(known(TOMBSTONE, NOT_SHOWN, BASE))) == {"hub": BASE}


def test_a_record_of_which_only_the_delete_is_known_is_a_conflict() -> None:
    assert conflicts(merged(known(None, GONE, BASE))) == [""]
    assert conflicts(merged(known(None, BASE, GONE))) == [""]


def test_absence_that_does_not_count_writes_nothing() -> None:
    for hub in (BASE, EDITED):
        change = merged(known(BASE, hub, NOT_SHOWN))
        assert (change.writes, change.base, change.conflicts) == ((), None, ())
        assert "does not count as deleted" in change.note
    change = merged(known(BASE, GONE, NOT_SHOWN))
    assert (change.writes, change.base) == ((), None)


@pytest.mark.parametrize("hub", [Side(State.OUT_OF_VIEW), NOT_SHOWN])
@pytest.mark.parametrize("sis", [live(BASE), live(EDITED), GONE])
def test_what_is_out_of_view_sets_the_link_aside(hub: Side, sis: Side) -> None:
    change = merged(known(BASE, hub, sis))
    assert (change.writes, change.base, change.set_aside, change.unlink) == ((), None, True, False)
    assert "out of view" in change.note


@pytest.mark.parametrize("living", [live(BASE), live(EDITED)])
def test_an_ignored_delete_gives_up_the_link(living: Side) -> None:
    for record in (known(BASE, living, GONE), known(BASE, GONE, living)):
        change = merged(record, IGNORE)
        assert (change.writes, change.unlink, change.base) == ((), True, None)
        after = persisted(record, change)
        assert merged(after, IGNORE).unlink
        assert merged(after, IGNORE).writes == ()


def test_a_link_given_up_is_taken_up_when_both_sides_have_it_again() -> None:
    change = merged(known(BASE, EDITED, BASE, unlinked=True), IGNORE)
    assert (bodies(change), change.unlink) == ({"sis": EDITED}, False)
    alike = merged(known(BASE, BASE, BASE, unlinked=True), IGNORE)
    assert (alike.writes, alike.unlink, alike.note) == ((), False, "both sides have it again")


@pytest.mark.parametrize("entity", ["Student", "Course", "School"])
def test_some_entities_are_locked_to_ignore(entity: str) -> None:
    for policy in (DELETE, DEACTIVATE):
        change = merged(known(BASE, BASE, GONE), policy, Rules(entity, Method.ALWAYS_SIS))
        assert (change.writes, change.unlink) == ((), True)


INACTIVE = {"text": "old", "isActive": False}


def test_a_deactivated_record_is_reactivated_while_the_value_stands() -> None:
    record = known(BASE, BASE, GONE)
    change = merged(record, DEACTIVATE)
    assert (kinds(change), bodies(change)) == ({"hub": Kind.DEACTIVATE}, {"hub": INACTIVE})
    after = persisted(record, change)
    assert merged(after, DEACTIVATE) is UNTOUCHED
    back = merged(replace(after, sis=live(EDITED)), DEACTIVATE)
    assert bodies(back) == {"hub": EDITED}
    assert merged(persisted(replace(after, sis=live(EDITED)), back), DEACTIVATE) is UNTOUCHED


def test_a_reactivation_is_no_change_against_which_the_sis_could_stand() -> None:
    after = persisted(known(BASE, BASE, GONE), merged(known(BASE, BASE, GONE), DEACTIVATE))
    part = {"text": "old", "isActive": "part"}
    assert bodies(merged(replace(after, sis=live(part)), DEACTIVATE)) == {"hub": part}


def test_a_record_is_not_reactivated_when_somebody_changed_the_value() -> None:
    after = persisted(known(BASE, BASE, GONE), merged(known(BASE, BASE, GONE), DEACTIVATE))
    changed = replace(after, hub=live({"text": "old", "isActive": "never"}), sis=live(EDITED))
    assert bodies(merged(changed, DEACTIVATE))["hub"] == {"text": "new", "isActive": "never"}


def test_a_record_is_deactivated_in_the_sis_too() -> None:
    record = known(BASE, GONE, BASE)
    change = merged(record, DEACTIVATE)
    assert bodies(change) == {"sis": INACTIVE}
    after = persisted(record, change)
    assert merged(after, DEACTIVATE) is UNTOUCHED
    assert bodies(merged(replace(after, hub=live(EDITED)), DEACTIVATE)) == {"sis": EDITED}
    lacking = known(BASE, GONE, live({"text": "old"}, frozenset({"text"})))
    assert merged(lacking, DEACTIVATE).writes == ()


def test_what_is_inactive_already_is_not_written() -> None:
    change = merged(known(INACTIVE, INACTIVE, GONE), DEACTIVATE)
    assert change.writes == ()
    assert change.base is not None
    assert change.base.deleted


def test_a_deactivated_record_that_is_deleted_is_a_tombstone() -> None:
    after = persisted(known(BASE, BASE, GONE), merged(known(BASE, BASE, GONE), DEACTIVATE))
    change = merged(replace(after, hub=GONE), DEACTIVATE)
    assert change.writes == ()
    assert change.base == replace(TOMBSTONE, hub=INACTIVE)
    assert conflicts(merged(replace(after, hub=GONE, sis=live(BASE)), DEACTIVATE)) == [""]
