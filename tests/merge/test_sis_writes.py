"""Writes to a SIS with every mishap: what they come to, and when the base moves."""

from dataclasses import replace

from homeroom_merge.pacing import Pacing
from homeroom_merge.testing import DATABASE, MemorySis
from tests.merge.pupils import School, pupil
from tests.merge.written import FIVE_TIMES, Opened, agreed, has_moved_base, outcome, put, shown, sis_of


async def test_a_write_that_is_done_moves_the_base(school: School) -> None:
    await school.say("r1", pupil("Eve"))
    assert await outcome(school, "r1") == ("done", "")
    assert shown(school)["r1"] == pupil("Eve")
    assert sis_of(school).writes == {"r1": 1}
    assert await has_moved_base(school, "r1")
    assert await outcome(school, "r1") == ("nothing", "")


async def test_a_transient_failure_is_tried_again_and_a_lasting_one_is_for_tomorrow(school: School) -> None:
    sis = sis_of(school)
    await school.say("r1", pupil("Eve"))
    sis.fail("r1", "transient", "transient")
    assert await outcome(school, "r1") == ("done", "")
    assert sis.tries == 3
    await school.say("r1", pupil("Ida"))
    sis.fail("r1", *FIVE_TIMES)
    assert await outcome(school, "r1") == ("failed", "try again")
    assert not await has_moved_base(school, "r1")
    assert await outcome(school, "r1") == ("done", "")
    assert sis.writes == {"r1": 2}


async def test_a_refused_write_stays_with_its_record(school: School) -> None:
    await school.say("r1", pupil("Eve"))
    await school.say("r2", pupil("Ida"))
    sis_of(school).fail("r1", "refused")
    course = await school.merge()
    assert await school.outcomes(course) == {"r1": ("failed", "the SIS does not want it"), "r2": ("done", "")}
    assert course.status == "finishedWithIssues"
    assert sis_of(school).tries == 2, "what is refused is not tried again"
    assert (await has_moved_base(school, "r1"), await has_moved_base(school, "r2")) == (False, True)


async def test_a_record_that_moves_while_it_is_written_is_merged_again(school: School) -> None:
    sis = sis_of(school)

    def somebody(key: str) -> None:
        sis.meanwhile = None
        put(school, key, last="Wolf")

    sis.meanwhile = somebody
    await school.say("r1", pupil("Eve"))
    assert await outcome(school, "r1") == ("done", "")
    assert shown(school)["r1"] == (await school.hub())["r1"] == pupil("Eve", "Wolf")
    assert sis.writes == {"r1": 1}
    assert await outcome(school, "r1") == ("nothing", "")


async def test_a_sis_without_conditional_writes_is_read_again_before_each_write(opened: Opened) -> None:
    async with opened(MemorySis(replace(DATABASE, conditional_write=False))) as school:
        await agreed(school, "r1", "r2")
        sis = sis_of(school)

        def somebody(key: str) -> None:
            sis.meanwhile = None
            put(school, "r2", last="Wolf")

        sis.meanwhile = somebody
        for key in ("r1", "r2"):
            await school.say(key, pupil("Eve"))
        await school.merge()
        assert shown(school) == await school.hub() == {"r1": pupil("Eve"), "r2": pupil("Eve", "Wolf")}
        assert sis.writes == {"r1": 1, "r2": 1}


async def test_a_record_that_moves_each_time_is_a_conflict_until_it_keeps_still(school: School) -> None:
    sis = sis_of(school)
    sis.meanwhile = lambda key: put(school, key, locker=str(sis.tries))
    await school.say("r1", pupil("Eve"))
    assert (await outcome(school, "r1"))[0] == "conflict"
    assert sis.tries == 4, "merged again three times"
    assert shown(school)["r1"] == pupil()
    sis.meanwhile = None
    assert await outcome(school, "r1") == ("done", "")
    assert await school.own.fetchval("select count(*) from homeroom_merge.conflict") == 0


async def test_a_difference_that_the_sis_cannot_express_is_not_sent(school: School) -> None:
    await school.say("r1", pupil("Maximiliane"))
    await school.merge()
    await school.say("r1", pupil("Maximilianea-Maria"))
    await school.merge()
    await school.say("r1", pupil("Maximilianea-Marie"))
    assert await outcome(school, "r1") == ("done", "")
    assert sis_of(school).writes == {"r1": 2}
    assert await has_moved_base(school, "r1")


async def test_a_sis_that_is_down_is_not_asked_for_every_record(opened: Opened) -> None:
    async with opened(MemorySis()) as school:
        keys = [f"r{number}" for number in range(10)]
        await agreed(school, *keys)
        for key in keys:
            await school.say(key, pupil("Eve"))
        sis = sis_of(school)
        for key in keys:
            sis.fail(key, *FIVE_TIMES)
        course = await school.merge()
        assert [what for what, _ in (await school.outcomes(course)).values()] == ["failed"] * 10
        assert sis.tries == 15, "three records, five times each"


async def test_a_wait_that_the_sis_asks_for_is_kept_or_it_is_given_up() -> None:
    pacing = Pacing(first_seconds=1, pause_seconds_max=8, wait_asked_seconds_max=100, attempts_max=5)
    assert pacing.pause_seconds(1, 30) == 30
    assert pacing.pause_seconds(1, 101) is None
    assert pacing.pause_seconds(5) is None
    pauses = [pacing.pause_seconds(4) or 0 for _ in range(50)]
    assert len(set(pauses)) > 1, "jitter"
    assert all(4 <= pause <= 8 for pause in pauses)
