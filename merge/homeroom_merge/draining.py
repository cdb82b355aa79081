"""A run over just the records that are dirty, on whichever side they moved (merge.md 6)."""

from collections.abc import Sequence
from datetime import datetime

from homeroom_merge.course import Course, stepping
from homeroom_merge.group import Group
from homeroom_merge.guards import Pass
from homeroom_merge.opening import roll_up, tell_left_out
from homeroom_merge.planning import LookedAt
from homeroom_merge.report.model import StepName
from homeroom_merge.run import finish, make_plan_of_dirty, merge_of, persist
from homeroom_merge.standing import look_in_sis, look_on_hub
from homeroom_merge.store import known as records
from homeroom_merge.store import realtime, seen, triggers
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.triggers import Trigger

TRIGGERS_MAX = 2_000
"""At a time; who drains goes on until nothing is dirty, or a run fails."""


async def drain(connection: Conn, group: Group, entity: str, now: datetime) -> Course | None:
    """A realtime run over the first records that are dirty; None where there is none.

    What moves meanwhile stays dirty, as does all of a run that fails. An entity that was never merged, or whose SIS
    cannot be read by id, is left for the night. InProgressError: try again later.
    """
    terms, sides = group.terms_of(entity), group.sides_of(entity)
    subject = (await seen.find_subject(connection, terms.feed, entity)).number
    await triggers.forget_echoes(connection, subject)
    if not sides.sis.abilities.by_id or not await records.has_bases(connection, subject):
        await triggers.leave_for_tonight(connection, subject)
        return None
    dirty = await triggers.dirty(connection, subject, TRIGGERS_MAX)
    if not dirty:
        return None
    async with group.alone(entity, "realtime") as course:
        await roll_up(connection, subject, terms, sides, course.run)
        looked_at = await _look(connection, course, dirty)
        await make_plan_of_dirty(connection, course, looked_at, now)
        if course.status == "running":
            await _carry_out(connection, course, now)
        async with connection.transaction():
            if course.status == "running":
                await finish(connection, course, now)
            await triggers.done(connection, subject, course.run, dirty)
            if course.planned is not None and course.planned.changes:
                await triggers.wake_waiting(connection, terms.feed, group.waiting_for(entity))
    return course


async def _look(connection: Conn, course: Course, dirty: Sequence[Trigger]) -> LookedAt:
    """Both sides of each record as they are now, those of old keys too that new ones may have replaced."""
    subject, terms, sides = course.subject, course.terms, course.sides
    asked = await realtime.linked(connection, subject, dirty)
    keys = sorted({each.sis_key for each in asked})
    if terms.fetches_hub:
        async with stepping(connection, course, StepName.FETCH_HUB) as going:
            course.hub = await look_on_hub(connection, subject, terms, sides, asked)
            going.counts = {"records": course.hub.records}
    if terms.fetches_sis:
        async with stepping(connection, course, StepName.FETCH_SIS) as going:
            course.sis = await look_in_sis(connection, subject, terms, sides, keys)
            going.counts = {"records": course.sis.records}
            if others := await seen.namesakes(connection, subject, keys):
                await look_in_sis(connection, subject, terms, sides, others)
                keys += others
        await seen.link_alike(connection, subject, keys)
    hub_ids = [each.hub_id for each in asked if each.hub_id is not None]
    numbers = await realtime.numbers(connection, subject, hub_ids, keys)
    await tell_left_out(connection, course, numbers)
    return LookedAt(numbers, keys)


async def _carry_out(connection: Conn, course: Course, now: datetime) -> None:
    merged = await merge_of(connection, course, now)
    await persist(connection, course, merged, deletes=False)
    if course.may is not Pass.NO_DELETES:
        await persist(connection, course, merged, deletes=True)
