"""One job of the queue: a group of runs by the settings in force, with a heart that beats while they go."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import asyncpg
import structlog

from homeroom_merge.assembly import opened
from homeroom_merge.connectors.hub import HubError
from homeroom_merge.group import Group
from homeroom_merge.in_force import settings_in_force
from homeroom_merge.opening import InProgressError
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report.model import Report
from homeroom_merge.runners.asked import Asked
from homeroom_merge.runners.nights import blackout
from homeroom_merge.runners.queue import NIGHTLY
from homeroom_merge.settings.model import Settings
from homeroom_merge.sis.forking import Forkserver
from homeroom_merge.store import beats, jobs, nights, place, triggers
from homeroom_merge.store.connection import Conn, Connections, connect
from homeroom_merge.store.settings import find_pause

log = structlog.get_logger()

Tell = Callable[[Conn, Settings, Sequence[Report]], Awaitable[object]]
Drain = Callable[[Conn, Group, str, datetime], Awaitable[object]]
_WAIT_SECONDS = 1.0
_WAITS_MAX = 600
"""How often runs look whether another has ended that works on one of their entities."""

REFUSALS = (RefusedError, HubError, OSError)
"""What says by itself what is wrong, and needs no traceback."""


class CutShortError(Exception):
    """The worker stops, or the state's database went away: the job is to be done again."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every job of a worker needs. `tell`: is told how runs ended; `drain`: merges what is dirty.

    `forkserver`: of the processes that connectors and formatters have to themselves.
    """

    database_url: str
    data_dir: Path
    clock: Callable[[], datetime]
    beat_seconds: float = 10.0
    tell: Tell | None = None
    drain: Drain | None = None
    forkserver: Forkserver | None = None
    connections: Connections | None = None
    """For jobs; None: each makes its own."""


async def nightly(means: Means, job: int, feed: str, day: date) -> None:
    """The night of a local date, unless that is another job's. What is late is left, and the reports say so.

    What keeps it from beginning is raised; then it is handed out again later in the night.
    """
    async with opened_state(means) as connection:
        until = await nights.until(connection, feed, day, job)
        if until is None:
            await jobs.note(connection, job, None, "another job does this night")
            return

        def late() -> str:
            now = means.clock()
            return f"it was {now:%H:%M} UTC, and the night ended at {until:%H:%M}" if now >= until else ""

        try:
            async with working(means, connection, job, Asked(feed, "")) as work:
                await work.go_once_free(
                    lambda group, id_: group.run(means.clock(), runner=NIGHTLY, group_id=id_, late=late)
                )
        except Exception as fault:
            if not connection.is_closed():
                if why := late():
                    await nights.skip(connection, job, f"{fault}; {why}")
                else:
                    await nights.give_back(connection, job)
            raise


async def drain(means: Means, job: int, feed: str, entity: str) -> list[str]:
    """What was cut off, then what is dirty. Where somebody works on it just now, or the feed stands still, a later one
    does it: what is dirty stays so.

    The entities of the feed that are dirty by now, and to be drained at once: more than goes into one run, or what
    waited for this one. None where a run failed: it would fail again.
    """
    async with opened_state(means) as connection:
        settings, _ = await settings_in_force(connection, feed, means.clock())
        if still := await standstill(connection, settings, means.clock()):
            await jobs.note(connection, job, None, still)
            return []
        try:
            async with working(means, connection, job, Asked(feed, "", (entity,))) as work:
                await work.group.roll_up()
                if (drained := means.drain) is not None:
                    await work.go(lambda group, _: drained(connection, group, entity, means.clock()))
                if any(course.status in ("failed", "cancelled") for course in work.group.courses):
                    return []
        except InProgressError as busy:
            await jobs.note(connection, job, None, str(busy))
            return []
        return [entity for of, entity in await triggers.subjects(connection) if of == feed]


async def standstill(connection: Conn, settings: Settings, now: datetime) -> str | None:
    """Why nothing of a feed runs by itself now; None: it does."""
    feed = settings.feed
    if feed.paused:
        return f"paused by its settings: {feed.paused}"
    if (pause := await find_pause(connection, feed.name)) is not None:
        return f"paused: {pause.because}"
    name = blackout(settings, now.astimezone(feed.zone).date())
    return None if name is None else f"blackout: {name}"


@dataclass(frozen=True, slots=True)
class Work:
    """A group of runs that a job does."""

    means: Means
    connection: Conn
    job: int
    settings: Settings
    group: Group

    async def go(self, going: Callable[[Group, UUID], Awaitable[object]]) -> None:
        """Run them, with a beat now and then; who is asked to end ends them as cancelled. Then tell how they ended."""
        group_id, failure = uuid4(), None
        await jobs.note(self.connection, self.job, group_id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._beat, tasks.cancel_scope)
            try:
                await going(self.group, group_id)
            except Exception as fault:
                failure = fault
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        await self._tell([course.report for course in self.group.courses if course.report is not None])

    async def go_once_free(self, going: Callable[[Group, UUID], Awaitable[object]]) -> None:
        """The same, once whoever works on one of the entities has ended. InProgressError: not within some minutes."""
        for waits_left in reversed(range(_WAITS_MAX)):
            try:
                await self.go(going)
                return
            except InProgressError as busy:
                if not waits_left:
                    raise
                await jobs.note(self.connection, self.job, None, f"{busy}: it waits")
            await anyio.sleep(_WAIT_SECONDS)

    async def _beat(self, going: anyio.CancelScope) -> None:
        """On connections of its own: the group's is busy. What it cannot say now it says with the next beat."""
        while True:
            await anyio.sleep(self.means.beat_seconds)
            going_on = [course.run for course in self.group.courses if course.status == "running"]
            try:
                own = await connect(self.means.database_url)
                try:
                    asked_to_end = await beats.beat(own, going_on)
                finally:
                    await own.close()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
                log.warning("beat_missed", job=self.job, because=str(fault))
                continue
            if asked_to_end:
                going.cancel()

    async def _tell(self, reports: Sequence[Report]) -> None:
        for each in reports:
            log.info("run_ended", job=self.job, run=each.run, feed=each.feed, entity=each.entity, status=each.status)
        if self.means.tell is not None and reports:
            try:
                await self.means.tell(self.connection, self.settings, reports)
            except Exception as fault:
                if self.connection.is_closed():
                    raise
                log.exception("nobody_was_told", job=self.job, because=str(fault))


@asynccontextmanager
async def working(means: Means, connection: Conn, job: int, asked: Asked) -> AsyncIterator[Work]:
    """The group of runs that somebody asks for, by the settings in force. RefusedError, HomeroomError, OSError."""
    settings, basis = await settings_in_force(connection, asked.feed, means.clock(), asked.overrides)
    if asked.schools:
        basis = replace(basis, overrides={**basis.overrides, "schools": list(asked.schools)})
    async with opened(
        settings,
        connection,
        means.data_dir,
        basis=basis,
        entities=asked.entities,
        schools=asked.schools,
        forkserver=means.forkserver,
    ) as group:
        yield Work(means, connection, job, settings, group)


@asynccontextmanager
async def opened_state(means: Means) -> AsyncIterator[asyncpg.Connection]:
    """A connection of this job's own. CutShortError: it was lost, or there was none."""
    async with AsyncExitStack() as stack:
        try:
            opening = place.opened(means.database_url) if means.connections is None else means.connections.one()
            connection = await stack.enter_async_context(opening)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            raise CutShortError(str(fault)) from fault
        try:
            yield connection
        except Exception as fault:
            if connection.is_closed():
                raise CutShortError(str(fault)) from fault
            raise
