"""The runs of one night or one command, in order: creates and updates by dependency, then deletes in reverse."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

from homeroom_merge import backup
from homeroom_merge.backup_file import BackupError
from homeroom_merge.guards import Pass
from homeroom_merge.planning import Merge
from homeroom_merge.run import (
    Course,
    Sides,
    approve,
    begin,
    finish,
    make_plan,
    merge_now,
    merge_of,
    persist,
    restore,
    undo,
)
from homeroom_merge.shape import Shape
from homeroom_merge.store import runs
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms

Told = Callable[[Course, str], None]
"""Called as a run goes on: with the step that has just ended."""


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
    """Entities of one feed and how their sides are reached."""

    def __init__(
        self, connection: Conn, terms: Mapping[str, Terms], sides: Mapping[str, Sides], told: Told = lambda *_: None
    ) -> None:
        self._connection = connection
        self._sides = sides
        self._told = told
        self._order = in_order({entity: each.shape for entity, each in terms.items()})
        # Nothing waits for what comes later, where a circle was broken.
        self._terms = {
            entity: replace(terms[entity], after=terms[entity].shape.refers_to.intersection(self._order[:place]))
            for place, entity in enumerate(self._order)
        }

    async def run(self, now: datetime, *, runner: str = "manual", dry: bool = False) -> list[Course]:
        """Every entity from fetch to finish; each stops by itself where it is held or fails."""
        try:
            return await self._run(now, runner, dry=dry)
        finally:
            await runs.release(self._connection)

    async def _run(self, now: datetime, runner: str, *, dry: bool) -> list[Course]:
        group_id, courses = uuid4(), []
        for entity in self._order:
            course = await begin(self._connection, self._terms[entity], self._sides[entity], group_id, runner)
            courses.append(course)
            self._told(course, "fetch")
            if course.status == "running":
                await make_plan(self._connection, course, now)
                self._told(course, "plan")
                if course.status == "running" and dry:
                    await runs.end(self._connection, course.run, "cancelled")
                elif course.status == "running":
                    await persist(
                        self._connection, course, await merge_of(self._connection, course, now), deletes=False
                    )
                    self._told(course, "persist")
        await self._finish([course for course in courses if course.status == "running" and not dry], now)
        return courses

    async def approve(self, held: Sequence[UUID], now: datetime, by: str) -> list[Course]:
        """Let held plans go on, in the order of their entities."""
        found = [run for each in held if (run := await runs.find(self._connection, each)) is not None]
        courses = []
        for run in sorted(found, key=lambda run: self._order.index(run.entity)):
            course = Course(run.id, run.subject, self._terms[run.entity], self._sides[run.entity])
            merged = await merge_of(self._connection, course, now)
            await approve(self._connection, course, merged, by)
            courses.append(course)
            await persist(self._connection, course, merged, deletes=False)
            self._told(course, "persist")
        await self._finish([course for course in courses if course.status == "running"], now)
        return courses

    async def restore(self, run: UUID, place: str | None = None) -> Course:
        """A plan that puts an entity back to what it was before a run wrote, which is held.

        `place`: of a copy of its backup. BackupError: it cannot be used, and nothing was changed.
        """
        found = await backup.find(self._connection, run, place)
        terms = self._terms.get(found.header.entity)
        if terms is None or terms.feed != found.header.feed:
            said = f"{found.place} is a backup of {found.header.entity} of {found.header.feed}"
            raise BackupError(f"{said}, which is none of the feed's enabled entities; nothing was changed")
        try:
            return await restore(self._connection, terms, self._sides[found.header.entity], found)
        finally:
            await runs.release(self._connection)

    async def undo(self, done: Sequence[UUID], now: datetime) -> list[Course]:
        """Take runs back, in the reverse order of their entities; each is a run of its own, and may be held."""
        found = [run for each in done if (run := await runs.find(self._connection, each)) is not None]
        courses = []
        for run in sorted(found, key=lambda run: self._order.index(run.entity), reverse=True):
            course = await undo(self._connection, self._terms[run.entity], self._sides[run.entity], run.id, now)
            courses.append(course)
            if course.status == "running":
                await persist(self._connection, course, await merge_of(self._connection, course, now), deletes=False)
        await self._finish([course for course in courses if course.status == "running"], now)
        return courses

    def terms_of(self, entity: str) -> Terms:
        return self._terms[entity]

    def sides_of(self, entity: str) -> Sides:
        return self._sides[entity]

    async def merge_of(self, entity: str, now: datetime) -> Merge:
        """By what a run would merge its records now."""
        return await merge_now(self._connection, self._terms[entity], self._sides[entity], now)

    async def _finish(self, courses: Sequence[Course], now: datetime) -> None:
        for course in reversed(courses):
            if course.planned is None or course.may is not Pass.NO_DELETES:
                await persist(self._connection, course, await merge_of(self._connection, course, now), deletes=True)
        for course in courses:
            await finish(self._connection, course)
            self._told(course, "finish")
