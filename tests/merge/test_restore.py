"""Restores: a whole entity back on both sides, what was made since left alone, and nothing undone by the next night."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from homeroom_merge.backup_file import BackupError
from homeroom_merge.codec import canonical
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.merging import DeletePolicy, OnDelete
from homeroom_merge.records import Method
from homeroom_merge.rules import Rules
from homeroom_merge.run import Course
from homeroom_merge.terms import Backups
from homeroom_merge.testing import DROP_OFF, MemorySis
from homeroom_merge.values import Json
from homeroom_server.settings import Settings
from tests.merge.feeds import opened_state
from tests.merge.pupils import NOW, TABLE, File, School, opened_school, pupil

Sides = tuple[dict[str, Json], dict[str, Json]]
AS_HUB = Rules("Student", Method.RESOLVE_AS_HUB)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "sis.sqlite")


@pytest.fixture
async def school(database_of_test: str, settings: Settings, file: File) -> AsyncIterator[School]:
    """Three pupils on whom both sides agree; deletes travel."""
    sis = SqlDatabase(file.url, {"Student": TABLE})
    async with opened_school(database_of_test, settings, sis) as school:
        school.change = lambda terms: replace(terms, backups=Backups(f"file://{file.path.parent}/backups"))
        for key in ("r1", "r2", "r3"):
            file.put(key, first="Ada", last="Bear")
        await school.merge()
        yield school
    await sis.close()


async def sides(school: School, file: File) -> Sides:
    return await school.hub(), file.bodies()


async def restore(school: School, course: Course) -> Course:
    """Put back what a run wrote over, approved."""
    group = await school.group()
    held = await group.restore(course.run)
    assert held.status == "held", "always"
    (done,) = await group.approve([held.run], NOW, "tests")
    return done


async def is_calm(school: School) -> bool:
    course = await school.merge(AS_HUB)
    return course.status == "success" and await school.outcomes(course) == {}


async def test_both_sides_go_back_and_what_was_made_since_stays(school: School, file: File) -> None:
    await school.say("r1", pupil("Eve"))
    file.put("r2", last="Wolf")
    before = await sides(school, file)
    bad = await school.merge()
    await school.say("r3", pupil("Later"))
    file.put("r4", first="New", last="There")
    await school.say("r5", pupil("New", "Here"))
    await school.merge()
    done = await restore(school, bad)
    assert done.status == "success"
    hub, sis = await sides(school, file)
    assert (
        (hub.pop("r4"), hub.pop("r5"))
        == (sis.pop("r4"), sis.pop("r5"))
        == (pupil("New", "There"), pupil("New", "Here"))
    )
    assert (hub, sis) == before
    assert await is_calm(school), "the night does not undo it"
    assert (await school.hub())["r1"] == pupil("Eve")
    assert file.bodies()["r1"] == pupil()
    file.put("r1", last="Fox")
    await school.merge()
    assert (await school.hub())["r1"]["lastName"] == "Fox", "a new change counts"


async def test_a_restore_shows_what_it_would_do_and_writes_nothing_before(school: School, file: File) -> None:
    await school.say("r1", pupil("Eve"))
    bad = await school.merge()
    await school.say("r1", pupil("Ida", middleName="M"))
    before = await sides(school, file)
    held = await (await school.group()).restore(bad.run)
    assert held.planned is not None
    assert (held.status, held.planned.verdict.reasons) == ("held", ("a restore is always held",))
    assert await sides(school, file) == before
    fields = await school.own.fetchval(FIELDS, held.run)
    assert sorted(fields) == ["hub /firstName Eve", "hub /middleName None", "sis /firstName Ada"]


FIELDS = """
    select array_agg((f -> 'to' ->> 0) || ' ' || (f ->> 'pointer') || ' ' || coalesce(f ->> 'outcome', 'None'))
    from homeroom_merge.planned, jsonb_array_elements(change::jsonb -> 'fields') as f where run = $1
