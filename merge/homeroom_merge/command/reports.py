"""`homeroom-merge report`, `runs`: what has happened."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, TextIO
from uuid import UUID

import asyncpg
import typer
from rich.table import Column, Table

from homeroom_merge.command.files import replacing
from homeroom_merge.command.invocation import (
    DATA_DIR,
    AsJson,
    DatabaseUrl,
    DataDir,
    FeedName,
    out,
    with_state,
)
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report import lines, sheet
from homeroom_merge.report.model import Report
from homeroom_merge.report.page import Groups, render
from homeroom_merge.report.text import as_text
from homeroom_merge.reporting import kept
from homeroom_merge.run_records import entries
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.store import reports as store
from homeroom_merge.store import settings

app = typer.Typer()


@app.command("runs")
def list_runs(
    feed: FeedName,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """The last runs of a feed."""
    found = with_state(database_url, data_dir, lambda connection: store.latest(connection, feed, limit))
    if as_json:
        said = [
            {
                "run": str(run),
                "entity": head.entity,
                "runner": head.runner,
                "status": head.status,
                "dryRun": head.dry,
                "begunAt": head.begun_at.isoformat(),
                "endedAt": None if head.ended_at is None else head.ended_at.isoformat(),
            }
            for run, head in found
        ]
        typer.echo(json.dumps(said))
        return
    table = Table(Column("run", no_wrap=True), "entity", "runner", "status", "begun")
    for run, head in found:
        status = f"{head.status}{' (dry run)' if head.dry else ''}"
        table.add_row(str(run), head.entity, head.runner, status, head.begun_at.isoformat(timespec="seconds"))
    out.print(table)


@app.command()
def report(
    run: Annotated[UUID, typer.Argument(help="The id of a run.")],
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the records as CSV.")] = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """The report of a run: a summary to read, lines of JSON, or a file for people."""

    async def work(connection: asyncpg.Connection) -> Report:
        with ExitStack() as stack:
            page = None if html is None else stack.enter_context(replacing(html))
            rows = None if csv is None else stack.enter_context(replacing(csv))
            return await _written(connection, run, page, rows, as_json=as_json)

    found = with_state(database_url, data_dir, work)
    if html is None and csv is None and not as_json:
        for line in as_text(found):
            out.print(line, markup=False, highlight=False, soft_wrap=True)


async def _written(
    connection: asyncpg.Connection, run: UUID, page: TextIO | None, rows: TextIO | None, *, as_json: bool
) -> Report:
    """The report, its records put where they are wanted, one by one."""
    found = await kept(connection, run)
    if found is None:
        raise RefusedError(f"there is no report of {run}: it goes on, or was never begun")
    if as_json:
        typer.echo(lines.head_line(found), nl=False)
    if rows is not None:
        rows.write(sheet.first_line())
    groups = Groups()
    if as_json or page is not None or rows is not None:
        async for entry in entries(connection, run):
            if as_json:
                typer.echo(lines.entry_line(entry), nl=False)
            if rows is not None:
                rows.write(sheet.entry_line(entry))
            groups.add(entry)
    if page is not None:
        page.write(render(found, groups, await _zone(connection, found.feed)))
    return found


async def _zone(connection: asyncpg.Connection, feed: str) -> tzinfo:
    """In which a feed's people tell time; UTC where no settings say."""
    found = await settings.in_force(connection, feed, datetime.now(UTC).date())
    return UTC if found is None else read_settings(found.toml).feed.zone
