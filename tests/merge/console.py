"""The console's pages of one feed, as people of several kinds see them."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from homeroom_merge.settings.start import as_toml
from homeroom_merge.store import settings as store
from homeroom_server import people
from homeroom_server.people import PersonRole
from tests.conftest import Core
from tests.merge.pupils import School

PASSWORD = "otters swim at night"
FEED = "/console/merges/raven"
PEOPLE = {
    "olga": (PersonRole.OPERATOR, []),
    "amir": (PersonRole.ADMINISTRATOR, ["A.9"]),
    "vera": (PersonRole.VIEWER, ["A.9"]),
    "petra": (PersonRole.ADMINISTRATOR, ["A.3030"]),
}
SETTINGS = as_toml("csv", "raven", "A.9", ["S.91"], ["Student"])


@dataclass
class Browser:
    """Somebody who is signed in. Places begin within the feed, unless they begin with /console."""

    web: httpx.AsyncClient
    form_token: str

    async def get(self, place: str, status: int = 200) -> str:
        answer = await self.web.get(_whole(place))
        assert answer.status_code == status, answer.text[:1_000]
        return answer.text

    async def post(self, place: str, status: int = 303, /, **said: str | Sequence[str]) -> httpx.Response:
        answer = await self.web.post(_whole(place), data={"form_token": self.form_token, **said})
        assert answer.status_code == status, answer.text[:1_000]
        return answer


async def peopled(school: School) -> None:
    """People of all kinds, and settings in force for the feed."""
    connection = await school.core.connect()
    for name, (role, codes) in PEOPLE.items():
        await people.create(connection, name, role, codes, PASSWORD)
    await store.push(school.own, "raven", "default", SETTINGS, "the first", "ada")


@asynccontextmanager
async def browsing(core: Core, name: str) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(core.app)
    async with httpx.AsyncClient(base_url="http://core", transport=transport) as web:
        sent = await web.post("/console/sign-in", data={"name": name, "password": PASSWORD})
        assert sent.status_code == 303
        page = await web.get("/console/clients")
        found = re.search(r'name="form_token" value="([^"]+)"', page.text)
        assert found is not None
        yield Browser(web, found[1])


async def events(school: School) -> list[tuple[str, str]]:
    """Who did what, but for signing in."""
    connection = await school.core.connect()
    rows = await connection.fetch(
        """
        select actor, detail from audit_event where actor_kind = 'person' and detail <> 'signed in'
        order by happened_at
        """
    )
    return [tuple(row) for row in rows]


def _whole(place: str) -> str:
    return place if place.startswith("/console") else FEED + place
