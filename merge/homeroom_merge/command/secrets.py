"""`homeroom-merge secrets`: what feeds keep to themselves, encrypted in the state. Nothing here shows one."""

import getpass
import json
import sys
from typing import Annotated

import asyncpg
import typer

from homeroom_merge.command.invocation import (
    DATA_DIR,
    AsJson,
    DatabaseUrl,
    DataDir,
    out,
    settings_of,
    with_state,
)
from homeroom_merge.feed_secrets import SECRET_MAX, fault_of, keyring
from homeroom_merge.refusal import RefusedError
from homeroom_merge.sealing import Sealed
from homeroom_merge.store import secrets as store
from homeroom_merge.toml_tables import suggestion

app = typer.Typer(no_args_is_help=True, help="What feeds keep to themselves, encrypted in the state.")

Feed = Annotated[str, typer.Argument(help="The feed's name.")]
Name = Annotated[str, typer.Argument(help="As under [secrets] of its settings: hub_key, say.")]


@app.command("set")
def set_(feed: Feed, name: Name, database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR) -> None:
    """Keep a secret, which is asked for, or read from stdin: never an argument, which others can see."""
    secret = getpass.getpass(f"{name} of {feed}: ") if sys.stdin.isatty() else sys.stdin.read(SECRET_MAX + 3)
    secret = secret.removesuffix("\n").removesuffix("\r")

    async def work(connection: asyncpg.Connection) -> None:
        settings, _ = await settings_of(connection, feed)
        if name not in settings.secrets:
            raise RefusedError(f"the settings of {feed} know no secret {name}; {suggestion(name, settings.secrets)}")
        if fault := fault_of(secret) or ("" if secret else "is empty"):
            raise RefusedError(f"what was given {fault}; nothing was stored")
        await store.put(connection, feed, name, keyring().seal(feed, name, secret), getpass.getuser())

    with_state(database_url, data_dir, work)
    out.print(f"{feed}: {name} is stored", markup=False, highlight=False, soft_wrap=True)


@app.command("list")
def list_(database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """Which secrets of which feeds are stored: since when, by whom, under which key."""
    said = [
        {
            "feed": each.feed,
            "name": each.name,
            "setAt": each.set_at.isoformat(timespec="seconds"),
            "setBy": each.set_by,
            "key": each.key_id,
        }
        for each in with_state(database_url, data_dir, store.listed)
    ]
    if as_json:
        typer.echo(json.dumps(said))
        return
    for each in said:
        line = f"{each['feed']} {each['name']}  {each['setAt']}  {each['setBy']}  key {each['key']}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def forget(feed: Feed, name: Name, database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR) -> None:
    """Remove a secret from the state."""

    async def work(connection: asyncpg.Connection) -> None:
        if not await store.forget(connection, feed, name):
            raise RefusedError(f"no {name} of {feed} is stored; see homeroom-merge secrets list")

    with_state(database_url, data_dir, work)
    out.print(f"{feed}: {name} is forgotten", markup=False, highlight=False, soft_wrap=True)


@app.command()
def rotate(database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR) -> None:
    """Encrypt all secrets anew, with the first key; the others are needed no longer then. All, or none."""

    async def work(connection: asyncpg.Connection) -> tuple[int, str]:
        keys = keyring()

        def again(feed: str, name: str, sealed: Sealed) -> Sealed:
            return keys.seal(feed, name, keys.unseal(feed, name, sealed))

        return await store.replace_all(connection, again), keys.newest

    count, key = with_state(database_url, data_dir, work)
    out.print(f"{count} encrypted with the key {key}", markup=False, highlight=False, soft_wrap=True)
