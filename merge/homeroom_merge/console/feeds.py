"""All feeds that somebody may see, and how they stand."""

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response

from homeroom_merge.console.frame.files import DOWNLOAD_MAX, PER_PAGE, as_file, is_file, limits, page_number
from homeroom_merge.console.visit import Visit, may_see
from homeroom_merge.console.words import STATUSES
from homeroom_merge.in_force import many_in_force
from homeroom_merge.runners.nights import Night, coming
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import overview
from homeroom_merge.store.overview import Standing

_COLUMNS = (
    "feed",
    "schools",
    "lastEntity",
    "lastStatus",
    "lastAt",
    "held",
    "conflicts",
    "failing",
    "paused",
    "nextNight",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A feed of the list. `settings`: None where none can be read."""

    name: str
    settings: Settings | None
    standing: Standing
    paused: str | None
    night: Night | None


async def feeds(visit: Visit) -> Response:
    """By name; `?as=csv` or `json` as a file."""
    now = datetime.now(UTC)
    found = await _seen(visit, now, *limits(visit.request))
    standings = await overview.standings(visit.connection, list(found))
    rows = [_row(name, settings, standings[name], now) for name, settings in found.items() if name in standings]
    if is_file(visit.request):
        return as_file(visit.request, "feeds", _COLUMNS, [_told(row) for row in rows])
    number, has_more = page_number(visit.request), len(rows) > PER_PAGE
    return visit.page("merges/feeds.html", rows=rows[:PER_PAGE], number=number, has_more=has_more, statuses=STATUSES)


async def _seen(visit: Visit, now: datetime, limit: int, offset: int) -> dict[str, Settings | None]:
    """The feeds of a page, with their settings in force."""
    connection, codes = visit.connection, visit.visitor.organizations
    if codes is None:
        names = await overview.names(connection, limit, offset)
        settings = await many_in_force(connection, names, now)
        return {name: settings.get(name) for name in names}
    names = await overview.names_that_mention(connection, codes, DOWNLOAD_MAX)
    settings = await many_in_force(connection, names, now)
    seen = [name for name in names if may_see(visit.visitor, settings.get(name))]
    return {name: settings[name] for name in seen[offset : offset + limit]}


def _row(name: str, settings: Settings | None, standing: Standing, now: datetime) -> Row:
    paused = standing.paused if settings is None or standing.paused is not None else settings.feed.paused or None
    return Row(name, settings, standing, paused, None if settings is None else coming(settings.feed, now))


def _told(row: Row) -> dict[str, object]:
    schools = () if row.settings is None else row.settings.feed.schools
    last = row.standing.last_entity, row.standing.last_status, row.standing.last_at
    counts = row.standing.held, row.standing.conflicts, row.standing.failing
    night = None if row.night is None else row.night.begins
    values = (row.name, " ".join(schools), *last, *counts, row.paused, night)
    return dict(zip(_COLUMNS, values, strict=True))
