"""`homeroom-merge worker`, `migrate`, `jobs`, `cancel`: merges that run by themselves."""

import asyncio
import json
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import structlog
import typer
from procrastinate import App
from rich.table import Table
from rich.text import Text

from homeroom_merge.command.invocation import (
    DATA_DIR,
    AsJson,
    DatabaseUrl,
    DataDir,
    FeedName,
    err,
    out,
    settings_of,
    tell_aside,
    with_state,
)
from homeroom_merge.command.queued import with_queue
from homeroom_merge.draining import drain
from homeroom_merge.feed_secrets import stored_secrets
from homeroom_merge.log_lines import log_to_stderr
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report.model import Report
from homeroom_merge.runners import queue
from homeroom_merge.runners.hooks import tell
from homeroom_merge.runners.nights import coming
from homeroom_merge.runners.queue import QUEUES
from homeroom_merge.runners.work import Means
from homeroom_merge.runners.worker import GRACE_SECONDS, Pace, Worker
from homeroom_merge.settings.model import Settings
from homeroom_merge.sis.forking import Forkserver
from homeroom_merge.store import beats, jobs, nights, place, queue_schema
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.jobs import JobRow
from homeroom_merge.store.nights import Noted

app = typer.Typer()

log = structlog.get_logger()

_JOB = re.compile("[0-9]{1,18}")
_TOLD = "its worker was told to end it"


@app.command()
def worker(
    queues: Annotated[
        str, typer.Option(help="Which jobs it takes, with commas between. Each queue needs a worker somewhere.")
    ] = ",".join(QUEUES),
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="So many jobs at once.")] = 2,
    webhook: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Take the signed calls of SISs here; behind a proxy with TLS.")
    ] = "",
    grace_seconds: Annotated[
        float, typer.Option(min=0, max=3_600, help="So long running jobs may go on once it is told to stop.")
    ] = GRACE_SECONDS,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Do what is due by itself and what is queued, until SIGTERM. There may be several, on several machines."""
    taken = tuple(each.strip() for each in queues.split(","))
    if strangers := set(taken) - set(QUEUES):
        raise typer.BadParameter(f"there is no {', '.join(sorted(strangers))}; there are {', '.join(QUEUES)}")
    log_to_stderr()
    try:
        with place.database(database_url, data_dir, tell_aside) as url, _listening(webhook) as listening:
            means = Means(url, data_dir, lambda: datetime.now(UTC), tell=_tell, drain=drain, forkserver=Forkserver())
            pace = Pace(grace_seconds=grace_seconds)
            asyncio.run(until_told(Worker(means, taken, concurrency, pace, listening)))
    except (OSError, RefusedError) as refused:
        err.print(f"homeroom-merge: {refused}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


@contextmanager
def _listening(place: str) -> Iterator[socket.socket | None]:
    """A socket at HOST:PORT; None for nowhere. OSError."""
    if not place:
        yield None
        return
    host, _, port = place.rpartition(":")
    if not (host and port.isdigit() and int(port) < 2**16):
        raise typer.BadParameter(f"{place} is no HOST:PORT, as in 127.0.0.1:8300", param_hint="--webhook")
    with socket.create_server((host.strip("[]"), int(port)), family=_family(host)) as listening:
        log.info("called_at", url=f"http://{host}:{listening.getsockname()[1]}/hooks/FEED/ENTITY")
        yield listening


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def until_told(worker: Worker) -> None:
    """Until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await worker.run(stop)


@app.command("jobs")
def list_jobs(
    feed: FeedName,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """The last jobs of a feed: waiting (todo), doing, and how they ended; and its nights."""

    async def work(connection: asyncpg.Connection) -> dict[str, Any]:
        await queue_schema.apply(connection)
        return {
            "jobs": [_job(each) for each in await jobs.latest(connection, feed, limit)],
            "nights": [_night(each) for each in await nights.latest(connection, feed, limit)],
            "nextNight": await _next_night(connection, feed),
        }

    said = with_state(database_url, data_dir, work)
    if as_json:
        typer.echo(json.dumps(said))
        return
    out.print(_table(said["jobs"], "job", "queue", "status", "deferredAt", "changedAt", "said"))
    if said["nights"]:
        out.print(_table(said["nights"], "date", "begins", "until", "job", "skipped"))
    out.print(f"next night: {said['nextNight'] or 'none'}")


@app.command()
def cancel(
    run_or_job: Annotated[str, typer.Argument(metavar="RUN|JOB", help="The id of a run, or the number of a job.")],
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Drop a job that waits; have one that a worker does, or a run of it, end as cancelled."""

    async def work(connection: asyncpg.Connection, app: App) -> str:
        if not _JOB.fullmatch(run_or_job):
            return await _cancel_run(connection, run_or_job)
        if not await queue.cancel(app, int(run_or_job)):
            raise RefusedError(f"there is no job {run_or_job} that waits or is being done")
        found = await jobs.find(connection, int(run_or_job))
        return "dropped" if found is not None and found.status == "cancelled" else _TOLD

    out.print(with_queue(database_url, data_dir, work))


async def _cancel_run(connection: asyncpg.Connection, name: str) -> str:
    try:
        status = await beats.ask_to_end(connection, UUID(name))
    except ValueError:
        raise RefusedError(f"{name} is neither the id of a run nor the number of a job") from None
    if status is None:
        raise RefusedError(f"there is no run {name}")
    if status != "running":
        hint = ": homeroom-merge discard" if status == "held" else ""
        raise RefusedError(f"it is not running but {status}{hint}")
    return _TOLD


async def _next_night(connection: asyncpg.Connection, feed: str) -> str | None:
    """None: there is none."""
    settings, _ = await settings_of(connection, feed)
    night = coming(settings.feed, datetime.now(UTC))
    return None if night is None else _moment(night.begins.astimezone(settings.feed.zone))


def _job(job: JobRow) -> dict[str, Any]:
    return {
        "job": job.number,
        "queue": job.queue,
        "task": job.task,
        "status": job.status,
        "attempts": job.attempts,
        "deferredAt": job.deferred_at and _moment(job.deferred_at),
        "changedAt": job.changed_at and _moment(job.changed_at),
        "asked": job.asked,
        "group": job.group_id and str(job.group_id),
        "said": job.said,
    }


def _night(night: Noted) -> dict[str, Any]:
    times = {"begins": _moment(night.begins), "until": _moment(night.until)}
    return {"date": night.date.isoformat(), **times, "job": night.job, "skipped": night.skipped}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _table(lines: Sequence[Mapping[str, Any]], *columns: str) -> Table:
    table = Table(*columns)
    for line in lines:
        table.add_row(*(Text("" if line[name] is None else str(line[name])) for name in columns))
    return table


async def _tell(connection: Conn, settings: Settings, reports: Sequence[Report]) -> None:
    await tell(connection, settings, reports, await stored_secrets(connection, settings.feed.name))
