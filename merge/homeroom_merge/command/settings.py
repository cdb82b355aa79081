"""`homeroom-merge settings`: pull, push, diff, history, and the file of a new feed."""

import getpass
import json
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

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
from homeroom_merge.settings.connectors import KINDS
from homeroom_merge.settings.diff import diff
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml
from homeroom_merge.store import settings as store
from homeroom_merge.store.settings import Pushed

app = typer.Typer(no_args_is_help=True, help="What holds for a feed: one TOML file, every version kept.")

StateName = Annotated[str, typer.Option("--state", help="A named state of the feed's settings.")]
File = Annotated[Path, typer.Argument(help="A TOML file.", exists=True, dir_okay=False)]


@app.command()
def start(
    kind: Annotated[str, typer.Argument(help=f"How the SIS is reached: {', '.join(sorted(KINDS))}.")],
    name: Annotated[str, typer.Option(help="The feed's name.")],
    authority: Annotated[str, typer.Option(help="The code of the school authority.")],
    school: Annotated[list[str], typer.Option(help="A school's code; may be given several times.")],
    entity: Annotated[list[str], typer.Option(help="A kind of record; may be given several times.")],
) -> None:
    """Print the settings that a new feed starts from."""
    if kind not in KINDS:
        raise typer.BadParameter(f"choose among {', '.join(sorted(KINDS))}", param_hint="KIND")
    typer.echo(as_toml(kind, name, authority, school, entity), nl=False)


@app.command()
def push(
    file: File,
    comment: Annotated[str, typer.Option(help="Why: it is kept with the version.")] = "",
    state: StateName = "default",
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Check a file and make it the newest version; all of its faults are said at once."""
    text = file.read_text(encoding="utf-8")

    async def work(connection: asyncpg.Connection) -> tuple[str, int]:
        feed = read_settings(text).feed.name
        return feed, await store.push(connection, feed, state, text, comment, getpass.getuser())

    feed, version = with_state(database_url, data_dir, work)
    out.print(f"{feed}: version {version} of {state}", markup=False, highlight=False)


@app.command()
def pull(
    feed: FeedName, state: StateName = "default", database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR
) -> None:
    """Print the newest version of a state."""
    typer.echo(with_state(database_url, data_dir, lambda connection: _pulled(connection, feed, state)).toml, nl=False)


@app.command("diff")
def show_diff(
    file: File, state: StateName = "default", database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR
) -> None:
    """What a file would change."""
    text = file.read_text(encoding="utf-8")

    async def work(connection: asyncpg.Connection) -> list[str]:
        new = read_settings(text)
        old = read_settings((await _pulled(connection, new.feed.name, state)).toml)
        return [f"{each.path}: {each.old!r} -> {each.new!r}" for each in diff(old, new)]

    for line in with_state(database_url, data_dir, work):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def history(
    feed: FeedName, database_url: DatabaseUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False
) -> None:
    """Every version: when, by whom and why."""
    found = with_state(database_url, data_dir, lambda connection: store.history(connection, feed))
    said = [
        {
            "state": each.state_name,
            "version": each.version,
            "pushedAt": each.pushed_at.isoformat(timespec="seconds"),
            "pushedBy": each.pushed_by,
            "comment": each.comment,
        }
        for each in found
    ]
    if as_json:
        typer.echo(json.dumps(said))
        return
    for each in said:
        line = f"{each['state']} {each['version']}  {each['pushedAt']}  {each['pushedBy']}  {each['comment']}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)


async def _pulled(connection: asyncpg.Connection, feed: str, state: str) -> Pushed:
    found = await store.pull(connection, feed, state)
    if found is None:
        raise RefusedError(f"the feed {feed} has no settings {state!r}: push some")
    return found
