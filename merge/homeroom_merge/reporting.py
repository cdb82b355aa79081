"""The report of a run as a whole, out of what the store kept of it; its records pass by one at a time."""

from dataclasses import replace
from uuid import UUID

import orjson

from homeroom_merge.course import Course
from homeroom_merge.report.lines import from_json, head_line
from homeroom_merge.report.logbook import logbook_of
from homeroom_merge.report.model import Report, Status, StepStatus
from homeroom_merge.report.summary import Summing
from homeroom_merge.run_records import entries
from homeroom_merge.store import reports, runs
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.reports import Head


async def close(connection: Conn, course: Course, status: str) -> None:
    """A run ends, or is held: with its report."""
    course.status = status
    if printed := course.sides.sis.printed().strip():
        course.log.notes.append(f"the connector or formatter printed: {printed}")
    await runs.note_log(connection, course.run, course.log.text(course.terms.scrub))
    await runs.end(connection, course.run, status)
    course.report = await kept(connection, course.run)


async def note(connection: Conn, run: UUID, said: str) -> None:
    """Add to the notes of a run that has ended or is held, and make its report anew."""
    async with connection.transaction():  # the row is held: an erasure may be taking names out of it
        log = logbook_of(await runs.find_log(connection, run))
        log.notes.append(said)
        await runs.note_log(connection, run, log.text())
        head = await reports.head(connection, run)
        assert head is not None, "it was found"
        await reports.keep_report(connection, run, head_line(await _made(connection, run, head)).decode())


async def kept(connection: Conn, run: UUID) -> Report | None:
    """The report of a run, made anew where it stands otherwise by now; None while it goes on, or if there is none."""
    head = await reports.head(connection, run)
    if head is None or head.status == "running":
        return None
    text = await reports.find_report(connection, run)
    if text is not None:
        report, _ = from_json([text.encode()])
        if report.status == head.status:
            return report
        if head.is_discarded:  # nothing of its plan was touched, which may have a million records
            report = replace(report, status=Status(head.status), ended_at=head.ended_at)
            await reports.keep_report(connection, run, head_line(report).decode())
            return report
    report = await _made(connection, run, head)
    await reports.keep_report(connection, run, head_line(report).decode())
    return report


async def _made(connection: Conn, run: UUID, head: Head) -> Report:
    log = logbook_of(await runs.find_log(connection, run))
    summing = Summing()
    async for entry in entries(connection, run):
        summing.add(entry)
    for step in log.steps:
        if step.status is StepStatus.FAILED:
            summing.add_step(step)
    return Report(
        str(run),
        head.feed,
        head.entity,
        head.runner,
        Status(head.status),
        head.begun_at,
        head.ended_at,
        head.dry,
        head.settings_state,
        head.settings_version,
        orjson.loads(head.overrides),
        log.steps,
        log.guard_reasons,
        tuple(log.notes),
        summing.summary(),
    )
