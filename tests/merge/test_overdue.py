"""Feeds from which nothing has come for longer than their settings allow."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from homeroom_merge.runners.overdue import Overdue, overdue
from homeroom_merge.settings.start import as_toml
from homeroom_merge.store import seen, settings, watched_files
from homeroom_merge.store.watched_files import File
from tests.merge.feeds import opened_state

HOUR = timedelta(hours=1)


@pytest.fixture
async def own(database_of_test: str) -> AsyncIterator[asyncpg.Connection]:
    async with opened_state(database_of_test) as own:
        yield own


async def push(own: asyncpg.Connection, feed: str, said: str = "alarm_hours = 24") -> datetime:
    """Settings of a feed; when they were pushed."""
    toml = as_toml("csv", feed, "A.9", ["S.91"], ["Student"]).replace("# alarm_hours = 0", f"{said} ")
    await settings.push(own, feed, "default", toml, "", "tests")
    pushed = await settings.pull(own, feed, "default")
    assert pushed is not None
    return pushed.pushed_at


async def moment(own: asyncpg.Connection, column: str, table: str) -> datetime:
    found = await own.fetchval(f"select max({column}) from {table}")
    assert isinstance(found, datetime)
    return found


async def test_a_feed_that_never_came_is_overdue_since_its_first_settings(own: asyncpg.Connection) -> None:
    first = await push(own, "raven")
    await push(own, "raven")
    await push(own, "heron", "")
    assert await overdue(own, first + 24 * HOUR - timedelta(seconds=1)) == []
    assert await overdue(own, first + 24 * HOUR) == [Overdue("raven", first, 24)]


async def test_a_fetch_counts_where_there_are_no_files_and_files_count_where_there_are(own: asyncpg.Connection) -> None:
    await push(own, "raven")
    subject = await seen.find_subject(own, "raven", "Student")
    await own.execute("update settings set pushed_at = pushed_at - interval '9 days'")
    await seen.move_sis_cursor(own, subject.number, None, None, whole=True)
    fetched = await moment(own, "sis_fetched_at", "subject")
    assert await overdue(own, datetime.now(UTC)) == []
    assert await overdue(own, fetched + 25 * HOUR) == [Overdue("raven", fetched, 24)]
    await watched_files.came(own, "raven", {"users.csv": File("1 1", "00")})
    await own.execute("update watched_file set came_at = came_at - interval '2 days'")
    came = await moment(own, "came_at", "watched_file")
    assert await overdue(own, datetime.now(UTC)) == [Overdue("raven", came, 24)]
    await watched_files.came(own, "raven", {"users.csv": File("1 2", "00")})
    assert await overdue(own, datetime.now(UTC)) == []


async def test_a_feed_that_is_paused_is_not_expected_to_send(own: asyncpg.Connection) -> None:
    late = await push(own, "raven") + 48 * HOUR
    await push(own, "heron", 'alarm_hours = 24\npaused = "summer"\n#')
    assert [each.feed for each in await overdue(own, late)] == ["raven"]
    await settings.pause(own, "raven", "holidays")
    assert await overdue(own, late) == []
    await settings.resume(own, "raven")
    assert [each.feed for each in await overdue(own, late)] == ["raven"]


async def test_settings_that_cannot_be_read_keep_no_other_feed_from_its_alarm(own: asyncpg.Connection) -> None:
    late = await push(own, "raven") + 48 * HOUR
    await settings.push(own, "heron", "default", "[feed", "", "tests")
    assert [each.feed for each in await overdue(own, late)] == ["raven"]