"""


async def test_what_a_run_deleted_comes_back_on_the_side_where_it_was(
    database_of_test: str, settings: Settings, file: File
) -> None:
    sis = SqlDatabase(file.url, {"Staff": TABLE})
    async with opened_school(database_of_test, settings, sis, "Staff") as school:
        delete = DeletePolicy(OnDelete.DELETE)
        school.change = lambda terms: replace(terms, policy=delete)
        for key in ("r1", "r2", "r3"):
            file.put(key, first="Ada", last="Bear")
        await school.merge()
        file.remove("r1")
        await school.say("r2", None)
        before = await sides(school, file)
        bad = await school.merge()
        assert await sides(school, file) == ({"r3": pupil()}, {"r3": pupil()})
        await restore(school, bad)
        assert await sides(school, file) == before
        for _ in range(2):
            assert (await school.merge()).status == "success"
            assert await sides(school, file) == before, "the night does not delete them again"
        file.put("r2", first="Eve", last="Bear")
        await school.merge()
        assert (await school.hub())["r2"] == pupil("Eve"), "a new change counts"
    await sis.close()


async def test_a_restore_can_be_undone_and_restored(school: School, file: File) -> None:
    await school.say("r1", pupil("Eve"))
    bad = await school.merge()
    after = await sides(school, file)
    done = await restore(school, bad)
    restored = await sides(school, file)
    assert restored != after
    await (await school.group()).undo([done.run], NOW)
    assert await sides(school, file) == after
    again = await restore(school, bad)
    assert await sides(school, file) == restored
    await restore(school, again)
    assert await sides(school, file) == after, "a restore makes a backup of its own"


async def test_records_that_move_before_a_restore_is_approved_are_shown_again(school: School, file: File) -> None:
    for key in ("r1", "r2"):
        await school.say(key, pupil("Eve"))
    before = file.bodies()
    bad = await school.merge()
    group = await school.group()
    held = await group.restore(bad.run)
    file.put("r1", first="Moved")
    await group.approve([held.run], NOW, "tests")
    assert (file.bodies()["r1"]["firstName"], file.bodies()["r2"]) == ("Moved", before["r2"])
    (again,) = [row["id"] for row in await school.own.fetch("select id from homeroom_merge.run where status = 'held'")]
    await group.approve([again], NOW, "tests")
    assert file.bodies()["r1"] == before["r1"]
    assert await is_calm(school)


async def test_a_side_that_is_not_written_keeps_what_it_has_and_the_night_agrees(school: School, file: File) -> None:
    file.put("r1", last="Wolf")
    bad = await school.merge()
    file.put("r1", last="Fox")
    await school.merge()
    change = school.change
    school.change = lambda terms: replace(change(terms), persists_sis=False)
    await restore(school, bad)
    assert (await school.hub())["r1"] == pupil()
    assert file.bodies()["r1"] == pupil(last="Fox")
    assert await is_calm(school)
    assert (await school.hub())["r1"] == pupil()


async def test_a_sis_that_lost_everything_is_filled_again(school: School, file: File) -> None:
    await school.say("r1", pupil("Eve"))
    bad = await school.merge()
    for key in list(file.rows()):
        file.remove(key)
    await restore(school, bad)
    assert file.bodies() == {"r1": pupil(), "r2": pupil(), "r3": pupil()}


async def test_a_drop_off_that_shows_late_what_it_was_given_is_restored_once(
    database_of_test: str, settings: Settings
) -> None:
    sis = MemorySis(DROP_OFF)
    async with opened_school(database_of_test, settings, sis) as school:
        sis.put("Student", "r1", first="Ada", last="Bear", school="S.91")
        sis.export()
        await school.merge()
        await school.say("r1", pupil("Eve"))
        await school.merge()
        await school.say("r1", pupil("Bad"))
        bad = await school.merge()
        await restore(school, bad)
        assert sis.rows["Student"]["r1"]["first"] == "Eve", "what it had been given by then"
        assert await is_calm(school), "the old export is no change"
        sis.export()
        assert (await school.merge()).status == "success"
        assert await is_calm(school)
        assert (await school.hub())["r1"] == pupil("Bad")
        assert sis.writes["r1"] == 3


async def test_a_state_that_was_lost_is_no_hindrance(school: School, file: File, database_of_test: str) -> None:
    """The merge's own database is gone but for the keys; a backup, the hub and the SIS are there."""
    await school.say("r1", pupil("Eve"))
    before = await sides(school, file)
    bad = await school.merge()
    assert bad.backup is not None
    keys = await school.own.fetch("select student, id, key from homeroom_merge.student_key")
    await school.own.execute("drop schema homeroom_merge cascade")
    file.remove("r2")
    async with opened_state(database_of_test) as school.own:
        await school.own.execute("insert into homeroom_merge.feed (name, state_name) values ('raven', 'default')")
        await school.own.executemany(KEYS, [tuple(row.values()) for row in keys])
        group = await school.group()
        with pytest.raises(BackupError, match="there is no backup of the run"):
            await group.restore(bad.run)
        held = await group.restore(bad.run, bad.backup.place)
        await group.approve([held.run], NOW, "tests")
        assert await sides(school, file) == before


