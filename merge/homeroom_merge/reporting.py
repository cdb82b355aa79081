"""The report of a run, out of what the store kept of it; its records pass by one at a time."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from uuid import UUID

import orjson

from homeroom_merge.course import Course
from homeroom_merge.plan import Change
from homeroom_merge.report.lines import from_json, head_line
from homeroom_merge.report.logbook import logbook_of
from homeroom_merge.report.model import (
    Outcome,
    Problem,
    RecordEntry,
    Report,
    Result,
    Status,
    StepStatus,
    entry_of,
    problems_of,
)
from homeroom_merge.report.summary import Summing
from homeroom_merge.store import reports, runs
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.reports import Head, LeftOut, Planned

_RESULTS: Mapping[str, Result] = {result.value: result for result in Result}
_OUTCOMES: Mapping[str, Outcome] = {**{outcome.value: outcome for outcome in Outcome}, "moved": Outcome.STALE}
_FAILED = frozenset({Outcome.FAILED, Outcome.UNKNOWN, Outcome.STALE})


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


async def entries(connection: Conn, run: UUID) -> AsyncGenerator[RecordEntry, None]:
    """Every record of a run: what was left out of it, then what was planned and what came of that."""
    async with connection.transaction():
        async for left in reports.left_out(connection, run):
            yield _left_out(left)
        async for planned in reports.everything_planned(connection, run):
            yield _entry(planned)


def _left_out(left: LeftOut) -> RecordEntry:
    problems = tuple(Problem(each.detail, each.pointer, left.side, cure=each.cure) for each in left.faults)
    names = (left.sis_key, left.hub_id, left.place) if left.sis_key or left.hub_id else (left.place, None, "")
    return RecordEntry(
        *names[:2], Outcome.INVALID, left.school, left.school_year, problems=problems, note=names[2] or ""
    )


def _entry(planned: Planned) -> RecordEntry:
    change, outcome = planned.change, _outcome(planned.change, planned.outcome)
    results = {
        side: (_RESULTS.get(result, Result.UNKNOWN), detail) for side, (result, detail) in planned.results.items()
    }
    entry = entry_of(change, outcome, results)
    if outcome in _FAILED and planned.detail and not problems_of(entry):
        return entry_of(change, outcome, results, [Problem(planned.detail)])
    return replace(entry, note=planned.detail) if outcome is Outcome.DONE and planned.detail else entry


def _outcome(change: Change, outcome: str) -> Outcome:
    """What became of a change; one that is not carried out is in conflict or waits all the same."""
    found = _OUTCOMES.get(outcome, Outcome.PLANNED)
    if found is not Outcome.PLANNED:
        return found
    return Outcome.CONFLICT if change.conflicts else Outcome.WAITS if change.waits_for else found
