"""People who look at a Core's pages about the merges of pupils."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx

from homeroom_merge.store import queue_schema, settings
from homeroom_server import people
from homeroom_server.people import PersonRole
from tests.conftest import Core
from tests.merge.pupils import NOW, School
from tests.merge.written import put
from tests.test_console import PASSWORD, browser, form_token, sign_in

FEED = "/console/merges/raven"
TOML = """
[feed]
name = "raven"
authority = "A.9"
schools = ["S.91"]
formatter = "oneroster"
[hub]
url = "http://127.0.0.1:9"
organizations = ["A.9"]
[connector]
kind = "csv"
folder = "/srv/none"
[secrets]
hub_key = "HOMEROOM_KEY"
[entity.Student]
"""
PEOPLE = {
    "olga": (PersonRole.OPERATOR, []),
    "amir": (PersonRole.ADMINISTRATOR, ["A.9"]),
    "hana": (PersonRole.ADMINISTRATOR, ["S.92"]),
    "vera": (PersonRole.VIEWER, ["S.91"]),
}


async def with_people(school: School, *names: str) -> None:
    """The feed has settings, the queue its tables, and these people accounts."""
    await settings.push(school.own, "raven", "usual", TOML, "", "tests")
    await queue_schema.apply(school.own)
    connection = await school.core.connect()
    for name in names:
        await people.create(connection, name, *PEOPLE[name], PASSWORD)


@asynccontextmanager
async def signed_in(core: Core, name: str) -> AsyncIterator[httpx.AsyncClient]:
    async with await browser(core) as web:
        assert (await sign_in(web, name)).status_code == 303
        yield web


async def say(web: httpx.AsyncClient, page: str, place: str, **said: str) -> httpx.Response:
    """Send a form of a page to a place."""
    token = form_token(await web.get(page))
    return await web.post(place, data={"form_token": token, **said})


async def held_run(school: School, count: int = 5) -> UUID:
    """So many new pupils at once that the plan waits for a person."""
    for number in range(count):
        put(school, f"n{number:05}", first="Nia", last=f"Number {number}")
    (course,) = await (await school.group()).run(NOW)
    assert course.status == "held"
    return course.run
