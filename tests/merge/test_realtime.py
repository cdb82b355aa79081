"""Realtime with the worker as it is run: a hub and a database of a SIS, in which people work meanwhile."""

import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx
import orjson
import pytest
import sqlalchemy as sa

from homeroom_merge.runners import signing
from tests.merge.test_merge_command import COMMAND, reports
from tests.merge.test_sql_feed import ADA, HELD, TEACHERS, Feed, Sis, feed, sis

__all__ = ["feed", "sis"]  # fixtures

SECRET = "s3cret of elk"
REALTIME = "[realtime]\nenabled = true\nwebhook = true\ndebounce_seconds_max = 2\n"
JOBS = """
select status::text from homeroom_merge_queue.procrastinate_jobs where status in ('todo', 'doing') order by 1
"""


@dataclass
class Live:
    """A feed in step, whose SIS has Ada (1) and Eve (2), with a worker that listens and is called at `url`."""

    feed: Feed
    sis: Sis
    url: str
    log: Callable[[], str]

    async def until(self, asked: Callable[[], Awaitable[object]]) -> None:
        try:
            with anyio.fail_after(60):
                while not await asked():
                    await anyio.sleep(0.05)
        except TimeoutError:
            pytest.fail(self.log()[-6_000:])

    async def until_in_sis(self, number: int, **cells: object) -> None:
        async def is_there() -> bool:
            row = self.sis.rows().get(number, {})
            return {name: row.get(name) for name in cells} == cells

        await self.until(is_there)

    async def until_on_hub(self, key: str, **members: object) -> None:
        async def is_there() -> bool:
            body = (await self.feed.hub.bodies()).get(key, {})
            return {name: body.get(name) for name in members} == members

        await self.until(is_there)

    async def until_at_rest(self) -> None:
        """Nothing is dirty, and no job waits or is being done."""

        async def is_at_rest() -> bool:
            dirty = await self.feed.ask("select key from homeroom_merge.trigger where not parked")
            return not dirty and not await self.feed.ask(JOBS)

        await self.until(is_at_rest)

    async def call(self, *keys: str) -> httpx.Response:
        """The SIS says that these have moved."""
        body, now = orjson.dumps({"keys": keys}), f"{time.time():.6f}"
        signed = signing.signature(SECRET, now, "elk", "Staff", body)
        async with httpx.AsyncClient() as client:
            headers = {signing.TIMESTAMP: now, signing.SIGNATURE: signed}
            return await client.post(f"{self.url}/hooks/elk/Staff", content=body, headers=headers)


@asynccontextmanager
async def running_worker(feed: Feed) -> AsyncIterator[tuple[str, Callable[[], str]]]:
    """Where it is called, and what it has logged."""
    log = feed.toml.parent / "worker.log"
    command = [COMMAND, "worker", "--webhook", "127.0.0.1:0", "--grace-seconds", "1"]
    environment = {**feed.administrator.environment, "ELK_WEBHOOK": SECRET}
    with log.open("wb") as file:
        process = await anyio.open_process(
            command, stdout=subprocess.DEVNULL, stderr=file, env=environment, cwd=log.parent
        )
    async with process:
        try:
            with anyio.fail_after(60):
                while '"url"' not in log.read_text() or "worker_ready" not in log.read_text():
                    await anyio.sleep(0.02)
            said = next(line for line in log.read_text().splitlines() if '"url"' in line)
            yield orjson.loads(said)["url"].removesuffix("/hooks/FEED/ENTITY"), log.read_text
        finally:
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(30, shield=True):
                await process.wait()
    assert process.returncode == 0, log.read_text()


