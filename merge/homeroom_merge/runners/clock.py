"""Who looks at the clock: one worker of all, which hands out the nights that have begun and what was left lying."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import anyio
import asyncpg
import structlog
from procrastinate import App

from homeroom_merge.feed_secrets import stored_secrets
from homeroom_merge.in_force import pushed_in_force
from homeroom_merge.refusal import RefusedError
from homeroom_merge.runners import queue
from homeroom_merge.runners.hooks import tell_overdue
from homeroom_merge.runners.keeping import InForce, Keeper
from homeroom_merge.runners.nights import Night, begun
from homeroom_merge.runners.overdue import overdue
from homeroom_merge.runners.reaper import reap
from homeroom_merge.runners.work import Means, standstill
from homeroom_merge.store import jobs, nights, triggers
from homeroom_merge.store.settings import Pushed

log = structlog.get_logger()

_SWEEP_SECONDS = 600.0
"""So often what is dirty gets a job, though whoever made it so has asked for one; and what is old is forgotten."""


@dataclass(slots=True)
class Clock:
    """Looks every so many seconds. `silent_seconds`: who has not been heard of for so long is dead.

    `listening`: kept by the one that leads; `calls`: kept by each that is called.
    """

    means: Means
    connection: asyncpg.Connection
    app: App
    tick_seconds: float
    silent_seconds: float
    listening: Keeper
    calls: Keeper | None
    _swept_at: float = field(default=float("-inf"))

    async def run(self) -> None:
        """Until it is cancelled, or the database goes away. Where another worker looks, this one waits to take over."""
        try:
            while True:
                leads = await nights.lead(self.connection)
                if leads or self.calls is not None:
                    feeds = await self._feeds()
                    if leads:
                        going = {feed: each for feed, each in feeds.items() if not await self._is_still(feed, each)}
                        await self._tick(going)
                        self.listening.keep(going)
                    if self.calls is not None:
                        self.calls.keep(feeds)
                await anyio.sleep(self.tick_seconds)
        finally:
            await self.listening.close()
            if self.calls is not None:
                await self.calls.close()

    async def _feeds(self) -> dict[str, InForce]:
        """Those whose settings can be used."""
        found: dict[str, InForce] = {}
        for feed in await nights.feeds(self.connection):
            try:
                settings, pushed = await pushed_in_force(self.connection, feed, self.means.clock())
                found[feed] = InForce(settings, pushed, await stored_secrets(self.connection, feed))
            except RefusedError as fault:
                log.error("settings_cannot_be_used", feed=feed, because=str(fault))
        return found

    async def _tick(self, going: Mapping[str, InForce]) -> None:
        """`going`: feeds that run by themselves now."""
        for feed, day in await nights.hand_out(self.connection, lambda *night: queue.defer_nightly(self.app, *night)):
            log.info("night_begins", feed=feed, date=day.isoformat())
        await reap(self.connection, self.app, self.silent_seconds, going)
        if anyio.current_time() >= self._swept_at + _SWEEP_SECONDS:
            self._swept_at = anyio.current_time()
            for feed, entity in await triggers.subjects(self.connection):
                if feed in going:
                    await queue.defer_drain(self.app, feed, entity)
            await self._tell_overdue(going)
            await queue.forget_old(self.app)
            await jobs.forget(self.connection)

    async def _tell_overdue(self, going: Mapping[str, InForce]) -> None:
        for late in await overdue(self.connection, self.means.clock()):
            if late.feed in going:
                log.warning("feed_overdue", feed=late.feed, since=late.since.isoformat())
                in_force = going[late.feed]
                await tell_overdue(self.connection, in_force.settings, late.since, in_force.secrets)

    async def _is_still(self, feed: str, in_force: InForce) -> bool:
        """Note the night that has begun. Whether nothing of the feed runs by itself."""
        now, (settings, pushed, _) = self.means.clock(), in_force
        still = await standstill(self.connection, settings, now)
        night = begun(settings.feed, now)
        if night is not None and _counts(night, pushed, now):
            noted = await nights.note(self.connection, feed, night.date, night.begins, night.until, still)
            if noted and still:
                log.warning("night_skipped", feed=feed, date=night.date.isoformat(), because=still)
        return still is not None


def _counts(night: Night, pushed: Pushed, now: datetime) -> bool:
    """One that is over counts, late as it is, unless it was over before anybody asked for it by these settings."""
    return now < night.until or pushed.pushed_at < night.begins
