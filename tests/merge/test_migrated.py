"""A pipeline goes on where one of an earlier schema left its state."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.store import inbox as store
from homeroom_merge.store import schema
from homeroom_server.settings import Settings
from tests.merge.pupils import TABLE, File, School, opened_school, pupil
from tests.migrations import shape_of

BACK_TO_2 = """
drop index run_held;
drop function student_of;
drop table student_key, erased_student;
alter table conflict drop column subject, drop column stands;
drop type conflict_state;
alter table subject drop column student;
alter table state drop column erasure_secret, drop column works_from;
update state set schema_version = 1;
"""


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "sis.sqlite")


@pytest.fixture
async def school(database_of_test: str, settings: Settings, file: File) -> AsyncIterator[School]:
    sis = SqlDatabase(file.url, {"Student": TABLE})
    async with opened_school(database_of_test, settings, sis) as school:
        yield school
    await sis.close()


async def test_links_bases_and_conflicts_outlive_a_migration(school: School, file: File) -> None:
    for key in ("r1", "r2"):
        file.put(key, first="Ada", last="Bear")
    await school.merge()
    await school.say("r1", pupil("Hub"))
    file.put("r1", first="Sis")
    await school.merge()
    before = await store.entries(school.own, "raven", None, None, None)
    shape = await shape_of(school.own, "homeroom_merge")
    await school.own.execute(BACK_TO_2)
    assert await schema.migrate(school.own, print) is not None
    await school.own.reload_schema_state()
    assert await shape_of(school.own, "homeroom_merge") == shape
    assert await store.entries(school.own, "raven", None, None, None) == before
    assert [(entry.pointer, entry.stands) for entry in before] == [("/firstName", "open")]
    file.put("r2", last="Wolf")
    course = await school.merge()
    assert course.status == "finishedWithIssues"
    assert sorted((body["firstName"], body["lastName"]) for body in (await school.hub()).values()) == [
        ("Ada", "Wolf"),
        ("Hub", "Bear"),
    ]
