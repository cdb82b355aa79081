"""The settings that a feed goes by."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from functools import lru_cache

from homeroom_merge.refusal import RefusedError
from homeroom_merge.settings.model import Settings
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.store import overview
from homeroom_merge.store import settings as stored
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.settings import Pushed
from homeroom_merge.terms import Basis


class NoSettingsError(RefusedError):
    """Nobody has pushed settings for this feed."""


async def settings_in_force(
    connection: Conn, feed: str, now: datetime, overrides: Sequence[str] = ()
) -> tuple[Settings, Basis]:
    """Those of today by the feed's own clock, and what they are called. NoSettingsError, SettingsError."""
    settings, pushed = await pushed_in_force(connection, feed, now, overrides)
    return settings, Basis(pushed.state_name, pushed.version, settings.overrides)


async def pushed_in_force(
    connection: Conn, feed: str, now: datetime, overrides: Sequence[str] = ()
) -> tuple[Settings, Pushed]:
    """The same, and as they were pushed. NoSettingsError, SettingsError."""
    pushed = await _of_day(connection, feed, now.date())
    settings = _read(pushed.toml, tuple(overrides))
    # Only settings know the zone in which today is another day.
    if (today := now.astimezone(settings.feed.zone).date()) != now.date():
        pushed = await _of_day(connection, feed, today)
        settings = _read(pushed.toml, tuple(overrides))
    return settings, pushed


async def many_in_force(connection: Conn, feeds: Sequence[str], now: datetime) -> dict[str, Settings]:
    """Those of many feeds at once; a feed whose settings cannot be used is left out."""
    found = _readable(await overview.in_force(connection, feeds, now.date()))
    other_days: dict[date, list[str]] = {}
    for name, settings in found.items():
        if (today := now.astimezone(settings.feed.zone).date()) != now.date():
            other_days.setdefault(today, []).append(name)
    for day, names in other_days.items():
        for name in names:
            del found[name]
        found |= _readable(await overview.in_force(connection, names, day))
    return found


def _readable(texts: Mapping[str, str]) -> dict[str, Settings]:
    found = {}
    for name, text in texts.items():
        with suppress(RefusedError):
            found[name] = _read(text, ())
    return found


_read = lru_cache(maxsize=5_000)(read_settings)
"""Nobody changes what was read, and workers ask again and again."""


async def _of_day(connection: Conn, feed: str, day: date) -> Pushed:
    found = await stored.in_force(connection, feed, day)
    if found is None:
        raise NoSettingsError(f"the feed {feed} has no settings: homeroom-merge settings push FILE")
    return found
