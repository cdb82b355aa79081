"""`homeroom-merge explain`, `sticky`, `rule`: what decides a field of one record."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from homeroom_merge import inbox
from homeroom_merge.assembly import opened
from homeroom_merge.codec import value_text
from homeroom_merge.command.invocation import (
    DATA_DIR,
    AsJson,
    By,
    DatabaseUrl,
    DataDir,
    EntityName,
    FeedName,
    out,
    settings_of,
    with_state,
)
from homeroom_merge.explanation import Explained, explained
from homeroom_merge.group import Group
from homeroom_merge.pointing import field_of
from homeroom_merge.records import Method
from homeroom_merge.refusal import RefusedError
from homeroom_merge.store import own
from homeroom_merge.store.inbox import Named
from homeroom_merge.values import ABSENT

app = typer.Typer()

Record = Annotated[str, typer.Argument(help="A key of the SIS, an id of the hub, a number, or a name.")]
Field = Annotated[str, typer.Argument(help="As in name.first, phones.home.number or /name/first.")]
Clear = Annotated[bool, typer.Option("--clear", help="No longer.")]


@app.command()
def explain(
    record: Record,
    field: Field,
    feed: FeedName,
    entity: EntityName = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Which rule decides a field of a record, and why; what both sides have, and what a run would do now."""

    async def work(connection: asyncpg.Connection) -> tuple[Named, Explained]:
        async with _field(connection, data_dir, feed, record, field, entity) as (group, found, where):
            return found, await explained(connection, group, found, where, datetime.now(UTC))

    found, said = with_state(database_url, data_dir, work)
    values = {"base": said.base, "baseSis": said.base_sis, "sis": said.sis, "hub": said.hub}
    if as_json:
        ruling = {"layer": said.ruling.layer, "saidAt": said.ruling.said_at, "method": said.ruling.method}
        told = {name: value for name, value in values.items() if value is not ABSENT}
        names = {"entity": found.entity, "sisKey": found.sis_key, "hubId": found.hub_id, "pointer": said.where}
        typer.echo(json.dumps({**names, **ruling, "why": said.sentence, **told, "nextRun": said.next_run}))
        return
    lines = [inbox.label(found), said.sentence]
    lines += [f"  {name}: {value_text(value) or 'nothing'}" for name, value in values.items()]
    for line in (*lines, f"A run now: {said.next_run}"):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def sticky(
    record: Record,
    field: Field,
    feed: FeedName,
    by: By,
    clear: Clear = False,
    entity: EntityName = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """What the hub has there stays, whatever the SIS says, until it is cleared."""

    async def work(connection: asyncpg.Connection) -> str:
        async with _field(connection, data_dir, feed, record, field, entity) as (_, found, where):
            if not clear:
                await own.stick(connection, found.number, where, by)
            elif not await own.clear_sticky(connection, found.number, where):
                raise RefusedError(f"{where} of {inbox.label(found)} is not sticky")
            return f"{inbox.label(found)} {where}: {'cleared' if clear else 'sticky'}"

    out.print(with_state(database_url, data_dir, work), markup=False, highlight=False, soft_wrap=True)


@app.command()
def rule(
    record: Record,
    field: Field,
    feed: FeedName,
    by: By,
    method: Annotated[Method | None, typer.Option(help="What decides it from now on.")] = None,
    clear: Clear = False,
    entity: EntityName = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """A rule for one field of one record, and what lies beneath it; stronger than those of the settings."""
    if (method is None) != clear:
        raise typer.BadParameter("say --method, or --clear")

    async def work(connection: asyncpg.Connection) -> str:
        async with _field(connection, data_dir, feed, record, field, entity) as (_, found, where):
            if method is not None:
                await own.override(connection, found.number, where, method, by)
            elif not await own.clear_override(connection, found.number, where):
                raise RefusedError(f"{where} of {inbox.label(found)} has no rule of its own")
            return f"{inbox.label(found)} {where}: {method or 'cleared'}"

    out.print(with_state(database_url, data_dir, work), markup=False, highlight=False, soft_wrap=True)


@asynccontextmanager
async def _field(
    connection: asyncpg.Connection, data_dir: Path, feed: str, record: str, field: str, entity: str | None
) -> AsyncIterator[tuple[Group, Named, str]]:
    """The feed's group, the record and the field that somebody means."""
    settings, _ = await settings_of(connection, feed)
    found = await inbox.record_of(connection, feed, record, entity)
    if found.entity not in settings.entity or not settings.entity[found.entity].enabled:
        raise RefusedError(f"the settings enable no {found.entity}")
    async with opened(settings, connection, data_dir) as group:
        bodies = [body for body in (found.hub, found.sis) if body is not ABSENT]
        yield group, found, field_of(field, group.terms_of(found.entity).shape, bodies)