@pytest.fixture
async def in_step(feed: Feed, sis: Sis) -> Feed:
    text = feed.toml.read_text().replace("\n[secrets]", '\n[secrets]\nwebhook_secret = "ELK_WEBHOOK"')
    text = text.replace("[realtime]", REALTIME).replace("# creates = 75", "creates = false")
    feed.toml.write_text(text.replace("# updates = 75", "updates = false"))
    sis.do(sa.insert(TEACHERS).values([{**ADA, "Given": given} for given in ("Ada", "Eve")]))
    await feed.administrator.do("settings", "push", "elk.toml")
    assert reports(await feed.do("run --json", HELD)) == {"Staff": "held"}
    assert reports(await feed.do("approve --by me --json")) == {"Staff": "success"}
    return feed


@asynccontextmanager
async def listening(feed: Feed, sis: Sis) -> AsyncIterator[Live]:
    async with running_worker(feed) as (url, log):
        live = Live(feed, sis, url, log)
        await live.until(lambda: feed.ask("select notification_type from homeroom_merge.heard"))
        yield live


@pytest.fixture
async def live(in_step: Feed, sis: Sis) -> AsyncIterator[Live]:
    async with listening(in_step, sis) as live:
        yield live


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sis", ["sqlite"], indirect=True)
async def test_an_edit_on_either_side_is_on_the_other_and_comes_back_to_nobody(live: Live) -> None:
    hub = live.feed.hub
    await hub.say("1", firstName="Ada May")
    await live.until_in_sis(1, Given="Ada May")
    live.sis.edit(2, Family="Wolf")
    assert (await live.call("2")).status_code == 202
    await live.until_on_hub("2", lastName="Wolf")
    await hub.say("new", firstName="Ida", lastName="Otter", sex="female")
    await live.until_in_sis(3, Given="Ida", Family="Otter")
    await live.until_at_rest()
    wrote = "select side || ' ' || kind from homeroom_merge.journal j join homeroom_merge.run r on r.id = j.run where "
    assert await live.feed.ask(f"{wrote} r.runner = 'realtime' order by j.number") == [
        "sis update",
        "hub update",
        "sis create",
    ]
    assert await live.feed.ask("select status from homeroom_merge.run where runner = 'realtime'") == ["success"] * 3
    assert (await live.call()).status_code == 422


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sis", ["sqlite"], indirect=True)
async def test_edits_that_never_pause_are_merged_by_one_drain_after_the_other(live: Live) -> None:
    hub, said = live.feed.hub, dict.fromkeys(range(20), "")
    count, runs = 0, "select id::text from homeroom_merge.run where runner = 'realtime' and status <> 'running'"
    while len(await live.feed.ask(runs)) < 3:
        number, count = count % len(said), count + 1
        said[number] = f"Ada {count}"
        await hub.say(f"new{number}", firstName=said[number], lastName="Otter", sex="female")
        assert await live.feed.ask(JOBS) in ([], ["doing"], ["todo"], ["doing", "todo"]), "one runs, and one waits"
    await live.until_at_rest()
    assert sorted(str(row["Given"]) for number, row in live.sis.rows().items() if number > 2) == sorted(
        each for each in said.values() if each
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sis", ["sqlite"], indirect=True)
async def test_settings_that_are_pushed_hold_for_those_who_listen_without_a_restart(live: Live) -> None:
    text = live.feed.toml.read_text()
    live.feed.toml.write_text(text.replace("webhook = true", "").replace('webhook_secret = "ELK_WEBHOOK"', ""))
    await live.feed.administrator.do("settings", "push", "elk.toml")

    async def is_unknown() -> bool:
        return (await live.call("2")).status_code == 401

    await live.until(is_unknown)
    await live.feed.hub.say("1", firstName="Ada May")
    await live.until_in_sis(1, Given="Ada May")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sis", ["sqlite"], indirect=True)
async def test_what_moved_while_no_worker_ran_is_merged_by_the_next(in_step: Feed, sis: Sis) -> None:
    async with listening(in_step, sis) as live:
        await live.until_at_rest()
    await in_step.hub.say("1", firstName="Una")
    async with listening(in_step, sis) as live:
        await live.until_in_sis(1, Given="Una")
