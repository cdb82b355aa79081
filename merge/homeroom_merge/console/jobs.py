"""What was asked of workers, and how it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response

from homeroom_merge.console.asking import asking
from homeroom_merge.console.living import stamp_of
from homeroom_merge.console.run import PLANNED_MAX, Going, going_of
from homeroom_merge.console.runs import WORKER_SECONDS
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.console.words import words
from homeroom_merge.runners import queue
from homeroom_merge.runners.nights import coming
from homeroom_merge.store import jobs as store
from homeroom_merge.store import nights, run_lists
from homeroom_merge.store.jobs import JobRow

SHOWN_MAX = 100
"""Jobs and nights of a list."""
_NUMBER_MAX = 18
_OPEN = ("todo", "doing", "aborting")
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class State:
    """A job, its runs as they go, and how many workers there are to do it."""

    job: JobRow
    runs: Sequence[Going]
    workers: int

    @property
    def is_open(self) -> bool:
        return self.job.status in _OPEN


async def jobs(visit: FeedVisit) -> Response:
    """The last ones, and the last nights."""
    settings = visit.settings
    return visit.page(
        "merges/jobs.html",
        **words(visit),
        rows=await store.latest(visit.connection, visit.feed, SHOWN_MAX),
        nights=await nights.latest(visit.connection, visit.feed, SHOWN_MAX),
        night=None if settings is None else coming(settings.feed, datetime.now(UTC)),
        workers=await store.workers_heard(visit.connection, WORKER_SECONDS),
        shown_max=SHOWN_MAX,
    )


async def job(visit: FeedVisit) -> Response:
    state = await _state(visit)
    if state is None:
        return _none_such(visit)
    return visit.page("merges/job.html", **words(visit), state=state, stamp=stamp_of(state), refused="")


async def part(visit: FeedVisit) -> Response | None:
    """How it stands; None: as whoever asks knows."""
    state = await _state(visit)
    if state is None:
        return _none_such(visit)
    stamp = stamp_of(state)
    if stamp == visit.request.query_params.get("after"):
        return None
    return visit.page("merges/job_part.html", **words(visit), state=state, stamp=stamp)


async def cancel(visit: FeedVisit) -> Response:
    """One that waits is dropped, one that is done is told to end."""
    await visit.form()
    state = await _state(visit)
    if state is None:
        return _none_such(visit)
    async with asking(visit.host) as app:
        await visit.note(f"cancels job {state.job.number} of {visit.feed}")
        is_told = await queue.cancel(app, state.job.number)
    if is_told:
        return visit.to(f"/jobs/{state.job.number}")
    refused = "It has ended already. Nothing was done."
    return visit.page("merges/job.html", 409, **words(visit), state=state, stamp=stamp_of(state), refused=refused)


async def _state(visit: FeedVisit) -> State | None:
    """Of the job that the path names, if it is the feed's."""
    said = visit.request.path_params["job"]
    if not (said.isascii() and said.isdecimal() and len(said) <= _NUMBER_MAX):
        return None
    found = await store.find(visit.connection, int(said))
    if found is None or found.asked.get("feed") != visit.feed:
        return None
    approved = found.asked.get("runs", []) if found.task == queue.APPROVE else []
    begun = found.deferred_at or _LONG_AGO, found.group_id, approved
    rows = await run_lists.of_job(visit.connection, visit.feed, *begun, PLANNED_MAX + 1)
    workers = await store.workers_heard(visit.connection, WORKER_SECONDS)
    return State(found, [going_of(row) for row in rows], workers)


def _none_such(visit: FeedVisit) -> Response:
    return visit.not_found("There is no such job of this feed.")
