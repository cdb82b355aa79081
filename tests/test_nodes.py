"""Several nodes on one database: what one commits, the others announce."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import anyio
import pytest

from homeroom import HomeroomError
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.records import accepted, available, note, pairs
from tests.test_is_data_available import until_held


@pytest.fixture
async def nodes(database_of_test: str, settings: Settings, any_catalogue: str) -> AsyncIterator[tuple[Core, Core]]:
    plain = replace(settings, catalogue=any_catalogue)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(open_core(database_of_test, plain))
        yield one, await stack.enter_async_context(open_core(database_of_test, plain))


async def hear(core: Core, key: str, heard: list[list[tuple[str, int]]]) -> None:
    async with core.client_with(key) as reader:
        heard.append(pairs(await available(reader, "Note", wait_seconds=300)))


async def test_a_commit_on_one_node_wakes_those_held_on_the_other(nodes: tuple[Core, Core]) -> None:
    one, two = nodes
    key = await two.key("A.3020")
    heard: list[list[tuple[str, int]]] = []
    writer = await one.client("S.0982")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, two, key, heard)
            await until_held(two)
            (version,) = await accepted(writer, "Note", note("a"))
    assert heard == [[("a", version)]]


async def test_a_lost_notify_costs_a_poll_and_no_change(
    nodes: tuple[Core, Core], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes

    async def say_nothing(moved: object) -> None: ...

    monkeypatch.setattr(one.services.feed, "announce", say_nothing)
    key = await two.key("S.0982")
    heard: list[list[tuple[str, int]]] = []
    writer = await one.client("S.0982")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, two, key, heard)
            await until_held(two)
            (version,) = await accepted(writer, "Note", note("a"))
    assert heard == [[("a", version)]]


async def test_a_cut_listener_is_opened_again(nodes: tuple[Core, Core]) -> None:
    one, two = nodes
    key, writer = await two.key("S.0982"), await one.client("S.0982")
    connection = await one.connect()
    cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'homeroom feed'"
    assert await connection.fetchval(cut + " and datname = current_database()") == 2
    heard: list[list[tuple[str, int]]] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, two, key, heard)
            await until_held(two)
            (version,) = await accepted(writer, "Note", note("a"))
        while await connection.fetchval(cut.replace("pg_terminate_backend(pid)", "pid")) < 2:
            await anyio.sleep(0.05)
    assert heard == [[("a", version)]]


async def test_a_client_made_or_disabled_elsewhere_is_known_at_once(nodes: tuple[Core, Core]) -> None:
    one, two = nodes
    async with two.client_with(await one.key("S.0982")) as client:
        name = (await client.hello()).client
        await operations.set_client_disabled(await one.connect(), name, disabled=True)
        with anyio.fail_after(0.8), pytest.raises(HomeroomError) as failure:  # sooner than the next poll
            while True:
                await client.hello()
                await anyio.sleep(0.01)
    assert failure.value.code == 1003
