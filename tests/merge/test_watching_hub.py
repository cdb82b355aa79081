"""What moves on the hub becomes dirty within a second; a served Core, its clients on sockets, and the real state."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import asyncpg
import pytest

from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.runners.noticing import listen, take_calls
from homeroom_merge.runners.watching_hub import watch_hub
from homeroom_merge.runners.webhook import Hooked
from homeroom_merge.settings.model import Connector, Entity, Feed, Realtime
from homeroom_merge.settings.model import Hub as HubSettings
from homeroom_merge.settings.model import Settings as MergeSettings
from homeroom_merge.store import triggers
from homeroom_merge.store.connection import pooled
from homeroom_server import operations
from homeroom_server.auth import Role
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.merge.feeds import opened_state
from tests.merge.pupils import ORGANIZATIONS, TABLE, File, School, pupil
from tests.weather import Fault, Proxy

PATIENCE_SECONDS = 30


@dataclass
class Listening:
    """A feed that listens to a Core."""

    school: School
    settings: MergeSettings
    pool: asyncpg.Pool
    noticed: list[str] = field(default_factory=list)
    _bell: anyio.Event = field(default_factory=anyio.Event)

    def notice(self, entity: str) -> None:
        self.noticed.append(entity)
        self._bell.set()

    async def next_notice(self) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            await self._bell.wait()
        self._bell = anyio.Event()

    async def dirty(self) -> list[tuple[str, str]]:
        """(entity, id) of what was raised."""
        rows = await self.school.own.fetch(
            "select s.entity, t.key from trigger t join subject s on s.number = t.subject where side = 'hub'"
            " order by 1, 2"
        )
        return [(row["entity"], row["key"]) for row in rows]

    async def heard(self) -> dict[str, tuple[int, str]]:
        rows = await self.school.own.fetch("select notification_type, version, epoch from heard")
        return {row[0]: (row[1], row[2]) for row in rows}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """While it listens."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_hub, self.settings, self.pool, self.notice)
            yield
            tasks.cancel_scope.cancel()

    async def until_held(self, requests: int) -> None:
        """Until the Core holds so many."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while self.school.core.services.waiters.held != requests:
                await anyio.sleep(0.01)

    async def until(self, holds: Callable[[dict[str, tuple[int, str]]], bool]) -> None:
        """Until the cursors are so."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not holds(await self.heard()):
                await anyio.sleep(0.01)


def settings_of(url: str) -> MergeSettings:
    return MergeSettings(
        Feed("raven", "mapping", "A.9", ("S.91",)),
        HubSettings(url, ("A.9",)),
        Connector("sql"),
        {"hub_key": "RAVEN_KEY"},
        {"Student": Entity("Student"), "Staff": Entity("Staff"), "Course": Entity("Course", enabled=False)},
        realtime=Realtime(enabled=True),
    )


async def district_key(core: Core) -> str:
    """Of a client that acts for the authority and for one of its schools."""
    async with core.services.reading.connections_to_primary("usual").acquire() as connection:
        return await operations.create_client(connection, "district", ["A.9", "S.91"], Role.WRITER)


