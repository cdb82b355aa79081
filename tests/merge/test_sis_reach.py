"""What of a plan reaches the SIS: held and approved, deletes, references, sides that are not written."""

from dataclasses import replace

import pytest

from homeroom_merge.merging import DeletePolicy, OnDelete
from homeroom_merge.records import Method
from homeroom_merge.rules import Rules
from homeroom_merge.terms import Terms
from homeroom_merge.testing import DATABASE, MemorySis
from tests.merge.pupils import NOW, School, pupil
from tests.merge.written import FIVE_TIMES, Opened, agreed, has_moved_base, outcome, put, shown, sis_of

HUB = Rules("Student", Method.RESOLVE_AS_HUB)


async def test_a_conflict_decided_while_the_sis_is_down_is_written_when_it_is_back(school: School) -> None:
    sis = sis_of(school)
    await school.say("r1", pupil("Hub"))
    put(school, "r1", first="Sis")
    assert (await outcome(school, "r1"))[0] == "conflict"
    group = await school.group(HUB)

    def down(key: str) -> None:
        sis.is_down = True

    await school.say("r2", pupil("Ida"))
    sis.meanwhile = down
    sis.fail("r1", *FIVE_TIMES)
    (course,) = await group.run(NOW)
    sis.is_down, sis.meanwhile = False, None
    assert (await school.outcomes(course))["r1"] == ("failed", "try again")
    assert (await school.hub())["r1"] == pupil("Hub")
    assert (await outcome(school, "r1", HUB))[0] == "done"
    assert shown(school)["r1"] == pupil("Hub")


async def test_a_record_fetched_by_delta_and_then_held_is_still_there_next_time(opened: Opened) -> None:
    async with opened(MemorySis()) as school:
        keys = [f"r{number}" for number in range(8)]
        await agreed(school, *keys)
        for key in keys:
            put(school, key, first="Eve")
            await school.say(key, pupil("Ada", "Wolf"))
        (held,) = await (await school.group()).run(NOW)
        assert held.status == "held", "every record is updated"
        assert sis_of(school).writes == {}
        course = await school.merge()
        assert course.run != held.run
        assert course.sis is None, "approved"
        assert shown(school) == await school.hub() == {key: pupil("Eve", "Wolf") for key in keys}


async def test_an_approval_after_one_record_moved_writes_the_others_and_holds_it(opened: Opened) -> None:
    async with opened(MemorySis()) as school:
        keys = [f"r{number}" for number in range(8)]
        await agreed(school, *keys)
        for key in keys:
            await school.say(key, pupil("Eve"))
        group = await school.group()
        (held,) = await group.run(NOW)
        put(school, "r3", last="Wolf")
        course, again = await group.approve([held.run], NOW, "tests")
        assert (course.status, again.status) == ("finishedWithIssues", "held")
        told = await school.outcomes(course)
        assert told.pop("r3")[0] == "moved"
        assert {what for what, _ in told.values()} == {"done"}
        assert shown(school)["r3"] == pupil("Ada", "Wolf")
        assert sis_of(school).writes == dict.fromkeys(set(keys) - {"r3"}, 1)
        row = await school.own.fetchrow("select id from homeroom_merge.run where status = 'held'")
        assert row is not None
        await group.approve([row["id"]], NOW, "tests")
        assert shown(school)["r3"] == (await school.hub())["r3"] == pupil("Eve", "Wolf")


async def test_deletes_and_undeletes_reach_the_sis(opened: Opened) -> None:
    def deletes(terms: Terms) -> Terms:
        return replace(terms, policy=DeletePolicy(OnDelete.DELETE))

    async with opened(MemorySis(), "Staff") as school:
        school.change = deletes
        await agreed(school, "r1", "r2")
        await school.say("r1", None)
        assert (await outcome(school, "r1"))[0] == "done"
        assert set(shown(school)) == {"r2"}
        assert (await outcome(school, "r1"))[0] == "nothing"
        await school.say("r1", pupil("Back"))
        assert (await outcome(school, "r1"))[0] == "done"
        assert shown(school)["r1"] == pupil("Back")
        await school.say("r2", None)
        course = await school.merge()
        assert set(shown(school)) == {"r1"}
        group = await school.group()
        await group.undo([course.run], NOW)
        assert shown(school)["r2"] == pupil()
        assert (await outcome(school, "r2"))[0] == "nothing", "the night does not delete it again"
        await school.say("r3", pupil("Made"))
        made = await school.merge()
        await group.undo([made.run], NOW)
        assert set(shown(school)) == {"r1", "r2"}
        await school.merge()
        assert "r3" in await school.hub(), "nor what was made in the SIS on the hub"


@pytest.mark.parametrize("side", ["hub", "sis"])
async def test_a_side_that_is_not_written_is_told_of_and_keeps_its_base(school: School, side: str) -> None:
    names = {"hub": "persists_hub", "sis": "persists_sis"}
    school.change = lambda terms: replace(terms, **{names[side]: False})  # type: ignore[arg-type]
    await school.say("r1", pupil("Hub"))
    put(school, "r1", last="Sis")
    before = (await school.hub())["r1"], shown(school)["r1"]
    assert await outcome(school, "r1") == ("done", f"the {side} is not written")
    after = (await school.hub())["r1"], shown(school)["r1"]
    kept, moved = (0, 1) if side == "hub" else (1, 0)
    assert after[kept] == before[kept]
    assert after[moved] == pupil("Hub", "Sis")
    put(school, "r1", last="Bear")
    await school.merge()
    if side == "sis":
        assert (await school.hub())["r1"] == pupil("Hub", "Bear"), "what was taken has a base of its own"
    school.change = lambda terms: terms
    await school.merge()
    assert shown(school)["r1"] == (await school.hub())["r1"] == pupil("Hub", "Bear")


async def test_a_sis_that_is_only_read_is_not_written(opened: Opened) -> None:
    async with opened(MemorySis(replace(DATABASE, write=False))) as school:
        await agreed(school, "r1")
        await school.say("r1", pupil("Hub"))
        assert await outcome(school, "r1") == ("done", "the sis is not written")
        assert sis_of(school).tries == 0
        assert not await has_moved_base(school, "r1")
