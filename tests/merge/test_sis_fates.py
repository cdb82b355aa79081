"""Writes to a SIS whose fate is not known at once: lost answers, exports that lag, crashes, keys that the SIS gives."""

from dataclasses import replace

import pytest

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.store import known
from homeroom_merge.testing import DATABASE, DROP_OFF, Fault, MemorySis
from tests.merge.pupils import School, pupil
from tests.merge.written import Opened, agreed, has_moved_base, outcome, put, shown, sis_of

NO_LOOK = Abilities(complete=True, write=True, conditional_write=True)
GIVES_KEYS = replace(DATABASE, gives_keys=True)


@pytest.mark.parametrize(
    ("fault", "first", "then"),
    [
        ("unknownWritten", "done", "nothing"),
        ("brokenWritten", "done", "nothing"),
        ("unknownLost", "failed", "done"),
        ("brokenLost", "failed", "done"),
    ],
)
async def test_the_fate_of_a_write_is_found_out_where_the_sis_tells(
    school: School, fault: Fault, first: str, then: str
) -> None:
    sis_of(school).fail("r1", fault)
    await school.say("r1", pupil("Eve"))
    assert (await outcome(school, "r1"))[0] == first
    result = await school.own.fetchval("select result from homeroom_merge.journal where side = 'sis'")
    assert result == {"done": "done", "failed": "transient"}[first]
    assert (await outcome(school, "r1"))[0] == then
    assert sis_of(school).writes == {"r1": 1}
    assert shown(school)["r1"] == pupil("Eve")


@pytest.mark.parametrize("fault", ["unknownWritten", "unknownLost"])
async def test_a_write_whose_fate_nobody_can_tell_is_never_repeated_unasked(opened: Opened, fault: Fault) -> None:
    async with opened(MemorySis(DROP_OFF)) as school:
        await agreed(school, "r1")
        sis = sis_of(school)
        sis.fail("r1", fault)
        await school.say("r1", pupil("Eve"))
        course = await school.merge()
        assert await school.outcomes(course) == {"r1": ("unknown", "nobody can tell whether the SIS has it")}
        assert course.status == "finishedWithIssues"
        for _ in range(2):
            assert await outcome(school, "r1") == ("nothing", "")
        assert sis.tries == 1
        assert not await has_moved_base(school, "r1")
        unknown = await known.unknown(school.own, course.subject)
        assert len(unknown) == 1
        if fault == "unknownLost":
            await known.await_no_longer(school.own, unknown)
            assert (await outcome(school, "r1"))[0] == "done"
        sis.export()
        await school.merge()
        assert shown(school)["r1"] == pupil("Eve")
        assert await known.unknown(school.own, course.subject) == []
        assert await has_moved_base(school, "r1")
        assert sis.writes == {"r1": 1}


async def test_a_drop_off_whose_export_lags_is_awaited(opened: Opened) -> None:
    async with opened(MemorySis(DROP_OFF)) as school:
        await agreed(school, "r1")
        sis = sis_of(school)
        await school.say("r1", pupil("Eve"))
        await school.say("r9", pupil("New"))
        course = await school.merge()
        assert {what for what, _ in (await school.outcomes(course)).values()} == {"done"}
        assert not await has_moved_base(school, "r1")
        assert await school.outcomes(await school.merge()) == {}, "the old values in the export are no change"
        assert (await school.hub())["r1"] == pupil("Eve")
        await school.say("r1", pupil("Eve", "Wolf"))
        assert (await outcome(school, "r1"))[0] == "done", "what is awaited keeps nothing from being written"
        sis.export()
        await school.merge()
        assert (await has_moved_base(school, "r1"), await has_moved_base(school, "r9")) == (True, True)
        assert shown(school) == await school.hub() == {"r1": pupil("Eve", "Wolf"), "r9": pupil("New")}
        assert sis.writes == {"r1": 2, "r9": 1}
        put(school, "r1", first="Ada")
        sis.export()
        await school.merge()
        assert (await school.hub())["r1"] == pupil("Ada", "Wolf"), "from now on it is a change again"


async def test_a_record_that_fails_while_it_is_awaited_is_awaited_still(opened: Opened) -> None:
    async with opened(MemorySis(DROP_OFF)) as school:
        await agreed(school, "r1")
        await school.say("r1", pupil("Eve"))
        await school.merge()
        exported = sis_of(school).rows["Student"]["r1"]
        for cells in ({"phones": "no list"}, {"phones": None, "first": "Ada"}):
            put(school, "r1", **cells)
            sis_of(school).export()
            await school.merge()
        assert (await school.hub())["r1"] == pupil("Eve"), "the old value is no change"
        assert sis_of(school).writes == {"r1": 1}, "nor written again"
        sis_of(school).rows["Student"]["r1"] = exported
        sis_of(school).export()
        await school.merge()
        assert await has_moved_base(school, "r1")