@asynccontextmanager
async def listening_to(core: Core, monkeypatch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[Listening]:
    file = File(folder / "sis.sqlite")
    key = await district_key(core)
    monkeypatch.setenv("RAVEN_KEY", key)
    sis = SqlDatabase(file.url, {"Student": TABLE})
    async with (
        opened_state(core.database_url) as own,
        pooled(core.database_url, 2) as pool,
        core.client_with(key, "A.9") as client,
    ):
        yield Listening(School(core, client, own, sis), settings_of(core.base_url), pool)


@asynccontextmanager
async def reached_by(proxy: Proxy) -> AsyncIterator[None]:
    """While the proxy is there; at its end all connections through it break."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.serve)
        yield
        tasks.cancel_scope.cancel()


@pytest.fixture
async def listening(
    database_of_test: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Listening]:
    """A Core on a socket with one student, r0, and nobody who listens yet."""
    async with open_core(database_of_test, replace(settings, catalogue="roster")) as core:
        await operations.load_organizations(await core.connect(), ORGANIZATIONS)
        async with core.served(), listening_to(core, monkeypatch, tmp_path) as listening:
            await listening.school.say("r0", pupil())
            yield listening


async def test_what_moves_is_dirty_within_a_second_and_what_moved_before_is_not(listening: Listening) -> None:
    async with listening.watching():
        await listening.until(lambda heard: set(heard) == {"Student", "Staff"})
        begun = anyio.current_time()
        await listening.school.say("r1", pupil("Una"))
        await listening.next_notice()
        assert anyio.current_time() - begun < 1
        assert await listening.dirty() == [("Student", "r1")]
    assert listening.noticed == ["Student"]


async def test_what_moves_while_nobody_listens_is_heard_of_afterwards(listening: Listening) -> None:
    async with listening.watching():
        await listening.until(lambda heard: "Student" in heard)
    await listening.school.say("r1", pupil("Una"))
    await listening.school.say("r0", None)
    async with listening.watching():
        await listening.next_notice()
    assert await listening.dirty() == [("Student", "r0"), ("Student", "r1")]


async def test_one_held_request_is_all_that_a_feed_and_organisation_takes(listening: Listening) -> None:
    listening.settings = replace(listening.settings, hub=HubSettings(listening.settings.hub.url, ("A.9", "S.91")))
    async with listening.watching():
        await listening.until_held(2)
        await listening.school.say("r1", pupil("Una"))
        await listening.next_notice()
        await listening.until_held(2)


async def test_what_we_wrote_ourselves_raises_nothing(listening: Listening, tmp_path: Path) -> None:
    async with listening.watching():
        await listening.until(lambda heard: "Student" in heard)
    before = (await listening.heard())["Student"]
    file = File(tmp_path / "own.sqlite")
    listening.school.sis = SqlDatabase(file.url, {"Student": TABLE})
    file.put("r7", first="Ida", last="Elk")
    await listening.school.merge()
    assert "r7" in await listening.school.hub()
    async with listening.watching():
        await listening.until(lambda heard: heard["Student"] > before)
        assert (listening.noticed, await listening.dirty()) == ([], [])
        await listening.school.say("r7", pupil("Ada", "Elk"))
        await listening.next_notice()
    assert await listening.dirty() == [("Student", "r7")]


async def test_in_a_new_history_it_goes_on_with_what_moves_there(listening: Listening) -> None:
    async with listening.watching():
        await listening.until_held(1)
        epoch = (await listening.heard())["Student"][1]
        await operations.begin_history(await listening.school.core.connect(), "restored")
        await listening.school.say("r1", pupil("Una"))
        await listening.next_notice()
        assert all(of != epoch for _, of in (await listening.heard()).values())
        await listening.school.say("r2", pupil("Ida"))
        await listening.next_notice()
    assert await listening.dirty() == [("Student", "r1"), ("Student", "r2")]


async def test_a_cursor_that_the_hub_cannot_use_is_left_to_a_full_run(listening: Listening) -> None:
    async with listening.watching():
        await listening.until(lambda heard: "Student" in heard)
    await listening.school.own.execute("update heard set version = 1::bigint << 52")
    async with listening.watching():
        await listening.until(lambda heard: heard["Student"][0] < 1 << 52)
        await listening.school.say("r1", pupil("Una"))
        await listening.next_notice()
    assert await listening.dirty() == [("Student", "r1")]


async def test_a_hub_that_is_away_is_heard_again_once_it_is_back(listening: Listening) -> None:
    """Away before the first word, and again while a request is held and something moves."""
    proxy = Proxy(int(listening.settings.hub.url.rpartition(":")[2]), [Fault("cut")] * 2)
    async with anyio.create_task_group() as tasks:
        async with reached_by(proxy):
            listening.settings = replace(
                listening.settings, hub=HubSettings(f"http://127.0.0.1:{proxy.port}", ("A.9",))
            )
            tasks.start_soon(watch_hub, listening.settings, listening.pool, listening.notice)
            await listening.until(lambda heard: set(heard) == {"Student", "Staff"})
            await listening.until_held(1)
            assert proxy.connections > 2
        await listening.until_held(0)
        await listening.school.say("r1", pupil("Una"))
        assert listening.noticed == []
        async with reached_by(proxy):
            await listening.next_notice()
            assert await listening.dirty() == [("Student", "r1")]
            tasks.cancel_scope.cancel()


async def test_triggers_are_there_before_anybody_is_told(listening: Listening) -> None:
    found: list[list[tuple[str, str]]] = []
    async with anyio.create_task_group() as tasks:

        def notice(entity: str) -> None:
            async def look() -> None:
                found.append(await triggers.subjects(listening.school.own))
                tasks.cancel_scope.cancel()

            tasks.start_soon(look)

        tasks.start_soon(watch_hub, listening.settings, listening.pool, notice)
        await listening.until(lambda heard: "Student" in heard)
        await listening.school.say("r1", pupil("Una"))
        with anyio.fail_after(PATIENCE_SECONDS):
            await anyio.sleep_forever()
    assert found == [[("raven", "Student")]]


async def test_a_burst_on_the_hub_is_one_drain_and_the_webhook_is_there_meanwhile(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    drains: list[tuple[str, str]] = []
    runs: list[str] = []
    hooks: dict[str, Hooked] = {}
    drained = anyio.Event()

    async def defer(feed: str, entity: str) -> None:
        drains.append((feed, entity))
        drained.set()

    async def defer_run(feed: str, entities: Sequence[str]) -> None:
        runs.append(feed)

    monkeypatch.setenv("RAVEN_HOOK", "s3cret")
    realtime = Realtime(enabled=True, debounce_seconds=5, webhook=True)
    secrets = {**listening.settings.secrets, "webhook_secret": "RAVEN_HOOK"}
    settings = replace(listening.settings, realtime=realtime, secrets=secrets)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, settings, listening.pool, defer, defer_run)
        tasks.start_soon(take_calls, settings, listening.pool, defer, hooks)
        await listening.until_held(1)
        for key in ("r1", "r2", "r3"):
            await listening.school.say(key, pupil())
        with anyio.fail_after(PATIENCE_SECONDS):
            await drained.wait()
        assert len(await listening.dirty()) == 3
        assert (hooks["raven"].secret, hooks["raven"].entities) == ("s3cret", frozenset({"Student", "Staff"}))
        tasks.cancel_scope.cancel()
    assert (drains, runs, hooks) == ([("raven", "Student")], [], {})


async def test_nothing_is_noticed_where_realtime_is_not_enabled(listening: Listening) -> None:
    async def never(*_: object) -> None:
        raise AssertionError

    off = replace(listening.settings, realtime=Realtime())
    with anyio.fail_after(PATIENCE_SECONDS):
        await listen(off, listening.pool, never, never)
        await take_calls(off, listening.pool, never, {})
    assert await listening.heard() == {}
