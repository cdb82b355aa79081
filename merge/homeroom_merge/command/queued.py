"""The queue as commands use it: a run that a worker does, asked for and followed to its end."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import asyncpg
from procrastinate import App
from procrastinate.exceptions import ConnectorException

from homeroom_merge.command.invocation import err, settings_of, with_database
from homeroom_merge.command.progress import DOING
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report.logbook import logbook_of
from homeroom_merge.report.model import Report, Step, StepStatus
from homeroom_merge.reporting import kept
from homeroom_merge.runners.asked import Asked
from homeroom_merge.runners.queue import defer_manual, open_queue
from homeroom_merge.store import jobs, place, queue_schema, runs
from homeroom_merge.store.jobs import JobRow

_LOOK_SECONDS = 0.5
_GOES_ON = ("todo", "doing")


T = TypeVar("T")


def with_queue(database_url: str, data_dir: Path, work: Callable[[asyncpg.Connection, App], Awaitable[T]]) -> T:
    """Do one piece of work on the state and the queue, as `invocation.with_state` does it on the state."""

    async def connected(url: str) -> T:
        try:
            async with place.opened(url) as connection:
                await queue_schema.apply(connection)
                async with open_queue(url) as app:
                    return await work(connection, app)
        except ConnectorException as failure:
            raise RefusedError(f"the queue cannot be used: {failure}") from failure

    return with_database(database_url, data_dir, connected)


async def queued(asked: Asked, connection: asyncpg.Connection, app: App) -> list[Report]:
    """How its runs ended. Who stops looking on does not stop it. RefusedError: it began none; SettingsError."""
    await settings_of(connection, asked.feed, asked.overrides)
    number = await defer_manual(app, asked)
    _say(f"job {number} waits for a worker; homeroom-merge cancel {number} drops it")
    shown: set[str] = set()
    while (job := await _find(connection, number)).status in _GOES_ON:
        if job.said and job.said not in shown:
            shown.add(job.said)
            _say(job.said)
        await _show_steps(connection, job, shown)
        await anyio.sleep(_LOOK_SECONDS)
    await _show_steps(connection, job, shown)
    begun = [] if job.group_id is None else await jobs.runs_of(connection, job.group_id)
    reports = [report for run, _, _ in begun if (report := await kept(connection, run)) is not None]
    if not reports:
        raise RefusedError(job.said or f"job {number} was {job.status}")
    return reports


async def _find(connection: asyncpg.Connection, number: int) -> JobRow:
    found = await jobs.find(connection, number)
    if found is None:
        raise RefusedError(f"job {number} is gone: homeroom-merge runs shows what it did")
    return found


async def _show_steps(connection: asyncpg.Connection, job: JobRow, shown: set[str]) -> None:
    """Each step once, when it has ended."""
    for run, entity, _ in [] if job.group_id is None else await jobs.runs_of(connection, job.group_id):
        for step in logbook_of(await runs.find_log(connection, run)).steps:
            if step.status is not StepStatus.NOT_RUN and (line := _line(entity, step)) not in shown:
                shown.add(line)
                _say(line)


def _line(entity: str, step: Step) -> str:
    counts = ", ".join(f"{count:,} {what}" for what, count in step.counts.items())
    return f"{entity}: {DOING[step.name]}" + (f", {counts}" if counts else "")


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)
