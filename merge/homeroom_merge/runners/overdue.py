"""Feeds from which nothing has come for too long."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from homeroom_merge.settings.model import SettingsError
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.store import lateness
from homeroom_merge.store import settings as stored
from homeroom_merge.store.connection import Conn

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Overdue:
    """A feed that has sent nothing since then, longer than its settings allow."""

    feed: str
    since: datetime
    alarm_hours: int


async def overdue(connection: Conn, now: datetime) -> list[Overdue]:
    """By the settings in force; a feed that is paused, in the state or by its settings, is not expected to send."""
    late = []
    for feed, since in (await lateness.last_fed(connection)).items():
        pushed = await stored.in_force(connection, feed, now.date())
        if pushed is None:
            continue
        try:
            said = read_settings(pushed.toml).feed
        except SettingsError as fault:  # of an older version: its runs say so themselves
            log.warning("settings cannot be read", feed=feed, error=str(fault))
            continue
        if said.alarm_hours and not said.paused and since + timedelta(hours=said.alarm_hours) <= now:
            late.append(Overdue(feed, since, said.alarm_hours))
    return late
