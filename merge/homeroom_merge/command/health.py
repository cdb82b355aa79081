"""`homeroom-merge health`: everything that fails now."""

import json

import asyncpg
import typer
from rich.table import Table
from rich.text import Text

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
from homeroom_merge.health import Ailment, ailments

app = typer.Typer()


@app.command()
def health(
    feed: FeedName, database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False
) -> None:
    """Everything that fails now: how often, since when, when it was last tried, and what to do."""

    async def work(connection: asyncpg.Connection) -> list[Ailment]:
        settings, _ = await settings_of(connection, feed)
        awaiting_days = {name: entity.awaiting_days for name, entity in settings.entity.items()}
        return await ailments(connection, feed, awaiting_days)

    found = with_state(database_url, data_dir, work)
    if as_json:
        for each in found:
            typer.echo(json.dumps(_as_json(each)))
        return
    if not found:
        out.print("nothing fails")
        return
    table = Table("entity", "what", "records", "first seen", "last tried", "such as", "advice")
    for each in found:
        times = (at.isoformat(sep=" ", timespec="minutes") for at in (each.first_seen, each.last_tried))
        advice = "" if each.advice is None else f"{each.advice.title}. {each.advice.text}"
        cells = each.entity, each.message, str(each.count), *times, ", ".join(each.examples), advice
        table.add_row(*map(Text, cells))
    out.print(table)


def _as_json(each: Ailment) -> dict[str, object]:
    advice = None if each.advice is None else {"title": each.advice.title, "advice": each.advice.text}
    return {
        "entity": each.entity,
        "what": each.what,
        "message": each.message,
        "count": each.count,
        "firstSeen": each.first_seen.isoformat(timespec="seconds"),
        "lastTried": each.last_tried.isoformat(timespec="seconds"),
        "examples": list(each.examples),
        "advice": advice,
    }
