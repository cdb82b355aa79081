"""How runs ended, for people and for scripts: a table, what to type next, an exit code."""

from collections.abc import Iterable, Sequence

import typer
from rich.markup import escape
from rich.table import Column, Table

from homeroom_merge.command.invocation import CANCELLED, err, out
from homeroom_merge.plan import Kind
from homeroom_merge.report.lines import head_line
from homeroom_merge.report.model import Report, Status, StepStatus, Summary

FAILED = 1
HELD = 3
_TELLING_MAX = 3
"""Reports that are proposed to be read."""
_CREATED = (Kind.CREATE, Kind.UNDELETE)
_DELETED = (Kind.DELETE, Kind.DEACTIVATE)
_NOT_COME_ABOUT = (Status.FAILED, Status.NO_DATA)


def show(reports: Sequence[Report], where: str, *, as_json: bool) -> None:
    """Say how these runs ended; the exit code says the gravest of it. `where`: options that commands need here."""
    if as_json:
        for each in reports:
            typer.echo(head_line(each).decode(), nl=False)
    elif reports:
        out.print(_table(reports))
        for line in (*_reasons(reports), *_next(reports, where)):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    if any(each.status is Status.FINISHED_WITH_ISSUES for each in reports):
        _warn(reports)
    if code := _exit_code(reports):
        raise typer.Exit(code)


def _table(reports: Iterable[Report]) -> Table:
    table = Table(Column("entity", no_wrap=True), Column("status", no_wrap=True), "on the hub", "in the SIS", "records")
    for each in reports:
        status = f"{each.status}{' (dry run)' if each.dry_run else ''}"
        result = "planned" if each.dry_run or each.status is Status.HELD else "done"
        sides = [_writes(each.summary, side, result) for side in ("hub", "sis")]
        table.add_row(*map(escape, (each.entity, status, *sides, _others(each.summary))))
    return table


def _writes(summary: Summary, side: str, result: str) -> str:
    named = {"created": _CREATED, "updated": (Kind.UPDATE,), "deleted": _DELETED}
    counts = {
        name: sum(summary.writes.get(f"{side} {kind} {result}", 0) for kind in kinds) for name, kinds in named.items()
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"


def _others(summary: Summary) -> str:
    """What somebody has to know of: all that is neither planned nor done."""
    named = {"conflict": "in conflict", "waits": "waiting", "stale": "moved", "invalid": "with faults"}
    return ", ".join(
        f"{count:,} {named.get(outcome, outcome)}"
        for outcome, count in summary.outcomes.items()
        if outcome not in ("planned", "done")
    )


def _reasons(reports: Iterable[Report]) -> list[str]:
    """Why runs are held or failed, and what else their steps and notes tell."""
    said = []
    for each in reports:
        steps = [step.message for step in each.steps if step.status is StepStatus.FAILED]
        cures = [group.advice.text for group in each.summary.failures if group.advice and steps]
        held = each.guard_reasons if each.status is Status.HELD else ()
        said += [f"{each.entity}: {line}" for line in dict.fromkeys((*held, *steps, *cures, *each.notes))]
    return said


def _next(reports: Sequence[Report], where: str) -> list[str]:
    """The commands that somebody would type next, ready to be copied."""
    held = [each for each in reports if each.status is Status.HELD]
    telling = [each for each in reports if each.status is not Status.SUCCESS or _others(each.summary)]
    files = {each.run: f"{each.feed}-{each.entity}.html" for each in telling[:_TELLING_MAX]}
    lines = [f"  homeroom-merge report {run} --html {file}{where}" for run, file in files.items()]
    if held:
        runs = " ".join(each.run for each in held)
        lines.append(f"  homeroom-merge approve {runs} --feed {held[0].feed} --by YOU{where}")
    if conflicting := [each for each in reports if each.summary.outcomes.get("conflict")]:
        lines.append(f"  homeroom-merge conflicts --feed {conflicting[0].feed}{where}")
    if reports[0].dry_run and not held:
        lines.append(f"  homeroom-merge run --feed {reports[0].feed}{where}")
    return ["", "Next:", *lines] if lines else []


def _warn(reports: Iterable[Report]) -> None:
    named = ", ".join(each.entity for each in reports if each.status is Status.FINISHED_WITH_ISSUES)
    err.print(f"homeroom-merge: some records need you: {named}", markup=False, highlight=False, soft_wrap=True)


def _exit_code(reports: Sequence[Report]) -> int:
    statuses = {each.status for each in reports}
    if statuses & set(_NOT_COME_ABOUT):
        return FAILED
    if Status.CANCELLED in statuses:
        return CANCELLED
    return HELD if Status.HELD in statuses else 0
