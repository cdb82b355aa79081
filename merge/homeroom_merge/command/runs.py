"""`homeroom-merge run`, `plan`, `approve`, `discard`, `undo`, `restore`, `report`, `runs`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import asyncpg
import typer
from rich.table import Column, Table

from homeroom_merge.assembly import opened
from homeroom_merge.command.invocation import (
    DATA_DIR,
    AsJson,
    DatabaseUrl,
    DataDir,
    FeedName,
    RefusedError,
    err,
    out,
    settings_of,
    with_state,
)
from homeroom_merge.report.lines import to_json
from homeroom_merge.report.model import Report
from homeroom_merge.report.page import to_html
from homeroom_merge.report.sheet import to_csv
from homeroom_merge.reporting import keep, kept
from homeroom_merge.run import Course
from homeroom_merge.store import reports
from homeroom_merge.store import runs as store

runs_app = typer.Typer()

_HELD = 3
Entities = Annotated[list[str] | None, typer.Option("--entity", help="Just this one; may be given several times.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE for this run alone.")]
Runs = Annotated[list[UUID], typer.Argument(help="Ids of runs.")]
HeldRuns = Annotated[list[UUID] | None, typer.Argument(help="Ids of runs; none: all that are held.")]


@runs_app.command()
def run(
    feed: FeedName,
    entity: Entities = None,
    set_: Overrides = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Merge both sides. What the guards hold is shown and waits; exit code 3 then."""
    _merge(feed, entity or (), set_ or (), database_url, data_dir, as_json=as_json, dry=False)


@runs_app.command()
def plan(
    feed: FeedName,
    entity: Entities = None,
    set_: Overrides = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """The same, stopped before anything is written."""
    _merge(feed, entity or (), set_ or (), database_url, data_dir, as_json=as_json, dry=True)


@runs_app.command()
def approve(
    feed: FeedName,
    by: Annotated[str, typer.Option(help="Who approves.")],
    runs: HeldRuns = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let held plans go on; records that have moved since are planned again and held."""

    async def work(connection: asyncpg.Connection) -> list[Report]:
        async with opened(await settings_of(connection, feed), connection, _say, data_dir) as group:
            return await _kept(
                connection, await group.approve(await _held(connection, feed, runs), datetime.now(UTC), by)
            )

    _show(with_state(database_url, data_dir, work), as_json=as_json)


@runs_app.command()
def discard(
    feed: FeedName,
    by: Annotated[str, typer.Option(help="Who discards.")],
    runs: HeldRuns = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Forget held plans."""

    async def work(connection: asyncpg.Connection) -> int:
        held = await _held(connection, feed, runs)
        for each in held:
            await store.decide(connection, each, "cancelled", by)
        return len(held)

    out.print(f"{with_state(database_url, data_dir, work)} discarded")


@runs_app.command()
def undo(
    runs: Runs, feed: FeedName, database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False
) -> None:
    """Take back what runs have changed, where it still stands; the rest becomes conflicts."""

    async def work(connection: asyncpg.Connection) -> list[Report]:
        async with opened(await settings_of(connection, feed), connection, _say, data_dir) as group:
            return await _kept(connection, await group.undo(runs, datetime.now(UTC)))

    _show(with_state(database_url, data_dir, work), as_json=as_json)


@runs_app.command()
def restore(
    run: Annotated[UUID, typer.Argument(help="The id of the run before which the backup was made.")],
    feed: FeedName,
    backup: Annotated[
        bool, typer.Option("--backup", help="From its backup, which is what there is to restore from.")
    ] = True,
    place: Annotated[str | None, typer.Option("--from", help="The URL of a copy of that backup.")] = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Put a whole entity back to what it was before a run wrote. Always held first: exit code 3."""

    async def work(connection: asyncpg.Connection) -> list[Report]:
        async with opened(await settings_of(connection, feed), connection, _say, data_dir) as group:
            return await _kept(connection, [await group.restore(run, place)])

    _show(with_state(database_url, data_dir, work), as_json=as_json)


@runs_app.command("runs")
def list_runs(
    feed: FeedName,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """The last runs of a feed."""
    table = Table(Column("run", no_wrap=True), "entity", "status", "begun")
    for each, head in with_state(database_url, data_dir, lambda connection: reports.latest(connection, feed, limit)):
        table.add_row(str(each), head.entity, head.status, head.begun_at.isoformat(timespec="seconds"))
    out.print(table)


@runs_app.command()
def report(
    run: Annotated[UUID, typer.Argument(help="The id of a run.")],
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the records as CSV.")] = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """The report of a run: lines of JSON, or a file for people."""
    found = with_state(database_url, data_dir, lambda connection: kept(connection, run))
    if found is None:
        err.print(f"homeroom-merge: there is no report of {run}", style="red")
        raise typer.Exit(1)
    head, entries = found
    if html is not None:
        html.write_text(to_html(head, entries), encoding="utf-8")
    if csv is not None:
        csv.write_text("".join(to_csv(entries)), encoding="utf-8", newline="")
    if html is None and csv is None:
        for line in to_json(head, entries):
            typer.echo(line.decode().rstrip("\n"))


def _merge(
    feed: str,
    entities: Sequence[str],
    overrides: Sequence[str],
    database_url: str,
    data_dir: Path,
    *,
    as_json: bool,
    dry: bool,
) -> None:
    async def work(connection: asyncpg.Connection) -> list[Report]:
        settings = await settings_of(connection, feed, overrides)
        async with opened(settings, connection, _say, data_dir, entities) as group:
            return await _kept(connection, await group.run(datetime.now(UTC), dry=dry))

    _show(with_state(database_url, data_dir, work), as_json=as_json)


async def _held(connection: asyncpg.Connection, feed: str, runs: Sequence[UUID] | None) -> Sequence[UUID]:
    """Those that were named, or all of the feed; RefusedError if one of them is not held."""
    held = [each.id for each in await store.with_status(connection, feed, "held")]
    others = set(runs or ()) - set(held)
    if others:
        raise RefusedError(f"not held, or not of {feed}: {', '.join(map(str, sorted(others)))}")
    return runs or held


async def _kept(connection: asyncpg.Connection, courses: Sequence[Course]) -> list[Report]:
    return [await keep(connection, course) for course in courses]


def _say(course: Course, step: str) -> None:
    fetched = course.sis.records if course.sis is not None else 0
    said = f"{course.terms.entity}: {step}" + (f", {fetched} records" if step == "fetch" else "")
    err.print(said, markup=False, highlight=False)


def _show(reports: Sequence[Report], *, as_json: bool) -> None:
    if as_json:
        for each in reports:
            (line, *_) = to_json(each, ())
            typer.echo(line.decode().rstrip("\n"))
    else:
        table = Table(Column("run", no_wrap=True), "entity", "status", "records", "why")
        for each in reports:
            records = ", ".join(f"{count} {outcome}" for outcome, count in each.summary.outcomes.items())
            why = "; ".join((*each.guard_reasons, *(step.message for step in each.steps if step.message)))
            table.add_row(each.run, each.entity, each.status, records, why)
        out.print(table)
    if any(each.status == "held" for each in reports):
        raise typer.Exit(_HELD)
