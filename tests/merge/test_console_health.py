"""Health in the browser: what fails, and somebody's word that a write was lost."""

import re
from collections.abc import AsyncIterator

import pytest

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.testing import DATABASE, MemorySis
from homeroom_server.settings import Settings
from tests.merge.console import FEED, browsing, events, peopled
from tests.merge.pupils import School, opened_school, pupil
from tests.merge.written import agreed, put, sis_of

BLIND = Abilities(complete=True, write=True)
"""Of a SIS that cannot be asked what it has."""


@pytest.fixture
async def school(database_of_test: str, settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[School]:
    async with opened_school(database_of_test, settings, MemorySis(getattr(request, "param", DATABASE))) as school:
        await peopled(school)
        await agreed(school, "r1", "r2")
        yield school


async def test_what_fails_is_shown_with_what_to_do_until_it_does_no_longer(school: School) -> None:
    async with browsing(school.core, "vera") as vera:
        assert "Nothing fails" in await vera.get("/health")
        await school.say("r1", pupil("Hub"))
        put(school, "r1", first="Sis")
        put(school, "r2", phones="broken")
        await school.merge()
        page = await vera.get("/health")
        assert "/phones it is no list" in page
        assert "conflict at /firstName: entity manual" in page
        (link,) = re.findall(r'href="([^"]+)">r1</a>', page)
        assert "Student r1" in await vera.get(link.replace("&amp;", "&"))
        assert page.count('method="post"') == 1, "to sign out"
        rows = (await vera.web.get(f"{FEED}/health?as=json")).json()
        assert {row["what"]: (row["count"], row["examples"]) for row in rows} == {
            "conflict": (1, "r1"),
            "sis": (1, "r2"),
        }
        assert "conflict at" in await vera.get("/health?as=csv")
        put(school, "r1", first="Hub")
        put(school, "r2", phones=None)
        await school.merge()
        assert "Nothing fails" in await vera.get("/health")


@pytest.mark.parametrize("school", [BLIND], indirect=True)
async def test_a_write_that_was_lost_is_said_to_be_and_written_again(school: School) -> None:
    sis_of(school).fail("r1", "unknownLost")
    await school.say("r1", pupil("Eve"))
    await school.merge()
    numbers = {row["hub_id"]: str(row["number"]) for row in await school.own.fetch("select number, hub_id from record")}
    async with browsing(school.core, "vera") as vera, browsing(school.core, "amir") as amir:
        assert "Student r1, since" in await vera.get("/health")
        await vera.post("/health", 403, record=numbers["r1"], sure="yes")
        assert f'value="{numbers["r1"]}"' in await amir.get("/health")
        assert "look in the SIS first" in (await amir.post("/health", 409, record=numbers["r1"])).text
        refused = await amir.post("/health", 409, record=[numbers["r1"], numbers["r2"]], sure="yes")
        assert "of Student r2 no write is unknown" in refused.text
        for evil in ("", "0", "x", "9" * 30, "\0"):
            await amir.post("/health", 409, record=evil, sure="yes")
        sent = await amir.post("/health", record=numbers["r1"], sure="yes")
        assert "1 to be written again" in await amir.get(sent.headers["Location"])
        assert "Nothing fails" in await amir.get("/health")
    assert await events(school) == [("amir", "said that raven's SIS never got Student r1")]
    await school.merge()
    assert sis_of(school).rows["Student"]["r1"]["first"] == "Eve"


async def test_another_organisation_sees_no_health(school: School) -> None:
    async with browsing(school.core, "petra") as petra:
        for place in ("/health", "/health?as=csv", "/health?lost=%00"):
            assert "There is no feed raven that you may see" in await petra.get(place, 404)
        await petra.post("/health", 404, record="1", sure="yes")


async def test_hostile_messages_stay_text(school: School) -> None:
    await school.own.execute(
        "insert into failing (record, what, message) select number, 'write', '<script>' || repeat('x', 500) from record"
    )
    async with browsing(school.core, "amir") as amir:
        for query in ("", "?as=%00", "?lost=%00", "?lost=99999999999999999999"):
            page = await amir.get(f"/health{query}")
            assert "<script" not in page
            assert "&lt;script&gt;" in page
