"""The page Now, as operators see it: what nodes say of themselves, and parts that live."""

import itertools
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from homeroom.protocol import NotificationType
from homeroom_server import people
from homeroom_server import pulse as node_pulse
from homeroom_server.console import charts
from homeroom_server.console.charts import Values
from homeroom_server.settings import Settings
from homeroom_server.store import pulse
from homeroom_server.store.pulse import Sample
from tests.conftest import Core, open_core
from tests.records import Json, accepted, available, note
from tests.test_console import browser, core_with_people, sign_in, web
from tests.test_is_data_available import until_held

__all__ = ["core_with_people", "web"]  # fixtures


@pytest.fixture(autouse=True)
def no_beat_but_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes say how they are when a test has them do so."""
    monkeypatch.setattr(node_pulse, "SAMPLE_SECONDS", 3_600.0)


async def nodes_of(web: httpx.AsyncClient) -> list[Json]:
    found: list[Json] = (await web.get("/console/now?as=json&of=nodes")).json()
    return found


async def newest_sample(core: Core) -> int:
    found: int = await (await core.connect()).fetchval("select coalesce(max(number), 0) from node_sample")
    return found


async def watching(core: Core, count: int = 1) -> None:
    with anyio.fail_after(10):
        while core.services.pulse.watchers != count:
            await anyio.lowlevel.checkpoint()


async def test_a_node_says_what_it_holds_and_writes(web: httpx.AsyncClient, core_with_people: Core) -> None:
    core = core_with_people
    reader, writer = await core.client("S.0982"), await core.client("S.0982")
    await core.services.pulse.beat()
    before = await newest_sample(core)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(available, reader, "Bulletin", 0, 300)
        await until_held(core)
        await core.services.pulse.beat()
        await accepted(writer, "Bulletin", note("a"), note("b"), note("c"))
    (version,) = await accepted(writer, "Bulletin", note("d"))
    await core.services.feed.reach(NotificationType("Bulletin"), version, anyio.current_time() + 10)
    await core.services.pulse.beat()
    rows = await (await core.connect()).fetch(
        "select held, changes, commits, wakes, wake_p50_ms, wake_p99_ms from node_sample where number > $1", before
    )
    assert max(row["held"] for row in rows) == 1
    assert [sum(row[name] for row in rows) for name in ("changes", "commits", "wakes")] == [4, 2, 1]
    (woken,) = (row for row in rows if row["wakes"])
    assert 0 < woken["wake_p50_ms"] == woken["wake_p99_ms"] < 10_000
    await sign_in(web, "olga")
    (node,) = await nodes_of(web)
    assert (node["isHeard"], node["readsFrom"], node["behind"], node["held"]) == (True, "primary", 0, 0)
    page = await web.get("/console/now")
    assert node["name"] in page.text
    for title in ("Requests held", "Changes a second", "Commits a second", "Woken after"):
        assert f"<title>{title} in the last 10 minutes: now" in page.text


async def test_nodes_are_summed_and_those_not_heard_of_are_said_so(
    web: httpx.AsyncClient, core_with_people: Core
) -> None:
    core = core_with_people
    await core.services.pulse.beat()
    async with open_core(core.database_url, core.services.settings) as other:
        await other.services.pulse.beat()
        connection = await core.connect()
        at = "date_bin('5 seconds', now(), 'epoch') - interval '7 seconds'"
        await connection.execute("delete from node_sample")
        for number, (wakes, p50, p99) in enumerate([(1, 10.0, 20.0), (3, 50.0, 90.0)]):
            node = await connection.fetchval("select id from node order by started_at offset $1 limit 1", number)
            await pulse.add_sample(connection, node, Sample(2.0, 100, 50, 4, wakes, p50, p99))
        await connection.execute(f"update node_sample set taken_at = {at}")
        await sign_in(web, "olga")
        points = (await web.get("/console/now?as=json")).json()
        (point,) = [each for each in points if each["held"] is not None]
        assert (point["held"], point["changesPerSecond"], point["commitsPerSecond"]) == (200, 50, 4)
        assert (point["wakes"], point["wakeP50Ms"], point["wakeP99Ms"]) == (4, 40, 90)
        assert len(points) == 120
        await connection.execute(
            "update node set heard_at = now() - interval '16 seconds' where id = "
            "(select id from node order by started_at limit 1)"
        )
        page = await web.get("/console/now")
        assert "1 of 2 nodes has not been heard of" in page.text
        assert "<strong>100</strong>" in page.text, "what a dead node held is held no more"
    assert len(await nodes_of(web)) == 1, "one that ends in good order is not missed"


async def test_a_node_that_trails_the_primary_says_how_far(web: httpx.AsyncClient, core_with_people: Core) -> None:
    core = core_with_people
    versions = await accepted(await core.client("S.0982"), "Bulletin", note("a"), note("b"), note("c"))
    connection = await core.connect()
    await core.services.pulse.beat()
    node = await connection.fetchrow("select id, started_at from node")
    assert node is not None
    number = await connection.fetchval("select number from notification_type where watermark = $1", versions[-1])
    await pulse.say(connection, node["id"], "trails", node["started_at"], "standby 1", {number: versions[0]})
    await sign_in(web, "olga")
    (found,) = await nodes_of(web)
    assert (found["readsFrom"], found["behind"]) == ("standby 1", 2)
    assert found["behindSeconds"] > 0
    assert "2 changes," in (await web.get("/console/now")).text


async def test_who_watches_is_shown_what_is_newer_and_all_the_same(
    web: httpx.AsyncClient, core_with_people: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = core_with_people
    reads = 0
    look = core.services.pulse.look

    async def counted() -> Any:
        nonlocal reads
        reads += 1
        return await look()

    monkeypatch.setattr(core.services.pulse, "look", counted)
    await core.services.pulse.beat()
    assert reads == 0, "nobody watches"
    await sign_in(web, "olga")
    page = await web.get("/console/now")
    (after,) = re.findall(r'data-living="(/console/now/next\?after=\d+)"', page.text)
    answers: list[httpx.Response] = []

    async def watch() -> None:
        answers.append(await web.get(after))

    reads = 0
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(watch)
        await watching(core, 3)
        await core.services.pulse.beat()
    assert len({answer.text for answer in answers}) == 1
    assert reads == 1, "once for all of them"
    assert answers[0].text.lstrip().startswith("<div data-living=")
    (newer,) = re.findall(r"after=(\d+)", answers[0].text)
    assert int(newer) > int(after.rpartition("=")[2])
    again = await web.get(after)
    assert again.status_code == 200, "what is there already is not waited for"


async def test_a_session_that_ended_watches_no_longer(web: httpx.AsyncClient, core_with_people: Core) -> None:
    await sign_in(web, "olga")
    connection = await core_with_people.connect()
    await connection.execute("update person_session set seen_at = now() - interval '1 hour'")
    core_with_people.services.pulse.end()
    await web.get("/console/now/next", headers={"X-Living": "1"})
    assert await connection.fetchval("select seen_at < now() - interval '59 minutes' from person_session")
    await people.set_disabled(connection, "olga", disabled=True)
    assert (await web.get("/console/now/next")).status_code == 303


@pytest.mark.parametrize("name", ["amir", "vera"])
async def test_who_is_no_operator_finds_no_such_page(web: httpx.AsyncClient, name: str) -> None:
    await sign_in(web, name)
    for path in ("/console/now", "/console/now/next", "/console/now?as=csv&of=nodes"):
        answer, nowhere = await web.get(path), await web.get("/console/nowhere")
        assert (answer.status_code, answer.text) == (404, nowhere.text)


@pytest.mark.parametrize(
    "query",
    [
        "?after=x",
        "?after=%00",
        "?after=" + "9" * 5_000,
        "?after=-1",
        "?after=%D9%A3",
        "?still=%00&as=x",
        "?as=csv&of=x",
    ],
)
async def test_whatever_is_asked_of_it_is_no_fault(web: httpx.AsyncClient, core_with_people: Core, query: str) -> None:
    core_with_people.services.pulse.end()
    await sign_in(web, "olga")
    assert (await web.get(f"/console/now{query}")).status_code == 200
    assert (await web.get(f"/console/now/next{query}")).status_code == 503


@asynccontextmanager
async def watched_core(core: Core, settings: Settings) -> AsyncIterator[tuple[Core, httpx.AsyncClient]]:
    """Another node of a Core, with somebody at it."""
    async with open_core(core.database_url, settings) as other, await browser(other) as web:
        await sign_in(web, "olga")
        yield other, web


async def test_no_more_watch_than_may_and_who_watches_ends_with_the_node(core_with_people: Core) -> None:
    settings = replace(core_with_people.services.settings, console_watchers_max=1)
    async with watched_core(core_with_people, settings) as (core, web):
        answers: list[httpx.Response] = []

        async def watch() -> None:
            answers.append(await web.get(f"/console/now/next?after={10**17}"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await watching(core)
            refused = await web.get("/console/now/next")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
            core.services.pulse.end()
        assert [answer.status_code for answer in answers] == [503]


async def test_a_drain_ends_those_who_watch_first(core_with_people: Core) -> None:
    settings = replace(core_with_people.services.settings, drain_notice_seconds=0)
    async with open_core(core_with_people.database_url, settings) as core:
        async with core.served() as server, httpx.AsyncClient(base_url=core.base_url) as web:
            await sign_in(web, "olga")
            async with anyio.create_task_group() as tasks:
                answers = []

                async def watch() -> None:
                    answers.append(await web.get(f"/console/now/next?after={10**17}"))

                tasks.start_soon(watch)
                await watching(core)
                server.handle_exit(signal.SIGTERM, None)
        assert [answer.status_code for answer in answers] == [503]


async def test_what_is_old_is_forgotten(web: httpx.AsyncClient, core_with_people: Core) -> None:
    core = core_with_people
    connection = await core.connect()
    await core.services.pulse.beat()
    await connection.execute("update node_sample set taken_at = taken_at - interval '61 minutes'")
    await pulse.forget(connection)
    await connection.execute("update node set heard_at = heard_at - interval '23 hours'")
    assert await connection.fetchval("select count(*) from node") == 1
    await sign_in(web, "olga")
    assert "not been heard of" in (await web.get("/console/now")).text
    await connection.execute("update node set heard_at = heard_at - interval '2 hours'")
    await pulse.forget(connection)
    assert await connection.fetchval("select count(*) from node") == 0
    assert "No node has said anything yet" in (await web.get("/console/now")).text


@pytest.mark.parametrize(
    ("values", "path", "last", "highest", "top"),
    [
        ([], "", "", "", "1"),
        ([None, None], "", "", "", "1"),
        ([7.0], "M0.0 24.0L1.0 24.0", "7", "7", "10"),
        ([0.0, 0.0], "M0.0 80.0L300.0 80.0", "0", "0", "1"),
        ([1.0, None, 2.0, 2.0, None], "M0.0 40.0L1.0 40.0M150.0 0.0L225.0 0.0", "2", "2", "2"),
        ([0.0, 1_300_000.0], "M0.0 80.0L300.0 28.0", "1.3 M", "1.3 M", "2.0 M"),
    ],
)
def test_a_chart_draws_whatever_comes(values: Values, path: str, last: str, highest: str, top: str) -> None:
    chart = charts.lines("Held", "", {"held": values})
    (drawn,) = chart.drawn
    assert (drawn.path, drawn.last, drawn.highest, chart.top) == (path, last, highest, top)


def test_a_chart_of_nothing_says_so() -> None:
    assert charts.lines("Woken after", "ms", {"p50": [None], "p99": []}).now == "nothing yet"


def test_no_value_is_drawn_beyond_its_chart() -> None:
    for highest, unit in itertools.product((0.3, 1, 1.1, 9.99, 10, 10.1, 4.9e5, 1e9, 8.1e18), ("", "ms")):
        for draw in (charts.lines, charts.bars):
            (drawn,) = draw("", unit, {"": [0, highest, highest / 2]}).drawn
            heights = [float(number) for number in re.findall(r"[ V](\d+\.\d)", drawn.path)]
            assert min(heights) >= 0
            assert max(heights) <= charts.HEIGHT
