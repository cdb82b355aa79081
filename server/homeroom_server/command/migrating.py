"""`homeroom migrate`, and what `homeroom serve` does of it on an embedded database."""

import asyncio
import json
from typing import Annotated

import typer

from homeroom_merge.store.migrations import Migrated
from homeroom_server import database, migration
from homeroom_server.command.invocation import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    err,
    note,
    out,
    refusals,
    settings_of,
)
from homeroom_server.migration import Brought
from homeroom_server.settings import Settings
from homeroom_server.store import schema

migrating_app = typer.Typer()


@migrating_app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if there is something to be done.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this version's schema, whether or not nodes run; cut off, it goes on when run again."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    if check:
        _check(settings, as_json)
        return
    with refusals(), database.open_database(settings) as url:
        done = asyncio.run(bring_up(url))
    if as_json:
        typer.echo(json.dumps({"core": _told(done.core), "merges": done.merges and _told(done.merges)}))
        return
    out.print(f"the database has schema {done.core.after}")
    if done.merges:
        out.print(f"the state of merges has schema {done.merges.after}")


async def bring_up(url: str) -> Brought:
    """Bring a database up, step by step on stderr, and note it in the audit. DatabaseError."""
    done = await migration.migrate(url, _say)
    if done.steps:
        connection = await database.connect_to_primary(url)
        try:
            await note(connection, f"migrated the database to schema {done.core.after}")
        finally:
            await connection.close()
    return done


def _check(settings: Settings, as_json: bool) -> None:
    with refusals(), database.open_database(settings) as url:
        steps = asyncio.run(migration.pending(url))
    names = None if steps is None else [step.name for step in steps]
    if as_json:
        told = {
            "upToDate": names == [],
            "steps": names,
            "schema": schema.SCHEMA_VERSION,
            "worksFrom": schema.WORKS_FROM,
        }
        typer.echo(json.dumps(told))
    elif names is None:
        out.print("the database is empty: nothing is there to be migrated, and the schema is to be made")
    elif names:
        out.print(
            f"to be done, for schema {schema.SCHEMA_VERSION}: {', '.join(names)}", highlight=False, soft_wrap=True
        )
        out.print(f"nodes of schema {schema.WORKS_FROM} and newer work on it; older ones refuse to start")
    else:
        out.print("nothing is to be done")
    if names != []:
        raise typer.Exit(1)


def _told(done: Migrated) -> dict[str, object]:
    return {"from": done.before, "to": done.after, "steps": list(done.steps)}


def _say(words: str) -> None:
    err.print(words, markup=False, highlight=False, soft_wrap=True)
