"""`homeroom conformance`: try whether somebody's server keeps the protocol."""

import json
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table
from typer.core import TyperGroup

from homeroom_server.command.conformance_client import client
from homeroom_server.command.invocation import AsJson, err, out, refusals
from homeroom_server.conformance.core.discovery import Given
from homeroom_server.conformance.core.suite import CASES, try_core
from homeroom_server.conformance.report import Report, Verdict, as_html, as_json, show

_CORE = "core"


class _UrlFirst(TyperGroup):
    """`homeroom conformance URL` tries a Core: what is no command's name is for `core`."""

    # Typer has a Click of its own, whose Context has another place in each version: hence Any.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = [_CORE, *args]
        return super().parse_args(ctx, args)


conformance_app = typer.Typer(
    cls=_UrlFirst,
    no_args_is_help=True,
    help="Try whether a server (homeroom conformance URL) or a client (conformance client) keeps the protocol.",
)
conformance_app.command()(client)


@conformance_app.command(_CORE)
def core(
    url: Annotated[str | None, typer.Argument(help="Where the server answers: http:// or https://.")] = None,
    key: Annotated[str | None, typer.Option(envvar="HOMEROOM_KEY", help="Of a client that may write.")] = None,
    organization: Annotated[str | None, typer.Option(help="For whom it acts; a school.")] = None,
    other_key: Annotated[
        str | None, typer.Option(envvar="HOMEROOM_OTHER_KEY", help="Of a second client, of another school.")
    ] = None,
    other_organization: Annotated[str | None, typer.Option(help="For whom that one acts.")] = None,
    reader_key: Annotated[
        str | None,
        typer.Option(envvar="HOMEROOM_READER_KEY", help="Of a client of the first school that may only read."),
    ] = None,
    record_type: Annotated[
        str | None, typer.Option("--type", help="To write: seen by its owner only; best with a status.")
    ] = None,
    year_type: Annotated[
        str | None, typer.Option(help="To write, with a school year, this and the last open: Type or Type.YYYY.")
    ] = None,
    student_type: Annotated[str | None, typer.Option(help="Whose records are students.")] = None,
    enrolment_type: Annotated[str | None, typer.Option(help="Whose records let a school see a student.")] = None,
    bodies: Annotated[
        Path | None, typer.Option(help="JSON: for each type that needs one, the body of a record that is right.")
    ] = None,
    body_bytes_max: Annotated[int, typer.Option(min=1, help="The server's limit on a body.")] = 8 * 1024 * 1024,
    patience: Annotated[float, typer.Option(min=1, help="Multiplies every limit of time.")] = 1.0,
    only: Annotated[list[str] | None, typer.Option(metavar="CASE", help="This case; may be repeated.")] = None,
    list_cases: Annotated[bool, typer.Option("--list", help="Show the cases, and try nothing.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page to keep or print.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before writing into the server.")] = False,
    as_json_: AsJson = False,
) -> None:
    """Try a server, over HTTP alone. Exit codes: 0 passed, 1 not passed, 2 wrong usage."""
    if list_cases:
        _print_cases(as_json=as_json_)
        return
    if url is None or not url.startswith(("http://", "https://")):
        raise typer.BadParameter("name the server's URL, with http:// or https://", param_hint="URL")
    if key is None:
        raise typer.BadParameter("give the key of a client that may write", param_hint="--key")
    unknown = [name for name in only or () if name not in CASES]
    if unknown:
        raise typer.BadParameter(f"there is no case {', '.join(unknown)}; --list shows them", param_hint="--only")
    given = Given(
        key,
        organization,
        other_key,
        other_organization,
        reader_key,
        {
            "type": record_type,
            "year_type": year_type,
            "student_type": student_type,
            "enrolment_type": enrolment_type,
        },
        {} if bodies is None else _read_bodies(bodies),
        patience,
        body_bytes_max,
    )
    if not yes:
        words = f"The suite writes records into {url} (ids begin with a mark of its own) and deletes them. Go on?"
        typer.confirm(words, abort=True, err=True)
    with refusals():
        report = _try(url, given, only or [])
        if html is not None:
            html.write_text(as_html(report), encoding="utf-8")
    if as_json_:
        typer.echo(json.dumps(as_json(report)))
    else:
        show(report, out)
    raise typer.Exit(0 if report.passed else 1)


def _try(url: str, given: Given, only: list[str]) -> Report:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task("trying", total=len(only) + 1 if only else len(CASES))

        def told(verdict: Verdict) -> None:
            bars.update(task, advance=1, description=verdict.case)

        return anyio.run(try_core, url, given, only, told)


def _print_cases(*, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([{"case": c.name, "section": c.section, "title": c.title} for c in CASES.values()]))
        return
    table = Table(Column("case", no_wrap=True), "section", "what must hold")
    for case in CASES.values():
        table.add_row(case.name, case.section, case.title)
    out.print(table)


def _read_bodies(file: Path) -> dict[str, Any]:
    try:
        bodies = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise typer.BadParameter(f"{file} cannot be read as JSON: {fault}", param_hint="--bodies") from fault
    if not isinstance(bodies, dict) or not all(isinstance(body, dict) for body in bodies.values()):
        raise typer.BadParameter(f"{file} is no object of bodies by the names of types", param_hint="--bodies")
    return bodies
