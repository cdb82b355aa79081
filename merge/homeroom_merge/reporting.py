"""The report of a run, out of what the store kept of it: its head when it ends, its records from the plan."""

from uuid import UUID

from homeroom_merge.report.lines import from_json, to_json
from homeroom_merge.report.model import (
    Outcome,
    RecordEntry,
    Report,
    Result,
    Status,
    Step,
    StepName,
    StepStatus,
    entry_of,
)
from homeroom_merge.report.summary import summarize
from homeroom_merge.run import Course
from homeroom_merge.store import reports
from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName

_RESULTS = {result.value: result for result in Result}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


async def keep(connection: Conn, course: Course) -> Report:
    """Make the report of a run that has ended or is held, and keep its head with the run."""
    head = await reports.head(connection, course.run)
    verdict = None if course.planned is None else course.planned.verdict
    report = Report(
        str(course.run),
        head.feed,
        head.entity,
        head.runner,
        Status(head.status),
        head.begun_at,
        head.ended_at,
        steps=tuple(_steps(course)),
        guard_reasons=() if verdict is None else verdict.reasons,
        summary=summarize(await read_entries(connection, course.run)),
    )
    (line, *_) = to_json(report, ())
    await reports.keep_report(connection, course.run, line.decode())
    return report


async def kept(connection: Conn, run: UUID) -> tuple[Report, list[RecordEntry]] | None:
    """The report of a run and its records; None if it has none yet."""
    text = await reports.find_report(connection, run)
    if text is None:
        return None
    report, _ = from_json([text.encode()])
    return report, await read_entries(connection, run)


async def read_entries(connection: Conn, run: UUID) -> list[RecordEntry]:
    """Every record of a run, with what became of its writes."""
    told: dict[int, dict[SideName, tuple[Result, str]]] = {}
    for record, side, result, detail in await reports.results(connection, run):
        told.setdefault(record, {})[side] = (_RESULTS.get(result, Result.UNKNOWN), detail)
    return [
        entry_of(change, _OUTCOMES.get(outcome, Outcome.PLANNED), told.get(number))
        for number, change, outcome in await reports.everything_planned(connection, run)
    ]


def _steps(course: Course) -> list[Step]:
    steps = []
    for name, fetched in ((StepName.FETCH_HUB, course.hub), (StepName.FETCH_SIS, course.sis)):
        if fetched is not None:
            status = StepStatus.FAILED if fetched.failure else StepStatus.ISSUES if fetched.invalid else StepStatus.OK
            counts = {"records": fetched.records, "invalid": fetched.invalid}
            steps.append(Step(name, status, counts=counts, message=fetched.failure))
    if course.planned is not None:
        tally = course.planned.tally
        counts = {"creates": tally.creates, "updates": tally.updates, "deletes": tally.deletes}
        steps.append(Step(StepName.PLAN, StepStatus.OK, counts=counts))
    if (kept := course.backup) is not None:
        status = StepStatus.FAILED if kept.failure else StepStatus.ISSUES if kept.issue else StepStatus.OK
        counts = {"records": kept.records, "bytes": kept.bytes}
        steps.append(Step(StepName.BACKUP, status, counts=counts, message=kept.failure or kept.issue))
    return steps
