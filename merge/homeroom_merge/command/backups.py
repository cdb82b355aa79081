"""`homeroom-merge backups`."""

import json
from typing import Annotated

import typer
from rich.table import Column, Table

from homeroom_merge.command.invocation import DATA_DIR, AsJson, DatabaseUrl, DataDir, FeedName, out, with_state
from homeroom_merge.store import backups as store

app = typer.Typer()


@app.command("backups")
def list_backups(
    feed: FeedName,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """The last backups of a feed that are still kept: before which run, how large, and where."""
    found = with_state(database_url, data_dir, lambda connection: store.latest(connection, feed, limit))
    said = [
        {
            "run": str(each.run),
            "entity": each.entity,
            "madeAt": each.made_at and each.made_at.isoformat(timespec="seconds"),
            "records": each.records,
            "bytes": each.bytes,
            "checksum": each.checksum,
            "place": each.place,
        }
        for each in found
    ]
    if as_json:
        typer.echo(json.dumps(said))
        return
    table = Table(
        Column("before run", no_wrap=True), "entity", "made", "records", "bytes", Column("place", overflow="fold")
    )
    for each in said:
        table.add_row(*(str(each[name]) for name in ("run", "entity", "madeAt", "records", "bytes", "place")))
    out.print(table)
