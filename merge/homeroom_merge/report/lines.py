"""A report as lines of JSON (NDJSON): the report itself, then a line a record, so that neither side holds all of them.

Each line matches report.schema.json. Values that are absent are left out; null is null.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson

from homeroom_merge.plan import Conflict, FieldChange, Kind, Write
from homeroom_merge.report.advice import Advice
from homeroom_merge.report.model import (
    Executed,
    FailureGroup,
    Outcome,
    Problem,
    RecordEntry,
    Report,
    Result,
    Status,
    Step,
    StepName,
    StepStatus,
    Summary,
)
from homeroom_merge.values import ABSENT, Json

FORMAT = "homeroom-merge-report/1"
"""The number grows when a reader of the old would misread the new."""


class NotAReportError(Exception):
    """These lines are no report of this format."""


def to_json(report: Report, entries: Iterable[RecordEntry]) -> Iterator[bytes]:
    """The lines of a report, each with its end."""
    yield head_line(report)
    yield from map(entry_line, entries)


def head_line(report: Report) -> bytes:
    """What is said of the run as a whole, with its end of line."""
    return orjson.dumps(_report(report), option=orjson.OPT_APPEND_NEWLINE)


def entry_line(entry: RecordEntry) -> bytes:
    """One record, with its end of line."""
    return orjson.dumps(_entry(entry), option=orjson.OPT_APPEND_NEWLINE)


def from_json(lines: Iterable[bytes | str]) -> tuple[Report, Iterator[RecordEntry]]:
    """A report, and its records as they are read, which may end in NotAReportError where the lines were cut."""
    rest = iter(lines)
    try:
        head = orjson.loads(next(rest, b""))
    except orjson.JSONDecodeError as error:
        raise NotAReportError(f"the first line is no JSON: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise NotAReportError(f"the first line does not say that it is {FORMAT}")
    return _report_from(head), _entries_from(rest)


def _entries_from(lines: Iterable[bytes | str]) -> Iterator[RecordEntry]:
    for number, line in enumerate(lines, start=2):
        try:
            yield _entry_from(orjson.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise NotAReportError(f"line {number} is no record of a report") from error


def _report(report: Report) -> Json:
    return {
        "format": FORMAT,
        "run": report.run,
        "feed": report.feed,
        "entity": report.entity,
        "runner": report.runner,
        "status": report.status,
        "begunAt": report.begun_at,
        "endedAt": report.ended_at,
        "dryRun": report.dry_run,
        "settings": {
            "state": report.settings_state,
            "version": report.settings_version,
            "overrides": report.overrides,
        },
        "steps": [step_json(step) for step in report.steps],
        "guardReasons": report.guard_reasons,
        "notes": report.notes,
        "summary": _summary(report.summary),
    }


def step_json(step: Step) -> Json:
    """A step as the report says it."""
    return {
        "name": step.name,
        "status": step.status,
        "begunAt": step.begun_at,
        "endedAt": step.ended_at,
        "counts": step.counts,
        "message": step.message,
    }


def _summary(summary: Summary) -> Json:
    return {
        "outcomes": summary.outcomes,
        "writes": summary.writes,
        "conflictsByField": summary.fields,
        "failures": [_failure(group) for group in summary.failures],
        "notes": summary.notes,
    }


def _failure(group: FailureGroup) -> Json:
    advice = group.advice and {"title": group.advice.title, "text": group.advice.text}
    said: Json = {"message": group.message, "count": group.count, "examples": group.examples}
    return {**said, "code": group.code, "side": group.side, "advice": advice}


def _entry(entry: RecordEntry) -> Json:
    return {
        "sisKey": entry.sis_key,
        "hubId": entry.hub_id,
        "outcome": entry.outcome,
        "school": entry.school,
        "schoolYear": entry.school_year,
        "writes": [_executed(each) for each in entry.writes],
        "fields": [
            {"pointer": each.pointer, "decidedBy": each.decided_by, "to": each.to, **_values(each)}
            for each in entry.fields
        ],
        "conflicts": [{"pointer": each.pointer, "rule": each.rule, **_values(each)} for each in entry.conflicts],
        "waitsFor": [{"entity": entity, "key": key} for entity, key in entry.waits_for],
        "problems": [
            {"message": each.message, "pointer": each.pointer, "side": each.side, "code": each.code, "cure": each.cure}
            for each in entry.problems
        ],
        "alerts": entry.alerts,
        "note": entry.note,
    }


def _executed(each: Executed) -> Json:
    """Without the write's token: it may hold old values that the report shows elsewhere, or a server's secret."""
    write = each.write
    said: Json = {"side": write.side, "kind": write.kind, "body": write.body, "expectedVersion": write.expected_version}
    return {**said, "result": each.result, "detail": each.detail}


def _values(of: FieldChange | Conflict) -> Json:
    values = {"base": of.base, "sis": of.sis, "hub": of.hub}
    if isinstance(of, FieldChange):
        values["outcome"] = of.outcome
    return {name: value for name, value in values.items() if value is not ABSENT}


def _report_from(said: Mapping[str, Any]) -> Report:
    return Report(
        said["run"],
        said["feed"],
        said["entity"],
        said["runner"],
        Status(said["status"]),
        datetime.fromisoformat(said["begunAt"]),
        _moment(said["endedAt"]),
        said["dryRun"],
        said["settings"]["state"],
        said["settings"]["version"],
        said["settings"]["overrides"],
        tuple(step_from(step) for step in said["steps"]),
        tuple(said["guardReasons"]),
        tuple(said["notes"]),
        _summary_from(said["summary"]),
    )


def step_from(said: Mapping[str, Any]) -> Step:
    """The step that `step_json` said."""
    name, status = StepName(said["name"]), StepStatus(said["status"])
    return Step(name, status, _moment(said["begunAt"]), _moment(said["endedAt"]), said["counts"], said["message"])


def _summary_from(said: Mapping[str, Any]) -> Summary:
    failures = tuple(_failure_from(group) for group in said["failures"])
    return Summary(said["outcomes"], said["writes"], said["conflictsByField"], failures, said["notes"])


def _failure_from(said: Mapping[str, Any]) -> FailureGroup:
    advice = said["advice"] and Advice(said["advice"]["title"], said["advice"]["text"])
    return FailureGroup(said["message"], said["count"], tuple(said["examples"]), said["code"], said["side"], advice)


def _entry_from(said: Mapping[str, Any]) -> RecordEntry:
    return RecordEntry(
        said["sisKey"],
        said["hubId"],
        Outcome(said["outcome"]),
        said["school"],
        said["schoolYear"],
        tuple(_executed_from(each) for each in said["writes"]),
        tuple(
            FieldChange(
                each["pointer"], *_three(each), each.get("outcome", ABSENT), each["decidedBy"], tuple(each["to"])
            )
            for each in said["fields"]
        ),
        tuple(Conflict(each["pointer"], *_three(each), each["rule"]) for each in said["conflicts"]),
        tuple((each["entity"], each["key"]) for each in said["waitsFor"]),
        tuple(Problem(**each) for each in said["problems"]),
        tuple(said["alerts"]),
        said["note"],
    )


def _executed_from(said: Mapping[str, Any]) -> Executed:
    write = Write(said["side"], Kind(said["kind"]), said["body"], said["expectedVersion"])
    return Executed(write, Result(said["result"]), said["detail"])


def _three(said: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return said.get("base", ABSENT), said.get("sis", ABSENT), said.get("hub", ABSENT)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
