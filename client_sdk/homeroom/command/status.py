"""`homeroom-replica status`: how a file stands, from the file alone."""

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from homeroom.command.configuration import open_to_read
from homeroom.command.endings import Ending
from homeroom.command.tables import Cell, laid_out, shown
from homeroom.command.wording import moment
from homeroom.replica.diagnosis import CAUSES
from homeroom.replica.machine import Phase
from homeroom.replica.storage import Difference, TypeSummary
from homeroom.replica.writes import RejectedWrite

_DIFFERENCES_SHOWN = 10
_REJECTED_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Report:
    """What a file says of itself."""

    file: Path
    url: str
    organization: str
    types: Sequence[TypeSummary]
    waiting: int
    rejected: Sequence[RejectedWrite]
    differences: Sequence[Difference]


def status(file: Path, *, as_json: bool) -> Ending:
    """Write how the file stands on stdout; StorageError if there is none."""
    with closing(open_to_read(file)) as storage:
        report = Report(
            file,
            storage.setting("url"),
            storage.setting("organization"),
            storage.summaries(),
            storage.writes.waiting(),
            storage.writes.rejected(),
            storage.differences(_DIFFERENCES_SHOWN),
        )
    if as_json:
        sys.stdout.write(orjson.dumps(report_as_json(report)).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in report_lines(report, datetime.now().astimezone())))
    return Ending.FINE


def report_lines(report: Report, now: datetime) -> list[str]:
    """The report for people."""
    whose = f"holds what {report.organization} may see" if report.organization else "belongs to no organisation yet"
    lines = [f"{report.file} {whose}{f', from {report.url}' if report.url else ''}", ""]
    head = ["type", "live", "deleted", "cursor", "state", "proved in step", "Core last asked"]
    rows: list[list[Cell]] = [
        [t.kind.name, t.live, t.deleted, t.state.cursor, said(t, report.types), *_times(t, now)] for t in report.types
    ]
    lines += laid_out(head, rows) if rows else ["no types yet: `homeroom-replica sync` brings them"]
    troubled = [t for t in report.types if t.state.trouble]
    if troubled:
        lines += ["", *(f"{t.kind.name} is behind: {shown(t.state.trouble)}" for t in troubled)]
    return [*lines, "", *_write_lines(report), *_difference_lines(report.differences, now)]


def said(summary: TypeSummary, every: Sequence[TypeSummary]) -> str:
    """Where a type stands, in a few words."""
    kind, state = summary.kind, summary.state
    if not kind.followed:
        statuses = [t.kind.name for t in every if t.kind.followed and t.kind.source == kind.name]
        return f"comes with {', '.join(statuses)}" if statuses else "no longer kept in step"
    match state.phase:
        case Phase.EMPTY:
            return "not loaded yet"
        case Phase.LOADING:
            return f"loading, {100 * state.cursor // max(1, state.until)} % of the versions"
        case _:
            return "behind" if state.trouble else "loaded" if not summary.in_step_at else "following"


def report_as_json(report: Report) -> dict[str, Any]:
    """The report for machines."""
    return {
        "file": str(report.file),
        "url": report.url,
        "organization": report.organization,
        "types": [_type_as_json(summary, report.types) for summary in report.types],
        "writes": {
            "waiting": report.waiting,
            "rejected": [
                {
                    "number": entry.write.number,
                    "type": entry.write.type,
                    "id": entry.write.id,
                    "rejections": list(entry.rejections),
                }
                for entry in report.rejected
            ],
        },
        "differences": [difference_as_json(difference) for difference in report.differences],
    }


def difference_as_json(difference: Difference) -> dict[str, Any]:
    return {
        "type": difference.type,
        "id": difference.id,
        "heldVersion": difference.held_version,
        "coreVersion": difference.core_version,
        "cause": difference.cause,
        "foundAt": difference.found_at,
    }


def difference_table(differences: Sequence[Difference]) -> list[str]:
    """What differed, and below it what each cause means."""
    rows = [[d.type, d.id, d.held_version or "none", d.core_version or "none", d.cause] for d in differences]
    meanings = [f"{cause}: {text}" for cause, text in CAUSES.items() if any(d.cause == cause for d in differences)]
    return [*laid_out(["type", "id", "held", "Core", "cause"], rows), "", *meanings]


def _type_as_json(summary: TypeSummary, every: Sequence[TypeSummary]) -> dict[str, Any]:
    state = summary.state
    return {
        "type": summary.kind.name,
        "source": summary.kind.source,
        "followed": summary.kind.followed,
        "state": said(summary, every),
        "loaded": state.phase not in (Phase.EMPTY, Phase.LOADING),
        "live": summary.live,
        "deleted": summary.deleted,
        "cursor": state.cursor,
        "until": state.until,
        "inStepAt": summary.in_step_at or None,
        "askedAt": summary.asked_at or None,
        "trouble": state.trouble,
    }


def _times(summary: TypeSummary, now: datetime) -> list[str]:
    """When a type was proved and asked for; nothing for one that comes with another."""
    if not summary.kind.followed:
        return ["", ""]
    return [moment(summary.in_step_at, now), moment(summary.asked_at, now)]


def _write_lines(report: Report) -> list[str]:
    lines = [f"writes: {report.waiting:,} waiting, {len(report.rejected):,} rejected"]
    for entry in report.rejected[:_REJECTED_SHOWN]:
        why = "; ".join(f"{r['code']} {r['title']}: {r['detail']}" for r in entry.rejections)
        lines.append(f"  {entry.write.number}  {entry.write.type} {shown(entry.write.id)}: {shown(why)}")
    more = len(report.rejected) - _REJECTED_SHOWN
    return [*lines, f"  … and {more:,} more"] if more > 0 else lines


def _difference_lines(differences: Sequence[Difference], now: datetime) -> list[str]:
    if not differences:
        return ["repairs: none has found anything that differed"]
    latest = moment(differences[0].found_at, now)
    return [f"repairs: the latest differences, found at {latest}", "", *difference_table(differences)]
