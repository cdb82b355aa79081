"""One entity of one feed, step by step, once both sides are fetched (merge.md 2): merge, plan, guard, persist."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from homeroom_merge.backup import Found
from homeroom_merge.course import Course as Course
from homeroom_merge.course import stepping
from homeroom_merge.fetching import fetch_hub
from homeroom_merge.guards import Pass, vanished
from homeroom_merge.linking import Links
from homeroom_merge.opening import keep_first, roll_up
from homeroom_merge.persisting.persist import Persisting
from homeroom_merge.plan import Change
from homeroom_merge.planning import (
    LookedAt,
    Merge,
    Planned,
    give_up,
    merge_with,
    moved_since,
    plan,
    plan_again,
    plan_anew,
    plan_dirty,
)
from homeroom_merge.reach import Reach
from homeroom_merge.report.logbook import Going, Logbook
from homeroom_merge.report.model import StepName, status_of
from homeroom_merge.reporting import close
from homeroom_merge.restoration import plan_restore, restore_with
from homeroom_merge.sides import Sides as Sides
from homeroom_merge.standing import look_again, look_at_all, look_on_hub
from homeroom_merge.store import failing, inbox, journal, own, realtime, reports, restores, runs, seen
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.known import Numbered
from homeroom_merge.terms import Terms
from homeroom_merge.undoing import Span, Wrote, undone
from homeroom_merge.values import SideName

_ATTEMPTS_MAX = 3
"""A record that moves on either side while it is written is merged again so often; then it is a conflict."""
_OVERDUE_NAMED = 10
_FAILED = frozenset({"refused", "transient", "unknown"})


async def make_plan(connection: Conn, course: Course, now: datetime) -> None:
    """Plan, and let the guards look at it: what may not go on by itself is `held`."""
    await own.forget_old_writings(connection)
    missing = course.sis.columns_missing if course.sis is not None else frozenset()
    merged = await merge_of(connection, course, now)
    looked_at = 0

    async def watched(block: Sequence[Numbered]) -> list[Change]:
        nonlocal looked_at
        looked_at += len(block)
        course.progress.advance(len(block))
        return await merged(block)

    async with stepping(connection, course, StepName.MERGE) as merging:
        async with stepping(connection, course, StepName.PLAN) as planning:
            planned = await plan(connection, course.run, course.subject, course.terms, watched, now.date(), missing)
            planning.counts = _counts(planned)
        merging.counts = {"records that differ": looked_at, "conflicts": planned.conflicts, "waiting": planned.waits}
        if planned.out_of_view:
            merging.counts = {**merging.counts, "out of view on the hub": planned.out_of_view}
        if said := vanished(planned.out_of_view, planned.live):
            merging.issue(said)
    await inbox.forget_agreed(connection, course.subject, course.run)
    await failing.note_plan(connection, course.subject, course.run)
    await runs.replace_held(connection, course.subject, course.run)
    await _guard(connection, course, planned)


async def make_plan_of_dirty(connection: Conn, course: Course, looked_at: LookedAt, now: datetime) -> None:
    """As `make_plan`, of just these records."""
    await own.forget_old_writings(connection)
    merged = await merge_of(connection, course, now)
    async with stepping(connection, course, StepName.MERGE) as merging:
        async with stepping(connection, course, StepName.PLAN) as planning:
            told = course.run, course.subject, course.terms, merged, looked_at, now.date()
            planned = await plan_dirty(connection, *told)
            planning.counts = _counts(planned)
        merging.counts = {"conflicts": planned.conflicts, "waiting": planned.waits}
    await inbox.forget_agreed(connection, course.subject, course.run, looked_at.numbers)
    await failing.note_plan(connection, course.subject, course.run, looked_at.numbers)
    course.looked_at = looked_at
    await _guard(connection, course, planned)


async def _guard(connection: Conn, course: Course, planned: Planned) -> None:
    course.planned = planned
    async with stepping(connection, course, StepName.GUARD) as going:
        course.log.guard_reasons = planned.verdict.reasons
        for reason in planned.verdict.reasons:
            going.issue(reason)
    if course.may is Pass.NOTHING:
        await close(connection, course, "held")


def _counts(planned: Planned) -> dict[str, int]:
    tally = planned.tally
    return {"creates": tally.creates, "updates": tally.updates, "deletes": tally.deletes}


async def persist(connection: Conn, course: Course, merged: Merge, *, deletes: bool) -> None:
    """Carry out the plan's creates and updates, or its deletes; what has moved meanwhile is merged again.

    Nothing is written before what it may change is kept. BackupError.
    """
    await keep_first(connection, course)
    persisting = Persisting(connection, course.run, course.terms, course.sides, course.progress)
    await _carry_out(connection, course, persisting, deletes=deletes)
    for _ in range(_ATTEMPTS_MAX):
        stale = await runs.numbers_with(connection, course.run, "stale")
        if not stale:
            return
        subject = await seen.find_subject(connection, course.terms.feed, course.terms.entity)
        await look_again(connection, subject.number, course.terms, course.sides, stale)
        if course.looked_at is None:
            await fetch_hub(connection, subject, course.terms, course.sides)
        else:
            asked = await realtime.linked_of(connection, stale)
            await look_on_hub(connection, subject.number, course.terms, course.sides, asked)
        await plan_anew(connection, course.run, stale, merged)
        await _carry_out(connection, course, persisting, deletes=deletes)
    await give_up(connection, course.run, await runs.numbers_with(connection, course.run, "stale"))


async def _carry_out(connection: Conn, course: Course, persisting: Persisting, *, deletes: bool) -> None:
    """Hub before SIS; a side that is not written takes no step."""
    reach = course.sides.reach(course.terms)
    if reach.hub:
        planned = await runs.count_to_do(connection, course.run, "planned", deletes=deletes)
        async with stepping(connection, course, StepName.PERSIST_HUB, planned) as going:
            await persisting.to_hub(deletes=deletes)
            await _tell_writes(connection, course, "hub", going)
    else:
        await persisting.to_hub(deletes=deletes)
    if reach.sis:
        planned = await runs.count_to_do(connection, course.run, "halfway", deletes=deletes)
        async with stepping(connection, course, StepName.PERSIST_SIS, planned) as going:
            await persisting.to_sis(deletes=deletes)
            await _tell_writes(connection, course, "sis", going)


async def _tell_writes(connection: Conn, course: Course, side: SideName, going: Going) -> None:
    going.counts = await reports.count_writes(connection, course.run, side) or {"done": 0}
    if failed := sum(count for result, count in going.counts.items() if result in _FAILED):
        going.issue(f"{failed:,} writes failed")


async def finish(connection: Conn, course: Course, now: datetime) -> None:
    """The run ends, with the status that its steps and records come to."""
    terms = course.terms
    await failing.note_run(connection, course.run)
    overdue, first = await reports.awaited_since(
        connection, course.subject, now - timedelta(days=terms.awaiting_days), _OVERDUE_NAMED
    )
    if overdue:
        named = ", ".join(f"{each.name} (since {each.since:%Y-%m-%d})" for each in first)
        course.log.notes.append(
            f"{overdue:,} records were written to the SIS and no feed has shown them for {terms.awaiting_days} days: "
            f"{named}{', …' if overdue > len(first) else ''}. Look whether the SIS takes up what is written to it."
        )
    counts = Counter(await runs.count_outcomes(connection, course.run))
    if course.planned is not None and course.dry:
        counts += Counter(conflict=course.planned.conflicts, waits=course.planned.waits)
    held_apart = course.planned is not None and course.may is Pass.NO_DELETES
    if overdue or counts["moved"] or held_apart:
        counts["stale"] += 1  # somebody has to know
    steps = [step for step in course.log.steps if step.name is not StepName.GUARD]
    await close(connection, course, status_of(steps, counts))


async def approve(connection: Conn, course: Course, merged: Merge, by: str) -> UUID | None:
    """Let a held plan go on: records that have not moved since run exactly as shown.

    Those that have are planned again in a run of their own, which is held; its id, None if there are none.
    """
    terms, sides = course.terms, course.sides
    subject = await seen.find_subject(connection, terms.feed, terms.entity)
    await roll_up(connection, subject.number, terms, sides, course.run)
    await fetch_hub(connection, subject, terms, sides)
    shown = await runs.numbers_with(connection, course.run, "planned")
    await look_again(connection, subject.number, terms, sides, shown)
    held, count = None, 0
    async with connection.transaction():
        async for moved in moved_since(connection, course.run, merged):
            held = held or await _held_anew(connection, course)
            await runs.store_plan(connection, held, moved)
            count += len(moved)
        await runs.decide(connection, course.run, "running", by)
        await seen.know_shown_columns(connection, subject.number)
        course.log.notes.append(f"approved by {by}")
        if held is not None:
            course.log.notes.append(f"{count:,} records had moved since they were shown, and are held anew")
            await restores.pass_on(connection, course.run, held)
            await runs.end(connection, held, "held")
    return held


async def _held_anew(connection: Conn, course: Course) -> UUID:
    """A run for what has moved since a plan was shown."""
    found = await runs.find(connection, course.run)
    assert found is not None, "the run is there"
    held = await runs.begin(connection, course.subject, found.group_id, "approval", course.terms.basis)
    log = Logbook(notes=[f"what had moved when {course.run} was approved"])
    await runs.note_log(connection, held, log.text())
    return held


async def undo(connection: Conn, course: Course, run: UUID, now: datetime) -> None:
    """Plan what takes another run back, judged as any plan: the status is `running` or `held` then."""
    terms, sides = course.terms, course.sides
    async with stepping(connection, course, StepName.FETCH_HUB) as going:
        subject = await seen.find_subject(connection, terms.feed, terms.entity)
        await roll_up(connection, subject.number, terms, sides, course.run)
        found = await fetch_hub(connection, subject, terms, sides)
        going.counts = {"records": found.records}
    written = await journal.written(connection, run)
    async with stepping(connection, course, StepName.FETCH_SIS):
        await look_again(connection, subject.number, terms, sides, written)
    merged = undo_with(connection, terms, run, now, sides.reach(terms))
    async with stepping(connection, course, StepName.PLAN) as going:
        told = course.run, subject.number, terms, merged, written, now.date()
        planned = await plan_again(connection, *told)
        going.counts = _counts(planned)
    await _guard(connection, course, planned)


async def restore(connection: Conn, course: Course, found: Found) -> None:
    """Plan what puts an entity back to what a backup has of it: held. BackupError: nothing was changed."""
    terms, sides = course.terms, course.sides
    subject = await seen.find_subject(connection, terms.feed, terms.entity)
    await roll_up(connection, subject.number, terms, sides, course.run)
    async with stepping(connection, course, StepName.FETCH_HUB) as going:
        course.hub = await fetch_hub(connection, subject, terms, sides)
        going.counts = {"records": course.hub.records}
    async with stepping(connection, course, StepName.FETCH_SIS):
        await look_at_all(connection, subject.number, terms, sides)
    async with stepping(connection, course, StepName.PLAN) as going, connection.transaction():
        planned = await plan_restore(connection, course.run, subject.number, terms, sides.reach(terms), found)
        await runs.replace_held(connection, subject.number, course.run)
        going.counts = _counts(planned)
    await _guard(connection, course, planned)


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
