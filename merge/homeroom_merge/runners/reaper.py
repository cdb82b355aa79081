"""Whose heart has stopped: runs that nobody ended, and jobs of workers that are gone."""

from collections.abc import Collection

import structlog
from procrastinate import App

from homeroom_merge.runners import queue
from homeroom_merge.store import beats, jobs
from homeroom_merge.store.connection import Conn

log = structlog.get_logger()

_ATTEMPTS_MAX = 5
"""A job that takes its worker down each time is not done for ever."""


async def reap(connection: Conn, app: App, silent_seconds: float, going: Collection[str]) -> None:
    """Have what is silent for so long rolled up, or done again. `going`: feeds that run by themselves now."""
    await _jobs(connection, app, silent_seconds)
    for run in await beats.silent(connection, silent_seconds):
        if run.feed not in going or await jobs.goes_on(connection, run.feed):
            continue  # who begins next on the entity rolls it up
        if await queue.defer_drain(app, run.feed, run.entity) is not None:
            log.warning("run_was_cut_off", run=str(run.run), feed=run.feed, entity=run.entity)


async def _jobs(connection: Conn, app: App, silent_seconds: float) -> None:
    """A worker that is gone leaves its jobs as being done, and their locks with them."""
    for job in await queue.stalled(app, silent_seconds):
        assert job.id is not None, "it is in the queue"
        if await beats.anyone_works(connection, str(job.task_kwargs["feed"]), silent_seconds):
            continue
        log.warning("job_was_cut_off", job=job.id, queue=job.queue, lock=job.lock, attempts=job.attempts)
        if job.queue == queue.REALTIME:
            # Another may wait already, and what is dirty defers one anyway.
            await queue.give_up(app, job.id)
        elif job.attempts < _ATTEMPTS_MAX:
            await queue.put_back(app, job.id)
        else:
            await queue.give_up(app, job.id)
            await jobs.note(connection, job.id, None, f"given up: it was cut off {job.attempts + 1} times")
