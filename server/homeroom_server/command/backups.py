"""`homeroom backup` and `homeroom restore`."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from homeroom_server import database
from homeroom_server.backup import files, keyring, making, putting_back
from homeroom_server.backup.progress import Progress as Watching
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

backups_app = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where the backups of this Core are.")]


@backups_app.command()
def backup(
    folder: Folder,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove the oldest backups beyond so many, once this one is whole.")
    ] = None,
    keyring_only: Annotated[
        bool, typer.Option("--keyring-only", help="Write the keyring alone anew: after a student was erased.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Back the Core up, whether or not nodes run; what speaks of a student is encrypted under that student's key."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    begun, place = time.monotonic(), folder.expanduser().resolve() / keyring.NAME
    with refusals(), files.opened(folder), database.open_database(settings) as url:
        if keyring_only:
            asyncio.run(making.renew_keyring(folder, url, note))
            made = None
        else:
            with _shown() as progress:
                made = asyncio.run(making.make(folder, url, keep, note, progress))
    told: dict[str, object] = {"keyring": str(place)}
    if made:
        told |= {
            "backup": made.manifest.name,
            "rows": made.manifest.rows,
            "bytes": made.bytes,
            "seconds": round(time.monotonic() - begun, 1),
            "removed": made.removed,
        }
    if as_json:
        typer.echo(json.dumps(told))
        return
    if made:
        words = f"{folder / made.manifest.name}: {made.manifest.rows:,} rows about students, {made.bytes / 1e6:,.1f} MB"
        _say(f"{words}, in {told['seconds']} s")
        for name in made.removed:
            _say(f"{folder / name} is removed")
    _say(f"The keyring is {place}: without it no backup can be read. Keep it apart from them, and only the newest.")


@backups_app.command()
def restore(
    folder: Folder,
    name: Annotated[str | None, typer.Option("--backup", metavar="NAME", show_default="the newest")] = None,
    ring: Annotated[
        Path | None, typer.Option("--keyring", metavar="FILE", help="The newest.", show_default="DIR/keyring")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty database; a new history begins, and clients verify what they hold."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    begun = time.monotonic()
    with refusals():
        if not folder.is_dir():
            raise files.BackupError(f"there is no folder {folder}")
        with files.opened(folder), _shown() as progress:
            chosen = putting_back.choose(folder, name, ring, progress)
            with database.open_database(settings) as url:
                done = asyncio.run(putting_back.restore(chosen, url, note, progress))
    told = {
        "backup": chosen.manifest.name,
        "epoch": done.epoch,
        "rows": done.rows,
        "erasedStudents": done.erased,
        "erasedRows": done.rows_erased,
        "seconds": round(time.monotonic() - begun, 1),
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    _say(f"{chosen.manifest.name} is restored: {done.rows:,} rows about students, in {told['seconds']} s")
    if done.erased:
        _say(f"{done.erased:,} students were erased since: {done.rows_erased:,} rows about them are not restored")
    _say(f"A new history has begun, epoch {done.epoch}. Start the nodes.")


class _Bars(Watching):
    """Shows each step: a bar on a terminal, else a line; nothing on stdout."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, doing: str, total: int = 0) -> None:
        if not err.is_terminal:
            _say_aside(doing)
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(doing, total=total or None)

    def advance(self, rows: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, rows)


@contextmanager
def _shown() -> Iterator[Watching]:
    count = TextColumn("{task.completed:,} rows")
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), count, TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        yield _Bars(bars)


def _say(words: str) -> None:
    out.print(words, markup=False, highlight=False, soft_wrap=True)


def _say_aside(words: str) -> None:
    err.print(words, markup=False, highlight=False, soft_wrap=True)
