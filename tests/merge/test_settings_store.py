"""Settings pushed, pulled, bound to days, and feeds paused, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest

from homeroom_merge.store import connection as connections
from homeroom_merge.store import schema
from homeroom_merge.store import settings as store
from homeroom_merge.store.seen import find_subject

SPRING, SUMMER = date(2026, 4, 1), date(2026, 7, 15)


@pytest.fixture
async def connection(database_of_test: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connections.connect(database_of_test)
    try:
        await schema.apply(connection)
        yield connection
    finally:
        await connection.close()


async def pushed(connection: asyncpg.Connection, state: str, toml: str, after: int | None = None) -> int:
    return await store.push(connection, "maple", state, toml, "because", "ada", after)


async def text_in_force(connection: asyncpg.Connection, today: date) -> str | None:
    found = await store.in_force(connection, "maple", today)
    return None if found is None else found.toml


async def test_the_first_state_is_in_force_and_each_push_is_a_version(connection: asyncpg.Connection) -> None:
    assert await store.in_force(connection, "maple", SPRING) is None
    assert [await pushed(connection, "usual", "a = 1"), await pushed(connection, "usual", "a = 2")] == [1, 2]
    found = await store.in_force(connection, "maple", SPRING)
    assert found is not None
    assert (found.state_name, found.version, found.toml, found.pushed_by) == ("usual", 2, "a = 2", "ada")
    first = await store.pull(connection, "maple", "usual", 1)
    assert first is not None
    assert (first.toml, first.comment) == ("a = 1", "because")
    assert [each.version for each in await store.history(connection, "maple")] == [2, 1]
    assert await store.pull(connection, "maple", "other") is None


async def test_a_feed_that_runs_knew_first_takes_its_first_state(connection: asyncpg.Connection) -> None:
    await find_subject(connection, "maple", "Student")
    await pushed(connection, "usual", "a = 1")
    assert await text_in_force(connection, SPRING) == "a = 1"


async def test_a_push_over_somebody_else_s_is_refused(connection: asyncpg.Connection) -> None:
    await pushed(connection, "usual", "a = 1", after=0)
    await pushed(connection, "usual", "a = 2", after=1)
    with pytest.raises(store.SettingsMovedError, match="usual of maple is at version 2, not 1"):
        await pushed(connection, "usual", "a = 3", after=1)
    assert await text_in_force(connection, SPRING) == "a = 2"


async def test_a_state_bound_to_days_is_in_force_on_them(connection: asyncpg.Connection) -> None:
    await pushed(connection, "usual", "a = 1")
    await pushed(connection, "summer", "a = 2")
    await store.bind(connection, "maple", "summer", date(2026, 7, 1), date(2026, 8, 31))
    assert [await text_in_force(connection, day) for day in (SPRING, SUMMER)] == ["a = 1", "a = 2"]
    await store.bind(connection, "maple", "usual", date(2026, 7, 10), date(2026, 7, 20))
    assert await text_in_force(connection, SUMMER) == "a = 1"
    await store.unbind(connection, "maple", date(2026, 7, 10))
    await store.unbind(connection, "maple", date(2026, 7, 1))
    await store.use(connection, "maple", "summer")
    assert [await text_in_force(connection, day) for day in (SPRING, SUMMER)] == ["a = 2", "a = 2"]


async def test_a_state_that_was_never_pushed_cannot_be_put_in_force(connection: asyncpg.Connection) -> None:
    await pushed(connection, "usual", "a = 1")
    with pytest.raises(store.NoSuchStateError):
        await store.use(connection, "maple", "summer")
    with pytest.raises(store.NoSuchStateError):
        await store.bind(connection, "maple", "summer", SPRING, SUMMER)


async def test_a_pause_keeps_its_beginning_until_it_ends(connection: asyncpg.Connection) -> None:
    await pushed(connection, "usual", "a = 1")
    assert await store.find_pause(connection, "maple") is None
    await store.pause(connection, "maple", "new SIS")
    first = await store.find_pause(connection, "maple")
    await store.pause(connection, "maple", "still moving")
    second = await store.find_pause(connection, "maple")
    assert first is not None
    assert second is not None
    assert (first.paused_at, second.because) == (second.paused_at, "still moving")
    await store.resume(connection, "maple")
    assert await store.find_pause(connection, "maple") is None
