"""One entity of one feed, step by step (merge.md 2): fetch, verify, merge, plan, guard, persist."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

import orjson

from homeroom_merge import backup
from homeroom_merge.backup import BackedUp
from homeroom_merge.backup_file import BackupError
from homeroom_merge.codec import canonical
from homeroom_merge.fetching import Fetched, fetch_hub, fetch_sis
from homeroom_merge.guards import Pass
from homeroom_merge.linking import Links
from homeroom_merge.persisting.persist import Persisting
from homeroom_merge.plan import Change
from homeroom_merge.planning import Merge, Planned, give_up, merge_with, moved_since, plan, plan_again, plan_anew
from homeroom_merge.reach import Reach
from homeroom_merge.restoration import plan_restore, prepare, restore_with
from homeroom_merge.sides import Sides as Sides
from homeroom_merge.standing import look_again, look_at_all
from homeroom_merge.store import failing, inbox, journal, own, restores, runs, seen
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.known import Numbered
from homeroom_merge.terms import Terms
from homeroom_merge.undoing import Span, Wrote, undone

_ATTEMPTS_MAX = 3
"""A record that moves on either side while it is written is merged again so often; then it is a conflict."""


class InProgressError(Exception):
    """Somebody else works on this entity of this feed."""


@dataclass(slots=True)
class Course:
    """How a run goes."""

    run: UUID
    subject: int
    terms: Terms
    sides: Sides
    status: str = "running"
    hub: Fetched | None = None
    sis: Fetched | None = None
    planned: Planned | None = None
    backup: BackedUp | None = None

    @property
    def may(self) -> Pass:
        return Pass.NOTHING if self.planned is None else self.planned.verdict.may


async def begin(connection: Conn, terms: Terms, sides: Sides, group_id: UUID, runner: str) -> Course:
    """A run with both sides fetched. Its status is `running`, `noData` or `failed`.

    Raises InProgressError, HomeroomError, OSError.
    """
    subject = await seen.find_subject(connection, terms.feed, terms.entity)
    if not await runs.hold(connection, subject.number):
        raise InProgressError(f"a run of {terms.entity} of {terms.feed} is going on")
    await roll_up(connection, subject.number, terms, sides)
    run = await runs.begin(connection, subject.number, group_id, runner, canonical({}))
    course = Course(run, subject.number, terms, sides)
    if terms.fetches_hub:
        course.hub = await fetch_hub(connection, subject, terms, sides)
    if terms.fetches_sis:
        course.sis = await fetch_sis(connection, subject, terms, sides)
        if course.sis.failure:
            course.status = "failed"
        elif not course.sis.records and course.sis.complete and not terms.allow_empty:
            course.status = "noData"
    if course.status != "running":
        await runs.end(connection, run, course.status)
    return course


async def roll_up(connection: Conn, subject: int, terms: Terms, sides: Sides) -> None:
    """Find out what became of runs that were killed. What was approved is carried out, all else is planned anew."""
    for run, approved in (await runs.cut(connection, subject)).items():
        persisting = Persisting(connection, run, terms, sides)
        await persisting.resume()
        course = Course(run, subject, terms, sides, "finishedWithIssues" if approved else "cancelled")
        if approved and await _back_up(connection, course):
            await persisting.persist(deletes=False)
            await persisting.persist(deletes=True)
        await runs.leave_halfway(connection, run)
        await runs.end(connection, run, course.status)


async def make_plan(connection: Conn, course: Course, now: datetime) -> None:
    """Plan, and let the guards look at it: what may not go on by itself is `held`."""
    await own.forget_old_writings(connection)
    missing = course.sis.columns_missing if course.sis is not None else frozenset()
    merged = await merge_of(connection, course, now)
    course.planned = await plan(connection, course.run, course.subject, course.terms, merged, now.date(), missing)
    await inbox.forget_agreed(connection, course.subject, course.run)
    await failing.note_plan(connection, course.subject, course.run)
    await runs.replace_held(connection, course.subject, course.run)
    await _hold_if_told(connection, course)


async def _hold_if_told(connection: Conn, course: Course) -> None:
    if course.may is Pass.NOTHING:
        course.status = "held"
        await runs.end(connection, course.run, "held")


async def persist(connection: Conn, course: Course, merged: Merge, *, deletes: bool) -> None:
    """Carry out the plan's creates and updates, or its deletes; what has moved meanwhile is merged again.

    Nothing is written before what it may change is kept: where that fails, so does the run.
    """
    if not await _back_up(connection, course):
        await runs.end(connection, course.run, course.status)
        return
    persisting = Persisting(connection, course.run, course.terms, course.sides)
    await persisting.persist(deletes=deletes)
    for _ in range(_ATTEMPTS_MAX):
        stale = await runs.numbers_with(connection, course.run, "stale")
        if not stale:
            return
        subject = await seen.find_subject(connection, course.terms.feed, course.terms.entity)
        await look_again(connection, subject.number, course.terms, course.sides, stale)
        await fetch_hub(connection, subject, course.terms, course.sides)
        await plan_anew(connection, course.run, stale, merged)
        await persisting.persist(deletes=deletes)
    await give_up(connection, course.run, await runs.numbers_with(connection, course.run, "stale"))


async def _back_up(connection: Conn, course: Course) -> bool:
    """Keep what the plan may change, if that is not done yet; whether the run may go on. Else it is `failed`."""
    try:
        course.backup = await backup.back_up(connection, course.run, course.terms) or course.backup
    except BackupError as fault:
        course.backup, course.status = BackedUp(failure=str(fault)), "failed"
    return course.status != "failed"


async def finish(connection: Conn, course: Course) -> str:
    """The status that a run ends with."""
    await failing.note_run(connection, course.run)
    counts = await runs.count_outcomes(connection, course.run)
    faults = sum(fetched.invalid for fetched in (course.hub, course.sis) if fetched is not None)
    faults += course.backup is not None and bool(course.backup.issue)
    with_issues = faults or any(counts.get(what) for what in ("conflict", "waits", "stale", "failed", "unknown"))
    course.status = "finishedWithIssues" if with_issues else "success"
    await runs.end(connection, course.run, course.status)
    return course.status


async def approve(connection: Conn, course: Course, merged: Merge, by: str) -> UUID | None:
    """Let a held plan go on: records that have not moved since run exactly as shown.

    Those that have are planned again in a run of their own, which is held; its id, None if there are none.
    """
    subject = await seen.find_subject(connection, course.terms.feed, course.terms.entity)
    if not await runs.hold(connection, subject.number):
        raise InProgressError(f"a run of {course.terms.entity} of {course.terms.feed} is going on")
    await roll_up(connection, subject.number, course.terms, course.sides)
    await fetch_hub(connection, subject, course.terms, course.sides)
    shown = await runs.numbers_with(connection, course.run, "planned")
    await look_again(connection, subject.number, course.terms, course.sides, shown)
    held = None
    async with connection.transaction():
        async for moved in moved_since(connection, course.run, merged):
            held = held or await runs.begin(
                connection, course.subject, await _group(connection, course.run), "approval"
            )
            await runs.store_plan(connection, held, moved)
        await runs.decide(connection, course.run, "running", by)
        if held is not None:
            await restores.pass_on(connection, course.run, held)
            await runs.end(connection, held, "held")
    return held


async def undo(connection: Conn, terms: Terms, sides: Sides, run: UUID, now: datetime) -> Course:
    """A run that takes another one back, planned and judged as any; its status is `running` or `held`."""
    subject = await seen.find_subject(connection, terms.feed, terms.entity)
    await fetch_hub(connection, subject, terms, sides)
    course = Course(
        await runs.begin(connection, subject.number, uuid4(), "undo", undoes=run), subject.number, terms, sides
    )
    written = await journal.written(connection, run)
    await look_again(connection, subject.number, terms, sides, written)
    merged = undo_with(connection, terms, run, now, sides.reach(terms))
    told = course.run, subject.number, terms, merged, written, now.date()
    course.planned = await plan_again(connection, *told)
    await _hold_if_told(connection, course)
    return course


async def restore(connection: Conn, terms: Terms, sides: Sides, found: backup.Found) -> Course:
    """A run that puts an entity back to what a backup has of it: planned, and held. BackupError: nothing was changed.

    Raises InProgressError, HomeroomError, OSError.
    """
    subject = await seen.find_subject(connection, terms.feed, terms.entity)
    if not await runs.hold(connection, subject.number):
        raise InProgressError(f"a run of {terms.entity} of {terms.feed} is going on")
    await prepare(connection, subject.number, terms, found)
    await roll_up(connection, subject.number, terms, sides)
    hub = await fetch_hub(connection, subject, terms, sides)
    await look_at_all(connection, subject.number, terms, sides)
    async with connection.transaction():
        run = await runs.begin(connection, subject.number, uuid4(), "restore")
        planned = await plan_restore(connection, run, subject.number, terms, sides.reach(terms), found)
        await runs.replace_held(connection, subject.number, run)
        await runs.end(connection, run, "held")
    return Course(run, subject.number, terms, sides, "held", hub, planned=planned)


async def writes_of(connection: Conn, run: UUID, numbers: Sequence[int]) -> dict[int, Wrote]:
    """What a run wrote of these records: on each side from what stood there first to what it wrote last."""
    found: dict[int, Wrote] = {}
    for intent in await journal.wrote(connection, run, numbers):
        before = None if intent.before is None else orjson.loads(intent.before)
        after = None if intent.body is None else orjson.loads(intent.body)
        wrote = found.get(intent.record, Wrote())
        first = wrote.hub if intent.side == "hub" else wrote.sis
        span = Span(before if first is None else first.before, after)
        found[intent.record] = replace(wrote, hub=span) if intent.side == "hub" else replace(wrote, sis=span)
    return found


def undo_with(connection: Conn, terms: Terms, run: UUID, now: datetime, reach: Reach) -> Merge:
    """The merge of a run that undoes another."""

    async def merged(block: Sequence[Numbered]) -> list[Change]:
        wrote = await writes_of(connection, run, [each.number for each in block])
        return [
            reach.within(undone(each.known, wrote[each.number], terms.shape, terms.rules, now), each.known)
            for each in block
        ]

    return merged


async def merge_of(connection: Conn, course: Course, now: datetime) -> Merge:
    """By what the plan of a run is made."""
    terms, reach = course.terms, course.sides.reach(course.terms)
    found = await runs.find(connection, course.run)
    if await restores.is_restore(connection, course.run):
        return restore_with(connection, course.run, terms, reach)
    if found is not None and found.undoes is not None:
        return undo_with(connection, terms, found.undoes, now, reach)
    return await merge_now(connection, terms, course.sides, now)


async def merge_now(connection: Conn, terms: Terms, sides: Sides, now: datetime) -> Merge:
    """By what a run that undoes or restores nothing merges."""
    links = {entity: await records.links(connection, terms.feed, entity) for entity in sorted(terms.after)}
    return merge_with(terms, Links(links), now, sides.reach(terms), sides.sis)


async def _group(connection: Conn, run: UUID) -> UUID:
    found = await runs.find(connection, run)
    assert found is not None, "the run is there"
    return found.group_id
