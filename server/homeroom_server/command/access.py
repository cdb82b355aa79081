"""Commands about who sees what: grants, explanations, the access day."""

import json
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import typer
from rich.table import Table

from homeroom_server import operations
from homeroom_server.access import calendar, explanation
from homeroom_server.access.calendar import AccessDay
from homeroom_server.catalogue import load_catalogue
from homeroom_server.command.invocation import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    NodesCatalogue,
    note,
    out,
    refusals,
    settings_of,
    with_connection,
)
from homeroom_server.settings import Settings
from homeroom_server.store import associations

access_app = typer.Typer()

Organization = Annotated[str, typer.Argument(help="The code of a school or authority.")]
Student = Annotated[str, typer.Argument(help="The student's id.")]


@access_app.command()
def grant(
    organization: Organization,
    student: Student,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The last day.", show_default="until revoked"),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let an organisation see a student's records; granting again changes until when."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    last = None if until is None else until.date()

    async def work(connection: asyncpg.Connection) -> None:
        if last is not None and last < await associations.today(connection, settings.time_zone):
            raise operations.OperationError(f"{last} is over: a grant ends today or later")
        await operations.grant(connection, organization, student, last)

    ends = "until revoked" if last is None else f"until {last}"
    with_connection(settings, work, f"granted {organization} the records of student {student} {ends}")
    found = {"organization": organization, "student": student, "until": None if last is None else last.isoformat()}
    _say(found, f"{organization} may see the records of student {student} {ends}", as_json=as_json)


@access_app.command()
def revoke(
    organization: Organization,
    student: Student,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """End what was granted; what enrolments say goes on to count."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    did = f"revoked the grant of the records of student {student} to {organization}"
    with_connection(settings, lambda connection: operations.revoke(connection, organization, student), did)
    words = f"{organization} is no longer granted the records of student {student}"
    _say({"organization": organization, "student": student}, words, as_json=as_json)


@access_app.command("explain-access")
def explain_access(
    organization: Annotated[str, typer.Argument(help="The code of who looks.")],
    record_type: Annotated[str, typer.Argument(metavar="TYPE", help="Type or Type.YYYY, statuses included.")],
    record_id: Annotated[str, typer.Argument(metavar="ID")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    catalogue: NodesCatalogue = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say whether an organisation sees a record, and every reason why, or why not."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url, "catalogue": catalogue}, config)
    with refusals():
        loaded = load_catalogue(settings.catalogue)
        asked, definition = loaded.resolve_in_any_year(record_type)
    question = explanation.Question(organization, asked, definition, record_id)
    found = with_connection(
        settings, lambda connection: explanation.explain_access(connection, question, loaded, settings)
    )
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _print_explanation(found)


@access_app.command("access-day")
def access_day(
    advance: Annotated[bool, typer.Option("--advance", help="Move it on to today, however many would lapse.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The day as of which associations count, and why it is held if it is."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)

    async def work(connection: asyncpg.Connection) -> tuple[AccessDay, bool]:
        found = await calendar.read_access_day(connection, settings)
        if not (advance and found.is_behind):
            return found, False
        if not yes:
            typer.confirm(f"{_lapsing(found)} Move the access day to {found.today}?", abort=True, err=True)
        async with connection.transaction():
            advanced = await associations.move_access_day(connection, found.today)
            await note(connection, f"moved the access day on to {found.today}")
        return await calendar.read_access_day(connection, settings), advanced

    found, advanced = with_connection(settings, work)
    _say(_day_as_json(found, settings, advanced=advanced), _day_in_words(found, settings), as_json=as_json)


def _say(found: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
    else:
        out.print(words, markup=False, highlight=False, soft_wrap=True)


def _print_explanation(found: dict[str, Any]) -> None:
    def line(text: str, style: str = "") -> None:
        out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    line(found["verdict"], "bold")
    line(found["rule"])
    counting = [reason for reason in found["reasons"] if reason["counts"]]
    for title, reasons in (
        ("because" if found["sees"] else "what speaks for it", counting),
        ("what does not count", [reason for reason in found["reasons"] if not reason["counts"]]),
    ):
        if reasons:
            line(f"{title}:")
        for reason in reasons:
            line(f"  - {reason['words']}")
    if not counting:
        line("There is no reason for it to see the record.")
    for said in found["notes"]:
        line(said, "yellow" if found["agrees"] or found["pending"] else "red")
    if found["lookedAtAgainOn"]:
        line(f"Access to student {found['student']} is looked at again on {found['lookedAtAgainOn']}.")
    if found["events"]:
        table = Table("when", "organization", "", "cause", "source", title="associated with the student")
        for event in found["events"]:
            begun = "begun" if event["begun"] else "ended"
            table.add_row(event["at"], event["organization"], begun, event["cause"], event["source"])
        out.print(table)


def _lapsing(found: AccessDay) -> str:
    return f"{found.lapsing} of {found.active} associations would lapse."


def _day_in_words(found: AccessDay, settings: Settings) -> str:
    if not found.is_behind:
        return f"the access day is {found.day}, today"
    begun = "no node has begun one yet" if found.day is None else f"the access day is {found.day}"
    if not found.held:
        return f"{begun}; today is {found.today}: a node moves it on within seconds. {_lapsing(found)}"
    return (
        f"{begun} and held, today is {found.today}. {_lapsing(found)}\n"
        f"Held are more than {settings.access_lapse_held_min} (access_lapse_held_min) that are more than"
        f" {settings.access_lapse_share_max:.0%} of all (access_lapse_share_max).\n"
        "If the clock is right and they should lapse: homeroom access-day --advance"
    )


def _day_as_json(found: AccessDay, settings: Settings, *, advanced: bool) -> dict[str, Any]:
    return {
        "accessDay": None if found.day is None else found.day.isoformat(),
        "today": found.today.isoformat(),
        "behind": found.is_behind,
        "held": found.held,
        "lapsing": found.lapsing,
        "active": found.active,
        "access_lapse_held_min": settings.access_lapse_held_min,
        "access_lapse_share_max": settings.access_lapse_share_max,
        "advanced": advanced,
    }
