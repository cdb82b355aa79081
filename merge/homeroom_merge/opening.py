"""The beginning of a run: the subject held, what was cut before rolled up, both sides fetched and verified."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from homeroom_merge import backup
from homeroom_merge.backup_file import BackupError
from homeroom_merge.course import Course, stepping
from homeroom_merge.fetching import Fetched, fetch_hub, fetch_sis
from homeroom_merge.persisting.persist import Persisting
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report.logbook import Going, logbook_of
from homeroom_merge.report.model import StepName
from homeroom_merge.reporting import close
from homeroom_merge.sides import Sides
from homeroom_merge.store import reports, runs, seen
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms
from homeroom_merge.watching import Watched

LEFT_OUT_MAX = 100_000
"""Records with faults that a report tells of, of each kind; all of them are counted."""


class InProgressError(RefusedError):
    """Somebody else works on this entity of this feed."""


async def hold(connection: Conn, terms: Terms) -> int:
    """The number of the subject, on which nobody else works from now on. Raises InProgressError."""
    subject = await seen.find_subject(connection, terms.feed, terms.entity)
    if not await runs.hold(connection, subject.number):
        raise InProgressError(f"a run of {terms.entity} of {terms.feed} is going on")
    await seen.note_student(connection, subject.number, terms.student)
    return subject.number


async def fetch(connection: Conn, course: Course) -> None:
    """Both sides as they are now. The run ends as `noData` or `failed` where the SIS gave nothing to go on with.

    Raises HomeroomError, OSError.
    """
    terms, sides, advance = course.terms, course.sides, course.progress.advance
    subject = await seen.find_subject(connection, terms.feed, terms.entity)
    if not terms.fetches_hub:
        await roll_up(connection, subject.number, terms, sides, course.run)
    else:
        async with stepping(connection, course, StepName.FETCH_HUB) as going:
            await roll_up(connection, subject.number, terms, sides, course.run)
            hubs = {organization: hub.watched(advance) for organization, hub in sides.hubs.items()}
            course.hub = await fetch_hub(connection, subject, terms, replace(sides, hubs=hubs))
            going.counts = {"records": course.hub.records}
    if terms.fetches_sis:
        async with stepping(connection, course, StepName.FETCH_SIS) as going:
            sis = Watched(sides.sis, advance, terms.only)
            course.sis = await fetch_sis(connection, subject, terms, replace(sides, sis=sis))
            course.log.notes += course.sis.notes
            going.counts = {"records": course.sis.records}
            status = _verdict_on(course.sis, going, allow_empty=terms.allow_empty)
        if status != "running":
            await close(connection, course, status)
            return
    await tell_left_out(connection, course)


async def tell_left_out(connection: Conn, course: Course, numbers: Sequence[int] | None = None) -> None:
    """Which of these records (None: all) fail verification."""
    async with stepping(connection, course, StepName.VERIFY) as going:
        sis_faults = () if course.sis is None else course.sis.faults
        told = course.subject, sis_faults, LEFT_OUT_MAX, numbers
        left_out = await reports.leave_out(connection, course.run, *told)
        going.counts = {"invalid on the hub": left_out.get("hub", 0), "invalid in the SIS": left_out.get("sis", 0)}
        if refused := {
            f"refused {where}": fetched.refused
            for where, fetched in (("on the hub", course.hub), ("in the SIS", course.sis))
            if fetched is not None and fetched.refused
        }:
            going.counts = {**going.counts, **refused}
            said = ", ".join(f"{count:,} {where}" for where, count in refused.items())
            course.log.notes.append(f"erased student: {said}; nothing of these records is kept or written")
        if invalid := sum(left_out.values()):
            shown = f", of which the first {LEFT_OUT_MAX:,} are told" if invalid > LEFT_OUT_MAX else ""
            going.issue(f"{invalid:,} records have faults and are left out{shown}")


def _verdict_on(sis: Fetched, going: Going, *, allow_empty: bool) -> str:
    """Whether a run may go on with what the SIS gave: `running`, or what it ends as."""
    for name in sorted(sis.columns_missing):
        going.issue(f"the column {name} is missing, which an earlier feed had")
    if sis.failure:
        going.fail(sis.failure)
        return "failed"
    if not sis.records and sis.complete and not allow_empty:
        going.issue("the feed was empty; allow_empty says that it may be")
        return "noData"
    return "running"


async def roll_up(connection: Conn, subject: int, terms: Terms, sides: Sides, but: UUID | None) -> None:
    """Find out what became of runs that were cut. What was approved is carried out, all else is planned anew."""
    for run, cut in (await runs.cut(connection, subject, but)).items():
        persisting = Persisting(connection, run, terms, sides)
        await persisting.resume()
        log = logbook_of(await runs.find_log(connection, run))
        course = Course(run, subject, terms, sides, "finishedWithIssues" if cut.approved else "cancelled", log=log)
        if cut.died and cut.approved:
            await _go_on(connection, course, persisting)
        await runs.leave_halfway(connection, run)
        if cut.died:
            log.notes.append("it was cut off, and rolled up by a later run")
            await runs.note_log(connection, run, log.text())
            await runs.end(connection, run, course.status)


async def _go_on(connection: Conn, course: Course, persisting: Persisting) -> None:
    try:
        await keep_first(connection, course)
    except BackupError:
        course.status = "failed"
        return
    await persisting.persist(deletes=False)
    await persisting.persist(deletes=True)


async def keep_first(connection: Conn, course: Course) -> None:
    """Keep what the run's plan may change, if that is not done yet. BackupError."""
    if not await backup.is_due(connection, course.run):
        return
    async with stepping(connection, course, StepName.BACKUP) as going:
        course.backup = kept = await backup.back_up(connection, course.run, course.terms)
        if kept is not None:
            going.counts = {"records": kept.records, "bytes": kept.bytes}
            if kept.issue:
                going.issue(kept.issue)
