"""How runs ended, for people and for scripts: a table, what to type next, an exit code."""

from collections.abc import Iterable, Sequence

import typer
from rich.markup import escape
from rich.table import Column, Table

from homeroom_merge.command.invocation import CANCELLED, err, out
from homeroom_merge.report.digest import next_commands, others_of, reasons_of, writes_of
from homeroom_merge.report.lines import head_line
from homeroom_merge.report.model import Report, Status

FAILED = 1
HELD = 3
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
        sides = [writes_of(each, side) for side in ("hub", "sis")]
        table.add_row(*map(escape, (each.entity, status, *sides, others_of(each.summary))))
    return table


def _reasons(reports: Iterable[Report]) -> list[str]:
    """Why runs are held or failed, and what else their notes tell."""
    return [f"{each.entity}: {line}" for each in reports for line in dict.fromkeys((*reasons_of(each), *each.notes))]


def _next(reports: Sequence[Report], where: str) -> list[str]:
    lines = [f"  {line}" for line in next_commands(reports, where)]
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
