"""Who looks at the clock: one worker of all, which hands out the nights that have begun and what was left lying."""

from dataclasses import dataclass, field
from datetime import datetime

import anyio
import asyncpg
import structlog
from procrastinate import App

from homeroom_merge.in_force import NoSettingsError, pushed_in_force
from homeroom_merge.runners import queue
from homeroom_merge.runners.nights import Night, begun
from homeroom_merge.runners.reaper import reap
from homeroom_merge.runners.work import Means, standstill
from homeroom_merge.settings.model import SettingsError
from homeroom_merge.store import jobs, nights, triggers
from homeroom_merge.store.settings import Pushed

log = structlog.get_logger()

_SWEEP_SECONDS = 600.0
"""So often what is dirty gets a job, though whoever made it so has asked for one; and what is old is forgotten."""


@dataclass(slots=True)
class Clock:
    """Looks every so many seconds. `silent_seconds`: who has not been heard of for so long is dead."""

    means: Means
    connection: asyncpg.Connection
    app: App
    tick_seconds: float
    silent_seconds: float
    _swept_at: float = field(default=float("-inf"))

    async def run(self) -> None:
        """Until it is cancelled, or the database goes away. Where another worker looks, this one waits to take over."""
        while True:
            if await nights.lead(self.connection):
                await self._tick()
            await anyio.sleep(self.tick_seconds)

    async def _tick(self) -> None:
        still = set()
        for feed in await nights.feeds(self.connection):
            try:
                if await self._is_still(feed):
                    still.add(feed)
            except (SettingsError, NoSettingsError) as fault:
                still.add(feed)
                log.error("settings_cannot_be_used", feed=feed, because=str(fault))
        for feed, day in await nights.hand_out(self.connection, lambda *night: queue.defer_nightly(self.app, *night)):
            log.info("night_begins", feed=feed, date=day.isoformat())
        await reap(self.connection, self.app, self.silent_seconds, still)
        if anyio.current_time() >= self._swept_at + _SWEEP_SECONDS:
            self._swept_at = anyio.current_time()
            for feed, entity in await triggers.subjects(self.connection):
                if feed not in still:
                    await queue.defer_drain(self.app, feed, entity)
            await queue.forget_old(self.app)
            await jobs.forget(self.connection)

    async def _is_still(self, feed: str) -> bool:
        """Note the night that has begun. Whether nothing of the feed runs by itself."""
        now = self.means.clock()
        settings, pushed = await pushed_in_force(self.connection, feed, now)
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
