"""Health: everything that fails now, since when, and gone once it does no longer."""

from collections.abc import AsyncIterator, Mapping

import pytest

from homeroom_merge import inbox
from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.health import Ailment, ailments
from homeroom_merge.testing import DATABASE, DROP_OFF, MemorySis
from homeroom_server.settings import Settings
from tests.merge.pupils import School, opened_school, pupil

WEEK_AGO = "update homeroom_merge.failing set first_seen = now() - interval '7 days'"


@pytest.fixture
async def school(database_of_test: str, settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[School]:
    """Two pupils on whom both sides agree; in a database, or in a SIS of the test's abilities."""
    async with opened_school(database_of_test, settings, MemorySis(getattr(request, "param", DATABASE))) as school:
        for key in ("r1", "r2"):
            put(school, key, first="Ada", last="Bear")
        sis_of(school).export()
        await school.merge()
        yield school


def sis_of(school: School) -> MemorySis:
    assert isinstance(school.sis, MemorySis)
    return school.sis


def put(school: School, key: str, **cells: object) -> None:
    sis_of(school).put("Student", key, **{"school": "S.91", **cells})


async def ill(school: School, awaiting_days: int = 14) -> Mapping[str, Ailment]:
    """What fails, by its kind."""
    return {each.what: each for each in await ailments(school.own, "raven", {"Student": awaiting_days})}


async def test_what_fails_verification_is_named_until_it_is_mended(school: School) -> None:
    assert await ill(school) == {}
    for key in ("r1", "r2"):
        put(school, key, phones="broken")
    await school.merge()
    (failing,) = (await ill(school)).values()
    assert (failing.what, failing.message, failing.count) == ("sis", "/phones it is no list", 2)
    assert failing.examples == ("r1",)
    await school.own.execute(WEEK_AGO)
    await school.merge()
    again = (await ill(school))["sis"]
    assert (again.last_tried - again.first_seen).days >= 7
    assert again.last_tried > failing.last_tried
    put(school, "r1", phones=None)
    await school.merge()
    assert (await ill(school))["sis"].count == 1
    put(school, "r2", phones=None)
    await school.merge()
    assert await ill(school) == {}


async def test_a_write_that_fails_is_named_until_it_is_done_or_needed_no_longer(school: School) -> None:
    for key in ("r1", "r2"):
        await school.say(key, pupil("Eve"))
        sis_of(school).fail(key, "refused")
    await school.merge()
    failing = (await ill(school))["write"]
    assert (failing.message, failing.count) == ("the SIS does not want it", 2)
    await school.own.execute(WEEK_AGO)
    sis_of(school).fail("r1", "refused")
    await school.say("r2", pupil())
    await school.merge()
    failing = (await ill(school))["write"]
    assert (failing.count, failing.examples, (failing.last_tried - failing.first_seen).days) == (1, ("r1",), 7)
    await school.merge()
    assert await ill(school) == {}


async def test_a_conflict_is_named_until_it_is_settled(school: School) -> None:
    await school.say("r1", pupil("Hub"))
    put(school, "r1", first="Sis")
    await school.merge()
    failing = (await ill(school))["conflict"]
    assert failing.message == "conflict at /firstName: entity manual"
    assert failing.advice is not None
    put(school, "r1", first="Hub")
    await school.merge()
    assert await ill(school) == {}


@pytest.mark.parametrize("school", [DROP_OFF], indirect=True)
async def test_what_no_feed_shows_is_named_after_some_days(school: School) -> None:
    await school.say("r1", pupil("Eve"))
    await school.merge()
    assert await ill(school) == {}
    await school.own.execute("update homeroom_merge.record set awaiting_since = awaiting_since - interval '15 days'")
    assert (await ill(school))["awaited"].examples == ("r1",)
    assert await ill(school, awaiting_days=16) == {}
    sis_of(school).export()
    await school.merge()
    assert await ill(school, awaiting_days=0) == {}


@pytest.mark.parametrize("school", [Abilities(complete=True, write=True)], indirect=True)
async def test_an_unknown_write_is_named_until_somebody_says_that_it_was_lost(school: School) -> None:
    sis_of(school).fail("r1", "unknownLost")
    await school.say("r1", pupil("Eve"))
    await school.merge()
    assert (await ill(school))["unknown"].examples == ("r1",)
    with pytest.raises(inbox.InboxError, match="of Student r2 no write is unknown"):
        await inbox.lost(school.own, [await inbox.record_of(school.own, "raven", "r2")])
    await inbox.lost(school.own, [await inbox.record_of(school.own, "raven", "r1")])
    assert await ill(school) == {}
    await school.merge()
    assert sis_of(school).rows["Student"]["r1"]["first"] == "Eve"


async def test_a_feed_that_fails_is_named_since_its_first_failure(school: School) -> None:
    sis_of(school).rows["Student"].clear()
    for _ in range(2):
        await school.own.execute("update homeroom_merge.subject set sis_cursor = null")
        assert (await school.merge()).status == "noData"
    failing = (await ill(school))["run"]
    assert (failing.message, failing.count) == ("the last run ended as noData", 1)
    assert failing.first_seen < failing.last_tried
    put(school, "r1", first="Ada", last="Bear")
    put(school, "r2", first="Ada", last="Bear")
    await school.merge()
    assert await ill(school) == {}
