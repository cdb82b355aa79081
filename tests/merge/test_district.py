"""A real district, two standards apart: brought into a Core, merged with itself, and with what it became."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from homeroom_merge.codec import change_of
from homeroom_merge.group import Group
from homeroom_merge.run import Course
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.merge.feeds import group_of, on_the_hub, opened_state
from tests.samples import GRAND_BEND, needs_grand_bend

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DISTRICT = """\
code,name,parent
O.1,Ministry,
A.255901,Grand Bend,O.1
S.255901001,Grand Bend High School,A.255901
S.255901044,Grand Bend Middle School,A.255901
S.255901107,Grand Bend Elementary School,A.255901
"""
ENTITIES = ("SchoolAuthority", "School", "Course", "Student", "Staff", "Section", "StaffSection")
"""Those that both samples carry."""
TYPES = ("SchoolAuthority", "School", "Course", "Student", "Staff", "Section.2022", "StaffSection.2022")
SCHOOLS = frozenset({"S.255901001", "S.255901044", "S.255901107"})


@pytest.fixture
async def merging(database_of_test: str, settings: Settings) -> AsyncIterator[tuple[Core, asyncpg.Connection]]:
    """A Core with the roster catalogue and the district's organisations, and a state of the pipeline beside it."""
    async with open_core(database_of_test, replace(settings, catalogue="roster")) as core:
        await operations.load_organizations(await core.connect(), DISTRICT)
        async with opened_state(database_of_test) as own:
            yield core, own


@asynccontextmanager
async def district(core: Core, own: asyncpg.Connection, folder: Path) -> AsyncIterator[Group]:
    """The district's feed, reading a folder of interchange files."""
    async with core.client_with(await core.key("A.255901"), "A.255901") as client:
        yield await group_of(client, own, folder, ENTITIES, SCHOOLS, "A.255901")


def planned(courses: Sequence[Course]) -> dict[str, tuple[str, int, int, int]]:
    """Status, creates, updates and conflicts of each entity for which something was planned."""
    found = {}
    for course in courses:
        assert course.planned is not None, course.sis
        tally = course.planned.tally
        found[course.terms.entity] = (course.status, tally.creates, tally.updates, course.planned.conflicts)
    return {entity: what for entity, what in found.items() if what != ("success", 0, 0, 0)}


def held(courses: Sequence[Course]) -> list[UUID]:
    return [course.run for course in courses if course.status == "held"]


@needs_grand_bend
async def test_a_real_district_is_brought_in_and_merged_with_what_it_became(
    merging: tuple[Core, asyncpg.Connection],
) -> None:
    core, own = merging
    async with district(core, own, GRAND_BEND / "ds3.3") as group:
        first = await group.run(NOW)
        assert planned(first) == {
            "SchoolAuthority": ("held", 1, 0, 0),
            "School": ("held", 3, 0, 0),
            "Student": ("held", 960, 0, 0),
            "Staff": ("held", 68, 0, 0),
            "Course": ("held", 84, 0, 0),
            "Section": ("held", 532, 0, 0),
            "StaffSection": ("held", 528, 0, 0),
        }
        assert await on_the_hub(core, "Student") == {}, "a first merge is held"
        assert {course.status for course in await group.approve(held(first), NOW, "tests")} == {"success"}
        assert len(await on_the_hub(core, "Student", "Section.2022", "StaffSection.2022")) == 960 + 532 + 528
        assert planned(await group.run(NOW)) == {}, "a second run plans nothing"
    before = await on_the_hub(core, *TYPES)
    async with district(core, own, GRAND_BEND / "ds5.2") as group:
        later = await group.run(NOW)
        assert planned(later) == {
            "Student": ("success", 0, 18, 0),
            "Staff": ("held", 0, 66, 0),
            "Course": ("finishedWithIssues", 0, 0, 1),
            "Section": ("held", 0, 532, 0),
        }
        (of_sections,) = (course.run for course in later if course.terms.entity == "Section")
        changed = [row["change"] for row in await own.fetch(PLANNED, of_sections)]
        fields = Counter(field.pointer for each in changed for field in change_of(each).fields)
        assert fields == {"/sectionType": 532}, "those of the course that may have another key keep it until then"
        await group.approve(held(later), NOW, "tests")
        assert planned(await group.run(NOW)) == {"Course": ("finishedWithIssues", 0, 0, 1)}
        after = await on_the_hub(core, *TYPES)
        assert sum(after[each] != body for each, body in before.items()) == 18 + 66 + 532
        taken_back = await group.undo([course.run for course in later], NOW)
        assert planned(taken_back) == {
            "Staff": ("held", 0, 66, 0),
            "Section": ("held", 0, 532, 0),
            "Student": ("success", 0, 18, 0),
        }
        await group.approve(held(taken_back), NOW, "tests")
        assert await on_the_hub(core, *TYPES) == before, "content is back as it was"
        nightly = await group.run(NOW)
        assert planned(nightly) == {"Course": ("finishedWithIssues", 0, 0, 1)}, "the night does not undo the undo"


PLANNED = "select change from planned where run = $1"
