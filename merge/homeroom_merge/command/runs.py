"""`homeroom-merge run`, `plan`, `approve`, `discard`, `undo`, `restore`."""

import asyncio
import getpass
import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import asyncpg
import typer

from homeroom_merge.assembly import opened
from homeroom_merge.command import sample
from homeroom_merge.command.invocation import (
    DATA_DIR,
    AsJson,
    DatabaseUrl,
    DataDir,
    FeedName,
    out,
    settings_of,
    with_state,
)
from homeroom_merge.command.outcome import show
from homeroom_merge.command.progress import Shown
from homeroom_merge.feed_secrets import stored_secrets
from homeroom_merge.group import Group
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report.model import RecordEntry, Report
from homeroom_merge.reporting import kept
from homeroom_merge.run_records import entries
from homeroom_merge.runners.asked import Asked
from homeroom_merge.runners.hooks import tell
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import runs as store

app = typer.Typer()

Entities = Annotated[list[str] | None, typer.Option("--entity", help="Just this one; may be given several times.")]
Schools = Annotated[
    list[str] | None, typer.Option("--school", help="Just the records of this school; may be given several times.")
]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE for this run alone.")]
Runs = Annotated[list[UUID], typer.Argument(help="Ids of runs.")]
HeldRuns = Annotated[list[UUID] | None, typer.Argument(help="Ids of runs; none: all that are held.")]


@app.command()
def run(
    feed: FeedName,
    entity: Entities = None,
    school: Schools = None,
    set_: Overrides = None,
    queue: Annotated[bool, typer.Option("--queue", help="Have a worker do it, and follow how it goes.")] = False,
    by: Annotated[str, typer.Option(help="With --queue: who asks for it; else you.")] = "",
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Merge both sides. What the guards hold is shown and waits; exit code 3 then."""
    if queue:
        from homeroom_merge.command.queued import queued, with_queue  # nobody else waits for its library to load

        asked = Asked(feed, by or getpass.getuser(), entity or (), school or (), set_ or ())
        _show(Ended(with_queue(database_url, data_dir, partial(queued, asked))), data_dir, as_json=as_json)
        return
    _merge(feed, (entity or (), school or ()), set_ or (), database_url, data_dir, as_json=as_json, dry=False)


@app.command()
def plan(
    feed: FeedName,
    entity: Entities = None,
    school: Schools = None,
    set_: Overrides = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """The same, stopped before anything is written."""
    _merge(feed, (entity or (), school or ()), set_ or (), database_url, data_dir, as_json=as_json, dry=True)


@app.command()
def approve(
    feed: FeedName,
    by: Annotated[str, typer.Option(help="Who approves.")],
    runs: HeldRuns = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let held plans go on; records that have moved since are planned again and held."""

    async def work(connection: asyncpg.Connection) -> Ended:
        held = await _held(connection, feed, runs)
        settings, basis = await settings_of(connection, feed)
        with Shown() as progress:
            async with opened(settings, connection, data_dir, progress, basis) as group:
                return Ended(await _reports(connection, settings, group, group.approve(held, datetime.now(UTC), by)))

    _show(with_state(database_url, data_dir, work), data_dir, as_json=as_json)


@app.command()
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


@app.command()
def undo(
    runs: Runs, feed: FeedName, database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False
) -> None:
    """Take back what runs have changed, where it still stands; the rest becomes conflicts."""

    async def work(connection: asyncpg.Connection) -> Ended:
        settings, basis = await settings_of(connection, feed)
        with Shown() as progress:
            async with opened(settings, connection, data_dir, progress, basis) as group:
                return Ended(await _reports(connection, settings, group, group.undo(runs, datetime.now(UTC))))

    _show(with_state(database_url, data_dir, work), data_dir, as_json=as_json)


@app.command()
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

    async def work(connection: asyncpg.Connection) -> Ended:
        settings, basis = await settings_of(connection, feed)
        with Shown() as progress:
            async with opened(settings, connection, data_dir, progress, basis) as group:
                return Ended(await _reports(connection, settings, group, group.restore(run, place)))

    _show(with_state(database_url, data_dir, work), data_dir, as_json=as_json)


def _merge(
    feed: str,
    only: tuple[Sequence[str], Sequence[str]],
    overrides: Sequence[str],
    database_url: str,
    data_dir: Path,
    *,
    as_json: bool,
    dry: bool,
) -> None:
    entities, schools = only

    async def work(connection: asyncpg.Connection) -> Ended:
        settings, basis = await settings_of(connection, feed, overrides)
        basis = replace(basis, overrides={**basis.overrides, **({"schools": list(schools)} if schools else {})})
        with Shown() as progress:
            async with opened(settings, connection, data_dir, progress, basis, entities, schools) as group:
                reports = await _reports(connection, settings, group, group.run(datetime.now(UTC), dry=dry))
        return Ended(reports, await _samples(connection, reports) if dry else [])

    _show(with_state(database_url, data_dir, work), data_dir, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Ended:
    """How runs ended, and lines that show some of what was planned."""

    reports: list[Report]
    samples: Sequence[str] = ()


async def _reports(
    connection: asyncpg.Connection, settings: Settings, group: Group, working: Awaitable[object]
) -> list[Report]:
    """The reports of what has begun, also where somebody ends it in between; hooks are told of them."""
    with suppress(asyncio.CancelledError):
        await working
    reports = [course.report for course in group.courses if course.report is not None]
    await tell(connection, settings, reports, await stored_secrets(connection, settings.feed.name))
    noted = [await kept(connection, UUID(each.run)) for each in reports]
    return [each for each in noted if each is not None]


async def _samples(connection: asyncpg.Connection, reports: Sequence[Report]) -> list[str]:
    """The first records of each plan, as differences."""
    lines: list[str] = []
    for each in reports:
        async with aclosing(entries(connection, UUID(each.run))) as every:
            shown = [entry async for entry in _first(every, sample.RECORDS_MAX)]
        total = sum(each.summary.outcomes.values())
        if shown:
            lines += ["", f"{each.entity}: {len(shown)} of {total:,} records"]
            lines += [line for entry in shown for line in sample.differences(entry)]
    return lines


async def _first(every: AsyncIterator[RecordEntry], count: int) -> AsyncIterator[RecordEntry]:
    async for entry in every:
        yield entry
        count -= 1
        if not count:
            return


async def _held(connection: asyncpg.Connection, feed: str, runs: Sequence[UUID] | None) -> Sequence[UUID]:
    """Those that were named, or all of the feed; RefusedError if one of them is not held."""
    held = [each.id for each in await store.with_status(connection, feed, "held")]
    others = set(runs or ()) - set(held)
    if others:
        raise RefusedError(f"not held, or not of {feed}: {', '.join(map(str, sorted(others)))}")
    return runs or held


def _show(ended: Ended, data_dir: Path, *, as_json: bool) -> None:
    if not as_json:
        for line in ended.samples:
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    is_elsewhere = data_dir != DATA_DIR and "HOMEROOM_MERGE_DATA_DIR" not in os.environ
    show(ended.reports, f" --data-dir {shlex.quote(str(data_dir))}" if is_elsewhere else "", as_json=as_json)
