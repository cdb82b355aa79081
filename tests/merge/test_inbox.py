"""The conflict inbox: each way of deciding ends with both sides equal and the entry gone, and stays so."""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from homeroom_merge import inbox
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.explanation import explained
from homeroom_merge.formatters.formatter import Reading, Row
from homeroom_merge.merging import DeletePolicy, OnDelete
from homeroom_merge.records import Method
from homeroom_merge.run import Course
from homeroom_merge.store import inbox as store
from homeroom_merge.store import own
from homeroom_merge.store.conflicts import Wanted
from homeroom_merge.store.inbox import Entry
from homeroom_merge.testing import Fault, MemorySis
from homeroom_server.settings import Settings
from tests.merge.pupils import NOW, TABLE, File, Pupils, School, feed_of, opened_school, pupil

UNLINKED = "the link was given up when one side deleted it"
SETTLING = (Method.RESOLVE_AS_HUB, Method.RESOLVE_AS_SIS, Method.ALWAYS_HUB, Method.ALWAYS_SIS)
FIVE_TIMES: list[Fault] = ["transient"] * 5
HOME = {"type": "home", "number": "555-0101"}


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "sis.sqlite")


@pytest.fixture
async def school(database_of_test: str, settings: Settings, file: File) -> AsyncIterator[School]:
    sis = SqlDatabase(file.url, {"Student": TABLE, "Staff": TABLE})
    async with opened_school(database_of_test, settings, sis) as school:
        yield school
    await sis.close()


async def disputed(school: School, file: File, key: str = "r1") -> Entry:
    """A conflict over a first name, of a pupil on whom both sides once agreed."""
    file.put(key, first="Ada", last="Bear", phones=json.dumps([HOME]))
    await school.merge()
    await school.say(key, pupil("Hub", phones=[HOME]))
    file.put(key, first="Sis")
    await school.merge()
    (entry,) = await entries(school)
    assert (entry.pointer, entry.base, entry.sis, entry.hub) == ("/firstName", "Ada", "Sis", "Hub")
    return entry


async def entries(school: School) -> list[Entry]:
    return await store.entries(school.own, "raven", None, None, 100)


async def first_names(school: School, file: File, key: str = "r1") -> tuple[str, str]:
    return (await school.hub())[key]["firstName"], file.bodies()[key]["firstName"]


async def is_calm(school: School, file: File) -> bool:
    """Whether a run right after plans and writes nothing."""
    file.writes()
    course = await school.merge()
    return course.status == "success" and await school.outcomes(course) == {} and file.writes() == []


@pytest.mark.parametrize(
    ("way", "wins"),
    [("hub", "Hub"), ("sis", "Sis"), ("value", "Else"), (Method.RESOLVE_AS_SIS, "Sis"), (Method.ALWAYS_HUB, "Hub")],
)
async def test_each_way_of_deciding_ends_with_both_sides_equal(school: School, file: File, way: str, wins: str) -> None:
    entry = await disputed(school, file)
    match way:
        case "hub" | "sis" as side:
            await inbox.take(school.own, entry, side, "me")
        case "value":
            await inbox.set_value(school.own, entry, "Else", await school.group(), "me")
        case _:
            await inbox.make_rule(school.own, entry, Method(way), "me")
    assert (await school.merge()).status == "success"
    assert await first_names(school, file) == (wins, wins)
    assert await school.hub() == file.bodies()
    assert await entries(school) == []
    assert await school.own.fetchval("select count(*) from homeroom_merge.decision") == 0, "the base has moved"
    assert await is_calm(school, file)


async def test_a_decision_is_asked_again_if_a_value_changed(school: School, file: File) -> None:
    entry = await disputed(school, file)
    await inbox.take(school.own, entry, "hub", "me")
    (decided,) = await entries(school)
    assert (decided.decided_by, decided.outcome) == ("me", "Hub")
    file.put("r1", first="Later")
    await school.merge()
    (again,) = await entries(school)
    assert (again.decided_by, again.sis, again.since) == (None, "Later", entry.since)
    assert await first_names(school, file) == ("Hub", "Later")


