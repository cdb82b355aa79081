"""What a client's calls come to: counted by nodes, judged on the page Clients, explained on the client's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg
import httpx
import pytest

from homeroom import HomeroomError, version_hash
from homeroom.errors import Code
from homeroom_server import collection, operations
from homeroom_server.auth import Role
from homeroom_server.client_traffic import ClientTraffic
from homeroom_server.console import client as client_page
from homeroom_server.explanation import Effort
from tests.conftest import Core
from tests.records import Json, accepted, available, note
from tests.test_console import core_with_people, sign_in, web
from tests.test_is_data_available import until_held
from tests.test_parking import HOLD, Line
from tests.weather import bad_weather

__all__ = ["core_with_people", "web"]  # fixtures


async def counted(core: Core, client: str) -> Json:
    """What is written down of a client, all hours together."""
    await core.services.client_traffic.write()
    row = await (await core.connect()).fetchrow(
        """
        select sum(calls) as calls, sum(refused) as refused, max(refused_code) as code, sum(waits_ended) as ended,
               sum(waits_cut) as cut, min(cut_seconds_min) as shortest, max(cut_seconds_max) as longest
        from client_traffic t join client c on c.number = t.client where c.name = $1
        """,
        client,
    )
    assert row is not None
    return dict(row)


@asynccontextmanager
async def line_of(port: int, key: str) -> AsyncIterator[Line]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        with anyio.fail_after(20):
            yield Line(stream, key)


async def add(connection: asyncpg.Connection, client: str, **members: Any) -> None:
    """Traffic of the hour that is."""
    told = {
        "calls": 20,
        "refused": 0,
        "refused_code": None,
        "waits_ended": 0,
        "waits_cut": 0,
        "cut_moments": members.get("waits_cut", 0),
        "cut_seconds_min": None,
        "cut_seconds_max": None,
        "hours_ago": 0,
        **members,
    }
    await connection.execute(
        """
        insert into client_traffic
        select date_bin('1 hour', now(), 'epoch') - make_interval(hours => $10), number, $2, $3,
               case when $3 > 0 then now() end, $4, $5, $6, $7, $8, $9
        from client where name = $1
        """,
        client,
        *told.values(),
    )


async def test_calls_and_refusals_are_counted_where_the_caller_is_known(plain_core: Core) -> None:
    school = await plain_core.client("S.0982", Role.READER)
    name = (await school.hello()).client
    for refused in (
        school.submit("Note", [note("a")]),
        school.get("Nothing", [{"id": "a"}]),
        plain_core.client_with(await plain_core.key("S.0982"), "A.3030").hello(),
    ):
        with pytest.raises(HomeroomError):
            await refused
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain_core.app), base_url="http://core") as http:
        assert (await http.get("/v1/hello", headers={"Authorization": "Bearer hr_guessed"})).status_code == 401
    found = await counted(plain_core, name)
    assert (found["calls"], found["refused"], found["code"]) == (3, 2, Code.UNKNOWN_TYPE)
    of_all = await (await plain_core.connect()).fetch("select calls, refused from client_traffic order by calls")
    assert [tuple(row) for row in of_all] == [(1, 1), (3, 2)]


async def test_waits_that_we_end_and_waits_that_are_cut_are_told_apart(plain_core: Core) -> None:
    key = await plain_core.key("S.0982")
    async with plain_core.served(), bad_weather(plain_core.base_url) as proxy:
        await accepted(await plain_core.client("S.0982"), "Note", note("before"))
        async with line_of(proxy.port, key) as woken:
            await woken.ask(HOLD)
            await until_held(plain_core)
            await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
            await woken.answer()
        for _ in range(3):
            async with line_of(proxy.port, key) as cut:
                await cut.ask(HOLD | {"types": [{"notificationType": "Plan.2027", "maxCoreVersion": 0}]})
                await until_held(plain_core)
            await until_held(plain_core, 0)
        connection = await plain_core.connect()
        name = await connection.fetchval("select name from client order by number limit 1")
        found = await counted(plain_core, name)
        assert (found["calls"], found["refused"], found["ended"], found["cut"]) == (4, 0, 1, 3)
        assert 0 <= found["shortest"] <= found["longest"] < 10


async def test_a_held_request_that_is_refused_counts_once(plain_core: Core) -> None:
    key = await plain_core.key("S.0982")
    async with plain_core.served():
        async with line_of(int(plain_core.base_url.rpartition(":")[2]), key) as held:
            await held.ask(HOLD)
            await until_held(plain_core)
            connection = await plain_core.connect()
            name = await connection.fetchval("select name from client")
            await operations.set_client_disabled(connection, name, disabled=True)
            await plain_core.services.directory.refresh()
            await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
            head, _ = await held.answer()
        assert b" 401 " in head
        found = await counted(plain_core, name)
        assert (found["calls"], found["refused"], found["code"]) == (1, 1, Code.CLIENT_DISABLED)
        assert (found["ended"], found["cut"]) == (0, 0)


async def test_counts_add_up_over_writes_and_are_dropped_where_they_cannot_be_written(plain_core: Core) -> None:
    await plain_core.key("S.0982")
    connection = await plain_core.connect()
    number, name = await connection.fetchrow("select number, name from client") or (0, "")
    traffic = plain_core.services.client_traffic
    for seconds in (61.0, 60.5, 60.2):
        traffic.wait_cut(number, seconds)
        await traffic.write()
    traffic.called(999_999)  # no client of that number: the database refuses
    await traffic.write()
    found = await counted(plain_core, name)
    assert (found["cut"], round(found["shortest"], 1), round(found["longest"], 1)) == (3, 60.2, 61.0)
    assert not traffic._counted


def test_who_comes_too_many_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeroom_server.client_traffic._CLIENTS_MAX", 2)
    traffic = ClientTraffic(None)  # type: ignore[arg-type]  # it does not come to writing
    for client in (1, 2, 3, 1):
        traffic.called(client)
    assert {client: each.calls for client, each in traffic._counted.items()} == {1: 2, 2: 1}


async def test_what_is_older_than_two_days_is_forgotten(plain_core: Core) -> None:
    await plain_core.key("S.0982")
    connection = await plain_core.connect()
    name = await connection.fetchval("select name from client")
    for hours in (0, 47, 49):
        await add(connection, name, hours_ago=hours)
    async with asyncpg.create_pool(plain_core.database_url, min_size=1, max_size=1) as pool:
        await collection.collect_traffic(pool)
    assert await connection.fetchval("select count(*) from client_traffic") == 2


@pytest.fixture
async def name(core_with_people: Core) -> str:
    """Of a client of S.0982 that is in step with Note."""
    school = await core_with_people.client("S.0982")
    (version,) = await accepted(school, "Note", note("a"))
    await available(school, "Note", version, versionHash=version_hash([version]))
    await core_with_people.services.client_streams.write()
    found: str = (await school.hello()).client
    await core_with_people.services.client_traffic.write()
    await (await core_with_people.connect()).execute("delete from client_traffic")
    return found


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({"waits_cut": 3, "cut_seconds_min": 59.8, "cut_seconds_max": 60.4}, "cut"),
        ({"waits_cut": 3, "cut_seconds_min": 100, "cut_seconds_max": 114.9}, "cut"),
        ({"waits_cut": 3, "cut_seconds_min": 5, "cut_seconds_max": 6.9}, "cut"),
        ({"waits_cut": 3, "cut_seconds_min": 100, "cut_seconds_max": 116}, "inStep"),
        ({"waits_cut": 3, "cut_seconds_min": 5, "cut_seconds_max": 7.2}, "inStep"),
        ({"waits_cut": 9, "cut_moments": 2, "cut_seconds_min": 60, "cut_seconds_max": 60}, "inStep"),
        ({"waits_cut": 2, "cut_seconds_min": 60, "cut_seconds_max": 60}, "inStep"),
        ({"waits_cut": 3, "cut_seconds_min": 60, "cut_seconds_max": 60, "hours_ago": 2}, "inStep"),
        ({"calls": 10, "refused": 2, "refused_code": 3001}, "failing"),
        ({"calls": 10, "refused": 1, "refused_code": 3001}, "inStep"),
        ({"calls": 9, "refused": 9, "refused_code": 3001}, "inStep"),
        ({"calls": 10, "refused": 10, "refused_code": 4_711}, "failing"),
        ({"refused": 20, "waits_cut": 9, "cut_seconds_min": 1, "cut_seconds_max": 1}, "cut"),
    ],
)
async def test_who_needs_help_is_judged_by_what_its_calls_came_to(
    web: httpx.AsyncClient, core_with_people: Core, name: str, members: Json, state: str
) -> None:
    await add(await core_with_people.connect(), name, **members)
    await sign_in(web, "vera")
    (row,) = (await web.get("/console/clients?as=json")).json()
    assert row["state"] == state
    page, own = await web.get("/console/clients"), await web.get(f"/console/clients/{name}")
    for text in (page.text, own.text):
        assert ("a proxy&#39;s time-out most likely: raise it above 340 s" in text) == (state == "cut")
        assert "within the last two hours were refused, the last one with" in text or state != "failing"


async def test_a_client_s_own_page_says_who_it_is_and_what_its_calls_came_to(
    web: httpx.AsyncClient, core_with_people: Core, name: str
) -> None:
    connection = await core_with_people.connect()
    await add(connection, name, calls=1_234, refused=600, refused_code=3001, waits_ended=7, waits_cut=2)
    await add(connection, name, hours_ago=23, calls=5)
    await add(connection, name, hours_ago=25, calls=9)
    await operations.rotate_key(connection, name)
    await sign_in(web, "vera")
    page = (await web.get(f"/console/clients/{name}")).text
    for said in ("writer", "S.0982", "1 that works", "1 disabled", "Note", "in step", "1,234", "just now"):
        assert said in page
    assert "with 3001 (Request does not match the schema)" in page
    assert "What it sends is wrong" in page
    hours = (await web.get(f"/console/clients/{name}?as=json&of=hours")).json()
    assert [hour["calls"] for hour in hours] == [5, *[0] * 22, 1_234]
    assert (hours[-1]["refused"], hours[-1]["waitsEnded"], hours[-1]["waitsCut"]) == (600, 7, 2)
    streams = (await web.get(f"/console/clients/{name}?as=csv")).text
    assert "Note" in streams


async def test_a_client_that_cannot_call_is_told_what_it_lacks(web: httpx.AsyncClient, core_with_people: Core) -> None:
    connection = await core_with_people.connect()
    await core_with_people.key("S.0982")
    name = await connection.fetchval("select name from client")
    await sign_in(web, "vera")
    assert "It has never asked for anything" in (await web.get(f"/console/clients/{name}")).text
    await operations.set_client_disabled(connection, name, disabled=True)
    await connection.execute("update api_key set disabled_at = now()")
    page = (await web.get(f"/console/clients/{name}")).text
    assert "It was disabled just now" in page
    assert "It has no key that works" in page
    assert "It follows nothing that you may see" in page


async def mismatched(core: Core) -> str:
    """A client of S.0982 that lacks a record named missed."""
    school = await core.client("S.0982")
    (held,) = await accepted(school, "Note", note("a"))
    await available(school, "Note", held, versionHash=version_hash([held]))
    _, last = await accepted(school, "Note", note("missed"), note("b"))
    await available(school, "Note", last, versionHash=version_hash([held, last]))
    await core.services.client_streams.write()
    name: str = (await school.hello()).client
    return name


async def test_which_record_is_missing_is_said_inline(
    web: httpx.AsyncClient, core_with_people: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await mismatched(core_with_people)
    await sign_in(web, "vera")
    page = (await web.get(f"/console/clients/{name}")).text
    assert "It lacks missed" in page
    monkeypatch.setattr(client_page, "_EFFORT", Effort(records_max=2))
    page = (await web.get(f"/console/clients/{name}")).text
    assert "It lacks missed" not in page
    assert "That takes too long to be said here" in page


async def test_who_may_see_none_of_it_finds_no_such_client(
    web: httpx.AsyncClient, core_with_people: Core, name: str
) -> None:
    core = core_with_people
    plainview = await core.client("S.0990")
    await available(plainview, "Note", 0)
    both = (await plainview.hello()).client
    await core.services.client_streams.write()
    await sign_in(web, "vera")
    nobody = await web.get("/console/clients/nobody")
    assert nobody.status_code == 404
    hidden = await web.get(f"/console/clients/{both}")
    assert (hidden.status_code, hidden.text) == (404, nobody.text)
    connection = await core.connect()
    await connection.execute(
        """
        insert into client_organization
        select c.number, o.number from client c, organization o where c.name = $1 and o.code = 'S.0982'
        """,
        both,
    )
    page = (await web.get(f"/console/clients/{both}")).text.replace(both, "")
    assert "S.0982" in page
    assert "S.0990" not in page
    assert (await web.get(f"/console/clients/{both}?as=json")).json() == []


@pytest.mark.parametrize(
    "given", ["a/b", "/x", "a?b=c&d", "50% of #1", "Größe ☃", "<script>\"&'</script>", "a//b", " x "]
)
async def test_any_name_has_a_page_that_is_linked(
    web: httpx.AsyncClient, core_with_people: Core, name: str, given: str
) -> None:
    connection = await core_with_people.connect()
    await connection.execute("update client set name = $1 where name = $2", given, name)
    await sign_in(web, "olga")
    listed = (await web.get("/console/clients")).text
    (path,) = [each for each in listed.split('"') if each.startswith("/console/clients/")]
    page = await web.get(path)
    assert page.status_code == 200
    assert "Its streams" in page.text
    assert "<script>" not in page.text
    assert "More about it" in (await web.get("/console/clients", params={"client": given})).text


@pytest.mark.parametrize("path", ["%00", "a%00b", "x" * 5_000, "%FF", "..%2f..%2fetc", "a?page=9999999999&as=%00"])
async def test_whatever_is_asked_for_is_no_fault(web: httpx.AsyncClient, core_with_people: Core, path: str) -> None:
    await sign_in(web, "olga")
    assert (await web.get(f"/console/clients/{path}")).status_code == 404
