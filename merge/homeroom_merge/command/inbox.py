"""`homeroom-merge conflicts`, `decide`, `lost`: what waits for a person, and what that person says."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import asyncpg
import typer
from rich.table import Table
from rich.text import Text

from homeroom_merge import inbox
from homeroom_merge.assembly import opened
from homeroom_merge.codec import canonical, value_text
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
from homeroom_merge.records import Method
from homeroom_merge.store import inbox as store
from homeroom_merge.store.conflicts import Wanted
from homeroom_merge.store.inbox import Entry
from homeroom_merge.values import ABSENT, SideName, Value

app = typer.Typer()

_KEYS = "A key of the SIS, an id of the hub, a number, or a name."
_SHOWN_MAX = 60


class Way(StrEnum):
    """How a conflict may end without a value of one's own."""

    HUB = "hub"
    SIS = "sis"
    SAME = "same"
    APART = "apart"


@app.command()
def conflicts(
    feed: FeedName,
    entity: EntityName = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """What waits for a decision, the oldest first."""
    found = with_state(
        database_url, data_dir, lambda connection: store.entries(connection, feed, entity, None, limit + 1)
    )
    if as_json:
        for each in found[:limit]:
            typer.echo(json.dumps(_as_json(each)))
        return
    table = Table("record", "field", "base", "SIS", "hub", "rule", "days", "decided")
    now = datetime.now(UTC)
    for each in found[:limit]:
        values = (_short(value) for value in (each.base, each.sis, each.hub))
        decided = f"{_short(each.outcome)} by {each.decided_by}" if each.decided_by else ""
        cells = inbox.label(each), each.pointer, *values, each.rule, str((now - each.since).days), decided
        table.add_row(*map(Text, cells))
    out.print(table)
    if len(found) > limit:
        out.print(f"these are the {limit} oldest; --limit shows more")


@app.command()
def decide(
    feed: FeedName,
    by: By,
    record: Annotated[str | None, typer.Argument(help=_KEYS)] = None,
    field: Annotated[str | None, typer.Argument(help="As in name.first; none: the record's only conflict.")] = None,
    take: Annotated[Way | None, typer.Option(help="Whose value stands; of a new key, whose record it is.")] = None,
    value: Annotated[str | None, typer.Option(help="Another value that stands, as JSON.")] = None,
    rule: Annotated[Method | None, typer.Option(help="What decides this field of this record from now on.")] = None,
    all_: Annotated[int | None, typer.Option("--all", min=1, help="All open ones, if there are so many.")] = None,
    entity: EntityName = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Settle a conflict; the next run carries it out, once it reaches both sides."""
    if sum(each is not None for each in (take, value, rule)) != 1:
        raise typer.BadParameter("say how it ends: one of --take, --value, --rule")
    if (record is None) == (all_ is None):
        raise typer.BadParameter("name a RECORD, or say --all with the count of open conflicts")
    if all_ is not None and take not in (Way.HUB, Way.SIS):
        raise typer.BadParameter("--all goes with --take hub or --take sis")
    typed = None if value is None else _typed(value)

    async def work(connection: asyncpg.Connection) -> str:
        if all_ is not None:
            side: SideName = "hub" if take is Way.HUB else "sis"
            await inbox.take_all(connection, feed, Wanted(entity), side, all_, by)
            return f"{all_} conflicts: decided"
        found = await inbox.record_of(connection, feed, record or "", entity)
        entry = await inbox.entry_of(connection, feed, found, field)
        if rule is not None:
            await inbox.make_rule(connection, entry, rule, by)
        elif take is not None:
            await _take(connection, entry, take, by)
        else:
            settings, _ = await settings_of(connection, feed)
            async with opened(settings, connection, data_dir, entities=[entry.entity]) as group:
                await inbox.set_value(connection, entry, typed, group, by)
        return f"{inbox.label(entry)} {entry.pointer}: decided"

    out.print(with_state(database_url, data_dir, work), markup=False, highlight=False, soft_wrap=True)


@app.command()
def lost(
    records: Annotated[list[str], typer.Argument(help=_KEYS)],
    feed: FeedName,
    entity: EntityName = None,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Say that the SIS never got a write of which nobody can tell; the next run plans it again."""

    async def work(connection: asyncpg.Connection) -> int:
        found = [await inbox.record_of(connection, feed, each, entity) for each in records]
        await inbox.lost(connection, found)
        return len(found)

    out.print(f"{with_state(database_url, data_dir, work)} to be written again")


def _short(value: Value) -> str:
    """A value for a table, as JSON; nothing where it is absent."""
    text = value_text(value) or ""
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


async def _take(connection: asyncpg.Connection, entry: Entry, take: Way, by: str) -> None:
    match take:
        case Way.HUB:
            await inbox.take(connection, entry, "hub", by)
        case Way.SIS:
            await inbox.take(connection, entry, "sis", by)
        case Way.SAME:
            await inbox.same(connection, entry, by)
        case Way.APART:
            await inbox.apart(connection, entry, by)


def _typed(text: str) -> Value:
    try:
        return json.loads(text)
    except ValueError:
        raise typer.BadParameter(f"--value {text} is no JSON: a text goes in quotes, as '{canonical(text)}'") from None


def _as_json(each: Entry) -> dict[str, Value]:
    values = {"base": each.base, "sis": each.sis, "hub": each.hub}
    decided = {"decidedBy": each.decided_by, "outcome": each.outcome} if each.decided_by else {}
    said = {
        "entity": each.entity,
        "sisKey": each.sis_key,
        "hubId": each.hub_id,
        "pointer": each.pointer,
        "rule": each.rule,
        "since": each.since.isoformat(timespec="seconds"),
        **values,
        **decided,
    }
    return {name: value for name, value in said.items() if value is not ABSENT}