async def test_a_decision_stands_until_the_base_moves(school: School, file: File) -> None:
    entry = await disputed(school, file)
    await inbox.take(school.own, entry, "hub", "me")
    school.change = lambda terms: replace(terms, persists_sis=False)
    for _ in range(2):
        await school.merge()
        assert (await entries(school), await first_names(school, file)) == ([], ("Hub", "Sis"))
    school.change = lambda terms: terms
    await school.merge()
    assert await first_names(school, file) == ("Hub", "Hub")
    file.put("r1", first="Ada")
    await school.merge()
    await school.say("r1", pupil("Hub", phones=[HOME]))
    file.put("r1", first="Sis")
    await school.merge()
    assert [each.pointer for each in await entries(school)] == ["/firstName"], "the same again is asked again"


async def test_an_entry_vanishes_when_both_sides_go_back(school: School, file: File) -> None:
    await disputed(school, file)
    await school.say("r1", pupil(phones=[HOME]))
    file.put("r1", first="Ada")
    assert (await school.merge()).status == "success"
    assert await entries(school) == []


async def test_a_value_decided_while_the_sis_is_down_is_carried_out_when_it_is_back(
    database_of_test: str, settings: Settings
) -> None:
    sis = MemorySis()
    async with opened_school(database_of_test, settings, sis) as school:
        sis.put("Student", "r1", first="Ada", last="Bear", school="S.91")
        await school.merge()
        await school.say("r1", pupil("Hub"))
        sis.put("Student", "r1", first="Sis")
        await school.merge()
        (entry,) = await entries(school)
        await inbox.set_value(school.own, entry, "Else", await school.group(), "me")
        sis.fail("r1", *FIVE_TIMES)
        await school.merge()
        names = [(await school.hub())["r1"]["firstName"], sis.rows["Student"]["r1"]["first"]]
        assert names == ["Else", "Sis"]
        assert (await school.merge()).status == "success"
        names = [(await school.hub())["r1"]["firstName"], sis.rows["Student"]["r1"]["first"]]
        assert names == ["Else", "Else"]
        assert await entries(school) == []


@pytest.mark.parametrize("side", ["hub", "sis"])
async def test_a_delete_against_an_edit_is_decided(school: School, file: File, side: str) -> None:
    school.entity = "Staff"
    school.change = lambda terms: replace(terms, policy=DeletePolicy(OnDelete.DELETE))
    file.put("r1", first="Ada", last="Bear")
    file.put("r2", first="Ida", last="Hare")
    await school.merge()
    await school.say("r1", pupil("Hub"))
    file.remove("r1")
    await school.merge()
    (entry,) = await entries(school)
    assert entry.pointer == ""
    with pytest.raises(inbox.InboxError, match="over the record itself"):
        await inbox.set_value(school.own, entry, {}, await school.group(), "me")
    await inbox.take(school.own, entry, "hub" if side == "hub" else "sis", "me")
    await school.merge()
    assert await school.hub() == file.bodies()
    assert ("r1" in file.bodies()) == (side == "hub")
    assert await entries(school) == []
    assert await is_calm(school, file)


async def test_a_typed_value_has_to_fit_the_schema(school: School, file: File) -> None:
    entry = await disputed(school, file)
    with pytest.raises(inbox.InboxError, match="17 cannot stand there: /firstName"):
        await inbox.set_value(school.own, entry, 17, await school.group(), "me")


async def test_a_rule_that_leaves_it_open_is_refused(school: School, file: File) -> None:
    entry = await disputed(school, file)
    for method in (Method.MANUAL, Method.NEWEST):
        with pytest.raises(inbox.InboxError, match="would leave it open"):
            await inbox.make_rule(school.own, entry, method, "me")


async def test_all_are_decided_at_once_if_there_are_as_many_as_was_said(school: School, file: File) -> None:
    await disputed(school, file)
    file.put("r1", last="Wolf")
    await school.say("r1", pupil("Hub", "Hare", phones=[HOME]))
    await school.merge()
    with pytest.raises(inbox.InboxError, match="there are more than 1 open conflicts, not 1"):
        await inbox.take_all(school.own, "raven", Wanted(), "hub", 1, "me")
    assert [each.decided_by for each in await entries(school)] == [None, None]
    with pytest.raises(inbox.InboxError, match="there are 1 open conflicts, not 2"):
        await inbox.take_all(school.own, "raven", Wanted("Student", "/lastName"), "hub", 2, "me")
    await inbox.take_all(school.own, "raven", Wanted(), "hub", 2, "me")
    await school.merge()
    assert await school.hub() == file.bodies() == {"r1": pupil("Hub", "Hare", phones=[HOME])}