KEYS = "insert into homeroom_merge.student_key (feed, student, id, key) values (1, $1, $2, $3)"


async def test_without_its_keys_a_backup_gives_nothing_back_and_the_run_says_so(school: School, file: File) -> None:
    await school.say("r1", pupil("Eve"))
    bad = await school.merge()
    await school.own.execute("delete from homeroom_merge.student_key where student <> 'hub r2'")
    file.put("r2", first="Bad")
    await school.merge()
    held = await (await school.group()).restore(bad.run)
    assert list(await school.outcomes(held)) == ["r2"]
    assert any(note.startswith("2 records of the backup are left out") for note in held.log.notes)


@pytest.mark.parametrize("fault", ["gone", "cut", "edited", "other feed", "other run"])
async def test_a_backup_that_cannot_be_trusted_is_refused_and_nothing_changed(
    school: School, file: File, fault: str
) -> None:
    await school.say("r1", pupil("Eve"))
    bad = await school.merge()
    assert bad.backup is not None
    group, run = await school.group(), bad.run
    match fault:
        case "gone" | "cut" | "edited":
            harm(bad.backup.place, fault)
        case "other feed":
            school.change = lambda terms: replace(terms, feed="heron")
            group = await school.group()
        case _:
            await school.say("r1", pupil("Ida"))
            run = (await school.merge()).run
    counts, before = await school.own.fetch(COUNTS), await sides(school, file)
    with pytest.raises(BackupError, match="nothing was changed"):
        await group.restore(run, bad.backup.place if fault == "other run" else None)
    assert (await school.own.fetch(COUNTS), await sides(school, file)) == (counts, before)


def harm(place: str, fault: str) -> None:
    path = Path(place.removeprefix("file://"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] if fault == "cut" else whole[:200] + b"x" + whole[201:])
    if fault == "gone":
        path.unlink()


COUNTS = "select count(*) from homeroom_merge.run union all select count(*) from homeroom_merge.journal"


@pytest.mark.parametrize("seed", range(3))
async def test_a_restore_after_random_runs_is_content_before(school: School, file: File, seed: int) -> None:
    """Where nobody made or wrote anything else: the property of merge.md 5, over runs of random edits."""
    chance = random.Random(seed)
    names = ("Ada", "Eve", "Ida", "Ann")
    runs: list[tuple[Course, Sides]] = []
    for _ in range(4):
        for key, body in (await school.hub()).items():
            edited = pupil(chance.choice(names), username=chance.choice(names).lower())
            if chance.random() < 0.5 and edited != body:
                await school.say(key, edited)
            if chance.random() < 0.5:
                file.put(key, last=chance.choice(names), middle=chance.choice(names))
        before = await sides(school, file)
        course = await school.merge(AS_HUB)
        if course.backup is not None:
            runs.append((course, before))
    bad, then = chance.choice(runs)
    await restore(school, bad)
    assert [canonical(side) for side in await sides(school, file)] == [canonical(side) for side in then]
    assert await is_calm(school)
    assert await sides(school, file) == then
