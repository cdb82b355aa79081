"""`homeroom-merge migrate`."""

import asyncio
import json
from typing import Annotated

import typer

from homeroom_merge.command.invocation import DATA_DIR, EXPECTED, AsJson, DatabaseUrl, DataDir, err, out, tell_aside
from homeroom_merge.store import place, queue_schema, schema
from homeroom_merge.store.connection import connect
from homeroom_merge.store.migrations import Migrated

app = typer.Typer()


@app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if there is something to be done.")
    ] = False,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make the tables of the state and of the queue, or bring them to this version, whether or not workers run."""
    try:
        with place.database(database_url, data_dir, None) as url:
            if check:
                _tell_pending(asyncio.run(_pending(url)), as_json)
            else:
                _tell_done(asyncio.run(_migrate(url)), as_json)
    except EXPECTED as refused:
        err.print(f"homeroom-merge: {refused}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


async def _migrate(url: str) -> Migrated:
    done = await place.migrated(url, tell_aside)
    async with place.opened(url) as connection:
        await queue_schema.apply(connection)
    return done or Migrated(None, schema.SCHEMA_VERSION, [])


async def _pending(url: str) -> list[str] | None:
    """What is to be done; None: all of it."""
    connection = await connect(url)
    try:
        if not await schema.is_there(connection):
            return None
        return [step.name for step in await schema.pending(connection)]
    finally:
        await connection.close(timeout=5)


def _tell_done(done: Migrated, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"from": done.before, "to": done.after, "steps": list(done.steps)}))
    else:
        out.print(f"the state has schema {done.after}")


def _tell_pending(names: list[str] | None, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"upToDate": names == [], "steps": names, "schema": schema.SCHEMA_VERSION}))
    elif names is None:
        out.print("there is no state yet")
    else:
        out.print(f"to be done: {', '.join(names)}" if names else "nothing is to be done", soft_wrap=True)
    if names != []:
        raise typer.Exit(1)
