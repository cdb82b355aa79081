"""Records that the hub no longer shows to whoever merges: counted, and said aloud once they are many."""

from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest

from homeroom_merge.report.model import StepName
from homeroom_merge.report.text import as_text
from homeroom_merge.testing import DATABASE, MemorySis
from homeroom_server.settings import Settings
from tests.access import settled
from tests.merge.pupils import School, opened_school

PUPILS = [f"r{number}" for number in range(50)]


@pytest.fixture
async def school(database_of_test: str, settings: Settings) -> AsyncIterator[School]:
    """Fifty pupils on whom both sides agree."""
    sis = MemorySis(DATABASE)
    async with opened_school(database_of_test, settings, sis) as school:
        for key in PUPILS:
            sis.put("Student", key, school="S.91", first="Ada", last="Bear")
        await school.merge()
        yield school


async def enrol_elsewhere(school: School, keys: Sequence[str]) -> None:
    """Pupils are enrolled at a school that the Core does not know by this name: nobody is associated with them."""
    records = [
        {"id": key, "expectedVersion": 0, "deleted": False, "body": {"studentId": key, "schoolId": "o91"}}
        for key in keys
    ]
    done = await school.client.submit("StudentSchoolEnrolment.2027", records, uuid4())
    assert not [result for result in done.results if result["rejections"]]
    await settled(school.core.services)


async def test_who_leaves_is_counted_and_that_most_have_gone_is_said(school: School) -> None:
    await enrol_elsewhere(school, PUPILS[:5])
    course = await school.merge()
    merging = next(step for step in course.log.steps if step.name is StepName.MERGE)
    assert (course.status, merging.status, merging.counts["out of view on the hub"]) == ("success", "ok", 5)
    await enrol_elsewhere(school, PUPILS[5:])
    course = await school.merge()
    merging = next(step for step in course.log.steps if step.name is StepName.MERGE)
    assert (course.status, merging.status, merging.counts["out of view on the hub"]) == (
        "finishedWithIssues",
        "issues",
        50,
    )
    assert merging.message.startswith(
        "50 of 50 records are out of view on the hub, so that nothing of them is merged; see"
    )
    assert course.report is not None
    said = list(as_text(course.report))
    assert f"  {merging.message}"[:200] in said[3], "at the top, for whoever reads no further"
    assert "         50  noted: out of view on the hub: the link is set aside, and neither side is written" in said
    assert (await school.merge()).status == "finishedWithIssues", "each night, until it is mended"
