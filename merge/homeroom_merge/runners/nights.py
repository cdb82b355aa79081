"""When a feed's nights begin and until when: pure, by its cron line and its time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256

from cronsim import CronSim

from homeroom_merge.settings.model import Feed, Settings

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_AHEAD_DAYS_MAX = 370
"""A cron line that names one day of the year is looked for so far ahead."""


@dataclass(frozen=True, slots=True)
class Night:
    """The one nightly run of a feed that its cron puts on a local date; what is not begun `until` then is left."""

    date: date
    begins: datetime
    until: datetime


def night_of(feed: Feed, day: date) -> Night | None:
    """The night of a local date: the first start that cron gives there. None: it gives none.

    A start that daylight saving skips is at the next minute that there is, a doubled one at the first of the two.
    """
    start = _wall_start(feed.nightly, day)
    if start is None:
        return None
    starts = _instant(start, feed)
    until = _instant(datetime.combine(day, _time(feed.nightly_until)), feed)
    if until <= starts:
        until = _instant(datetime.combine(day + _DAY, _time(feed.nightly_until)), feed)
    spread = timedelta(minutes=feed.nightly_spread_minutes) * _share(feed.name)
    return Night(day, min(starts + spread, until - _MINUTE), until)


def begun(feed: Feed, now: datetime) -> Night | None:
    """The latest night that has begun: of today or of the two days before, in the feed's zone."""
    today = now.astimezone(feed.zone).date()
    nights = (night_of(feed, today - _DAY * back) for back in range(3))
    return next((night for night in nights if night is not None and night.begins <= now), None)


def coming(feed: Feed, now: datetime) -> Night | None:
    """The next night that begins after now; None: there is none within a year."""
    return next((night for night in _from(feed, now) if night.begins > now), None)


def blackout(settings: Settings, day: date) -> str | None:
    """The name of the blackout that a local date lies in; None: in none."""
    seasons = (season for entity in settings.entity.values() for season in entity.seasons)
    return next((each.name for each in seasons if each.limits is None and each.starts <= day <= each.ends), None)


def _from(feed: Feed, now: datetime) -> Iterator[Night]:
    yesterday = now.astimezone(feed.zone).date() - _DAY
    for ahead in range(_AHEAD_DAYS_MAX):
        night = night_of(feed, yesterday + _DAY * ahead)
        if night is not None:
            yield night


def _wall_start(cron: str, day: date) -> datetime | None:
    """By the clock on the wall; cron knows nothing of zones here."""
    if not cron:
        return None
    start = next(CronSim(cron, datetime.combine(day, time()) - _MINUTE), None)
    return start if start is not None and start.date() == day else None


def _instant(wall: datetime, feed: Feed) -> datetime:
    """When a clock on the wall shows this for the first time, or the first minute after it that it ever shows."""
    while True:
        instant = wall.replace(tzinfo=feed.zone).astimezone(UTC)
        if instant.astimezone(feed.zone).replace(tzinfo=None) == wall:
            return instant
        wall += _MINUTE


def _time(text: str) -> time:
    return time.fromisoformat(text)


def _share(name: str) -> float:
    """From 0 up to 1, the same each night: feeds with one cron line do not all begin at once."""
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big") / 2**32
