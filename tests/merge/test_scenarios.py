"""What goes wrong in the field, as far as it is told by one record and its feeds."""

from dataclasses import replace
from datetime import date

import pytest

from homeroom_merge.guards import Limits, Pass, Standing, judge, tally
from homeroom_merge.merging import UNTOUCHED
from homeroom_merge.plan import Kind
from homeroom_merge.records import Base, Known, Method, Side, State
from homeroom_merge.rules import Rules
from tests.merge.records import DELETE, MANUAL, Json, bodies, conflicts, kinds, known, live, merged, persisted

GONE = Side(State.DELETED)
BASE, EDITED = {"text": "old"}, {"text": "new"}


def test_a_pupil_who_leaves_one_of_two_schools_stays_in_the_other() -> None:
    pupils = Rules("Student", Method.ALWAYS_SIS, student_audience=True)
    leaves = merged(known(BASE, BASE, GONE, home=False), pupils)
    stays = merged(known(BASE, BASE, BASE), pupils)
    assert (leaves.writes, leaves.unlink, leaves.conflicts) == ((), True, ())
    assert stays is UNTOUCHED


def test_access_that_lapses_is_out_of_view_and_deletes_nothing() -> None:
    lapsed = known(BASE, Side(State.OUT_OF_VIEW), EDITED)
    change = merged(lapsed)
    assert (change.writes, change.set_aside) == ((), True)
    regained = merged(replace(persisted(lapsed, change), hub=live(BASE)))
    assert (bodies(regained), regained.set_aside) == ({"hub": EDITED}, False)


@pytest.mark.parametrize("base", [None, Base(BASE, BASE), Base(BASE, BASE, deleted=True)])
@pytest.mark.parametrize("other", list(State))
def test_a_failed_record_is_never_deleted(base: Base | None, other: State) -> None:
    side = live(BASE) if other is State.LIVE else Side(other)
    for record in (known(base, side, Side(State.FAILED)), known(base, Side(State.FAILED), side)):
        change = merged(record)
        assert (change.writes, change.base, change.unlink) == ((), None, False)


def test_a_missing_column_empties_nothing_and_holds_the_plan() -> None:
    record = known({"text": "old", "note": "n"}, {"text": "old", "note": "n"}, live(BASE, frozenset({"text"})))
    assert merged(record) is UNTOUCHED
    standing = Standing(live=100, today=_today(), columns_missing=frozenset({"note"}))
    assert judge(tally([]), standing, Limits()).may is Pass.NOTHING


def _today() -> date:
    return date(2027, 9, 1)


def dropped(first: Json = BASE, then: Json = EDITED) -> Known:
    """A record that was written to a folder and not shown since."""
    record = known(first, then, first)
    return persisted(record, merged(record), drop_off=True)


def test_a_sis_that_shows_late_what_it_was_given_has_changed_nothing() -> None:
    waiting = dropped()
    assert waiting.base == Base(BASE, BASE)
    assert merged(waiting) is UNTOUCHED
    shown = replace(waiting, sis=live(EDITED))
    change = merged(shown)
    assert (change.writes, change.base, change.awaits) == ((), Base(EDITED, EDITED), False)
    assert merged(persisted(shown, change)) is UNTOUCHED


def test_a_real_change_in_a_sis_that_lags_is_taken() -> None:
    change = merged(replace(dropped(), sis=live({"text": "newest"})))
    assert bodies(change) == {"hub": {"text": "newest"}}
    first, then = {"text": "old", "more": 1}, {"text": "new", "more": 1}
    waiting = replace(dropped(first, then), sis=live({"text": "old", "more": 2}))
    change = merged(waiting)
    assert bodies(change) == {"hub": {"text": "new", "more": 2}}
    assert change.awaits
    after = persisted(waiting, change)
    assert after.base == Base(first, first)
    assert merged(after) is UNTOUCHED


def test_two_writes_that_overtake_each_other_are_both_awaited() -> None:
    once = dropped()
    again = replace(once, hub=live({"text": "third"}))
    twice = persisted(again, merged(again), drop_off=True)
    for old in (BASE, EDITED):
        assert merged(replace(twice, sis=live(old))) is UNTOUCHED
    assert merged(replace(twice, sis=live({"text": "third"}))).base == Base({"text": "third"}, {"text": "third"})


def test_what_the_hub_takes_back_while_the_sis_lags_is_written_again() -> None:
    assert bodies(merged(replace(dropped(), hub=live(BASE)))) == {"sis": BASE}


def test_a_nested_change_in_a_sis_that_lags_keeps_what_is_awaited() -> None:
    def named(first: str, last: str) -> Json:
        return {"name": {"first": first, "last": last}, "phones": [{"kind": "home", "number": first, "at": last}]}

    waiting = dropped(named("a", "z"), named("b", "z"))
    change = merged(replace(waiting, sis=live(named("a", "y"))))
    assert bodies(change) == {"hub": named("b", "y")}


def test_what_a_lagging_sis_showed_when_it_lost_a_conflict_is_no_change() -> None:
    record = known(BASE, EDITED, {"text": "lost"})
    as_hub = Rules("Note", Method.RESOLVE_AS_HUB)
    waiting = persisted(record, merged(record, as_hub), drop_off=True)
    for old in ({"text": "lost"}, BASE):
        assert merged(replace(waiting, sis=live(old)), as_hub) is UNTOUCHED


def test_a_create_that_is_not_shown_is_not_made_twice() -> None:
    record = known(None, BASE, None)
    waiting = persisted(record, merged(record), drop_off=True)
    assert merged(waiting) is UNTOUCHED
    change = merged(replace(waiting, sis=live(BASE)))
    assert (change.writes, change.base) == ((), Base(BASE, BASE))
    assert kinds(merged(replace(waiting, sis=GONE))) == {}
    assert merged(replace(waiting, hub=Side(State.OUT_OF_VIEW))).set_aside


def test_a_delete_that_is_not_shown_is_not_made_twice() -> None:
    record = known(BASE, GONE, BASE)
    change = merged(record)
    waiting = persisted(record, change, drop_off=True)
    assert merged(waiting) is UNTOUCHED
    assert merged(replace(waiting, sis=GONE)).base == Base(BASE, BASE, deleted=True)
    assert conflicts(merged(replace(waiting, sis=live(EDITED)))) == [""]


def test_a_hub_edit_while_the_sis_lags_is_written() -> None:
    change = merged(replace(dropped(), hub=live({"text": "third"})), MANUAL, DELETE)
    assert (kinds(change), bodies(change)) == ({"sis": Kind.UPDATE}, {"sis": {"text": "third"}})
