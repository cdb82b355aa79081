"""The runs of one night or one command, in order: creates and updates by dependency, then deletes in reverse."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

import anyio

from homeroom_merge import backup
from homeroom_merge.backup_file import BackupError
from homeroom_merge.course import Course, cause_of
from homeroom_merge.guards import Pass
from homeroom_merge.opening import fetch, hold, roll_up
from homeroom_merge.planning import Merge
from homeroom_merge.progress import UNWATCHED, Progress
from homeroom_merge.report.logbook import logbook_of
from homeroom_merge.report.model import StepStatus
from homeroom_merge.reporting import close, kept
from homeroom_merge.restoration import prepare
from homeroom_merge.run import approve, finish, make_plan, merge_now, merge_of, persist, restore, undo
from homeroom_merge.shape import Shape
from homeroom_merge.sides import Sides
from homeroom_merge.store import runs, triggers
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.runs import Run
from homeroom_merge.terms import Terms
from homeroom_merge.values import SideName

_NOT_RESTORED = "records of the backup are left out: their students were erased, or the keys are in another state"


def in_order(shapes: Mapping[str, Shape]) -> list[str]:
    """Entities, each after those that its records refer to; a circle is broken where it closes."""
    ordered: list[str] = []
    open_: set[str] = set()

    def visit(entity: str) -> None:
        if entity in ordered or entity in open_ or entity not in shapes:
            return
        open_.add(entity)
        for other in sorted(shapes[entity].refers_to):
            visit(other)
        open_.discard(entity)
        ordered.append(entity)

    for entity in sorted(shapes):
        visit(entity)
    return ordered


class Group:
    """Entities of one feed and how their sides are reached. A run that fails ends as such, and others go on."""

    def __init__(
        self, connection: Conn, terms: Mapping[str, Terms], sides: Mapping[str, Sides], progress: Progress = UNWATCHED
    ) -> None:
        self.courses: list[Course] = []
        """The runs begun so far by what was asked last."""
        self._connection = connection
        self._sides = sides
        self._progress = progress
        self._order = in_order({entity: each.shape for entity, each in terms.items()})
        # Nothing waits for what comes later, where a circle was broken.
        self._terms = {
            entity: replace(terms[entity], after=terms[entity].shape.refers_to.intersection(self._order[:place]))
            for place, entity in enumerate(self._order)
        }

    async def run(
        self,
        now: datetime,
        *,
        runner: str = "manual",
        dry: bool = False,
        group_id: UUID | None = None,
        late: Callable[[], str] = lambda: "",
    ) -> list[Course]:
        """Every entity from fetch to finish; each stops by itself where it is held or fails. InProgressError.

        `late`: why what has not begun by now is not begun any more.
        """
        async with self._working(self._order):
            group_id = group_id or uuid4()
            for entity in self._order:
                course = await self._begin(entity, group_id, runner, dry=dry)
                async with self._guarded(course):
                    if why := late():
                        await self._leave(course, why)
                    else:
                        await self._merged(course, now)
            await self._finish([course for course in self.courses if course.status == "running"], now)
        return self.courses

    async def _merged(self, course: Course, now: datetime) -> None:
        """A run up to its deletes, which come once all entities are so far."""
        if failed := self._failed_before(course.terms.entity):
            await self._leave(course, f"it depends on {', '.join(failed)}, which failed")
            return
        if not course.dry and course.terms.only is None:
            await triggers.mark(self._connection, course.subject, course.run, _fetched(course.terms))
        await fetch(self._connection, course)
        if course.status == "running":
            await make_plan(self._connection, course, now)
        if course.status == "running" and not course.dry:
            await persist(self._connection, course, await merge_of(self._connection, course, now), deletes=False)

    async def _leave(self, course: Course, why: str) -> None:
        course.log.notes.append(f"not begun, for {why}")
        await close(self._connection, course, "cancelled")

    async def roll_up(self) -> None:
        """Find out what became of runs of these entities that were cut. InProgressError."""
        async with self._working(self._order):
            for entity in self._order:
                subject = await hold(self._connection, self._terms[entity])
                await roll_up(self._connection, subject, self._terms[entity], self._sides[entity], None)

    async def approve(self, held: Sequence[UUID], now: datetime, by: str) -> list[Course]:
        """Let held plans go on, in the order of their entities; with what has moved since, which is held anew.

        One whose sides cannot be looked at stays held, and says so. InProgressError.
        """
        found = await self._found(held)
        async with self._working([run.entity for run in found]):
            for run in found:
                course = await self._course(run.id, run.subject, run.entity, "held")
                async with self._guarded(course):
                    await self._approve(course, now, by)
            await self._finish([course for course in self.courses if course.status == "running"], now)
        return self.courses

    async def _approve(self, course: Course, now: datetime, by: str) -> None:
        merged = await merge_of(self._connection, course, now)
        again = await approve(self._connection, course, merged, by)
        course.status = "running"
        if again is not None:
            shown = await self._course(again, course.subject, course.terms.entity, "held")
            shown.report = await kept(self._connection, again)
        await persist(self._connection, course, merged, deletes=False)

    async def undo(self, done: Sequence[UUID], now: datetime, group_id: UUID | None = None) -> list[Course]:
        """Take runs back, in the reverse order of their entities; each is a run of its own, and may be held."""
        found = await self._found(done)
        async with self._working([run.entity for run in found]):
            for run in reversed(found):
                course = await self._begin(run.entity, group_id or uuid4(), "undo", undoes=run.id)
                async with self._guarded(course):
                    await undo(self._connection, course, run.id, now)
                    if course.status == "running":
                        await persist(
                            self._connection, course, await merge_of(self._connection, course, now), deletes=False
                        )
            await self._finish([course for course in self.courses if course.status == "running"], now)
        return self.courses

    async def restore(self, run: UUID, place: str | None = None) -> Course:
        """A plan that puts an entity back to what it was before a run wrote, which is held.

        `place`: of a copy of its backup. BackupError: it cannot be used, and nothing was changed. InProgressError.
        """
        found = await backup.find(self._connection, run, place)
        entity = found.header.entity
        terms = self._terms.get(entity)
        if terms is None or terms.feed != found.header.feed:
            said = f"{found.place} is a backup of {entity} of {found.header.feed}"
            raise BackupError(f"{said}, which is none of the feed's enabled entities; nothing was changed")
        async with self._working([entity]):
            left_out = await prepare(self._connection, await hold(self._connection, terms), terms, found)
            course = await self._begin(entity, uuid4(), "restore")
            if left_out:
                course.log.notes.append(f"{left_out:,} {_NOT_RESTORED}")
            async with self._guarded(course):
                await restore(self._connection, course, found)
        return course

    @asynccontextmanager
    async def alone(self, entity: str, runner: str) -> AsyncIterator[Course]:
        """A run of one entity whose steps whoever asks takes; what goes wrong ends it as failed. InProgressError."""
        async with self._working([entity]):
            course = await self._begin(entity, uuid4(), runner)
            async with self._guarded(course):
                yield course

    def waiting_for(self, entity: str) -> list[str]:
        """The entities whose records may wait for those of this one."""
        return [other for other, terms in self._terms.items() if entity in terms.after]

    def terms_of(self, entity: str) -> Terms:
        return self._terms[entity]

    def sides_of(self, entity: str) -> Sides:
        return self._sides[entity]

    async def merge_of(self, entity: str, now: datetime) -> Merge:
        """By what a run would merge its records now."""
        return await merge_now(self._connection, self._terms[entity], self._sides[entity], now)

    @asynccontextmanager
    async def _working(self, entities: Iterable[str]) -> AsyncIterator[None]:
        """Nobody else works on these; whoever is cancelled ends what he has begun."""
        self.courses = []
        try:
            for entity in entities:
                await hold(self._connection, self._terms[entity])
            yield
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                for course in self.courses:
                    if course.status == "running":
                        await self._end(course, "cancelled")
            raise
        finally:
            await runs.release(self._connection)

    @asynccontextmanager
    async def _guarded(self, course: Course) -> AsyncIterator[None]:
        """What goes wrong in one run ends that one, whatever it is; the state's own failures end all."""
        try:
            yield
        except Exception as fault:
            if self._connection.is_closed():
                raise
            if not any(step.status is StepStatus.FAILED for step in course.log.steps):
                course.log.notes.append(cause_of(fault, course.terms.scrub))
            await self._end(course, "held" if course.status == "held" else "failed")

    async def _end(self, course: Course, status: str) -> None:
        """A run ends early: what only the SIS lacks is for the next one."""
        if status != "held":
            await runs.leave_halfway(self._connection, course.run)
        await close(self._connection, course, status)

    async def _begin(
        self, entity: str, group_id: UUID, runner: str, *, undoes: UUID | None = None, dry: bool = False
    ) -> Course:
        terms = self._terms[entity]
        subject = await hold(self._connection, terms)
        run = await runs.begin(self._connection, subject, group_id, runner, terms.basis, undoes, dry=dry)
        course = await self._course(run, subject, entity, "running")
        course.dry = dry
        return course

    async def _course(self, run: UUID, subject: int, entity: str, status: str) -> Course:
        log = logbook_of(await runs.find_log(self._connection, run))
        told = self._terms[entity], self._sides[entity]
        course = Course(run, subject, *told, status, log=log, progress=self._progress)
        self.courses.append(course)
        return course

    async def _found(self, ids: Sequence[UUID]) -> list[Run]:
        """Runs by id, in the order of their entities."""
        found = [run for each in ids if (run := await runs.find(self._connection, each)) is not None]
        return sorted(found, key=lambda run: self._order.index(run.entity))

    def _failed_before(self, entity: str) -> list[str]:
        """What an entity depends on, itself or by others, and whose run came to nothing."""
        stopped = {course.terms.entity for course in self.courses if course.status in ("failed", "cancelled")}
        return sorted(stopped & self._terms[entity].shape.refers_to)

    async def _finish(self, courses: Sequence[Course], now: datetime) -> None:
        """Deletes, in the reverse order; then the runs end."""
        for course in reversed(courses):
            if not course.dry and (course.planned is None or course.may is not Pass.NO_DELETES):
                async with self._guarded(course):
                    await persist(self._connection, course, await merge_of(self._connection, course, now), deletes=True)
        for course in courses:
            if course.status == "running":
                async with self._guarded(course), self._connection.transaction():
                    await finish(self._connection, course, now)
                    await triggers.clear(self._connection, course.subject, course.run)


def _fetched(terms: Terms) -> list[SideName]:
    fetched: dict[SideName, bool] = {"hub": terms.fetches_hub, "sis": terms.fetches_sis}
    return [side for side, is_fetched in fetched.items() if is_fetched]
