"""`homeroom erase-student`: what the Core keeps of a child goes, and may not come again."""

import json
from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from homeroom_server import erasure
from homeroom_server.command.invocation import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    account,
    err,
    out,
    settings_of,
    with_connection,
)
from homeroom_server.erasure import Extent

erasure_app = typer.Typer()

_AND_BACKUPS = "backups stop opening for this student with a new keyring: homeroom backup DIR --keyring-only"


@erasure_app.command("erase-student")
def erase_student(
    student: Annotated[str, typer.Argument(help="The student's id.")],
    reason: Annotated[str, typer.Option(help="Kept in the audit; it names no child.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Erase all content about a student, for good, and refuse whatever would bring the student back."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)

    async def work(connection: asyncpg.Connection) -> Extent:
        found = await erasure.look(connection, student)
        erasure.check_reason(found.student, reason)
        if found.erased_at is not None:
            return found
        if not yes:
            typer.confirm(_question(found), abort=True, err=True)
        with _progress() as progress:
            bar = progress.add_task("erasing", total=None)

            def told(what: str, done: int, total: int) -> None:
                progress.update(bar, description=what, completed=done, total=total)

            erased = await erasure.erase(connection, found.student, account(), reason, told)
            await erasure.vacuum(connection, told)
        return erased

    found = with_connection(settings, work)
    if as_json:
        typer.echo(json.dumps(_as_json(found)))
    else:
        out.print(_words(found), markup=False, highlight=False, soft_wrap=True)


def _question(found: Extent) -> str:
    if not found.records:
        return f"There is no record of student {found.student}. Refuse the student from now on? There is no way back."
    listed = "\n".join(f"  {count} {name}" for name, count in found.records.items())
    return f"{found.words}:\n{listed}\nErase student {found.student}? There is no way back."


def _words(found: Extent) -> str:
    if found.erased_at is not None:
        return f"student {found.student} was erased already on {_day(found.erased_at)}"
    if not found.records:
        return f"there was no record of student {found.student}; from now on there will be none"
    return f"erased student {found.student}: {found.words}; who saw them is told\n{_AND_BACKUPS}"


def _as_json(found: Extent) -> dict[str, object]:
    erased_at = None if found.erased_at is None else found.erased_at.isoformat(timespec="seconds")
    return {
        "student": found.student,
        "records": found.records,
        "organizations": found.organizations,
        "erasedAlready": erased_at,
    }


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, console=err, transient=True)
