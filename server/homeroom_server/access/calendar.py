"""The day as of which associations count: moved on once a day, unless that would take away too much at once."""

from dataclasses import dataclass
from datetime import date

import asyncpg
import structlog

from homeroom_server.settings import Settings
from homeroom_server.store import access

log = structlog.get_logger()


@dataclass(slots=True)
class Holding:
    """The day that was last said to be held, so that it is said once."""

    day: date | None = None


async def begin_day(pool: asyncpg.Pool, settings: Settings, held: Holding) -> bool:
    """Move the access day on to today; whether it is today. Held, and said once, if too many would lose access."""
    async with pool.acquire() as connection:
        today = await access.today(connection, settings.time_zone)
        day = await access.access_day(connection)
        if day is not None and day >= today:
            return True
        lapsing, active = await access.lapsing(connection, today)
        if is_too_many(lapsing, active, settings):
            if held.day != today:
                held.day = today
                log.error("the access day is held", day=str(today), since=str(day), lapsing=lapsing, active=active)
            return False
        await access.move_access_day(connection, today)
        return True


def is_too_many(lapsing: int, active: int, settings: Settings) -> bool:
    """Whether so many associations of all that are active are more than a day should take."""
    return lapsing > settings.access_lapse_held_min and lapsing > settings.access_lapse_share_max * active
