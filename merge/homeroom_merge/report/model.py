"""What a run did: each step, each record, and what is a person's turn now.

The report of a district has up to a million records; so records are never held here. `Report` is what is said of all of
them, found in one pass by report_summary; they come beside it as an iterable, from the store.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from homeroom_merge.plan import Change, Conflict, FieldChange, Write
from homeroom_merge.report.advice import Advice
from homeroom_merge.values import SideName


class Status(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    FINISHED_WITH_ISSUES = "finishedWithIssues"
    NO_DATA = "noData"
    HELD = "held"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepName(StrEnum):
    """The steps of a run, in their order."""

    FETCH_HUB = "fetchHub"
    FETCH_SIS = "fetchSis"
    VERIFY = "verify"
    MERGE = "merge"
    PLAN = "plan"
    GUARD = "guard"
    BACKUP = "backup"
    PERSIST_HUB = "persistHub"
    PERSIST_SIS = "persistSis"


class StepStatus(StrEnum):
    """How a step went."""

    OK = "ok"
    ISSUES = "issues"
    FAILED = "failed"
    NOT_RUN = "notRun"


class Outcome(StrEnum):
    """What became of a record's change."""

    PLANNED = "planned"
    """Nothing yet: a dry run, or a plan that is held."""
    DONE = "done"
    CONFLICT = "conflict"
    WAITS = "waits"
    """For a record that is not there yet."""
    STALE = "stale"
    """It moved while it was written, and is for a later run."""
    INVALID = "invalid"
    """It failed verification: left out."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Nobody can tell whether it was written: never repeated unasked."""


ISSUES = frozenset(Outcome) - {Outcome.PLANNED, Outcome.DONE}


class Result(StrEnum):
    """What became of one write."""

    PLANNED = "planned"
    DONE = "done"
    MOVED = "moved"
    REFUSED = "refused"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `counts`: of what, as people say it: `{"records": 812, "invalid": 3}`."""

    name: StepName
    status: StepStatus = StepStatus.NOT_RUN
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, slots=True)
class Executed:
    """One planned write with its exact body, and what became of it."""

    write: Write
    result: Result = Result.PLANNED
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something of a record failed. `code`: the Core's number, where it said one."""

    message: str
    pointer: str = ""
    side: SideName | None = None
    code: int | None = None
    cure: str = ""


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """One record of a report. `alerts`: what the hub's status of it says."""

    sis_key: str | None
    hub_id: str | None
    outcome: Outcome
    school: str | None = None
    school_year: int | None = None
    writes: tuple[Executed, ...] = ()
    fields: tuple[FieldChange, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    waits_for: tuple[tuple[str, str], ...] = ()
    problems: tuple[Problem, ...] = ()
    alerts: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures that say the same. `message`: with `…` for what differs; `examples`: some of the records."""

    message: str
    count: int
    examples: tuple[str, ...]
    code: int | None = None
    side: SideName | None = None
    advice: Advice | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What all records of a run come to. `writes`: `hub create done`, and how many."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, int] = field(default_factory=dict)
    """Conflicts by field, the most frequent first."""
    failures: tuple[FailureGroup, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    """What was noted of records, as "out of view on the hub: ...", the most frequent first."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run as a whole. `overrides`: what was set for it alone. `guard_reasons`: why it is held."""

    run: str
    feed: str
    entity: str
    runner: str
    status: Status
    begun_at: datetime
    ended_at: datetime | None = None
    dry_run: bool = False
    settings_state: str = ""
    settings_version: int = 0
    overrides: Mapping[str, object] = field(default_factory=dict)
    steps: tuple[Step, ...] = tuple(Step(name) for name in StepName)
    guard_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    summary: Summary = field(default_factory=Summary)


def entry_of(
    change: Change,
    outcome: Outcome,
    results: Mapping[SideName, tuple[Result, str]] | None = None,
    problems: Sequence[Problem] = (),
    alerts: Sequence[str] = (),
) -> RecordEntry:
    """A record's entry: what was planned, and by side what became of it."""
    told = results or {}
    return RecordEntry(
        change.sis_key,
        change.hub_id,
        outcome,
        change.school,
        change.school_year,
        tuple(Executed(write, *told.get(write.side, (Result.PLANNED, ""))) for write in change.writes),
        change.fields,
        change.conflicts,
        change.waits_for,
        tuple(problems),
        tuple(alerts),
        change.note,
    )


def name_of(entry: RecordEntry) -> str:
    """What people call a record: its key in the SIS, else its id on the hub."""
    return entry.sis_key or entry.hub_id or "(no key)"


def status_of(steps: Iterable[Step], outcomes: Mapping[str, int]) -> Status:
    """How a run ended that was neither held, cancelled nor without data."""
    statuses = {step.status for step in steps}
    if StepStatus.FAILED in statuses:
        return Status.FAILED
    with_issues = StepStatus.ISSUES in statuses or any(outcomes.get(outcome) for outcome in ISSUES)
    return Status.FINISHED_WITH_ISSUES if with_issues else Status.SUCCESS


def problems_of(entry: RecordEntry) -> tuple[Problem, ...]:
    """What is wrong with a record: what was said of it, else what became of its writes."""
    failed = (each for each in entry.writes if each.result in (Result.REFUSED, Result.TRANSIENT, Result.UNKNOWN))
    return entry.problems or tuple(_problem_of(each) for each in failed)


def coded(text: str) -> tuple[int | None, str]:
    """A message, and apart from it the Core's number with which it begins, if it does."""
    found = _CODED.match(text)
    return (int(found[1]), text[found.end() :]) if found else (None, text)


_CODED = re.compile(r"(\d{4,5}): ")


def _problem_of(each: Executed) -> Problem:
    code, message = coded(each.detail)
    return Problem(message or each.result, side=each.write.side, code=code)
