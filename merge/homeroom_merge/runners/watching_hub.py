"""The hub, listened to: one held request a feed and organisation, and what moves is dirty.

Its cursors are its own: how far a run has fetched is another matter. What the hub cannot tell any more, in a new
history or below its horizon, is left to the next full run, which finds it out by itself; listening goes on from there.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Never

import anyio
import asyncpg
import structlog

from homeroom_merge.assembly import type_of, types_by_year
from homeroom_merge.connectors.hub import (
    TYPES_PER_CALL_MAX,
    Hub,
    HubCursor,
    HubError,
    Moved,
    open_hub,
    read_catalogue,
)
from homeroom_merge.feed_secrets import secret_of, stored_secrets
from homeroom_merge.pacing import Pacing
from homeroom_merge.runners.debouncing import Notice
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import heard, seen, triggers
from homeroom_merge.store.connection import FAILURES, Conn

_PACING = Pacing(attempts_max=9)
_FAILURES_MAX = 8
"""Pauses grow no longer after so many in a row."""
_AT_ONCE_SECONDS = 1.0
"""An answer that comes sooner was not held."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Listener:
    """One held request: some types as one organisation sees them. `entities`: of the feed, by notification type."""

    feed: str
    organization: str
    hub: Hub
    entities: Mapping[str, Sequence[str]]
    pool: asyncpg.Pool
    notice: Notice

    async def listen(self) -> None:
        """Be held once, and store what was heard; notice entities in which something moved that we did not write.

        What is raised is stored with the cursor, so that nothing is lost between. A write of ours whose answer is still
        on its way here is raised, too; its drain will find nothing.
        """
        cursors = await self._cursors()
        begun = anyio.current_time()
        moved = await self.hub.wait(cursors)
        if untold := [name for name, what in moved.items() if not what.all_told]:
            log.warning("the hub cannot tell all that moved: left to a full run", feed=self.feed, types=untold)
        to = {name: what.cursor or await self.hub.present(name) for name, what in moved.items()}
        async with self.pool.acquire() as connection, connection.transaction():
            dirty = await self._raise(connection, moved)
            await self._move(connection, to)
        for entity in dirty:
            self.notice(entity)
        if not any(what.versions for what in moved.values()) and anyio.current_time() - begun < _AT_ONCE_SECONDS:
            await anyio.sleep(_AT_ONCE_SECONDS)  # a node that drains, or a new history: never a fast loop

    async def _cursors(self) -> dict[str, HubCursor]:
        """A type that was never listened to begins with the present: what moved before is a full run's."""
        async with self.pool.acquire() as connection:
            known = await heard.cursors(connection, self.feed, self.organization)
        cursors = {name: HubCursor(*known[name]) for name in self.entities if name in known}
        new = {name: await self.hub.present(name) for name in self.entities if name not in known}
        if new:
            async with self.pool.acquire() as connection:
                await self._move(connection, new)
        return cursors | new

    async def _move(self, connection: Conn, to: Mapping[str, HubCursor]) -> None:
        places = {name: (cursor.version, cursor.epoch) for name, cursor in to.items()}
        await heard.move(connection, self.feed, self.organization, places)

    async def _raise(self, connection: Conn, moved: Mapping[str, Moved]) -> set[str]:
        """The entities in which something is dirty now."""
        dirty = set()
        for name, what in moved.items():
            for entity in self.entities[name] if what.versions else ():
                subject = (await seen.find_subject(connection, self.feed, entity)).number
                if news := await seen.hub_news(connection, subject, what.versions):
                    await triggers.raise_on_hub(connection, subject, {key: what.versions[key] for key in news})
                    dirty.add(entity)
        return dirty


async def watch_hub(settings: Settings, pool: asyncpg.Pool, notice: Notice) -> Never:
    """Listen for a feed until cancelled; where the hub or the state is away, again after growing pauses.

    Raises AssemblyError and MissingSecretError: settings that a person must mend.
    """
    failures = 0
    while True:
        try:
            async with _listeners(settings, pool, notice) as listeners, anyio.create_task_group() as tasks:
                for each in listeners:
                    tasks.start_soon(_keep_listening, each)
        except (HubError, *FAILURES) as failure:
            failures += 1
            await _pause(settings.feed.name, failures, failure)


async def _keep_listening(listener: Listener) -> Never:
    failures = 0
    while True:
        try:
            await listener.listen()
            failures = 0
        except (HubError, *FAILURES) as failure:
            failures += 1
            await _pause(listener.feed, failures, failure)


async def _pause(feed: str, failures: int, failure: Exception) -> None:
    asked = failure.retry_after_seconds if isinstance(failure, HubError) else None
    pause = _PACING.pause_seconds(min(failures, _FAILURES_MAX), asked) or _PACING.pause_seconds_max
    log.warning("the hub is not heard", feed=feed, error=str(failure) or repr(failure), pause_seconds=round(pause, 1))
    await anyio.sleep(pause)


@asynccontextmanager
async def _listeners(settings: Settings, pool: asyncpg.Pool, notice: Notice) -> AsyncIterator[Sequence[Listener]]:
    """One for each organisation; more where it has more types than a request can name."""
    async with pool.acquire() as connection:
        key = secret_of(settings, "hub_key", await stored_secrets(connection, settings.feed.name))
    async with AsyncExitStack() as stack:
        hubs = {}
        for organization in settings.organizations:
            hub = open_hub(settings.hub.url, key, organization, retry_seconds=0)
            hubs[organization] = await stack.enter_async_context(hub)
        entities = await _entities(settings, next(iter(hubs.values())))
        names = sorted(entities)
        yield [
            Listener(settings.feed.name, organization, hub, {name: entities[name] for name in part}, pool, notice)
            for organization, hub in hubs.items()
            for part in (names[at : at + TYPES_PER_CALL_MAX] for at in range(0, len(names), TYPES_PER_CALL_MAX))
        ]


async def _entities(settings: Settings, hub: Hub) -> Mapping[str, Sequence[str]]:
    """The entities that are merged, by notification type."""
    catalogue = await read_catalogue(hub)
    entities: dict[str, list[str]] = defaultdict(list)
    for name, entity in settings.entity.items():
        if entity.enabled:
            for notification_type in types_by_year(name, entity, type_of(catalogue, entity)).values():
                entities[notification_type].append(name)
    return entities
