"""The `homeroom` command. Exit codes: 0 done, 1 refused or failed (said on stderr), 2 wrong usage."""

import json
from pathlib import Path
from typing import Annotated

import anyio
import typer
import uvloop
from rich.table import Table

from homeroom_merge.log_lines import log_to_stderr
from homeroom_server import database, explanation, operations
from homeroom_server.catalogue import load_catalogue
from homeroom_server.command.access import access_app
from homeroom_server.command.audit import audit_app
from homeroom_server.command.backups import backups_app
from homeroom_server.command.catalogues import catalogues_app
from homeroom_server.command.clients import clients_app
from homeroom_server.command.conformance import conformance_app
from homeroom_server.command.doctor import doctor_app
from homeroom_server.command.erasure import erasure_app
from homeroom_server.command.invocation import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    NodesCatalogue,
    err,
    out,
    refusals,
    settings_of,
    with_connection,
)
from homeroom_server.command.migrating import bring_up, migrating_app
from homeroom_server.command.users import users_app
from homeroom_server.organizations import OrganizationsError
from homeroom_server.settings import read_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(clients_app, name="client")
app.add_typer(access_app)
app.add_typer(erasure_app)
app.add_typer(users_app, name="user")
app.add_typer(audit_app, name="audit")
app.add_typer(backups_app)
app.add_typer(catalogues_app, name="catalogue")
app.add_typer(conformance_app, name="conformance")
app.add_typer(migrating_app)
app.add_typer(doctor_app)


def main() -> None:
    """Entry point."""
    log_to_stderr()
    app()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.", show_default="8080")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    read_database_url: Annotated[
        list[str] | None, typer.Option(help="A hot standby to read from; may be given several times, the first first.")
    ] = None,
    catalogue: Annotated[
        str | None, typer.Option(help="alberta, roster, or a TOML file.", show_default="alberta")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Nodes behind the port.", show_default="1")] = None,
    config: Config = None,
) -> None:
    """Run a node, or several behind one port, until told to stop."""
    flags = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "database_url": database_url,
        "read_database_url": " ".join(read_database_url) if read_database_url else None,
        "catalogue": catalogue,
        "workers": workers,
    }
    settings = settings_of(flags, config)
    # What a node is made of takes a second to load: other commands do without.
    from homeroom_server.server import serve as serve_node
    from homeroom_server.workers import run_workers

    with refusals(), database.open_database(settings) as url:
        if not settings.database_url:
            anyio.run(bring_up, url)  # nobody else's: who runs a school's Core need not know of schemas
        if settings.workers == 1:
            uvloop.run(serve_node(settings, url, _say_where))
        else:
            anyio.run(run_workers, settings, url, _say_where)


@app.command(hidden=True)
def worker(listener: int) -> None:
    """Be one node of `serve --workers`, which alone starts it."""
    from homeroom_server.workers import work

    with refusals():
        work(read_settings(), listener)


@app.command("load-organizations")
def load_organizations(
    file: Annotated[Path, typer.Argument(help="CSV: code,name,parent")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Add and update schools, authorities and the ministry; all of the file or nothing."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    with refusals():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as fault:
            raise OrganizationsError(f"{file} is not UTF-8: {fault}") from fault
    did = f"loaded organisations of {file.name}"
    count = with_connection(settings, lambda connection: operations.load_organizations(connection, text), did)
    out.print(f"{count} organisations loaded")


@app.command()
def status(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Where the Core stands: epoch, watermarks, what waits."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    found = with_connection(settings, lambda connection: operations.read_status(connection, settings.time_zone))
    if as_json:
        typer.echo(json.dumps(found))
        return
    out.print(f"epoch {found['epoch']}")
    out.print(f"{found['organizations']} organisations, {found['clients']} clients")
    out.print(f"{found['triggersWaiting']} status triggers waiting")
    out.print(
        f"{found['accessTriggersWaiting']} students and {found['organizationMovesWaiting']} moved organisations"
        " whose access waits to be computed"
    )
    behind = ", behind today: see homeroom access-day" if found["accessDayBehind"] else ""
    out.print(f"access day {found['accessDay'] or 'not begun'}{behind}", highlight=False)
    for key in found["keysExpiring"]:
        words = f"a key of {key['client']} expires {key['expiresAt'][:16]}: homeroom client rotate"
        out.print(words, style="yellow", markup=False, highlight=False)
    table = Table("notification type", "watermark")
    for row in found["types"]:
        table.add_row(row["notificationType"], str(row["watermark"]))
    out.print(table)


@app.command()
def epoch(
    begin: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Begin a new one: the database was put back to an earlier state."),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show every history of the database, or begin a new one: clients then verify what they hold."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    if begin is not None:
        did = f"began a new history: {begin}"
        with_connection(settings, lambda connection: operations.begin_history(connection, begin), did)
    found = with_connection(settings, operations.list_histories)
    if as_json:
        typer.echo(json.dumps({"epoch": found[-1]["epoch"], "histories": found}))
        return
    for each in found:
        said = f"{each['epoch']} begun {each['begunAt']}, its versions above {each['begunAbove']:,}: {each['reason']}"
        out.print(said, markup=False, highlight=False, soft_wrap=True)


@app.command("explain-mismatch")
def explain_mismatch(
    client: Annotated[str, typer.Argument(help="The client's name.")],
    notification_type: Annotated[str, typer.Argument(help="Type or Type.YYYY")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    catalogue: NodesCatalogue = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say why a client's hash keeps differing: what it was told, what changed since it agreed, which ids differ."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url, "catalogue": catalogue}, config)
    with refusals():
        wanted, definition = load_catalogue(settings.catalogue).resolve(notification_type)
    found = with_connection(
        settings, lambda connection: explanation.explain_mismatch(connection, client, wanted, definition)
    )
    if as_json:
        typer.echo(json.dumps(found))
        return
    for stream in found:
        out.print_json(data=stream)
    if not found:
        out.print(f"{client} never asked about {wanted}", markup=False)


@app.command()
def demo(
    students: Annotated[int, typer.Option(min=10, max=1_000_000, help="How large a province to generate.")] = 2_000,
    edfi: Annotated[Path | None, typer.Option(help="A folder of Ed-Fi interchange XML instead.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("homeroom-demo"),
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the Core running afterwards.")] = False,
) -> None:
    """Show the main job: a province, two schools that follow it, changes that reach them, a repair."""
    from homeroom_server.demo.edfi import read_district
    from homeroom_server.demo.province import generate_province
    from homeroom_server.demo.run import run_demo

    with refusals():
        district = generate_province(students) if edfi is None else read_district(edfi)
        run_demo(district, folder, port, out, serve=serve)


def _say_where(url: str) -> None:
    err.print(f"homeroom serves at {url}", highlight=False, soft_wrap=True)