async def test_a_sticky_field_survives_the_nights_until_it_is_cleared(school: School, file: File) -> None:
    entry = await disputed(school, file)
    await own.stick(school.own, entry.record, "/firstName", "me")
    for night in range(5):
        file.put("r1", first=f"Night{night}")
        await school.merge()
        assert await first_names(school, file) == ("Hub", "Hub")
    assert await own.clear_sticky(school.own, entry.record, "/firstName")
    file.put("r1", first="Morning")
    await school.merge()
    assert await first_names(school, file) == ("Morning", "Morning")


async def test_a_field_that_flips_three_times_in_a_day_becomes_a_conflict(school: School, file: File) -> None:
    file.put("r1", first="Ada", last="Bear")
    await school.merge()
    for _ in range(2):
        file.put("r1", first="Eve")
        await school.merge()
        await school.say("r1", pupil("Ada"))
        await school.merge()
    (entry,) = await entries(school)
    assert (entry.rule, await first_names(school, file)) == ("flips", ("Ada", "Eve"))
    await school.own.execute("update homeroom_merge.writing set written_at = written_at - interval '1 day'")
    await school.merge()
    assert (await entries(school), await first_names(school, file)) == ([], ("Ada", "Ada"))
    assert await school.own.fetchval("select count(*) from homeroom_merge.writing") == 1, "old ones are cleared away"


async def test_a_rule_settles_what_flips(school: School, file: File) -> None:
    file.put("r1", first="Ada", last="Bear")
    await school.merge()
    for name in ("Eve", "Ada", "Eve", "Ada"):
        file.put("r1", first=name)
        await school.merge()
    (entry,) = await entries(school)
    await inbox.make_rule(school.own, entry, Method.RESOLVE_AS_HUB, "me")
    await school.merge()
    assert (await entries(school), await first_names(school, file)) == ([], ("Ada", "Ada")), "the SIS alone changed it"


class Numbered(Pupils):
    """Pupils whose number is in the locker column."""

    def read(self, row: Row) -> Reading:
        return replace(super().read(row), number=str(row["locker"]) if row.get("locker") else None)


async def night(school: School) -> Course:
    """One run of a feed that knows numbers."""
    group = await feed_of(school.client, school.own, school.sis, Numbered())
    (course,) = await group.run(NOW)
    if course.status == "held":
        (course,) = await group.approve([course.run], NOW, "tests")
    return course


async def re_keyed(school: School, file: File) -> Entry:
    """A pupil whose key in the SIS was changed from r1 to r9, and the proposal."""
    for key in ("r1", "r2"):
        file.put(key, first="Ada", last="Bear", locker=f"number {key}")
    await night(school)
    file.put("r9", first="Eve", last="Bear", locker="number r1")
    file.remove("r1")
    await night(school)
    (entry,) = await entries(school)
    assert (entry.sis_key, entry.sis, set(await school.hub())) == ("r9", "r1", {"r1", "r2"})
    return entry


async def test_a_re_key_that_is_accepted_keeps_the_record(school: School, file: File) -> None:
    entry = await re_keyed(school, file)
    with pytest.raises(inbox.InboxError, match="say --take same or --take apart"):
        await inbox.take(school.own, entry, "hub", "me")
    before = await school.own.fetchval("select number from record where sis_key = 'r1'")
    await inbox.same(school.own, entry, "me")
    assert await entries(school) == []
    assert (await night(school)).status == "success"
    hub = await school.hub()
    assert (hub["r1"], set(hub)) == (pupil("Eve"), {"r1", "r2"}), "its id stays, and what the SIS says is taken"
    await school.say("r1", pupil("Ida"))
    await night(school)
    assert file.bodies()["r9"] == pupil("Ida"), "it is written under its new key"
    assert await school.own.fetchval("select number from record where sis_key = 'r9' and hub_id = 'r1'") == before
    assert await school.outcomes(await night(school)) == {}