async def test_what_is_taken_back_before_the_export_shows_it_is_written_too(opened: Opened) -> None:
    async with opened(MemorySis(DROP_OFF)) as school:
        await agreed(school, "r1")
        for name in ("Eve", "Ada"):
            await school.say("r1", pupil(name))
            await school.merge()
        assert sis_of(school).writes == {"r1": 2}
        assert shown(school)["r1"] == pupil("Ada")


async def test_a_crash_of_a_write_that_is_conditional_only_is_found_out_by_writing_again(opened: Opened) -> None:
    async with opened(MemorySis(NO_LOOK)) as school:
        await agreed(school, "r1")
        sis_of(school).fail("r1", "unknownLost")
        await school.say("r1", pupil("Eve"))
        assert (await outcome(school, "r1"))[0] == "done"
        assert sis_of(school).writes == {"r1": 1}
        await school.say("r1", pupil("Ida"))
        sis_of(school).export()
        await school.merge()
        sis_of(school).export()
        await school.say("r1", pupil("Eva"))
        sis_of(school).fail("r1", "unknownWritten")
        assert (await outcome(school, "r1"))[0] == "unknown", "its own write, or somebody else's"


async def test_a_sis_that_gives_keys_names_the_record(opened: Opened) -> None:
    async with opened(MemorySis(GIVES_KEYS)) as school:
        await agreed(school, "r1")
        await school.say("new", pupil("Eve"))
        assert (await outcome(school, "new"))[0] == "done"
        (given,) = set(shown(school)) - {"r1"}
        assert given != "new"
        put(school, given, last="Wolf")
        assert (await outcome(school, "new"))[0] == "done"
        assert set(await school.hub()) == {"r1", "new"}, "the link holds"
        assert (await school.hub())["new"] == pupil("Eve", "Wolf")


@pytest.mark.parametrize("abilities", [GIVES_KEYS, replace(DROP_OFF, gives_keys=True)])
async def test_a_new_record_whose_answer_was_lost_is_known_by_what_it_says(
    opened: Opened, abilities: Abilities
) -> None:
    async with opened(MemorySis(abilities)) as school:
        await agreed(school, "r1")
        sis_of(school).fail("new", "unknownWritten")
        await school.say("new", pupil("Eve"))
        assert (await outcome(school, "new"))[0] == "unknown"
        sis_of(school).export()
        for _ in range(2):
            await school.merge()
        assert await school.hub() == {"r1": pupil(), "new": pupil("Eve")}
        (given,) = set(shown(school)) - {"r1"}
        put(school, given, last="Wolf")
        sis_of(school).export()
        await school.merge()
        assert (await school.hub())["new"] == pupil("Eve", "Wolf")
        assert len(shown(school)) == 2


class Crash(BaseException):
    """The end of a process."""


@pytest.mark.parametrize(
    ("abilities", "is_written", "ends"),
    [
        (DATABASE, False, "written"),
        (DATABASE, True, "written"),
        (NO_LOOK, False, "written"),
        (NO_LOOK, True, "unknown"),
        (DROP_OFF, False, "unknown"),
        (DROP_OFF, True, "unknown"),
    ],
)
async def test_a_crash_between_intent_and_result_is_found_out_or_unknown(
    opened: Opened, abilities: Abilities, is_written: bool, ends: str
) -> None:
    async with opened(MemorySis(abilities)) as school:
        await agreed(school, "r1")
        sis = sis_of(school)

        def crash(key: str) -> None:
            sis.meanwhile = None
            if is_written:
                sis.writes[key] += 1
                put(school, key, first="Eve")
            raise Crash

        sis.meanwhile = crash
        await school.say("r1", pupil("Eve"))
        with pytest.raises(Crash):
            await school.merge()
        course = await school.merge()
        assert len(await known.unknown(school.own, course.subject)) == (ends == "unknown")
        assert sis.writes["r1"] == (ends == "written" or is_written), "never twice"
        assert (await outcome(school, "r1"))[0] == "nothing"
        sis.export()
        if ends == "written" or is_written:
            await school.merge()
            assert await has_moved_base(school, "r1")
            assert shown(school)["r1"] == pupil("Eve")
