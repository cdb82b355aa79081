"""The runs of a feed."""

from datetime import UTC, date, datetime, time, timedelta

from starlette.responses import Response

from homeroom_merge.console.frame.files import PER_PAGE, as_file, asked_for, camel, is_file, limits, page_number
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.console.words import RUNNERS, STATUSES, words, zone_of
from homeroom_merge.runners.nights import coming
from homeroom_merge.store import jobs, run_lists
from homeroom_merge.store import settings as stored
from homeroom_merge.store.run_lists import RunFilter, RunRow

HELD_MAX = 50
"""Held runs that stand atop."""
WORKER_SECONDS = 60.0
"""A worker of which nothing was heard for so long is not there; hearts beat every ten seconds."""
_COLUMNS = [camel(name) for name in RunRow.__dataclass_fields__]
_FILTERS = ("entity", "status", "runner", "from", "to")


async def runs(visit: FeedVisit) -> Response:
    """The newest first; `?entity=`, `status`, `runner`, `from`, `to` (days), `?as=csv` or `json` as a file."""
    said = {name: asked_for(visit.request, name) for name in _FILTERS}
    wanted = _filter(visit, said)
    found = await run_lists.of_feed(visit.connection, visit.feed, wanted, *limits(visit.request))
    if is_file(visit.request):
        return as_file(visit.request, "runs", _COLUMNS, [_told(each) for each in found])
    settings, now = visit.settings, datetime.now(UTC)
    return visit.page(
        "merges/runs.html",
        **words(visit),
        said=said,
        rows=found[:PER_PAGE],
        held=await run_lists.of_feed(visit.connection, visit.feed, RunFilter(status="held"), HELD_MAX, 0),
        entities=await run_lists.entities(visit.connection, visit.feed),
        number=page_number(visit.request),
        has_more=len(found) > PER_PAGE,
        workers=await jobs.workers_heard(visit.connection, WORKER_SECONDS),
        pause=await stored.find_pause(visit.connection, visit.feed),
        night=None if settings is None else coming(settings.feed, now),
    )


def _filter(visit: FeedVisit, said: dict[str, str]) -> RunFilter:
    """What is no status, runner or day asks for nothing."""
    return RunFilter(
        said["entity"] or None,
        said["status"] if said["status"] in STATUSES else None,
        said["runner"] if said["runner"] in RUNNERS else None,
        _midnight(visit, said["from"]),
        _midnight(visit, said["to"], later=timedelta(days=1)),
    )


def _midnight(visit: FeedVisit, day: str, later: timedelta = timedelta()) -> datetime | None:
    """When a day begins for the feed's people, or so much later."""
    try:
        return datetime.combine(date.fromisoformat(day) + later, time(), zone_of(visit)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _told(each: RunRow) -> dict[str, object]:
    values = (getattr(each, name) for name in RunRow.__dataclass_fields__)
    return {**dict(zip(_COLUMNS, values, strict=True)), "run": str(each.run)}
