"""Writes to a SIS with every mishap: what they come to, when the base moves, and what the next nights make of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.merging import DeletePolicy, OnDelete
from homeroom_merge.pacing import Pacing
from homeroom_merge.records import Method
from homeroom_merge.rules import Rules
from homeroom_merge.store import known
from homeroom_merge.terms import Terms
from homeroom_merge.testing import DATABASE, DROP_OFF, Fault, MemorySis
from homeroom_merge.values import Json
from homeroom_server.settings import Settings
from tests.merge.pupils import NOW, Pupils, School, opened_school, pupil

HUB = Rules("Student", Method.RESOLVE_AS_HUB)
BASES = "select hub_id, base_hub = hub_seen as moved from homeroom_merge.record"
NO_LOOK = Abilities(complete=True, write=True, conditional_write=True)
GIVES_KEYS = replace(DATABASE, gives_keys=True)
FIVE_TIMES: list[Fault] = ["transient"] * 5
Opened = Callable[..., AbstractAsyncContextManager[School]]


@pytest.fixture
def opened(database_of_test: str, settings: Settings) -> Opened:
    """A Core and a SIS of the test's."""
    return lambda sis, entity="Student": opened_school(database_of_test, settings, sis, entity)


@pytest.fixture
async def school(opened: Opened) -> AsyncIterator[School]:
    """Two pupils on whom both sides agree, in a database."""
    async with opened(MemorySis()) as school:
        await agreed(school, "r1", "r2")
        yield school


def sis_of(school: School) -> MemorySis:
    assert isinstance(school.sis, MemorySis)
    return school.sis


async def agreed(school: School, *keys: str) -> None:
    for key in keys:
        put(school, key, first="Ada", last="Bear")
    sis_of(school).export()
    await school.merge()
    assert set(await school.hub()) == set(keys)


def put(school: School, key: str, **cells: object) -> None:
    sis_of(school).put(school.entity, key, **{"school": "S.91", **cells})


def shown(school: School) -> dict[str, Json]:
    """What is in the SIS, read by its formatter."""
    return {key: Pupils().read(row).body for key, row in sis_of(school).rows[school.entity].items()}


async def outcome(school: School, key: str, rules: Rules | None = None) -> tuple[str, str]:
    """What a night makes of a record; `nothing` if nothing was planned for it."""
    return (await school.outcomes(await school.merge(rules))).get(key, ("nothing", ""))


async def has_moved_base(school: School, key: str) -> bool:
    rows = await school.own.fetch(BASES)
    return {row["hub_id"]: bool(row["moved"]) for row in rows}[key]


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


async def test_a_difference_that_the_sis_cannot_express_is_not_sent(school: School) -> None:
    await school.say("r1", pupil("Maximiliane"))
    await school.merge()
    await school.say("r1", pupil("Maximilianea-Maria"))
    await school.merge()
    await school.say("r1", pupil("Maximilianea-Marie"))
    assert await outcome(school, "r1") == ("done", "")
    assert sis_of(school).writes == {"r1": 2}
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
