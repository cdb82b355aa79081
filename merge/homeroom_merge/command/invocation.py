"""What all commands share: where the state is, how refusals are said."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import asyncpg
import typer

from homeroom_merge.connectors.hub import HubError
from homeroom_merge.in_force import settings_in_force
from homeroom_merge.refusal import RefusedError
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import place
from homeroom_merge.terminal import Terminal
from homeroom_merge.terms import Basis

T = TypeVar("T")

out = Terminal()
err = Terminal(stderr=True)

DatabaseUrl = Annotated[
    str, typer.Option(envvar="HOMEROOM_MERGE_DATABASE_URL", help="PostgreSQL for the state; else it is embedded.")
]
DataDir = Annotated[
    Path, typer.Option(envvar="HOMEROOM_MERGE_DATA_DIR", help="Where the embedded PostgreSQL and backups are.")
]
EntityName = Annotated[str | None, typer.Option("--entity", help="Just this kind of record.")]
By = Annotated[str, typer.Option("--by", help="Who says so: it is kept.")]
FeedName = Annotated[str, typer.Option("--feed", help="The feed's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DATA_DIR = Path("homeroom-merge-data")
CANCELLED = 130
"""The exit code of what somebody ended: Ctrl-C, or SIGTERM."""

EXPECTED = (RefusedError, HubError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def settings_of(
    connection: asyncpg.Connection, feed: str, overrides: Sequence[str] = ()
) -> tuple[Settings, Basis]:
    """Those in force now, and what they are called. NoSettingsError, SettingsError."""
    return await settings_in_force(connection, feed, datetime.now(UTC), overrides)


def with_state(database_url: str, data_dir: Path, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Do one piece of work on the state; what is refused is said, with exit code 1. SIGTERM is as Ctrl-C."""

    async def connected(url: str) -> T:
        async with place.opened(url) as connection:
            return await work(connection)

    return with_database(database_url, data_dir, connected)


def with_database(database_url: str, data_dir: Path, work: Callable[[str], Awaitable[T]]) -> T:
    """The same on the database, which is made if need be; `work` is told its URL."""

    async def ended_by_sigterm(url: str) -> T:
        task = asyncio.current_task()
        assert task is not None, "it runs"
        with suppress(RuntimeError, ValueError):  # in a thread of another program, signals are that program's
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work(url)

    try:
        with place.database(database_url, data_dir, tell_aside) as url:
            return asyncio.run(ended_by_sigterm(url))
    except EXPECTED as refused:
        err.print(f"homeroom-merge: {refused}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        err.print("homeroom-merge: cancelled", style="red")
        raise typer.Exit(CANCELLED) from None


def tell_aside(words: str) -> None:
    """On stderr, as it is."""
    err.print(words, markup=False, highlight=False, soft_wrap=True)
