"""When a plan is held."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from homeroom_merge.guards import Limits, Pass, Season, Standing, Tally, judge, season_of, tally, vanished
from homeroom_merge.plan import Change, Conflict, FieldChange, Kind, Write
from homeroom_merge.values import ABSENT

TODAY = date(2027, 9, 1)
STANDING = Standing(live=100, today=TODAY)


def change(*kinds: Kind, emptied: str = "", to: bool = True) -> Change:
    writes = tuple(Write("hub", kind, {}) for kind in kinds)
    field = FieldChange(emptied, "x", ABSENT, "x", ABSENT, "sis", ("hub",) if to else ())
    return Change("1", "2", writes, (field,) if emptied else ())


@pytest.mark.parametrize(
    ("planned", "may"),
    [
        (Tally(deletes=10), Pass.ALL),
        (Tally(deletes=11), Pass.NOTHING),
        (Tally(updates=75), Pass.ALL),
        (Tally(updates=76), Pass.NOTHING),
        (Tally(creates=75), Pass.ALL),
        (Tally(creates=76), Pass.NOTHING),
        (Tally(emptied={"/text": 10}), Pass.ALL),
        (Tally(emptied={"/text": 11}), Pass.NOTHING),
    ],
)
def test_a_plan_is_held_above_its_share(planned: Tally, may: Pass) -> None:
    verdict = judge(planned, STANDING, Limits())
    assert verdict.may is may
    assert bool(verdict.reasons) is (may is Pass.NOTHING)


def test_a_share_is_judged_from_five_records_on() -> None:
    few = replace(STANDING, live=6)
    assert judge(Tally(deletes=4), few, Limits()).may is Pass.ALL
    assert judge(Tally(deletes=5), few, Limits()).reasons == ("5 deletes: 83.3 % of 6 records, more than 10 %",)
    assert judge(Tally(creates=5), replace(STANDING, live=0), Limits()).may is Pass.NOTHING


@pytest.mark.parametrize(
    ("out_of_view", "live", "is_said"),
    [(0, 0, False), (10, 100, False), (11, 100, True), (4, 6, False), (4, 4, True), (1, 1, True), (5, 6, True)],
)
def test_that_many_are_out_of_view_is_said(out_of_view: int, live: int, is_said: bool) -> None:
    assert bool(vanished(out_of_view, live)) is is_said


def test_creates_and_updates_may_go_on_while_deletes_are_held() -> None:
    apart = Limits(deletes_apart=True)
    assert judge(Tally(deletes=11, updates=3), STANDING, apart).may is Pass.NO_DELETES
    assert judge(Tally(deletes=11, updates=76), STANDING, apart).may is Pass.NOTHING
    assert judge(Tally(deletes=1), STANDING, apart).may is Pass.ALL


def test_a_first_merge_is_always_held_and_not_for_its_creates() -> None:
    first = replace(STANDING, live=0, is_first=True)
    assert judge(Tally(creates=900), first, Limits()).reasons == ("a first merge is always held",)
    assert judge(Tally(), first, Limits(deletes_apart=True)).may is Pass.NOTHING


def test_a_missing_column_holds() -> None:
    missing = replace(STANDING, columns_missing=frozenset({"Grade"}))
    assert judge(Tally(), missing, Limits()).reasons == ("the column Grade is missing",)


def test_realtime_counts_over_the_last_day() -> None:
    so_far = replace(STANDING, earlier=Tally(deletes=10, emptied={"/text": 10}))
    assert judge(Tally(deletes=1), so_far, Limits()).may is Pass.NOTHING
    assert judge(Tally(emptied={"/text": 1}), so_far, Limits()).may is Pass.NOTHING
    assert judge(Tally(updates=1), so_far, Limits()).may is Pass.ALL


SEPTEMBER = Season("new year", date(2027, 8, 25), date(2027, 9, 30), Limits(deletes=60, creates=None))
REPORTS = Season("report cards", TODAY, TODAY)


def test_a_season_overrides_limits_and_a_blackout_holds_everything() -> None:
    planned = Tally(deletes=50, creates=400)
    assert judge(planned, STANDING, Limits(), [SEPTEMBER]).may is Pass.ALL
    assert judge(planned, replace(STANDING, today=date(2027, 10, 1)), Limits(), [SEPTEMBER]).may is Pass.NOTHING
    held = judge(Tally(), STANDING, Limits(), [REPORTS, SEPTEMBER])
    assert (held.may, held.reasons) == (Pass.NOTHING, ("2027-09-01 is a blackout date: report cards",))


def test_the_season_that_begins_last_is_in_force() -> None:
    week = replace(SEPTEMBER, name="first week", starts=TODAY)
    assert season_of(TODAY, [week, SEPTEMBER]) == season_of(TODAY, [SEPTEMBER, week]) == week
    assert season_of(date(2027, 9, 30), [SEPTEMBER]) == SEPTEMBER
    assert season_of(date(2027, 8, 24), [SEPTEMBER]) is None


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ([change(Kind.CREATE), change(Kind.UNDELETE)], Tally(creates=2)),
        ([change(Kind.DELETE), change(Kind.DEACTIVATE)], Tally(deletes=2)),
        ([change(Kind.UPDATE, Kind.UPDATE), change()], Tally(updates=1)),
        ([replace(change(Kind.UPDATE), conflicts=(Conflict("", 1, 2, 3, ""),))], Tally()),
    ],
)
def test_records_are_counted_by_what_happens_to_them(changes: list[Change], counted: Tally) -> None:
    assert tally(changes) == counted


def emptied(*changes: Change) -> Mapping[str, int]:
    return tally(changes).emptied


def test_emptied_fields_are_counted_by_pattern() -> None:
    updates = [change(Kind.UPDATE, emptied=f"/phones/[{kind}]/number") for kind in ("home", "work")]
    assert emptied(*updates) == {"/phones/$/number": 2}
    assert emptied(change(Kind.UPDATE, emptied="/text", to=False)) == {}
    filled = replace(updates[0].fields[0], outcome="y")
    never_full = replace(updates[0].fields[0], base=None)
    assert emptied(replace(updates[0], fields=(filled, never_full))) == {}