async def test_a_re_key_that_is_kept_apart_makes_a_record_of_its_own(school: School, file: File) -> None:
    await inbox.apart(school.own, await re_keyed(school, file), "me")
    assert (await night(school)).status == "success"
    assert {key: body["firstName"] for key, body in (await school.hub()).items()} == {
        "r1": "Ada",
        "r2": "Ada",
        "r9": "Eve",
    }
    assert await entries(school) == []
    assert await school.outcomes(await night(school)) == {"r1": ("done", UNLINKED)}


async def test_a_re_key_is_asked_anew_if_the_old_key_is_back(school: School, file: File) -> None:
    entry = await re_keyed(school, file)
    file.put("r1", first="Ada", last="Bear", locker="number r1")
    await night(school)
    with pytest.raises(inbox.InboxError, match="has no conflict"):
        await inbox.entry_of(school.own, "raven", await inbox.record_of(school.own, "raven", "r9"), None)
    with pytest.raises(inbox.InboxError, match="is not what it was"):
        await inbox.same(school.own, entry, "me")


async def test_a_record_is_found_by_key_id_number_or_name(school: School, file: File) -> None:
    await re_keyed(school, file)
    for said in ("r2", "number r2"):
        assert (await inbox.record_of(school.own, "raven", said)).sis_key == "r2"
    assert (await inbox.record_of(school.own, "raven", "eve BEAR")).sis_key == "r9"
    with pytest.raises(inbox.InboxError, match=r"may be Student r1 .*; Student r2 Ada Bear: name it by"):
        await inbox.record_of(school.own, "raven", "ada bear")
    for said in ("Ad", "", "%"):
        with pytest.raises(inbox.InboxError, match="has no record"):
            await inbox.record_of(school.own, "raven", said)


async def test_explain_says_what_decides_and_what_a_run_would_do(school: School, file: File) -> None:
    entry = await disputed(school, file)
    record = await inbox.record_of(school.own, "raven", "r1")
    group = await school.group()
    said = await explained(school.own, group, record, "/firstName", NOW)
    assert (said.base, said.sis, said.hub) == ("Ada", "Sis", "Hub")
    assert said.sentence.startswith("/firstName is decided by the default of Student: manual")
    assert said.next_run == "a conflict at /firstName: entity manual"
    assert (
        "waits for a decision at /firstName" in (await explained(school.own, group, record, "/lastName", NOW)).next_run
    )
    await inbox.take(school.own, entry, "hub", "me")
    said = await explained(school.own, group, record, "/firstName", NOW)
    assert said.next_run == 'write "Hub" to the sis at /firstName, decided by decision'
    await school.merge()
    said = await explained(school.own, group, record, "/phones/[home]/number", NOW)
    assert (said.hub, said.next_run) == ("555-0101", "nothing: neither side has changed")


CELLS = {"firstName": "first", "middleName": "middle", "lastName": "last", "username": "user"}


@pytest.mark.parametrize("seed", range(2))
async def test_any_decision_leaves_no_conflict_there_and_a_second_run_nothing(
    school: School, file: File, seed: int
) -> None:
    hand = random.Random(seed)
    for key in ("r1", "r2", "r3"):
        file.put(key, first="Ada", last="Bear", middle="M", user=key)
    await school.merge()
    for _ in range(3):
        for key, body in (await school.hub()).items():
            edited = {name: hand.choice(("Hub", "Both", body.get(name, "New"))) for name in CELLS}
            if edited != body:
                await school.say(key, edited)
            file.put(key, **{column: hand.choice(("Sis", "Both", None)) for column in ("middle", "user")})
            file.put(key, **{column: hand.choice(("Sis", "Both")) for column in ("first", "last")})
        await school.merge()
        for entry in await entries(school):
            match hand.choice(("hub", "sis", "value", "rule")):
                case "hub" | "sis" as side:
                    await inbox.take(school.own, entry, side, "me")
                case "value":
                    await inbox.set_value(school.own, entry, "Else", await school.group(), "me")
                case _:
                    await inbox.make_rule(school.own, entry, hand.choice(SETTLING), "me")
        await school.merge()
        assert (await entries(school), await school.hub()) == ([], file.bodies())
        assert await is_calm(school, file)
