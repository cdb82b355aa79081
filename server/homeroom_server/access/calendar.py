"""The day as of which associations count: moved on once a day, unless that would take away too much at once."""

from dataclasses import dataclass
from datetime import date

import anyio
import asyncpg
import structlog

from homeroom_server.settings import Settings
from homeroom_server.store import associations
from homeroom_server.store.connection import Conn

_HELD_SECONDS = 60.0
"""All associations are counted to see whether a day is still to be held: not with every poll."""

log = structlog.get_logger()


@dataclass(slots=True)
class Holding:
    """The day that was last said to be held, so that it is said once, and when it is to be looked at again."""

    day: date | None = None
    again_at: float = 0.0


@dataclass(frozen=True, slots=True)
class AccessDay:
    """`day`: as of which associations count (None: no node has looked yet). `today`: the day in the Core's time zone.

    Behind today, so many of all `active` associations are `lapsing` with the move; `held`: too many.
    """

    day: date | None
    today: date
    lapsing: int = 0
    active: int = 0
    held: bool = False

    @property
    def is_behind(self) -> bool:
        return self.day is None or self.day < self.today


async def begin_day(pool: asyncpg.Pool, settings: Settings, held: Holding) -> bool:
    """Move the access day on to today; whether it is today. Held, and said once, if too many would lose access."""
    if anyio.current_time() < held.again_at:
        return False
    async with pool.acquire() as connection:
        found = await read_access_day(connection, settings)
        if not found.is_behind:
            return True
        if found.held:
            held.again_at = anyio.current_time() + _HELD_SECONDS
            if held.day != found.today:
                held.day = found.today
                log.error(
                    "the access day is held",
                    day=str(found.today),
                    since=str(found.day),
                    lapsing=found.lapsing,
                    active=found.active,
                )
            return False
        await associations.move_access_day(connection, found.today)
        return True


async def read_access_day(connection: Conn, settings: Settings) -> AccessDay:
    """Where the access day stands; associations are counted only if it is behind."""
    today = await associations.today(connection, settings.time_zone)
    day = await associations.access_day(connection)
    if day is not None and day >= today:
        return AccessDay(day, today)
    lapsing, active = await associations.lapsing(connection, today)
    return AccessDay(day, today, lapsing, active, held=is_too_many(lapsing, active, settings))


def is_too_many(lapsing: int, active: int, settings: Settings) -> bool:
    """Whether so many associations of all that are active are more than a day should take."""
    return lapsing > settings.access_lapse_held_min and lapsing > settings.access_lapse_share_max * active
